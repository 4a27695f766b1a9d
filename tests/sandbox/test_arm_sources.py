"""Disks, snapshots and virtual machines, and what images and versions make of them."""

from __future__ import annotations

import itertools
import time
from typing import Any

import httpx
import pytest
from arm_server import ELSEWHERE, GROUP, LOCATION, MIB, SUBSCRIPTION, Arm, Storage, Web, image_body, version_body

pytest_plugins = ["arm_fixtures"]

_numbers = itertools.count(1)


def error(answer: Any) -> tuple[int, str, str]:
    body = answer.json()["error"]
    return answer.status_code, body["code"], body["message"]


def disk_body(size: int = 10, location: str = LOCATION, **properties: Any) -> dict[str, Any]:
    creation = {"creationData": {"createOption": "Empty"}, "diskSizeGB": size}
    return {"location": location, "sku": {"name": "Premium_LRS"}, "properties": creation | properties}


def put(arm: Arm, kind: str, body: dict[str, Any], prefix: str = "thing") -> str:
    """The id of a resource, once it is made."""
    path = arm.path(kind, f"{prefix}{next(_numbers)}")
    assert arm.finish(arm.send("PUT", path, json=body))["status"] == "Succeeded"
    return path


def os_disk(arm: Arm, **properties: Any) -> str:
    return put(arm, "disks", disk_body(osType="Linux", hyperVGeneration="V2", **properties), "disk")


def machine(arm: Arm, disk: str, *data: str, **properties: Any) -> str:
    storage = {
        "osDisk": {"osType": "Linux", "createOption": "Attach", "managedDisk": {"id": disk}, "caching": "ReadWrite"},
        "dataDisks": [
            {"lun": lun, "createOption": "Attach", "managedDisk": {"id": one}} for lun, one in enumerate(data)
        ],
    }
    body = {"location": LOCATION, "properties": {"storageProfile": storage} | properties}
    return put(arm, "virtualMachines", body, "vm")


def generalize(arm: Arm, vm: str) -> None:
    arm.finish(arm.send("POST", f"{vm}/deallocate"))
    assert arm.send("POST", f"{vm}/generalize").status_code == 200


def from_disk(disk: str, *data: str) -> dict[str, Any]:
    body = version_body()
    body["properties"]["storageProfile"] = {
        "osDiskImage": {"source": {"id": disk}},
        "dataDiskImages": [{"lun": lun, "source": {"id": one}} for lun, one in enumerate(data)],
    }
    return body


def from_machine(vm: str) -> dict[str, Any]:
    body = version_body()
    body["properties"]["storageProfile"] = {"source": {"virtualMachineId": vm}}
    return body


