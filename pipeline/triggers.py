"""What each trigger does, once the pipeline is loaded."""

from __future__ import annotations

import structlog

from pipeline import engine
from pipeline.announce import reject
from pipeline.context import context
from pipeline.events import Unreadable, read_json, read_step
from pipeline.intake import RequestConflict, take_events, take_request, take_upload
from pipeline.logs import configure_logs
from pipeline.requests import InvalidRequest, parse_request
from pipeline.runs import Run
from pipeline.sweep import sweep
from pipeline.web import api

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
        offered = take_request(context(), parse_request(read_json(message)))
    except (Unreadable, InvalidRequest, RequestConflict) as fault:
        reject(context(), "publish-requests", message, str(fault))
    else:
        _first_steps([offered.run] if offered.due else [])


def http(handler: api.Handler, call: api.Call) -> api.Answer:
    """A call of the HTTP API."""
    return api.answer(context(), handler, call)


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


def sweep_now(*, past_due: bool) -> None:
    """The sweep's timer."""
    if past_due:
        structlog.get_logger().warning("sweep_past_due")
    sweep(context())
