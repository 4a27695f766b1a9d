"""Sources that Succeeded and hold nothing yet: a run waits for them, and claims nothing until they are ready."""

from __future__ import annotations

import dataclasses
import itertools
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline import engine
from pipeline.cloud.compute import SourceFacts
from pipeline.context import Context
from pipeline.runs import Run, Stage
from pipeline.source import SourceKind
from pipeline.stages.awaiting_resource import unready
from sandbox import disk as vhds
from tests.azure import Azure, eventually
from tests.scenarios.test_asked import Machine, ask, publish
from tests.steps import finish

_names = itertools.count()
_DISKS = "2024-03-02"
_LARGE, _HUGE = 2_000, 30_000  # GiB: the most of a version, and what is copied in over a minute by the sandbox's time


@pytest.fixture(scope="module")
def image(bare: Azure) -> str:
    """One image for all: its sources are other ones each time."""
    return bare.image()


class Made(Machine):
    """Disks and snapshots that take their time."""

    def upload(self, kind: str = "disk") -> str:
        creation = {"createOption": "Upload", "uploadSizeBytes": 10 * 1024**3 + 512}
        properties = {"creationData": creation, "osType": "Linux", "hyperVGeneration": "V2"}
        return self.put(f"{kind}s/up", {"properties": properties}, _DISKS)

    def access(self, disk: str, how: str, **body: Any) -> None:
        answer = self.azure.arm.post(f"{disk}/{how}", params={"api-version": _DISKS}, json=body or None)
        answer.raise_for_status()

    def grant(self, disk: str, access: str = "Write") -> None:
        self.access(disk, "beginGetAccess", access=access, durationInSeconds=3600)

    def incremental(self, size: int) -> str:
        properties = {"osType": "Linux", "hyperVGeneration": "V2", "diskSizeGB": size}
        disk = self.put("disks/d", {"properties": {"creationData": {"createOption": "Empty"}} | properties}, _DISKS)
        return self._copied(disk, "Copy")

    def copy(self, snapshot: str) -> str:
        return self._copied(snapshot, "CopyStart")

    def _copied(self, source: str, option: str) -> str:
        creation = {"createOption": option, "sourceResourceId": source}
        return self.put("snapshots/s", {"properties": {"creationData": creation, "incremental": True}}, _DISKS)

    def copy_to(self, snapshot: str, percent: float) -> None:
        """Say how far the copy is, so that a test need not be as quick as it."""
        body = {"properties": {"completionPercent": percent}}
        self.azure.arm.patch(snapshot, params={"api-version": _DISKS}, json=body).raise_for_status()
        eventually(lambda: self.copied(snapshot) == percent)

    def copied(self, snapshot: str) -> float:
        found = self.azure.arm.get(snapshot, params={"api-version": _DISKS}).json()
        return float(found["properties"]["completionPercent"])

    def delete(self, resource: str) -> None:
        self.azure.arm.delete(resource, params={"api-version": _DISKS}).raise_for_status()


def steps(ctx: Context, run: Run, count: int = 3) -> Run:
    """The run after a few looks at its source."""
    for _ in range(count):
        loaded = ctx.runs.load(run.id)
        assert loaded
        engine.step(ctx, run.id, loaded[0].generation)
    loaded = ctx.runs.load(run.id)
    assert loaded
    return loaded[0]


def hurried(ctx: Context) -> Context:
    """The pipeline, at the end of its patience."""
    return dataclasses.replace(ctx, settings=ctx.settings.model_copy(update={"upload_stall_seconds": 0}))


@pytest.mark.parametrize("kind", ["disk", "snapshot"])
def test_a_disk_is_waited_for_until_its_upload_is_over(bare: Azure, ctx: Context, image: str, kind: str) -> None:
    made = Made(bare)
    disk = made.upload(kind)
    run = steps(ctx, ask(ctx, image, {kind: disk}))
    assert run.stage is Stage.AWAITING_UPLOAD
    assert f"the {kind} has no content yet (ReadyToUpload)" in run.note
    made.grant(disk)
    run = steps(ctx, run)
    assert run.stage is Stage.AWAITING_UPLOAD
    assert f"the {kind} is being uploaded to (ActiveUpload)" in run.note
    assert f"az {kind} revoke-access --ids {disk}" in run.note
    assert any("ReadyToUpload" in happening.note for happening in ctx.runs.history(run.id))
    made.access(disk, "endGetAccess")
    assert finish(ctx, run.id).stage is Stage.PUBLISHED


def test_an_upload_that_never_ends_claims_nothing(bare: Azure, ctx: Context, image: str) -> None:
    made = Made(bare)
    disk = made.upload()
    made.grant(disk)
    run = ask(ctx, image, {"disk": disk})
    engine.step(hurried(ctx), run.id, run.generation)
    failed = finish(ctx, run.id)
    assert failed.stage is Stage.FAILED
    assert "ActiveUpload" in failed.reason
    assert f"az disk revoke-access --ids {disk}" in failed.reason
    assert failed.etag is None
    made.access(disk, "endGetAccess")
    again = publish(ctx, image, {"disk": disk})
    assert again.id != run.id
    assert again.stage is Stage.PUBLISHED, again.reason


def test_a_snapshot_is_waited_for_until_it_is_copied(bare: Azure, ctx: Context, image: str) -> None:
    made = Made(bare)
    snapshot = made.copy(made.incremental(_LARGE))
    made.copy_to(snapshot, 12)
    run = steps(ctx, ask(ctx, image, {"snapshot": snapshot}), 1)
    assert run.stage is Stage.AWAITING_UPLOAD
    assert "the snapshot is copied by 12 %" in run.note
    made.copy_to(snapshot, 100)
    assert finish(ctx, run.id).stage is Stage.PUBLISHED


