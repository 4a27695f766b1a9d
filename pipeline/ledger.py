"""The ledger: which run holds which version of a definition, and who claimed which source.

Both rest on inserts that can succeed once.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from hashlib import sha256

from pipeline.cloud.faults import Conflict, NotFound
from pipeline.cloud.tables import Change, Tables
from pipeline.gates import Hold
from pipeline.resource_ids import ResourceGroup
from pipeline.versions import LARGEST_PART, Version

TABLE = "ledger"
SOURCES = "sources"
HOLDS = "holds"
_RULES = "rule"
_WAITING = "waiting"
_REQUEST = "request"
_UNTAGGED = "untagged"
_LEFT_IN = "left-in"


class Taken(Exception):
    """Another run has reserved this number."""


class Ledger:
    """Reserved versions. One partition a definition: a row a version, and a row a run, written in one transaction.

    A number that was once reserved is never given again, whatever became of its run.
    """

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    def held_by(self, definition: str, run: str) -> Version | None:
        """The number a run has reserved."""
        try:
            return Version.parse(str(self._tables.get(TABLE, _partition(definition), _run_key(run))["version"]))
        except NotFound:
            return None

    def highest(self, definition: str, within: tuple[int, ...] = ()) -> Version | None:
        """The highest number ever reserved whose first parts are `within`; one row is read."""
        row = self._tables.first(TABLE, _partition(definition), _version_prefix(within))
        return Version.parse(str(row["version"])) if row else None

    def reserved(self, definition: str) -> Iterator[tuple[Version, str, str]]:
        """Every number ever reserved, highest first, read as far as it is asked for: the number, the source and the
        run that it was reserved for."""
        for row in self._tables.each(TABLE, _partition(definition), _version_prefix(())):
            yield Version.parse(str(row["version"])), str(row["source"]), str(row["run"])

    def reserve(self, definition: str, version: Version, run: str, source: str, etag: str) -> Version:
        """Reserve a number for a run. Returns the one it holds: an earlier one, where it had reserved before.

        Raises Taken where another run holds `version`.
        """
        partition = _partition(definition)
        number = {"version": str(version), "run": run}
        try:
            self._tables.transact(
                TABLE,
                [
                    Change(
                        "insert",
                        {"PartitionKey": partition, "RowKey": _version_key(version), **number}
                        | {"source": source, "etag": etag},
                    ),
                    Change("insert", {"PartitionKey": partition, "RowKey": _run_key(run), **number}),
                ],
            )
        except Conflict as fault:
            held = self.held_by(definition, run)
            if held is None:
                raise Taken(str(version)) from fault
            return held
        return version

    def holder(self, definition: str, version: Version) -> str:
        """The run that holds a number, empty where none does."""
        try:
            return str(self._tables.get(TABLE, _partition(definition), _version_key(version))["run"])
        except NotFound:
            return ""

    def renounce(self, definition: str, run: str) -> None:
        """Let a run reserve another number; the one it held stays used."""
        self._tables.delete(TABLE, _partition(definition), _run_key(run))


class Requests:
    """Which run a request's id names. Rests on an insert that can succeed once."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    def name(self, request_id: str, run: str, content: str) -> tuple[str, str]:
        """Let `request_id` name a run. Returns the run it names and the content it came with, first of all."""
        key = sha256(request_id.encode()).hexdigest()
        row = {"PartitionKey": key, "RowKey": _REQUEST, "request": request_id, "run": run, "content": content}
        try:
            self._tables.insert(SOURCES, row)
        except Conflict:
            row = self._tables.get(SOURCES, key, _REQUEST)
        return str(row["run"]), str(row["content"])

    def rename(self, request_id: str, run: str) -> None:
        """Let `request_id` name another run: the one that has its source already."""
        key = sha256(request_id.encode()).hexdigest()
        self._tables.merge(SOURCES, {"PartitionKey": key, "RowKey": _REQUEST, "run": run})


