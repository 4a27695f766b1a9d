"""The main job, shown: a VHD becomes a replicated version, the next one the next, and a night promotes it."""

from __future__ import annotations

import logging
import os
import ssl
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import structlog
from azure.storage.blob import BlobServiceClient
from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn
from rich.text import Text

from pipeline import access, amendments, engine, promotion
from pipeline.access import Role
from pipeline.catalog import Promotion
from pipeline.context import Context, connect
from pipeline.gates import why_nothing
from pipeline.partitions import HEAD, SECTOR, read_partitions
from pipeline.replication import RegionState
from pipeline.requests import Verdict
from pipeline.runs import Run, Stage
from pipeline.settings import load_settings
from pipeline.upload_marks import COMPLETE, mark
from pipeline.vhd import check_footer
from sandbox import disk
from sandbox.up import Options, Sandbox, SandboxError

_FASTER = 60.0
_LOOK = 0.25  # seconds
_AT_MOST = 300.0  # seconds for one version
_out = Console(highlight=False)


def show(vhd: Path | None) -> None:
    """Run the demo, on `vhd` where one is given. Raises SandboxError with the reason where a version does not come."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))  # it is told here
    with tempfile.TemporaryDirectory(prefix="gallerist-demo-") as folder:
        builds = [vhd, vhd] if vhd else [disk.make_vhd(Path(folder) / f"{n}.vhd", build=f"build {n}") for n in (1, 2)]
        image = _image_for(builds[0])
        began = time.monotonic()
        _out.print(f"Starting Azure on this machine, {_FASTER:g} times faster than the real one …")
        state_dir = Path(folder) / "state"
        options = Options(state_dir=state_dir, time_scale=_FASTER, quiet=True)
        with Sandbox(options) as sandbox, environment(sandbox.env):
            _out.print(f"Ready after {time.monotonic() - began:.1f} s.\n")
            ctx = connect(load_settings(), sandbox.catalog)
            for number, build in enumerate(builds, 1):
                _drop_and_watch(ctx, image, build, f"build-{number}.vhd")
            _list_versions(ctx, image)
            for rule in ctx.catalog.rules_from(image):
                _prove_and_promote(ctx, rule, sandbox.endpoints)


def _image_for(vhd: Path) -> str:
    """The image of the sandbox's catalog that a VHD fits. Raises SandboxError where no page blob can hold it."""
    size = vhd.stat().st_size
    with vhd.open("rb") as file:
        head = file.read(HEAD)
        if size % SECTOR:
            file.seek(-SECTOR, os.SEEK_END)
            try:
                check_footer(head[:SECTOR], file.read(), size)
            except ValueError as fault:
                raise SandboxError(f"{vhd}: {fault}") from fault
    return "debian-bios" if read_partitions(head).generations == {"V1"} else "ubuntu-web"


@contextmanager
def environment(env: dict[str, str]) -> Iterator[None]:
    """The app settings in `env`, for this process and this while."""
    before = {name: os.environ.get(name) for name in env}
    os.environ.update(env)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _drop_and_watch(ctx: Context, image: str, vhd: Path, name: str) -> None:
    known = {run for run, _ in ctx.runs.live()}
    blob = f"vhds/{image}/{name}"
    _out.print(f"[bold]Dropping[/bold] {vhd.name} ({vhd.stat().st_size / disk.MIB:.0f} MiB) as {blob}")
    upload(vhd, ctx.settings.blob_endpoint, "vhds", f"{image}/{name}")
    dropped = time.monotonic()
    run = _watch(ctx, _run_of(ctx, known))
    _ended_well(run)
    _out.print(
        f"[bold green]{image} {run.version}[/bold green] is in {len(run.regions)} regions and in latest, "
        f"{time.monotonic() - dropped:.0f} s after the drop\n"
    )


def upload(vhd: Path, endpoint: str, container: str, name: str, *, bar: bool = True, marked: bool = True) -> None:
    """Upload a VHD as a page blob, holes skipped, and mark it complete; mark and progress bar where they are wanted."""
    from azure.identity import DefaultAzureCredential

    client = BlobServiceClient(endpoint, DefaultAzureCredential()).get_blob_client(container, name)
    pieces = list(disk.extents(vhd))
    client.create_page_blob(vhd.stat().st_size)
    columns = (TextColumn("  upload          "), BarColumn(30), DownloadColumn(), TextColumn("that are not holes"))
    with Progress(*columns, console=_out, disable=not bar) as progress, vhd.open("rb") as file:
        task = progress.add_task("upload", total=sum(length for _, length in pieces))
        for offset, length in pieces:
            file.seek(offset)
            client.upload_page(file.read(length), offset=offset, length=length)
            progress.advance(task, length)
    if marked:
        made = client.get_blob_properties().creation_time
        client.set_blob_metadata({COMPLETE: mark(container, name, made)})


