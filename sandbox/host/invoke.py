"""One invocation of one function: where it runs, how long it may, what is logged of it."""

from __future__ import annotations

import asyncio
import inspect
import os
import threading
import time
import uuid
from collections.abc import Callable
from concurrent.futures import Future
from datetime import timedelta
from typing import Any

from sandbox.host.index import Context, Function
from sandbox.host.log import log

# The worker's own default, see PYTHON_THREADPOOL_THREAD_COUNT in the app settings reference.
_DEFAULT_THREADS = min(32, (os.cpu_count() or 1) + 4)

_Ended = tuple[Any, BaseException | None]


class InvocationError(Exception):
    """The function failed or took too long; it is logged already."""


class Invoker:
    """Runs functions: synchronous ones in threads, asynchronous ones on a loop of their own.

    Neither can hold up the host, which goes on renewing leases meanwhile. `limit` is the functionTimeout of
    host.json; `running` names the functions at work by their invocation id.
    """

    def __init__(self, limit: timedelta | None) -> None:
        self.running: dict[str, str] = {}
        self._limit = None if limit is None else limit.total_seconds()
        self._threads = asyncio.Semaphore(int(os.environ.get("PYTHON_THREADPOOL_THREAD_COUNT") or _DEFAULT_THREADS))
        self._functions_loop = asyncio.new_event_loop()
        threading.Thread(target=self._functions_loop.run_forever, name="functions", daemon=True).start()

    async def invoke(self, function: Function, argument: object) -> Any:
        """What the function returns for `argument`; raises InvocationError where it fails.

        A function that exceeds the limit counts as failed. Its thread cannot be stopped and keeps its place
        until it ends; the real host restarts the worker instead.
        """
        invocation = str(uuid.uuid4())
        arguments = {function.trigger.name: argument}
        if function.wants_context:
            arguments["context"] = Context(function.name, invocation, function.directory)
        events = log.bind(function=function.name, invocation=invocation)
        self.running[invocation] = function.name
        try:
            work = await self._start(function, arguments)
            events.info("invocation started")
            started = time.monotonic()
            await asyncio.wait({work}, timeout=self._limit)
        finally:
            del self.running[invocation]
        events = events.bind(seconds=round(time.monotonic() - started, 3))
        if not work.done():
            events.error("invocation finished", outcome="timed out", limit=self._limit)
            raise InvocationError(f"{function.name} took longer than {self._limit} s")
        result, error = work.result()
        if error is not None:
            events.error("invocation finished", outcome="failed", exc_info=error)
            raise InvocationError(f"{function.name} failed: {error!r}") from error
        events.info("invocation finished", outcome="succeeded")
        return result

    async def _start(self, function: Function, arguments: dict[str, Any]) -> asyncio.Future[_Ended]:
        call = function.user_function
        if inspect.iscoroutinefunction(call):

            async def attempt() -> _Ended:
                try:
                    return await call(**arguments), None
                except BaseException as error:  # noqa: BLE001 - whatever a function raises is its outcome
                    return None, error

            return asyncio.wrap_future(asyncio.run_coroutine_threadsafe(attempt(), self._functions_loop))

        await self._threads.acquire()
        work = asyncio.wrap_future(_in_thread(lambda: call(**arguments)))
        work.add_done_callback(lambda _: self._threads.release())
        return work


def _in_thread(call: Callable[[], Any]) -> Future[_Ended]:
    """Run `call` in a thread that does not keep the process from ending, which an executor's does."""
    work: Future[_Ended] = Future()
    work.set_running_or_notify_cancel()

    def attempt() -> None:
        try:
            work.set_result((call(), None))
        except BaseException as error:  # noqa: BLE001 - whatever a function raises is its outcome
            work.set_result((None, error))

    threading.Thread(target=attempt, daemon=True).start()
    return work
