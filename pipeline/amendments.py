"""What people and test systems say of a version that is published: verdicts, approvals, withdrawal, rollback."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import structlog

from pipeline.access import Caller
from pipeline.cloud.faults import NotFound
from pipeline.context import Context
from pipeline.engine import NotNow
from pipeline.gallery import APPROVED, MOST_TAGS, WITHDRAWN, Listing, VersionFacts
from pipeline.requests import InvalidRequest, Verdict
from pipeline.runs import Amendment, Purpose, Run, Stage
from pipeline.source import SourceKind
from pipeline.stages.amending import is_done, tags_after, waiting
from pipeline.stages.marks import SOURCE_TAG, tag_value
from pipeline.validation import unknown

_log = structlog.get_logger()
_ROOM = 5  # tags that are left for what people say, however much test systems have to say


def amend(ctx: Context, image: str, version: str, amendment: Amendment, key: str | None = None) -> Run | None:
    """Begin to amend a version. None where it is so already. The run's first step is due.

    The same `key` again is the same run. Raises NotFound, or InvalidRequest for a version that takes no more tags.
    """
    found = ctx.compute.version(ctx.definition_of(image), version)
    if amendment.purpose in (Purpose.VERDICT, Purpose.APPROVAL):
        _check_room(found, amendment)
    run = Run.draft(
        image,
        found.id,
        kind=SourceKind.IMAGE_VERSION,
        stage=Stage.AMENDING,
        amendment=amendment,
        definition=ctx.catalog.definition_id(image),
        version=version,
    )
    if key:
        run.id, _ = ctx.requests.name(key, run.id, "")
        if loaded := ctx.runs.load(run.id):
            return loaded[0]
    if found.state == "Succeeded" and is_done(found, amendment) and not waiting(ctx, found.id):
        return None
    ctx.turns.take(found.id, run.id)
    if ctx.runs.begin(run):
        _log.info("amendment_begun", run=run.id, image=image, version=version, purpose=run.purpose, by=amendment.by)
    return run


def _check_room(version: VersionFacts, amendment: Amendment) -> None:
    after = tags_after(version, amendment)
    if len(after) > max(len(version.tags), MOST_TAGS - _ROOM):
        said = f"version {version.name} bears {len(version.tags)} tags; Azure takes {MOST_TAGS}, and some are kept free"
        raise InvalidRequest([("name", said)])


def judge_version(ctx: Context, verdict: Verdict, caller: Caller, key: str | None = None) -> Run | None:
    """Let a verdict become the tag that gates promotion. None where the version bears it already.

    The same `key` again is the same verdict. Raises NotFound, or InvalidRequest.
    """
    tags: dict[str, str | None] = {verdict.name: verdict.outcome}
    said = Amendment(purpose=Purpose.VERDICT, tags=tags, why=verdict.details or "", **_by(caller, verdict.by))
    return amend(ctx, _known(ctx, verdict.image), verdict.version, said, key)


def approve(ctx: Context, image: str, version: str, *, caller: Caller, note: str) -> Run | None:
    """Let a person's approval become the tag that a rule with `approval` waits for. Raises NotFound."""
    said = Amendment(purpose=Purpose.APPROVAL, tags={APPROVED: tag_value(caller.name)}, **_by(caller, note))
    return amend(ctx, _known(ctx, image), version, said)


def withdraw(
    ctx: Context, image: str, version: str, *, why: str, caller: Caller, note: str = "", promoted: bool
) -> list[Run]:
    """Take a version out of latest in every region, and with `promoted` what was promoted from it.

    What is being promoted from it does not join latest: its run looks again before it does. Raises NotFound where
    nothing of it is there.
    """
    amendment = Amendment(
        purpose=Purpose.WITHDRAWAL,
        tags={WITHDRAWN: why[:256] or "no reason given"},
        in_latest=False,
        why=why,
        **_by(caller, note),
    )
    source = f"{ctx.catalog.definition_id(_known(ctx, image))}/versions/{version}"
    further = list(_promoted_from(ctx, image, source)) if promoted else []
    try:
        runs = [amend(ctx, image, version, amendment)]
    except NotFound:
        if not further:
            raise
        runs = []
    for target, found in further:
        runs += withdraw(
            ctx, target, found.name, why=f"{image} {version}: {why}", caller=caller, note=note, promoted=True
        )
    return [run for run in runs if run]


def _promoted_from(ctx: Context, image: str, source: str) -> Iterator[tuple[str, VersionFacts]]:
    for target in {ctx.catalog.target_of(rule) for rule in ctx.catalog.rules_from(image)}:
        for version in ctx.listing(ctx.definition_of(target)).versions:
            if (version.tag(SOURCE_TAG) or "").lower() == tag_value(source).lower():
                yield target, version


def reinstate(ctx: Context, image: str, version: str, *, why: str, caller: Caller, note: str = "") -> Run | None:
    """Undo a withdrawal. Raises NotFound."""
    amendment = Amendment(
        purpose=Purpose.REINSTATEMENT, tags={WITHDRAWN: None}, in_latest=True, why=why, **_by(caller, note)
    )
    return amend(ctx, _known(ctx, image), version, amendment)


@dataclass(frozen=True)
class Rollback:
    """From which version to which, and the runs that see to it."""

    image: str
    out: str
    back_to: str
    runs: list[Run]


def rollback(
    ctx: Context,
    image: str,
    *,
    why: str,
    caller: Caller,
    note: str = "",
    out: str | None = None,
    dry_run: bool = False,
) -> Rollback:
    """Make the good version before the latest one latest again, by withdrawing the latest one.

    Good is what has Succeeded, is in latest, before its end of life, and Completed in every region. Raises NotNow
    where there is none to go back to, where a withdrawal is under way, or where the latest one is not `out`: the same
    call again takes no further version out.
    """
    listing = ctx.listing(ctx.definition_of(_known(ctx, image)))
    latest: VersionFacts | None = None
    for version in listing.versions:
        _check_at_rest(ctx, image, version)
        if version.excluded_from_latest or version.state in ("Creating", "Deleting"):
            continue
        if latest is None:
            latest = version
            if out not in (None, latest.name):
                raise NotNow(f"{image} {out} is not the latest version, {latest.name} is: nothing is rolled back")
            continue
        if _is_good(ctx, image, version, listing):
            said = f"rolled back to {version.name}" + (f": {why}" if why else "")
            runs = (
                [] if dry_run else withdraw(ctx, image, latest.name, why=said, caller=caller, note=note, promoted=False)
            )
            return Rollback(image, latest.name, version.name, runs)
    if latest is None:
        raise NotNow(f"{image} has no version in latest")
    raise NotNow(f"{image} has no good version before {latest.name} to go back to")


def _check_at_rest(ctx: Context, image: str, version: VersionFacts) -> None:
    for run in waiting(ctx, version.id):
        if run.amendment and run.amendment.in_latest is not None:
            raise NotNow(f"a {run.purpose} of {image} {version.name} is under way, the run {run.id}: wait for it")


def _is_good(ctx: Context, image: str, version: VersionFacts, listing: Listing) -> bool:
    ended = version.end_of_life is not None and version.end_of_life <= listing.at
    whole = version.state == "Succeeded" and not ended
    return whole and ctx.compute.version(ctx.definition_of(image), version.name).completed


def _by(caller: Caller, note: str) -> dict[str, str]:
    return {"by": caller.name, "by_id": caller.id, "note": note}


def _known(ctx: Context, image: str) -> str:
    if image not in ctx.catalog.images:
        raise NotFound(unknown("the catalog has no image", image, ctx.catalog.images))
    return image