def _run_of(ctx: Context, known: set[str]) -> str:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        for run, _ in ctx.runs.live():
            if run not in known and ctx.runs.load(run):  # a run is announced before it is written down
                return run
        time.sleep(_LOOK)
    raise SandboxError("no run began within a minute of the drop")


def _watch(ctx: Context, run_id: str) -> Run:
    deadline = time.monotonic() + _AT_MOST
    told, seen = 0, ""
    with Live(console=_out, refresh_per_second=8, transient=True) as live:
        while True:
            loaded = ctx.runs.load(run_id)
            if loaded is None:
                raise SandboxError(f"run {run_id} has no record")
            run, _ = loaded
            happenings = ctx.runs.history(run_id)
            for happening in happenings[told:]:
                _out.print(f"  {happening.stage.value:<16} {happening.note}", soft_wrap=True)
            told = len(happenings)
            live.update(_picture(run))
            if not _out.is_terminal and run.stage is Stage.REPLICATING and seen != (seen := _in_words(run)):
                _out.print(f"  {run.stage.value:<16} {seen}", soft_wrap=True)
            if run.stage.ended:
                return run
            if time.monotonic() > deadline:
                raise SandboxError(f"run {run_id} is not done: {run.stage.value}, {run.note}")
            time.sleep(_LOOK)


def _prove_and_promote(ctx: Context, rule: Promotion, endpoints: dict[str, str]) -> None:
    """A verdict, a day, and the night after it: the version moves to production without a rebuild."""
    version = promotion.look(ctx, rule).candidates[0].version.name
    target = ctx.catalog.target_of(rule)
    _out.print(f"\n[bold]Tests pass[/bold] on {rule.from_} {version}, and {rule.soak.total_seconds() / 3600:g} h go by")
    verdict = Verdict(image=rule.from_, version=version, outcome="passed", by="demo")
    if run := amendments.judge_version(ctx, verdict, access.of_key(Role.TESTER)):
        engine.queue_step(ctx, run)
        _ended_well(_watch(ctx, run.id))
    with httpx.Client(verify=ssl.create_default_context(cafile=endpoints["ca_bundle"])) as client:
        passed = {"advance": rule.soak.total_seconds() + 60}
        client.post(f"{endpoints['arm']}/sandbox/clock", json=passed).raise_for_status()
    _out.print(f"[bold]The night[/bold] promotes by the rule {rule.key}")
    done = promotion.promote(ctx, rule)
    if done.run is None:
        raise SandboxError(f"nothing was promoted: {why_nothing(promotion.look(ctx, rule))}")
    _ended_well(_watch(ctx, done.run.id))
    _list_versions(ctx, target)


def _ended_well(run: Run) -> None:
    if run.stage not in (Stage.PUBLISHED, Stage.AMENDED):
        raise SandboxError(f"the run {run.id} ended as {run.stage.value}: {run.reason}")


def _picture(run: Run) -> Group:
    lines = [Text(f"  {run.stage.value:<16} {run.note}", style="dim")]
    for region in run.regions:
        full = round(region.progress * 30 / 100)
        colour = {RegionState.COMPLETED: "green", RegionState.FAILED: "red"}.get(region.state, "yellow")
        bar = Text(f"  {region.region:<16} ")
        bar.append("━" * full, style=colour)
        bar.append("━" * (30 - full), style="grey30")
        bar.append(f" {region.progress:>3} % {region.state.value}")
        lines.append(bar)
    return Group(*lines)


def _in_words(run: Run) -> str:
    return ", ".join(f"{region.region} {region.progress} %" for region in run.regions)


def _list_versions(ctx: Context, image: str) -> None:
    from pipeline.cloud.compute import DefinitionId

    at = DefinitionId.parse(ctx.catalog.definition_id(image))
    _out.print(f"[bold]{at.gallery}/{at.name}[/bold] holds:")
    for number in ctx.compute.version_names(at):
        version = ctx.compute.version(at, number)
        regions = ", ".join(f"{r.region} {r.state.value}" for r in version.replication)
        latest = "excluded from latest" if version.excluded_from_latest else "in latest"
        _out.print(f"  {number}  {version.state}, {latest}; {regions}", soft_wrap=True)
