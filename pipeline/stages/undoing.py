"""A run that does not succeed takes away what it made."""

from __future__ import annotations

from pipeline.cloud.faults import Denied, NotFound
from pipeline.context import Context
from pipeline.limits import bounded
from pipeline.runs import Run, Stage
from pipeline.stages.finishing import remove_image
from pipeline.stages.marks import is_of, left_behind, mark_source
from pipeline.stages.outcome import Go, Outcome, Wait

_LONGEST_WHY = 2000
"""UTF-16 units of why a run failed that are kept before what it left behind."""


def undoing(run: Run, ctx: Context) -> Outcome:
    """Leaves when neither version nor managed image of this run is left, but for a version that the identity may not
    delete: that one is out of latest, and the reason names it.

    A version that is in `latest` already is published, and stays: then so is the run, whatever befell it after.
    """
    if wait := _remove_version(run, ctx) or remove_image(run, ctx):
        return wait
    if run.published:
        note = f"version {run.version} is in latest all the same: {run.reason}"
        run.reason, run.source_at_fault = None, False
        mark_source(run, ctx, str(run.version))
        ctx.sources.stop_waiting(run.image, run.source, run.id)
        return Go(Stage.PUBLISHED, note)
    if run.amendment:
        ctx.turns.leave(run.source, run.id)
    if run.left_behind and not str(run.reason).endswith(run.left_behind):
        run.reason = f"{bounded(str(run.reason), _LONGEST_WHY)}. {run.left_behind}"
    ctx.sources.stop_waiting(run.image, run.source, run.id)
    mark_source(run, ctx, run.outcome.value)
    return Go(run.outcome)


def _remove_version(run: Run, ctx: Context) -> Wait | None:
    if run.version is None or run.left_behind or run.amendment:
        return None  # an amendment made none, whatever a tag says
    at = ctx.definition(run)
    try:
        version = ctx.compute.version(at, run.version)
    except NotFound:
        return None
    if not is_of(run, version.tags):
        return None
    if not version.excluded_from_latest:
        run.published = True
        return None
    if version.state != "Deleting":
        try:
            ctx.compute.delete_version(at, run.version, for_good=True)
        except Denied as fault:
            run.left_behind = left_behind(run, fault)
            return None
    return Wait(ctx.settings.poll_seconds, f"version {run.version} is being deleted")
