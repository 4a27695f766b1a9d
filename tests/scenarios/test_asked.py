"""Build systems ask: every source, every number rule, and what is said to a request that cannot be."""

from __future__ import annotations

import dataclasses
import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline import engine
from pipeline.announce import REJECTED, reject
from pipeline.cloud.events import Topic
from pipeline.cloud.identity import credential
from pipeline.context import Context
from pipeline.events import Unreadable, read_json
from pipeline.intake import RequestConflict, take_request
from pipeline.requests import InvalidRequest, parse_request
from pipeline.runs import Run, Stage
from sandbox import disk
from tests.azure import Azure, eventually
from tests.steps import PUBLISHER, finish, runs_of, tell

_names = itertools.count()


def ask(ctx: Context, image: str, source: dict[str, Any] | str, **fields: Any) -> Run:
    """The run a request is answered with."""
    named = {"blob": source} if isinstance(source, str) else source
    return take_request(ctx, parse_request({"image": image, "source": named, **fields}), PUBLISHER).run


def publish(ctx: Context, image: str, source: dict[str, Any] | str, **fields: Any) -> Run:
    return finish(ctx, ask(ctx, image, source, **fields).id)


def dropped(azure: Azure, folder: Path, image: str, **kind: str) -> str:
    return azure.drop(image, disk.make_vhd(folder / f"{next(_names)}.vhd", 20, **kind)).url


class Machine:
    """Resources of Azure's that a build may leave behind."""

    def __init__(self, azure: Azure, location: str = "westeurope") -> None:
        self.azure, self.location = azure, location
        self.group = azure.definition("web-000").partition("/providers/")[0]

    def put(self, path: str, body: dict[str, Any], version: str = "2024-07-01") -> str:
        resource = f"{self.group}/providers/Microsoft.Compute/{path}{next(_names)}"
        body = {"location": self.location, **body}
        self.azure.arm.put(resource, params={"api-version": version}, json=body).raise_for_status()

        def made() -> bool:
            found = self.azure.arm.get(resource, params={"api-version": version}).json()
            return found["properties"]["provisioningState"] == "Succeeded"

        eventually(made)
        return resource

    def disk(self) -> str:
        creation = {"creationData": {"createOption": "Empty"}, "diskSizeGB": 10}
        return self.put(
            "disks/d", {"properties": creation | {"osType": "Linux", "hyperVGeneration": "V2"}}, "2024-03-02"
        )

    def snapshot(self) -> str:
        creation = {"createOption": "Copy", "sourceResourceId": self.disk()}
        return self.put("snapshots/s", {"properties": {"creationData": creation}}, "2024-03-02")

    def vm(self) -> str:
        attached = {"osType": "Linux", "createOption": "Attach", "managedDisk": {"id": self.disk()}}
        return self.put("virtualMachines/vm", {"properties": {"storageProfile": {"osDisk": attached}}})

    def generalize(self, vm: str) -> None:
        for action in ("deallocate", "generalize"):
            self.azure.arm.post(f"{vm}/{action}", params={"api-version": "2024-07-01"}).raise_for_status()

    def managed_image(self, blob: str, generation: str = "V2") -> str:
        os_disk = {"osType": "Linux", "osState": "Generalized", "blobUri": blob}
        return self.put(
            "images/i", {"properties": {"storageProfile": {"osDisk": os_disk}, "hyperVGeneration": generation}}
        )


def test_a_vhd_with_data_disks(bare: Azure, ctx: Context, tmp_path: Path) -> None:
    image = bare.image()
    data = disk.make_vhd(tmp_path / "data.vhd", 20)
    blobs = [bare.blobs.get_blob_client("vhds", f"data/{image}-{n}.vhd") for n in range(2)]
    for blob in blobs:
        blob.upload_blob(data.read_bytes(), blob_type="PageBlob")
    disks = [{"lun": lun, "blob": blob.url} for lun, blob in zip((0, 5), blobs, strict=True)]
    run = publish(ctx, image, {"blob": dropped(bare, tmp_path, image), "data_disks": disks})
    assert run.stage is Stage.PUBLISHED, run.reason
    found = bare.version(image, "1.0.0")["properties"]["storageProfile"]["dataDiskImages"]
    assert [entry["lun"] for entry in found] == [0, 5]


