"""Blob triggers, by the rules of the WebJobs SDK.

Events or a scan put messages on an internal queue; those invoke. No blob is read: a function gets a client.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Literal, cast

from azure.core.exceptions import ResourceNotFoundError
from azure.storage.blob import BlobClient, BlobServiceClient, BlobType, ContainerClient
from azure.storage.queue import QueueClient, QueueMessage
from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_pascal

from sandbox.host.index import BlobTrigger, Function
from sandbox.host.invoke import Invoker
from sandbox.host.log import log
from sandbox.host.queues import encode, send
from sandbox.host.settings import HOST_STORAGE, BlobSettings, Connections, QueueSettings, StartError
from sandbox.host.state import HostState
from sandbox.host.waiting import set_within

POISON_QUEUE = "webjobs-blobtrigger-poison"
_SCAN = timedelta(seconds=10)
_SHORTEST_SCAN = timedelta(seconds=1)
_PARAMETER = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True)
class Blob:
    container: str
    name: str


class Message(BaseModel):
    """The internal message of the WebJobs SDK."""

    model_config = ConfigDict(alias_generator=to_pascal, populate_by_name=True, frozen=True)

    type: str = "BlobTrigger"
    function_id: str
    blob_type: str
    container_name: str
    blob_name: str
    e_tag: str


class Pattern:
    """A blob path with parameters, such as `container/prefix/{name}.vhd`; a parameter matches across slashes.

    Raises ValueError for a path that is none.
    """

    def __init__(self, path: str) -> None:
        self.container, _, name = path.partition("/")
        if not self.container or "{" in self.container:
            raise ValueError(f"{path!r}: a blob path starts with the name of a container")
        pieces = _PARAMETER.split(name or "{name}")
        if any("{" in literal or "}" in literal for literal in pieces[::2]):
            raise ValueError(f"{path!r}: a parameter is a name in braces")
        self.prefix = pieces[0]
        self._name = re.compile(".+".join(re.escape(literal) for literal in pieces[::2]), re.DOTALL)

    def matches(self, blob: Blob) -> bool:
        return blob.container == self.container and self._name.fullmatch(blob.name) is not None


def created(events: Iterable[dict[str, Any]]) -> Iterator[tuple[Blob, str, str]]:
    """The blobs that BlobCreated events tell of, each with its type and ETag.

    Both of Event Grid's schemas are understood, and all other events are passed over.
    """
    for event in events:
        kind = event.get("eventType") or event.get("type")
        container, found, name = str(event.get("subject", "")).partition("/blobs/")
        if kind == "Microsoft.Storage.BlobCreated" and found:
            data = event.get("data") or {}
            blob = Blob(container.rpartition("/containers/")[2], name)
            yield blob, data.get("blobType", "BlockBlob"), data.get("eTag", "")


class BlobTriggers:
    """All blob-triggered functions of the app, and the one internal queue they share."""

    def __init__(
        self,
        functions: list[Function],
        connections: Connections,
        host_id: str,
        encoding: str,
        invoker: Invoker,
    ) -> None:
        """Raises StartError where a path or a connection is wrong."""
        self._functions = {function.id: function for function in functions}
        self._connections = connections
        self._encoding = encoding
        self._invoker = invoker
        self._patterns = {function.id: _pattern(function) for function in functions}
        for function in functions:
            # Both are wanted later; what is missing is to be known at once.
            self._storage(function)
            connections.queues(_trigger(function).connection, f"function {function.name}")
        host_queues = connections.queues(HOST_STORAGE, "blob triggers")
        self.queue: QueueClient = host_queues.get_queue_client(f"azure-webjobs-blobtrigger-{host_id}")

    def function(self, function_id: str) -> Function | None:
        """The function of an id such as `Host.Functions.NAME`, where it is blob-triggered."""
        return self._functions.get(function_id)

    def client(self, function: Function, blob: Blob) -> BlobClient:
        """What the function gets for a blob."""
        return self._storage(function).get_blob_client(blob.container, blob.name)

    def accept(self, function: Function, events: Iterable[dict[str, Any]]) -> None:
        """Queue an invocation for each event of a blob the function is for. Raises AzureError."""
        for blob, blob_type, etag in created(events):
            if self._patterns[function.id].matches(blob):
                self._enqueue(function, blob, blob_type, etag)

    async def handle(self, _: QueueMessage, body: bytes) -> None:
        """Invoke for an internal message; one whose function or blob is gone is dropped."""
        message = Message.model_validate_json(body)
        function = self._functions.get(message.function_id)
        if function is None:
            log.warning("blob message dropped", function=message.function_id, reason="no such function")
            return
        client = self.client(function, Blob(message.container_name, message.blob_name))
        try:
            properties = await asyncio.to_thread(client.get_blob_properties)
        except ResourceNotFoundError:
            log.info("blob message dropped", function=function.name, blob=client.blob_name, reason="blob gone")
            return
        if _is_scanned(function) and properties.etag.strip('"') != message.e_tag:
            log.info("blob message dropped", function=function.name, blob=client.blob_name, reason="blob changed")
            return
        await self._invoker.invoke(function, client)

    def poison(self, body: bytes | None) -> QueueClient:
        """Where a message goes that is given up: queue storage of the trigger's own connection."""
        connection = HOST_STORAGE
        with contextlib.suppress(ValueError):
            function_id = Message.model_validate_json(body or b"").function_id
            if function := self._functions.get(function_id):
                connection = _trigger(function).connection
        return self._connections.queues(connection, "blob triggers").get_queue_client(POISON_QUEUE)

    def scans(self, state: HostState, host_id: str, time_scale: float) -> list[ContainerScan]:
        """The scans for those functions that no events reach."""
        pause = max(_SCAN / time_scale, _SHORTEST_SCAN).total_seconds()
        return [
            ContainerScan(
                function=function,
                pattern=pattern,
                container=self._storage(function).get_container_client(pattern.container),
                receipts=f"blobreceipts/{host_id}/{function.id}",
                state=state,
                enqueue=self._enqueue,
                pause=pause,
            )
            for function in self._functions.values()
            if _is_scanned(function)
            for pattern in [self._patterns[function.id]]
        ]

    def _storage(self, function: Function) -> BlobServiceClient:
        return self._connections.blobs(_trigger(function).connection, f"function {function.name}")

    def _enqueue(self, function: Function, blob: Blob, blob_type: str, etag: str) -> None:
        message = Message(
            function_id=function.id,
            blob_type=blob_type,
            container_name=blob.container,
            blob_name=blob.name,
            e_tag=etag,
        )
        send(self.queue, encode(message.model_dump_json(by_alias=True).encode(), self._encoding))


