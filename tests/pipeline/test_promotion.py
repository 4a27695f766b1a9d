"""What moves on is the highest version that has proven itself, and what keeps the others is named."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.access import Role, of_key, of_queue
from pipeline.catalog import Promotion
from pipeline.gallery import WITHDRAWN
from pipeline.gates import Gate, Judged, Judgement, plan, why_nothing
from pipeline.versions import Version, in_range
from tests.pipeline.versions_of import NOW, any_version, galleries, names, version

DAY = timedelta(days=1)
PASSED = {"tests": "passed"}


def rule(**fields: Any) -> Promotion:
    return Promotion.model_validate({"from": "web", "to": {"gallery": "production"}, **fields})


STRICT = rule(soak="24h", require=PASSED, range="~1.4")
CI, ANN, BOB = "0a6f0000-ci", "5b2c0000-ann", "77aa0000-bob"


def judged(
    verdicts: dict[str, str] | None = None, approved_by: tuple[str, ...] = (), given_by: str = CI, **facts: Any
) -> Judged:
    """What `given_by` and the approvers have said of a version."""
    given = {name.lower(): Judgement(name, outcome, given_by, "ci", NOW) for name, outcome in (verdicts or {}).items()}
    said = [Judgement("approved", "approval", who, who.rpartition("-")[2], NOW) for who in approved_by]
    return Judged(given, said, **facts)


GOOD = judged(PASSED)


def each(found: list[Any], said: Judged = GOOD) -> dict[str, Judged]:
    """The same said of every version."""
    return {one.name: said for one in found}


def test_the_highest_ripe_version_moves() -> None:
    staged = [version(f"1.4.{n}") for n in (1, 3, 2)]
    found = plan(STRICT, staged, Version(1, 4, 0), NOW, each(staged))
    assert found.pick.name == "1.4.3"
    assert why_nothing(found) == ""


@pytest.mark.parametrize(
    ("facts", "gate", "may_open"),
    [
        ({"said": judged()}, "it has no verdict tests, passed is required", True),
        ({"said": judged({"pentest": "passed"})}, "it has no verdict tests, passed is required", True),
        ({"said": judged(), "tags": PASSED}, "it has no verdict tests, passed is required", True),
        ({"said": judged({"tests": "failed"})}, "tests is failed, passed is required", False),
        ({"said": judged({"tests": "failed"}), "tags": PASSED}, "tests is failed, passed is required", False),
        ({"age": timedelta(hours=23)}, "it soaks until 2026-11-24 03:00 UTC", True),
        ({"state": "Failed"}, "it is Failed", False),
        ({"state": "Updating"}, "it is Updating", True),
        ({"latest_in": []}, "it is excluded from latest", False),
        ({"latest_in": [], "tags": {WITHDRAWN: "CVE-1"}}, "it is withdrawn: CVE-1", False),
        (
            {"said": judged(PASSED, withdrawn=Judgement(WITHDRAWN, "withdrawal", ANN, "ann", NOW, "CVE-1"))},
            "it is withdrawn: CVE-1",
            False,
        ),
        (
            {"said": judged(PASSED, withdrawn=Judgement(WITHDRAWN, "withdrawal", ANN, "ann", NOW))},
            "it is withdrawn: no reason given",
            False,
        ),
        ({"end_of_life": NOW}, "its life ended on 2026-11-24", False),
        ({"name": "1.5.0"}, "it is not in the range ~1.4", False),
    ],
)
def test_what_keeps_a_version_is_named_and_the_next_one_moves(
    facts: dict[str, Any], gate: str, *, may_open: bool
) -> None:
    said = facts.get("said", GOOD)
    facts = {name: fact for name, fact in facts.items() if name != "said"}
    kept = version(facts.pop("name", "1.4.9"), **{"age": 2 * DAY} | facts)
    found = plan(STRICT, [version("1.4.1"), kept], None, NOW, {"1.4.1": GOOD, kept.name: said})
    assert found.candidates[0].gates == [Gate(gate, may_open)]
    assert found.pick.name == "1.4.1"
    assert (kept in found.awaited) is may_open


def test_an_approval_is_waited_for() -> None:
    wants = rule(approval=True)
    staged = [version("1.0.0", tags={"approved": "ann"})]
    assert why_nothing(plan(wants, staged, None, NOW)) == "1.0.0: nobody has approved of it"
    assert plan(wants, staged, None, NOW, each(staged, judged(approved_by=(ANN,)))).pick


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (judged(approved_by=(ANN,), published_by=frozenset({ANN})), "approved by ann, who published it"),
        (judged(PASSED, (ANN,), given_by=ANN), "approved by ann, who gave it the verdict tests"),
        (
            judged(PASSED, (ANN, BOB), given_by=BOB, published_by=frozenset({ANN})),
            "approved by ann, who published it and by bob, who gave it the verdict tests",
        ),
    ],
)
def test_an_approval_by_whoever_published_or_judged_does_not_count(said: Judged, why: str) -> None:
    staged = [version("1.0.0")]
    found = plan(rule(approval=True), staged, None, NOW, each(staged, said))
    assert why_nothing(found) == f"1.0.0: {why}: another person has to (four_eyes)"
    assert found.awaited == staged
    third = replace(said, approvals=[*said.approvals, Judgement("approved", "approval", "9-cid", "cid", NOW)])
    assert plan(rule(approval=True), staged, None, NOW, each(staged, third)).pick
    assert plan(rule(approval=True, four_eyes=False), staged, None, NOW, each(staged, said)).pick


@pytest.mark.parametrize("nobody", [of_key(Role.OPERATOR).id, of_queue("verdicts").id])
def test_who_names_no_person_is_no_other_and_no_same_one(nobody: str) -> None:
    staged = [version("1.0.0")]
    said = judged(PASSED, (nobody,), given_by=nobody, published_by=frozenset({nobody}))
    assert plan(rule(approval=True), staged, None, NOW, each(staged, said)).pick


def test_verdicts_are_told_apart_by_letters_not_by_case() -> None:
    staged = [version("1.4.0")]
    assert plan(STRICT, staged, None, NOW, each(staged, judged({"Tests": "passed"}))).pick


def test_what_the_target_has_is_not_moved_again() -> None:
    found = plan(rule(), [version("1.0.0"), version("1.0.1")], Version(1, 0, 1), NOW)
    assert found.candidates == []
    assert why_nothing(found) == "nothing is newer than 1.0.1"


def test_a_gate_that_only_a_closer_look_shows_keeps_a_version() -> None:
    found = plan(rule(), [version("1.0.0"), version("1.0.1")], None, NOW)
    found = found.kept_back(found.pick, Gate("it is not in all its regions", may_open=True))
    assert found.pick.name == "1.0.0"
    assert [one.name for one in found.awaited] == ["1.0.1", "1.0.0"]


@pytest.mark.parametrize(
    ("text", "inside", "outside"),
    [
        ("~1.4", ["1.4.0", "1.4.99"], ["1.3.9", "1.5.0", "2.4.0"]),
        ("^1.2", ["1.2.0", "1.99.0"], ["1.1.9", "2.0.0"]),
        (">=1.4 <2", ["1.4.0", "1.9.9"], ["1.3.0", "2.0.0"]),
        ("2026.x", ["2026.1124.0"], ["2025.1231.9"]),
        ("*", ["0.0.0", "9.9.9"], []),
    ],
)
def test_ranges_are_npms(text: str, inside: list[str], outside: list[str]) -> None:
    assert all(in_range(Version.parse(name), text) for name in inside)
    assert not any(in_range(Version.parse(name), text) for name in outside)


rules = st.builds(
    rule,
    soak=st.integers(0, 60).map("{}d".format),
    require=st.sampled_from([{}, PASSED]),
    range=st.sampled_from(["*", "~1.2", "^1.0", ">=2"]),
    approval=st.booleans(),
    four_eyes=st.booleans(),
)


people = st.sampled_from([CI, ANN, BOB, "key:approver"])
sayings = st.builds(
    judged,
    st.dictionaries(st.sampled_from(["tests", "pentest"]), st.sampled_from(["passed", "failed"])),
    st.lists(people, unique=True).map(tuple),
    people,
    published_by=st.frozensets(people),
)


@given(rules, galleries, st.none() | names.map(Version.parse), st.data())
def test_a_pick_is_newer_and_proven_and_nothing_higher_is(
    rule: Promotion, found: list[Any], have: Version | None, data: st.DataObject
) -> None:
    said = {one.name: data.draw(sayings) for one in found if data.draw(st.booleans())}
    pick = plan(rule, found, have, NOW, said).pick

    def counts(who: str, of: Judged) -> bool:
        is_theirs = who in of.published_by or any(one.who == who for one in of.verdicts.values())
        return who == "key:approver" or not rule.four_eyes or not is_theirs

    proven = [
        one
        for one in found
        if (have is None or one.number > have)
        and one.state == "Succeeded"
        and one.latest_in
        and not (one.end_of_life and one.end_of_life <= NOW)
        and one.published + rule.soak <= NOW
        and in_range(one.number, rule.range)
        and all(
            one.name in said and name in said[one.name].verdicts and said[one.name].verdicts[name].outcome == value
            for name, value in rule.require.items()
        )
        and (
            not rule.approval
            or (one.name in said and any(counts(by.who, said[one.name]) for by in said[one.name].approvals))
        )
    ]
    assert pick == max(proven, key=lambda one: one.number, default=None)


@given(rules, galleries)
def test_every_candidate_that_stays_says_why(rule: Promotion, found: list[Any]) -> None:
    planned = plan(rule, found, None, NOW)
    assert {one.version.name for one in planned.candidates} == {one.name for one in found}
    for one in planned.candidates:
        assert one.gates or planned.pick
    if planned.pick is None and found:
        assert all(one.version.name in why_nothing(planned) for one in planned.candidates)


@given(rules, any_version)
def test_time_a_verdict_and_an_approval_open_what_may_open(rule: Promotion, one: Any) -> None:
    planned = plan(rule, [one], None, NOW)
    if one in planned.awaited and one.state == "Succeeded" and one.end_of_life is None:
        aged = [version(one.name, timedelta(days=999), tags=one.tags)]
        assert plan(rule, aged, None, NOW, each(aged, judged(rule.require, (ANN,)))).pick


@given(rules.filter(lambda rule: rule.require or rule.approval), galleries, st.data())
def test_no_tag_passes_a_test_or_approves(rule: Promotion, found: list[Any], data: st.DataObject) -> None:
    tags = st.dictionaries(
        st.sampled_from(["tests", "Tests", "approved", "Approved"]), st.sampled_from(["passed", "ann"])
    )
    tagged = [replace(one, tags=one.tags | data.draw(tags)) for one in found]
    assert plan(rule, tagged, None, NOW).pick is None
