"""Upload a VHD as a page blob: what is not zero, in parallel, the footer last; go on where an earlier one ended.

The blob itself is the journal. Its metadata names the file it is made from, and a Put Page happens wholly or not at
all, so the page ranges it holds are the pieces that arrived. When the footer is there, all is.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import threading
import time
from bisect import bisect_right
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.cli.holes import WINDOW, content, windows
from pipeline.cloud.faults import Conflict
from pipeline.cloud.page_blobs import LARGEST, Found, PageBlob
from pipeline.partitions import HEAD, SECTOR, Disk, read_partitions
from pipeline.upload_marks import COMPLETE, CONTENT, UPLOAD
from pipeline.vhd import FOOTER, Incomplete, NotAVhd, check_footer

_LOOK = 0.1  # seconds
_ATTEMPTS = 20
_TAKEN_OVER = "another upload has taken this blob over"


class Changed(RuntimeError):
    """The file was written to while it was uploaded."""


@dataclass(frozen=True)
class Vhd:
    """A fixed VHD on this machine. `size` in bytes, `modified` in nanoseconds; `head` its first bytes, `disk` what its
    partition table says."""

    path: Path
    size: int
    modified: int
    head: bytes
    footer: bytes
    disk: Disk

    @property
    def fingerprint(self) -> str:
        """What tells this file from another, and from itself once it is written to."""
        seen = f"{self.size} {self.modified} ".encode() + self.head + self.footer
        return hashlib.sha256(seen).hexdigest()


def read_vhd(path: Path) -> Vhd:
    """The VHD in the file at `path`. Raises NotAVhd or OSError where Azure would take no disk of it."""
    with path.open("rb") as file:
        seen = os.fstat(file.fileno())

        def read(offset: int, length: int) -> bytes:
            file.seek(offset)
            return file.read(length)

        head, footer = read(0, HEAD), read(max(0, seen.st_size - FOOTER), FOOTER)
        try:
            check_footer(head[:SECTOR], footer, seen.st_size, read)
        except Incomplete:
            raise NotAVhd(
                "the last 512 bytes, where a VHD has its footer, are empty: this file was never written to its end",
                "convert or download it again",
            ) from None
        disk = read_partitions(head, read)
    if seen.st_size > LARGEST:
        raise NotAVhd(f"a page blob holds {LARGEST // 1024**4} TiB at most", "use a smaller disk")
    return Vhd(path, seen.st_size, seen.st_mtime_ns, head, footer, disk)


@dataclass
class Progress:
    """How far an upload is, in bytes. `total` is what is not a hole, `looked` how much of it was looked at."""

    total: int
    looked: int = 0
    sent: int = 0
    kept: int = 0
    """Sent by an earlier upload that was interrupted."""
    digests: dict[int, bytes] = field(default_factory=dict)


@dataclass(frozen=True)
class Uploaded:
    """What came of an upload. `state` is `uploaded`, `resumed` or `there`: complete before it began."""

    state: str
    size: int
    sent: int
    kept: int
    seconds: float


def upload(vhd: Vhd, blob: PageBlob, threads: int, *, overwrite: bool, tell: Callable[[Progress], None]) -> Uploaded:
    """Bring a VHD into a page blob; `tell` is called a few times a second from this thread.

    Raises Conflict where something else is there, or another upload took the blob over; Changed; CloudFault. What
    was sent until then counts when the same file is uploaded again.
    """
    began = time.monotonic()
    fd = os.open(vhd.path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
    try:
        own = _take(vhd, fd, blob, threads, overwrite=overwrite, tell=tell)
        if own is None:
            return Uploaded("there", vhd.size, 0, 0, time.monotonic() - began)
        sequence, there = own

        def write(offset: int, data: bytes) -> None:
            try:
                blob.write(offset, data, sequence)
            except Conflict as fault:
                raise Conflict(_TAKEN_OVER, fault.code) from fault

        def send(offset: int, data: bytes, progress: Progress) -> None:
            for start, stop in content(data):
                if there and there.hold(offset + start, offset + stop):
                    progress.kept += stop - start
                else:
                    write(offset + start, data[start:stop])
                    progress.sent += stop - start

        progress = _walk(vhd, fd, threads, send, tell)
        _finish(vhd, fd, blob, sequence, _digest(vhd, progress.digests))
        progress.sent += FOOTER
        tell(progress)
        state = "resumed" if there else "uploaded"
        return Uploaded(state, vhd.size, progress.sent, progress.kept, time.monotonic() - began)
    finally:
        os.close(fd)


def _take(
    vhd: Vhd, fd: int, blob: PageBlob, threads: int, *, overwrite: bool, tell: Callable[[Progress], None]
) -> tuple[int, _Ranges | None] | None:
    """Make the blob this upload's own: its sequence number, and the ranges there already where it goes on.

    None where the blob is complete. Raises Conflict where something else is there.
    """
    sequence = 1 + secrets.randbelow(2**52)
    for attempt in range(1, _ATTEMPTS + 1):
        found = blob.find()
        mine = found is not None and found.metadata.get(UPLOAD) == vhd.fingerprint and found.size == vhd.size
        whole = found is not None and UPLOAD in found.metadata and _Ranges(blob.written()).hold_last(found.size)
        if found and whole and (mine or _same(vhd, fd, found, threads, tell)):
            return None
        if found and not mine and not overwrite:
            raise Conflict(_what_is_there(found, whole=whole), "BlobAlreadyExists")
        try:
            if found and mine:
                blob.take_over(sequence, found)
                return sequence, _Ranges(blob.written())
            blob.create(vhd.size, sequence, {UPLOAD: vhd.fingerprint}, over=found)
        except Conflict:
            # Another upload is at work on the blob this moment: look again, for it may just have completed it.
            if attempt == _ATTEMPTS:
                raise
        else:
            return sequence, None
    raise AssertionError("the last attempt returns or raises")


def _finish(vhd: Vhd, fd: int, blob: PageBlob, sequence: int, digest: str) -> None:
    """Say what the content is, then write the footer: nothing may change the blob's ETag once it is complete."""
    seen = os.fstat(fd)
    if (seen.st_size, seen.st_mtime_ns) != (vhd.size, vhd.modified):
        raise Changed(f"{vhd.path} was written to while it was uploaded: upload it again, with --overwrite")
    found = blob.find()
    if found is None or found.sequence != sequence:
        raise Conflict(_TAKEN_OVER, "SequenceNumberConditionNotMet")
    blob.describe({UPLOAD: vhd.fingerprint, CONTENT: digest, COMPLETE: found.mark}, found.etag)
    blob.write(vhd.size - FOOTER, vhd.footer, sequence)


