"""What people and test systems say of a version that is published: verdicts, approvals, withdrawal, rollback."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime

import structlog

from pipeline.access import Caller, NotAllowed
from pipeline.cloud.faults import NotFound
from pipeline.context import Context
from pipeline.engine import NotNow
from pipeline.gallery import APPROVED, WITHDRAWN, Listing, VersionFacts
from pipeline.judgements import about
from pipeline.requests import InvalidRequest, Verdict
from pipeline.runs import Amendment, Purpose, Run, Stage
from pipeline.source import SourceKind
from pipeline.stages.amending import is_done, tags_after, waiting
from pipeline.stages.marks import SOURCE_TAG, tag_value
from pipeline.stages.ripeness import publishers
from pipeline.validation import names, quoted, unknown

_log = structlog.get_logger()
MOST_WAITING = 50
"""Amendments that stand in line for one version. A withdrawal is never one too many."""


def amend(ctx: Context, image: str, found: VersionFacts, amendment: Amendment, key: str | None = None) -> Run | None:
    """Write down what is said of a version, and begin to amend the version, or join what waits to do so.

    None where the version is so already, or where it was said differently since. The run's first step is due. The
    same `key` again is the same saying. Raises NotNow where too many amendments of the version wait.
    """
    run = Run.draft(
        image,
        found.id,
        kind=SourceKind.IMAGE_VERSION,
        stage=Stage.AMENDING,
        amendment=amendment,
        definition=ctx.catalog.definition_id(image),
        version=found.name,
    )
    first = run.created
    if key:
        run.id, came = ctx.requests.name(key, run.id, run.created.isoformat())
        if loaded := ctx.runs.load(run.id):
            return loaded[0]
        first = datetime.fromisoformat(came)
    line = ctx.turns.line(found.id)
    joins = amendment.is_judgement and about(amendment) in line.about
    if len(line.waiting) >= MOST_WAITING and amendment.purpose is not Purpose.WITHDRAWAL and not joins:
        raise NotNow(
            f"{len(line.waiting)} amendments of {image} {found.name} wait for their turn, and no more may: "
            "ask again when some of them are done"
        )
    if not ctx.judgements.say(found.fingerprint, amendment, run.id, first, again=first != run.created):
        return None
    # With nobody in line it is looked at again: whoever was at work may have written since.
    if not line.waiting and _is_so(ctx, found, amendment):
        found = ctx.compute.version(ctx.definition_of(image), found.name)
        if _is_so(ctx, found, amendment):
            return None
    begun = _in_line(ctx, run)
    if key and begun.id != run.id:
        ctx.requests.rename(key, begun.id)
    return begun


def _is_so(ctx: Context, version: VersionFacts, amendment: Amendment) -> bool:
    judged = ctx.judgements.of(version.fingerprint) if amendment.is_judgement else None
    return version.state == "Succeeded" and is_done(version, amendment, tags_after(version, amendment, judged))


def _in_line(ctx: Context, draft: Run) -> Run:
    """The run that stands in line for what the draft is to do, begun from it where there was none."""
    amendment = draft.amendment
    assert amendment  # noqa: S101 - the draft is an amendment's
    while True:
        joined = ctx.turns.take(
            draft.source, draft.id, urgent=amendment.is_urgent, about=about(amendment) if amendment.is_judgement else ""
        )
        loaded = ctx.runs.load(joined) if joined != draft.id else None
        if loaded and not loaded[0].stage.ended:
            return loaded[0]
        if loaded:
            ctx.turns.leave(draft.source, joined)  # it ended without letting go: a death between two writes
            continue
        run = draft.model_copy(update={"id": joined})
        if ctx.runs.begin(run):
            told = {"image": run.image, "version": run.version, "purpose": run.purpose}
            _log.info("amendment_begun", run=run.id, **told, by=amendment.by, by_id=amendment.by_id)
        return run


def judge_version(ctx: Context, verdict: Verdict, caller: Caller, key: str | None = None) -> Run | None:
    """Let a verdict count for promotion, and become a tag. None where the version bears it already.

    The same `key` again is the same verdict. Raises NotFound, NotNow, or InvalidRequest for a verdict that no rule asks
    for.
    """
    image = _known(ctx, verdict.image)
    tags: dict[str, str | None] = {_asked_for(ctx, image, verdict.name): verdict.outcome}
    said = Amendment(purpose=Purpose.VERDICT, tags=tags, why=verdict.details or "", **_by(caller, verdict.by))
    return amend(ctx, image, ctx.compute.version(ctx.definition_of(image), verdict.version), said, key)


def _asked_for(ctx: Context, image: str, name: str) -> str:
    """The name of a verdict as the first rule spells it that requires it. Raises InvalidRequest where none does."""
    asked: dict[str, str] = {}
    for rule in ctx.catalog.rules_from(image):
        for one in rule.require:
            asked.setdefault(one.lower(), one)
    if name.lower() in asked:
        return asked[name.lower()]
    if asked:
        required = names(sorted(asked.values()), "or")
        words = f"takes {required}, as the promotion rules of {image} require, not {quoted(name)}"
    else:
        words = (
            f"takes a verdict that a promotion rule of {image} requires, and none requires any: give a rule in the "
            f"catalog's promotions require: {{{quoted(name)}: passed}}"
        )
    raise InvalidRequest([("name", words)])


def approve(ctx: Context, image: str, version: str, *, caller: Caller, note: str) -> Run | None:
    """Let an approval count for rules with `approval`, and become a tag. None where the version bears it already.

    Raises NotFound, NotNow, or NotAllowed where the caller's approval would count for no rule (`four_eyes`).
    """
    found = ctx.compute.version(ctx.definition_of(_known(ctx, image)), version)
    rules = [rule for rule in ctx.catalog.rules_from(image) if rule.approval]
    if caller.signed_in and rules and all(rule.four_eyes for rule in rules):
        judged = replace(ctx.judgements.of(found.fingerprint), published_by=publishers(ctx, found.id))
        if part := judged.part_of(caller.id, f"{image} {version}"):
            raise NotAllowed(f"{caller.name} {part}: another person has to approve it (four_eyes)")
    said = Amendment(purpose=Purpose.APPROVAL, tags={APPROVED: tag_value(caller.name)}, **_by(caller, note))
    return amend(ctx, image, found, said)


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
        runs = [amend(ctx, image, ctx.compute.version(ctx.definition_of(image), version), amendment)]
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
            maker = ctx.maker(version.id)
            made_of = maker.source if maker else version.tag(SOURCE_TAG) or ""
            if tag_value(made_of).lower() == tag_value(source).lower():
                yield target, version


def reinstate(ctx: Context, image: str, version: str, *, why: str, caller: Caller, note: str = "") -> Run | None:
    """Undo a withdrawal. Raises NotFound, or NotNow."""
    amendment = Amendment(
        purpose=Purpose.REINSTATEMENT, tags={WITHDRAWN: None}, in_latest=True, why=why, **_by(caller, note)
    )
    return amend(ctx, image, ctx.compute.version(ctx.definition_of(_known(ctx, image)), version), amendment)


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
