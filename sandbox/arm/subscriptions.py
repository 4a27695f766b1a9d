"""What is above the resource providers: tenants, subscriptions, their locations and providers, resource groups."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from sandbox.arm import api_versions, regions
from sandbox.arm.clock import Clock
from sandbox.arm.errors import ArmError
from sandbox.arm.kinds import NAMESPACE
from sandbox.arm.requests import Answer
from sandbox.arm.resource import Operation, Resource
from sandbox.arm.resource_id import ResourceId
from sandbox.arm.store import Store
from sandbox.identity import Identity

GROUP_TYPE = "Microsoft.Resources/resourceGroups"
SUBSCRIPTION_TYPE = "Microsoft.Resources/subscriptions"
GROUP_DELETE_SECONDS = 30.0  # a guess; recorded ones take minutes, most of them for virtual machines
GROUP_RETRY_AFTER_SECONDS = 15.0  # recorded traffic

_COLLECTIONS = re.compile(
    r"(?i)/subscriptions/(?P<subscription>[^/]+)/(?P<what>resourcegroups|locations|providers|resources)/?"
)
_PROVIDER = re.compile(r"(?i)/subscriptions/(?P<subscription>[^/]+)/providers/(?P<namespace>[^/]+)(/register)?/?")
_OPERATION_RESULTS = re.compile(r"(?i)/subscriptions/[^/]+/operationresults/(?P<job>[^/]+)")


@dataclass(frozen=True)
class Call:
    """A request as it came over the wire."""

    method: str
    path: str
    query: dict[str, str]
    authorization: str | None
    body: bytes
    endpoint: str
    request_id: str


class Subscriptions:
    """Everything under `/subscriptions` that no resource provider answers, and `/tenants`."""

    def __init__(self, store: Store, clock: Clock, identity: Identity) -> None:
        self._store = store
        self._clock = clock
        self._identity = identity

    def answer(self, call: Call) -> Answer | None:
        """The answer to a call that is not for a resource provider; None for one that is. Raises ArmError."""
        path = call.path.rstrip("/").lower()
        if path == "/subscriptions":
            return self._all(call)
        if path == "/tenants":
            _only(call, "GET")
            tenant = self._identity.tenant_id
            return Answer(200, {"value": [{"id": f"/tenants/{tenant}", "tenantId": tenant}]}, gateway=True)
        if found := _OPERATION_RESULTS.fullmatch(call.path):
            return self._group_deletion(call, found["job"])
        if found := _COLLECTIONS.fullmatch(call.path):
            subscription_id = ResourceId(found["subscription"])
            self.existing(subscription_id)
            _only(call, "GET")
            return Answer(200, {"value": self._collection(found["what"].lower(), subscription_id, call)}, gateway=True)
        if found := _PROVIDER.fullmatch(call.path):
            self.existing(ResourceId(found["subscription"]))
            return Answer(200, _provider(found["subscription"], found["namespace"]), gateway=True)
        resource_id = ResourceId.parse(call.path)
        if resource_id is None:
            raise refused(404, "NotFound", f"The requested path '{call.path}' is not known to the sandbox.")
        return None if resource_id.namespace is not None else self._resource(call, resource_id)

    def existing(self, resource_id: ResourceId) -> Resource:
        """The subscription a resource is in. Raises ArmError where there is none."""
        subscription = self._store.resource(ResourceId(resource_id.subscription).key)
        if subscription is None:
            raise refused(
                404, "SubscriptionNotFound", f"The subscription '{resource_id.subscription}' could not be found."
            )
        return subscription

    def existing_group(self, resource_id: ResourceId) -> Resource:
        """The resource group a resource is in. Raises ArmError where there is none."""
        self.existing(resource_id)
        group = self._store.resource(ResourceId(resource_id.subscription, resource_id.resource_group).key)
        if group is None:
            raise refused(
                404, "ResourceGroupNotFound", f"Resource group '{resource_id.resource_group}' could not be found."
            )
        return group

    def _collection(self, what: str, subscription_id: ResourceId, call: Call) -> list[dict[str, Any]]:
        if what == "resourcegroups":
            found = self._store.resources(f"{subscription_id.key}/resourcegroups/")
            return [_group_body(one) for one in found if one.type == GROUP_TYPE]
        if what == "locations":
            return [_location_body(subscription_id, name) for name in regions.LOCATIONS]
        if what == "providers":
            return [_provider(subscription_id.subscription, NAMESPACE)]
        group = re.search(r"(?i)resourceGroup eq '([^']+)'", call.query.get("$filter", ""))
        prefix = ResourceId(subscription_id.subscription, group[1] if group else None).key
        return [
            {"id": one.id, "name": one.name, "type": one.type, "location": one.location, "tags": one.tags or {}}
            for one in self._store.resources(f"{prefix}/")
            # The list holds tracked resources, and of those what stands at the top or is nested in it
            if one.type.startswith(NAMESPACE) and "softDeletedArtifactTypes" not in one.type
        ]

    def _all(self, call: Call) -> Answer:
        _only(call, "GET")
        found = [one for one in self._store.resources("/subscriptions/") if one.type == SUBSCRIPTION_TYPE]
        value = [self._subscription_body(one) for one in found]
        return Answer(200, {"value": value, "count": {"type": "Total", "value": len(value)}}, gateway=True)

    def _subscription_body(self, subscription: Resource) -> dict[str, Any]:
        return {
            "id": subscription.id,
            "authorizationSource": "RoleBased",
            "managedByTenants": [],
            "subscriptionId": subscription.name,
            "tenantId": self._identity.tenant_id,
            "displayName": "Gallerist sandbox",
            "state": "Enabled",
            "subscriptionPolicies": {
                "locationPlacementId": "Public_2014-09-01",
                "quotaId": "PayAsYouGo_2014-09-01",
                "spendingLimit": "Off",
            },
        }

    def _resource(self, call: Call, resource_id: ResourceId) -> Answer:
        """A subscription or a resource group."""
        if resource_id.resource_group is not None:
            return self._group(call, resource_id)
        subscription = self.existing(resource_id)
        _only(call, "GET")
        return Answer(200, self._subscription_body(subscription), gateway=True)

    def _group(self, call: Call, group_id: ResourceId) -> Answer:
        name = str(group_id.resource_group)
        if call.method == "PUT":
            return self._put_group(call, group_id, name)
        group = self.existing_group(group_id)
        if call.method == "GET":
            return Answer(200, _group_body(group), gateway=True)
        if call.method == "HEAD":
            return Answer(204, gateway=True)
        _only(call, "DELETE")
        # All that is in it goes at once, only the answer takes its time: a simplification
        with self._store.transaction():
            for resource in self._store.resources(f"{group_id.key}/"):
                self._store.remove(resource.id.lower())
            self._store.remove(group_id.key)
            now = self._clock.now()
            operation = Operation(
                name=call.request_id,
                subscription=group_id.subscription,
                kind="operationresults",
                start=now,
                end=self._clock.after(now, GROUP_DELETE_SECONDS),
            )
            self._store.put_operation(operation)
        return Answer(202, None, self._group_deletion_headers(call, operation), gateway=True)

    def _group_deletion(self, call: Call, job: str) -> Answer:
        _only(call, "GET")
        operation = self._store.operation(job)
        if operation is None:
            raise refused(404, "NotFound", "The operation results were not found.")
        if operation.is_over(self._clock.now()):
            return Answer(200, gateway=True)
        return Answer(202, None, self._group_deletion_headers(call, operation), gateway=True)

    def _group_deletion_headers(self, call: Call, operation: Operation) -> dict[str, str]:
        path = f"/subscriptions/{operation.subscription}/operationresults/{operation.name}"
        return {
            "Location": f"{call.endpoint}{path}?api-version={call.query['api-version']}",
            "Retry-After": str(self._clock.retry_after(GROUP_RETRY_AFTER_SECONDS)),
        }

    def _put_group(self, call: Call, group_id: ResourceId, name: str) -> Answer:
        sent = json_object(call.body)
        location = location_of(sent, GROUP_TYPE)
        with self._store.transaction():
            subscription_id = ResourceId(group_id.subscription)
            if self._store.resource(subscription_id.key) is None:
                self._store.put(
                    subscription_id.key,
                    Resource(id=str(subscription_id), name=group_id.subscription, type=SUBSCRIPTION_TYPE, location=""),
                )
            existing = self._store.resource(group_id.key)
            if existing is not None and existing.location != location:
                raise refused(
                    409,
                    "InvalidResourceGroupLocation",
                    f"Invalid resource group location '{location}'. The Resource group already exists in location "
                    f"'{existing.location}'.",
                )
            group = Resource(
                id=existing.id if existing else str(group_id),
                name=existing.name if existing else name,
                type=GROUP_TYPE,
                location=location,
                tags=sent.get("tags"),
            )
            self._store.put(group_id.key, group)
        return Answer(200 if existing else 201, _group_body(group), gateway=True)


def location_of(sent: dict[str, Any], kind: str) -> str:
    """The location a body gives, in its short form. Raises ArmError where it gives none, or none that is known."""
    location = sent.get("location")
    if not location or not isinstance(location, str):
        raise refused(400, "LocationRequired", "The location property is required for this definition.")
    if not regions.is_known(location):
        raise refused(
            400,
            "LocationNotAvailableForResourceType",
            f"The provided location '{location}' is not available for resource type '{kind}'. List of available "
            f"regions for the resource type is '{','.join(regions.LOCATIONS)}'.",
        )
    return regions.normalised(location)


def json_object(raw: bytes) -> dict[str, Any]:
    """A body as the gateway reads it. Raises ArmError 400 for what is no JSON object."""
    try:
        value = json.loads(raw or b"{}")
    except ValueError as error:
        raise refused(
            400, "InvalidRequestContent", f"The request content was invalid and could not be deserialized: '{error}'."
        ) from error
    if not isinstance(value, dict):
        raise refused(
            400,
            "InvalidRequestContent",
            "The request content was invalid and could not be deserialized: 'a JSON object is expected.'",
        )
    return value


def _group_body(group: Resource) -> dict[str, Any]:
    body: dict[str, Any] = {"id": group.id, "name": group.name, "type": group.type, "location": group.location}
    if group.tags is not None:
        body["tags"] = group.tags
    return body | {"properties": {"provisioningState": "Succeeded"}}


def _only(call: Call, method: str) -> None:
    if call.method != method:
        raise refused(405, "MethodNotAllowed", f"The method '{call.method}' is not supported.")


def refused(status: int, code: str, message: str) -> ArmError:
    """An error of the gateway's own."""
    return ArmError(status, code, message, gateway=True)


def _location_body(subscription_id: ResourceId, name: str) -> dict[str, Any]:
    display = regions.display_name(name)
    return {
        "id": f"{subscription_id}/locations/{name}",
        "name": name,
        "type": "Region",
        "displayName": display,
        "regionalDisplayName": display,
        "metadata": {"regionType": "Physical", "regionCategory": "Recommended"},
    }


def _provider(subscription: str, namespace: str) -> dict[str, Any]:
    """A resource provider with its types. All are registered; only Microsoft.Compute has types here."""
    types: list[dict[str, Any]] = []
    if namespace.lower() == NAMESPACE.lower():
        namespace = NAMESPACE
        for kind, versions in api_versions.SUPPORTED.items():
            spelt = api_versions.SPELLING[kind].removeprefix(f"{NAMESPACE}/")
            locations = [regions.display_name(name) for name in regions.LOCATIONS]
            types.append({"resourceType": spelt, "locations": locations, "apiVersions": list(reversed(versions))})
    return {
        "id": f"/subscriptions/{subscription}/providers/{namespace}",
        "namespace": namespace,
        "resourceTypes": types,
        "registrationState": "Registered",
    }
