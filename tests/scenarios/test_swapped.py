"""What is published is what was whole: no VHD is swapped for another while Azure reads it, and nothing is deleted, or
taken for a run's own, that the run has not made."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from azure.storage.blob import BlobClient

from pipeline import engine
from pipeline.context import Context
from pipeline.intake import take_request
from pipeline.requests import parse_request
from pipeline.runs import Run, Stage
from pipeline.stages.marks import ETAG_TAG, RUN_TAG
from sandbox import disk
from tests.azure import Azure, eventually
from tests.steps import PUBLISHER, finish, step, tell

API = {"api-version": "2024-03-03"}


@pytest.fixture(autouse=True)
def _clear(bare: Azure) -> Iterator[None]:
    yield
    bare.clear()
    bare.arm.delete("/sandbox/denials")


@pytest.fixture
def vhd(tmp_path: Path) -> Path:
    return disk.make_vhd(tmp_path / "x.vhd", 20)


def with_data_disk(bare: Azure, ctx: Context, image: str, vhd: Path) -> tuple[Run, BlobClient]:
    """A run with a data disk, and that disk's VHD."""
    data = bare.blobs.get_blob_client("vhds", f"data/{image}.vhd")
    data.upload_blob(vhd.read_bytes(), blob_type="PageBlob")
    source = {"blob": bare.drop(image, vhd).url, "data_disks": [{"lun": 3, "blob": data.url}]}
    return take_request(ctx, parse_request({"image": image, "source": source}), PUBLISHER).run, data


def replicating(bare: Azure, ctx: Context, run: Run | None) -> Run:
    """A run that has asked for its version, and has not seen it yet."""
    assert run
    bare.fault(method="GET", path=f".*/{run.image}/versions/1.0.0.*", status=404)
    run = until(ctx, run, Stage.REPLICATING)
    bare.clear()
    return run


def until(ctx: Context, run: Run, stage: Stage) -> Run:
    while run.stage is not stage:
        assert not run.stage.ended, run.reason
        run = step(ctx, run)
    return run


def swap(blob: BlobClient, how: str = "overwritten") -> None:
    if how == "deleted":
        blob.delete_blob()
    else:
        blob.upload_page(b"\x01" * 512, offset=12 * 2**20, length=512)


def deny(bare: Azure, path: str, actions: str) -> None:
    bare.arm.post("/sandbox/denials", json={"path": path, "actions": actions}).raise_for_status()


@pytest.mark.parametrize("how", ["overwritten", "deleted"])
def test_a_vhd_is_not_swapped_on_the_direct_route(bare: Azure, ctx: Context, vhd: Path, how: str) -> None:
    image = bare.image("arm")
    blob = bare.drop(image, vhd)
    run = replicating(bare, ctx, tell(bare, ctx, blob))
    swap(blob, how)
    run = finish(ctx, run.id)
    assert run.stage is Stage.FAILED
    assert "the VHD was overwritten or deleted while it was being published" in str(run.reason)
    assert bare.versions(image) == []


@pytest.mark.parametrize(("kind", "stage"), [("web", Stage.IMAGING), ("arm", Stage.REPLICATING)])
def test_a_data_disk_is_not_swapped(bare: Azure, ctx: Context, vhd: Path, kind: str, stage: Stage) -> None:
    image = bare.image(kind)
    run, data = with_data_disk(bare, ctx, image, vhd)
    run = until(ctx, run, stage) if stage is Stage.IMAGING else replicating(bare, ctx, run)
    swap(data)
    run = finish(ctx, run.id)
    assert run.stage is Stage.FAILED
    assert f"data disk at LUN 3: {data.url} was overwritten or deleted while it was being published" in str(run.reason)
    assert bare.versions(image) == bare.managed_images(image) == []


def test_a_data_disk_may_change_until_it_is_whole(bare: Azure, ctx: Context, vhd: Path) -> None:
    image = bare.image()
    run, data = with_data_disk(bare, ctx, image, vhd)
    swap(data)
    assert finish(ctx, run.id).stage is Stage.PUBLISHED


def test_what_an_earlier_try_made_of_other_content_is_not_taken_for_this_one_s(
    bare: Azure, ctx: Context, vhd: Path
) -> None:
    image = bare.image("arm")
    blob = bare.drop(image, vhd)
    run = replicating(bare, ctx, tell(bare, ctx, blob))
    swap(blob)
    deny(bare, f"/{image}/versions/", "versions/delete$")
    assert finish(ctx, run.id).stage is Stage.FAILED
    stale = bare.version(image, "1.0.0")["tags"][ETAG_TAG]
    again = finish(ctx, engine.retry(ctx, run.id).id)
    assert "an earlier try at version 1.0.0 was of other content" in str(again.reason)
    assert f"{again.reason}".count("is left behind, out of latest") == 1
    bare.arm.delete("/sandbox/denials")
    again = finish(ctx, engine.retry(ctx, run.id).id)
    assert (again.stage, again.version) == (Stage.PUBLISHED, "1.0.0")
    assert stale != bare.version(image, "1.0.0")["tags"][ETAG_TAG] == again.etag


