"""Retention: which versions of an image have had their time, what keeps them all the same, and taking them away."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial

import structlog

from pipeline import promotion
from pipeline.catalog import Fate, Keep
from pipeline.cloud.blobs import BlobFacts
from pipeline.cloud.compute import Compute, DefinitionId
from pipeline.cloud.faults import CloudFault, Denied, NotFound
from pipeline.context import Context
from pipeline.gallery import KEEP, WITHDRAWN, Listing, VersionFacts, by_number
from pipeline.resource_ids import ResourceGroup
from pipeline.runs import Purpose, Run, Stage
from pipeline.stages.marks import RUN_TAG, is_published, source_tag

_log = structlog.get_logger()
Tagged = list[tuple[ResourceGroup, str, str]]
"""Managed images by resource group and name, each with the run it is tagged with."""


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
    it is the highest that Succeeded, the highest in latest, the highest that is both, or not at rest. Only good
    versions, Succeeded and in latest, count towards the newest: bad ones push no good one out.
    """
    found = by_number(list(versions))
    safe: dict[str, str] = {}
    for why, fits in (
        ("it is the newest in latest", lambda one: not one.excluded_from_latest),
        ("it is the last version that Succeeded", lambda one: one.state == "Succeeded"),
        ("it is the newest good version", is_good),
    ):
        for version in [version for version in found if fits(version)][:1]:
            safe.setdefault(version.name, why)
    decisions, better = [], 0
    for version in found:
        decisions.append(_decide(version, better, keep, at, safe, holds))
        better += is_good(version)
    return decisions


def is_good(version: VersionFacts) -> bool:
    """Whether VMs can rest on a version: it has Succeeded and is in latest."""
    return version.state == "Succeeded" and not version.excluded_from_latest


def _decide(
    version: VersionFacts, better: int, keep: Keep, at: datetime, safe: Mapping[str, str], holds: Mapping[str, str]
) -> Decision:
    if keep.newest is None and keep.days is None:
        return Decision(version, delete=False, why="no rule takes any away")
    if keep.newest is not None and better < keep.newest:
        return Decision(version, delete=False, why=f"it is among the newest {keep.newest}")
    if keep.days is not None and (version.published is None or at - version.published < timedelta(days=keep.days)):
        return Decision(version, delete=False, why=f"it is younger than {keep.days} days")
    if version.number is None:
        return Decision(version, delete=False, why="its name is no number of ours")
    if version.state not in ("Succeeded", "Failed"):
        return Decision(version, delete=False, why=f"it is {version.state}")
    if why := _guard(version, at):
        return Decision(version, delete=False, why=why)
    if version.name in safe or version.name in holds:
        return Decision(version, delete=False, why=safe.get(version.name) or holds[version.name])
    newest = f"not among the newest {keep.newest}" if keep.newest else ""
    days = f"{(at - version.published).days} days old" if keep.days and version.published else ""
    return Decision(version, delete=True, why=" and ".join(filter(None, [newest, days])))


def _guard(version: VersionFacts, at: datetime) -> str:
    """What on a version itself keeps it from being deleted, empty where nothing does."""
    if version.kept:
        return f"it bears the tag {KEEP}=true"
    if version.kept_until_end_of_life and (version.end_of_life is None or version.end_of_life > at):
        return "it may not be deleted before its end of life"
    return ""


@dataclass(frozen=True)
class Orphan:
    """A managed image, or a version that never got whole, of a run that has ended."""

    kind: str
    name: str
    run: str
    group: ResourceGroup


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


def look(ctx: Context, image: str, tagged: dict[str, Tagged] | None = None) -> Retention:
    """What retention would do to an image now. Nothing is changed.

    `tagged` keeps the managed images of each resource group for the next image, which may share it.
    """
    at = ctx.definition_of(image)
    listing = ctx.listing(at)
    keep, holds = ctx.catalog.images[image].keep, dict[str, str]()
    decisions = plan(listing.versions, keep, listing.at, holds)
    if any(decision.delete for decision in decisions):
        live = _live(ctx)
        listing = _as_it_will_be(listing, live)
        holds = _holds(ctx, image, at, listing, live)
        decisions = plan(listing.versions, keep, listing.at, holds)
    images = _managed_images(ctx, image, {} if tagged is None else tagged)
    doomed = {decision.version.name for decision in decisions if decision.delete}
    orphans = [
        orphan
        for orphan in _orphans(ctx, image, listing, images)
        if orphan.kind != "version" or orphan.name not in {*doomed, *holds}
    ]
    return Retention(image, decisions, orphans, _spent_vhds(ctx, image))


