"""Every region has the version: let it be latest, mark the source, take the managed image away."""

from __future__ import annotations

from pipeline.cloud.faults import NotFound
from pipeline.context import Context
from pipeline.runs import Run, Stage
from pipeline.stages.marks import NOT_OURS, is_of, mark_source
from pipeline.stages.outcome import Go, Outcome, RunFailed, Wait
from pipeline.stages.ripeness import check_ripe


def finishing(run: Run, ctx: Context) -> Outcome:
    """Leaves when the version is in `latest`, an update that Azure takes minutes for, and nothing else is left."""
    at, number = ctx.definition(run), str(run.version)
    try:
        version = ctx.compute.version(at, number)
    except NotFound:
        raise RunFailed(f"version {number} was deleted before it could join latest") from None
    if not is_of(run, version.tags):
        raise RunFailed(f"version {number} {NOT_OURS}")
    if version.state in ("Creating", "Updating"):
        return Wait(ctx.settings.poll_seconds, f"version {number} joins latest")
    if version.state != "Succeeded":
        why = ctx.compute.why_failed(at.subscription, run.operation) if run.operation else ""
        raise RunFailed(f"version {number} could not join latest, it is {version.state}: {why or 'no reason given'}")
    if version.excluded_from_latest:
        if run.promotion and (wait := check_ripe(run, ctx)):
            return wait
        run.operation = ctx.compute.join_latest(at, number, version.resource)
        return Wait(ctx.settings.poll_seconds, f"version {number} joins latest")
    run.published = True
    if wait := remove_image(run, ctx):
        return wait
    mark_source(run, ctx, number)
    return Go(Stage.PUBLISHED, f"version {number} is latest in {', '.join(r.region for r in run.regions)}")


def remove_image(run: Run, ctx: Context) -> Wait | None:
    """Delete the run's managed image; None once it is gone, or where the one of that name is not the run's."""
    if run.managed_image is None:
        return None
    group = ctx.managed_image_group_of(run)
    try:
        found = ctx.compute.managed_image(group, run.managed_image)
    except NotFound:
        found = None
    if found is None or not is_of(run, found.tags):
        run.managed_image = run.managed_image_group = None
        return None
    if found.state != "Deleting":
        ctx.compute.delete_image(group, run.managed_image)
    return Wait(ctx.settings.poll_seconds, f"managed image {run.managed_image} is being deleted")