class TestDisks:
    def test_made_late_and_filled(self, arm: Arm) -> None:
        answer = arm.send("PUT", arm.path("disks", "diskBody"), json=disk_body())
        assert (answer.status_code, answer.json()["properties"]["provisioningState"]) == (202, "Updating")
        assert "timeCreated" not in answer.json()["properties"]
        assert "/DiskOperations/" in answer.headers["Azure-AsyncOperation"]
        assert "monitor=true" in answer.headers["Location"]
        operation = arm.finish(answer)
        found = arm.send("GET", arm.path("disks", "diskBody")).json()
        assert operation["properties"]["output"] == found
        assert found["sku"] == {"name": "Premium_LRS", "tier": "Premium"}
        properties = found["properties"]
        assert {key: properties[key] for key in ("diskIOPSReadWrite", "diskState", "diskSizeBytes", "tier")} == {
            "diskIOPSReadWrite": 120,
            "diskState": "Unattached",
            "diskSizeBytes": 10 * 1024**3,
            "tier": "P3",
        }

    def test_sdk(self, arm: Arm) -> None:
        name = f"disk{next(_numbers)}"
        made = arm.compute.disks.begin_create_or_update(GROUP, name, disk_body()).result()
        assert (made.properties.disk_size_gb, made.properties.provisioning_state) == (10, "Succeeded")
        assert name in [one.name for one in arm.compute.disks.list_by_resource_group(GROUP)]
        arm.compute.disks.begin_delete(GROUP, name).result()
        assert name not in [one.name for one in arm.compute.disks.list()]

    def test_import_looks_at_the_blob(self, arm: Arm, arm_storage: Storage, arm_vhd: str) -> None:
        def body(uri: str) -> dict[str, Any]:
            creation = {"createOption": "Import", "sourceUri": uri, "storageAccountId": arm_storage.account_id}
            return {"location": LOCATION, "properties": {"creationData": creation}}

        path = put(arm, "disks", body(arm_vhd))
        assert arm.send("GET", path).json()["properties"]["diskSizeGB"] == 1
        gone = arm.send("PUT", arm.path("disks", "diskGone"), json=body(f"{arm_storage.url}/vhds/none.vhd"))
        assert "is not accessible" in error(gone)[2]
        hollow = arm_storage.put_page_blob("disk-hollow.vhd", 20 * MIB, b"\0" * 512)
        operation = arm.finish(arm.send("PUT", arm.path("disks", "diskHollow"), json=body(hollow)))
        assert "cookie value 'conectix'" in operation["error"]["message"]

    def test_snapshot_takes_over_what_its_disk_is(self, arm: Arm) -> None:
        disk = os_disk(arm, supportsHibernation=True)
        creation = {"createOption": "Copy", "sourceResourceId": disk}
        snapshot = put(arm, "snapshots", {"location": LOCATION, "properties": {"creationData": creation}})
        found = arm.send("GET", snapshot).json()["properties"]
        assert (found["osType"], found["hyperVGeneration"], found["supportsHibernation"]) == ("Linux", "V2", True)
        assert (found["diskSizeGB"], found["incremental"]) == (10, False)
        assert found["creationData"]["sourceUniqueId"] == arm.send("GET", disk).json()["properties"]["uniqueId"]
        elsewhere = {"location": "eastus", "properties": {"creationData": creation}}
        assert "is in the same region" in error(arm.send("PUT", arm.path("snapshots", "sFar"), json=elsewhere))[2]

    def test_what_may_change(self, arm: Arm) -> None:
        disk = os_disk(arm)
        grown = arm.send("PATCH", disk, json={"tags": {"a": "b"}, "properties": {"diskSizeGB": 40}})
        arm.finish(grown)
        found = arm.send("GET", disk).json()
        assert (found["tags"], found["properties"]["diskSizeGB"], found["properties"]["tier"]) == ({"a": "b"}, 40, "P6")
        shrunk = arm.send("PATCH", disk, json={"properties": {"diskSizeGB": 20}})
        assert error(shrunk)[2].startswith("Disk size reduction is not supported.")
        other = {"properties": {"creationData": {"createOption": "Upload"}}}
        assert error(arm.send("PATCH", disk, json=other))[1] == "PropertyChangeNotAllowed"

    @pytest.mark.parametrize(
        ("properties", "words"),
        [
            ({"creationData": None}, "'disk.creationData' is missing"),
            ({"diskSizeGB": None}, "'disk.diskSizeGB' is missing"),
            ({"diskSizeGB": 40_000}, "between 1 and 32767"),
            ({"creationData": {}}, "Required property 'createOption' not found"),
        ],
    )
    def test_refused(self, arm: Arm, properties: dict[str, Any], words: str) -> None:
        answer = arm.send("PUT", arm.path("disks", "diskBad"), json=disk_body(**properties))
        assert answer.status_code == 400
        assert words in answer.text


def upload_disk(arm: Arm, kind: str = "disks") -> str:
    creation = {"createOption": "Upload", "uploadSizeBytes": 10 * 1024**3 + 512}
    properties = {"creationData": creation, "osType": "Linux", "hyperVGeneration": "V2"}
    return put(arm, kind, {"location": LOCATION, "properties": properties}, "up")


