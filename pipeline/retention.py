"""Retention: which versions of an image have had their time, what keeps them all the same, and taking them away."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache

import structlog

from pipeline import promotion
from pipeline.catalog import Fate, Keep
from pipeline.cloud.compute import Compute, DefinitionId
from pipeline.cloud.faults import CloudFault, NotFound
from pipeline.context import Context
from pipeline.gallery import Listing, VersionFacts, by_number
from pipeline.runs import Run, Stage, now
from pipeline.stages.marks import KEEP, RUN_TAG, WITHDRAWN, source_mark, source_tag
from pipeline.versions import Version

_log = structlog.get_logger()
Tagged = list[tuple[str, str]]
"""Managed images by name, each with the run it is tagged with."""


@dataclass(frozen=True)
class Decision:
    """What becomes of a version, and why."""

    version: VersionFacts
    delete: bool
    why: str


def plan(versions: Iterable[VersionFacts], keep: Keep, at: datetime, holds: Mapping[str, str]) -> list[Decision]:
    """What the rule `keep` makes of an image's versions at the time `at`, highest first.

    A version goes that is neither among the newest nor young, unless something keeps it: `holds`, by name and
    reason, for what only others know; its tag keep=true; its end of life, where it may not be deleted before; that
    it is the highest that Succeeded, or the highest in latest, or not at rest.
    """
    found = by_number(list(versions))
    whole = [version for version in found if version.state == "Succeeded"]
    safe = {version.name: "it is the last version that Succeeded" for version in whole[:1]}
    for version in [version for version in whole if not version.excluded_from_latest][:1]:
        safe[version.name] = "it is the newest in latest"
    return [_decide(version, rank, keep, at, safe, holds) for rank, version in enumerate(found)]


def _decide(
    version: VersionFacts, rank: int, keep: Keep, at: datetime, safe: Mapping[str, str], holds: Mapping[str, str]
) -> Decision:
    if keep.newest is None and keep.days is None:
        return Decision(version, delete=False, why="no rule takes any away")
    if keep.newest is not None and rank < keep.newest:
        return Decision(version, delete=False, why=f"it is among the newest {keep.newest}")
    if keep.days is not None and (version.published is None or at - version.published < timedelta(days=keep.days)):
        return Decision(version, delete=False, why=f"it is younger than {keep.days} days")
    if version.number is None:
        return Decision(version, delete=False, why="its name is no number of ours")
    if version.state not in ("Succeeded", "Failed"):
        return Decision(version, delete=False, why=f"it is {version.state}")
    if version.tags.get(KEEP, "").lower() == "true":
        return Decision(version, delete=False, why=f"it bears the tag {KEEP}=true")
    if version.kept_until_end_of_life and (version.end_of_life is None or version.end_of_life > at):
        return Decision(version, delete=False, why="it may not be deleted before its end of life")
    if why := safe.get(version.name) or holds.get(version.name):
        return Decision(version, delete=False, why=why)
    newest = f"not among the newest {keep.newest}" if keep.newest else ""
    days = f"{(at - version.published).days} days old" if keep.days and version.published else ""
    return Decision(version, delete=True, why=" and ".join(filter(None, [newest, days])))


@dataclass(frozen=True)
class Orphan:
    """A managed image, or a version that never got whole, of a run that has ended."""

    kind: str
    name: str
    run: str


@dataclass(frozen=True)
class Retention:
    """What is to become of an image's versions and VHDs, and of what runs left behind."""

    image: str
    decisions: list[Decision] = field(default_factory=list)
    orphans: list[Orphan] = field(default_factory=list)
    vhds: list[tuple[str, str, str]] = field(default_factory=list)
    """Container, name and ETag."""
    fault: str | None = None

    @property
    def doomed(self) -> list[VersionFacts]:
        return [decision.version for decision in self.decisions if decision.delete]


def look(ctx: Context, image: str, images_tagged: Callable[[DefinitionId, str], Tagged] | None = None) -> Retention:
    """What retention would do to an image now. Nothing is changed."""
    at = DefinitionId.parse(ctx.catalog.definition_id(image))
    try:
        listing = ctx.compute.versions(at)
    except NotFound:
        listing = Listing(now(), [])
    keep = ctx.catalog.images[image].keep
    decisions = plan(listing.versions, keep, listing.at, {})
    if any(decision.delete for decision in decisions):
        decisions = plan(listing.versions, keep, listing.at, _holds(ctx, image, at, listing))
    tagged = (images_tagged or ctx.compute.images_tagged)(at, RUN_TAG)
    return Retention(image, decisions, _orphans(ctx, image, listing, tagged), _spent_vhds(ctx, image))


