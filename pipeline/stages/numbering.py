"""Derive the next version and reserve it."""

from __future__ import annotations

from functools import partial

from pipeline import numbers
from pipeline.cloud.faults import NotFound
from pipeline.context import Context
from pipeline.ledger import Taken
from pipeline.numbers import TooManyUnpublished
from pipeline.runs import Run, Stage, now
from pipeline.source import SourceKind
from pipeline.stages.outcome import Go, Outcome, RunFailed, Wait
from pipeline.versions import Bump, NoNumber, Version, Wish, next_version, next_within, part_of

_TRIES = 20


def numbering(run: Run, ctx: Context) -> Outcome:
    """Leaves when the run holds a number: the one its request names, or the next by request or catalog."""
    number = ctx.ledger.held_by(str(run.definition), run.id)
    if number is None:
        try:
            number = _reserved(run, ctx)
        except NoNumber as fault:
            raise RunFailed(str(fault)) from fault
        except TooManyUnpublished as fault:
            return Wait(1, str(fault))
    if number is None:
        return Wait(1, "many runs ask for a number at once")
    end_of_life = ctx.catalog.images[run.image].end_of_life
    run.version = str(number)
    run.end_of_life = now() + end_of_life if end_of_life else None
    return Go(Stage.PUBLISHING, f"version {number} is reserved")


def _reserved(run: Run, ctx: Context) -> Version | None:
    """A number that is the run's from now on; None where others were faster each time. Raises NoNumber,
    TooManyUnpublished."""
    names = _names_in_gallery(run, ctx)
    for tries in range(_TRIES):
        number = _candidate(run, ctx, names, passing=tries > 0)
        try:
            return ctx.ledger.reserve(str(run.definition), number, run.id, run.source, run.etag or "")
        except Taken:
            continue
    return None


def _candidate(run: Run, ctx: Context, names: list[str], *, passing: bool) -> Version:
    """The number to try; with `passing`, one that nobody had reserved a moment ago. Raises NoNumber where one that is
    named is taken, or the rule has none to give; TooManyUnpublished."""
    definition, rule = str(run.definition), ctx.catalog.images[run.image].version
    wish = run.wish or Wish(bump=rule.bump)
    top = numbers.highest(ctx, definition, names)
    if wish.exact:
        number = Version.parse(wish.exact)
        _check_free(run, ctx, names, number)
        _check_named(run, ctx, number, top)
        return number
    if wish.within:
        _check_named(run, ctx, Version(*wish.within, *[0] * (3 - len(wish.within))), top)
        following, bump = partial(next_within, within=wish.within), Bump.PATCH
        number = following(numbers.highest(ctx, definition, names, wish.within))
    else:
        bump = wish.bump or rule.bump
        following = partial(
            next_version,
            bump=bump,
            start=rule.start,
            today=run.created.date(),
            name=_name_with_number(run, ctx, bump),
            pattern=rule.pattern,
        )
        number = following(top)
        if bump in (Bump.FROM_NAME, Bump.FROM_METADATA):
            _check_free(run, ctx, names, number)
            _check_named(run, ctx, number, top)
            return number
        if bump is not rule.bump:
            _check_named(run, ctx, number, top)
    if passing and ctx.ledger.reservation(definition, number):
        return ctx.ledger.first_free(definition, following(number), part_of(bump))
    return number


def _name_with_number(run: Run, ctx: Context, bump: Bump) -> str:
    """The text that `bump` finds the number in. Raises NoNumber where the source has none."""
    if bump in (Bump.FROM_NAME, Bump.FROM_METADATA) and run.kind is not SourceKind.BLOB:
        what = run.kind.value.replace("_", " ")
        raise NoNumber(
            f"bump {bump} takes the number from a VHD, and the source is a {what}: ask with a version or a bump"
        )
    if bump is Bump.FROM_METADATA:
        return ctx.blobs.metadata(run.container, run.blob).get("version", "")
    return run.blob.rpartition("/")[2]


def _check_free(run: Run, ctx: Context, names: list[str], number: Version) -> None:
    """Raises NoNumber where a number that is named cannot be this run's."""
    found = ctx.ledger.reservation(str(run.definition), number)
    if found and found.released:
        raise NoNumber(f"version {number} was released, and is given to nobody again; ask for another")
    if (found and found.run != run.id) or (not found and str(number) in names):
        by = f"the run {found.run}" if found else "a version that Gallerist did not make"
        raise NoNumber(f"version {number} is taken by {by}; ask for another, or for a wildcard such as 1.4.x")


def _check_named(run: Run, ctx: Context, number: Version, top: Version | None) -> None:
    if not run.may_jump:
        numbers.check_named(ctx, run.image, number, top, run.source if run.promotion else "")


def _names_in_gallery(run: Run, ctx: Context) -> list[str]:
    try:
        return ctx.compute.version_names(ctx.definition(run))
    except NotFound:
        return []
