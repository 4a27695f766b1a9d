"""An app whose functions write down what they were given, for the tests of the host."""

from __future__ import annotations

import asyncio
import json
import os
import time
from pathlib import Path

import azure.functions as func
from azurefunctions.extensions.bindings.blob import BlobClient

app = func.FunctionApp(http_auth_level=func.AuthLevel.FUNCTION)
FOLDER = Path(os.environ["TEST_FOLDER"])


def record(function: str, **facts: object) -> None:
    line = json.dumps({"function": function, "process": os.getpid(), "at": time.time(), **facts}, default=str)
    with (FOLDER / "records").open("a") as file:
        file.write(line + "\n")


@app.queue_trigger(arg_name="msg", queue_name="%WORK_QUEUE%", connection="Work")
def work(msg: func.QueueMessage, context: func.Context) -> None:
    text = msg.get_body().decode()
    record(
        "work",
        text=text,
        id=msg.id,
        dequeues=msg.dequeue_count,
        receipt=msg.pop_receipt,
        times=[msg.insertion_time, msg.time_next_visible, msg.expiration_time],
        context=[context.function_name, context.invocation_id, context.function_directory],
    )
    if text == "fail":
        raise RuntimeError("as asked")
    while text.startswith("hold") and not (FOLDER / "release").exists():
        time.sleep(0.05)
    record("work", ended=text)


@app.queue_trigger(arg_name="text", queue_name="%WORK_QUEUE%-async", connection="Work")
async def later(text: str) -> None:
    await asyncio.sleep(0.01)
    record("later", text=text)


@app.timer_trigger(arg_name="timer", schedule="%TICK%", use_monitor=False)
def tick(timer: func.TimerRequest) -> None:
    record("tick", past_due=timer.past_due)


@app.timer_trigger(arg_name="timer", schedule="0 0 3 1 1 *")
def yearly(timer: func.TimerRequest) -> None:
    record("yearly", past_due=timer.past_due, status=timer.schedule_status)


@app.route(route="things/{id:int}/{part?}", methods=["GET", "PUT"])
def things(req: func.HttpRequest) -> func.HttpResponse:
    facts = {"params": dict(req.route_params), "query": dict(req.params), "body": req.get_body().decode()}
    headers = {"X-Seen": req.headers.get("x-sent", ""), "X-Came-From": req.headers["x-forwarded-for"]}
    return func.HttpResponse(json.dumps(facts), mimetype="application/json", status_code=201, headers=headers)


@app.route(route="things/all", auth_level=func.AuthLevel.ANONYMOUS)
async def all_things(req: func.HttpRequest) -> str:
    return "all of them"


@app.route(route="files/{*path}", auth_level=func.AuthLevel.ADMIN)
def files(req: func.HttpRequest) -> str:
    return req.route_params.get("path", "")


@app.route(route="broken", auth_level=func.AuthLevel.ANONYMOUS)
def broken(req: func.HttpRequest) -> str:
    raise RuntimeError("a secret of the inside")


@app.blob_trigger(arg_name="vhd", path="vhds/{image}/{name}.vhd", connection="Work", source="EventGrid")
def uploaded(vhd: BlobClient) -> None:
    record("uploaded", container=vhd.container_name, blob=vhd.blob_name, size=vhd.get_blob_properties().size)
    if "bad" in vhd.blob_name:
        raise RuntimeError("as asked")


@app.blob_trigger(arg_name="found", path="drops/{name}", connection="Work")
def dropped(found: BlobClient) -> None:
    record("dropped", blob=found.blob_name, etag=found.get_blob_properties().etag)
