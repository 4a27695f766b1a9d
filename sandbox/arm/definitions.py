"""The rules of Microsoft.Compute/galleries/images, the image definitions. Pure."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

from sandbox.arm import bodies
from sandbox.arm.clock import Clock
from sandbox.arm.errors import invalid_parameter, missing_parameter, property_change_not_allowed
from sandbox.arm.galleries import invalid_entity_name
from sandbox.arm.resource import Draft, Resource
from sandbox.arm.resource_id import ResourceId

TYPE = "Microsoft.Compute/galleries/images"
CREATE_SECONDS = 0.11  # medians of recorded traffic
UPDATE_SECONDS = 0.11
DELETE_SECONDS = 0.22
QUOTA = 1_000  # in a subscription and region (Microsoft's docs)

_KEYS = (
    "hyperVGeneration", "architecture", "features", "osType", "osState", "endOfLifeDate", "recommended", "disallowed",
    "purchasePlan", "identifier", "provisioningState", "description", "eula", "privacyStatementUri", "releaseNoteUri",
)  # fmt: skip
_FIXED = ("osType", "osState", "hyperVGeneration", "architecture", "eula", "purchasePlan")
_IDENTIFIER_LENGTHS = {"publisher": 128, "offer": 64, "sku": 64}
_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_.-]{0,78}[A-Za-z0-9])?")
_ASSET_NAME = re.compile(r"[A-Za-z0-9_.-]*[A-Za-z0-9_-]")
_FEATURE_VALUES = {
    value.lower(): value
    for value in (
        "True", "False", "TrustedLaunch", "TrustedLaunchSupported", "ConfidentialVM", "ConfidentialVMSupported",
        "TrustedLaunchAndConfidentialVmSupported", "Standard",
    )
}  # fmt: skip


def created(
    resource: ResourceId,
    body: bodies.BoundBody,
    siblings: list[Resource],
    api_version: str,
    now: datetime,
    clock: Clock,
) -> Draft:
    """A new definition. `siblings` are the gallery's others: publisher, offer and sku are one of a kind among them.

    Raises ArmError, in the words of troubleshooting-shared-images.
    """
    if not _NAME.fullmatch(resource.name):
        raise invalid_entity_name(resource.name, "galleryImageName", r"^[^_\W][\w-._]{0,79}(?<![-.])$")
    sent = _normalised(body.properties, api_version)
    for key in ("osType", "osState", "identifier"):
        if key not in sent:
            raise missing_parameter(f"galleryImage.properties.{key}")
    identifier = sent["identifier"]
    for key, longest in _IDENTIFIER_LENGTHS.items():
        value = identifier.get(key, "")
        if len(value) > longest or not _ASSET_NAME.fullmatch(value):
            path = f"galleryImage.properties.identifier.{key}"
            raise invalid_parameter(
                f"Asset name {path} is not valid. It cannot be empty. Allowed characters are uppercase or lowercase "
                "letters, digits, hyphen(-), period (.), underscore (_). Names are not allowed to end with period(.). "
                f"The length of the name cannot exceed {longest} characters.",
                path,
            )
    for other in siblings:
        if _same(other.properties["identifier"], identifier):
            raise invalid_parameter(
                f"Gallery image: {other.name} identified by (publisher:{identifier['publisher']}, "
                f"offer:{identifier['offer']}, sku:{identifier['sku']}) already exists. Choose a different publisher, "
                "offer, sku combination."
            )
    _check(sent, now)
    properties = _with_defaults(sent, api_version)
    return Draft(properties, clock.after(now, CREATE_SECONDS), properties)


def updated(definition: Resource, body: bodies.BoundBody, api_version: str, now: datetime, clock: Clock) -> Draft:
    """A definition after a PUT or PATCH. Raises ArmError 409 where the body changes what is fixed.

    Features are fixed too, unless the definition allows updates of the image. Defaults are not filled in again.
    """
    old = definition.properties
    sent = _normalised(body.properties, api_version)
    for key in _FIXED:
        if key in sent and sent[key] != old.get(key):
            raise property_change_not_allowed(f"galleryImage.properties.{key}")
    for key, value in sent.get("identifier", {}).items():
        if value != old["identifier"].get(key):
            raise property_change_not_allowed(f"galleryImage.properties.identifier.{key}")
    if not (sent.get("allowUpdateImage") or old.get("allowUpdateImage")):
        before = {feature["name"]: feature.get("value") for feature in old.get("features", [])}
        for feature in sent.get("features", []):
            if before.get(feature["name"]) != feature.get("value"):
                raise property_change_not_allowed(f"galleryImage.properties.features/{feature['name']}")
        sent.pop("features", None)
    if sent.get("endOfLifeDate") != old.get("endOfLifeDate"):
        _check(sent, now)
    properties = bodies.merged(old, sent)
    return Draft(properties, clock.after(now, UPDATE_SECONDS), properties)


def properties(definition: Resource) -> dict[str, Any]:
    """What a GET shows."""
    return bodies.ordered(definition.properties | {"provisioningState": definition.provisioning_state}, _KEYS)


def feature(definition: Resource, name: str) -> str | None:
    """The value of the feature of this name, such as SecurityType."""
    features = definition.properties.get("features", [])
    return next((str(one.get("value")) for one in features if one.get("name") == name), None)


def _normalised(sent: dict[str, Any], api_version: str) -> dict[str, Any]:
    # Recorded traffic: empty lists and objects are dropped, "true" comes back as "True", "ConfidentialVm" as its twin.
    kept = {key: value for key, value in sent.items() if value not in ({}, [])}
    if "features" in kept:
        kept["features"] = [
            one | {"value": _FEATURE_VALUES.get(str(one.get("value")).lower(), one.get("value"))}
            for one in kept["features"]
        ]
    if api_version < "2021-10-01":
        kept.pop("architecture", None)
    return kept


def _with_defaults(sent: dict[str, Any], api_version: str) -> dict[str, Any]:
    """From 2025-03-03 on a definition is V2 with Trusted Launch supported unless it says otherwise (Microsoft's docs).

    Whether an Arm64 definition takes that default too is a guess.
    """
    modern = api_version >= "2025-03-03"
    filled: dict[str, Any] = {"hyperVGeneration": "V2" if modern else "V1"}
    if api_version >= "2021-10-01":
        filled["architecture"] = "x64"
    filled |= sent
    features = list(filled.get("features", []))
    if modern and filled["hyperVGeneration"] == "V2" and all(one["name"] != "SecurityType" for one in features):
        filled["features"] = [*features, {"name": "SecurityType", "value": "TrustedLaunchSupported"}]
    return bodies.ordered(filled, _KEYS)


def _check(sent: dict[str, Any], now: datetime) -> None:
    path = "galleryImage.properties"
    check_end_of_life(sent.get("endOfLifeDate"), f"{path}.endOfLifeDate", now)
    for key, bounds in sent.get("recommended", {}).items():
        if bounds.get("min", 0) > bounds.get("max", bounds.get("min", 0)):
            name = f"{path}.recommended.{key}"
            raise invalid_parameter(
                f"The minimum value of {name} must not be greater than the maximum value of {name}."
            )


def check_end_of_life(date: str | None, target: str, now: datetime) -> None:
    """Raises ArmError where an end of life lies in the past (troubleshooting-shared-images)."""
    if date is not None and datetime.fromisoformat(date) <= now:
        raise invalid_parameter("EndOfLifeDate must be set to a future date.", target)


def _same(one: dict[str, str], other: dict[str, str]) -> bool:
    return all(one.get(key, "").lower() == other.get(key, "").lower() for key in _IDENTIFIER_LENGTHS)
