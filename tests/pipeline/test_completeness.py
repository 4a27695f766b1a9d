"""An upload that lacks a piece is not taken for whole, and one that lacks nothing is."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.completeness import Evidence, Ranges, Upload, examine
from sandbox import disk

MIB = 1024 * 1024
needs_ext4 = pytest.mark.skipif(not shutil.which("mkfs.ext4"), reason="mkfs.ext4 is not installed (e2fsprogs)")


def noise(path: Path, start: int, stop: int, seed: int = 0) -> None:
    """Fill the bytes from `start` to before `stop` with what is nowhere zero for long."""
    with path.open("r+b") as file:
        file.seek(start)
        file.write(random.Random(seed).randbytes(stop - start))


def sparse(folder: Path) -> Path:
    return disk.make_vhd(folder / "sparse.vhd", 64)


def dense(folder: Path) -> Path:
    vhd = disk.make_vhd(folder / "dense.vhd", 40)
    noise(vhd, 18 * MIB, 37 * MIB + 70_000)
    return vhd


def mbr(folder: Path) -> Path:
    """Two partitions by an MBR, of which nobody knows the file systems."""
    vhd = folder / "mbr.vhd"
    with vhd.open("wb") as file:
        file.truncate(40 * MIB)
        entries = b"".join(
            bytes([status, 0, 0, 0, 0x83, 0, 0, 0]) + (start * 2048).to_bytes(4, "little") + (8 * 2048).to_bytes(4, "little")
            for status, start in ((0x80, 1), (0, 25))
        )  # fmt: skip
        file.write(b"\xfa" * 440 + bytes(6) + entries.ljust(64, b"\0") + b"\x55\xaa")
        file.seek(40 * MIB)
        file.write(disk.footer(40 * MIB))
    noise(vhd, MIB, 7 * MIB + 4096)
    noise(vhd, 25 * MIB, 30 * MIB + 512)
    return vhd


def ext4(folder: Path) -> Path:
    """A root file system made by mkfs.ext4, with files as a small system has them, some of zeros and some preallocated."""
    root = folder / "root"
    dice = random.Random(7)
    for n in range(60):
        file = root / f"{n % 7}" / f"{n}"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(dice.randbytes(dice.choice([100, 5000, 70_000, 900_000, 2_500_000])))
    (root / "zeros").write_bytes(bytes(5 * MIB))
    with (root / "swapfile").open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, 9 * MIB)
    vhd = disk.make_vhd(folder / "ext4.vhd", 320)
    offset = 17 * MIB
    subprocess.run(
        ["mkfs.ext4", "-q", "-F", "-b", "4096", "-d", root, "-E", f"offset={offset}", vhd, str((320 - 18) * 256)],
        check=True,
        capture_output=True,
    )
    with vhd.open("r+b") as file:  # mkfs leaves what it finds
        file.seek(320 * MIB)
        assert file.read(8) == b"conectix"
    return vhd


class Uploaded:
    """What storage has of a file of which some pieces have arrived."""

    def __init__(self, content: bytes, pieces: list[tuple[int, int]]) -> None:
        self.content, self.pieces = content, sorted(pieces)
        self.bytes_read = self.calls = 0

    def read(self, offset: int, length: int) -> bytes:
        self.bytes_read += length
        found = bytearray(min(length, max(0, len(self.content) - offset)))
        for start, stop in self.pieces:
            low, high = max(start, offset), min(stop, offset + len(found))
            if low < high:
                found[low - offset : high - offset] = self.content[low:high]
        return bytes(found)

    def ask(self, offset: int, length: int) -> tuple[Ranges, bool]:
        self.calls += 1
        stop = offset + length
        return [(max(a, offset), min(b, stop)) for a, b in self.pieces if a < stop and b > offset], True

    def examine(self, *, boots: bool = True) -> Evidence:
        found = examine(len(self.content), self.read, self.ask, boots=boots)[1]
        assert self.bytes_read <= 64 * 1024
        assert self.calls <= 5
        return found


def pieces_of(content: bytes, size: int) -> list[tuple[int, int]]:
    """The pieces that an uploader sends: those of `size` bytes that are not zero, the last one shorter."""
    zero = bytes(size)
    cuts = range(0, len(content), size)
    return [(at, min(at + size, len(content))) for at in cuts if content[at : at + size] != zero[: len(content) - at]]


DISKS = [sparse, dense, mbr, pytest.param(ext4, marks=needs_ext4)]


@pytest.fixture(scope="module", params=DISKS, ids=lambda make: make.__name__)
def content(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return bytes(request.param(tmp_path_factory.mktemp("disks")).read_bytes())


@pytest.mark.parametrize("size", [512 * 1024, MIB, 4 * MIB])
def test_a_whole_upload_lacks_nothing(content: bytes, size: int) -> None:
    assert Uploaded(content, pieces_of(content, size)).examine().lacking == ""


def test_an_upload_of_single_pages_lacks_nothing(content: bytes) -> None:
    runs, start = [], None
    for at in range(0, len(content), 4096):
        held = any(content[at : at + 4096])
        if held and start is None:
            start = at
        if not held and start is not None:
            runs.append((start, at))
            start = None
    runs += [(start, len(content))] if start is not None else []
    assert Uploaded(content, runs).examine().lacking == ""


@pytest.mark.parametrize("size", [MIB, 4 * MIB])
def test_no_piece_can_be_missing_unseen(content: bytes, size: int) -> None:
    pieces = pieces_of(content, size)
    for missing in pieces:
        left = [piece for piece in pieces if piece != missing]
        assert Uploaded(content, left).examine().lacking, f"{missing[0] / MIB:g} to {missing[1] / MIB:g} MiB"


def schedules(pieces: list[tuple[int, int]], count: int) -> Iterator[list[tuple[int, int]]]:
    """What had arrived of uploads that send `pieces` in any order, at moments of which nobody knows."""
    for seed in range(count):
        dice = random.Random(seed)
        order = dice.sample(pieces, len(pieces))
        yield order[: dice.randrange(len(order))]


def test_two_hundred_uploads_that_were_killed_are_seen_to_be(content: bytes) -> None:
    pieces = pieces_of(content, 4 * MIB)
    for arrived in schedules(pieces, 200):
        assert Uploaded(content, arrived).examine().lacking, arrived


def test_the_footer_that_comes_first_proves_nothing(content: bytes) -> None:
    last = (len(content) // (4 * MIB) * 4 * MIB, len(content))
    assert Uploaded(content, [last]).examine().lacking
    assert Uploaded(content, [(0, 4 * MIB), last]).examine().lacking


def test_a_data_disk_is_one_file_system_or_none(tmp_path: Path) -> None:
    content = random.Random(1).randbytes(20 * MIB) + disk.footer(20 * MIB)
    pieces = pieces_of(content, 4 * MIB)
    assert Uploaded(content, pieces).examine(boots=False).lacking == ""
    for missing in pieces:
        assert Uploaded(content, [piece for piece in pieces if piece != missing]).examine(boots=False).lacking


def test_a_blob_in_thousands_of_ranges_costs_a_few_calls() -> None:
    size = 2048 * MIB

    class Fragments(Uploaded):
        def ask(self, offset: int, length: int) -> tuple[Ranges, bool]:
            self.calls += 1
            first = -(-offset // 8192) * 8192
            return [(at, at + 512) for at in range(first, min(offset + length, first + 500 * 8192), 8192)], False

    class Zeros(bytes):
        def __len__(self) -> int:
            return size + 512

    blob = Fragments(Zeros(), [])
    blob.read = lambda offset, length: disk.footer(size) if offset >= size else b"\1" * length  # type: ignore[method-assign]
    blob.examine(boots=False)


def looked(*looks: tuple[str, str | None, float]) -> Upload:
    upload = Upload()
    for etag, md5, age in looks:
        upload.look(etag, md5, age)
    return upload


def test_the_rest_follows_the_silence_that_an_upload_outlived() -> None:
    assert looked(("1", None, 5)).rest(60, 3600) == 60
    assert looked(("1", None, 5), ("2", None, 0)).rest(60, 3600) == 60
    assert looked(("1", None, 150), ("2", None, 0)).rest(60, 3600) == 450
    assert looked(("1", None, 3000), ("2", None, 0)).rest(60, 3600) == 3600


def test_a_hash_that_is_older_than_a_write_is_no_mark() -> None:
    assert looked(("1", None, 1), ("2", "md5", 1)).md5_came
    assert not looked(("1", "md5", 1)).md5_came, "a copy of another blob has it from the beginning"
    early = looked(("1", "md5", 1), ("2", "md5", 1))
    assert early.md5_first
    assert not early.md5_came
    assert not looked(("1", None, 1), ("2", "md5", 1), ("3", "md5", 1)).md5_came
