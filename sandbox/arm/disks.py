"""The rules of Microsoft.Compute/disks and Microsoft.Compute/snapshots, as far as galleries need them. Pure."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, replace
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
COPY_START_SECONDS = 60.0  # until the background copy of the smallest snapshot is over: a guess, as is the next
COPY_SECONDS_PER_GIB = 10.0

_KEYS = (
    "osType", "hyperVGeneration", "supportsHibernation", "supportedCapabilities", "creationData", "diskSizeGB",
    "diskIOPSReadWrite", "diskMBpsReadWrite", "encryption", "incremental", "networkAccessPolicy", "publicNetworkAccess",
    "timeCreated", "provisioningState", "diskState", "diskSizeBytes", "uniqueId", "tier", "completionPercent",
    "copyCompletionError",
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


@dataclass(frozen=True)
class Copy:
    """The background copy that fills a snapshot made by CopyStart, as `Resource.internal` keeps it in JSON.

    `stands_at` is where it stopped, or stands for good, in percent; None while it goes on.
    """

    source: str
    begins: datetime
    ends: datetime
    stands_at: float | None = None
    fault: str | None = None

    @classmethod
    def of(cls, disk: Resource) -> Copy | None:
        kept = disk.internal.get("copy")
        if kept is None:
            return None
        begins, ends = datetime.fromisoformat(kept["begins"]), datetime.fromisoformat(kept["ends"])
        return cls(kept["source"], begins, ends, kept["standsAt"], kept["fault"])

    def kept(self) -> dict[str, Any]:
        begins, ends = self.begins.isoformat(), self.ends.isoformat()
        copy = {"source": self.source, "begins": begins, "ends": ends, "standsAt": self.stands_at, "fault": self.fault}
        return {"copy": copy}

    def percent(self, now: datetime) -> float:
        if self.stands_at is not None:
            return self.stands_at
        if now >= self.ends:
            return 100.0
        return round(min(max((now - self.begins) / (self.ends - self.begins), 0.0) * 100, 99.0), 1)


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
        elsewhere = creation["createOption"] == "CopyStart"
        if source is None or (source.location != body.normalised_location and not elsewhere):
            raise invalid_parameter(
                f"Source {named} is not found. Please check source exists, and is in the same region.",
                "disk.creationData.sourceResourceId",
            )
        if elsewhere and not (kind == SNAPSHOT and sent.get("incremental") and source.incremental):
            # The rule is that of Microsoft's page on copying incremental snapshots
            raise invalid_parameter(
                "CopyStart creation is only supported for an incremental snapshot of an incremental snapshot.",
                "disk.creationData.createOption",
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
    percent = final.pop("completionPercent", None)
    internal: dict[str, Any] = {}
    if creation["createOption"] == "Upload":
        internal["upload"] = "ReadyToUpload"
    elif creation["createOption"] == "CopyStart":
        over = clock.after(now, COPY_START_SECONDS + COPY_SECONDS_PER_GIB * int(size or 0))
        internal = Copy(str(source_id(sent)).lower(), now, over, percent).kept()
    return Draft(sent, ends, _filled(kind, final, int(size or 0), _sku(body.envelope)), internal=internal)


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
    internal, copy, percent = disk.internal, Copy.of(disk), sent.pop("completionPercent", None)
    if copy is not None and percent is not None and percent != copy.percent(now):
        internal = internal | replace(copy, stands_at=percent).kept()
    properties = _filled(disk.type, bodies.merged(old, sent), size, sku)
    return Draft(properties, clock.after(now, DISK_SECONDS), properties, internal=internal)


def shown_sku(disk: Resource) -> dict[str, str]:
    """The sku with the tier that Azure adds once the disk is there (recorded traffic)."""
    name = _sku(disk.envelope)
    return {"name": name, "tier": name.split("_")[0].removesuffix("SSD").replace("PremiumV2", "Premium")}


def properties(disk: Resource, machine: str | None, now: datetime) -> dict[str, Any]:
    """What a GET shows. `machine` is the id of the virtual machine the disk is attached to.

    A snapshot made by CopyStart has Succeeded long before its content is there (Microsoft's page on copying incremental
    snapshots): completionPercent tells.
    """
    shown = dict(disk.properties)
    if disk.provisioning_state == "Succeeded":
        shown["diskState"] = _disk_state(disk) or ("Attached" if machine else "Unattached")
        if (copy := Copy.of(disk)) is not None:
            shown["completionPercent"] = copy.percent(now)
            if copy.fault:
                shown["copyCompletionError"] = {"errorCode": "CopySourceNotFound", "errorMessage": copy.fault}
    return bodies.ordered(shown | {"provisioningState": _state(disk)}, _KEYS)


def check_deletable(disk: Resource, machine: str | None) -> None:
    """Raises ArmError where a virtual machine holds the disk (the words are DiskRP's, from memory of the service)."""
    if machine is not None:
        raise ArmError(409, "OperationNotAllowed", f"Disk {disk.name} is attached to VM {machine}.")


def check_ready(disk: Resource, now: datetime) -> None:
    """Raises ArmError where a disk or snapshot has no content yet to make anything of.

    That it cannot be used is Microsoft's docs' (upload of a VHD to a managed disk, copying incremental snapshots); that
    it is refused at once, the code, and the words are guesses.
    """
    if "upload" in disk.internal:
        raise ArmError(
            409,
            "OperationNotAllowed",
            f"The operation is not allowed on '{disk.id}' since its disk state is '{disk.internal['upload']}'.",
        )
    copy = Copy.of(disk)
    if copy is not None and copy.percent(now) < 100:
        raise ArmError(
            409,
            "OperationNotAllowed",
            f"The operation is not allowed on '{disk.id}' since its background copy is not complete: completionPercent "
            f"is {copy.percent(now)}.",
        )


def granted(disk: Resource, asked: bodies.GrantAccessData) -> Resource:
    """A disk or snapshot after `POST …/beginGetAccess`: ActiveUpload for writing, ActiveSAS for reading (DiskState).

    Write access is for what is made to be uploaded to, read access for what is not (Microsoft's page on uploading a VHD
    to a managed disk). Raises ArmError 409 otherwise (code and words are guesses). That access does not end with
    `durationInSeconds`, and that a machine that runs does not hinder it, is simpler than Azure.
    """
    if (asked.access == "Write") != ("upload" in disk.internal) or asked.access == "None":
        raise ArmError(
            409,
            "OperationNotAllowed",
            f"Access '{asked.access}' is not allowed on '{disk.id}' since its disk state is "
            f"'{_disk_state(disk) or 'Unattached'}'.",
        )
    changed = {"upload": "ActiveUpload"} if asked.access == "Write" else {"exported": True}
    return disk.model_copy(update={"internal": disk.internal | changed})


def revoked(disk: Resource) -> Resource:
    """A disk or snapshot after `POST …/endGetAccess`: what was uploaded to is a disk like any other.

    One that nobody was ever let upload to stays ReadyToUpload (a guess).
    """
    ended = {"exported"} | ({"upload"} if disk.internal.get("upload") == "ActiveUpload" else set())
    return disk.model_copy(update={"internal": {k: v for k, v in disk.internal.items() if k not in ended}})


def access(disk: Resource, asked: bodies.GrantAccessData, now: datetime, ends: datetime) -> dict[str, Any]:
    """The AccessUri that `beginGetAccess` gives. It leads nowhere: the sandbox keeps no content of disks."""
    host = f"md-{uuid.uuid5(uuid.NAMESPACE_URL, disk.id.lower()).hex[:12]}.blob.storage.invalid"
    rights = "rw" if asked.access == "Write" else "r"
    times = f"st={now:%Y-%m-%dT%H:%M:%SZ}&se={ends:%Y-%m-%dT%H:%M:%SZ}"
    return {"accessSAS": f"https://{host}/disk/abcd?sv=2018-03-28&sr=b&{times}&sp={rights}&sig=none"}


def orphaned(copied: Resource, source: str, now: datetime) -> Resource | None:
    """A snapshot whose copy was going on when `source` was deleted, None for any other.

    The code is the description's (CopySourceNotFound); that the copy stays where it was, and the words, are guesses.
    """
    copy = Copy.of(copied)
    if copy is None or copy.source != source.lower() or copy.fault or copy.percent(now) >= 100:
        return None
    fault = "The source snapshot was deleted while the background copy was in progress."
    stopped = replace(copy, stands_at=copy.percent(now), fault=fault)
    return copied.model_copy(update={"internal": copied.internal | stopped.kept()})


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
        encrypted="diskEncryptionSetId" in found.get("encryption", {}),
        unique_id=found.get("uniqueId"),
        incremental=bool(found.get("incremental")),
        traits={key: found[key] for key in _INHERITED if key in found},
    )


def filled_properties(creation: dict[str, Any], size_gb: int, sku: str, now: datetime, **known: Any) -> dict[str, Any]:
    """A disk that came into being with its virtual machine."""
    unique_id = str(uuid.uuid4())
    final = known | {"creationData": creation, "timeCreated": timestamp(now), "uniqueId": unique_id}
    return _filled(DISK, final, size_gb, sku)


def _disk_state(disk: Resource) -> str | None:
    upload: str | None = disk.internal.get("upload")
    return upload or ("ActiveSAS" if disk.internal.get("exported") else None)


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