def _managed_images(ctx: Context, image: str, tagged: dict[str, Tagged]) -> Tagged:
    """The managed images that runs of an image may have left behind.

    They are where they are made now, beside the gallery, where they were made before, and in every other group in
    which a run is known to have left one. What the identity may not see is passed over, but where they are made now:
    beside a gallery elsewhere it has no right to images, and where it left one, that may have gone with the setting.
    """
    now, gallery = ctx.managed_image_group(image), ctx.definition_of(image).group
    left = {group.key: group for group in ctx.sources.left_in()}
    groups = {**left, gallery.key: gallery, **({now.key: now} if now else {})}
    for key, group in groups.items():
        if key in tagged:
            continue
        try:
            found = ctx.compute.images_tagged(group, RUN_TAG)
        except NotFound:
            found = []
        except Denied as fault:
            if group == now:
                raise
            if key in left:
                _log.warning("managed_images_unseen", group=str(group), fault=str(fault))
            found = []
        tagged[key] = [(group, name, run) for name, run in found]
    return [one for key in groups for one in tagged[key]]


def _live(ctx: Context) -> list[Run]:
    loaded = [ctx.runs.load(run_id) for run_id, _ in ctx.runs.live()]
    return [found[0] for found in loaded if found and not found[0].stage.ended]


def _as_it_will_be(listing: Listing, live: list[Run]) -> Listing:
    """The versions, those that are being withdrawn out of latest already."""
    withdrawn = {run.source.lower() for run in live if run.amendment and run.amendment.purpose is Purpose.WITHDRAWAL}
    return replace(
        listing,
        versions=[replace(one, latest_in=[]) if one.id.lower() in withdrawn else one for one in listing.versions],
    )


def _holds(ctx: Context, image: str, at: DefinitionId, listing: Listing, live: list[Run]) -> dict[str, str]:
    """Versions by name, and what keeps each that no version tells of itself."""
    holds = {version.name: "a lock is on it, or above it" for version in _locked(ctx.compute, at, listing)}
    for rule in ctx.catalog.rules_from(image):
        for version in promotion.look(ctx, rule).awaited:
            holds[version.name] = f"the promotion rule {rule.key} may still take it"
    ids = {version.id.lower(): version.name for version in listing.versions}
    for run in live:
        made = f"{run.definition}/versions/{run.version}".lower()
        for name in filter(None, (ids.get(run.source.lower()), ids.get(made))):
            holds[name] = f"the run {run.id} is at work with it"
    completed, good = False, False
    for version in listing.versions:
        # A list does not tell which is Completed: looked up from the highest down, until a good one is.
        if good or version.state != "Succeeded" or (completed and not is_good(version)):
            continue
        if ctx.compute.version(at, version.name).completed:
            holds.setdefault(version.name, "it is the last version that is Completed in every region")
            completed, good = True, is_good(version)
    return holds


def _locked(compute: Compute, at: DefinitionId, listing: Listing) -> list[VersionFacts]:
    scopes = compute.locked_scopes(at)
    return [v for v in listing.versions if any(f"{v.id.lower()}/".startswith(f"{scope}/") for scope in scopes)]


def _orphans(ctx: Context, image: str, listing: Listing, images: Tagged) -> list[Orphan]:
    """What this system tagged and whose run, which it knows, has ended without it.

    A run that is not known may be another deployment's, and what is withdrawn is no orphan.
    """
    found = [
        Orphan("version", version.name, run.id, ctx.definition_of(image).group)
        for version in listing.versions
        if version.excluded_from_latest
        and version.tag(WITHDRAWN) is None
        and version.state in ("Succeeded", "Failed")
        and not _guard(version, listing.at)
        and (run := _ended(ctx, version.tag(RUN_TAG)))
        and run.stage is not Stage.PUBLISHED
        and not run.published
        and f"{run.definition}/versions/{run.version}".lower() == version.id.lower()
    ]
    for group, name, run_id in images:
        if (run := _ended(ctx, run_id)) and run.image == image and _made(ctx, run, group, name):
            found.append(Orphan("managed image", name, run.id, group))
    return found


