"""From being told of a source to a run: allowed by the catalog, begun once however often and wherever it is told."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from hashlib import sha256
from typing import Any

import structlog

from pipeline import engine
from pipeline.access import Caller, Role
from pipeline.addresses import LONGEST_NAME, name_fault, query_fault
from pipeline.catalog import NO_GROUP, Route
from pipeline.cloud.faults import Denied, NotFound, Refused
from pipeline.context import Context
from pipeline.events import BlobCreated
from pipeline.gallery import KEEP
from pipeline.ledger import Bound
from pipeline.requests import MOST_OF_DISKS, MOST_TAGS, DataDisk, InvalidRequest, PublishRequest, parse_request
from pipeline.runs import MOST_ASKERS, DataVhd, Overtaken, Run, Stage, now
from pipeline.source import SourceKind, parse_id
from pipeline.validation import field_name, names, unknown
from pipeline.vhd import is_vhd_name

_log = structlog.get_logger()

_MAY_BE_TRIED_AGAIN = {Stage.FAILED, Stage.CANCELLED}
_EARLY = {Stage.AWAITING_UPLOAD, Stage.QUEUED, Stage.INSPECTING, Stage.IMAGING}
"""Stages of a run that has no number yet."""
_BEGINNING = timedelta(minutes=10)
"""How long ago a request's id was bound, at least, to a run that is not there before it never will be: the function
that was to begin it has ended."""


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


@dataclass(frozen=True)
class _Asker:
    """Who asks for a run, and what the content of the request is known by."""

    caller: Caller
    content: str


def take_event(ctx: Context, event: BlobCreated) -> list[Run]:
    """Begin the runs that a blob feeds, of which storage tells. Returns those whose first step is due."""
    try:
        container, name = ctx.blobs.locate(event.url)
        fault = query_fault(event.url)
    except ValueError as error:
        fault = str(error)
    if fault:
        _log.warning("upload_ignored", url=event.url.partition("?")[0][:LONGEST_NAME], why=f"it {fault}")
        return []
    return take_upload(ctx, container, name)


def take_upload(ctx: Context, container: str, name: str) -> list[Run]:
    """Begin the runs that the blob `container/name` feeds. Returns those whose first step is due."""
    if fault := name_fault(name):
        _log.warning("upload_ignored", blob=f"{container}/{name[:LONGEST_NAME]}", why=f"it {fault}")
        return []
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


def take_request(ctx: Context, request: PublishRequest, caller: Caller) -> Offered:
    """The run that a publish request asks for, begun where it was not before.

    Raises NotAllowed where others are the image's publishers, InvalidRequest where the catalog, Azure or the caller's
    role rules it out, RequestConflict where its id came with other content before. Refused, it leaves its id free.
    """
    ctx.catalog.check_publisher(request.image, caller)
    draft = _draft_of_request(ctx, request, caller)
    asker = _Asker(caller, sha256(request.model_dump_json(exclude={"request_id"}).encode()).hexdigest())
    if bound := _bound(ctx, draft, asker.content):
        loaded = ctx.runs.load(bound.run)
        if loaded and loaded[0].stage not in _MAY_BE_TRIED_AGAIN:
            return _joined(ctx, Offered(loaded[0], due=loaded[0].generation == 1), draft, caller)
    try:
        offered = offer(ctx, draft, asker)
    except Denied as fault:
        raise InvalidRequest([(f"source.{draft.kind.value}", f"this identity may not read it: {fault}")]) from fault
    except Refused as fault:
        raise InvalidRequest([(f"source.{draft.kind.value}", str(fault))]) from fault
    if offered is None:
        raise InvalidRequest([(f"source.{draft.kind.value}", f"does not exist: {draft.source}")])
    if offered.new:
        return offered
    taken = _asked_again(ctx, offered, draft, caller) or _joined(ctx, offered, draft, caller)
    _bind(ctx, offered.run.id, draft, asker.content)
    return taken


def _takes_wishes(run: Run) -> bool:
    """Whether a run has no number yet, and no other request named it."""
    return run.stage in _EARLY and not run.request_id


def _bound(ctx: Context, draft: Run, content: str) -> Bound | None:
    """What the request's id is bound to. Raises RequestConflict where that is a run with other content."""
    bound = ctx.requests.bound(draft.image, draft.request_id) if draft.request_id else None
    if bound is None or bound.content == content:
        return bound
    # A function that died between binding the id and beginning the run has left nothing that the id could stand for.
    if now() - bound.at > _BEGINNING and ctx.runs.load(bound.run) is None:
        return bound
    raise RequestConflict(
        f"request_id {draft.request_id!r} came with other content before, and names the run {bound.run}: "
        "give this request an id of its own"
    )