def state(arm: Arm, disk: str) -> str:
    return str(arm.send("GET", disk).json()["properties"]["diskState"])


def incremental(arm: Arm, size: int = 10) -> str:
    creation = {"createOption": "Copy", "sourceResourceId": os_disk(arm, diskSizeGB=size)}
    return put(arm, "snapshots", {"location": LOCATION, "properties": {"creationData": creation, "incremental": True}})


def copy_start(source: str, location: str = LOCATION, **properties: Any) -> dict[str, Any]:
    creation = {"createOption": "CopyStart", "sourceResourceId": source}
    return {"location": location, "properties": {"creationData": creation, "incremental": True} | properties}


WRITE, READ = [{"access": access, "durationInSeconds": 3600} for access in ("Write", "Read")]


class TestUploads:
    @pytest.mark.parametrize("kind", ["disks", "snapshots"])
    def test_upload_and_revoke(self, arm_web: Web, kind: str) -> None:
        arm = arm_web.arm
        disk = upload_disk(arm, kind)
        assert state(arm, disk) == "ReadyToUpload"
        answer = arm.send("POST", f"{disk}/beginGetAccess", json=WRITE)
        assert (answer.status_code, answer.content) == (202, b"")
        sas = arm.finish(answer)["properties"]["output"]["accessSAS"]
        assert "sp=rw" in sas
        assert arm.http.get(answer.headers["Location"]).json() == {"accessSAS": sas}
        assert state(arm, disk) == "ActiveUpload"
        ended = arm.send("POST", f"{disk}/endGetAccess")
        assert ended.status_code == 202
        assert "properties" not in arm.finish(ended)
        assert state(arm, disk) == "Unattached"
        assert error(arm.send("POST", f"{disk}/beginGetAccess", json=WRITE))[:2] == (409, "OperationNotAllowed")
        assert arm_web.made("1.0.0", from_disk(disk))["properties"]["provisioningState"] == "Succeeded"

    def test_what_is_not_uploaded_makes_nothing(self, arm_web: Web) -> None:
        arm = arm_web.arm
        disk = upload_disk(arm)
        image = image_body("none", managedDisk={"id": disk})
        del image["properties"]["storageProfile"]["osDisk"]["blobUri"]
        creation = {"createOption": "Copy", "sourceResourceId": disk}
        attached = {"osDisk": {"osType": "Linux", "createOption": "Attach", "managedDisk": {"id": disk}}}
        bodies = [
            (arm.path("images", "imgEarly"), image),
            (arm.path("snapshots", "snapEarly"), {"location": LOCATION, "properties": {"creationData": creation}}),
            (
                arm.path("virtualMachines", "vmEarly"),
                {"location": LOCATION, "properties": {"storageProfile": attached}},
            ),
        ]
        for disk_state in ("ReadyToUpload", "ActiveUpload"):
            if disk_state == "ActiveUpload":
                arm.finish(arm.send("POST", f"{disk}/beginGetAccess", json=WRITE))
            for answer in (
                arm_web.put("1.0.0", from_disk(disk)),
                arm_web.put("1.0.0", from_disk(os_disk(arm), disk)),
                *(arm.send("PUT", path, json=body) for path, body in bodies),
            ):
                assert error(answer)[:2] == (409, "OperationNotAllowed")
                assert f"its disk state is '{disk_state}'" in error(answer)[2]
        assert arm.send("GET", arm_web.path("1.0.0")).status_code == 404

    def test_never_uploaded_stays_ready_to_upload(self, arm: Arm) -> None:
        disk = upload_disk(arm)
        assert error(arm.send("POST", f"{disk}/beginGetAccess", json=READ))[:2] == (409, "OperationNotAllowed")
        arm.finish(arm.send("POST", f"{disk}/endGetAccess"))
        assert state(arm, disk) == "ReadyToUpload"
        arm.finish(arm.send("PATCH", disk, json={"tags": {"a": "b"}}))
        assert state(arm, disk) == "ReadyToUpload", "a change keeps it"
        assert arm.send("GET", f"{disk}/beginGetAccess").status_code == 405
        assert arm.send("POST", f"{arm.path('disks', 'none')}/beginGetAccess", json=READ).status_code == 404

    def test_export_by_the_sdk(self, arm_web: Web) -> None:
        arm = arm_web.arm
        disk = os_disk(arm)
        name = disk.rsplit("/", 1)[1]
        access = arm.compute.disks.begin_grant_access(GROUP, name, READ).result()
        assert "sp=r&" in access.access_sas
        assert state(arm, disk) == "ActiveSAS"
        arm_web.made("1.0.0", from_disk(disk))
        arm.compute.disks.begin_revoke_access(GROUP, name).result()
        assert state(arm, disk) == "Unattached"


