"""A source that is a resource of Azure's: wait until it is made, then claim it."""

from __future__ import annotations

from pipeline.cloud.compute import SourceFacts
from pipeline.cloud.faults import NotFound
from pipeline.context import Context
from pipeline.runs import Run, Stage, now
from pipeline.source import SourceKind
from pipeline.stages.outcome import Go, Outcome, RunFailed, SourceAtFault, Wait
from pipeline.stages.queued import take_turn

# What Azure says of a resource that Succeeded and yet cannot be used (REST: DiskState, SnapshotAccessState, statuses of
# an instance view), and what a person does about it. What is exported (ActiveSAS) or attached can be read.
_HIBERNATED = (
    "belongs to a hibernated VM; start the VM, then stop and deallocate it without hibernation (az vm deallocate)"
)
_UNREADY = {
    "readytoupload": "has no content yet (ReadyToUpload); upload the VHD into it, then run: {revoke}",
    "activeupload": "is being uploaded to (ActiveUpload); once the upload is done, run: {revoke}",
    "frozen": _HIBERNATED,
    "activesasfrozen": _HIBERNATED,
    "hibernationstate/hibernated": _HIBERNATED,
    "pending": "is not available yet (Pending); Azure is at work on it",
}


def awaiting_resource(run: Run, ctx: Context) -> Outcome:
    """Leaves when the resource has Succeeded, its content is there, and the claim is won.

    A content that is not there yet is not claimed: whoever asks again once it is there begins a run of its own.
    """
    what = run.kind.value.replace("_", " ")
    try:
        found = ctx.compute.source(run.kind, run.source)
    except NotFound:
        ctx.sources.stop_waiting(run.image, run.source, run.id)
        raise RunFailed(f"the {what} {run.source} does not exist any more") from None
    if found.state in ("Creating", "Updating"):
        return Wait(ctx.settings.poll_seconds, f"the {what} is {found.state}")
    if found.state == "Succeeded":
        if found.copy_error:
            ctx.sources.stop_waiting(run.image, run.source, run.id)
            raise SourceAtFault(
                f"the copy that was to fill the {what} {run.source} failed ({found.copy_error}): "
                "delete it and copy it anew"
            )
        if why := unready(run.kind, run.source, found):
            return _wait(run, ctx, f"the {what} {why}")
    winner = ctx.sources.claim(run.image, run.source, found.fingerprint, run.id)
    if winner != run.id:
        run.duplicate_of = winner
        return Go(Stage.DUPLICATE, f"{winner} has claimed this {what}")
    run.etag = found.fingerprint
    if found.state != "Succeeded":
        raise RunFailed(f"the {what} {run.source} is {found.state}, and no version can be made of it")
    return take_turn(run, ctx, f"the {what} is there")


def _wait(run: Run, ctx: Context, why: str) -> Wait:
    waited = (now() - run.entered).total_seconds()
    if waited >= ctx.settings.upload_stall_seconds:
        ctx.sources.stop_waiting(run.image, run.source, run.id)
        raise RunFailed(f"{why}. It was not ready {waited:.0f} s after the run began to wait; ask again once it is")
    return Wait(ctx.settings.poll_seconds, why, happened=None if run.note else why)


def unready(kind: SourceKind, resource_id: str, found: SourceFacts) -> str:
    """What keeps a resource that Succeeded from use, and what to do about it; empty where it is ready."""
    for condition, why in _UNREADY.items():
        if condition in found.conditions:
            return why.format(revoke=f"az {kind.value} revoke-access --ids {resource_id}")
    if found.copied >= 100:
        return ""
    if kind is SourceKind.IMAGE_VERSION:
        return f"is replicated to its own region, {found.location}, by {int(found.copied)} %"
    return f"is copied by {int(found.copied)} %; Azure is at work on it"
