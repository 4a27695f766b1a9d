"""One instance of the host: from start-up to the end of the last invocation."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvicorn
from azure.core.exceptions import AzureError

from sandbox.host import index, queues
from sandbox.host.blobs import BlobTriggers, queue_settings
from sandbox.host.http import VERSION, Web
from sandbox.host.index import BlobTrigger, Function, QueueTrigger, TimerTrigger
from sandbox.host.invoke import Invoker
from sandbox.host.keys import Keys
from sandbox.host.log import log
from sandbox.host.queues import QueueListener
from sandbox.host.settings import HOST_STORAGE, Connections, HostJson, host_id
from sandbox.host.singleton import Singleton
from sandbox.host.state import HostState
from sandbox.host.timers import TimerListener
from sandbox.host.waiting import set_within

GRACE = 30.0
"""For how many seconds a host that was told to stop waits for the invocations it runs."""

# A client keeps ten connections; more threads than that would open and close them all the time.
_STORAGE_THREADS = 8
_PAUSE_AFTER_FAULT = 2.0


@dataclass(frozen=True)
class _Listener:
    name: str
    listen: Callable[[asyncio.Event], Coroutine[Any, Any, None]]


class _Server(uvicorn.Server):
    """A server that leaves signals to the host."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def run(*, app_dir: Path, http: socket.socket, time_scale: float = 1.0, state_dir: Path) -> None:
    """Run one instance of the app in `app_dir` until SIGTERM or SIGINT; to be called from the main thread.

    `http` is bound and listens already; several instances may share it. The environment is the app settings.
    `time_scale` shortens what Azure decides, such as leases, and not what the app does, such as schedules.
    Keys are kept in `state_dir`, one set for all instances. On a signal listeners stop, and invocations get
    `GRACE` seconds to end; the messages of those that do not come back when their leases end.

    Raises StartError where the app cannot be run, and what the app's own import raises.
    """
    app_dir, state_dir = app_dir.resolve(), state_dir.resolve()
    functions = index.load(app_dir, os.environ)
    host_json = HostJson.load(app_dir, os.environ)
    keys = Keys.load(state_dir)
    asyncio.run(_run(app_dir, functions, host_json, keys, http, time_scale))


async def _run(
    app_dir: Path,
    functions: list[Function],
    host_json: HostJson,
    keys: Keys,
    http: socket.socket,
    time_scale: float,
) -> None:
    loop = asyncio.get_running_loop()
    loop.set_default_executor(ThreadPoolExecutor(_STORAGE_THREADS, thread_name_prefix="storage"))
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)

    invoker = Invoker(host_json.function_timeout)
    connections = Connections(os.environ)
    named = host_id(os.environ, app_dir)
    blob_triggered = [function for function in functions if isinstance(function.trigger, BlobTrigger)]
    encoding = host_json.extensions.queues.message_encoding
    blobs = BlobTriggers(blob_triggered, connections, named, encoding, invoker) if blob_triggered else None
    listeners = [
        *_queue_listeners(functions, host_json, connections, invoker, time_scale),
        *_timer_listeners(functions, connections, invoker, named, time_scale),
        *(_blob_listeners(blobs, host_json, connections, named, time_scale) if blobs else []),
    ]
    web = Web(functions, host_json.extensions.http.route_prefix, keys, invoker, blobs)
    server = _Server(
        uvicorn.Config(
            web.app,
            log_config=None,
            access_log=False,
            lifespan="off",
            ws="none",
            server_header=False,
            proxy_headers=False,  # who calls is who is connected, whatever a header says
            timeout_graceful_shutdown=int(GRACE),
        )
    )
    log.info(
        "host started",
        version=VERSION,
        instance=web.instance,
        process=os.getpid(),
        app=str(app_dir),
        host_id=named,
        functions={function.name: function.trigger.type for function in functions},
    )
    serving = asyncio.create_task(server.serve(sockets=[http]))
    listening = [asyncio.create_task(_listen(listener, stop)) for listener in listeners]

    await asyncio.wait({serving, asyncio.create_task(stop.wait())}, return_when=asyncio.FIRST_COMPLETED)
    stop.set()
    server.should_exit = True
    log.info("host stopping", running=sorted(invoker.running.values()))
    _, late = await asyncio.wait({serving, *listening, *web.tasks}, timeout=GRACE)
    if late:
        log.error("invocations abandoned", running=sorted(invoker.running.values()), grace=GRACE)
    log.info("host stopped", instance=web.instance)


async def _listen(listener: _Listener, stop: asyncio.Event) -> None:
    """Keep a listener going until `stop`: no fault of the storage, nor of the host itself, ends it."""
    while not stop.is_set():
        try:
            await listener.listen(stop)
        except AzureError as error:
            log.warning("listener fault", listener=listener.name, error=str(error))
        except Exception:  # noqa: BLE001 - one broken listener must not end the others
            log.exception("listener fault", listener=listener.name)
        await set_within(stop, _PAUSE_AFTER_FAULT)


def _queue_listeners(
    functions: list[Function],
    host_json: HostJson,
    connections: Connections,
    invoker: Invoker,
    time_scale: float,
) -> Iterator[_Listener]:
    for function in functions:
        if isinstance(function.trigger, QueueTrigger):
            storage = connections.queues(function.trigger.connection, f"function {function.name}")
            settings = host_json.extensions.queues
            listener = queues.function_listener(function, storage, settings, queues.lease(time_scale), invoker)
            yield _Listener(function.name, listener.listen)


def _timer_listeners(
    functions: list[Function], connections: Connections, invoker: Invoker, host_id: str, time_scale: float
) -> Iterator[_Listener]:
    for function in functions:
        if isinstance(function.trigger, TimerTrigger):
            state = HostState(connections.blobs(HOST_STORAGE, f"function {function.name}"))
            timer = TimerListener(function, invoker, state, host_id)
            lock = Singleton(state, f"{host_id}/{function.id}.Listener", time_scale, timer.keep)
            yield _Listener(function.name, lock.listen)


def _blob_listeners(
    blobs: BlobTriggers, host_json: HostJson, connections: Connections, host_id: str, time_scale: float
) -> Iterator[_Listener]:
    settings = queue_settings(host_json.extensions.blobs, host_json.extensions.queues.message_encoding)
    lease = queues.lease(time_scale)
    internal = QueueListener(blobs.queue, blobs.poison, settings, lease, blobs.handle)
    yield _Listener("blob triggers", internal.listen)
    state = HostState(connections.blobs(HOST_STORAGE, "blob triggers"))
    for scan in blobs.scans(state, host_id, time_scale):
        lock = Singleton(state, f"{host_id}/{scan.function.id}.Listener", time_scale, scan.keep)
        yield _Listener(scan.function.name, lock.listen)
