"""The process dies at every request it makes, before or after the request had its effect; nothing is lost or doubled."""

from __future__ import annotations

import dataclasses
import re
import threading
from collections import Counter
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

REPEATS = 2
"""How often a run is struck at a request of one name: polls repeat themselves, and the third is as the second."""
ROUNDS = 120
"""Enough for every name there is, and an end where names never stop being new."""


class Death(BaseException):
    """SIGKILL, as far as the code it strikes can tell: nothing catches it."""


class Wire:
    """Kills the pipeline at the first request of a kind that was not struck before, once a round.

    How many requests a run makes varies with timing: so none is known by its number, each by its name. The sandbox's
    own requests, of other threads, go by.
    """

    def __init__(self) -> None:
        self.thread = threading.get_ident()
        self.struck: list[str] = []
        self.killed_at = ""
        self._image = ""
        self._after = False
        self._stage = ""
        self._seen: Counter[str] = Counter()

    def watch(self, send: Any) -> Any:
        def watched(transport: Any, request: Any, **options: Any) -> Any:
            # A death after a request that changes nothing is the death before the next one.
            counts = not self._after or request.method not in ("GET", "HEAD")
            if threading.get_ident() != self.thread or not self._image or not counts:
                return send(transport, request, **options)
            name = self._named(request)
            self._seen[name] += 1
            nth = f"{name} #{self._seen[name]}"
            if nth in self.struck or self._seen[name] > REPEATS:
                answer = send(transport, request, **options)
                self._stage = _stage_saved(request) or self._stage
                return answer
            self.struck.append(nth)
            self.killed_at, self._image = nth, ""
            if self._after:
                send(transport, request, **options)
            raise Death(nth)

        return watched

    def _named(self, request: Any) -> str:
        """What a request is, alike in every round: where the run stood, what is asked, of what."""
        path, _, query = request.url.partition("?")
        path = "/" + path.split("/", 3)[3]
        path = re.sub(rf"{self._image}-\d{{8}}-\d{{6}}-\w+", "{run}", path).replace(self._image, "{image}")
        path = re.sub(r"[0-9a-f]{32,}", "{digest}", path)
        what = re.search(r"comp=\w+", query)
        parts = [f"{self._stage}:", request.method, path, what[0] if what else "", _stage_saved(request)]
        return " ".join(part for part in parts if part)

    @contextmanager
    def deadly_to(self, image: str, *, after: bool) -> Iterator[None]:
        self._image, self._after, self._stage, self.killed_at = image, after, "intake", ""
        self._seen.clear()
        try:
            yield
        finally:
            self._image = ""


def _stage_saved(request: Any) -> str:
    """The stage that a run's record says, in a transaction that writes it; nothing for any other request."""
    found = re.search(rb'"stage": "(\w+)"', request.data or b"") if "$batch" in request.url else None
    return found[1].decode() if found else ""


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
    for _ in range(ROUNDS):
        image = bare.image("web")
        blob = bare.drop(image, vhd)
        with wire.deadly_to(image, after=after):
            survived = publish_until_death(bare, ctx, blob)
        run = survived or recover(bare, ctx, image, blob)
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
        blob.delete_blob()  # sweeps look at all that was dropped
        if survived:
            break
    else:
        pytest.fail(f"still something new to strike after {ROUNDS} rounds: {wire.killed_at}")
    # Every stage was struck, and both Resource Manager and each kind of storage.
    assert len(wire.struck) > (25 if after else 50)
    for stage in ("intake", *{happening.stage for happening in ctx.runs.history(run.id)}):
        assert any(death.startswith(f"{stage}:") for death in wire.struck), stage
    for place in ("/galleries/", "/images/gallerist-", "/$batch", "/vhds/", "/run-steps/", "/sources"):
        assert any(place in death for death in wire.struck), place
