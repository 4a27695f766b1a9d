"""What a disk boots as is told from its partition table, and a table that no machine reads is named with its mend."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
import uuid
from binascii import crc32
from collections.abc import Iterable
from pathlib import Path

import pytest

from pipeline.catalog import Generation
from pipeline.fit import Unfit, check_boot
from pipeline.partitions import HEAD, SECTOR, Disk, read_partitions
from sandbox import disk

FREEBSD_BOOT = uuid.UUID("83bd6b9d-7f41-11dc-be0b-001560b84f0f")
LINUX = uuid.UUID("0fc63daf-8483-4772-8e79-3d69d8477de4")
SIZE = 64 * disk.MIB
needs_sgdisk = pytest.mark.skipif(not shutil.which("sgdisk"), reason="sgdisk is not installed (gdisk)")

Entry = tuple[uuid.UUID, int, int, int]
"""Type, first and last LBA, attributes."""


def gpt(
    entries: Iterable[Entry], *, at: int = 2, sector: int = SECTOR, code: bytes = b"", mbr: bytes = b"\xee"
) -> bytes:
    """The first 2 MiB of a GPT disk whose entries lie at LBA `at`; `mbr` are the types of the MBR's entries."""
    found = bytearray(2 * disk.MIB)
    table = b"".join(
        kind.bytes_le + uuid.uuid4().bytes_le + struct.pack("<QQQ", first, last, attributes) + bytes(72)
        for kind, first, last, attributes in entries
    ).ljust(128 * 128, b"\0")
    header = bytearray(
        struct.pack(
            "<8sIIIIQQQQ16sQIII", b"EFI PART", 0x10000, 92, 0, 0, 1, SIZE // sector - 1, 34, SIZE // sector - 34,
            uuid.uuid4().bytes_le, at, 128, 128, crc32(table),
        )
    )  # fmt: skip
    struct.pack_into("<I", header, 16, crc32(header))
    found[: len(code)] = code
    for n, kind in enumerate(mbr):
        struct.pack_into("<B3xB3xII", found, 446 + 16 * n, 0, kind, 1 + 2048 * n, 2048)
    found[510:512] = b"\x55\xaa"
    found[sector : sector + len(header)] = header
    found[at * sector : at * sector + len(table)] = table
    return bytes(found)


def read(content: bytes) -> Disk:
    return read_partitions(content[:HEAD], lambda offset, length: content[offset : offset + length])


def unfit(found: Disk, wanted: Generation) -> str:
    with pytest.raises(Unfit) as fault:
        check_boot(found.fault, found.generations, wanted)
    return str(fault.value)


@pytest.mark.parametrize("at", [2, 40, 2016])
def test_the_entries_are_read_where_the_header_points(at: int) -> None:
    found = read(gpt([(disk.EFI_SYSTEM, 4096, 8191, 0), (LINUX, 8192, 9999, 0)], at=at))
    assert (found.scheme, found.generations, found.fault) == ("GPT", {"V2"}, "")
    assert [(part.start, part.stop) for part in found.partitions] == [
        (4096 * SECTOR, 8192 * SECTOR), (8192 * SECTOR, 10000 * SECTOR),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("entries", "code", "mbr", "generations"),
    [
        ([(disk.BIOS_BOOT, 2048, 4095, 0)], b"\xeb\x63", b"\xee", {"V1"}),
        ([(FREEBSD_BOOT, 40, 1063, 0)], b"\xfc\x31", b"\xee", {"V1"}),
        ([(FREEBSD_BOOT, 40, 1063, 0), (disk.EFI_SYSTEM, 2048, 4095, 0)], b"\xfc\x31", b"\xee", {"V1", "V2"}),
        ([(LINUX, 2048, 4095, 4)], b"\x33\xc0", b"\xee", {"V1"}),
        ([(LINUX, 2048, 4095, 4), (disk.EFI_SYSTEM, 8192, 9999, 0)], b"\x33\xc0", b"\xee", {"V1", "V2"}),
        ([(LINUX, 2048, 4095, 0), (disk.EFI_SYSTEM, 8192, 9999, 0)], b"\x33\xc0", b"\xee\x83", {"V1", "V2"}),
        ([(LINUX, 2048, 4095, 0), (disk.EFI_SYSTEM, 8192, 9999, 0)], b"\x33\xc0", b"\xee", {"V2"}),
        ([(LINUX, 2048, 4095, 0)], b"", b"\xee", set()),
        ([], b"\x33\xc0", b"\xee", set()),
    ],
    ids=["GRUB", "FreeBSD", "FreeBSD, both", "legacy boot", "legacy boot, both", "hybrid", "UEFI", "neither", "empty"],
)
def test_what_boots_by_bios_is_counted(entries: list[Entry], code: bytes, mbr: bytes, generations: set[str]) -> None:
    assert read(gpt(entries, code=code, mbr=mbr)).generations == generations


