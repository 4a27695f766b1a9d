"""Queue triggers, by the rules of the WebJobs SDK's queue listener."""

from __future__ import annotations

import asyncio
import base64
import random
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any, cast

import azure.functions.queue as worker
from azure.core.exceptions import AzureError, HttpResponseError, ResourceNotFoundError
from azure.storage.queue import QueueClient, QueueMessage, QueueServiceClient

from sandbox.host.index import Function, QueueTrigger
from sandbox.host.invoke import InvocationError, Invoker
from sandbox.host.log import log
from sandbox.host.settings import QueueSettings
from sandbox.host.waiting import set_within

# The WebJobs SDK hides a message in work for ten minutes, whatever host.json says.
_LEASE = timedelta(minutes=10)
_SHORTEST_LEASE = timedelta(seconds=10)
_SHORTEST_POLL = 0.1

Handler = Callable[[QueueMessage, bytes], Awaitable[None]]
PoisonQueue = Callable[[bytes | None], QueueClient | None]


def lease(time_scale: float) -> int:
    """For how many seconds a message in work is hidden, where time runs `time_scale` times faster."""
    return round(max(_LEASE / time_scale, _SHORTEST_LEASE).total_seconds())


def decode(text: str, encoding: str) -> bytes:
    """The body of a message, by host.json's messageEncoding; ValueError where it is not in it."""
    return text.encode() if encoding == "none" else base64.b64decode("".join(text.split()), validate=True)


def encode(body: bytes, encoding: str) -> str:
    """The text that stands for `body` in a queue, by host.json's messageEncoding."""
    return body.decode() if encoding == "none" else base64.b64encode(body).decode()


class _Backoff:
    """The pauses between looks at an empty queue: random, exponential, from 100 ms to `longest` seconds."""

    def __init__(self, longest: float) -> None:
        self._longest = longest
        self._empty = 0

    def reset(self) -> None:
        self._empty = 0

    def next(self) -> float:
        self._empty += 1
        if self._empty == 1:
            return min(_SHORTEST_POLL, self._longest)
        # The exponent ends long before it is too large for a float.
        grown = random.uniform(0.8, 1.2) * 2.0 ** min(self._empty - 2, 32) * _SHORTEST_POLL  # noqa: S311 - no secret
        return min(_SHORTEST_POLL + grown, self._longest)


