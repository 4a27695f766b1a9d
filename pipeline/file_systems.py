"""What a file system's own first blocks say of where it has written. Pure.

A file system that was made whole has certain blocks that are never zero: copies of its superblock, the headers of its
allocation groups. Where such a block was never written to a blob, its upload has not ended.

Sources: the Linux kernel's documentation of ext4 (blockgroup, super) and of XFS (on-disk format), Microsoft's of NTFS
(boot sector), btrfs's of its superblock mirrors.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import takewhile

from pipeline.partitions import SECTOR, Partition, Reader

NEEDED = 2048
"""Bytes at a partition's start that `read_file_system` looks at."""
BEGINS = 256 * 1024
"""Bytes at a partition's start in which every file system has its first superblock."""
_MOST_MARKS = 24
_MOST_DESCRIPTORS = 4096  # bytes
_BLOCK_UNINIT = 2  # a group that holds nothing but its own tables
_EXT, _BTRFS_AT, _BTRFS = 0xEF53, 64 * 1024, b"_BHRfS_M"


@dataclass(frozen=True)
class FileSystem:
    """A file system: its name, and the offsets on the disk, in bytes, of `block` bytes that it never leaves zero."""

    name: str
    marks: tuple[int, ...] = ()
    block: int = SECTOR
    ext: Ext | None = None


@dataclass(frozen=True)
class Ext:
    """How the blocks of an ext2, ext3 or ext4 file system lie on the disk. Sizes and offsets in bytes."""

    start: int
    block: int
    first: int
    per_group: int
    groups: int
    descriptor: int

    def bitmaps(self, read: Reader) -> list[int]:
        """The blocks that hold the block bitmaps of the first groups in use, which are never zero."""
        table = read(self.start + (self.first + 1) * self.block, min(self.groups * self.descriptor, _MOST_DESCRIPTORS))
        found = []
        for at in range(0, len(table) - self.descriptor + 1, self.descriptor):
            descriptor = table[at : at + self.descriptor]
            bitmap, used = self._bitmap(descriptor)
            free = struct.unpack_from("<H", descriptor, 12)[0]
            found += [bitmap] if bitmap and used and free < self.per_group else []
        return found

    def _bitmap(self, descriptor: bytes) -> tuple[int, bool]:
        """The block of a group's bitmap, and whether the group is in use."""
        high = struct.unpack_from("<I", descriptor, 32)[0] if self.descriptor >= 64 else 0
        flags = struct.unpack_from("<H", descriptor, 18)[0]
        return (high << 32) | struct.unpack_from("<I", descriptor, 0)[0], not flags & _BLOCK_UNINIT

    def is_free(self, offset: int, read: Reader) -> bool | None:
        """Whether the block at `offset` of the disk is free, None where that cannot be told."""
        number = (offset - self.start) // self.block
        group, bit = divmod(number - self.first, self.per_group)
        if number < self.first or group >= self.groups:
            return None
        at = self.start + (self.first + 1) * self.block + group * self.descriptor
        sector = read(at - at % SECTOR, SECTOR)
        found = sector[at % SECTOR : at % SECTOR + self.descriptor]
        if len(found) < 32:
            return None
        bitmap, used = self._bitmap(found)
        if not used:
            return True
        if not bitmap:
            return None
        at = self.start + bitmap * self.block + bit // 8
        sector = read(at - at % SECTOR, SECTOR)
        if not any(sector):
            return None
        return not sector[at % SECTOR] >> (bit % 8) & 1


