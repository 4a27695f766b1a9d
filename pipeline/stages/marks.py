"""The marks a run leaves: tags on what it makes in Azure, index tags on its source."""

from __future__ import annotations

from contextlib import suppress

import structlog

from pipeline.catalog import Fate
from pipeline.cloud.faults import CloudFault, Denied, NotFound, Refused
from pipeline.context import Context
from pipeline.requests import OURS
from pipeline.runs import Run
from pipeline.source import SourceKind
from pipeline.versions import Version

_log = structlog.get_logger()

RUN_TAG = f"{OURS}-run"
SOURCE_TAG = f"{OURS}-source"
ORIGIN_TAG = f"{OURS}-origin"
"""What the first version of a chain of promotions was made of."""
ETAG_TAG = f"{OURS}-source-etag"
"""What named the content of the source."""
PROMOTION_TAG = f"{OURS}-promotion"
"""The rule that promoted a version."""


def tags_of(run: Run) -> dict[str, str]:
    """The tags of a managed image or version: who made it, of what. A tag's value takes 256 characters."""
    promoted = {PROMOTION_TAG: run.promotion, ORIGIN_TAG: tag_value(run.origin)} if run.promotion else {}
    return {
        **run.tags,
        **promoted,
        "created-by": OURS,
        RUN_TAG: run.id,
        f"{OURS}-image": run.image,
        SOURCE_TAG: tag_value(run.source),
        ETAG_TAG: tag_value(run.etag or ""),
    }


NOT_OURS = f"does not bear this run's tag {RUN_TAG} any more: somebody has made it anew, or changed its tags"


def is_of(run: Run, tags: dict[str, str]) -> bool:
    """Whether what has these tags was made by a run: only that is its own to change or to delete."""
    return tags.get(RUN_TAG) == run.id


def is_of_this_try(run: Run, tags: dict[str, str]) -> bool:
    """Whether a run has made it of the content that it has claimed now, and not of an earlier try's."""
    return is_of(run, tags) and tags.get(ETAG_TAG) == tag_value(run.etag or "")


def left_behind(run: Run, fault: Denied) -> str:
    """What to do about a run's version that this identity may not delete, in words."""
    return (
        f"Version {run.version} is left behind, out of latest, for this identity may not delete it ({fault.code}). To "
        f"delete it by hand: az sig image-version delete --ids {run.definition}/versions/{run.version}. To let "
        "retention do it: grant Microsoft.Compute/galleries/images/versions/delete there; for production: azd env set "
        "PRODUCTION_RETENTION true, then azd provision"
    )


def tag_value(text: str) -> str:
    """`text` as a tag takes it: 256 characters, the last ones where there are more, which tell ids apart."""
    return text[-256:]


def source_tag(image: str) -> str:
    """The index tag of a VHD that says what became of it as a source of `image`.

    It has no sign but the underscore, which no image's name has, so that it can be asked for by name.
    """
    return f"{OURS}_{image.replace('-', '_')}"


def source_mark(etag: str, outcome: str) -> str:
    """The value of `source_tag`: the content it speaks of, and what became of that."""
    return f"{etag}:{outcome}"


def is_published(mark: str, etag: str) -> bool:
    """Whether a `source_tag` with the value `mark` says that the content `etag` was published."""
    outcome = mark.removeprefix(source_mark(etag, ""))
    try:
        Version.parse(outcome)
    except ValueError:
        return False
    return mark == source_mark(etag, outcome)


def mark_source(run: Run, ctx: Context, outcome: str) -> None:
    """Mark the source, unless the catalog keeps it as it is. Index tags leave its ETag alone.

    A source that is gone, or takes no tags, needs no mark. One that cannot be tagged now, as under a lease, is left to
    `mark_again`: no run fails for it.
    """
    image = ctx.catalog.images.get(run.image)
    kept = image is not None and image.source_vhd.then is Fate.KEEP
    if run.etag is None or run.kind is not SourceKind.BLOB or kept:
        return
    try:
        _tag(run, ctx, outcome)
    except CloudFault as fault:
        _log.warning("source_not_tagged", blob=f"{run.container}/{run.blob}", fault=str(fault))
        ctx.sources.leave_untagged(run.id, outcome)


def mark_again(ctx: Context) -> None:
    """Tag the sources that could not be tagged when their runs ended; what still cannot is left for the next time."""
    for run_id, outcome in ctx.sources.untagged():
        loaded = ctx.runs.load(run_id)
        try:
            if loaded:
                _tag(loaded[0], ctx, outcome)
        except CloudFault as fault:
            _log.info("source_not_tagged", run=run_id, fault=str(fault))
        else:
            ctx.sources.tagged(run_id)


def _tag(run: Run, ctx: Context, outcome: str) -> None:
    with suppress(NotFound, Refused):
        ctx.blobs.tag(run.container, run.blob, {source_tag(run.image): source_mark(str(run.etag), outcome)})
