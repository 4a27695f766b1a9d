"""A content is one source whatever becomes of its headers, and nothing after publishing fails a run."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path

import pytest
from azure.storage.blob import BlobClient, ContentSettings

from pipeline import engine
from pipeline.context import Context
from pipeline.intake import RequestConflict, take_request
from pipeline.requests import parse_request
from pipeline.runs import Run, Stage
from pipeline.stages.marks import source_tag
from pipeline.sweep import sweep
from sandbox import disk
from tests.azure import Azure
from tests.cli.command import gallerist
from tests.steps import PUBLISHER, call, finish, runs_of, tell


def hashed(blob: BlobClient, vhd: Path) -> BlobClient:
    """Give a blob the Content-MD5 that azcopy --put-md5 ends with."""
    md5 = hashlib.md5(vhd.read_bytes(), usedforsecurity=False).digest()
    blob.set_http_headers(ContentSettings(content_md5=bytearray(md5)))
    return blob


def ask(ctx: Context, image: str, blob: BlobClient, **fields: object) -> Run:
    return take_request(ctx, parse_request({"image": image, "source": {"blob": blob.url}, **fields}), PUBLISHER).run


def test_a_leased_vhd_is_published_and_tagged_when_the_lease_ends(bare: Azure, ctx: Context, tmp_path: Path) -> None:
    image = bare.image()
    blob = bare.drop(image, disk.make_vhd(tmp_path / "x.vhd"))
    lease = blob.acquire_lease()
    run = finish(ctx, tell(bare, ctx, blob).id)
    assert (run.stage, run.version, run.reason) == (Stage.PUBLISHED, "1.0.0", None)
    sweep(ctx)
    assert blob.get_blob_tags() == {}
    lease.release()
    sweep(ctx)
    assert blob.get_blob_tags() == {source_tag(image): f"{run.etag}:1.0.0"}
    assert run.id not in dict(ctx.sources.untagged())


def test_a_leased_vhd_that_cannot_be_published_fails_with_its_own_reason(
    bare: Azure, ctx: Context, tmp_path: Path
) -> None:
    blob = bare.drop(bare.image(), disk.make_vhd(tmp_path / "x.vhd", generation="V1"))
    blob.acquire_lease()
    run = finish(ctx, tell(bare, ctx, blob).id)
    assert run.stage is Stage.FAILED
    assert "hyper_v_generation" in run.reason


def test_what_is_in_latest_is_published_whatever_comes_after(bare: Azure, ctx: Context, tmp_path: Path) -> None:
    image = bare.image()
    run = tell(bare, ctx, bare.drop(image, disk.make_vhd(tmp_path / "x.vhd")))
    bare.fault(method="DELETE", path=f".*/images/gallerist-{image}.*", status=409)
    run = finish(ctx, run.id, within=60)
    bare.clear()
    assert (run.stage, run.version, run.reason) == (Stage.PUBLISHED, "1.0.0", None)
    assert bare.version(image, "1.0.0")["properties"]["publishingProfile"]["excludeFromLatest"] is False
    assert f"left behind for retention: managed image {run.managed_image}" in ctx.runs.history(run.id)[-1].note


def test_a_run_past_its_deadline_is_published_once_it_is_in_latest(bare: Azure, ctx: Context, tmp_path: Path) -> None:
    image = bare.image()
    run = tell(bare, ctx, bare.drop(image, disk.make_vhd(tmp_path / "x.vhd")))
    while not run.published:
        engine.step(ctx, run.id, run.generation)
        run = ctx.runs.load(run.id)[0]
    late = dataclasses.replace(ctx, settings=ctx.settings.model_copy(update={"run_deadline_seconds": 0.001}))
    engine.step(late, run.id, run.generation)
    run = finish(ctx, run.id)
    assert (run.stage, run.version) == (Stage.PUBLISHED, "1.0.0")
    assert bare.managed_images(image) == []


@pytest.mark.parametrize("change", ["metadata", "headers"])
def test_what_is_said_about_a_published_vhd_makes_no_other_version(
    bare: Azure, ctx: Context, tmp_path: Path, change: str
) -> None:
    image, vhd = bare.image(), disk.make_vhd(tmp_path / "x.vhd")
    blob = hashed(bare.drop(image, vhd), vhd)
    run = finish(ctx, tell(bare, ctx, blob).id)
    before = blob.get_blob_properties()
    if change == "metadata":
        blob.set_blob_metadata({"team": "web"})
    else:
        settings = before.content_settings
        settings.content_language = "en"
        blob.set_http_headers(settings)
    assert blob.get_blob_properties().etag != before.etag
    assert tell(bare, ctx, blob) is None
    sweep(ctx)
    assert ask(ctx, image, blob).id == run.id
    assert [other.id for other in runs_of(ctx, image)] == [run.id]
    assert bare.versions(image) == ["1.0.0"]


def test_gallerist_upload_s_own_digest_names_the_content(bare: Azure, ctx: Context, tmp_path: Path) -> None:
    image, vhd = bare.image(), disk.make_vhd(tmp_path / "x.vhd", 20)
    assert gallerist(bare, "upload", vhd, "--image", image).code == 0
    blob = bare.blob(image, "x.vhd")
    run = finish(ctx, tell(bare, ctx, blob).id)
    blob.set_blob_metadata({**blob.get_blob_properties().metadata, "team": "web"})
    sweep(ctx)
    assert [other.id for other in runs_of(ctx, image)] == [run.id]


def test_a_vhd_may_get_metadata_while_it_is_imaged(bare: Azure, ctx: Context, tmp_path: Path) -> None:
    image, vhd = bare.image(), disk.make_vhd(tmp_path / "x.vhd")
    blob = hashed(bare.drop(image, vhd), vhd)
    run = tell(bare, ctx, blob)
    engine.step(ctx, run.id, run.generation)
    blob.set_blob_metadata({"team": "web"})
    assert finish(ctx, run.id).stage is Stage.PUBLISHED


def test_other_content_under_the_same_name_is_another_version(bare: Azure, ctx: Context, tmp_path: Path) -> None:
    image = bare.image()
    for number in ("1.0.0", "1.0.1"):
        vhd = disk.make_vhd(tmp_path / "x.vhd", build=number)
        assert finish(ctx, tell(bare, ctx, hashed(bare.drop(image, vhd), vhd)).id).version == number


def failed(bare: Azure, ctx: Context, image: str, blob: BlobClient, **fields: object) -> Run:
    """A run that failed for what has passed since."""
    rule = {"westeurope": {"seconds": 0.05, "outcome": "Failed"}}
    bare.arm.post("/sandbox/replication", json={"regions": rule, "path": image}).raise_for_status()
    run = finish(ctx, ask(ctx, image, blob, **fields).id)
    bare.clear()
    assert run.stage is Stage.FAILED
    return run


def test_a_source_asked_for_again_is_tried_again(bare: Azure, ctx: Context, tmp_path: Path) -> None:
    image = bare.image()
    blob = bare.drop(image, disk.make_vhd(tmp_path / "x.vhd"))
    run = failed(bare, ctx, image, blob)
    again = ask(ctx, image, blob, request_id=f"{image}-again", tags={"commit": "abc"})
    assert (again.id, again.stage) == (run.id, Stage.AWAITING_UPLOAD)
    run = finish(ctx, run.id)
    assert (run.stage, run.version, run.request_id) == (Stage.PUBLISHED, "1.0.0", f"{image}-again")
    assert f"tried again, asked for by the publisher's key: {image}-again" in [
        line.note for line in ctx.runs.history(run.id)
    ]
    assert bare.version(image, "1.0.0")["tags"]["commit"] == "abc"


def test_the_same_request_again_tries_again_too(bare: Azure, ctx: Context, tmp_path: Path) -> None:
    image = bare.image()
    blob = bare.drop(image, disk.make_vhd(tmp_path / "x.vhd"))
    run = failed(bare, ctx, image, blob, request_id=f"{image}-1")
    assert ask(ctx, image, blob, request_id=f"{image}-1").id == run.id
    assert finish(ctx, run.id).stage is Stage.PUBLISHED
    assert ask(ctx, image, blob, request_id=f"{image}-1").stage is Stage.PUBLISHED


def test_a_number_that_was_taken_can_be_asked_for_otherwise(bare: Azure, ctx: Context, tmp_path: Path) -> None:
    image = bare.image()
    finish(ctx, ask(ctx, image, bare.drop(image, disk.make_vhd(tmp_path / "a.vhd")), version="1.4.0").id)
    blob = bare.drop(image, disk.make_vhd(tmp_path / "b.vhd", build="b"))
    run = finish(ctx, ask(ctx, image, blob, version="1.4.0").id)
    assert "1.4.0 is taken" in run.reason
    assert ask(ctx, image, blob, version="1.5.0").id == run.id
    assert finish(ctx, run.id).version == "1.5.0"


def test_a_disk_at_fault_is_refused_with_the_run_that_says_why(bare: Azure, ctx: Context, tmp_path: Path) -> None:
    image, vhd = bare.image(), disk.make_vhd(tmp_path / "x.vhd", 20)
    with vhd.open("r+b") as file:
        file.seek(0)
        file.write(bytes(446))
        file.seek(510)
        file.write(b"\0\0")
    blob = bare.drop(image, vhd)
    run = finish(ctx, ask(ctx, image, blob, request_id=f"{image}-1").id)
    assert run.source_at_fault, run.reason
    for request_id in (f"{image}-1", f"{image}-2"):
        with pytest.raises(RequestConflict, match=run.id) as refused:
            ask(ctx, image, blob, request_id=request_id)
        assert str(run.reason) in str(refused.value)
    told = call(ctx, "POST /publish", {"image": image, "source": {"blob": blob.url}})
    assert (told.status, told.body["error"]["code"]) == (409, "Conflict")
    assert run.id in told.body["error"]["message"]
    mended = bare.drop(image, disk.make_vhd(vhd, 20))
    again = ask(ctx, image, mended, request_id=f"{image}-1")
    assert again.id != run.id, "other content under the same request is another run"
    assert finish(ctx, again.id).version == "1.0.0"
    assert ask(ctx, image, mended, request_id=f"{image}-1").id == again.id


def test_the_same_bytes_uploaded_again_after_a_failure_are_tried_again(
    bare: Azure, ctx: Context, tmp_path: Path
) -> None:
    image, vhd = bare.image(), disk.make_vhd(tmp_path / "x.vhd")
    run = failed(bare, ctx, image, hashed(bare.drop(image, vhd), vhd))
    blob = hashed(bare.drop(image, vhd), vhd)
    assert tell(bare, ctx, blob) is None
    run = finish(ctx, run.id)
    assert (run.stage, run.version) == (Stage.PUBLISHED, "1.0.0")
    assert "uploaded again" in [line.note for line in ctx.runs.history(run.id)]


def test_an_event_told_again_does_not_try_a_failed_run_again(bare: Azure, ctx: Context, tmp_path: Path) -> None:
    image = bare.image()
    blob = bare.drop(image, disk.make_vhd(tmp_path / "x.vhd"))
    run = failed(bare, ctx, image, blob)
    assert tell(bare, ctx, blob) is None
    assert ctx.runs.load(run.id)[0].stage is Stage.FAILED
