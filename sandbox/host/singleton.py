"""Work that one instance of the app does at a time, by the WebJobs SDK's rules for a listener singleton."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from datetime import timedelta

from azure.core.exceptions import AzureError, ResourceExistsError, ResourceNotFoundError
from azure.storage.blob import BlobLeaseClient

from sandbox.host.log import log
from sandbox.host.state import HostState

# The WebJobs SDK's ListenerLockPeriod and ListenerLockRecoveryPollingInterval.
_LEASE = timedelta(minutes=1)
_RETRY = timedelta(minutes=1)
_SHORTEST_LEASE = timedelta(seconds=15)
_SHORTEST_RETRY = timedelta(seconds=1)

Work = Callable[[asyncio.Event], Awaitable[None]]


class Singleton:
    """Runs `work` while this instance holds the lease of the blob `locks/<name>`.

    A holder that is killed frees it after a minute / `time_scale`, no sooner than Azure's shortest lease of
    15 s; whoever waits looks every minute / `time_scale`, at most every second.
    """

    def __init__(self, state: HostState, name: str, time_scale: float, work: Work) -> None:
        self._state = state
        self._name = f"locks/{name}"
        self._work = work
        self._lease = round(max(_LEASE / time_scale, _SHORTEST_LEASE).total_seconds())
        self._retry = max(_RETRY / time_scale, _SHORTEST_RETRY).total_seconds()

    async def listen(self, stop: asyncio.Event) -> None:
        """Wait for the lease and work, until `stop`. Raises AzureError for a fault of the storage."""
        stopped = asyncio.create_task(stop.wait())
        try:
            while not stop.is_set():
                if lease := await asyncio.to_thread(self._acquire):
                    await self._hold(lease, stopped)
                else:
                    await asyncio.wait({stopped}, timeout=self._retry)
        finally:
            stopped.cancel()

    async def _hold(self, lease: BlobLeaseClient, stopped: asyncio.Task[bool]) -> None:
        """Work until stopped, or until the lease is lost; held on to while the last invocation runs."""
        ended = asyncio.Event()
        stopped.add_done_callback(lambda _: ended.set())
        work = asyncio.ensure_future(self._work(ended))
        loop = asyncio.get_running_loop()
        renewed = loop.time()
        pause = self._lease / 2
        try:
            while not (await asyncio.wait({work}, timeout=pause))[0]:
                asked = loop.time()
                try:
                    await asyncio.to_thread(lease.renew)
                    renewed = asked
                    pause = self._lease / 2
                except AzureError as error:
                    log.warning("singleton not renewed", lease=self._name, error=str(error))
                    pause = 1
                    taken = isinstance(error, ResourceExistsError | ResourceNotFoundError)
                    if taken or loop.time() - renewed > self._lease:
                        ended.set()
            await work
        finally:
            work.cancel()
            # Best effort: what is not released runs out.
            with contextlib.suppress(AzureError):
                await asyncio.to_thread(lease.release)

    def _acquire(self) -> BlobLeaseClient | None:
        lease = BlobLeaseClient(self._state.blob(self._name))
        try:
            try:
                lease.acquire(lease_duration=self._lease)
            except ResourceNotFoundError:
                self._state.write(self._name, b"", overwrite=False)
                lease.acquire(lease_duration=self._lease)
        except ResourceExistsError:
            return None
        return lease
