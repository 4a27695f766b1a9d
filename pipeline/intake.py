"""From being told of a source to a run: allowed by the catalog, begun once however often and wherever it is told."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256

import structlog

from pipeline import engine
from pipeline.cloud.faults import Denied, NotFound, Refused
from pipeline.context import Context
from pipeline.events import read_blob_events
from pipeline.requests import DataDisk, InvalidRequest, PublishRequest
from pipeline.runs import DataVhd, Overtaken, Run, Stage, now
from pipeline.source import SourceKind

_log = structlog.get_logger()

_MAY_BE_TRIED_AGAIN = {Stage.FAILED, Stage.CANCELLED}


class RequestConflict(ValueError):
    """The request's id came with other content before, or its source is at fault. The message says what to do."""


@dataclass(frozen=True)
class Offered:
    """The run that has a source. `due` says that its first step is; `new`, that it was begun just now; `again`, that
    the same content was uploaded once more since the run claimed it."""

    run: Run
    due: bool
    new: bool = False
    again: bool = False


def take_events(ctx: Context, message: bytes) -> list[Run]:
    """Begin the runs that a message of blob events asks for. Returns those whose first step is due.

    Raises Unreadable where the message is not of blob events.
    """
    begun: list[Run] = []
    for event in read_blob_events(message):
        located = ctx.blobs.locate(event.url)
        if located is None:
            _log.warning("upload_ignored", url=event.url.partition("?")[0], why="it is not in this storage account")
            continue
        begun += take_upload(ctx, *located)
    return begun


def take_upload(ctx: Context, container: str, name: str) -> list[Run]:
    """Begin the runs that the blob `container/name` feeds. Returns those whose first step is due."""
    images = ctx.catalog.fed_by(container, name)
    if not images:
        _log.info("upload_ignored", blob=f"{container}/{name}", why="no image's drop pattern matches it")
    offered = [offer(ctx, draft_of_vhd(ctx, image, container, name)) for image in images]
    for found in offered:
        if found and found.again and found.run.stage in _MAY_BE_TRIED_AGAIN and not found.run.source_at_fault:
            with suppress(engine.NotNow, Overtaken):  # another delivery of the event was faster
                engine.retry(ctx, found.run.id, "uploaded again")
    return [found.run for found in offered if found and found.due]


def draft_of_vhd(ctx: Context, image: str, container: str, name: str) -> Run:
    """A run for a VHD, not begun yet."""
    return Run.draft(image, ctx.blobs.url(container, name), container=container, blob=name)


def take_request(ctx: Context, request: PublishRequest) -> Offered:
    """The run that a publish request asks for, begun where it was not before.

    Raises InvalidRequest where the catalog or Azure rules it out, RequestConflict where its id came with other
    content before.
    """
    draft = _draft_of_request(ctx, request)
    content = sha256(request.model_dump_json(exclude={"request_id"}).encode()).hexdigest()
    if request.request_id:
        named, first = ctx.requests.name(request.request_id, draft.id, content)
        if first != content:
            raise RequestConflict(
                f"request_id {request.request_id!r} came with other content before, and names the run {named}: "
                "give this request an id of its own"
            )
        loaded = ctx.runs.load(named)
        if loaded and loaded[0].stage not in _MAY_BE_TRIED_AGAIN:
            return Offered(loaded[0], due=loaded[0].generation == 1)
        draft.id = draft.id if loaded else named
    try:
        offered = offer(ctx, draft)
    except Denied as fault:
        raise InvalidRequest([(f"source.{draft.kind.value}", f"this identity may not read it: {fault}")]) from fault
    except Refused as fault:
        raise InvalidRequest([(f"source.{draft.kind.value}", str(fault))]) from fault
    if offered is None:
        raise InvalidRequest([(f"source.{draft.kind.value}", f"does not exist: {draft.source}")])
    if request.request_id and offered.run.id != named:
        ctx.requests.rename(request.request_id, offered.run.id)
    if offered.run.id == draft.id:
        return offered
    return _asked_again(ctx, offered, draft) or _amend(ctx, offered, draft)


def _asked_again(ctx: Context, offered: Offered, asked: Run) -> Offered | None:
    """Try a run that failed once more, as the new request asks for it; None where it has not failed.

    Raises RequestConflict where no try can end otherwise, because the source itself is at fault.
    """
    run = offered.run
    if run.stage not in _MAY_BE_TRIED_AGAIN:
        return None
    if run.source_at_fault:
        raise RequestConflict(f"the run {run.id} failed for this very source, and would again: {run.reason}")
    try:
        tried = engine.retry(ctx, run.id, f"tried again: {asked.request_id or 'a request'} asks for it", asked)
    except (engine.NotNow, Overtaken):  # another request was faster
        return None
    return Offered(tried, due=False)


