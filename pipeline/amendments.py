"""What people and test systems say of a version that is published: verdicts, approvals, withdrawal, rollback."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import structlog

from pipeline.cloud.compute import DefinitionId
from pipeline.cloud.faults import NotFound
from pipeline.context import Context
from pipeline.engine import NotNow
from pipeline.gallery import Listing, VersionFacts
from pipeline.requests import Verdict
from pipeline.runs import Amendment, Purpose, Run, Stage, new_run_id, now
from pipeline.source import SourceKind
from pipeline.stages.amending import is_done
from pipeline.stages.marks import APPROVED, SOURCE_TAG, WITHDRAWN, tag_value

_log = structlog.get_logger()


def amend(ctx: Context, image: str, version: str, amendment: Amendment) -> Run | None:
    """Begin to amend a version. None where it is so already. Raises NotFound. The run's first step is due."""
    found = ctx.compute.version(_definition(ctx, image), version)
    if found.state == "Succeeded" and is_done(found, amendment):
        return None
    at = now()
    run = Run(
        id=new_run_id(image, at),
        image=image,
        source=found.id,
        kind=SourceKind.IMAGE_VERSION,
        stage=Stage.AMENDING,
        amendment=amendment,
        definition=ctx.catalog.definition_id(image),
        version=version,
        created=at,
        began=at,
        entered=at,
        due=at,
    )
    ctx.runs.begin(run)
    _log.info("amendment_begun", run=run.id, image=image, version=version, purpose=run.purpose, by=amendment.by)
    return run


def judge_version(ctx: Context, verdict: Verdict) -> Run | None:
    """Let a verdict become the tag that gates promotion. None where the version bears it already. Raises NotFound."""
    return amend(
        ctx,
        _known(ctx, verdict.image),
        verdict.version,
        Amendment(
            purpose=Purpose.VERDICT, tags={verdict.name: verdict.outcome}, why=verdict.details or "", by=verdict.by
        ),
    )


def approve(ctx: Context, image: str, version: str, by: str) -> Run | None:
    """Let a person's approval become the tag that a rule with `approval` waits for. Raises NotFound."""
    return amend(
        ctx, _known(ctx, image), version, Amendment(purpose=Purpose.APPROVAL, tags={APPROVED: tag_value(by)}, by=by)
    )


def withdraw(ctx: Context, image: str, version: str, *, why: str, by: str, promoted: bool) -> list[Run]:
    """Take a version out of latest in every region, and with `promoted` what was promoted from it. Raises NotFound.

    What is promoted from it at this moment does not join latest: its run looks again before it does.
    """
    amendment = Amendment(
        purpose=Purpose.WITHDRAWAL, tags={WITHDRAWN: why[:256] or "no reason given"}, in_latest=False, why=why, by=by
    )
    runs = [amend(ctx, _known(ctx, image), version, amendment)]
    if promoted:
        source = f"{ctx.catalog.definition_id(image)}/versions/{version}"
        for target, found in _promoted_from(ctx, image, source):
            runs += withdraw(ctx, target, found.name, why=f"{image} {version}: {why}", by=by, promoted=True)
    return [run for run in runs if run]


def _promoted_from(ctx: Context, image: str, source: str) -> Iterator[tuple[str, VersionFacts]]:
    for target in {ctx.catalog.target_of(rule) for rule in ctx.catalog.rules_from(image)}:
        for version in _listed(ctx, target).versions:
            if version.tags.get(SOURCE_TAG, "").lower() == tag_value(source).lower():
                yield target, version


def reinstate(ctx: Context, image: str, version: str, *, why: str, by: str) -> Run | None:
    """Undo a withdrawal. Raises NotFound."""
    amendment = Amendment(purpose=Purpose.REINSTATEMENT, tags={WITHDRAWN: None}, in_latest=True, why=why, by=by)
    return amend(ctx, _known(ctx, image), version, amendment)


@dataclass(frozen=True)
class Rollback:
    """From which version to which, and the runs that see to it."""

    image: str
    out: str
    back_to: str
    runs: list[Run]


def rollback(ctx: Context, image: str, *, why: str, by: str, dry_run: bool = False) -> Rollback:
    """Make the good version before the latest one latest again, by withdrawing the latest one.

    Good is what has Succeeded, is in latest, before its end of life, and Completed in every region. Raises NotNow
    where there is none to go back to.
    """
    listing = _listed(ctx, _known(ctx, image))
    fit = [version for version in listing.versions if version.state == "Succeeded" and not version.excluded_from_latest]
    if not fit:
        raise NotNow(f"{image} has no version in latest")
    latest = fit[0]
    for version in fit[1:]:
        ended = version.end_of_life is not None and version.end_of_life <= listing.at
        if not ended and ctx.compute.version(_definition(ctx, image), version.name).completed:
            said = f"rolled back to {version.name}" + (f": {why}" if why else "")
            runs = [] if dry_run else withdraw(ctx, image, latest.name, why=said, by=by, promoted=False)
            return Rollback(image, latest.name, version.name, runs)
    raise NotNow(f"{image} has no good version before {latest.name} to go back to")


def _known(ctx: Context, image: str) -> str:
    if image not in ctx.catalog.images:
        raise NotFound(f"the catalog has no image {image!r}; it has {', '.join(ctx.catalog.images)}")
    return image


def _definition(ctx: Context, image: str) -> DefinitionId:
    return DefinitionId.parse(ctx.catalog.definition_id(image))


def _listed(ctx: Context, image: str) -> Listing:
    try:
        return ctx.compute.versions(_definition(ctx, image))
    except NotFound:
        return Listing(now(), [])
