"""What every resource of the emulated ARM has: a body, a provisioning state, and the change that is under way.

Nothing runs in the background. A change is written down with the instant it ends and what it ends in; whoever reads the
resource later settles it first. So state depends on time alone and survives a restart.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from pydantic import BaseModel

from sandbox.arm.clock import timestamp


class Pending(BaseModel):
    """How the change under way ends. `at` is None for one that never does; `gone` for a deletion."""

    at: datetime | None
    gone: bool = False
    provisioning_state: str = "Succeeded"
    properties: dict[str, Any] = {}


class Resource(BaseModel):
    """A resource as it is kept. `properties` lack provisioningState; `internal` never leaves the emulator.

    `envelope` is what its body has beside properties, name, location and tags: a disk's sku, a machine's zones.
    """

    id: str
    name: str
    type: str
    location: str
    tags: dict[str, str] | None = None
    envelope: dict[str, Any] = {}
    properties: dict[str, Any] = {}
    provisioning_state: str = "Succeeded"
    pending: Pending | None = None
    operation: str | None = None
    internal: dict[str, Any] = {}

    @property
    def is_busy(self) -> bool:
        """Whether a change is under way, in a settled resource."""
        return self.pending is not None

    @property
    def is_being_deleted(self) -> bool:
        return self.pending is not None and self.pending.gone


def settled(resource: Resource, now: datetime) -> Resource | None:
    """The resource as of `now`; None where its deletion is over."""
    pending = resource.pending
    if pending is None or pending.at is None or now < pending.at:
        return resource
    if pending.gone:
        return None
    return resource.model_copy(
        update={
            "properties": pending.properties,
            "provisioning_state": pending.provisioning_state,
            "pending": None,
        }
    )


@dataclass(frozen=True)
class Draft:
    """What a rule makes of a PUT or PATCH: the resource at once, and how it ends.

    `ends` is None where it never does. `error` is the body of the failure the operation ends in, if it does. `made` are
    other resources that come into being with it: a virtual machine's disks.
    """

    properties: dict[str, Any]
    ends: datetime | None
    final_properties: dict[str, Any]
    final_state: str = "Succeeded"
    error: dict[str, Any] | None = None
    internal: dict[str, Any] = field(default_factory=dict)
    made: tuple[Resource, ...] = ()


class Lock(BaseModel):
    """A management lock, at the scope in the spelling it was made in."""

    id: str
    name: str
    scope: str
    properties: dict[str, Any]
    created_by: str
    created: datetime
    modified_by: str
    modified: datetime


class Operation(BaseModel):
    """A long-running operation. `kind` is the path segment: capsOperations of galleries, operations of images.

    `output` is the key of the resource that the finished operation of a disk shows, `result` what one shows that makes
    no resource.
    """

    name: str
    subscription: str
    kind: str
    start: datetime
    end: datetime | None
    status: str = "Succeeded"
    error: dict[str, Any] | None = None
    retry_after: float | None = None
    output: str | None = None
    result: dict[str, Any] | None = None

    def is_over(self, now: datetime) -> bool:
        return self.end is not None and self.end <= now

    def body(self, now: datetime) -> dict[str, Any]:
        """The status body, with the members and order of recorded traffic."""
        if not self.is_over(now) or self.end is None:
            return {"startTime": timestamp(self.start), "status": "InProgress", "name": self.name}
        body: dict[str, Any] = {
            "startTime": timestamp(self.start),
            "endTime": timestamp(self.end),
            "status": self.status,
        }
        if self.error is not None:
            body["error"] = self.error
        return body | {"name": self.name}
