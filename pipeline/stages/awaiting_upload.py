"""A page blob's BlobCreated means that the upload began. Wait until the VHD is whole, then claim it."""

from __future__ import annotations

from functools import partial

from pipeline.catalog import Completion
from pipeline.cloud.blobs import BlobFacts
from pipeline.cloud.faults import Conflict, NotFound
from pipeline.completeness import MOST_RANGES, Upload, examine
from pipeline.context import Context
from pipeline.partitions import SECTOR
from pipeline.replication import poll_delay
from pipeline.runs import Boots, DataVhd, Run, Stage, now
from pipeline.source import SourceKind
from pipeline.stages.awaiting_resource import awaiting_resource
from pipeline.stages.outcome import Go, Outcome, RunFailed, SourceAtFault, Wait
from pipeline.stages.queued import take_turn
from pipeline.vhd import UPLOAD, NotAVhd, foreign_format, is_vhd_name


def awaiting_upload(run: Run, ctx: Context) -> Outcome:
    """Leaves when the VHD is whole, no copy is under way, and the claim is won.

    Whole is what is marked complete. Where the catalog asks for no mark, it is also what holds all that storage can
    cheaply tell of and was not written to for a while.
    """
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
    try:
        if wait := _Vhd(run, ctx, blob, run.upload, boots=True).wait("", run.source):
            return wait
        for data in run.data_disks:
            if wait := _wait_for_data_disk(run, ctx, data):
                return wait
    except NotAVhd as fault:
        return _fail(run, ctx, blob, SourceAtFault(str(fault)))
    except _GivenUp as fault:
        return _fail(run, ctx, blob, RunFailed(str(fault)))
    winner = ctx.sources.claim(run.image, run.source, blob.content, run.id)
    if winner != run.id:
        return _duplicate(run, winner)
    run.etag, run.content, run.size = blob.etag, blob.content, blob.size
    return take_turn(run, ctx, f"the VHD is whole: {blob.size} bytes, ETag {blob.etag}; {run.upload.proof}")


def _fail(run: Run, ctx: Context, blob: BlobFacts, failure: RunFailed) -> Outcome:
    """Fail for what the blob holds now, and claim that, so that nothing looks at it twice. What is not whole has no
    content yet but its ETag."""
    winner = ctx.sources.claim(run.image, run.source, blob.etag, run.id)
    if winner != run.id:
        return _duplicate(run, winner)
    run.etag, run.content, run.size = blob.etag, blob.etag, blob.size
    raise failure


def _duplicate(run: Run, winner: str) -> Go:
    run.duplicate_of = winner
    return Go(Stage.DUPLICATE, f"{winner} has claimed this VHD")


def _wait_for_data_disk(run: Run, ctx: Context, data: DataVhd) -> Wait | None:
    name = f"data disk at LUN {data.lun}: "
    try:
        blob = ctx.blobs.facts(data.container, data.blob)
    except NotFound:
        waited = (now() - run.entered).total_seconds()
        if waited >= ctx.settings.upload_stall_seconds:
            raise _GivenUp(f"{name}{data.url} is not there, {waited:.0f} s after the run began") from None
        return Wait(_delay(run, ctx), f"{name}it is not there yet")
    try:
        wait = _Vhd(run, ctx, blob, data.upload, boots=False).wait(name, data.url)
    except NotAVhd as fault:
        # Another data disk may be asked for beside the same OS disk, which is not at fault.
        raise _GivenUp(f"{name}{fault}") from None
    data.content = None if wait else blob.content
    return wait


class _GivenUp(Exception):
    """The run cannot go on with what was uploaded until now. The message says what to do."""


