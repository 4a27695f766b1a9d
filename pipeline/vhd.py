"""What a VHD is, read from its first and last bytes.

The footer is Microsoft's "Virtual Hard Disk Image Format Specification": 512 bytes, big-endian, at the end of a
fixed disk, and a copy of it at the start of a dynamic or differencing one. Azure takes fixed disks only, as page
blobs, whose virtual size is a whole number of MiB ("Upload a VHD to Azure").
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from pipeline.formats import ISO, ISO_AT, is_iso, name_format
from pipeline.partitions import Reader

MIB = 1024 * 1024
FOOTER = 512
LARGEST_OS_DISK = 2048 * 1024 * MIB  # GallerySourceResourceExceedsMaxSize: a version takes 2 TiB

UPLOAD = "azcopy copy x.vhd URL --blob-type PageBlob --put-md5"
"""The line that uploads a VHD with a tool everybody has, and marks it complete."""

_COOKIE = b"conectix"
_FIXED, _DYNAMIC, _DIFFERENCING = 2, 3, 4
_TO_FIXED = "qemu-img convert -f vpc -O vpc -o subformat=fixed,force_size in.vhd out.vhd"
# qemu-img opens no VHD whose checksum is wrong; without its footer, a fixed VHD is a raw disk image.
_REWRITE = (
    "head -c -512 in.vhd > in.raw, then qemu-img convert -f raw -O vpc -o subformat=fixed,force_size in.raw out.vhd, "
    "which writes the footer anew"
)
_FROM_RAW = (
    "qemu-img resize -f raw in.raw <next whole MiB>, then "
    "qemu-img convert -f raw -O vpc -o subformat=fixed,force_size in.raw out.vhd"
)


def is_vhd_name(name: str) -> bool:
    """Whether Azure makes an image of a blob of this name: `must end with ".vhd" extension` (azure-cli#9899)."""
    return name.lower().endswith(".vhd")


class NotAVhd(ValueError):
    """The blob can never become a version as it is. The message says what it is and what to run to mend it."""

    def __init__(self, what: str, mend: str = "") -> None:
        super().__init__(f"{what}. To mend it: {mend}" if mend else what)


class Incomplete(ValueError):
    """The blob may still become a VHD: its last page is not written yet."""


@dataclass(frozen=True)
class Footer:
    """The footer's fields that matter here. Sizes in bytes."""

    disk_type: int
    current_size: int

    @classmethod
    def parse(cls, data: bytes) -> Footer | None:
        """The footer in 512 bytes, None where there is none or its checksum is wrong."""
        if len(data) != FOOTER or not data.startswith(_COOKIE):
            return None
        (checksum,) = struct.unpack_from(">I", data, 64)
        if checksum != ~(sum(data) - sum(data[64:68])) & 0xFFFFFFFF:
            return None
        return cls(
            disk_type=struct.unpack_from(">I", data, 60)[0],
            current_size=struct.unpack_from(">Q", data, 48)[0],
        )


def foreign_format(head: bytes) -> NotAVhd | None:
    """The other format that the first 512 bytes of a blob show, where they show one."""
    if found := name_format(head):
        return NotAVhd(f"this is {found.what}, not a VHD", found.mend)
    copy = Footer.parse(head[:FOOTER])
    if copy and copy.disk_type == _DYNAMIC:
        return NotAVhd("this is a dynamic VHD; Azure takes fixed ones", _TO_FIXED)
    if copy and copy.disk_type == _DIFFERENCING:
        return NotAVhd(
            "this is a differencing VHD, which holds only what differs from its parent; Azure takes fixed ones",
            "merge it into its parent (Merge-VHD), then " + _TO_FIXED,
        )
    return None


def check_footer(head: bytes, tail: bytes, blob_size: int, read: Reader | None = None) -> Footer:
    """The footer of a whole, fixed, aligned VHD of `blob_size` bytes, from its first and last 512 bytes. Where there is
    none, `read` tells formats that show further on.

    Raises Incomplete where the last page is still empty in a blob that could be a VHD, NotAVhd where the blob
    is something else.
    """
    if found := foreign_format(head):
        raise found
    footer = Footer.parse(tail)
    if footer is None:
        if read and is_iso(read(ISO_AT, 5)):
            raise NotAVhd(f"this is {ISO.what}, not a VHD", ISO.mend)
        raise _without_footer(tail, blob_size)
    if footer.disk_type != _FIXED:
        raise NotAVhd(f"this VHD's footer says disk type {footer.disk_type}; Azure takes fixed ones (2)", _TO_FIXED)
    if footer.current_size != blob_size - FOOTER:
        raise NotAVhd(
            f"the VHD's footer says a disk of {footer.current_size} bytes, the blob holds {blob_size - FOOTER}: "
            "it was cut short or padded",
            f"upload it again, whole ({UPLOAD})",
        )
    if footer.current_size % MIB:
        raise NotAVhd(
            f"the disk's {footer.current_size} bytes are not a whole number of MiB, and Azure takes no other",
            f"qemu-img convert -f vpc -O raw in.vhd in.raw, then qemu-img resize -f raw in.raw "
            f"{-(-footer.current_size // MIB)}M, then "
            "qemu-img convert -f raw -O vpc -o subformat=fixed,force_size in.raw out.vhd",
        )
    return footer


def _without_footer(tail: bytes, blob_size: int) -> Exception:
    if tail.startswith(_COOKIE):
        if not any(tail[64:68]):
            return NotAVhd("the VHD's footer has no checksum: the program that made it left it out", _REWRITE)
        return NotAVhd(
            "the VHD's footer is damaged: its checksum is wrong",
            f"upload it again ({UPLOAD}); where gallerist upload refuses the file for the same reason: {_REWRITE}",
        )
    if not any(tail) and blob_size % MIB == FOOTER:
        return Incomplete("the last page, which holds the VHD's footer, is not written yet")
    return NotAVhd(
        f"there is no VHD footer at the end of its {blob_size} bytes: this is a raw disk image, or a VHD cut short",
        _FROM_RAW + "; or upload the VHD again, whole",
    )
