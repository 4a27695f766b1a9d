"""What is printed: tables and lines for people, JSON for programs.

All of it may come from outside: `text` and `document` escape what would steer a terminal, and nothing else prints.
"""

from __future__ import annotations

import json
import re
import sys
from typing import Any

import structlog
from rich.console import Console, Group
from rich.progress import BarColumn, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar
from rich.table import Table
from rich.text import Text

from pipeline.catalog import Catalog
from pipeline.validation import visible

Json = dict[str, Any]
STATES = {"published": "green", "amended": "green", "failed": "red", "cancelled": "yellow", "duplicate": "cyan"}
_REGIONS = {"Completed": "green", "Failed": "red"}
_WIDE = 240  # columns where no terminal sets them: a line that is cut helps nobody
_BAR = 30
MIB = 1024 * 1024


def configure_logs() -> None:
    """Say on standard error, in words, what the layer of retries logs."""

    def in_words(_logger: object, _method: str, event: structlog.typing.EventDict) -> str:
        fault = visible(str(event.get("fault") or event["event"]))
        return f"{fault}; asking again in {event.get('wait_seconds', 0)} s"

    structlog.configure(processors=[in_words], logger_factory=structlog.PrintLoggerFactory(sys.stderr))


def console(*, stderr: bool = False) -> Console:
    stream = sys.stderr if stderr else sys.stdout
    return Console(stderr=stderr, highlight=False, width=None if stream.isatty() else _WIDE)


def text(said: object, style: str = "", *, lines: bool = False) -> Text:
    """What is printed of `said`: nothing in it is markup, and nothing steers the terminal. With
    `lines`, ends of lines stay."""
    return Text(visible(str(said), lines=lines), style=style)


def say(said: str, style: str | None = None, *, stderr: bool = False) -> None:
    """Print a line. Where it goes on in others they are indented: none of them is a line of its own."""
    indented = re.sub(r"\n(?! )", "\n  ", said)
    console(stderr=stderr).print(text(indented, style or "", lines=True), soft_wrap=True)


def document(found: Any) -> None:
    """One JSON document, on one line."""
    sys.stdout.write(visible(json.dumps(found, ensure_ascii=False)) + "\n")
    sys.stdout.flush()


def bytes_of(count: int) -> str:
    return f"{count / MIB:.1f} MiB" if count >= MIB else f"{count:,} bytes"


