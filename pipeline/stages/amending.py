"""Change a version that is published: its tags, its place in latest. One change at a time to one version."""

from __future__ import annotations

from datetime import timedelta

from pipeline.cloud.faults import NotFound
from pipeline.context import Context
from pipeline.gallery import MOST_TAGS, VersionFacts
from pipeline.runs import Amendment, Run, Stage, now
from pipeline.stages.marks import RUN_TAG
from pipeline.stages.outcome import Go, Outcome, RunFailed, Wait

_BEGINS_WITHIN = timedelta(minutes=5)
"""A run that stands in line this long and was never written down is dead."""


def amending(run: Run, ctx: Context) -> Outcome:
    """Leaves when Azure shows the change at rest.

    A PUT replaces all tags, so two writers at once would lose one's, and the last word has to be the last one
    written: amendments go one after another, in the order they were asked for, and what made the version is let
    finish.
    """
    at, number, amendment = ctx.definition(run), str(run.version), run.amendment
    if amendment is None:
        raise RunFailed("nothing is to be amended")
    if first := _one_before(run, ctx):
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
    tags = tags_after(version, amendment)
    if len(tags) > MOST_TAGS:
        if amendment.in_latest is not False:
            raise RunFailed(f"version {number} bears {len(version.tags)} tags, and Azure takes {MOST_TAGS} at most")
        tags = version.tags  # out of latest is what counts
    if is_done(version, amendment, tags):
        let_go(run, ctx)
        return Go(Stage.AMENDED, _in_words(amendment, number))
    run.operation = ctx.compute.amend_version(at, number, version.resource, tags, in_latest=amendment.in_latest)
    return Wait(ctx.settings.poll_seconds, f"version {number} is being amended")


def tags_after(version: VersionFacts, amendment: Amendment) -> dict[str, str]:
    """The tags of a version after an amendment; a name keeps the case that it has."""
    tags = dict(version.tags)
    for name, value in amendment.tags.items():
        known = next((key for key in tags if key.lower() == name.lower()), name)
        tags.pop(known, None)
        if value is not None:
            tags[known] = value
    return tags


def is_done(version: VersionFacts, amendment: Amendment, tags: dict[str, str] | None = None) -> bool:
    """Whether a version is as the amendment wants it."""
    wanted = {None: version.latest_in, True: version.targets, False: []}[amendment.in_latest]
    return version.tags == (tags_after(version, amendment) if tags is None else tags) and version.latest_in == wanted


def let_go(run: Run, ctx: Context) -> None:
    """Let the next amendment of the version have its turn."""
    ctx.turns.leave(run.source, run.id)
    ctx.sources.stop_waiting(run.image, run.source, run.id)


def waiting(ctx: Context, version: str) -> list[Run]:
    """The amendments of a version that are not done yet, in their order. `version` is its id."""
    loaded = [ctx.runs.load(run) for run, _ in ctx.turns.line(version)]
    return [found[0] for found in loaded if found and not found[0].stage.ended]


def _one_before(run: Run, ctx: Context) -> str | None:
    """The run that has its turn before this one; None where it is this one's, which then is held by a lock."""
    line = ctx.turns.line(run.source)
    if run.id not in [other for other, _ in line]:
        ctx.turns.take(run.source, run.id)
        return _one_before(run, ctx)
    for other, since in line:
        if other == run.id:
            break
        loaded = ctx.runs.load(other)
        if loaded and not loaded[0].stage.ended:
            return other
        if loaded is None and now() - since < _BEGINS_WITHIN:
            return other
        ctx.turns.leave(run.source, other)
    holder = ctx.sources.await_upload(run.image, run.source, run.id)
    if holder == run.id:
        return None
    loaded = ctx.runs.load(holder)
    if loaded is None or loaded[0].stage.ended:
        # It ended without letting go: a death between two writes.
        ctx.sources.stop_waiting(run.image, run.source, holder)
        return _one_before(run, ctx)
    return holder


def _maker_at_work(version: VersionFacts, ctx: Context) -> str | None:
    loaded = ctx.runs.load(version.tags.get(RUN_TAG) or "-")
    return loaded[0].id if loaded and not loaded[0].stage.ended else None


def _in_words(amendment: Amendment, number: str) -> str:
    said = ", ".join(f"{name}={value}" for name, value in amendment.tags.items() if value is not None)
    place = {None: "", True: "in latest again", False: "out of latest in every region"}[amendment.in_latest]
    by = f", by {amendment.by}" if amendment.by else ""
    return f"version {number} is " + ", ".join(filter(None, [place, said and f"tagged {said}"])) + by