class TestCopyStart:
    def test_succeeds_long_before_it_is_complete(self, arm_web: Web) -> None:
        arm = arm_web.arm
        copy = put(arm, "snapshots", copy_start(incremental(arm, 4_000)))
        found = arm.send("GET", copy).json()["properties"]
        assert (found["provisioningState"], found["creationData"]["createOption"]) == ("Succeeded", "CopyStart")
        assert 0 <= found["completionPercent"] < 100
        refused = arm_web.put("1.0.0", from_disk(copy))
        assert error(refused)[:2] == (409, "OperationNotAllowed")
        assert "its background copy is not complete" in error(refused)[2]
        seen = [found["completionPercent"]]
        while seen[-1] < 100:
            time.sleep(0.05)
            seen.append(arm.send("GET", copy).json()["properties"]["completionPercent"])
        assert seen == sorted(seen)
        assert len(set(seen)) > 3
        shallow = from_disk(copy)
        shallow["properties"]["publishingProfile"]["replicationMode"] = "Shallow"
        arm_web.made("1.0.0", shallow)

    def test_crosses_regions(self, arm: Arm) -> None:
        source = incremental(arm)
        path = put(arm, "snapshots", copy_start(source, "northeurope"))
        found = arm.send("GET", path).json()
        assert (found["location"], found["properties"]["osType"]) == ("northeurope", "Linux")

    def test_its_source_is_deleted(self, arm_web: Web) -> None:
        arm = arm_web.arm
        source = incremental(arm, 30_000)
        copy = put(arm, "snapshots", copy_start(source))
        arm.finish(arm.send("DELETE", source))
        found = arm.send("GET", copy).json()["properties"]
        assert found["copyCompletionError"]["errorCode"] == "CopySourceNotFound"
        assert found["completionPercent"] < 100
        time.sleep(0.2)
        assert arm.send("GET", copy).json()["properties"] == found, "it goes no further"
        assert error(arm_web.put("1.0.0", from_disk(copy)))[:2] == (409, "OperationNotAllowed")

    def test_a_percentage_that_is_sent_stands(self, arm: Arm) -> None:
        copy = put(arm, "snapshots", copy_start(incremental(arm), completionPercent=12))
        time.sleep(0.2)
        assert arm.send("GET", copy).json()["properties"]["completionPercent"] == 12
        arm.finish(arm.send("PATCH", copy, json={"properties": {"completionPercent": 100}}))
        assert arm.send("GET", copy).json()["properties"]["completionPercent"] == 100

    def test_of_incremental_snapshots_alone(self, arm: Arm) -> None:
        disk, words = os_disk(arm), "only supported for an incremental snapshot of an incremental snapshot"
        full = copy_start(incremental(arm), incremental=False)
        for body in (copy_start(disk), full):
            assert words in error(arm.send("PUT", arm.path("snapshots", "snapNo"), json=body))[2]
        assert words in error(arm.send("PUT", arm.path("disks", "diskNo"), json=copy_start(incremental(arm))))[2]


