"""What moves on is the highest version that has proven itself, and what keeps the others is named."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.catalog import Promotion
from pipeline.gallery import WITHDRAWN
from pipeline.gates import Gate, plan, why_nothing
from pipeline.versions import Version, in_range
from tests.pipeline.versions_of import NOW, any_version, galleries, names, version

DAY = timedelta(days=1)
PASSED = {"tests": "passed"}


def rule(**fields: Any) -> Promotion:
    return Promotion.model_validate({"from": "web", "to": {"gallery": "production"}, **fields})


STRICT = rule(soak="24h", require=PASSED, range="~1.4")


def test_the_highest_ripe_version_moves() -> None:
    found = plan(STRICT, [version(f"1.4.{n}", tags=PASSED) for n in (1, 3, 2)], Version(1, 4, 0), NOW)
    assert found.pick.name == "1.4.3"
    assert why_nothing(found) == ""


@pytest.mark.parametrize(
    ("facts", "gate", "may_open"),
    [
        ({"tags": {}}, "it bears no tag tests, passed is required", True),
        ({"tags": {"tests": "failed"}}, "tests is failed, passed is required", False),
        ({"age": timedelta(hours=23)}, "it soaks until 2026-11-24 03:00 UTC", True),
        ({"state": "Failed"}, "it is Failed", False),
        ({"state": "Updating"}, "it is Updating", True),
        ({"latest_in": []}, "it is excluded from latest", False),
        ({"latest_in": [], "tags": PASSED | {WITHDRAWN: "CVE-1"}}, "it is withdrawn: CVE-1", False),
        ({"end_of_life": NOW}, "its life ended on 2026-11-24", False),
        ({"name": "1.5.0"}, "it is not in the range ~1.4", False),
    ],
)
def test_what_keeps_a_version_is_named_and_the_next_one_moves(
    facts: dict[str, Any], gate: str, *, may_open: bool
) -> None:
    kept = version(facts.pop("name", "1.4.9"), **{"tags": PASSED, "age": 2 * DAY} | facts)
    found = plan(STRICT, [version("1.4.1", tags=PASSED), kept], None, NOW)
    assert found.candidates[0].gates == [Gate(gate, may_open)]
    assert found.pick.name == "1.4.1"
    assert (kept in found.awaited) is may_open


def test_an_approval_is_waited_for() -> None:
    wants = rule(approval=True)
    assert why_nothing(plan(wants, [version("1.0.0")], None, NOW)) == "1.0.0: nobody has approved of it"
    assert plan(wants, [version("1.0.0", tags={"Approved": "ann"})], None, NOW).pick
    for no in ("", "false", "No", " 0 "):
        assert not plan(wants, [version("1.0.0", tags={"approved": no})], None, NOW).pick


def test_tags_are_told_apart_by_letters_not_by_case() -> None:
    assert plan(STRICT, [version("1.4.0", tags={"Tests": "passed"})], None, NOW).pick


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
)


@given(rules, galleries, st.none() | names.map(Version.parse))
def test_a_pick_is_newer_and_proven_and_nothing_higher_is(
    rule: Promotion, found: list[Any], have: Version | None
) -> None:
    pick = plan(rule, found, have, NOW).pick
    proven = [
        one
        for one in found
        if (have is None or one.number > have)
        and one.state == "Succeeded"
        and one.latest_in
        and not (one.end_of_life and one.end_of_life <= NOW)
        and one.published + rule.soak <= NOW
        and in_range(one.number, rule.range)
        and all(one.tags.get(name) == value for name, value in rule.require.items())
        and (not rule.approval or one.approved)
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
        tags = one.tags | rule.require | {"approved": "ann"}
        assert plan(rule, [version(one.name, timedelta(days=999), tags=tags)], None, NOW).pick
