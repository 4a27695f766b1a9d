"""Who may call what: every route and queue against every role, over the wire, through the functions host."""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

import function_app
from pipeline import triggers
from pipeline.access import QUEUES, ROUTES, Role
from pipeline.cloud.entra import Entra
from pipeline.cloud.faults import Unavailable
from pipeline.context import context
from pipeline.web.callers import caller_of
from pipeline.web.openapi import document
from pipeline.web.routes import HANDLERS
from sandbox import disk
from sandbox.host.keys import Keys
from tests.azure import Azure, eventually

pytestmark = pytest.mark.timeout(180)
PROTECTED = sorted(route for route, role in ROUTES.items() if role)
ALLOWED = {
    Role.READER: {route for route in PROTECTED if route.startswith("GET ") and route != "GET /audit"},
    Role.OPERATOR: set(PROTECTED),
}
"""What each role may, written down once more, so that a slip in the table of the code shows."""
ALLOWED[Role.PUBLISHER] = ALLOWED[Role.READER] | {
    "POST /publish", "POST /runs/{id}/retry", "POST /runs/{id}/cancel",
}  # fmt: skip
ALLOWED[Role.TESTER] = ALLOWED[Role.READER] | {"POST /images/{image}/versions/{version}/verdict"}
ALLOWED[Role.APPROVER] = ALLOWED[Role.READER] | {"POST /images/{image}/versions/{version}/approval"}
PERSON = "5b2c1d7e-0000-4000-8000-000000000001"
NOBODY = "00000000-0000-4000-8000-00000000dead"
HTTP = httpx.Client(timeout=30)


def call(azure: Azure, route: str, headers: dict[str, str], query: dict[str, str] | None = None) -> httpx.Response:
    """A call of a route that changes nothing, whoever makes it: what it names is not there, and it has no body."""
    method, path = route.split()
    path = re.sub(r"\{(\w+)\}", lambda found: {"version": "1.0.0"}.get(found[1], "nowhere"), path)
    base = azure.sandbox.endpoints["functions"] + "/api"
    return HTTP.request(method, base + path, headers=headers, params=query)


def refused(azure: Azure, route: str, headers: dict[str, str], query: dict[str, str] | None = None) -> str:
    """`401` or `403` where a call is refused, empty where it got past the door; then it failed for what it asked."""
    answer = call(azure, route, headers, query)
    assert answer.status_code in (200, 400, 401, 403, 404), (route, answer.text)
    return str(answer.status_code) if answer.status_code in (401, 403) else ""


def test_every_route_is_in_the_table_and_nothing_else_is() -> None:
    served = set()
    for function in function_app.app.get_functions():
        trigger = function.get_trigger()
        if trigger and trigger.get_binding_name() == "httpTrigger":
            (method,) = trigger.methods
            served.add(f"{getattr(method, 'value', method)} /{trigger.route}")
    described = {
        f"{method.upper()} {path}"
        for path, operations in document("https://x/api")["paths"].items()
        for method in operations
    }
    assert served == described == set(HANDLERS) == set(ROUTES)


@pytest.mark.parametrize("role", Role)
def test_a_key_opens_what_its_role_may(hosted: Azure, role: Role) -> None:
    key = Keys.load(hosted.state).roles[role]
    assert {route for route in PROTECTED if not refused(hosted, route, {"x-functions-key": key})} == ALLOWED[role]
    assert {route for route in PROTECTED if not refused(hosted, route, {}, {"code": key})} == ALLOWED[role]


def test_without_a_good_key_there_is_nothing(hosted: Azure) -> None:
    keys = Keys.load(hosted.state)
    operator, publisher = keys.roles[Role.OPERATOR], keys.roles[Role.PUBLISHER]
    forged = {
        "x-ms-client-principal-id": PERSON,
        "x-ms-client-principal-name": "ann",
        "x-ms-client-principal": base64.b64encode(
            json.dumps({"claims": [{"typ": "roles", "val": "Operator"}]}).encode()
        ).decode(),
    }
    for headers in ({}, {"x-functions-key": ""}, {"x-functions-key": "operator."}, forged):
        assert {refused(hosted, route, headers) for route in PROTECTED} == {"401"}, headers
    # Nobody becomes an operator by what stands beside a key that is good.
    for headers, query in (
        ({"x-functions-key": publisher, **forged}, None),
        ({"x-functions-key": publisher}, {"code": operator.partition(".")[0] + ".x"}),
        ({"x-functions-key": f"{publisher},operator.x"}, None),
    ):
        assert refused(hosted, "POST /retention", headers, query) in ("401", "403"), headers


