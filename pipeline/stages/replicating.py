"""Watch the version reach its regions; mend the ones that fail."""

from __future__ import annotations

from pipeline.cloud.faults import NotFound
from pipeline.context import Context
from pipeline.gallery import VersionFacts
from pipeline.replication import Verdict, judge, poll_delay
from pipeline.runs import Run, Stage, now
from pipeline.source import SourceKind
from pipeline.stages.inspecting import check_unchanged
from pipeline.stages.marks import NOT_OURS, is_of
from pipeline.stages.outcome import Go, Outcome, RunFailed, Wait

REPAIRS = 2
"""How often one region is dropped and added again before the run gives up."""
_SEEN_WITHIN = 600  # seconds; Resource Manager's cache may lag behind a PUT, for seconds as a rule


def replicating(run: Run, ctx: Context) -> Outcome:
    """Leaves when every target region is Completed.

    A region that failed is dropped and added again, which is what Azure's own error asks for (azure-cli#15539).
    What to do follows from what Azure reports, not from what was done before: a step taken twice does no harm.
    """
    at, number = ctx.definition(run), str(run.version)
    waited = (now() - run.entered).total_seconds()
    try:
        version = ctx.compute.version(at, number)
    except NotFound:
        if waited > _SEEN_WITHIN:
            raise RunFailed(f"version {number} was deleted while it was replicated") from None
        return Wait(ctx.settings.poll_seconds, f"Azure does not show version {number} yet")
    if not is_of(run, version.tags):
        raise RunFailed(f"version {number} {NOT_OURS}")
    wanted = ctx.targets(run)
    verdict = judge([target.region for target in wanted], version.replication)
    run.regions = verdict.regions
    if version.state in ("Creating", "Updating"):
        delay = poll_delay(waited, ctx.settings.poll_seconds, ctx.settings.poll_max_seconds)
        return Wait(delay, f"version {number} replicates: the slowest region is at {verdict.progress} %")
    if version.state == "Deleting":
        raise RunFailed(f"version {number} is being deleted, and not by this run")
    if verdict.failed:
        return _drop_failed(run, ctx, version, verdict)
    if version.state == "Failed":
        raise RunFailed(f"Azure could not make version {number}: {_why(run, ctx, verdict)}")
    if missing := [target for target in wanted if target.region not in version.targets]:
        run.operation = ctx.compute.add_regions(at, number, version.resource, missing)
        names = ", ".join(target.region for target in missing)
        return Wait(ctx.settings.poll_seconds, f"{names}: replicates anew", happened=f"{names}: added again")
    if not verdict.completed:
        delay = poll_delay(waited, ctx.settings.poll_seconds, ctx.settings.poll_max_seconds)
        return Wait(delay, f"version {number} is made; the slowest region is at {verdict.progress} %")
    if run.kind is SourceKind.BLOB and run.managed_image is None:
        check_unchanged(run, ctx)  # Azure has read the VHDs for the version itself
    return Go(Stage.FINISHING, f"version {number} is in all {len(verdict.regions)} regions")


def _drop_failed(run: Run, ctx: Context, version: VersionFacts, verdict: Verdict) -> Outcome:
    source = ctx.catalog.gallery_of(run.image).location
    failed = [region.region for region in verdict.failed]
    if source in failed or any(run.repairs.get(name, 0) >= REPAIRS for name in failed):
        raise RunFailed(
            f"version {run.version} failed in {', '.join(failed)}"
            + (f", after {max(run.repairs.values())} repairs" if run.repairs else "")
            + f": {_why(run, ctx, verdict)}"
        )
    for name in failed:
        run.repairs[name] = run.repairs.get(name, 0) + 1
    run.operation = ctx.compute.drop_regions(ctx.definition(run), str(run.version), version.resource, failed)
    names, why = ", ".join(failed), "; ".join(r.details for r in verdict.failed if r.details)
    return Wait(
        ctx.settings.poll_seconds,
        f"{names}: dropped, to be added again",
        happened=f"{names}: failed ({why or 'no details'}), dropped to be added again",
    )


def _why(run: Run, ctx: Context, verdict: Verdict) -> str:
    details = "; ".join(f"{region.region}: {region.details}" for region in verdict.failed if region.details)
    said = ctx.compute.why_failed(ctx.definition(run).subscription, run.operation) if run.operation else ""
    return details or said or "it gives no reason"
