"""What the pipeline sends, as it leaves."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit


@dataclass(frozen=True)
class Sent:
    """One request."""

    method: str
    url: str
    body: bytes

    @property
    def path(self) -> str:
        return unquote(urlsplit(self.url).path)

    @property
    def query(self) -> dict[str, str]:
        return {name: values[0] for name, values in parse_qs(urlsplit(self.url).query).items()}

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Tap:
    """The requests of this thread, the sandbox's own not among them."""

    def __init__(self) -> None:
        self.sent: list[Sent] = []
        self._thread = threading.get_ident()

    def watch(self, send: Any) -> Any:
        def watched(transport: Any, request: Any, **options: Any) -> Any:
            if threading.get_ident() == self._thread:
                body = request.data or request.content or b""
                self.sent.append(Sent(request.method, request.url, body.encode() if isinstance(body, str) else body))
            return send(transport, request, **options)

        return watched

    def to(self, endpoint: str) -> list[Sent]:
        """The requests to the service at `endpoint`."""
        return [one for one in self.sent if urlsplit(one.url).netloc == urlsplit(endpoint).netloc]
