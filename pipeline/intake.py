"""From being told of a source to a run: allowed by the catalog, begun once however often and wherever it is told."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import structlog

from pipeline import engine
from pipeline.addresses import query_fault
from pipeline.catalog import NO_GROUP, Route
from pipeline.cloud.faults import Denied, NotFound, Refused
from pipeline.context import Context
from pipeline.events import BlobCreated
from pipeline.requests import MOST_OF_DISKS, MOST_TAGS, DataDisk, InvalidRequest, PublishRequest, parse_request
from pipeline.runs import DataVhd, Overtaken, Run, Stage, now
from pipeline.source import SourceKind
from pipeline.validation import field_name, quoted, unknown
from pipeline.vhd import is_vhd_name

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


def take_event(ctx: Context, event: BlobCreated) -> list[Run]:
    """Begin the runs that a blob feeds, of which storage tells. Returns those whose first step is due."""
    located = ctx.blobs.locate(event.url)
    fault = query_fault(event.url) if located else "is not in this storage account"
    if located is None or fault:
        _log.warning("upload_ignored", url=event.url.partition("?")[0], why=f"it {fault}")
        return []
    return take_upload(ctx, *located)


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
    taken = offered if offered.run.id == draft.id else _asked_again(ctx, offered, draft) or _amend(ctx, offered, draft)
    if request.request_id and offered.run.id != named:
        ctx.requests.rename(request.request_id, offered.run.id)
    return taken


def _asked_again(ctx: Context, offered: Offered, asked: Run) -> Offered | None:
    """Try a run that failed once more, as the new request asks for it; None where it has not failed.

    Raises RequestConflict where no try can end otherwise, because the source itself is at fault.
    """
    run = offered.run
    if run.stage not in _MAY_BE_TRIED_AGAIN:
        return None
    if run.source_at_fault:
        raise RequestConflict(f"the run {run.id} failed for this very source, and would again: {run.reason}")
    _joint_tags(run, asked)
    try:
        tried = engine.retry(ctx, run.id, f"tried again: {asked.request_id or 'a request'} asks for it", asked)
    except (engine.NotNow, Overtaken):  # another request was faster
        return None
    return Offered(tried, due=False)


def read_request(ctx: Context, data: Any) -> PublishRequest:
    """The request in JSON `data`.

    Raises InvalidRequest; where the form is at fault, it tells beside that what catalog and storage rule out.
    """
    try:
        return parse_request(data)
    except InvalidRequest as fault:
        told = {field for field, _ in fault.faults}
        more = [(field, words) for field, words in _ruled_out(ctx, data) if field not in told]
        raise InvalidRequest([*fault.faults, *more]) from fault


def _draft_of_request(ctx: Context, request: PublishRequest) -> Run:
    if faults := _ruled_out(ctx, request.model_dump(mode="json", exclude_none=True)):
        raise InvalidRequest(faults)
    source = request.source
    if source.kind is SourceKind.BLOB:
        draft = draft_of_vhd(ctx, request.image, *_located(ctx, source.id))
        draft.data_disks = [_data_vhd(ctx, disk) for disk in source.data_disks]
    else:
        draft = Run.draft(request.image, source.id, kind=source.kind)
    draft.wish, draft.tags, draft.request_id = request.wish, dict(request.tags), request.request_id
    size = sum(len(disk.model_dump_json()) for disk in draft.data_disks)
    if size > MOST_OF_DISKS:
        said = (
            f"takes {size:,} characters in the run's record, of {MOST_OF_DISKS:,} at most: name fewer data disks, or "
            "give their blobs shorter names"
        )
        raise InvalidRequest([("source.data_disks", said)])
    return draft


def _joint_tags(run: Run, asked: Run) -> dict[str, str]:
    """The tags of a run that another request asks for, too. Raises InvalidRequest where they are too many."""
    tags = run.tags | asked.tags
    if len(tags) > max(MOST_TAGS, len(run.tags)):
        said = (
            f"takes {MOST_TAGS} entries at most, and with those that the run {run.id} has from a request before it has "
            f"{len(tags)}: leave some out"
        )
        raise InvalidRequest([("tags", said)])
    return tags


def _may_take_vhds(ctx: Context, image: str) -> bool:
    """Whether there is a place where Azure makes the managed images that an image takes, if it takes any."""
    return ctx.catalog.images[image].taken_route is Route.DIRECT or ctx.managed_image_group(image) is not None


def _ruled_out(ctx: Context, data: Any) -> list[tuple[str, str]]:
    """What catalog and storage rule out of a request's JSON, which may be of any form: fields and what is wrong."""
    given = data if isinstance(data, dict) else {}
    image, source, tags = given.get("image"), given.get("source"), given.get("tags")
    known = isinstance(image, str) and image in ctx.catalog.images
    faults = []
    if isinstance(image, str) and not known:
        faults.append(("image", unknown("the catalog has no image", image, ctx.catalog.images)))
    for kind in SourceKind:
        named = source.get(kind.value) if isinstance(source, dict) else None
        if not isinstance(named, str):
            continue
        words = _address_fault(ctx, named) if kind is SourceKind.BLOB else None
        if words is None and known:
            asked = "/".join(_located(ctx, named)) if kind is SourceKind.BLOB else named
            if not ctx.catalog.allows(str(image), asked):
                words = f"the catalog does not allow this source for {image}: {asked}"
            elif kind is SourceKind.BLOB and not _may_take_vhds(ctx, str(image)):
                words = f"the gallery of {image} {NO_GROUP}"
        if words:
            faults.append((f"source.{kind.value}", words))
    disks = source.get("data_disks") if isinstance(source, dict) else None
    for n, disk in enumerate(disks if isinstance(disks, list) else []):
        address = disk.get("blob") if isinstance(disk, dict) else None
        if isinstance(address, str) and (words := _address_fault(ctx, address)):
            faults.append((f"source.data_disks.{n}.blob", words))
    verdicts = ctx.catalog.verdicts_on(str(image)) if known else set()
    for name in tags if isinstance(tags, dict) else []:
        if name.lower() in verdicts:
            words = "a promotion rule requires it: it takes a verdict on the version"
            faults.append((field_name(("tags", name)), words))
    return faults