def _holds(ctx: Context, image: str, at: DefinitionId, listing: Listing) -> dict[str, str]:
    """Versions by name, and what keeps each that no version tells of itself."""
    holds = {version.name: "a lock is on it, or above it" for version in _locked(ctx.compute, at, listing)}
    for rule in ctx.catalog.rules_from(image):
        for version in promotion.look(ctx, rule).awaited:
            holds[version.name] = f"the promotion rule {rule.key} may still take it"
    ids = {version.id.lower(): version.name for version in listing.versions}
    for run in _live(ctx):
        made = f"{run.definition}/versions/{run.version}".lower()
        for name in filter(None, (ids.get(run.source.lower()), ids.get(made))):
            holds[name] = f"the run {run.id} is at work with it"
    for version in listing.versions:
        # A list does not tell which is Completed: looked up from the highest down until one is.
        if version.state == "Succeeded" and ctx.compute.version(at, version.name).completed:
            holds.setdefault(version.name, "it is the last version that is Completed in every region")
            break
    return holds


def _locked(compute: Compute, at: DefinitionId, listing: Listing) -> list[VersionFacts]:
    scopes = compute.locked_scopes(at)
    return [v for v in listing.versions if any(f"{v.id.lower()}/".startswith(f"{scope}/") for scope in scopes)]


def _live(ctx: Context) -> list[Run]:
    loaded = [ctx.runs.load(run_id) for run_id, _ in ctx.runs.live()]
    return [found[0] for found in loaded if found and not found[0].stage.ended]


def _orphans(ctx: Context, image: str, listing: Listing, images: Tagged) -> list[Orphan]:
    """What this system tagged and whose run, which it knows, has ended without it.

    A run that is not known may be another deployment's, and what is withdrawn is no orphan.
    """
    found = [
        Orphan("version", version.name, run.id)
        for version in listing.versions
        if version.excluded_from_latest
        and WITHDRAWN not in version.tags
        and version.state in ("Succeeded", "Failed")
        and (run := _ended(ctx, version.tags.get(RUN_TAG)))
        and run.stage is not Stage.PUBLISHED
    ]
    for name, run_id in images:
        if (run := _ended(ctx, run_id)) and run.image == image:
            found.append(Orphan("managed image", name, run.id))
    return found


def _ended(ctx: Context, run_id: str | None) -> Run | None:
    loaded = ctx.runs.load(run_id) if run_id else None
    return loaded[0] if loaded and loaded[0].stage.ended else None


def _spent_vhds(ctx: Context, image: str) -> list[tuple[str, str, str]]:
    """The VHDs that this image was published from and whose time is over, and that no other image still waits for."""
    fate = ctx.catalog.images[image].source_vhd
    if fate.then is not Fate.DELETE:
        return []
    spent = []
    for container, name in ctx.blobs.tagged(source_tag(image)):
        try:
            blob = ctx.blobs.facts(container, name)
            tags = ctx.blobs.tags(container, name)
        except NotFound:
            continue
        images = {image, *ctx.catalog.fed_by(container, name)}
        published = all(_is_published(tags.get(source_tag(fed), ""), blob.etag) for fed in images)
        if published and blob.age >= fate.after.total_seconds():
            spent.append((container, name, blob.etag))
    return spent


def _is_published(mark: str, etag: str) -> bool:
    outcome = mark.removeprefix(source_mark(etag, ""))
    try:
        Version.parse(outcome)
    except ValueError:
        return False
    return mark == source_mark(etag, outcome)


def look_all(ctx: Context, images: Iterable[str]) -> list[Retention]:
    """What retention would do to each image. One that Azure cannot answer for now does not keep the others."""
    found = []
    images_tagged = cache(ctx.compute.images_tagged)  # many images share a resource group
    for image in images:
        try:
            found.append(look(ctx, image, images_tagged))
        except CloudFault as fault:
            _log.error("retention_failed", image=image, fault=str(fault))
            found.append(Retention(image, fault=str(fault)))
    return found


def retire(ctx: Context, planned: Retention) -> None:
    """Do what was planned for an image. What Azure does not let go of is said, and tried again the next night."""
    at, log = DefinitionId.parse(ctx.catalog.definition_id(planned.image)), _log.bind(image=planned.image)
    for decision in planned.decisions:
        if decision.delete:
            with _told(log.bind(version=decision.version.name, why=decision.why), "version_retired"):
                ctx.compute.delete_version(at, decision.version.name)
    for orphan in planned.orphans:
        with _told(log.bind(kind=orphan.kind, name=orphan.name, run=orphan.run), "orphan_removed"):
            remove = ctx.compute.delete_version if orphan.kind == "version" else ctx.compute.delete_image
            remove(at, orphan.name)
    for container, name, etag in planned.vhds:
        with _told(log.bind(blob=f"{container}/{name}"), "vhd_deleted"):
            ctx.blobs.delete(container, name, etag)


@contextmanager
def _told(log: structlog.typing.FilteringBoundLogger, event: str) -> Iterator[None]:
    try:
        yield
    except CloudFault as fault:
        log.warning("not_let_go", of=event, fault=str(fault))
    else:
        log.info(event)
