"""ARM itself, in front of the resource providers: who may ask, what exists, which headers every answer bears."""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from sandbox.arm import api_versions, denials, locks, regions
from sandbox.arm.clock import Clock
from sandbox.arm.compute import Compute, is_action, not_found
from sandbox.arm.denials import Denial
from sandbox.arm.errors import ArmError
from sandbox.arm.kinds import KINDS
from sandbox.arm.locks import Locks
from sandbox.arm.rate_limits import RateLimits
from sandbox.arm.requests import Answer, ArmRequest
from sandbox.arm.resource_id import ResourceId
from sandbox.arm.subscriptions import Call, Subscriptions, json_object, location_of, refused
from sandbox.identity import RESOURCE_MANAGER, ExpiredToken, Identity, InvalidToken, WrongAudience

_METADATA = "/metadata/endpoints"
_STATIC_HEADERS = {
    "Cache-Control": "no-cache",
    "Pragma": "no-cache",
    "Expires": "-1",
    "Strict-Transport-Security": "max-age=31536000; includeSubDomains",
    "X-Content-Type-Options": "nosniff",
    "X-Cache": "CONFIG_NOCACHE",
}


class Gateway:
    """Everything Resource Manager answers, itself or by a resource provider."""

    def __init__(
        self,
        clock: Clock,
        identity: Identity,
        subscriptions: Subscriptions,
        compute: Compute,
        locked: Locks,
        limits: RateLimits,
        denied: Sequence[Denial],
    ) -> None:
        self._clock = clock
        self._identity = identity
        self._subscriptions = subscriptions
        self._compute = compute
        self._locks = locked
        self._limits = limits
        self._denied = denied

    async def app(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI application."""
        response = await self._respond(Request(scope, receive))
        await response(scope, receive, send)

    async def _respond(self, request: Request) -> Response:
        """Answer one request. The work is done off the event loop, since it reads blobs and a database."""
        call = Call(
            method=request.method,
            path=request.url.path,
            query=dict(request.query_params),
            authorization=request.headers.get("authorization"),
            body=await request.body(),
            endpoint=f"{request.url.scheme}://{request.headers['host']}",
            request_id=str(uuid.uuid4()),
        )
        try:
            answer = await run_in_threadpool(self._answer, call)
        except ArmError as error:
            answer = Answer(error.status, error.body, error.headers, gateway=error.gateway)
        return self._response(request, call, answer)

    def _response(self, request: Request, call: Call, answer: Answer) -> Response:
        # The gateway knows one id, a provider's answer two (recorded traffic)
        own = call.request_id if answer.gateway else str(uuid.uuid4())
        correlation = request.headers.get("x-ms-correlation-request-id", own)
        now = self._clock.now()
        headers = _STATIC_HEADERS | {
            "x-ms-request-id": correlation if answer.gateway else call.request_id,
            "x-ms-correlation-request-id": correlation,
            "x-ms-routing-request-id": f"SANDBOX:{now:%Y%m%dT%H%M%SZ}:{correlation}",
            "X-MSEdge-Ref": f"Ref A: {uuid.uuid4().hex.upper()} Ref B: SANDBOX Ref C: {now:%Y-%m-%dT%H:%M:%SZ}",
        }
        if answer.gateway and answer.status >= 400:
            headers["x-ms-failure-cause"] = "gateway"
        if request.headers.get("x-ms-return-client-request-id", "").lower() == "true":
            headers["x-ms-client-request-id"] = request.headers.get("x-ms-client-request-id", "")
        headers |= answer.headers
        if answer.body is None:
            return Response(status_code=answer.status, headers=headers)
        if answer.gateway or answer.compact:
            text = json.dumps(answer.body, separators=(",", ":"), ensure_ascii=False)
        else:
            text = json.dumps(answer.body, indent=2, ensure_ascii=False).replace("\n", "\r\n")
        headers["Content-Type"] = "application/json; charset=utf-8"
        return Response(text, status_code=answer.status, headers=headers)

    def _answer(self, call: Call) -> Answer:
        if call.path.rstrip("/").lower() == _METADATA:
            return Answer(200, self._metadata(call), gateway=True)
        self._authenticate(call)
        found = ResourceId.parse(call.path)
        buckets = self._limits.admit(
            found.subscription.lower() if found else "", call.method, _operation(call, found), self._clock.now()
        )
        try:
            answer = self._admitted(call, found)
        except ArmError as error:
            if not error.gateway:
                error.headers = buckets | error.headers
            raise
        # Recorded: ARM's own 204s and errors say nothing of buckets
        if answer.gateway and answer.status not in (200, 201, 202):
            return answer
        return replace(answer, headers=buckets | answer.headers)

    def _admitted(self, call: Call, resource_id: ResourceId | None) -> Answer:
        api_version = call.query.get("api-version", "")
        if not api_version:
            raise refused(
                400,
                "MissingApiVersionParameter",
                "The api-version query parameter (?api-version=) is required for all requests.",
            )
        if not api_versions.is_well_formed(api_version):
            raise refused(
                400,
                "InvalidApiVersionParameter",
                f"The api-version '{api_version}' is invalid. The supported versions are "
                f"'{','.join(reversed(api_versions.GALLERY))}'.",
            )
        if resource_id is not None and self._locks.named(call.path):
            denials.check(self._denied, call.method, resource_id, b"", self._identity.object_id, kind=locks.TYPE)
            return self._locks.answer(call)
        if resource_id is not None and resource_id.namespace is None:
            self._locks.check(call.method, resource_id, call.path)
        answer = self._subscriptions.answer(call)
        if answer is not None:
            return answer
        if resource_id is None:
            raise refused(404, "NotFound", f"The requested path '{call.path}' is not known to the sandbox.")
        return self._provider(call, resource_id)

    def _metadata(self, call: Call) -> dict[str, Any]:
        """What a client learns of a cloud before it has a token, in the form of api-version 2022-09-01."""
        return {
            "name": "GalleristSandbox",
            "portal": call.endpoint,
            "resourceManager": call.endpoint,
            "graph": call.endpoint,
            "graphAudience": call.endpoint,
            "activeDirectoryDataLake": "",
            "batch": RESOURCE_MANAGER[0],
            "media": RESOURCE_MANAGER[0],
            "vmImageAliasDoc": "",
            "sqlManagement": "",
            "microsoftGraphResourceId": call.endpoint,
            "authentication": {
                "loginEndpoint": call.endpoint,
                "audiences": list(RESOURCE_MANAGER),
                "tenant": "common",
                "identityProvider": "AAD",
            },
            "suffixes": {},
        }

    def _authenticate(self, call: Call) -> None:
        """Raises ArmError 401, with ARM's codes and words from memory of the service: no recording has one."""
        scheme, _, token = (call.authorization or "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise self._unauthorized(
                "AuthenticationFailed", "Authentication failed. The 'Authorization' header is missing."
            )
        try:
            self._identity.verify(token, RESOURCE_MANAGER)
        except WrongAudience as error:
            allowed = ",".join(f"'{audience}'" for audience in RESOURCE_MANAGER)
            raise self._unauthorized(
                "InvalidAuthenticationTokenAudience",
                f"The access token has been obtained for wrong audience or resource '{error.audience}'. It should "
                f"exactly match with one of the allowed audiences {allowed}.",
            ) from error
        except ExpiredToken as error:
            expired = datetime.fromtimestamp(error.expired, UTC)
            raise self._unauthorized(
                "ExpiredAuthenticationToken",
                f"The access token expiry UTC time '{expired:%m/%d/%Y %I:%M:%S %p}' is earlier than current UTC time "
                f"'{datetime.now(UTC):%m/%d/%Y %I:%M:%S %p}'.",
            ) from error
        except InvalidToken as error:
            raise self._unauthorized("InvalidAuthenticationToken", "The access token is invalid.") from error

    def _unauthorized(self, code: str, message: str) -> ArmError:
        challenge = (
            f'Bearer authorization_uri="https://login.windows.net/{self._identity.tenant_id}", error="invalid_token", '
            f'error_description="{message}"'
        )
        return ArmError(401, code, message, gateway=True, headers={"WWW-Authenticate": challenge})

    def _provider(self, call: Call, resource_id: ResourceId) -> Answer:
        self._subscriptions.existing(resource_id)
        request = ArmRequest(call.method, resource_id, call.query, call.body, call.endpoint, call.request_id)
        is_operation = resource_id.types[0].lower() == "locations"
        target = replace(resource_id, types=resource_id.types[:-1]) if is_action(resource_id) else resource_id
        if not is_operation or len(resource_id.types) != 2 or resource_id.is_collection:
            self._check_type(request, target)
        denials.check(self._denied, call.method, target, call.body, self._identity.object_id)
        self._locks.check(call.method, target, call.path)
        return self._compute.handle(request)

    def _check_type(self, request: ArmRequest, target: ResourceId) -> None:
        """Raises ArmError for a type, a place or an api-version that ARM does not know."""
        supported = api_versions.SUPPORTED.get(target.type.lower())
        if supported is None or (target.resource_group is None and not target.is_collection):
            kind = "/".join(target.types)
            raise refused(
                404,
                "InvalidResourceType",
                f"The resource type '{kind}' could not be found in the namespace '{target.namespace}' for api "
                f"version '{request.api_version}'. The supported api-versions are ''.",
            )
        if target.resource_group is not None:
            self._subscriptions.existing_group(target)
        if request.method in ("PUT", "PATCH") and target.type.lower() in KINDS and not target.is_collection:
            self._check_change(request)
        if request.api_version not in supported:
            location = str(json_object(request.body).get("location", "")) if request.body else ""
            raise refused(  # flatcar/mantle#520
                400,
                "NoRegisteredProviderFound",
                f"No registered resource provider found for location '{location}' and API version "
                f"'{request.api_version}' for type '{'/'.join(target.types)}'. The supported api-versions are "
                f"'{', '.join(supported)}'. The supported locations are '{', '.join(regions.LOCATIONS)}'.",
            )

    def _check_change(self, request: ArmRequest) -> None:
        """Raises ArmError where ARM would not let a PUT or PATCH pass to the provider."""
        sent = json_object(request.body)
        parent = request.id.parent
        if parent is not None and self._compute.find(parent) is None:
            if request.method == "PATCH":
                raise not_found(request.id)
            raise refused(
                404,
                "ParentResourceNotFound",
                "Can not perform requested operation on nested resource. Parent resource "
                f"'{'/'.join(parent.names)}' not found.",
            )
        if request.method == "PATCH":
            return
        kind = KINDS[request.id.type.lower()]
        location = location_of(sent, kind.resource_type)
        existing = self._compute.find(request.id)
        if existing is not None and existing.location != location:
            raise refused(
                409,
                "InvalidResourceLocation",
                f"The resource '{existing.name}' already exists in location '{existing.location}' in resource group "
                f"'{request.id.resource_group}'. A resource with the same name cannot be created in location "
                f"'{location}'. Please select a new resource name.",
            )


def _operation(call: Call, resource_id: ResourceId | None) -> str:
    """A request as ARM's throttling names it: `Microsoft.Compute/galleries/read`."""
    if resource_id is None or resource_id.namespace is None:
        return f"{call.method}{call.path}"
    spelt = api_versions.SPELLING.get(resource_id.type.lower(), resource_id.type)
    return f"{spelt}/{denials.verb(call.method)}"
