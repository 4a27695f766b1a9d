"""The HTTP API's routes: each takes what was asked and gives a status and a JSON body."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from pipeline import engine
from pipeline.cloud.compute import DefinitionId
from pipeline.cloud.faults import CloudFault, Denied, NotFound, Unavailable
from pipeline.context import Context
from pipeline.events import Unreadable, read_json
from pipeline.intake import RequestConflict, take_request
from pipeline.requests import InvalidRequest, parse_request
from pipeline.runs import Run, Stage
from pipeline.web.openapi import NEXT, document

_LOOK_AT_MOST = 1000  # runs that one page of a list looks through


@dataclass(frozen=True)
class Call:
    """One HTTP request. `base` is the address that the API's routes lie under, such as `https://…/api`."""

    base: str
    route: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass(frozen=True)
class Answer:
    """What goes back: a status, a JSON body, and headers beside those that every answer has."""

    status: int
    body: dict[str, Any]
    headers: dict[str, str] = field(default_factory=dict)


Query = TypeVar("Query", bound=BaseModel)
Handler = Callable[[Context, Call], Answer]


def answer(ctx: Context, handler: Handler, call: Call) -> Answer:
    """Call a handler; what it raises becomes the answer that says so."""
    try:
        return handler(ctx, call)
    except InvalidRequest as fault:
        details = [{"field": name, "message": text} for name, text in fault.faults]
        return _error(400, "InvalidRequest", str(fault), details=details)
    except (RequestConflict, engine.NotNow) as fault:
        return _error(409, "Conflict", str(fault))
    except NotFound as fault:
        return _error(404, "NotFound", str(fault))
    except Denied as fault:
        return _error(502, "Denied", f"Azure does not let the pipeline do this: {fault}")
    except Unavailable as fault:
        return _error(503, "Unavailable", str(fault), {"Retry-After": str(max(1, round(fault.retry_after or 5)))})
    except CloudFault as fault:
        return _error(502, "Refused", str(fault))


def _error(
    status: int, code: str, message: str, headers: dict[str, str] | None = None, *, details: list[Any] | None = None
) -> Answer:
    error: dict[str, Any] = {"code": code, "message": message}
    if details is not None:
        error["details"] = details
    return Answer(status, {"error": error}, headers or {})


def publish(ctx: Context, call: Call) -> Answer:
    """POST /publish"""
    try:
        data = read_json(call.body)
    except Unreadable as fault:
        raise InvalidRequest([("request", str(fault))]) from fault
    offered = take_request(ctx, parse_request(data))
    if offered.due:
        engine.queue_step(ctx, offered.run)
    return _accepted(call, offered.run)


def _accepted(call: Call, run: Run) -> Answer:
    url = f"{call.base}/runs/{run.id}"
    body = {"run": run.id, "image": run.image, "state": run.stage.value, "url": url}
    return Answer(202, body, {"Location": url})


def _time(text: object) -> datetime:
    try:
        at = datetime.fromisoformat(str(text))
    except ValueError:
        raise ValueError("takes a time in ISO 8601, such as 2026-11-24T02:00:00Z") from None
    return at if at.tzinfo else at.replace(tzinfo=UTC)


Time = Annotated[datetime, BeforeValidator(_time)]


class RunsQuery(BaseModel):
    """What GET /runs takes. `state` is a stage, or `live` or `ended`; `next` is what the page before gave."""

    model_config = ConfigDict(extra="forbid")

    image: str | None = None
    state: str | None = None
    since: Time | None = None
    until: Time | None = None
    limit: Annotated[int, Field(ge=1, le=200)] = 50
    next: Annotated[str | None, Field(pattern=NEXT)] = None


def runs(ctx: Context, call: Call) -> Answer:
    """GET /runs"""
    asked = _parse(RunsQuery, call.query)
    states = {stage.value for stage in Stage} | {"live", "ended"}
    if asked.state is not None and asked.state not in states:
        raise InvalidRequest([("state", f"takes one of {', '.join(sorted(states))}")])
    found: list[Run] = []
    after, looked = asked.next, 0
    while len(found) < asked.limit and looked < _LOOK_AT_MOST:
        page, after = ctx.runs.page(
            image=asked.image, since=asked.since, until=asked.until, after=after, limit=asked.limit - len(found)
        )
        looked += asked.limit
        found += [run for run in page if _is_in(run, asked.state)]
        if after is None:
            break
    return Answer(200, {"runs": [describe(run, call.base) for run in found], "next": after})