def test_a_key_that_is_nobodys_is_the_publishers_in_azure(hosted: Azure) -> None:
    """The host's default key, or its master key, is more to Azure than to Gallerist."""
    master = {"x-functions-key": Keys.load(hosted.state).master}
    assert {route for route in PROTECTED if not refused(hosted, route, master)} == ALLOWED[Role.PUBLISHER]


@pytest.mark.parametrize("role", Role)
def test_a_token_opens_what_its_roles_may(signed_in: Azure, role: Role) -> None:
    for token in (
        signed_in.identity.api_token([role.capitalize()], name="ann@contoso.com"),
        signed_in.identity.api_token([role.capitalize()]),
    ):
        bearer = {"Authorization": f"Bearer {token}"}
        assert {route for route in PROTECTED if not refused(signed_in, route, bearer)} == ALLOWED[role]


def test_whoever_has_no_role_sees_nothing(signed_in: Azure) -> None:
    """Entra gives any identity of the tenant a token for the API, unasked."""
    for roles in ([], ["operator"], ["Owner"], ["Operator "]):
        bearer = {"Authorization": f"Bearer {signed_in.identity.api_token(roles)}"}
        assert {refused(signed_in, route, bearer) for route in PROTECTED} == {"403"}, roles


def strangers(azure: Azure) -> Iterator[tuple[str, str]]:
    """Tokens that are not to be believed."""
    identity, operator = azure.identity, ["Operator"]
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    good = identity.api_token(operator)
    header, claims, signature = good.split(".")
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    read = jwt.decode(good, options={"verify_signature": False})

    def encoded(part: dict[str, Any]) -> str:
        return base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=")

    yield "of a foreign tenant", identity.api_token(operator, tenant=NOBODY)
    yield "of a foreign tenant, under the name of ours", identity.api_token(operator, tid=NOBODY)
    yield "signed by another key", identity.api_token(operator, key=key)
    yield "for another application", identity.api_token(operator, audience=NOBODY)
    yield "for Resource Manager", identity.token("https://management.azure.com")
    yield "expired", identity.api_token(operator, lifetime=-60)
    yield "not good yet", identity.api_token(operator, nbf=read["exp"], exp=read["exp"] + 60)
    yield "without an end", identity.api_token(operator, exp=None)
    yield "without an object id", identity.api_token(operator, oid=None)
    yield "of an older form", identity.api_token(operator, iss=f"https://sts.windows.net/{identity.tenant_id}/")
    yield "unsigned", f"{encoded({'alg': 'none', 'typ': 'JWT'})}.{claims}."
    yield "signed by what is public", jwt.encode(read, base64.b64encode(public), algorithm="HS256")
    yield "changed", f"{header}.{encoded(read | {'roles': ['Operator'], 'oid': PERSON})}.{signature}"
    yield "cut", good[:-20]
    yield "none", "x"
    yield "long", "x" * 100_000


def test_a_token_is_believed_only_when_entra_has_issued_it_for_this(signed_in: Azure) -> None:
    for what, token in strangers(signed_in):
        answers = {refused(signed_in, route, {"Authorization": f"Bearer {token}"}) for route in PROTECTED[:3]}
        assert answers <= {"401"} or (what == "long" and answers <= {"401", ""}), what


