"""Microsoft.Compute: its resource types over the store, its long-running operations."""

from __future__ import annotations

import base64
import dataclasses
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sandbox.arm import (
    bodies,
    definitions,
    disks,
    galleries,
    images,
    operation_urls,
    soft_delete,
    sources,
    versions,
    virtual_machines,
)
from sandbox.arm.cache_lag import CacheLag, Lags
from sandbox.arm.clock import Clock
from sandbox.arm.errors import ArmError, concurrent_request, invalid_parameter
from sandbox.arm.inventory import Inventory
from sandbox.arm.kinds import KINDS, NAMESPACE, OPERATION_POLICIES, Kind
from sandbox.arm.rate_limits import RateLimits
from sandbox.arm.replication import RegionRule
from sandbox.arm.requests import Answer, ArmRequest
from sandbox.arm.resource import Draft, Operation, Pending, Resource
from sandbox.arm.resource_id import ResourceId
from sandbox.arm.store import Store
from sandbox.arm.vhd import VhdFault

PAGE_SIZE = 1_000  # a guess: no recorded list was long enough to be cut

_Sizes = dict[str, int | VhdFault | None]


@dataclass(frozen=True)
class Control:
    """What people have a say in: the fate of a version's region, the length of a page, the lags of the cache."""

    rule_for: Callable[[str, str], RegionRule | None]
    page_size: Callable[[], int]
    lags: Callable[[], Lags]