def test_a_data_disk_that_is_no_vhd_is_named_by_its_lun(bare: Azure, ctx: Context, tmp_path: Path) -> None:
    image = bare.image()
    blob = bare.blobs.get_blob_client("vhds", f"data/{image}.vhd")
    blob.upload_blob(b"QFI\xfb" + bytes(1020), blob_type="PageBlob")
    run = publish(ctx, image, {"blob": dropped(bare, tmp_path, image), "data_disks": [{"lun": 3, "blob": blob.url}]})
    assert run.stage is Stage.FAILED
    assert "LUN 3" in run.reason
    assert "qcow2" in run.reason
    blob.upload_blob(disk.make_vhd(tmp_path / "data.vhd", 20).read_bytes(), blob_type="PageBlob", overwrite=True)
    again = ask(ctx, image, {"blob": run.source, "data_disks": [{"lun": 3, "blob": blob.url}]})
    assert again.id == run.id
    assert finish(ctx, run.id).stage is Stage.PUBLISHED


@pytest.mark.parametrize("kind", ["managed_image", "snapshot", "disk", "vm", "image_version"])
def test_every_kind_of_resource_becomes_a_version(bare: Azure, ctx: Context, tmp_path: Path, kind: str) -> None:
    image, machine = bare.image(), Machine(bare)
    match kind:
        case "managed_image":
            source = machine.managed_image(dropped(bare, tmp_path, "none"))
        case "image_version":
            other = bare.image()
            publish(ctx, other, dropped(bare, tmp_path, other))
            source = f"{bare.definition(other)}/versions/1.0.0"
        case "vm":
            source = machine.vm()
            machine.generalize(source)
        case _:
            source = getattr(machine, kind)()
    run = publish(ctx, image, {kind: source}, tags={"commit": "abc"})
    assert (run.stage, run.version) == (Stage.PUBLISHED, "1.0.0"), run.reason
    assert bare.managed_images(image) == []
    tags = bare.version(image, "1.0.0")["tags"]
    assert tags["commit"] == "abc"
    assert tags["gallerist-source"].lower() == source.lower()[-256:]
    again = ask(ctx, image, {kind: source})
    assert again.id == run.id, "the same source is the same run"


def test_a_vm_that_is_not_generalized_is_refused_with_what_to_run(bare: Azure, ctx: Context) -> None:
    image = bare.image()
    run = publish(ctx, image, {"vm": Machine(bare).vm()})
    assert run.stage is Stage.FAILED
    assert "OS state is Specialized" in run.reason
    assert "az vm generalize" in run.reason


def test_a_source_of_another_region_or_generation_is_refused(bare: Azure, ctx: Context, tmp_path: Path) -> None:
    run = publish(ctx, bare.image(), {"snapshot": Machine(bare, "northeurope").snapshot()})
    assert "its region is northeurope, the definition wants westeurope" in run.reason
    old = Machine(bare).managed_image(dropped(bare, tmp_path, "none", generation="V1"), generation="V1")
    run = publish(ctx, bare.image(), {"managed_image": old})
    assert "its generation is V1, the definition wants V2" in run.reason


@pytest.mark.parametrize(
    ("held", "fields", "number"),
    [
        ([], {"version": "1.4.0"}, "1.4.0"),
        (["1.4.0"], {}, "1.4.1"),
        (["1.4.0"], {"bump": "minor"}, "1.5.0"),
        (["1.4.0"], {"bump": "major"}, "2.0.0"),
        (["1.4.0", "2.0.0"], {"version": "1.x.x"}, "1.4.1"),
        (["1.4.3", "1.5.0"], {"version": "1.4.x"}, "1.4.4"),
        ([], {"version": "2.2.x"}, "2.2.0"),
        (["2.0.0"], {"version": "1.9.9"}, "1.9.9"),
    ],
)
def test_the_number_is_what_the_request_wants(
    bare: Azure, ctx: Context, tmp_path: Path, held: list[str], fields: dict[str, str], number: str
) -> None:
    image = bare.image("bios")
    for version in held:
        publish(ctx, image, dropped(bare, tmp_path, image, generation="V1"), version=version)
    run = publish(ctx, image, dropped(bare, tmp_path, image, generation="V1"), **fields)
    assert run.version == number, run.reason


def test_numbers_come_from_name_and_metadata(bare: Azure, ctx: Context, tmp_path: Path) -> None:
    image, vhd = bare.image("bios"), disk.make_vhd(tmp_path / "x.vhd", 20, generation="V1")
    named = bare.drop(image, vhd, "web-1.0.1.vhd").url
    assert publish(ctx, image, named, bump="from-name").version == "1.0.1"
    marked = bare.drop(image, vhd, "marked.vhd")
    marked.set_blob_metadata({"version": "2.0.0"})
    assert publish(ctx, image, marked.url, bump="from-metadata").version == "2.0.0"


