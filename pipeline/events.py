"""Messages from outside, read: blob events in both schemas, step messages. All hostile until parsed."""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass
from typing import Any

BLOB_CREATED = "Microsoft.Storage.BlobCreated"


class Unreadable(ValueError):
    """A message that is not what its queue is for. The text says what is wrong with it."""


@dataclass(frozen=True)
class BlobCreated:
    """A blob was created at `url`, as the storage account told it. `id` is the event's own."""

    id: str
    url: str


def read_json(message: bytes) -> Any:
    """The JSON in a queue message, plain or base64. Raises Unreadable."""
    try:
        text = message.strip()
        if not text.startswith((b"{", b"[")):
            text = base64.b64decode(text, validate=True)
        return json.loads(text)
    except (binascii.Error, ValueError) as error:
        raise Unreadable(f"neither JSON nor base64 of JSON: {error}") from error


def read_blob_events(message: bytes) -> list[BlobCreated]:
    """The BlobCreated events in a message: one event or a list, Event Grid schema or CloudEvents 1.0.

    Events of other types are left out. Raises Unreadable.
    """
    found = read_json(message)
    events = found if isinstance(found, list) else [found]
    return [event for event in map(_read_blob_event, events) if event]


def _read_blob_event(event: Any) -> BlobCreated | None:
    if not isinstance(event, dict):
        raise Unreadable("an event is a JSON object")
    kind = event.get("eventType") or event.get("type")
    if not isinstance(kind, str):
        raise Unreadable("an event has eventType (Event Grid schema) or type (CloudEvents)")
    if kind != BLOB_CREATED:
        return None
    data = event.get("data")
    url = data.get("url") if isinstance(data, dict) else None
    if not isinstance(url, str) or not url:
        raise Unreadable("a BlobCreated event has data.url")
    return BlobCreated(id=str(event.get("id", "")), url=url)


def read_step(message: bytes) -> tuple[str, int]:
    """The run and the generation that a step message names. Raises Unreadable."""
    found = read_json(message)
    run, generation = (found.get("run"), found.get("generation")) if isinstance(found, dict) else (None, None)
    if not isinstance(run, str) or not isinstance(generation, int):
        raise Unreadable('a step is {"run": id, "generation": number}')
    return run, generation
