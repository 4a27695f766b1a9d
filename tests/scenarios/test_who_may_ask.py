"""Who may ask for a version of an image, of what, and what they may say of it."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from azure.storage.blob import BlobClient

from pipeline import intake, triggers
from pipeline.access import Caller, NotAllowed, Role
from pipeline.context import Context
from pipeline.events import BlobCreated
from pipeline.intake import RequestConflict, take_event, take_request, take_upload
from pipeline.requests import InvalidRequest, parse_request
from pipeline.runs import MOST_ASKERS, Run, Stage
from pipeline.source import SourceKind
from sandbox import disk
from tests.azure import Azure, eventually
from tests.conftest import SUBSCRIPTION
from tests.steps import OPERATOR, PUBLISHER, call, finish, runs_of, tell, with_image

ANN, BOB = (
    Caller(f"5b2c1d7e-0000-4000-8000-00000000000{n}", name, frozenset({Role.PUBLISHER}))
    for n, name in ((1, "ann"), (2, "bob"))
)
EVE = Caller("5b2c1d7e-0000-4000-8000-000000000003", "eve", frozenset({Role.OPERATOR}))


@pytest.fixture
def vhd(tmp_path: Path) -> Path:
    return disk.make_vhd(tmp_path / "x.vhd", 20)


def ask(ctx: Context, image: str, blob: BlobClient, caller: Caller = PUBLISHER, **fields: Any) -> Run:
    asked = {"image": image, "source": {"blob": blob.url}, **fields}
    return take_request(ctx, parse_request(asked), caller).run


def refused(ctx: Context, asked: dict[str, Any], caller: Caller = PUBLISHER) -> dict[str, str]:
    """The fields that a request is refused for, and why."""
    given = call(ctx, "POST /publish", asked, caller)
    assert given.status == 400, given.body
    return {fault["field"]: fault["message"] for fault in given.body["error"]["details"]}


def history(ctx: Context, run: Run) -> list[str]:
    return [line.note for line in ctx.runs.history(run.id)]


@pytest.mark.parametrize(
    "path", ["vhds/{image}/../other/x.vhd", "vhds/{image}/%2e%2e/other/x.vhd", "vhds/{image}/./x.vhd", "vhds/{image}//x.vhd",
             "vhds/{image}/%252e%252e/other/x.vhd", "vhds/{image}/x%5c..%5cx.vhd", "vhds/{image}/\uff0e\uff0e/x.vhd"],
)  # fmt: skip
def test_no_other_way_to_a_blob_is_a_source_by_any_door(
    bare: Azure, ctx: Context, caplog: pytest.LogCaptureFixture, path: str, vhd: Path
) -> None:
    image = bare.image()
    url = f"{ctx.settings.blob_endpoint}/{path.format(image=image)}"
    whole = bare.drop(image, vhd).url
    asked = {"image": image, "source": {"blob": url, "data_disks": [{"lun": 0, "blob": url}]}}
    found = refused(ctx, asked)
    assert set(found) == {"source.blob", "source.data_disks.0.blob"}
    asked["source"]["blob"] = whole
    assert set(refused(ctx, asked)) == {"source.data_disks.0.blob"}
    assert take_event(ctx, BlobCreated("1", url)) == []
    assert take_upload(ctx, *path.format(image=image).split("/", 1)) == []
    assert runs_of(ctx, image) == []


def test_a_data_disk_is_a_source_like_any_other(bare: Azure, ctx: Context, vhd: Path) -> None:
    image, other = bare.image(), bare.image()
    own, theirs = bare.drop(image, vhd), bare.drop(other, vhd)
    narrow = with_image(ctx, image, sources=[f"vhds/data/{image}/*.vhd"])
    disks = [{"lun": 0, "blob": theirs.url}]
    asked = {"image": image, "source": {"blob": own.url, "data_disks": disks}}
    found = refused(narrow, asked)
    assert set(found) == {"source.data_disks.0.blob"}
    assert found["source.data_disks.0.blob"].startswith(
        f"the catalog does not allow this source for {image}, which takes vhds/{image}/*.vhd or vhds/data/{image}/*.vhd"
    )
    disks[0]["blob"] = theirs.url.replace(other, f"data/{image}")
    assert call(narrow, "POST /publish", asked).status == 202


def test_an_image_takes_by_request_what_is_dropped_for_it_and_nothing_else(
    bare: Azure, ctx: Context, vhd: Path
) -> None:
    image = bare.image()
    own, elsewhere = bare.drop(image, vhd), bare.blobs.get_blob_client("vhds", f"elsewhere/{image}.vhd")
    narrow = with_image(ctx, image, sources=[])
    compute = f"{SUBSCRIPTION}/resourceGroups/rg-images/providers/Microsoft.Compute"
    sources = {
        "blob": elsewhere.url,
        "managed_image": f"{compute}/images/x",
        "snapshot": f"{compute}/snapshots/x",
        "disk": f"{compute}/disks/x",
        "vm": f"{compute}/virtualMachines/x",
        "image_version": f"{compute}/galleries/galStaging/images/{image}/versions/1.0.0",
    }
    for kind, named in sources.items():
        found = refused(narrow, {"image": image, "source": {kind: named}})
        assert "does not allow this source" in found[f"source.{kind}"]
    assert ask(narrow, image, own).stage is Stage.AWAITING_UPLOAD


def test_a_resource_is_one_source_however_its_id_is_written(bare: Azure, ctx: Context) -> None:
    image, group = bare.image(), f"{SUBSCRIPTION}/resourceGroups/rg-images/providers/Microsoft.Compute"
    name = f"{group}/disks/{image}-case"
    creation = {"creationData": {"createOption": "Empty"}, "diskSizeGB": 10, "osType": "Linux"}
    body = {"location": "westeurope", "properties": creation | {"hyperVGeneration": "V2"}}
    bare.arm.put(name, params={"api-version": "2024-03-02"}, json=body).raise_for_status()
    runs = {
        take_request(ctx, parse_request({"image": image, "source": {"disk": named}}), PUBLISHER).run.id
        for named in (name, name.upper(), name.replace("rg-images", "RG-Images") + "/")
    }
    assert len(runs) == 1


@pytest.mark.parametrize("tag", ["tests", "Tests", "TESTS"])
def test_no_request_gives_a_tag_that_a_rule_requires_for_whichever_image(
    bare: Azure, ctx: Context, vhd: Path, tag: str
) -> None:
    image = bare.image()  # no rule promotes it
    blob = bare.drop(image, vhd)
    assert ctx.catalog.verdicts_on(image) == set()
    found = refused(ctx, {"image": image, "source": {"blob": blob.url}, "tags": {tag: "passed"}}, OPERATOR)
    assert found == {f"tags.{tag}": "a promotion rule requires it: it takes a verdict on the version"}


def test_no_tag_comes_along_with_a_source(bare: Azure, ctx: Context, vhd: Path) -> None:
    image, api = bare.image(), {"api-version": "2024-07-01"}
    blob = bare.drop(image, vhd)
    blob.set_blob_tags({"tests": "passed"})
    blob.set_blob_metadata({"tests": "passed"})
    made = f"{SUBSCRIPTION}/resourceGroups/rg-images/providers/Microsoft.Compute/images/{image}-tagged"
    os_disk = {"osType": "Linux", "osState": "Generalized", "blobUri": blob.url}
    body = {"location": "westeurope", "tags": {"tests": "passed", "approved": "me"}}
    body["properties"] = {"storageProfile": {"osDisk": os_disk}, "hyperVGeneration": "V2"}
    bare.arm.put(made, params=api, json=body).raise_for_status()
    eventually(lambda: bare.arm.get(made, params=api).json()["properties"]["provisioningState"] == "Succeeded")
    for source in ({"managed_image": made}, {"blob": blob.url}):
        run = take_request(ctx, parse_request({"image": image, "source": source}), PUBLISHER).run
        run = finish(ctx, run.id)
        assert run.stage is Stage.PUBLISHED, run.reason
        assert not {"tests", "approved"} & set(bare.version(image, str(run.version))["tags"])


def test_what_is_an_operator_s_is_refused_to_others_all_at_once(bare: Azure, ctx: Context, vhd: Path) -> None:
    image = bare.image()
    asked = {"image": image, "source": {"blob": bare.drop(image, vhd).url}, "version": "7.0.0", "jump": True}
    asked |= {"tags": {"Keep": "true", "tests": "passed", "commit": "abc"}}
    for caller in (PUBLISHER, ANN):
        found = refused(ctx, asked, caller)
        assert set(found) == {"jump", "tags.Keep", "tags.tests"}
        for field in ("jump", "tags.Keep"):
            assert found[field].startswith("takes the role operator: leave it out, or let an operator ask")
    assert set(refused(ctx, asked | {"colour": "red"}, ANN)) == {"jump", "tags.Keep", "tags.tests", "colour"}
    del asked["tags"]["tests"]
    assert call(ctx, "POST /publish", asked, EVE).status == 202
    (run,) = runs_of(ctx, image)
    assert (run.may_jump, run.tags["Keep"]) == (True, "true")
    assert refused(ctx, asked | {"jump": "yes"}, EVE) == {"jump": 'takes true or false, not "yes"'}


def test_a_jump_is_for_the_number_that_an_operator_named(bare: Azure, ctx: Context, vhd: Path) -> None:
    image = bare.image()
    blob = bare.drop(image, vhd)
    ask(ctx, image, blob, EVE, version="7.0.0", jump=True)
    assert ask(ctx, image, blob, ANN, version="900.0.0").may_jump is False
    assert ask(ctx, image, blob, EVE, jump=True).may_jump is True


def test_who_asked_is_kept_with_the_run_and_told_in_its_history(bare: Azure, ctx: Context, vhd: Path) -> None:
    image = bare.image()
    blob = bare.drop(image, vhd)
    first = ask(ctx, image, blob, ANN, request_id="a-1")
    assert first.asked_by == [ANN.id]
    assert ask(ctx, image, blob, ANN, request_id="a-1").generation == 1, "who asks twice changes nothing"
    run = ask(ctx, image, blob, BOB, request_id="b-1")
    assert (run.id, run.asked_by, run.request_id) == (first.id, [ANN.id, BOB.id], "a-1")
    assert history(ctx, run) == ["begun, asked for by ann: a-1", "asked for by bob: b-1"]
    others = [Caller(f"{n:08}-0000-4000-8000-000000000000", str(n)) for n in range(MOST_ASKERS - 1)]
    for other in others[:-1]:
        run = ask(ctx, image, blob, other)
    assert run.asked_by == [ANN.id, BOB.id, *(other.id for other in others[:-1])]
    with pytest.raises(RequestConflict, match=f"{MOST_ASKERS} callers have asked for the run {run.id}"):
        ask(ctx, image, blob, others[-1])  # whoever is not written down could approve what they asked for
    assert ask(ctx, image, blob, BOB).asked_by == run.asked_by


def test_who_asks_for_what_was_dropped_or_failed_joins_it(bare: Azure, ctx: Context, vhd: Path) -> None:
    image = bare.image()
    blob = bare.drop(image, vhd)
    tell(bare, ctx, blob)
    run = ask(ctx, image, blob, ANN)
    assert (run.asked_by, history(ctx, run)) == ([ANN.id], ["begun", "asked for by ann"])
    rule = {"westeurope": {"seconds": 0.05, "outcome": "Failed"}}
    bare.arm.post("/sandbox/replication", json={"regions": rule, "path": image}).raise_for_status()
    assert finish(ctx, run.id).stage is Stage.FAILED
    bare.clear()
    again = ask(ctx, image, blob, BOB, request_id="b-2")
    assert (again.id, again.asked_by) == (run.id, [ANN.id, BOB.id])
    assert "tried again, asked for by bob: b-2" in history(ctx, run)
    assert finish(ctx, run.id).stage is Stage.PUBLISHED


def by_queue(ctx: Context, asked: dict[str, Any], patch: pytest.MonkeyPatch) -> str:
    """Why a message is rejected, empty where it is taken."""
    reasons: list[str] = []
    patch.setattr(triggers, "context", lambda: ctx)
    patch.setattr(triggers, "reject", lambda _, __, ___, reason: reasons.append(reason))
    triggers.publish_request(json.dumps(asked).encode())
    return "".join(reasons)


def test_publishers_of_an_image_and_operators_ask_for_versions_and_nobody_else(
    bare: Azure, ctx: Context, vhd: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = bare.image()
    blob = bare.drop(image, vhd)
    narrow = with_image(ctx, image, publishers=[ANN.id])
    asked = {"image": image, "source": {"blob": blob.url}, "request_id": "n-1"}
    for caller in (BOB, PUBLISHER):
        given = call(narrow, "POST /publish", asked, caller)
        assert (given.status, given.body["error"]["code"]) == (403, "NotAllowed")
        assert image in given.body["error"]["message"]
        assert f"images.{image}.publishers" in given.body["error"]["message"]
    assert "queue publish-requests may not ask for versions" in by_queue(narrow, asked, monkeypatch)
    assert runs_of(ctx, image) == []
    run = ask(narrow, image, blob, ANN, request_id="n-1")
    with pytest.raises(NotAllowed):  # joins no run, either
        ask(narrow, image, blob, BOB, version="9.0.0")
    assert ask(narrow, image, blob, EVE).asked_by == [ANN.id, EVE.id]
    assert call(narrow, "POST /runs/{id}/cancel", {}, ANN, id=run.id).status == 202
    finish(ctx, run.id)
    with pytest.raises(NotAllowed):  # nor tries one again
        ask(narrow, image, blob, BOB)
    moved = with_image(ctx, image, publishers=[BOB.id])
    assert call(moved, "POST /runs/{id}/retry", {}, ANN, id=run.id).status == 403
    open_to_queue = with_image(ctx, image, publishers=["queue"])
    assert by_queue(open_to_queue, asked, monkeypatch) == ""
    assert [found.asked_by for found in runs_of(ctx, image)] == [[ANN.id, EVE.id], ["queue:publish-requests"]]


def test_a_promotion_is_its_rule_s_and_nobody_s_who_asks_for_the_same_version(
    bare: Azure, ctx: Context, vhd: Path
) -> None:
    image, target = bare.image(), bare.image()
    finish(ctx, ask(ctx, image, bare.drop(image, vhd)).id)
    source = f"{bare.definition(image)}/versions/1.0.0"
    content = ctx.compute.source(SourceKind.IMAGE_VERSION, source).fingerprint
    promotion = Run.draft(
        target, source, kind=SourceKind.IMAGE_VERSION, etag=content, stage=Stage.INSPECTING, promotion="rule"
    )
    ctx.sources.claim(target, source, content, promotion.id)
    assert ctx.runs.begin(promotion)
    asked = {"image": target, "source": {"image_version": source.upper()}, "version": "9.0.0", "tags": {"a": "b"}}
    run = take_request(ctx, parse_request(asked), ANN).run
    assert (run.id, run.asked_by, run.wish, run.tags) == (promotion.id, [], None, {})
    assert call(ctx, "POST /runs/{id}/cancel", {}, ANN, id=run.id).status == 403


def test_an_id_is_the_image_s_own(bare: Azure, ctx: Context, vhd: Path) -> None:
    one, two = bare.image(), bare.image()
    first = ask(ctx, one, bare.drop(one, vhd), request_id="build-1")
    second = ask(ctx, two, bare.drop(two, vhd), request_id="build-1")
    assert first.id != second.id


def test_a_request_that_is_refused_leaves_its_id_free(bare: Azure, ctx: Context, vhd: Path) -> None:
    image = bare.image()
    blob, gone = bare.drop(image, vhd), bare.blob(image, "gone.vhd")
    mine = {"request_id": "build-1"}
    with pytest.raises(InvalidRequest, match="does not exist"):
        ask(ctx, image, gone, **mine)
    with pytest.raises(InvalidRequest, match="a promotion rule requires it"):
        ask(ctx, image, blob, **mine, tags={"tests": "passed"})
    with pytest.raises(NotAllowed):
        ask(with_image(ctx, image, publishers=[ANN.id]), image, blob, BOB, **mine, bump="major")
    disks = f"{SUBSCRIPTION}/resourceGroups/rg-images/providers/Microsoft.Compute/disks/{image}"
    bare.fault(path=f".*/disks/{image}", status=403)
    with pytest.raises(InvalidRequest, match="this identity may not read it"):
        take_request(ctx, parse_request({"image": image, "source": {"disk": disks}, **mine}), PUBLISHER)
    bare.clear()
    assert ctx.requests.bound(image, "build-1") is None
    assert ask(ctx, image, blob, **mine).request_id == "build-1"


def test_of_many_requests_with_one_id_one_begins_a_run(bare: Azure, ctx: Context, vhd: Path) -> None:
    image = bare.image()
    blobs = [bare.drop(image, vhd, f"{n}.vhd") for n in range(3)]

    def one(n: int) -> str | None:
        try:
            return ask(ctx, image, blobs[n % 3], request_id="build-1").id
        except RequestConflict as fault:
            assert "came with other content before" in str(fault)  # noqa: PT017 - others may well be taken
            return None

    with ThreadPoolExecutor(9) as pool:
        taken = set(pool.map(one, range(9)))
    (run,) = runs_of(ctx, image)
    assert taken == {run.id, None}
    bound = ctx.requests.bound(image, "build-1")
    assert bound
    assert bound.run == run.id


def test_an_id_bound_by_a_function_that_died_is_free_once_no_run_can_come_of_it(
    bare: Azure, ctx: Context, monkeypatch: pytest.MonkeyPatch, vhd: Path
) -> None:
    image = bare.image()
    blob = bare.drop(image, vhd)
    ctx.requests.bind(image, "build-1", f"{image}-never-begun", "other content", over=None)
    with pytest.raises(RequestConflict, match="other content before"):
        ask(ctx, image, blob, request_id="build-1")
    assert runs_of(ctx, image) == []
    monkeypatch.setattr(intake, "_BEGINNING", timedelta())
    run = ask(ctx, image, blob, request_id="build-1")
    assert run.request_id == "build-1"
    with pytest.raises(RequestConflict, match=run.id):
        ask(ctx, image, blob, request_id="build-1", bump="major")
