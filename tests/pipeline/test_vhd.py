"""What a blob is, is told from its first and last bytes, and what to run to mend it is said."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.partitions import HEAD, read_partitions
from pipeline.vhd import FOOTER, MIB, Footer, Incomplete, NotAVhd, check_footer
from sandbox import disk

SIZE = 64 * MIB
NOTHING = bytes(512)


def test_a_whole_fixed_vhd_is_taken() -> None:
    assert check_footer(NOTHING, disk.footer(SIZE), SIZE + FOOTER) == Footer(2, SIZE)


@pytest.mark.parametrize(
    ("head", "tail", "size", "says", "mend"),
    [
        (disk.footer(SIZE, disk_type=3), disk.footer(SIZE, disk_type=3), 5 * MIB, "dynamic VHD", "subformat=fixed"),
        (disk.footer(SIZE, disk_type=4), disk.footer(SIZE, disk_type=4), 5 * MIB, "differencing VHD", "Merge-VHD"),
        (NOTHING, disk.footer(SIZE, disk_type=3), SIZE + FOOTER, "disk type 3", "subformat=fixed"),
        (NOTHING, disk.footer(SIZE + 1024), SIZE + 1024 + FOOTER, "whole number of MiB", "qemu-img resize -f raw in.raw 65M"),
        (NOTHING, disk.footer(SIZE), SIZE // 2 + FOOTER, "cut short", "azcopy copy"),
        (b"vhdxfile" + bytes(504), NOTHING, 8 * MIB, "VHDX", "-f vhdx"),
        (b"QFI\xfb" + bytes(508), NOTHING, MIB, "qcow2", "-f qcow2"),
        (b"\xfd7zXZ\x00" + bytes(506), b"x" * 512, MIB, "xz archive", "xz -d"),
        (NOTHING, NOTHING, SIZE, "raw disk image", "-f raw"),
        (NOTHING, b"x" * 512, SIZE + FOOTER, "raw disk image, or a VHD cut short", "-f raw"),
        (b"", b"", 0, "raw disk image", "-f raw"),
    ],
)  # fmt: skip
def test_what_is_no_vhd_is_named_with_its_mend(head: bytes, tail: bytes, size: int, says: str, mend: str) -> None:
    with pytest.raises(NotAVhd) as fault:
        check_footer(head, tail, size)
    assert says in str(fault.value)
    assert mend in str(fault.value)


def test_a_damaged_footer_is_told_from_a_missing_one() -> None:
    damaged = bytearray(disk.footer(SIZE))
    damaged[200] ^= 1
    with pytest.raises(NotAVhd, match="checksum"):
        check_footer(NOTHING, bytes(damaged), SIZE + FOOTER)


def test_an_empty_last_page_may_still_be_written() -> None:
    with pytest.raises(Incomplete):
        check_footer(NOTHING, NOTHING, SIZE + FOOTER)


@given(st.binary(max_size=512), st.binary(max_size=512), st.integers(0, 2**45))
def test_any_bytes_get_an_answer(head: bytes, tail: bytes, size: int) -> None:
    try:
        footer = check_footer(head, tail, size)
    except (NotAVhd, Incomplete):
        return
    assert footer.current_size == size - FOOTER


@given(st.integers(0, 10_000))
def test_any_first_bytes_get_an_answer(seed: int) -> None:
    noise = random.Random(seed)
    head = bytearray(noise.randbytes(HEAD))
    head[510:512], head[450], head[512:520] = b"\x55\xaa", 0xEE, b"EFI PART"
    assert read_partitions(bytes(head)).scheme in ("GPT", "MBR")


@pytest.mark.parametrize("generation", ["V1", "V2"])
def test_the_generation_shows_in_the_partition_table(tmp_path: Path, generation: str) -> None:
    head = disk.make_vhd(tmp_path / "x.vhd", generation=generation).read_bytes()[:HEAD]
    found = read_partitions(head)
    assert (found.scheme, found.generations) == ("GPT", {generation})


def test_an_mbr_disk_boots_by_bios_and_with_an_efi_partition_by_uefi_too() -> None:
    head = bytearray(HEAD)
    head[510:512] = b"\x55\xaa"
    head[450] = 0x83
    assert read_partitions(bytes(head)).generations == {"V1"}
    head[466] = 0xEF
    assert read_partitions(bytes(head)).generations == {"V1", "V2"}


def test_an_empty_disk_has_no_scheme() -> None:
    assert read_partitions(bytes(HEAD)).scheme == "none"
