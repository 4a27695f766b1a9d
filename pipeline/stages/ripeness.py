"""A promotion under way: whether its version may still move."""

from __future__ import annotations

from dataclasses import replace

from pipeline.access import Caller
from pipeline.catalog import Promotion
from pipeline.cloud.compute import DefinitionId
from pipeline.context import Context
from pipeline.gallery import VersionFacts
from pipeline.gates import Judged, gates_of
from pipeline.runs import Run
from pipeline.source import SourceKind
from pipeline.stages.outcome import RunFailed, Wait


def check_ripe(run: Run, ctx: Context) -> Wait | None:
    """A wait while the rule is held; None where its version may move.

    Raises RunFailed where a gate has closed since the version was picked, or another has taken its name.
    """
    rule = next((rule for rule in ctx.catalog.promotions if rule.key == run.promotion), None)
    if rule is None:
        raise RunFailed(f"the catalog has no rule {run.promotion!r} any more")
    if hold := ctx.holds.of(rule.key):
        return Wait(ctx.settings.poll_max_seconds, f"the rule {rule.key} is held: {hold.why}")
    definition, _, name = run.source.partition("/versions/")
    listing = ctx.listing(DefinitionId.parse(definition))
    version = listing.named(name)
    if version is None or version.fingerprint != run.etag:
        raise RunFailed(f"the image version {run.source} was deleted, or made anew, while it was promoted")
    gates = gates_of(rule, version, listing.at, judged_for(ctx, rule, version))
    if version.state == "Updating" and all(gate.may_open for gate in gates):
        return Wait(ctx.settings.poll_seconds, f"{run.source} is Updating")
    if gates:
        raise RunFailed(f"{run.source} may not move any more: {'; '.join(gate.why for gate in gates)}")
    return None


def judged_for(ctx: Context, rule: Promotion, version: VersionFacts) -> Judged:
    """What was said of a version, as a rule has to know it.

    Costs a query; where somebody who signed in approves, and the rule wants another than who published it, two rows
    more, and two for each promotion that the version has behind it.
    """
    judged = ctx.judgements.of(version.fingerprint)
    if rule.approval and rule.four_eyes and any(Caller(one.who, "").signed_in for one in judged.approvals):
        return replace(judged, published_by=publishers(ctx, version.id))
    return judged


def publishers(ctx: Context, version: str) -> frozenset[str]:
    """Who asked for a version, by `Caller.id`, and who asked for the one that it was made of, back to the first one."""
    found: set[str] = set()
    seen: set[str] = set()
    while version.lower() not in seen and (run := ctx.maker(version)):
        seen.add(version.lower())
        found |= set(run.asked_by)
        if run.kind is SourceKind.IMAGE_VERSION:
            version = run.source
    return frozenset(found)
