"""Who changed what: one row and one log event a change, written down before it is made, with what came of it after."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime

import structlog

from pipeline.access import Caller
from pipeline.cloud.tables import Row, Tables
from pipeline.limits import bounded
from pipeline.runs import counted_down, now, span_of

TABLE = "audit"
_ALL = "all"
_UNKNOWN = "unknown: it was begun, and nothing says how it ended"
_LONGEST = 1000
_LONGEST_RUNS = 2000
_log = structlog.get_logger()


@dataclass
class Deed:
    """A change that is being made. What it led to is said here by whoever makes it."""

    outcome: str = "done"
    runs: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Entry:
    """One line of the audit. `who` is a Caller's id, `runs` what was begun."""

    at: datetime
    who: str
    name: str
    action: str
    on: str
    address: str
    outcome: str
    runs: list[str]


class Audit:
    """All changes that anyone asked for, newest first. Rows are added, and each gets its outcome once."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    @contextmanager
    def change(self, caller: Caller, action: str, on: str) -> Iterator[Deed]:
        """Write a change down, let it be made, and write down what came of it.

        Where it cannot be written down it is not made: raises Unavailable.
        """
        key = f"{counted_down(now())}|{secrets.token_hex(4)}"
        told = {"who": caller.id, "name": caller.name, "action": action, "on": on, "address": caller.address}
        told = {name: bounded(value, _LONGEST) for name, value in told.items()}
        self._tables.insert(TABLE, {"PartitionKey": _ALL, "RowKey": key, "at": now(), "outcome": _UNKNOWN, **told})
        deed = Deed()
        try:
            yield deed
        except Exception as error:
            deed.outcome = f"not done: {error}"
            raise
        finally:
            outcome = bounded(deed.outcome, _LONGEST)
            runs = bounded(" ".join(deed.runs), _LONGEST_RUNS)
            _log.info("audit", **told, outcome=outcome, runs=deed.runs)
            self._tables.merge(TABLE, {"PartitionKey": _ALL, "RowKey": key, "outcome": outcome, "runs": runs})

    def page(
        self,
        *,
        who: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        after: str | None = None,
        limit: int,
    ) -> tuple[list[Entry], str | None]:
        """At most `limit` changes from `since` to before `until`, newest first, and where the next page begins."""
        span = span_of(since, until, after)
        rows = self._tables.between(TABLE, _ALL, span, limit, {"who": who} if who else None)
        return list(_entries(rows)), str(rows[-1]["RowKey"]) if len(rows) == limit else None


def _entries(rows: Iterable[Row]) -> Iterator[Entry]:
    for row in rows:
        told = {name: str(row[name]) for name in ("who", "name", "action", "on", "address", "outcome")}
        yield Entry(at=row["at"], runs=str(row.get("runs", "")).split(), **told)
