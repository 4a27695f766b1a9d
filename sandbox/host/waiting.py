"""Waits that a stop cuts short."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime


async def set_within(event: asyncio.Event, seconds: float) -> bool:
    """Whether `event` is set now or within `seconds`."""
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        pass
    return event.is_set()


async def set_before(event: asyncio.Event, moment: datetime) -> bool:
    """Whether `event` is set before `moment` of the wall clock."""
    while (left := (moment - datetime.now(UTC)).total_seconds()) > 0:
        # The loop's clock knows nothing of a wall clock that is set, or of a machine that slept.
        if await set_within(event, min(left, 60)):
            return True
    return event.is_set()
