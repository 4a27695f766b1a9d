"""Who calls: by a token of Entra's, where callers sign in, else by a key that the Functions host has looked at."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipeline import access
from pipeline.access import Caller, NotAllowed, NotSignedIn, Role
from pipeline.cloud.entra import BadToken, Entra
from pipeline.limits import bounded

KEY = "x-functions-key"
_LONGEST_NAME = 200
_ROLES = {role.value.capitalize(): role for role in Role}
"""Roles by the values that app roles have."""


def caller_of(
    entra: Entra | None, key_roles: frozenset[Role], headers: Mapping[str, str], query: Mapping[str, str]
) -> Caller:
    """Who calls.

    No header says who it is but the token and the key: any other may be anybody's word.

    Raises NotSignedIn where there is nobody, NotAllowed for a key that is not accepted, Unavailable where Entra cannot
    be asked.
    """
    headers, query = _lower(headers), _lower(query)
    address = _address(headers)
    if entra is None:
        return _of_key(key_roles, headers, query, address)
    kind, _, token = headers.get("authorization", "").partition(" ")
    if kind.lower() != "bearer" or not token.strip():
        raise NotSignedIn("this wants a token of Entra's, as Authorization: Bearer TOKEN")
    try:
        claims = entra.claims(token.strip())
    except BadToken as fault:
        raise NotSignedIn(f"the token is refused: {fault}") from fault
    return _of_claims(claims, address)


def _lower(named: Mapping[str, str]) -> dict[str, str]:
    return {name.lower(): value for name, value in named.items()}


def _of_claims(claims: Mapping[str, Any], address: str) -> Caller:
    named = claims.get("roles")
    roles = frozenset(_ROLES[name] for name in (named if isinstance(named, list) else []) if name in _ROLES)
    said = [claims.get(name) for name in ("preferred_username", "name", "app_displayname")]
    name = next((one for one in said if isinstance(one, str) and one), f"application {claims.get('azp', 'unknown')}")
    return Caller(str(claims["oid"]), bounded(name, _LONGEST_NAME), roles, address)


def _of_key(key_roles: frozenset[Role], headers: Mapping[str, str], query: Mapping[str, str], address: str) -> Caller:
    # The host takes the header before the query, and has let through none that is not of this app.
    key = headers[KEY] if KEY in headers else query.get("code", "")
    if not key:
        raise NotSignedIn(f"this wants a key, in the header {KEY}")
    role = whose(key)
    if role not in key_roles:
        accepted = ", ".join(sorted(key_roles)) or "none"
        raise NotAllowed(f"the {role}'s key is not accepted here; of these roles keys are: {accepted} (API_KEY_ROLES)")
    return access.of_key(role, address)


def whose(key: str) -> Role:
    """Whose key it is: it begins with the role and a dot, or is the publisher's, as the host's default key is."""
    named, dot, _ = key.partition(".")
    return Role(named) if dot and named in set(Role) else Role.PUBLISHER


def _address(headers: Mapping[str, str]) -> str:
    # What App Service has seen comes last; what comes before is the caller's own word.
    return bounded(headers.get("x-forwarded-for", "").rpartition(",")[2].strip(), 100)
