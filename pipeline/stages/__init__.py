"""The stages of a run: each one short and idempotent. A stage changes the run's record and says what is next."""

from __future__ import annotations

from collections.abc import Callable

from pipeline.context import Context
from pipeline.runs import Run, Stage
from pipeline.stages.amending import amending
from pipeline.stages.awaiting_upload import awaiting_upload
from pipeline.stages.finishing import finishing
from pipeline.stages.imaging import imaging
from pipeline.stages.inspecting import inspecting
from pipeline.stages.numbering import numbering
from pipeline.stages.outcome import Outcome
from pipeline.stages.publishing import publishing
from pipeline.stages.queued import queued
from pipeline.stages.replicating import replicating
from pipeline.stages.undoing import undoing

STAGES: dict[Stage, Callable[[Run, Context], Outcome]] = {
    Stage.AWAITING_UPLOAD: awaiting_upload,
    Stage.QUEUED: queued,
    Stage.INSPECTING: inspecting,
    Stage.IMAGING: imaging,
    Stage.NUMBERING: numbering,
    Stage.PUBLISHING: publishing,
    Stage.REPLICATING: replicating,
    Stage.FINISHING: finishing,
    Stage.AMENDING: amending,
    Stage.UNDOING: undoing,
}
