"""The ledger: which run holds which version of a definition, and who claimed which source.

Both rest on inserts that can succeed once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from hashlib import sha256

from pipeline.cloud.faults import Conflict, NotFound
from pipeline.cloud.tables import Change, Row, Span, Tables
from pipeline.gates import Hold
from pipeline.resource_ids import ResourceGroup
from pipeline.versions import LARGEST_PART, NoNumber, Version

TABLE = "ledger"
SOURCES = "sources"
HOLDS = "holds"
_RULES = "rule"
_WAITING = "waiting"
_REQUEST = "request"
_UNTAGGED = "untagged"
_LEFT_IN = "left-in"
_TURN = "turn|"
_ABOUT = "about|"
_AT_WORK = "at-work"
_FEW = 5
_PAGE = 1000  # what Table storage answers with at most
_MOST_PAGES = 20


class Taken(Exception):
    """Another run has reserved this number."""


@dataclass(frozen=True)
class Reservation:
    """A number, and the run that it was reserved for, with that run's source. A `released` one counts no more, whatever
    became of its run."""

    version: Version
    run: str
    source: str
    released: bool = False


class Ledger:
    """Reserved versions. One partition a definition: a row a version, and a row a run, written in one transaction.

    A number that was once reserved is never given to another run, whatever became of its own. A row that does not
    `count` is passed over where the next number is derived.
    """

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    def reservation(self, definition: str, version: Version) -> Reservation | None:
        """Who has reserved a number, None where nobody has."""
        row = self._row(definition, version)
        return _reservation(row) if row else None

    def held_by(self, definition: str, run: str) -> Version | None:
        """The number a run holds: one that was released it holds no more. It counts again."""
        try:
            number = Version.parse(str(self._tables.get(TABLE, _partition(definition), _run_key(run))["version"]))
        except NotFound:
            return None
        row = self._row(definition, number)
        if row is None or row.get("released"):
            self.renounce(definition, run)
            return None
        if not row["counts"]:
            self._tables.merge(TABLE, {**_keys(row), "counts": True})
        return number

    def counting(self, definition: str, within: tuple[int, ...] = ()) -> Iterator[Reservation]:
        """The numbers that count and whose first parts are `within`, highest first, read as far as they are asked
        for."""
        span = Span.of(_version_prefix(within))
        while page := self._tables.between(TABLE, _partition(definition), span, _FEW, {"counts": True}):
            yield from map(_reservation, page)
            span = replace(span, first="", after=str(page[-1]["RowKey"]))

    def given_between(self, definition: str, low: Version, high: Version) -> int:
        """How many numbers between these two were ever reserved: 1000 where there are more."""
        span = Span(after=_version_key(high), end=_version_key(low))
        return len(self._tables.between(TABLE, _partition(definition), span, _PAGE))

    def first_free(self, definition: str, number: Version, part: int) -> Version:
        """The lowest number from `number` on that nobody has ever reserved, counting up the part at `part`; the parts
        behind it are 0.

        Raises NoNumber where that many in a row are reserved that to look further is no use.
        """
        zeros = dict.fromkeys(("minor", "patch")[part:], 0)
        for _ in range(_MOST_PAGES):
            first = number[part]
            last = min(first + _PAGE - 1, LARGEST_PART)
            span = Span(first=_version_key(_with(number, part, last)), end=_version_key(number) + "|")
            rows = self._tables.between(TABLE, _partition(definition), span, _PAGE, zeros)
            taken = {_reservation(row).version[part] for row in rows}
            free = next((n for n in range(first, last + 1) if n not in taken), None)
            if free is not None:
                return _with(number, part, free)
            if last == LARGEST_PART:
                break
            number = _with(number, part, last + 1)
        raise NoNumber(
            f"all numbers up to {number} were given to runs that failed, and none is given twice. Set version.start in "
            "the catalog to a higher one"
        )

    def reserve(self, definition: str, version: Version, run: str, source: str, etag: str) -> Version:
        """Reserve a number for a run. Returns the one it holds: an earlier one, where it had reserved before.

        Raises Taken where another run holds `version`, or it was released.
        """
        partition = _partition(definition)
        number = {"version": str(version), "run": run}
        of_run = {"PartitionKey": partition, "RowKey": _run_key(run), **number}
        of_version = {
            "PartitionKey": partition, "RowKey": _version_key(version), **number,
            "source": source, "content": etag, "minor": version.minor, "patch": version.patch, "counts": True,
        }  # fmt: skip
        try:
            self._tables.transact(TABLE, [Change("insert", of_version), Change("insert", of_run)])
        except Conflict as fault:
            if held := self.held_by(definition, run):
                return held
            found = self.reservation(definition, version)
            if found is None or found.run != run or found.released:
                raise Taken(str(version)) from fault
            self._tables.insert(TABLE, of_run)  # it held this one before another
            return self.held_by(definition, run) or version
        return version

    def renounce(self, definition: str, run: str) -> None:
        """Let a run reserve another number; the one it held stays used."""
        self._tables.delete(TABLE, _partition(definition), _run_key(run))

    def discount(self, definition: str, version: Version, if_still: Callable[[], bool], why: str | None = None) -> bool:
        """Let a number count no more; with `why`, release it for good. False where it changed meanwhile.

        `if_still` is asked after the row was read: a run that takes its number up again meanwhile has written to it.
        """
        row = self._row(definition, version)
        if row is None or not if_still():
            return False
        etag, said = str(row.pop("etag")), {} if why is None else {"released": True, "why": why}
        try:
            self._tables.transact(TABLE, [Change("replace", {**row, "counts": False, **said}, etag)])
        except Conflict:
            return False
        return True

    def _row(self, definition: str, version: Version) -> Row | None:
        try:
            return self._tables.get(TABLE, _partition(definition), _version_key(version))
        except NotFound:
            return None


@dataclass(frozen=True)
class Bound:
    """What a request's id names: a run, the content that the request came with, and when the two were bound."""

    run: str
    content: str
    at: datetime
    etag: str


