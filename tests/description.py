"""Judges answers of Azure Resource Manager by Microsoft's API description: the OpenAPI 2.0 documents of Microsoft.Compute.

The documents are no part of this project. They are looked for in the folder that GALLERIST_SHARED names, else in
`shared` beside this repository. Where there are none, nothing is judged.

Only answers are judged: tests send wrong requests on purpose.
"""

from __future__ import annotations

import json
import os
import re
import threading
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from starlette.types import Message, Receive, Scope, Send

ROOT = Path(__file__).parent.parent
SHARED = Path(os.environ.get("GALLERIST_SHARED") or ROOT.parent / "shared")
SPECIFICATION = SHARED / "api" / "specification"
COMPUTE = SPECIFICATION / "compute" / "resource-manager" / "Microsoft.Compute"
ABSENT = f"the API description is not at {SPECIFICATION}"

# By resource type, the documents at hand, oldest first: an api-version is judged by the newest that is not newer, or by
# the oldest. Later ones add properties, they do not change these.
DOCUMENTS = {
    "galleries": [
        ("2023-07-03", "GalleryRP/stable/2023-07-03/gallery.json"),
        ("2024-03-03", "GalleryRP/stable/2024-03-03/gallery.json"),
    ],
    "images": [("2024-07-01", "ComputeRP/stable/2024-07-01/image.json")],
    "virtualmachines": [("2024-07-01", "ComputeRP/stable/2024-07-01/virtualMachine.json")],
    "disks": [("2024-03-02", "DiskRP/stable/2024-03-02/disk.json")],
    "snapshots": [("2024-03-02", "DiskRP/stable/2024-03-02/snapshot.json")],
}
ERROR = (COMPUTE / "common-types/v1/common.json", "CloudError")
OPERATION = (SPECIFICATION / "common-types/resource-management/v6/types.json", "OperationStatusResult")

# Properties younger than the documents, with the api-version that brought them: Microsoft's docs of soft delete and
# of image versions.
NEWER = {
    ("GalleryImageVersionPublishingProfile", "storageAccountStrategy"): "2025-03-03",
    ("SoftDeletePolicy", "retentionPeriodInDays"): "2026-03-03",
    ("SoftDeletePolicy", "gracePeriodInDays"): "2026-03-03",
    ("GallerySoftDeletedResourceProperties", "consumptionEndTime"): "2026-03-03",
    ("GallerySoftDeletedResourceProperties", "hardDeletionTargetTime"): "2026-03-03",
}
# Where the real service itself departs from its description: recorded traffic, and the docs of throttling.
DEVIATIONS = {
    "a shared gallery answers 202 with an empty body": r"POST \S+/share\?\S* 202 \$: no body",
    "Compute throttles with a bare error": r"\S+ \S+ 429 \$\.\w+: not described",
    # Microsoft's page on soft delete
    "a soft-deleted version is deleted for good": r"(?i)DELETE \S+/softDeletedArtifactTypes/\S+ 20\d nothing describes .*",
    # Traffic of 2026, by 2024-03-03
    "a version tells of its validation": r"(GET|PUT|PATCH) \S+ 200 \$\S*validationsProfile\.validationOperationStatus: not described",
    "an operation on a disk or a machine tells its outcome": r"GET \S+/(disk)?operations/\S+ 200 \$\.properties: not described",
}
# What Microsoft.Compute's documents do not reach: ARM's own resources.
UNDESCRIBED = re.compile(
    r"(?i)/subscriptions(/[^/]+)?(/resourcegroups(/[^/]+)?(/resources)?|/operationresults/[^/]+|/resources|/locations"
    r"|/providers(/[^/]+)?)?/?|/metadata/endpoints|/tenants|/subscriptions/.+/providers/Microsoft\.Authorization/locks(/[^/]+)?"
)
OPERATION_PATH = re.compile(
    r"(?i)/subscriptions/[^/]+/providers/Microsoft\.Compute/locations/[^/]+/(\w+/)?(caps|disk)?operations/[^/]+"
)
TYPE = re.compile(r"(?i)/providers/Microsoft\.Compute/(\w+)")


@dataclass(frozen=True)
class Exchange:
    """One request and its answer. Header names are lower case; `path` bears no query."""

    method: str
    path: str
    query: dict[str, str]
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def name(self) -> str:
        query = "&".join(f"{key}={value}" for key, value in self.query.items())
        return f"{self.method} {self.path}?{query} {self.status}"


