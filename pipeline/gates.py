"""What a version has to have proven to move on: a rule's gates, and the plan that follows from them. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime

from pipeline.catalog import Promotion
from pipeline.gallery import WITHDRAWN, VersionFacts
from pipeline.versions import Version, in_range


@dataclass(frozen=True)
class Gate:
    """What keeps a version from moving on. `may_open`: time, a verdict or an approval can still open it."""

    why: str
    may_open: bool


@dataclass(frozen=True)
class Hold:
    """A promotion rule is held: nothing moves by it until it is released."""

    why: str
    by: str
    at: datetime


@dataclass(frozen=True)
class Candidate:
    """A version that is newer than what its target has, and what keeps it."""

    version: VersionFacts
    gates: list[Gate]


@dataclass(frozen=True)
class Plan:
    """What a rule would do. `candidates` are the newer versions, highest first; `have` is what the target has."""

    rule: Promotion
    have: Version | None
    candidates: list[Candidate] = field(default_factory=list)
    hold: Hold | None = None

    @property
    def pick(self) -> VersionFacts | None:
        """The highest version that nothing keeps."""
        if self.hold:
            return None
        return next((one.version for one in self.candidates if not one.gates), None)

    @property
    def awaited(self) -> list[VersionFacts]:
        """The versions that move on, or still may: retention leaves them be."""
        return [one.version for one in self.candidates if all(gate.may_open for gate in one.gates)]

    def kept_back(self, version: VersionFacts, gate: Gate) -> Plan:
        """The plan with one more gate before a version."""
        return replace(
            self,
            candidates=[
                replace(one, gates=[*one.gates, gate]) if one.version.name == version.name else one
                for one in self.candidates
            ],
        )


def plan(rule: Promotion, versions: Iterable[VersionFacts], have: Version | None, at: datetime) -> Plan:
    """What `rule` makes of `versions`, where the target has `have`, at the time `at` by the clock that dated them.

    A version moves on that is Succeeded, in `latest`, before its end of life, as old as `soak`, in `range`, bears
    the required tags and, where the rule wants it, an approval. Whether its regions are Completed no list tells.
    """
    newer = [
        Candidate(version, gates_of(rule, version, at))
        for version in versions
        if version.number is not None and (have is None or version.number > have)
    ]
    newer.sort(key=lambda one: one.version.number or (), reverse=True)
    return Plan(rule, have, newer)


def gates_of(rule: Promotion, version: VersionFacts, at: datetime) -> list[Gate]:
    """What keeps a version from moving on by a rule, at the time `at`."""
    gates = []
    if version.state != "Succeeded":
        gates.append(Gate(f"it is {version.state}", may_open=version.state in ("Creating", "Updating")))
    if why := version.tag(WITHDRAWN):
        gates.append(Gate(f"it is withdrawn: {why}", may_open=False))
    elif version.excluded_from_latest and version.state == "Succeeded":
        gates.append(Gate("it is excluded from latest", may_open=False))
    if version.end_of_life is not None and version.end_of_life <= at:
        gates.append(Gate(f"its life ended on {version.end_of_life:%Y-%m-%d}", may_open=False))
    if not in_range(version.number or Version(0, 0, 0), rule.range):
        gates.append(Gate(f"it is not in the range {rule.range}", may_open=False))
    for name, wanted in rule.require.items():
        said = version.tag(name)
        if said is None:
            gates.append(Gate(f"it bears no tag {name}, {wanted} is required", may_open=True))
        elif said != wanted:
            gates.append(Gate(f"{name} is {said}, {wanted} is required", may_open=False))
    if rule.soak and (version.published is None or version.published + rule.soak > at):
        until = f" until {version.published + rule.soak:%Y-%m-%d %H:%M} UTC" if version.published else ""
        gates.append(Gate(f"it soaks{until}", may_open=True))
    if rule.approval and not version.approved:
        gates.append(Gate("nobody has approved of it", may_open=True))
    return gates


def why_nothing(found: Plan) -> str:
    """Why a plan moves nothing, in words; empty where it moves something."""
    if found.hold:
        return f"the rule is held: {found.hold.why}"
    if found.pick:
        return ""
    if not found.candidates:
        return f"nothing is newer than {found.have}" if found.have else "there is no version yet"
    return "; ".join(f"{one.version.name}: {', '.join(gate.why for gate in one.gates)}" for one in found.candidates)
