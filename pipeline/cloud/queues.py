"""Queue storage: messages out. What comes in arrives by triggers."""

from __future__ import annotations

import json
import math
from typing import Any

from azure.core.credentials import TokenCredential
from azure.storage.queue import QueueServiceClient

from pipeline.cloud.retry import NO_SDK_RETRIES, cloud_call


class Queues:
    """The queues of one storage account."""

    def __init__(self, endpoint: str, credential: TokenCredential) -> None:
        self._service = QueueServiceClient(endpoint, credential, **NO_SDK_RETRIES)

    @cloud_call
    def send(self, queue: str, message: dict[str, Any], delay: float = 0) -> None:
        """Put `message` on `queue` as JSON, to appear after `delay` seconds (whole ones, rounded up).

        It never expires: a run may wait longer than the seven days a message lives by default.
        """
        self._service.get_queue_client(queue).send_message(
            json.dumps(message), visibility_timeout=math.ceil(delay), time_to_live=-1
        )