class Requests:
    """Which run a request's id names, and a message that asks for one. Rests on an insert that can succeed once."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    def name(self, message: str, run: str, content: str) -> tuple[str, str]:
        """Let a message name a run. Returns the run it names and the content it came with, first of all."""
        key = sha256(message.encode()).hexdigest()
        row = {"PartitionKey": key, "RowKey": _REQUEST, "request": message, "run": run, "content": content}
        try:
            self._tables.insert(SOURCES, row)
        except Conflict:
            row = self._tables.get(SOURCES, key, _REQUEST)
        return str(row["run"]), str(row["content"])

    def rename(self, message: str, run: str) -> None:
        """Let a message name another run: the one that does already what it asks for."""
        key = sha256(message.encode()).hexdigest()
        self._tables.merge(SOURCES, {"PartitionKey": key, "RowKey": _REQUEST, "run": run})

    def bound(self, image: str, request_id: str) -> Bound | None:
        """What the id of a request for an image names, None where it is free. Each image has ids of its own."""
        try:
            row = self._tables.get(SOURCES, _source(image, request_id), _REQUEST)
        except NotFound:
            return None
        return Bound(str(row["run"]), str(row["content"]), row["at"], str(row["etag"]))

    def bind(self, image: str, request_id: str, run: str, content: str, over: Bound | None) -> None:
        """Let a request's id name a run, where it still names what `over` says. Look again: another may be faster."""
        row = {
            "PartitionKey": _source(image, request_id), "RowKey": _REQUEST, "request": request_id,
            "run": run, "content": content, "at": datetime.now(UTC),
        }  # fmt: skip
        with suppress(Conflict):
            if over is None:
                self._tables.insert(SOURCES, row)
            else:
                self._tables.transact(SOURCES, [Change("replace", row, over.etag)])


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


@dataclass(frozen=True)
class Line:
    """The amendments of a version. `waiting` are those that are not done, the first one first, with when each was
    asked for; `at_work` is the one of them that has its turn; `about` names those that take up more of the same."""

    at_work: str | None
    waiting: list[tuple[str, datetime]]
    about: dict[str, str]


