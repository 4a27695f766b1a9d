"""A run: one source on its way to one version. Its record, its history, and where both are kept."""

from __future__ import annotations

import re
import secrets
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, Self

from pydantic import BaseModel

from pipeline.cloud.faults import Conflict, NotFound
from pipeline.cloud.tables import Change, Row, Span, Tables
from pipeline.completeness import Upload
from pipeline.limits import LONGEST_PROPERTY, bounded
from pipeline.replication import RegionProgress
from pipeline.source import SourceKind
from pipeline.versions import Wish

TABLE = "runs"
_LIVE = "live"
_ALL = "all"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_RECORD = "run"
_HISTORY = "h|"
_PART = LONGEST_PROPERTY // 2
"""Characters of a record that one property of its row holds, whatever they are: none takes more than two units."""
_LONGEST_NOTE = 2000
_LONGEST_REASON = 4000
_LONGEST_LINE = 8000
"""UTF-16 units of what a history says of one event."""
_LONGEST_PROOF = 200
_ALL_DETAILS = 15_000
"""UTF-16 units of what all regions together may say of themselves."""
_LONGEST_OPERATION = 8000
"""Addresses of operations are signed, and 3,500 characters long in recorded traffic."""
MOST_ASKERS = 20
"""Callers that a run keeps as having asked for it."""
_ID = re.compile(r"[a-z0-9-]{1,80}")
_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"


class Stage(StrEnum):
    """Where a run is. The order is the order they are walked in."""

    AWAITING_UPLOAD = "awaiting_upload"
    QUEUED = "queued"
    """Waiting for its turn, where the limits of its image or of the catalog are reached."""
    INSPECTING = "inspecting"
    IMAGING = "imaging"
    NUMBERING = "numbering"
    PUBLISHING = "publishing"
    REPLICATING = "replicating"
    FINISHING = "finishing"
    AMENDING = "amending"
    """Changing a version that is published: its tags, its place in `latest`. The one stage of an amendment."""
    UNDOING = "undoing"
    """Taking away what a run made that does not succeed; leads to `failed`."""
    PUBLISHED = "published"
    AMENDED = "amended"
    FAILED = "failed"
    CANCELLED = "cancelled"
    DUPLICATE = "duplicate"

    @property
    def ended(self) -> bool:
        return self in _ENDED


_ENDED = {Stage.PUBLISHED, Stage.AMENDED, Stage.FAILED, Stage.CANCELLED, Stage.DUPLICATE}


def now() -> datetime:
    return datetime.now(UTC)


class DataVhd(BaseModel):
    """The VHD of a data disk."""

    lun: int
    container: str
    blob: str
    url: str
    upload: Upload = Upload()
    content: str | None = None
    """What names its content since it was whole: a digest where one is known, else the ETag."""


class Boots(BaseModel):
    """What the VHD's partition table says: its scheme, the Hyper-V generations it boots as, or why it is no use."""

    scheme: str
    generations: list[str] = []
    fault: str = ""


class Purpose(StrEnum):
    """What an amendment is for."""

    VERDICT = "verdict"
    APPROVAL = "approval"
    WITHDRAWAL = "withdrawal"
    REINSTATEMENT = "reinstatement"


class Amendment(BaseModel):
    """A change to a version that is published: tags to set, None for one to remove, and its place in `latest`."""

    purpose: Purpose
    tags: dict[str, str | None] = {}
    in_latest: bool | None = None
    why: str = ""
    by: str = ""
    """Who says so, for people to read: the name of a Caller, whose id is `by_id`."""
    by_id: str = ""
    note: str = ""
    """Whom the caller says it is for. Nobody has looked at that."""

    @property
    def is_judgement(self) -> bool:
        """Whether it says something of a version: a verdict or an approval."""
        return self.purpose in (Purpose.VERDICT, Purpose.APPROVAL)

    @property
    def is_urgent(self) -> bool:
        """Whether it goes before all that is not: it says which versions are `latest`."""
        return not self.is_judgement


