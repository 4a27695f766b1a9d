"""A promotion under way: whether its version may still move."""

from __future__ import annotations

from pipeline.cloud.compute import DefinitionId
from pipeline.context import Context
from pipeline.gates import gates_of
from pipeline.runs import Purpose, Run
from pipeline.stages.amending import waiting
from pipeline.stages.outcome import RunFailed, Wait


def check_ripe(run: Run, ctx: Context) -> Wait | None:
    """A wait while the rule is held or its version is about to be withdrawn; None where it may move.

    Raises RunFailed where a gate has closed since the version was picked, or another has taken its name.
    """
    rule = next((rule for rule in ctx.catalog.promotions if rule.key == run.promotion), None)
    if rule is None:
        raise RunFailed(f"the catalog has no rule {run.promotion!r} any more")
    if hold := ctx.holds.of(rule.key):
        return Wait(ctx.settings.poll_max_seconds, f"the rule {rule.key} is held: {hold.why}")
    if any(one.amendment and one.amendment.purpose is Purpose.WITHDRAWAL for one in waiting(ctx, run.source)):
        return Wait(ctx.settings.poll_seconds, f"{run.source} is being withdrawn")
    definition, _, name = run.source.partition("/versions/")
    listing = ctx.listing(DefinitionId.parse(definition))
    version = listing.named(name)
    if version is None or version.fingerprint != run.etag:
        raise RunFailed(f"the image version {run.source} was deleted, or made anew, while it was promoted")
    gates = gates_of(rule, version, listing.at)
    if version.state == "Updating" and all(gate.may_open for gate in gates):
        return Wait(ctx.settings.poll_seconds, f"{run.source} is Updating")
    if gates:
        raise RunFailed(f"{run.source} may not move any more: {'; '.join(gate.why for gate in gates)}")
    return None