def _what_is_there(found: Found, *, whole: bool) -> str:
    if UPLOAD not in found.metadata:
        return f"a blob of {found.size} bytes is there that gallerist did not upload; --overwrite replaces it"
    if not whole:
        return "an unfinished upload of another file is there; --overwrite replaces it"
    return "another VHD is there; --overwrite replaces it"


class _Ranges:
    """The ranges of pages that a blob holds."""

    def __init__(self, ranges: list[tuple[int, int]]) -> None:
        self._starts: list[int] = []
        self._stops: list[int] = []
        for start, stop in ranges:
            if self._stops and self._stops[-1] == start:
                self._stops[-1] = stop
            else:
                self._starts.append(start)
                self._stops.append(stop)

    def hold_last(self, size: int) -> bool:
        """Whether the last page of `size` bytes is held."""
        return bool(self._stops) and self._stops[-1] == size

    def hold(self, start: int, stop: int) -> bool:
        at = bisect_right(self._starts, start) - 1
        return at >= 0 and stop <= self._stops[at]


def _same(vhd: Vhd, fd: int, found: Found, threads: int, tell: Callable[[Progress], None]) -> bool:
    """Whether the complete blob holds what the file holds; the file is read for it, the blob is not."""
    if found.size != vhd.size or CONTENT not in found.metadata:
        return False
    return found.metadata[CONTENT] == _digest(vhd, _walk(vhd, fd, threads, lambda *_: None, tell).digests)


def _digest(vhd: Vhd, digests: dict[int, bytes]) -> str:
    total = hashlib.sha256()
    for offset in sorted(digests):
        total.update(offset.to_bytes(8, "big") + digests[offset])
    total.update(vhd.footer)
    return total.hexdigest()


def _walk(
    vhd: Vhd, fd: int, threads: int, send: Callable[[int, bytes, Progress], None], tell: Callable[[Progress], None]
) -> Progress:
    """Take each window of the file that is not a hole, the footer left out, to `send`, in `threads` threads.

    The first exception that a thread meets ends the walk and is raised; so does KeyboardInterrupt.
    """
    end = vhd.size - FOOTER
    todo = deque(windows(fd, end))
    shared = Progress(total=sum(min(WINDOW, end - offset) for offset in todo))
    lock, faults, stopped = threading.Lock(), list[BaseException](), threading.Event()
    reading = threading.Lock()

    def read(offset: int) -> bytes:
        length = min(WINDOW, end - offset)
        if hasattr(os, "pread"):
            data = os.pread(fd, length, offset)
        else:
            with reading:
                os.lseek(fd, offset, os.SEEK_SET)
                data = os.read(fd, length)
        if len(data) != length:
            raise Changed(f"{vhd.path} was cut short while it was uploaded")
        return data

    def take(offset: int) -> None:
        own = Progress(total=0)
        data = read(offset)
        if any(True for _ in content(data)):
            own.digests[offset] = hashlib.sha256(data).digest()
            send(offset, data, own)
        with lock:
            shared.looked += len(data)
            shared.sent += own.sent
            shared.kept += own.kept
            shared.digests |= own.digests

    def following() -> int | None:
        with lock:
            return todo.popleft() if todo else None

    def work() -> None:
        try:
            while not stopped.is_set() and (offset := following()) is not None:
                take(offset)
        except BaseException as fault:  # noqa: BLE001 - raised again by the thread that waits
            faults.append(fault)
            stopped.set()

    # Daemons: an interrupted upload ends at once, and what is on its way counts if it arrives.
    workers = [threading.Thread(target=work, daemon=True) for _ in range(min(threads, len(todo)))]
    try:
        for worker in workers:
            worker.start()
        for worker in workers:
            while worker.is_alive():
                worker.join(_LOOK)
                tell(shared)
    finally:
        stopped.set()
    if faults:
        raise faults[0]
    return shared