class Holds:
    """Which promotion rules are held. One row a rule."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    def hold(self, rule: str, why: str, by: str) -> None:
        """Hold a rule, or say anew why it is held."""
        row = {"PartitionKey": _RULES, "RowKey": rule, "why": why, "by": by, "at": datetime.now(UTC)}
        try:
            self._tables.insert(HOLDS, row)
        except Conflict:
            self._tables.merge(HOLDS, row)

    def release(self, rule: str) -> None:
        """Let a rule go on; one that is not held is no fault."""
        self._tables.delete(HOLDS, _RULES, rule)

    def of(self, rule: str) -> Hold | None:
        """Why a rule is held, None where it is not."""
        try:
            row = self._tables.get(HOLDS, _RULES, rule)
        except NotFound:
            return None
        return Hold(str(row["why"]), str(row["by"]), row["at"])


class Turns:
    """The amendments of a version in the order they were asked for, the one at work among them.

    One partition a version.
    """

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    def take(self, version: str, run: str) -> None:
        """Let a run stand in line, behind those that do already."""
        at = datetime.now(UTC)
        self._tables.insert(
            SOURCES, {"PartitionKey": _turns(version), "RowKey": f"{at:%Y%m%d%H%M%S%f}|{run}", "run": run, "at": at}
        )

    def line(self, version: str) -> list[tuple[str, datetime]]:
        """The runs that stand in line, the first one first, and since when each does."""
        return [(str(row["run"]), row["at"]) for row in self._tables.rows(SOURCES, _turns(version))]

    def leave(self, version: str, run: str) -> None:
        """Let a run stand in line no longer."""
        for row in self._tables.rows(SOURCES, _turns(version)):
            if row["run"] == run:
                self._tables.delete(SOURCES, str(row["PartitionKey"]), str(row["RowKey"]))


class Sources:
    """Who waits for a VHD, and who claimed its content. One partition an image and blob address."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    def await_upload(self, image: str, url: str, run: str) -> str:
        """The run that waits for a VHD: `run`, where none does yet."""
        partition = _source(image, url)
        try:
            self._tables.insert(SOURCES, {"PartitionKey": partition, "RowKey": _WAITING, "run": run, "url": url})
        except Conflict:
            try:
                return str(self._tables.get(SOURCES, partition, _WAITING)["run"])
            except NotFound:
                # The other run claimed the VHD this very moment; the event is of what it claimed, or will be told
                # apart by its ETag.
                return self.await_upload(image, url, run)
        return run

    def claimed_by(self, image: str, url: str, *contents: str) -> str | None:
        """The run that claimed one of these contents, the first named before the next."""
        for content in dict.fromkeys(contents):
            with suppress(NotFound):
                return str(self._tables.get(SOURCES, _source(image, url), _content(content))["run"])
        return None

    def claim(self, image: str, url: str, content: str, run: str) -> str:
        """Claim a content for a run, which then waits no longer. Returns the run that has it."""
        partition = _source(image, url)
        row = {"PartitionKey": partition, "RowKey": _content(content), "run": run, "content": content, "url": url}
        try:
            self._tables.insert(SOURCES, row)
            winner = run
        except Conflict:
            winner = str(self._tables.get(SOURCES, partition, _content(content))["run"])
        self.stop_waiting(image, url, run)
        return winner

    def leave_untagged(self, run: str, outcome: str) -> None:
        """Remember that a run's source could not be tagged with `outcome`."""
        with suppress(Conflict):
            self._tables.insert(SOURCES, {"PartitionKey": _UNTAGGED, "RowKey": run, "outcome": outcome})

    def untagged(self) -> list[tuple[str, str]]:
        """The runs whose sources could not be tagged, and what each is to be tagged with."""
        return [(str(row["RowKey"]), str(row["outcome"])) for row in self._tables.rows(SOURCES, _UNTAGGED)]

    def tagged(self, run: str) -> None:
        """Forget that a run's source could not be tagged."""
        self._tables.delete(SOURCES, _UNTAGGED, run)

    def leave_in(self, group: ResourceGroup) -> None:
        """Remember that a run left a managed image in a resource group."""
        key = sha256(group.key.encode()).hexdigest()
        with suppress(Conflict):
            self._tables.insert(SOURCES, {"PartitionKey": _LEFT_IN, "RowKey": key, "group": str(group)})

    def left_in(self) -> list[ResourceGroup]:
        """The resource groups in which runs have ever left managed images."""
        return [ResourceGroup.parse(str(row["group"])) for row in self._tables.rows(SOURCES, _LEFT_IN)]

    def stop_waiting(self, image: str, url: str, run: str) -> None:
        """Let another run wait for this address; nothing where another already does."""
        partition = _source(image, url)
        with suppress(NotFound, Conflict):  # another waits by now
            row = self._tables.get(SOURCES, partition, _WAITING)
            if row["run"] == run:
                self._tables.delete(SOURCES, partition, _WAITING, row["etag"])


def _partition(definition: str) -> str:
    # Azure compares resource ids without regard to case; a key may hold no slash.
    return definition.lower().strip("/").replace("/", "|")


def _version_key(version: Version) -> str:
    # Rows come in the order of their keys: counted down, the highest version is the first.
    return _version_prefix(version).rstrip("|")


def _version_prefix(parts: tuple[int, ...]) -> str:
    return "v|" + "".join(f"{LARGEST_PART - part:010}|" for part in parts)


def _run_key(run: str) -> str:
    return f"r|{run}"


def _source(image: str, url: str) -> str:
    return f"{image}|{sha256(url.encode()).hexdigest()}"


def _turns(version: str) -> str:
    return f"turns|{sha256(version.lower().encode()).hexdigest()}"


def _content(content: str) -> str:
    return f"content|{sha256(content.encode()).hexdigest()}"
