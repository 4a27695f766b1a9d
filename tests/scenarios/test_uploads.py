"""A VHD is taken when it is whole, and not before."""

from __future__ import annotations

import hashlib
import random
from pathlib import Path

import pytest

from pipeline.context import Context
from pipeline.intake import take_request
from pipeline.requests import parse_request
from pipeline.runs import Stage
from pipeline.sweep import sweep
from sandbox import disk
from tests.azure import Azure
from tests.pipeline.test_completeness import pieces_of
from tests.steps import PUBLISHER, finish, runs_of, step, tell, with_settings


def test_an_upload_under_way_is_waited_for(bare: Azure, ctx: Context, tmp_path: Path) -> None:
    image, vhd = bare.image(), disk.make_vhd(tmp_path / "x.vhd")
    blob = bare.blob(image, "x.vhd")
    blob.create_page_blob(vhd.stat().st_size)
    run = step(ctx, tell(bare, ctx, blob))
    assert run.stage is Stage.AWAITING_UPLOAD
    assert "footer, is not written yet" in run.note
    bare.drop(image, vhd)
    assert finish(ctx, run.id).version == "1.0.0"
    assert len(runs_of(ctx, image)) == 1


def test_the_etag_has_to_rest(bare: Azure, ctx: Context, tmp_path: Path) -> None:
    slow = with_settings(ctx, upload_settle_seconds=3600)
    run = step(slow, tell(bare, slow, bare.drop(bare.image(), disk.make_vhd(tmp_path / "x.vhd"))))
    assert run.stage is Stage.AWAITING_UPLOAD
    assert "the upload goes on" in run.note
    assert (run.due - run.entered).total_seconds() > 3500


def test_a_completion_mark_needs_no_rest(bare: Azure, ctx: Context, tmp_path: Path) -> None:
    from azure.storage.blob import ContentSettings

    slow, vhd = with_settings(ctx, upload_settle_seconds=3600), disk.make_vhd(tmp_path / "x.vhd")
    blob = bare.drop(bare.image(), vhd)
    blob.set_http_headers(
        ContentSettings(content_md5=bytearray(hashlib.md5(vhd.read_bytes(), usedforsecurity=False).digest()))
    )
    assert finish(slow, tell(bare, slow, blob).id).version == "1.0.0"


def test_a_hash_that_a_copy_brings_along_is_no_mark(bare: Azure, ctx: Context, tmp_path: Path) -> None:
    from azure.storage.blob import ContentSettings

    slow = with_settings(ctx, upload_settle_seconds=3600, poll_seconds=3600)
    vhd = disk.make_vhd(tmp_path / "x.vhd")
    blob = bare.blob(bare.image(), "x.vhd")
    md5 = ContentSettings(content_md5=bytearray(hashlib.md5(vhd.read_bytes(), usedforsecurity=False).digest()))
    blob.create_page_blob(vhd.stat().st_size, content_settings=md5)
    run = step(slow, tell(bare, slow, blob))
    with vhd.open("rb") as content:
        for offset, length in disk.extents(vhd):
            content.seek(offset)
            blob.upload_page(content.read(length), offset=offset, length=length)
    assert blob.get_blob_properties().content_settings.content_md5
    quick = with_settings(ctx, upload_settle_seconds=3600, poll_seconds=1)
    for _ in range(3):
        run = step(quick, run)
        assert run.stage is Stage.AWAITING_UPLOAD, "it is older than what was written"


def test_another_format_is_told_before_the_upload_ends(bare: Azure, ctx: Context) -> None:
    slow = with_settings(ctx, upload_settle_seconds=3600)
    blob = bare.blob(bare.image(), "x.vhd")
    blob.create_page_blob(8 * 1024 * 1024)
    blob.upload_page(b"vhdxfile" + bytes(504), offset=0, length=512)
    run = finish(slow, tell(bare, slow, blob).id)
    assert "VHDX" in run.reason


def test_an_upload_that_stalls_is_given_up_and_taken_again_when_it_goes_on(
    bare: Azure, ctx: Context, tmp_path: Path
) -> None:
    impatient = with_settings(ctx, upload_stall_seconds=0)
    image, vhd = bare.image(), disk.make_vhd(tmp_path / "x.vhd")
    blob = bare.blob(image, "x.vhd")
    blob.create_page_blob(vhd.stat().st_size)
    run = finish(impatient, tell(bare, impatient, blob).id)
    assert run.stage is Stage.FAILED
    assert "never finished" in run.reason
    bare.drop(image, vhd)
    sweep(ctx)
    again = runs_of(ctx, image)[-1]
    assert again.id != run.id
    assert finish(ctx, again.id).version == "1.0.0"


