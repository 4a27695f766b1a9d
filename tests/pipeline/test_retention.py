"""What has had its time goes, and what the safety rules protect never does."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.catalog import Keep
from pipeline.retention import plan
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
        ({"tags": {"keep": "true"}}, "it bears the tag keep=true"),
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
    found = [version("1.0.2", state="Failed"), version("1.0.1", latest_in=[]), version("1.0.0", age=OLD)]
    decisions = {one.version.name: one.why for one in plan(found, Keep(newest=1), NOW, {})}
    assert decisions["1.0.0"] == "it is the newest in latest"
    assert decisions["1.0.1"] == "it is the last version that Succeeded"


keeps = st.builds(Keep, newest=st.none() | st.integers(1, 4), days=st.none() | st.integers(1, 300))


@given(galleries, keeps, st.sets(st.sampled_from(["1.1.1", "2.2.2", "0.0.0"])))
def test_no_plan_removes_what_is_safe(found: list[Any], keep: Keep, held: set[str]) -> None:
    gone = set(doomed(found, keep, dict.fromkeys(held, "held")))
    by_name = {one.name: one for one in found}
    assert not gone & held
    for name in gone:
        one = by_name[name]
        assert one.state in ("Succeeded", "Failed")
        assert one.tags.get("keep") != "true"
        assert not one.kept_until_end_of_life or (one.end_of_life and one.end_of_life <= NOW)
        assert keep.days is None or NOW - one.published >= timedelta(days=keep.days)
        assert keep.newest is None or sum(other.number > one.number for other in found) >= keep.newest
    whole = [one for one in found if one.state == "Succeeded"]
    left = [one for one in whole if one.name not in gone]
    assert bool(left) == bool(whole)
    in_latest = [one for one in whole if one.latest_in]
    if in_latest:
        assert max(in_latest, key=lambda one: one.number) in left


@given(galleries, keeps)
def test_every_version_is_decided_once_and_a_second_pass_takes_no_more(found: list[Any], keep: Keep) -> None:
    decisions = plan(found, keep, NOW, {})
    assert sorted(one.version.name for one in decisions) == sorted(one.name for one in found)
    gone = {one.version.name for one in decisions if one.delete}
    assert doomed([one for one in found if one.name not in gone], keep) == []
