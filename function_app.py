"""The triggers. Each reads what it is given and calls the pipeline, which is imported when it is first needed."""

from __future__ import annotations

import os

import azure.functions as func

# Where callers sign in with Entra, the pipeline looks at their tokens, and there is no key.
_LEVEL = func.AuthLevel.ANONYMOUS if os.environ.get("API_CLIENT_ID") else func.AuthLevel.FUNCTION

app = func.FunctionApp(http_auth_level=_LEVEL)


@app.queue_trigger(arg_name="message", queue_name="vhd-uploads", connection="Storage")
def take_upload_event(message: func.QueueMessage) -> None:
    """A storage account tells of a blob: begin the runs it feeds, and take their first step."""
    from pipeline.triggers import upload_event

    upload_event(message.get_body())


@app.queue_trigger(arg_name="message", queue_name="publish-requests", connection="Storage")
def take_publish_request(message: func.QueueMessage) -> None:
    """A build system asks for a version."""
    from pipeline.triggers import publish_request

    publish_request(message.get_body())


@app.queue_trigger(arg_name="message", queue_name="verdicts", connection="Storage")
def take_verdict(message: func.QueueMessage) -> None:
    """A test system has looked at a version."""
    from pipeline.triggers import verdict

    verdict(message.get_body(), str(message.id))


@app.queue_trigger(arg_name="message", queue_name="run-steps", connection="Storage")
def take_step(message: func.QueueMessage) -> None:
    """A run's next step is due."""
    from pipeline.triggers import run_step

    run_step(message.get_body())


@app.queue_trigger(arg_name="message", queue_name="run-steps-poison", connection="Storage")
def fail_poisoned_step(message: func.QueueMessage) -> None:
    """A step failed as often as it may: its run fails, and says so."""
    from pipeline.triggers import poisoned_step

    poisoned_step(message.get_body())


def _schedule(setting: str, default: str) -> str:
    return f"%{setting}%" if os.environ.get(setting) else default


@app.timer_trigger(arg_name="timer", schedule=_schedule("SWEEP_SCHEDULE", "0 */5 * * * *"))
def sweep(timer: func.TimerRequest) -> None:
    """Find what stalled, and VHDs that nobody told of."""
    from pipeline.triggers import sweep_now

    sweep_now(past_due=timer.past_due)


@app.timer_trigger(arg_name="timer", schedule=_schedule("PROMOTION_SCHEDULE", "0 0 2 * * *"))
def promote(timer: func.TimerRequest) -> None:
    """Promote what has proven itself."""
    from pipeline.triggers import promote_now

    promote_now(past_due=timer.past_due)


@app.timer_trigger(arg_name="timer", schedule=_schedule("RETENTION_SCHEDULE", "0 30 3 * * *"))
def retire(timer: func.TimerRequest) -> None:
    """Take away what has had its time."""
    from pipeline.triggers import retire_now

    retire_now(past_due=timer.past_due)


api = func.Blueprint()  # type: ignore[no-untyped-call]


def _call(route: str, request: func.HttpRequest) -> func.HttpResponse:
    import json

    from pipeline.triggers import http

    base = request.url.partition("/api/")[0] + "/api"
    answer = http(route, base, request.route_params, request.params, request.headers, request.get_body())
    return func.HttpResponse(
        json.dumps(answer.body), status_code=answer.status, headers=answer.headers, mimetype="application/json"
    )


@api.route(route="publish", methods=["POST"])
def publish(req: func.HttpRequest) -> func.HttpResponse:
    """A build system asks for a version."""
    return _call("POST /publish", req)


@api.route(route="runs", methods=["GET"])
def list_runs(req: func.HttpRequest) -> func.HttpResponse:
    """The runs, newest first."""
    return _call("GET /runs", req)


@api.route(route="runs/{id}", methods=["GET"])
def show_run(req: func.HttpRequest) -> func.HttpResponse:
    """One run with its history."""
    return _call("GET /runs/{id}", req)


@api.route(route="runs/{id}/retry", methods=["POST"])
def retry_run(req: func.HttpRequest) -> func.HttpResponse:
    """Let a run that failed go on."""
    return _call("POST /runs/{id}/retry", req)


@api.route(route="runs/{id}/cancel", methods=["POST"])
def cancel_run(req: func.HttpRequest) -> func.HttpResponse:
    """Let a run end, and undo what it made."""
    return _call("POST /runs/{id}/cancel", req)


