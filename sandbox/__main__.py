"""`python -m sandbox`: Azure on one machine."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from pipeline.catalog import CatalogError
from sandbox.ports import listen
from sandbox.shell import read_env
from sandbox.up import ROOT, Options, Sandbox, SandboxError, run

cli = typer.Typer(no_args_is_help=True, add_completion=False, help="Azure on one machine, for trying Gallerist.")
_out = Console()
_err = Console(stderr=True)

StateDir = Annotated[Path, typer.Option(help="Where everything is kept.")]
PortBase = Annotated[
    int, typer.Option(help="First of six ports: blob, queue, table, arm, identity, functions. 0: free ones.")
]
TimeScale = Annotated[float, typer.Option(min=0.001, help="How many times faster than the real one this Azure runs.")]


@cli.command()
def up(
    state_dir: StateDir = Path(".sandbox"),
    port_base: PortBase = 10000,
    time_scale: TimeScale = 60,
    instances: Annotated[int, typer.Option(min=1, help="How many functions hosts.")] = 1,
    no_host: Annotated[bool, typer.Option("--no-host", help="Run no functions host: bring your own.")] = False,  # noqa: FBT002
    catalog: Annotated[Path, typer.Option(help="The catalog to publish by.")] = ROOT / "sandbox" / "catalog.yaml",
    events: Annotated[str, typer.Option(help="How blobs are told of: queue, webhook, scan or none.")] = "queue",
    sign_in: Annotated[bool, typer.Option("--sign-in", help="Tokens open the HTTP API, and no key.")] = False,  # noqa: FBT002
) -> None:
    """Start Azure here, and keep it until Ctrl-C."""
    if events not in ("queue", "webhook", "scan", "none"):
        raise typer.BadParameter("takes queue, webhook, scan or none", param_hint="--events")

    def ready(sandbox: Sandbox) -> None:
        _out.print(f"[bold]ready[/bold], Azure runs {time_scale:g} times faster here; Ctrl-C ends it")
        for name, endpoint in sandbox.endpoints.items():
            _out.print(f"  {name:<10} {endpoint}", highlight=False)
        _out.print(f"  settings   {state_dir / 'env'}", highlight=False)
        for image, entry in sandbox.catalog.images.items():
            if entry.drop:
                _out.print(f"  drop       {entry.drop} becomes {image}", highlight=False)

    options = Options(
        state_dir=state_dir, port_base=port_base, time_scale=time_scale, instances=instances, host=not no_host,
        catalog=catalog, events=events, sign_in=sign_in,  # type: ignore[arg-type]  # checked above
    )  # fmt: skip
    _or_exit(lambda: run(options, ready))


@cli.command()
def host(
    state_dir: StateDir = Path(".sandbox"),
    app_dir: Annotated[Path, typer.Option(help="The function app's folder.")] = ROOT,
    time_scale: TimeScale = 60,
    port: Annotated[int, typer.Option(help="The port to serve on.")] = 7071,
) -> None:
    """Run one more functions host, against a sandbox that is up."""
    from sandbox.host import StartError
    from sandbox.host import run as run_host

    listening = listen(port)
    for name, value in read_env(state_dir / "env").items():
        os.environ.setdefault(name, value)
    try:
        run_host(app_dir=app_dir.resolve(), http=listening, time_scale=time_scale, state_dir=state_dir.resolve())
    except StartError as error:
        _err.print(f"the functions host cannot start: {error}", style="red", highlight=False)
        raise typer.Exit(1) from error


@cli.command()
def demo(
    vhd: Annotated[Path | None, typer.Option(help="A fixed VHD of your own.", exists=True, dir_okay=False)] = None,
) -> None:
    """Drop a VHD, watch it become a version; drop another, watch it become the next."""
    from sandbox.demo import show

    _or_exit(lambda: show(vhd))


@cli.command()
def bench() -> None:
    """What one publish costs: calls, operations, bytes, seconds."""
    from sandbox.bench import measure

    _or_exit(measure)


def _or_exit(action: object) -> None:
    try:
        action()  # type: ignore[operator]
    except (SandboxError, CatalogError, FileNotFoundError) as error:
        _err.print(str(error), style="red", highlight=False)
        raise typer.Exit(1) from error


if __name__ == "__main__":
    sys.exit(cli())
