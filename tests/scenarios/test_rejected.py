"""A message that no further try mends is kept and told of once, without secrets; only what may pass comes again."""

from __future__ import annotations

import base64
import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from typing import Any

import pytest
from azure.core.pipeline.transport import RequestsTransport

from pipeline import triggers
from pipeline.announce import REJECTED
from pipeline.cloud.faults import Conflict
from pipeline.context import Context
from tests.azure import Azure
from tests.conftest import PROMOTED
from tests.steps import runs_of

MIB = 1024 * 1024


@pytest.fixture(autouse=True)
def _connected(ctx: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(triggers, "context", lambda: ctx)


@contextmanager
def answering(status: int, asked: str) -> Iterator[None]:
    """Azure answers this thread's requests whose method and URL match `asked` with another status than it would."""
    send, here = RequestsTransport.send, threading.get_ident()

    def changed(transport: Any, request: Any, **options: Any) -> Any:
        answer = send(transport, request, **options)
        if threading.get_ident() == here and re.search(asked, f"{request.method} {request.url}"):
            answer.status_code = status
        return answer

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RequestsTransport, "send", changed)
        yield


def kept(azure: Azure, queue: str, message: bytes) -> list[dict[str, str]]:
    """What was kept of a message, of which the topic heard as often."""
    digest = sha256(message).hexdigest()[:16]
    container = azure.blobs.get_container_client(REJECTED)
    found = [
        json.loads(container.download_blob(blob.name).readall())
        for blob in container.list_blobs(f"{queue}/")
        if digest in blob.name
    ]
    name = re.compile(rf"{REJECTED}/{queue}/.*{digest}")
    told = {event["id"] for event in azure.arm.get("/topic/events").json() if name.match(event["data"].get("kept", ""))}
    assert len(told) == len(found)
    return found


def dropped(azure: Azure, name: str) -> tuple[str, str]:
    """A VHD whose upload has only begun: its image, and its address."""
    image = azure.image()
    blob = azure.blob(image, name)
    blob.create_page_blob(20 * MIB + 512)
    return image, blob.url


def created(*urls: str | None) -> bytes:
    kind = "Microsoft.Storage.BlobCreated"
    return json.dumps([{"id": "1", "eventType": kind, "data": {"url": url}} for url in urls]).encode()


DEEP = b"[" * 20_000 + b"]" * 20_000
READERS: dict[str, Callable[[bytes], None]] = {
    "vhd-uploads": triggers.upload_event,
    "publish-requests": triggers.publish_request,
    "verdicts": lambda message: triggers.verdict(message, "m"),
    "run-steps": triggers.run_step,
    "run-steps-poison": triggers.poisoned_step,
}


@pytest.mark.parametrize("queue", list(READERS))
@pytest.mark.parametrize(
    "message",
    [
        DEEP,
        base64.b64encode(DEEP),
        b'{"a":' * 70 + b"1" + b"}" * 70,
        b"what?",
        b"\xff\x00",
        b"",
        b"[" + b"0," * 30_000 + b"0]",
    ],
    ids=["deep", "deep in base64", "objects", "text", "bytes", "empty", "many"],
)
def test_what_cannot_be_read_is_rejected_by_every_queue(bare: Azure, queue: str, message: bytes) -> None:
    READERS[queue](message)
    (entry,) = kept(bare, queue, message)
    assert entry["queue"] == queue
    assert entry["reason"]


def test_an_event_that_cannot_be_taken_keeps_no_other(bare: Azure, ctx: Context) -> None:
    (first, one), (denied, two), (last, three) = (dropped(bare, f"{n}.vhd") for n in "abc")
    message = created(one, None, two, three)
    with answering(403, f"HEAD .*/{denied}/"):
        triggers.upload_event(message)
    assert [len(runs_of(ctx, image)) for image in (first, denied, last)] == [1, 0, 1]
    (entry,) = kept(bare, "vhd-uploads", message)
    assert "event 1: a BlobCreated event has data.url" in entry["reason"]
    assert two in entry["reason"]
    assert three not in entry["reason"]


