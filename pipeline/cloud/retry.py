"""The one layer of retries. The SDKs' own policies are off (`NO_SDK_RETRIES`)."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import structlog
from azure.core.exceptions import (
    AzureError,
    ClientAuthenticationError,
    HttpResponseError,
    ServiceRequestError,
    ServiceResponseError,
)
from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception_type,
    stop_after_attempt,
    wait_exponential_jitter,
)

from pipeline.cloud.faults import CloudFault, Conflict, Denied, NotFound, Refused, Unavailable

P = ParamSpec("P")
R = TypeVar("R")

NO_SDK_RETRIES: dict[str, Any] = {"retry_total": 0, "retry_connect": 0, "retry_read": 0, "retry_status": 0}
ATTEMPTS = 4
LONGEST_WAIT = 20.0
"""Seconds that are worth waiting inside a function; a longer Retry-After goes back to the queue."""

# Azure Compute reads a VHD itself, and may ask its caller for the right to the account's keys before it does.
_LIST_KEYS_ADVICE = ". To grant it: azd env set VHD_LIST_KEYS true, then azd provision"
_TRANSIENT = {408, 429, 500, 502, 503, 504}
_by_backoff = wait_exponential_jitter(multiplier=0.5, max=8, jitter=0.5)


def as_fault(error: AzureError) -> CloudFault:
    """The fault that an SDK's exception stands for."""
    if isinstance(error, (ServiceRequestError, ServiceResponseError)):
        return Unavailable(f"no answer: {error}")
    if not isinstance(error, HttpResponseError) or error.status_code is None:
        # azure-identity raises a ClientAuthenticationError without a response where no credential works.
        return (Denied if isinstance(error, ClientAuthenticationError) else Refused)(str(error))
    named = getattr(error, "error_code", None) or getattr(error.error, "code", None) or ""
    code = str(getattr(named, "value", named))
    message = _one_line(getattr(error.error, "message", None) or error.message or str(error))
    said = f"{code}: {message}" if code and not message.startswith(code) else message
    match error.status_code:
        case status if status < 400:  # the answer itself cannot be read
            return Unavailable(said, code)
        case 404:
            return NotFound(said, code)
        case 409 | 412:
            return Conflict(said, code)
        case 401 | 403:
            return Denied(said + (_LIST_KEYS_ADVICE if "listkeys" in said.lower() else ""), code)
        case status if status in _TRANSIENT:
            return Unavailable(said, code, _retry_after(error))
    return Refused(said, code)


def _one_line(message: str) -> str:
    return " ".join(message.split("\nRequestId:")[0].split())


def _retry_after(error: HttpResponseError) -> float:
    value = str(getattr(error.response, "headers", {}).get("Retry-After", ""))
    return float(value) if value.isdigit() else 0


def _wait(state: RetryCallState) -> float:
    fault = state.outcome.exception() if state.outcome else None
    asked = fault.retry_after if isinstance(fault, Unavailable) else 0
    return max(asked, 0 if asked else _by_backoff(state))


def _not_worth_waiting(state: RetryCallState) -> bool:
    fault = state.outcome.exception() if state.outcome else None
    return isinstance(fault, Unavailable) and fault.retry_after > LONGEST_WAIT


def _say(state: RetryCallState) -> None:
    structlog.get_logger().warning(
        "cloud_call_retried",
        call=getattr(state.fn, "__qualname__", "?"),
        attempt=state.attempt_number,
        wait_seconds=round(state.upcoming_sleep, 2),
        fault=str(state.outcome.exception()) if state.outcome else "",
    )


def cloud_call(function: Callable[P, R]) -> Callable[P, R]:
    """Wrap a call to an SDK: its exceptions become faults, and what may pass is tried again.

    Throttled calls wait as long as Azure asks; other transient ones back off exponentially with jitter. What
    Azure wants to be left alone for longer than LONGEST_WAIT, or still fails after ATTEMPTS, is raised as
    Unavailable for the queue to carry. A call that is tried again may have had its effect before: callers treat
    a Conflict about what they made themselves as success.
    """

    @wraps(function)
    def once(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except AzureError as error:
            raise as_fault(error) from error

    def give_up(state: RetryCallState) -> bool:
        return stop_after_attempt(ATTEMPTS)(state) or _not_worth_waiting(state)

    policy = Retrying(
        retry=retry_if_exception_type(Unavailable), wait=_wait, stop=give_up, before_sleep=_say, reraise=True
    )

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        return policy.copy()(once, *args, **kwargs)

    return call
