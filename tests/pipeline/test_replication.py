"""Progress is judged over the regions that were asked for, in whatever form Azure names them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pipeline.replication import RegionProgress, RegionState, judge, poll_delay


def test_a_region_is_one_in_both_its_forms() -> None:
    verdict = judge(["West US 2"], [RegionProgress(region="westus2", state=RegionState.COMPLETED, progress=100)])
    assert verdict.completed
    assert verdict.regions[0].region == "westus2"


def test_a_region_that_is_not_reported_is_not_there() -> None:
    done = RegionProgress(region="westeurope", state=RegionState.COMPLETED, progress=100)
    verdict = judge(["westeurope", "northeurope"], [done])
    assert not verdict.completed
    assert verdict.progress == 0
    assert not verdict.failed


def test_one_failed_region_is_found_among_others() -> None:
    reported = [
        RegionProgress(region="westeurope", state=RegionState.COMPLETED, progress=100),
        RegionProgress(region="northeurope", state=RegionState.FAILED, details="internal error"),
    ]
    verdict = judge(["westeurope", "northeurope"], reported)
    assert [region.region for region in verdict.failed] == ["northeurope"]
    assert not verdict.completed


@given(st.floats(0, 1e6), st.floats(0.1, 100), st.floats(100, 1000))
def test_polls_stay_within_bounds_and_grow_no_faster_than_the_wait(waited: float, low: float, high: float) -> None:
    delay = poll_delay(waited, low, high)
    assert low <= delay <= high
    assert delay <= max(low, waited / 10)
