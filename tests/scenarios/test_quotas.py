"""What is over a limit waits its turn and is told so; it goes on in order, and no image waits for another's crowd."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, timedelta
from typing import Any

import pytest
from azure.core.pipeline.transport import RequestsTransport

from pipeline import engine
from pipeline.catalog import TotalLimits
from pipeline.context import Context
from pipeline.intake import take_request
from pipeline.requests import parse_request
from pipeline.runs import Run, Stage, now
from pipeline.sweep import sweep
from tests.azure import Azure
from tests.conftest import start
from tests.scenarios.lifecycle import ANN, GALLERIES, Life, write_catalog
from tests.scenarios.wire import Tap
from tests.steps import finish, runs_of, step, with_settings

KINDS: dict[str, tuple[dict[str, Any], dict[str, Any] | None]] = {
    "one": ({"limits": {"at_once": 1}}, None),
    "two": ({"limits": {"at_once": 2}}, None),
    "daily": ({"limits": {"a_day": 2}}, None),
    "free": ({}, {"require": {"tests": "passed"}}),
}
WAITING = (Stage.AWAITING_UPLOAD, Stage.QUEUED)


@pytest.fixture(scope="module")
def azure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Azure]:
    folder = tmp_path_factory.mktemp("quotas")
    catalog = write_catalog(folder / "limits.yaml", KINDS, 10)
    sandbox = start(folder, catalog=catalog, galleries=list(GALLERIES), time_scale=20_000, host=False, events="none")
    yield Azure(sandbox)
    sandbox.stop()


@pytest.fixture(autouse=True)
def _empty_line(life: Life) -> Iterator[None]:
    """What a test leaves at work counts for no other."""
    yield
    for run, attempt in life.ctx.line.standing():
        life.ctx.line.leave(run, attempt)


def loaded(ctx: Context, run: Run) -> Run:
    found = ctx.runs.load(run.id)
    assert found
    return found[0]


def at_work(ctx: Context, image: str) -> list[Run]:
    return [run for run in runs_of(ctx, image) if not run.stage.ended and run.stage not in WAITING]


def in_line(life: Life, image: str) -> list[tuple[str, int]]:
    return [(run, attempt) for run, attempt in life.ctx.line.standing() if run.startswith(f"{image}-")]


def held_at(life: Life, image: str, stage: Stage = Stage.IMAGING) -> Run:
    """A build that has its turn and has come to a stage."""
    return life.stepped(life.dropped(image), until=stage)


def within(life: Life, **limits: int | None) -> Context:
    """The pipeline with other limits of the whole catalog."""
    total = TotalLimits.model_validate({"at_once": None, **limits})
    return dataclasses.replace(life.ctx, catalog=life.ctx.catalog.model_copy(update={"limits": total}))


def test_six_builds_two_at_once_are_published_in_order_and_another_image_at_once(life: Life) -> None:
    image = life.image("two")
    runs = [life.dropped(image) for _ in range(6)]
    while not all(run.stage.ended for run in runs):
        for n, run in enumerate(runs):
            runs[n] = run if run.stage.ended else step(life.ctx, run)
            assert sum(not one.stage.ended and one.stage not in WAITING for one in runs) <= 2
        if [run.stage for run in runs].count(Stage.QUEUED) == 4:
            assert life.build(life.image("free")).version == "1.0.0"
            told = runs[-1].note
            assert (
                told == "waits its turn: 2 runs of " + image + " at work (at most 2: limits.at_once); 3 are before it"
            )
    assert [run.version for run in runs] == [f"1.0.{n}" for n in range(6)]
    said = [(line.stage, line.led_to) for line in life.ctx.runs.history(runs[-1].id)]
    assert said[1:4] == [
        (Stage.AWAITING_UPLOAD, Stage.QUEUED),
        (Stage.QUEUED, Stage.QUEUED),
        (Stage.QUEUED, Stage.INSPECTING),
    ]
    assert in_line(life, image) == []


def test_six_that_ask_at_the_same_moment_get_two_places(life: Life) -> None:
    image = life.image("two")
    runs = [life.dropped(image) for _ in range(6)]
    with ThreadPoolExecutor(6) as pool:
        runs = list(pool.map(lambda run: step(life.ctx, run), runs))
    assert [run.stage for run in runs].count(Stage.QUEUED) == 4
    assert len(at_work(life.ctx, image)) == 2
    while left := [run for run in runs_of(life.ctx, image) if not run.stage.ended]:
        with ThreadPoolExecutor(6) as pool:
            list(pool.map(lambda run: step(life.ctx, run), left))
        assert len(at_work(life.ctx, image)) <= 2
    assert {run.stage for run in runs_of(life.ctx, image)} == {Stage.PUBLISHED}


def test_a_step_that_is_delivered_twice_at_once_takes_one_turn(life: Life) -> None:
    image = life.image("two")
    first = held_at(life, image)
    run = life.dropped(image)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: step(life.ctx, run), range(4)))
    assert len(at_work(life.ctx, image)) == 2
    assert sorted(in_line(life, image)) == sorted([(first.id, 1), (run.id, 1)])
    assert {finish(life.ctx, one.id).stage for one in (first, run)} == {Stage.PUBLISHED}


def test_the_whole_catalog_has_a_limit_and_the_image_with_the_fewest_at_work_goes_first(life: Life) -> None:
    ctx = within(life, at_once=2)
    busy, other = life.image("free"), life.image("free")
    working = [held_at(life, busy) for _ in range(2)]
    crowd = [step(ctx, life.dropped(busy)) for _ in range(2)]
    late = step(ctx, life.dropped(other))
    assert {run.stage for run in (*crowd, late)} == {Stage.QUEUED}
    assert late.note == "waits its turn: 2 runs at work (at most 2: limits.at_once of the catalog)"
    finish(ctx, working[0].id)
    assert [step(ctx, run).stage for run in crowd] == [Stage.QUEUED] * 2, "the place is kept for the other image"
    assert step(ctx, late).stage not in WAITING
    for run in (working[1], late, *crowd):
        assert finish(ctx, run.id).stage is Stage.PUBLISHED


def test_a_run_that_fails_gives_its_turn_back(life: Life) -> None:
    image = life.image("one")
    bad = held_at(life, image)
    waits = step(life.ctx, life.dropped(image))
    assert waits.stage is Stage.QUEUED
    engine.cancel(life.ctx, bad.id, ANN.name)
    assert step(life.ctx, waits).stage is Stage.QUEUED, "what it made is being taken away"
    finish(life.ctx, bad.id)
    assert finish(life.ctx, waits.id).stage is Stage.PUBLISHED


def test_who_died_between_its_end_and_leaving_the_line_keeps_nobody_waiting(life: Life) -> None:
    image = life.image("one")
    found = life.ctx.runs.load(held_at(life, image).id)
    assert found
    run, etag = found
    run.stage, run.ended = Stage.FAILED, now()
    life.ctx.runs.save(run, etag, was=Stage.UNDOING, happened="dies with this")
    waits = step(life.ctx, life.dropped(image))
    assert waits.stage is Stage.QUEUED
    sweep(life.ctx)
    assert finish(life.ctx, waits.id).stage is Stage.PUBLISHED


def test_who_died_with_a_turn_that_is_not_in_its_record_has_it_all_the_same(life: Life) -> None:
    image = life.image("one")
    run = life.dropped(image)
    assert life.ctx.line.take_turn(run, life.ctx.catalog, now()) is None
    waits = step(life.ctx, life.dropped(image))
    assert waits.stage is Stage.QUEUED
    for one in (run, waits):
        assert finish(life.ctx, one.id).stage is Stage.PUBLISHED


def test_what_is_over_the_limit_of_a_day_waits_for_the_next(life: Life) -> None:
    image = life.image("daily")
    for _ in range(2):
        life.build(image)
    run = step(life.ctx, life.dropped(image))
    tomorrow = now().astimezone(UTC).date() + timedelta(days=1)
    assert run.stage is Stage.QUEUED
    assert run.note == (
        f"waits its turn: 2 versions of {image} begun today (at most 2: limits.a_day; "
        f"the next day begins at {tomorrow} 00:00 UTC)"
    )
    life.ctx.line.forget_days(now())
    assert step(life.ctx, run).stage is Stage.QUEUED, "what was begun today still counts"
    assert life.ctx.line.take_turn(run, life.ctx.catalog, now() + timedelta(days=1)) is None
    assert finish(life.ctx, run.id).stage is Stage.PUBLISHED
    life.ctx.line.forget_days(now() + timedelta(days=2))
    assert life.ctx.line.take_turn(Run.draft(image, "x"), life.ctx.catalog, now()) is None, "forgotten"


def test_waiting_has_no_deadline_and_the_time_of_a_run_begins_with_its_turn(life: Life) -> None:
    image = life.image("one")
    working = held_at(life, image)
    waits = step(life.ctx, life.dropped(image))
    hurried = with_settings(life.ctx, run_deadline_seconds=0.001)
    assert step(hurried, waits).stage is Stage.QUEUED
    finish(life.ctx, working.id)
    began = now()
    done = finish(life.ctx, waits.id)
    assert done.stage is Stage.PUBLISHED
    assert done.began >= began > waits.began


def test_one_that_waits_can_be_cancelled_and_lets_the_next_pass(life: Life) -> None:
    image = life.image("one")
    working = held_at(life, image)
    first, second = (step(life.ctx, life.dropped(image)) for _ in range(2))
    assert second.note.endswith("; 1 is before it")
    engine.cancel(life.ctx, first.id, ANN.name)
    assert (first.id, 1) not in in_line(life, image)
    assert not step(life.ctx, second).note.endswith("before it")
    assert finish(life.ctx, first.id).stage is Stage.CANCELLED
    finish(life.ctx, working.id)
    assert finish(life.ctx, second.id).stage is Stage.PUBLISHED
    again = engine.retry(life.ctx, first.id)
    assert step(life.ctx, again).attempt == 2


def test_a_retried_run_of_a_resource_takes_its_turn_too(life: Life) -> None:
    image = life.image("one")
    group = life.azure.definition(image).partition("/providers/")[0]
    source = f"{group}/providers/Microsoft.Compute/disks/{image}"
    about = {"creationData": {"createOption": "Empty"}, "diskSizeGB": 10, "osType": "Linux", "hyperVGeneration": "V1"}
    body = {"location": "westeurope", "properties": about}
    life.azure.arm.put(source, params={"api-version": "2024-03-02"}, json=body).raise_for_status()
    asked = parse_request({"image": image, "source": {"disk": source}})
    run = finish(life.ctx, take_request(life.ctx, asked, ANN).run.id)
    assert run.stage is Stage.FAILED
    assert "generation" in str(run.reason)
    working = held_at(life, image)
    again = step(life.ctx, engine.retry(life.ctx, run.id))
    assert (again.stage, again.attempt) == (Stage.QUEUED, 2)
    assert again.note.startswith("waits its turn")
    for one in (working, run):
        finish(life.ctx, one.id)
    assert in_line(life, image) == []


def test_a_request_may_still_say_the_number_while_its_source_waits(life: Life) -> None:
    image = life.image("one")
    working = held_at(life, image)
    waits = step(life.ctx, life.dropped(image))
    asked = parse_request({"image": image, "source": {"blob": waits.source}, "version": "1.1.0", "request_id": image})
    assert take_request(life.ctx, asked, ANN).run.id == waits.id
    assert step(life.ctx, loaded(life.ctx, waits)).stage is Stage.QUEUED
    finish(life.ctx, working.id)
    assert finish(life.ctx, waits.id).version == "1.1.0"


def test_verdicts_and_promotions_wait_for_no_turn_and_take_none(life: Life) -> None:
    image = life.image("free")
    version = str(life.build(image).version)
    ctx = within(life, at_once=1)
    held_at(life, life.image("free"))
    held = Life(life.azure, ctx, life.folder)
    held.verdict(image, version)
    assert held.promoted(image).stage is Stage.PUBLISHED
    assert in_line(life, image) == in_line(life, f"{image}-production") == []


def test_who_is_far_back_asks_less_often_and_for_little(life: Life, monkeypatch: pytest.MonkeyPatch) -> None:
    image = life.image("one")
    ctx = with_settings(life.ctx, poll_seconds=10, poll_max_seconds=30)
    held_at(life, image)
    waiting = [step(ctx, life.dropped(image)) for _ in range(4)]
    delays = [round((run.due - run.entered).total_seconds(), -1) for run in waiting]
    assert delays == [10, 20, 30, 30]
    tap = Tap()
    monkeypatch.setattr(RequestsTransport, "send", tap.watch(RequestsTransport.send))
    step(ctx, waiting[-1])
    assert len(tap.to(ctx.settings.table_endpoint)) <= 4, (
        "a look at the record, at the line, a save, and the test's own"
    )