class Run(BaseModel):
    """The record of a run. What a stage learns or makes is written here before the next stage begins.

    `source` is the VHD's address without any query, or a resource id; `etag` names its content once that is at
    rest; `operation` is where Azure tracks what the stage last started; `due` is when the next step is to happen.
    """

    id: str
    image: str
    source: str
    kind: SourceKind = SourceKind.BLOB
    container: str = ""
    blob: str = ""
    """Container and name of the VHD, where the source is one."""
    data_disks: list[DataVhd] = []
    wish: Wish | None = None
    """How to number, where a request says otherwise than the catalog."""
    may_jump: bool = False
    """Its number may be as high as `wish` says: an operator has asked for it."""
    request_id: str | None = None
    asked_by: list[str] = []
    """Who asked for it, by `Caller.id`; nobody where a VHD was dropped."""
    tags: dict[str, str] = {}
    promotion: str | None = None
    """The rule that promotes, where the run is a promotion; the source is the version it promotes."""
    origin: str = ""
    """What the first version of a chain of promotions was made of."""
    amendment: Amendment | None = None
    """What is to change, where the run amends the version that is its source."""
    stage: Stage = Stage.AWAITING_UPLOAD
    generation: int = 1
    writer: str = ""
    created: datetime
    began: datetime
    """When its time began to count: with its turn, and anew with a retry."""
    attempt: int = 1
    """How often it was begun: once, and once more with each retry."""
    entered: datetime
    due: datetime
    ended: datetime | None = None

    upload: Upload = Upload()
    """What the looks at the VHD have shown while it was uploaded."""
    boots: Boots | None = None
    """What the VHD's partition table says, once it is whole."""
    etag: str | None = None
    content: str | None = None
    """What names the content that the run has claimed: a digest where one is known, else the ETag."""
    size: int | None = None
    definition: str | None = None
    managed_image: str | None = None
    managed_image_group: str | None = None
    """The resource id of the group the managed image is in; a record without it is of one beside the gallery."""
    operation: str | None = None
    version: str | None = None
    end_of_life: datetime | None = None
    published: bool = False
    """Its version came into `latest`, though the run did not end well: it is nobody's to take away."""
    regions: list[RegionProgress] = []
    repairs: dict[str, int] = {}
    """How often a failed region was dropped and added again."""
    left_behind: str = ""
    """What undoing may not take away, why, and what to do about it, in words."""

    note: str = ""
    """What the stage waits for, in words."""
    outcome: Stage = Stage.FAILED
    """What undoing leads to."""
    reason: str | None = None
    """Why the run failed, for a person to act on."""
    source_at_fault: bool = False
    """It failed for what the source is, so that trying again without another source mends nothing."""
    duplicate_of: str | None = None
    faults: int = 0
    """Steps in a row that Azure could not answer."""

    @classmethod
    def draft(cls, image: str, source: str, **facts: Any) -> Self:
        """A run that begins now, under an id of its own, not written down yet."""
        at = now()
        return cls(
            id=new_run_id(image, at), image=image, source=source, created=at, began=at, entered=at, due=at, **facts
        )

    def ask_too(self, asked: Run) -> None:
        """Be asked for by whoever asks for that draft, too."""
        self.asked_by = list(dict.fromkeys([*self.asked_by, *asked.asked_by]))[:MOST_ASKERS]

    def number_as(self, asked: Run) -> None:
        """Be numbered as that draft of a request wants it, where it says. Who may not jump does not by another's
        word."""
        self.may_jump = asked.may_jump or (self.may_jump and asked.wish is None)
        self.wish = asked.wish or self.wish

    @property
    def purpose(self) -> str:
        """What the run is for: publish, promotion, or what its amendment is for."""
        if self.amendment:
            return self.amendment.purpose.value
        return "promotion" if self.promotion else "publish"

    @property
    def first_stage(self) -> Stage:
        """Where the run begins, or begins anew when it is tried again."""
        if self.amendment:
            return Stage.AMENDING
        if self.promotion:
            return Stage.INSPECTING
        return Stage.QUEUED if self.etag and self.kind is not SourceKind.BLOB else Stage.AWAITING_UPLOAD

    @property
    def takes_turn(self) -> bool:
        """Whether it counts towards the limits, and waits for its turn: what neither promotes nor amends."""
        return not (self.promotion or self.amendment)

    @property
    def image_name(self) -> str:
        """The managed image's name, which follows from the run so that a step taken twice makes one image."""
        return f"gallerist-{self.id}"


