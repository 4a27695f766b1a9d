"""The API's description, OpenAPI 3.1, made of the models that check what comes in."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from pipeline.access import OWN_RUNS_ONLY, ROUTES
from pipeline.replication import RegionState
from pipeline.requests import Finding, PublishRequest
from pipeline.runs import Purpose, Stage
from pipeline.source import SourceKind
from pipeline.web import lifecycle

NEXT = r"^[0-9]{17}\|[a-z0-9-]{1,80}$"
"""The form of what leads from one page of runs to the next."""
_TEXT = {"type": "string"}
_TEXT_GIVEN = {"type": "string", "minLength": 1, "maxLength": 200}
_MAYBE_TEXT = {"type": ["string", "null"]}
_TIME = {"type": "string", "format": "date-time"}
_MAYBE_TIME = {"type": ["string", "null"], "format": "date-time"}
_IMAGE = {"type": "string", "pattern": r"^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$"}
_BODIES: list[type[BaseModel]] = [
    Finding, lifecycle.ApprovalRequest, lifecycle.WithdrawalRequest, lifecycle.ReasonRequest,
    lifecycle.RollbackRequest, lifecycle.PromotionRequest, lifecycle.RetentionRequest,
]  # fmt: skip
_OWN_RUNS = "A publisher may for runs it asked for, an operator for all."
_RUN_STATES = [stage.value for stage in Stage]


def document(base: str) -> dict[str, Any]:
    """The description of the API whose routes lie under `base`."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Gallerist",
            "version": "1",
            "description": "Asks for image versions in Azure Compute Galleries and tells what became of them.",
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": base}],
        "security": [{"token": []}, {"header": []}, {"query": []}],
        "paths": _with_roles(_paths()),
        "components": {
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "bearerFormat": "JWT",
                    "description": "Where callers sign in: a token of Entra's with an app role. There is no key then.",
                },
                "header": {"type": "apiKey", "in": "header", "name": "x-functions-key"},
                "query": {"type": "apiKey", "in": "query", "name": "code"},
            },
            "schemas": _schemas(),
        },
    }


def _paths() -> dict[str, Any]:
    run_id = _parameter("id", "path", {"type": "string", "pattern": "^[a-z0-9-]{1,80}$"}, "The run's id.")
    accepted = _answer("Accepted: the run.", "Accepted", Location={"schema": {"type": "string"}})
    return {
        "/publish": {
            "post": _operation(
                "publish",
                "Ask for a version. The same request_id or source again is the same run.",
                {"202": accepted, **_errors(400, 409)},
                requestBody={
                    "required": True,
                    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/PublishRequest"}}},
                },
            )
        },
        "/runs": {
            "get": _operation(
                "listRuns",
                "The runs, newest first, a page at a time.",
                {"200": _answer("A page of runs.", "Runs"), **_errors(400)},
                parameters=[
                    _parameter("image", "query", _IMAGE, "Only runs of this image."),
                    _parameter("state", "query", {"enum": [*_RUN_STATES, "live", "ended"]}, "Only runs in this state."),
                    *_page("run"),
                ],
            )
        },
        "/runs/{id}": {
            "get": _operation(
                "showRun",
                "One run with its history.",
                {"200": _answer("The run.", "RunWithHistory"), **_errors(404)},
                parameters=[run_id],
            )
        },
        "/runs/{id}/retry": {
            "post": _operation(
                "retryRun",
                "Let a run that failed or was cancelled go on, with its source and number.",
                {"202": accepted, **_errors(404, 409)},
                parameters=[run_id],
            )
        },
        "/runs/{id}/cancel": {
            "post": _operation(
                "cancelRun",
                "Let a run end, and undo what it made.",
                {"202": accepted, **_errors(404, 409)},
                parameters=[run_id],
            )
        },
        "/images": {
            "get": _operation("listImages", "The images of the catalog.", {"200": _answer("The images.", "Images")})
        },
        "/images/{image}/versions": {
            "get": _operation(
                "listVersions",
                "The versions of an image, highest first, with their replication.",
                {"200": _answer("The versions.", "Versions"), **_errors(400, 404)},
                parameters=[
                    _parameter("image", "path", _IMAGE, "The image, by the catalog."),
                    _parameter(
                        "limit", "query", {"type": "integer", "minimum": 1, "maximum": 100}, "Versions at most."
                    ),
                ],
            )
        },
        **_lifecycle_paths(),
        "/audit": {
            "get": _operation(
                "showAudit",
                "Who changed what, newest first, a page at a time.",
                {"200": _answer("A page of changes.", "Audit"), **_errors(400)},
                parameters=[
                    _parameter("who", "query", _TEXT_GIVEN, "Only changes by this caller: an object id, key:ROLE, …"),
                    *_page("change"),
                ],
            )
        },
        "/openapi.json": {"get": _operation("describe", "This description.", {"200": {"description": "OpenAPI 3.1."}})},
    }


