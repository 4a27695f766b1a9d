"""Ask Azure for the version: create-only, adopting what is ours and touching nothing that is not."""

from __future__ import annotations

from pipeline.cloud.compute import VersionSource
from pipeline.cloud.faults import Conflict, Denied, NotFound
from pipeline.context import Context
from pipeline.runs import Run, Stage
from pipeline.source import SourceKind
from pipeline.stages.marks import is_of, is_of_this_try, left_behind, tags_of
from pipeline.stages.outcome import Go, Outcome, RunFailed, Wait


def publishing(run: Run, ctx: Context) -> Outcome:
    """Leaves when Azure has accepted the version."""
    at, number = ctx.definition(run), str(run.version)
    try:
        found = ctx.compute.version(at, number)
    except NotFound:
        return _create(run, ctx)
    if not is_of(run, found.tags):
        return _renumber(run, ctx, "another has made it")
    if found.state == "Deleting":
        return Wait(ctx.settings.poll_seconds, f"an earlier try at {number} is being deleted")
    # Azure lets nothing but a deletion happen to a version that failed to be created.
    if found.state == "Failed" or not is_of_this_try(run, found.tags):
        why = "failed" if found.state == "Failed" else "was of other content"
        try:
            ctx.compute.delete_version(at, number, for_good=True)
        except Denied as fault:
            raise RunFailed(f"an earlier try at version {number} {why}. {left_behind(run, fault)}") from fault
        return Wait(ctx.settings.poll_seconds, f"an earlier try at {number} {why} and is being deleted")
    return Go(Stage.REPLICATING, f"version {number} is under way")


def _create(run: Run, ctx: Context) -> Outcome:
    at = ctx.definition(run)
    try:
        run.operation = ctx.compute.create_version(
            at,
            str(run.version),
            location=ctx.catalog.gallery_of(run.image).location,
            source=_source(run, ctx),
            targets=ctx.targets(run),
            end_of_life=run.end_of_life,
            tags=tags_of(run),
        )
    except Conflict as fault:
        if fault.code == "PropertyChangeNotAllowed":
            return _renumber(run, ctx, "another has just made it")
        raise
    regions = ", ".join(target.region for target in ctx.targets(run))
    return Go(Stage.REPLICATING, f"version {run.version} is accepted, for {regions}")


def _source(run: Run, ctx: Context) -> VersionSource:
    if run.managed_image:
        return VersionSource(image=ctx.managed_image_group_of(run).managed_image_id(run.managed_image))
    match run.kind:
        case SourceKind.BLOB:
            return VersionSource(
                storage_account=str(ctx.settings.vhd_storage_account_id),
                vhd=run.source,
                data_vhds=[(disk.lun, disk.url) for disk in run.data_disks],
            )
        case SourceKind.VM:
            return VersionSource(vm=run.source)
        case SourceKind.DISK | SourceKind.SNAPSHOT:
            return VersionSource(disk=run.source)
    return VersionSource(image=run.source)


def _renumber(run: Run, ctx: Context, why: str) -> Outcome:
    if run.wish and run.wish.exact:
        raise RunFailed(f"version {run.version} is taken: {why}")
    ctx.ledger.renounce(str(run.definition), run.id)
    taken, run.version = run.version, None
    return Go(Stage.NUMBERING, f"version {taken} is taken: {why}")
