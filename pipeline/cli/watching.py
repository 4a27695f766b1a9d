"""Looking on while a run goes its way."""

from __future__ import annotations

import sys
import time
from contextlib import ExitStack

import typer
from rich.live import Live

from pipeline.cli import show
from pipeline.cli.api import Api, Json
from pipeline.cli.command import FAILED, GOOD
from pipeline.cloud.faults import Unavailable

_PATIENCE = 300.0  # seconds to go on asking a function app that does not answer
_SOON = 0.25  # seconds from the first look to the second; each wait is half as long again as the one before it


def look_on(api: Api, run_id: str, every: float, *, as_json: bool, every_step: bool) -> Json:
    """Print what happens to a run until it has ended, and return it. As JSON: a line a step, or the end alone."""
    with ExitStack() as stack:
        live = None
        if not as_json and sys.stdout.isatty():
            live = stack.enter_context(Live(console=show.console(), transient=True))
        told, regions, answered, pause = 0, "", time.monotonic(), min(_SOON, every)
        while True:
            try:
                found = api.run(run_id)
            except Unavailable:
                if time.monotonic() - answered > _PATIENCE:
                    raise
                time.sleep(every)
                continue
            answered = time.monotonic()
            history = found.get("history") or []
            for happening in history[told:]:
                if live:
                    live.console.print(show.line(happening), soft_wrap=True)
                elif not as_json:
                    show.console().print(show.line(happening), soft_wrap=True)
                elif every_step:
                    show.document({"run": run_id, **happening})
            told = len(history)
            if (now := show.regions_in_words(found)) != regions:
                regions = now
                if as_json and every_step:
                    show.document({"run": run_id, "regions": found["regions"]})
                elif not as_json and not live and found["state"] == "replicating":
                    show.say(now)
            if found["state"] == "duplicate" and found.get("duplicate_of"):
                run_id, told, regions = found["duplicate_of"], 0, ""
                continue
            if found["state"] in show.STATES:
                break
            if live:
                live.update(show.picture(found))
            time.sleep(pause)
            pause = min(pause * 1.5, every)
    if as_json:
        show.document(found)
    else:
        show.ending(found)
    return found


def begun_or_watched(api: Api, begun: Json, *, wait: bool, as_json: bool) -> None:
    """Print a run that was begun; with `wait`, look on to its end and exit by it."""
    if wait:
        found = look_on(api, begun["run"], 2.0, as_json=as_json, every_step=False)
        raise typer.Exit(0 if found["state"] in GOOD else FAILED)
    if as_json:
        show.document(begun)
    else:
        show.say(f"{begun['run']}  {begun['state']}")