def _page(what: str) -> list[dict[str, Any]]:
    return [
        _parameter("since", "query", _TIME, f"Only {what}s of then or later."),
        _parameter("until", "query", _TIME, f"Only {what}s of before then."),
        _parameter("limit", "query", {"type": "integer", "minimum": 1, "maximum": 200}, f"How many {what}s a page."),
        _parameter("next", "query", {"type": "string", "pattern": NEXT}, "What the page before this one gave."),
    ]


def _lifecycle_paths() -> dict[str, Any]:
    image = _parameter("image", "path", _IMAGE, "The image, by the catalog.")
    version = _parameter("version", "path", {"type": "string", "pattern": r"^[0-9]+\.[0-9]+\.[0-9]+$"}, "The version.")
    rule = _parameter("rule", "path", {"type": "string", "pattern": "^[a-z0-9-]{1,80}$"}, "The promotion rule.")
    amended = {
        "202": _answer("Runs that see to it.", "Amendment"),
        "200": _answer("It is so already.", "Amendment"),
        **_errors(400, 404, 409),
    }

    def amend(name: str, summary: str, body: type[BaseModel]) -> dict[str, Any]:
        return {"post": _operation(name, summary, amended, parameters=[image, version], requestBody=_takes(body))}

    looked = {"200": _answer("The rules.", "Promotions"), **_errors(400, 404)}
    of_version = "/images/{image}/versions/{version}"
    return {
        f"{of_version}/verdict": amend(
            "verdict", "A test system says what it found, of what a promotion rule of the image requires.", Finding
        ),
        f"{of_version}/approval": amend(
            "approve", "A person approves of a version that others published and judged.", lifecycle.ApprovalRequest
        ),
        f"{of_version}/withdrawal": amend(
            "withdraw", "Take a version out of latest in every region.", lifecycle.WithdrawalRequest
        ),
        f"{of_version}/reinstatement": amend("reinstate", "Undo a withdrawal.", lifecycle.ReasonRequest),
        f"{of_version}/number-release": {
            "post": _operation(
                "releaseNumber",
                "Let the number of a version that the gallery does not hold bind no more; nothing else gets it.",
                {"200": _answer("The number.", "ReleasedNumber"), **_errors(400, 404, 409)},
                parameters=[image, version],
                requestBody=_takes(lifecycle.ReasonRequest),
            )
        },
        "/images/{image}/rollback": {
            "post": _operation(
                "rollBack",
                "Make the good version before the latest one latest again.",
                {
                    "202": _answer("Runs that see to it.", "Rollback"),
                    "200": _answer("What would be done.", "Rollback"),
                    **_errors(400, 404, 409),
                },
                parameters=[image],
                requestBody=_takes(lifecycle.RollbackRequest),
            )
        },
        "/promotions": {
            "get": _operation("listPromotions", "What each rule would move, and what keeps the rest.", looked),
            "post": _operation(
                "promote", "Promote now, by all rules or an image's.", looked,
                requestBody=_takes(lifecycle.PromotionRequest),
            ),
        },
        "/promotions/{rule}/hold": {
            "post": _operation(
                "hold", "Let nothing move by a rule.", looked, parameters=[rule],
                requestBody=_takes(lifecycle.ReasonRequest),
            )
        },
        "/promotions/{rule}/release": {
            "post": _operation("release", "Let a rule go on.", looked, parameters=[rule])
        },
        "/retention": {
            "post": _operation(
                "retain", "Plan retention and, unless it is a dry run, do what is planned.",
                {"200": _answer("The plan.", "Retention"), **_errors(400)},
                requestBody=_takes(lifecycle.RetentionRequest),
            )
        },
    }  # fmt: skip