def test_a_number_that_is_taken_fails_clearly(bare: Azure, ctx: Context, tmp_path: Path) -> None:
    image = bare.image()
    first = publish(ctx, image, dropped(bare, tmp_path, image), version="1.4.0")
    run = publish(ctx, image, dropped(bare, tmp_path, image), version="1.4.0")
    assert run.stage is Stage.FAILED
    assert f"version 1.4.0 is taken by the run {first.id}" in run.reason
    assert bare.versions(image) == ["1.4.0"]


def test_one_source_is_one_run_through_every_door(bare: Azure, ctx: Context, tmp_path: Path) -> None:
    image = bare.image()
    url = dropped(bare, tmp_path, image)
    by_event = tell(bare, ctx, bare.blob(image, url.rpartition("/")[2]))
    by_request = ask(ctx, image, url, version="2.0.0", request_id=f"{image}-1", tags={"commit": "abc"})
    assert by_request.id == by_event.id
    run = finish(ctx, by_event.id)
    assert (run.version, run.request_id) == ("2.0.0", f"{image}-1"), (
        "the request's wishes hold though the event came first"
    )
    assert bare.version(image, "2.0.0")["tags"]["commit"] == "abc"
    assert ask(ctx, image, url, request_id=f"{image}-2").id == run.id
    assert len(runs_of(ctx, image)) == 1


def test_a_request_id_names_one_request(bare: Azure, ctx: Context, tmp_path: Path) -> None:
    image = bare.image()
    url = dropped(bare, tmp_path, image)
    first = ask(ctx, image, url, request_id=f"{image}-812")
    assert ask(ctx, image, url, request_id=f"{image}-812").id == first.id
    with pytest.raises(RequestConflict, match="other content before"):
        ask(ctx, image, url, request_id=f"{image}-812", bump="major")
    assert len(runs_of(ctx, image)) == 1


@pytest.mark.parametrize(
    ("image", "source", "field", "says"),
    [
        ("nowhere", {"blob": "BLOB"}, "image", 'no image "nowhere"'),
        (None, {"blob": "https://elsewhere.example/vhds/x.vhd"}, "source.blob", "address of a blob in https://"),
        (None, {"blob": "BLOB-THAT-IS-NOT"}, "source.blob", "does not exist"),
        (None, {"disk": "DISK-THAT-IS-NOT"}, "source.disk", "does not exist"),
        (
            None,
            {"snapshot": "/subscriptions/other/resourceGroups/g/providers/Microsoft.Compute/snapshots/x"},
            "source.snapshot",
            "the catalog does not allow this source",
        ),
    ],
)
def test_what_cannot_be_is_refused_at_once(
    bare: Azure, ctx: Context, image: str | None, source: dict[str, str], field: str, says: str
) -> None:
    places = {
        "BLOB-THAT-IS-NOT": f"{ctx.settings.blob_endpoint}/vhds/none.vhd",
        "BLOB": f"{ctx.settings.blob_endpoint}/vhds/none.vhd",
        "DISK-THAT-IS-NOT": Machine(bare).group + "/providers/Microsoft.Compute/disks/none",
    }
    named = {kind: places.get(value, value) for kind, value in source.items()}
    with pytest.raises(InvalidRequest) as fault:
        ask(ctx, image or bare.image(), named)
    assert fault.value.faults[0][0] == field
    assert says in fault.value.faults[0][1]


def test_a_failed_run_is_tried_again_under_its_number(bare: Azure, ctx: Context, tmp_path: Path) -> None:
    image = bare.image()
    rule = {"westeurope": {"seconds": 0.05, "outcome": "Failed"}}
    bare.arm.post("/sandbox/replication", json={"regions": rule, "path": image}).raise_for_status()
    run = publish(ctx, image, dropped(bare, tmp_path, image))
    assert run.stage is Stage.FAILED
    bare.clear()
    engine.retry(ctx, run.id)
    run = finish(ctx, run.id)
    assert (run.stage, run.version) == (Stage.PUBLISHED, "1.0.0")
    assert "tried again" in [happening.note for happening in ctx.runs.history(run.id)]
    with pytest.raises(engine.NotNow):
        engine.retry(ctx, run.id)