def test_an_event_that_may_pass_brings_its_message_again_and_keeps_no_other(bare: Azure, ctx: Context) -> None:
    (first, one), (busy, two), (last, three) = (dropped(bare, f"{n}.vhd") for n in "abc")
    message = created(one, two, three)
    with answering(409, f"HEAD .*/{busy}/"), pytest.raises(Conflict):
        triggers.upload_event(message)
    assert [len(runs_of(ctx, image)) for image in (first, busy, last)] == [1, 0, 1]
    triggers.upload_event(message)
    assert [len(runs_of(ctx, image)) for image in (first, busy, last)] == [1, 1, 1]
    assert kept(bare, "vhd-uploads", message) == []


@pytest.mark.parametrize("status", [400, 403, 404])
def test_a_verdict_that_azure_refuses_is_rejected(bare: Azure, status: int) -> None:
    message = json.dumps({"image": PROMOTED, "version": f"1.0.{status}", "outcome": "passed"}).encode()
    with answering(status, "GET .*/versions/"):
        triggers.verdict(message, f"m{status}")
    (entry,) = kept(bare, "verdicts", message)
    assert entry["message"] == message.decode()
    assert str(status) in entry["reason"]


@pytest.mark.parametrize("status", [400, 403])
def test_a_request_that_azure_refuses_is_rejected(bare: Azure, status: int) -> None:
    image, url = dropped(bare, "x.vhd")
    message = json.dumps({"image": image, "source": {"blob": url}}).encode()
    with answering(status, "(POST|PUT|PATCH|MERGE|GET) .*/(ledger|sources|runs)"):
        triggers.publish_request(message)
    (entry,) = kept(bare, "publish-requests", message)
    assert entry["reason"]


@pytest.mark.parametrize("queue", ["publish-requests", "verdicts"])
def test_what_may_pass_comes_again(bare: Azure, queue: str) -> None:
    image, url = dropped(bare, "x.vhd")
    asked = {
        "publish-requests": {"image": image, "source": {"blob": url}},
        "verdicts": {"image": PROMOTED, "version": "1.0.0", "outcome": "passed"},
    }
    message = json.dumps(asked[queue]).encode()
    with answering(409, f"(HEAD .*/{image}/|GET .*/versions/)"), pytest.raises(Conflict):
        READERS[queue](message)
    assert kept(bare, queue, message) == []


SAS = "https://a.blob.core.windows.net/vhds/x.vhd?sv=2024-11-04&sr=b&sig=SECRET%2Bx%3D"


@pytest.mark.parametrize("encode", [bytes, base64.b64encode], ids=["plain", "base64"])
@pytest.mark.parametrize(
    ("queue", "text"),
    [
        ("publish-requests", json.dumps({"image": "nope", "source": {"blob": SAS}, "version": SAS, "request_id": SAS})),
        ("publish-requests", json.dumps({"image": SAS, SAS: 1}).replace("/", "\\/").replace("?", "\\u003f")),
        ("publish-requests", f"publish {SAS}"),
        ("verdicts", json.dumps({"image": "nope", "version": SAS, "outcome": SAS, "details": f"see {SAS}"})),
        ("vhd-uploads", f'[{{"eventType": "Microsoft.Storage.BlobCreated", "data": {{}}, "subject": "{SAS}"}}]'),
        ("run-steps", json.dumps({"run": SAS})),
    ],
)
def test_no_sas_is_kept_logged_or_told(
    bare: Azure, capfd: pytest.CaptureFixture[str], queue: str, text: str, encode: Any
) -> None:
    message = encode(text.encode())
    READERS[queue](message)
    (entry,) = kept(bare, queue, message)
    assert "x.vhd?..." in entry["message"]
    told = bare.arm.get("/topic/events").text
    for said in (json.dumps(entry), told, *capfd.readouterr()):
        assert "SECRET" not in said
        assert base64.b64encode(b"SECRET")[:7].decode() not in said
