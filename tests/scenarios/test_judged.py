"""Only what is said at the door counts for promotion, by whoever may say it; and nobody passes on what is their own."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline import amendments, engine, promotion, triggers
from pipeline.access import Caller, NotAllowed, Role, of_key, of_queue
from pipeline.amendments import MOST_WAITING
from pipeline.engine import NotNow
from pipeline.intake import take_request
from pipeline.requests import InvalidRequest, parse_request
from pipeline.runs import Run, Stage, now
from pipeline.web.calls import Call, answer
from pipeline.web.routes import HANDLERS
from tests.azure import Azure
from tests.conftest import start
from tests.scenarios.lifecycle import ANN, GALLERIES, HOUR, PASSED, Life, in_latest, write_catalog
from tests.steps import finish, runs_of

SUITES = {f"suite-{n}": "passed" for n in range(4)}
KINDS: dict[str, tuple[dict[str, Any], dict[str, Any] | None]] = {
    "web": ({}, {"require": PASSED}),
    "many": ({}, {"require": SUITES}),
    "eyes": ({}, {"approval": True}),
    "both": ({}, {"approval": True, "require": PASSED}),
    "blind": ({}, {"approval": True, "four_eyes": False}),
    "alone": ({}, None),
    "anew": ({"version": {"start": "7.0.0"}}, {"number": "next"}),
}
CHAINS = 3
BOB, CID = (Caller(f"5b2c1d7e-0000-4000-8000-0000000000{n}", n, frozenset({Role.OPERATOR})) for n in ("bb", "cc"))


@pytest.fixture(scope="module")
def azure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Azure]:
    folder = tmp_path_factory.mktemp("judged")
    catalog = write_catalog(folder / "rules.yaml", KINDS, 8)
    _add_chains(catalog)
    sandbox = start(folder, catalog=catalog, galleries=list(GALLERIES), time_scale=20_000, host=False, events="none")
    yield Azure(sandbox)
    sandbox.stop()


def _add_chains(path: Path) -> None:
    """Images that are promoted twice, each time with verdict and approval: `chain-NNN` and `chain-NNN-live`."""
    catalog = yaml.safe_load(path.read_text())
    for n in range(CHAINS):
        name = f"chain-{n:03}"
        definition = {"publisher": "Contoso", "offer": "chain", "sku": name, "os_type": "Linux"}
        catalog["images"][name] = {"gallery": "staging", "drop": f"vhds/{name}/*.vhd", "definition": definition}
        catalog["images"][f"{name}-live"] = {"gallery": "production", "definition": definition}
        wants = {"require": PASSED, "approval": True}
        live = {"gallery": "production", "definition": f"{name}-live"}
        catalog["promotions"] += [
            {"from": name, "to": live, "require": {**PASSED, "smoke": "passed"}},
            {"from": f"{name}-live", "to": {"gallery": "soft", "definition": f"{name}-end"}, **wants},
        ]
    path.write_text(yaml.safe_dump(catalog))


def asked_for(life: Life, image: str, caller: Caller) -> Run:
    """A version that somebody has asked for."""
    life.azure.drop(image, life.folder / "x.vhd", "asked.vhd")
    request = {"image": image, "source": {"blob": life.azure.blob(image, "asked.vhd").url}}
    run = finish(life.ctx, take_request(life.ctx, parse_request(request), caller).run.id)
    assert run.stage is Stage.PUBLISHED, run.reason
    return run


def approved(life: Life, image: str, caller: Caller) -> Run | None:
    return amendments.approve(life.ctx, image, "1.0.0", caller=caller, note="")


def tag(life: Life, image: str, tags: dict[str, str], *, in_latest: bool | None = None) -> None:
    """What whoever may write to the gallery does to 1.0.0, past the pipeline."""
    version = life.azure.version(image, "1.0.0")
    profile = version["properties"]["publishingProfile"]
    if in_latest is not None:
        for place in (profile, *profile["targetRegions"]):
            place["excludeFromLatest"] = not in_latest
    body = {"location": "westeurope", "tags": tags, "properties": {"publishingProfile": profile}}
    life.azure.arm.put(version["id"], params={"api-version": "2024-03-03"}, json=body).raise_for_status()
    life.azure.advance(HOUR)


def test_whoever_may_tag_the_gallery_passes_no_test_and_approves_nothing(life: Life) -> None:
    image = life.image("both")
    life.build(image)
    tag(life, image, life.azure.version(image, "1.0.0")["tags"] | {"tests": "passed", "approved": "ann"})
    assert life.why(image) == "1.0.0: it has no verdict tests, passed is required, nobody has approved of it"
    life.verdict(image, "1.0.0")
    life.amended(approved(life, image, ANN))
    assert life.promoted(image).stage is Stage.PUBLISHED


def test_whoever_may_tag_the_gallery_ends_no_promotion_and_repeats_none(life: Life) -> None:
    image = life.image("anew")
    life.build(image)
    assert life.promoted(image).version == "7.0.0"
    target, staged = f"{image}-production", f"{life.azure.definition(image)}/versions"
    for source in (f"{staged}/2147483000.0.0", f"{staged}/1.0.0", "x"):
        tags = life.azure.version(target, "7.0.0")["tags"] | {"gallerist-source": source}
        version = life.azure.version(target, "7.0.0")
        body = {name: version[name] for name in ("location", "properties")} | {"tags": tags}
        body["properties"] = {"publishingProfile": body["properties"]["publishingProfile"]}
        life.azure.arm.put(version["id"], params={"api-version": "2024-03-03"}, json=body).raise_for_status()
        life.azure.advance(HOUR)
        assert life.why(image) == "nothing is newer than 7.0.0"
    life.build(image)
    assert life.promoted(image).source.endswith("/7.0.1")


def test_whoever_may_tag_the_gallery_brings_nothing_back_that_is_withdrawn(life: Life) -> None:
    image = life.image("web")
    life.build(image)
    life.verdict(image, "1.0.0")
    tags = life.azure.version(image, "1.0.0")["tags"]
    life.amended(*amendments.withdraw(life.ctx, image, "1.0.0", why="CVE-1", caller=ANN, promoted=False))
    tag(life, image, tags, in_latest=True)
    assert in_latest(life.azure.version(image, "1.0.0"))
    assert life.why(image) == "1.0.0: it is withdrawn: CVE-1"
    assert amendments.reinstate(life.ctx, image, "1.0.0", why="false alarm", caller=ANN) is None  # it is so already
    assert life.promoted(image).stage is Stage.PUBLISHED


def test_what_is_withdrawn_again_comes_back_at_no_moment(life: Life) -> None:
    image = life.image("web")
    life.build(image)
    say = {"why": "CVE-1", "caller": ANN}
    life.amended(*amendments.withdraw(life.ctx, image, "1.0.0", **say, promoted=False))
    back = amendments.reinstate(life.ctx, image, "1.0.0", **say)
    out = amendments.withdraw(life.ctx, image, "1.0.0", **say, promoted=False)
    back, *_ = life.amended(back)
    assert not in_latest(life.azure.version(image, "1.0.0"))
    assert life.ctx.runs.history(back.id)[-1].note == "version 1.0.0 was withdrawn again since, by ann: it stays so"
    life.amended(*out)
    assert not in_latest(life.azure.version(image, "1.0.0"))


def test_a_withdrawal_by_tag_alone_keeps_a_version_back(life: Life) -> None:
    image = life.image("web")
    life.build(image)
    life.verdict(image, "1.0.0")
    tag(life, image, life.azure.version(image, "1.0.0")["tags"] | {"gallerist-withdrawn": "by hand"})
    assert life.why(image) == "1.0.0: it is withdrawn: by hand"


def test_whoever_may_tag_the_gallery_neither_delays_a_withdrawal_nor_hides_what_was_promoted(life: Life) -> None:
    image = life.image("web")
    built = life.build(image)
    life.verdict(image, "1.0.0")
    at_work = life.dropped(image)
    forged = {"gallerist-run": at_work.id, "gallerist-source": "/x", "gallerist-origin": "/x"}
    tag(life, image, life.azure.version(image, "1.0.0")["tags"] | forged)
    assert life.promoted(image).stage is Stage.PUBLISHED
    assert life.there(image)["1.0.0"]["tags"]["gallerist-origin"] == built.source
    tag(life, f"{image}-production", life.there(image)["1.0.0"]["tags"] | forged)
    runs = amendments.withdraw(life.ctx, image, "1.0.0", why="CVE-1", caller=ANN, promoted=True)
    assert [run.image for run in life.amended(*runs)] == [image, f"{image}-production"]


def test_whoever_may_tag_the_gallery_lets_no_amendment_delete_the_version(life: Life) -> None:
    image = life.image("web")
    life.build(image)
    life.amended(*amendments.withdraw(life.ctx, image, "1.0.0", why="CVE-1", caller=ANN, promoted=False))
    run = amendments.reinstate(life.ctx, image, "1.0.0", why="false alarm", caller=ANN)
    assert run
    tag(life, image, life.azure.version(image, "1.0.0")["tags"] | {"gallerist-run": run.id})
    life.azure.fault(method="PUT", path=f".*/{image}/versions/.*", status=400, times=1)
    assert finish(life.ctx, run.id).stage is Stage.FAILED
    assert life.azure.versions(image) == ["1.0.0"]


@pytest.mark.parametrize("name", ["commit", "owner", "created", "suite-9", "tests"])
def test_a_verdict_carries_only_what_a_rule_of_the_image_asks_for(life: Life, name: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        life.says("many-000", "1.0.0", "passed", name)
    assert str(refused.value) == (
        f'name takes suite-0, suite-1, suite-2 or suite-3, as the promotion rules of many-000 require, not "{name}"'
    )


def test_an_image_without_a_rule_says_what_would_let_it_take_a_verdict(life: Life) -> None:
    with pytest.raises(InvalidRequest) as refused:
        life.says("alone-000", "1.0.0", "passed")
    assert str(refused.value) == (
        "name takes a verdict that a promotion rule of alone-000 requires, and none requires any: "
        'give a rule in the catalog\'s promotions require: {"tests": passed}'
    )


def test_who_said_what_is_kept(life: Life) -> None:
    image = life.image("both")
    life.build(image)
    life.amended(life.says(image, "1.0.0", "passed", "TESTS", caller=BOB))
    life.amended(amendments.approve(life.ctx, image, "1.0.0", caller=ANN, note="for cid"))
    life.amended(approved(life, image, CID))
    judged = life.judged(image, "1.0.0")
    (verdict,) = judged.verdicts.values()
    assert (verdict.name, verdict.outcome, verdict.who, verdict.by) == ("tests", "passed", BOB.id, BOB.name)
    assert [(one.who, one.by) for one in judged.approvals] == [(ANN.id, "ann"), (CID.id, "cc")]
    tags = life.azure.version(image, "1.0.0")["tags"]
    assert (tags["tests"], tags["approved"]) == ("passed", "ann, cc")


def test_who_publishes_does_not_approve(life: Life) -> None:
    image = life.image("eyes")
    asked_for(life, image, ANN)
    # It is the ledger that tells who published it: no tag does.
    other = life.build(life.image("web"))
    tag(life, image, life.azure.version(image, "1.0.0")["tags"] | {"gallerist-run": other.id})
    with pytest.raises(
        NotAllowed, match=rf"^ann published {image} 1\.0\.0: another person has to approve it \(four_eyes\)"
    ):
        approved(life, image, ANN)
    route = "POST /images/{image}/versions/{version}/approval"
    call = Call("https://x/api", ANN, {"image": image, "version": "1.0.0"}, body=b"{}")
    given = answer(route, lambda: (life.ctx, call), HANDLERS)
    assert (given.status, "another person" in given.body["error"]["message"]) == (403, True)
    assert "nobody has approved of it" in life.why(image)
    life.amended(approved(life, image, BOB))
    assert life.promoted(image).stage is Stage.PUBLISHED


def test_who_gives_a_verdict_does_not_approve(life: Life) -> None:
    image = life.image("both")
    life.build(image)
    life.amended(approved(life, image, ANN))
    life.amended(life.says(image, "1.0.0", "passed", caller=ANN))  # it takes no look at the door to hold
    assert life.why(image) == (
        "1.0.0: approved by ann, who gave it the verdict tests: another person has to (four_eyes)"
    )
    with pytest.raises(NotAllowed, match="ann gave both-"):
        approved(life, image, ANN)
    life.amended(approved(life, image, BOB))
    assert life.promoted(image).stage is Stage.PUBLISHED


def test_a_rule_may_do_without_four_eyes_and_keys_name_nobody(life: Life) -> None:
    image = life.image("blind")
    asked_for(life, image, ANN)
    life.amended(approved(life, image, ANN))
    assert life.promoted(image).stage is Stage.PUBLISHED
    image, key = life.image("eyes"), of_key(Role.OPERATOR)
    asked_for(life, image, key)
    life.amended(approved(life, image, key))
    assert life.promoted(image).stage is Stage.PUBLISHED


def test_a_gate_that_closes_while_a_version_is_promoted_stops_it(life: Life) -> None:
    image = life.image("both")
    life.build(image)
    life.amended(life.says(image, "1.0.0", "passed", caller=BOB), approved(life, image, ANN))
    life.slow(f"{image}/")
    run = life.stepped(life.promote(image).run, until=Stage.REPLICATING)
    life.amended(life.says(image, "1.0.0", "passed", caller=ANN))
    life.azure.advance(HOUR)
    run = finish(life.ctx, run.id)
    assert (run.stage, life.there(image)) == (Stage.FAILED, {})
    assert "approved by ann, who gave it the verdict tests" in str(run.reason)


def test_what_is_said_in_staging_counts_in_staging(life: Life) -> None:
    image = life.image("chain")
    live = f"{image}-live"
    asked_for(life, image, ANN)
    for name in ("tests", "smoke"):
        life.verdict(image, "1.0.0", name=name)
    (first,) = life.ctx.catalog.rules_from(image)
    run = promotion.promote(life.ctx, first, caller=BOB).run
    assert run
    assert run.asked_by == [BOB.id]
    assert finish(life.ctx, run.id).stage is Stage.PUBLISHED
    tags = life.azure.version(live, "1.0.0")["tags"]
    assert "tests" not in tags  # what production's own rule requires is production's to find out
    assert tags["smoke"] == "passed"
    assert life.why(live) == "1.0.0: it has no verdict tests, passed is required, nobody has approved of it"
    for caller in (ANN, BOB):  # who published it in staging, and who promoted it by hand
        with pytest.raises(NotAllowed, match=f"{caller.name} published {live} 1.0.0"):
            approved(life, live, caller)
    life.verdict(live, "1.0.0")
    life.amended(approved(life, live, CID))
    (second,) = life.ctx.catalog.rules_from(live)
    done = promotion.promote(life.ctx, second)
    assert done.run
    assert finish(life.ctx, done.run.id).stage is Stage.PUBLISHED


def test_a_verdict_that_is_delivered_again_overwrites_nothing_that_was_said_since(
    life: Life, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = life.image("web")
    life.build(image)
    monkeypatch.setattr(triggers, "context", lambda: life.ctx)
    message = json.dumps({"image": image, "version": "1.0.0", "outcome": "passed"}).encode()
    # A worker has died with the message, before it had written more down than that it came.
    came = now() - timedelta(minutes=1)
    life.ctx.requests.name("verdicts/m1", f"{image}-20260101-000000-aaaaa", came.isoformat())
    life.verdict(image, "1.0.0", "failed")
    triggers.verdict(message, "m1")
    assert life.judged(image, "1.0.0").verdicts["tests"].outcome == "failed"
    assert life.azure.version(image, "1.0.0")["tags"]["tests"] == "failed"
    triggers.verdict(message, "m2")
    assert life.judged(image, "1.0.0").verdicts["tests"].outcome == "passed"
    assert life.judged(image, "1.0.0").verdicts["tests"].who == of_queue("verdicts").id


def test_hundreds_of_verdicts_delay_no_withdrawal(life: Life) -> None:
    image = life.image("many")
    life.build(image)
    under_way = life.says(image, "1.0.0", "failed", "suite-0")
    assert under_way
    engine.step(life.ctx, under_way.id, under_way.generation)  # Azure is at it
    with ThreadPoolExecutor(4) as pool:
        said = pool.map(lambda name: [life.says(image, "1.0.0", "passed", name) for _ in range(75)], SUITES)
        waiting = {run.id: run for runs in said for run in runs if run}
    assert len(waiting) == len(SUITES)
    assert under_way.id not in waiting
    (out,) = amendments.withdraw(life.ctx, image, "1.0.0", why="CVE-1", caller=ANN, promoted=False)

    before = life.azure.arm.get("/sandbox/requests").json()[-1]["index"]
    for run in waiting.values():  # those that wait go back to waiting, and keep nobody
        engine.step(life.ctx, run.id, run.generation)
    life.amended(under_way)
    (out,) = life.amended(out)
    assert not in_latest(life.azure.version(image, "1.0.0"))
    assert not any(life.ctx.runs.load(run)[0].stage.ended for run in waiting)
    assert out.generation <= 6, "it takes as many steps as with nobody in line"
    life.amended(*(waiting[run] for run, _ in life.ctx.turns.line(out.source).waiting))
    asked = [one for one in life.azure.arm.get("/sandbox/requests").json() if one["index"] > before]
    writes = [one for one in asked if one["method"] == "PUT" and f"/{image}/versions/" in one["path"]]
    assert len(writes) == 2, "the withdrawal, and all verdicts at once"
    tags = life.azure.version(image, "1.0.0")["tags"]
    assert {name: tags[name] for name in SUITES} == SUITES
    assert tags["gallerist-withdrawn"] == "CVE-1"
    assert life.ctx.turns.line(out.source).waiting == []


def test_a_line_that_is_full_takes_a_withdrawal_all_the_same(life: Life) -> None:
    image = life.image("both")
    built = life.build(image)
    version = f"{built.definition}/versions/1.0.0"
    first = approved(life, image, ANN)
    assert first
    for n in range(MOST_WAITING - 1):
        life.ctx.turns.take(version, f"{image}-20260101-000000-{n:05}")
    assert approved(life, image, ANN).id == first.id  # it joins one that waits
    with pytest.raises(
        NotNow, match=rf"^50 amendments of {image} 1\.0\.0 wait for their turn, and no more may: ask again"
    ):
        life.says(image, "1.0.0", "passed")
    with pytest.raises(NotNow, match="wait for their turn"):
        approved(life, image, BOB)
    assert life.judged(image, "1.0.0").verdicts == {}
    life.amended(*amendments.withdraw(life.ctx, image, "1.0.0", why="CVE-1", caller=ANN, promoted=False))
    assert not in_latest(life.azure.version(image, "1.0.0"))


def test_of_words_at_the_same_moment_one_stands_and_is_the_tag(life: Life) -> None:
    image = life.image("web")
    life.build(image)
    together = threading.Barrier(4)

    def say(n: int) -> Run | None:
        together.wait()
        return life.says(image, "1.0.0", f"passed {n}")

    with ThreadPoolExecutor(4) as pool:
        runs = {run.id: run for run in pool.map(say, range(4)) if run}
    source = next(iter(runs.values())).source
    life.amended(*(runs[run] for run, _ in life.ctx.turns.line(source).waiting))
    stands = life.judged(image, "1.0.0").verdicts["tests"].outcome
    assert life.azure.version(image, "1.0.0")["tags"]["tests"] == stands
    assert life.ctx.turns.line(source).waiting == []
    assert [run.stage for run in runs_of(life.ctx, image)] == [Stage.PUBLISHED, *[Stage.AMENDED] * len(runs)]


def test_looking_costs_one_query_a_candidate_that_may_still_move(life: Life) -> None:
    image = life.image("both")
    for _ in range(3):
        life.build(image)
    life.verdict(image, "1.0.1", "failed")
    tag(life, image, life.azure.version(image, "1.0.0")["tags"] | {"gallerist-withdrawn": "by hand"})
    before = len(life.azure.storage_requests())
    promotion.look(life.ctx, life.rule(image))
    asked = [one for one in life.azure.storage_requests()[before:] if "/judgements(" in one.path]
    assert len(asked) == 2, "1.0.2 and 1.0.1; 1.0.0 is shut for good"
