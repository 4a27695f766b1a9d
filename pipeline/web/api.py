"""The HTTP API's routes: each takes what was asked and gives a status and a JSON body."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

from pipeline import engine
from pipeline.access import NotAllowed, Role
from pipeline.cloud.faults import NotFound
from pipeline.context import Context
from pipeline.intake import read_request, take_request
from pipeline.requests import ImageName, InvalidRequest, parse
from pipeline.runs import Run, Stage
from pipeline.validation import ONE_LINE, field_name, names, pattern, quoted, unknown
from pipeline.web.calls import Answer, Call, accepted, read_body
from pipeline.web.openapi import NEXT, document

_LOOK_AT_MOST = 1000  # runs that one page of a list looks through


def publish(ctx: Context, call: Call) -> Answer:
    """POST /publish"""
    request = read_request(ctx, read_body(call), call.caller)
    with ctx.audit.change(call.caller, "publish", f"image {request.image}") as deed:
        offered = take_request(ctx, request, call.caller)
        deed.runs = [offered.run.id]
        if offered.due:
            engine.queue_step(ctx, offered.run)
    return accepted(call, offered.run)


def _time(text: object) -> datetime:
    try:
        at = datetime.fromisoformat(str(text))
        return (at if at.tzinfo else at.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):  # in UTC it may be before the first year, or after the last
        raise ValueError(f"takes a time in ISO 8601, such as 2026-11-24T02:00:00Z, not {quoted(str(text))}") from None


Time = Annotated[datetime, BeforeValidator(_time)]


class _PageQuery(BaseModel):
    """What a list takes that goes by time, the newest first. `next` is what the page before gave."""

    model_config = ConfigDict(extra="forbid")

    since: Time | None = None
    until: Time | None = None
    limit: Annotated[int, Field(ge=1, le=200)] = 50
    next: Annotated[str, pattern(NEXT, "what the page before gave as next")] | None = None


class RunsQuery(_PageQuery):
    """What GET /runs takes. `state` is a stage, or `live` or `ended`."""

    image: ImageName | None = None
    state: str | None = None


def runs(ctx: Context, call: Call) -> Answer:
    """GET /runs"""
    asked = parse(RunsQuery, dict(call.query))
    states = {stage.value for stage in Stage} | {"live", "ended"}
    if asked.state is not None and asked.state not in states:
        raise InvalidRequest([("state", f"takes {names(sorted(states), 'or')}, not {quoted(asked.state)}")])
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


class AuditQuery(_PageQuery):
    """What GET /audit takes. `who` is a caller's id."""

    who: Annotated[str, StringConstraints(min_length=1, max_length=200), ONE_LINE] | None = None


def audit(ctx: Context, call: Call) -> Answer:
    """GET /audit"""
    asked = parse(AuditQuery, dict(call.query))
    found, after = ctx.audit.page(
        who=asked.who, since=asked.since, until=asked.until, after=asked.next, limit=asked.limit
    )
    told = [
        {
            "at": one.at.isoformat(), "who": one.who, "name": one.name, "action": one.action, "on": one.on,
            "from": one.address or None, "outcome": one.outcome, "runs": one.runs,
        }
        for one in found
    ]  # fmt: skip
    return Answer(200, {"audit": told, "next": after})


def _run(ctx: Context, call: Call) -> Run:
    loaded = ctx.runs.load(call.route["id"])
    if loaded is None:
        raise NotFound(f"there is no run {field_name((call.route['id'],))}")
    return loaded[0]


def retry(ctx: Context, call: Call) -> Answer:
    """POST /runs/{id}/retry"""
    found = _own_run(ctx, call)
    with ctx.audit.change(call.caller, "retry", f"run {found.id}") as deed:
        deed.runs = [found.id]
        ctx.catalog.check_publisher(found.image, call.caller)
        return accepted(call, engine.retry(ctx, found.id, f"tried again by {call.caller.name}"))


def cancel(ctx: Context, call: Call) -> Answer:
    """POST /runs/{id}/cancel"""
    found = _own_run(ctx, call)
    with ctx.audit.change(call.caller, "cancel", f"run {found.id}") as deed:
        deed.runs = [found.id]
        return accepted(call, engine.cancel(ctx, found.id, call.caller.name))


def _own_run(ctx: Context, call: Call) -> Run:
    """The run that a route names, where the caller asked for it. Raises NotAllowed where only others did."""
    found = _run(ctx, call)
    if not call.caller.has(Role.OPERATOR) and call.caller.id not in found.asked_by:
        raise NotAllowed(
            f"{call.caller.name} did not ask for the run {found.id}: whoever did may do this, or an {Role.OPERATOR}"
        )
    return found


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
    name, asked = call.route["image"], parse(VersionsQuery, dict(call.query))
    if name not in ctx.catalog.images:
        raise NotFound(unknown("the catalog has no image", name, ctx.catalog.images))
    at = ctx.definition_of(name)
    listed = ctx.listing(at).versions[: asked.limit]
    found = [ctx.compute.version(at, version.name) for version in listed]
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
                "duplicate_of", "request_id", "asked_by", "tags", "promotion",
            }
        )
    )  # fmt: skip
    source = {"kind": run.kind.value, "id": run.source, "etag": run.etag}
    shown |= {"purpose": run.purpose, "source": source}
    return {"run": run.id, "state": run.stage.value, "url": f"{base}/runs/{run.id}", **shown}
