"""How many requests a subscription has left, and the 429 when it has none.

Two layers, as in Azure. Resource Manager has token buckets for reads, writes and deletes (Microsoft's page
on request limits; recorded headers agree). A resource provider counts by policy, in windows of 3 and 30 minutes; its
budgets are read off recorded headers, no documentation gives them. Both run on emulated time, and a restart refills
them.
"""

from __future__ import annotations

import json
import math
import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from sandbox.arm.clock import Clock
from sandbox.arm.errors import ArmError

_GALLERY = {
    "CreateUpdateGallery": (50, 300),
    "DeleteGallery": (50, 300),
    "GetGallery": (350, 2500),
    "ListGalleryInResourceGroup": (100, 1000),
    "ListGalleryInSubscription": (100, 1000),
    "PostShareGallery": (10, 60),
    "CreateUpdateGalleryImage": (150, 750),
    "DeleteGalleryImage": (50, 300),
    "GetGalleryImage": (600, 3000),
    "ListGalleryImagesInGallery": (1500, 10000),
    "CreateUpdateGalleryImageVersion": (375, 1200),
    "DeleteGalleryImageVersion": (150, 1000),
    "GetGalleryImageVersion": (2000, 10000),
    "ListGalleryImageVersionsInGalleryImage": (1500, 10000),
    "GetOperationStatus": (5000, 15000),
}
_DISK = {
    "CreateUpdateDisks": (3000, 25000),
    "HighCostSnapshotCreateHydrate": (1000, 8000),
    "DeleteDisks": (3000, 25000),  # a guess, as good as the creations'
    "DeleteSnapshots": (1000, 8000),  # likewise
    "LowCostGet": (15000, 120000),
    "HighCostGet": (1000, 8000),  # a guess
    "GetOperation": (50000, 400000),
}
_SUBSCRIPTION = {
    "CreateImagesSubscriptionMaximum": 60,
    "GetImagesSubscriptionMaximum": 360,
    "DeleteImagesSubscriptionMaximum": 120,
    "HighCostGetImagesSubscriptionMaximum": 90,
    "GetOperationSubscriptionMaximum": 15000,
    "UpdateVMSubscriptionMaximum": 1500,
    "DeleteVMSubscriptionMaximum": 1500,  # a guess
    "LowCostGetSubscriptionMaximum": 24000,
    "HighCostGetSubscriptionMaximum": 900,  # a guess
}
_SHORT, _LONG = 180.0, 1800.0  # seconds


@dataclass(frozen=True)
class _Window:
    """A budget of requests in windows of so many real seconds."""

    target: str
    budget: int
    seconds: float


@dataclass(frozen=True)
class _Bucket:
    """A token bucket of Resource Manager's: so many at most, so many more with every emulated second."""

    header: str
    capacity: int
    refill: float


_BUCKETS = {
    "reads": (_Bucket("x-ms-ratelimit-remaining-subscription-global-reads", 3750, 375),),
    "writes": (
        _Bucket("x-ms-ratelimit-remaining-subscription-writes", 200, 10),
        _Bucket("x-ms-ratelimit-remaining-subscription-global-writes", 3000, 150),
    ),
    "deletes": (
        _Bucket("x-ms-ratelimit-remaining-subscription-deletes", 200, 10),
        _Bucket("x-ms-ratelimit-remaining-subscription-global-deletes", 3000, 150),
    ),
}
_VERBS = {"GET": "reads", "HEAD": "reads", "PUT": "writes", "PATCH": "writes", "POST": "writes", "DELETE": "deletes"}
POLICIES = frozenset(
    {f"{name}{window}" for name in (*_GALLERY, *_DISK) for window in ("3Min", "30Min")} | {*_SUBSCRIPTION, *_BUCKETS}
)


class ThrottlingRule(BaseModel):
    """A budget a person set: `limit` requests in windows of `seconds` real ones.

    `policy` is a provider's, as its header prints it (`CreateUpdateGalleryImageVersion3Min`), or Resource Manager's
    `reads`, `writes` or `deletes`; `code` is then the one of its three errors to answer with.
    """

    model_config = ConfigDict(extra="forbid")

    policy: str
    limit: Annotated[int, Field(ge=0)]
    seconds: Annotated[float, Field(gt=0)] = 60.0
    code: Literal[
        "SubscriptionRequestsThrottled", "ResourceRequestsThrottled", "ResourceCollectionRequestsThrottled"
    ] = "SubscriptionRequestsThrottled"

    @field_validator("policy")
    @classmethod
    def _is_known(cls, value: str) -> str:
        if value not in POLICIES:
            raise ValueError(f"no such policy; known are {', '.join(sorted(POLICIES))}")
        return value