class Judge:
    """Takes exchanges and keeps count. `violations` holds what no deviation of the real service excuses."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.judged = self.undescribed = 0
        self.operations: Counter[str] = Counter()
        self.deviations: Counter[str] = Counter()
        self.violations: list[str] = []
        self._documents: dict[Path, dict[str, Any]] = {}
        self._routes: dict[Path, list[tuple[re.Pattern[str], str, dict[str, Any]]]] = {}

    def take(self, exchange: Exchange) -> list[str]:
        """Judge one exchange; what is wrong with it."""
        with self._lock:
            found = []
            for fault in self._faults(exchange):
                text = f"{exchange.name} {fault}"
                excuse = next(
                    (why for why, form in DEVIATIONS.items() if re.fullmatch(form, text, re.IGNORECASE)), None
                )
                if excuse is None:
                    found.append(text)
                else:
                    self.deviations[excuse] += 1
            self.violations += found
            return found

    def watching(self, app: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
        """The method `app` of an ASGI application, its answers judged before they are sent."""

        async def watched(gateway: object, scope: Scope, receive: Receive, send: Send) -> None:
            head: Message = {}
            body = b""

            async def judged(message: Message) -> None:
                nonlocal head, body
                if message["type"] == "http.response.start":
                    head = message
                else:
                    body += message.get("body", b"")
                    if not message.get("more_body"):
                        headers = {name.decode().lower(): value.decode() for name, value in head["headers"]}
                        query = dict(parse_qsl(scope["query_string"].decode(), keep_blank_values=True))
                        self.take(Exchange(scope["method"], scope["path"], query, head["status"], headers, body))
                await send(message)

            await app(gateway, scope, receive, judged)

        return watched

    def _faults(self, exchange: Exchange) -> Iterator[str]:
        if exchange.method == "HEAD":
            self.undescribed += 1
            return
        route = self._route(exchange)
        if route is None:
            yield from self._faults_off_route(exchange)
            return
        self.judged += 1
        file, template, operation = route
        self.operations[f"{exchange.method} {template}"] += 1
        responses = operation["responses"]
        if str(exchange.status) in responses:
            schema = responses[str(exchange.status)].get("schema")
            if schema is None:
                if exchange.body:
                    yield "$: a body where none is described"
                return
            yield from self._body_faults(exchange, file, schema)
            started = operation.get("x-ms-long-running-operation") and exchange.status in (201, 202)
            if started and not {"azure-asyncoperation", "location"} & exchange.headers.keys():
                yield "headers: a long-running operation without a place to ask for it"
        elif exchange.status >= 400:
            # The documents of disks describe no error; theirs look as all others do
            schema = responses.get("default", {}).get("schema")
            yield from self._body_faults(exchange, file, schema) if schema else self._named_faults(exchange, ERROR)
        else:
            yield "status: not described"

    def _faults_off_route(self, exchange: Exchange) -> Iterator[str]:
        if OPERATION_PATH.fullmatch(exchange.path) and exchange.status == 200 and "monitor" not in exchange.query:
            self.judged += 1
            self.operations["GET an operation's status"] += 1
            yield from self._named_faults(exchange, OPERATION)
        elif exchange.status >= 400:
            self.judged += 1
            self.operations["an error of ARM's own"] += 1
            yield from self._named_faults(exchange, ERROR)
        elif OPERATION_PATH.fullmatch(exchange.path) or UNDESCRIBED.fullmatch(exchange.path):
            self.undescribed += 1
        else:
            yield "nothing describes this request"

    def _route(self, exchange: Exchange) -> tuple[Path, str, dict[str, Any]] | None:
        kind = TYPE.search(exchange.path)
        documents = DOCUMENTS.get(kind[1].lower()) if kind else None
        if documents is None:
            return None
        asked = exchange.query.get("api-version", "")
        file = COMPUTE / next((path for since, path in reversed(documents) if since <= asked), documents[0][1])
        if file not in self._routes:
            self._routes[file] = [
                (re.compile("(?i)" + re.sub(r"\\{\w+\\}", "[^/]+", re.escape(template)) + "/?"), template, operations)
                for template, operations in self._document(file)["paths"].items()
            ]
        for form, template, operations in self._routes[file]:
            if form.fullmatch(exchange.path) and exchange.method.lower() in operations:
                return file, template, operations[exchange.method.lower()]
        return None

    def _document(self, file: Path) -> dict[str, Any]:
        if file not in self._documents:
            self._documents[file] = json.loads(file.read_text(encoding="utf-8-sig"))
        return self._documents[file]

    def _named_faults(self, exchange: Exchange, named: tuple[Path, str]) -> Iterator[str]:
        file, name = named
        yield from self._body_faults(exchange, file, {"$ref": f"#/definitions/{name}"})

    def _body_faults(self, exchange: Exchange, file: Path, schema: dict[str, Any]) -> Iterator[str]:
        if not exchange.body:
            yield "$: no body"
            return
        if not exchange.headers.get("content-type", "").startswith("application/json"):
            yield "headers: the body is not declared to be JSON"
        yield from self._value_faults(
            json.loads(exchange.body), file, schema, "$", exchange.query.get("api-version", "")
        )

    def _value_faults(
        self, value: Any, file: Path, schema: dict[str, Any], where: str, api_version: str
    ) -> Iterator[str]:
        names, file, schema = self._resolved(file, schema)
        kind = schema.get("type", "object" if "properties" in schema or "allOf" in schema else None)
        expected = {
            "object": dict, "array": list, "string": str, "boolean": bool, "integer": int, "number": (int, float),
        }.get(kind, object)  # fmt: skip
        if not isinstance(value, expected) or (kind in ("integer", "number") and isinstance(value, bool)):
            yield f"{where}: {json.dumps(value)[:80]} is no {kind}"
            return
        if "enum" in schema and value not in schema["enum"]:
            yield f"{where}: {value!r} is none of {', '.join(map(str, schema['enum']))}"
        if schema.get("format") == "date-time" and not _is_instant(value):
            yield f"{where}: {value!r} is no date and time"
        if "pattern" in schema and not re.search(schema["pattern"], value):
            yield f"{where}: {value!r} does not have the form {schema['pattern']}"
        if kind in ("integer", "number") and not schema.get("minimum", value) <= value <= schema.get("maximum", value):
            yield f"{where}: {value} is out of bounds"
        if kind == "array":
            for n, item in enumerate(value):
                yield from self._value_faults(item, file, schema.get("items", {}), f"{where}[{n}]", api_version)
        if kind != "object":
            return
        properties, required, others = self._members(file, schema)
        for key in required - value.keys():
            yield f"{where}.{key}: required, and not there"
        for key, member in value.items():
            if key in properties:
                yield from self._value_faults(member, *properties[key], f"{where}.{key}", api_version)
            elif isinstance(others, tuple):
                yield from self._value_faults(member, *others, f"{where}.{key}", api_version)
            elif not others and not any(api_version >= NEWER.get((name, key), "~") for name in names):
                yield f"{where}.{key}: not described"

    def _resolved(self, file: Path, schema: dict[str, Any]) -> tuple[list[str], Path, dict[str, Any]]:
        """What a chain of references leads to, the names it passed and the file it ended in."""
        names = []
        while "$ref" in schema:
            address, _, pointer = schema["$ref"].partition("#")
            file = (file.parent / address).resolve() if address else file
            schema = self._document(file)
            for part in pointer.strip("/").split("/"):
                schema = schema[part]
                names.append(part)
        return names, file, schema

    def _members(
        self, file: Path, schema: dict[str, Any]
    ) -> tuple[dict[str, tuple[Path, dict[str, Any]]], set[str], tuple[Path, dict[str, Any]] | bool]:
        """An object's properties, its required ones, and what others are: a schema, anything, or nothing."""
        properties = {key: (file, member) for key, member in schema.get("properties", {}).items()}
        required = set(schema.get("required", []))
        free = schema.get("additionalProperties")
        others: tuple[Path, dict[str, Any]] | bool = (file, free) if isinstance(free, dict) else bool(free)
        for base in schema.get("allOf", []):
            _, base_file, base_schema = self._resolved(file, base)
            inherited, needed, _ = self._members(base_file, base_schema)
            properties = inherited | properties
            required |= needed
        # An object of which nothing is said may hold anything
        return properties, required, others or not properties


def _is_instant(value: str) -> bool:
    # Seven digits of a second, as .NET writes them, are one more than Python reads
    try:
        return datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", value)).tzinfo is not None
    except ValueError:
        return False
