"""Telling the outside what became of a run, or of a message that could not be taken."""

from __future__ import annotations

import json
from hashlib import sha256
from typing import Any

import structlog

from pipeline.addresses import without_queries
from pipeline.cloud.faults import CloudFault, Unavailable
from pipeline.context import Context
from pipeline.events import legible
from pipeline.runs import Purpose, Run, Stage, now

REJECTED = "rejected"
"""The container that keeps what could not be taken."""
_log = structlog.get_logger()


def tell_end(ctx: Context, run: Run, stage: Stage) -> None:
    """Tell that a run ends in `stage`. Raises Unavailable; what will never go through is logged and let go.

    It is told before the end is written down: a death in between tells it twice, under one id, and never not at all.
    """
    outcome = _outcome(run, stage)
    if outcome is None:
        return
    _tell(
        ctx,
        f"gallerist.image.{outcome}",
        f"images/{run.image}",
        _described(ctx, run, stage),
        f"{run.id}/{outcome}/{run.began:%Y%m%d%H%M%S}",
    )


def _outcome(run: Run, stage: Stage) -> str | None:
    """The word for a run's end, None where nobody else has to know of it."""
    if run.amendment:
        withdrawn = run.amendment.purpose is Purpose.WITHDRAWAL and stage is Stage.AMENDED
        return "withdrawn" if withdrawn else None
    if stage is Stage.PUBLISHED:
        return "promoted" if run.promotion else "published"
    return "failed" if stage in (Stage.FAILED, Stage.CANCELLED) else None


def _described(ctx: Context, run: Run, stage: Stage) -> dict[str, Any]:
    published = stage in (Stage.PUBLISHED, Stage.AMENDED)
    known = run.image in ctx.catalog.images  # it may have left the catalog since
    return {
        "image": run.image,
        "definition": run.definition or (ctx.catalog.definition_id(run.image) if known else None),
        "version": run.version if published else None,
        "version_id": f"{run.definition}/versions/{run.version}" if published else None,
        "regions": [region.region for region in run.regions] if published else [],
        "source": {"kind": run.kind.value, "id": run.source, "etag": run.etag},
        "run": run.id,
        "request_id": run.request_id,
        "state": stage.value,
        "reason": run.amendment.why if run.amendment else run.reason,
        "promotion": run.promotion,
    }


def reject(ctx: Context, queue: str, message: bytes, reason: str) -> None:
    """Keep a message that cannot be taken, and tell of it. The same message is kept once.

    What is kept, logged and told is without the queries of addresses: a SAS in one opens what it is for.
    """
    reason = without_queries(reason)
    at = now()
    digest = sha256(message).hexdigest()[:16]
    name = f"{queue}/{at:%Y-%m-%d}/{digest}.json"
    ctx.blobs.keep(
        REJECTED,
        name,
        json.dumps({"queue": queue, "at": at.isoformat(), "reason": reason, "message": legible(message)}, indent=2),
    )
    _log.error("message_rejected", queue=queue, reason=reason, kept=f"{REJECTED}/{name}")
    data = {"queue": queue, "reason": reason, "kept": f"{REJECTED}/{name}"}
    try:
        _tell(ctx, "gallerist.request.rejected", f"queues/{queue}", data, digest)
    except Unavailable as fault:
        _log.error("event_lost", type="gallerist.request.rejected", fault=str(fault))


def _tell(ctx: Context, kind: str, subject: str, data: dict[str, Any], event_id: str) -> None:
    try:
        ctx.topic.tell(kind, subject, data, event_id)
    except Unavailable:
        raise
    except CloudFault as fault:
        _log.error("event_lost", type=kind, subject=subject, fault=str(fault))
