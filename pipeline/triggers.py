"""What each trigger does, once the pipeline is loaded."""

from __future__ import annotations

from collections.abc import Mapping

import structlog

from pipeline import engine, promotion, retention
from pipeline.access import ANYBODY, ROUTES, NotAllowed, Role, of_queue, of_timer
from pipeline.amendments import judge_version
from pipeline.announce import reject
from pipeline.cloud.faults import CloudFault, Conflict, NotFound, Refused, Unavailable
from pipeline.context import Context, context
from pipeline.events import Unreadable, read_blob_events, read_json, read_step
from pipeline.intake import RequestConflict, read_request, take_event, take_request, take_upload
from pipeline.logs import configure_logs
from pipeline.requests import InvalidRequest, parse_verdict
from pipeline.runs import Run
from pipeline.sweep import sweep
from pipeline.web.callers import caller_of
from pipeline.web.calls import Answer, Call, answer
from pipeline.web.routes import HANDLERS

configure_logs()

_MAX_DEQUEUE_COUNT = 5  # host.json
_NEVER = (NotAllowed, Unreadable, InvalidRequest, RequestConflict, engine.NotNow, NotFound, Refused)
"""What comes of a message however often it is tried. Unavailable and Conflict pass: the message comes again."""


def upload_event(message: bytes) -> None:
    """A message of queue `vhd-uploads`. An event that cannot be taken does not keep the others in it."""
    begun: list[Run] = []
    passing: CloudFault | None = None
    try:
        events, faults = read_blob_events(message)
    except Unreadable as fault:
        events, faults = [], [str(fault)]
    for event in events:
        try:
            begun += take_event(context(), event)
        except (Unavailable, Conflict) as fault:
            passing = passing or fault
        except CloudFault as fault:
            faults.append(f"{event.url}: {fault}")
    _first_steps(begun)
    if passing:
        raise passing  # the message comes again; what was begun is begun once
    if faults:
        reject(context(), "vhd-uploads", message, "; ".join(faults))


def publish_request(message: bytes) -> None:
    """A message of queue `publish-requests`."""
    ctx, sender = context(), of_queue("publish-requests")
    try:
        request = read_request(ctx, read_json(message), sender)
        with ctx.audit.change(sender, "publish", f"image {request.image}") as deed:
            offered = take_request(ctx, request, sender)
            deed.runs = [offered.run.id]
    except _NEVER as fault:
        reject(ctx, "publish-requests", message, str(fault))
    else:
        _first_steps([offered.run] if offered.due else [])


def verdict(message: bytes, message_id: str) -> None:
    """A message of queue `verdicts`; delivered again, it is the same verdict."""
    ctx, sender = context(), of_queue("verdicts")
    try:
        said = parse_verdict(read_json(message))
        with ctx.audit.change(sender, "verdict", f"image {said.image} version {said.version}") as deed:
            run = judge_version(ctx, said, sender, f"verdicts/{message_id}")
            deed.runs = [run.id] if run else []
    except _NEVER as fault:
        reject(ctx, "verdicts", message, str(fault))
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
        if ROUTES.get(route, Role.OPERATOR) is None:
            caller = ANYBODY
        else:
            caller = caller_of(ctx.entra, ctx.settings.api_key_roles, headers, query)
        asked = {name: value for name, value in query.items() if name.lower() != "code"}  # code is the key
        return ctx, Call(base, caller, parameters, asked, body)

    return answer(route, call, HANDLERS)


def uploaded_blob(container: str, name: str) -> None:
    """The blob trigger's blob. One that cannot be taken now is left to the sweep."""
    try:
        begun = take_upload(context(), container, name)
    except (NotFound, Refused) as fault:
        structlog.get_logger().warning("upload_ignored", blob=f"{container}/{name}", why=str(fault))
    else:
        _first_steps(begun)


def _first_steps(begun: list[Run]) -> None:
    for run in begun:
        engine.step(context(), run.id, run.generation)


def run_step(message: bytes) -> None:
    """A message of queue `run-steps`."""
    if step := _step_in("run-steps", message):
        engine.step(context(), *step)


def poisoned_step(message: bytes) -> None:
    """A message of queue `run-steps-poison`."""
    if step := _step_in("run-steps-poison", message):
        engine.fail_poisoned(context(), *step, tries=_MAX_DEQUEUE_COUNT)


def _step_in(queue: str, message: bytes) -> tuple[str, int] | None:
    """The step that a message names. One that names none is rejected: a queue of poison has none of its own."""
    try:
        return read_step(message)
    except Unreadable as fault:
        reject(context(), queue, message, str(fault))
        return None


def promote_now(*, past_due: bool) -> None:
    """The promotion's timer. A night that was missed is caught up once: what is ripe stays ripe."""
    _say_if_late("promotion", past_due=past_due)
    ctx = context()
    with ctx.audit.change(of_timer("promote"), "promote", "image *") as deed:
        done = promotion.promote_all(ctx, ctx.catalog.promotions)
        deed.runs = [one.run.id for one in done if one.run]
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
        if one.doomed or one.orphans or one.vhds:
            with ctx.audit.change(of_timer("retire"), "retention", f"image {one.image}") as deed:
                deed.outcome = retention.in_words(retention.retire(ctx, one))


def sweep_now(*, past_due: bool) -> None:
    """The sweep's timer."""
    _say_if_late("sweep", past_due=past_due)
    sweep(context())


def _say_if_late(timer: str, *, past_due: bool) -> None:
    if past_due:
        structlog.get_logger().warning("timer_past_due", timer=timer)