def _takes(body: type[BaseModel]) -> dict[str, Any]:
    schema = {"$ref": f"#/components/schemas/{body.__name__}"}
    return {"required": True, "content": {"application/json": {"schema": schema}}}


def _operation(name: str, summary: str, answers: dict[str, Any], **rest: Any) -> dict[str, Any]:
    further = (413, 500, 502, 503) if "requestBody" in rest else (500, 502, 503)
    return {"operationId": name, "summary": summary, "responses": {**answers, **_errors(*further)}, **rest}


def _with_roles(paths: dict[str, Any]) -> dict[str, Any]:
    """Each operation with the role that it wants, and what is answered to whoever lacks it."""
    for path, operations in paths.items():
        for method, operation in operations.items():
            if role := ROUTES[f"{method.upper()} {path}"]:
                own = f" {_OWN_RUNS}" if f"{method.upper()} {path}" in OWN_RUNS_ONLY else ""
                operation["description"] = f"Takes the role {role}.{own}"
                operation["x-gallerist-role"] = role.value
                operation["responses"] |= {
                    "401": {"description": "No key or token, or none that is good."},
                    **_errors(403),
                }
            else:
                operation["security"] = []
    return paths


def _parameter(name: str, where: str, schema: dict[str, Any], description: str) -> dict[str, Any]:
    return {"name": name, "in": where, "required": where == "path", "schema": schema, "description": description}


def _answer(description: str, schema: str, **headers: Any) -> dict[str, Any]:
    found: dict[str, Any] = {
        "description": description,
        "content": {"application/json": {"schema": {"$ref": f"#/components/schemas/{schema}"}}},
    }
    return found | ({"headers": headers} if headers else {})


def _errors(*statuses: int) -> dict[str, Any]:
    said = {
        400: "A field is wrong; each is named.",
        403: "The caller lacks the role, or is not among those who may; the message says which.",
        404: "There is none of that name.",
        409: "It contradicts what is.",
        413: "The body is too long.",
        500: "A fault of Gallerist's own; its log has it.",
        502: "Azure refused the pipeline.",
        503: "Azure does not answer now.",
    }
    return {str(status): _answer(said[status], "Error") for status in statuses}


