"""The rules of Microsoft.Compute/virtualMachines, as far as galleries need them. Pure."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sandbox.arm import bodies, disks
from sandbox.arm.clock import Clock, timestamp
from sandbox.arm.errors import ArmError, invalid_parameter, missing_parameter, property_change_not_allowed
from sandbox.arm.resource import Draft, Resource
from sandbox.arm.sources import Disk, Source

TYPE = "Microsoft.Compute/virtualMachines"
CREATE_SECONDS = 30.0  # a guess, as are the others
UPDATE_SECONDS = 5.0
DELETE_SECONDS = 30.0
POWER_SECONDS = 20.0
RETRY_AFTER_SECONDS = 10.0  # recorded traffic
MARKETPLACE_GIB = 30  # what a Linux image of the marketplace has, by recorded traffic

POWER_STATES = {"start": "running", "poweroff": "stopped", "deallocate": "deallocated"}
"""The actions that change a machine's power, and what it is afterwards."""

_KEYS = ("hardwareProfile", "provisioningState", "vmId", "storageProfile", "securityProfile", "osProfile")
_DISK_KEYS = (
    "lun", "osType", "name", "createOption", "caching", "managedDisk", "deleteOption", "diskSizeGB", "toBeDetached",
)  # fmt: skip


def disk_ids(properties: Mapping[str, Any]) -> list[str]:
    """The managed disks a machine holds, or a body asks to attach; the OS disk's first."""
    return [found for disk in _disks(properties) if (found := disk.get("managedDisk", {}).get("id"))]


def image_id(properties: Mapping[str, Any]) -> str | None:
    """The managed image or image version a body asks for; None for a marketplace image or none."""
    found = properties.get("storageProfile", {}).get("imageReference", {}).get("id")
    return None if found is None else str(found)


def created(
    resource_id: str,
    body: bodies.BoundBody,
    attached: Mapping[str, Resource | None],
    holders: Mapping[str, str],
    image: Source | None,
    version: str | None,
    now: datetime,
    clock: Clock,
) -> Draft:
    """A new machine and the disks it comes with.

    `attached` are the disks that `disk_ids` names, by lower-cased id; `holders` says which machine holds a disk;
    `image` is what `image_id` names, `version` its name in a gallery.

    Raises ArmError; where no source is given, code and words are guesses.
    """
    sent = body.properties
    storage = sent.get("storageProfile", {})
    if "osDisk" not in storage:
        raise missing_parameter("storageProfile.osDisk")
    for disk_id, disk in attached.items():
        if disk is None or disk.location != body.normalised_location:
            raise ArmError(404, "NotFound", f"Disk {disk_id} is not found.", target="storageProfile")
        disks.check_ready(disk, now)
        if (holder := holders.get(disk_id)) is not None:
            raise ArmError(
                409,
                "ConflictingUserInput",
                f"Disk '{disk.name}' cannot be attached as the disk is already owned by VM '{holder}'.",
            )
    if image_id(sent) is not None and image is None:
        raise invalid_parameter(f"The image {image_id(sent)} is not found.", "imageReference")
    name = resource_id.rsplit("/", 1)[-1]
    made: list[Resource] = []
    group = resource_id.split("/providers/")[0]

    def filled(disk: dict[str, Any], label: str) -> dict[str, Any]:
        managed = dict(disk.get("managedDisk", {}))
        existing = attached.get(str(managed.get("id", "")).lower())
        is_os = "lun" not in disk
        if existing is None:
            offered = None if image is None else next((d for d in image.disks if d.lun == disk.get("lun")), None)
            size = disk.get("diskSizeGB") or (offered.size_gb if offered else MARKETPLACE_GIB)
            managed.setdefault("storageAccountType", "Premium_LRS")
            known = {"osType": disk.get("osType") or (image.os_type if image else None) or "Linux"} if is_os else {}
            if is_os:
                known["hyperVGeneration"] = (image.hyper_v_generation if image else None) or "V1"
            option = "FromImage" if is_os else "Empty"
            new = _new_disk(group, f"{name}_{label}_{uuid.uuid4().hex}", body, option, size, managed, known, now)
            made.append(new)
            existing = new
        managed["id"] = existing.id
        result = {"name": existing.name, "createOption": "Empty", "deleteOption": "Detach"} | disk
        result |= {"managedDisk": managed, "diskSizeGB": existing.properties.get("diskSizeGB", 0)}
        if is_os:
            result |= {"osType": disk.get("osType") or existing.properties.get("osType", "Linux")}
        result.setdefault("caching", "ReadWrite" if is_os else "None")
        return bodies.ordered(result, _DISK_KEYS)

    storage = storage | {
        "osDisk": filled({"createOption": "FromImage"} | storage["osDisk"], "OsDisk_1"),
        "dataDisks": [filled(disk, f"disk{n}") for n, disk in enumerate(storage.get("dataDisks", []), 2)],
    }
    if version is not None:
        storage |= {"imageReference": storage["imageReference"] | {"exactVersion": version}}
    vm_id = str(uuid.uuid4())
    properties = sent | {"storageProfile": storage, "vmId": vm_id, "timeCreated": timestamp(now)}
    internal = {"generalized": False, "power": "running"}
    return Draft(properties, clock.after(now, CREATE_SECONDS), properties, internal=internal, made=tuple(made))


