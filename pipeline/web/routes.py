"""Which handler answers which route."""

from __future__ import annotations

from pipeline.web import api, lifecycle
from pipeline.web.calls import Handler

HANDLERS: dict[str, Handler] = {
    "POST /publish": api.publish,
    "GET /runs": api.runs,
    "GET /runs/{id}": api.run,
    "POST /runs/{id}/retry": api.retry,
    "POST /runs/{id}/cancel": api.cancel,
    "GET /images": api.images,
    "GET /images/{image}/versions": api.versions,
    "POST /images/{image}/versions/{version}/verdict": lifecycle.verdict,
    "POST /images/{image}/versions/{version}/approval": lifecycle.approval,
    "POST /images/{image}/versions/{version}/withdrawal": lifecycle.withdrawal,
    "POST /images/{image}/versions/{version}/reinstatement": lifecycle.reinstatement,
    "POST /images/{image}/versions/{version}/number-release": lifecycle.number_release,
    "POST /images/{image}/rollback": lifecycle.rollback,
    "GET /promotions": lifecycle.promotions,
    "POST /promotions": lifecycle.promote,
    "POST /promotions/{rule}/hold": lifecycle.hold,
    "POST /promotions/{rule}/release": lifecycle.release,
    "POST /retention": lifecycle.retire,
    "GET /audit": api.audit,
    "GET /openapi.json": api.openapi,
}
