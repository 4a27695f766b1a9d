"""Event Grid: tells of blobs that were created, as the storage account's system topic does.

What happened is read off Azurite's access log, so that every client's writes count. `BlobCreated` is raised for
Put Blob, Put Block List and Copy Blob (Azure Blob Storage as an Event Grid source); pages written later raise
nothing, here as in Azure.
"""

from __future__ import annotations

import base64
import json
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import structlog
from azure.core.exceptions import AzureError
from azure.storage.blob import BlobServiceClient
from azure.storage.queue import QueueClient

from sandbox.azurite import Request, parse_log

_log = structlog.get_logger()
_POLL = 0.05  # seconds
Deliver = Callable[[dict[str, Any]], None]


class EventGrid:
    """A topic over one storage account, with one subscription."""

    def __init__(self, log: Path, blobs: BlobServiceClient, deliver: Deliver) -> None:
        self._log = log
        self._blobs = blobs
        self._deliver = deliver
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="eventgrid", daemon=True)

    def start(self) -> None:
        """Deliver what happens from now on."""
        self._thread.start()

    def stop(self) -> None:
        """Stop delivering."""
        self._stopped.set()
        self._thread.join(timeout=5)

    def _run(self) -> None:
        for request in parse_log(self._follow()):
            if api := _creates(request):
                try:
                    self._deliver(self._event(api, *request.resource.split("/", 1)))
                except (AzureError, httpx.HTTPError) as error:
                    _log.warning("event_undelivered", blob=request.resource, error=str(error))

    def _follow(self) -> Iterator[str]:
        with self._log.open(encoding="utf-8", errors="replace") as lines:
            lines.seek(0, 2)
            rest = ""
            while not self._stopped.is_set():
                read = lines.read()
                if not read:
                    time.sleep(_POLL)
                    continue
                *whole, rest = (rest + read).split("\n")
                yield from whole

    def _event(self, api: str, container: str, name: str) -> dict[str, Any]:
        blob = self._blobs.get_blob_client(container, name)
        found = blob.get_blob_properties()
        return {
            "topic": f"/subscriptions/{uuid.UUID(int=1)}/resourceGroups/rg-storage"
            "/providers/Microsoft.Storage/storageAccounts/devstoreaccount1",
            "subject": f"/blobServices/default/containers/{container}/blobs/{name}",
            "eventType": "Microsoft.Storage.BlobCreated",
            "eventTime": datetime.now(UTC).isoformat().replace("+00:00", "Z"),
            "id": str(uuid.uuid4()),
            "data": {
                "api": api,
                "requestId": str(uuid.uuid4()),
                "eTag": found.etag.strip('"'),
                "contentType": found.content_settings.content_type,
                "contentLength": found.size,
                "blobType": str(getattr(found.blob_type, "value", found.blob_type)),
                "url": blob.url,
                "sequencer": f"{time.time_ns():064X}",
            },
            "dataVersion": "",
            "metadataVersion": "1",
        }


def _creates(request: Request) -> str | None:
    """The API that created a blob by this request, None where it created none."""
    container, _, name = request.resource.partition("/")
    if request.method != "PUT" or not name or container.startswith(("azure-webjobs-", "$")):
        return None
    comp = request.query.get("comp")
    if comp == "blocklist" and request.status == 201:
        return "PutBlockList"
    if comp is None and "restype" not in request.query:
        return {201: "PutBlob", 202: "CopyBlob"}.get(request.status)
    return None


def to_queue(queue: QueueClient) -> Deliver:
    """Deliver into a storage queue, base64-encoded."""

    def deliver(event: dict[str, Any]) -> None:
        queue.send_message(base64.b64encode(json.dumps(event).encode()).decode())

    return deliver


def to_webhook(url: Callable[[], str]) -> Deliver:
    """Deliver to the functions host's blob webhook; `url` is asked each time, as its key is made at first start."""

    def deliver(event: dict[str, Any]) -> None:
        headers = {"aeg-event-type": "Notification"}
        httpx.post(url(), json=[event], headers=headers, timeout=30).raise_for_status()

    return deliver
