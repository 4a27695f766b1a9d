"""The emulated ARM held to the truth: to Microsoft's API description and to recorded traffic of the real service.

Every answer in the whole suite is judged by the description (tests/conftest.py). Here the judge is judged, each
operation is asked for once, and recordings are replayed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from arm_server import GROUP, LOCATION, SUBSCRIPTION, Arm, Storage, image_body, running_arm, version_body

from sandbox import tls
from sandbox.arm.api_versions import SUPPORTED
from sandbox.identity import Identity
from tests import description, recordings
from tests.conftest import judge
from tests.description import Exchange, Judge
from tests.recordings import Recorded, Replay

pytest_plugins = ["arm_fixtures"]

needs_description = pytest.mark.skipif(not description.SPECIFICATION.exists(), reason=description.ABSENT)
needs_recordings = pytest.mark.skipif(not recordings.FOLDER.exists(), reason=recordings.ABSENT)

PREFIX = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/{GROUP}/providers/Microsoft.Compute"
GALLERY = {
    "name": "gal",
    "id": f"{PREFIX}/galleries/gal",
    "type": "Microsoft.Compute/galleries",
    "location": LOCATION,
    "properties": {"identifier": {"uniqueName": "one"}, "provisioningState": "Creating"},
}
REACHED = ("galleries", "images", "disks", "snapshots", "locations")
JSON = {"content-type": "application/json; charset=utf-8"}


def exchange(body: Any = None, *, status: int = 200, method: str = "GET", path: str = "", **headers: str) -> Exchange:
    raw = b"" if body is None else json.dumps(body).encode()
    where = path or f"{PREFIX}/galleries/gal"
    return Exchange(method, where, {"api-version": "2024-03-03"}, status, JSON | headers, raw)


# --- the judge


@needs_description
@needs_recordings
def test_real_traffic_is_as_described() -> None:
    """Whatever the real service said passes, but for the ways in which it is known to depart from its description."""
    judged = Judge()
    for file in sorted(recordings.FOLDER.iterdir()):
        for one in recordings.load(file) if file.suffix in (".yaml", ".json") else []:
            kind = description.TYPE.search(one.path)
            if kind and "/publishers/" not in one.path and kind[1].lower() in REACHED:
                judged.take(one.answer)
    assert judged.violations == []
    assert judged.judged > 200
    assert judged.deviations["a shared gallery answers 202 with an empty body"] == 1


@needs_description
@pytest.mark.parametrize(
    ("wrong", "fault"),
    [
        (exchange({key: value for key, value in GALLERY.items() if key != "location"}), "$.location: required"),
        (exchange(GALLERY | {"etag": "1"}), "$.etag: not described"),
        (exchange(GALLERY | {"location": 7}), "$.location: 7 is no string"),
        (exchange(GALLERY | {"tags": None}), "$.tags: null is no object"),
        (exchange(GALLERY | {"properties": {"provisioningState": "Done"}}), "$.properties.provisioningState: 'Done'"),
        (exchange(), "$: no body"),
        (exchange(GALLERY, status=202), "status: not described"),
        (exchange(GALLERY, method="PUT", status=201), "headers: a long-running operation without"),
        (exchange({"error": "no"}, status=404), '$.error: "no" is no object'),
        (exchange({"error": {"code": "x", "reason": "y"}}, status=404), "$.error.reason: not described"),
        (exchange(GALLERY, method="DELETE"), "$: a body where none is described"),
        (exchange({}, path="/subscriptions/1/providers/Microsoft.Compute/usages"), "nothing describes this request"),
        (
            exchange(
                {"status": "Succeeded", "startTime": "yesterday"},
                path="/subscriptions/1/providers/Microsoft.Compute/locations/westeurope/capsOperations/1",
            ),
            "$.startTime: 'yesterday' is no date and time",
        ),
    ],
)
def test_what_is_not_as_described_is_seen(wrong: Exchange, fault: str) -> None:
    (found,) = Judge().take(wrong)
    assert fault in found


# --- each operation


@needs_description
@pytest.mark.parametrize("api_version", ["2022-03-03", "2023-07-03", "2024-03-03", "2025-03-03", "2026-03-03"])
def test_galleries_answer_as_described(arm: Arm, arm_image: str, api_version: str) -> None:
    gallery = f"galTour{api_version.replace('-', '')}"
    of_gallery, of_definition = ("galleries", gallery), ("galleries", gallery, "images", "web")
    of_version = (*of_definition, "versions", "1.0.0")
    definition = {
        "location": LOCATION,
        "properties": {
            "osType": "Linux",
            "osState": "Generalized",
            "hyperVGeneration": "V2",
            "recommended": {"vCPUs": {"min": 1, "max": 4}},
            "identifier": {"publisher": "Contoso", "offer": "web", "sku": api_version},
        },
    }
    for parts, body in (
        (of_gallery, {"location": LOCATION, "properties": {"description": "toured"}}),
        (of_definition, definition),
        (of_version, version_body(arm_image, LOCATION, "northeurope", replicaCount=2)),
    ):
        path = arm.path(*parts)
        collection = arm.path(*parts[:-1])
        for method, status in (("PUT", 201), ("PUT", 200), ("PATCH", 200)):
            answer = arm.send(method, path, json=body, api_version=api_version)
            assert answer.status_code == status, answer.text
            arm.finish(answer)
        for where, query in ((path, {}), (path, {"$expand": "ReplicationStatus"}), (collection, {})):
            assert arm.send("GET", where, api_version=api_version, **query).status_code == 200
        assert arm.send("GET", f"{path}9", api_version=api_version).status_code == 404
    for where in (f"/subscriptions/{SUBSCRIPTION}/providers/Microsoft.Compute/galleries", arm.path("galleries")):
        assert arm.send("GET", where, api_version=api_version).status_code == 200
    assert arm.send("DELETE", arm.path(*of_gallery), api_version=api_version).status_code == 409
    for parts in (of_version, of_definition, of_gallery):
        answer = arm.send("DELETE", arm.path(*parts), api_version=api_version)
        assert answer.status_code == 202
        arm.finish(answer)
        assert arm.http.get(answer.headers["Location"]).status_code == 200
        assert arm.send("DELETE", arm.path(*parts), api_version=api_version).status_code == 204


@needs_description
def test_images_answer_as_described(arm: Arm, arm_vhd: str) -> None:
    path = arm.path("images", "imgTour")
    for method, status in (("PUT", 201), ("PUT", 200), ("PATCH", 200)):
        body = image_body(arm_vhd) if method == "PUT" else {"tags": {"a": "b"}}
        answer = arm.send(method, path, json=body)
        assert answer.status_code == status, answer.text
        arm.finish(answer)
    for where in (path, arm.path("images"), f"/subscriptions/{SUBSCRIPTION}/providers/Microsoft.Compute/images"):
        assert arm.send("GET", where).status_code == 200
    arm.finish(arm.send("DELETE", path))
    assert arm.send("DELETE", path).status_code == 204
    assert arm.send("GET", path).status_code == 404


@needs_description
@pytest.mark.parametrize("api_version", ["2023-04-02", "2024-03-02", "2026-03-02"])
def test_disks_and_snapshots_answer_as_described(arm: Arm, api_version: str) -> None:
    disk, snapshot = (arm.path(kind, f"tour{api_version}") for kind in ("disks", "snapshots"))
    empty = {"creationData": {"createOption": "Empty"}, "diskSizeGB": 4}
    copy = {"creationData": {"createOption": "Copy", "sourceResourceId": disk}}
    for path, properties in ((disk, empty), (snapshot, copy)):
        body = {"location": LOCATION, "properties": properties}
        arm.finish(arm.send("PUT", path, json=body, api_version=api_version))
        arm.finish(arm.send("PATCH", path, json={"tags": {"a": "b"}}, api_version=api_version))
        collection = path.rpartition("/")[0]
        for where in (path, collection, collection.replace(f"/resourceGroups/{GROUP}", "")):
            assert arm.send("GET", where, api_version=api_version).status_code == 200
    for path in (snapshot, disk):
        arm.finish(arm.send("DELETE", path, api_version=api_version))
        assert arm.send("DELETE", path, api_version=api_version).status_code == 204
        assert arm.send("GET", path, api_version=api_version).status_code == 404


@needs_description
def test_the_judge_sits_in_front_of_the_emulator(arm: Arm) -> None:
    before = judge.judged
    arm.send("GET", arm.path("galleries"))
    assert judge.judged == before + 1


# --- recorded traffic


@pytest.fixture
def replayed_arm(
    name: str, tmp_path: Path, arm_identity: Identity, arm_storage: Storage, arm_certificates: tls.Certificates
) -> Iterator[Arm]:
    """A new emulator, slow enough that a version is still in the making when it is first asked for. The storage
    account is in the subscription of the recording `name`, as it was then."""
    arm_storage.belong_to(recordings.load(recordings.FOLDER / name)[0].path.split("/")[2])
    with running_arm(tmp_path, 2000, arm_identity, arm_storage, arm_certificates) as arm:
        yield arm
    arm_storage.belong_to(SUBSCRIPTION)


FROM_CACHE = "a list of versions came from ARM's cache in 2020; those of 2025 come from the provider, as here"
UNMANAGED = "the disks of this machine are blobs of its own, which the emulator's machines do not have"
# How many exchanges of each recording the emulator answers alike, polls of one operation being one. What is excused.
REPLAYED: dict[str, tuple[int, dict[int, str]]] = {
    "test_gallery_e2e.yaml": (47, {}),
    "test_gallery_specialized.yaml": (42, {}),
    "test_image_version_create_os_vhd.yaml": (13, {}),
    "test_create_image_version_with_allow_replicated_location_deletion.yaml": (25, {}),
    "test_sig_image_definition_default_value.yaml": (24, {}),
    "test_update_gallery_permissions.yaml": (7, {}),
    "CanCreateUpdateGetDeleteGalleryImageVersion.json": (24, {27: UNMANAGED, 37: UNMANAGED, 69: FROM_CACHE}),
}
BY_ACCOUNT = "the storage account goes by storageAccountId: Azure refuses it as id since March 2025"


@needs_recordings
@pytest.mark.parametrize("name", REPLAYED)
def test_recorded_traffic_is_answered_alike(
    replayed_arm: Arm, arm_storage: Storage, name: str, record_property: Callable[[str, object], None]
) -> None:
    """Same status, same header names, same body: keys in order, types, and all values that are not of the moment."""
    expected, excused = REPLAYED[name]
    recording = recordings.load(recordings.FOLDER / name)
    vhd = arm_storage.put_vhd(f"{Path(name).stem}.vhd")
    group = next(one for one in recording if "/providers/" not in one.path)
    if group.answer.method == "GET":
        kept = {key: group.body[key] for key in ("location", "tags") if key in group.body}
        replayed_arm.http.put(f"{group.path}?api-version=2021-04-01", json=kept).raise_for_status()
    for one in recording:
        if one.answer.method == "PUT" and "sourceVirtualMachine" in ((one.body or {}).get("properties") or {}):
            _make_machine(replayed_arm, one)
    replay = Replay(replayed_arm.http, _speaks_of, lambda one: _prepared(one, vhd, arm_storage.account_id), excused)
    replay.play(recording)
    for key, count in replay.counts.items():
        record_property(key, count)
    assert replay.differences == [], "\n".join(replay.differences)
    assert replay.counts["excused"] == len(excused)
    assert replay.counts["match"] == expected, replay.counts


def _speaks_of(path: str) -> bool:
    kind = description.TYPE.search(path)
    if kind is None:
        return path.startswith("/subscriptions/") and "/providers/" not in path
    if description.OPERATION_PATH.fullmatch(path):
        return True
    if kind[1].lower() == "virtualmachines":  # they are known only as far as galleries need them
        return path.endswith(("/deallocate", "/generalize"))
    return f"microsoft.compute/{kind[1].lower()}" in SUPPORTED


def _make_machine(arm: Arm, image: Recorded) -> None:
    """The machine a recorded image was captured from, which was made together with a network, by a template."""
    source = image.body["properties"]["sourceVirtualMachine"]["id"]
    storage = image.body["properties"]["storageProfile"]

    def disk(captured: dict[str, Any]) -> dict[str, Any]:
        managed = {"storageAccountType": captured["storageAccountType"]}
        new = {"createOption": "Empty", "diskSizeGB": 10, "lun": captured["lun"]} if "lun" in captured else {}
        return {"createOption": "FromImage", "caching": captured["caching"], "managedDisk": managed} | new

    disks = {"osDisk": disk(storage["osDisk"]), "dataDisks": [disk(one) for one in storage["dataDisks"]]}
    answer = arm.http.put(
        f"{source}?api-version={image.answer.query['api-version']}",
        json={"location": image.body["location"], "properties": {"storageProfile": disks}},
    )
    assert arm.finish(answer)["status"] == "Succeeded"


def _prepared(one: Recorded, vhd: str, account_id: str) -> tuple[Recorded, str | None]:
    """An exchange as it would have been in the sandbox, whose storage accounts are not Azure's."""
    body, sent, reason = _with_blobs(one.body, vhd), _with_blobs(one.sent, vhd), None
    properties = (body or {}).get("properties", {})
    storage = properties.get("storageProfile", {})
    source = storage.get("osDiskImage", {}).get("source", {})
    if "uri" in source and "id" in source:
        _replace(source, "id", "storageAccountId", account_id)
        if sent:
            sent["properties"]["storageProfile"]["osDiskImage"]["source"] = dict(source)
            reason = BY_ACCOUNT
    if body is None:
        return replace(one, sent=sent), reason
    text = json.dumps(body, indent=2).replace("\n", "\r\n") if b"\r\n" in one.answer.body else json.dumps(body)
    return replace(one, answer=replace(one.answer, body=text.encode()), sent=sent), reason


def _with_blobs(value: Any, vhd: str) -> Any:
    """Recorded blobs are one blob of the sandbox, told apart by their query."""
    blobs: dict[str, str] = {}

    def ours(found: re.Match[str]) -> str:
        return blobs.setdefault(found[0], f"{vhd}?{len(blobs)}")

    return json.loads(re.sub(r'https://\w+\.blob\.core\.windows\.net/[^"]+', ours, json.dumps(value)))


def _replace(values: dict[str, Any], key: str, other: str, value: str) -> None:
    """Put `other` where `key` stands: the order of keys is compared."""
    members = [(other, value) if name == key else (name, member) for name, member in values.items()]
    values.clear()
    values.update(members)