def _object(required: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": required, "required": list(required)}


def _list(items: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": items}


def _schemas() -> dict[str, Any]:
    request = PublishRequest.model_json_schema(ref_template="#/components/schemas/{model}")
    regions = _list({"$ref": "#/components/schemas/RegionProgress"})
    tags = {"type": "object", "additionalProperties": _TEXT}
    source = _object({"kind": {"enum": [kind.value for kind in SourceKind]}, "id": _TEXT, "etag": _MAYBE_TEXT})
    run = {
        "run": _TEXT,
        "image": _TEXT,
        "state": {"enum": _RUN_STATES},
        "source": source,
        "version": _MAYBE_TEXT,
        "definition": _MAYBE_TEXT,
        "regions": regions,
        "created": _TIME,
        "entered": _TIME,
        "due": _TIME,
        "ended": _MAYBE_TIME,
        "note": _TEXT,
        "reason": _MAYBE_TEXT,
        "duplicate_of": _MAYBE_TEXT,
        "request_id": _MAYBE_TEXT,
        "asked_by": _list(_TEXT),
        "purpose": {"enum": ["publish", "promotion", *(purpose.value for purpose in Purpose)]},
        "promotion": _MAYBE_TEXT,
        "tags": tags,
        "url": _TEXT,
    }
    state = {"enum": _RUN_STATES}
    happening = _object(
        {"at": _TIME, "generation": {"type": "integer"}, "stage": state, "led_to": state, "note": _TEXT}
    )
    region = _object({"name": _TEXT, "replicas": {"type": "integer"}, "storage": _TEXT})
    version = {
        "version": _TEXT,
        "state": _TEXT,
        "excluded_from_latest": {"type": "boolean"},
        "published": _MAYBE_TIME,
        "end_of_life": _MAYBE_TIME,
        "regions": regions,
        "run": _MAYBE_TEXT,
        "source": _MAYBE_TEXT,
        "tags": tags,
    }
    image = {
        "image": _TEXT,
        "gallery": _TEXT,
        "definition": _TEXT,
        "drop": _MAYBE_TEXT,
        "route": _TEXT,
        "regions": _list(region),
    }
    fault = _object({"field": _TEXT, "message": _TEXT})
    error = {"code": _TEXT, "message": _TEXT}
    entry = {
        "at": _TIME, "who": _TEXT, "name": _TEXT, "action": _TEXT, "on": _TEXT, "from": _MAYBE_TEXT, "outcome": _TEXT,
        "runs": _list(_TEXT),
    }  # fmt: skip
    begun = {"$ref": "#/components/schemas/Accepted"}
    hold = _object({"why": _TEXT, "by": _TEXT, "at": _TIME}) | {"type": ["object", "null"]}
    promotion = {
        "rule": _TEXT,
        "from": _TEXT,
        "to": _TEXT,
        "have": _MAYBE_TEXT,
        "held": hold,
        "moves": _MAYBE_TEXT,
        "run": {"oneOf": [begun, {"type": "null"}]},
        "why_nothing": _TEXT,
        "candidates": _list(_object({"version": _TEXT, "gates": _list(_TEXT)})),
    }
    retention = {
        "image": _TEXT,
        "fault": _MAYBE_TEXT,
        "versions": _list(_object({"version": _TEXT, "delete": {"type": "boolean"}, "why": _TEXT})),
        "orphans": _list(_object({"kind": _TEXT, "name": _TEXT, "run": _TEXT})),
        "vhds": _list(_TEXT),
        "done": _list(_object({"what": _TEXT, "refused": _MAYBE_TEXT})),
    }
    return {
        **{body.__name__: body.model_json_schema() for body in _BODIES},
        "Amendment": _object({"runs": _list(begun)}),
        "Rollback": _object({"runs": _list(begun), "image": _TEXT, "out": _TEXT, "back_to": _TEXT}),
        "Promotions": _object({"promotions": _list(_object(promotion))}),
        "Retention": _object({"dry_run": {"type": "boolean"}, "images": _list(_object(retention))}),
        **request.pop("$defs"),
        "PublishRequest": request,
        "RegionProgress": _object(
            {
                "region": _TEXT,
                "state": {"enum": [state.value for state in RegionState]},
                "progress": {"type": "integer", "minimum": 0, "maximum": 100},
                "details": _TEXT,
            }
        ),
        "Run": _object(run),
        "RunWithHistory": _object(run | {"history": _list(happening)}),
        "Runs": _object({"runs": _list({"$ref": "#/components/schemas/Run"}), "next": _MAYBE_TEXT}),
        "Accepted": _object({"run": _TEXT, "image": _TEXT, "state": state, "url": _TEXT}),
        "Images": _object({"images": _list(_object(image))}),
        "Versions": _object({"image": _TEXT, "versions": _list(_object(version))}),
        "Audit": _object({"audit": _list(_object(entry)), "next": _MAYBE_TEXT}),
        "ReleasedNumber": _object({"image": _TEXT, "version": _TEXT}),
        "Error": _object(
            {"error": {"type": "object", "properties": error | {"details": _list(fault)}, "required": list(error)}}
        ),
    }
