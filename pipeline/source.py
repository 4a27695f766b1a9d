"""What a version can be made of ("Azure Compute Gallery" page, image source), and where each is named."""

from __future__ import annotations

import re
from enum import StrEnum

from pipeline.resource_ids import GROUP, NAME


class SourceKind(StrEnum):
    """The kinds of source, by the names they have in a publish request."""

    BLOB = "blob"
    MANAGED_IMAGE = "managed_image"
    SNAPSHOT = "snapshot"
    DISK = "disk"
    VM = "vm"
    IMAGE_VERSION = "image_version"


_PATHS = {
    SourceKind.MANAGED_IMAGE: "images/NAME",
    SourceKind.SNAPSHOT: "snapshots/NAME",
    SourceKind.DISK: "disks/NAME",
    SourceKind.VM: "virtualMachines/NAME",
    SourceKind.IMAGE_VERSION: "galleries/GALLERY/images/DEFINITION/versions/VERSION",
}
_PARTS = {"NAME": NAME, "GALLERY": NAME, "DEFINITION": NAME, "VERSION": r"[0-9]{1,10}\.[0-9]{1,10}\.[0-9]{1,10}"}
_LONGEST = 1024


def _form(path: str) -> re.Pattern[str]:
    parts = (f"(?P<{part.lower()}>{_PARTS[part]})" if part in _PARTS else part for part in path.split("/"))
    return re.compile(rf"{GROUP}(?ai:/providers/Microsoft\.Compute/{'/'.join(parts)}/?)")


_IDS = {kind: _form(path) for kind, path in _PATHS.items()}


def parse_id(kind: SourceKind, resource_id: str) -> dict[str, str]:
    """The parts of a source's resource id. Raises ValueError where it is not the id of such a resource."""
    found = _IDS[kind].fullmatch(resource_id) if len(resource_id) <= _LONGEST else None
    if not found:
        form = f"/subscriptions/…/resourceGroups/…/providers/Microsoft.Compute/{_PATHS[kind]}"
        raise ValueError(f"takes the resource id of a {kind.value.replace('_', ' ')}: {form}")
    parts = found.groupdict()
    return {**parts, "name": parts.get("name") or parts["version"]}
