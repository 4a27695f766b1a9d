"""How a version reaches its regions: how long each takes, how far each is, how each ends. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from pydantic import BaseModel

from sandbox.arm.clock import Clock

# Seconds in Azure, fitted to 570 recorded version creations of 10 to 60 GiB in one to three regions
# (shortest 315, median 429, longest 736). How they grow with size and regions is a guess.
FIRST_REGION_SECONDS = 315.0
SECONDS_PER_GIB = 3.0
STAGGER_SECONDS = 30.0
SHALLOW_SECONDS = 60.0  # a guess: a shallow version copies nothing
FINISHING_SECONDS = 15.0  # between the last region's completion and the operation's end; a guess
DEFAULT_DETAILS = "Failed with internal server error."  # azure-cli#15539
DEFAULT_STANDSTILL = 50  # percent


class Outcome(StrEnum):
    COMPLETED = "Completed"
    FAILED = "Failed"
    STALLED = "Stalled"


class RegionRule(BaseModel):
    """What a person asked of a region. `seconds` are real ones, untouched by the time scale.

    A region that fails or stalls stands at `fails_at` percent once `seconds` are over.
    """

    seconds: float | None = None
    outcome: Outcome = Outcome.COMPLETED
    details: str | None = None
    fails_at: int | None = None


class Replication(BaseModel):
    """One region's copying: from `begins` to `ends`, when it stands at `reaches` percent."""

    begins: datetime
    ends: datetime
    outcome: Outcome = Outcome.COMPLETED
    reaches: int = 100
    details: str | None = None

    def status(self, region: str, now: datetime) -> dict[str, Any]:
        """The RegionalReplicationStatus at `now`; `details` only where it failed (recorded traffic omits it)."""
        state, progress = "Replicating", self.reaches
        if now >= self.ends and self.outcome is not Outcome.STALLED:
            state = str(self.outcome)
        elif now < self.ends:
            share = (now - self.begins) / (self.ends - self.begins)
            # 100 belongs to Completed alone
            progress = min(int(max(share, 0.0) * self.reaches), 99)
        status: dict[str, Any] = {"region": region, "state": state}
        if state == "Failed" and self.details is not None:
            status["details"] = self.details
        return status | {"progress": progress}


def planned(
    regions: Iterable[str],
    start: datetime,
    clock: Clock,
    *,
    size_gb: int,
    shallow: bool,
    rule_for: Callable[[str], RegionRule | None],
) -> dict[str, Replication]:
    """The replications to `regions` that begin at `start`, the source region first among them."""
    plan = {}
    for position, region in enumerate(regions):
        rule = rule_for(region) or RegionRule()
        if rule.seconds is not None:
            begins, ends = start, start + timedelta(seconds=rule.seconds)
        else:
            begins = clock.after(start, STAGGER_SECONDS * position)
            lasts = SHALLOW_SECONDS if shallow else FIRST_REGION_SECONDS + SECONDS_PER_GIB * size_gb
            ends = clock.after(begins, lasts)
        completed = rule.outcome is Outcome.COMPLETED
        plan[region] = Replication(
            begins=begins,
            ends=ends,
            outcome=rule.outcome,
            reaches=100 if completed else DEFAULT_STANDSTILL if rule.fails_at is None else rule.fails_at,
            details=None if completed else rule.details or DEFAULT_DETAILS,
        )
    return plan


def delayed(plan: dict[str, Replication], seconds: float) -> dict[str, Replication]:
    """The same replications, each over so many real seconds later."""
    late = timedelta(seconds=seconds)
    return {region: one.model_copy(update={"ends": one.ends + late}) for region, one in plan.items()}


def ends(plan: Iterable[Replication], start: datetime, clock: Clock, at_least: float) -> datetime | None:
    """When an operation over `plan` that began at `start` is over: None where a region never comes to an end.

    `at_least` is Azure's shortest, in seconds.
    """
    plan = list(plan)
    if any(replication.outcome is Outcome.STALLED for replication in plan):
        return None
    shortest = clock.after(start, at_least)
    running = [replication.ends for replication in plan if replication.ends > start]
    return max([shortest, *(clock.after(end, FINISHING_SECONDS) for end in running)])


def failure(plan: dict[str, Replication]) -> dict[str, Any] | None:
    """The error an operation over `plan` ends in, in the words of azure-cli#15539; None where all complete.

    The code is a guess: that thread shows none.
    """
    failed = {region: one for region, one in plan.items() if one.outcome is Outcome.FAILED}
    if not failed:
        return None
    regions = ", ".join(f"{{region:{region}, detail:{one.details}}}" for region, one in failed.items())
    message = (
        "Gallery replication jobs failed in one or more regions. The failing regions' details are as follows: "
        f"'{regions}'. If retry does not work, then please do an update by removing the failed regions and update "
        "again by adding them back."
    )
    return {"code": "InternalOperationError", "message": message}


def status(plan: dict[str, Replication], now: datetime) -> dict[str, Any]:
    """The ReplicationStatus at `now`. That one still running outweighs one that failed is a guess."""
    summary = [replication.status(region, now) for region, replication in plan.items()]
    states = {region["state"] for region in summary}
    aggregated = next((name for name in ("Replicating", "Failed", "Completed") if name in states), "Unknown")
    return {
        "aggregatedState": "InProgress" if aggregated == "Replicating" else aggregated,
        "summary": summary,
    }
