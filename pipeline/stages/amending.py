"""Change a version that is published: its tags, its place in latest. One change at a time to one version."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from pipeline.cloud.faults import NotFound
from pipeline.context import Context
from pipeline.gallery import APPROVED, MOST_TAGS, VersionFacts
from pipeline.gates import Judged
from pipeline.judgements import about
from pipeline.runs import Amendment, Purpose, Run, Stage, now
from pipeline.stages.marks import tag_value
from pipeline.stages.outcome import Go, Outcome, RunFailed, Wait

_BEGINS_WITHIN = timedelta(minutes=5)
"""A run that stands in line this long and was never written down is dead."""


def amending(run: Run, ctx: Context) -> Outcome:
    """Leaves when Azure shows the change at rest.

    A PUT replaces all tags, so two writers at once would lose one's, and the last word has to be the last one
    written: amendments go one after another, what is to change the place in `latest` first and otherwise in the order
    they were asked for, and what made the version is let finish. What was said since a verdict's or an approval's run
    began to stand in line is written with it.
    """
    at, number, amendment = ctx.definition(run), str(run.version), run.amendment
    if amendment is None:
        raise RunFailed("nothing is to be amended")
    if first := _one_before(run, ctx, amendment):
        return Wait(ctx.settings.poll_seconds, f"{first} amends version {number} first")
    try:
        version = ctx.compute.version(at, number)
    except NotFound:
        raise RunFailed(f"there is no version {number} of {run.image} any more") from None
    if version.state in ("Creating", "Updating"):
        return Wait(ctx.settings.poll_seconds, f"version {number} is {version.state}")
    if version.state == "Deleting" or (version.state != "Succeeded" and run.operation):
        why = ctx.compute.why_failed(at.subscription, run.operation) if run.operation else ""
        raise RunFailed(f"version {number} is {version.state}, and cannot be amended" + (f": {why}" if why else ""))
    if maker := _maker_at_work(version, ctx):
        return Wait(ctx.settings.poll_seconds, f"{maker} is still at work on version {number}")
    judged = None
    if amendment.is_judgement:
        judged = ctx.judgements.of(version.fingerprint)
        _check_stands(amendment, judged, number)
    elif amendment.in_latest and (withdrawn := ctx.judgements.of(version.fingerprint).withdrawn):
        ctx.turns.leave(run.source, run.id)
        return Go(Stage.AMENDED, f"version {number} was withdrawn again since, by {withdrawn.by}: it stays so")
    tags = tags_after(version, amendment, judged)
    if is_done(version, amendment, tags):
        ctx.turns.leave(run.source, run.id)
        return Go(Stage.AMENDED, _in_words(amendment, number, tags))
    run.operation = ctx.compute.amend_version(at, number, version.resource, tags, in_latest=amendment.in_latest)
    return Wait(ctx.settings.poll_seconds, f"version {number} is being amended")


def _check_stands(amendment: Amendment, judged: Judged, number: str) -> None:
    """Let an amendment say what stands by now, and who said it."""
    (name,) = amendment.tags
    said = {one.who: one for one in judged.approvals} if amendment.purpose is Purpose.APPROVAL else judged.verdicts
    stands = said.get(amendment.by_id if amendment.purpose is Purpose.APPROVAL else name.lower())
    if stands is None:
        raise RunFailed(f"version {number} was made anew since: this was said of the one before")
    amendment.why, amendment.by, amendment.by_id = stands.details, stands.by, stands.who


def tags_after(version: VersionFacts, amendment: Amendment, judged: Judged | None) -> dict[str, str]:
    """The tags of a version after an amendment, those of all verdicts and approvals with a judgement; a name keeps the
    case that it has. What finds no room is left out: what counts is not in the tags."""
    tags = dict(version.tags)
    wanted: Mapping[str, str | None] = amendment.tags if judged is None else _copied(judged)
    for name, value in wanted.items():
        known = next((key for key in tags if key.lower() == name.lower()), name)
        tags.pop(known, None)
        if value is not None and len(tags) < MOST_TAGS:
            tags[known] = value
    return tags


def _copied(judged: Judged) -> dict[str, str]:
    verdicts = {one.name: one.outcome for one in judged.verdicts.values()}
    approvers = ", ".join(one.by for one in judged.approvals)
    return verdicts | ({APPROVED: tag_value(approvers)} if approvers else {})


def is_done(version: VersionFacts, amendment: Amendment, tags: dict[str, str]) -> bool:
    """Whether a version bears these tags, and has the place in `latest` that the amendment wants."""
    wanted = {None: version.latest_in, True: version.targets, False: []}[amendment.in_latest]
    return version.tags == tags and version.latest_in == wanted


def waiting(ctx: Context, version: str) -> list[Run]:
    """The amendments of a version that are not done yet, in their order. `version` is its id."""
    loaded = [ctx.runs.load(run) for run, _ in ctx.turns.line(version).waiting]
    return [found[0] for found in loaded if found and not found[0].stage.ended]


def _one_before(run: Run, ctx: Context, amendment: Amendment) -> str | None:
    """The run that has its turn before this one; None where it is this one's, and no other's until it leaves."""
    line = ctx.turns.line(run.source)
    if run.id not in [other for other, _ in line.waiting]:
        ctx.turns.take(run.source, run.id, urgent=amendment.is_urgent)
        return _one_before(run, ctx, amendment)
    if line.at_work != run.id:
        for other, since in line.waiting:
            if other == run.id:
                break
            if _is_coming(ctx, other, since):
                return other
            ctx.turns.leave(run.source, other)
        holder = ctx.turns.begin(run.source, run.id)
        if holder != run.id:
            if _is_coming(ctx, holder):
                return holder
            ctx.turns.leave(run.source, holder)  # it ended without letting go: a death between two writes
            return _one_before(run, ctx, amendment)
    if line.about.get(about(amendment)) == run.id:
        ctx.turns.close(run.source, about(amendment))
    return None


def _is_coming(ctx: Context, run: str, since: datetime | None = None) -> bool:
    """Whether a run is at work, or will be: one that nobody has written down yet may be about to begin."""
    loaded = ctx.runs.load(run)
    if loaded is None:
        return since is not None and now() - since < _BEGINS_WITHIN
    return not loaded[0].stage.ended


def _maker_at_work(version: VersionFacts, ctx: Context) -> str | None:
    maker = ctx.maker(version.id)
    return maker.id if maker and not maker.stage.ended else None


def _in_words(amendment: Amendment, number: str, tags: Mapping[str, str]) -> str:
    wanted = [name for name, value in amendment.tags.items() if value is not None]
    written = {name.lower(): value for name, value in tags.items()}
    said = ", ".join(f"{name}={written[name.lower()]}" for name in wanted if name.lower() in written)
    full = f"bears {len(tags)} tags, and Azure takes no more"
    place = {None: "", True: "is in latest again", False: "is out of latest in every region"}[amendment.in_latest]
    tagged = (f"tagged {said}" if place else f"is tagged {said}") if said else full if wanted else ""
    by = f", by {amendment.by}" if amendment.by else ""
    return f"version {number} " + ", ".join(filter(None, [place, tagged])) + by
