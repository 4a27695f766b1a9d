"""The identity endpoint, and the tokens it issues."""

from __future__ import annotations

import ssl
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import httpx
import jwt
import pytest
from arm_server import serving
from azure.identity import ManagedIdentityCredential
from cryptography.hazmat.primitives.asymmetric import rsa
from starlette.applications import Starlette
from starlette.routing import Mount

from pipeline.cloud.entra import BadToken, Entra
from sandbox import tls
from sandbox.identity import (
    RESOURCE_MANAGER,
    STORAGE,
    ExpiredToken,
    Identity,
    InvalidToken,
    UnknownAudience,
    WrongAudience,
)

pytest_plugins = ["arm_fixtures"]


@pytest.fixture(scope="module")
def identity(tmp_path_factory: pytest.TempPathFactory) -> Identity:
    return Identity(tmp_path_factory.mktemp("own"))


@pytest.fixture(scope="module")
def endpoint(identity: Identity, arm_certificates: tls.Certificates) -> Iterator[httpx.Client]:
    trusted = ssl.create_default_context(cafile=str(arm_certificates.ca_bundle))
    with (
        serving(identity.app(), arm_certificates) as url,
        httpx.Client(base_url=url, verify=trusted) as client,
    ):
        yield client


def test_answers_as_app_service_does(identity: Identity, endpoint: httpx.Client) -> None:
    answer = endpoint.get(
        "/msi/token",
        params={"api-version": "2019-08-01", "resource": "https://storage.azure.com/", "client_id": "mine"},
        headers={"X-IDENTITY-HEADER": identity.header},
    )
    assert answer.status_code == 200
    body = answer.json()
    assert set(body) == {"access_token", "expires_on", "resource", "token_type", "client_id"}
    assert (body["resource"], body["token_type"], body["client_id"]) == ("https://storage.azure.com/", "Bearer", "mine")
    assert isinstance(body["expires_on"], str)
    claims = jwt.decode(body["access_token"], options={"verify_signature": False})
    assert claims["aud"] == "https://storage.azure.com/"
    assert claims["iss"] == f"https://sts.windows.net/{claims['tid']}/"
    assert claims["nbf"] < time.time() < claims["exp"]
    assert {"oid", "appid", "tid"} <= set(claims)


@pytest.mark.parametrize(
    ("header", "query", "status"),
    [
        (None, {"api-version": "2019-08-01", "resource": STORAGE[0]}, 401),
        ("wrong", {"api-version": "2019-08-01", "resource": STORAGE[0]}, 401),
        ("no ASCII", {"api-version": "2019-08-01", "resource": STORAGE[0]}, 401),
        ("right", {"resource": STORAGE[0]}, 400),
        ("right", {"api-version": "2017-09-01", "resource": STORAGE[0]}, 400),
        ("right", {"api-version": "2019-08-01"}, 400),
        ("right", {"api-version": "2019-08-01", "resource": "https://vault.azure.net"}, 400),
    ],
)
def test_refuses(
    identity: Identity, endpoint: httpx.Client, header: str | None, query: dict[str, str], status: int
) -> None:
    sent = {"right": identity.header, "wrong": "00", "no ASCII": "é", None: None}[header]
    headers = {"X-IDENTITY-HEADER": sent.encode("latin-1")} if sent else {}
    answer = endpoint.get("/msi/token", params=query, headers=headers)
    assert answer.status_code == status
    assert answer.json()["message"]


def test_tokens_outlive_a_restart(tmp_path: Path) -> None:
    first = Identity(tmp_path)
    token = first.token(RESOURCE_MANAGER[0])
    second = Identity(tmp_path)
    assert second.header == first.header
    assert second.verify(token, RESOURCE_MANAGER)["oid"] == first.object_id
    assert (tmp_path / "identity.json").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("audience", STORAGE + RESOURCE_MANAGER)
def test_issues_for_known_audiences(identity: Identity, audience: str) -> None:
    assert identity.verify(identity.token(audience), [audience])["aud"] == audience


def test_issues_for_no_other(identity: Identity) -> None:
    with pytest.raises(UnknownAudience):
        identity.token("https://graph.microsoft.com")


def test_verification_tells_what_is_wrong(identity: Identity, tmp_path: Path) -> None:
    with pytest.raises(WrongAudience) as wrong:
        identity.verify(identity.token(STORAGE[0]), RESOURCE_MANAGER)
    assert wrong.value.audience == STORAGE[0]
    with pytest.raises(ExpiredToken):
        identity.verify(identity.token(STORAGE[0], lifetime=-10), STORAGE)
    stranger = Identity(tmp_path / "other")
    for token in ("", "no.token.here", stranger.token(STORAGE[0])):
        with pytest.raises(InvalidToken):
            identity.verify(token, STORAGE)


CLAIMS_OF_ANYONE = {"aud", "iss", "iat", "nbf", "exp", "oid", "sub", "tid", "ver", "azp"}