def test_with_sign_in_there_is_no_key_and_no_header_that_counts(signed_in: Azure) -> None:
    keys = Keys.load(signed_in.state)
    principal = {"auth_typ": "aad", "claims": [{"typ": "roles", "val": "Operator"}, {"typ": "oid", "val": PERSON}]}
    forged = {
        "x-ms-client-principal-id": PERSON,
        "x-ms-client-principal-name": "ann@contoso.com",
        "x-ms-client-principal-idp": "aad",
        "x-ms-client-principal": base64.b64encode(json.dumps(principal).encode()).decode(),
    }
    for headers in (
        {},
        forged,
        {"x-functions-key": keys.roles[Role.OPERATOR]},
        {"x-functions-key": keys.master},
        {"Authorization": "Basic b3BlcmF0b3I6"},
        {"Authorization": "Bearer"},
    ):
        assert {refused(signed_in, route, headers) for route in PROTECTED} == {"401"}, headers
    reader = {"Authorization": f"Bearer {signed_in.identity.api_token(['Reader'])}"}
    assert refused(signed_in, "POST /retention", reader | forged) == "403"


def test_a_refusal_says_what_it_takes(hosted: Azure, signed_in: Azure) -> None:
    told = call(hosted, "POST /retention", {"x-functions-key": Keys.load(hosted.state).roles[Role.TESTER]}).json()
    assert told["error"]["code"] == "NotAllowed"
    assert re.match(r"this takes the role operator, and the tester's key has tester;", told["error"]["message"])
    assert call(signed_in, "GET /runs", {}).json()["error"]["message"].startswith("this wants a token of Entra's")
    expired = {"Authorization": f"Bearer {signed_in.identity.api_token(['Reader'], lifetime=-60)}"}
    assert call(signed_in, "GET /runs", expired).json()["error"]["message"] == "the token is refused: it has expired"


def test_a_publisher_ends_and_retries_its_own_runs_only(signed_in: Azure, tmp_path: Any) -> None:
    image = signed_in.image("bios")
    blob = signed_in.blob(image, "x.vhd")
    blob.create_page_blob(disk.make_vhd(tmp_path / "x.vhd", 20).stat().st_size)
    base = signed_in.sandbox.endpoints["functions"] + "/api"

    def ask(object_id: str, path: str, role: str = "Publisher", **body: Any) -> httpx.Response:
        token = signed_in.identity.api_token([role], object_id=object_id, name=f"{object_id[-4:]}@contoso.com")
        bearer = {"Authorization": f"Bearer {token}"}
        return HTTP.post(f"{base}/{path}", headers=bearer, json=body or None)

    begun = ask(PERSON, "publish", image=image, source={"blob": blob.url})
    assert begun.status_code == 202, begun.text
    run = begun.json()["run"]
    other = ask(NOBODY, f"runs/{run}/cancel")
    assert (other.status_code, other.json()["error"]["code"]) == (403, "NotAllowed")
    assert ask(PERSON, f"runs/{run}/cancel").status_code == 202
    operator = {"Authorization": f"Bearer {signed_in.identity.api_token(['Operator'])}"}
    found: dict[str, Any] = {}

    def cancelled() -> bool:
        found.update(HTTP.get(f"{base}/runs/{run}", headers=operator).json())
        return found["state"] == "cancelled"

    assert eventually(cancelled)
    assert found["reason"] == "cancelled by 0001@contoso.com"
    assert ask(NOBODY, f"runs/{run}/retry").status_code == 403
    assert ask(NOBODY, f"runs/{run}/retry", role="Operator").status_code == 202


def test_the_audit_says_who_did_what_from_where(signed_in: Azure) -> None:
    base = signed_in.sandbox.endpoints["functions"] + "/api"
    token = signed_in.identity.api_token(["Operator"], object_id=PERSON, name="ann@contoso.com")
    with httpx.Client(base_url=base, headers={"Authorization": f"Bearer {token}"}, timeout=30) as ann:
        rule = ann.get("promotions").json()["promotions"][0]["rule"]
        before = len(ann.get("audit", params={"who": PERSON, "limit": 200}).json()["audit"])
        held = {"why": "we look", "by": "somebody else"}
        forwarded = {"X-Forwarded-For": "203.0.113.9"}
        assert ann.post(f"promotions/{rule}/hold", json=held, headers=forwarded).status_code == 200
        assert ann.get("promotions").json()["promotions"][0]["held"]["by"] == "ann@contoso.com"
        assert ann.post("images/nowhere/rollback", json={"why": "x"}).status_code == 404
        assert ann.post(f"promotions/{rule}/release").status_code == 200
        assert ann.post("retention", json={"image": "web-000"}).status_code == 200  # a plan changes nothing
        told = ann.get("audit", params={"who": PERSON, "limit": 200}).json()["audit"]
        told = told[: len(told) - before]
        pages = []
        following: str | None = None
        while len(pages) < len(told):
            page = ann.get("audit", params={"who": PERSON, "limit": 1} | ({"next": following} if following else {}))
            pages += page.json()["audit"]
            following = page.json()["next"]
    assert pages == told
    assert [(one["action"], one["on"], one["name"]) for one in told] == [
        ("release", f"rule {rule}", "ann@contoso.com"),
        ("rollback", "image nowhere", "ann@contoso.com"),
        ("hold", f"rule {rule}", "ann@contoso.com"),
    ]
    assert [one["outcome"].partition(":")[0] for one in told] == ["done", "not done", "done"]
    assert all(one["from"].startswith("127.0.0.1") for one in told), told