class Turns:
    """Whose turn it is to amend a version. One partition a version.

    What is urgent goes before all that is not, and otherwise what was asked for first.
    """

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    def take(self, version: str, run: str, *, urgent: bool = False, about: str = "") -> str:
        """Let a run stand in line. Returns the run that does: another, where one waits that is `about` the same."""
        at = datetime.now(UTC)
        partition, rank = _turns(version), 0 if urgent else 1
        row = {"PartitionKey": partition, "RowKey": f"{_TURN}{rank}|{at:%Y%m%d%H%M%S%f}|{run}", "run": run, "at": at}
        changes = [Change("insert", row)]
        if about:
            key = f"{_ABOUT}{sha256(about.encode()).hexdigest()}"
            changes.append(Change("insert", {"PartitionKey": partition, "RowKey": key, "run": run, "about": about}))
        while True:
            if about:
                with suppress(NotFound):  # none waits, or it has its turn by now
                    return str(self._tables.get(SOURCES, partition, key)["run"])
            try:
                self._tables.transact(SOURCES, changes)
            except Conflict:
                if about:
                    continue
            return run  # a write whose answer was lost meets itself

    def line(self, version: str) -> Line:
        """Who stands in line; one query."""
        rows = self._tables.rows(SOURCES, _turns(version))
        return Line(
            next((str(row["run"]) for row in rows if row["RowKey"] == _AT_WORK), None),
            [(str(row["run"]), row["at"]) for row in rows if str(row["RowKey"]).startswith(_TURN)],
            {str(row["about"]): str(row["run"]) for row in rows if str(row["RowKey"]).startswith(_ABOUT)},
        )

    def begin(self, version: str, run: str) -> str:
        """Let a run have its turn, unless another has it. Returns the one that has."""
        partition = _turns(version)
        while True:
            try:
                self._tables.insert(SOURCES, {"PartitionKey": partition, "RowKey": _AT_WORK, "run": run})
            except Conflict:
                with suppress(NotFound):
                    return str(self._tables.get(SOURCES, partition, _AT_WORK)["run"])
            else:
                return run

    def close(self, version: str, about: str) -> None:
        """Let a run take up no more: what is said from now on is the next one's."""
        self._tables.delete(SOURCES, _turns(version), f"{_ABOUT}{sha256(about.encode()).hexdigest()}")

    def leave(self, version: str, run: str) -> None:
        """Let a run stand in line no longer, and let the next one have its turn."""
        partition = _turns(version)
        for row in self._tables.rows(SOURCES, partition):
            if row["run"] == run and row["RowKey"] != _AT_WORK:
                self._tables.delete(SOURCES, partition, str(row["RowKey"]))
        with suppress(NotFound, Conflict):  # another has its turn by now
            row = self._tables.get(SOURCES, partition, _AT_WORK)
            if row["run"] == run:
                self._tables.delete(SOURCES, partition, _AT_WORK, row["etag"])


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


def _with(version: Version, part: int, value: int) -> Version:
    parts = [*version[:part], value, 0, 0]
    return Version(*parts[:3])


def _keys(row: Row) -> Row:
    return {"PartitionKey": row["PartitionKey"], "RowKey": row["RowKey"]}


def _reservation(row: Row) -> Reservation:
    return Reservation(
        Version.parse(str(row["version"])), str(row["run"]), str(row["source"]), bool(row.get("released"))
    )


def _run_key(run: str) -> str:
    return f"r|{run}"


def _source(image: str, source: str) -> str:
    # Azure tells no ids of resources apart by their case, and addresses of blobs it does.
    named = source.lower() if source.startswith("/") else source
    return f"{image}|{sha256(named.encode()).hexdigest()}"


def _turns(version: str) -> str:
    return f"turns|{sha256(version.lower().encode()).hexdigest()}"


def _content(content: str) -> str:
    return f"content|{sha256(content.encode()).hexdigest()}"