def test_a_cancelled_run_takes_away_what_it_made(bare: Azure, ctx: Context, tmp_path: Path) -> None:
    image = bare.image()
    bare.arm.post(
        "/sandbox/replication", json={"regions": {"northeurope": {"outcome": "Stalled", "seconds": 1}}, "path": image}
    ).raise_for_status()
    run = ask(ctx, image, dropped(bare, tmp_path, image))
    while run.stage is not Stage.REPLICATING:
        engine.step(ctx, run.id, run.generation)
        run = ctx.runs.load(run.id)[0]
    engine.cancel(ctx, run.id, "ann")
    run = finish(ctx, run.id)
    bare.clear()
    assert (run.stage, run.reason) == (Stage.CANCELLED, "cancelled by ann")
    assert bare.versions(image) == bare.managed_images(image) == []
    with pytest.raises(engine.NotNow):
        engine.cancel(ctx, run.id, "ann")
    engine.retry(ctx, run.id)
    assert finish(ctx, run.id).version == "1.0.0"


def told_of(azure: Azure, run: Run) -> list[dict[str, Any]]:
    return [event for event in azure.arm.get("/topic/events").json() if event["data"].get("run") == run.id]


def test_others_are_told_what_became_of_it(bare: Azure, ctx: Context, tmp_path: Path) -> None:
    image = bare.image()
    run = publish(ctx, image, dropped(bare, tmp_path, image), request_id=f"{image}-x")
    (event,) = told_of(bare, run)
    assert (event["specversion"], event["type"], event["subject"]) == (
        "1.0",
        "gallerist.image.published",
        f"images/{image}",
    )
    assert event["data"]["version_id"] == f"{bare.definition(image)}/versions/1.0.0"
    assert event["data"]["regions"] == ["westeurope", "northeurope", "swedencentral"]
    assert event["data"]["request_id"] == f"{image}-x"
    run = publish(ctx, image, dropped(bare, tmp_path, image, generation="V1"))
    (event,) = told_of(bare, run)
    assert event["type"] == "gallerist.image.failed"
    assert "hyper_v_generation" in event["data"]["reason"]


@pytest.fixture
def unheard(bare: Azure, ctx: Context) -> Iterator[Context]:
    """The pipeline with a topic that asks to be left alone."""
    bare.fault(path="/busy/api/events", status=503, headers={"Retry-After": "60"})
    yield dataclasses.replace(ctx, topic=Topic(f"{bare.env['ARM_ENDPOINT']}/busy/api/events", credential()))
    bare.clear()


def test_an_end_waits_until_it_can_be_told(bare: Azure, ctx: Context, unheard: Context, tmp_path: Path) -> None:
    image = bare.image()
    run = ask(ctx, image, dropped(bare, tmp_path, image))
    while "nobody can be told yet" not in run.note:
        engine.step(unheard, run.id, run.generation)
        run = ctx.runs.load(run.id)[0]
    assert finish(ctx, run.id).stage is Stage.PUBLISHED
    assert len(told_of(bare, run)) == 1


def test_an_end_that_can_never_be_told_comes_all_the_same(bare: Azure, unheard: Context, tmp_path: Path) -> None:
    image = bare.image()
    run = publish(unheard, image, dropped(bare, tmp_path, image))
    assert (run.stage, run.version) == (Stage.PUBLISHED, "1.0.0")


@pytest.mark.parametrize(
    ("message", "says"),
    [
        (b"what is this?", "neither JSON nor base64"),
        (b"\xff\xfe", "neither JSON nor base64"),
        (b'{"image": "web-000", "source": {}, "colour": "red"}', "colour"),
    ],
)
def test_a_request_that_cannot_be_taken_is_kept(bare: Azure, ctx: Context, message: bytes, says: str) -> None:
    with pytest.raises((Unreadable, InvalidRequest)) as fault:
        take_request(ctx, parse_request(read_json(message)), PUBLISHER)
    reject(ctx, "publish-requests", message, str(fault.value))
    container = bare.blobs.get_container_client(REJECTED)
    kept = [
        json.loads(container.download_blob(blob.name).readall()) for blob in container.list_blobs("publish-requests/")
    ]
    assert any(says in entry["reason"] and entry["message"] == message.decode(errors="ignore") for entry in kept)
    assert any(event["type"] == "gallerist.request.rejected" for event in bare.arm.get("/topic/events").json())