class Compute:
    """The resource provider."""

    def __init__(self, store: Store, clock: Clock, inventory: Inventory, limits: RateLimits, control: Control) -> None:
        self._store = store
        self._clock = clock
        self._inventory = inventory
        self._limits = limits
        self._control = control
        self._cache = CacheLag()

    def find(self, resource_id: ResourceId) -> Resource | None:
        """The resource as of now, or None."""
        return self._inventory.find(resource_id)

    def handle(self, request: ArmRequest) -> Answer:
        """Answer a request for a resource, a collection or an operation. Raises ArmError."""
        kind = request.id.type.lower()
        if request.id.types[0].lower() == "locations":
            return self._operation_status(request)
        if kind == soft_delete.TYPE.lower():
            return self._soft_deleted(request)
        if kind in KINDS:
            return self._resource(KINDS[kind], request)
        return self._action(request)

    def _resource(self, kind: Kind, request: ArmRequest) -> Answer:
        if request.id.is_collection:
            return self._list(kind, request)
        answer = {
            "GET": self._get,
            "PUT": self._change,
            "PATCH": self._change,
            "DELETE": self._delete,
        }.get(request.method)
        if answer is None:
            raise _not_supported(request.method)
        return answer(kind, request)

    # --- reading

    def _get(self, kind: Kind, request: ArmRequest) -> Answer:
        resource = self.find(request.id)
        if resource is None or self._cache.hides(request.id.key, self._clock.now()):
            raise not_found(request.id)
        return Answer(200, self._body(resource, request), self._limit(kind.policies.get, request))

    def _list(self, kind: Kind, request: ArmRequest) -> Answer:
        if request.method != "GET":
            raise _not_supported(request.method)
        in_group = request.id.resource_group is not None
        if in_group:
            found = self._inventory.below(f"{request.id.key}/", kind.resource_type)
        else:
            found = self._inventory.in_subscription(request.id.subscription, kind.resource_type)
        page, more = self._page(found, request)
        value = [self._body(resource, request) for resource in page]
        if len(request.id.types) == 1:
            # Recorded traffic shows the resource group in capitals in these lists
            for body in value:
                body["id"] = _with_upper_case_group(body["id"])
        headers = self._limit(kind.policies.list if in_group else kind.policies.list_all, request)
        cached = not in_group or (kind.cached_since is not None and request.api_version >= kind.cached_since)
        return self._list_answer(value, more, headers, cached=cached)

    def _page(self, found: list[Resource], request: ArmRequest) -> tuple[list[Resource], str | None]:
        """The resources of the page asked for, and the URL of the next. Raises ArmError for a token that is none."""
        size = self._control.page_size()
        token = request.query.get("$skiptoken")
        if token is not None:
            try:
                last = base64.b64decode(token, altchars=b"-_", validate=True).decode()
            except ValueError as error:
                raise ArmError(400, "InvalidSkipToken", f"The skip token '{token}' is invalid.") from error
            found = [one for one in found if one.id.lower() > last]
        if len(found) <= size:
            return found, None
        page = found[:size]
        token = base64.urlsafe_b64encode(page[-1].id.lower().encode()).decode()
        return page, f"{request.endpoint}{request.id}?api-version={request.api_version}&$skiptoken={token}"

    def _list_answer(
        self, value: list[dict[str, Any]], more: str | None, headers: dict[str, str], *, cached: bool
    ) -> Answer:
        body: dict[str, Any] = {"value": value}
        if more is not None:
            body["nextLink"] = more
        if cached:
            headers = headers | {"x-ms-original-request-ids": str(uuid.uuid4())}
        return Answer(200, body, headers, compact=cached)

    def _soft_deleted(self, request: ArmRequest) -> Answer:
        """The soft-deleted versions of a definition: to be listed, and to be deleted for good (Microsoft's page)."""
        policies = KINDS[versions.TYPE.lower()].policies
        if request.id.is_collection and request.method == "GET":
            found = self._inventory.below(f"{request.id.key}/", soft_delete.TYPE)
            # While the deletion runs, the version is still to be seen in its old place
            found = [one for one in found if self._inventory.find(str(one.properties["resourceArmId"])) is None]
            page, more = self._page(found, request)
            value = [self._body(one, request) for one in page]
            return self._list_answer(value, more, self._limit(policies.list, request), cached=False)
        if request.id.is_collection or request.method not in ("GET", "DELETE"):
            raise _not_supported(request.method)
        kept = self.find(request.id)
        if request.method == "GET":
            if kept is None:
                raise not_found(request.id)
            return Answer(200, self._body(kept, request), self._limit(policies.get, request))
        if kept is None:
            return Answer(204, gateway=True)
        kind = KINDS[versions.TYPE.lower()]
        with self._store.transaction():
            now = self._clock.now()
            self._store.remove(request.id.key)
            operation = self._new_operation(kind, request, now, self._clock.after(now, kind.delete_seconds))
            self._store.put_operation(operation)
        headers = self._operation_headers(kind, request, kept.location, with_location=True)
        return Answer(202, None, headers | self._limit(policies.delete, request))

    # --- changing

    def _change(self, kind: Kind, request: ArmRequest) -> Answer:
        body = bodies.bind(kind.body, request.body, request.api_version)
        # Blobs are read before the transaction, which must not wait for another service
        sizes = {} if self.find(request.id) else self._inventory.sizes(_uris(kind, body))
        headers = self._limit(kind.policies.put, request)
        with self._store.transaction():
            now = self._clock.now()
            self._drop_departed()
            existing = self.find(request.id)
            self._check_changeable(kind, request, existing)
            is_new = existing is None
            if existing is None and (kept := self._kept(kind, request)) is not None:
                existing, is_new = soft_delete.restored(kept, body), False
                self._store.remove(kept.id.lower())
            if existing is None:
                self._check_quota(kind, request, body)
            draft = self._drafts[kind.resource_type](request, body, existing, sizes, now)
            resource = self._drafted(kind, request, body, existing, draft)
            operation = self._new_operation(kind, request, now, draft.ends, draft.error)
            self._store.put(request.id.key, resource)
            for made in draft.made:
                self._store.put(made.id.lower(), made)
            self._store.put_operation(operation)
            if is_new:
                self._cache.note_creation(request.id.key, draft.ends or now, now, self._control.lags().recreated)
        headers |= self._operation_headers(kind, request, resource.location, with_location=kind.answers_late)
        status = 202 if kind.answers_late else 201 if is_new else 200
        return Answer(status, self._body(resource, request), headers)

    def _drafted(
        self, kind: Kind, request: ArmRequest, body: bodies.BoundBody, existing: Resource | None, draft: Draft
    ) -> Resource:
        return Resource(
            id=existing.id if existing else self._new_id(kind, request.id),
            name=existing.name if existing else request.id.name,
            type=kind.resource_type,
            location=existing.location if existing else body.normalised_location,
            tags=existing.tags if existing and body.tags is None else body.tags,
            envelope=existing.envelope | body.envelope if existing else body.envelope,
            properties=draft.properties,
            provisioning_state="Updating" if existing else "Creating",
            pending=Pending(at=draft.ends, provisioning_state=draft.final_state, properties=draft.final_properties),
            operation=request.request_id,
            internal=draft.internal,
        )

    def _check_changeable(self, kind: Kind, request: ArmRequest, existing: Resource | None) -> None:
        if existing is None:
            if request.method == "PATCH":
                raise not_found(request.id)
            return
        if existing.is_being_deleted:  # troubleshooting-shared-images
            raise ArmError(
                409,
                "OperationNotAllowed",
                f"Operation 'Update {kind.label}' is not allowed on {existing.name} since it is marked for deletion. "
                "You can only retry the Delete operation (or wait for an ongoing one to complete)",
            )
        if existing.is_busy and kind.refuses_concurrent_changes:
            # That galleries refuse a change of a version that is still changing is a guess
            raise concurrent_request()

    def _check_quota(self, kind: Kind, request: ArmRequest, body: bodies.BoundBody) -> None:
        """Raises ArmError where a subscription is full in a region (Microsoft's docs; code and words are guesses)."""
        if kind.quota is None:
            return
        location = body.normalised_location
        used = self._inventory.quota_used(request.id.subscription, kind.resource_type, location)
        if used >= kind.quota:
            raise ArmError(
                409,
                "QuotaExceeded",
                f"The number of resources of type '{kind.resource_type}' in subscription '{request.id.subscription}' "
                f"and region '{location}' has reached the limit of {kind.quota}.",
            )

    @property
    def _drafts(
        self,
    ) -> dict[str, Callable[[ArmRequest, bodies.BoundBody, Resource | None, _Sizes, datetime], Draft]]:
        return {
            galleries.TYPE: self._gallery_draft,
            definitions.TYPE: self._definition_draft,
            versions.TYPE: self._version_draft,
            images.TYPE: self._image_draft,
            disks.DISK: self._disk_draft,
            disks.SNAPSHOT: self._disk_draft,
            virtual_machines.TYPE: self._machine_draft,
        }

    def _gallery_draft(
        self, request: ArmRequest, body: bodies.BoundBody, existing: Resource | None, _: _Sizes, now: datetime
    ) -> Draft:
        if existing is None:
            return galleries.created(
                request.id, body, self._inventory.galleries(request.id.subscription), now, self._clock
            )
        draft = galleries.updated(existing, body, self._inventory.versions_in(request.id), now, self._clock)
        policy = body.properties.get("softDeletePolicy", {})
        if policy.get("isSoftDeleteEnabled") is False:
            # The way to delete a gallery with soft-deleted versions (Microsoft's page); that they go at once is a guess
            for kept in self._inventory.below(f"{request.id.key}/", soft_delete.TYPE):
                self._store.remove(kept.id.lower())
        return draft

    def _definition_draft(
        self, request: ArmRequest, body: bodies.BoundBody, existing: Resource | None, _: _Sizes, now: datetime
    ) -> Draft:
        if existing is not None:
            return definitions.updated(existing, body, request.api_version, now, self._clock)
        siblings = self._inventory.siblings(request.id)
        return definitions.created(request.id, body, siblings, request.api_version, now, self._clock)

    def _image_draft(
        self, request: ArmRequest, body: bodies.BoundBody, existing: Resource | None, sizes: _Sizes, now: datetime
    ) -> Draft:
        if existing is not None:
            return images.updated(existing, body, now, self._clock)
        captured, named = None, images.source_ids(body.properties)
        if "sourceVirtualMachine" in body.properties:
            machine_id = str(body.properties["sourceVirtualMachine"].get("id"))
            machine = self._inventory.find(machine_id)
            if machine is None or machine.type != virtual_machines.TYPE or machine.location != body.normalised_location:
                raise invalid_parameter(
                    f"Source was not found: {machine_id}. Please make sure the source exists.", "sourceVirtualMachine"
                )
            captured = virtual_machines.image_storage(machine, self._inventory.held(machine))
            named += virtual_machines.disk_ids(machine.properties)
        found = sources.Sources({key.lower(): self._inventory.source(key) for key in named}, sizes)
        images.check_account(
            body.properties, self._inventory.elsewhere(list(sizes), request.id.subscription), request.id.subscription
        )
        return images.created(body, found, captured, now, self._clock)

    def _disk_draft(
        self, request: ArmRequest, body: bodies.BoundBody, existing: Resource | None, sizes: _Sizes, now: datetime
    ) -> Draft:
        if existing is not None:
            return disks.updated(existing, body, now, self._clock)
        named = disks.source_id(body.properties)
        source = None if named is None else self._inventory.source(named)
        kind = KINDS[request.id.type.lower()].resource_type
        return disks.created(kind, str(request.id), body, sizes, source, now, self._clock)

    def _machine_draft(
        self, request: ArmRequest, body: bodies.BoundBody, existing: Resource | None, _: _Sizes, now: datetime
    ) -> Draft:
        if existing is not None:
            return virtual_machines.updated(existing, body, now, self._clock)
        named = virtual_machines.image_id(body.properties)
        image, version = (None, None) if named is None else self._inventory.image(named, body.normalised_location)
        return virtual_machines.created(
            str(request.id),
            body,
            {key.lower(): self._inventory.find(key) for key in virtual_machines.disk_ids(body.properties)},
            self._inventory.holders(request.id.subscription),
            image,
            version,
            now,
            self._clock,
        )

    def _version_draft(
        self, request: ArmRequest, body: bodies.BoundBody, existing: Resource | None, sizes: _Sizes, now: datetime
    ) -> Draft:
        definition = self._inventory.find(request.id.parent)
        if definition is None:
            raise not_found(request.id)
        around = versions.Circumstances(
            definition=definition,
            location=existing.location if existing else body.normalised_location,
            api_version=request.api_version,
            now=now,
            clock=self._clock,
            rule_for=lambda region: self._control.rule_for(region, str(request.id)),
            replication_lag=self._control.lags().replication,
        )
        if existing is not None:
            return versions.updated(existing, body, around)
        named = sources.ids(body.properties.get("storageProfile", {}))
        return versions.created(request.id, body, lambda: self._inventory.sources(named, sizes), around)

    # --- deleting

    def _delete(self, kind: Kind, request: ArmRequest) -> Answer:
        headers = self._limit(kind.policies.delete, request)
        with self._store.transaction():
            now = self._clock.now()
            self._drop_departed()
            existing = self.find(request.id)
            if existing is None:
                # Recorded for images; the gateway's answer, so it says nothing of buckets
                return Answer(204, gateway=True)
            self._check_deletable(request, existing, now)
            self._cancel(existing, now)
            # A repeated deletion does not begin anew
            ends = existing.pending.at if existing.is_being_deleted and existing.pending else None
            ends = ends or self._clock.after(now, kind.delete_seconds)
            if kind.resource_type == versions.TYPE and not existing.is_being_deleted:
                self._bury(request, existing, now)
            if kind.resource_type == disks.SNAPSHOT and not existing.is_being_deleted:
                self._orphan_copies(existing, now)
            if kind.resource_type in (galleries.TYPE, definitions.TYPE):
                for kept in self._soft_deleted_below(request.id):
                    self._store.remove(kept.id.lower())
            operation = self._new_operation(kind, request, now, ends)
            pending = Pending(at=ends, gone=True)
            changed = {"provisioning_state": "Deleting", "pending": pending, "operation": operation.name}
            self._store.put(request.id.key, existing.model_copy(update=changed))
            self._store.put_operation(operation)
            self._cache.note_deletion(request.id.key, request.id.nested_name, ends)
        headers |= self._operation_headers(kind, request, existing.location, with_location=True)
        return Answer(202, None, headers)

    def _check_deletable(self, request: ArmRequest, existing: Resource, now: datetime) -> None:
        below = [one for one in self._inventory.below(f"{request.id.key}/") if one.type != soft_delete.TYPE]
        nested = [found.nested_name for one in below if (found := ResourceId.parse(one.id))]
        nested += self._cache.remembered_children(request.id.key, now, self._control.lags().deleted_child)
        if nested:  # gardenlinux#2036
            raise ArmError(
                409,
                "CannotDeleteResource",
                "Cannot delete resource while nested resources exist. Some existing nested resource IDs include: "
                f"'{', '.join(nested)}'. Please delete all nested resources before deleting this resource.",
            )
        if existing.type in (galleries.TYPE, definitions.TYPE) and (kept := self._soft_deleted_below(request.id)):
            raise soft_delete.nested_error(kept)
        if existing.type == versions.TYPE:
            versions.check_deletable(existing, now)
        if existing.type == disks.DISK:
            disks.check_deletable(existing, self._inventory.holders(request.id.subscription).get(existing.id.lower()))

    def _soft_deleted_below(self, parent: ResourceId) -> list[Resource]:
        prefix = f"{parent.key}/"
        if len(parent.names) > 1:
            gallery, definition = parent.names
            prefix = prefix.replace(
                f"/galleries/{gallery}/images/{definition}/".lower(),
                f"/galleries/{gallery}/softdeletedartifacttypes/images/artifacts/{definition}/".lower(),
            )
        return self._inventory.below(prefix, soft_delete.TYPE)

    def _kept(self, kind: Kind, request: ArmRequest) -> Resource | None:
        return self.find(soft_delete.id_of(request.id)) if kind.resource_type == versions.TYPE else None

    def _bury(self, request: ArmRequest, version: Resource, now: datetime) -> None:
        definition = request.id.parent
        gallery = self._inventory.find(definition.parent if definition else None)
        bypassed = soft_delete.is_bypassed(request.query, request.api_version)
        if gallery is not None and soft_delete.is_enabled(gallery) and not bypassed:
            kept = soft_delete.buried(version, gallery, now, self._clock)
            self._store.put(soft_delete.id_of(request.id).key, kept)

    def _orphan_copies(self, source: Resource, now: datetime) -> None:
        for one in self._inventory.below("/subscriptions/", disks.SNAPSHOT):
            if (orphan := disks.orphaned(one, source.id, now)) is not None:
                self._store.put(orphan.id.lower(), orphan)

    def _drop_departed(self) -> None:
        """Remove what is gone by now. In a transaction, so that nothing made anew in between is taken for it."""
        for resource in self._store.departing():
            if self._inventory.find(resource.id) is None:
                self._store.remove(resource.id.lower())

    def _cancel(self, resource: Resource, now: datetime) -> None:
        """End the operation a deletion overtakes. That Azure calls it Canceled is a guess."""
        operation = self._store.operation(resource.operation or "")
        if operation is not None and not operation.is_over(now) and not resource.is_being_deleted:
            self._store.put_operation(operation.model_copy(update={"end": now, "status": "Canceled", "error": None}))

    # --- actions

    def _action(self, request: ArmRequest) -> Answer:
        """`POST …/share` of a gallery, what changes a machine's state, access to a disk. Raises ArmError."""
        action = request.id.types[-1].lower()
        target_id = dataclasses.replace(request.id, types=request.id.types[:-1])
        kind = KINDS[target_id.type.lower()]
        if request.method != "POST":
            raise _not_supported(request.method)
        policy = "PostShareGallery" if kind.resource_type == galleries.TYPE else kind.policies.put
        headers = self._limit(policy, request)
        with self._store.transaction():
            now = self._clock.now()
            target = self.find(target_id)
            if target is None:
                raise not_found(target_id)
            if action == "generalize":
                self._store.put(target_id.key, virtual_machines.generalized(target))
                return Answer(200, None, headers)
            if kind.resource_type in (disks.DISK, disks.SNAPSHOT):
                self._store.put_operation(self._access(kind, action, target, request, now))
                return Answer(
                    202, None, headers | self._operation_headers(kind, request, target.location, with_location=True)
                )
            draft = self._action_draft(action, target, request, now)
            pending = Pending(at=draft.ends, properties=draft.final_properties)
            changed = {"properties": draft.properties, "pending": pending, "internal": draft.internal}
            if kind.resource_type == virtual_machines.TYPE:
                changed["provisioning_state"] = "Updating"
            self._store.put(target_id.key, target.model_copy(update=changed))
            self._store.put_operation(self._new_operation(kind, request, now, draft.ends))
        headers |= self._operation_headers(kind, request, target.location, with_location=True)
        return Answer(202, None, headers)

    def _access(self, kind: Kind, action: str, disk: Resource, request: ArmRequest, now: datetime) -> Operation:
        """Let people at the content of a disk or snapshot, or no more. That its state changes at once is a guess."""
        if disk.provisioning_state != "Succeeded":
            raise concurrent_request()
        operation = self._new_operation(kind, request, now, self._clock.after(now, disks.DISK_SECONDS))
        operation.output = None
        if action == "begingetaccess":
            asked = bodies.read(bodies.GrantAccessData, request.body)
            changed = disks.granted(disk, asked)
            operation.result = disks.access(disk, asked, now, now + timedelta(seconds=asked.duration_in_seconds))
        else:
            changed = disks.revoked(disk)
        self._store.put(disk.id.lower(), changed)
        return operation

    def _action_draft(self, action: str, target: Resource, request: ArmRequest, now: datetime) -> Draft:
        if action == "share":
            return galleries.shared(target, bodies.read(bodies.SharingUpdate, request.body), now, self._clock)
        virtual_machines.check_power(target, action)
        ends = self._clock.after(now, virtual_machines.POWER_SECONDS)
        internal = target.internal | {"power": virtual_machines.POWER_STATES[action]}
        return Draft(target.properties, ends, target.properties, internal=internal)

    # --- operations

    def _new_operation(
        self,
        kind: Kind,
        request: ArmRequest,
        start: datetime,
        end: datetime | None,
        error: dict[str, Any] | None = None,
    ) -> Operation:
        return Operation(
            name=request.request_id,
            subscription=request.id.subscription,
            kind=kind.operations,
            start=start,
            end=end,
            status="Succeeded" if error is None else "Failed",
            error=error,
            retry_after=kind.retry_after,
            output=request.id.key if kind.answers_late and request.method != "DELETE" else None,
        )

    def _operation_status(self, request: ArmRequest) -> Answer:
        operation = self._store.operation(request.id.name)
        if operation is None or request.id.types[-1].lower() != operation.kind.lower() or request.method != "GET":
            raise ArmError(404, "NotFound", "The entity was not found in this Azure location.")
        now = self._clock.now()
        headers = self._limit(OPERATION_POLICIES[operation.kind], request)
        over = operation.is_over(now)
        if operation.retry_after is not None and not over:
            headers["Retry-After"] = str(self._clock.retry_after(operation.retry_after))
        made = self._inventory.find(operation.output)
        output = operation.result if made is None else self._body(made, request)
        if request.query.get("monitor", "").lower() == "true":
            return Answer(200 if over else 202, output if over else None, headers)
        body = operation.body(now)
        if output is not None and body["status"] == "Succeeded":
            # DiskRP's operations show what they made (recorded traffic)
            name = body.pop("name")
            body |= {"properties": {"output": output}, "name": name}
        return Answer(200, body, headers)

    def _operation_headers(
        self, kind: Kind, request: ArmRequest, location: str, *, with_location: bool
    ) -> dict[str, str]:
        now = self._clock.now()
        base = (
            f"{request.endpoint}/subscriptions/{request.id.subscription}/providers/{NAMESPACE}/locations/{location}"
            f"/{kind.operations}/{request.request_id}?"
        )
        if kind.operations != "capsOperations":
            base += f"p={uuid.uuid5(uuid.NAMESPACE_URL, request.id.subscription)}&"
        version = f"api-version={request.api_version}"
        headers = {"Azure-AsyncOperation": operation_urls.signed(f"{base}{version}", now)}
        if kind.operations != "DiskOperations":
            headers["Azure-AsyncNotification"] = "Enabled"
        if with_location:
            headers["Location"] = operation_urls.signed(f"{base}monitor=true&{version}", now)
        if kind.retry_after is not None:
            headers["Retry-After"] = str(self._clock.retry_after(kind.retry_after))
        return headers

    def _limit(self, policy: str, request: ArmRequest) -> dict[str, str]:
        remaining = self._limits.spend(request.id.subscription.lower(), policy, self._clock.now())
        headers = {"x-ms-ratelimit-remaining-resource": remaining}
        if policy.endswith("SubscriptionMaximum"):  # ComputeRP's, of images (recorded traffic)
            headers["x-ms-need-to-refresh-epl-cache"] = "False"
        return headers

    # --- bodies

    def _body(self, resource: Resource, request: ArmRequest) -> dict[str, Any]:
        body: dict[str, Any] = {
            "name": resource.name,
            "id": resource.id,
            "type": resource.type,
            "location": resource.location,
        }
        if resource.tags is not None:
            body["tags"] = resource.tags
        body |= resource.envelope
        if resource.type in (disks.DISK, disks.SNAPSHOT) and resource.provisioning_state == "Succeeded":
            body["sku"] = disks.shown_sku(resource)
        holder = self._holder(resource, request)
        if holder is not None:
            body["managedBy"] = holder
        return body | {"properties": self._properties(resource, request, holder)}

    def _properties(self, resource: Resource, request: ArmRequest, holder: str | None) -> dict[str, Any]:
        if resource.type == galleries.TYPE:
            return galleries.properties(resource, request.api_version, request.select, request.expand)
        if resource.type == definitions.TYPE:
            return definitions.properties(resource)
        if resource.type == images.TYPE:
            return images.properties(resource)
        if resource.type in (disks.DISK, disks.SNAPSHOT):
            return disks.properties(resource, holder, self._clock.now())
        if resource.type == virtual_machines.TYPE:
            return virtual_machines.properties(resource, request.expand)
        if resource.type == soft_delete.TYPE:
            return soft_delete.properties(resource, request.api_version)
        return versions.properties(resource, request.api_version, request.expand, self._clock.now())

    def _holder(self, resource: Resource, request: ArmRequest) -> str | None:
        if resource.type != disks.DISK:
            return None
        return self._inventory.holders(request.id.subscription).get(resource.id.lower())

    def _new_id(self, kind: Kind, resource_id: ResourceId) -> str:
        """The id in the case of the type's name and of the parent's own id."""
        segment = kind.resource_type.rsplit("/", 1)[-1]
        parent = resource_id.parent and self.find(resource_id.parent)
        if parent:
            return f"{parent.id}/{segment}/{resource_id.name}"
        group = ResourceId(resource_id.subscription, resource_id.resource_group)
        stored = self._store.resource(group.key)
        return f"{stored.id if stored else group}/providers/{NAMESPACE}/{segment}/{resource_id.name}"


