"""Microsoft.Authorization/locks: what may not be deleted, or not changed at all, and the 409 that says so."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sandbox.arm.clock import Clock
from sandbox.arm.errors import ArmError
from sandbox.arm.requests import Answer
from sandbox.arm.resource import Lock
from sandbox.arm.resource_id import ResourceId
from sandbox.arm.store import Store
from sandbox.arm.subscriptions import Call, json_object, refused

TYPE = "Microsoft.Authorization/locks"
API_VERSIONS = ("2016-09-01", "2020-05-01")
_SYSTEM_DATA_SINCE = "2020-05-01"
_PATH = re.compile(r"(?i)(?P<scope>/subscriptions/.+?)/providers/Microsoft\.Authorization/locks(/(?P<name>[^/]+))?/?")


class _Properties(BaseModel):
    """What a PUT sends. NotSpecified, which the REST description has too, locks nothing and is not taken."""

    model_config = ConfigDict(extra="forbid")

    level: Literal["CanNotDelete", "ReadOnly"]
    notes: str | None = Field(default=None, max_length=512)
    owners: list[dict[str, Any]] | None = None


class Locks:
    """The locks there are, at any scope, and what they hold back. `check_exists` raises where a scope is not there."""

    def __init__(self, store: Store, clock: Clock, client: str, check_exists: Callable[[ResourceId], None]) -> None:
        self._store = store
        self._clock = clock
        self._client = client
        self._check_exists = check_exists

    @staticmethod
    def named(path: str) -> bool:
        """Whether a path names a lock, or those of a scope."""
        return _PATH.fullmatch(path) is not None

    def answer(self, call: Call) -> Answer:
        """The answer to a call whose path names a lock, or those of a scope. Raises ArmError."""
        # SDKs put an empty parent between two slashes; recorded ids have one
        path = re.sub("/+", "/", call.path).rstrip("/")
        found = _PATH.fullmatch(path)
        scope = ResourceId.parse(found["scope"]) if found else None
        if found is None or scope is None or scope.is_collection:
            raise refused(404, "NotFound", f"The requested path '{call.path}' is not known to the sandbox.")
        api_version = call.query["api-version"]
        if api_version not in API_VERSIONS:
            raise refused(
                400,
                "NoRegisteredProviderFound",
                f"No registered resource provider found for location '' and API version '{api_version}' for type "
                f"'locks'. The supported api-versions are '{', '.join(API_VERSIONS)}'. The supported locations are ''.",
            )
        self._check_exists(scope)
        if found["name"] is None:
            return self._list(call, scope, api_version)
        key = path.lower()
        if call.method == "PUT":
            return self._put(call, key, found["scope"], found["name"])
        lock = self._store.lock(key)
        if call.method == "DELETE":
            self._store.remove_lock(key)
            return Answer(204 if lock is None else 200, gateway=True)
        if call.method != "GET":
            raise refused(405, "MethodNotAllowed", f"The method '{call.method}' is not supported.")
        if lock is None:
            raise refused(404, "LockNotFound", f"The lock '{found['name']}' could not be found.")
        return Answer(200, _body(lock, api_version), gateway=True)

    def _list(self, call: Call, scope: ResourceId, api_version: str) -> Answer:
        """Those at the scope, above it and below it; not below it where `atScope()` is asked for (Microsoft's docs)."""
        if call.method != "GET":
            raise refused(405, "MethodNotAllowed", f"The method '{call.method}' is not supported.")
        asked = call.query.get("$filter", "").replace(" ", "")
        if asked.lower() not in ("", "atscope()"):
            raise refused(
                400, "InvalidFilterInQueryString", f"Invalid $filter '{asked}' specified in the query string."
            )
        found = self._around(scope, below=not asked)
        return Answer(200, {"value": [_body(lock, api_version) for lock in found]}, gateway=True)

    def _put(self, call: Call, key: str, scope: str, name: str) -> Answer:
        try:
            sent = _Properties.model_validate(json_object(call.body).get("properties"))
        except ValidationError as error:
            raise refused(400, "InvalidLock", f"The lock '{name}' is not valid: {error.errors()[0]['msg']}.") from error
        now = self._clock.now()
        with self._store.transaction():
            existing = self._store.lock(key)
            lock = Lock(
                id=existing.id if existing else f"{scope}/providers/{TYPE}/{name}",
                name=existing.name if existing else name,
                scope=existing.scope if existing else scope,
                properties=sent.model_dump(exclude_none=True),
                created_by=existing.created_by if existing else self._client,
                created=existing.created if existing else now,
                modified_by=self._client,
                modified=now,
            )
            self._store.put_lock(lock)
        return Answer(200 if existing else 201, _body(lock, call.query["api-version"]), gateway=True)

    def check(self, method: str, target: ResourceId, path: str) -> None:
        """Raises ArmError 409 where a lock holds a request back (the words are those of many threads).

        A deletion takes what is below with it, so a lock there holds it too: Microsoft's docs say so of resource
        groups, of anything else it is a guess.
        """
        if method in ("GET", "HEAD"):
            return
        deletes = method == "DELETE"
        locked = [
            lock.scope
            for lock in self._around(target, below=deletes)
            if deletes or lock.properties["level"] == "ReadOnly"
        ]
        if locked:
            raise ArmError(
                409,
                "ScopeLocked",
                f"The scope '{path.rstrip('/')}' cannot perform {'delete' if deletes else 'write'} operation because "
                f"following scope(s) are locked: '{','.join(dict.fromkeys(locked))}'. Please remove the lock and try "
                "again.",
                gateway=True,
            )

    def _around(self, scope: ResourceId, *, below: bool) -> list[Lock]:
        above = {one.key for one in _upwards(scope)}
        return [
            lock
            for lock in self._store.locks(ResourceId(scope.subscription).key)
            if lock.scope.lower() in above or (below and lock.scope.lower().startswith(f"{scope.key}/"))
        ]


def _upwards(scope: ResourceId) -> list[ResourceId]:
    """A scope and all that it is in."""
    found = [ResourceId(scope.subscription)]
    if scope.resource_group is not None:
        found.append(ResourceId(scope.subscription, scope.resource_group))
    one: ResourceId | None = scope if scope.namespace is not None else None
    while one is not None:
        found.append(one)
        one = one.parent
    return found


def _body(lock: Lock, api_version: str) -> dict[str, Any]:
    """As in recorded traffic of 2016-09-01. systemData came with 2020-05-01; its place in the order is a guess."""
    body = {"properties": lock.properties, "id": lock.id, "type": TYPE, "name": lock.name}
    if api_version < _SYSTEM_DATA_SINCE:
        return body
    return body | {
        "systemData": {
            "createdBy": lock.created_by,
            "createdByType": "Application",
            "createdAt": _instant(lock.created),
            "lastModifiedBy": lock.modified_by,
            "lastModifiedByType": "Application",
            "lastModifiedAt": _instant(lock.modified),
        }
    }


def _instant(instant: datetime) -> str:
    return instant.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
