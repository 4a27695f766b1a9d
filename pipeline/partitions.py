"""What a disk's partition table says: where its partitions lie, and what can boot from them. Pure.

GPT is UEFI specification 2.10, chapter 5; the MBR's entries are in its section 5.2.1. Azure's disks have sectors of
512 bytes.
"""

from __future__ import annotations

import struct
import uuid
from binascii import crc32
from collections.abc import Callable
from dataclasses import dataclass, field

Reader = Callable[[int, int], bytes]
"""Reads so many bytes at an offset of the disk; fewer where it ends."""

SECTOR = 512
HEAD = 40 * SECTOR
"""Bytes that hold MBR, GPT header and the usual 128 partition entries of 128 bytes, with room."""
_OTHER_SECTOR = 4096
_LONGEST_ENTRIES = 32 * 1024
"""Bytes of partition entries that are read and checked; the usual table has 16 KiB."""
_SIGNATURE = b"EFI PART"
_PROTECTIVE, _EFI = 0xEE, 0xEF
_LEGACY_BOOT = 1 << 2  # attribute "Legacy BIOS Bootable"

_EFI_SYSTEM = uuid.UUID("c12a7328-f81f-11d2-ba4b-00a0c93ec93b")
_BOOTS_BY_BIOS = {
    uuid.UUID("21686148-6449-6e6f-744e-656564454649"),  # GRUB's BIOS boot partition
    uuid.UUID("83bd6b9d-7f41-11dc-be0b-001560b84f0f"),  # FreeBSD's freebsd-boot
}
_MAY_BE_EMPTY = _BOOTS_BY_BIOS | {
    uuid.UUID("e3c9e316-0b5c-4db8-817d-f92df00215ae"),  # Microsoft reserved
    uuid.UUID("8da63339-0007-60c0-c436-083ac8230908"),  # Linux reserved
    uuid.UUID("0657fd6d-a4ab-43c4-84e5-0933c84b4f4f"),  # Linux swap
    uuid.UUID("516e7cb5-6ecf-11d6-8ff8-00022d09712b"),  # FreeBSD swap
}
_MBR_MAY_BE_EMPTY = {0x82, 0x05, 0x0F, 0x85}  # swap, extended
_FILE_SYSTEMS = [
    (3, b"NTFS    ", "an NTFS"),
    (3, b"EXFAT   ", "an exFAT"),
    (3, b"-FVE-FS-", "a BitLocker"),
    (54, b"FAT", "a FAT"),
    (82, b"FAT", "a FAT"),
]

RESTORE = (
    "qemu-img convert -f vpc -O raw in.vhd in.raw, then sgdisk -e in.raw, which restores it from the backup at the "
    "disk's end, then qemu-img convert -f raw -O vpc -o subformat=fixed,force_size in.raw out.vhd"
)


@dataclass(frozen=True)
class Partition:
    """A partition: the bytes from `start` to before `stop`. `empty` says that it may rightly hold nothing."""

    number: int
    start: int
    stop: int
    empty: bool = False


@dataclass(frozen=True)
class Disk:
    """What a disk's partition table says of it."""

    scheme: str
    """`GPT`, `MBR` or `none`."""
    efi_system_partition: bool
    bios_bootable: bool
    fault: str = ""
    """Why no machine would read this table, with what mends it; empty where one would."""
    unread: tuple[int, int] | None = None
    """Where the fault is: the bytes from the first to before the second."""
    partitions: tuple[Partition, ...] = ()
    backup: int | None = None
    """Offset of the sector that the GPT says its backup is in."""
    generations: frozenset[str] = field(init=False)
    """The Hyper-V generations this disk can boot as: `V1` by BIOS, `V2` by UEFI."""

    def __post_init__(self) -> None:
        boots = {"V2"} if self.efi_system_partition else set()
        object.__setattr__(self, "generations", frozenset(boots | ({"V1"} if self.bios_bootable else set())))


def read_partitions(head: bytes, read: Reader | None = None) -> Disk:
    """The partition table of a disk. `head` is its first `HEAD` bytes; `read` reads what the table has further on,
    which counts as absent without it."""
    if len(head) < SECTOR or head[510:512] != b"\x55\xaa":
        if head[SECTOR : SECTOR + 8] == _SIGNATURE:
            return _damaged("the protective MBR before its GPT is missing", (0, SECTOR))
        return _none("the disk has no partition table, so no VM can boot from it: is this an OS disk?")
    entries = [_MbrEntry(head[446 + 16 * n : 462 + 16 * n]) for n in range(4)]
    if any(entry.type == _PROTECTIVE for entry in entries):
        return _read_gpt(head, read, entries)
    if not all(entry.plausible for entry in entries) or not any(entry.type for entry in entries):
        return _none(_unpartitioned(head))
    return Disk(
        "MBR",
        efi_system_partition=any(entry.type == _EFI for entry in entries),
        bios_bootable=any(entry.type not in (0, _EFI) for entry in entries),
        partitions=tuple(
            Partition(n, entry.first * SECTOR, (entry.first + entry.sectors) * SECTOR, entry.type in _MBR_MAY_BE_EMPTY)
            for n, entry in enumerate(entries, 1)
            if entry.type and entry.sectors
        ),
    )


