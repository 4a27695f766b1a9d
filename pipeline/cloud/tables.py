"""Table storage: rows that are inserted once, and rows that change under their ETag."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, Literal

from azure.core import MatchConditions
from azure.core.credentials import TokenCredential
from azure.data.tables import TableErrorCode, TableServiceClient, TableTransactionError, UpdateMode

from pipeline.cloud.faults import Conflict
from pipeline.cloud.retry import NO_SDK_RETRIES, cloud_call

Row = dict[str, Any]
_FEW = 5


@dataclass(frozen=True)
class Change:
    """One change in a transaction. `etag` guards a replacement."""

    kind: Literal["insert", "replace", "delete"]
    row: Row
    etag: str | None = None


@dataclass(frozen=True)
class Span:
    """The keys from `first` on, or after `after`, to before `end`; open where one is empty."""

    first: str = ""
    after: str = ""
    end: str = ""

    @classmethod
    def of(cls, prefix: str) -> Span:
        """The keys that begin with `prefix`."""
        return cls(first=prefix, end=prefix and prefix[:-1] + _next(prefix[-1]))


def _next(character: str) -> str:
    """The character after this one that a key may hold.

    A key holds no control character ("Understanding the Table service data model" page), and nothing says that a
    filter may.
    """
    following = chr(ord(character) + 1)
    return _next(following) if unicodedata.category(following) == "Cc" else following


class Tables:
    """The tables of one storage account. Keys are `PartitionKey` and `RowKey`."""

    def __init__(self, endpoint: str, credential: TokenCredential) -> None:
        self._service = TableServiceClient(endpoint, credential=credential, **NO_SDK_RETRIES)

    @cloud_call
    def get(self, table: str, partition: str, key: str) -> Row:
        """The row, its ETag under `etag`. Raises NotFound."""
        entity = self._service.get_table_client(table).get_entity(partition, key)
        return {**entity, "etag": entity.metadata["etag"]}

    @cloud_call
    def insert(self, table: str, row: Row) -> None:
        """Insert a row that must not exist. Raises Conflict where it does."""
        self._service.get_table_client(table).create_entity(row)

    @cloud_call
    def merge(self, table: str, row: Row) -> None:
        """Change the named properties of a row that exists. Raises NotFound."""
        self._service.get_table_client(table).update_entity(row, mode=UpdateMode.MERGE)

    @cloud_call
    def delete(self, table: str, partition: str, key: str, etag: str | None = None) -> None:
        """Delete a row; one that is not there is no fault. With `etag`, raises Conflict where it changed since."""
        guard = MatchConditions.IfNotModified if etag else None
        self._service.get_table_client(table).delete_entity(partition, key, etag=etag, match_condition=guard)

    @cloud_call
    def transact(self, table: str, changes: list[Change]) -> list[str]:
        """All changes or none, in one partition. Returns the rows' new ETags.

        Raises Conflict where a row exists that should not, or is gone or changed that should be as it was.
        """
        operations: list[Any] = []
        for change in changes:
            match change.kind:
                case "insert":
                    operations.append(("create", change.row))
                case "replace":
                    guard = {"etag": change.etag, "match_condition": MatchConditions.IfNotModified}
                    operations.append(("update", change.row, {"mode": UpdateMode.REPLACE, **guard}))
                case "delete":
                    operations.append(("delete", change.row))
        try:
            done = self._service.get_table_client(table).submit_transaction(operations)
        except TableTransactionError as error:
            code = getattr(error, "error_code", "")
            if error.status_code == 404 and code != TableErrorCode.TABLE_NOT_FOUND:
                raise Conflict(str(error.message), str(code)) from error
            raise
        return [str(metadata.get("etag", "")) for metadata in done]

    @cloud_call
    def first(self, table: str, partition: str, prefix: str) -> Row | None:
        """The first row, in order of keys, whose key begins with `prefix`."""
        return next(self._query(table, partition, Span.of(prefix), page=1), None)

    def each(self, table: str, partition: str, prefix: str) -> Iterator[Row]:
        """The rows of a partition whose key begins with `prefix`, in order of keys, read a few at a time."""
        span = Span.of(prefix)
        while page := self.between(table, partition, span, _FEW):
            yield from page
            span = replace(span, first="", after=str(page[-1]["RowKey"]))

    @cloud_call
    def rows(self, table: str, partition: str, prefix: str = "") -> list[Row]:
        """All rows of a partition whose key begins with `prefix`, in order of keys."""
        return list(self._query(table, partition, Span.of(prefix)))

    @cloud_call
    def between(self, table: str, partition: str, span: Span, limit: int, equal: Row | None = None) -> list[Row]:
        """The first `limit` rows of a partition with keys within `span`, properties as in `equal`."""
        return list(islice(self._query(table, partition, span, equal, page=limit), limit))

    def _query(
        self, table: str, partition: str, span: Span, equal: Row | None = None, page: int | None = None
    ) -> Iterator[Row]:
        bounds = {"ge @first": span.first, "gt @after": span.after, "lt @end": span.end}
        condition = "PartitionKey eq @partition"
        condition += "".join(f" and RowKey {bound}" for bound, key in bounds.items() if key)
        condition += "".join(f" and {name} eq @{name}" for name in equal or {})
        parameters = {"partition": partition, "first": span.first, "after": span.after, "end": span.end}
        found = self._service.get_table_client(table).query_entities(
            condition, parameters={**parameters, **(equal or {})}, results_per_page=page
        )
        for entity in found:
            yield {**entity, "etag": entity.metadata["etag"]}
