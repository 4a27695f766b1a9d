"""The triggers. Each reads what it is given and calls the pipeline, which is imported when it is first needed."""

from __future__ import annotations

import os

import azure.functions as func

app = func.FunctionApp(http_auth_level=func.AuthLevel.FUNCTION)


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


@app.timer_trigger(arg_name="timer", schedule="%SWEEP_SCHEDULE%")
def sweep(timer: func.TimerRequest) -> None:
    """Find what stalled, and VHDs that nobody told of."""
    from pipeline.triggers import sweep_now

    sweep_now(past_due=timer.past_due)


def _call(handler: str, request: func.HttpRequest) -> func.HttpResponse:
    import json

    from pipeline.triggers import http
    from pipeline.web import api

    base = request.url.partition("/api/")[0] + "/api"
    query = {name: value for name, value in request.params.items() if name != "code"}  # code is the key
    call = api.Call(base, request.route_params, query, request.get_body())
    answer = http(getattr(api, handler), call)
    return func.HttpResponse(
        json.dumps(answer.body), status_code=answer.status, headers=answer.headers, mimetype="application/json"
    )


@app.route(route="publish", methods=["POST"])
def publish(req: func.HttpRequest) -> func.HttpResponse:
    """A build system asks for a version."""
    return _call("publish", req)


@app.route(route="runs", methods=["GET"])
def list_runs(req: func.HttpRequest) -> func.HttpResponse:
    """The runs, newest first."""
    return _call("runs", req)


@app.route(route="runs/{id}", methods=["GET"])
def show_run(req: func.HttpRequest) -> func.HttpResponse:
    """One run with its history."""
    return _call("run", req)


@app.route(route="runs/{id}/retry", methods=["POST"])
def retry_run(req: func.HttpRequest) -> func.HttpResponse:
    """Let a run that failed go on."""
    return _call("retry", req)


@app.route(route="runs/{id}/cancel", methods=["POST"])
def cancel_run(req: func.HttpRequest) -> func.HttpResponse:
    """Let a run end, and undo what it made."""
    return _call("cancel", req)


@app.route(route="images", methods=["GET"])
def list_images(req: func.HttpRequest) -> func.HttpResponse:
    """The images of the catalog."""
    return _call("images", req)


@app.route(route="images/{image}/versions", methods=["GET"])
def list_versions(req: func.HttpRequest) -> func.HttpResponse:
    """The versions of an image."""
    return _call("versions", req)


@app.route(route="openapi.json", methods=["GET"], auth_level=func.AuthLevel.ANONYMOUS)
def openapi(req: func.HttpRequest) -> func.HttpResponse:
    """The description of this API."""
    return _call("openapi", req)


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