@api.route(route="images", methods=["GET"])
def list_images(req: func.HttpRequest) -> func.HttpResponse:
    """The images of the catalog."""
    return _call("GET /images", req)


@api.route(route="images/{image}/versions", methods=["GET"])
def list_versions(req: func.HttpRequest) -> func.HttpResponse:
    """The versions of an image."""
    return _call("GET /images/{image}/versions", req)


@api.route(route="images/{image}/versions/{version}/verdict", methods=["POST"])
def give_verdict(req: func.HttpRequest) -> func.HttpResponse:
    """A test system has looked at a version."""
    return _call("POST /images/{image}/versions/{version}/verdict", req)


@api.route(route="images/{image}/versions/{version}/approval", methods=["POST"])
def approve_version(req: func.HttpRequest) -> func.HttpResponse:
    """A person approves of a version."""
    return _call("POST /images/{image}/versions/{version}/approval", req)


@api.route(route="images/{image}/versions/{version}/withdrawal", methods=["POST"])
def withdraw_version(req: func.HttpRequest) -> func.HttpResponse:
    """Take a version out of latest."""
    return _call("POST /images/{image}/versions/{version}/withdrawal", req)


@api.route(route="images/{image}/versions/{version}/reinstatement", methods=["POST"])
def reinstate_version(req: func.HttpRequest) -> func.HttpResponse:
    """Undo a withdrawal."""
    return _call("POST /images/{image}/versions/{version}/reinstatement", req)


@api.route(route="images/{image}/versions/{version}/number-release", methods=["POST"])
def release_number(req: func.HttpRequest) -> func.HttpResponse:
    """Let a version's number bind no more."""
    return _call("POST /images/{image}/versions/{version}/number-release", req)


@api.route(route="images/{image}/rollback", methods=["POST"])
def roll_back(req: func.HttpRequest) -> func.HttpResponse:
    """Make the good version before the latest one latest again."""
    return _call("POST /images/{image}/rollback", req)


@api.route(route="promotions", methods=["GET"])
def list_promotions(req: func.HttpRequest) -> func.HttpResponse:
    """Each promotion rule, what it would move, and what keeps the rest."""
    return _call("GET /promotions", req)


@api.route(route="promotions", methods=["POST"])
def promote_by_hand(req: func.HttpRequest) -> func.HttpResponse:
    """Promote now, by all rules or an image's."""
    return _call("POST /promotions", req)


@api.route(route="promotions/{rule}/hold", methods=["POST"])
def hold_promotion(req: func.HttpRequest) -> func.HttpResponse:
    """Let nothing move by a rule."""
    return _call("POST /promotions/{rule}/hold", req)


@api.route(route="promotions/{rule}/release", methods=["POST"])
def release_promotion(req: func.HttpRequest) -> func.HttpResponse:
    """Let a rule go on."""
    return _call("POST /promotions/{rule}/release", req)


@api.route(route="retention", methods=["POST"])
def retire_by_hand(req: func.HttpRequest) -> func.HttpResponse:
    """Plan retention, and unless it is a dry run, do what is planned."""
    return _call("POST /retention", req)


@api.route(route="audit", methods=["GET"])
def show_audit(req: func.HttpRequest) -> func.HttpResponse:
    """Who changed what."""
    return _call("GET /audit", req)


@api.route(route="openapi.json", methods=["GET"], auth_level=func.AuthLevel.ANONYMOUS)
def openapi(req: func.HttpRequest) -> func.HttpResponse:
    """The description of this API."""
    return _call("GET /openapi.json", req)


if os.environ.get("HTTP_API") != "off":
    app.register_functions(api)


# The second way of being told of a VHD. Set to EventGrid in Azure, or to LogsAndContainerScan for an emulator that
# sends no events; unset where events reach the queue vhd-uploads.
if source := os.environ.get("VHD_BLOB_TRIGGER"):
    import azurefunctions.extensions.bindings.blob as blob

    @app.blob_trigger(
        arg_name="vhd", path="%VHD_CONTAINER%/{name}", connection="Storage", source=func.BlobSource(source)
    )
    def take_upload(vhd: blob.BlobClient) -> None:
        """A blob was created: begin the runs it feeds. The client is handed over, never the bytes."""
        from pipeline.triggers import uploaded_blob

        uploaded_blob(vhd.container_name, vhd.blob_name)
