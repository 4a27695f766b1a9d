"""Taking a run's steps by hand, without the waits between them."""

from __future__ import annotations

import dataclasses
import json
import time
from typing import Any

from azure.storage.blob import BlobClient

from pipeline import engine
from pipeline.access import Caller, Role, of_key
from pipeline.context import Context
from pipeline.events import read_blob_events
from pipeline.intake import take_event
from pipeline.runs import TABLE, Run, read_record
from pipeline.web.calls import Answer, Call, answer
from pipeline.web.routes import HANDLERS
from tests.azure import Azure

PUBLISHER = of_key(Role.PUBLISHER)
"""Who asks for versions, where it does not matter who does."""
OPERATOR = of_key(Role.OPERATOR)


def tell(azure: Azure, ctx: Context, blob: BlobClient) -> Run | None:
    """Deliver the event of a blob; the run whose first step is due, if any."""
    ((event,), _) = read_blob_events(azure.event(blob).encode())
    begun = take_event(ctx, event)
    return begun[0] if begun else None


def step(ctx: Context, run: Run) -> Run:
    """Take one step of a run."""
    engine.step(ctx, run.id, run.generation)
    loaded = ctx.runs.load(run.id)
    assert loaded
    return loaded[0]


def with_settings(ctx: Context, **settings: float) -> Context:
    """The pipeline with other app settings."""
    return dataclasses.replace(ctx, settings=ctx.settings.model_copy(update=settings))


def with_image(ctx: Context, image: str, **entry: Any) -> Context:
    """The pipeline with another catalog, which says this of an image."""
    known = ctx.catalog.images[image]
    changed = type(known).model_construct(**dict(known) | entry)
    images = {**ctx.catalog.images, image: changed}
    return dataclasses.replace(ctx, catalog=ctx.catalog.model_copy(update={"images": images}))


def finish(ctx: Context, run_id: str, within: float = 30) -> Run:
    """Take every step of a run until it ended."""
    deadline = time.monotonic() + within
    while True:
        loaded = ctx.runs.load(run_id)
        assert loaded, f"no run {run_id}"
        run = loaded[0]
        if run.stage.ended:
            return run
        assert time.monotonic() < deadline, f"{run_id} is still {run.stage}: {run.note}"
        engine.step(ctx, run.id, run.generation)
        time.sleep(0.02)


def runs_of(ctx: Context, image: str) -> list[Run]:
    """Every run of an image, oldest first."""
    rows = ctx.runs._tables._service.get_table_client(TABLE).query_entities(
        f"RowKey eq 'run' and PartitionKey gt '{image}-' and PartitionKey lt '{image}.'"
    )
    found = [read_record(dict(row)) for row in rows]
    return sorted((run for run in found if run.image == image), key=lambda run: run.created)


def call(ctx: Context, route: str, body: Any, caller: Caller = PUBLISHER, **parameters: str) -> Answer:
    """What the HTTP API answers a caller."""
    sent = body if isinstance(body, bytes) else json.dumps(body).encode()
    return answer(route, lambda: (ctx, Call("https://x/api", caller, parameters, {}, sent)), HANDLERS)


def message_of(run: Run) -> bytes:
    return json.dumps({"run": run.id, "generation": run.generation}).encode()
