"""What one publish costs, as the wire and the operating system saw it. Goals stand beside the figures."""

from __future__ import annotations

import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console
from rich.table import Table

from pipeline.context import Context, connect
from pipeline.runs import Stage
from pipeline.settings import load_settings
from sandbox import disk
from sandbox.azurite import Request, parse_log
from sandbox.bench_upload import measure_uploads
from sandbox.demo import environment, upload
from sandbox.up import ROOT, Options, Sandbox, SandboxError

_PUBLISHES = 5
_IMPORTS = 7
_SDKS = (
    "azure.functions, azure.identity, azure.mgmt.compute, azure.storage.blob, azure.storage.queue, azure.data.tables"
)


@dataclass
class Publish:
    """One publish: when its VHD was whole, and what was asked while it ran. Times are epoch seconds."""

    image: str
    blob: str
    dropped: float
    arm: list[dict[str, Any]]
    storage: list[Request]

    @property
    def seconds_to_put(self) -> float:
        return next(
            datetime.fromisoformat(call["time"]).timestamp() - self.dropped
            for call in self.arm
            if call["method"] == "PUT" and "/versions/" in call["path"]
        )

    @property
    def arm_calls(self) -> tuple[int, int]:
        """Calls to Resource Manager, and looks at what it works on among them, which take as long as Azure takes."""
        started: set[str] = set()
        calls = polls = 0
        for call in self.arm:
            calls += 1
            path = call["path"].partition("?")[0]
            if call["method"] == "GET" and path in started:
                polls += 1
            elif call["method"] in ("PUT", "DELETE"):
                started.add(path)
        return calls, polls

    @property
    def operations(self) -> Counter[str]:
        """Storage operations by kind, the host's looks into empty queues and the sandbox's own aside."""
        return Counter(kind for request in self.storage if (kind := _kind(request)))

    @property
    def bytes_read(self) -> int:
        return sum(r.sent for r in self.storage if r.method == "GET" and r.resource == f"vhds/{self.blob}")


def _kind(request: Request) -> str | None:
    if request.resource.startswith("vhds/"):
        written = request.method == "PUT" and request.query.get("comp") != "tags"
        return None if written else "VHD"
    if re.match(r"(run-steps|vhd-uploads)/messages", request.resource):
        return {"POST": "messages sent", "DELETE": "messages deleted"}.get(request.method)
    if request.resource.startswith(("runs", "ledger", "sources", "$batch")):
        return "tables"
    return None


def measure() -> None:
    """Publish a few VHDs and print what it took. Raises SandboxError where one is not published."""
    with tempfile.TemporaryDirectory(prefix="gallerist-bench-") as name:
        folder = Path(name)
        options = Options(
            state_dir=folder / "state",
            time_scale=600,
            quiet=True,
            settings={
                "UPLOAD_SETTLE_SECONDS": "0",
                "SWEEP_SCHEDULE": "0 0 0 1 1 *",
                "POLL_SECONDS": "1",
                "POLL_MAX_SECONDS": "1",
            },
        )
        with Sandbox(options) as sandbox, environment(sandbox.env):
            ctx = connect(load_settings(), sandbox.catalog)
            small = disk.make_vhd(folder / "64MiB.vhd")
            _publish(sandbox, ctx, small, "warm-up.vhd")
            cpu, began = _cpu(sandbox), time.monotonic()
            time.sleep(3)
            idle = (_cpu(sandbox) - cpu) / (time.monotonic() - began)
            cpu, began = _cpu(sandbox), time.monotonic()
            publishes = [_publish(sandbox, ctx, small, f"{n}.vhd") for n in range(_PUBLISHES)]
            busy = _cpu(sandbox) - cpu - idle * (time.monotonic() - began)
            vhd = disk.make_vhd(folder / "127GiB.vhd", 127 * 1024)
            large = _publish(sandbox, ctx, vhd, "large.vhd")
            unmarked = _publish(sandbox, ctx, vhd, "unmarked.vhd", marked=False)
    _print(publishes, large, unmarked, busy / _PUBLISHES, idle)
    measure_uploads()


