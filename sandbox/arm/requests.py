"""What passes between the gateway and a resource provider."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from sandbox.arm.resource_id import ResourceId


@dataclass(frozen=True)
class ArmRequest:
    """A request the gateway has let through: authenticated, its api-version known, its resource group there.

    `endpoint` is the scheme and host the client used, so that operation URLs lead back to it.
    """

    method: str
    id: ResourceId
    query: dict[str, str]
    body: bytes
    endpoint: str
    request_id: str

    @property
    def api_version(self) -> str:
        return self.query["api-version"]

    @property
    def expand(self) -> str:
        return self.query.get("$expand", "")

    @property
    def select(self) -> str:
        return self.query.get("$select", "")


@dataclass(frozen=True)
class Answer:
    """A status with a body or none. `gateway` tells ARM's own answers from a resource provider's.

    ARM prints without line breaks: its own answers and, as `compact`, lists out of its cache.
    """

    status: int
    body: dict[str, Any] | None = None
    headers: dict[str, str] = field(default_factory=dict)
    gateway: bool = False
    compact: bool = False