def managed_image(bare: Azure, name: str, vhd: str, **tags: str) -> str:
    """A managed image of somebody's, where the pipeline makes its own."""
    url = f"{bare.env['MANAGED_IMAGE_GROUP_ID']}/providers/Microsoft.Compute/images/{name}"
    made_of = {"osDisk": {"osType": "Linux", "osState": "Generalized", "blobUri": vhd}}
    body: dict[str, Any] = {"location": "westeurope", "tags": tags, "properties": {"storageProfile": made_of}}
    bare.arm.put(url, params={"api-version": "2024-07-01"}, json=body).raise_for_status()
    eventually(lambda: "Succeeded" in bare.arm.get(url, params={"api-version": "2024-07-01"}).text)
    return url


def test_a_managed_image_that_the_run_has_not_made_is_neither_used_nor_deleted(
    bare: Azure, ctx: Context, vhd: Path
) -> None:
    image = bare.image()
    run = tell(bare, ctx, bare.drop(image, vhd)) or Run.draft(image, "")
    theirs = managed_image(bare, run.image_name, run.source, **{RUN_TAG: "another", "gallerist-image": image})
    run = finish(ctx, run.id)
    assert run.stage is Stage.FAILED
    assert f"{run.image_name} is there, and this run has not made it: delete or rename it" in str(run.reason)
    assert bare.managed_images(image) == [theirs.rpartition("/")[2]]


def test_a_managed_image_of_an_earlier_try_is_made_anew(bare: Azure, ctx: Context, vhd: Path) -> None:
    image = bare.image()
    run = tell(bare, ctx, bare.drop(image, vhd)) or Run.draft(image, "")
    managed_image(bare, run.image_name, run.source, **{RUN_TAG: run.id, ETAG_TAG: "0x1", "gallerist-image": image})
    run = finish(ctx, run.id)
    assert run.stage is Stage.PUBLISHED, run.reason
    assert bare.managed_images(image) == []


def test_a_version_that_somebody_made_in_its_place_does_not_join_latest(bare: Azure, ctx: Context, vhd: Path) -> None:
    image = bare.image("arm")
    run = replicating(bare, ctx, tell(bare, ctx, bare.drop(image, vhd)))
    eventually(lambda: bare.version(image, "1.0.0")["properties"]["provisioningState"] == "Succeeded")
    found = bare.version(image, "1.0.0")
    body = {"location": "westeurope", "tags": {RUN_TAG: "another"}}
    bare.arm.put(found["id"], params=API, json=body).raise_for_status()
    run = finish(ctx, run.id)
    assert run.stage is Stage.FAILED
    assert f"version 1.0.0 does not bear this run's tag {RUN_TAG} any more" in str(run.reason)
    profile = bare.version(image, "1.0.0")["properties"]["publishingProfile"]
    assert profile["excludeFromLatest"] is True


def test_a_version_that_may_not_be_deleted_is_named_at_once_with_what_to_do(
    bare: Azure, ctx: Context, vhd: Path
) -> None:
    image = bare.image()
    run = replicating(bare, ctx, tell(bare, ctx, bare.drop(image, vhd)))
    deny(bare, f"/{image}/versions/", "versions/delete$")
    engine.cancel(ctx, run.id, "ann")
    run = finish(ctx, run.id)
    assert (run.stage, run.faults) == (Stage.CANCELLED, 0)
    for words in (
        "cancelled by ann. Version 1.0.0 is left behind, out of latest",
        "may not delete it (AuthorizationFailed)",
        f"az sig image-version delete --ids {bare.definition(image)}/versions/1.0.0",
        "azd env set PRODUCTION_RETENTION true",
    ):
        assert words in str(run.reason)
    assert bare.managed_images(image) == []  # what may be deleted is
    assert bare.version(image, "1.0.0")["properties"]["publishingProfile"]["excludeFromLatest"] is True
    deletions = [r for r in bare.arm.get("/sandbox/requests").json() if r["method"] == "DELETE" and image in r["path"]]
    assert sum(r["status"] == 403 for r in deletions) == 1
