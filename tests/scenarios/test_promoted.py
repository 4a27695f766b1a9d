"""What has proven itself in staging reaches production, once, under its number; what is bad goes out of latest."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from pipeline import amendments, engine, promotion
from pipeline.cloud.faults import NotFound
from pipeline.engine import NotNow
from pipeline.intake import take_request
from pipeline.numbers import release_number
from pipeline.requests import InvalidRequest, parse_request, parse_verdict
from pipeline.runs import Run, Stage
from pipeline.sweep import sweep
from pipeline.versions import Version
from tests.azure import Azure
from tests.conftest import start
from tests.scenarios.deaths import Death, Wire
from tests.scenarios.lifecycle import ANN, DAY, GALLERIES, HOUR, PASSED, TESTER, Life, in_latest, write_catalog
from tests.steps import PUBLISHER, finish, runs_of

FAN = 60
SUITES = {f"suite-{n}": "passed" for n in range(4)}
KINDS: dict[str, tuple[dict[str, Any], dict[str, Any] | None]] = {
    "web": ({}, {"soak": "24h", "require": PASSED}),
    "word": ({}, {"approval": True}),
    "anew": ({"version": {"start": "7.0.0"}}, {"number": "next"}),
    "range": ({}, {"range": "~1.0"}),
    "brief": ({"end_of_life": "30d"}, {}),
    "free": ({}, {}),
    "many": ({}, {"require": SUITES}),
}


@pytest.fixture(scope="module")
def azure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Azure]:
    folder = tmp_path_factory.mktemp("promotion")
    catalog = write_catalog(folder / "rules.yaml", KINDS, 48, fan=FAN)
    sandbox = start(folder, catalog=catalog, galleries=list(GALLERIES), time_scale=20_000, host=False, events="none")
    yield Azure(sandbox)
    sandbox.stop()


def told(azure: Azure, run: Run) -> dict[str, Any]:
    (event,) = [event for event in azure.arm.get("/topic/events").json() if event["data"].get("run") == run.id]
    return event


def test_what_has_proven_itself_moves_under_its_number(life: Life) -> None:
    image = life.image("web")
    built = life.build(image)
    assert life.why(image).startswith("1.0.0: it has no verdict tests, passed is required, it soaks until")
    life.verdict(image, "1.0.0", "failed")
    assert "tests is failed" in life.why(image)
    life.verdict(image, "1.0.0")
    assert life.why(image).startswith("1.0.0: it soaks until")
    life.azure.advance(25 * HOUR)

    run = life.promoted(image)
    assert (run.stage, run.version, run.purpose, run.promotion) == (
        Stage.PUBLISHED, "1.0.0", "promotion", f"{image}-to-production",
    )  # fmt: skip
    version = life.there(image)["1.0.0"]
    staged = f"{GALLERIES['staging']}/images/{image}/versions/1.0.0"
    assert version["id"].startswith(GALLERIES["production"])
    assert version["properties"]["storageProfile"]["source"]["id"] == staged
    assert version["properties"]["replicationStatus"]["aggregatedState"] == "Completed"
    assert in_latest(version)
    tags = version["tags"]
    assert (tags["gallerist-source"], tags["gallerist-origin"]) == (staged, built.source)
    assert (tags["gallerist-promotion"], tags["tests"]) == (f"{image}-to-production", "passed")
    event = told(life.azure, run)
    assert (event["type"], event["data"]["version_id"]) == ("gallerist.image.promoted", version["id"])
    assert life.why(image) == "nothing is newer than 1.0.0"


def test_a_night_with_nothing_to_do_costs_two_lists(life: Life) -> None:
    image = life.image("web")
    life.ripe(image)
    life.promoted(image)
    before = life.azure.arm.get("/sandbox/requests").json()[-1]["index"]
    assert life.promote(image).run is None
    asked = [one for one in life.azure.arm.get("/sandbox/requests").json() if one["index"] > before]
    assert [(one["method"], one["path"].partition("?")[0].rpartition("/")[2]) for one in asked] == [
        ("GET", "versions")
    ] * 2


def test_only_the_highest_moves_and_an_older_one_while_that_is_not_ripe(life: Life) -> None:
    image = life.image("web")
    for version in ("1.0.0", "1.0.1"):
        assert life.ripe(image) == version
    life.build(image)
    assert life.promoted(image).version == "1.0.1"
    life.verdict(image, "1.0.2")
    life.azure.advance(25 * HOUR)
    assert life.promoted(image).version == "1.0.2"
    assert list(life.there(image)) == ["1.0.1", "1.0.2"]


def test_two_timers_at_once_promote_once(life: Life) -> None:
    image = life.image("web")
    life.ripe(image)
    with ThreadPoolExecutor(6) as pool:
        done = list(pool.map(lambda _: life.promote(image), range(6)))
    assert len({one.run.id for one in done if one.run}) == 1
    finish(life.ctx, done[0].run.id)
    assert list(life.there(image)) == ["1.0.0"]


def test_a_promotion_that_failed_is_taken_up_again_the_next_night(life: Life) -> None:
    image = life.image("web")
    life.ripe(image)
    life.azure.fault(
        method="PUT", path=f".*galProduction/images/{image}/versions/.*", status=400, times=1,
        body={"error": {"code": "InvalidParameter", "message": "No."}},
    )  # fmt: skip
    failed = life.promoted(image)
    assert (failed.stage, life.there(image)) == (Stage.FAILED, {})
    assert "InvalidParameter" in failed.reason
    again = life.promoted(image)
    assert (again.id, again.stage, again.version) == (failed.id, Stage.PUBLISHED, "1.0.0")


def test_a_promotion_that_was_cancelled_stays_so_until_a_person_says_otherwise(life: Life) -> None:
    image = life.image("web")
    life.ripe(image)
    run = life.promote(image).run
    engine.cancel(life.ctx, run.id, "ann")
    assert finish(life.ctx, run.id).stage is Stage.CANCELLED
    assert f"its promotion {run.id} was cancelled; gallerist retry {run.id}" in life.why(image)
    engine.retry(life.ctx, run.id)
    assert finish(life.ctx, run.id).stage is Stage.PUBLISHED


def test_a_version_that_is_not_in_all_its_regions_waits(life: Life) -> None:
    image = life.image("web")
    life.ripe(image)
    life.azure.arm.post("/sandbox/replication", json={"path": image, "regions": {"norwayeast": {"outcome": "Stalled"}}})
    version = life.azure.version(image, "1.0.0")
    profile = version["properties"]["publishingProfile"]
    profile["targetRegions"].append({"name": "norwayeast", "regionalReplicaCount": 1})
    life.azure.arm.put(
        version["id"], params={"api-version": "2024-03-03"},
        json={"location": "westeurope", "properties": {"publishingProfile": profile}},
    ).raise_for_status()  # fmt: skip
    assert "1.0.0: it is Updating" in life.why(image)


def test_what_is_withdrawn_while_it_is_promoted_never_joins_latest(life: Life) -> None:
    image = life.image("web")
    life.ripe(image)
    life.slow(f"{image}/")
    run = life.stepped(life.promote(image).run, until=Stage.REPLICATING)
    life.amended(*amendments.withdraw(life.ctx, image, "1.0.0", why="CVE-1", caller=ANN, promoted=False))
    life.azure.advance(HOUR)
    run = finish(life.ctx, run.id)
    assert run.stage is Stage.FAILED
    assert "may not move any more: it is withdrawn: CVE-1" in run.reason
    assert life.there(image) == {}
    assert "it is withdrawn: CVE-1" in life.why(image)


def test_a_withdrawal_follows_the_promotions_where_asked(life: Life) -> None:
    image = life.image("web")
    life.ripe(image)
    life.promoted(image)
    runs = amendments.withdraw(life.ctx, image, "1.0.0", why="CVE-1", caller=ANN, promoted=True)
    assert [run.image for run in life.amended(*runs)] == [image, f"{image}-production"]
    for version in (life.azure.version(image, "1.0.0"), life.there(image)["1.0.0"]):
        assert not in_latest(version)
        assert "CVE-1" in version["tags"]["gallerist-withdrawn"]
        assert version["tags"]["tests"] == "passed"
        assert version["properties"]["replicationStatus"]["aggregatedState"] == "Completed"
    event = told(life.azure, runs[0])
    assert (event["type"], event["data"]["reason"]) == ("gallerist.image.withdrawn", "CVE-1")
    assert amendments.withdraw(life.ctx, image, "1.0.0", why="CVE-1", caller=ANN, promoted=True) == []

    life.amended(amendments.reinstate(life.ctx, image, "1.0.0", why="false alarm", caller=ANN))
    version = life.azure.version(image, "1.0.0")
    assert in_latest(version)
    assert "gallerist-withdrawn" not in version["tags"]


def test_a_rollback_makes_the_good_one_before_latest_again(life: Life) -> None:
    image = life.image("web")
    for _ in range(3):
        life.ripe(image)
        life.promoted(image)
    target = f"{image}-production"
    planned = amendments.rollback(life.ctx, target, why="it hangs", caller=ANN, dry_run=True)
    assert (planned.out, planned.back_to, planned.runs) == ("1.0.2", "1.0.1", [])
    life.amended(*amendments.rollback(life.ctx, target, why="it hangs", caller=ANN).runs)
    assert {name: in_latest(version) for name, version in life.there(image).items()} == {
        "1.0.0": True, "1.0.1": True, "1.0.2": False,
    }  # fmt: skip
    assert life.there(image)["1.0.2"]["tags"]["gallerist-withdrawn"] == "rolled back to 1.0.1: it hangs"
    assert life.why(image) == "nothing is newer than 1.0.2"  # nothing bad comes back the next night
    assert amendments.rollback(life.ctx, target, why="again", caller=ANN, dry_run=True).back_to == "1.0.0"
    life.amended(*amendments.rollback(life.ctx, target, why="again", caller=ANN).runs)
    with pytest.raises(NotNow, match=r"no good version before 1\.0\.0"):
        amendments.rollback(life.ctx, target, why="again", caller=ANN)


def test_a_rollback_sees_the_latest_while_it_changes_and_happens_once(life: Life) -> None:
    image = life.image("web")
    for _ in range(3):
        life.build(image)
    said = amendments.judge_version(
        life.ctx, parse_verdict({"image": image, "version": "1.0.2", "outcome": "failed", "by": "ci"}), TESTER
    )
    engine.step(life.ctx, said.id, said.generation)  # Azure is at it: 1.0.2 is Updating
    done = amendments.rollback(life.ctx, image, why="it fails", caller=ANN, out="1.0.2")
    assert (done.out, done.back_to) == ("1.0.2", "1.0.1")
    with pytest.raises(NotNow, match=rf"a withdrawal of {image} 1\.0\.2 is under way, the run {done.runs[0].id}"):
        amendments.rollback(life.ctx, image, why="it fails", caller=ANN, out="1.0.2")
    life.amended(said, *done.runs)
    with pytest.raises(NotNow, match=r"1\.0\.2 is not the latest version, 1\.0\.1 is"):
        amendments.rollback(life.ctx, image, why="it fails", caller=ANN, out="1.0.2")
    assert in_latest(life.azure.version(image, "1.0.1"))


def test_the_last_word_is_the_one_that_stands(life: Life) -> None:
    image = life.image("web")
    life.build(image)

    life.verdict(image, "1.0.0", "failed")
    first = life.says(image, "1.0.0", "passed")
    engine.step(life.ctx, first.id, first.generation)  # Azure is at it
    second = life.says(image, "1.0.0", "failed")  # it says what is so now, and is heard all the same
    engine.step(life.ctx, second.id, second.generation)
    assert f"{first.id} amends version 1.0.0 first" in life.ctx.runs.load(second.id)[0].note
    life.amended(first, second)
    assert life.azure.version(image, "1.0.0")["tags"]["tests"] == "failed"


def test_verdicts_of_one_name_that_wait_are_one_run_and_the_later_word_stands(life: Life) -> None:
    image = life.image("web")
    life.build(image)
    runs = [life.says(image, "1.0.0", outcome) for outcome in ("passed", "failed", "passed", "failed")]
    assert len({run.id for run in runs if run}) == 1
    (ended,) = life.amended(runs[-1])
    assert life.azure.version(image, "1.0.0")["tags"]["tests"] == "failed"
    assert ended.amendment.why == "failed/4"
    assert life.ctx.runs.history(ended.id)[-1].note == "version 1.0.0 is tagged tests=failed, by the tester's key"


def test_gates_hold_until_the_version_joins_latest(life: Life) -> None:
    image = life.image("web")
    life.ripe(image)
    life.slow(f"{image}/")
    run = life.stepped(life.promote(image).run, until=Stage.REPLICATING)
    life.ctx.holds.hold(life.rule(image).key, "freeze", "ann")
    life.azure.advance(HOUR)
    run = life.stepped(run, until=Stage.FINISHING)
    engine.step(life.ctx, run.id, run.generation)
    run = life.ctx.runs.load(run.id)[0]
    assert run.note == f"the rule {image}-to-production is held: freeze"
    assert not in_latest(life.there(image)["1.0.0"])
    life.verdict(image, "1.0.0", "failed")
    life.ctx.holds.release(life.rule(image).key)
    run = finish(life.ctx, run.id)
    assert (run.stage, life.there(image)) == (Stage.FAILED, {})
    assert "may not move any more: tests is failed, passed is required" in run.reason
    again = engine.retry(life.ctx, run.id)  # by hand it is the same
    assert "tests is failed" in finish(life.ctx, again.id).reason


def test_a_number_that_a_person_deleted_is_not_undercut(life: Life) -> None:
    image = life.image("web")
    for _ in range(2):
        life.ripe(image)
        life.promoted(image)
    gone = life.there(image)["1.0.1"]["id"]
    life.azure.arm.delete(gone, params={"api-version": "2024-03-03"}).raise_for_status()
    life.azure.advance(HOUR)
    assert life.why(image) == "nothing is newer than 1.0.1"


def test_a_promotion_comes_back_to_its_number_in_a_gallery_with_soft_delete(life: Life) -> None:
    image, api = life.image("web"), {"api-version": "2024-03-03"}
    for soft in (True, False):
        policy = {"location": "westeurope", "properties": {"softDeletePolicy": {"isSoftDeleteEnabled": soft}}}
        life.azure.arm.put(GALLERIES["production"], params=api, json=policy).raise_for_status()
        if soft:
            life.ripe(image)
            regions = {"westeurope": {"outcome": "Failed", "details": "Out of capacity."}}
            life.azure.arm.post(
                "/sandbox/replication", json={"path": f"galProduction/images/{image}/", "regions": regions}
            )
            assert life.promoted(image).stage is Stage.FAILED
            life.azure.clear()
            assert life.promoted(image).version == "1.0.0"


def test_what_finds_no_room_in_the_tags_counts_all_the_same(life: Life) -> None:
    image = life.image("web")
    life.build(image)
    version = life.azure.version(image, "1.0.0")
    tags = version["tags"] | {f"t{n}": "x" for n in range(50 - len(version["tags"]))}
    body = {"location": "westeurope", "tags": tags}
    life.azure.arm.put(version["id"], params={"api-version": "2024-03-03"}, json=body).raise_for_status()
    life.azure.advance(HOUR)
    assert life.says(image, "1.0.0", "failed") is None  # nothing can be written to the version
    assert "tests is failed" in life.why(image)  # it counts without the tag
    life.amended(*amendments.withdraw(life.ctx, image, "1.0.0", why="CVE-1", caller=ANN, promoted=False))
    version = life.azure.version(image, "1.0.0")
    assert (in_latest(version), len(version["tags"])) == (False, 50)  # out of latest counts more than the tag


def test_a_build_gives_itself_no_verdict(life: Life) -> None:
    image = life.image("web")
    source = {"blob": life.azure.blob(image, "x.vhd").url}
    with pytest.raises(InvalidRequest, match=r"tags\.tests: a promotion rule requires it"):
        take_request(
            life.ctx, parse_request({"image": image, "source": source, "tags": {"tests": "passed"}}), PUBLISHER
        )
    with pytest.raises(InvalidRequest, match="does not allow this source"):
        take_request(life.ctx, parse_request({"image": f"{image}-production", "source": source}), PUBLISHER)


def test_a_rule_waits_for_a_persons_word(life: Life) -> None:
    image = life.image("word")
    life.build(image)
    assert "nobody has approved of it" in life.why(image)
    life.amended(amendments.approve(life.ctx, image, "1.0.0", caller=ANN, note=""))
    assert life.promoted(image).version == "1.0.0"
    assert "approved" not in life.there(image)["1.0.0"]["tags"]  # a word for this step is none for the next


def test_a_rule_that_is_held_moves_nothing_until_it_is_released(life: Life) -> None:
    image = life.image("web")
    life.ripe(image)
    life.ctx.holds.hold(life.rule(image).key, "freeze", "ann")
    assert life.why(image) == "the rule is held: freeze"
    life.ctx.holds.hold(life.rule(image).key, "long freeze", "bob")
    assert life.why(image) == "the rule is held: long freeze"
    life.ctx.holds.release(life.rule(image).key)
    life.ctx.holds.release(life.rule(image).key)
    assert life.promoted(image).version == "1.0.0"


def test_a_rule_may_number_anew(life: Life) -> None:
    image = life.image("anew")
    for number in ("7.0.0", "7.0.1"):
        life.build(image)
        assert life.promoted(image).version == number
    life.build(image)
    life.build(image)
    run = life.promoted(image)
    assert run.source.endswith("/7.0.3")
    assert run.version == "7.0.2"
    assert life.why(image) == "nothing is newer than 7.0.3"


def test_a_range_keeps_what_is_outside(life: Life) -> None:
    image = life.image("range")
    life.build(image)
    assert life.promoted(image).version == "1.0.0"


def test_what_is_past_its_life_stays(life: Life) -> None:
    image = life.image("brief")
    built = life.build(image)
    assert built.end_of_life
    life.azure.advance(31 * DAY)
    assert "1.0.0: its life ended on" in life.why(image)


def test_verdicts_at_the_same_moment_are_all_kept(life: Life) -> None:
    image = life.image("many")
    life.build(image)
    said = [(name, outcome) for name in SUITES for outcome in ("passed", "failed")]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda one: life.verdict(image, "1.0.0", one[1], one[0]), said))
    tags, stands = life.azure.version(image, "1.0.0")["tags"], life.judged(image, "1.0.0").verdicts
    assert set(stands) == set(SUITES)
    assert {name: tags[name] for name in SUITES} == {name: stands[name].outcome for name in SUITES}


def test_a_verdict_waits_for_the_run_that_makes_the_version(life: Life) -> None:
    image = life.image("web")
    life.slow(image)
    run = life.stepped(life.dropped(image), until=Stage.REPLICATING)
    said = amendments.approve(life.ctx, image, "1.0.0", caller=ANN, note="")
    engine.step(life.ctx, said.id, said.generation)
    waits = life.ctx.runs.load(said.id)[0]
    assert (waits.stage, waits.version) == (Stage.AMENDING, "1.0.0")
    life.azure.advance(HOUR)
    assert finish(life.ctx, run.id).stage is Stage.PUBLISHED
    life.amended(said)
    version = life.azure.version(image, "1.0.0")
    assert in_latest(version)
    assert version["tags"]["approved"] == "ann"


def test_an_amendment_outlives_a_death_at_its_lock(life: Life) -> None:
    image = life.image("web")
    life.build(image)
    first = amendments.approve(life.ctx, image, "1.0.0", caller=ANN, note="")
    life.amended(first)
    life.ctx.turns.begin(first.source, first.id)  # a death between its end and letting go
    life.verdict(image, "1.0.0")
    assert life.azure.version(image, "1.0.0")["tags"]["tests"] == "passed"


def test_of_what_is_not_there_nothing_can_be_said(life: Life) -> None:
    image = life.image("web")
    with pytest.raises(NotFound):
        amendments.approve(life.ctx, image, "1.0.0", caller=ANN, note="")
    with pytest.raises(NotFound, match='no image "nowhere"'):
        amendments.approve(life.ctx, "nowhere", "1.0.0", caller=ANN, note="")
    with pytest.raises(NotNow, match="no version in latest"):
        amendments.rollback(life.ctx, image, why="x", caller=ANN)


@pytest.mark.timeout(240)
def test_a_death_after_any_write_promotes_once(life: Life, wire: Wire) -> None:
    life.build("fan")
    for rule in life.ctx.catalog.rules_from("fan"):
        target = rule.key
        with wire.deadly_to(target, after=True):
            try:
                run = finish(life.ctx, promotion.promote(life.ctx, rule).run.id)
            except Death:
                run = None
        if run is None:  # the next night, and the sweep
            promotion.promote(life.ctx, rule)
            sweep(
                dataclasses.replace(
                    life.ctx, settings=life.ctx.settings.model_copy(update={"sweep_grace_seconds": -60})
                )
            )
            life.azure.queue(engine.STEPS).clear_messages()
            (found,) = runs_of(life.ctx, target)
            recovered = finish(life.ctx, found.id)
        else:
            recovered = run
        assert (recovered.stage, recovered.version) == (Stage.PUBLISHED, "1.0.0"), wire.killed_at
        assert life.azure.versions(target) == ["1.0.0"], wire.killed_at
        assert in_latest(life.azure.version(target, "1.0.0"))
        assert len(runs_of(life.ctx, target)) == 1
        assert promotion.promote(life.ctx, rule).run is None
        if run:
            break
    else:
        pytest.fail(f"still something new to strike: {wire.killed_at}")
    for place in ("/sources", "/runs", "/$batch", "/run-steps/", "/versions/1.0.0"):
        assert any(place in death for death in wire.struck), (place, wire.struck)


def test_a_rule_that_cannot_be_looked_at_keeps_no_other(life: Life) -> None:
    first, second = life.image("web"), life.image("web")
    life.ripe(second)
    life.azure.fault(method="GET", path=f".*/{first}/versions$", status=403)
    done = promotion.promote_all(life.ctx, [life.rule(first), life.rule(second)])
    assert done[0].fault
    assert finish(life.ctx, done[1].run.id).version == "1.0.0"


def test_a_verdict_comes_by_queue(
    life: Life, azure: Azure, monkeypatch: pytest.MonkeyPatch, ctx_of_triggers: Any
) -> None:
    image = life.image("web")
    life.build(image)
    said = json.dumps({"image": image, "version": "1.0.0", "outcome": "passed"}).encode()
    ctx_of_triggers.verdict(said, "m1")
    (run,) = [run for run in ctx_of_triggers.runs(image) if run.amendment]
    life.amended(run)
    assert azure.version(image, "1.0.0")["tags"]["tests"] == "passed"
    life.verdict(image, "1.0.0", "failed")
    ctx_of_triggers.verdict(said, "m1")  # delivered again: what was said since stands
    assert all(run.stage.ended for run in ctx_of_triggers.runs(image))
    assert azure.version(image, "1.0.0")["tags"]["tests"] == "failed"
    for bad in ({"image": image, "version": "9.9.9", "outcome": "passed"}, {"image": image, "outcome": "passed"}, "x"):
        ctx_of_triggers.verdict(json.dumps(bad).encode(), "m2")
    rejected = azure.blobs.get_container_client("rejected").list_blobs("verdicts/")
    assert len(list(rejected)) == 3


@pytest.fixture
def ctx_of_triggers(life: Life) -> Iterator[Any]:
    """The triggers, connected as `life` is."""
    from types import SimpleNamespace

    from pipeline import triggers
    from pipeline.context import context
    from tests.steps import runs_of

    context.cache_clear()
    yield SimpleNamespace(verdict=triggers.verdict, runs=lambda image: runs_of(life.ctx, image))
    context.cache_clear()


def by_hand(life: Life, image: str, version: str) -> None:
    """Somebody who may write to the staging gallery puts a version there, a copy of another one."""
    found = life.azure.version(image, life.azure.versions(image)[0])
    body = {
        "location": "westeurope",
        "properties": {
            "publishingProfile": {"targetRegions": [{"name": "westeurope"}]},
            "storageProfile": {"source": {"id": found["id"]}},
        },
    }
    url = f"{life.azure.definition(image)}/versions/{version}"
    life.azure.arm.put(url, params={"api-version": "2024-03-03"}, json=body).raise_for_status()
    life.azure.advance(HOUR)


def test_a_number_in_staging_does_not_end_the_numbering_in_production(life: Life) -> None:
    image = life.image("free")
    life.build(image)
    by_hand(life, image, "50000.0.0")
    assert life.promoted(image).version == "1.0.0"
    assert life.build(image).version == "50000.0.1"  # in staging it is the highest there is
    assert f"50000.0.1: {image}-production does not take its number: version 50000.0.1 is more" in life.why(image)
    assert list(life.there(image)) == ["1.0.0"]
    by_hand(life, image, "2.0.0")
    assert life.promoted(image).version == "2.0.0"


def test_a_promotion_skips_the_majors_that_were_not_promoted(life: Life) -> None:
    image = life.image("free")
    life.build(image)
    assert life.promoted(image).version == "1.0.0"
    for number in ("2.0.0", "3.0.0", "4.0.0"):
        request = parse_request({"image": image, "source": {"blob": life.dropped(image).source}, "version": number})
        run = take_request(life.ctx, request, PUBLISHER).run
        assert finish(life.ctx, run.id).version == number
    assert life.promoted(image).version == "4.0.0"


def test_a_number_that_was_released_in_production_moves_no_more_and_keeps_no_other(life: Life) -> None:
    image = life.image("free")
    target = f"{image}-production"
    for _ in range(2):
        life.build(image)
    life.azure.fault(method="PUT", path=f".*/galProduction/images/{image}/versions/.*", status=400, times=1)
    failed = life.promoted(image)
    assert (failed.stage, failed.version) == (Stage.FAILED, "1.0.1")
    release_number(life.ctx, target, "1.0.1", why="it is to be built anew")
    assert life.promoted(image).version == "1.0.0"
    assert f"1.0.1: its number was released in {target}" in life.why(image)


def test_what_a_run_that_failed_reserved_in_production_binds_nothing_there(life: Life) -> None:
    image = life.image("free")
    target = f"{image}-production"
    life.build(image)
    dead = Run.draft(target, "/elsewhere", definition=life.azure.definition(target), stage=Stage.FAILED)
    life.ctx.runs.begin(dead)
    life.ctx.ledger.reserve(str(dead.definition), Version(1, 0, 1), dead.id, dead.source, "")
    assert life.promoted(image).version == "1.0.0"
    life.build(image)
    assert f"1.0.1: the run {dead.id} of {target} has its number" in life.why(image)  # it is never given twice
    life.build(image)
    assert life.promoted(image).version == "1.0.2"
