"""What Resource Manager's cache still believes of deleted resources.

Both lags are real (azure-rest-api-specs#11559 for a parent's deletion, siderolabs/talos#10035 for a name used again)
and happen here only when a person asks for them.
"""

from __future__ import annotations

import threading
from datetime import datetime, timedelta
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Seconds = Annotated[float, Field(ge=0)]


class Lags(BaseModel):
    """How far behind the emulated Azure is, in real seconds.

    `deleted_child`: a parent cannot be deleted yet, though its last child's deletion is over. `recreated`: a resource
    made anew so soon after its deletion is not found, up to so long after its operation succeeded. `replication`: the
    regions complete so much later than the operation.
    """

    model_config = ConfigDict(extra="forbid")

    deleted_child: Seconds = 0.0
    recreated: Seconds = 0.0
    replication: Seconds = 0.0


class CacheLag:
    """Remembers deletions and what was made anew. Kept in memory."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._deleted: dict[str, tuple[str, datetime]] = {}
        self._hidden: dict[str, datetime] = {}

    def note_deletion(self, key: str, nested_name: str, ends: datetime) -> None:
        """A resource is gone from `ends` on."""
        with self._lock:
            self._deleted[key] = (nested_name, ends)

    def note_creation(self, key: str, ends: datetime, now: datetime, seconds: float) -> None:
        """A resource is made, and there from `ends` on: the cache learns of it later if it knew another one."""
        with self._lock:
            _, gone = self._deleted.pop(key, ("", None))
            if gone is not None and now < gone + timedelta(seconds=seconds):
                self._hidden[key] = ends + timedelta(seconds=seconds)

    def hides(self, key: str, now: datetime) -> bool:
        """Whether the cache does not know yet that a resource is there."""
        with self._lock:
            until = self._hidden.get(key)
            if until is not None and until <= now:
                del self._hidden[key]
            return until is not None and now < until

    def remembered_children(self, key: str, now: datetime, seconds: float) -> list[str]:
        """The nested names of children that are gone but that the cache still knows."""
        with self._lock:
            return [
                name
                for child, (name, gone) in self._deleted.items()
                if child.startswith(f"{key}/") and now < gone + timedelta(seconds=seconds)
            ]
