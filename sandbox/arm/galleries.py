"""The rules of Microsoft.Compute/galleries. Pure."""

from __future__ import annotations

import re
import uuid
from datetime import datetime
from typing import Any

from sandbox.arm import bodies, soft_delete
from sandbox.arm.clock import Clock
from sandbox.arm.errors import ArmError, invalid_parameter, property_change_not_allowed
from sandbox.arm.resource import Draft, Resource
from sandbox.arm.resource_id import ResourceId

TYPE = "Microsoft.Compute/galleries"
CREATE_SECONDS = 0.25  # medians of recorded traffic
UPDATE_SECONDS = 0.05
DELETE_SECONDS = 0.11
SHARE_SECONDS = 0.66
QUOTA = 100  # in a subscription and region (Microsoft's docs)

_KEYS = ("description", "identifier", "sharingProfile", "softDeletePolicy", "provisioningState")
_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_.]{0,78}[A-Za-z0-9])?")
_LARGEST_GROUPS = {"Subscriptions": 30, "AADTenants": 5}  # Microsoft's docs
_PERMISSIONS = "gallery.properties.sharingProfile.permissions"


def created(resource: ResourceId, body: bodies.BoundBody, others: list[Resource], now: datetime, clock: Clock) -> Draft:
    """A new gallery. `others` are the subscription's, for the name must be one of a kind there.

    Raises ArmError. The codes of both refusals are guesses; the second's words are troubleshooting-shared-images'.
    """
    if not _NAME.fullmatch(resource.name):
        raise invalid_entity_name(resource.name, "galleryName", r"^[^_\W][\w._]{0,79}(?<![-.])$")
    if any(other.name.lower() == resource.name.lower() for other in others):
        raise invalid_parameter(
            f"The gallery name '{resource.name}' is not unique within the subscription '{resource.subscription}'. "
            "Please pick another gallery name.",
            "galleryName",
        )
    soft_delete.check_policy(body.properties.get("softDeletePolicy", {}))
    properties = body.properties | {
        "identifier": {"uniqueName": f"{resource.subscription}-{resource.name.upper()}"},
    }
    return _drafted(properties, resource.key, clock.after(now, CREATE_SECONDS))


def updated(gallery: Resource, body: bodies.BoundBody, versions: list[Resource], now: datetime, clock: Clock) -> Draft:
    """A gallery after a PUT or PATCH: what the body leaves out stays. `versions` are those in it.

    Raises ArmError. Groups can be permitted at creation only, and soft delete asks for versions that are where their
    gallery is (Microsoft's docs for both rules; codes and words are guesses).
    """
    before = _permissions(gallery)
    after = body.properties.get("sharingProfile", {}).get("permissions", before)
    if after != before and "Groups" in (after, before):
        raise property_change_not_allowed(_PERMISSIONS)
    policy = body.properties.get("softDeletePolicy", {})
    soft_delete.check_policy(policy)
    if policy.get("isSoftDeleteEnabled") and any(one.location != gallery.location for one in versions):
        raise invalid_parameter(
            "Soft delete cannot be enabled since the gallery and its image versions are in different locations.",
            "gallery.properties.softDeletePolicy.isSoftDeleteEnabled",
        )
    properties = bodies.merged(gallery.properties, body.properties)
    return _drafted(properties, gallery.id.lower(), clock.after(now, UPDATE_SECONDS))


def shared(gallery: Resource, update: bodies.SharingUpdate, now: datetime, clock: Clock) -> Draft:
    """A gallery after `POST …/share`. Raises ArmError.

    The limits are Microsoft's docs'; codes and words of the refusals are guesses. A Reset makes a
    gallery private (recorded traffic).
    """
    permissions = _permissions(gallery)
    profile = dict(gallery.properties.get("sharingProfile", {}))
    groups: dict[str, list[str]] = {one["type"]: list(one["ids"]) for one in profile.get("groups", [])}
    operation = update.operation_type
    if operation == "Reset":
        groups, profile = {}, {"permissions": "Private"}
    elif operation == "EnableCommunity":
        if permissions != "Community":
            raise _not_permitted(operation, gallery.name, "Community", permissions)
        profile["communityGalleryInfo"] = profile["communityGalleryInfo"] | {"communityGalleryEnabled": True}
    else:
        if permissions != "Groups":
            raise _not_permitted(operation, gallery.name, "Groups", permissions)
        for group in update.groups or []:
            known = [one for one in groups.get(str(group.type), []) if one not in (group.ids or [])]
            groups[str(group.type)] = known + (list(group.ids or []) if operation == "Add" else [])
    for name, ids in groups.items():
        if len(ids) > _LARGEST_GROUPS[name]:
            raise invalid_parameter(
                f"The number of {name} a gallery is shared with exceeds the limit of {_LARGEST_GROUPS[name]}.", "groups"
            )
    profile["groups"] = [{"type": name, "ids": ids} for name, ids in groups.items() if ids]
    properties = gallery.properties | {"sharingProfile": profile}
    return Draft(properties, clock.after(now, SHARE_SECONDS), properties)


def properties(gallery: Resource, api_version: str, select: str = "", expand: str = "") -> dict[str, Any]:
    """What a GET shows (recorded traffic).

    A private sharing profile is shown from 2020-09-30 until 2021-10-01, and where `select` asks for permissions, which
    are then shown alone, or `expand` for groups, which only it shows.
    """
    shown = gallery.properties | {"provisioningState": gallery.provisioning_state}
    wanted = select.lower() == "permissions"
    with_groups = expand.lower() == "sharingprofile/groups"
    profile: dict[str, Any] = {"permissions": _permissions(gallery)} | dict(shown.pop("sharingProfile", {}))
    groups = profile.pop("groups", [])
    if with_groups and groups:
        profile["groups"] = groups
    if wanted:
        shown["sharingProfile"] = {"permissions": profile["permissions"]}
    elif profile["permissions"] != "Private" or with_groups or "2020-09-30" <= api_version < "2021-10-01":
        shown["sharingProfile"] = profile
    return bodies.ordered(shown, _KEYS)


def _permissions(gallery: Resource) -> str:
    return str(gallery.properties.get("sharingProfile", {}).get("permissions", "Private"))


def _drafted(properties: dict[str, Any], key: str, ends: datetime) -> Draft:
    sharing = properties.get("sharingProfile", {})
    if "communityGalleryInfo" in sharing:
        sharing["communityGalleryInfo"] = _community(sharing["communityGalleryInfo"], key)
    return Draft(properties, ends, properties)


def _community(sent: dict[str, Any], key: str) -> dict[str, Any]:
    """What a community gallery tells of itself (recorded traffic): not yet enabled, one public name."""
    public_name = f"{sent.get('publicNamePrefix', '')}-{uuid.uuid5(uuid.NAMESPACE_URL, key)}"
    return {"communityGalleryEnabled": False} | sent | {"publicNames": [public_name]}


def _not_permitted(operation: str, name: str, needed: str, found: str) -> ArmError:
    return ArmError(
        409,
        "OperationNotAllowed",
        f"Operation '{operation}' is not allowed on gallery '{name}' since its sharing permissions are '{found}' "
        f"and not '{needed}'.",
        target=_PERMISSIONS,
    )


def invalid_entity_name(name: str, target: str, pattern: str) -> ArmError:
    """The 400 for a name (troubleshooting-shared-images; target and code are guesses)."""
    return invalid_parameter(
        f"The entity name '{name}' is invalid according to its validation rule: {pattern}.", target
    )
