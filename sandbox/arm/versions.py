"""The rules of Microsoft.Compute/galleries/images/versions, the image versions. Pure."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pydantic import TypeAdapter

from sandbox.arm import bodies, definitions, regions, replication
from sandbox.arm.clock import Clock, timestamp
from sandbox.arm.errors import ArmError, invalid_parameter, missing_parameter, property_change_not_allowed
from sandbox.arm.replication import RegionRule, Replication
from sandbox.arm.resource import Draft, Resource
from sandbox.arm.resource_id import ResourceId
from sandbox.arm.sources import Disk, Source, Sources
from sandbox.arm.vhd import VhdFault, check_blob_name

TYPE = "Microsoft.Compute/galleries/images/versions"
DELETE_SECONDS = 90.0  # the median of recorded traffic
FLAGS_SECONDS = 150.0  # an update that copies nothing takes the recorded minimum of updates: a guess
REPLICAS_SECONDS = 332.0  # one that changes replica counts takes their median: a guess
FAULTY_SOURCE_SECONDS = 60.0  # until a broken source is noticed: a guess
RETRY_AFTER_SECONDS = 60.0  # recorded since late 2020, of versions alone
LARGEST_GIB = 2048  # GallerySourceResourceExceedsMaxSize; 32 TiB where shallow
QUOTA = 10_000  # in a subscription and region (Microsoft's docs)

_KEYS = (
    "publishingProfile", "storageProfile", "safetyProfile", "securityProfile", "validationsProfile",
    "provisioningState", "replicationStatus",
)  # fmt: skip
_PUBLISHING_KEYS = (
    "targetRegions", "replicaCount", "excludeFromLatest", "publishedDate", "endOfLifeDate", "storageAccountType",
    "storageAccountStrategy", "replicationMode", "targetExtendedLocations",
)  # fmt: skip
_SAFETY_SINCE = "2022-03-03"
_VALIDATIONS_SINCE = "2024-03-03"
_BLOCKING_SINCE = "2024-03-03"
_STRATEGY_SINCE = "2025-03-03"
_ROOT = "galleryImageVersion.properties"
_LRS = "Standard_LRS"
_INT32 = 2**31 - 1
_REPLICATIONS = TypeAdapter(dict[str, Replication])


@dataclass(frozen=True)
class Circumstances:
    """What a version's rules must know besides the request.

    `replication_lag` is how much later than the operation the regions complete, in real seconds.
    """

    definition: Resource
    location: str
    api_version: str
    now: datetime
    clock: Clock
    rule_for: Callable[[str], RegionRule | None]
    replication_lag: float = 0.0


def check_name(name: str) -> None:
    """Raises ArmError where the name is not three numbers (azure-rest-api-specs#10707 for the words)."""
    parts = name.split(".")
    numbers = [int(part) for part in parts if re.fullmatch(r"\d{1,10}", part)]
    if len(parts) != 3 or len(numbers) != 3 or max(numbers) > _INT32:
        raise invalid_parameter(
            "The image version name is invalid. The image version name should follow Major(int).Minor(int).Patch(int) "
            "format, where int is between 0 and 2,147,483,647 (inclusive). For e.g: 1.0.0, 2018.12.1 etc.",
            "galleryImageVersionName",
        )


def created(
    resource: ResourceId, body: bodies.BoundBody, look_up: Callable[[], Sources], around: Circumstances
) -> Draft:
    """A new version, on its way to its regions. `look_up` finds what its storage profile names. Raises ArmError."""
    check_name(resource.name)
    storage = _new_storage_profile(body.properties.get("storageProfile", {}))
    publishing = _publishing_profile({}, body.properties.get("publishingProfile", {}), around)
    source = resolved_source(storage, look_up())
    _check_subscription(storage, source, resource.subscription)
    _check_source(source, around)
    publishing["publishedDate"] = timestamp(around.now)
    properties = {
        "publishingProfile": bodies.ordered(publishing, _PUBLISHING_KEYS),
        "storageProfile": storage,
        "safetyProfile": _safety_profile({}, body.properties.get("safetyProfile", {})),
    }
    if "securityProfile" in body.properties:
        properties["securityProfile"] = body.properties["securityProfile"]
    return _replicated(properties, {}, source, around, at_least=0)


def updated(version: Resource, body: bodies.BoundBody, around: Circumstances) -> Draft:
    """A version after a PUT or PATCH: what the body leaves out stays. Raises ArmError.

    Another source is refused. A version that failed for its source accepts the same PUT again, without a size
    (azure-cli#29091), and fails again: it must be deleted to be made anew (packer#11558). One that failed in a region
    is mended by dropping the region and adding it again, or by trying once more (azure-cli#15539).
    """
    old = version.properties
    _check_same_source(old["storageProfile"], body.properties.get("storageProfile", {}))
    safety = _safety_profile(old["safetyProfile"], body.properties.get("safetyProfile", {}))
    publishing = old["publishingProfile"]
    kept = {
        region: one for region, one in replications(version).items() if one.outcome is replication.Outcome.COMPLETED
    }
    if "publishingProfile" in body.properties:
        publishing = _publishing_profile(publishing, body.properties["publishingProfile"], around)
        if around.api_version >= _SAFETY_SINCE and not safety["allowDeletionOfReplicatedLocations"]:
            _check_kept_regions(version.name, kept, publishing)
    properties = old | {
        "publishingProfile": bodies.ordered(publishing, _PUBLISHING_KEYS),
        "safetyProfile": safety,
    }
    counts = _replica_counts(old["publishingProfile"])
    changes_replicas = any(counts.get(name, n) != n for name, n in _replica_counts(publishing).items())
    source = _stored_source(version)
    return _replicated(properties, kept, source, around, REPLICAS_SECONDS if changes_replicas else FLAGS_SECONDS)


def _check_kept_regions(name: str, replicated: dict[str, Replication], publishing: dict[str, Any]) -> None:
    """Raises ArmError where a region that holds the version is dropped.

    The REST description has the rule (allowDeletionOfReplicatedLocations: "whether or not removing this Gallery Image
    Version from replicated regions is allowed"); code, words, and that a failed region counts as none are guesses. The
    recorded drop of a region is of an api-version that did not know the rule.
    """
    targets = {regions.normalised(target["name"]) for target in publishing["targetRegions"]}
    dropped = [regions.display_name(region) for region in replicated if region not in targets]
    if dropped:
        raise ArmError(
            409,
            "OperationNotAllowed",
            f"Removing the gallery image version '{name}' from replicated regions '{','.join(dropped)}' is not allowed "
            "since safetyProfile.allowDeletionOfReplicatedLocations is false.",
            target=f"{_ROOT}.safetyProfile.allowDeletionOfReplicatedLocations",
        )


def replications(version: Resource) -> dict[str, Replication]:
    """Each region's replication, by the region's normalised name."""
    return _REPLICATIONS.validate_python(version.internal["replications"])


def properties(version: Resource, api_version: str, expand: str, now: datetime) -> dict[str, Any]:
    """What a GET shows.

    replicationStatus and UEFI settings are there only where `expand` asks for them (that a GET hides the latter
    otherwise is a guess). validationsProfile is what traffic of 2026 shows of every version that came through.
    """
    shown = version.properties | {"provisioningState": version.provisioning_state}
    if api_version < _SAFETY_SINCE:
        del shown["safetyProfile"]
    elif api_version < _BLOCKING_SINCE:
        safety = shown["safetyProfile"]
        shown["safetyProfile"] = {key: safety[key] for key in safety if key != "blockDeletionBeforeEndOfLife"}
    if api_version < _STRATEGY_SINCE and "storageAccountStrategy" in shown["publishingProfile"]:
        profile = {"storageAccountType": "Standard_LRS"} | shown["publishingProfile"]
        del profile["storageAccountStrategy"]
        shown["publishingProfile"] = bodies.ordered(profile, _PUBLISHING_KEYS)
    if api_version >= _VALIDATIONS_SINCE and version.provisioning_state == "Succeeded":
        shown["validationsProfile"] = {"validationOperationStatus": "NotExecuted"}
    if version.provisioning_state in ("Succeeded", "Failed") and "uefisettings" not in expand.lower():
        shown.pop("securityProfile", None)
    if "replicationstatus" in expand.lower():
        shown["replicationStatus"] = replication.status(replications(version), now)
    return bodies.ordered(shown, _KEYS)


def check_deletable(version: Resource, now: datetime) -> None:
    """Raises ArmError where a version is kept until its end of life (Microsoft's docs; the status is a guess)."""
    end = version.properties["publishingProfile"].get("endOfLifeDate")
    blocked = version.properties["safetyProfile"].get("blockDeletionBeforeEndOfLife", False)
    if blocked and end is not None and datetime.fromisoformat(end) > now:
        raise ArmError(
            409,
            "DeleteGalleryImageVersionBlockedBeforeEndOfLife",
            "Deletion of Gallery image version is not allowed because the image is enabled for "
            "blockDeletionBeforeEndOfLife and its endOfLifeDate has not reached yet",
        )


def is_in(version: Resource, region: str, now: datetime) -> bool:
    """Whether the version has come to a region: only there can a virtual machine be made of it."""
    replica = replications(version).get(region)
    return replica is not None and replica.status(region, now)["state"] == "Completed"


def check_in(version: Resource, region: str, now: datetime) -> None:
    """Raises ArmError where the version is not in a region (AgentBaker#8373, troubleshooting-shared-images)."""
    if not is_in(version, region, now):
        raise ArmError(
            404,
            "GalleryImageNotFound",
            f"The gallery image {version.id} is not available in {region} region. Please contact image owner to "
            "replicate to this region, or change your requested region.",
            target="imageReference",
        )


def latest(definition: Resource, found: list[Resource], region: str, now: datetime) -> Resource:
    """What `latest` is in a region: the highest version there that neither it nor the region leaves out.

    Raises ArmError where there is none (troubleshooting-shared-images; the code is a guess).
    """

    def counts(version: Resource) -> bool:
        profile = version.properties["publishingProfile"]
        here = [one for one in profile["targetRegions"] if regions.normalised(one["name"]) == region]
        excluded = any(one.get("excludeFromLatest", profile["excludeFromLatest"]) for one in here)
        return not version.is_being_deleted and not excluded and is_in(version, region, now)

    candidates = [version for version in found if counts(version)]
    if not candidates:
        raise ArmError(
            404,
            "GalleryImageNotFound",
            f'There is no latest image version exists for "{definition.id}"',
            target="imageReference",
        )
    return max(candidates, key=lambda version: [int(part) for part in version.name.split(".")])


def as_source(version: Resource, definition: Resource) -> Source:
    """What a version offers to another one made from it."""
    storage = version.properties["storageProfile"]
    images = [storage.get("osDiskImage", {}), *storage.get("dataDiskImages", [])]
    return Source(
        id=version.id,
        disks=tuple(Disk(image.get("lun"), image.get("sizeInGB", 0), image.get("hostCaching")) for image in images),
        location=version.location,
        os_type=definition.properties["osType"],
        os_state=definition.properties["osState"],
        hyper_v_generation=definition.properties["hyperVGeneration"],
        architecture=definition.properties.get("architecture"),
        security_type=definitions.feature(definition, "SecurityType") or "Standard",
        encrypted=any(_is_encrypted(target) for target in version.properties["publishingProfile"]["targetRegions"]),
    )


def _is_encrypted(target: dict[str, Any]) -> bool:
    encryption = target.get("encryption", {})
    images = [encryption.get("osDiskImage", {}), *encryption.get("dataDiskImages", [])]
    return any("diskEncryptionSetId" in image for image in images)


def _replicated(
    properties: dict[str, Any],
    kept: dict[str, Replication],
    source: Source,
    around: Circumstances,
    at_least: float,
) -> Draft:
    now, clock = around.now, around.clock
    publishing = properties["publishingProfile"]
    targets = [regions.normalised(target["name"]) for target in publishing["targetRegions"]]
    shallow = publishing.get("replicationMode") == "Shallow"
    error = _source_error(source, shallow=shallow)
    if error is not None:
        end = clock.after(now, FAULTY_SOURCE_SECONDS)
        fault = Replication(
            begins=now, ends=end, outcome=replication.Outcome.FAILED, reaches=0, details=error["message"]
        )
        plan = {region: kept.get(region, fault) for region in targets}
    else:
        # The source region is the first to be copied to, wherever it stands in the list
        missing = sorted((r for r in targets if r not in kept), key=lambda region: region != around.location)
        new = replication.planned(
            missing, now, clock, size_gb=source.size_gb, shallow=shallow, rule_for=around.rule_for
        )
        plan = {region: kept[region] if region in kept else new[region] for region in targets}
        end_or_never = replication.ends(plan.values(), now, clock, 0 if new else at_least)
        plan |= replication.delayed(new, around.replication_lag)
        error = replication.failure(plan)
        return Draft(
            properties,
            end_or_never,
            properties | {"storageProfile": _filled(properties["storageProfile"], source)},
            final_state="Succeeded" if error is None else "Failed",
            error=error,
            internal=_internal(plan, source),
        )
    return Draft(properties, end, properties, "Failed", error, _internal(plan, source))


def _internal(plan: dict[str, Replication], source: Source) -> dict[str, Any]:
    return {
        "replications": _REPLICATIONS.dump_python(plan, mode="json"),
        "source": TypeAdapter(Source).dump_python(source, mode="json"),
    }


def _stored_source(version: Resource) -> Source:
    return TypeAdapter(Source).validate_python(version.internal["source"])


def _source_error(source: Source, *, shallow: bool) -> dict[str, Any] | None:
    if source.fault is not None:
        # azure-cli#29091 for the code and the frame of the words
        message = f"Replication failed in this region due to '{source.fault.message}'."
        return {"code": "InternalOperationError", "message": message}
    largest = LARGEST_GIB * (16 if shallow else 1)
    size = max((disk.size_gb for disk in source.disks), default=0)
    if size > largest:
        message = f"The GalleryImageVersion source resource size {size} exceeds the max size {largest} supported"
        return {"code": "GallerySourceResourceExceedsMaxSize", "message": message}
    return None


def _publishing_profile(old: dict[str, Any], sent: dict[str, Any], around: Circumstances) -> dict[str, Any]:
    path = f"{_ROOT}.publishingProfile"
    _check_storage_choice(old, sent)
    if old and sent.get("replicationMode", "Full") != old.get("replicationMode", "Full") and "replicationMode" in sent:
        raise property_change_not_allowed(f"{path}.replicationMode")
    if sent.get("endOfLifeDate") != old.get("endOfLifeDate"):
        definitions.check_end_of_life(sent.get("endOfLifeDate"), f"{path}.endOfLifeDate", around.now)
    profile: dict[str, Any] = {"replicaCount": 1, "excludeFromLatest": False} | old | sent
    if "storageAccountStrategy" in profile:
        profile.pop("storageAccountType", None)
    elif "storageAccountType" not in profile:
        # From 2025-03-03 on a strategy is the default (Microsoft's REST description); that it is echoed is a guess
        modern = around.api_version >= _STRATEGY_SINCE
        profile |= {"storageAccountStrategy": "PreferStandard_ZRS"} if modern else {"storageAccountType": _LRS}
    if profile.get("replicationMode") == "Full":
        del profile["replicationMode"]  # never echoed (recorded traffic)
    if "targetExtendedLocations" in old and "targetExtendedLocations" not in sent:
        del profile["targetExtendedLocations"]
    _check_replica_count(profile["replicaCount"], f"{path}.replicaCount")
    targets = profile.get("targetRegions") or [{"name": around.location}]
    profile["targetRegions"] = _target_regions(targets, profile, old.get("targetRegions", []), around.location)
    if profile.get("targetExtendedLocations"):
        profile["targetExtendedLocations"] = [_extended_location(one) for one in profile["targetExtendedLocations"]]
    if profile.get("replicationMode") == "Shallow":
        counts = {profile["replicaCount"], *_replica_counts(profile).values()}
        if counts != {1}:
            # The rule is packer-plugin-azure#337's, the words are a guess.
            raise invalid_parameter("The replica count of a shallow image version must be 1.", f"{path}.replicaCount")
    return profile


def _check_storage_choice(old: dict[str, Any], sent: dict[str, Any]) -> None:
    """Raises ArmError: type and strategy exclude each other, and neither is updatable (Microsoft's REST description).

    The words of the 400 are a guess.
    """
    path = f"{_ROOT}.publishingProfile"
    if "storageAccountType" in sent and "storageAccountStrategy" in sent:
        raise invalid_parameter(
            f"{path}.storageAccountStrategy cannot be specified along with {path}.storageAccountType.",
            f"{path}.storageAccountStrategy",
        )
    for key in ("storageAccountType", "storageAccountStrategy"):
        if old and key in sent and sent[key] != old.get(key, _LRS):
            raise property_change_not_allowed(f"{path}.{key}")


def _default_storage(profile: dict[str, Any], region: str) -> str:
    strategy = profile.get("storageAccountStrategy")
    if strategy == "PreferStandard_ZRS" and regions.has_zones(region):
        return "Standard_ZRS"
    return _LRS if strategy else str(profile["storageAccountType"])


def _target_regions(
    targets: list[dict[str, Any]], profile: dict[str, Any], before: list[dict[str, Any]], location: str
) -> list[dict[str, Any]]:
    filled = []
    path = f"{_ROOT}.publishingProfile.targetRegions"
    types_before = {target["name"]: target["storageAccountType"] for target in before}
    for target in targets:
        name = target.get("name", "")
        if not regions.is_known(name):
            known = ",".join(regions.LOCATIONS)
            raise ArmError(
                400,
                "LocationNotAvailableForResourceType",
                f"The provided location '{name}' is not available for resource type '{TYPE}'. "
                f"List of available regions for the resource type is '{known}'.",
            )
        shown = regions.display_name(name)
        kept_type = types_before.get(shown) or _default_storage(profile, name)
        entry: dict[str, Any] = {
            "name": shown,
            "regionalReplicaCount": target.get("regionalReplicaCount", profile["replicaCount"]),
            "storageAccountType": target.get("storageAccountType", kept_type),
        }
        if entry["storageAccountType"] != types_before.get(shown, entry["storageAccountType"]):
            raise property_change_not_allowed(f"{path}.storageAccountType")  # that the path reads so is a guess
        if entry["storageAccountType"] == "Standard_ZRS" and not regions.has_zones(name):
            raise invalid_parameter("ZRS storage account type is not supported in this region.", path)
        _check_replica_count(entry["regionalReplicaCount"], f"{path}.regionalReplicaCount")
        if "encryption" in target:
            entry["encryption"] = _encryption(target["encryption"])
        if target.get("excludeFromLatest"):
            entry["excludeFromLatest"] = True
        if target.get("additionalReplicaSets"):
            for extra in target["additionalReplicaSets"]:
                count = extra.get("regionalReplicaCount", 1)
                _check_replica_count(count, f"{path}.additionalReplicaSets.regionalReplicaCount")
            entry["additionalReplicaSets"] = target["additionalReplicaSets"]
        filled.append(entry)
    names = [regions.normalised(entry["name"]) for entry in filled]
    if len(set(names)) != len(names):  # terraform#7751
        raise invalid_parameter("Duplicate regions are not allowed in target publishing regions.")
    if location not in names:  # troubleshooting-shared-images; how it separates the regions is a guess
        raise invalid_parameter(
            f"Gallery image version publishing profile regions '{','.join(names)}' must contain the location of image "
            f"version '{location}'."
        )
    _check_encryption(filled)
    return filled


def _check_encryption(targets: list[dict[str, Any]]) -> None:
    """Raises ArmError where a disk is encrypted in one region and not in another (troubleshooting-shared-images)."""
    path = "galleryArtifactVersion.properties.publishingProfile.targetRegions.encryption.osDiskImage"
    by_disk: dict[str, dict[str, str]] = {}
    for target in targets:
        encryption = target.get("encryption", {})
        if key := encryption.get("osDiskImage", {}).get("diskEncryptionSetId"):
            by_disk.setdefault(f"{path}.diskEncryptionSetId", {})[target["name"]] = key
        luns = [disk.get("lun") for disk in encryption.get("dataDiskImages", [])]
        if twice := sorted({lun for lun in luns if luns.count(lun) > 1}):
            raise invalid_parameter(
                f"Duplicate luns '{','.join(map(str, twice))}' were specified in target region '{target['name']}' "
                "encryption.dataDiskImages."
            )
        for disk in encryption.get("dataDiskImages", []):
            if key := disk.get("diskEncryptionSetId"):
                by_disk.setdefault(f"LUN {disk.get('lun')}", {})[target["name"]] = key
    for disk_name, keys in by_disk.items():
        bare = next((target["name"] for target in targets if target["name"] not in keys), None)
        if bare is not None:
            region, key = next(iter(keys.items()))
            raise invalid_parameter(
                f"A disk encryption set is required for disk '{disk_name}' in target region '{bare}' since disk "
                f"encryption set '{key}' is used for the corresponding disk in region '{region}'"
            )


def _extended_location(sent: dict[str, Any]) -> dict[str, Any]:
    defaults = {"extendedLocationReplicaCount": 1, "storageAccountType": "StandardSSD_LRS"}
    filled: dict[str, Any] = defaults | sent
    if regions.is_known(filled.get("name", "")):
        filled["name"] = regions.display_name(filled["name"])
    return bodies.ordered(filled, ("name", "extendedLocation"))


def _encryption(sent: dict[str, Any]) -> dict[str, Any]:
    if "osDiskImage" not in sent:
        return sent
    return sent | {"osDiskImage": {"securityProfile": {}} | sent["osDiskImage"]}


def _check_replica_count(count: int, path: str) -> None:
    if not 1 <= count <= 100:
        raise invalid_parameter(
            f"The value {count} of parameter {path} is out of range. The value must be between 1 and 100, inclusive.",
            path,
        )


def _replica_counts(publishing: dict[str, Any]) -> dict[str, int]:
    return {target["name"]: target["regionalReplicaCount"] for target in publishing["targetRegions"]}


def _safety_profile(old: dict[str, Any], sent: dict[str, Any]) -> dict[str, Any]:
    return {"reportedForPolicyViolation": False, "allowDeletionOfReplicatedLocations": False} | old | sent


def _new_storage_profile(sent: dict[str, Any]) -> dict[str, Any]:
    source = sent.get("source", {})
    disks = [disk for disk in (sent.get("osDiskImage"), *sent.get("dataDiskImages", [])) if disk]
    disk_sources = [disk["source"] for disk in disks if disk.get("source")]
    if len(source) + bool(disk_sources) != 1:
        raise invalid_parameter(
            "The gallery artifact version source can only be specified either directly under storageProfile or within "
            "individual OS or data disks. One and only one source type (user image, snapshot, disk, virtual machine) "
            "can be provided.",
            f"{_ROOT}.storageProfile.source.id",
        )
    if source:
        return {"source": source}
    if not sent.get("osDiskImage", {}).get("source"):
        raise missing_parameter(f"{_ROOT}.storageProfile.osDiskImage")
    for disk in disks:
        if "uri" in disk.get("source", {}) and "storageAccountId" not in disk["source"]:
            # A blob's `id` beside its `uri` is refused since 2025-03-15 (azure-cli#31186); the words are a guess.
            raise missing_parameter(f"{_ROOT}.storageProfile.osDiskImage.source.storageAccountId")
    data_disks = sent.get("dataDiskImages", [])
    luns = [disk.get("lun") for disk in data_disks]
    if len(set(luns)) != len(luns):
        raise invalid_parameter(
            "Duplicated lun numbers have been detected in the input data disks. Lun number must be unique for each "
            "data disk."
        )
    if len({str(one).lower() for one in disk_sources}) != len(disk_sources):
        raise invalid_parameter(
            "Duplicated source ids are found in the input disks. Source id should be unique for each disk."
        )
    profile: dict[str, Any] = {"osDiskImage": {"hostCaching": "ReadWrite"} | sent["osDiskImage"]}
    if data_disks:
        profile["dataDiskImages"] = [
            bodies.ordered({"hostCaching": "ReadOnly"} | disk, ("lun", "hostCaching", "source")) for disk in data_disks
        ]
    return profile


def resolved_source(storage: dict[str, Any], found: Sources) -> Source:
    """The source a storage profile names. Raises ArmError where there is none (troubleshooting-shared-images)."""
    whole = storage.get("source", {})
    if whole:
        source_id = str(next(iter(whole.values())))
        source = found.by_id.get(source_id.lower())
        if source is None:
            raise _not_found(source_id)
        return source
    parts = [
        (image.get("lun"), _disk_source(image.get("source", {}), found))
        for image in (storage["osDiskImage"], *storage.get("dataDiskImages", []))
        if "source" in image
    ]
    _, os_disk = parts[0]
    return dataclasses.replace(
        os_disk,
        disks=tuple(Disk(lun, part.size_gb) for lun, part in parts),
        fault=next((part.fault for _, part in parts if part.fault is not None), None),
    )


def _disk_source(named: dict[str, Any], found: Sources) -> Source:
    uri = named.get("uri")
    if uri is None:
        source = found.by_id.get(str(named.get("id", "")).lower())
        if source is None:
            raise _not_found(str(named.get("id")))
        return source
    check_blob_name(uri, f"{_ROOT}.storageProfile.source.uri")  # that galleries say so too is a guess
    size = found.by_uri.get(uri)
    if size is None:
        raise _not_found(uri)
    if isinstance(size, VhdFault):
        return Source(id=uri, disks=(Disk(None, 0),), security_type="Standard", fault=size)
    return Source(id=uri, disks=(Disk(None, size),), security_type="Standard")


def _not_found(source: str) -> ArmError:
    return invalid_parameter(
        f"Source {source} is not found. Please check source exists, and is in the same region as gallery image version "
        "being created",
        f"{_ROOT}.storageProfile.source.id",
    )


def _check_subscription(storage: dict[str, Any], source: Source, subscription: str) -> None:
    """Raises ArmError for a source in another subscription that Azure takes from this one only, or by another member.

    The words on an encrypted one are troubleshooting-shared-images'; that it means one with a disk encryption set, and
    the code, are guesses. A virtual machine goes by virtualMachineId then (packer-plugin-azure#403).
    """
    found = ResourceId.parse(source.id)
    if found is None or found.subscription.lower() == subscription.lower():
        return
    if found.type.lower() == "microsoft.compute/virtualmachines" and "id" in storage.get("source", {}):
        raise invalid_parameter(
            f"The source VM '{source.id}' is a cross subscription source for the galleryImageVersion created in "
            f"subscription '{subscription}'. Please retry the call by specifying the VM id in "
            "'galleryImageVersion.properties.storageProfile.source.virtualMachineId' instead. See "
            "https://aka.ms/acgsecurityupdates for more details."
        )
    if source.encrypted:
        raise invalid_parameter(
            f"Encrypted source: '{source.id}' is in a different subscription ID than the current gallery image version "
            f"subscription '{subscription}'. Please retry with an unencrypted source(s) or use the source's "
            f"subscription '{found.subscription}' to create the gallery image version"
        )


def _check_source(source: Source, around: Circumstances) -> None:
    """Raises ArmError where source and definition differ. The words are troubleshooting-shared-images', where it has
    them; those on architecture and security type are guesses.
    """
    target = f"{_ROOT}.storageProfile.source.id"
    definition = around.definition.properties
    if source.location is not None and source.location != around.location:
        raise _not_found(source.id)
    if source.os_type is not None and source.os_type != definition["osType"]:
        raise invalid_parameter(
            f"The resource with id '{source.id}' has a different OS type ['{source.os_type}'] than the parent gallery "
            f"image OS type generation ['{definition['osType']}']",
            target,
        )
    if source.os_state is not None and source.os_state != definition["osState"]:
        raise invalid_parameter(
            f"Cannot create Gallery Image Version from: {source.id} since the OS State in the parent gallery image "
            f"('{definition['osState']}') is not '{source.os_state}'.",
            target,
        )
    generation = source.hyper_v_generation
    if generation is not None and generation != definition["hyperVGeneration"]:
        raise invalid_parameter(
            f"The resource with id '{source.id}' has a different Hypervisor generation ['{generation}'] than the "
            f"parent gallery image Hypervisor generation ['{definition['hyperVGeneration']}']",
            target,
        )
    architecture = definition.get("architecture", "x64")
    if source.architecture is not None and source.architecture != architecture:
        raise invalid_parameter(
            f"The resource with id '{source.id}' has a different architecture ['{source.architecture}'] than the "
            f"parent gallery image architecture ['{architecture}']",
            target,
        )
    security = definitions.feature(around.definition, "SecurityType") or "Standard"
    if _guest_state(source.security_type) != _guest_state(security):
        # Microsoft's Trusted Launch pages: what holds a guest state goes where one is required, and only there
        raise invalid_parameter(
            f"The resource with id '{source.id}' has a different security type ['{source.security_type}'] than the "
            f"parent gallery image security type ['{security}']",
            target,
        )


def _guest_state(security_type: str) -> str | None:
    """Whose guest state goes with an image of this security type; None for none, as all the Supported types."""
    if security_type == "TrustedLaunch":
        return security_type
    return "ConfidentialVM" if security_type.split("_")[0] == "ConfidentialVM" else None


def _check_same_source(old: dict[str, Any], sent: dict[str, Any]) -> None:
    path = f"{_ROOT}.storageProfile"
    before = {disk.get("lun"): disk for disk in old.get("dataDiskImages", [])}
    after = {disk.get("lun"): disk for disk in sent.get("dataDiskImages", [])}
    if not after.keys() <= before.keys():
        raise invalid_parameter(
            "Adding new Data Disks or changing the LUN of a Data Disk in an existing Image is not allowed."
        )
    pairs = [("source", old.get("source", {}), sent.get("source", {}))]
    pairs.append(
        ("osDiskImage.source", old.get("osDiskImage", {}).get("source", {}), sent.get("osDiskImage", {}).get("source"))
    )
    pairs += [("dataDiskImages.source", before[lun].get("source", {}), after[lun].get("source")) for lun in after]
    for name, had, has in pairs:
        for key, value in (has or {}).items():
            if str(had.get(key, "")).lower() != str(value).lower():
                raise property_change_not_allowed(f"{path}.{name}.{key}")


def _filled(storage: dict[str, Any], source: Source) -> dict[str, Any]:
    """The storage profile of a version that came through: now it tells its disks' sizes."""
    disks: list[dict[str, Any]] = []
    given = {disk.get("lun"): disk for disk in storage.get("dataDiskImages", [])}
    given[None] = storage.get("osDiskImage", {"source": {}})
    for disk in source.disks:
        image: dict[str, Any] = {} if disk.lun is None else {"lun": disk.lun}
        image["sizeInGB"] = disk.size_gb
        image["hostCaching"] = disk.caching or "None"
        disks.append(bodies.ordered(image | given.get(disk.lun, {}), ("lun", "sizeInGB", "hostCaching", "source")))
    filled = storage | {"osDiskImage": disks[0]}
    return filled | {"dataDiskImages": disks[1:]} if disks[1:] else filled
