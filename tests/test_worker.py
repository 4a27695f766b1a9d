"""Microsoft's own worker library indexes the app and invokes every function of it."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline import engine
from pipeline.context import Context, context
from pipeline.runs import Run, Stage
from sandbox import disk
from sandbox import worker as worker_library
from sandbox.up import ROOT
from sandbox.worker import Message, trigger
from tests.azure import Azure, eventually
from tests.conftest import PROMOTED
from tests.steps import finish, message_of, runs_of, tell

if importlib.util.find_spec("azure_functions_runtime") is None:
    pytest.skip("azure-functions-runtime needs Python 3.13", allow_module_level=True)

EXPECTED = {
    "take_upload_event": "queueTrigger",
    "take_publish_request": "queueTrigger",
    "take_verdict": "queueTrigger",
    "take_step": "queueTrigger",
    "fail_poisoned_step": "queueTrigger",
    **dict.fromkeys(("sweep", "promote", "retire"), "timerTrigger"),
    "take_upload": "blobTrigger",
    **dict.fromkeys(
        (
            "publish",
            "list_runs",
            "show_run",
            "retry_run",
            "cancel_run",
            "list_images",
            "list_versions",
            "give_verdict",
            "approve_version",
            "withdraw_version",
            "reinstate_version",
            "release_number",
            "roll_back",
            "list_promotions",
            "promote_by_hand",
            "hold_promotion",
            "release_promotion",
            "retire_by_hand",
            "show_audit",
            "openapi",
        ),
        "httpTrigger",
    ),
}


class Worker(worker_library.Worker):
    """The worker library, started on the app."""

    def __init__(self) -> None:
        super().__init__(ROOT)

    def call(
        self, name: str, path: str, method: str = "GET", body: bytes = b"", headers: Any = None, **params: str
    ) -> tuple[str, Any]:
        """Call an HTTP function; the status and the JSON of its answer."""
        http = Message(
            method=method,
            url=f"https://app.example/api/{path}",
            headers=headers or {"x-functions-key": "operator.key"},  # the host has let it through
            body=Message(bytes=body),
            params=params,
            query={},
        )
        answer = self.invoke(name, "req", Message(http=http)).http
        return answer.status_code, json.loads(answer.body.bytes or b"null")

    def queue_message(self, name: str, text: str | bytes) -> None:
        body = text if isinstance(text, str) else text.decode()
        self.invoke(name, "message", Message(string=body), Id=Message(string="1"), DequeueCount=Message(string="1"))


@pytest.fixture
def worker(bare: Azure, ctx: Context, monkeypatch: pytest.MonkeyPatch) -> Worker:
    monkeypatch.setenv("VHD_BLOB_TRIGGER", "EventGrid")
    monkeypatch.setenv("CATALOG", str(bare.env["CATALOG"]))
    monkeypatch.syspath_prepend(str(ROOT))
    for name in ("function_app", "pipeline.triggers"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    context.cache_clear()
    yield Worker()
    context.cache_clear()


def test_every_function_is_indexed_with_its_trigger(worker: Worker) -> None:
    assert worker.triggers == EXPECTED
    assert trigger(worker.functions["take_upload"])["properties"] == {"SupportsDeferredBinding": True}


def test_an_event_begins_a_run_and_takes_its_first_step(
    worker: Worker, bare: Azure, ctx: Context, tmp_path: Path
) -> None:
    image = bare.image()
    worker.queue_message("take_upload_event", bare.event(bare.drop(image, disk.make_vhd(tmp_path / "x.vhd"))))
    (run,) = runs_of(ctx, image)
    assert run.stage is Stage.IMAGING


def test_a_blob_begins_a_run_by_its_name_alone(worker: Worker, bare: Azure, ctx: Context, tmp_path: Path) -> None:
    image = bare.image()
    blob = bare.drop(image, disk.make_vhd(tmp_path / "x.vhd"))
    content = {"Connection": "Storage", "ContainerName": "vhds", "BlobName": blob.blob_name}
    data = Message(
        version="1.0", source="AzureStorageBlobs", content_type="application/json", content=json.dumps(content).encode()
    )
    before = len(bare.storage_requests())
    worker.invoke("take_upload", "vhd", Message(model_binding_data=data))
    (run,) = runs_of(ctx, image)
    assert run.stage is Stage.IMAGING
    read = [r for r in bare.storage_requests()[before:] if r.method == "GET" and r.resource == f"vhds/{blob.blob_name}"]
    assert sum(request.sent for request in read) < 64 * 1024


def test_a_step_is_taken(worker: Worker, bare: Azure, ctx: Context, tmp_path: Path) -> None:
    run = begun(bare, ctx, tmp_path)
    worker.queue_message("take_step", message_of(run))
    assert ctx.runs.load(run.id)[0].stage is Stage.IMAGING


def test_a_poisoned_step_fails_its_run(worker: Worker, bare: Azure, ctx: Context, tmp_path: Path) -> None:
    run = begun(bare, ctx, tmp_path)
    worker.queue_message("fail_poisoned_step", message_of(run))
    run = finish(ctx, run.id)
    assert run.stage is Stage.FAILED
    assert "tried 5 times" in run.reason


def test_the_sweep_finds_what_nobody_told_of(worker: Worker, bare: Azure, ctx: Context, tmp_path: Path) -> None:
    image = bare.image()
    bare.drop(image, disk.make_vhd(tmp_path / "x.vhd"))
    timer = {"Schedule": {"AdjustForDST": True}, "ScheduleStatus": None, "IsPastDue": True}
    worker.invoke("sweep", "timer", Message(json=json.dumps(timer)))
    assert len(runs_of(ctx, image)) == 1
    bare.queue(engine.STEPS).clear_messages()


def test_the_nights_timers_do_their_work(
    worker: Worker, bare: Azure, ctx: Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = bare.image()
    for n in range(2):
        blob = bare.drop(image, disk.make_vhd(tmp_path / f"{n}.vhd"))
        finish(ctx, tell(bare, ctx, blob).id)
    catalog = yaml.safe_load(Path(bare.env["CATALOG"]).read_text())
    catalog["images"] = {image: catalog["images"][image] | {"keep": {"newest": 1}}}
    catalog["promotions"] = [{"from": image, "to": {"gallery": "production"}}]
    (tmp_path / "catalog.yaml").write_text(json.dumps(catalog))
    monkeypatch.setenv("CATALOG", str(tmp_path / "catalog.yaml"))
    timer = Message(json=json.dumps({"Schedule": {}, "ScheduleStatus": None, "IsPastDue": True}))
    worker.invoke("promote", "timer", timer)
    (promotion,) = runs_of(ctx, f"{image}-production")
    assert (promotion.promotion, promotion.source.rpartition("/")[2]) == (f"{image}-to-production", "1.0.1")
    assert finish(context(), promotion.id).version == "1.0.1"
    worker.invoke("retire", "timer", timer)
    eventually(lambda: bare.versions(image) == ["1.0.1"])
    bare.queue(engine.STEPS).clear_messages()


def test_a_verdict_is_taken(worker: Worker, bare: Azure, ctx: Context, tmp_path: Path) -> None:
    blob = bare.drop(PROMOTED, disk.make_vhd(tmp_path / "x.vhd"), "judged.vhd")
    version = finish(ctx, tell(bare, ctx, blob).id).version
    worker.queue_message("take_verdict", json.dumps({"image": PROMOTED, "version": version, "outcome": "passed"}))
    run = runs_of(ctx, PROMOTED)[-1]
    assert finish(ctx, run.id).stage is Stage.AMENDED
    assert bare.version(PROMOTED, version)["tags"]["tests"] == "passed"


def test_a_request_is_taken_by_queue(worker: Worker, bare: Azure, ctx: Context, tmp_path: Path) -> None:
    image = bare.image()
    blob = bare.drop(image, disk.make_vhd(tmp_path / "x.vhd"))
    request = {"image": image, "source": {"blob": blob.url}, "version": "2.2.1"}
    worker.queue_message("take_publish_request", json.dumps(request))
    (run,) = runs_of(ctx, image)
    assert finish(ctx, run.id).version == "2.2.1"


def test_a_request_is_taken_and_shown_by_http(worker: Worker, bare: Azure, ctx: Context, tmp_path: Path) -> None:
    image = bare.image()
    blob = bare.drop(image, disk.make_vhd(tmp_path / "x.vhd"))
    body = json.dumps({"image": image, "source": {"blob": blob.url}}).encode()

    status, accepted = worker.call("publish", "publish", "POST", body)
    assert status == "202"
    assert accepted["url"] == f"https://app.example/api/runs/{accepted['run']}"
    status, shown = worker.call("show_run", f"runs/{accepted['run']}", id=accepted["run"])
    assert (status, shown["image"], shown["history"][0]["note"]) == (
        "200",
        image,
        "begun, asked for by the operator's key",
    )
    assert worker.call("show_run", "runs/none", id="none")[0] == "404"
    bare.queue(engine.STEPS).clear_messages()


def test_whose_the_token_is_has_done_it(
    worker: Worker, bare: Azure, ctx: Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image, identity = bare.image(), bare.identity
    finish(ctx, tell(bare, ctx, bare.drop(image, disk.make_vhd(tmp_path / "x.vhd"))).id)
    monkeypatch.setenv("API_CLIENT_ID", identity.api_client_id)
    monkeypatch.setenv("API_TENANT_ID", identity.tenant_id)
    monkeypatch.setenv("API_AUTHORITY", f"{bare.sandbox.endpoints['arm']}/entra")
    monkeypatch.delitem(sys.modules, "function_app", raising=False)
    context.cache_clear()
    signed_in = Worker()
    assert trigger(worker.functions["publish"])["authLevel"] == "FUNCTION"
    assert trigger(signed_in.functions["publish"])["authLevel"] == "ANONYMOUS"
    asked = {"path": f"images/{image}/versions/1.0.0/approval", "method": "POST", "body": b'{"by": "mallory"}'}
    forged = {"x-ms-client-principal-id": "1", "x-ms-client-principal-name": "mallory@example.org"}
    assert signed_in.call("approve_version", **asked, headers=forged, image=image, version="1.0.0")[0] == "401"
    bearer = {"authorization": f"Bearer {identity.api_token(['Approver'], name='ann@example.org')}"}
    status, begun = signed_in.call("approve_version", **asked, headers=forged | bearer, image=image, version="1.0.0")
    assert status == "202"
    assert finish(ctx, begun["runs"][0]["run"]).stage is Stage.AMENDED
    assert bare.version(image, "1.0.0")["tags"]["approved"] == "ann@example.org"
    bare.queue(engine.STEPS).clear_messages()
    context.cache_clear()


def begun(azure: Azure, ctx: Context, folder: Path) -> Run:
    run = tell(azure, ctx, azure.drop(azure.image(), disk.make_vhd(folder / "x.vhd")))
    assert run
    return run
