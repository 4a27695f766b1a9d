"""The rules of Microsoft.Compute/images, the managed images. Pure."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sandbox.arm import bodies
from sandbox.arm.clock import Clock
from sandbox.arm.errors import invalid_parameter, missing_parameter, property_change_not_allowed
from sandbox.arm.resource import Draft, Resource
from sandbox.arm.sources import Disk, Source, Sources
from sandbox.arm.vhd import VhdFault, check_blob_name

TYPE = "Microsoft.Compute/images"
CREATE_SECONDS = 5.2  # medians of recorded traffic
UPDATE_SECONDS = 5.2
DELETE_SECONDS = 5.1

_KEYS = ("sourceVirtualMachine", "storageProfile", "provisioningState", "hyperVGeneration")
_DISK_KEYS = (
    "osType", "osState", "lun", "diskSizeGB", "snapshot", "managedDisk", "blobUri", "caching", "storageAccountType",
)  # fmt: skip
_SOURCE_KEYS = ("blobUri", "managedDisk", "snapshot")


def blob_uris(properties: dict[str, Any]) -> list[str]:
    """The blobs an image's body names, the OS disk's first."""
    return [uri for disk in _disks(properties.get("storageProfile", {})) if (uri := disk.get("blobUri"))]


def source_ids(properties: dict[str, Any]) -> list[str]:
    """The disks and snapshots an image's body names."""
    disks = _disks(properties.get("storageProfile", {}))
    sources = [disk[key] for disk in disks for key in ("managedDisk", "snapshot") if key in disk]
    return [str(source.get("id")) for source in sources]


def check_account(properties: dict[str, Any], elsewhere: set[str], subscription: str) -> None:
    """Raises ArmError where a blob's storage account is not in the subscription that the image is to be in.

    The code is that of images (terraform-provider-azurerm#1221), the words are those that disks have for it
    (azure-docs#87994); the target is a guess.
    """
    for uri in blob_uris(properties):
        if uri in elsewhere:
            raise invalid_parameter(
                f"The source blob {uri} does not belong to a storage account in subscription {subscription}.", "disks"
            )


def created(
    body: bodies.BoundBody, found: Sources, captured: dict[str, Any] | None, now: datetime, clock: Clock
) -> Draft:
    """A new image. `captured` is the storage profile that its source virtual machine, if it names one, gives.

    An unreadable blob is refused at once (terraform-provider-azurerm#4427). One that is no VHD fails the operation: its
    words are Azure's (osbuild/osbuild-composer#111), that they come late is a guess. A disk's caching and type are its
    virtual machine's (recorded traffic).

    Raises ArmError.
    """
    sent = body.properties
    if captured is not None:
        sent = sent | {"storageProfile": bodies.merged(captured, sent.get("storageProfile", {}))}
    storage = sent.get("storageProfile", {})
    if "osDisk" not in storage:
        raise missing_parameter("storageProfile.osDisk")
    for key in ("osType", "osState"):
        if key not in storage["osDisk"]:
            raise missing_parameter(f"osDisk.{key}")
    if storage["osDisk"]["osState"] != "Generalized":  # a managed image always is (Microsoft's docs); words a guess
        raise invalid_parameter(
            "The value 'Specialized' of parameter 'osDisk.osState' is not allowed. Allowed values are 'Generalized'.",
            "osDisk.osState",
        )
    for disk in _disks(storage):
        if sum(key in disk for key in _SOURCE_KEYS) != 1:
            raise missing_parameter("disk.blobUri")
        if "blobUri" in disk:
            check_blob_name(disk["blobUri"], "disk.blobUri")
            if found.by_uri[disk["blobUri"]] is None:
                raise invalid_parameter(f"The source blob {disk['blobUri']} is not accessible.", "disks")
        else:
            source_id = str((disk.get("managedDisk") or disk.get("snapshot") or {}).get("id"))
            source = found.by_id.get(source_id.lower())
            if source is None or source.location != body.normalised_location:
                raise invalid_parameter(f"Source was not found: {source_id}. Please make sure the source exists.")
    luns = [disk.get("lun") for disk in storage.get("dataDisks", [])]
    if len(set(luns)) != len(luns):
        raise invalid_parameter("The lun numbers of the data disks must be unique.", "dataDisk.lun")
    properties = sent | {
        "storageProfile": _storage_profile(storage, {}),
        "hyperVGeneration": sent.get("hyperVGeneration", "V1"),
    }
    ends = clock.after(now, CREATE_SECONDS)
    for size in found.by_uri.values():
        if isinstance(size, VhdFault):
            return Draft(properties, ends, properties, "Failed", size.error)
    sizes = {uri: size for uri, size in found.by_uri.items() if isinstance(size, int)}
    sizes |= {key: source.disks[0].size_gb for key, source in found.by_id.items() if source is not None}
    return Draft(properties, ends, properties | {"storageProfile": _storage_profile(storage, sizes)})