class TestMachines:
    def test_holds_its_disks(self, arm: Arm) -> None:
        disk, data = os_disk(arm), put(arm, "disks", disk_body(4), "disk")
        vm = machine(arm, disk, data)
        found = arm.send("GET", disk).json()
        assert (found["managedBy"], found["properties"]["diskState"]) == (vm, "Attached")
        refused = arm.send("DELETE", data)
        assert error(refused) == (409, "OperationNotAllowed", f"Disk {data.rsplit('/', 1)[1]} is attached to VM {vm}.")
        storage = {"osDisk": {"createOption": "Attach", "managedDisk": {"id": disk}}}
        body = {"location": LOCATION, "properties": {"storageProfile": storage}}
        taken = arm.send("PUT", arm.path("virtualMachines", "vmTaken"), json=body)
        assert error(taken)[:2] == (409, "ConflictingUserInput")
        arm.finish(arm.send("DELETE", vm))
        assert "managedBy" not in arm.send("GET", disk).json()
        assert arm.send("DELETE", data).status_code == 202

    def test_power_and_generalize(self, arm: Arm) -> None:
        vm = machine(arm, os_disk(arm))
        assert error(arm.send("POST", f"{vm}/generalize"))[:2] == (409, "OperationNotAllowed")
        generalize(arm, vm)
        view = arm.send("GET", vm, **{"$expand": "instanceView"}).json()["properties"]["instanceView"]
        codes = [one["code"] for one in view["statuses"]]
        assert codes == ["ProvisioningState/succeeded", "OSState/generalized", "PowerState/deallocated"]
        assert "since the VM is generalized." in error(arm.send("POST", f"{vm}/start"))[2]
        assert "instanceView" not in arm.send("GET", vm).json()["properties"]

    def test_comes_with_its_disks(self, arm: Arm, arm_image: str) -> None:
        storage = {
            "imageReference": {"id": arm_image},
            "osDisk": {"createOption": "FromImage"},
            "dataDisks": [{"lun": 0, "createOption": "Empty", "diskSizeGB": 7}],
        }
        body = {"location": LOCATION, "properties": {"storageProfile": storage, "osProfile": {"computerName": "c"}}}
        vm = put(arm, "virtualMachines", body, "vm")
        found = arm.send("GET", vm).json()["properties"]
        disks = [found["storageProfile"]["osDisk"], *found["storageProfile"]["dataDisks"]]
        sizes = [arm.send("GET", one["managedDisk"]["id"]).json()["properties"]["diskSizeGB"] for one in disks]
        assert sizes == [1, 7]
        assert found["osProfile"] == {"computerName": "c"}

    def test_sdk(self, arm: Arm) -> None:
        vm = machine(arm, os_disk(arm)).rsplit("/", 1)[1]
        arm.compute.virtual_machines.begin_deallocate(GROUP, vm).result()
        arm.compute.virtual_machines.generalize(GROUP, vm)
        found = arm.compute.virtual_machines.get(GROUP, vm, expand="instanceView")
        assert "OSState/generalized" in [one.code for one in found.properties.instance_view.statuses]


class TestMachinesOfVersions:
    def deploy(self, arm: Arm, image: str, location: str = LOCATION) -> Any:
        storage = {"imageReference": {"id": image}, "osDisk": {"createOption": "FromImage"}}
        body = {"location": location, "properties": {"storageProfile": storage}}
        return arm.send("PUT", arm.path("virtualMachines", f"vm{next(_numbers)}"), json=body)

    def test_latest_where_it_is(self, arm_web: Web, arm_image: str) -> None:
        arm = arm_web.arm
        definition = arm.path("galleries", arm_web.gallery, "images", "web")
        none = self.deploy(arm, definition)
        assert error(none)[:2] == (404, "GalleryImageNotFound")
        assert error(none)[2] == f'There is no latest image version exists for "{definition}"'
        arm_web.made("1.9.0", version_body(arm_image, LOCATION, "northeurope"))
        arm_web.made("1.10.0", version_body(arm_image, LOCATION))
        arm_web.made("2.0.0", version_body(arm_image, excludeFromLatest=True))
        found = {}
        for region in (LOCATION, "northeurope"):
            made = self.deploy(arm, f"{definition}/versions/latest", region).json()["properties"]
            found[region] = made["storageProfile"]["imageReference"]["exactVersion"]
        assert found == {LOCATION: "1.10.0", "northeurope": "1.9.0"}
        missing = self.deploy(arm, f"{definition}/versions/1.10.0", "northeurope")
        assert error(missing)[:2] == (404, "GalleryImageNotFound")
        assert "is not available in northeurope region." in error(missing)[2]