def is_action(resource_id: ResourceId) -> bool:
    """Whether an id names something to do to a resource instead of a collection in it: `…/galleries/g/share`."""
    parent = "/".join((resource_id.namespace or "", *resource_id.types[:-1])).lower()
    action = resource_id.types[-1].lower()
    if not resource_id.is_collection:
        return False
    if parent == galleries.TYPE.lower():
        return action == "share"
    if parent in (disks.DISK.lower(), disks.SNAPSHOT.lower()):
        return action in ("begingetaccess", "endgetaccess")
    return parent == virtual_machines.TYPE.lower() and action in ("generalize", *virtual_machines.POWER_STATES)


def not_found(resource_id: ResourceId) -> ArmError:
    """The gateway's 404 (recorded traffic)."""
    return ArmError(
        404,
        "ResourceNotFound",
        f"The Resource '{resource_id.nested_name}' under resource group '{resource_id.resource_group}' was not found. "
        "For more details please go to https://aka.ms/ARMResourceNotFoundFix",
        gateway=True,
    )


def _not_supported(method: str) -> ArmError:
    return ArmError(405, "MethodNotAllowed", f"The method '{method}' is not supported.", gateway=True)


def _uris(kind: Kind, body: bodies.BoundBody) -> list[str]:
    """The blobs that a new resource is made of."""
    if kind.resource_type == images.TYPE:
        return images.blob_uris(body.properties)
    if kind.resource_type == versions.TYPE:
        return sources.uris(body.properties.get("storageProfile", {}))
    return disks.blob_uris(body.properties) if kind.answers_late else []


def _with_upper_case_group(resource_id: str) -> str:
    parts = resource_id.split("/")
    parts[4] = parts[4].upper()
    return "/".join(parts)
