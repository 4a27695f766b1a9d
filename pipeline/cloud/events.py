"""Event Grid: what the pipeline tells others, as CloudEvents 1.0."""

from __future__ import annotations

from typing import Any

from azure.core.credentials import TokenCredential
from azure.core.messaging import CloudEvent
from azure.eventgrid import EventGridPublisherClient

from pipeline.cloud.retry import NO_SDK_RETRIES, cloud_call

SOURCE = "gallerist"


class Topic:
    """A topic that takes CloudEvents; without an endpoint, nobody listens."""

    def __init__(self, endpoint: str | None, credential: TokenCredential) -> None:
        self._client = EventGridPublisherClient(endpoint, credential) if endpoint else None

    @cloud_call
    def tell(self, kind: str, subject: str, data: dict[str, Any], event_id: str) -> None:
        """Send one event. The same `event_id` again is the same event, for its consumers to pass over."""
        if self._client:
            # azure-eventgrid 4.22 drops the options its constructor is given; those of a call it heeds.
            event = CloudEvent(source=SOURCE, type=kind, subject=subject, data=data, id=event_id)
            self._client.send(event, **NO_SDK_RETRIES)
