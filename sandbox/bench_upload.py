"""What an upload takes, beside azcopy where that is on PATH. Both sign in as a build agent does."""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from rich.console import Console
from rich.table import Table

from sandbox import disk
from sandbox.up import ROOT, Options, Sandbox, SandboxError

_ROUNDS = 3
_DENSE, _SPARSE = 512, 2048  # MiB
_EVERY = 32  # MiB of hole and data in the sparse VHD, of which one is data


def measure_uploads() -> None:
    """Upload a dense and a sparse VHD a few times, in turn with azcopy, and print medians.

    Raises SandboxError where an upload fails.
    """
    with tempfile.TemporaryDirectory(prefix="gallerist-bench-") as name:
        folder = Path(name)
        with Sandbox(Options(state_dir=folder / "state", host=False, events="none")) as sandbox:
            _compare(sandbox, _vhd(folder / "dense.vhd", _DENSE, 1), _vhd(folder / "sparse.vhd", _SPARSE, _EVERY))


def _compare(sandbox: Sandbox, dense: Path, sparse: Path) -> None:
    azcopy = shutil.which("azcopy")
    table = Table("upload", "gallerist", "azcopy", "times as fast", "goal", title=f"Median of {_ROUNDS} uploads")
    peak, other_peak = 0.0, 0.0
    for vhd, goal in ((dense, 1.0), (sparse, 1.5)):
        ours, theirs = [], []
        for number in range(_ROUNDS):
            seconds, memory = _run(sandbox, list(_gallerist(sandbox, vhd, number)))
            ours.append(seconds)
            peak = max(peak, memory)
            if azcopy:
                seconds, memory = _run(sandbox, list(_azcopy(azcopy, sandbox, vhd, number)))
                theirs.append(seconds)
                other_peak = max(other_peak, memory)
        mine, other = statistics.median(ours), statistics.median(theirs) if theirs else None
        table.add_row(
            f"{vhd.stem}: {vhd.stat().st_size // disk.MIB} MiB, {_held(vhd) // disk.MIB} not zero",
            f"{mine:.2f} s",
            f"{other:.2f} s" if other else "not on PATH",
            f"{other / mine:.1f}" if other else "",
            f"{goal:g}",
        )
    table.add_row("peak memory", f"{peak:.0f} MiB", f"{other_peak:.0f} MiB" if azcopy else "", "", "200 MiB")
    Console(width=120 if not sys.stdout.isatty() else None).print(table)


def _vhd(path: Path, mib: int, every: int) -> Path:
    """A VHD of which one MiB in `every` holds noise."""
    disk.make_vhd(path, mib)
    with path.open("r+b") as file:
        for n in range(18, mib - 1, every):
            os.pwrite(file.fileno(), os.urandom(disk.MIB), n * disk.MIB)
    return path


def _held(vhd: Path) -> int:
    return sum(length for _, length in disk.extents(vhd))


def _blob(sandbox: Sandbox, name: str) -> str:
    return f"{sandbox.endpoints['blob']}/vhds/bench/{name}"


def _gallerist(sandbox: Sandbox, vhd: Path, number: int) -> Iterator[str]:
    yield from (sys.executable, "-m", "pipeline.cli", "upload", str(vhd))
    yield from ("--to", _blob(sandbox, f"{number}-{vhd.name}"), "--storage", sandbox.endpoints["blob"], "--json")


def _azcopy(azcopy: str, sandbox: Sandbox, vhd: Path, number: int) -> Iterator[str]:
    url = _blob(sandbox, f"azcopy-{number}-{vhd.name}")
    yield from (azcopy, "copy", str(vhd), url, "--blob-type", "PageBlob", "--from-to", "LocalBlob")
    # Loopback has to be named as a place for tokens.
    yield from ("--trusted-microsoft-suffixes", urlsplit(url).netloc)


def _run(sandbox: Sandbox, command: list[str]) -> tuple[float, float]:
    """Wall-clock seconds of a command from start to exit, and the MiB of memory it held at most."""
    logs = str(sandbox.options.state_dir)
    more = {"AZCOPY_AUTO_LOGIN_TYPE": "MSI", "AZCOPY_LOG_LOCATION": logs, "AZCOPY_JOB_PLAN_LOCATION": logs}
    environment = {**os.environ, **sandbox.env, **more}
    del environment["CATALOG"]
    began = time.monotonic()
    process = subprocess.Popen(
        command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    said = process.stdout.read() if process.stdout else b""
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SandboxError(f"{command[0]} ended with {process.returncode}: {said.decode()[-2000:]}")
    return time.monotonic() - began, used.ru_maxrss / (1024 * 1024 if sys.platform == "darwin" else 1024)