class _Speed(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(f"{task.speed / MIB:.0f} MiB/s" if task.speed else "")


def transfer() -> Bar:
    """The bar of an upload, for a terminal."""
    return Bar(
        TextColumn("{task.description}", markup=False),
        BarColumn(_BAR),
        TextColumn("{task.fields[shown]}", markup=False),
        _Speed(),
        TimeRemainingColumn(),
        console=console(stderr=True),
        transient=True,
    )


class _Table(Table):
    def __init__(self, *columns: str) -> None:
        super().__init__(*columns, box=None, pad_edge=False, header_style="bold")

    def row(self, *cells: str | Text) -> None:
        self.add_row(*(cell if isinstance(cell, Text) else text(cell) for cell in cells))


def catalog(found: Catalog) -> None:
    table = _Table("IMAGE", "GALLERY/DEFINITION", "DROP", "ROUTE", "REGIONS")
    for name, image in found.images.items():
        regions = ", ".join(f"{r.name} x{r.replicas}" for r in found.target_regions(name))
        where = f"{found.gallery_of(name).name}/{found.definition_name(name)}"
        table.row(name, where, image.drop or "", image.taken_route.value, regions)
    console().print(table)


def catalog_json(found: Catalog) -> list[Json]:
    """As the API describes images."""
    return [
        {
            "image": name,
            "gallery": found.gallery_of(name).name,
            "definition": found.definition_id(name),
            "drop": image.drop,
            "route": image.taken_route.value,
            "regions": [
                {"name": r.name, "replicas": r.replicas, "storage": r.storage.value} for r in found.target_regions(name)
            ],
        }
        for name, image in found.images.items()
    ]


def runs(found: list[Json]) -> None:
    table = _Table("RUN", "STATE", "VERSION", "CREATED", "NOTE")
    for run in found:
        state = text(run["state"], STATES.get(run["state"], ""))
        said = (_end(run) if run["state"] in STATES else run.get("note")) or ""
        table.row(run["run"], state, run.get("version") or "", _time(run["created"]), _first(said))
    console().print(table)


def run(found: Json) -> None:
    table = Table.grid(padding=(0, 2))
    source = found.get("source") or {}
    rows = {
        "run": found["run"],
        "image": found["image"],
        "state": found["state"],
        "version": found.get("version"),
        "definition": found.get("definition"),
        "source": f"{source.get('kind')} {source.get('id')}" if source else None,
        "request": found.get("request_id"),
        "asked by": ", ".join(found.get("asked_by") or []),
        "tags": ", ".join(f"{k}={v}" for k, v in (found.get("tags") or {}).items()),
        "created": _time(found.get("created")),
        "ended": _time(found.get("ended")),
        "due": None if found.get("ended") else _time(found.get("due")),
        "purpose": found.get("purpose") if found.get("purpose") != "publish" else None,
        "rule": found.get("promotion"),
        "duplicate of": found.get("duplicate_of"),
        "note": found.get("note"),
        "reason": found.get("reason"),
    }
    for name, value in rows.items():
        if value:
            table.add_row(text(name, "bold"), text(value, STATES.get(value, ""), lines=True))
    out = console()
    out.print(table)
    if found.get("regions"):
        out.print(Group(*map(_region, found["regions"])))
    for happening in found.get("history") or []:
        out.print(text(f"{_time(happening['at'])}  ").append(line(happening, 22)), soft_wrap=True)


def line(happening: Json, indent: int = 0) -> Text:
    """One entry of a run's history. What it says in further lines is indented: it is no entry of its own."""
    note = str(happening["note"]).replace("\n", "\n" + " " * (indent + 17))
    return text(f"{happening['stage']:<16} {note}", lines=True)


def picture(found: Json) -> Group:
    """Where a run is: its stage, and a bar a region."""
    here = text(f"{found['state']:<16} {found.get('note') or ''}", "dim")
    return Group(here, *map(_region, found.get("regions") or []))


def regions_in_words(found: Json) -> str:
    """The regions of a run and how far each is, empty where none is known."""
    told = ", ".join(
        f"{r['region']} {r['progress']} %" + (f" {r['state']}" if r["state"] == "Failed" else "")
        for r in found.get("regions") or []
    )
    return f"{'replicating':<16} {told}" if told else ""


def _region(found: Json) -> Text:
    full = round(found["progress"] * _BAR / 100)
    bar = text(f"{found['region']:<16} ")
    bar.append("━" * full, style=_REGIONS.get(found["state"], "yellow"))
    bar.append("━" * (_BAR - full), style="grey30")
    return bar.append(text(f" {found['progress']:>3} % {found['state']}"))


def ending(found: Json) -> None:
    """How a run ended, in a line."""
    name = f"{found['image']} {found['version']}" if found.get("version") else found["run"]
    say(f"{name}: {found['state']}" + (f": {said}" if (said := _end(found)) else ""), STATES.get(found["state"]))


def _end(found: Json) -> str:
    """Why a run ended as it did, or what for; empty where it published a build."""
    if found["state"] in ("published", "amended"):
        return "" if found["purpose"] == "publish" else str(found["purpose"])
    if found.get("duplicate_of"):
        return f"of {found['duplicate_of']}"
    return str(found.get("reason") or found.get("note") or "")


def versions(found: Json) -> None:
    table = _Table("VERSION", "STATE", "LATEST", "PUBLISHED", "END OF LIFE", "REGIONS", "RUN")
    for version in found["versions"]:
        table.row(
            version["version"],
            version["state"],
            "out" if version.get("excluded_from_latest") else "in",
            _time(version.get("published")),
            _time(version.get("end_of_life")),
            ", ".join(f"{r['region']} {r['state']}" for r in version.get("regions") or []),
            version.get("run") or "",
        )
    console().print(table)


def promotions(found: list[Json]) -> None:
    """Each rule, what it moves, and what keeps the rest."""
    if not found:
        say("the catalog has no promotion rule")
    for one in found:
        said = f"{one['from']} {one['moves']} moves to {one['to']}" if one["moves"] else "nothing moves"
        if one["run"]:
            said += f", by {one['run']['run']} ({one['run']['state']})"
        have = f"; {one['to']} has {one['have']}" if one["have"] else ""
        say(f"{one['rule']}: {said}{have}", "green" if one["moves"] else "yellow")
        if one["held"]:
            by = f" by {one['held']['by']}" if one["held"]["by"] else ""
            say(f"  held{by} since {_time(one['held']['at'])}: {one['held']['why']}")
        elif not one["candidates"]:
            say(f"  {one['why_nothing']}")
        for candidate in one["candidates"]:
            gates = candidate["gates"] or ["ready"]
            say(f"  {candidate['version']:<12} {'; '.join(gates)}")


def going(found: Json) -> list[str]:
    """What retention would take away of an image's, as it names it."""
    versions = [one["version"] for one in found["versions"] if one["delete"]]
    return [*versions, *(f"{one['kind']} {one['name']}" for one in found["orphans"]), *found["vhds"]]


def gone(found: list[Json]) -> None:
    """What retention took away, and what Azure did not let go of."""
    for one in found:
        say(f"{one['what']}: {one['refused'] or 'deleted'}", "red" if one["refused"] else "green")


def retention(found: list[Json]) -> None:
    """What retention takes away, and what it keeps and why."""
    table = _Table("IMAGE", "WHAT", "", "WHY")
    for one in found:
        if one["fault"]:
            table.row(one["image"], "", text("unknown", "red"), one["fault"])
        for version in one["versions"]:
            what = text("delete", "red") if version["delete"] else text("keep", "green")
            table.row(one["image"], version["version"], what, version["why"])
        for orphan in one["orphans"]:
            why = f"left behind by {orphan['run']}"
            table.row(one["image"], f"{orphan['kind']} {orphan['name']}", text("delete", "red"), why)
        for vhd in one["vhds"]:
            table.row(one["image"], vhd, text("delete", "red"), "its version is published")
    console().print(table)


def audit(found: list[Json]) -> None:
    """Who changed what."""
    table = _Table("AT", "WHO", "ACTION", "ON", "FROM", "OUTCOME")
    for one in found:
        who = one["name"] if one["who"] in one["name"] else f"{one['name']} ({one['who']})"
        runs = f": {', '.join(one['runs'])}" if one["runs"] and one["outcome"] == "done" else ""
        outcome = _first(one["outcome"] + runs)
        table.row(_time(one["at"]), who, one["action"], one["on"], one.get("from") or "", outcome)
    console().print(table)


def _time(value: str | None) -> str:
    """ISO 8601 to the second."""
    return value[:19].replace("T", " ") + "Z" if value else ""


def _first(text: str) -> str:
    head, _, rest = text.partition("\n")
    return head[:100] + ("…" if rest or len(head) > 100 else "")
