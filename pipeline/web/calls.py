"""What every route shares: what is asked, what goes back, and how a fault becomes an answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import structlog

from pipeline import access, engine, requests
from pipeline.access import Caller, NotAllowed, NotSignedIn
from pipeline.catalog import CatalogError
from pipeline.cloud.faults import CloudFault, Denied, NotFound, Unavailable
from pipeline.context import Context
from pipeline.events import TooLong, Unreadable, read_json
from pipeline.intake import RequestConflict
from pipeline.numbers import NumberInUse
from pipeline.requests import InvalidRequest
from pipeline.runs import Run
from pipeline.settings import SettingsError
from pipeline.validation import Model

_log = structlog.get_logger()


@dataclass(frozen=True)
class Call:
    """One HTTP request.

    `base` is the address that the API's routes lie under, such as `https://…/api`.
    """

    base: str
    caller: Caller
    route: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass(frozen=True)
class Answer:
    """What goes back: a status, a JSON body, and headers beside those that every answer has."""

    status: int
    body: dict[str, Any]
    headers: dict[str, str] = field(default_factory=dict)


Handler = Callable[[Context, Call], Answer]


def answer(route: str, make: Callable[[], tuple[Context, Call]], handlers: Mapping[str, Handler]) -> Answer:
    """Call a route's handler where the caller may; what is raised on the way becomes the answer that says so.

    `make` tells who calls, and with what; a route that has no handler is nobody's.
    """
    caller = None
    try:
        ctx, call = make()
        caller = call.caller
        access.check(caller, route)
        return handlers[route](ctx, call)
    except NotSignedIn as fault:
        return _error(401, "NotSignedIn", str(fault), {"WWW-Authenticate": "Bearer"})
    except NotAllowed as fault:
        told = {"who": caller.id, "name": caller.name, "address": caller.address} if caller else {}
        _log.warning("call_denied", route=route, why=str(fault), **told)
        return _error(403, "NotAllowed", str(fault))
    except (SettingsError, CatalogError) as fault:
        _log.exception("misconfigured")
        return _error(500, "Misconfigured", f"Gallerist cannot work until this is mended: {fault}")
    except InvalidRequest as fault:
        details = [{"field": name, "message": text} for name, text in fault.faults]
        return _error(400, "InvalidRequest", str(fault), details=details)
    except TooLong as fault:
        return _error(413, "TooLong", f"the body is too long: {fault}")
    except (RequestConflict, engine.NotNow, NumberInUse) as fault:
        return _error(409, "Conflict", str(fault))
    except NotFound as fault:
        return _error(404, "NotFound", str(fault))
    except Denied as fault:
        return _error(502, "Denied", f"Azure does not let the pipeline do this: {fault}")
    except Unavailable as fault:
        return _error(503, "Unavailable", str(fault), {"Retry-After": str(max(1, round(fault.retry_after or 5)))})
    except CloudFault as fault:
        return _error(502, "Refused", str(fault))
    except Exception:  # noqa: BLE001 - a fault of this program: whoever calls is told that, and no more
        _log.exception("call_failed", route=route)
        return _error(
            500,
            "Internal",
            "this is a fault of Gallerist's own, not of what was asked: ask once more, and where it stays, report what "
            "its log says under call_failed",
        )


def _error(
    status: int, code: str, message: str, headers: dict[str, str] | None = None, *, details: list[Any] | None = None
) -> Answer:
    error: dict[str, Any] = {"code": code, "message": message}
    if details is not None:
        error["details"] = details
    return Answer(status, {"error": error}, headers or {})


def accepted(call: Call, run: Run) -> Answer:
    """202, with where the run is to be seen."""
    body = briefly(run, call.base)
    return Answer(202, body, {"Location": body["url"]})


def briefly(run: Run, base: str) -> dict[str, Any]:
    """A run in a few words."""
    return {"run": run.id, "image": run.image, "state": run.stage.value, "url": f"{base}/runs/{run.id}"}


def read_body(call: Call) -> Any:
    """The JSON that came with a call. Raises InvalidRequest, or TooLong."""
    try:
        return read_json(call.body)
    except TooLong:
        raise
    except Unreadable as fault:
        raise InvalidRequest([("request", str(fault))]) from fault


def parse_body(kind: type[Model], call: Call) -> Model:
    """What came with a call, as `kind` has it. Raises InvalidRequest naming every wrong field."""
    return requests.parse(kind, read_body(call))
