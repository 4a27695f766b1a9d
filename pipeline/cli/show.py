"""What is printed: tables and lines for people, JSON for programs."""

from __future__ import annotations

import json
import sys
from typing import Any

import structlog
from rich.console import Console, Group
from rich.progress import BarColumn, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar
from rich.table import Table
from rich.text import Text

from pipeline.catalog import Catalog

Json = dict[str, Any]
STATES = {"published": "green", "amended": "green", "failed": "red", "cancelled": "yellow", "duplicate": "cyan"}
_REGIONS = {"Completed": "green", "Failed": "red"}
_WIDE = 240  # columns where no terminal sets them: a line that is cut helps nobody
_BAR = 30
MIB = 1024 * 1024


def configure_logs() -> None:
    """Say on standard error, in words, what the layer of retries logs."""

    def in_words(_logger: object, _method: str, event: structlog.typing.EventDict) -> str:
        return f"{event.get('fault') or event['event']}; asking again in {event.get('wait_seconds', 0)} s"

    structlog.configure(processors=[in_words], logger_factory=structlog.PrintLoggerFactory(sys.stderr))


def console(*, stderr: bool = False) -> Console:
    stream = sys.stderr if stderr else sys.stdout
    return Console(stderr=stderr, highlight=False, width=None if stream.isatty() else _WIDE)


def say(text: str, style: str | None = None, *, stderr: bool = False) -> None:
    """Print `text` as it is: nothing in it is markup."""
    console(stderr=stderr).print(Text(text, style=style or ""), soft_wrap=True)


def document(found: Any) -> None:
    """One JSON document, on one line."""
    sys.stdout.write(json.dumps(found, ensure_ascii=False) + "\n")
    sys.stdout.flush()


def bytes_of(count: int) -> str:
    return f"{count / MIB:.1f} MiB" if count >= MIB else f"{count:,} bytes"


class _Speed(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(f"{task.speed / MIB:.0f} MiB/s" if task.speed else "")


def transfer() -> Bar:
    """The bar of an upload, for a terminal."""
    return Bar(
        TextColumn("{task.description}"),
        BarColumn(_BAR),
        TextColumn("{task.fields[shown]}"),
        _Speed(),
        TimeRemainingColumn(),
        console=console(stderr=True),
        transient=True,
    )


def _table(*columns: str) -> Table:
    return Table(*columns, box=None, pad_edge=False, header_style="bold")


def catalog(found: Catalog) -> None:
    table = _table("IMAGE", "GALLERY/DEFINITION", "DROP", "ROUTE", "REGIONS")
    for name, image in found.images.items():
        regions = ", ".join(f"{r.name} x{r.replicas}" for r in found.target_regions(name))
        where = f"{found.gallery_of(name).name}/{found.definition_name(name)}"
        table.add_row(name, where, image.drop or "", image.taken_route.value, regions)
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
    table = _table("RUN", "STATE", "VERSION", "CREATED", "NOTE")
    for run in found:
        state = Text(run["state"], style=STATES.get(run["state"], ""))
        said = (_end(run) if run["state"] in STATES else run.get("note")) or ""
        table.add_row(Text(run["run"]), state, run.get("version") or "", _time(run["created"]), Text(_first(said)))
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
            table.add_row(Text(name, style="bold"), Text(str(value), style=STATES.get(value, "")))
    out = console()
    out.print(table)
    if found.get("regions"):
        out.print(Group(*map(_region, found["regions"])))
    for happening in found.get("history") or []:
        out.print(Text(f"{_time(happening['at'])}  {line(happening)}"), soft_wrap=True)


def line(happening: Json) -> str:
    """One line of a run's history."""
    return f"{happening['stage']:<16} {happening['note']}"


def picture(found: Json) -> Group:
    """Where a run is: its stage, and a bar a region."""
    here = Text(f"{found['state']:<16} {found.get('note') or ''}", style="dim")
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
    bar = Text(f"{found['region']:<16} ")
    bar.append("━" * full, style=_REGIONS.get(found["state"], "yellow"))
    bar.append("━" * (_BAR - full), style="grey30")
    return bar.append(f" {found['progress']:>3} % {found['state']}")


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
    table = _table("VERSION", "STATE", "LATEST", "PUBLISHED", "END OF LIFE", "REGIONS", "RUN")
    for version in found["versions"]:
        table.add_row(
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
    table = _table("IMAGE", "WHAT", "", "WHY")
    for one in found:
        if one["fault"]:
            table.add_row(one["image"], "", Text("unknown", style="red"), Text(one["fault"]))
        for version in one["versions"]:
            what = Text("delete", style="red") if version["delete"] else Text("keep", style="green")
            table.add_row(one["image"], version["version"], what, Text(version["why"]))
        for orphan in one["orphans"]:
            why = f"left behind by {orphan['run']}"
            table.add_row(one["image"], f"{orphan['kind']} {orphan['name']}", Text("delete", style="red"), Text(why))
        for vhd in one["vhds"]:
            table.add_row(one["image"], Text(vhd), Text("delete", style="red"), "its version is published")
    console().print(table)


def _time(value: str | None) -> str:
    """ISO 8601 to the second."""
    return value[:19].replace("T", " ") + "Z" if value else ""


def _first(text: str) -> str:
    head, _, rest = text.partition("\n")
    return head[:100] + ("…" if rest or len(head) > 100 else "")
