"""The marks a run leaves: tags on what it makes in Azure, index tags on its source."""

from __future__ import annotations

from contextlib import suppress

from pipeline.cloud.faults import NotFound, Refused
from pipeline.context import Context
from pipeline.runs import Run
from pipeline.source import SourceKind

RUN_TAG = "gallerist-run"


def tags_of(run: Run) -> dict[str, str]:
    """The tags of a managed image or version: who made it, of what. A tag's value takes 256 characters."""
    return {
        **run.tags,
        "created-by": "gallerist",
        RUN_TAG: run.id,
        "gallerist-image": run.image,
        "gallerist-source": run.source[-256:],
        "gallerist-source-etag": run.etag or "",
    }


def source_tag(image: str) -> str:
    """The index tag of a VHD that says what became of it as a source of `image`."""
    return f"gallerist.{image}"


def source_mark(etag: str, outcome: str) -> str:
    """The value of `source_tag`: the content it speaks of, and what became of that."""
    return f"{etag}:{outcome}"


def mark_source(run: Run, ctx: Context, outcome: str) -> None:
    """Mark the source. Index tags leave its ETag alone; a source that is gone, or takes no tags, needs no mark."""
    if run.etag is not None and run.kind is SourceKind.BLOB:
        with suppress(NotFound, Refused):
            ctx.blobs.tag(run.container, run.blob, {source_tag(run.image): source_mark(run.etag, outcome)})
