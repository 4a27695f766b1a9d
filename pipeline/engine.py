"""The only control flow: load the run, call its stage, save, say when the next step is."""

from __future__ import annotations

from datetime import timedelta
from time import monotonic
from typing import Any

import structlog
from structlog.contextvars import bind_contextvars, bound_contextvars

from pipeline.announce import tell_end
from pipeline.cloud.faults import CloudFault, Conflict, Denied, NotFound, Unavailable
from pipeline.completeness import Upload
from pipeline.context import Context
from pipeline.runs import Overtaken, Run, Stage, now
from pipeline.stages import STAGES
from pipeline.stages.outcome import Go, Outcome, RunFailed, SourceAtFault, Wait

STEPS = "run-steps"
_log = structlog.get_logger()

_ONE_INVOCATION = 60.0
"""Seconds after which a step that could go on at once goes on in an invocation of its own."""
_UNTIMED = {Stage.AWAITING_UPLOAD, Stage.QUEUED}
"""Stages that no deadline ends. An upload may take days: it ends once nothing is written any more. A run that waits for
its turn waits for others, which have a deadline."""
_TRIES = 12
"""Steps in a row that may meet a conflict, or a refusal to undo, backing off to minutes, before the run ends for it."""


def step(ctx: Context, run_id: str, generation: int) -> None:
    """Take a run one step on, and further as long as nothing has to be waited for.

    A message that names another generation than the run's does nothing: it was delivered twice, or late.
    """
    loaded = ctx.runs.load(run_id)
    if loaded is None:
        _log.warning("step_void", run=run_id, why="there is no such run")
        return
    run, etag = loaded
    with bound_contextvars(run=run.id, image=run.image, stage=run.stage.value):
        if run.stage.ended or run.generation != generation:
            _log.info("step_void", generation=generation, current=run.generation)
            return
        try:
            _walk(ctx, run, etag)
        except Overtaken:
            _log.info("step_void", why="another delivery was faster")


def _walk(ctx: Context, run: Run, etag: str) -> None:
    began = monotonic()
    while True:
        etag = _save(ctx, run, etag, _take(ctx, run))
        if run.stage.ended:
            return
        delay = max(0.0, (run.due - now()).total_seconds())
        if delay or monotonic() - began > _ONE_INVOCATION:
            queue_step(ctx, run, delay)
            return


def queue_step(ctx: Context, run: Run, delay: float = 0) -> None:
    """Ask for the run's next step, after `delay` seconds."""
    ctx.queues.send(STEPS, {"run": run.id, "generation": run.generation}, delay)


def _save(ctx: Context, run: Run, etag: str, outcome: Outcome) -> str:
    was, at = run.stage, now()
    if isinstance(outcome, Go) and outcome.stage.ended:
        outcome = _told_of(ctx, run, outcome)
    if isinstance(outcome, Go):
        run.stage, run.entered, run.due, run.note = outcome.stage, at, at, ""
        run.began = at if was in _UNTIMED else run.began
        run.ended = at if run.stage.ended else None
        happened: str | None = outcome.note
    else:
        run.due, run.note, happened = at + timedelta(seconds=outcome.seconds), outcome.note, outcome.happened
    etag = ctx.runs.save(run, etag, was=was, happened=happened)
    if run.takes_turn and (run.stage.ended or (was, run.stage) == (Stage.QUEUED, Stage.UNDOING)):
        ctx.line.leave(run.id, run.attempt)
    if isinstance(outcome, Go):
        _log.info("run_stage", led_to=run.stage.value, note=outcome.note, **_told(run))
        bind_contextvars(stage=run.stage.value)
    elif happened:
        _log.info("run_happening", note=happened)
    else:
        _log.debug("run_waits", note=run.note, seconds=round(outcome.seconds, 1))
    return etag


def _told_of(ctx: Context, run: Run, outcome: Go) -> Outcome:
    """The outcome, once others were told of it; a wait where they cannot be told now."""
    try:
        tell_end(ctx, run, outcome.stage)
    except Unavailable as fault:
        run.faults += 1
        if run.faults <= _TRIES:
            return Wait(_backoff(ctx, run), f"nobody can be told yet: {fault}")
        _log.error("event_lost", fault=str(fault))
    return outcome


def _told(run: Run) -> dict[str, Any]:
    told = {"version": run.version, "reason": run.reason, "duplicate_of": run.duplicate_of}
    return {name: value for name, value in told.items() if value}


def _take(ctx: Context, run: Run) -> Outcome:
    """Call the run's stage; turn what goes wrong into what is next."""
    try:
        if run.stage is not Stage.UNDOING:
            _check_may_go_on(ctx, run)
        outcome = STAGES[run.stage](run, ctx)
    except RunFailed as failure:
        run.source_at_fault = isinstance(failure, SourceAtFault)
        return fail(run, str(failure))
    except Unavailable as fault:
        run.faults += 1
        return _put_off(ctx, run, max(fault.retry_after, _backoff(ctx, run)), f"Azure does not answer: {fault}")
    except CloudFault as fault:
        run.faults += 1
        may_pass = isinstance(fault, Conflict) or (run.stage is Stage.UNDOING and not isinstance(fault, Denied))
        if not may_pass or run.faults > _TRIES:
            return _give_up(ctx, run, str(fault))
        return _put_off(ctx, run, _backoff(ctx, run), str(fault))
    except Exception as error:
        ctx.runs.note_fault(run.id, f"{type(error).__name__}: {error}")
        raise
    if not (isinstance(outcome, Go) and outcome.stage.ended):
        run.faults = 0  # an end that could not be told yet goes on counting
    return outcome