def test_a_copy_that_takes_too_long_is_published_when_asked_again(bare: Azure, ctx: Context, image: str) -> None:
    made = Made(bare)
    snapshot = made.copy(made.incremental(_LARGE))
    made.copy_to(snapshot, 12)
    run = ask(ctx, image, {"snapshot": snapshot})
    engine.step(hurried(ctx), run.id, run.generation)
    failed = finish(ctx, run.id)
    assert (failed.stage, failed.etag) == (Stage.FAILED, None)
    assert "ask again once it is" in failed.reason
    made.copy_to(snapshot, 100)
    assert publish(ctx, image, {"snapshot": snapshot}).stage is Stage.PUBLISHED


def test_a_copy_that_failed_fails_the_run_at_once(bare: Azure, ctx: Context, image: str) -> None:
    made = Made(bare)
    source = made.incremental(_HUGE)
    snapshot = made.copy(source)
    made.delete(source)
    run = publish(ctx, image, {"snapshot": snapshot})
    assert (run.stage, run.etag) == (Stage.FAILED, None)
    assert "CopySourceNotFound" in run.reason
    assert "deleted while the background copy" in run.reason
    assert ask(ctx, image, {"snapshot": snapshot}).id != run.id, "nothing holds the snapshot"


def test_an_exported_disk_is_published(bare: Azure, ctx: Context, image: str) -> None:
    made = Made(bare)
    disk = made.disk()
    made.grant(disk, "Read")
    assert publish(ctx, image, {"disk": disk}).stage is Stage.PUBLISHED


@pytest.mark.parametrize(
    ("kind", "facts", "why"),
    [
        (SourceKind.DISK, {"conditions": frozenset({"frozen"})}, "hibernated VM"),
        (SourceKind.DISK, {"conditions": frozenset({"activesasfrozen"})}, "hibernated VM"),
        (
            SourceKind.VM,
            {"conditions": frozenset({"powerstate/deallocated", "hibernationstate/hibernated"})},
            "hibernated",
        ),
        (SourceKind.SNAPSHOT, {"conditions": frozenset({"unattached", "pending"})}, "not available yet (Pending)"),
        (SourceKind.SNAPSHOT, {"copied": 99.9}, "copied by 99 %"),
        (SourceKind.SNAPSHOT, {"conditions": frozenset({"unattached", "instantaccess"})}, ""),
        (SourceKind.DISK, {"conditions": frozenset({"attached"})}, ""),
        (SourceKind.DISK, {"conditions": frozenset({"reserved"})}, ""),
        (SourceKind.DISK, {"conditions": frozenset({"activesas"})}, ""),
    ],
)
def test_what_keeps_a_source_from_use(kind: SourceKind, facts: dict[str, Any], why: str) -> None:
    found = unready(kind, "/id", SourceFacts(state="Succeeded", location="westeurope", fingerprint="x", **facts))
    assert why in found
    assert bool(found) == bool(why)


@pytest.fixture
def lagging(bare: Azure) -> Iterator[Callable[[float], None]]:
    """Lets versions be behind the operation that makes them, in seconds."""

    def lag(seconds: float) -> None:
        bare.arm.post("/sandbox/lags", json={"replication": seconds}).raise_for_status()

    yield lag
    bare.arm.delete("/sandbox/lags")


def test_a_version_is_waited_for_until_its_own_region_has_it(
    bare: Azure, ctx: Context, image: str, tmp_path: Path, lagging: Callable[[float], None]
) -> None:
    blob = bare.drop(image, vhds.make_vhd(tmp_path / "x.vhd", 20), f"{next(_names)}.vhd")
    publish(ctx, image, blob.url)  # which makes the definition, where this test is the first one
    source = f"{bare.definition(image)}/versions/9.9.{next(_names)}"
    made_of = {"source": {"id": Machine(bare).managed_image(blob.url)}}
    target = {"targetRegions": [{"name": "westeurope"}]}
    lagging(8)  # seconds, in which the look below has to come
    bare.arm.put(
        source,
        params={"api-version": "2024-03-03"},
        json={"location": "westeurope", "properties": {"storageProfile": made_of, "publishingProfile": target}},
    ).raise_for_status()
    while bare.version(image, source.rpartition("/")[2])["properties"]["provisioningState"] != "Succeeded":
        time.sleep(0.02)
    run = steps(ctx, ask(ctx, image, {"image_version": source}), 1)
    assert run.stage is Stage.AWAITING_UPLOAD
    assert "replicated to its own region, westeurope" in run.note
    lagging(0)
    assert finish(ctx, run.id).stage is Stage.PUBLISHED


def test_a_release_has_its_number_whatever_came_before(bare: Azure, ctx: Context, tmp_path: Path) -> None:
    image, vhd = bare.image("bios"), vhds.make_vhd(tmp_path / "x.vhd", 20, generation="V1")
    for name in ("web-1.4.0-rc1.vhd", "web-1.4.0~beta2.vhd", "web-1.4.0-alpha.2.vhd"):
        early = publish(ctx, image, bare.drop(image, vhd, name).url, bump="from-name")
        assert early.stage is Stage.FAILED
        assert "1.4.0 stays free for the release" in early.reason
    asked = publish(ctx, image, early.source, version="1.3.99")
    assert (asked.stage, asked.version) == (Stage.PUBLISHED, "1.3.99"), "as the reason says, it may be asked for"
    vhds.make_vhd(vhd, 20, generation="V1", build="other")
    release = publish(ctx, image, bare.drop(image, vhd, "web.1.4.0.vhd").url, bump="from-name")
    assert (release.stage, release.version) == (Stage.PUBLISHED, "1.4.0")
