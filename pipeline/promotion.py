"""Promotion: which version of a rule's image moves on, what keeps the others, and moving it."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import islice

import structlog

from pipeline import engine
from pipeline.access import Caller
from pipeline.catalog import PromotedNumber, Promotion
from pipeline.cloud.faults import CloudFault, NotFound
from pipeline.context import Context
from pipeline.gallery import APPROVED, KEEP, Listing, VersionFacts
from pipeline.gates import Gate, Plan, plan, why_nothing
from pipeline.ledger import Reservation
from pipeline.limits import bounded
from pipeline.numbers import TooManyUnpublished, check_named, highest
from pipeline.requests import OURS
from pipeline.runs import Overtaken, Run, Stage
from pipeline.source import SourceKind
from pipeline.stages.marks import ORIGIN_TAG, SOURCE_TAG, tag_value
from pipeline.stages.ripeness import judged_for
from pipeline.versions import NoNumber, Version, Wish

_log = structlog.get_logger()
_LONGEST_TAG = 1024  # UTF-16 units; Azure takes 512 characters of a name and 256 of a value
_MOST_LOOKED_AT = 100
_MOST_TAGS = 40  # Azure takes 50 on a resource, and the pipeline adds its own


@dataclass(frozen=True)
class Promoted:
    """What came of a rule: its plan, the run that moves its pick, and why nothing was looked at, where it was not."""

    rule: Promotion
    plan: Plan | None
    run: Run | None = None
    fault: str | None = None


def look(ctx: Context, rule: Promotion, only: str | None = None) -> Plan:
    """What a rule would do now; with `only`, with the version of that name alone.

    Costs a list of either definition and two rows; for each candidate that may still move, what `judged_for` does; and
    where something would move, its replication and its claim.
    """
    target = ctx.catalog.target_of(rule)
    staged = ctx.listing(ctx.definition_of(rule.from_))
    there = ctx.listing(ctx.definition_of(target))
    have = _have(ctx, rule, there)
    if only and not staged.named(only):
        raise NotFound(f"{rule.from_} has no version {only}")
    versions = [version for version in staged.versions if only in (None, version.name)]
    found = plan(rule, versions, have, staged.at)
    judged = {version.name: judged_for(ctx, rule, version) for version in found.awaited}
    found = replace(plan(rule, versions, have, staged.at, judged), hold=ctx.holds.of(rule.key))
    while pick := found.pick:
        gate = _last_gate(ctx, target, ctx.compute.version(ctx.definition_of(rule.from_), pick.name))
        if gate is None and rule.number is PromotedNumber.KEEP:
            gate = _number_gate(ctx, target, pick, have)
        if gate is None:
            break
        found = found.kept_back(pick, gate)
    return found


def _last_gate(ctx: Context, target: str, version: VersionFacts) -> Gate | None:
    """What a list does not tell: regions that lack the version, a promotion of it that ended."""
    if not version.completed:
        lacking = ", ".join(f"{r.region} is at {r.progress} %" for r in version.replication if r.progress < 100)
        return Gate(f"it is not in all its regions: {lacking or 'Azure does not tell of each'}", may_open=True)
    run = _run_of(ctx, target, version)
    if run and run.stage is Stage.PUBLISHED:
        return Gate(f"it was promoted before, by {run.id}, and is gone from the target", may_open=False)
    if run and run.stage is Stage.CANCELLED:
        return Gate(f"its promotion {run.id} was cancelled; gallerist retry {run.id} takes it up again", may_open=True)
    return None


def _number_gate(ctx: Context, target: str, version: VersionFacts, have: Version | None) -> Gate | None:
    """Why a target may not have a version under its number."""
    number = Version.parse(version.name)
    held, run = ctx.ledger.reservation(ctx.catalog.definition_id(target), number), _run_of(ctx, target, version)
    if held and held.released:
        return Gate(f"its number was released in {target}, and is given to nobody again", may_open=False)
    if held and (run is None or held.run != run.id):
        return Gate(f"the run {held.run} of {target} has its number", may_open=False)
    try:
        check_named(ctx, target, number, have, version.id)
    except NoNumber as fault:
        return Gate(f"{target} does not take its number: {fault}", may_open=True)
    return None


def _run_of(ctx: Context, target: str, version: VersionFacts) -> Run | None:
    """The run that claimed a version for a target."""
    owner = ctx.sources.claimed_by(target, version.id, version.fingerprint)
    loaded = ctx.runs.load(owner) if owner else None
    return loaded[0] if loaded else None


def _have(ctx: Context, rule: Promotion, there: Listing) -> Version | None:
    """The number that a candidate must exceed."""
    staging, target = ctx.catalog.definition_id(rule.from_), ctx.catalog.definition_id(ctx.catalog.target_of(rule))
    if rule.number is PromotedNumber.NEXT:
        return _last_promoted(ctx, staging, target)
    return _highest_used(ctx, staging, target, there)


def _last_promoted(ctx: Context, staging: str, target: str) -> Version | None:
    """The number that the last version to come from staging into a target has there: by the ledger, for tags are
    whoever's who may tag the gallery."""
    for found in islice(ctx.ledger.counting(target), _MOST_LOOKED_AT):
        origin, _, name = found.source.rpartition("/versions/")
        loaded = ctx.runs.load(found.run) if origin.lower() == staging.lower() else None
        if loaded and loaded[0].stage is Stage.PUBLISHED:
            return _number(name)
    return None


