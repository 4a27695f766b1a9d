"""What Azure makes of a VHD: its size from the footer, or the refusal.

The layout is Microsoft's "Virtual Hard Disk Image Format Specification": 512 bytes at the end of a fixed disk.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from urllib.parse import urlsplit

from sandbox.arm.errors import invalid_parameter

FOOTER = 512
MIB = 1024**2
GIB = 1024**3
_FIXED = 2


@dataclass(frozen=True)
class Blob:
    """A blob as the look-up found it. `size` in bytes; `tail` is its last 512 bytes, or fewer if it is smaller."""

    uri: str
    blob_type: str
    size: int
    tail: bytes


@dataclass(frozen=True)
class VhdFault:
    """Why a blob cannot become a disk, in Azure's words where they are known."""

    message: str

    @property
    def error(self) -> dict[str, str]:
        """The body of a failed operation (osbuild/osbuild-composer#111 for code and target)."""
        return {"code": "InvalidParameter", "target": "disks", "message": self.message}


def check_blob_name(uri: str, target: str) -> None:
    """Raises ArmError where a blob's name does not end in .vhd.

    The words are Azure's (azure-cli#9899); the code is the one of its sibling, the refusal of a name with a slash
    (chagarw/MDPP#22). That the case of the ending does not matter is a guess.
    """
    if not urlsplit(uri).path.lower().endswith(".vhd"):
        raise invalid_parameter(f'Blob name in URL {uri} must end with ".vhd" extension.', target)


def disk_size_gb(blob: Blob) -> int | VhdFault:
    """The virtual size in whole GiB, rounded up.

    The cookie's wording is Azure's (osbuild/osbuild-composer#111), so is the one for a blob that is no VHD
    (azure-cli#6179) and the unsupported virtual size (azure-xplat-cli#1784). Which of them a dynamic disk or a broken
    checksum meets is a guess.
    """
    not_a_vhd = VhdFault(f"Only blobs formatted as VHDs can be imported. Blob: {blob.uri}")
    if blob.blob_type != "PageBlob" or len(blob.tail) < FOOTER:
        return not_a_vhd
    name = blob.uri.rsplit("/", 1)[-1]
    if blob.tail[:8] != b"conectix":
        return VhdFault(
            f"The specified cookie value in VHD footer indicates that disk '{name}' with blob {blob.uri} is not a "
            "supported VHD. Disk is expected to have cookie value 'conectix'."
        )
    (current_size,) = struct.unpack_from(">Q", blob.tail, 48)
    disk_type, checksum = struct.unpack_from(">II", blob.tail, 60)
    if disk_type != _FIXED or current_size != blob.size - FOOTER or checksum != _checksum(blob.tail):
        return not_a_vhd
    if current_size % MIB:
        return VhdFault(
            f"The VHD {blob.uri} has an unsupported virtual size of {current_size} bytes. "
            "The size must be a whole number (in MBs)."
        )
    return -(-int(current_size) // GIB)


def _checksum(footer: bytes) -> int:
    return ~sum(footer[:64] + footer[68:]) & 0xFFFFFFFF