def _check_may_go_on(ctx: Context, run: Run) -> None:
    age = (now() - run.began).total_seconds()
    if run.stage not in _UNTIMED and age > ctx.settings.run_deadline_seconds:
        raise RunFailed(f"not done {age / 3600:.1f} h after it began; last seen: {run.note or run.stage.value}")
    if run.image not in ctx.catalog.images:
        raise RunFailed(f"the catalog has no image {run.image!r} any more")


def _backoff(ctx: Context, run: Run) -> float:
    return min(ctx.settings.poll_seconds * 2.0 ** min(run.faults - 1, 10), ctx.settings.poll_max_seconds)


def _put_off(ctx: Context, run: Run, seconds: float, why: str) -> Outcome:
    since = (now() - run.entered).total_seconds()
    if run.stage is Stage.UNDOING and since > ctx.settings.run_deadline_seconds:
        return _give_up(ctx, run, why)
    return Wait(seconds, why, happened=why if run.faults == 1 else None)


def _give_up(ctx: Context, run: Run, why: str) -> Outcome:
    if run.stage is not Stage.UNDOING:
        return fail(run, why)
    if run.managed_image:
        ctx.sources.leave_in(ctx.managed_image_group_of(run))
    made = [
        f"managed image {run.managed_image}" if run.managed_image else "",
        f"version {run.version}" if run.version else "",
    ]
    left = " and ".join(filter(None, made)) or "nothing"
    if run.published:
        # What is in `latest` is published, whatever could not be taken away after it: retention comes for that.
        left = f"; left behind for retention: managed image {run.managed_image}" if run.managed_image else ""
        note = f"version {run.version} is in latest all the same: {why}{left}"
        _log.warning("cleanup_failed", managed_image=run.managed_image, why=why)
        run.reason, run.source_at_fault = None, False
        return Go(Stage.PUBLISHED, note)
    run.reason = f"{run.reason}. What it made could not be taken away ({why}); left behind, if still there: {left}"
    return Go(Stage.FAILED, f"could not undo: {why}")


def fail(run: Run, reason: str) -> Go:
    """Let a run fail for `reason`, by way of undoing what it made."""
    run.reason, run.faults = reason, 0
    return Go(Stage.UNDOING, reason)


class NotNow(ValueError):
    """The run is in no state for this. The message says which it is in."""


def retry(ctx: Context, run_id: str, why: str = "tried again", asked: Run | None = None) -> Run:
    """Let a run that failed or was cancelled go on, with the source it claimed and the number it holds; with `asked`,
    as that draft of a request asks for it. `why` goes into its history.

    Raises NotFound, or NotNow where it has not failed.
    """
    run, etag = _loaded(ctx, run_id)
    was = run.stage
    if was not in (Stage.FAILED, Stage.CANCELLED):
        raise NotNow(f"the run is {was.value}; what can be tried again has failed or was cancelled")
    wish = asked.wish if asked and asked.wish else run.wish
    overtaken = run.promotion and not (wish and wish.exact)  # another may have moved on since, under a higher number
    if run.definition and (overtaken or wish != run.wish):
        ctx.ledger.renounce(run.definition, run.id)
    ctx.runs.revive(run_id)
    if asked:
        run.number_as(asked)
        run.ask_too(asked)
        run.tags, run.data_disks = run.tags | asked.tags, asked.data_disks or run.data_disks
        run.request_id = asked.request_id or run.request_id
    run.stage, run.attempt = run.first_stage, run.attempt + 1
    run.began = run.entered = run.due = now()
    run.ended = run.reason = run.operation = run.managed_image = run.managed_image_group = run.boots = None
    run.upload, run.source_at_fault = Upload(), False
    for data in run.data_disks:
        data.upload, data.content = Upload(), None
    run.version = run.version if run.amendment else None
    run.outcome, run.note, run.faults, run.repairs, run.regions = Stage.FAILED, "", 0, {}, []
    run.left_behind = ""
    ctx.runs.save(run, etag, was=was, happened=why)
    _log.info("run_retried", run=run.id, image=run.image, why=why)
    queue_step(ctx, run)
    return run


def cancel(ctx: Context, run_id: str, by: str) -> Run:
    """Let a run end as cancelled, by way of undoing what it made. `by` goes into its history.

    Raises NotFound, or NotNow where it has ended, is about to be published, or amends a version.
    """
    while True:
        run, etag = _loaded(ctx, run_id)
        was = run.stage
        if was.ended or was in (Stage.FINISHING, Stage.AMENDING, Stage.UNDOING):
            raise NotNow(f"the run is {was.value}: too late to cancel it")
        go = fail(run, f"cancelled by {by}")
        run.outcome = Stage.CANCELLED
        try:
            _save(ctx, run, etag, go)
        except Overtaken:
            continue
        queue_step(ctx, run)
        return run


def _loaded(ctx: Context, run_id: str) -> tuple[Run, str]:
    loaded = ctx.runs.load(run_id)
    if loaded is None:
        raise NotFound(f"there is no run {run_id}")
    return loaded


def fail_poisoned(ctx: Context, run_id: str, generation: int, tries: int) -> None:
    """Fail a run whose step could not be taken, however often it was tried."""
    loaded = ctx.runs.load(run_id)
    if loaded is None or loaded[0].stage.ended or loaded[0].generation != generation:
        _log.info("poisoned_step_void", run=run_id, generation=generation)
        return
    run, etag = loaded
    fault = ctx.runs.last_fault(run_id) or "the function died each time and said nothing"
    reason = f"its step in {run.stage.value} was tried {tries} times and failed each time: {fault}"
    with bound_contextvars(run=run.id, image=run.image, stage=run.stage.value):
        _log.error("step_poisoned", generation=generation, fault=fault)
        try:
            _save(ctx, run, etag, _give_up(ctx, run, reason))
        except Overtaken:
            return
        if not run.stage.ended:
            queue_step(ctx, run)
