"""Who may do what: roles, who has come with which, and the one table of what each route and queue wants. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Role(StrEnum):
    """What a caller of the HTTP API, or a sender to a queue, is allowed to do. Entra's app roles have these values,
    with a capital first letter; a key of the Functions host has one of them in its own name."""

    READER = "reader"
    """Sees images, versions, runs and promotion rules. Every other role sees them too."""
    PUBLISHER = "publisher"
    """Asks for versions, and retries and cancels the runs it asked for."""
    TESTER = "tester"
    """Gives verdicts."""
    APPROVER = "approver"
    """Approves versions."""
    OPERATOR = "operator"
    """What all of these may, and everything else."""


ROUTES: dict[str, Role | None] = {
    "POST /publish": Role.PUBLISHER,
    "GET /runs": Role.READER,
    "GET /runs/{id}": Role.READER,
    "POST /runs/{id}/retry": Role.PUBLISHER,
    "POST /runs/{id}/cancel": Role.PUBLISHER,
    "GET /images": Role.READER,
    "GET /images/{image}/versions": Role.READER,
    "POST /images/{image}/versions/{version}/verdict": Role.TESTER,
    "POST /images/{image}/versions/{version}/approval": Role.APPROVER,
    "POST /images/{image}/versions/{version}/withdrawal": Role.OPERATOR,
    "POST /images/{image}/versions/{version}/reinstatement": Role.OPERATOR,
    "POST /images/{image}/versions/{version}/number-release": Role.OPERATOR,
    "POST /images/{image}/rollback": Role.OPERATOR,
    "GET /promotions": Role.READER,
    "POST /promotions": Role.OPERATOR,
    "POST /promotions/{rule}/hold": Role.OPERATOR,
    "POST /promotions/{rule}/release": Role.OPERATOR,
    "POST /retention": Role.OPERATOR,
    "GET /audit": Role.OPERATOR,
    "GET /openapi.json": None,
}
"""The role that each route of the HTTP API wants; None: anyone may. A route that is not here is denied to all."""

OWN_RUNS_ONLY = {"POST /runs/{id}/retry", "POST /runs/{id}/cancel"}
"""Routes that a publisher may call for runs it asked for; an operator may for all."""

QUEUES = {"publish-requests": Role.PUBLISHER, "verdicts": Role.TESTER}
"""The role that whoever may send to a queue has, and no other: a message names no sender."""


class NotAllowed(Exception):
    """The caller may not do this. The message says which role it wants, and how to come by it."""


class NotSignedIn(Exception):
    """Nobody has been seen to call: no key or token, or one that is no good. The message says what is wrong with it."""


@dataclass(frozen=True)
class Caller:
    """Who asks for something.

    `id` is what names them for good: the object id in Entra of a person or an application; `key:ROLE` of a key, which
    names no person; `queue:NAME` of a queue's message; `timer:NAME` of the pipeline's own nightly work. `name` is for
    people to read, `address` where the call came from, empty where nobody can tell.
    """

    id: str
    name: str
    roles: frozenset[Role] = frozenset()
    address: str = ""

    @property
    def signed_in(self) -> bool:
        """Whether Entra says who it is: keys, queues and timers name no person."""
        return ":" not in self.id

    def has(self, role: Role) -> bool:
        """Whether it may do what wants `role`. An operator may all; whoever has a role at all may see."""
        return bool(self.roles & {role, Role.OPERATOR}) or (role is Role.READER and bool(self.roles))


ANYBODY = Caller("nobody:", "nobody")
"""Who has not said who it is."""


def of_key(role: Role, address: str = "") -> Caller:
    """Who comes with the key of a role."""
    return Caller(f"key:{role}", f"the {role}'s key", frozenset({role}), address)


def of_queue(queue: str) -> Caller:
    """Who has sent a message to a queue."""
    return Caller(f"queue:{queue}", f"queue {queue}", frozenset({QUEUES[queue]}))


def of_timer(function: str) -> Caller:
    """The pipeline's own work, which no one asked for."""
    return Caller(f"timer:{function}", f"timer {function}", frozenset({Role.OPERATOR}))


def check(caller: Caller, route: str) -> None:
    """Raises NotAllowed where a caller may not call a route, or there is no such route in the table."""
    if route not in ROUTES:
        raise NotAllowed(f"{route} is open to nobody: it is not in the table of routes")
    wanted = ROUTES[route]
    if wanted is None or caller.has(wanted):
        return
    have = ", ".join(sorted(caller.roles)) or "no role"
    raise NotAllowed(
        f"this takes the role {wanted}, and {caller.name} has {have}; docs/security.md says who gives roles"
    )
