"""The HTTP API's routes for the life of a version: verdicts, promotion, withdrawal, retention."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, StringConstraints

from pipeline import amendments, engine, promotion, retention
from pipeline.audit import Deed
from pipeline.catalog import Promotion
from pipeline.cloud.faults import CloudFault, NotFound
from pipeline.context import Context
from pipeline.gates import why_nothing
from pipeline.numbers import release_number
from pipeline.requests import Finding, InvalidRequest, Number, parse, parse_verdict
from pipeline.runs import Run
from pipeline.validation import ONE_LINE, quoted, unknown
from pipeline.web.calls import Answer, Call, briefly, parse_body


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


By = Annotated[str, ONE_LINE, StringConstraints(max_length=200)]
Why = Annotated[str, ONE_LINE, StringConstraints(min_length=1, max_length=256)]


class _Named(BaseModel):
    """What a route names: a version of an image."""

    image: str
    version: Number


class ApprovalRequest(_Body):
    """What POST …/approval takes. `by` is a note, here and elsewhere: who did it is the caller."""

    by: By = ""


class WithdrawalRequest(_Body):
    """What POST …/withdrawal takes. `promoted`: what was promoted from it is withdrawn too."""

    why: Why
    by: By = ""
    promoted: bool = False


class ReasonRequest(_Body):
    """What POST …/reinstatement and …/hold take."""

    why: Why
    by: By = ""


class RollbackRequest(_Body):
    """What POST /images/{image}/rollback takes: with `out`, only that version is taken out of latest; with `dry_run`
    nothing is changed."""

    why: Why
    by: By = ""
    out: Number | None = None
    dry_run: bool = False


class PromotionRequest(_Body):
    """What POST /promotions takes: of which image, of which version of it; every rule where neither is named."""

    image: str | None = None
    version: Number | None = None
    dry_run: bool = False


def verdict(ctx: Context, call: Call) -> Answer:
    """POST /images/{image}/versions/{version}/verdict"""
    said = parse_verdict({**call.route, **parse_body(Finding, call).model_dump()})
    with _changing(ctx, call, "verdict") as deed:
        return _amending(ctx, call, deed, amendments.judge_version(ctx, said, call.caller))


def approval(ctx: Context, call: Call) -> Answer:
    """POST /images/{image}/versions/{version}/approval"""
    given, named = parse_body(ApprovalRequest, call), _named(call)
    with _changing(ctx, call, "approval") as deed:
        return _amending(ctx, call, deed, amendments.approve(ctx, **named, caller=call.caller, note=given.by))


def withdrawal(ctx: Context, call: Call) -> Answer:
    """POST /images/{image}/versions/{version}/withdrawal"""
    given, named = parse_body(WithdrawalRequest, call), _named(call)
    with _changing(ctx, call, "withdrawal") as deed:
        runs = amendments.withdraw(
            ctx, **named, why=given.why, caller=call.caller, note=given.by, promoted=given.promoted
        )
        return _amending(ctx, call, deed, *runs)


def reinstatement(ctx: Context, call: Call) -> Answer:
    """POST /images/{image}/versions/{version}/reinstatement"""
    given, named = parse_body(ReasonRequest, call), _named(call)
    with _changing(ctx, call, "reinstatement") as deed:
        run = amendments.reinstate(ctx, **named, why=given.why, caller=call.caller, note=given.by)
        return _amending(ctx, call, deed, run)


def number_release(ctx: Context, call: Call) -> Answer:
    """POST /images/{image}/versions/{version}/number-release"""
    given, named = parse_body(ReasonRequest, call), _named(call)
    with _changing(ctx, call, "number-release"):
        release_number(ctx, **named, why=given.why)
    return Answer(200, named)


def rollback(ctx: Context, call: Call) -> Answer:
    """POST /images/{image}/rollback"""
    given = parse_body(RollbackRequest, call)

    def roll_back(deed: Deed) -> Answer:
        done = amendments.rollback(
            ctx,
            call.route["image"],
            why=given.why,
            caller=call.caller,
            note=given.by,
            out=given.out,
            dry_run=given.dry_run,
        )
        answer = _amending(ctx, call, deed, *done.runs)
        answer.body.update({"image": done.image, "out": done.out, "back_to": done.back_to})
        return answer

    if given.dry_run:
        return roll_back(Deed())
    with _changing(ctx, call, "rollback") as deed:
        return roll_back(deed)


def _named(call: Call) -> dict[str, str]:
    """Image and version that a route names. Raises InvalidRequest where that is no version's number."""
    return parse(_Named, dict(call.route)).model_dump()


def _changing(ctx: Context, call: Call, action: str) -> AbstractContextManager[Deed]:
    """The audit's line of a change to what a route names."""
    on = " ".join(f"{kind} {name}" for kind, name in call.route.items())
    return ctx.audit.change(call.caller, action, on)


def _amending(ctx: Context, call: Call, deed: Deed, *runs: Run | None) -> Answer:
    """202 with the runs that amend versions, or 200 with none where all is as it should be."""
    begun = [run for run in runs if run]
    deed.runs = [run.id for run in begun]
    for run in begun:
        engine.queue_step(ctx, run)
    body: dict[str, Any] = {"runs": [briefly(run, call.base) for run in begun]}
    return Answer(202 if begun else 200, body)