@pytest.fixture(scope="module")
def tenant(
    tmp_path_factory: pytest.TempPathFactory, arm_certificates: tls.Certificates
) -> Iterator[tuple[Identity, str]]:
    """An identity, and the authority that serves its keys over TLS."""
    folder = tmp_path_factory.mktemp("tenant")
    with serving(Starlette(routes=[Mount("/entra", Identity(folder).entra())]), arm_certificates) as url:
        yield Identity(folder, f"{url}/entra", ["Operator"]), f"{url}/entra"


@pytest.fixture
def entra(tenant: tuple[Identity, str], arm_certificates: tls.Certificates, monkeypatch: pytest.MonkeyPatch) -> Entra:
    """What the function app verifies tokens by."""
    monkeypatch.setenv("SSL_CERT_FILE", str(arm_certificates.ca_bundle))
    identity, authority = tenant
    return Entra(authority, identity.tenant_id, identity.api_client_id)


def test_the_app_takes_tokens_of_its_tenant(tenant: tuple[Identity, str], entra: Entra) -> None:
    identity, authority = tenant
    person = entra.claims(identity.api_token(["Approver"], object_id="a", name="ada@contoso.com"))
    assert person["iss"] == f"{authority}/{identity.tenant_id}/v2.0"
    assert (person["roles"], person["oid"], person["preferred_username"]) == (["Approver"], "a", "ada@contoso.com")
    assert person.keys() == CLAIMS_OF_ANYONE | {"name", "preferred_username", "scp", "roles"}
    application = entra.claims(identity.api_token(client_id="b"))
    assert (application["idtyp"], application["azp"], application["ver"]) == ("app", "b", "2.0")
    assert application.keys() == CLAIMS_OF_ANYONE | {"idtyp"}, "it is assigned no role and gets a token all the same"


@pytest.mark.parametrize("which", ["tenant", "audience", "expired", "key", "issuer", "of another resource", "unsigned"])
def test_tokens_can_be_made_that_are_not_to_be_let_in(
    tenant: tuple[Identity, str], entra: Entra, tmp_path: Path, which: str
) -> None:
    identity, _ = tenant
    stranger = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    token = {
        "tenant": lambda: identity.api_token(["Operator"], tenant=str(uuid.uuid4())),
        "audience": lambda: identity.api_token(["Operator"], audience=str(uuid.uuid4())),
        "expired": lambda: identity.api_token(["Operator"], lifetime=-1),
        "key": lambda: identity.api_token(["Operator"], key=stranger),
        "issuer": lambda: identity.api_token(["Operator"], iss=f"https://sts.windows.net/{identity.tenant_id}/"),
        "of another resource": lambda: identity.token(STORAGE[0]),
        "unsigned": lambda: identity.api_token(["Operator"]).rpartition(".")[0] + ".",
    }[which]()
    with pytest.raises(BadToken):
        entra.claims(token)


def test_keys_are_those_of_the_tenant(tenant: tuple[Identity, str], arm_certificates: tls.Certificates) -> None:
    identity, authority = tenant
    trusted = ssl.create_default_context(cafile=str(arm_certificates.ca_bundle))
    (key,) = httpx.get(f"{authority}/{identity.tenant_id}/discovery/v2.0/keys", verify=trusted).json()["keys"]
    assert (key["kty"], key["use"]) == ("RSA", "sig")
    assert key["kid"] == jwt.get_unverified_header(identity.api_token())["kid"]
    assert "d" not in key, "the key is the public one"
    assert httpx.get(f"{authority}/{uuid.uuid4()}/discovery/v2.0/keys", verify=trusted).status_code == 400


@pytest.mark.parametrize("roles", [["Operator"], []])
def test_the_managed_identity_has_the_roles_it_is_assigned(tmp_path: Path, roles: list[str]) -> None:
    identity = Identity(tmp_path, "https://127.0.0.1/entra", roles)
    for audience in (identity.api_audience, identity.api_client_id):
        claims = jwt.decode(identity.token(audience), options={"verify_signature": False})
        assert (claims["aud"], claims["oid"]) == (identity.api_client_id, identity.object_id)
        assert claims.get("roles", []) == roles
        assert ("roles" in claims) == bool(roles)


def test_the_sdk_gets_its_token(
    identity: Identity,
    endpoint: httpx.Client,
    arm_certificates: tls.Certificates,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("IDENTITY_ENDPOINT", f"{endpoint.base_url}/msi/token")
    monkeypatch.setenv("IDENTITY_HEADER", identity.header)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(arm_certificates.ca_bundle))
    token = ManagedIdentityCredential().get_token("https://management.azure.com/.default")
    assert identity.verify(token.token, RESOURCE_MANAGER)["aud"] == "https://management.azure.com"
    assert token.expires_on > time.time() + 3600
    api = ManagedIdentityCredential().get_token(f"{identity.api_audience}/.default")
    assert jwt.decode(api.token, options={"verify_signature": False})["aud"] == identity.api_client_id
