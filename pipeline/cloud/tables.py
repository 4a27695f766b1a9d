"""Table storage: rows that are inserted once, and rows that change under their ETag."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
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
        found = self._query(table, partition, prefix, page=1)
        return next(found, None)

    def each(self, table: str, partition: str, prefix: str) -> Iterator[Row]:
        """The rows of a partition whose key begins with `prefix`, in order of keys, read a few at a time."""
        after = prefix
        while page := self.between(table, partition, after, prefix + "\x7f", _FEW, {}):
            yield from page
            after = str(page[-1]["RowKey"]) + "\x01"

    @cloud_call
    def rows(self, table: str, partition: str, prefix: str = "") -> list[Row]:
        """All rows of a partition whose key begins with `prefix`, in order of keys."""
        return list(self._query(table, partition, prefix))

    @cloud_call
    def between(self, table: str, partition: str, first: str, end: str, limit: int, equal: Row) -> list[Row]:
        """At most `limit` rows of a partition with keys from `first` to before `end`, properties as in `equal`."""
        condition = "PartitionKey eq @partition and RowKey ge @first and RowKey lt @end"
        condition += "".join(f" and {name} eq @{name}" for name in equal)
        found = self._service.get_table_client(table).query_entities(
            condition,
            parameters={"partition": partition, "first": first, "end": end, **equal},
            results_per_page=limit,
        )
        return [dict(entity) for entity in islice(found, limit)]

    def _query(self, table: str, partition: str, prefix: str, page: int | None = None) -> Iterator[Row]:
        condition = "PartitionKey eq @partition"
        if prefix:
            condition += " and RowKey ge @first and RowKey lt @end"
        parameters = {"partition": partition, "first": prefix, "end": prefix + "\x7f"}
        found = self._service.get_table_client(table).query_entities(
            condition, parameters=parameters, results_per_page=page
        )
        for entity in found:
            yield dict(entity)
