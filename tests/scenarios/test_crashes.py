"""The process dies at every request it makes, before or after the request had its effect; nothing is lost or doubled."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from pipeline import engine
from pipeline.context import Context
from pipeline.runs import Run, Stage
from pipeline.stages.marks import source_tag
from pipeline.sweep import sweep
from sandbox import disk
from tests.azure import Azure
from tests.scenarios.deaths import Death, Wire
from tests.steps import finish, runs_of, tell

ROUNDS = 120
"""Enough for every name there is, and an end where names never stop being new."""


def publish_until_death(azure: Azure, ctx: Context, blob: Any) -> Run | None:
    """Tell of a blob and take all steps; None where the process died on the way."""
    try:
        return finish(ctx, tell(azure, ctx, blob).id)
    except Death:
        return None


def recover(azure: Azure, ctx: Context, image: str, blob: Any) -> Run:
    """What Azure does after a death: the event is delivered again, and the sweep's timer fires."""
    tell(azure, ctx, blob)
    sweep(dataclasses.replace(ctx, settings=ctx.settings.model_copy(update={"sweep_grace_seconds": -60})))
    azure.queue(engine.STEPS).clear_messages()
    (run,) = runs_of(ctx, image)
    return finish(ctx, run.id)


@pytest.mark.timeout(240)
@pytest.mark.parametrize("after", [False, True], ids=["before its effect", "after its effect"])
def test_a_death_at_any_request_costs_nothing(
    bare: Azure, ctx: Context, tmp_path: Path, wire: Wire, *, after: bool
) -> None:
    vhd = disk.make_vhd(tmp_path / "x.vhd")
    for _ in range(ROUNDS):
        image = bare.image("web")
        blob = bare.drop(image, vhd)
        with wire.deadly_to(image, after=after):
            survived = publish_until_death(bare, ctx, blob)
        run = survived or recover(bare, ctx, image, blob)
        assert (run.stage, run.version, run.reason) == (Stage.PUBLISHED, "1.0.0", None), wire.killed_at
        assert bare.versions(image) == ["1.0.0"], wire.killed_at
        assert bare.version(image, "1.0.0")["properties"]["publishingProfile"]["excludeFromLatest"] is False
        assert bare.managed_images(image) == [], wire.killed_at
        assert len(runs_of(ctx, image)) == 1
        assert blob.get_blob_tags()[source_tag(image)].endswith(":1.0.0")
        generations = [happening.generation for happening in ctx.runs.history(run.id)]
        assert generations == sorted(set(generations))
        sweep(ctx)
        assert run.id not in dict(ctx.runs.live()), wire.killed_at
        blob.delete_blob()  # sweeps look at all that was dropped
        if survived:
            break
    else:
        pytest.fail(f"still something new to strike after {ROUNDS} rounds: {wire.killed_at}")
    # Every stage was struck, and both Resource Manager and each kind of storage.
    assert len(wire.struck) > (25 if after else 50)
    for stage in ("intake", *{happening.stage for happening in ctx.runs.history(run.id)}):
        assert any(death.startswith(f"{stage}:") for death in wire.struck), stage
    for place in ("/galleries/", "/images/gallerist-", "/$batch", "/vhds/", "/run-steps/", "/sources"):
        assert any(place in death for death in wire.struck), place
