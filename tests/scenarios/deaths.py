"""Killing the pipeline at a request it makes, as a host that dies would."""

from __future__ import annotations

import re
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

REPEATS = 2
"""How often a run is struck at a request of one name: polls repeat themselves, and the third is as the second."""


class Death(BaseException):
    """SIGKILL, as far as the code it strikes can tell: nothing catches it."""


class Wire:
    """Kills the pipeline at the first request of a kind that was not struck before, once a round.

    How many requests a run makes varies with timing: so none is known by its number, each by its name. The sandbox's
    own requests, of other threads, go by.
    """

    def __init__(self) -> None:
        self.thread = threading.get_ident()
        self.struck: list[str] = []
        self.killed_at = ""
        self._image = ""
        self._after = False
        self._stage = ""
        self._seen: Counter[str] = Counter()

    def watch(self, send: Any) -> Any:
        def watched(transport: Any, request: Any, **options: Any) -> Any:
            # A death after a request that changes nothing is the death before the next one.
            counts = not self._after or request.method not in ("GET", "HEAD")
            if threading.get_ident() != self.thread or not self._image or not counts:
                return send(transport, request, **options)
            name = self._named(request)
            self._seen[name] += 1
            nth = f"{name} #{self._seen[name]}"
            if nth in self.struck or self._seen[name] > REPEATS:
                answer = send(transport, request, **options)
                self._stage = _stage_saved(request) or self._stage
                return answer
            self.struck.append(nth)
            self.killed_at, self._image = nth, ""
            if self._after:
                send(transport, request, **options)
            raise Death(nth)

        return watched

    def _named(self, request: Any) -> str:
        """What a request is, alike in every round: where the run stood, what is asked, of what."""
        path, _, query = request.url.partition("?")
        path = "/" + path.split("/", 3)[3]
        path = re.sub(rf"{self._image}-\d{{8}}-\d{{6}}-\w+", "{run}", path).replace(self._image, "{image}")
        path = re.sub(r"[0-9a-f]{32,}", "{digest}", path)
        path = re.sub(r"\d{17}%7C[0-9a-f]{8}", "{time}", path)
        what = re.search(r"comp=\w+", query)
        parts = [f"{self._stage}:", request.method, path, what[0] if what else "", _stage_saved(request)]
        return " ".join(part for part in parts if part)

    @contextmanager
    def deadly_to(self, image: str, *, after: bool) -> Iterator[None]:
        self._image, self._after, self._stage, self.killed_at = image, after, "intake", ""
        self._seen.clear()
        try:
            yield
        finally:
            self._image = ""


def _stage_saved(request: Any) -> str:
    """The stage that a run's record says, in a transaction that writes it; nothing for any other request."""
    found = re.search(rb'"stage": "(\w+)"', request.data or b"") if "$batch" in request.url else None
    return found[1].decode() if found else ""