def test_the_api_can_be_left_out() -> None:
    """By a setting, which the next deployment does not undo."""
    ask = "import function_app as f; print([x.get_function_name() for x in f.app.get_functions() if 'http' in str(x)])"
    found = subprocess.run(
        [sys.executable, "-c", ask], env={**os.environ, "HTTP_API": "off"}, capture_output=True, text=True, check=True
    )
    assert found.stdout.strip() == "[]"


def test_where_entra_cannot_be_asked_nobody_gets_in() -> None:
    entra = Entra("https://127.0.0.1:9", NOBODY, PERSON)
    token = jwt.encode({"oid": PERSON}, "k" * 32, headers={"kid": "1"})
    with pytest.raises(Unavailable, match="the keys of the tenant cannot be read"):
        caller_of(entra, frozenset(), {"Authorization": f"Bearer {token}"}, {})


def test_a_setting_that_is_wrong_opens_nothing(signed_in: Azure, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {**signed_in.env, "API_TENANT_ID": ""}.items():
        monkeypatch.setenv(name, value)
    context.cache_clear()
    for route in ROUTES:
        answer = triggers.http(route, "https://x/api", {}, {}, {"x-functions-key": "operator.x"}, b"")
        assert (answer.status, answer.body["error"]["code"]) == (500, "Misconfigured")
        assert "API_TENANT_ID is missing" in answer.body["error"]["message"]
    context.cache_clear()


@pytest.mark.usefixtures("ctx")
def test_a_queue_gives_its_role_and_no_more(bare: Azure, tmp_path: Any) -> None:
    """Whoever may send to a queue asks for what its role may: messages name no sender who could be more."""
    context.cache_clear()
    image, vhd = bare.image("bios"), disk.make_vhd(tmp_path / "x.vhd", 20)
    source = {"blob": bare.drop(image, vhd, "asked.vhd").url}
    request = {"image": image, "source": source}
    verdict = {"image": image, "version": "1.0.0", "outcome": "passed"}
    kept = bare.blobs.get_container_client("rejected")

    def reasons(queue: str) -> list[str]:
        names = list(kept.list_blob_names(name_starts_with=f"{queue}/"))
        return [json.loads(kept.download_blob(name).readall())["reason"] for name in names]

    before = {queue: len(reasons(queue)) for queue in QUEUES}
    for message in (
        request | {"tags": {"keep": "true"}},
        request | {"version": "900.0.0", "jump": True},
        request | {"by": "ann", "role": "operator"},
        verdict,
        verdict | {"approved": "ann"},
    ):
        triggers.publish_request(json.dumps(message).encode())
    for message in (request, verdict | {"name": "approved"}, verdict | {"name": "keep"}, verdict | {"why": "x"}):
        triggers.verdict(json.dumps(message).encode(), "1")
    after = {queue: len(reasons(queue)) for queue in QUEUES}
    assert {queue: after[queue] - before[queue] for queue in QUEUES} == {"publish-requests": 5, "verdicts": 4}
    told = " ".join(reasons("publish-requests"))
    assert "tags.keep takes the role operator" in told
    assert "jump takes the role operator" in told
    assert not [run for run, _ in context().runs.live() if run.startswith(image)]
    context.cache_clear()
