"""What a VHD is, read from its first and last bytes.

The footer is Microsoft's "Virtual Hard Disk Image Format Specification": 512 bytes, big-endian, at the end of a
fixed disk, and a copy of it at the start of a dynamic or differencing one. Azure takes fixed disks only, as page
blobs, whose virtual size is a whole number of MiB ("Upload a VHD to Azure").
"""

from __future__ import annotations

import struct
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field

SECTOR = 512
MIB = 1024 * 1024
FOOTER = 512
HEAD = 40 * SECTOR  # MBR, GPT header and the usual 128 partition entries of 128 bytes, with room
LARGEST_OS_DISK = 2048 * 1024 * MIB  # GallerySourceResourceExceedsMaxSize: a version takes 2 TiB

_COOKIE = b"conectix"
_FIXED, _DYNAMIC, _DIFFERENCING = 2, 3, 4
_EFI_SYSTEM = uuid.UUID("c12a7328-f81f-11d2-ba4b-00a0c93ec93b")
_BIOS_BOOT = uuid.UUID("21686148-6449-6e6f-744e-656564454649")
_FOREIGN = {
    b"vhdxfile": (
        "a VHDX file",
        "qemu-img convert -f vhdx -O vpc -o subformat=fixed,force_size in.vhdx out.vhd",
    ),
    b"QFI\xfb": (
        "a qcow2 image",
        "qemu-img convert -f qcow2 -O vpc -o subformat=fixed,force_size in.qcow2 out.vhd",
    ),
    b"KDMV": (
        "a VMDK image",
        "qemu-img convert -f vmdk -O vpc -o subformat=fixed,force_size in.vmdk out.vhd",
    ),
    b"\x1f\x8b": ("a gzip archive", "gunzip it, then upload the VHD inside"),
    b"\xfd7zXZ\x00": ("an xz archive", "xz -d it, then upload the VHD inside"),
    b"\x28\xb5\x2f\xfd": ("a zstd archive", "zstd -d it, then upload the VHD inside"),
    b"PK\x03\x04": ("a zip archive", "unzip it, then upload the VHD inside"),
}
_TO_FIXED = "qemu-img convert -f vpc -O vpc -o subformat=fixed,force_size in.vhd out.vhd"
_FROM_RAW = (
    "qemu-img resize -f raw in.raw <next whole MiB>, then "
    "qemu-img convert -f raw -O vpc -o subformat=fixed,force_size in.raw out.vhd"
)


class NotAVhd(ValueError):
    """The blob can never become a version as it is. The message says what it is and what to run to mend it."""

    def __init__(self, what: str, mend: str) -> None:
        super().__init__(f"{what}. To mend it: {mend}")


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
    for magic, (what, mend) in _FOREIGN.items():
        if head.startswith(magic):
            return NotAVhd(f"this is {what}, not a VHD", mend)
    copy = Footer.parse(head[:FOOTER])
    if copy and copy.disk_type == _DYNAMIC:
        return NotAVhd("this is a dynamic VHD; Azure takes fixed ones", _TO_FIXED)
    if copy and copy.disk_type == _DIFFERENCING:
        return NotAVhd(
            "this is a differencing VHD, which holds only what differs from its parent; Azure takes fixed ones",
            "merge it into its parent (Merge-VHD), then " + _TO_FIXED,
        )
    return None


def check_footer(head: bytes, tail: bytes, blob_size: int) -> Footer:
    """The footer of a whole, fixed, aligned VHD of `blob_size` bytes, from its first and last 512 bytes.

    Raises Incomplete where the last page is still empty in a blob that could be a VHD, NotAVhd where the blob
    is something else.
    """
    if found := foreign_format(head):
        raise found
    footer = Footer.parse(tail)
    if footer is None:
        raise _without_footer(tail, blob_size)
    if footer.disk_type != _FIXED:
        raise NotAVhd(f"this VHD's footer says disk type {footer.disk_type}; Azure takes fixed ones (2)", _TO_FIXED)
    if footer.current_size != blob_size - FOOTER:
        raise NotAVhd(
            f"the VHD's footer says a disk of {footer.current_size} bytes, the blob holds {blob_size - FOOTER}: "
            "it was cut short or padded",
            "upload it again, whole (azcopy copy x.vhd URL --blob-type PageBlob)",
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
        return NotAVhd(
            "the VHD's footer is damaged: its checksum is wrong",
            "upload it again (azcopy copy x.vhd URL --blob-type PageBlob)",
        )
    if not any(tail) and blob_size % MIB == FOOTER:
        return Incomplete("the last page, which holds the VHD's footer, is not written yet")
    return NotAVhd(
        f"there is no VHD footer at the end of its {blob_size} bytes: this is a raw disk image, or a VHD cut short",
        _FROM_RAW + "; or upload the VHD again, whole",
    )


@dataclass(frozen=True)
class Disk:
    """What a disk's first bytes say of it."""

    scheme: str
    """`GPT`, `MBR` or `none`."""
    efi_system_partition: bool
    bios_bootable: bool
    generations: frozenset[str] = field(init=False)
    """The Hyper-V generations this disk can boot as: `V1` by BIOS, `V2` by UEFI."""

    def __post_init__(self) -> None:
        boots = {"V2"} if self.efi_system_partition else set()
        object.__setattr__(self, "generations", frozenset(boots | ({"V1"} if self.bios_bootable else set())))


def read_partitions(head: bytes) -> Disk:
    """The partition table in the first `HEAD` bytes of a disk (UEFI specification 2.10, chapter 5).

    Only what lies in `head` is looked at: entries that a GPT places further on count as absent.
    """
    if len(head) < SECTOR or head[510:512] != b"\x55\xaa":
        return Disk("none", efi_system_partition=False, bios_bootable=False)
    boot_code = any(head[:440])
    types = [head[446 + 16 * n + 4] for n in range(4)]
    if 0xEE in types and head[SECTOR : SECTOR + 8] == b"EFI PART":
        kinds = set(_gpt_types(head))
        return Disk(
            "GPT",
            efi_system_partition=_EFI_SYSTEM in kinds,
            bios_bootable=_BIOS_BOOT in kinds or (boot_code and _EFI_SYSTEM not in kinds),
        )
    return Disk("MBR", efi_system_partition=0xEF in types, bios_bootable=any(t not in (0, 0xEF) for t in types))


def _gpt_types(head: bytes) -> Iterator[uuid.UUID]:
    first_lba, count, size = struct.unpack_from("<QII", head, SECTOR + 72)
    start = first_lba * SECTOR
    if size < 128 or size % 8:
        return
    for n in range(min(count, 1024)):
        at = start + n * size
        if at + 16 > len(head):
            return
        if any(kind := head[at : at + 16]):
            yield uuid.UUID(bytes_le=kind)
