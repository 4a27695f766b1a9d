"""What was said of each version, by whom: verdicts, approvals, withdrawal. What counts is here, tags are its copy.

Whoever may tag the gallery can so neither pass a test nor approve.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from hashlib import sha256

from pipeline.cloud.faults import Conflict, NotFound
from pipeline.cloud.tables import Change, Row, Tables
from pipeline.gates import Judged, Judgement
from pipeline.runs import Amendment, Purpose

TABLE = "judgements"
_VERDICT = "verdict|"
_APPROVAL = "approval|"
_PLACE = "place"
_INSTANT = timedelta(microseconds=1)


class Judgements:
    """What stands of what was said. One partition a version, as `VersionFacts.fingerprint` names it; a row for each
    verdict by its name, for each approval by its approver, and for whether it is withdrawn."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    def say(self, version: str, said: Amendment, word: str, at: datetime, *, again: bool = False) -> bool:
        """Let what an amendment says stand, over what was said before of the same. Returns whether it stands.

        `word` names the saying. One that comes `again`, first said at `at`, stands over nothing that was said since.
        """
        row = _row(version, said, word, at)
        while True:
            try:
                held = self._tables.get(TABLE, row["PartitionKey"], row["RowKey"])
            except NotFound:
                held = None
            if held and held["word"] == word:
                return True
            if held and again and held["at"] > at:
                return False
            try:
                if held is None:
                    self._tables.insert(TABLE, row)
                else:
                    row["at"] = max(at, held["at"] + _INSTANT)  # whatever the clocks of two workers say
                    self._tables.transact(TABLE, [Change("replace", row, str(held["etag"]))])
            except Conflict:
                continue
            return True

    def of(self, version: str) -> Judged:
        """All that stands of what was said of a version; one query."""
        verdicts, approvals, withdrawn = {}, [], None
        for row in self._tables.rows(TABLE, _partition(version)):
            one = Judgement(
                str(row["name"]), str(row["outcome"]), str(row["who"]), str(row["by"]), row["at"], str(row["details"])
            )
            if str(row["RowKey"]).startswith(_VERDICT):
                verdicts[one.name.lower()] = one
            elif str(row["RowKey"]).startswith(_APPROVAL):
                approvals.append(one)
            elif one.outcome == Purpose.WITHDRAWAL:
                withdrawn = one
        return Judged(verdicts, sorted(approvals, key=lambda one: one.at), withdrawn)


def about(said: Amendment) -> str:
    """What an amendment is about: of two that are about the same, the later one stands."""
    match said.purpose:
        case Purpose.VERDICT:
            return f"{_VERDICT}{next(iter(said.tags)).lower()}"
        case Purpose.APPROVAL:
            return f"{_APPROVAL}{said.by_id}"
        case _:
            return _PLACE


def _row(version: str, said: Amendment, word: str, at: datetime) -> Row:
    name, outcome = next(iter(said.tags.items()))
    kind, _, key = about(said).partition("|")
    return {
        "PartitionKey": _partition(version),
        "RowKey": f"{kind}|{sha256(key.encode()).hexdigest()}" if key else kind,
        "version": version,
        "name": name,
        "outcome": outcome if said.purpose is Purpose.VERDICT else said.purpose.value,
        "details": said.why,
        "who": said.by_id,
        "by": said.by,
        "note": said.note,
        "at": at,
        "word": word,
    }


def _partition(version: str) -> str:
    return sha256(version.encode()).hexdigest()