class TooManyRequests(ArmError):
    """A resource provider's 429 (Microsoft's page on Compute throttling): its body has no `error` around it."""

    def __init__(self, target: str, budget: int, measured: int, start: datetime, end: datetime, now: datetime) -> None:
        super().__init__(
            429,
            "OperationNotAllowed",
            "The server rejected the request because too many requests have been received for this subscription.",
            headers={
                "Retry-After": str(max(1, math.ceil((end - now).total_seconds()))),
                "x-ms-ratelimit-remaining-resource": f"Microsoft.Compute/{target};0",
            },
        )
        self._detail = {
            "operationGroup": target,
            "startTime": start.isoformat(),
            "endTime": end.isoformat(),
            "allowedRequestCount": budget,
            "measuredRequestCount": measured,
        }

    @property
    def body(self) -> dict[str, Any]:
        detail = {
            "code": "TooManyRequests",
            "target": self._detail["operationGroup"],
            "message": json.dumps(self._detail, separators=(",", ":")),
        }
        return {"code": self.code, "message": self.message, "details": [detail]}


class RateLimits:
    """Spends the budgets. `rules` are what people set, the newest last; the first budget to run out refuses."""

    def __init__(self, clock: Clock, rules: Sequence[ThrottlingRule] = ()) -> None:
        self._clock = clock
        self._rules = rules
        self._lock = threading.Lock()
        self._used: Counter[tuple[str, str, float, int]] = Counter()
        self._tokens: dict[tuple[str, str], tuple[float, datetime]] = {}

    def spend(self, subscription: str, policy: str, now: datetime) -> str:
        """Count one request under a provider's policy; what is left, as its header prints it.

        Raises TooManyRequests where nothing was left.
        """
        with self._lock:
            return ",".join(
                f"Microsoft.Compute/{window.target};{self._left(subscription, window, now)}"
                for window in self._windows(policy)
            )

    def admit(self, subscription: str, method: str, operation: str, now: datetime) -> dict[str, str]:
        """Take one of Resource Manager's tokens for a method; its headers. `operation` as in `GET/providers/…`.

        Raises ArmError 429 in the words of issue threads (AgentBaker#8314 for the cool-down of galleries).
        """
        verb = _VERBS.get(method, "reads")
        with self._lock:
            rule = self._rule(verb)
            if rule is not None:
                window = _Window(verb, rule.limit, rule.seconds)
                try:
                    self._left(subscription, window, now)
                except TooManyRequests as error:
                    raise _throttled(rule.code, subscription, operation, int(error.headers["Retry-After"])) from error
            headers = {}
            for bucket in _BUCKETS[verb]:
                left, since = self._tokens.get((subscription, bucket.header), (float(bucket.capacity), now))
                refilled = (now - since).total_seconds() * self._clock.time_scale * bucket.refill
                left = min(float(bucket.capacity), left + refilled)
                if left < 1:
                    wait = self._clock.real_seconds((1 - left) / bucket.refill)
                    raise _throttled("SubscriptionRequestsThrottled", subscription, operation, max(1, math.ceil(wait)))
                self._tokens[subscription, bucket.header] = (left - 1, now)
                headers[bucket.header] = str(int(left - 1))
        return headers

    def _windows(self, policy: str) -> list[_Window]:
        if policy in _SUBSCRIPTION:
            windows = [(policy, _SUBSCRIPTION[policy], _SHORT)]
        else:
            short, long = (_GALLERY | _DISK)[policy]
            windows = [(f"{policy}3Min", short, _SHORT), (f"{policy}30Min", long, _LONG)]
        found = []
        for target, budget, seconds in windows:
            rule = self._rule(target)
            if rule is None:
                found.append(_Window(target, budget, self._clock.real_seconds(seconds)))
            else:
                found.append(_Window(target, rule.limit, rule.seconds))
        return found

    def _rule(self, policy: str) -> ThrottlingRule | None:
        return next((rule for rule in reversed(self._rules) if rule.policy == policy), None)

    def _left(self, subscription: str, window: _Window, now: datetime) -> int:
        number = int(now.timestamp() // window.seconds)
        for key in [key for key in self._used if key[1:3] == (window.target, window.seconds) and key[3] < number]:
            del self._used[key]
        key = (subscription, window.target, window.seconds, number)
        self._used[key] += 1
        if self._used[key] > window.budget:
            start = datetime.fromtimestamp(number * window.seconds, now.tzinfo)
            end = start + timedelta(seconds=window.seconds)
            raise TooManyRequests(window.target, window.budget, self._used[key], start, end, now)
        return window.budget - self._used[key]


def _throttled(code: str, subscription: str, operation: str, seconds: int) -> ArmError:
    if code == "SubscriptionRequestsThrottled":
        message = (
            f"Number of requests for subscription '{subscription}' and operation '{operation}' exceeded the backend "
            f"storage limit. Please try again after '{seconds}' seconds."
        )
    else:
        message = (
            f"Operation '{operation}' failed as server encountered too many requests. Please try after '{seconds}' "
            "seconds."
        )
    return ArmError(429, code, message, gateway=True, headers={"Retry-After": str(seconds)})