def _is_in(run: Run, state: str | None) -> bool:
    if state in ("live", "ended"):
        return run.stage.ended == (state == "ended")
    return state is None or run.stage.value == state


def run(ctx: Context, call: Call) -> Answer:
    """GET /runs/{id}"""
    found = _run(ctx, call)
    history = [json.loads(happening.model_dump_json()) for happening in ctx.runs.history(found.id)]
    return Answer(200, describe(found, call.base) | {"history": history})


def _run(ctx: Context, call: Call) -> Run:
    loaded = ctx.runs.load(call.route["id"])
    if loaded is None:
        raise NotFound(f"there is no run {call.route['id']}")
    return loaded[0]


def retry(ctx: Context, call: Call) -> Answer:
    """POST /runs/{id}/retry"""
    return _accepted(call, engine.retry(ctx, call.route["id"]))


def cancel(ctx: Context, call: Call) -> Answer:
    """POST /runs/{id}/cancel"""
    return _accepted(call, engine.cancel(ctx, call.route["id"]))


def images(ctx: Context, _: Call) -> Answer:
    """GET /images"""
    return Answer(
        200,
        {
            "images": [
                {
                    "image": name,
                    "gallery": image.gallery,
                    "definition": ctx.catalog.definition_id(name),
                    "drop": image.drop,
                    "route": image.taken_route.value,
                    "regions": [json.loads(region.model_dump_json()) for region in ctx.catalog.target_regions(name)],
                }
                for name, image in ctx.catalog.images.items()
            ]
        },
    )


class VersionsQuery(BaseModel):
    """What GET /images/{image}/versions takes."""

    model_config = ConfigDict(extra="forbid")

    limit: Annotated[int, Field(ge=1, le=100)] = 20


def versions(ctx: Context, call: Call) -> Answer:
    """GET /images/{image}/versions"""
    name, asked = call.route["image"], _parse(VersionsQuery, call.query)
    if name not in ctx.catalog.images:
        raise NotFound(f"the catalog has no image {name!r}; it has {', '.join(ctx.catalog.images)}")
    at = DefinitionId.parse(ctx.catalog.definition_id(name))
    try:
        found = ctx.compute.versions(at, limit=asked.limit)
    except NotFound:
        found = []  # no definition: nothing was published yet
    return Answer(
        200,
        {
            "image": name,
            "versions": [
                {
                    "version": version.name,
                    "state": version.state,
                    "excluded_from_latest": version.excluded_from_latest,
                    "published": version.published.isoformat() if version.published else None,
                    "end_of_life": version.end_of_life.isoformat() if version.end_of_life else None,
                    "regions": [json.loads(region.model_dump_json()) for region in version.replication],
                    "run": version.tags.get("gallerist-run"),
                    "source": version.tags.get("gallerist-source"),
                    "tags": version.tags,
                }
                for version in found
            ],
        },
    )


def openapi(_: Context, call: Call) -> Answer:
    """GET /openapi.json"""
    return Answer(200, document(call.base))


def describe(run: Run, base: str) -> dict[str, Any]:
    """A run as the API shows it."""
    shown: dict[str, Any] = json.loads(
        run.model_dump_json(
            include={
                "image", "version", "definition", "regions", "created", "entered", "due", "ended", "note", "reason",
                "duplicate_of", "request_id", "tags",
            }
        )
    )  # fmt: skip
    source = {"kind": run.kind.value, "id": run.source, "etag": run.etag}
    return {"run": run.id, "state": run.stage.value, "source": source, "url": f"{base}/runs/{run.id}", **shown}


def _parse(kind: type[Query], query: Mapping[str, str]) -> Query:
    try:
        return kind.model_validate(dict(query))
    except ValidationError as error:
        raise InvalidRequest([(".".join(map(str, e["loc"])), e["msg"]) for e in error.errors()]) from error
