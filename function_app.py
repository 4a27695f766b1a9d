"""The triggers. Each reads what it is given and calls the pipeline, which is imported when it is first needed."""

from __future__ import annotations

import os

import azure.functions as func

# Where App Service lets only callers through that Entra knows, a token opens the HTTP API and there is no key.
_SIGNED_IN = bool(os.environ.get("API_SIGN_IN"))
_LEVEL = func.AuthLevel.ANONYMOUS if _SIGNED_IN else func.AuthLevel.FUNCTION

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


def _call(routes: str, handler: str, request: func.HttpRequest) -> func.HttpResponse:
    import json
    from importlib import import_module

    from pipeline.triggers import http
    from pipeline.web.calls import Call

    caller = request.headers.get("x-ms-client-principal-name", "") if _SIGNED_IN else ""
    if _SIGNED_IN and not request.headers.get("x-ms-client-principal-id"):
        return func.HttpResponse(status_code=401)  # App Service did not see to it: then nobody may
    base = request.url.partition("/api/")[0] + "/api"
    query = {name: value for name, value in request.params.items() if name != "code"}  # code is the key
    answer = http(
        getattr(import_module(f"pipeline.web.{routes}"), handler),
        Call(base, request.route_params, query, request.get_body(), caller),
    )
    return func.HttpResponse(
        json.dumps(answer.body), status_code=answer.status, headers=answer.headers, mimetype="application/json"
    )


@app.route(route="publish", methods=["POST"])
def publish(req: func.HttpRequest) -> func.HttpResponse:
    """A build system asks for a version."""
    return _call("api", "publish", req)


@app.route(route="runs", methods=["GET"])
def list_runs(req: func.HttpRequest) -> func.HttpResponse:
    """The runs, newest first."""
    return _call("api", "runs", req)


@app.route(route="runs/{id}", methods=["GET"])
def show_run(req: func.HttpRequest) -> func.HttpResponse:
    """One run with its history."""
    return _call("api", "run", req)


@app.route(route="runs/{id}/retry", methods=["POST"])
def retry_run(req: func.HttpRequest) -> func.HttpResponse:
    """Let a run that failed go on."""
    return _call("api", "retry", req)


@app.route(route="runs/{id}/cancel", methods=["POST"])
def cancel_run(req: func.HttpRequest) -> func.HttpResponse:
    """Let a run end, and undo what it made."""
    return _call("api", "cancel", req)


@app.route(route="images", methods=["GET"])
def list_images(req: func.HttpRequest) -> func.HttpResponse:
    """The images of the catalog."""
    return _call("api", "images", req)


@app.route(route="images/{image}/versions", methods=["GET"])
def list_versions(req: func.HttpRequest) -> func.HttpResponse:
    """The versions of an image."""
    return _call("api", "versions", req)


@app.route(route="images/{image}/versions/{version}/verdict", methods=["POST"])
def give_verdict(req: func.HttpRequest) -> func.HttpResponse:
    """A test system has looked at a version."""
    return _call("lifecycle", "verdict", req)


@app.route(route="images/{image}/versions/{version}/approval", methods=["POST"])
def approve_version(req: func.HttpRequest) -> func.HttpResponse:
    """A person approves of a version."""
    return _call("lifecycle", "approval", req)


@app.route(route="images/{image}/versions/{version}/withdrawal", methods=["POST"])
def withdraw_version(req: func.HttpRequest) -> func.HttpResponse:
    """Take a version out of latest."""
    return _call("lifecycle", "withdrawal", req)


@app.route(route="images/{image}/versions/{version}/reinstatement", methods=["POST"])
def reinstate_version(req: func.HttpRequest) -> func.HttpResponse:
    """Undo a withdrawal."""
    return _call("lifecycle", "reinstatement", req)


@app.route(route="images/{image}/rollback", methods=["POST"])
def roll_back(req: func.HttpRequest) -> func.HttpResponse:
    """Make the good version before the latest one latest again."""
    return _call("lifecycle", "rollback", req)


@app.route(route="promotions", methods=["GET"])
def list_promotions(req: func.HttpRequest) -> func.HttpResponse:
    """Each promotion rule, what it would move, and what keeps the rest."""
    return _call("lifecycle", "promotions", req)


@app.route(route="promotions", methods=["POST"])
def promote_by_hand(req: func.HttpRequest) -> func.HttpResponse:
    """Promote now, by all rules or an image's."""
    return _call("lifecycle", "promote", req)


@app.route(route="promotions/{rule}/hold", methods=["POST"])
def hold_promotion(req: func.HttpRequest) -> func.HttpResponse:
    """Let nothing move by a rule."""
    return _call("lifecycle", "hold", req)


@app.route(route="promotions/{rule}/release", methods=["POST"])
def release_promotion(req: func.HttpRequest) -> func.HttpResponse:
    """Let a rule go on."""
    return _call("lifecycle", "release", req)


@app.route(route="retention", methods=["POST"])
def retire_by_hand(req: func.HttpRequest) -> func.HttpResponse:
    """Plan retention, and unless it is a dry run, do what is planned."""
    return _call("lifecycle", "retire", req)


@app.route(route="openapi.json", methods=["GET"], auth_level=func.AuthLevel.ANONYMOUS)
def openapi(req: func.HttpRequest) -> func.HttpResponse:
    """The description of this API."""
    return _call("api", "openapi", req)


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
