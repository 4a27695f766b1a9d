"""Whether a VHD that nobody marked complete is whole, as far as storage can tell cheaply. Pure.

Uploaders write a page blob in pieces, many at a time and in any order, and leave out what is zero. A piece that is
missing looks like one that is zero. What tells them apart:

- the head, the partition table and the GPT's backup at the disk's end are never zero, nor is a partition that is used;
- a file system's superblock says where more of its own lies: copies, allocation groups, the backup boot sector;
- zeros begin and end anywhere. Where an uploader sends large pieces, a gap that begins or ends just beside bytes that
  are not zero is a piece that is missing, unless the file system says that its blocks are free.

A missing piece that holds nothing of these, and has zeros at its edges, cannot be told. Only a mark is proof.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from math import gcd

from pydantic import BaseModel

from pipeline.file_systems import BEGINS, NEEDED, FileSystem, read_file_system
from pipeline.partitions import HEAD, SECTOR, Disk, Partition, Reader, gpt_header, read_partitions
from pipeline.vhd import FOOTER, MIB, Incomplete, check_footer

MOST_RANGES = 500
"""Page ranges that one call asks for; a blob in more pieces is looked at further on by `_MOST_CALLS` more."""
_MOST_CALLS = 4
_MOST_PARTITIONS = 8
_MOST_GAPS = 12
_PIECE, _LARGE_PIECE = 256 * 1024, MIB

Ranges = list[tuple[int, int]]
Ask = Callable[[int, int], tuple[Ranges, bool]]
"""The ranges of written pages in so many bytes from an offset, and whether that is all of them."""


class Pages:
    """The pages of a blob that were written, asked for in a few calls whatever its size."""

    def __init__(self, size: int, ask: Ask) -> None:
        self._ask = ask
        self._calls = 1
        found, whole = ask(0, size)
        self.ranges = _joined(found)
        self.known_to = size if whole or not found else found[-1][1]
        self._starts = [start for start, _ in self.ranges]

    def hold_any(self, start: int, stop: int) -> bool:
        """Whether any page of the bytes from `start` to before `stop` was written; True where it is not known."""
        if stop <= self.known_to:
            at = bisect_right(self._starts, stop - 1) - 1
            return at >= 0 and self.ranges[at][1] > start
        if self._calls > _MOST_CALLS:
            return True
        self._calls += 1
        return bool(self._ask(start, stop - start)[0])

    def hold_all(self, start: int, stop: int) -> bool:
        """Whether every page of these bytes was written; True where it is not known."""
        if start >= self.known_to:
            return self.hold_any(start, stop)
        at = bisect_right(self._starts, start) - 1
        return at >= 0 and self.ranges[at][1] >= min(stop, self.known_to)


class Upload(BaseModel):
    """What the looks at an upload have shown so far. Times in seconds."""

    etag: str = ""
    md5: str | None = None
    """Content-MD5 at the last look."""
    age: float = 0
    """How long the last write was ago at the last look."""
    silence: float = 0
    """The longest time without a write that the upload was seen to outlive."""
    md5_came: bool = False
    """Content-MD5 was missing at one look and there at a later one: it was set when all was written."""
    md5_first: bool = False
    """Content-MD5 is older than a write: it was set when the blob was made, as copies of another blob do."""
    head_seen: bool = False
    """The first bytes were written, and looked at."""
    examined: str = ""
    """The ETag of the content that was last examined, and found to lack `lacking`, or to be whole by `proof`."""
    lacking: str = ""
    proof: str = ""

    def look(self, etag: str, md5: str | None, age: float) -> None:
        """Take in what storage says now."""
        if self.etag and etag != self.etag:
            self.silence = max(self.silence, self.age)
            self.md5_came = md5 is not None and (self.md5 is None or (self.md5_came and md5 != self.md5))
            self.md5_first = md5 is not None and md5 == self.md5
        self.etag, self.md5, self.age = etag, md5, age

    def rest(self, settle: float, stall: float) -> float:
        """How long ago the last write must be before the upload counts as ended: `settle`, or three times the longest
        silence that it was seen to outlive, which counts up to `stall`."""
        return max(settle, min(3 * self.silence, stall))


@dataclass(frozen=True)
class Evidence:
    """What was found: what a disk still lacks in words, empty where nothing; and what speaks for its being whole."""

    lacking: str
    found: str = ""


def examine(size: int, read: Reader, ask: Ask, *, boots: bool, proved: bool = False) -> tuple[Disk | None, Evidence]:
    """What speaks for and against a blob of `size` bytes being a whole VHD, and its disk's partition table, None while
    the footer is missing. A disk that `boots` has a partition table; another may be one file system. What is `proved`
    to be whole is not looked at any further.

    Raises NotAVhd where it never will be a VHD.
    """
    size -= FOOTER
    tail = read(size, FOOTER)
    head = read(0, HEAD if any(tail) else SECTOR)
    try:
        check_footer(head[:SECTOR], tail, size + FOOTER, read)
    except Incomplete as gap:
        return None, Evidence(str(gap))
    disk = read_partitions(head, read)
    if proved:
        return disk, Evidence("", "marked complete")
    pages = Pages(size, ask)
    lacking = _head_gap(disk, head, pages, boots=boots) or _backup_gap(disk, size, read, pages)
    if lacking:
        return disk, Evidence(lacking)
    partitions = disk.partitions
    if not partitions and not boots:
        partitions = (Partition(0, 0, size),)
    known: list[FileSystem] = []
    for partition in [one for one in partitions if one.start < one.stop <= size][:_MOST_PARTITIONS]:
        system = None
        if pages.hold_all(partition.start, partition.start + NEEDED):
            system = read_file_system(partition, _read(head, read, partition.start, NEEDED), read)
        if lacking := _partition_gap(partition, system, pages):
            return disk, Evidence(lacking)
        known += [system] if system else []
    if lacking := _torn_gap(size, read, pages, partitions, known):
        return disk, Evidence(lacking)
    backed = "its backup, " if disk.backup is not None else ""
    systems = ", ".join(system.name for system in known)
    parts = f"partition table, {backed}{len(disk.partitions)} partitions" if disk.scheme != "none" else "its head"
    held = f"{len(pages.ranges)} page range{'s' if len(pages.ranges) != 1 else ''}"
    return disk, Evidence("", f"{parts}{f' ({systems})' if systems else ''} and {held} agree")


def _head_gap(disk: Disk, head: bytes, pages: Pages, *, boots: bool) -> str:
    if not pages.ranges:
        return "nothing but the footer is written"
    if boots and not any(head[:SECTOR]) and not pages.hold_all(0, SECTOR):
        return "the first page is not written"
    if boots and disk.unread and not pages.hold_all(*disk.unread):
        return "the partition table is not written whole"
    return ""


def _backup_gap(disk: Disk, size: int, read: Reader, pages: Pages) -> str:
    at = disk.backup
    if at is None or at + SECTOR > size:  # a disk that was made smaller has lost it: no upload brings it
        return ""
    missing = f"the backup of the partition table, at {_at(at)}, is not written"
    if not pages.hold_any(at, at + SECTOR):
        return missing
    where = gpt_header(read(at, SECTOR), at // SECTOR)
    if where and where[0] + where[1] <= size and not pages.hold_any(where[0], where[0] + SECTOR):
        return missing
    return ""


def _partition_gap(partition: Partition, system: FileSystem | None, pages: Pages) -> str:
    name = f"partition {partition.number}, at {_at(partition.start)}," if partition.number else "the disk"
    if not partition.empty and not pages.hold_any(partition.start, min(partition.stop, partition.start + BEGINS)):
        return f"the beginning of {name} is not written"
    if system is None:
        return ""
    missing = next((mark for mark in system.marks if not pages.hold_any(mark, mark + system.block)), None)
    return "" if missing is None else f"{name} holds {system.name}, of which a block at {_at(missing)} is not written"


def _torn_gap(
    size: int, read: Reader, pages: Pages, partitions: tuple[Partition, ...], systems: list[FileSystem]
) -> str:
    """A gap that a missing piece has left, in words; empty where none shows."""
    gaps = [
        (stop, following)
        for (_, stop), (following, _) in zip(pages.ranges, [*pages.ranges[1:], (size, size)], strict=True)
        if stop < following and stop < pages.known_to
    ]
    edges = [edge for gap in gaps for edge in gap if 0 < edge < size]
    piece = gcd(*edges) if edges else 0
    if piece < _PIECE:  # an uploader that leaves out single pages: its gaps end where zeros end
        return ""
    landmarks = {one.start for one in partitions} | {mark for system in systems for mark in system.marks} | {size}
    # A missing piece is small beside what a disk leaves empty.
    for start, stop in sorted(gaps, key=lambda gap: gap[1] - gap[0])[:_MOST_GAPS]:
        before = any(read(start - SECTOR, SECTOR)) and not _free(start, read, systems, pages)
        behind = stop not in landmarks and any(read(stop, SECTOR)) and not _free(stop - SECTOR, read, systems, pages)
        if (before and behind) or ((before or behind) and piece >= _LARGE_PIECE):
            return f"{(stop - start) / MIB:g} MiB at {_at(start)} look as if they were left out"
    return ""


def _free(offset: int, read: Reader, systems: list[FileSystem], pages: Pages) -> bool:
    """Whether a file system says that the block at `offset` is free, and that was written."""
    for system in systems:
        if system.ext and (found := system.ext.is_free(offset, _written(read, pages))) is not None:
            return found
    return False


def _written(read: Reader, pages: Pages) -> Reader:
    return lambda offset, length: read(offset, length) if pages.hold_all(offset, offset + length) else b""


def _read(head: bytes, read: Reader, offset: int, length: int) -> bytes:
    return head[offset : offset + length] if offset + length <= HEAD else read(offset, length)


def _joined(ranges: Ranges) -> Ranges:
    found: Ranges = []
    for start, stop in ranges:
        if found and found[-1][1] == start:
            found[-1] = (found[-1][0], stop)
        else:
            found.append((start, stop))
    return found


def _at(offset: int) -> str:
    return f"{offset / MIB:.1f} MiB"
