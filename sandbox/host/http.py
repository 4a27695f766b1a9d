"""What the host answers over HTTP: functions by their routes, the admin API, the webhook for blob events."""

from __future__ import annotations

import asyncio
import os
import re
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import azure.functions as func
from azure.core.exceptions import AzureError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from sandbox.host import queues, timers
from sandbox.host.blobs import Blob, BlobTriggers
from sandbox.host.index import BlobTrigger, Function, HttpTrigger, QueueTrigger, TimerTrigger
from sandbox.host.invoke import InvocationError, Invoker
from sandbox.host.keys import Keys, same
from sandbox.host.log import log
from sandbox.host.settings import StartError

VERSION = "4 (sandbox)"
_METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "QUERY"]
_PARAMETER = re.compile(r"\{(\*{0,2})(\w+)(?::(\w+))?(\?)?\}")
# The inline constraints of ASP.NET routes that take no argument.
_CONSTRAINTS = {
    None: r"[^/]+",
    "int": r"-?\d{1,10}",
    "long": r"-?\d{1,19}",
    "bool": r"true|false",
    "alpha": r"[a-z]+",
    "guid": r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}",
}


class FunctionRoute:
    """A route template of ASP.NET: `a/{id}/{n:int}/{name?}`, with `{*rest}` at its end.

    Raises ValueError where it is none, or uses what this host does not know.
    """

    def __init__(self, template: str) -> None:
        segments = [segment for segment in template.split("/") if segment]
        self.rank = tuple(_rank(segment) for segment in segments)
        self._pattern = re.compile("".join(_segment(one) for one in segments) + "/?", re.IGNORECASE)

    def match(self, path: str) -> dict[str, str] | None:
        """The parameters of a path that begins with a slash; None where it is another route's."""
        found = self._pattern.fullmatch(path)
        return None if found is None else {k: v for k, v in found.groupdict().items() if v is not None}


def _rank(segment: str) -> int:
    """Less is more specific: a literal goes before a parameter, that before a catch-all."""
    found = _PARAMETER.search(segment)
    if found is None:
        return 0
    return 3 if found[1] else 1 if found[3] else 2


def _segment(segment: str) -> str:
    whole = _PARAMETER.fullmatch(segment)
    if whole and whole[1]:
        return f"(?:/(?P<{whole[2]}>.*))?"
    pattern, literals, end = "/", "", 0
    for found in _PARAMETER.finditer(segment):
        if found[3] not in _CONSTRAINTS or (not whole and (found[1] or found[4])):
            raise ValueError(f"the route segment {segment!r} is not supported here")
        literal = segment[end : found.start()]
        pattern += f"{re.escape(literal)}(?P<{found[2]}>{_CONSTRAINTS[found[3]]})"
        literals, end = literals + literal, found.end()
    literals += segment[end:]
    if "{" in literals or "}" in literals:
        raise ValueError(f"the route segment {segment!r} is not supported here")
    pattern += re.escape(segment[end:])
    return f"(?:{pattern})?" if whole and whole[4] else pattern


@dataclass(frozen=True)
class _Routed:
    route: FunctionRoute
    function: Function
    trigger: HttpTrigger


