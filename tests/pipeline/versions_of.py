"""Image versions as Azure describes them, for tests of the rules."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import strategies as st

from pipeline.gallery import VersionFacts
from pipeline.replication import RegionProgress, RegionState

NOW = datetime(2026, 11, 24, 2, 0, tzinfo=UTC)
DEFINITION = "/subscriptions/s/resourceGroups/g/providers/Microsoft.Compute/galleries/galStaging/images/web"


def version(name: str, age: timedelta = timedelta(days=2), **facts: Any) -> VersionFacts:
    """A version that is whole, in latest, and as old as said."""
    whole = VersionFacts(
        id=f"{DEFINITION}/versions/{name}",
        name=name,
        state="Succeeded",
        tags={},
        published=NOW - age,
        end_of_life=None,
        targets=["westeurope"],
        latest_in=["westeurope"],
        replication=[RegionProgress(region="westeurope", state=RegionState.COMPLETED, progress=100)],
    )
    return replace(whole, **facts)


names = st.builds("{}.{}.{}".format, st.integers(0, 3), st.integers(0, 3), st.integers(0, 3))
any_version = st.builds(
    version,
    names,
    st.timedeltas(timedelta(), timedelta(days=400)),
    state=st.sampled_from(["Succeeded"] * 6 + ["Failed", "Creating", "Updating", "Deleting"]),
    latest_in=st.sampled_from([["westeurope"], ["westeurope"], []]),
    tags=st.dictionaries(st.sampled_from(["tests", "keep", "approved"]), st.sampled_from(["passed", "failed", "true"])),
    end_of_life=st.none() | st.timedeltas(timedelta(days=-90), timedelta(days=90)).map(lambda away: NOW + away),
    kept_until_end_of_life=st.booleans(),
)
galleries = st.lists(any_version, max_size=14, unique_by=lambda one: one.name)
