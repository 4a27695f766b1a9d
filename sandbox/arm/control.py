"""Control of the emulated Azure: what was asked of it, what is to go wrong, how late it is, what time it is.

Only the time outlives a restart.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import random
import re
import threading
import time
from collections import deque
from email.utils import format_datetime
from http import HTTPStatus
from typing import Annotated, Any, Generic, Literal, Protocol, TypeVar

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, TypeAdapter, ValidationError, field_validator
from pydantic import model_validator as validator
from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sandbox.arm import regions
from sandbox.arm.clock import Clock, timestamp
from sandbox.arm.compute import PAGE_SIZE
from sandbox.arm.operation_urls import legible
from sandbox.arm.replication import RegionRule
from sandbox.guard import Guard

LOG_LENGTH = 100_000
_FURTHEST = 1_000 * 365 * 86_400.0  # seconds; dates end with the year 9999

_T = TypeVar("_T")
_M = TypeVar("_M", bound=BaseModel)


class FaultRule(BaseModel):
    """What to do to requests that match.

    `path` is a regular expression searched for in the path without its query. `latency` holds the request back, in
    seconds. `times` counts down to nothing; a `probability` of 1 is always. `drop` closes the connection without an
    answer, before or after the request takes effect.
    """

    model_config = ConfigDict(extra="forbid")

    method: str | None = None
    path: str | None = None
    status: Annotated[int | None, Field(ge=200, le=599)] = None
    headers: dict[str, str] = {}
    body: Any = None
    latency: Annotated[float | None, Field(gt=0)] = None
    times: Annotated[int | None, Field(ge=1)] = None
    probability: Annotated[float, Field(gt=0, le=1)] = 1.0
    seed: int | None = None
    drop: Literal["before", "after"] | None = None

    _random: random.Random = PrivateAttr()
    _left: int | None = PrivateAttr()

    @field_validator("path")
    @classmethod
    def _is_regex(cls, value: str | None) -> str | None:
        return _regex(value)

    @validator(mode="after")
    def _does_something(self) -> FaultRule:
        if self.status is None and self.latency is None and self.drop is None:
            raise ValueError("one of status, latency and drop is required")
        if self.status is not None and self.drop is not None:
            raise ValueError("status and drop exclude each other")
        return self

    def model_post_init(self, _: Any) -> None:
        # Repeatable where a seed is given; no secret depends on it
        self._random = random.Random(self.seed)  # noqa: S311 - no secret
        self._left = self.times

    def strikes(self, method: str, path: str) -> bool:
        """Whether this request is struck; counts down if so."""
        if self._left == 0 or (self.method is not None and self.method.upper() != method):
            return False
        if self.path is not None and re.search(self.path, path) is None:
            return False
        if self._random.random() >= self.probability:
            return False
        if self._left is not None:
            self._left -= 1
        return True


class ReplicationRegion(RegionRule):
    """A region's fate, for the next `times` replications to it, or all."""

    model_config = ConfigDict(extra="forbid")

    seconds: Annotated[float | None, Field(ge=0)] = None
    fails_at: Annotated[int | None, Field(ge=0, le=99)] = None
    times: Annotated[int | None, Field(ge=1)] = None


class ReplicationRule(BaseModel):
    """Fates by region, `*` for every other one; `path` is searched for in the version's id."""

    model_config = ConfigDict(extra="forbid")

    regions: Annotated[dict[str, ReplicationRegion], Field(min_length=1)]
    path: str | None = None

    @field_validator("path")
    @classmethod
    def _is_regex(cls, value: str | None) -> str | None:
        return _regex(value)

    @field_validator("regions")
    @classmethod
    def _are_known(cls, value: dict[str, ReplicationRegion]) -> dict[str, ReplicationRegion]:
        unknown = [name for name in value if name != "*" and not regions.is_known(name)]
        if unknown:
            raise ValueError(f"no such region: {', '.join(unknown)}")
        return {regions.normalised(name): region for name, region in value.items()}


def _regex(value: str | None) -> str | None:
    if value is not None:
        try:
            re.compile(value)
        except re.error as error:
            raise ValueError(f"not a regular expression: {error}") from error
    return value