def promotions(ctx: Context, call: Call) -> Answer:
    """GET /promotions"""
    return Answer(200, {"promotions": _looked(ctx, call, ctx.catalog.promotions)})


def promote(ctx: Context, call: Call) -> Answer:
    """POST /promotions"""
    given = parse_body(PromotionRequest, call)
    if given.version and not given.image:
        raise InvalidRequest([("version", "goes with image")])
    rules = [rule for rule in ctx.catalog.promotions if given.image in (None, rule.from_)]
    if given.image and not rules:
        raise InvalidRequest([("image", f"no rule promotes {quoted(given.image)}")])
    if given.dry_run:
        return Answer(200, {"promotions": _looked(ctx, call, rules, given.version)})
    on = f"image {given.image or '*'}" + (f" version {given.version}" if given.version else "")
    with ctx.audit.change(call.caller, "promote", on) as deed:
        done = promotion.promote_all(ctx, rules, given.version, call.caller)
        deed.runs = [one.run.id for one in done if one.run]
    return Answer(200, {"promotions": [_promotion(ctx, call, one) for one in done]})


def _looked(ctx: Context, call: Call, rules: list[Promotion], only: str | None = None) -> list[dict[str, Any]]:
    """What each rule would do; one that cannot be looked at says so, and hides no other."""

    def look(rule: Promotion) -> promotion.Promoted:
        try:
            return promotion.Promoted(rule, promotion.look(ctx, rule, only))
        except NotFound:
            raise
        except CloudFault as fault:
            return promotion.Promoted(rule, None, fault=str(fault))

    return [_promotion(ctx, call, look(rule)) for rule in rules]


def _promotion(ctx: Context, call: Call, done: promotion.Promoted) -> dict[str, Any]:
    plan, rule = done.plan, done.rule
    pick = plan.pick if plan else None
    return {
        "rule": rule.key,
        "from": rule.from_,
        "to": ctx.catalog.target_of(rule),
        "have": str(plan.have) if plan and plan.have else None,
        "held": {"why": plan.hold.why, "by": plan.hold.by, "at": plan.hold.at.isoformat()}
        if plan and plan.hold
        else None,
        "moves": pick.name if pick else None,
        "run": briefly(done.run, call.base) if done.run else None,
        "why_nothing": done.fault or (why_nothing(plan) if plan else ""),
        "candidates": [
            {"version": one.version.name, "gates": [gate.why for gate in one.gates]} for one in plan.candidates
        ]
        if plan
        else [],
    }


def hold(ctx: Context, call: Call) -> Answer:
    """POST /promotions/{rule}/hold"""
    rule, given = _rule(ctx, call), parse_body(ReasonRequest, call)
    with _changing(ctx, call, "hold"):
        ctx.holds.hold(rule.key, given.why, call.caller.name)
    return Answer(200, {"promotions": _looked(ctx, call, [rule])})


def release(ctx: Context, call: Call) -> Answer:
    """POST /promotions/{rule}/release"""
    rule = _rule(ctx, call)
    with _changing(ctx, call, "release"):
        ctx.holds.release(rule.key)
    return Answer(200, {"promotions": _looked(ctx, call, [rule])})


def _rule(ctx: Context, call: Call) -> Promotion:
    found = {rule.key: rule for rule in ctx.catalog.promotions}
    if call.route["rule"] not in found:
        raise NotFound(unknown("the catalog has no rule", call.route["rule"], found))
    return found[call.route["rule"]]


class RetentionRequest(_Body):
    """What POST /retention takes: which image, every one where none is named. Nothing is deleted unless `dry_run` is
    false; with `confirmed`, by image, nothing but what it names, as a plan named it."""

    image: str | None = None
    dry_run: bool = True
    confirmed: dict[str, list[str]] | None = None


def retire(ctx: Context, call: Call) -> Answer:
    """POST /retention"""
    given = parse_body(RetentionRequest, call)
    if given.image and given.image not in ctx.catalog.images:
        raise InvalidRequest([("image", unknown("the catalog has no image", given.image, ctx.catalog.images))])
    images = [given.image] if given.image else ctx.catalog.images
    told = []
    for planned in retention.look_all(ctx, images):
        done: list[retention.Gone] = []
        if not given.dry_run:
            only = None if given.confirmed is None else given.confirmed.get(planned.image, [])
            with ctx.audit.change(call.caller, "retention", f"image {planned.image}") as deed:
                done = retention.retire(ctx, planned, only)
                deed.outcome = retention.in_words(done)
        told.append(_retention(planned) | {"done": [{"what": one.what, "refused": one.refused} for one in done]})
    return Answer(200, {"dry_run": given.dry_run, "images": told})


def _retention(planned: retention.Retention) -> dict[str, Any]:
    return {
        "image": planned.image,
        "fault": planned.fault,
        "versions": [{"version": one.version.name, "delete": one.delete, "why": one.why} for one in planned.decisions],
        "orphans": [{"kind": one.kind, "name": one.name, "run": one.run} for one in planned.orphans],
        "vhds": [f"{container}/{name}" for container, name, _ in planned.vhds],
    }
