"""What the sandbox's one identity may not do, as people say: ARM's 403s. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, field_validator

from sandbox.arm.errors import ArmError
from sandbox.arm.kinds import KINDS
from sandbox.arm.resource_id import ResourceId

_VERBS = {"GET": "read", "HEAD": "read", "PUT": "write", "PATCH": "write", "DELETE": "delete", "POST": "action"}
_DISK = re.compile(r"(?i)/providers/Microsoft\.Compute/(disks|snapshots|virtualMachines)/")
_ACCOUNT = re.compile(r"(?i)/providers/Microsoft\.Storage/storageAccounts/[^/]+$")
_LIST_KEYS = "Microsoft.Storage/storageAccounts/listKeys/action"
_CLIENT = "The client '{client}' with object id '{client}'"


class Denial(BaseModel):
    """`path` is searched for in resource ids; `actions` in actions such as Microsoft.Compute/galleries/read."""

    model_config = ConfigDict(extra="forbid")

    path: str
    actions: str = ""

    @field_validator("path", "actions")
    @classmethod
    def _is_regex(cls, value: str) -> str:
        try:
            re.compile(value)
        except re.error as error:
            raise ValueError(f"not a regular expression: {error}") from error
        return value

    def holds(self, resource_id: str, action: str) -> bool:
        """Whether the action on the resource is denied."""
        return bool(re.search(self.path, resource_id) and re.search(self.actions, action))


def check(
    denials: Sequence[Denial],
    method: str,
    resource_id: ResourceId,
    body: bytes,
    client: str,
    *,
    kind: str | None = None,
) -> None:
    """Raises ArmError 403 where a request, or what it does with the resources its body names, is denied.

    The words are ARM's, which many threads quote. A virtual machine, disk or snapshot must be writable to be a source,
    a storage account's keys readable, anything else readable (Microsoft's docs). For a managed image of a VHD they are
    asked for where a denial says so, for its address stands for its account: whether Azure asks is not settled. `kind`
    is the type of what is no resource of its own: a lock.
    """
    if not denials:
        return
    scope = str(resource_id)
    action = f"{kind or _spelt(resource_id.type)}/{verb(method)}"
    who = _CLIENT.format(client=client)
    if any(denial.holds(scope, action) for denial in denials):
        raise ArmError(
            403,
            "AuthorizationFailed",
            f"{who} does not have authorization to perform action '{action}' over scope '{scope}' or the scope is "
            "invalid. If access was recently granted, please refresh your credentials.",
            gateway=True,
        )
    if method not in ("PUT", "PATCH"):
        return
    for linked, needed in _linked(body):
        if any(denial.holds(linked, needed) for denial in denials):
            raise ArmError(
                403,
                "LinkedAuthorizationFailed",
                f"{who} has permission to perform action '{action}' on scope '{scope}'; however, it does not have "
                f"permission to perform action(s) '{needed}' on the linked scope(s) '{linked}' (respectively) or the "
                "linked scope(s) are invalid.",
                gateway=True,
            )


def verb(method: str) -> str:
    """The last part of the action a method is: `read`, `write`, `delete` or `action`."""
    return _VERBS.get(method, "action")


def _spelt(kind: str) -> str:
    found = KINDS.get(kind.lower())
    return kind if found is None else found.resource_type


def _linked(body: bytes) -> Iterator[tuple[str, str]]:
    """The resource ids and addresses of VHDs anywhere in a body, each with the action it takes to use it."""

    def walk(value: Any) -> Iterator[str]:
        if isinstance(value, dict):
            for one in value.values():
                yield from walk(one)
        elif isinstance(value, list):
            for one in value:
                yield from walk(one)
        elif isinstance(value, str):
            yield value

    try:
        texts = list(walk(json.loads(body or b"{}").get("properties")))
    except (ValueError, AttributeError):
        return  # the provider will say what is wrong with it
    for text in texts:
        parsed = ResourceId.parse(text) if text.lower().startswith("/subscriptions/") else None
        if text.startswith("https://") and text.lower().endswith(".vhd"):
            yield text, _LIST_KEYS
        elif parsed is not None and parsed.namespace is not None:
            if _ACCOUNT.search(text):
                yield text, _LIST_KEYS
            else:
                yield text, f"{_spelt(parsed.type)}/{'write' if _DISK.search(text) else 'read'}"