class Replications:
    """The fates people asked for. The newest rule that names the region, or `*`, and has times left wins."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._rules: list[ReplicationRule] = []

    def rule_for(self, region: str, version_id: str) -> RegionRule | None:
        """The fate of a replication that begins now; counts it."""
        with self._lock:
            for rule in reversed(self._rules):
                if rule.path is not None and re.search(rule.path, version_id) is None:
                    continue
                fate = rule.regions.get(region) or rule.regions.get("*")
                if fate is None or fate.times == 0:
                    continue
                if fate.times is not None:
                    fate.times -= 1
                return fate
        return None

    async def endpoint(self, request: Request) -> Response:
        if request.method == "POST":
            rule = _read(TypeAdapter(ReplicationRule), await request.body())
            if isinstance(rule, Response):
                return rule
            with self._lock:
                self._rules.append(rule)
            return JSONResponse(rule.model_dump(mode="json"), status_code=201)
        with self._lock:
            if request.method == "DELETE":
                self._rules.clear()
                return Response(status_code=204)
            return JSONResponse([rule.model_dump(mode="json") for rule in self._rules])


class Rules(Generic[_M]):
    """A list of rules that people add to, one or many at a time, and clear."""

    def __init__(self, kind: type[_M]) -> None:
        self.rules: list[_M] = []
        self._adapter: TypeAdapter[_M | list[_M]] = TypeAdapter(kind | list[kind])  # type: ignore[arg-type, valid-type]

    async def endpoint(self, request: Request) -> Response:
        if request.method == "POST":
            added = _read(self._adapter, await request.body())
            if isinstance(added, Response):
                return added
            self.rules.extend(added if isinstance(added, list) else [added])
            return JSONResponse([rule.model_dump(mode="json") for rule in self.rules], status_code=201)
        if request.method == "DELETE":
            self.rules.clear()
            return Response(status_code=204)
        return JSONResponse([rule.model_dump(mode="json") for rule in self.rules])


class Setting(Generic[_M]):
    """One thing that people set, and that a DELETE sets back."""

    def __init__(self, default: _M) -> None:
        self.value = self._default = default

    async def endpoint(self, request: Request) -> Response:
        if request.method == "POST":
            value = _read(TypeAdapter(type(self._default)), await request.body())
            if isinstance(value, Response):
                return value
            self.value = value
            return JSONResponse(value.model_dump(mode="json"), status_code=201)
        if request.method == "DELETE":
            self.value = self._default
            return Response(status_code=204)
        return JSONResponse(self.value.model_dump(mode="json"))


class Paging(BaseModel):
    """How many resources a page of a list holds."""

    model_config = ConfigDict(extra="forbid")

    size: Annotated[int, Field(ge=1)] = PAGE_SIZE


class Faults:
    """ASGI middleware that strikes requests as the rules say, in the order they came."""

    def __init__(self) -> None:
        self._rules: dict[int, FaultRule] = {}
        self._hits: dict[int, int] = {}
        self._ids = itertools.count(1)

    def around(self, app: ASGIApp) -> ASGIApp:
        async def struck(scope: Scope, receive: Receive, send: Send) -> None:
            for number, rule in list(self._rules.items()):
                if not rule.strikes(scope["method"], scope["path"]):
                    continue
                self._hits[number] += 1
                if rule.latency is not None:
                    await asyncio.sleep(rule.latency)
                if rule.drop == "after":
                    await app(scope, receive, _swallow)
                if rule.drop is not None:
                    await _close_connection(receive)
                    return
                if rule.status is not None:
                    await _fault_response(number, rule)(scope, receive, send)
                    return
            await app(scope, receive, send)

        return struck

    async def endpoint(self, request: Request) -> Response:
        if request.method == "POST":
            rules = _read(TypeAdapter(FaultRule | list[FaultRule]), await request.body())
            if isinstance(rules, Response):
                return rules
            added = []
            for rule in rules if isinstance(rules, list) else [rules]:
                number = next(self._ids)
                self._rules[number], self._hits[number] = rule, 0
                added.append(number)
            return JSONResponse({"ids": added}, status_code=201)
        if request.method == "DELETE":
            self._rules.clear()
            self._hits.clear()
            return Response(status_code=204)
        return JSONResponse(
            [
                {"id": number, "hits": self._hits[number], **rule.model_dump(mode="json", exclude_defaults=True)}
                for number, rule in self._rules.items()
            ]
        )


class Dated:
    """ASGI middleware that gives every answer the Date of the emulated Azure."""

    def __init__(self, app: ASGIApp, clock: Clock) -> None:
        self._app = app
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def dated(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).setdefault("Date", format_datetime(self._clock.now(), usegmt=True))
            await send(message)

        await self._app(scope, receive, dated)


class Advance(BaseModel):
    """How far to move time on, in seconds."""

    model_config = ConfigDict(extra="forbid")

    advance: Annotated[float, Field(gt=0)]


class Time:
    """The emulated Azure's time, which goes on and never back: what has ended stays so."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    async def endpoint(self, request: Request) -> Response:
        if request.method == "DELETE":
            return Response(status_code=405, headers={"Allow": "GET, POST"})
        if request.method == "POST":
            asked = _read(TypeAdapter(Advance), await request.body())
            if isinstance(asked, Response):
                return asked
            if self._clock.offset + asked.advance > _FURTHEST:
                return _bad_request(f"Time goes on by {_FURTHEST:.0f} seconds at most.", [])
            self._clock.advance(asked.advance)
        return JSONResponse({"now": timestamp(self._clock.now()), "offset": self._clock.offset})