class Happening(BaseModel):
    """One line of a run's history: what happened in `stage`, and the stage it led to, which may be the same."""

    at: datetime
    generation: int
    stage: Stage
    led_to: Stage
    note: str = ""


def new_run_id(image: str, at: datetime) -> str:
    """An id that names the image, sorts by time within it, and no other run has."""
    return f"{image}-{at:%Y%m%d-%H%M%S}-{''.join(secrets.choice(_ALPHABET) for _ in range(5))}"


class Overtaken(Exception):
    """Another delivery has moved this run on; what this one would write is void."""


class RunStore:
    """Runs and their history, in one table.

    The record and its history share a partition, so that a transition and its line in the history are written
    together or not at all. The partition `live` names the runs that have not ended; a run is entered there before
    it exists and leaves after it ended.
    """

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    def begin(self, run: Run, why: str = "") -> bool:
        """Write a new run down, and `why` it begins. False where it exists already, whoever began it."""
        with suppress(Conflict):
            self._tables.insert(TABLE, {"PartitionKey": _LIVE, "RowKey": run.id, "at": now()})
        with suppress(Conflict):
            self._tables.insert(TABLE, {"PartitionKey": _ALL, "RowKey": _newest_first(run), "image": run.image})
        try:
            self._tables.transact(
                TABLE, [Change("insert", _row(run)), Change("insert", _happening(run, run.stage, _begun(run, why)))]
            )
        except Conflict:
            return False
        return True

    def load(self, run_id: str) -> tuple[Run, str] | None:
        """The run and its ETag, None where there is none of that id."""
        if not _ID.fullmatch(run_id):
            return None
        try:
            row = self._tables.get(TABLE, run_id, _RECORD)
        except NotFound:
            return None
        return read_record(row), str(row["etag"])

    def save(self, run: Run, etag: str, *, was: Stage, happened: str | None = None) -> str:
        """Write the run's next generation down, and a line of history where something happened.

        `was` is the stage it happened in. Returns the record's ETag.

        Raises Overtaken where the run has changed since it was loaded.
        """
        run.generation += 1
        run.writer = secrets.token_hex(8)
        changes = [Change("replace", _row(run), etag)]
        if happened is not None:
            changes.append(Change("insert", _happening(run, was, happened)))
        try:
            saved = self._tables.transact(TABLE, changes)[0]
        except Conflict as fault:
            # A write whose answer was lost is tried again, and meets itself.
            current = self.load(run.id)
            if current is None or current[0].writer != run.writer:
                raise Overtaken(run.id) from fault
            saved = current[1]
        if run.stage.ended:
            self._tables.delete(TABLE, _LIVE, run.id)
        return saved

    def revive(self, run_id: str) -> None:
        """Count a run that had ended among the live ones again."""
        with suppress(Conflict):
            self._tables.insert(TABLE, {"PartitionKey": _LIVE, "RowKey": run_id, "at": now()})

    def page(
        self, *, image: str | None, since: datetime | None, until: datetime | None, after: str | None, limit: int
    ) -> tuple[list[Run], str | None]:
        """At most `limit` runs begun from `since` to before `until`, newest first, and where the next page begins.

        `after` is what the page before this one returned. A page may hold fewer where runs were announced and
        never written down.
        """
        span = span_of(since, until, after)
        rows = self._tables.between(TABLE, _ALL, span, limit, {"image": image} if image else None)
        found = [(str(row["RowKey"]), self.load(str(row["RowKey"]).partition("|")[2])) for row in rows]
        last = str(rows[-1]["RowKey"]) if len(rows) == limit else None
        # Whoever would have begun a run at the same moment has announced it too, at a time of its own.
        return [loaded[0] for key, loaded in found if loaded and key == _newest_first(loaded[0])], last

    def note_fault(self, run_id: str, fault: str) -> None:
        """Keep what broke a step, for whoever fails the run for it."""
        with suppress(NotFound):
            self._tables.merge(
                TABLE, {"PartitionKey": run_id, "RowKey": _RECORD, "fault": bounded(fault, _LONGEST_NOTE)}
            )

    def last_fault(self, run_id: str) -> str:
        """What `note_fault` kept since the run was last saved, empty where nothing."""
        try:
            return str(self._tables.get(TABLE, run_id, _RECORD).get("fault", ""))
        except NotFound:
            return ""

    def live(self) -> list[tuple[str, datetime]]:
        """The ids of the runs that have not ended, and of some that just have, with when each was entered."""
        return [(str(row["RowKey"]), row["at"]) for row in self._tables.rows(TABLE, _LIVE)]

    def forget_live(self, run_id: str) -> None:
        """Take a run that has ended out of the live ones."""
        self._tables.delete(TABLE, _LIVE, run_id)

    def history(self, run_id: str) -> list[Happening]:
        """All that happened to a run, oldest first."""
        return [
            Happening(
                at=row["at"],
                generation=int(row["generation"]),
                stage=Stage(row["stage"]),
                led_to=Stage(row["led_to"]),
                note=str(row["note"]),
            )
            for row in self._tables.rows(TABLE, run_id, _HISTORY)
        ]


