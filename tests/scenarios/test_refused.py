"""What cannot be taken is refused at once, with every fault in words: by HTTP with 400, by queue in `rejected`."""

from __future__ import annotations

import base64
import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from azure.core.exceptions import ResourceNotFoundError

from pipeline import triggers
from pipeline.announce import REJECTED
from pipeline.context import Context
from pipeline.web.calls import Answer, Call, answer
from sandbox import disk
from sandbox.host.keys import Keys
from tests.azure import Azure, eventually
from tests.conftest import PROMOTED
from tests.steps import OPERATOR, call, runs_of

FOUR = {"image": "nope", "source": {"blob": "x"}, "version": "1.2", "bump": "minor"}
FIELDS = {"image", "source.blob", "version", "request"}


def post(ctx: Context, body: Any) -> Answer:
    return call(ctx, "POST /publish", body)


def faults(ctx: Context, body: Any) -> dict[str, str]:
    """What a request is refused with, by HTTP and by queue alike."""
    given = post(ctx, body)
    assert given.status == 400, given
    error = given.body["error"]
    found = {detail["field"]: detail["message"] for detail in error["details"]}
    assert queued(ctx, body) == error["message"]
    return found


def queued(ctx: Context, body: Any) -> str:
    """The reason that a message to publish-requests is rejected for."""
    sent = body if isinstance(body, bytes) else json.dumps(body).encode()
    reasons: list[str] = []

    def kept(_: Context, __: str, ___: bytes, reason: str) -> None:
        reasons.append(reason)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(triggers, "context", lambda: ctx)
        patch.setattr(triggers, "reject", kept)
        triggers.publish_request(sent)
    (reason,) = reasons
    return reason


def test_four_faults_are_told_at_once(ctx: Context) -> None:
    found = faults(ctx, FOUR)
    assert set(found) == FIELDS
    assert found["version"] == 'takes 1.4.0, 1.4.x or 1.x.x, not "1.2"'
    assert found["request"] == "takes version or bump, not both"
    assert found["image"].startswith('the catalog has no image "nope"; it has arm-000, ')
    assert found["source.blob"].startswith("takes the address of a blob in https://127.0.0.1")
    assert 'version takes 1.4.0, 1.4.x or 1.x.x, not "1.2"' in queued(ctx, FOUR)


def test_what_catalog_and_storage_rule_out_is_told_beside_the_form(ctx: Context) -> None:
    other = "/subscriptions/other/resourceGroups/g/providers/Microsoft.Compute/snapshots/x"
    body = {
        "image": PROMOTED,
        "source": {"snapshot": other},
        "tags": {"tests": "passed", "Env": "a", "env": "b"},
        "x": 1,
    }
    assert set(faults(ctx, body)) == {"source.snapshot", "tags.tests", "tags", "x"}
    sound = body | {"tags": {"tests": "passed"}}
    del sound["x"]
    assert set(faults(ctx, sound)) == {"source.snapshot", "tags.tests"}
    disks = {"blob": "https://elsewhere.example/x.vhd", "data_disks": [{"lun": 99, "blob": "y"}, {"lun": 1, "blob": 2}]}
    assert set(faults(ctx, {"image": "web-000", "source": disks})) == {
        "source.blob", "source.data_disks.0.lun", "source.data_disks.0.blob", "source.data_disks.1.blob",
    }  # fmt: skip


@pytest.mark.parametrize("past", ["snapshot=2026-11-25T09:00:00.0000000Z", "versionid=2026-11-25T09:00:00.0000000Z"])
def test_a_blob_as_it_was_is_no_source(bare: Azure, ctx: Context, tmp_path: Path, past: str) -> None:
    image = bare.image()
    url = bare.drop(image, disk.make_vhd(tmp_path / "x.vhd", 20)).url
    found = faults(ctx, {"image": image, "source": {"blob": f"{url}?{past}"}})
    assert "az storage blob copy start" in found["source.blob"]
    assert past in found["source.blob"]
    disks = {"blob": url, "data_disks": [{"lun": 0, "blob": f"{url}?{past}"}]}
    assert set(faults(ctx, {"image": image, "source": disks})) == {"source.data_disks.0.blob"}
    event = bare.event(bare.blob(image, "x.vhd")).replace("x.vhd", f"x.vhd?{past}").encode()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(triggers, "context", lambda: ctx)
        triggers.upload_event(event)
    assert runs_of(ctx, image) == []


def test_a_sas_is_left_out_of_an_address(bare: Azure, ctx: Context, tmp_path: Path) -> None:
    image = bare.image()
    url = bare.drop(image, disk.make_vhd(tmp_path / "x.vhd", 20)).url
    given = post(ctx, {"image": image, "source": {"blob": f"{url}?sv=2024-11-04&sr=b&sp=r&sig=secret"}})
    assert given.status == 202
    (run,) = runs_of(ctx, image)
    assert run.source == url