def _highest_used(ctx: Context, staging: str, target: str, there: Listing) -> Version | None:
    """The highest number that counts in a target, but for a promotion of the version of that number that is not
    published yet: that one is taken up again."""

    def is_under_way(found: Reservation, run: Run | None) -> bool:
        its_own = found.source.lower() == f"{staging}/versions/{found.version}".lower()
        return its_own and run is not None and run.stage is not Stage.PUBLISHED

    names = [version.name for version in there.versions if version.number]
    try:
        return highest(ctx, target, names, unless=is_under_way)
    except TooManyUnpublished as fault:
        return fault.reached


def _number(text: str) -> Version | None:
    try:
        return Version.parse(text)
    except ValueError:
        return None


def promote(ctx: Context, rule: Promotion, only: str | None = None, caller: Caller | None = None) -> Promoted:
    """Move on what a rule lets move; a promotion that failed is taken up again. Two at once promote once.

    `caller` is whoever promotes by hand, None where the night does.
    """
    found = look(ctx, rule, only)
    pick = found.pick
    if pick is None:
        _log.info("promotion_nothing", rule=rule.key, why=why_nothing(found))
        return Promoted(rule, found)
    target = ctx.catalog.target_of(rule)
    run = _run_of(ctx, target, pick) or _begun(ctx, _draft(ctx, rule, target, pick, caller))
    if run.stage is Stage.FAILED:
        with suppress(engine.NotNow, Overtaken):  # another was faster
            run = engine.retry(ctx, run.id)
        _log.info("promotion_retried", rule=rule.key, run=run.id)
    return Promoted(rule, found, run)


def _begun(ctx: Context, draft: Run) -> Run:
    """A promotion that has claimed its version, begun here or, at this very moment, elsewhere."""
    draft.id = ctx.sources.claim(draft.image, draft.source, str(draft.etag), draft.id)
    if ctx.runs.begin(draft):
        engine.queue_step(ctx, draft)
        _log.info("promotion_begun", rule=draft.promotion, run=draft.id, source=draft.source)
    return draft


def promote_all(
    ctx: Context, rules: Iterable[Promotion], only: str | None = None, caller: Caller | None = None
) -> list[Promoted]:
    """Every rule's turn. One that Azure cannot answer for now does not keep the others."""
    done = []
    for rule in rules:
        try:
            done.append(promote(ctx, rule, only, caller))
        except CloudFault as fault:
            if only and isinstance(fault, NotFound):
                raise
            _log.error("promotion_failed", rule=rule.key, fault=str(fault))
            done.append(Promoted(rule, None, fault=str(fault)))
    return done


def _draft(ctx: Context, rule: Promotion, target: str, version: VersionFacts, caller: Caller | None) -> Run:
    return Run.draft(
        target,
        version.id,
        kind=SourceKind.IMAGE_VERSION,
        etag=version.fingerprint,
        stage=Stage.INSPECTING,
        promotion=rule.key,
        wish=Wish(exact=version.name) if rule.number is PromotedNumber.KEEP else None,
        asked_by=[caller.id] if caller else [],
        tags=_inherited(version.tags, ctx.catalog.verdicts_on(target)),
        origin=tag_value(_sound(_origin(ctx, version))),
    )


def _origin(ctx: Context, version: VersionFacts) -> str:
    """What the first version of a chain was made of."""
    if maker := ctx.maker(version.id):
        return maker.origin or maker.source
    return version.tags.get(ORIGIN_TAG) or version.tags.get(SOURCE_TAG, version.id)


def _inherited(tags: dict[str, str], verdicts: set[str]) -> dict[str, str]:
    """The tags that go along: what others said of the version, not what holds it where it is, nor what looks like one
    of the `verdicts` that the target's own rules require."""
    theirs = {
        _sound(name): _sound(value)
        for name, value in tags.items()
        if not name.lower().startswith(OURS)
        and name.lower() not in (APPROVED, KEEP, "created-by")
        and name.lower() not in verdicts
    }
    return dict(list(theirs.items())[:_MOST_TAGS])


def _sound(text: str) -> str:
    """A tag's name or value, which anyone may have set who may tag, as a run's record can hold it."""
    return bounded(text, _LONGEST_TAG)
