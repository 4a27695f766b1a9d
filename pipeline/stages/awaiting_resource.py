"""A source that is a resource of Azure's: wait until it is made, then claim it."""

from __future__ import annotations

from pipeline.cloud.faults import NotFound
from pipeline.context import Context
from pipeline.runs import Run, Stage
from pipeline.stages.outcome import Go, Outcome, RunFailed, Wait


def awaiting_resource(run: Run, ctx: Context) -> Outcome:
    """Leaves when the resource has Succeeded and the claim is won."""
    what = run.kind.value.replace("_", " ")
    try:
        found = ctx.compute.source(run.kind, run.source)
    except NotFound:
        ctx.sources.stop_waiting(run.image, run.source, run.id)
        raise RunFailed(f"the {what} {run.source} does not exist any more") from None
    if found.state in ("Creating", "Updating"):
        return Wait(ctx.settings.poll_seconds, f"the {what} is {found.state}")
    winner = ctx.sources.claim(run.image, run.source, found.fingerprint, run.id)
    if winner != run.id:
        run.duplicate_of = winner
        return Go(Stage.DUPLICATE, f"{winner} has claimed this {what}")
    run.etag = found.fingerprint
    if found.state != "Succeeded":
        raise RunFailed(f"the {what} {run.source} is {found.state}, and no version can be made of it")
    return Go(Stage.INSPECTING, f"the {what} is there")