def test_a_message_claims_no_generation_that_the_disk_does_not_have() -> None:
    neither = read(gpt([(LINUX, 2048, 4095, 0)]))
    assert "boots as" not in unfit(neither, Generation.V2)
    assert "hyper_v_generation: V1" not in unfit(neither, Generation.V2)
    assert "hyper_v_generation: V2" not in unfit(neither, Generation.V1)
    old = read(gpt([(disk.BIOS_BOOT, 2048, 4095, 0)], code=b"\xeb"))
    assert "boots as V1 only" in unfit(old, Generation.V2)
    assert "hyper_v_generation: V1" in unfit(old, Generation.V2)


def wiped(content: bytes, start: int, stop: int) -> bytes:
    return content[:start] + bytes(stop - start) + content[stop:]


def flipped(content: bytes, at: int) -> bytes:
    return content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]


GOOD = gpt([(disk.EFI_SYSTEM, 4096, 8191, 0)], code=b"\xeb\x63")


@pytest.mark.parametrize(
    ("content", "says", "mend"),
    [
        (gpt([(disk.EFI_SYSTEM, 512, 1023, 0)], sector=4096), "sectors of 4096 bytes", "sector size of 512"),
        (gpt([(disk.BIOS_BOOT, 512, 1023, 0)], sector=4096, code=b"\xeb"), "sectors of 4096 bytes", "--sector-size 512"),
        (wiped(GOOD, 512, 1024), "GPT header is gone", "sgdisk -e in.raw"),
        (flipped(GOOD, 512 + 40), "checksum of its GPT header", "sgdisk -e in.raw"),
        (flipped(GOOD, 1024 + 3), "checksum of its GPT partition entries", "sgdisk -e in.raw"),
        (wiped(GOOD, 446, 512), "protective MBR before its GPT is missing", "sgdisk -e in.raw"),
        (gpt([], mbr=b"")[:512] + bytes(SIZE // 64), "no partitions", "OS disk"),
        (b"\xeb\x58\x90mkfs.fat" + bytes(71) + b"FAT32   " + b"\x0e" * 420 + b"\x55\xaa", "FAT file system", "whole disk"),
        (b"\xeb\x52\x90NTFS    " + b"\x33" * 499 + b"\x55\xaa", "NTFS file system", "whole disk"),
        (b"\xfa" + b"\x31" * 509 + b"\x55\xaa", "a boot sector and no partitions", "OS disk"),
        (bytes(SIZE // 64), "no partition table", "OS disk"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("wanted", list(Generation))
def test_a_table_that_no_machine_reads_is_named(content: bytes, says: str, mend: str, wanted: Generation) -> None:
    said = unfit(read(content), wanted)
    assert says in said
    assert mend in said


def partitioned(raw: Path, *options: str) -> Path:
    """A disk that sgdisk has partitioned."""
    with raw.open("wb") as file:
        file.truncate(SIZE)
    made = ["-n", "1:4096:+16M", "-t", "1:ef00", "-n", "2:0:0", "-t", "2:8304"]
    subprocess.run(["sgdisk", *options, *made, raw], check=True, capture_output=True)
    return raw


@needs_sgdisk
def test_entries_that_sgdisk_moved_are_read(tmp_path: Path) -> None:
    found = read(partitioned(tmp_path / "x.raw", "-j", "2016").read_bytes())
    assert (found.generations, found.fault, len(found.partitions)) == ({"V2"}, "", 2)


@needs_sgdisk
def test_the_line_that_is_named_restores_a_table(tmp_path: Path) -> None:
    raw = partitioned(tmp_path / "x.raw")
    with raw.open("r+b") as file:
        os.pwrite(file.fileno(), bytes(SECTOR), SECTOR)
    damaged = read(raw.read_bytes())
    assert "GPT header is gone" in damaged.fault
    assert "sgdisk -e in.raw" in damaged.fault
    subprocess.run(["sgdisk", "-e", raw], check=True, capture_output=True)
    restored = read(raw.read_bytes())
    assert (restored.generations, restored.fault, len(restored.partitions)) == ({"V2"}, "", 2)
