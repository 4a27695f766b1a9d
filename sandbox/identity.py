"""Entra ID and the managed identity of the sandbox: App Service's token endpoint, tokens, and the keys of a tenant."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import time
import uuid
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, cast

import jwt
from azure.core.credentials import AccessToken, TokenCredential
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from sandbox.guard import own_file, own_folder

STORAGE = ("https://storage.azure.com", "https://storage.azure.com/")
RESOURCE_MANAGER = (
    "https://management.core.windows.net/",
    "https://management.core.windows.net",
    "https://management.azure.com/",
    "https://management.azure.com",
)
EVENT_GRID = ("https://eventgrid.azure.net", "https://eventgrid.azure.net/")
API_VERSION = "2019-08-01"
LIFETIME = 24 * 60 * 60  # seconds, as App Service's tokens live
_AZURE_CLI = "04b07795-8ddb-461a-bbee-02f9e1bf7b46"  # by which people come to their tokens


class InvalidToken(Exception):
    """The token is no token of this identity: broken, unsigned, or signed by another key."""


class ExpiredToken(InvalidToken):
    """The token was good once. `expired` is its `exp`, in seconds since the epoch."""

    def __init__(self, expired: int) -> None:
        super().__init__("the token has expired")
        self.expired = expired


class WrongAudience(InvalidToken):
    """The token is good elsewhere. `audience` is what it was issued for."""

    def __init__(self, audience: str) -> None:
        super().__init__(f"the token is for {audience}")
        self.audience = audience


class UnknownAudience(ValueError):
    """No token is issued for this resource."""


class Identity:
    """One user-assigned identity, its tenant and its signing key, kept in `folder` so that tokens outlive a restart.

    `authority` is where the tenant's keys are served, see `entra`; `roles` are the app roles of the Gallerist API that
    the identity is assigned, such as `Operator`. That API is the application `api_client_id` of the tenant.
    """

    def __init__(
        self, folder: Path, authority: str = "https://login.microsoftonline.com", roles: Sequence[str] = ()
    ) -> None:
        path = own_folder(folder) / "identity.json"
        if not path.exists():
            own_file(path).write_text(json.dumps(_new_identity()))
        kept: dict[str, str] = json.loads(path.read_text())
        self.header = kept["header"]
        self.tenant_id = kept["tenant_id"]
        self.client_id = kept["client_id"]
        self.object_id = kept["object_id"]
        # Read once: to read a private key is to check it, which takes longer than to sign with it
        key = serialization.load_pem_private_key(kept["private_key"].encode(), password=None)
        self._private_key = cast(rsa.RSAPrivateKey, key)
        self._public_key = self._private_key.public_key()
        self._key_id = _thumbprint(self._public_key)
        self._authority = authority
        self._roles = roles
        self.api_client_id = str(uuid.uuid5(uuid.UUID(self.tenant_id), "gallerist"))
        self.api_audience = f"api://{self.api_client_id}"

    def token(self, audience: str, *, client_id: str | None = None, lifetime: int = LIFETIME) -> str:
        """A signed token for `audience`, good for `lifetime` seconds.

        Raises UnknownAudience for anything but Azure Storage, Azure Resource Manager, Event Grid and the Gallerist API.
        """
        if audience in (self.api_audience, self.api_client_id):
            return self.api_token(self._roles, object_id=self.object_id, client_id=client_id, lifetime=lifetime)
        if audience not in STORAGE + RESOURCE_MANAGER + EVENT_GRID:
            raise UnknownAudience(audience)
        now = int(time.time())
        claims = {
            "aud": audience,
            "iss": f"https://sts.windows.net/{self.tenant_id}/",
            # Clocks differ between machines, so a token is good a little before it is issued, as Entra ID's are.
            "nbf": now - 300,
            "iat": now,
            "exp": now + lifetime,
            "appid": client_id or self.client_id,
            "oid": self.object_id,
            "sub": self.object_id,
            "tid": self.tenant_id,
            "idtyp": "app",
            "ver": "1.0",
        }
        return self._signed(claims)

    def api_token(
        self,
        roles: Sequence[str] = (),
        *,
        object_id: str | None = None,
        client_id: str | None = None,
        name: str | None = None,
        tenant: str | None = None,
        audience: str | None = None,
        lifetime: int = 60 * 60,
        key: rsa.RSAPrivateKey | None = None,
        **claims: Any,
    ) -> str:
        """An access token v2.0 of the Gallerist API, good from five minutes ago for `lifetime` seconds from now.

        It is of the person `name`, such as `ada@contoso.com`, or else of the application `client_id`; their object id
        is a new one where not given. Whoever is assigned no `roles` gets a token all the same, without that claim.

        `tenant`, `audience` and `key`, which signs it under this tenant's key id, make it one that is not to be let in;
        `claims` replaces others of its claims, and leaves those out that are None.
        """
        now, subject, tenant = int(time.time()), object_id or str(uuid.uuid4()), tenant or self.tenant_id
        person = {"name": name, "preferred_username": name, "scp": "user_impersonation", "azp": _AZURE_CLI}
        application = {"azp": client_id or self.client_id, "idtyp": "app"}
        said = {
            "aud": audience or self.api_client_id,
            "iss": f"{self._authority}/{tenant}/v2.0",
            "iat": now,
            "nbf": now - 300,
            "exp": now + lifetime,
            "oid": subject,
            "sub": subject,
            "tid": tenant,
            "roles": list(roles) or None,
            "ver": "2.0",
            **(person if name else application),
            **claims,
        }
        return self._signed({claim: value for claim, value in said.items() if value is not None}, key)

    def _signed(self, claims: dict[str, Any], key: rsa.RSAPrivateKey | None = None) -> str:
        return jwt.encode(claims, key or self._private_key, algorithm="RS256", headers={"kid": self._key_id})

    def verify(self, token: str, audiences: Iterable[str]) -> dict[str, Any]:
        """The claims of a token that is good for one of `audiences`.

        Raises ExpiredToken, WrongAudience or InvalidToken.
        """
        try:
            claims: dict[str, Any] = jwt.decode(
                token, self._public_key, algorithms=["RS256"], options={"verify_aud": False, "verify_exp": False}
            )
        except jwt.InvalidTokenError as error:
            raise InvalidToken(str(error)) from error
        if claims.get("aud") not in tuple(audiences):
            raise WrongAudience(str(claims.get("aud")))
        if int(claims.get("exp", 0)) <= time.time():
            raise ExpiredToken(int(claims.get("exp", 0)))
        return claims

    def credential(self) -> TokenCredential:
        """A credential for the SDKs that issues its tokens in this process, for the sandbox's own components."""
        return _LocalCredential(self)

    def app(self) -> Starlette:
        """App Service's token endpoint: `GET /msi/token`, api-version 2019-08-01."""

        async def get_token(request: Request) -> Response:
            sent = request.headers.get("X-IDENTITY-HEADER", "")
            if not secrets.compare_digest(sent.encode(), self.header.encode()):
                return _refusal(401, "The X-IDENTITY-HEADER header is missing or wrong.")
            if request.query_params.get("api-version") != API_VERSION:
                return _refusal(400, f"The api-version query parameter is required and must be {API_VERSION}.")
            resource = request.query_params.get("resource", "")
            client_id = request.query_params.get("client_id") or self.client_id
            try:
                token = self.token(resource, client_id=client_id)
            except UnknownAudience:
                known = ", ".join((*STORAGE, *RESOURCE_MANAGER, *EVENT_GRID, self.api_audience))
                return _refusal(400, f"No token is issued for resource '{resource}'. Known resources: {known}.")
            return JSONResponse(
                {
                    "access_token": token,
                    "expires_on": str(int(time.time()) + LIFETIME),
                    "resource": resource,
                    "token_type": "Bearer",
                    "client_id": client_id,
                },
                headers={"Cache-Control": "no-store"},
            )

        return Starlette(routes=[Route("/msi/token", get_token)])

    def entra(self) -> Starlette:
        """Entra's endpoint for the keys of a tenant, below the authority: `GET /TENANT/discovery/v2.0/keys`."""
        key = jwt.algorithms.RSAAlgorithm.to_jwk(self._public_key, as_dict=True)
        known = key | {"use": "sig", "kid": self._key_id, "issuer": f"{self._authority}/{self.tenant_id}/v2.0"}

        async def keys(request: Request) -> Response:
            tenant = request.path_params["tenant"]
            if tenant != self.tenant_id:
                return JSONResponse(
                    {"error": "invalid_tenant", "error_description": f"AADSTS90002: Tenant '{tenant}' not found."}, 400
                )
            return JSONResponse({"keys": [known]})

        return Starlette(routes=[Route("/{tenant}/discovery/v2.0/keys", keys)])


class _LocalCredential:
    def __init__(self, identity: Identity) -> None:
        self._identity = identity

    def get_token(self, *scopes: str, **_: Any) -> AccessToken:
        audience = scopes[0].removesuffix("/.default")
        return AccessToken(self._identity.token(audience), int(time.time()) + LIFETIME)


def _new_identity() -> dict[str, str]:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return {
        "header": secrets.token_hex(16).upper(),
        "tenant_id": str(uuid.uuid4()),
        "client_id": str(uuid.uuid4()),
        "object_id": str(uuid.uuid4()),
        "private_key": pem.decode(),
    }


def _thumbprint(key: rsa.RSAPublicKey) -> str:
    der = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return base64.urlsafe_b64encode(hashlib.sha256(der).digest()).decode().rstrip("=")


def _refusal(status: int, message: str) -> JSONResponse:
    return JSONResponse({"statusCode": status, "message": message}, status_code=status)