class TestImages:
    def test_captured_from_a_machine(self, arm: Arm) -> None:
        disk, data = os_disk(arm), put(arm, "disks", disk_body(4), "disk")
        vm = machine(arm, disk, data)
        properties = {"sourceVirtualMachine": {"id": vm}, "hyperVGeneration": "V2"}
        body = {"location": LOCATION, "properties": properties}
        path = arm.path("images", f"imgVm{next(_numbers)}")
        assert "is not generalized" in error(arm.send("PUT", path, json=body))[2]
        generalize(arm, vm)
        arm.finish(arm.send("PUT", path, json=body))
        found = arm.send("GET", path).json()["properties"]
        assert found["sourceVirtualMachine"] == {"id": vm}
        assert found["storageProfile"]["osDisk"] == {
            "osType": "Linux",
            "osState": "Generalized",
            "diskSizeGB": 10,
            "managedDisk": {"id": disk},
            "caching": "ReadWrite",
            "storageAccountType": "Premium_LRS",
        }
        assert found["storageProfile"]["dataDisks"][0]["diskSizeGB"] == 4
        body["properties"]["sourceVirtualMachine"]["id"] = vm + "x"
        missing = arm.send("PUT", arm.path("images", "imgVmNone"), json=body)
        assert error(missing)[2] == f"Source was not found: {vm}x. Please make sure the source exists."

    @pytest.mark.parametrize("kind", ["managedDisk", "snapshot"])
    def test_from_a_disk_or_snapshot(self, arm: Arm, kind: str) -> None:
        source = os_disk(arm)
        if kind == "snapshot":
            creation = {"createOption": "Copy", "sourceResourceId": source}
            source = put(arm, "snapshots", {"location": LOCATION, "properties": {"creationData": creation}})
        body = image_body("none", **{kind: {"id": source}})
        del body["properties"]["storageProfile"]["osDisk"]["blobUri"]
        path = put(arm, "images", body, "imgOf")
        assert arm.send("GET", path).json()["properties"]["storageProfile"]["osDisk"]["diskSizeGB"] == 10
        body["properties"]["storageProfile"]["osDisk"][kind] = {"id": source + "x"}
        assert "Source was not found:" in error(arm.send("PUT", arm.path("images", "imgNo"), json=body))[2]


