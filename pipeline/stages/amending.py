"""Change a version that is published: its tags, its place in latest. One change at a time to one version."""

from __future__ import annotations

from pipeline.cloud.faults import NotFound
from pipeline.context import Context
from pipeline.gallery import VersionFacts
from pipeline.runs import Amendment, Run, Stage
from pipeline.stages.marks import RUN_TAG
from pipeline.stages.outcome import Go, Outcome, RunFailed, Wait


def amending(run: Run, ctx: Context) -> Outcome:
    """Leaves when Azure shows the change at rest.

    A PUT replaces all tags, so two writers at once would lose one's: who waits for the version first goes first, and
    what made the version is let finish.
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
    if version.state != "Succeeded":
        why = ctx.compute.why_failed(at.subscription, run.operation) if run.operation else ""
        raise RunFailed(f"version {number} is {version.state}, and cannot be amended" + (f": {why}" if why else ""))
    if maker := _maker_at_work(version, ctx):
        return Wait(ctx.settings.poll_seconds, f"{maker} is still at work on version {number}")
    if is_done(version, amendment):
        ctx.sources.stop_waiting(run.image, run.source, run.id)
        return Go(Stage.AMENDED, _in_words(amendment, number))
    tags = {name: value for name, value in (version.tags | amendment.tags).items() if value is not None}
    run.operation = ctx.compute.amend_version(at, number, version.resource, tags, in_latest=amendment.in_latest)
    return Wait(ctx.settings.poll_seconds, f"version {number} is being amended")


def is_done(version: VersionFacts, amendment: Amendment) -> bool:
    """Whether a version is as the amendment wants it."""
    tagged = all(version.tags.get(name) == value for name, value in amendment.tags.items())
    wanted = {None: version.latest_in, True: version.targets, False: []}[amendment.in_latest]
    return tagged and version.latest_in == wanted


def _one_before(run: Run, ctx: Context) -> str | None:
    """The run that amends this version and is not done yet."""
    first = ctx.sources.await_upload(run.image, run.source, run.id)
    if first == run.id:
        return None
    loaded = ctx.runs.load(first)
    if loaded and not loaded[0].stage.ended:
        return first
    # It ended without letting go: a death between two writes.
    ctx.sources.stop_waiting(run.image, run.source, first)
    return _one_before(run, ctx)


def _maker_at_work(version: VersionFacts, ctx: Context) -> str | None:
    loaded = ctx.runs.load(version.tags.get(RUN_TAG) or "-")
    return loaded[0].id if loaded and not loaded[0].stage.ended else None


def _in_words(amendment: Amendment, number: str) -> str:
    said = ", ".join(f"{name}={value}" for name, value in amendment.tags.items() if value is not None)
    place = {None: "", True: "in latest again", False: "out of latest in every region"}[amendment.in_latest]
    by = f", by {amendment.by}" if amendment.by else ""
    return f"version {number} is " + ", ".join(filter(None, [place, said and f"tagged {said}"])) + by