def _made(ctx: Context, run: Run, group: ResourceGroup, name: str) -> bool:
    """Whether a managed image is the one that a run has made, for a tag can be copied: it has the run's name, and is
    where the run made it, or would make it now."""
    places = [ctx.managed_image_group(run.image)]
    if run.managed_image_group or run.definition:
        places.append(ctx.managed_image_group_of(run))
    return name.lower() == run.image_name.lower() and group.key in {place.key for place in places if place}


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
        published = all(is_published(tags.get(source_tag(fed), ""), blob.etag) for fed in images)
        if published and blob.age >= fate.after.total_seconds() and all(_published(ctx, fed, blob) for fed in images):
            spent.append((container, name, blob.etag))
    return spent


def _published(ctx: Context, image: str, blob: BlobFacts) -> bool:
    """Whether a run has published an image from what a VHD holds: an index tag says so too, and anyone may set it who
    may tag."""
    owner = ctx.sources.claimed_by(image, ctx.blobs.url(blob.container, blob.name), blob.content, blob.etag)
    run = _ended(ctx, owner)
    return run is not None and run.stage is Stage.PUBLISHED


def look_all(ctx: Context, images: Iterable[str]) -> Iterator[Retention]:
    """What retention would do to each image, looked up when it is its turn, so that what is done at once is of the
    moment. One that Azure cannot answer for now does not keep the others."""
    tagged: dict[str, Tagged] = {}
    for image in images:
        try:
            yield look(ctx, image, tagged)
        except CloudFault as fault:
            _log.error("retention_failed", image=image, fault=str(fault))
            yield Retention(image, fault=str(fault))


@dataclass(frozen=True)
class Gone:
    """What was taken away, or why not: then Azure's word for it."""

    what: str
    refused: str | None = None


def in_words(gone: Iterable[Gone]) -> str:
    """What was taken away and what was not, in a line."""
    said = [one.what + (f" (not let go of: {one.refused})" if one.refused else "") for one in gone]
    return f"deleted: {', '.join(said)}" if said else "nothing was to be deleted"


def retire(ctx: Context, planned: Retention, only: Collection[str] | None = None) -> list[Gone]:
    """Do what was planned for an image, with `only` what it names alone. What Azure does not let go of is said, and
    tried again the next night.

    Where the identity may not delete, it is asked for one of a kind and place alone: the others are refused alike.
    """
    at, log, done = ctx.definition_of(planned.image), _log.bind(image=planned.image), []
    denied: dict[str, str] = {}

    def take(event: str, what: str, remove: Callable[[], None], place: str, **told: str) -> None:
        if only is not None and what not in only:
            return
        try:
            if place not in denied:
                remove()
        except Denied as fault:
            denied[place] = str(fault)
        except CloudFault as fault:
            log.warning("not_let_go", of=event, what=what, fault=str(fault), **told)
            done.append(Gone(what, str(fault)))
            return
        if place in denied:
            done.append(Gone(what, denied[place]))
        else:
            log.info(event, what=what, **told)
            done.append(Gone(what))

    for decision in planned.decisions:
        if decision.delete:
            name = decision.version.name
            take("version_retired", name, partial(ctx.compute.delete_version, at, name), "versions", why=decision.why)
    for orphan in planned.orphans:
        if orphan.kind == "version":
            remove, place = partial(ctx.compute.delete_version, at, orphan.name, for_good=True), "versions"
        else:
            remove, place = partial(ctx.compute.delete_image, orphan.group, orphan.name), orphan.group.key
        take("orphan_removed", f"{orphan.kind} {orphan.name}", remove, place, run=orphan.run)
    for container, name, etag in planned.vhds:
        take("vhd_deleted", f"{container}/{name}", partial(ctx.blobs.delete, container, name, etag), container)
    if denied:
        refused = sum(gone.refused in denied.values() for gone in done)
        log.warning("retention_denied", refused=refused, faults=list(denied.values()))
    return done