def updated(machine: Resource, body: bodies.BoundBody, now: datetime, clock: Clock) -> Draft:
    """A machine after a PUT or PATCH; its OS disk stays. Raises ArmError 409 for another."""
    sent = dict(body.properties)
    storage = sent.pop("storageProfile", {})
    after = storage.get("osDisk", {}).get("managedDisk", {}).get("id")
    if after is not None and after.lower() != disk_ids(machine.properties)[0].lower():
        raise property_change_not_allowed("osDisk.managedDisk.id")
    properties = bodies.merged(machine.properties, sent)
    return Draft(properties, clock.after(now, UPDATE_SECONDS), properties, internal=machine.internal)


def properties(machine: Resource, expand: str) -> dict[str, Any]:
    """What a GET shows; the instance view where `expand` asks for it."""
    shown = machine.properties | {"provisioningState": machine.provisioning_state}
    if expand.lower() == "instanceview":
        codes = [f"ProvisioningState/{machine.provisioning_state.lower()}", f"PowerState/{machine.internal['power']}"]
        if machine.internal["generalized"]:
            codes.insert(1, "OSState/generalized")
        shown["instanceView"] = {
            "statuses": [{"code": code, "level": "Info", "displayStatus": _displayed(code)} for code in codes]
        }
    return bodies.ordered(shown, _KEYS)


def check_power(machine: Resource, action: str) -> None:
    """Raises ArmError for the start of a generalized machine (ComputeRP's words, from memory of the service)."""
    if machine.internal["generalized"] and action == "start":
        raise ArmError(
            409,
            "OperationNotAllowed",
            f"Operation 'start' is not allowed on VM '{machine.name}' since the VM is generalized.",
        )


def generalized(machine: Resource) -> Resource:
    """A machine after `POST …/generalize`. Raises ArmError 409 for one that runs (code and words a guess)."""
    if machine.internal["power"] == "running":
        raise ArmError(
            409,
            "OperationNotAllowed",
            f"Operation 'generalize' is not allowed on VM '{machine.name}' since the VM is running. Stop or deallocate "
            "the VM first.",
        )
    return machine.model_copy(update={"internal": machine.internal | {"generalized": True}})


def as_source(machine: Resource, held: Mapping[str, Resource]) -> Source:
    """What a machine offers to a version or an image. `held` are its disks by lower-cased id.

    Raises ArmError for disks that galleries do not take (troubleshooting-shared-images).
    """
    found = _disks(machine.properties)
    if "diffDiskSettings" in found[0]:
        raise invalid_parameter(f"Source virtual machine {machine.id} cannot contain an ephemeral OS disk.")
    parts = []
    for disk in found:
        resource = held.get(str(disk["managedDisk"]["id"]).lower())
        if resource is None:
            raise invalid_parameter(f"Source virtual machine {machine.id} must be created from Managed Disks.")
        if disks.shown_sku(resource)["name"] == "UltraSSD_LRS":
            raise invalid_parameter(
                f"Source virtual machine {machine.id} cannot contain disk ['{resource.id}'] stored in an UltraSSD "
                "account type."
            )
        parts.append((disk, disks.as_source(resource)))
    _, os_disk = parts[0]
    security = machine.properties.get("securityProfile", {}).get("securityType")
    return Source(
        id=machine.id,
        disks=tuple(Disk(disk.get("lun"), part.disks[0].size_gb, disk.get("caching")) for disk, part in parts),
        location=machine.location,
        encrypted=any(part.encrypted for _, part in parts),
        os_type=found[0].get("osType"),
        os_state="Generalized" if machine.internal["generalized"] else "Specialized",
        hyper_v_generation=os_disk.hyper_v_generation,
        architecture=os_disk.architecture,
        security_type=security or os_disk.security_type,
    )


def image_storage(machine: Resource, held: Mapping[str, Resource]) -> dict[str, Any]:
    """The storage profile of a managed image captured from a machine (recorded traffic).

    Raises ArmError 409 for one that is not generalized (the rule is Microsoft's docs', code and words are a guess).
    """
    if not machine.internal["generalized"]:
        raise ArmError(
            409,
            "OperationNotAllowed",
            f"Cannot create an image from virtual machine '{machine.name}' since it is not generalized.",
            target="sourceVirtualMachine",
        )
    captured = []
    for disk in _disks(machine.properties):
        resource = held[str(disk["managedDisk"]["id"]).lower()]
        one = {"osType": disk["osType"], "osState": "Generalized"} if "lun" not in disk else {"lun": disk["lun"]}
        one |= {"managedDisk": {"id": resource.id}, "caching": disk["caching"]}
        captured.append(one | {"storageAccountType": disks.shown_sku(resource)["name"]})
    return {"osDisk": captured[0], "dataDisks": captured[1:]}


def _new_disk(
    group: str,
    name: str,
    body: bodies.BoundBody,
    option: str,
    size_gb: int,
    managed: Mapping[str, Any],
    known: Mapping[str, Any],
    now: datetime,
) -> Resource:
    sku = str(managed["storageAccountType"])
    return Resource(
        id=f"{group}/providers/{disks.DISK}/{name}",
        name=name,
        type=disks.DISK,
        location=body.normalised_location,
        envelope={"sku": {"name": sku}},
        properties=disks.filled_properties({"createOption": option}, size_gb, sku, now, **known),
    )


def _disks(properties: Mapping[str, Any]) -> list[dict[str, Any]]:
    storage = properties.get("storageProfile", {})
    return [disk for disk in (storage.get("osDisk"), *storage.get("dataDisks", [])) if disk]


def _displayed(code: str) -> str:
    kind, _, value = code.partition("/")
    return f"VM {value}" if kind != "ProvisioningState" else f"Provisioning {value}"
