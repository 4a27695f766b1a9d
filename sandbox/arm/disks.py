"""The rules of Microsoft.Compute/disks and Microsoft.Compute/snapshots, as far as galleries need them. Pure."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any

from sandbox.arm import bodies
from sandbox.arm.clock import Clock, timestamp
from sandbox.arm.errors import ArmError, invalid_parameter, missing_parameter, property_change_not_allowed
from sandbox.arm.resource import Draft, Resource
from sandbox.arm.sources import Disk, Source
from sandbox.arm.vhd import FOOTER, GIB, VhdFault

DISK = "Microsoft.Compute/disks"
SNAPSHOT = "Microsoft.Compute/snapshots"
DISK_SECONDS = 0.15  # recorded traffic
SNAPSHOT_SECONDS = 1.1  # likewise
DELETE_SECONDS = 0.3  # a guess
LARGEST_GIB = 32_767

_KEYS = (
    "osType", "hyperVGeneration", "supportsHibernation", "supportedCapabilities", "creationData", "diskSizeGB",
    "diskIOPSReadWrite", "diskMBpsReadWrite", "encryption", "incremental", "networkAccessPolicy", "publicNetworkAccess",
    "timeCreated", "provisioningState", "diskState", "diskSizeBytes", "uniqueId", "tier",
)  # fmt: skip
_INHERITED = ("osType", "hyperVGeneration", "supportedCapabilities", "supportsHibernation", "securityProfile")
# The largest size of each premium tier in GiB, its IOPS and MB/s (Microsoft's docs)
_PREMIUM = (
    ("P1", 4, 120, 25), ("P2", 8, 120, 25), ("P3", 16, 120, 25), ("P4", 32, 120, 25), ("P6", 64, 240, 50),
    ("P10", 128, 500, 100), ("P15", 256, 1100, 125), ("P20", 512, 2300, 150), ("P30", 1024, 5000, 200),
    ("P40", 2048, 7500, 250), ("P50", 4096, 7500, 250), ("P60", 8192, 16000, 500), ("P70", 16384, 18000, 750),
    ("P80", 32767, 20000, 900),
)  # fmt: skip


def blob_uris(properties: dict[str, Any]) -> list[str]:
    """The VHD a body asks to import, if any."""
    creation = properties.get("creationData", {})
    return [creation["sourceUri"]] if creation.get("createOption") == "Import" and "sourceUri" in creation else []


def source_id(properties: dict[str, Any]) -> str | None:
    """The resource a body asks to copy: a disk, a snapshot, or an image version."""
    creation = properties.get("creationData", {})
    image = creation.get("galleryImageReference") or creation.get("imageReference") or {}
    found = creation.get("sourceResourceId") or image.get("id")
    return None if found is None else str(found)


def created(
    kind: str,
    resource_id: str,
    body: bodies.BoundBody,
    found: dict[str, int | VhdFault | None],
    source: Source | None,
    now: datetime,
    clock: Clock,
) -> Draft:
    """A new disk or snapshot (recorded traffic for what is filled in). `source` is what it copies, None if not there.

    Raises ArmError; codes and words of the refusals are guesses.
    """
    sent = body.properties
    creation = dict(sent.get("creationData", {}))
    if not creation:
        raise missing_parameter("disk.creationData")
    size = sent.get("diskSizeGB")
    fault: VhdFault | None = None
    known: dict[str, Any] = {}
    if creation["createOption"] == "Import":
        uris = blob_uris(sent)
        if not uris:
            raise missing_parameter("disk.creationData.sourceUri")
        looked_up = found[uris[0]]
        if looked_up is None:
            raise invalid_parameter(f"The source blob {uris[0]} is not accessible.", "disk.creationData.sourceUri")
        if isinstance(looked_up, VhdFault):
            fault = looked_up
        else:
            size = max(size or 0, looked_up)
    elif creation["createOption"] == "Upload":
        size = -(-(int(creation.get("uploadSizeBytes", GIB + FOOTER)) - FOOTER) // GIB)
    elif named := source_id(sent):
        if source is None or source.location != body.normalised_location:
            raise invalid_parameter(
                f"Source {named} is not found. Please check source exists, and is in the same region.",
                "disk.creationData.sourceResourceId",
            )
        size = max(size or 0, source.disks[0].size_gb)
        known = dict(source.traits)
        if source.unique_id:
            creation["sourceUniqueId"] = source.unique_id
    if fault is None and size is None:
        raise missing_parameter("disk.diskSizeGB")
    if size is not None and not 1 <= size <= LARGEST_GIB:
        raise invalid_parameter(
            f"The value {size} of parameter disk.diskSizeGB is out of range. The value must be between 1 and "
            f"{LARGEST_GIB}, inclusive.",
            "disk.diskSizeGB",
        )
    ends = clock.after(now, DISK_SECONDS if kind == DISK else SNAPSHOT_SECONDS)
    if fault is not None:
        return Draft(sent, ends, sent, "Failed", fault.error)
    unique_id = str(uuid.uuid5(uuid.NAMESPACE_URL, f"{resource_id.lower()}@{timestamp(now)}"))
    final = known | sent | {"creationData": creation, "timeCreated": timestamp(now), "uniqueId": unique_id}
    return Draft(sent, ends, _filled(kind, final, int(size or 0), _sku(body.envelope)))


def updated(disk: Resource, body: bodies.BoundBody, now: datetime, clock: Clock) -> Draft:
    """A disk or snapshot after a PUT or PATCH. Its source is fixed, and it does not shrink. Raises ArmError."""
    old, sent = disk.properties, dict(body.properties)
    creation = sent.pop("creationData", {})
    for key, value in creation.items():
        if str(value).lower() != str(old.get("creationData", {}).get(key)).lower():
            raise property_change_not_allowed(f"disk.creationData.{key}")
    size = sent.get("diskSizeGB", old.get("diskSizeGB", 0))
    if size < old.get("diskSizeGB", 0):
        raise ArmError(
            409,
            "OperationNotAllowed",
            f"Disk size reduction is not supported. Current size is {old['diskSizeGB'] * GIB} bytes, requested size is "
            f"{size * GIB} bytes.",
        )
    sku = _sku(disk.envelope | body.envelope)
    properties = _filled(disk.type, bodies.merged(old, sent), size, sku)
    return Draft(properties, clock.after(now, DISK_SECONDS), properties)


def shown_sku(disk: Resource) -> dict[str, str]:
    """The sku with the tier that Azure adds once the disk is there (recorded traffic)."""
    name = _sku(disk.envelope)
    return {"name": name, "tier": name.split("_")[0].removesuffix("SSD").replace("PremiumV2", "Premium")}


def properties(disk: Resource, machine: str | None) -> dict[str, Any]:
    """What a GET shows. `machine` is the id of the virtual machine the disk is attached to."""
    shown = dict(disk.properties)
    if disk.provisioning_state == "Succeeded":
        shown["diskState"] = "Attached" if machine else "Unattached"
    return bodies.ordered(shown | {"provisioningState": _state(disk)}, _KEYS)


def check_deletable(disk: Resource, machine: str | None) -> None:
    """Raises ArmError where a virtual machine holds the disk (the words are DiskRP's, from memory of the service)."""
    if machine is not None:
        raise ArmError(409, "OperationNotAllowed", f"Disk {disk.name} is attached to VM {machine}.")


def as_source(disk: Resource) -> Source:
    """What a disk or snapshot offers to an image, a version, or another disk."""
    found = disk.properties
    return Source(
        id=disk.id,
        disks=(Disk(None, int(found.get("diskSizeGB", 0))),),
        location=disk.location,
        os_type=found.get("osType"),
        hyper_v_generation=found.get("hyperVGeneration"),
        architecture=found.get("supportedCapabilities", {}).get("architecture"),
        security_type=found.get("securityProfile", {}).get("securityType", "Standard"),
        unique_id=found.get("uniqueId"),
        traits={key: found[key] for key in _INHERITED if key in found},
    )


def filled_properties(creation: dict[str, Any], size_gb: int, sku: str, now: datetime, **known: Any) -> dict[str, Any]:
    """A disk that came into being with its virtual machine."""
    unique_id = str(uuid.uuid4())
    final = known | {"creationData": creation, "timeCreated": timestamp(now), "uniqueId": unique_id}
    return _filled(DISK, final, size_gb, sku)


def _state(disk: Resource) -> str:
    # DiskRP says Updating of a new disk too (recorded traffic)
    return "Updating" if disk.provisioning_state == "Creating" else disk.provisioning_state


def _sku(envelope: dict[str, Any]) -> str:
    return str(envelope.get("sku", {}).get("name", "Standard_LRS"))


def _filled(kind: str, properties: dict[str, Any], size_gb: int, sku: str) -> dict[str, Any]:
    filled = {
        "encryption": {"type": "EncryptionAtRestWithPlatformKey"},
        "networkAccessPolicy": "AllowAll",
        "publicNetworkAccess": "Enabled",
    }
    filled |= properties | {"diskSizeGB": size_gb, "diskSizeBytes": size_gb * GIB}
    if kind == SNAPSHOT:
        return {"incremental": False} | filled
    iops, rate = 500, 60
    if sku.startswith("Premium_"):
        tier, _, iops, rate = next(one for one in _PREMIUM if size_gb <= one[1])
        filled["tier"] = tier
    return {"diskIOPSReadWrite": iops, "diskMBpsReadWrite": rate} | filled