def read_file_system(partition: Partition, head: bytes, read: Reader) -> FileSystem | None:
    """The file system of a partition whose first `NEEDED` bytes are `head`; None for one that is not known here."""
    if head[:4] == b"XFSB":
        return _xfs(partition, head)
    if head[3:11] == b"NTFS    ":
        return _ntfs(partition, head)
    if head[54:57] == b"FAT" or head[82:85] == b"FAT":
        return FileSystem("FAT")
    if head[1080:1082] == _EXT.to_bytes(2, "little"):
        return _ext(partition, head[1024:], read)
    if partition.stop - partition.start > _BTRFS_AT + SECTOR:
        found = read(partition.start + _BTRFS_AT, SECTOR)
        if found[64:72] == _BTRFS:
            size = min(struct.unpack_from("<Q", found, 112)[0], partition.stop - partition.start)
            mirrors = [at for at in (64 << 20, 256 << 30) if at + SECTOR <= size]
            return FileSystem("btrfs", tuple(partition.start + at for at in mirrors))
    return None


def _ext(partition: Partition, block: bytes, read: Reader) -> FileSystem | None:
    low, first, log = (struct.unpack_from("<I", block, at)[0] for at in (4, 20, 24))
    per_group = struct.unpack_from("<I", block, 32)[0]
    compatible, incompatible, read_only = (struct.unpack_from("<I", block, at)[0] for at in (92, 96, 100))
    wide = bool(incompatible & 0x80)
    count = low | (struct.unpack_from("<I", block, 336)[0] << 32 if wide else 0)
    if log > 6 or not per_group or first > 1 or count <= first:
        return None
    size = 1024 << log
    groups = -(-(count - first) // per_group)
    if compatible & 0x200:  # sparse_super2: two copies, named
        copies: list[int] = [group for group in struct.unpack_from("<II", block, 588) if group]
    elif read_only & 1:  # sparse_super: in group 1 and the powers of 3, 5 and 7
        copies = sorted({1, *(power for base in (3, 5, 7) for power in _powers(base, groups))})
    else:
        copies = list(range(1, groups, max(1, groups // _MOST_MARKS)))
    blocks = [first + group * per_group for group in copies if group < groups] + _journal(block)
    descriptor = max(32, struct.unpack_from("<H", block, 254)[0]) if wide else 32
    plain = not incompatible & 0x10 and descriptor in (32, 64)  # meta_bg keeps its descriptors elsewhere
    layout = Ext(partition.start, size, first, per_group, groups, descriptor) if plain else None
    blocks += layout.bitmaps(read) if layout else []
    return FileSystem("ext", _within(partition, (partition.start + number * size for number in blocks)), size, layout)


def _journal(block: bytes) -> list[int]:
    """The block that the journal's own superblock is in, as the file system's superblock remembers it."""
    first, magic, entries, depth = (*struct.unpack_from("<I", block, 268), *struct.unpack_from("<HH2xH", block, 268))
    if magic == 0xF30A:
        high, low = struct.unpack_from("<HI", block, 268 + 12 + 6)
        return [(high << 32) | low] if entries and not depth else []
    return [first] if first else []


def _powers(base: int, below: int) -> Iterator[int]:
    return takewhile(lambda power: power < below, (base**n for n in range(1, 40)))


def _xfs(partition: Partition, head: bytes) -> FileSystem | None:
    size, blocks, count = (struct.unpack_from(">I", head, at)[0] for at in (4, 84, 88))
    step = max(1, count // _MOST_MARKS)
    marks = (partition.start + group * blocks * size for group in range(1, min(count, 1 << 16), step))
    return FileSystem("XFS", _within(partition, marks))


def _ntfs(partition: Partition, head: bytes) -> FileSystem | None:
    sector, per_cluster = struct.unpack_from("<H", head, 11)[0], head[13]
    cluster = sector * (per_cluster if per_cluster < 0x80 else 1 << min(256 - per_cluster, 16))
    sectors, table, mirror = (struct.unpack_from("<Q", head, at)[0] for at in (40, 48, 56))
    return FileSystem(
        "NTFS",
        _within(partition, (partition.start + at for at in (table * cluster, mirror * cluster, sectors * sector))),
    )


def _within(partition: Partition, marks: Iterator[int]) -> tuple[int, ...]:
    inside = [at for at in marks if partition.start <= at <= partition.stop - SECTOR and at % SECTOR == 0]
    return tuple(sorted(set(inside)))
