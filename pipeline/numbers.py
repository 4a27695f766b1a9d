"""Which numbers count where the next one is derived, and releasing one that should not."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime

import structlog

from pipeline import versions
from pipeline.cloud.faults import NotFound
from pipeline.context import Context
from pipeline.ledger import Reservation
from pipeline.runs import Run, Stage
from pipeline.validation import unknown
from pipeline.versions import Version

_log = structlog.get_logger()
_MOST = 100
"""Numbers of runs that were never published that are looked up at once."""
_TRIES = 5


class NumberInUse(ValueError):
    """A number is not to be released. The message says who uses it, and what to do."""


class TooManyUnpublished(Exception):
    """More numbers than are looked up at once do not count: asked again, those are passed over. `reached` is the
    lowest of them."""

    def __init__(self, reached: Version) -> None:
        super().__init__(f"the numbers down to {reached} are of runs that were never published")
        self.reached = reached


def counts(found: Reservation, run: Run | None) -> bool:
    """Whether a number binds those after it: its run is under way with it, or has published it.

    A number that was released does not; one of a run that nobody knows does.
    """
    if found.released:
        return False
    if run is None:
        return True
    if run.stage.ended:
        return run.version == str(found.version) and (run.published or run.stage is Stage.PUBLISHED)
    return run.version in (None, str(found.version))


def highest(
    ctx: Context,
    definition: str,
    names: Iterable[str],
    within: tuple[int, ...] = (),
    unless: Callable[[Reservation, Run | None], bool] = lambda _found, _run: False,
) -> Version | None:
    """The highest number that counts and whose first parts are `within`: of the versions a definition holds, by
    `names`, and of those that were reserved, but for those that `unless` passes over.

    What does not count is marked, so that it is looked up once. Raises TooManyUnpublished.
    """
    held = versions.highest(list(names), within)
    for n, found in enumerate(ctx.ledger.counting(definition, within)):
        if held is not None and found.version <= held:
            break
        run = _run(ctx, found)
        if counts(found, run):
            if not unless(found, run):
                return found.version
        else:
            ctx.ledger.discount(definition, found.version, _still_unpublished(ctx, found))
        if n >= _MOST:
            raise TooManyUnpublished(found.version)
    return held


def _still_unpublished(ctx: Context, found: Reservation) -> Callable[[], bool]:
    return lambda: not counts(found, _run(ctx, found))


def _run(ctx: Context, found: Reservation) -> Run | None:
    loaded = ctx.runs.load(found.run)
    return loaded[0] if loaded else None


def check_named(ctx: Context, image: str, number: Version, top: Version | None, promoted: str = "") -> None:
    """Check that a number that somebody names for a version of an image, whose highest one is `top`, does not end or
    cripple its numbering. Raises NoNumber.

    A version that is promoted, by its id, may skip as many majors as numbers were given where it comes from: runs that
    were not promoted took those.
    """
    rule = ctx.catalog.images[image].version
    base, skips = max(top or rule.start, rule.start), 0
    if promoted and number.major > base.major + 1:
        skips = ctx.ledger.given_between(promoted.partition("/versions/")[0], base, number)
    today = datetime.now(UTC).date()
    versions.check_named(number, top, rule.bump, start=rule.start, today=today, skips=skips)


def release_number(ctx: Context, image: str, version: str, *, why: str) -> None:
    """Let a number count no more, so that the next ones are derived as though it had never been reserved. It is never
    given again all the same. Once more is no fault.

    Raises NotFound where no run has ever reserved it; NumberInUse while the gallery holds that version, or its run is
    under way.
    """
    if image not in ctx.catalog.images:
        raise NotFound(unknown("the catalog has no image", image, ctx.catalog.images))
    definition, number = ctx.catalog.definition_id(image), Version.parse(version)
    for _ in range(_TRIES):
        found = ctx.ledger.reservation(definition, number)
        if found is None:
            raise NotFound(f"no run has ever reserved {image} {version}")
        if found.released:
            return
        _check_unused(ctx, image, found)
        if ctx.ledger.discount(definition, number, _has_ended(ctx, found), why):
            _log.warning("number_released", image=image, version=version, run=found.run, why=why)
            return
    raise NumberInUse(f"the run of {image} {version} takes it up again at this moment: ask once that has ended")


def _has_ended(ctx: Context, found: Reservation) -> Callable[[], bool]:
    def look() -> bool:
        run = _run(ctx, found)
        return run is None or run.stage.ended

    return look


def _check_unused(ctx: Context, image: str, found: Reservation) -> None:
    if not _has_ended(ctx, found)():
        raise NumberInUse(f"the run {found.run} is at work with {image} {found.version}: cancel it first, or wait")
    try:
        ctx.compute.version(ctx.definition_of(image), str(found.version))
    except NotFound:
        return
    raise NumberInUse(
        f"the gallery holds {image} {found.version}: where it should not, delete it first: az sig image-version delete "
        f"--ids {ctx.catalog.definition_id(image)}/versions/{found.version}"
    )