@dataclass(frozen=True)
class ContainerScan:
    """Looks through a container every `pause` seconds for blobs, and ETags of blobs, not seen before.

    To be run by one instance of the app at a time. Receipts outlive it, so the same content fires once. A
    page blob has a new ETag with each page written and may fire often while it is uploaded, as in Azure.
    """

    function: Function
    pattern: Pattern
    container: ContainerClient
    receipts: str
    state: HostState
    enqueue: Callable[[Function, Blob, str, str], None]
    pause: float
    _seen: dict[str, str] = field(default_factory=dict)

    async def keep(self, ended: asyncio.Event) -> None:
        """Scan until `ended`. Raises AzureError for a fault of the storage."""
        while True:
            await asyncio.to_thread(self._scan)
            if await set_within(ended, self.pause):
                return

    def _scan(self) -> None:
        try:
            for found in self.container.list_blobs(name_starts_with=self.pattern.prefix or None):
                blob, etag = Blob(self.pattern.container, found.name), found.etag.strip('"')
                if self._seen.get(blob.name) != etag and self.pattern.matches(blob):
                    self._fire_once(blob, BlobType(found.blob_type).value, etag)
                    self._seen[blob.name] = etag
        except ResourceNotFoundError:
            return  # a container that is not there yet is waited for, like an empty one

    def _fire_once(self, blob: Blob, blob_type: str, etag: str) -> None:
        # The ETag comes first: a blob's name may hold slashes.
        receipt = f"{self.receipts}/{etag}/{blob.container}/{blob.name}"
        if self.state.read(receipt) is None:
            # In this order a crash in between fires twice; in the other it would not fire at all.
            self.enqueue(self.function, blob, blob_type, etag)
            self.state.write(receipt, b"")


def _trigger(function: Function) -> BlobTrigger:
    return cast("BlobTrigger", function.trigger)


def _is_scanned(function: Function) -> bool:
    return _trigger(function).source != "EventGrid"


def _pattern(function: Function) -> Pattern:
    try:
        return Pattern(_trigger(function).path)
    except ValueError as error:
        raise StartError(f"function {function.name}: {error}") from error


def queue_settings(blobs: BlobSettings, encoding: Literal["base64", "none"]) -> QueueSettings:
    """How the internal queue is read: by `extensions.blobs`, not by `extensions.queues`."""
    threshold = blobs.max_degree_of_parallelism // 2
    return QueueSettings(
        batch_size=min(32, blobs.max_degree_of_parallelism - threshold),
        new_batch_threshold=threshold,
        max_dequeue_count=blobs.poison_blob_threshold,
        message_encoding=encoding,
    )
