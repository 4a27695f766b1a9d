"""Soft-deleted image versions: kept a while, listed apart, restored by a PUT. Pure.

From Microsoft's page on soft delete and the REST description; no recording has one.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sandbox.arm import bodies
from sandbox.arm.clock import Clock, timestamp
from sandbox.arm.errors import ArmError, invalid_parameter
from sandbox.arm.resource import Pending, Resource
from sandbox.arm.resource_id import ResourceId

TYPE = "Microsoft.Compute/galleries/softDeletedArtifactTypes/artifacts/versions"
RETENTION_DAYS = 7
GRACE_DAYS = 0  # a guess: the page knows no grace period, the REST description no default
_BYPASS_SINCE = "2026-03-03"
_DAY = 86_400.0  # seconds


def is_enabled(gallery: Resource) -> bool:
    """Whether versions of this gallery are soft-deleted."""
    return bool(gallery.properties.get("softDeletePolicy", {}).get("isSoftDeleteEnabled"))


def is_bypassed(query: Mapping[str, str], api_version: str) -> bool:
    """Whether a deletion asks to pass soft delete by. An older api-version does not know how (REST description), and
    that it takes no notice is a guess."""
    return query.get("bypassSoftDelete", "").lower() == "true" and api_version >= _BYPASS_SINCE


def check_policy(policy: dict[str, Any]) -> None:
    """Raises ArmError 400 for a period that is none. The bounds are a guess."""
    for key, least in (("retentionPeriodInDays", 1), ("gracePeriodInDays", 0)):
        value = policy.get(key)
        if value is not None and not least <= value <= 365:
            path = f"gallery.properties.softDeletePolicy.{key}"
            raise invalid_parameter(
                f"The value {value} of parameter {path} is out of range. The value must be between {least} and 365, "
                "inclusive.",
                path,
            )


def id_of(version: ResourceId) -> ResourceId:
    """Where a version is found once it is soft-deleted: beside the images, under its own artifact type."""
    gallery, definition, name = version.names
    return ResourceId(
        version.subscription,
        version.resource_group,
        version.namespace,
        ("galleries", "softDeletedArtifactTypes", "artifacts", "versions"),
        (gallery, "Images", definition, name),
    )


def buried(version: Resource, gallery: Resource, now: datetime, clock: Clock) -> Resource:
    """What is kept of a version deleted `now`, until retention and grace are over.

    Raises ArmError for a version that failed: Azure cannot soft-delete one (Microsoft's page; code and words a guess).
    """
    if version.provisioning_state == "Failed":
        raise ArmError(
            409,
            "OperationNotAllowed",
            f"Operation 'Delete Gallery Image Version' is not allowed on {version.name} since its provisioning state "
            "is Failed and soft delete is enabled on the gallery. Disable soft delete on the gallery to delete it.",
        )
    policy = gallery.properties["softDeletePolicy"]
    consumable = clock.after(now, policy.get("retentionPeriodInDays", RETENTION_DAYS) * _DAY)
    gone = clock.after(consumable, policy.get("gracePeriodInDays", GRACE_DAYS) * _DAY)
    definition = version.id.split("/")[-3]
    return Resource(
        id=f"{gallery.id}/softDeletedArtifactTypes/Images/artifacts/{definition}/versions/{version.name}",
        name=version.name,
        type=TYPE,
        location=version.location,
        tags=version.tags,
        properties={
            "resourceArmId": version.id,
            "softDeletedArtifactType": "Images",
            "softDeletedTime": timestamp(now),
            "consumptionEndTime": timestamp(consumable),
            "hardDeletionTargetTime": timestamp(gone),
        },
        pending=Pending(at=gone, gone=True),
        internal={"version": version.model_dump(mode="json")},
    )


def restored(kept: Resource, body: bodies.BoundBody) -> Resource:
    """The version as it was, for a PUT that says `restore` or names no source.

    Raises ArmError 409 for a PUT that would make another version of that name, which is not free (code and words a
    guess).
    """
    storage = body.properties.get("storageProfile", {})
    names_source = storage.get("source") or storage.get("osDiskImage", {}).get("source")
    if names_source and not body.properties.get("restore"):
        raise ArmError(
            409,
            "Conflict",
            f"The gallery image version '{kept.name}' exists in a soft-deleted state. Restore it, or delete it "
            "permanently before creating a new one with the same name.",
        )
    return Resource.model_validate(kept.internal["version"])


def properties(kept: Resource, api_version: str) -> dict[str, Any]:
    """What a list shows. The ends of both periods came with 2026-03-03 (Microsoft's REST description)."""
    young = () if api_version >= "2026-03-03" else ("consumptionEndTime", "hardDeletionTargetTime")
    return {key: value for key, value in kept.properties.items() if key not in young}


def nested_error(kept: list[Resource]) -> ArmError:
    """The 409 for a parent of soft-deleted versions (Microsoft's page for the rule; the words are a guess)."""
    names = ", ".join(str(one.properties["resourceArmId"]).split("/providers/")[1] for one in kept)
    return ArmError(
        409,
        "CannotDeleteResource",
        "Cannot delete resource while nested resources exist. Some existing nested resource IDs include: "
        f"'{names}' (soft-deleted). Please delete all nested resources before deleting this resource.",
    )
