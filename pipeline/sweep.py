"""The safety net: steps that were lost, and VHDs whose event never came."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from os.path import commonprefix

import structlog

from pipeline.cloud.faults import NotFound
from pipeline.context import Context
from pipeline.engine import queue_step
from pipeline.intake import draft_of_vhd, offer
from pipeline.runs import now
from pipeline.stages.marks import mark_again, source_mark, source_tag

_log = structlog.get_logger()

_NEVER_BEGUN = timedelta(hours=1)
"""A run that was announced this long ago and never written down is forgotten."""


@dataclass(frozen=True)
class Swept:
    """What a sweep found: runs that live, steps queued again, VHDs that nobody had told of."""

    live: int
    stalled: int
    found: int


def sweep(ctx: Context) -> Swept:
    """Queue again what stalled; tag what could not be tagged; begin runs for VHDs nobody told of."""
    mark_again(ctx)
    live, stalled = _stalled(ctx)
    _tidy_line(ctx, live)
    swept = Swept(len(live), stalled, _untold(ctx))
    _log.info("swept", live=swept.live, stalled=swept.stalled, found=swept.found)
    return swept


def _stalled(ctx: Context) -> tuple[set[tuple[str, int]], int]:
    """The runs that live, each with its attempt, and how many of them stalled."""
    live, stalled = set(), 0
    overdue = now() - timedelta(seconds=ctx.settings.sweep_grace_seconds)
    for run_id, since in ctx.runs.live():
        loaded = ctx.runs.load(run_id)
        if loaded is None:
            if since < now() - _NEVER_BEGUN:
                ctx.runs.forget_live(run_id)
            continue
        run, _ = loaded
        if run.stage.ended:
            ctx.runs.forget_live(run_id)
            continue
        live.add((run.id, run.attempt))
        if run.due < overdue:
            stalled += 1
            _log.warning("run_stalled", run=run.id, image=run.image, stage=run.stage.value, due=run.due.isoformat())
            queue_step(ctx, run)
    return live, stalled


def _tidy_line(ctx: Context, live: set[tuple[str, int]]) -> None:
    """Let whoever ended leave the line: a death came between the two."""
    for run_id, attempt in ctx.line.standing():
        if (run_id, attempt) in live:
            continue
        loaded = ctx.runs.load(run_id)
        if loaded is None or loaded[0].stage.ended or loaded[0].attempt != attempt:
            ctx.line.leave(run_id, attempt)
    ctx.line.forget_days(now())


def _untold(ctx: Context) -> int:
    found = 0
    for container, prefix in _drops(ctx):
        try:
            blobs = ctx.blobs.list(container, prefix)
        except NotFound:
            _log.warning("drop_missing", container=container)
            continue
        for blob in blobs:
            for name in ctx.catalog.fed_by(blob.container, blob.name):
                marked = blob.tags.get(source_tag(name), "").startswith(source_mark(blob.etag, ""))
                url = ctx.blobs.url(blob.container, blob.name)
                if marked or ctx.sources.claimed_by(name, url, blob.content, blob.etag):
                    continue
                offered = offer(ctx, draft_of_vhd(ctx, name, blob.container, blob.name))
                if offered and offered.new:
                    found += 1
                    queue_step(ctx, offered.run)
    return found


def _drops(ctx: Context) -> list[tuple[str, str]]:
    """The containers to look through, each with the longest prefix that all drops in it share."""
    prefixes: dict[str, list[str]] = {}
    for image in ctx.catalog.images.values():
        if image.drop_container:
            prefixes.setdefault(image.drop_container, []).append(image.drop_prefix)
    return [(container, commonprefix(found)) for container, found in prefixes.items()]  # noqa: RUF071 - as wanted