@pytest.mark.parametrize("name", ["x.img", "disk", "x.vhd.bak", "x.vhdx"])
def test_a_blob_that_does_not_end_in_vhd_is_refused(bare: Azure, ctx: Context, tmp_path: Path, name: str) -> None:
    image = bare.image()
    url = bare.drop(image, disk.make_vhd(tmp_path / "x.vhd", 20), name).url
    assert ".vhd" in faults(ctx, {"image": image, "source": {"blob": url}})["source.blob"]
    whole = bare.drop(image, tmp_path / "x.vhd", "X.VHD").url
    disks = {"blob": whole, "data_disks": [{"lun": 0, "blob": url}]}
    assert set(faults(ctx, {"image": image, "source": disks})) == {"source.data_disks.0.blob"}
    assert post(ctx, {"image": image, "source": {"blob": whole}}).status == 202


@pytest.mark.parametrize(
    ("body", "field", "says"),
    [
        (b"null", "request", "takes an object, not null"),
        (b"[]", "request", "takes an object, not a list"),
        (b"5", "request", "takes an object, not a number"),
        (b'"text"', "request", 'takes an object, not "text"'),
        (b"[" * 20_000 + b"]" * 20_000, "request", "more than 64 deep"),
        (b'{"image": "\\ud800"}', "image", "half of a character"),
        (b'{"image": "a", "image": "b"}', "request", 'an object names "image" twice'),
        (b'{"source": {"blob": "https://[account].blob.core.windows.net/vhds/x.vhd"}}', "source.blob", "takes the address"),
        (b'{"source": {"blob": "https://[::1/vhds/x.vhd"}}', "source.blob", "takes the address"),
    ],
)  # fmt: skip
def test_a_body_of_any_form_is_answered_in_words(ctx: Context, body: bytes, field: str, says: str) -> None:
    given = post(ctx, body)
    assert given.status == 400
    found = {detail["field"]: detail["message"] for detail in given.body["error"]["details"]}
    assert says in found[field]
    assert says in queued(ctx, body)


@pytest.mark.parametrize("wrong", ["1.0", "x", "٣.١.٤", "../..", "9999999999.0.0", "1.0.0?a=b"])
@pytest.mark.parametrize("what", ["approval", "withdrawal", "reinstatement"])
def test_a_route_names_a_version(ctx: Context, what: str, wrong: str) -> None:
    said = {"by": "ann"} if what == "approval" else {"why": "x"}
    route = f"POST /images/{{image}}/versions/{{version}}/{what}"
    given = call(ctx, route, said, OPERATOR, image="web-000", version=wrong)
    assert (given.status, given.body["error"]["details"][0]["field"]) == (400, "version")


def test_a_fault_of_the_program_is_answered_and_tells_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    def broken() -> tuple[Context, Call]:
        raise ZeroDivisionError("secret")

    given = answer("POST /publish", broken, {})
    assert (given.status, given.body["error"]["code"]) == (500, "Internal")
    assert "secret" not in json.dumps(given.body)
    assert "ZeroDivisionError" not in json.dumps(given.body)


UNREADABLE = [
    b"null",
    b"[" * 20_000,
    b'{"image": "\\ud800", "source": {"blob": "https://[account].blob.core.windows.net/x.vhd"}}',
    b'{"a": NaN}',
    "\ufeff[]".encode("utf-16-le"),
]


def test_nothing_that_is_sent_to_the_host_goes_unanswered(hosted: Azure) -> None:
    base = hosted.sandbox.endpoints["functions"] + "/api"
    with httpx.Client(base_url=base, headers={"x-functions-key": Keys.load(hosted.state).function}, timeout=30) as api:
        for body in UNREADABLE:
            given = api.post("publish", content=body)
            assert given.status_code == 400, body[:40]
            assert given.json()["error"]["details"]
        given = api.post("publish", content=base64.encodebytes(json.dumps(FOUR).encode()))
        assert {detail["field"] for detail in given.json()["error"]["details"]} == FIELDS


@pytest.mark.parametrize("queue", ["publish-requests", "verdicts", "vhd-uploads"])
def test_what_a_queue_brings_that_cannot_be_read_is_kept_and_never_poisoned(hosted: Azure, queue: str) -> None:
    sent = [b"null", b"[" * 20_000, b"{}", *([] if queue == "vhd-uploads" else UNREADABLE)]
    encoded = {base64.b64encode(message).decode() for message in sent}
    for message in encoded:
        hosted.queue(queue).send_message(message)
    container = hosted.blobs.get_container_client(REJECTED)

    def kept() -> bool:
        names = [blob.name for blob in container.list_blobs(f"{queue}/")]
        found = [json.loads(container.download_blob(name).readall()) for name in names]
        return {entry["message"] for entry in found if entry["reason"]} >= encoded

    assert eventually(kept)
    with suppress(ResourceNotFoundError):  # it is made for the first message that it takes
        assert hosted.queue(f"{queue}-poison").peek_messages() == []