class RequestLog:
    """ASGI middleware that writes down what was asked. Entries are numbered from 1 and never renumbered."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._entries: deque[dict[str, Any]] = deque(maxlen=LOG_LENGTH)
        self._numbers = itertools.count(1)

    def around(self, app: ASGIApp) -> ASGIApp:
        async def logged(scope: Scope, receive: Receive, send: Send) -> None:
            began, started = self._clock.now(), time.perf_counter()
            entry: dict[str, Any] = {"status": None, "request_id": None}

            async def watched(message: Message) -> None:
                if message["type"] == "http.response.start":
                    headers = dict(message["headers"])
                    entry["status"] = message["status"]
                    entry["request_id"] = headers.get(b"x-ms-request-id", b"").decode() or None
                await send(message)

            try:
                await app(scope, receive, watched)
            finally:
                query = scope["query_string"].decode()
                self._entries.append(
                    {
                        "index": next(self._numbers),
                        "time": timestamp(began),
                        "method": scope["method"],
                        "path": legible(scope["path"] + (f"?{query}" if query else "")),
                        "status": entry["status"],
                        "duration": round(time.perf_counter() - started, 6),
                        "request_id": entry["request_id"],
                    }
                )

        return logged

    async def endpoint(self, request: Request) -> Response:
        """The log, oldest first. `since`: only entries with a higher index. `method`, `path`: regular expressions."""
        if request.method == "DELETE":
            self._entries.clear()
            return Response(status_code=204)
        if request.method == "POST":
            return Response(status_code=405, headers={"Allow": "GET, DELETE"})
        query = request.query_params
        try:
            since = int(query.get("since", "0"))
            patterns = {key: re.compile(query[key]) for key in ("method", "path") if key in query}
        except (ValueError, re.error) as error:
            return _bad_request(f"{error}", [])
        return JSONResponse(
            [
                entry
                for entry in self._entries
                if entry["index"] > since and all(pattern.search(entry[key]) for key, pattern in patterns.items())
            ]
        )


class Endpoint(Protocol):
    """Something people control."""

    async def endpoint(self, request: Request) -> Response:
        """Answer GET, POST and DELETE."""


def routes(guard: Guard, **controls: Endpoint) -> list[Route]:
    """The control endpoints, under `/sandbox`, for those whom `guard` lets through."""
    return [
        Route(f"/sandbox/{name}", guard.around(control.endpoint), methods=["GET", "POST", "DELETE"])
        for name, control in controls.items()
    ]


async def _swallow(_: Message) -> None:
    """Send nothing: the effect has happened, its answer is lost."""


async def _close_connection(receive: Receive) -> None:
    """Close the client's connection without a byte of an answer.

    ASGI has no word for this, and uvicorn answers 500 to an application that raises or stays silent. So the transport
    is taken from uvicorn's own request cycle, whose `receive` this is.
    """
    cycle = getattr(receive, "__self__", None)
    transport = getattr(cycle, "transport", None)
    if transport is None:
        raise RuntimeError("a connection can only be dropped under uvicorn")
    transport.abort()
    while (await receive())["type"] != "http.disconnect":
        pass


def _fault_response(number: int, rule: FaultRule) -> Response:
    status = rule.status or 500
    body = rule.body
    if body is None:
        code = HTTPStatus(status).phrase.replace(" ", "") if status in HTTPStatus._value2member_map_ else "Fault"
        body = {"error": {"code": code, "message": f"The sandbox was told to answer so (fault {number})."}}
    text = body if isinstance(body, str) else json.dumps(body)
    headers = {"Content-Type": "application/json; charset=utf-8"} | rule.headers
    return Response("" if status in (204, 304) else text, status_code=status, headers=headers)


def _read(adapter: TypeAdapter[_T], raw: bytes) -> _T | Response:
    try:
        return adapter.validate_json(raw)
    except ValidationError as error:
        details = [
            {"field": ".".join(str(part) for part in one["loc"]), "message": one["msg"]}
            for one in error.errors(include_url=False, include_context=False)
        ]
        return _bad_request("The rule is not valid.", details)


def _bad_request(message: str, details: list[dict[str, str]]) -> Response:
    return JSONResponse({"error": {"code": "InvalidRule", "message": message, "details": details}}, status_code=400)