def _publish(sandbox: Sandbox, ctx: Context, vhd: Path, name: str, *, marked: bool = True) -> Publish:
    image, log = "ubuntu-web", sandbox.options.state_dir / "azurite.log"
    blob, arm = f"{image}/{name}", sandbox.endpoints["arm"]
    with httpx.Client(verify=sandbox.endpoints["ca_bundle"]) as client:
        client.delete(f"{arm}/sandbox/requests").raise_for_status()
        before = log.stat().st_size
        known = {run for run, _ in ctx.runs.live()}
        upload(vhd, ctx.settings.blob_endpoint, "vhds", blob, bar=False, marked=marked)
        dropped = time.time()
        _await(ctx, known)
        requests = client.get(f"{arm}/sandbox/requests").raise_for_status().json()
    with log.open(encoding="utf-8") as lines:
        lines.seek(before)
        # What this looking on asked for itself, it asked of the partition `live` and of no other.
        storage = [request for request in parse_log(lines) if "live" not in request.path + str(request.query)]
    return Publish(image, blob, dropped, requests, storage)


def _await(ctx: Context, known: set[str]) -> None:
    deadline = time.monotonic() + 60
    run_id = ""
    while time.monotonic() < deadline:
        live = {run for run, _ in ctx.runs.live()} - known
        if live:
            (run_id,) = live
        elif run_id:
            loaded = ctx.runs.load(run_id)
            if loaded and loaded[0].stage is Stage.PUBLISHED:
                return
            raise SandboxError(f"{run_id} was not published: {loaded[0].reason if loaded else 'no record'}")
        time.sleep(0.1)
    raise SandboxError("not published within a minute")


def _cpu(sandbox: Sandbox) -> float:
    """CPU seconds that the functions hosts have used so far."""
    total = 0.0
    for host in sandbox.hosts:
        fields = Path(f"/proc/{host.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        total += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return total


def _import_seconds(modules: str) -> float:
    """The median of what importing takes in a fresh process, the interpreter's own start left out."""

    def once(code: str) -> float:
        began = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True)
        return time.perf_counter() - began

    once(f"import {modules}")
    return statistics.median(once(f"import {modules}") - once("pass") for _ in range(_IMPORTS))


def _print(publishes: list[Publish], large: Publish, unmarked: Publish, cpu: float, idle: float) -> None:
    calls, polls = max(publish.arm_calls for publish in publishes)
    operations = max((publish.operations for publish in publishes), key=Counter.total)
    sdks = _import_seconds(_SDKS)
    app, whole = _import_seconds("function_app"), _import_seconds("function_app, pipeline.triggers")
    to_put = [publish.seconds_to_put for publish in publishes]
    table = Table("what", "figure", "goal", title=f"One publish into three regions, of {len(publishes)}")
    for row in [
        ("ARM calls, polls aside", f"{calls - polls}, and {polls} polls", "9"),
        ("storage operations", f"{operations.total()}: {', '.join(f'{n} {k}' for k, n in operations.items())}", ""),
        ("bytes read of a VHD of 64 MiB", f"{max(publish.bytes_read for publish in publishes):,}", "65,536"),
        ("bytes read of a VHD of 127 GiB", f"{large.bytes_read:,}", "65,536"),
        ("… that is not marked", f"{unmarked.bytes_read:,}, {unmarked.operations['VHD']} operations", "65,536"),
        ("drop to version PUT", f"{statistics.median(to_put):.2f} s, at most {max(to_put):.2f} s", "3 s"),
        ("CPU of the functions host", f"{cpu:.2f} s, and {idle * 100:.1f} % of a core when idle", ""),
        ("cold import of function_app", f"{app:.3f} s, {app / sdks:.2f} of its SDKs' {sdks:.3f} s", "1.25"),
        ("… with all it loads at first use", f"{whole:.3f} s, {whole / sdks:.2f} of its SDKs'", ""),
    ]:
        table.add_row(*row)
    Console(width=120 if not sys.stdout.isatty() else None).print(table)
