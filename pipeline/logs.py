"""Logs are events with fields: JSON where a machine reads them, plain in a terminal."""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping
from typing import Any

import structlog

from pipeline.addresses import without_queries
from pipeline.limits import LONGEST_LINE, cut
from pipeline.validation import visible

_SHORTER = (4000, 1000, 250, 60)
"""Lengths that texts are cut to, one after the other, until a line is short enough."""
_FEWER = 20
"""So many characters of a text are allowed for each entry of a list."""
_ALWAYS = ("event", "level", "timestamp", "run", "image", "stage")


def configure_logs() -> None:
    """Send structlog's events to standard output, one a line. Each says its own `level`.

    The Functions host passes a line of standard output on as it is, for information. Of standard error it takes for an
    error whatever holds a word such as "fail", and keeps it as the reason of a worker that dies
    (azure-functions-host, WorkerProcess.cs).
    """
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]
    # Without the variables of each frame: they make a line too long, and may hold what is nobody's to read.
    if sys.stdout.isatty():
        shown: list[structlog.typing.Processor] = [
            structlog.processors.format_exc_info,
            no_queries,
            steers_nothing,
            structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback),
        ]
    else:
        plain = structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
        shown = [structlog.processors.ExceptionRenderer(plain), no_queries, one_line]
    structlog.configure(
        processors=[*shared, *shown],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(sys.stdout),
        cache_logger_on_first_use=True,
    )


_json = structlog.processors.JSONRenderer()


def one_line(logger: Any, method: str, event: structlog.typing.EventDict) -> str:
    """An event as one line of JSON, cut where it would be too long to stay whole."""
    line = str(_json(logger, method, event))
    for longest in _SHORTER:
        if len(line) <= LONGEST_LINE:
            return line
        line = str(_json(logger, method, _shortened(event, longest)))
    if len(line) <= LONGEST_LINE:
        return line
    kept = {name: cut(str(event[name]), _SHORTER[-1]) for name in _ALWAYS if name in event}
    return str(_json(logger, method, {**kept, "cut": True}))


def no_queries(_logger: Any, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """An event without the queries of addresses, which may hold a SAS."""
    return {name: _without_queries(value) for name, value in event.items()}


def steers_nothing(_logger: Any, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """An event as a terminal can show it, whatever it tells of: a traceback keeps its lines, and what is no text is
    shown as Python writes it."""
    return {
        name: visible(value, lines=name == "exception") if isinstance(value, str) else value
        for name, value in event.items()
    }


def _without_queries(value: Any) -> Any:
    if isinstance(value, str):
        return without_queries(value)
    if isinstance(value, Mapping):
        return {name: _without_queries(one) for name, one in value.items()}
    return [_without_queries(one) for one in value] if isinstance(value, list | tuple) else value


def _shortened(value: Any, longest: int) -> Any:
    """A value with its texts cut and the ends of its lists left out."""
    if isinstance(value, str):
        return cut(value, longest)
    if isinstance(value, Mapping):
        return {name: _shortened(one, longest) for name, one in value.items()}
    if isinstance(value, list | tuple):
        shown = [_shortened(one, longest) for one in value[: longest // _FEWER]]
        return [*shown, f"{len(value) - len(shown)} more cut"] if len(shown) < len(value) else shown
    return value