class TestVersions:
    def test_from_disks(self, arm_web: Web) -> None:
        arm = arm_web.arm
        disk, data = os_disk(arm), put(arm, "disks", disk_body(4), "disk")
        made = arm_web.made("1.0.0", from_disk(disk, data))["properties"]
        assert made["storageProfile"]["osDiskImage"] == {
            "sizeInGB": 10,
            "hostCaching": "ReadWrite",
            "source": {"id": disk},
        }
        assert made["storageProfile"]["dataDiskImages"] == [
            {"lun": 0, "sizeInGB": 4, "hostCaching": "ReadOnly", "source": {"id": data}}
        ]
        other = arm_web.put("1.0.0", from_disk(os_disk(arm), data))
        path = "galleryImageVersion.properties.storageProfile.osDiskImage.source.id"
        assert error(other) == (409, "PropertyChangeNotAllowed", f"Changing property '{path}' is not allowed.")
        assert "Adding new Data Disks" in error(arm_web.put("1.0.0", from_disk(disk, data, data)))[2]

    def test_from_a_machine_by_its_state(self, arm_web: Web) -> None:
        arm = arm_web.arm
        vm = machine(arm, os_disk(arm), put(arm, "disks", disk_body(4), "disk"))
        special = "since the OS State in the parent gallery image ('Generalized') is not 'Specialized'."
        assert special in error(arm_web.put("1.0.0", from_machine(vm)))[2]
        arm.put_definition(arm_web.gallery, "special", osState="Specialized")
        path = arm.path("galleries", arm_web.gallery, "images", "special", "versions", "1.0.0")
        assert arm.finish(arm.send("PUT", path, json=from_machine(vm)))["status"] == "Succeeded"
        generalize(arm, vm)
        made = arm_web.made("1.0.0", from_machine(vm))["properties"]["storageProfile"]
        assert made["source"] == {"virtualMachineId": vm}
        assert [one["sizeInGB"] for one in (made["osDiskImage"], *made["dataDiskImages"])] == [10, 4]
        assert made["osDiskImage"]["hostCaching"] == "ReadWrite"

    def test_machines_that_are_no_sources(self, arm_web: Web) -> None:
        arm = arm_web.arm
        ultra = put(arm, "disks", disk_body() | {"sku": {"name": "UltraSSD_LRS"}}, "disk")
        vm = machine(arm, os_disk(arm), ultra)
        assert "stored in an UltraSSD account type." in error(arm_web.put("1.0.0", from_machine(vm)))[2]
        body = {"osDisk": {"createOption": "FromImage", "diffDiskSettings": {"option": "Local"}}}
        vm = put(arm, "virtualMachines", {"location": LOCATION, "properties": {"storageProfile": body}}, "vm")
        assert "cannot contain an ephemeral OS disk." in error(arm_web.put("1.0.0", from_machine(vm)))[2]

    def test_wrong_kinds(self, arm_web: Web, arm_image: str) -> None:
        arm = arm_web.arm
        disk = os_disk(arm)
        assert "must be a managed disk or snapshot." in error(arm_web.put("1.0.0", from_disk(arm_image)))[2]
        assert "must either be a managed image, virtual" in error(arm_web.put("1.0.0", version_body(disk)))[2]
        assert "must either be a managed image, virtual" in error(arm_web.put("1.0.0", from_machine(arm_image)))[2]
        community = version_body()
        image = "/communityGalleries/pub-1/images/web/versions/1.0.0"
        community["properties"]["storageProfile"] = {"source": {"communityGalleryImageId": image}}
        assert f"Source {image} is not found." in error(arm_web.put("1.0.0", community))[2]
        far = put(arm, "disks", disk_body(location="eastus"), "disk")
        assert "is in the same region" in error(arm_web.put("1.0.0", from_disk(far)))[2]

    @pytest.mark.parametrize(
        ("disk", "words"),
        [
            ({"hyperVGeneration": "V1"}, "a different Hypervisor generation ['V1']"),
            ({"osType": "Windows"}, "a different OS type ['Windows']"),
            ({"supportedCapabilities": {"architecture": "Arm64"}}, "a different architecture ['Arm64']"),
            ({"securityProfile": {"securityType": "TrustedLaunch"}}, "a different security type ['TrustedLaunch']"),
        ],
    )
    def test_disk_and_definition_differ(self, arm_web: Web, disk: dict[str, Any], words: str) -> None:
        known = {"osType": "Linux", "hyperVGeneration": "V2"} | disk
        source = put(arm_web.arm, "disks", disk_body(**known), "disk")
        status, code, message = error(arm_web.put("1.0.0", from_disk(source)))
        assert (status, code) == (400, "InvalidParameter")
        assert words in message

    def test_trusted_launch_goes_where_it_is_required(self, arm_web: Web) -> None:
        arm = arm_web.arm
        trusted = os_disk(arm, securityProfile={"securityType": "TrustedLaunch"})
        arm.put_definition(arm_web.gallery, "tl", features=[{"name": "SecurityType", "value": "TrustedLaunch"}])
        path = arm.path("galleries", arm_web.gallery, "images", "tl", "versions", "1.0.0")
        refused = arm.send("PUT", path, json=from_disk(os_disk(arm)))
        assert "a different security type ['Standard']" in error(refused)[2]
        assert arm.finish(arm.send("PUT", path, json=from_disk(trusted)))["status"] == "Succeeded"

    def test_of_another_subscription(self, arm_web: Web, arm_image: str) -> None:
        arm = arm_web.arm
        compute = f"{arm.group_elsewhere()}/providers/Microsoft.Compute"
        gallery = f"{compute}/galleries/gal{arm_web.gallery}"
        identifier = {"publisher": "Contoso", "offer": "web", "sku": "far"}
        kind = {"osType": "Linux", "osState": "Generalized", "hyperVGeneration": "V2", "identifier": identifier}
        arm.finish(arm.send("PUT", gallery, json={"location": LOCATION}))
        arm.finish(arm.send("PUT", f"{gallery}/images/web", json={"location": LOCATION, "properties": kind}))

        def put_version(number: str, body: dict[str, Any]) -> httpx.Response:
            return arm.send("PUT", f"{gallery}/images/web/versions/{number}", json=body)

        keys = arm.path("diskEncryptionSets", "des")
        encrypted = os_disk(arm, encryption={"type": "EncryptionAtRestWithCustomerKey", "diskEncryptionSetId": keys})
        assert error(put_version("1.0.0", from_disk(encrypted))) == (
            400,
            "InvalidParameter",
            (
                f"Encrypted source: '{encrypted}' is in a different subscription ID than the current gallery image "
                f"version subscription '{ELSEWHERE}'. Please retry with an unencrypted source(s) or use the source's "
                f"subscription '{SUBSCRIPTION}' to create the gallery image version"
            ),
        )
        assert arm.finish(arm_web.put("1.0.0", from_disk(encrypted)))["status"] == "Succeeded"
        vm = machine(arm, os_disk(arm))
        generalize(arm, vm)
        status, code, words = error(put_version("1.0.0", version_body(vm)))
        assert (status, code) == (400, "InvalidParameter")
        assert f"The source VM '{vm}' is a cross subscription source" in words
        for number, body in (
            ("1.0.0", from_machine(vm)),
            ("1.0.1", from_disk(os_disk(arm))),
            ("1.0.2", version_body(arm_image)),
            ("1.0.3", version_body(arm_web.made("2.0.0", version_body(arm_image))["id"])),
        ):
            assert arm.finish(put_version(number, body))["status"] == "Succeeded", number

    def test_too_large(self, arm_web: Web) -> None:
        disk = os_disk(arm_web.arm, diskSizeGB=2520)
        operation = arm_web.arm.finish(arm_web.put("1.0.0", from_disk(disk)))
        assert operation["error"] == {
            "code": "GallerySourceResourceExceedsMaxSize",
            "message": "The GalleryImageVersion source resource size 2520 exceeds the max size 2048 supported",
        }
        shallow = from_disk(disk)
        shallow["properties"]["publishingProfile"]["replicationMode"] = "Shallow"
        made = arm_web.made("1.0.1", shallow)["properties"]
        assert (made["provisioningState"], made["publishingProfile"]["replicationMode"]) == ("Succeeded", "Shallow")


def test_lists(arm: Arm) -> None:
    disk = os_disk(arm)
    subscription = f"/subscriptions/{SUBSCRIPTION}"
    for path in (arm.path("disks"), f"{subscription}/providers/Microsoft.Compute/disks"):
        listed = arm.send("GET", path, api_version="2024-03-02").json()["value"]
        assert disk.rsplit("/", 1)[1] in [one["name"] for one in listed]
    resources = arm.send("GET", f"{subscription}/resources", **{"$filter": f"resourceGroup eq '{GROUP}'"}).json()
    assert disk in [one["id"] for one in resources["value"]]
