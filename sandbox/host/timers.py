"""Timer triggers, by the rules of the WebJobs SDK's timer listener. All times are UTC."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import cast

import azure.functions.timer as worker
from croniter import CroniterError, croniter  # type: ignore[import-untyped]
from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_pascal

from sandbox.host.index import Function, TimerTrigger
from sandbox.host.invoke import InvocationError, Invoker
from sandbox.host.log import log
from sandbox.host.settings import StartError, time_span
from sandbox.host.state import HostState
from sandbox.host.waiting import set_before

_NEVER = datetime(1, 1, 1, tzinfo=UTC)
_MINUTE = timedelta(minutes=1)


class Schedule:
    """An NCRONTAB expression of six fields (seconds first) or five, or a TimeSpan to repeat after.

    Raises ValueError for anything else, and for a date that never comes.
    """

    def __init__(self, expression: str) -> None:
        self._expression = expression.strip()
        self._period: timedelta | None = None
        if ":" in self._expression:
            self._period = cast("timedelta", time_span(self._expression))
            if self._period <= timedelta():
                raise ValueError(f"{expression!r} repeats after no time at all")
        elif len(self._expression.split()) not in (5, 6):
            raise ValueError(f"{expression!r} has neither five nor six fields")
        self.next(datetime.now(UTC))

    def next(self, after: datetime) -> datetime:
        """The first moment of the schedule that is later than `after`."""
        if self._period:
            return after + self._period
        try:
            # In NCRONTAB day and weekday must both match; in cron one of them is enough.
            fields = croniter(self._expression, after, second_at_beginning=True, day_or=False)
            return cast("datetime", fields.get_next(datetime))
        except CroniterError as error:
            raise ValueError(f"{self._expression!r} is no schedule: {error}") from error

    @property
    def too_frequent_to_monitor(self) -> bool:
        """Whether it fires more than once a minute: then no status is kept (timer trigger reference)."""
        if self._period:
            return self._period < _MINUTE
        fields = self._expression.split()
        if len(fields) == 5 or any(field != "*" for field in fields[1:]):
            return False
        first = self.next(datetime.now(UTC))
        return self.next(first) - first < _MINUTE


class Status(BaseModel):
    """What is kept of a timer between its invocations; the names are the real host's."""

    model_config = ConfigDict(alias_generator=to_pascal, populate_by_name=True, frozen=True)

    last: datetime
    next: datetime
    last_updated: datetime


class TimerListener:
    """Fires one timer; to be run by one instance of the app at a time."""

    def __init__(self, function: Function, invoker: Invoker, state: HostState, host_id: str) -> None:
        """Raises StartError where the schedule is none."""
        trigger = cast("TimerTrigger", function.trigger)
        try:
            self._schedule = Schedule(trigger.schedule)
        except ValueError as error:
            raise StartError(f"function {function.name}: {error}") from error
        self._function = function
        self._invoker = invoker
        self._state = state
        self._blob = f"timers/{host_id}/{function.id}/status"
        self._run_on_startup = trigger.run_on_startup
        self._monitored = trigger.use_monitor and not self._schedule.too_frequent_to_monitor

    async def keep(self, ended: asyncio.Event) -> None:
        """Fire by the schedule until `ended`. Raises AzureError for a fault of the storage."""
        now = datetime.now(UTC)
        status = await self._recorded(now) if self._monitored else self._unrun(now)
        if now > status.next:
            log.info("timer past due", function=self._function.name, due=status.next.isoformat())
            status = await self._fire(status, past_due=True)
        elif self._run_on_startup:
            self._run_on_startup = False
            status = await self._fire(status)
        while not await set_before(ended, status.next):
            status = await self._fire(status, not_before=status.next)

    async def _recorded(self, now: datetime) -> Status:
        """The recorded status; begun anew where there is none, or where the schedule is another by now."""
        content = await asyncio.to_thread(self._state.read, self._blob)
        if content is None:
            status = self._unrun(now)
        else:
            status = Status.model_validate_json(content)
            based_on = status.last_updated if status.last == _NEVER else status.last
            if status.next == self._schedule.next(based_on):
                return status
            status = self._unrun(now)
        await self._record(status)
        return status

    def _unrun(self, now: datetime) -> Status:
        return Status(last=_NEVER, next=self._schedule.next(now), last_updated=now)

    async def _fire(self, status: Status, *, past_due: bool = False, not_before: datetime = _NEVER) -> Status:
        # A clock that runs early must not fire the same occurrence twice.
        at = max(datetime.now(UTC), not_before)
        request = worker.TimerRequest(
            past_due=past_due,
            schedule_status=status.model_dump(mode="json", by_alias=True) if self._monitored else {},
            schedule={"AdjustForDST": True},
        )
        try:
            await self._invoker.invoke(self._function, request)
        except InvocationError:
            log.info("timer waits for its next occurrence", function=self._function.name)
        status = Status(last=at, next=self._schedule.next(at), last_updated=at)
        if self._monitored:
            await self._record(status)
        return status

    async def _record(self, status: Status) -> None:
        content = status.model_dump_json(by_alias=True).encode()
        await asyncio.to_thread(self._state.write, self._blob, content)


def request_by_hand() -> worker.TimerRequest:
    """What the function gets when it is fired by hand."""
    return worker.TimerRequest(schedule={"AdjustForDST": True})
