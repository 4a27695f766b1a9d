"""The emulated Azure Resource Manager: galleries, images, what they are made of, and control of how it all behaves."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import BaseRoute, Mount

from sandbox.arm import control
from sandbox.arm.blobs import BlobSource, StorageBlobs
from sandbox.arm.cache_lag import Lags
from sandbox.arm.clock import Clock
from sandbox.arm.compute import Compute, Control, not_found
from sandbox.arm.denials import Denial
from sandbox.arm.gateway import Gateway
from sandbox.arm.inventory import Inventory
from sandbox.arm.locks import Locks
from sandbox.arm.rate_limits import RateLimits, ThrottlingRule
from sandbox.arm.resource_id import ResourceId
from sandbox.arm.store import Store
from sandbox.arm.subscriptions import Subscriptions
from sandbox.guard import Guard
from sandbox.identity import Identity

__all__ = ["BlobSource", "StorageBlobs", "create_app"]


def create_app(
    *,
    state_dir: Path,
    time_scale: float,
    identity: Identity,
    blobs: BlobSource,
    guard: Guard,
    beside: Sequence[BaseRoute] = (),
) -> Starlette:
    """The ARM endpoint, with what is to be found `beside` it, to be served by uvicorn over TLS.

    Its answers bear their own Date, which is the emulated one: uvicorn must add none (`date_header=False`). `guard`
    says who may control it by who is connected: uvicorn must believe no header instead (`proxy_headers=False`).

    State is kept in `state_dir` and outlives a restart, with the time that was moved on; faults, replication rules and
    the request log do not. Everything emulated runs `time_scale` times faster than Azure. Raises ValueError for a scale
    that is not positive.
    """
    store = Store(state_dir)
    clock = Clock(time_scale, store.clock_offset(), store.put_clock_offset)
    log = control.RequestLog(clock)
    faults = control.Faults()
    replications = control.Replications()
    throttling = control.Rules(ThrottlingRule)
    denials = control.Rules(Denial)
    lags = control.Setting(Lags())
    paging = control.Setting(control.Paging())
    limits = RateLimits(clock, throttling.rules)
    said = Control(replications.rule_for, lambda: paging.value.size, lambda: lags.value)
    compute = Compute(store, clock, Inventory(store, clock, blobs), limits, said)
    subscriptions = Subscriptions(store, clock, identity)

    def check_exists(scope: ResourceId) -> None:
        if scope.resource_group is None:
            subscriptions.existing(scope)
        else:
            subscriptions.existing_group(scope)
        if scope.namespace is not None and compute.find(scope) is None:
            raise not_found(scope)

    locks = Locks(store, clock, identity.object_id, check_exists)
    gateway = Gateway(clock, identity, subscriptions, compute, locks, limits, denials.rules)
    arm = log.around(faults.around(gateway.app))
    routes = control.routes(
        guard,
        requests=log,
        faults=faults,
        replication=replications,
        throttling=throttling,
        denials=denials,
        lags=lags,
        paging=paging,
        clock=control.Time(clock),
    )
    return Starlette(routes=[*beside, *routes, Mount("/", app=arm)], middleware=[Middleware(control.Dated, clock)])
