"""What a version is made of, whatever it is made from."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from sandbox.arm.vhd import VhdFault


@dataclass(frozen=True)
class Disk:
    """`lun` is None for the OS disk. `caching` is the source's, None where it has none. `size_gb` in GiB."""

    lun: int | None
    size_gb: int
    caching: str | None = None


@dataclass(frozen=True)
class Source:
    """A managed image, another version, a virtual machine, or disks, snapshots and VHDs.

    None stands for what such a source does not know of itself. `security_type` is Standard for what holds no guest
    state; `encrypted` is what a disk encryption set encrypts, with a customer's own key. A disk made from a disk takes
    over its `traits`, and names its `unique_id`.
    """

    id: str
    disks: tuple[Disk, ...]
    location: str | None = None
    os_type: str | None = None
    os_state: str | None = None
    hyper_v_generation: str | None = None
    architecture: str | None = None
    security_type: str = "Standard"
    encrypted: bool = False
    unique_id: str | None = None
    incremental: bool = False
    traits: dict[str, Any] = field(default_factory=dict)
    fault: VhdFault | None = None

    @property
    def size_gb(self) -> int:
        return sum(disk.size_gb for disk in self.disks)


@dataclass(frozen=True)
class Sources:
    """What was found of the ids and URIs that a storage profile names; None for what is not there."""

    by_id: dict[str, Source | None] = field(default_factory=dict)
    by_uri: dict[str, int | VhdFault | None] = field(default_factory=dict)


def ids(storage_profile: dict[str, Any]) -> list[tuple[str, str]]:
    """The resources a version's storage profile names, each with the member that names it."""
    found = [(key, str(value)) for key, value in storage_profile.get("source", {}).items()]
    disks = [storage_profile.get("osDiskImage", {}), *storage_profile.get("dataDiskImages", [])]
    for disk in disks:
        source = disk.get("source", {})
        if "id" in source and "uri" not in source:
            found.append(("disk", str(source["id"])))
    return found


def uris(storage_profile: dict[str, Any]) -> list[str]:
    """The blobs a version's storage profile names, the OS disk's first."""
    disks = [storage_profile.get("osDiskImage", {}), *storage_profile.get("dataDiskImages", [])]
    return [uri for disk in disks if (uri := disk.get("source", {}).get("uri"))]
