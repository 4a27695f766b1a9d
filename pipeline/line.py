"""The line: which runs are at work and which wait for their turn, and how many versions were begun today."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime

from pipeline.catalog import Catalog
from pipeline.cloud.faults import Conflict
from pipeline.cloud.tables import Change, Row, Tables
from pipeline.quotas import Held, Line, Standing, held
from pipeline.runs import TABLE, Run

_LINE = "line"
_HEAD = "head"
_RUN = "run|"
_DAY = "day|"
_TRIES = 8


class LineStore:
    """One partition of table `runs`: a row a run that waits or is at work, a row an image with what was begun in a day,
    and the head, which every turn that is given replaces.

    So no two turns are given on the same sight of the line, and no limit is passed, whoever asks at once. A run's row
    bears its attempt: what an earlier attempt still takes away is its own.
    """

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    def take_turn(self, run: Run, catalog: Catalog, at: datetime) -> Held | None:
        """Give a run its turn; None where it has it. Otherwise it stands in line: what keeps it from its turn."""
        key = _key(run.id, run.attempt)
        limits = {name: image.limits for name, image in catalog.images.items()}
        why, mine = Held("many runs take theirs at this moment", 0), None
        for _ in range(_TRIES):
            rows = {str(row["RowKey"]): row for row in self._tables.rows(TABLE, _LINE)}
            line, mine = _line(rows, at), rows.get(key)
            if mine and mine["at_work"]:
                return None
            if mine is None:
                line.standing.append(Standing(key, run.image, at))
            if found := held(line, key, limits, catalog.limits):
                why = found
                break
            ready = mine["ready"] if mine else at
            changes = [
                {"RowKey": _HEAD, "taken": at},
                _run_row(run, ready, at_work=True),
                _next_of_day(rows, run.image, at),
            ]
            with suppress(Conflict):  # another was faster: look again
                self._tables.transact(TABLE, [_put(rows, row) for row in changes])
                return None
        if mine is None:
            with suppress(Conflict):
                self._tables.insert(TABLE, {"PartitionKey": _LINE, **_run_row(run, at, at_work=False)})
        return why

    def leave(self, run_id: str, attempt: int) -> None:
        """Let a run neither wait nor be at work any more; one that does not is no fault."""
        self._tables.delete(TABLE, _LINE, _key(run_id, attempt))

    def standing(self) -> list[tuple[str, int]]:
        """The runs that wait or are at work, each with its attempt."""
        return [(str(row["run"]), int(row["attempt"])) for row in self._tables.rows(TABLE, _LINE, _RUN)]

    def forget_days(self, at: datetime) -> None:
        """Forget what was begun on the days before that of `at`."""
        for row in self._tables.rows(TABLE, _LINE, _DAY):
            if str(row["day"]) < _day(at):
                with suppress(Conflict):  # a run of today has begun
                    self._tables.delete(TABLE, _LINE, str(row["RowKey"]), str(row["etag"]))


def _key(run_id: str, attempt: int) -> str:
    return f"{_RUN}{run_id}|{attempt}"


def _day(at: datetime) -> str:
    return at.date().isoformat()


def _line(rows: dict[str, Row], at: datetime) -> Line:
    today = {
        key.removeprefix(_DAY): row for key, row in rows.items() if key.startswith(_DAY) and str(row["day"]) >= _day(at)
    }
    return Line(
        standing=[
            Standing(key, str(row["image"]), row["ready"], bool(row["at_work"]))
            for key, row in rows.items()
            if key.startswith(_RUN)
        ],
        begun={image: int(row["begun"]) for image, row in today.items()},
        last={image: row["last"] for image, row in today.items()},
        day=at.date(),
    )


def _run_row(run: Run, ready: datetime, *, at_work: bool) -> Row:
    return {
        "RowKey": _key(run.id, run.attempt),
        "run": run.id,
        "attempt": run.attempt,
        "image": run.image,
        "ready": ready,
        "at_work": at_work,
    }


def _next_of_day(rows: dict[str, Row], image: str, at: datetime) -> Row:
    key = f"{_DAY}{image}"
    row = rows.get(key, {"day": "", "begun": 0})
    # Another instance's clock may have come to the next day before this one's.
    begun = int(row["begun"]) if str(row["day"]) >= _day(at) else 0
    return {"RowKey": key, "day": max(str(row["day"]), _day(at)), "begun": begun + 1, "last": at}


def _put(rows: dict[str, Row], row: Row) -> Change:
    there = rows.get(str(row["RowKey"]))
    row = {"PartitionKey": _LINE, **row}
    return Change("replace", row, str(there["etag"])) if there else Change("insert", row)
