"""Where the emulated ARM keeps its state: documents in SQLite, one transaction a mutation."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sandbox.arm.resource import Lock, Operation, Resource
from sandbox.guard import own_file, own_folder


class Store:
    """Resources and locks by the lower-cased id, operations by name. Safe to use from many threads, one at a time."""

    def __init__(self, folder: Path) -> None:
        self._lock = threading.RLock()
        self._connection = sqlite3.connect(
            own_file(own_folder(folder) / "arm.sqlite3"), check_same_thread=False, isolation_level=None
        )
        # The state is only as good as the sandbox's own life: a power cut may take the last second with it.
        self._connection.execute("PRAGMA journal_mode=WAL")
        self._connection.execute("PRAGMA synchronous=OFF")
        for table in ("resources", "operations", "settings", "locks"):
            self._connection.execute(f"CREATE TABLE IF NOT EXISTS {table} (key TEXT PRIMARY KEY, document TEXT)")
        self._connection.execute(
            "CREATE INDEX IF NOT EXISTS departing ON resources (key) WHERE json_extract(document, '$.pending.gone')"
        )

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing; others wait."""
        with self._lock:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")

    def resource(self, key: str) -> Resource | None:
        row = self._one("SELECT document FROM resources WHERE key = ?", key)
        return None if row is None else Resource.model_validate_json(row)

    def resources(self, prefix: str) -> list[Resource]:
        """All whose key begins with `prefix`, in the order of their keys."""
        with self._lock:
            rows = self._connection.execute(
                "SELECT document FROM resources WHERE substr(key, 1, ?) = ? ORDER BY key", (len(prefix), prefix)
            ).fetchall()
        return [Resource.model_validate_json(row[0]) for row in rows]

    def count(self, prefix: str, kind: str, location: str) -> int:
        """How many of a type and location there are whose key begins with `prefix`."""
        with self._lock:
            row = self._connection.execute(
                "SELECT count(*) FROM resources WHERE substr(key, 1, ?) = ? AND document ->> 'type' = ? "
                "AND document ->> 'location' = ?",
                (len(prefix), prefix, kind, location),
            ).fetchone()
        return int(row[0])

    def departing(self) -> list[Resource]:
        """All whose deletion has begun, soft-deleted ones among them."""
        with self._lock:
            rows = self._connection.execute(
                "SELECT document FROM resources WHERE json_extract(document, '$.pending.gone')"
            ).fetchall()
        return [Resource.model_validate_json(row[0]) for row in rows]

    def put(self, key: str, resource: Resource) -> None:
        self._connection.execute("REPLACE INTO resources VALUES (?, ?)", (key, resource.model_dump_json()))

    def remove(self, key: str) -> None:
        self._connection.execute("DELETE FROM resources WHERE key = ?", (key,))

    def operation(self, name: str) -> Operation | None:
        row = self._one("SELECT document FROM operations WHERE key = ?", name.lower())
        return None if row is None else Operation.model_validate_json(row)

    def put_operation(self, operation: Operation) -> None:
        self._connection.execute(
            "REPLACE INTO operations VALUES (?, ?)", (operation.name.lower(), operation.model_dump_json())
        )

    def lock(self, key: str) -> Lock | None:
        row = self._one("SELECT document FROM locks WHERE key = ?", key)
        return None if row is None else Lock.model_validate_json(row)

    def locks(self, prefix: str) -> list[Lock]:
        """All whose key begins with `prefix`, in the order of their keys."""
        with self._lock:
            rows = self._connection.execute(
                "SELECT document FROM locks WHERE substr(key, 1, ?) = ? ORDER BY key", (len(prefix), prefix)
            ).fetchall()
        return [Lock.model_validate_json(row[0]) for row in rows]

    def put_lock(self, lock: Lock) -> None:
        self._connection.execute("REPLACE INTO locks VALUES (?, ?)", (lock.id.lower(), lock.model_dump_json()))

    def remove_lock(self, key: str) -> None:
        with self._lock:
            self._connection.execute("DELETE FROM locks WHERE key = ?", (key,))

    def clock_offset(self) -> float:
        """How many seconds the emulated Azure is ahead of real time."""
        kept = self._one("SELECT document FROM settings WHERE key = ?", "clock_offset")
        return 0.0 if kept is None else float(kept)

    def put_clock_offset(self, seconds: float) -> None:
        with self._lock:
            self._connection.execute("REPLACE INTO settings VALUES ('clock_offset', ?)", (repr(seconds),))

    def _one(self, query: str, key: str) -> str | None:
        with self._lock:
            row = self._connection.execute(query, (key,)).fetchone()
        return None if row is None else str(row[0])

    def close(self) -> None:
        with self._lock:
            self._connection.close()