class QueueListener:
    """Hands the messages of one queue to `handle`, at most batchSize + newBatchThreshold at a time.

    A message is deleted when `handle` returns. Where it raises InvocationError, ValueError or AzureError the
    message comes back after visibilityTimeout, or goes to the `poison` queue of its body when its dequeues
    are used up. Without a poison queue it stays hidden until its lease ends.
    """

    def __init__(
        self, queue: QueueClient, poison: PoisonQueue, settings: QueueSettings, lease: int, handle: Handler
    ) -> None:
        self._queue = queue
        self._poison = poison
        self._settings = settings
        self._lease = lease
        self._handle = handle
        self._in_work: set[asyncio.Task[None]] = set()
        self._backoff = _Backoff(settings.max_polling_interval.total_seconds())

    async def listen(self, stop: asyncio.Event) -> None:
        """Poll until `stop`, then wait for what is in work. Raises AzureError for a fault of the storage."""
        stopped = asyncio.create_task(stop.wait())
        try:
            while not stop.is_set():
                messages = await asyncio.to_thread(self._receive)
                for message in messages:
                    task = asyncio.create_task(self._process(message))
                    self._in_work.add(task)
                    task.add_done_callback(self._in_work.discard)
                if not messages:
                    await set_within(stop, self._backoff.next())
                    continue
                self._backoff.reset()
                while len(self._in_work) > self._settings.threshold and not stop.is_set():
                    await asyncio.wait({stopped, *self._in_work}, return_when=asyncio.FIRST_COMPLETED)
            if self._in_work:
                await asyncio.wait(self._in_work)
        finally:
            stopped.cancel()

    def _receive(self) -> list[QueueMessage]:
        pages = self._queue.receive_messages(
            messages_per_page=self._settings.batch_size, visibility_timeout=self._lease
        ).by_page()
        try:
            return list(next(pages, ()))
        except ResourceNotFoundError:
            return []  # a queue that is not there yet is waited for, like an empty one

    async def _process(self, message: QueueMessage) -> None:
        try:
            await self._deliver(message)
        except AzureError as error:
            # The message comes back when its lease ends.
            log.warning("message left", queue=self._queue.queue_name, message=message.id, error=str(error))

    async def _deliver(self, message: QueueMessage) -> None:
        try:
            body = decode(message.content, self._settings.message_encoding)
        except ValueError:
            await self._put_aside(message, None, f"not in {self._settings.message_encoding}")
            return
        dequeues = message.dequeue_count or 0
        if dequeues > self._settings.max_dequeue_count:
            await self._put_aside(message, body, "too many dequeues")
            return
        ended = asyncio.Event()
        renewal = asyncio.create_task(self._renew(message, ended))
        succeeded = False
        try:
            await self._handle(message, body)
            succeeded = True
        except InvocationError:
            pass
        except (ValueError, AzureError) as error:
            log.warning("message failed", queue=self._queue.queue_name, message=message.id, error=str(error))
        finally:
            # The renewal is let finish: it changes the pop receipt.
            ended.set()
            await renewal
        if succeeded:
            await self._unless_taken(self._queue.delete_message, message.id, message.pop_receipt)
        elif dequeues >= self._settings.max_dequeue_count:
            await self._put_aside(message, body, "failed for the last time")
        elif self._poison(body) is not None:
            await self._unless_taken(
                self._queue.update_message,
                message.id,
                message.pop_receipt,
                visibility_timeout=round(self._settings.visibility_timeout.total_seconds()),
            )

    async def _renew(self, message: QueueMessage, ended: asyncio.Event) -> None:
        pause = self._lease / 2
        while not await set_within(ended, pause):
            try:
                renewed = await asyncio.to_thread(
                    self._queue.update_message,
                    message.id,
                    message.pop_receipt,
                    visibility_timeout=self._lease,
                )
            except AzureError as error:
                log.warning("lease not renewed", queue=self._queue.queue_name, message=message.id, error=str(error))
                if _taken(error):
                    return
                pause = self._lease / 8
            else:
                message.pop_receipt = renewed.pop_receipt
                pause = self._lease / 2

    async def _put_aside(self, message: QueueMessage, body: bytes | None, reason: str) -> None:
        poison = self._poison(body)
        if poison is None:
            return
        log.warning(
            "message to poison queue",
            queue=self._queue.queue_name,
            poison=poison.queue_name,
            message=message.id,
            reason=reason,
        )
        await asyncio.to_thread(send, poison, message.content)
        await self._unless_taken(self._queue.delete_message, message.id, message.pop_receipt)

    async def _unless_taken(self, change: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        try:
            await asyncio.to_thread(change, *args, **kwargs)
        except HttpResponseError as error:
            if not _taken(error):
                raise


def _taken(error: AzureError) -> bool:
    """Whether the message is gone, or another's by now: then it is for the other to see to it."""
    return isinstance(error, ResourceNotFoundError) or (
        getattr(error, "error_code", None) in ("PopReceiptMismatch", "QueueBeingDeleted", "QueueDisabled")
    )


def send(queue: QueueClient, text: str) -> None:
    """Put a message of `text`, as it is, on a queue that may have to be created first."""
    try:
        queue.send_message(text)
    except ResourceNotFoundError:
        queue.create_queue()
        queue.send_message(text)


def invocation_argument(function: Function, message: QueueMessage | None, body: bytes) -> object:
    """What the function's parameter gets for a message: the worker's QueueMessage, or the text of its body.

    `message` is None where the body came by hand, through the admin API.
    """
    if function.parameter_type is str:
        return body.decode()
    if message is None:
        return worker.QueueMessage(body=body)  # type: ignore[no-untyped-call]
    return worker.QueueMessage(  # type: ignore[no-untyped-call]
        id=message.id,
        body=body,
        dequeue_count=message.dequeue_count,
        expiration_time=message.expires_on,
        insertion_time=message.inserted_on,
        time_next_visible=message.next_visible_on,
        pop_receipt=message.pop_receipt,
    )


def function_listener(
    function: Function, storage: QueueServiceClient, settings: QueueSettings, lease: int, invoker: Invoker
) -> QueueListener:
    """The listener of a queue-triggered function."""
    name = cast("QueueTrigger", function.trigger).queue_name
    # A poison queue has no poison queue of its own.
    poison = None if name.endswith("-poison") else storage.get_queue_client(f"{name}-poison")

    async def handle(message: QueueMessage, body: bytes) -> None:
        await invoker.invoke(function, invocation_argument(function, message, body))

    return QueueListener(storage.get_queue_client(name), lambda _: poison, settings, lease, handle)
