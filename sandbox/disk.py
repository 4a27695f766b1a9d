"""Real disks for the demo, the tests and the benchmark: partitioned, in a fixed VHD, as sparse as they can be."""

from __future__ import annotations

import binascii
import os
import struct
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

SECTOR = 512
MIB = 1024 * 1024
EFI_SYSTEM = uuid.UUID("c12a7328-f81f-11d2-ba4b-00a0c93ec93b")
LINUX_ROOT = uuid.UUID("4f68bce3-e8cd-4db1-96e7-fbcaf984b709")
BIOS_BOOT = uuid.UUID("21686148-6449-6e6f-744e-656564454649")
_VHD_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)


def make_vhd(path: Path, mib: int = 64, *, generation: str = "V2", build: str = "") -> Path:
    """A fixed VHD of `mib` MiB with a GPT that boots as `generation`, holes where there is nothing.

    `build` is written into the root partition, so that two builds differ.
    """
    make_raw(path, mib, generation=generation, build=build)
    with path.open("ab") as disk:
        disk.write(footer(mib * MIB))
    return path


def make_raw(path: Path, mib: int = 64, *, generation: str = "V2", build: str = "") -> Path:
    """The same disk without a VHD's footer."""
    with path.open("wb") as disk:
        disk.truncate(mib * MIB)
        write_gpt(disk.fileno(), mib * MIB, EFI_SYSTEM if generation == "V2" else BIOS_BOOT)
        if generation == "V2":
            os.pwrite(disk.fileno(), fat_boot_sector(16 * MIB), MIB)
        content = f"PRETTY_NAME=demo {build}\n".encode()
        os.pwrite(disk.fileno(), content.ljust(SECTOR, b"\0") * 2000, 17 * MIB)
        if generation == "V1":
            os.pwrite(disk.fileno(), b"\xeb\x63\x90".ljust(440, b"\x90"), 0)
    return path


def fat_boot_sector(size: int) -> bytes:
    """The boot sector of an empty FAT16 file system of `size` bytes (Microsoft's FAT specification 1.03)."""
    return (
        struct.pack(
            "<3s8sHBHBHHBHHHIIBBBI11s8s", b"\xeb\x3c\x90", b"GALLERIS", SECTOR, 4, 4, 2, 512, size // SECTOR, 0xF8, 32,
            32, 64, 0, 0, 0x80, 0, 0x29, 1, b"EFI        ", b"FAT16   ",
        ).ljust(510, b"\0")
        + b"\x55\xaa"
    )  # fmt: skip


def write_gpt(fd: int, size: int, boot: uuid.UUID) -> None:
    """Partition a disk of `size` bytes: a boot partition of 16 MiB at 1 MiB, a root partition behind it.

    UEFI specification 2.10, chapter 5: protective MBR, header and entries at both ends.
    """
    sectors = size // SECTOR
    entries = b"".join(
        kind.bytes_le
        + uuid.uuid4().bytes_le
        + struct.pack("<QQQ", first, last, 0)
        + name.encode("utf-16-le").ljust(72, b"\0")
        for kind, first, last, name in [
            (boot, 2048, 2048 + 16 * MIB // SECTOR - 1, "boot"),
            (LINUX_ROOT, 2048 + 16 * MIB // SECTOR, sectors - 2048 - 1, "root"),
        ]
    ).ljust(128 * 128, b"\0")
    protective = struct.pack("<B3sB3sII", 0, b"\0\2\0", 0xEE, b"\xff\xff\xff", 1, min(sectors - 1, 0xFFFFFFFF))
    os.pwrite(fd, protective + b"\0" * 48 + b"\x55\xaa", 446)
    disk_id = uuid.uuid4().bytes_le
    for at, other, table in [(1, sectors - 1, 2), (sectors - 1, 1, sectors - 33)]:
        header = bytearray(
            struct.pack(
                "<8sIIIIQQQQ16sQIII", b"EFI PART", 0x10000, 92, 0, 0, at, other, 34, sectors - 34, disk_id, table,
                128, 128, binascii.crc32(entries),
            )
        )  # fmt: skip
        struct.pack_into("<I", header, 16, binascii.crc32(header))
        os.pwrite(fd, bytes(header), at * SECTOR)
        os.pwrite(fd, entries, table * SECTOR)


def footer(size: int, *, disk_type: int = 2, data_offset: int = 0xFFFFFFFFFFFFFFFF) -> bytes:
    """The 512-byte footer of a VHD of `size` bytes (Virtual Hard Disk Image Format Specification).

    The creator is said to be Windows: of others, tools such as qemu-img take the size from the geometry.
    """
    made = bytearray(
        struct.pack(
            ">8sIIQI4sI4sQQIII16s", b"conectix", 2, 0x10000, data_offset,
            int((datetime.now(UTC) - _VHD_EPOCH).total_seconds()), b"win ", 0x10000, b"Wi2k", size, size,
            _geometry(size), disk_type, 0, uuid.uuid4().bytes,
        ).ljust(SECTOR, b"\0")
    )  # fmt: skip
    struct.pack_into(">I", made, 64, ~sum(made) & 0xFFFFFFFF)
    return bytes(made)


def _geometry(size: int) -> int:
    """Cylinders, heads and sectors per track in one word, by the specification's appendix, for disks of GiB."""
    cylinders = min(size // SECTOR // (16 * 255), 65535)
    return (cylinders << 16) | (16 << 8) | 255


def extents(path: Path, longest: int = 4 * MIB) -> Iterator[tuple[int, int]]:
    """Offset and length of what a sparse file holds, in whole sectors and pieces of `longest` bytes at most."""
    end = path.stat().st_size
    with path.open("rb") as file:
        at = 0
        while at < end:
            try:
                start = os.lseek(file.fileno(), at, os.SEEK_DATA)
            except OSError:  # ENXIO: nothing but a hole from here on
                return
            stop = os.lseek(file.fileno(), start, os.SEEK_HOLE)
            start -= start % SECTOR
            stop = min(-(-stop // SECTOR) * SECTOR, end)
            for piece in range(start, stop, longest):
                yield piece, min(longest, stop - piece)
            at = stop
