"""No upload is taken for whole before it is, in whatever order its pieces come and whenever it ends.

`UPLOAD_SCHEDULES` says how many schedules are played by the SDK, `AZCOPY_SCHEDULES` how many by azcopy; `make uploads`
plays two hundred.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
import random
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from azure.storage.blob import BlobClient, ContentSettings

from pipeline.catalog import Completion
from pipeline.context import Context
from pipeline.runs import Run, Stage
from pipeline.sweep import sweep
from sandbox import disk
from tests.azure import AZCOPY, Azure, azcopy
from tests.cli.command import gallerist
from tests.pipeline.test_completeness import noise, pieces_of
from tests.steps import finish, runs_of, step, tell, with_settings

MIB = 1024 * 1024
PLAYED = int(os.environ.get("UPLOAD_SCHEDULES", "16"))
BY_AZCOPY = int(os.environ.get("AZCOPY_SCHEDULES", "2"))


def made(folder: Path, seed: int) -> Path:
    """A disk of 24 MiB, of which more or less is not zero."""
    vhd = disk.make_vhd(folder / f"{seed}.vhd", 24, build=str(seed))
    if stop := random.Random(seed).choice([0, 19 * MIB + 4096, 22 * MIB + 70_000]):
        noise(vhd, 18 * MIB, stop, seed)
    return vhd


def play(ctx: Context, azure: Azure, image: str, folder: Path, seed: int) -> str:
    """One upload: its pieces in any order, now and then with a look in between; some are killed on the way, some are
    marked at the end, some say from the beginning what they will be, as copies do. Returns how it ended."""
    dice = random.Random(seed)
    vhd = made(folder, seed)
    content = vhd.read_bytes()
    size = dice.choice([MIB, 4 * MIB])
    pieces = dice.sample(pieces_of(content, size), len(pieces_of(content, size)))
    killed = dice.random() < 0.5
    arriving = pieces[: dice.randrange(len(pieces))] if killed else pieces
    md5 = ContentSettings(content_md5=bytearray(hashlib.md5(content, usedforsecurity=False).digest()))
    first = dice.random() < 0.3
    blob = azure.blob(image, vhd.name)
    blob.create_page_blob(len(content), content_settings=md5 if first else None)
    run = tell(azure, ctx, blob)
    assert run
    for n, (start, stop) in enumerate(arriving, 1):
        blob.upload_page(content[start:stop], offset=start, length=stop - start)
        if n < len(pieces) and dice.random() < 0.7:
            run = step(ctx, run)
            assert run.stage is Stage.AWAITING_UPLOAD, f"seed {seed}: {n} of {len(pieces)} pieces: {run.reason}"
    if killed:
        run = step(ctx, run)
        assert run.stage is Stage.AWAITING_UPLOAD, f"seed {seed}: killed after {len(arriving)} of {len(pieces)}"
        run = finish(with_settings(ctx, upload_stall_seconds=0), run.id)
        assert run.stage is Stage.FAILED
        assert "the upload never finished" in str(run.reason)
        assert not run.source_at_fault
        return resumed(ctx, azure, blob, content, pieces, run) if dice.random() < 0.3 else "killed"
    if not first and dice.random() < 0.5:
        blob.set_http_headers(md5)
    run = finish(ctx, run.id, within=60)
    assert run.stage is Stage.PUBLISHED, f"seed {seed}: {run.reason}"
    return "published"


def resumed(
    ctx: Context, azure: Azure, blob: BlobClient, content: bytes, pieces: list[tuple[int, int]], failed: Run
) -> str:
    """What was killed is uploaded to its end, and is a run of its own."""
    for start, stop in pieces:
        blob.upload_page(content[start:stop], offset=start, length=stop - start)
    again = tell(azure, ctx, blob)
    assert again
    assert again.id != failed.id
    assert finish(ctx, again.id, within=60).stage is Stage.PUBLISHED
    return "resumed"


@pytest.mark.timeout(1800)
def test_no_upload_is_taken_before_it_is_whole(bare: Azure, ctx: Context, tmp_path: Path) -> None:
    patient = with_settings(ctx, upload_settle_seconds=0, upload_stall_seconds=3600)
    image = bare.image()
    with ThreadPoolExecutor(4) as pool:
        ended = list(pool.map(lambda seed: play(patient, bare, image, tmp_path, seed), range(PLAYED)))
    whole = sum(how != "killed" for how in ended)
    assert len(bare.versions(image)) == whole
    assert {"killed", "published"} <= set(ended)
    assert bare.managed_images(image) == []


def upload_and_look(ctx: Context, azure: Azure, image: str, folder: Path, seed: int) -> str:
    """One upload by azcopy at so many Mbit/s, looked at all the while, and killed or not."""
    dice = random.Random(seed)
    vhd = disk.make_vhd(folder / f"azcopy-{seed}.vhd", 24, build=str(seed))
    noise(vhd, 18 * MIB, 22 * MIB + 70_000, seed)
    mbps = dice.choice([1, 4, 16]) if BY_AZCOPY > 2 else 16
    blob = azure.blob(image, vhd.name)
    process = azcopy(azure, folder, vhd, blob.url, "--cap-mbps", str(mbps))
    dies = time.monotonic() + dice.uniform(1, 12 * 8 / mbps) if seed % 2 else None
    run = None
    try:
        while process.poll() is None:
            if dies and time.monotonic() > dies:
                process.kill()
            if run is None and blob.exists():
                run = tell(azure, ctx, blob)
            elif run and not run.stage.ended:
                run = step(ctx, run)
                assert run.stage is not Stage.FAILED, f"seed {seed} at {mbps} Mbit/s: {run.reason}"
                if run.stage is not Stage.AWAITING_UPLOAD:
                    break
            time.sleep(0.1)
        arrived = process.wait(timeout=600) == 0
    finally:
        process.kill()
    if run is None:
        return "killed before it began"
    whole = holds(blob, vhd)
    if arrived or whole:
        assert whole
        assert finish(ctx, run.id, within=900).stage is Stage.PUBLISHED  # three times its longest silence
        return "published"
    run = finish(with_settings(ctx, upload_stall_seconds=0), run.id)
    assert run.stage is Stage.FAILED, f"seed {seed} at {mbps} Mbit/s: published without its end"
    return "killed"


def holds(blob: BlobClient, vhd: Path) -> bool:
    """Whether the blob has all that the file has."""
    with vhd.open("rb") as file:
        return bool(blob.download_blob().readall() == file.read())


@pytest.mark.skipif(not AZCOPY, reason="azcopy is not on PATH")
@pytest.mark.timeout(7200)
def test_azcopy_is_waited_for_however_slow_it_is(bare: Azure, ctx: Context, tmp_path: Path) -> None:
    patient = with_settings(ctx, upload_settle_seconds=1, upload_stall_seconds=3600)
    image = bare.image()
    with ThreadPoolExecutor(8) as pool:
        seeds = range(BY_AZCOPY)
        ended = list(pool.map(lambda seed: upload_and_look(patient, bare, image, tmp_path, seed), seeds))
    assert len(bare.versions(image)) == ended.count("published")


def test_a_rule_that_wants_a_mark_waits_for_one(bare: Azure, ctx: Context, tmp_path: Path) -> None:
    image = bare.image()
    entry = ctx.catalog.images[image].model_copy(update={"completion": Completion.MARK})
    catalog = ctx.catalog.model_copy(update={"images": {**ctx.catalog.images, image: entry}})
    marking = dataclasses.replace(ctx, catalog=catalog)
    blob = bare.drop(image, disk.make_vhd(tmp_path / "x.vhd", 20))
    run = step(marking, tell(bare, marking, blob))
    assert run.stage is Stage.AWAITING_UPLOAD
    assert "not marked complete" in run.note
    assert f"gallerist complete {blob.url}" in run.note
    ended = finish(with_settings(marking, upload_stall_seconds=0), run.id)
    assert ended.stage is Stage.FAILED
    assert gallerist(bare, "complete", blob.url).code == 0
    sweep(marking)
    again = runs_of(marking, image)[-1]
    assert again.id != run.id
    assert finish(marking, again.id).version == "1.0.0"
    assert any("marked complete" in line.note for line in ctx.runs.history(again.id))
