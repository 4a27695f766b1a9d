"""The host's own log: events on stderr, JSON unless a person is watching.

It is wired by itself, because the app may configure structlog for its own events.
"""

from __future__ import annotations

import logging
import sys

import structlog

_readable = sys.stderr.isatty()

log: structlog.typing.FilteringBoundLogger = structlog.wrap_logger(
    structlog.PrintLogger(sys.stderr),
    processors=[
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        *([] if _readable else [structlog.processors.format_exc_info]),
        structlog.dev.ConsoleRenderer() if _readable else structlog.processors.JSONRenderer(),
    ],
    wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
    cache_logger_on_first_use=True,
)
