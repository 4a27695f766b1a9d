"""What of a file is sent: every page that is not zero, and hardly another."""

from __future__ import annotations

import os
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.cli import holes
from pipeline.cli.holes import WINDOW, content, windows

PAGE = 512
GAP = 64 * 1024
runs_of_pages = st.lists(
    st.tuples(st.sampled_from(["zero", "text", "late", "early"]), st.integers(1, 300)), max_size=12
)


def pages(runs: list[tuple[str, int]]) -> bytes:
    kinds = {
        "zero": bytes(PAGE),
        "text": b"gallerist".ljust(PAGE, b"\x01"),
        "late": bytes(PAGE - 1) + b"\x01",
        "early": b"\x01" + bytes(PAGE - 1),
    }
    return b"".join(kinds[kind] * count for kind, count in runs)


@given(runs_of_pages)
def test_nothing_but_zeros_is_left_out(runs: list[tuple[str, int]]) -> None:
    data = pages(runs)
    at = 0
    for start, stop in content(data):
        assert at <= start < stop <= len(data)
        assert start % PAGE == stop % PAGE == 0
        assert not any(data[at:start])
        at = stop
    assert not any(data[at:])


@given(runs_of_pages)
def test_a_run_begins_and_ends_with_content_and_no_long_gap_is_within_it(runs: list[tuple[str, int]]) -> None:
    data = pages(runs)
    found = list(content(data))
    for start, stop in found:
        assert any(data[start : start + PAGE])
        assert any(data[stop - PAGE : stop])
        assert bytes(GAP) not in data[start:stop]
    assert all(after - before >= GAP - PAGE for (_, before), (after, _) in pairwise(found))


@given(
    st.lists(st.tuples(st.integers(0, 10 * WINDOW), st.integers(1, 3 * PAGE)), max_size=8), st.integers(1, 10 * WINDOW)
)
def test_every_byte_of_a_sparse_file_is_in_a_window(writes: list[tuple[int, int]], size: int) -> None:
    fd = os.memfd_create("sparse") if hasattr(os, "memfd_create") else pytest.skip("needs a file in memory")
    try:
        os.truncate(fd, size)
        for offset, length in writes:
            if offset + length <= size:
                os.pwrite(fd, b"\x01" * length, offset)
        found = windows(fd, size)
        assert found == sorted(set(found))
        assert all(offset % WINDOW == 0 and offset < size for offset in found)
        for offset, length in writes:
            if offset + length <= size:
                assert {offset - offset % WINDOW, (offset + length - 1) - (offset + length - 1) % WINDOW} <= set(found)
    finally:
        os.close(fd)


def test_holes_are_not_looked_at(tmp_path: Path) -> None:
    with (tmp_path / "sparse").open("wb+") as file:
        file.truncate(1 << 40)
        os.pwrite(file.fileno(), b"x", 5 * WINDOW)
        assert windows(file.fileno(), 1 << 40) == [5 * WINDOW]


def test_where_nothing_knows_of_holes_all_is_looked_at(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delattr(holes.os, "SEEK_DATA")
    with (tmp_path / "sparse").open("wb+") as file:
        file.truncate(WINDOW + 1)
        assert windows(file.fileno(), WINDOW + 1) == [0, WINDOW]
