"""What each trigger does, once the pipeline is loaded."""

from __future__ import annotations

from collections.abc import Mapping

import structlog

from pipeline import engine, promotion, retention
from pipeline.access import ANYBODY, ROUTES, of_queue
from pipeline.amendments import judge_version
from pipeline.announce import reject
from pipeline.cloud.faults import NotFound
from pipeline.context import Context, context
from pipeline.events import Unreadable, read_json, read_step
from pipeline.intake import RequestConflict, read_request, take_events, take_request, take_upload
from pipeline.logs import configure_logs
from pipeline.requests import InvalidRequest, parse_verdict
from pipeline.runs import Run
from pipeline.sweep import sweep
from pipeline.web.callers import caller_of
from pipeline.web.calls import Answer, Call, answer
from pipeline.web.routes import HANDLERS

configure_logs()

_MAX_DEQUEUE_COUNT = 5  # host.json


def upload_event(message: bytes) -> None:
    """A message of queue `vhd-uploads`."""
    try:
        begun = take_events(context(), message)
    except Unreadable as fault:
        reject(context(), "vhd-uploads", message, str(fault))
    else:
        _first_steps(begun)


def publish_request(message: bytes) -> None:
    """A message of queue `publish-requests`."""
    try:
        offered = take_request(context(), read_request(context(), read_json(message)))
    except (Unreadable, InvalidRequest, RequestConflict) as fault:
        reject(context(), "publish-requests", message, str(fault))
    else:
        _first_steps([offered.run] if offered.due else [])


def verdict(message: bytes, message_id: str) -> None:
    """A message of queue `verdicts`; delivered again, it is the same verdict."""
    try:
        run = judge_version(
            context(), parse_verdict(read_json(message)), of_queue("verdicts"), f"verdicts/{message_id}"
        )
    except (Unreadable, InvalidRequest, NotFound) as fault:
        reject(context(), "verdicts", message, str(fault))
    else:
        _first_steps([run] if run else [])


def http(
    route: str,
    base: str,
    parameters: Mapping[str, str],
    query: Mapping[str, str],
    headers: Mapping[str, str],
    body: bytes,
) -> Answer:
    """A call of the HTTP API: `route` by its name in the table of routes, `parameters` those in its path."""

    def call() -> tuple[Context, Call]:
        ctx = context()
        told = {name.lower(): value for name, value in headers.items()}
        caller = caller_of(ctx.entra, ctx.settings.api_key_roles, told, query) if ROUTES.get(route, 1) else ANYBODY
        asked = {name: value for name, value in query.items() if name != "code"}  # code is the key
        return ctx, Call(base, caller, parameters, asked, body)

    return answer(route, call, HANDLERS)


def uploaded_blob(container: str, name: str) -> None:
    """The blob trigger's blob."""
    _first_steps(take_upload(context(), container, name))


def _first_steps(begun: list[Run]) -> None:
    for run in begun:
        engine.step(context(), run.id, run.generation)


def run_step(message: bytes) -> None:
    """A message of queue `run-steps`."""
    engine.step(context(), *read_step(message))


def poisoned_step(message: bytes) -> None:
    """A message of queue `run-steps-poison`."""
    engine.fail_poisoned(context(), *read_step(message), tries=_MAX_DEQUEUE_COUNT)


def promote_now(*, past_due: bool) -> None:
    """The promotion's timer. A night that was missed is caught up once: what is ripe stays ripe."""
    _say_if_late("promotion", past_due=past_due)
    ctx = context()
    done = promotion.promote_all(ctx, ctx.catalog.promotions)
    structlog.get_logger().info(
        "promoted",
        rules=len(done),
        moving=sum(one.run is not None for one in done),
        faults=sum(one.fault is not None for one in done),
    )


def retire_now(*, past_due: bool) -> None:
    """Retention's timer: what is planned is logged, then done."""
    _say_if_late("retention", past_due=past_due)
    ctx, log = context(), structlog.get_logger()
    for one in retention.look_all(ctx, ctx.catalog.images):
        log.info(
            "retention_planned",
            image=one.image,
            versions=[version.name for version in one.doomed],
            orphans=[orphan.name for orphan in one.orphans],
            vhds=[f"{container}/{name}" for container, name, _ in one.vhds],
        )
        retention.retire(ctx, one)


def sweep_now(*, past_due: bool) -> None:
    """The sweep's timer."""
    _say_if_late("sweep", past_due=past_due)
    sweep(context())


def _say_if_late(timer: str, *, past_due: bool) -> None:
    if past_due:
        structlog.get_logger().warning("timer_past_due", timer=timer)
