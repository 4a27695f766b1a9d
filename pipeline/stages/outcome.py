"""What a stage can say when it returns."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.runs import Stage


@dataclass(frozen=True)
class Go:
    """The stage is done; `stage` is next. `note` goes into the history."""

    stage: Stage
    note: str = ""


@dataclass(frozen=True)
class Wait:
    """The stage is not done; call it again in `seconds`. `note` says what it waits for.

    `happened` goes into the history, where there is something to tell.
    """

    seconds: float
    note: str
    happened: str | None = None


Outcome = Go | Wait


class RunFailed(Exception):
    """The run cannot succeed. The message is the reason, for a person to act on."""


class SourceAtFault(RunFailed):
    """The run cannot succeed with this source, however often it is tried. The message says what mends the source."""