def gpt_header(sector: bytes, lba: int) -> tuple[int, int] | None:
    """Where the partition entries lie that a GPT header in sector `lba` names, as offset and length in bytes; None
    where the sector holds no valid header of that place."""
    if sector[:8] != _SIGNATURE:
        return None
    size, checksum = struct.unpack_from("<II", sector, 12)
    if not 92 <= size <= len(sector) or crc32(sector[:16] + bytes(4) + sector[20:size]) != checksum:
        return None
    if struct.unpack_from("<Q", sector, 24)[0] != lba:
        return None
    first, count, each = struct.unpack_from("<QII", sector, 72)
    if each < 128 or each % 8 or not 0 < count <= 65536:
        return None
    return first * SECTOR, count * each


def _unpartitioned(head: bytes) -> str:
    for at, sign, name in _FILE_SYSTEMS:
        if head[at : at + len(sign)] == sign:
            return (
                f"the disk holds {name} file system and no partition table, so no VM can boot from it: make the image "
                "of the whole disk, not of one partition"
            )
    return "the disk has a boot sector and no partitions, so no VM can boot from it: is this an OS disk?"


class _MbrEntry:
    def __init__(self, entry: bytes) -> None:
        self.status, self.type = entry[0], entry[4]
        self.first, self.sectors = struct.unpack_from("<II", entry, 8)
        self.plausible = self.status in (0, 0x80)


def _read_gpt(head: bytes, read: Reader | None, mbr: list[_MbrEntry]) -> Disk:
    header = head[SECTOR : 2 * SECTOR]
    if header[:8] != _SIGNATURE and head[_OTHER_SECTOR : _OTHER_SECTOR + 8] == _SIGNATURE:
        return Disk(
            "GPT",
            efi_system_partition=False,
            bios_bootable=False,
            fault=(
                "the partition table is made for sectors of 4096 bytes, and Azure's disks have sectors of 512, so no "
                "VM would find a partition. To mend it: make the image with a sector size of 512 "
                "(losetup --sector-size 512; mkosi: SectorSize=512), and partition it anew"
            ),
        )
    if header[:8] != _SIGNATURE:
        return _damaged("its GPT header is gone, and the protective MBR alone is left", (SECTOR, 2 * SECTOR))
    where = gpt_header(header, 1)
    if where is None:
        return _damaged("the checksum of its GPT header is wrong", (SECTOR, 2 * SECTOR))
    start, length = where
    each, checksum = struct.unpack_from("<II", header, 84)
    entries = _bytes_at(head, read, start, min(length, _LONGEST_ENTRIES))
    if length <= _LONGEST_ENTRIES and len(entries) == length and crc32(entries) != checksum:
        return _damaged("the checksum of its GPT partition entries is wrong", (start, start + length))
    found = [
        (n, uuid.UUID(bytes_le=entry[:16]), *struct.unpack_from("<QQQ", entry, 32))
        for n, at in enumerate(range(0, len(entries) - each + 1, each), 1)
        if any((entry := entries[at : at + each])[:16])
    ]
    kinds = {kind for _, kind, *_ in found}
    legacy = any(attributes & _LEGACY_BOOT for *_, attributes in found)
    hybrid = any(entry.type not in (0, _PROTECTIVE, _EFI) and entry.plausible for entry in mbr)
    boot_code = any(head[:440])
    return Disk(
        "GPT",
        efi_system_partition=_EFI_SYSTEM in kinds,
        bios_bootable=bool(kinds & _BOOTS_BY_BIOS)
        or legacy
        or (boot_code and (hybrid or (bool(kinds) and _EFI_SYSTEM not in kinds))),
        partitions=tuple(
            Partition(n, first * SECTOR, (last + 1) * SECTOR, kind in _MAY_BE_EMPTY)
            for n, kind, first, last, _ in found
            if 0 < first <= last
        ),
        backup=struct.unpack_from("<Q", header, 32)[0] * SECTOR,
    )


def _bytes_at(head: bytes, read: Reader | None, start: int, length: int) -> bytes:
    if start + length <= len(head) or read is None:
        return head[start : start + length]
    return read(start, length)


def _damaged(what: str, where: tuple[int, int]) -> Disk:
    fault = f"the disk's partition table is damaged: {what}. To mend it: {RESTORE}"
    return Disk("GPT", efi_system_partition=False, bios_bootable=False, fault=fault, unread=where)


def _none(fault: str) -> Disk:
    return Disk("none", efi_system_partition=False, bios_bootable=False, fault=fault, unread=(0, SECTOR))
