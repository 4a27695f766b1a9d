"""The process dies at every request it makes, before or after the request had its effect; nothing is lost or doubled."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from pipeline import engine, triggers
from pipeline.context import Context
from pipeline.runs import Run, Stage
from pipeline.stages.marks import source_tag
from pipeline.sweep import sweep
from sandbox import disk
from tests.azure import Azure
from tests.conftest import start
from tests.infra import code
from tests.scenarios.deaths import Death, Wire
from tests.scenarios.lifecycle import GALLERIES, HOUR, PASSED, Life, write_catalog
from tests.steps import finish, message_of, runs_of, tell

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
        assert run.id not in dict(ctx.line.standing()), wire.killed_at
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


# A deployment ends what runs by force: any function, at any request. What Azure does then is call it again, with the
# message that was not taken, or when the timer comes round.
Call = Callable[[], object]


@pytest.fixture(scope="module")
def azure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Azure]:
    folder = tmp_path_factory.mktemp("cut")
    kinds: dict[str, Any] = {
        "cut": ({"keep": {"newest": 1}, "source_vhd": {"then": "delete"}}, None),
        "said": ({}, {"require": PASSED}),
    }
    catalog = write_catalog(folder / "cut.yaml", kinds, 200)
    sandbox = start(folder, catalog=catalog, galleries=list(GALLERIES), time_scale=20_000, host=False, events="none")
    yield Azure(sandbox)
    sandbox.stop()


def published_once(life: Life, image: str, *versions: str) -> None:
    """Every run of the image, once it has ended, published one of these versions, and nothing else is there."""
    runs = runs_of(life.ctx, image)
    live = dict(life.ctx.runs.live())
    assert all(run.stage.ended or run.id in live for run in runs), "a sweep would not find it"
    ended = [finish(life.ctx, run.id) for run in runs]
    assert [run.reason for run in ended] == [None] * len(versions)
    assert {str(run.version) for run in ended} == set(versions) == set(life.azure.versions(image))
    assert life.azure.managed_images(image) == []


def of_publish_request(life: Life, image: str) -> tuple[Call, Call]:
    blob = life.azure.blob(f"asked/{image}", "x.vhd")
    blob.upload_blob((life.folder / "x.vhd").read_bytes(), blob_type="PageBlob", overwrite=True)
    request = json.dumps({"image": image, "source": {"blob": blob.url}, "request_id": f"cut-{image}"})

    def is_bound_and_published_once() -> None:
        bound = life.ctx.requests.bound(image, f"cut-{image}")
        assert bound
        assert [run.id for run in runs_of(life.ctx, image)] == [bound.run]
        published_once(life, image, "1.0.0")

    return partial(triggers.publish_request, request.encode()), is_bound_and_published_once


def of_verdict(life: Life, image: str) -> tuple[Call, Call]:
    life.build(image)
    message = json.dumps({"image": image, "version": "1.0.0", "outcome": "passed"}).encode()

    def is_tagged() -> None:
        _, said = runs_of(life.ctx, image)
        assert finish(life.ctx, said.id).stage is Stage.AMENDED
        assert life.azure.version(image, "1.0.0")["tags"]["tests"] == "passed"

    return partial(triggers.verdict, message, f"message-{image}"), is_tagged


def of_poisoned_step(life: Life, image: str) -> tuple[Call, Call]:
    run = life.stepped(life.dropped(image), Stage.IMAGING)

    def has_failed() -> None:
        ended = finish(life.ctx, run.id)
        assert ended.stage is Stage.FAILED
        assert "tried 5 times" in str(ended.reason)
        assert life.azure.managed_images(image) == life.azure.versions(image) == []

    return partial(triggers.poisoned_step, message_of(run)), has_failed


def of_sweep(life: Life, image: str) -> tuple[Call, Call]:
    """Of two drops one has a run whose step was lost, and nobody told of the other."""
    life.dropped(image)
    life.azure.drop(image, life.folder / "x.vhd", "untold.vhd")
    return partial(triggers.sweep_now, past_due=False), partial(published_once, life, image, "1.0.0", "1.0.1")


def of_retire(life: Life, image: str) -> tuple[Call, Call]:
    for _ in range(2):
        life.build(image)

    def is_retired() -> None:
        life.azure.advance(HOUR)
        assert life.azure.versions(image) == ["1.0.1"]
        assert list(life.azure.blobs.get_container_client("vhds").list_blobs(f"{image}/")) == []

    return partial(triggers.retire_now, past_due=False), is_retired


CUT = {
    "take_publish_request": of_publish_request,
    "take_verdict": of_verdict,
    "fail_poisoned_step": of_poisoned_step,
    "sweep": of_sweep,
    "retire": of_retire,
}
CUT_ABOVE = {"take_upload_event", "take_upload", "take_step"}  # test_a_death_at_any_request_costs_nothing
CUT_BY_NIGHT = {"promote"}  # test_a_death_after_any_write_promotes_once


def test_each_function_is_cut_somewhere() -> None:
    functions = code.functions(blob_trigger=True)
    called = {name for name, trigger in functions.items() if trigger["type"] != "httpTrigger"}
    assert called == {*CUT, *CUT_ABOVE, *CUT_BY_NIGHT}


@pytest.mark.timeout(240)
@pytest.mark.parametrize("function", CUT)
def test_a_function_that_is_cut_at_any_request_and_called_again_does_it_once(
    life: Life, wire: Wire, monkeypatch: pytest.MonkeyPatch, function: str
) -> None:
    for _ in range(ROUNDS):
        image = life.image("said" if function == "take_verdict" else "cut")
        # The timers look at every image of the catalog: at this one here, or each round would cost all of them.
        catalog = life.ctx.catalog.model_copy(update={"images": {image: life.ctx.catalog.images[image]}})
        ctx = dataclasses.replace(life.ctx, catalog=catalog)
        monkeypatch.setattr(triggers, "context", lambda ctx=ctx: ctx)
        call, check = CUT[function](Life(life.azure, life.ctx, life.folder), image)
        # A death after a request is, for what is stored, the death before the next one; after the last, a second call.
        with wire.deadly_to(image, after=False):
            try:
                call()
            except Death:
                survived = False
            else:
                survived = True
        call()
        check()
        sweep(ctx)  # forgets the runs that have ended, which retention would look at
        if survived:
            break
    else:
        pytest.fail(f"still something new to strike after {ROUNDS} rounds: {wire.killed_at}")
    assert len(wire.struck) > 3
    assert any("POST" in death or "PUT" in death or "DELETE" in death for death in wire.struck)
