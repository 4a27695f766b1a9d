"""Azure throttles, drops connections, fails regions and refuses; every run ends, and leaves nothing behind."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from pipeline import engine
from pipeline.cloud import retry
from pipeline.context import Context
from pipeline.runs import Run, Stage, now
from pipeline.sweep import sweep
from pipeline.versions import Version
from sandbox import disk
from tests.azure import Azure
from tests.steps import finish, runs_of, tell


@pytest.fixture(autouse=True)
def _clear(bare: Azure) -> Iterator[None]:
    yield
    bare.clear()


def dropped(azure: Azure, ctx: Context, folder: Path, image: str | None = None) -> Run:
    image = image or azure.image()
    return tell(azure, ctx, azure.drop(image, disk.make_vhd(folder / f"{image}.vhd")))


def nothing_is_left(azure: Azure, run: Run) -> bool:
    return azure.managed_images(run.image) == [] and azure.versions(run.image) == []


@pytest.mark.parametrize(
    "fault",
    [
        {"status": 429, "headers": {"Retry-After": "1"}, "times": 3},
        {"status": 503, "times": 3},
        {"drop": "before", "times": 2},
        {"drop": "after", "times": 2},
    ],
    ids=["throttled", "unavailable", "dropped before", "dropped after"],
)
def test_what_passes_is_waited_out_wherever_it_strikes(
    bare: Azure, ctx: Context, tmp_path: Path, fault: dict[str, object]
) -> None:
    image = bare.image()
    for method, path in [("PUT", f".*{image}"), ("GET", f".*{image}"), ("DELETE", f".*{image}")]:
        bare.fault(method=method, path=path, **fault)
    run = finish(ctx, dropped(bare, ctx, tmp_path, image).id, within=60)
    assert (run.stage, run.version) == (Stage.PUBLISHED, "1.0.0")
    assert bare.versions(image) == ["1.0.0"]
    assert bare.managed_images(image) == []


def test_an_image_that_left_the_catalog_ends_its_runs(bare: Azure, ctx: Context, tmp_path: Path) -> None:
    run = dropped(bare, ctx, tmp_path)
    images = {name: image for name, image in ctx.catalog.images.items() if name != run.image}
    without = dataclasses.replace(ctx, catalog=ctx.catalog.model_copy(update={"images": images}))
    run = finish(without, run.id)
    assert (run.stage, run.reason) == (Stage.FAILED, f"the catalog has no image {run.image!r} any more")
    (event,) = [one for one in bare.arm.get("/topic/events").json() if one["data"].get("run") == run.id]
    assert event["data"]["definition"] is None


def test_a_long_retry_after_goes_back_to_the_queue(bare: Azure, ctx: Context, tmp_path: Path) -> None:
    image = bare.image()
    bare.fault(method="PUT", path=f".*/images/gallerist-{image}.*", status=429, headers={"Retry-After": "120"}, times=1)
    run = dropped(bare, ctx, tmp_path, image)
    engine.step(ctx, run.id, run.generation)
    run = ctx.runs.load(run.id)[0]
    assert run.stage is Stage.IMAGING
    assert run.due > now() + timedelta(seconds=retry.LONGEST_WAIT)
    assert finish(ctx, run.id).stage is Stage.PUBLISHED


def test_a_failed_region_is_dropped_and_added_again(bare: Azure, ctx: Context, tmp_path: Path) -> None:
    image = bare.image()
    details = "Failed with internal server error."
    rule = {"northeurope": {"seconds": 0.1, "outcome": "Failed", "details": details, "times": 1}}
    bare.arm.post("/sandbox/replication", json={"regions": rule, "path": image}).raise_for_status()
    run = finish(ctx, dropped(bare, ctx, tmp_path, image).id)
    assert (run.stage, run.version, run.repairs) == (Stage.PUBLISHED, "1.0.0", {"northeurope": 1})
    told = [happening.note for happening in ctx.runs.history(run.id) if happening.stage is happening.led_to]
    assert any("northeurope: failed" in note and details in note for note in told)
    profile = bare.version(image, "1.0.0")["properties"]["publishingProfile"]
    assert [(r["name"], r["regionalReplicaCount"]) for r in profile["targetRegions"]] == [
        ("West Europe", 2), ("Sweden Central", 1), ("North Europe", 1),
    ]  # fmt: skip
    assert profile["excludeFromLatest"] is False


def test_a_region_that_fails_again_and_again_fails_the_run(bare: Azure, ctx: Context, tmp_path: Path) -> None:
    image = bare.image()
    rule = {"northeurope": {"seconds": 0.05, "outcome": "Failed", "details": "no room"}}
    bare.arm.post("/sandbox/replication", json={"regions": rule, "path": image}).raise_for_status()
    run = finish(ctx, dropped(bare, ctx, tmp_path, image).id)
    assert run.stage is Stage.FAILED
    assert "northeurope" in run.reason
    assert "no room" in run.reason
    assert "after 2 repairs" in run.reason
    assert nothing_is_left(bare, run)
    bare.clear()
    again = finish(ctx, dropped(bare, ctx, tmp_path, image).id)
    assert again.version == "1.0.1", "a number that was reserved is never used again"


def test_the_source_region_that_fails_fails_the_run(bare: Azure, ctx: Context, tmp_path: Path) -> None:
    image = bare.image()
    rule = {"westeurope": {"seconds": 0.05, "outcome": "Failed"}}
    bare.arm.post("/sandbox/replication", json={"regions": rule, "path": image}).raise_for_status()
    run = finish(ctx, dropped(bare, ctx, tmp_path, image).id)
    assert run.stage is Stage.FAILED
    assert "westeurope" in run.reason
    assert nothing_is_left(bare, run)


def test_latest_never_half_resolves(bare: Azure, ctx: Context, tmp_path: Path) -> None:
    image = bare.image()
    rule = {"northeurope": {"seconds": 1.0, "outcome": "Completed"}}
    bare.arm.post("/sandbox/replication", json={"regions": rule, "path": image}).raise_for_status()
    run = dropped(bare, ctx, tmp_path, image)
    while not run.stage.ended:
        engine.step(ctx, run.id, run.generation)
        run = ctx.runs.load(run.id)[0]
        if bare.versions(image):
            properties = bare.version(image, "1.0.0")["properties"]
            states = {region["state"] for region in properties["replicationStatus"]["summary"]}
            assert properties["publishingProfile"]["excludeFromLatest"] or states == {"Completed"}
    assert run.stage is Stage.PUBLISHED


def test_a_denied_call_fails_the_run_with_azures_words(bare: Azure, ctx: Context, tmp_path: Path) -> None:
    image = bare.image()
    words = "The client does not have authorization to perform action 'Microsoft.Compute/images/write'"
    bare.fault(
        method="PUT", path=f".*/images/gallerist-{image}.*", status=403, times=1,
        body={"error": {"code": "AuthorizationFailed", "message": words}},
    )  # fmt: skip
    run = finish(ctx, dropped(bare, ctx, tmp_path, image).id)
    assert run.stage is Stage.FAILED
    assert run.reason == f"AuthorizationFailed: {words}"
    assert nothing_is_left(bare, run)


@pytest.mark.parametrize(
    ("kind", "names"), [("web", "{image}/"), ("arm", "/storageAccounts/")], ids=["managed image", "direct"]
)
def test_a_refusal_for_want_of_the_accounts_keys_says_what_grants_them(
    bare: Azure, ctx: Context, tmp_path: Path, kind: str, names: str
) -> None:
    image = bare.image(kind)
    vhd = disk.make_vhd(tmp_path / "x.vhd")
    denial = {"path": names.format(image=image), "actions": "/listKeys/action$"}
    bare.arm.post("/sandbox/denials", json=denial).raise_for_status()
    try:
        run = finish(ctx, tell(bare, ctx, bare.drop(image, vhd)).id)
    finally:
        bare.arm.delete("/sandbox/denials").raise_for_status()
    assert run.stage is Stage.FAILED
    assert run.reason.startswith("LinkedAuthorizationFailed: ")
    assert "'Microsoft.Storage/storageAccounts/listKeys/action'" in run.reason
    assert run.reason.endswith("To grant it: azd env set VHD_LIST_KEYS true, then azd provision")
    assert nothing_is_left(bare, run)
    assert finish(ctx, engine.retry(ctx, run.id).id).stage is Stage.PUBLISHED


def test_a_number_that_another_run_reserved_is_passed_over(bare: Azure, ctx: Context, tmp_path: Path) -> None:
    image = bare.image()
    finish(ctx, dropped(bare, ctx, tmp_path, image).id)
    run = dropped(bare, ctx, tmp_path, image)
    engine.step(ctx, run.id, run.generation)
    run = ctx.runs.load(run.id)[0]
    ctx.ledger.reserve(str(run.definition), Version(1, 0, 1), "another-run", "", "")
    assert finish(ctx, run.id).version == "1.0.2"
    assert bare.versions(image) == ["1.0.0", "1.0.2"]


def test_a_number_taken_behind_our_back_is_passed_over(bare: Azure, ctx: Context, tmp_path: Path) -> None:
    image = bare.image("bios")
    vhd = disk.make_vhd(tmp_path / "x.vhd", generation="V1")
    finish(ctx, tell(bare, ctx, bare.drop(image, vhd)).id)
    foreign = bare.version(image, "1.0.0")
    vhd = disk.make_vhd(tmp_path / "y.vhd", generation="V1")
    run = tell(bare, ctx, bare.drop(image, vhd))
    # The list does not show the foreign 1.0.1 yet, as Resource Manager's cache may not; a GET of it does.
    empty = {"value": [{k: foreign[k] for k in ("name", "id", "type", "location")}]}
    bare.fault(method="GET", path=f".*/{image}/versions$", status=200, body=empty, times=1)
    body = {
        "location": "westeurope",
        "properties": {
            "publishingProfile": {"targetRegions": [{"name": "westeurope"}]},
            "storageProfile": {"source": {"id": foreign["id"]}},
        },
    }
    bare.arm.put(
        f"{bare.definition(image)}/versions/1.0.1", params={"api-version": "2024-03-03"}, json=body
    ).raise_for_status()
    assert finish(ctx, run.id).version == "1.0.2"
    assert "gallerist-run" not in (bare.version(image, "1.0.1").get("tags") or {})
    assert any("1.0.1 is taken" in happening.note for happening in ctx.runs.history(run.id))


def test_a_run_past_its_deadline_fails_with_what_was_seen(bare: Azure, ctx: Context, tmp_path: Path) -> None:
    image = bare.image()
    bare.arm.post(
        "/sandbox/replication", json={"regions": {"northeurope": {"outcome": "Stalled", "seconds": 1}}, "path": image}
    ).raise_for_status()
    run = dropped(bare, ctx, tmp_path, image)
    while run.stage is not Stage.REPLICATING or not run.regions:
        engine.step(ctx, run.id, run.generation)
        run = ctx.runs.load(run.id)[0]
    late = dataclasses.replace(ctx, settings=ctx.settings.model_copy(update={"run_deadline_seconds": 0.001}))
    engine.step(late, run.id, run.generation)
    bare.clear()
    run = finish(ctx, run.id)
    assert run.stage is Stage.FAILED
    assert "not done" in run.reason
    assert "slowest region" in run.reason
    assert nothing_is_left(bare, run)


def test_a_poisoned_step_fails_its_run_and_says_so(bare: Azure, ctx: Context, tmp_path: Path) -> None:
    run = dropped(bare, ctx, tmp_path)
    while run.stage is not Stage.IMAGING:
        engine.step(ctx, run.id, run.generation)
        run = ctx.runs.load(run.id)[0]
    broken = dataclasses.replace(ctx, compute=None)  # type: ignore[arg-type]
    with pytest.raises(AttributeError):
        engine.step(broken, run.id, run.generation)
    engine.fail_poisoned(ctx, run.id, run.generation, tries=5)
    run = finish(ctx, run.id)
    assert run.stage is Stage.FAILED
    assert "tried 5 times" in run.reason
    assert "AttributeError" in run.reason
    assert nothing_is_left(bare, run)


def test_a_run_whose_undoing_is_poisoned_ends_and_names_what_is_left(bare: Azure, ctx: Context, tmp_path: Path) -> None:
    run = dropped(bare, ctx, tmp_path)
    while run.stage is not Stage.IMAGING:
        engine.step(ctx, run.id, run.generation)
        run = ctx.runs.load(run.id)[0]
    engine.fail_poisoned(ctx, run.id, run.generation, tries=5)
    run = ctx.runs.load(run.id)[0]
    assert run.stage is Stage.UNDOING
    engine.fail_poisoned(ctx, run.id, run.generation, tries=5)
    run = ctx.runs.load(run.id)[0]
    assert run.stage is Stage.FAILED
    assert f"left behind, if still there: managed image {run.managed_image}" in run.reason


def test_a_lost_step_is_found_by_the_sweep(bare: Azure, ctx: Context, tmp_path: Path) -> None:
    run = dropped(bare, ctx, tmp_path)
    engine.step(ctx, run.id, run.generation)
    bare.queue(engine.STEPS).clear_messages()
    run = ctx.runs.load(run.id)[0]
    later = dataclasses.replace(ctx, settings=ctx.settings.model_copy(update={"sweep_grace_seconds": -60}))
    assert sweep(later).stalled >= 1
    messages = [message.content for message in bare.queue(engine.STEPS).receive_messages(max_messages=32)]
    assert any(run.id in message for message in messages)


def test_a_vhd_nobody_told_of_is_found_once(bare: Azure, ctx: Context, tmp_path: Path) -> None:
    image = bare.image()
    bare.drop(image, disk.make_vhd(tmp_path / "x.vhd"))
    assert sweep(ctx).found >= 1
    (run,) = runs_of(ctx, image)
    finish(ctx, run.id)
    assert sweep(ctx).found == 0
    assert len(runs_of(ctx, image)) == 1


def test_a_message_of_an_older_generation_does_nothing(bare: Azure, ctx: Context, tmp_path: Path) -> None:
    run = dropped(bare, ctx, tmp_path)
    engine.step(ctx, run.id, run.generation)
    before = ctx.runs.load(run.id)
    engine.step(ctx, run.id, run.generation)
    assert ctx.runs.load(run.id) == before
    engine.step(ctx, "no-such-run", 1)
