"""A VHD that is dropped becomes a version, once, whatever happens on the way."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from pipeline import engine
from pipeline.context import Context
from pipeline.runs import Stage
from pipeline.stages.marks import source_tag
from sandbox import disk
from tests.azure import Azure
from tests.steps import finish, runs_of, tell


def test_a_dropped_vhd_becomes_a_version_in_every_region(bare: Azure, ctx: Context, tmp_path: Path) -> None:
    image = bare.image()
    blob = bare.drop(image, disk.make_vhd(tmp_path / "a.vhd"))
    before = blob.get_blob_properties().etag
    run = finish(ctx, tell(bare, ctx, blob).id)

    assert (run.stage, run.version, run.reason) == (Stage.PUBLISHED, "1.0.0", None)
    version = bare.version(image, "1.0.0")
    profile = version["properties"]["publishingProfile"]
    assert {(r["name"], r["regionalReplicaCount"]) for r in profile["targetRegions"]} == {
        ("West Europe", 2), ("North Europe", 1), ("Sweden Central", 1),
    }  # fmt: skip
    assert profile["excludeFromLatest"] is False
    assert profile["endOfLifeDate"]
    assert version["properties"]["replicationStatus"]["aggregatedState"] == "Completed"
    assert version["tags"]["gallerist-run"] == run.id
    assert version["tags"]["gallerist-source"] == blob.url
    assert bare.managed_images(image) == []
    assert blob.get_blob_tags() == {source_tag(image): f"{run.etag}:1.0.0"}
    assert blob.get_blob_properties().etag == before
    assert run.id not in dict(ctx.runs.live())
    walked = [happening.led_to for happening in ctx.runs.history(run.id)]
    assert walked == [
        Stage.AWAITING_UPLOAD, Stage.INSPECTING, Stage.IMAGING, Stage.NUMBERING, Stage.PUBLISHING, Stage.REPLICATING,
        Stage.FINISHING, Stage.PUBLISHED,
    ]  # fmt: skip


def test_the_next_one_gets_the_next_number(bare: Azure, ctx: Context, tmp_path: Path) -> None:
    image = bare.image("bios")
    for number in ("1.0.0", "1.0.1", "1.0.2"):
        blob = bare.drop(image, disk.make_vhd(tmp_path / f"{number}.vhd", generation="V1"))
        assert finish(ctx, tell(bare, ctx, blob).id).version == number
    assert bare.versions(image) == ["1.0.0", "1.0.1", "1.0.2"]


def test_arm64_goes_direct_without_a_managed_image(bare: Azure, ctx: Context, tmp_path: Path) -> None:
    image = bare.image("arm")
    run = finish(ctx, tell(bare, ctx, bare.drop(image, disk.make_vhd(tmp_path / "a.vhd"))).id)
    assert (run.stage, run.version) == (Stage.PUBLISHED, "1.0.0")
    source = bare.version(image, "1.0.0")["properties"]["storageProfile"]["osDiskImage"]["source"]
    assert source["uri"] == run.source


def test_an_event_that_is_told_again_and_again_is_one_run(bare: Azure, ctx: Context, tmp_path: Path) -> None:
    image = bare.image()
    blob = bare.drop(image, disk.make_vhd(tmp_path / "a.vhd"))
    told = [tell(bare, ctx, blob) for _ in range(3)]
    run = finish(ctx, told[0].id)
    assert {again.id for again in told if again} == {run.id}
    assert tell(bare, ctx, blob) is None
    assert [other.id for other in runs_of(ctx, image)] == [run.id]
    assert bare.versions(image) == ["1.0.0"]


def test_events_at_the_same_moment_are_one_run(bare: Azure, ctx: Context, tmp_path: Path) -> None:
    image = bare.image()
    blob = bare.drop(image, disk.make_vhd(tmp_path / "a.vhd"))
    with ThreadPoolExecutor(8) as pool:
        told = list(pool.map(lambda _: tell(bare, ctx, blob), range(8)))
    assert len({run.id for run in told if run}) == 1
    assert len(runs_of(ctx, image)) == 1


def test_a_blob_overwritten_is_another_source(bare: Azure, ctx: Context, tmp_path: Path) -> None:
    image = bare.image()
    for number in ("1.0.0", "1.0.1"):
        blob = bare.drop(image, disk.make_vhd(tmp_path / "a.vhd", build=number))
        assert finish(ctx, tell(bare, ctx, blob).id).version == number


def test_a_step_delivered_twice_at_once_moves_the_run_once(bare: Azure, ctx: Context, tmp_path: Path) -> None:
    image = bare.image()
    run = tell(bare, ctx, bare.drop(image, disk.make_vhd(tmp_path / "a.vhd")))
    while not run.stage.ended:
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(partial(engine.step, ctx, run.id), [run.generation] * 4))
        run = ctx.runs.load(run.id)[0]
    assert bare.versions(image) == ["1.0.0"]
    assert bare.managed_images(image) == []
    generations = [happening.generation for happening in ctx.runs.history(run.id)]
    assert generations == sorted(set(generations))


def test_two_vhds_of_one_image_at_once_get_two_numbers(bare: Azure, ctx: Context, tmp_path: Path) -> None:
    image = bare.image()
    blobs = [bare.drop(image, disk.make_vhd(tmp_path / f"{n}.vhd", build=str(n))) for n in range(6)]
    with ThreadPoolExecutor(6) as pool:
        runs = list(pool.map(lambda blob: finish(ctx, tell(bare, ctx, blob).id), blobs))
    assert sorted(run.version for run in runs) == bare.versions(image) == [f"1.0.{n}" for n in range(6)]


@pytest.mark.parametrize("name", ["elsewhere/x.vhd", "x.txt", "deeper/x.vhd"])
def test_what_no_pattern_matches_is_ignored(bare: Azure, ctx: Context, tmp_path: Path, name: str) -> None:
    image = bare.image()
    assert (
        tell(
            bare,
            ctx,
            bare.drop(f"{image}/deeper" if "deeper" in name else "none", disk.make_vhd(tmp_path / "x.vhd"), name),
        )
        is None
    )
    assert runs_of(ctx, image) == []
