"""A run that does not succeed takes away what it made."""

from __future__ import annotations

from pipeline.cloud.faults import NotFound
from pipeline.context import Context
from pipeline.runs import Run, Stage
from pipeline.stages.finishing import remove_image
from pipeline.stages.marks import RUN_TAG, mark_source
from pipeline.stages.outcome import Go, Outcome, Wait


def undoing(run: Run, ctx: Context) -> Outcome:
    """Leaves when neither version nor managed image of this run is left.

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
    ctx.sources.stop_waiting(run.image, run.source, run.id)
    mark_source(run, ctx, run.outcome.value)
    return Go(run.outcome)


def _remove_version(run: Run, ctx: Context) -> Wait | None:
    if run.version is None:
        return None
    at = ctx.definition(run)
    try:
        version = ctx.compute.version(at, run.version)
    except NotFound:
        return None
    if version.tags.get(RUN_TAG) != run.id:
        return None
    if not version.excluded_from_latest:
        run.published = True
        return None
    if version.state != "Deleting":
        ctx.compute.delete_version(at, run.version, for_good=True)
    return Wait(ctx.settings.poll_seconds, f"version {run.version} is being deleted")
