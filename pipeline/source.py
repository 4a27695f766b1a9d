"""What a version can be made of ("Azure Compute Gallery" page, image source), and where each is named."""

from __future__ import annotations

import re
from enum import StrEnum

_GROUP = r"/subscriptions/(?P<subscription>[^/\s]+)/resourceGroups/(?P<group>[^/\s]+)/providers/Microsoft\.Compute"
_NAME = r"[A-Za-z0-9][A-Za-z0-9_.-]{0,79}"


class SourceKind(StrEnum):
    """The kinds of source, by the names they have in a publish request."""

    BLOB = "blob"
    MANAGED_IMAGE = "managed_image"
    SNAPSHOT = "snapshot"
    DISK = "disk"
    VM = "vm"
    IMAGE_VERSION = "image_version"


_IDS = {
    SourceKind.MANAGED_IMAGE: rf"{_GROUP}/images/(?P<name>{_NAME})",
    SourceKind.SNAPSHOT: rf"{_GROUP}/snapshots/(?P<name>{_NAME})",
    SourceKind.DISK: rf"{_GROUP}/disks/(?P<name>{_NAME})",
    SourceKind.VM: rf"{_GROUP}/virtualMachines/(?P<name>{_NAME})",
    SourceKind.IMAGE_VERSION: rf"{_GROUP}/galleries/(?P<gallery>{_NAME})/images/(?P<definition>{_NAME})"
    r"/versions/(?P<name>\d+\.\d+\.\d+)",
}
_FORMS = {kind: re.sub(r"\(\?P<\w+>[^)]*\)", "…", form).replace("\\", "") for kind, form in _IDS.items()}


def parse_id(kind: SourceKind, resource_id: str) -> dict[str, str]:
    """The parts of a source's resource id. Raises ValueError where it is not the id of such a resource."""
    found = re.fullmatch(_IDS[kind], resource_id.rstrip("/"), re.IGNORECASE)
    if not found:
        raise ValueError(f"takes the resource id of a {kind.value.replace('_', ' ')}: {_FORMS[kind]}")
    return found.groupdict()
