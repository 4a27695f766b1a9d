"""What Azure says of a version's replication, and what follows from it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from pydantic import BaseModel


class RegionState(StrEnum):
    """`ReplicationState` in Microsoft's REST description."""

    UNKNOWN = "Unknown"
    REPLICATING = "Replicating"
    COMPLETED = "Completed"
    FAILED = "Failed"


class RegionProgress(BaseModel):
    """One target region's replication. `progress` is per cent."""

    region: str
    state: RegionState = RegionState.UNKNOWN
    progress: int = 0
    details: str = ""


@dataclass(frozen=True)
class Verdict:
    """Where a version's replication stands, over all regions that were asked for."""

    regions: list[RegionProgress]

    @property
    def completed(self) -> bool:
        return all(r.state is RegionState.COMPLETED for r in self.regions)

    @property
    def failed(self) -> list[RegionProgress]:
        return [r for r in self.regions if r.state is RegionState.FAILED]

    @property
    def progress(self) -> int:
        """Per cent, of the slowest region."""
        return min(r.progress for r in self.regions)


def region_name(name: str) -> str:
    """A region's name as Azure compares it: `West US 2` and `westus2` are one ("location" in recorded traffic)."""
    return name.replace(" ", "").lower()


def judge(wanted: list[str], reported: list[RegionProgress]) -> Verdict:
    """The state of every region in `wanted`; a region Azure does not report is not there yet."""
    by_name = {region_name(r.region): r for r in reported}
    return Verdict(
        [
            by_name[name].model_copy(update={"region": name}) if name in by_name else RegionProgress(region=name)
            for name in map(region_name, wanted)
        ]
    )


def poll_delay(waited: float, shortest: float, longest: float) -> float:
    """Seconds until Azure is asked again, after `waited` seconds: a tenth of the wait so far, within bounds.

    Replication takes minutes to hours; a delay in proportion costs at most a tenth of the wait and few calls.
    """
    return min(max(waited / 10, shortest), longest)
