"""A source is whole and claimed: the run has its turn, or waits for it."""

from __future__ import annotations

from pipeline.context import Context
from pipeline.quotas import look_delay
from pipeline.runs import Run, Stage, now
from pipeline.stages.outcome import Go, Outcome, Wait


def queued(run: Run, ctx: Context) -> Outcome:
    """Leaves when the limits of the image and of the catalog let the run begin."""
    held = ctx.line.take_turn(run, ctx.catalog, now())
    if held is None:
        return Go(Stage.INSPECTING, f"its turn came after {(now() - run.entered).total_seconds():.0f} s")
    delay = look_delay(held.before, ctx.settings.poll_seconds, ctx.settings.poll_max_seconds)
    return Wait(delay, str(held), happened=None if run.note else str(held))


def take_turn(run: Run, ctx: Context, note: str) -> Go:
    """Where a run goes whose source is whole, as `note` says."""
    held = ctx.line.take_turn(run, ctx.catalog, now())
    return Go(Stage.QUEUED if held else Stage.INSPECTING, note)
