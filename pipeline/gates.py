"""What a version has to have proven to move on: a rule's gates, and the plan that follows from them. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from pipeline.access import Caller
from pipeline.catalog import Promotion
from pipeline.gallery import WITHDRAWN, VersionFacts
from pipeline.validation import names
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
class Judgement:
    """What somebody has said of a version. `name` is what of, `who` a Caller's id, `by` its name for people to read."""

    name: str
    outcome: str
    who: str
    by: str
    at: datetime
    details: str = ""


@dataclass(frozen=True)
class Judged:
    """All that stands of what was said of a version: verdicts by their names in lower case, approvals in their order.

    `published_by` are those who asked for the version, by `Caller.id`, where a rule has to know.
    """

    verdicts: Mapping[str, Judgement] = field(default_factory=dict)
    approvals: list[Judgement] = field(default_factory=list)
    withdrawn: Judgement | None = None
    published_by: frozenset[str] = frozenset()

    def part_of(self, who: str, version: str = "it") -> str:
        """What a caller has done to bring a version where it is, in words. Empty where that is nothing, and for a key,
        a queue or a timer: those name no person."""
        if not Caller(who, "").signed_in:
            return ""
        if who in self.published_by:
            return f"published {version}"
        given = [one.name for one in self.verdicts.values() if one.who == who]
        return f"gave {version} the verdict {names(given)}" if given else ""


UNJUDGED = Judged()


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


def plan(
    rule: Promotion,
    versions: Iterable[VersionFacts],
    have: Version | None,
    at: datetime,
    judged: Mapping[str, Judged] | None = None,
) -> Plan:
    """What `rule` makes of `versions`, where the target has `have`, at the time `at` by the clock that dated them.

    A version moves on that is Succeeded, in `latest`, before its end of life, as old as `soak`, in `range`, has the
    required verdicts and, where the rule wants it, an approval. `judged` has what was said of each, by name; tags say
    nothing, but that a version is withdrawn. Whether its regions are Completed no list tells.
    """
    newer = [
        Candidate(version, gates_of(rule, version, at, (judged or {}).get(version.name, UNJUDGED)))
        for version in versions
        if version.number is not None and (have is None or version.number > have)
    ]
    newer.sort(key=lambda one: one.version.number or (), reverse=True)
    return Plan(rule, have, newer)


def gates_of(rule: Promotion, version: VersionFacts, at: datetime, judged: Judged) -> list[Gate]:
    """What keeps a version from moving on by a rule, at the time `at`."""
    gates = []
    if version.state != "Succeeded":
        gates.append(Gate(f"it is {version.state}", may_open=version.state in ("Creating", "Updating")))
    if why := version.tag(WITHDRAWN) or (judged.withdrawn and (judged.withdrawn.details or "no reason given")):
        gates.append(Gate(f"it is withdrawn: {why}", may_open=False))
    elif version.excluded_from_latest and version.state == "Succeeded":
        gates.append(Gate("it is excluded from latest", may_open=False))
    if version.end_of_life is not None and version.end_of_life <= at:
        gates.append(Gate(f"its life ended on {version.end_of_life:%Y-%m-%d}", may_open=False))
    if not in_range(version.number or Version(0, 0, 0), rule.range):
        gates.append(Gate(f"it is not in the range {rule.range}", may_open=False))
    if not all(gate.may_open for gate in gates):
        return gates  # whatever else was said of it, or will be
    for name, wanted in rule.require.items():
        verdict = judged.verdicts.get(name.lower())
        if verdict is None:
            gates.append(Gate(f"it has no verdict {name}, {wanted} is required", may_open=True))
        elif verdict.outcome != wanted:
            gates.append(Gate(f"{name} is {verdict.outcome}, {wanted} is required", may_open=False))
    if rule.soak and (version.published is None or version.published + rule.soak > at):
        until = f" until {version.published + rule.soak:%Y-%m-%d %H:%M} UTC" if version.published else ""
        gates.append(Gate(f"it soaks{until}", may_open=True))
    if why := _unapproved(rule, judged):
        gates.append(Gate(why, may_open=True))
    return gates


def _unapproved(rule: Promotion, judged: Judged) -> str:
    """Why the approvals that a version has are not enough for a rule; empty where they are."""
    if not rule.approval:
        return ""
    if not judged.approvals:
        return "nobody has approved of it"
    parts = [judged.part_of(one.who) for one in judged.approvals] if rule.four_eyes else [""]
    if not all(parts):
        return ""
    told = " and by ".join(f"{one.by}, who {part}" for one, part in zip(judged.approvals, parts, strict=True))
    return f"approved by {told}: another person has to (four_eyes)"


def why_nothing(found: Plan) -> str:
    """Why a plan moves nothing, in words; empty where it moves something."""
    if found.hold:
        return f"the rule is held: {found.hold.why}"
    if found.pick:
        return ""
    if not found.candidates:
        return f"nothing is newer than {found.have}" if found.have else "there is no version yet"
    return "; ".join(f"{one.version.name}: {', '.join(gate.why for gate in one.gates)}" for one in found.candidates)
