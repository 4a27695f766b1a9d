"""Time as the emulated Azure lives it: durations divided by the time scale, instants real until someone moves it on."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta


def _utc_now() -> datetime:
    return datetime.now(UTC)


class Clock:
    """Emulated Azure runs `time_scale` times faster than the real one, `offset` seconds ahead of it.

    Instants are real but for the offset, which `keep` is told of: so state outlives a restart. Raises ValueError for a
    scale that is not positive.
    """

    def __init__(self, time_scale: float, offset: float = 0.0, keep: Callable[[float], None] = lambda _: None) -> None:
        if not time_scale > 0:
            raise ValueError(f"time_scale must be greater than 0, not {time_scale}")
        self.time_scale = time_scale
        self.offset = offset
        self._keep = keep
        self._lock = threading.Lock()

    def now(self) -> datetime:
        """The instant it is in the emulated Azure."""
        return _utc_now() + timedelta(seconds=self.offset)

    def advance(self, seconds: float) -> None:
        """Move time on, for good. Whatever would have ended in between has ended."""
        with self._lock:
            offset = self.offset + seconds
            self._keep(offset)
            self.offset = offset

    def real_seconds(self, azure_seconds: float) -> float:
        """How many real seconds pass here while Azure would take `azure_seconds`."""
        return azure_seconds / self.time_scale

    def after(self, start: datetime, azure_seconds: float) -> datetime:
        """The instant at which something that takes Azure `azure_seconds` and began at `start` is over."""
        return start + timedelta(seconds=self.real_seconds(azure_seconds))

    def retry_after(self, azure_seconds: float) -> int:
        """A Retry-After header's value: whole seconds, at least 1."""
        return max(1, math.ceil(self.real_seconds(azure_seconds)))


def timestamp(instant: datetime) -> str:
    """An instant as the resource providers write it: up to seven fractional digits, trailing zeros trimmed."""
    text = instant.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f").rstrip("0").rstrip(".")
    return f"{text}+00:00"