def _bind(ctx: Context, run: str, draft: Run, content: str) -> None:
    """Bind the request's id to a run. Raises RequestConflict where it came with other content before."""
    while draft.request_id:
        bound = _bound(ctx, draft, content)
        if bound and (bound.run, bound.content) == (run, content):
            return
        ctx.requests.bind(draft.image, draft.request_id, run, content, over=bound)


def _asked_again(ctx: Context, offered: Offered, asked: Run, caller: Caller) -> Offered | None:
    """Try a run that failed once more, as the new request asks for it; None where it has not failed.

    Raises RequestConflict where no try can end otherwise, because the source itself is at fault.
    """
    run = offered.run
    if run.stage not in _MAY_BE_TRIED_AGAIN or run.promotion:
        return None
    if run.source_at_fault:
        raise RequestConflict(f"the run {run.id} failed for this very source, and would again: {run.reason}")
    _check_may_join(run, asked)
    _joint_tags(run, asked)
    try:
        tried = engine.retry(ctx, run.id, f"tried again, {_by(caller, asked)}", asked)
    except (engine.NotNow, Overtaken):  # another request was faster
        return None
    return Offered(tried, due=False)


def _by(caller: Caller, asked: Run) -> str:
    return f"asked for by {caller.name}" + (f": {asked.request_id}" if asked.request_id else "")


def read_request(ctx: Context, data: Any, caller: Caller) -> PublishRequest:
    """The request in JSON `data`.

    Raises InvalidRequest; where the form is at fault, it tells beside that what catalog, storage and the caller's role
    rule out.
    """
    try:
        return parse_request(data)
    except InvalidRequest as fault:
        told = {field for field, _ in fault.faults}
        more = [(field, words) for field, words in _ruled_out(ctx, data, caller) if field not in told]
        raise InvalidRequest([*fault.faults, *more]) from fault


def _draft_of_request(ctx: Context, request: PublishRequest, caller: Caller) -> Run:
    if faults := _ruled_out(ctx, request.model_dump(mode="json", exclude_none=True), caller):
        raise InvalidRequest(faults)
    source = request.source
    if source.kind is SourceKind.BLOB:
        draft = draft_of_vhd(ctx, request.image, *ctx.blobs.locate(source.id))
        draft.data_disks = [_data_vhd(ctx, disk) for disk in source.data_disks]
    else:
        draft = Run.draft(request.image, source.id, kind=source.kind)
    draft.wish, draft.tags, draft.request_id = request.wish, dict(request.tags), request.request_id
    draft.may_jump, draft.asked_by = request.jump, [caller.id]
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


def _ruled_out(ctx: Context, data: Any, caller: Caller) -> list[tuple[str, str]]:
    """What catalog, storage and the caller's role rule out of a request's JSON, which may be of any form: fields and
    what is wrong."""
    given = data if isinstance(data, dict) else {}
    image, source, tags = given.get("image"), given.get("source"), given.get("tags")
    known = image if isinstance(image, str) and image in ctx.catalog.images else None
    faults = []
    if isinstance(image, str) and known is None:
        faults.append(("image", unknown("the catalog has no image", image, ctx.catalog.images)))
    for field, kind, named in _named(source):
        if words := _source_fault(ctx, known, kind, named):
            faults.append((field, words))
    for name in tags if isinstance(tags, dict) else []:
        if name.lower() in ctx.catalog.required_tags:
            words = "a promotion rule requires it: it takes a verdict on the version"
            faults.append((field_name(("tags", name)), words))
        elif name.lower() == KEEP and not caller.has(Role.OPERATOR):
            words = f"{_AN_OPERATORS}, for retention leaves such a version for good"
            faults.append((field_name(("tags", name)), words))
    if given.get("jump") is True and not caller.has(Role.OPERATOR):
        faults.append(("jump", f"{_AN_OPERATORS}, for no lower number counts after it"))
    return faults


_AN_OPERATORS = f"takes the role {Role.OPERATOR}: leave it out, or let an {Role.OPERATOR} ask"