def _draft_of_request(ctx: Context, request: PublishRequest) -> Run:
    if request.image not in ctx.catalog.images:
        raise InvalidRequest(
            [("image", f"the catalog has no image {request.image!r}; it has {', '.join(ctx.catalog.images)}")]
        )
    source, field = request.source, f"source.{request.source.kind.value}"
    if source.kind is SourceKind.BLOB:
        container, name = _located(ctx, field, source.id)
        draft = draft_of_vhd(ctx, request.image, container, name)
        draft.data_disks = [
            _data_vhd(ctx, disk, f"source.data_disks.{n}.blob") for n, disk in enumerate(source.data_disks)
        ]
        named = f"{container}/{name}"
    else:
        draft = Run.draft(request.image, source.id, kind=source.kind)
        named = source.id
    if not ctx.catalog.allows(request.image, named):
        raise InvalidRequest([(field, f"the catalog does not allow this source for {request.image}: {named}")])
    if verdicts := [name for name in request.tags if name.lower() in ctx.catalog.verdicts_on(request.image)]:
        raise InvalidRequest(
            [(f"tags.{name}", "a promotion rule requires it: it takes a verdict on the version") for name in verdicts]
        )
    draft.wish, draft.tags, draft.request_id = request.wish, dict(request.tags), request.request_id
    return draft


def _data_vhd(ctx: Context, disk: DataDisk, field: str) -> DataVhd:
    container, name = _located(ctx, field, disk.blob)
    return DataVhd(lun=disk.lun, container=container, blob=name, url=ctx.blobs.url(container, name))


def _located(ctx: Context, field: str, url: str) -> tuple[str, str]:
    located = ctx.blobs.locate(url)
    if located is None:
        raise InvalidRequest([(field, f"takes the address of a blob in {ctx.settings.blob_endpoint}")])
    return located


def offer(ctx: Context, draft: Run) -> Offered | None:
    """The run that has the draft's source, begun from the draft where there was none. None where the source is gone.

    Who waits is settled before the source is looked at: a run that claims a source lets go of the wait only after
    its claim stands, so whoever comes next sees the claim.
    """
    log = _log.bind(image=draft.image, source=draft.source)
    waiting = ctx.sources.await_upload(draft.image, draft.source, draft.id)
    if waiting != draft.id and (loaded := ctx.runs.load(waiting)):
        if loaded[0].stage.ended:
            # It ended without letting go: a death between two writes.
            ctx.sources.stop_waiting(draft.image, draft.source, waiting)
            return offer(ctx, draft)
        log.info("source_repeated", run=waiting)
        return Offered(loaded[0], due=loaded[0].generation == 1)
    draft = draft.model_copy(update={"id": waiting})
    try:
        contents = contents_of(ctx, draft)
    except NotFound:
        ctx.sources.stop_waiting(draft.image, draft.source, waiting)
        log.info("source_ignored", why="it is gone")
        return None
    owner = ctx.sources.claimed_by(draft.image, draft.source, *contents)
    if owner and (loaded := ctx.runs.load(owner)):
        ctx.sources.stop_waiting(draft.image, draft.source, waiting)
        log.info("source_repeated", run=owner)
        return Offered(loaded[0], due=False, again=contents[-1] != loaded[0].etag)
    begun = ctx.runs.begin(draft)
    if begun:
        log.info("run_begun", run=draft.id)
    return Offered(draft, due=begun, new=begun)


def contents_of(ctx: Context, run: Run) -> list[str]:
    """What names the content of a run's source now: of a blob its content and its ETag, of a resource its fingerprint.

    Raises NotFound.
    """
    if run.kind is SourceKind.BLOB:
        blob = ctx.blobs.facts(run.container, run.blob)
        return [blob.content, blob.etag]
    return [ctx.compute.source(run.kind, run.source).fingerprint]


def _amend(ctx: Context, offered: Offered, asked: Run) -> Offered:
    """Let a run that has no number yet, and that no other request named, be what a request asks for."""
    while loaded := ctx.runs.load(offered.run.id):
        run, etag = loaded
        early = run.stage in (Stage.AWAITING_UPLOAD, Stage.INSPECTING, Stage.IMAGING)
        if not early or run.request_id or not (asked.wish or asked.tags or asked.request_id):
            return Offered(run, offered.due)
        run.wish, run.request_id, run.tags = asked.wish or run.wish, asked.request_id, run.tags | asked.tags
        try:
            ctx.runs.save(run, etag, was=run.stage, happened=f"asked for by {run.request_id or 'a request'}")
        except Overtaken:
            continue
        engine.queue_step(ctx, run, max(0.0, (run.due - now()).total_seconds()))
        return Offered(run, due=False)
    return offered
