"""What has had its time goes, and what the safety rules protect never does."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.catalog import Keep
from pipeline.retention import is_good, plan
from tests.pipeline.versions_of import NOW, galleries, version

OLD = timedelta(days=500)


def doomed(found: list[Any], keep: Keep, holds: dict[str, str] | None = None) -> list[str]:
    return [decision.version.name for decision in plan(found, keep, NOW, holds or {}) if decision.delete]


def test_what_is_beyond_the_rule_goes() -> None:
    found = [version(f"1.0.{n}", age=timedelta(days=100 - n)) for n in range(6)]
    assert doomed(found, Keep(newest=4)) == ["1.0.1", "1.0.0"]
    assert doomed(found, Keep(days=98)) == ["1.0.2", "1.0.1", "1.0.0"]
    assert doomed(found, Keep(newest=2, days=99)) == ["1.0.1", "1.0.0"]
    assert doomed(found, Keep()) == []


def test_a_version_says_why_it_goes() -> None:
    found = [version("1.0.0", age=OLD), version("1.0.1")]
    assert [one.why for one in plan(found, Keep(newest=1, days=365), NOW, {})] == [
        "it is among the newest 1",
        "not among the newest 1 and 500 days old",
    ]


@pytest.mark.parametrize(
    ("facts", "why"),
    [
        ({"tags": {"Keep": "True"}}, "it bears the tag keep=true"),
        ({"state": "Deleting"}, "it is Deleting"),
        ({"state": "Creating"}, "it is Creating"),
        ({"kept_until_end_of_life": True, "end_of_life": NOW + OLD}, "it may not be deleted before its end of life"),
        ({"kept_until_end_of_life": True}, "it may not be deleted before its end of life"),
    ],
)
def test_what_keeps_a_version_is_named(facts: dict[str, Any], why: str) -> None:
    found = [version("2.0.0"), version("1.0.0", age=OLD, **facts)]
    assert plan(found, Keep(newest=1), NOW, {})[1].why == why


def test_what_others_hold_stays() -> None:
    found = [version("2.0.0"), version("1.0.0", age=OLD)]
    assert doomed(found, Keep(newest=1), {"1.0.0": "the promotion rule may still take it"}) == []
    assert doomed(found, Keep(newest=1)) == ["1.0.0"]


def test_the_last_good_one_stays_below_newer_ones_that_are_not() -> None:
    found = [
        version("1.0.4", age=OLD, state="Failed"),
        version("1.0.3", age=OLD, latest_in=[]),
        version("1.0.2", age=OLD),
        version("1.0.1", age=OLD),
    ]
    assert [(one.delete, one.why) for one in plan(found, Keep(days=1), NOW, {})] == [
        (False, "it is the newest in latest"),
        (False, "it is the last version that Succeeded"),
        (False, "it is the newest good version"),
        (True, "500 days old"),
    ]


def test_bad_versions_push_no_good_one_out() -> None:
    bad = [version("1.0.4", state="Failed", latest_in=[]), version("1.0.3", latest_in=[])]
    good = [version(f"1.0.{n}") for n in (2, 1, 0)]
    assert doomed([*bad, *good], Keep(newest=2)) == ["1.0.0"]
    assert doomed([version("1.0.9"), version("1.0.8"), *bad, *good], Keep(newest=2)) == [
        "1.0.4", "1.0.3", "1.0.2", "1.0.1", "1.0.0",
    ]  # fmt: skip


keeps = st.builds(Keep, newest=st.none() | st.integers(1, 4), days=st.none() | st.integers(1, 300))


@given(galleries, keeps, st.sets(st.sampled_from(["1.1.1", "2.2.2", "0.0.0"])))
def test_no_plan_removes_what_is_safe(found: list[Any], keep: Keep, held: set[str]) -> None:
    gone = set(doomed(found, keep, dict.fromkeys(held, "held")))
    by_name = {one.name: one for one in found}
    assert not gone & held
    for name in gone:
        one = by_name[name]
        assert one.state in ("Succeeded", "Failed")
        assert not one.kept
        assert not one.kept_until_end_of_life or (one.end_of_life and one.end_of_life <= NOW)
        assert keep.days is None or NOW - one.published >= timedelta(days=keep.days)
        better = sum(other.number > one.number and is_good(other) for other in found)
        assert keep.newest is None or better >= keep.newest
    whole = [one for one in found if one.state == "Succeeded"]
    left = [one for one in whole if one.name not in gone]
    assert bool(left) == bool(whole)
    for kind in ([one for one in found if one.latest_in], [one for one in whole if one.latest_in]):
        if kind:
            assert max(kind, key=lambda one: one.number).name not in gone


@given(galleries, keeps)
def test_every_version_is_decided_once_and_a_second_pass_takes_no_more(found: list[Any], keep: Keep) -> None:
    decisions = plan(found, keep, NOW, {})
    assert sorted(one.version.name for one in decisions) == sorted(one.name for one in found)
    gone = {one.version.name for one in decisions if one.delete}
    assert doomed([one for one in found if one.name not in gone], keep) == []