def test_an_upload_may_take_longer_than_a_run(bare: Azure, ctx: Context, tmp_path: Path) -> None:
    short = with_settings(ctx, run_deadline_seconds=0.001)
    image, vhd = bare.image(), disk.make_vhd(tmp_path / "x.vhd")
    blob = bare.blob(image, "x.vhd")
    blob.create_page_blob(vhd.stat().st_size)
    run = step(short, tell(bare, short, blob))
    assert step(short, run).stage is Stage.AWAITING_UPLOAD
    bare.drop(image, vhd)
    assert finish(ctx, run.id).version == "1.0.0"


def test_a_data_disk_under_way_is_waited_for(bare: Azure, ctx: Context, tmp_path: Path) -> None:
    image = bare.image()
    content = random.Random(1).randbytes(20 * 1024 * 1024) + disk.footer(20 * 1024 * 1024)
    pieces = pieces_of(content, 4 * 1024 * 1024)
    data = bare.blobs.get_blob_client("vhds", f"data/{image}.vhd")
    data.create_page_blob(len(content))
    for start, stop in [*pieces[:2], *pieces[3:]]:
        data.upload_page(content[start:stop], offset=start, length=stop - start)
    blob = bare.drop(image, disk.make_vhd(tmp_path / "x.vhd"))
    source = {"blob": blob.url, "data_disks": [{"lun": 2, "blob": data.url}]}
    run = step(ctx, take_request(ctx, parse_request({"image": image, "source": source}), PUBLISHER).run)
    assert run.stage is Stage.AWAITING_UPLOAD
    assert run.note.startswith("data disk at LUN 2: 4 MiB at 8.0 MiB look as if they were left out")
    assert f"gallerist complete {data.url}" in run.note
    start, stop = pieces[2]
    data.upload_page(content[start:stop], offset=start, length=stop - start)
    assert finish(ctx, run.id).version == "1.0.0"


def test_a_vhd_that_is_deleted_while_awaited_ends_the_run(bare: Azure, ctx: Context, tmp_path: Path) -> None:
    image = bare.image()
    blob = bare.blob(image, "x.vhd")
    blob.create_page_blob(disk.make_vhd(tmp_path / "x.vhd").stat().st_size)
    run = tell(bare, ctx, blob)
    blob.delete_blob()
    run = finish(ctx, run.id)
    assert (run.stage, run.reason) == (Stage.FAILED, "the VHD was deleted before it was whole")
    blob = bare.drop(image, tmp_path / "x.vhd")
    assert finish(ctx, tell(bare, ctx, blob).id).version == "1.0.0"


def test_a_vhd_overwritten_while_it_is_imaged_is_not_published(bare: Azure, ctx: Context, tmp_path: Path) -> None:
    image = bare.image()
    blob = bare.drop(image, disk.make_vhd(tmp_path / "x.vhd", build="1"))
    run = step(ctx, tell(bare, ctx, blob))
    assert run.stage is Stage.IMAGING
    blob.upload_page(b"x" * 512, offset=30 * 1024 * 1024, length=512)
    run = finish(ctx, run.id)
    assert run.stage is Stage.FAILED
    assert "overwritten" in run.reason
    assert bare.managed_images(image) == []
    assert finish(ctx, tell(bare, ctx, blob).id).version == "1.0.0"


def test_two_runs_for_one_content_leave_one_and_a_duplicate(bare: Azure, ctx: Context, tmp_path: Path) -> None:
    image = bare.image()
    blob = bare.drop(image, disk.make_vhd(tmp_path / "x.vhd"))
    first = tell(bare, ctx, blob)
    # An event that comes between the claim and its being seen begins a second run.
    ctx.sources.stop_waiting(image, first.source, first.id)
    second = tell(bare, ctx, blob)
    assert second.id != first.id
    runs = [finish(ctx, first.id), finish(ctx, second.id)]
    assert [run.stage for run in runs] == [Stage.PUBLISHED, Stage.DUPLICATE]
    assert runs[1].duplicate_of == first.id
    assert bare.versions(image) == ["1.0.0"]


@pytest.mark.parametrize("gib", [0.0625, 127])
def test_a_run_reads_less_than_64_kib_of_any_vhd(bare: Azure, ctx: Context, tmp_path: Path, gib: float) -> None:
    vhd = disk.make_vhd(tmp_path / "x.vhd", round(gib * 1024))
    blob = bare.drop(bare.image(), vhd)
    before = len(bare.storage_requests())
    assert finish(ctx, tell(bare, ctx, blob).id).stage is Stage.PUBLISHED
    reads = [
        request
        for request in bare.storage_requests()[before:]
        if request.method == "GET" and request.resource == f"vhds/{blob.blob_name}"
    ]
    assert 0 < sum(request.sent for request in reads) < 64 * 1024