def _address_fault(ctx: Context, url: str) -> str | None:
    """Why no version can be made of what is at `url`, in words; None where one may be."""
    located = ctx.blobs.locate(url)
    if located is None:
        # A query may hold a SAS, which is no one's to read.
        return f"takes the address of a blob in {ctx.settings.blob_endpoint}, not {quoted(url.partition('?')[0])}"
    if not is_vhd_name(located[1]):
        return "takes a blob whose name ends in .vhd: Azure makes images of no other (copy it to such a name)"
    return query_fault(url)


def _data_vhd(ctx: Context, disk: DataDisk) -> DataVhd:
    container, name = _located(ctx, disk.blob)
    return DataVhd(lun=disk.lun, container=container, blob=name, url=ctx.blobs.url(container, name))


def _located(ctx: Context, url: str) -> tuple[str, str]:
    """Container and name of what is at an address without fault."""
    located = ctx.blobs.locate(url)
    assert located  # noqa: S101 - _ruled_out has seen to it
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
        early = run.stage in (Stage.AWAITING_UPLOAD, Stage.QUEUED, Stage.INSPECTING, Stage.IMAGING)
        if not early or run.request_id or not (asked.wish or asked.tags or asked.request_id):
            return Offered(run, offered.due)
        run.wish, run.request_id, run.tags = asked.wish or run.wish, asked.request_id, _joint_tags(run, asked)
        try:
            ctx.runs.save(run, etag, was=run.stage, happened=f"asked for by {run.request_id or 'a request'}")
        except Overtaken:
            continue
        engine.queue_step(ctx, run, max(0.0, (run.due - now()).total_seconds()))
        return Offered(run, due=False)
    return offered
