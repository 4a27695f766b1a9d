"""Any text from outside is taken, or refused in words: no exception, no 5xx, no phrase of a library."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from pipeline import triggers
from pipeline.access import Caller, Role
from pipeline.catalog import CatalogError, parse_catalog
from pipeline.context import Context
from pipeline.web.calls import Call, answer
from pipeline.web.routes import HANDLERS
from tests.conftest import SUBSCRIPTION
from tests.fuzz.junk import BLOB, COMPUTE, check_words, messages, mutated, texts

GALLERIES = f"{SUBSCRIPTION}/resourceGroups/rg-images/providers/Microsoft.Compute/galleries"
DEFINITION = {"publisher": "Contoso", "offer": "fuzz", "sku": "web", "os_type": "Linux"}
CATALOG: dict[str, Any] = {
    "galleries": {
        "staging": {"id": f"{GALLERIES}/galStaging", "location": "westeurope"},
        "production": {"id": f"{GALLERIES}/galProduction", "location": "westeurope"},
    },
    "images": {
        "web": {
            "gallery": "staging",
            "drop": "vhds/web/**",
            "definition": DEFINITION | {"name": "fuzz-web", "security_type": "TrustedLaunchSupported"},
            "version": {"bump": "minor", "start": "1.0.0"},
            "regions": [{"name": "northeurope", "replicas": 2, "storage": "Standard_ZRS"}],
            "end_of_life": "180d",
            "keep": {"newest": 10, "days": 365},
            "source_vhd": {"then": "delete", "after": "7d"},
            "sources": ["builds/**", "vhds/**", f"{SUBSCRIPTION}/**"],
        },
        "db": {"gallery": "staging", "definition": DEFINITION | {"name": "fuzz-db", "sku": "db"}},
    },
    "promotions": [
        {
            "from": "web",
            "to": {"gallery": "production", "definition": "fuzz-web"},
            "soak": "24h",
            "require": {"tests": "passed"},
            "range": "~1.4",
            "number": "keep",
        }
    ],
}
REQUEST = {
    "image": "web",
    "source": {"blob": BLOB, "data_disks": [{"lun": 0, "blob": BLOB}]},
    "version": "1.4.x",
    "request_id": "build-1",
    "tags": {"commit": "abc"},
}
RESOURCE = {"image": "db", "source": {"snapshot": f"{COMPUTE}/snapshots/x"}, "bump": "minor"}
GRID = {
    "id": "1",
    "eventType": "Microsoft.Storage.BlobCreated",
    "subject": "x",
    "data": {"api": "PutBlob", "url": BLOB},
}
CLOUD = {"id": "1", "type": "Microsoft.Storage.BlobCreated", "source": "x", "data": {"url": BLOB}}
VERDICT = {"image": "web", "version": "1.0.0", "outcome": "passed", "name": "tests", "details": "x", "by": "ann"}


@pytest.fixture
def small(ctx: Context, monkeypatch: pytest.MonkeyPatch) -> Iterator[Context]:
    """The pipeline with a catalog of two images, as the triggers find it; what is rejected is remembered too."""
    found = dataclasses.replace(ctx, catalog=parse_catalog(yaml.safe_dump(CATALOG)))
    monkeypatch.setattr(triggers, "context", lambda: found)
    reject = triggers.reject

    def checked(ctx: Context, queue: str, message: bytes, reason: str) -> None:
        check_words(reason)
        reject(ctx, queue, message, reason)

    monkeypatch.setattr(triggers, "reject", checked)
    return found


def at_home(ctx: Context, message: bytes) -> bytes:
    return message.replace(b"BLOB", ctx.settings.blob_endpoint.encode())


@given(message=messages(REQUEST, RESOURCE))
@example(b"null")
@example(b"[]")
@example(b"[" * 20_000)
@example(json.dumps(REQUEST | {"image": "\ud800"}).encode())
@example(json.dumps(REQUEST | {"source": {"blob": "https://[account].blob.core.windows.net/x.vhd"}}).encode())
def test_any_request_is_taken_or_rejected(small: Context, message: bytes) -> None:
    triggers.publish_request(at_home(small, message))


@given(message=messages(GRID, CLOUD, [GRID, CLOUD]))
@example(json.dumps(GRID | {"data": {"url": "https://[account].blob.core.windows.net/x.vhd"}}).encode())
@example(json.dumps(GRID | {"data": {"url": "\ud800"}}).encode())
def test_any_event_is_taken_ignored_or_rejected(small: Context, message: bytes) -> None:
    triggers.upload_event(at_home(small, message))


@given(message=messages(VERDICT))
@example(json.dumps(VERDICT | {"version": "99999999999.0.0"}).encode())
def test_any_verdict_is_taken_or_rejected(small: Context, message: bytes) -> None:
    triggers.verdict(at_home(small, message), "1")


REASON = {"why": "CVE-2026-1", "by": "ann"}
OF_VERSION = "POST /images/{image}/versions/{version}"
BODIES: dict[str, list[Any]] = {
    "POST /publish": [REQUEST, RESOURCE],
    f"{OF_VERSION}/verdict": [{"outcome": "passed"}],
    f"{OF_VERSION}/approval": [{"by": "ann"}],
    f"{OF_VERSION}/withdrawal": [REASON | {"promoted": True}],
    f"{OF_VERSION}/reinstatement": [REASON],
    f"{OF_VERSION}/number-release": [REASON],
    "POST /images/{image}/rollback": [REASON | {"out": "1.0.0", "dry_run": True}],
    "POST /promotions": [{"image": "web", "version": "1.0.0", "dry_run": True}],
    "POST /promotions/{rule}/hold": [REASON],
    "POST /retention": [{"image": "web", "dry_run": True, "confirmed": {"web": ["1.0.0"]}}],
}
PARAMETERS = {"image": "web", "version": "1.0.0", "id": "web-1", "rule": "web-to-production"}
QUERY = {
    "image": "web", "state": "live", "since": "2026-01-01T00:00:00Z", "until": "2026-12-01", "limit": "5", "who": "key:reader",
    "next": "63000000000000000|web-20260101-000000-abcde",
}  # fmt: skip
TAKES_LESS = {"GET /images/{image}/versions": {"limit"}, "GET /audit": QUERY.keys() - {"image", "state"}}


@st.composite
def calls(draw: st.DrawFn) -> tuple[str, Call]:
    route = draw(st.sampled_from(sorted(HANDLERS)))
    named = {name: draw(st.just(good) | texts) for name, good in PARAMETERS.items() if f"{{{name}}}" in route}
    query = {key: draw(st.just(value) | texts) for key, value in QUERY.items() if draw(st.booleans())}
    if draw(st.integers(0, 5)):
        query = {key: value for key, value in query.items() if key in TAKES_LESS.get(route, QUERY)}
    sent = draw(messages(*BODIES[route]) if route in BODIES else st.binary(max_size=9))
    roles = frozenset({draw(st.sampled_from([Role.OPERATOR, *Role]))})
    name = draw(st.sampled_from(["ann", "a\nb", "é" * 300]))
    return route, Call("https://x/api", Caller("00000000-0000-4000-8000-000000000009", name, roles), named, query, sent)


@given(call=calls())
def test_any_call_gets_an_answer(small: Context, call: tuple[str, Call]) -> None:
    route, asked = call
    sent = dataclasses.replace(asked, body=at_home(small, asked.body))
    given_back = answer(route, lambda: (small, sent), HANDLERS)
    assert given_back.status < 500, given_back
    json.dumps(given_back.body)
    if given_back.status >= 400:
        error = given_back.body["error"]
        check_words(error["message"])
        for detail in error.get("details", []):
            assert detail["field"]
            check_words(detail["message"])


SOUND = yaml.safe_dump(CATALOG, sort_keys=False)
SPLICES = st.sampled_from(
    ["&a ", "*a", "<<: ", "- ", "? ", ": ", ":\n", "\t", "  ", "{", "}", "[", "]", "'", '"', "|\n", ">\n", "---\n", "...\n",
     "!!int ", "!x ", "%YAML 1.1\n", "#", "~", "\0", "\ufeff", "\ud800", "2026-13-45", "1:60", "0x", "9" * 5000, "é", "@",
     "[" * 200, "{a: " * 200, "&a [*a]", "<<: *a\n", "x: *x\n", "yes: ", "null: ", "9999999999w", ".inf", "-.nan", "\r"]
)  # fmt: skip


@st.composite
def catalogs(draw: st.DrawFn) -> bytes | str:
    match draw(st.integers(0, 5)):
        case 0:
            return draw(st.binary(max_size=80) | st.text(max_size=40))
        case 1 | 2:
            return yaml.safe_dump(draw(mutated(CATALOG)), sort_keys=False, allow_unicode=draw(st.booleans()))
    lines = SOUND.splitlines(keepends=True)
    for _ in range(draw(st.integers(1, 4))):
        n = draw(st.integers(0, len(lines) - 1))
        match draw(st.sampled_from(["splice", "splice", "double", "drop", "swap", "indent"])):
            case "splice":
                at = draw(st.integers(0, len(lines[n])))
                lines[n] = lines[n][:at] + draw(SPLICES) + lines[n][at:]
            case "double":
                lines.insert(draw(st.integers(0, len(lines))), lines[n])
            case "drop" if len(lines) > 1:
                del lines[n]
            case "swap":
                m = draw(st.integers(0, len(lines) - 1))
                lines[n], lines[m] = lines[m], lines[n]
            case "indent":
                lines[n] = " " * draw(st.integers(1, 3)) + lines[n]
    text = "".join(lines)
    encoding = draw(st.sampled_from([None] * 6 + ["utf-8", "utf-8-sig", "utf-16", "latin-1", "utf-32"]))
    return text.encode(encoding, errors="replace") if encoding else text


@given(text=catalogs())
def test_any_catalog_is_read_or_refused_in_words(text: bytes | str) -> None:
    try:
        parse_catalog(text)
        said = "sound"
    except CatalogError as fault:
        said = "\n".join([str(fault), *fault.faults])
    check_words(said)
