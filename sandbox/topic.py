"""An Event Grid topic that takes CloudEvents, and shows what it was told."""

from __future__ import annotations

from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from sandbox.guard import Guard
from sandbox.identity import EVENT_GRID, Identity, InvalidToken

_NEEDED = ("id", "source", "specversion", "type")


def create_topic(identity: Identity, guard: Guard) -> Starlette:
    """The topic's app. `POST /api/events` tells, with a token for Event Grid; `GET /events` shows those whom `guard`
    lets through what was told."""
    told: list[dict[str, Any]] = []

    async def tell(request: Request) -> Response:
        try:
            identity.verify(request.headers.get("Authorization", "").removeprefix("Bearer "), EVENT_GRID)
        except InvalidToken as fault:
            return _refused(401, "Unauthorized", str(fault))
        if not request.headers.get("Content-Type", "").startswith("application/cloudevents-batch+json"):
            return _refused(400, "BadRequest", "the topic takes batches of CloudEvents")
        events = await request.json()
        for event in events:
            if missing := [name for name in _NEEDED if not event.get(name)]:
                return _refused(400, "BadRequest", f"a CloudEvent has {', '.join(missing)}")
        told.extend(events)
        return Response(status_code=200)

    async def show(_: Request) -> Response:
        return JSONResponse(told)

    return Starlette(routes=[Route("/api/events", tell, methods=["POST"]), Route("/events", guard.around(show))])


def _refused(status: int, code: str, message: str) -> Response:
    return JSONResponse({"error": {"code": code, "message": message}}, status_code=status)