class _Vhd:
    """A blob that is to be a whole VHD. `upload` keeps what looks at it have shown; one that `boots` is the OS disk."""

    def __init__(self, run: Run, ctx: Context, blob: BlobFacts, upload: Upload, *, boots: bool) -> None:
        self._run, self._ctx, self._blob, self._upload, self._boots = run, ctx, blob, upload, boots

    def wait(self, name: str, url: str) -> Wait | None:
        """What to wait for, None where the VHD is whole. `name` begins what is said.

        Raises NotAVhd where it never will be one, _GivenUp where it is waited for in vain.
        """
        blob, upload, settings = self._blob, self._upload, self._ctx.settings
        self._check_can_be_one()
        if blob.copy_status == "pending":
            return Wait(_delay(self._run, self._ctx), f"{name}the VHD is being copied here")
        upload.look(blob.etag, blob.content_md5, blob.age)
        rest = upload.rest(settings.upload_settle_seconds, settings.upload_stall_seconds)
        hashed = blob.content_md5 is not None and not upload.md5_first
        if hashed:  # one that was there at the first look may be a copy's, whose next write then shows it
            rest = 0 if upload.md5_came else min(rest, settings.poll_seconds)
        if not blob.marked and blob.age < rest:
            self._peek()
            delay = max(rest - blob.age, _delay(self._run, self._ctx))
            return Wait(delay, f"{name}the upload goes on: last write {blob.age:.0f} s ago")
        known = upload.examined == blob.etag
        if not known:
            upload.lacking, upload.proof = self._examine(hashed=hashed)
            upload.examined = blob.etag
        if not upload.lacking:
            return None
        if blob.age >= settings.upload_stall_seconds:
            raise _GivenUp(
                f"{name}the upload never finished: {upload.lacking}, and the last write was {blob.age:.0f} s ago. "
                f"Upload it again: {UPLOAD}. Where it is whole, mark it and ask again: gallerist complete {url}"
            )
        note = f"{name}{upload.lacking}. Once the VHD is whole, this says so: gallerist complete {url}"
        return Wait(_delay(self._run, self._ctx), note, happened=None if known else note)

    def _check_can_be_one(self) -> None:
        blob = self._blob
        if not blob.page_blob:
            raise NotAVhd(
                f"this is a {blob.kind}, and Azure makes disks of page blobs only",
                f"delete it and upload again: {UPLOAD} (or az storage blob upload --type page)",
            )
        if not is_vhd_name(blob.name):
            raise NotAVhd(
                "the blob's name does not end in .vhd, and Azure makes images of no other blob",
                "copy it to a name that does: azcopy copy URL URL.vhd --blob-type PageBlob",
            )
        if blob.copy_status in ("failed", "aborted"):
            raise NotAVhd(f"the copy that was to bring the VHD here ended as {blob.copy_status}", "copy it again")

    def _peek(self) -> None:
        """Tell another format as soon as its first bytes are there."""
        if self._upload.head_seen:
            return
        head = self._ctx.blobs.read(self._blob, 0, SECTOR)
        self._upload.head_seen = any(head)
        if found := foreign_format(head):
            raise found

    def _examine(self, *, hashed: bool) -> tuple[str, str]:
        """What the VHD lacks, empty where it is whole; and why it is. `hashed` says that its Content-MD5 counts."""
        blob, blobs = self._blob, self._ctx.blobs
        read, pages = partial(blobs.read, blob), partial(blobs.pages, blob, most=MOST_RANGES)
        proved = blob.marked or (hashed and self._upload.md5_came)
        disk, evidence = examine(blob.size, read, pages, boots=self._boots, proved=proved)
        if disk and self._boots:
            self._run.boots = Boots(scheme=disk.scheme, generations=sorted(disk.generations), fault=disk.fault)
        if evidence.lacking:
            return evidence.lacking, ""
        if proved:
            return "", evidence.found if blob.marked else f"{evidence.found} by Content-MD5"
        if hashed:
            return "", f"it has a Content-MD5, and {evidence.found}"
        if self._ctx.catalog.images[self._run.image].completion is Completion.MARK:
            return "it looks whole, but is not marked complete, and the catalog asks for that (completion: mark)", ""
        return "", f"not marked complete, but {evidence.found}, and the last write was {blob.age:.0f} s ago"


def _delay(run: Run, ctx: Context) -> float:
    waited = (now() - run.entered).total_seconds()
    return poll_delay(waited, ctx.settings.poll_seconds, ctx.settings.poll_max_seconds)
