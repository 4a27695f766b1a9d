"""The process dies at every request it makes, before or after the request had its effect; nothing is lost or doubled."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from azure.core.pipeline.transport import RequestsTransport

from pipeline import engine
from pipeline.context import Context
from pipeline.runs import Run, Stage
from pipeline.stages.marks import source_tag
from pipeline.sweep import sweep
from sandbox import disk
from tests.azure import Azure
from tests.steps import finish, runs_of, tell


class Death(BaseException):
    """SIGKILL, as far as the code it strikes can tell: nothing catches it."""


class Wire:
    """Counts the pipeline's requests, and kills it at one of them. The sandbox's own, of other threads, go by."""

    def __init__(self) -> None:
        self.thread = threading.get_ident()
        self.count = 0
        self.deadly: int | None = None
        self.after = False
        self.killed_at = ""

    def watch(self, send: Any) -> Any:
        def watched(transport: Any, request: Any, **options: Any) -> Any:
            # A death after a request that changes nothing is the death before the next one.
            counts = not self.after or request.method not in ("GET", "HEAD")
            if threading.get_ident() != self.thread or not counts:
                return send(transport, request, **options)
            self.count += 1
            if self.count != self.deadly:
                return send(transport, request, **options)
            self.killed_at = f"{request.method} {request.url.partition('?')[0]}"
            if self.after:
                send(transport, request, **options)
            raise Death(self.killed_at)

        return watched

    @contextmanager
    def deadly_at(self, number: int, *, after: bool) -> Iterator[None]:
        self.count, self.deadly, self.after, self.killed_at = 0, number, after, ""
        try:
            yield
        finally:
            self.deadly = None


@pytest.fixture
def wire(monkeypatch: pytest.MonkeyPatch) -> Wire:
    wire = Wire()
    monkeypatch.setattr(RequestsTransport, "send", wire.watch(RequestsTransport.send))
    return wire


def publish_until_death(azure: Azure, ctx: Context, blob: Any) -> Run | None:
    """Tell of a blob and take all steps; None where the process died on the way."""
    try:
        return finish(ctx, tell(azure, ctx, blob).id)
    except Death:
        return None


def recover(azure: Azure, ctx: Context, image: str, blob: Any) -> Run:
    """What Azure does after a death: the event is delivered again, and the sweep's timer fires."""
    tell(azure, ctx, blob)
    sweep(dataclasses.replace(ctx, settings=ctx.settings.model_copy(update={"sweep_grace_seconds": -60})))
    azure.queue(engine.STEPS).clear_messages()
    (run,) = runs_of(ctx, image)
    return finish(ctx, run.id)


@pytest.mark.timeout(240)
@pytest.mark.parametrize("after", [False, True], ids=["before its effect", "after its effect"])
def test_a_death_at_any_request_costs_nothing(
    bare: Azure, ctx: Context, tmp_path: Path, wire: Wire, *, after: bool
) -> None:
    vhd = disk.make_vhd(tmp_path / "x.vhd")
    number, deaths = 0, []
    while True:
        image = bare.image("web")
        blob = bare.drop(image, vhd)
        number += 1
        with wire.deadly_at(number, after=after):
            survived = publish_until_death(bare, ctx, blob)
        run = survived or recover(bare, ctx, image, blob)
        deaths.append(wire.killed_at)
        assert (run.stage, run.version, run.reason) == (Stage.PUBLISHED, "1.0.0", None), wire.killed_at
        assert bare.versions(image) == ["1.0.0"], wire.killed_at
        assert bare.version(image, "1.0.0")["properties"]["publishingProfile"]["excludeFromLatest"] is False
        assert bare.managed_images(image) == [], wire.killed_at
        assert len(runs_of(ctx, image)) == 1
        assert blob.get_blob_tags()[source_tag(image)].endswith(":1.0.0")
        generations = [happening.generation for happening in ctx.runs.history(run.id)]
        assert generations == sorted(set(generations))
        sweep(ctx)
        assert run.id not in dict(ctx.runs.live()), wire.killed_at
        if survived:
            break
    # Every stage was struck, and both Resource Manager and each kind of storage.
    assert len(deaths) > (25 if after else 50)
    for place in ("/galleries/", "/images/gallerist-", "/$batch", "/vhds/", "/run-steps/", "/sources"):
        assert any(place in death for death in deaths), place
