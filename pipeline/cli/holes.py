"""What of a sparse file is worth sending: whole pages that are not zero, found without reading holes."""

from __future__ import annotations

import os
from collections.abc import Iterator

from pipeline.partitions import SECTOR

WINDOW = 4 * 1024 * 1024
"""Bytes looked at, and sent, at a time; Put Page takes no more."""
_GAP = bytes(64 * 1024)
"""Zeros shorter than this are sent along: a request of their own for what follows costs more than they do."""
_PAGE = bytes(SECTOR)


def windows(fd: int, size: int) -> list[int]:
    """The offsets of the windows of a file of `size` bytes that hold more than a hole, as its filesystem knows.

    Where the filesystem or the system knows of no holes, these are all windows.
    """
    if not hasattr(os, "SEEK_DATA"):
        return list(range(0, size, WINDOW))
    found: list[int] = []
    at = 0
    while at < size:
        try:
            start = os.lseek(fd, at, os.SEEK_DATA)
        except OSError:  # ENXIO: nothing but a hole from here on
            break
        stop = min(os.lseek(fd, start, os.SEEK_HOLE), size)
        # A window that was counted already may hold this data too.
        first = max(start - start % WINDOW, found[-1] + WINDOW if found else 0)
        found.extend(range(first, stop, WINDOW))
        at = stop
    return found


def content(data: bytes) -> Iterator[tuple[int, int]]:
    """Start and end of each run of pages in `data`, which is whole pages, that is not zero.

    A run begins and ends with a page that is not zero; gaps of zeros within it are short.
    """
    at, end = 0, len(data)
    while True:
        while data.startswith(_GAP, at):
            at += len(_GAP)
        while data.startswith(_PAGE, at):
            at += SECTOR
        if at >= end:
            return
        gap = data.find(_GAP, at)
        stop = end if gap < 0 else gap + -gap % SECTOR
        while data.startswith(_PAGE, stop - SECTOR):
            stop -= SECTOR
        yield at, stop
        at = stop