def _begun(run: Run, why: str) -> str:
    if not run.amendment:
        return f"begun, {why}" if why else "begun"
    by = f" by {run.amendment.by}" if run.amendment.by else ""
    by += f" ({run.amendment.note})" if run.amendment.note else ""
    return f"begun: {run.purpose}{by}" + (f": {run.amendment.why}" if run.amendment.why else "")


def counted_down(at: datetime) -> str:
    """A key for what happened at a time: rows come in the order of their keys, and counted down the newest is first."""
    return f"{10**17 - (at - _EPOCH) // timedelta(microseconds=1):017}"


def _past(at: datetime) -> str:
    # The keys of what happened at a time go on with `|`: `}` comes after it.
    return counted_down(at) + "}"


def span_of(since: datetime | None, until: datetime | None, after: str | None) -> Span:
    """The keys, counted down, of what happened from `since` to before `until`; those after `after`, where given."""
    return Span(first=_past(until) if until and not after else "", after=after or "", end=_past(since) if since else "")


def _newest_first(run: Run) -> str:
    return f"{counted_down(run.created)}|{run.id}"


def read_record(row: Row) -> Run:
    """The run whose record is in a row."""
    parts = [str(row["record"])]
    while (part := f"record{len(parts)}") in row:
        parts.append(str(row[part]))
    return Run.model_validate_json("".join(parts))


def _row(run: Run) -> Row:
    _bound(run)
    record = run.model_dump_json()
    parts = [record[n : n + _PART] for n in range(0, len(record), _PART)]
    return {
        "PartitionKey": run.id,
        "RowKey": _RECORD,
        "stage": run.stage.value,
        **{f"record{n or ''}": part for n, part in enumerate(parts)},
    }


def _bound(run: Run) -> None:
    """Cut what grows with a run, mostly by what Azure has to say, so that its record always fits into a row."""
    run.note = bounded(run.note, _LONGEST_NOTE)
    run.reason = None if run.reason is None else bounded(run.reason, _LONGEST_REASON)
    run.left_behind = bounded(run.left_behind, _LONGEST_NOTE)
    if run.operation and len(run.operation) > _LONGEST_OPERATION:
        run.operation = ""  # begun, and less to say should it fail
    if run.boots:
        run.boots.fault = bounded(run.boots.fault, _LONGEST_PROOF)
    for upload in (run.upload, *(data.upload for data in run.data_disks)):
        upload.lacking, upload.proof = bounded(upload.lacking, _LONGEST_PROOF), bounded(upload.proof, _LONGEST_PROOF)
    for region in run.regions:
        region.details = bounded(region.details, _ALL_DETAILS // len(run.regions))


def _happening(run: Run, was: Stage, note: str) -> Row:
    return {
        "PartitionKey": run.id,
        "RowKey": f"{_HISTORY}{run.generation:08}",
        "at": now(),
        "generation": run.generation,
        "stage": was.value,
        "led_to": run.stage.value,
        "note": bounded(note, _LONGEST_LINE),
    }
