"""A page blob's BlobCreated means that the upload began. Wait until the VHD is whole, then claim it."""

from __future__ import annotations

from pipeline.cloud.blobs import BlobFacts
from pipeline.cloud.faults import Conflict, NotFound
from pipeline.context import Context
from pipeline.replication import poll_delay
from pipeline.runs import DataVhd, Run, Stage, now
from pipeline.source import SourceKind
from pipeline.stages.awaiting_resource import awaiting_resource
from pipeline.stages.outcome import Go, Outcome, RunFailed, Wait
from pipeline.vhd import FOOTER, SECTOR, Incomplete, NotAVhd, check_footer, foreign_format


def awaiting_upload(run: Run, ctx: Context) -> Outcome:
    """Leaves when the footer is valid, no copy is under way, the ETag rests and the claim is won."""
    if run.kind is not SourceKind.BLOB:
        return awaiting_resource(run, ctx)
    try:
        blob = ctx.blobs.facts(run.container, run.blob)
        return _look(run, ctx, blob)
    except NotFound:
        ctx.sources.stop_waiting(run.image, run.source, run.id)
        raise RunFailed("the VHD was deleted before it was whole") from None
    except Conflict:
        return Wait(ctx.settings.poll_seconds, "the VHD is being written")


def _look(run: Run, ctx: Context, blob: BlobFacts) -> Outcome:
    if not blob.page_blob:
        return _claim(run, ctx, blob, _not_a_page_blob(blob))
    if blob.copy_status == "pending":
        return Wait(_delay(run, ctx), "the VHD is being copied here")
    if blob.copy_status in ("failed", "aborted"):
        return _claim(
            run,
            ctx,
            blob,
            f"the copy that was to bring the VHD here ended as {blob.copy_status}: copy it again",
        )
    complete = blob.content_md5 is not None or blob.footer_last
    resting = complete or blob.age >= ctx.settings.upload_settle_seconds
    if not resting and run.head_seen:
        return _still_uploading(run, ctx, blob)
    head = _read(ctx, blob, 0)
    run.head_seen = any(head)
    if not resting:
        if found := foreign_format(head):
            return _claim(run, ctx, blob, str(found))
        return _still_uploading(run, ctx, blob)
    try:
        check_footer(head, _read(ctx, blob, blob.size - FOOTER), blob.size)
    except Incomplete as gap:
        if blob.age < ctx.settings.upload_stall_seconds:
            return Wait(_delay(run, ctx), str(gap))
        return _claim(
            run,
            ctx,
            blob,
            f"the upload never finished: {gap}, {blob.age:.0f} s after the last write. Upload it again",
        )
    except NotAVhd as fault:
        return _claim(run, ctx, blob, str(fault))
    for data in run.data_disks:
        try:
            lacking = _data_disk_gap(ctx, data)
        except NotAVhd as fault:
            return _claim(run, ctx, blob, f"data disk at LUN {data.lun}: {fault}")
        if lacking:
            return Wait(_delay(run, ctx), f"data disk at LUN {data.lun}: {lacking}")
    return _claim(run, ctx, blob, None)


def _data_disk_gap(ctx: Context, data: DataVhd) -> str | None:
    """What a data disk's VHD still lacks, None where it is whole. Raises NotAVhd."""
    try:
        blob = ctx.blobs.facts(data.container, data.blob)
    except NotFound:
        return "it is not there yet"
    if not blob.page_blob:
        raise NotAVhd(f"it is a {blob.kind}", "upload it with azcopy copy x.vhd URL --blob-type PageBlob")
    if blob.copy_status == "pending" or (blob.content_md5 is None and blob.age < ctx.settings.upload_settle_seconds):
        return "it is still being written"
    try:
        check_footer(_read(ctx, blob, 0), _read(ctx, blob, blob.size - FOOTER), blob.size)
    except Incomplete as gap:
        return str(gap)
    return None


def _read(ctx: Context, blob: BlobFacts, offset: int) -> bytes:
    if blob.size < SECTOR:
        return b""
    return ctx.blobs.read(blob.container, blob.name, offset, SECTOR, blob.etag)


def _claim(run: Run, ctx: Context, blob: BlobFacts, fault: str | None) -> Outcome:
    """Claim what the blob holds now, good or bad, so that nothing looks at the same content twice."""
    winner = ctx.sources.claim(run.image, run.source, blob.etag, run.id)
    if winner != run.id:
        run.duplicate_of = winner
        return Go(Stage.DUPLICATE, f"{winner} has claimed this VHD")
    run.etag, run.size = blob.etag, blob.size
    if fault:
        raise RunFailed(fault)
    return Go(Stage.INSPECTING, f"the VHD is whole: {blob.size} bytes, ETag {blob.etag}")


def _not_a_page_blob(blob: BlobFacts) -> str:
    return (
        f"this is a {blob.kind}, and Azure makes disks of page blobs only. To mend it: delete it and upload again with "
        "azcopy copy x.vhd URL --blob-type PageBlob (az storage blob upload --type page)"
    )


def _still_uploading(run: Run, ctx: Context, blob: BlobFacts) -> Wait:
    rest = ctx.settings.upload_settle_seconds - blob.age
    return Wait(max(rest, _delay(run, ctx)), f"the upload goes on: last write {blob.age:.0f} s ago")


def _delay(run: Run, ctx: Context) -> float:
    waited = (now() - run.entered).total_seconds()
    return poll_delay(waited, ctx.settings.poll_seconds, ctx.settings.poll_max_seconds)