def _named(source: Any) -> Iterator[tuple[str, SourceKind, str]]:
    """Every blob and resource that a request's source names, which may be of any form: field, kind, address or id."""
    if not isinstance(source, dict):
        return
    for kind in SourceKind:
        if isinstance(named := source.get(kind.value), str):
            yield f"source.{kind.value}", kind, named
    disks = source.get("data_disks")
    for n, disk in enumerate(disks if isinstance(disks, list) else []):
        if isinstance(disk, dict) and isinstance(named := disk.get("blob"), str):
            yield f"source.data_disks.{n}.blob", SourceKind.BLOB, named


def _source_fault(ctx: Context, image: str | None, kind: SourceKind, named: str) -> str | None:
    """Why no version, of an image of the catalog or of any, can be made of what is named so; None where one may be."""
    if kind is SourceKind.BLOB:
        if words := _address_fault(ctx, named):
            return words
        allowed = "/".join(ctx.blobs.locate(named))
    else:
        try:
            parse_id(kind, named)
        except ValueError as fault:
            return str(fault)
        allowed = named
    if image is None:
        return None
    if not ctx.catalog.allows(image, allowed):
        taken = names(ctx.catalog.taken_by(image), "or")
        return f"the catalog does not allow this source for {image}, which takes {taken}: {allowed}"
    if kind is SourceKind.BLOB and not _may_take_vhds(ctx, image):
        return f"the gallery of {image} {NO_GROUP}"
    return None


def _address_fault(ctx: Context, url: str) -> str | None:
    """Why no version can be made of what is at `url`, in words; None where one may be."""
    try:
        _, name = ctx.blobs.locate(url)
    except ValueError as fault:
        return str(fault)
    if not is_vhd_name(name):
        return "takes a blob whose name ends in .vhd: Azure makes images of no other (copy it to such a name)"
    return query_fault(url)


def _data_vhd(ctx: Context, disk: DataDisk) -> DataVhd:
    container, name = ctx.blobs.locate(disk.blob)
    return DataVhd(lun=disk.lun, container=container, blob=name, url=ctx.blobs.url(container, name))


def offer(ctx: Context, draft: Run, asker: _Asker | None = None) -> Offered | None:
    """The run that has the draft's source, begun from the draft where there was none. None where the source is gone.

    A request's id is bound to the run just before that begins. Raises RequestConflict where it came with other content
    before.

    Who waits is settled before the source is looked at: a run that claims a source lets go of the wait only after
    its claim stands, so whoever comes next sees the claim.
    """
    log = _log.bind(image=draft.image, source=draft.source)
    waiting = ctx.sources.await_upload(draft.image, draft.source, draft.id)
    if waiting != draft.id and (loaded := ctx.runs.load(waiting)):
        if loaded[0].stage.ended:
            # It ended without letting go: a death between two writes.
            ctx.sources.stop_waiting(draft.image, draft.source, waiting)
            return offer(ctx, draft, asker)
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
    if asker:
        try:
            _bind(ctx, draft.id, draft, asker.content)
        except RequestConflict:
            ctx.sources.stop_waiting(draft.image, draft.source, waiting)
            raise
    begun = ctx.runs.begin(draft, _by(asker.caller, draft) if asker else "")
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


def _check_may_join(run: Run, asked: Run) -> None:
    """Whoever is not written down could approve the version they asked for. Raises RequestConflict."""
    if len(run.asked_by) >= MOST_ASKERS and set(asked.asked_by) - set(run.asked_by):
        raise RequestConflict(
            f"{MOST_ASKERS} callers have asked for the run {run.id}, and no more may; gallerist show tells of it"
        )


def _joined(ctx: Context, offered: Offered, asked: Run, caller: Caller) -> Offered:
    """Let a run be asked for by one more; where it has no number yet, and no other request named it, let it be what
    this one asks for."""
    while loaded := ctx.runs.load(offered.run.id):
        run, etag = loaded
        if run.stage.ended or run.promotion:
            return Offered(run, offered.due)
        _check_may_join(run, asked)
        says = bool(asked.wish or asked.tags or asked.request_id or asked.may_jump)
        if says and _takes_wishes(run):
            run.tags, run.request_id = _joint_tags(run, asked), asked.request_id
            run.number_as(asked)
        elif not set(asked.asked_by) - set(run.asked_by):
            return Offered(run, offered.due)
        run.ask_too(asked)
        try:
            ctx.runs.save(run, etag, was=run.stage, happened=_by(caller, asked))
        except Overtaken:
            continue
        engine.queue_step(ctx, run, max(0.0, (run.due - now()).total_seconds()))
        return Offered(run, due=False)
    return offered
