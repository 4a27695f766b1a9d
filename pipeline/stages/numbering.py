"""Derive the next version and reserve it."""

from __future__ import annotations

from pipeline.cloud.faults import NotFound
from pipeline.context import Context
from pipeline.ledger import Taken
from pipeline.runs import Run, Stage, now
from pipeline.source import SourceKind
from pipeline.stages.outcome import Go, Outcome, RunFailed, Wait
from pipeline.versions import Bump, NoNumber, Version, Wish, highest, next_version, next_within

_TRIES = 20


def numbering(run: Run, ctx: Context) -> Outcome:
    """Leaves when the run holds a number: the one its request names, or the next by request or catalog."""
    names = _names_in_gallery(run, ctx)
    for _ in range(_TRIES):
        try:
            number = _candidate(run, ctx, names)
            number = ctx.ledger.reserve(str(run.definition), number, run.id, run.source, run.etag or "")
        except NoNumber as fault:
            raise RunFailed(str(fault)) from fault
        except Taken:
            continue
        end_of_life = ctx.catalog.images[run.image].end_of_life
        run.version = str(number)
        run.end_of_life = now() + end_of_life if end_of_life else None
        return Go(Stage.PUBLISHING, f"version {number} is reserved")
    return Wait(1, "many runs ask for a number at once")


def _candidate(run: Run, ctx: Context, names: list[str]) -> Version:
    """The number to try. Raises NoNumber where an exact one is taken, or the rule has none to give."""
    definition, numbering = str(run.definition), ctx.catalog.images[run.image].version
    wish = run.wish or Wish(bump=numbering.bump)
    if wish.exact:
        number = Version.parse(wish.exact)
        holder = ctx.ledger.holder(definition, number)
        if holder != run.id and (holder or str(number) in names):
            by = f"the run {holder}" if holder else "a version that Gallerist did not make"
            raise NoNumber(f"version {number} is taken by {by}; ask for another, or for a wildcard such as 1.4.x")
        return number
    seen = [number for number in (highest(names, wish.within), ctx.ledger.highest(definition, wish.within)) if number]
    top = max(seen, default=None)
    if wish.within:
        return next_within(top, wish.within)
    bump = wish.bump or numbering.bump
    if bump in (Bump.FROM_NAME, Bump.FROM_METADATA) and run.kind is not SourceKind.BLOB:
        what = run.kind.value.replace("_", " ")
        raise NoNumber(
            f"bump {bump} takes the number from a VHD, and the source is a {what}: ask with a version or a bump"
        )
    name = run.blob.rpartition("/")[2]
    if bump is Bump.FROM_METADATA:
        name = ctx.blobs.metadata(run.container, run.blob).get("version", "")
    return next_version(
        top, bump, start=numbering.start, today=run.created.date(), name=name, pattern=numbering.pattern
    )


def _names_in_gallery(run: Run, ctx: Context) -> list[str]:
    try:
        return ctx.compute.version_names(ctx.definition(run))
    except NotFound:
        return []
