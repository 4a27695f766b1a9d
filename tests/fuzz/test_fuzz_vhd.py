"""Any first, last and other bytes of a blob get an answer: what it is, what it lacks, or what mends it."""

from __future__ import annotations

import struct
from binascii import crc32
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from pipeline.catalog import Generation
from pipeline.completeness import Ranges, examine
from pipeline.fit import Unfit, check_boot
from pipeline.partitions import HEAD, SECTOR, Disk
from pipeline.vhd import FOOTER, MIB, NotAVhd
from sandbox import disk

LENGTHS = st.sampled_from([20 * MIB, 64 * MIB, 127 * 1024 * MIB, 0, 512, 4096 * MIB + 512])
OFFSETS = st.integers(0, 2**64 - 1) | st.sampled_from([0, 1, 2, 34, 2016, 2048, 2**32, 2**63])
SIGNS = st.sampled_from(
    [
        b"vhdxfile", b"QFI\xfb", b"KDMV", b"BZh91AY&SY", b"\x1f\x8b\x08", b"\xfd7zXZ\0", b"XFSB", b"\xeb\x52\x90NTFS    ",
        b"LUKS\xba\xbe", b"PK\x03\x04", b"\xeb\x3c\x90", b"",
    ]
)  # fmt: skip


@st.composite
def heads(draw: st.DrawFn) -> bytes:
    """The first bytes of a disk: noise, or a table that is right but for what it says."""
    head = bytearray(draw(st.binary(max_size=300)).ljust(HEAD, draw(st.sampled_from([b"\0", b"\xff"]))))
    sign = draw(SIGNS)
    head[: len(sign)] = sign
    if draw(st.booleans()):
        for n in range(4):
            status, kind = draw(st.sampled_from([0, 0x80, 7])), draw(st.sampled_from([0, 0xEE, 0xEF, 0x83, 5]))
            struct.pack_into(
                "<B3xB3xII", head, 446 + 16 * n, status, kind, *draw(st.tuples(*[st.integers(0, 2**32 - 1)] * 2))
            )
        head[510:512] = b"\x55\xaa"
    if draw(st.booleans()):
        entries = draw(st.binary(max_size=512))
        header = bytearray(
            struct.pack(
                "<8sIIIIQQQQ16sQIII", b"EFI PART", 0x10000, draw(st.sampled_from([92, 0, 512, 2**31])), 0, 0,
                draw(st.sampled_from([1, 0, 9])), draw(OFFSETS), 34, draw(OFFSETS), bytes(16), draw(OFFSETS),
                draw(st.sampled_from([128, 0, 1, 4096, 2**32 - 1])), draw(st.sampled_from([128, 0, 7, 136, 4096])),
                crc32(entries.ljust(128 * 128, b"\0")),
            ).ljust(SECTOR, b"\0")
        )  # fmt: skip
        if draw(st.booleans()):
            struct.pack_into("<I", header, 16, crc32(header[:92]))
        head[SECTOR : 2 * SECTOR] = header
        head[1024 : 1024 + len(entries)] = entries
    return bytes(head)


@st.composite
def tails(draw: st.DrawFn, size: int) -> bytes:
    """The last page: a footer of this disk, of another, a broken one, none."""
    footer = bytearray(disk.footer(draw(st.sampled_from([size, size + 512, 0])), disk_type=draw(st.integers(0, 5))))
    match draw(st.sampled_from(["whole", "broken", "zero", "noise"])):
        case "broken":
            footer[draw(st.integers(0, 511))] ^= 1
        case "zero":
            return bytes(FOOTER)
        case "noise":
            return draw(st.binary(min_size=FOOTER, max_size=FOOTER))
    return bytes(footer)


def answer(size: int, head: bytes, tail: bytes, middle: bytes, ranges: Ranges, *, boots: bool) -> Disk | None:
    def read(offset: int, length: int) -> bytes:
        length = max(0, min(length, size + FOOTER - offset))
        if offset >= size:
            return tail[offset - size :][:length]
        found = head[offset : offset + length] if offset < HEAD else b""
        return (found + middle * (length // len(middle) + 1))[:length]

    def ask(offset: int, length: int) -> tuple[Ranges, bool]:
        return [(a, b) for a, b in ranges if a < offset + length and b > offset], len(ranges) % 2 == 0

    found, evidence = examine(size + FOOTER, read, ask, boots=boots)
    assert isinstance(evidence.lacking, str)
    assert bool(evidence.lacking) != bool(evidence.found)
    return found


@st.composite
def page_ranges(draw: st.DrawFn, size: int) -> Ranges:
    edges = sorted(draw(st.sets(st.integers(0, max(1, size // SECTOR)), max_size=24)))
    return [(a * SECTOR, b * SECTOR) for a, b in zip(edges[::2], edges[1::2], strict=False)]


@given(st.data())
def test_any_vhd_gets_an_answer(data: Any) -> None:
    size = data.draw(LENGTHS)
    head, tail = data.draw(heads()), data.draw(tails(size))
    middle = data.draw(st.binary(min_size=1, max_size=600))
    ranges = data.draw(page_ranges(size))
    boots = data.draw(st.booleans())
    try:
        found = answer(size, head, tail, middle, ranges, boots=boots)
    except NotAVhd:
        return
    if found is None:
        return
    for wanted in Generation:
        try:
            check_boot(found.fault, found.generations, wanted)
        except Unfit:
            boots_so = False
        else:
            boots_so = True
        assert boots_so == (wanted.value in found.generations and not found.fault)