class Web:
    """The host's HTTP side; `app` is what a server serves.

    Raises StartError where a route is wrong. `tasks` holds what was fired by hand and still runs.
    """

    def __init__(
        self, functions: list[Function], prefix: str, keys: Keys, invoker: Invoker, blobs: BlobTriggers | None
    ) -> None:
        self.tasks: set[asyncio.Task[None]] = set()
        self.instance = uuid.uuid4().hex
        self._functions = {function.name.lower(): function for function in functions}
        self._routed = sorted(
            (
                _Routed(_route(prefix, function.name, function.trigger), function, function.trigger)
                for function in functions
                if isinstance(function.trigger, HttpTrigger)
            ),
            key=lambda one: one.route.rank,
        )
        self._keys = keys
        self._invoker = invoker
        self._blobs = blobs
        self.app = Starlette(
            routes=[
                Route("/admin/host/status", self._status),
                Route("/admin/functions", self._master_only(self._list)),
                Route("/admin/functions/{name}", self._master_only(self._fire), methods=["POST"]),
                Route("/runtime/webhooks/blobs", self._blob_events, methods=["POST", "OPTIONS"]),
                Route("/{path:path}", self._call, methods=_METHODS),
            ]
        )

    async def _call(self, request: Request) -> Response:
        path = request.url.path
        on_path = [(one, parameters) for one in self._routed if (parameters := one.route.match(path)) is not None]
        if not on_path:
            return PlainTextResponse("The functions host is running.") if path == "/" else Response(status_code=404)
        for one, parameters in on_path:
            if one.trigger.methods is None or request.method in one.trigger.methods:
                if not self._keys.open(one.trigger.auth_level, _key(request)):
                    return Response(status_code=401)
                return await self._answer(one.function, request, parameters)
        allowed = sorted({method for one, _ in on_path for method in one.trigger.methods or ()})
        return Response(status_code=405, headers={"Allow": ", ".join(allowed)})

    async def _answer(self, function: Function, request: Request, parameters: dict[str, str]) -> Response:
        argument = func.HttpRequest(
            request.method,
            str(request.url),
            headers=_headers(request),
            params=_query(request),
            route_params=parameters,
            body=await request.body(),
        )
        try:
            return _response(await self._invoker.invoke(function, argument))
        except InvocationError:
            return Response(status_code=500)
        except TypeError as error:
            log.error("response refused", function=function.name, error=str(error))
            return Response(status_code=500)

    async def _status(self, _: Request) -> Response:
        return JSONResponse(
            {"state": "Running", "version": VERSION, "instanceId": self.instance, "processId": os.getpid()}
        )

    async def _list(self, _: Request) -> Response:
        return JSONResponse(
            [
                {
                    "name": function.name,
                    "language": "python",
                    "trigger": function.trigger.type,
                    "config": {"bindings": function.bindings},
                }
                for function in self._functions.values()
            ]
        )

    async def _fire(self, request: Request) -> Response:
        function = self._functions.get(request.path_params["name"].lower())
        if function is None:
            return Response(status_code=404)
        try:
            argument = self._argument_by_hand(function, (await request.json()).get("input") or "")
        except (ValueError, AttributeError) as error:
            return JSONResponse({"error": f'the body must be {{"input": "…"}}: {error}'}, status_code=400)
        task = asyncio.create_task(self._invoke_by_hand(function, argument))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return Response(status_code=202)

    async def _invoke_by_hand(self, function: Function, argument: object) -> None:
        try:
            await self._invoker.invoke(function, argument)
        except InvocationError:
            return  # nobody waits for it, and it is logged

    def _argument_by_hand(self, function: Function, given: str) -> object:
        match function.trigger:
            case QueueTrigger():
                return queues.invocation_argument(function, None, given.encode())
            case TimerTrigger():
                return timers.request_by_hand()
            case BlobTrigger():
                container, slash, name = given.partition("/")
                if not (slash and container and name) or self._blobs is None:
                    raise ValueError("input for a blob trigger is container/name")
                return self._blobs.client(function, Blob(container, name))
            case HttpTrigger():
                return func.HttpRequest("POST", "/", body=given.encode())

    async def _blob_events(self, request: Request) -> Response:
        if not (same(_key(request), self._keys.blobs_extension) or self._keys.open("admin", _key(request))):
            return Response(status_code=401)
        if request.method == "OPTIONS":
            # The abuse protection of CloudEvents webhooks.
            origin = request.headers.get("WebHook-Request-Origin", "eventgrid.azure.net")
            return Response(headers={"WebHook-Allowed-Origin": origin, "WebHook-Allowed-Rate": "*"})
        name = request.query_params.get("functionName", "")
        function = self._blobs.function(name) if self._blobs else None
        if function is None or self._blobs is None:
            return Response(status_code=404)
        try:
            events = await request.json()
        except ValueError:
            return Response(status_code=400)
        events = events if isinstance(events, list) else [events]
        if not all(isinstance(event, dict) for event in events):
            return Response(status_code=400)
        for event in events:
            if event.get("eventType") == "Microsoft.EventGrid.SubscriptionValidationEvent":
                return JSONResponse({"validationResponse": event.get("data", {}).get("validationCode")})
        try:
            await asyncio.to_thread(self._blobs.accept, function, events)
        except AzureError as error:
            # Event Grid delivers again what was not accepted.
            log.warning("blob events not accepted", function=function.name, error=str(error))
            return Response(status_code=503)
        return Response(status_code=202)

    def _master_only(
        self, endpoint: Callable[[Request], Awaitable[Response]]
    ) -> Callable[[Request], Awaitable[Response]]:
        async def guarded(request: Request) -> Response:
            if not self._keys.open("admin", _key(request)):
                return Response(status_code=401)
            return await endpoint(request)

        return guarded


def _route(prefix: str, function: str, trigger: HttpTrigger) -> FunctionRoute:
    try:
        return FunctionRoute(f"{prefix}/{trigger.route}")
    except (ValueError, re.error) as error:
        raise StartError(f"function {function}: {error}") from error


def _key(request: Request) -> str | None:
    """The key as the real host reads it: the first header, even an empty one, before the first `code` of the query."""
    sent = request.headers.getlist("x-functions-key") or [
        value for name, value in request.query_params.multi_items() if name.lower() == "code"
    ]
    return sent[0] if sent else None


def _headers(request: Request) -> dict[str, str]:
    """The headers as the worker is given them: one of each name, its values joined.

    X-Forwarded-For ends with who has called, as App Service, in front of the real host, has seen it.
    """
    joined = {name: _joined(request.headers.getlist(name)) for name in request.headers}
    if request.client:
        host = f"[{request.client.host}]" if ":" in request.client.host else request.client.host
        before = joined.get("x-forwarded-for")
        joined["x-forwarded-for"] = f"{before}, " * bool(before) + f"{host}:{request.client.port}"
    return joined


def _query(request: Request) -> dict[str, str]:
    """The query as the worker is given it: names of one spelling but for case are one, what is empty is left out."""
    spelt: dict[str, str] = {}
    values: dict[str, list[str]] = {}
    for name, value in request.query_params.multi_items():
        values.setdefault(spelt.setdefault(name.lower(), name), []).append(value)
    return {name: joined for name, found in values.items() if (joined := _joined(found))}


def _joined(values: list[str]) -> str:
    """Several values as ASP.NET makes one of them."""
    return ",".join(value for value in values if value)


def _response(returned: Any) -> Response:
    """The response that stands for what a function returned; TypeError where nothing does."""
    if returned is None:
        return Response(status_code=204)
    if isinstance(returned, str):
        return PlainTextResponse(returned)
    if not isinstance(returned, func.HttpResponse):
        raise TypeError(f"a function of HTTP must return HttpResponse or str, not {type(returned).__name__}")
    headers = returned.headers
    response = Response(returned.get_body(), returned.status_code)
    if "content-type" not in headers:
        charset = f"; charset={returned.charset}" if returned.mimetype.startswith("text/") else ""
        response.headers["content-type"] = returned.mimetype + charset
    for name, value in headers.items():
        if name.lower() != "content-length":
            response.headers.append(name, value)
    return response