def updated(image: Resource, body: bodies.BoundBody, now: datetime, clock: Clock) -> Draft:
    """An image after a PUT or PATCH. Its disks are fixed (the words are CRP's, the paths a guess)."""
    old, sent = image.properties, body.properties
    if sent.get("hyperVGeneration", old["hyperVGeneration"]) != old["hyperVGeneration"]:
        raise property_change_not_allowed("hyperVGeneration")
    before = old["storageProfile"]
    after = sent.get("storageProfile", {})
    for key in ("osType", "osState", *_SOURCE_KEYS):
        if key in after.get("osDisk", {}) and after["osDisk"][key] != before["osDisk"].get(key):
            raise property_change_not_allowed(f"osDisk.{key}")
    if "dataDisks" in after and [d.get("blobUri") for d in after["dataDisks"]] != [
        disk.get("blobUri") for disk in before["dataDisks"]
    ]:
        raise property_change_not_allowed("dataDisks")
    return Draft(old, clock.after(now, UPDATE_SECONDS), old)


def properties(image: Resource) -> dict[str, Any]:
    """What a GET shows."""
    return bodies.ordered(image.properties | {"provisioningState": image.provisioning_state}, _KEYS)


def as_source(image: Resource) -> Source:
    """What an image offers to a version made from it."""
    storage = image.properties["storageProfile"]
    return Source(
        id=image.id,
        disks=tuple(Disk(d.get("lun"), d.get("diskSizeGB", 0), d.get("caching")) for d in _disks(storage)),
        location=image.location,
        os_type=storage["osDisk"]["osType"],
        os_state=storage["osDisk"]["osState"],
        hyper_v_generation=image.properties["hyperVGeneration"],
        architecture="x64",  # a managed image knows no other
        encrypted=any("diskEncryptionSet" in disk for disk in _disks(storage)),
    )


def _disks(storage: dict[str, Any]) -> list[dict[str, Any]]:
    return [disk for disk in (storage.get("osDisk"), *storage.get("dataDisks", [])) if disk]


def _storage_profile(storage: dict[str, Any], sizes: dict[str, int]) -> dict[str, Any]:
    def filled(disk: dict[str, Any]) -> dict[str, Any]:
        complete = {"caching": "None", "storageAccountType": "Standard_LRS"} | disk
        managed = disk.get("managedDisk") or disk.get("snapshot") or {}
        key = disk.get("blobUri") or str(managed.get("id")).lower()
        if key in sizes:
            complete.setdefault("diskSizeGB", sizes[key])
        return bodies.ordered(complete, _DISK_KEYS)

    profile = {
        "osDisk": filled(storage["osDisk"]),
        "dataDisks": [filled(disk) for disk in storage.get("dataDisks", [])],
    }
    if "zoneResilient" in storage:
        profile["zoneResilient"] = storage["zoneResilient"]
    return profile
