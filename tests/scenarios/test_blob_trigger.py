"""The other way of being told of a VHD: the blob trigger, by Event Grid's webhook or by its own scan."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.context import Context
from pipeline.runs import Stage
from sandbox import disk
from tests.azure import Azure, eventually
from tests.conftest import connected, start
from tests.steps import runs_of


@pytest.fixture(params=["webhook", "scan"])
def azure(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Azure]:
    sandbox = start(
        tmp_path,
        time_scale=400,
        events=request.param,
        # No sweep: only the trigger can tell of the VHD.
        settings={"UPLOAD_SETTLE_SECONDS": "1", "SWEEP_SCHEDULE": "0 0 0 1 1 *"},
    )
    yield Azure(sandbox)
    sandbox.stop()


@pytest.fixture
def ctx(azure: Azure, monkeypatch: pytest.MonkeyPatch) -> Context:
    return connected(azure, monkeypatch)


def test_a_dropped_vhd_is_published_and_its_bytes_stay_where_they_are(
    azure: Azure, ctx: Context, tmp_path: Path
) -> None:
    image = azure.image()
    blob = azure.drop(image, disk.make_vhd(tmp_path / "x.vhd"))

    def published() -> bool:
        runs = runs_of(ctx, image)
        return bool(runs) and all(run.stage.ended for run in runs)

    eventually(published, within=60)
    (run,) = runs_of(ctx, image)
    assert (run.stage, run.version) == (Stage.PUBLISHED, "1.0.0")
    read = [r for r in azure.storage_requests() if r.method == "GET" and r.resource == f"vhds/{blob.blob_name}"]
    assert sum(request.sent for request in read) < 64 * 1024
