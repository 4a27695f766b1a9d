"""Microsoft Entra ID: whether a token of a caller is one of our tenant's, for this application, and still good.

PyJWT is imported with the first token: an instance that serves no HTTP starts without it.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from pipeline.cloud.faults import CloudFault, Unavailable

if TYPE_CHECKING:
    from jwt import PyJWKClient

_TIMEOUT = 10.0  # seconds
_KEYS_GOOD_FOR = 3600.0  # seconds; a key that is not known is looked up all the same, twice a minute at most
_LONGEST = 16_384  # characters; what is longer is no token


class BadToken(CloudFault):
    """The token is not to be believed. The message says why, without any of it."""


class Entra:
    """The tokens of one tenant for one application.

    `authority` is where the tenant signs people in, such as https://login.microsoftonline.com; `client_id` is the
    application that tokens have to be issued for.
    """

    def __init__(self, authority: str, tenant_id: str, client_id: str) -> None:
        self._issuer = f"{authority}/{tenant_id}/v2.0"
        self._tenant_id = tenant_id
        self._audiences = [client_id, f"api://{client_id}"]
        self._keys_at = f"{authority}/{tenant_id}/discovery/v2.0/keys"

    @cached_property
    def _keys(self) -> PyJWKClient:
        from jwt import PyJWKClient

        return PyJWKClient(self._keys_at, lifespan=_KEYS_GOOD_FOR, timeout=_TIMEOUT)

    def claims(self, token: str) -> dict[str, Any]:
        """The claims of a token ("Access token claims reference": v2.0), whose signature, issuer, tenant, audience and
        time are right.

        Raises BadToken, or Unavailable where the tenant's keys cannot be had.
        """
        import jwt
        from jwt.exceptions import InvalidTokenError, PyJWKClientConnectionError, PyJWKClientError

        if len(token) > _LONGEST:
            raise BadToken("it is longer than a token is")
        try:
            key = self._keys.get_signing_key_from_jwt(token)
            claims: dict[str, Any] = jwt.decode(
                token,
                key,
                algorithms=["RS256"],
                audience=self._audiences,
                issuer=self._issuer,
                options={"require": ["exp", "nbf", "iss", "aud", "tid", "oid"]},
            )
        except PyJWKClientConnectionError as error:
            raise Unavailable("the keys of the tenant cannot be read from Entra now") from error
        except PyJWKClientError as error:
            raise BadToken("no key of the tenant has signed it") from error
        except jwt.ExpiredSignatureError as error:
            raise BadToken("it has expired") from error
        except jwt.ImmatureSignatureError as error:
            raise BadToken("its time has not come yet") from error
        except jwt.InvalidAudienceError as error:
            raise BadToken("it is for another application") from error
        except jwt.InvalidIssuerError as error:
            raise BadToken(
                "another tenant, or an older form of tokens: the application issues v2.0 tokens with "
                "requestedAccessTokenVersion 2"
            ) from error
        except (InvalidTokenError, ValueError) as error:
            raise BadToken("it is no token that Entra issues") from error
        if claims["tid"] != self._tenant_id:
            raise BadToken("it is of another tenant")
        return claims
