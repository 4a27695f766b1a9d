"""The rules of galleries, definitions, versions and images, as a client meets them."""

from __future__ import annotations

from typing import Any

import pytest
from arm_server import ELSEWHERE, LOCATION, MIB, Arm, Storage, Web, image_body, version_body, vhd_footer

pytest_plugins = ["arm_fixtures"]

MOMENTARY = ("provisioningState", "replicationStatus", "validationsProfile")


def error(answer: Any) -> tuple[int, str, str]:
    body = answer.json()["error"]
    return answer.status_code, body["code"], body["message"]


def direct(storage: Storage, uri: str, **disk: Any) -> dict[str, Any]:
    source = {"uri": uri, "storageAccountId": storage.account_id}
    body = version_body()
    body["properties"]["storageProfile"] = {"osDiskImage": {"source": source} | disk}
    return body


class TestGalleries:
    def test_body(self, arm: Arm) -> None:
        answer = arm.send(
            "PUT",
            arm.path("galleries", "galBody"),
            json={"location": "West Europe", "properties": {"description": "d"}},
            api_version="2021-10-01",
        )
        body = answer.json()
        assert (answer.status_code, list(body)) == (201, ["name", "id", "type", "location", "properties"])
        assert list(body["properties"]) == ["description", "identifier", "provisioningState"]
        assert body["properties"]["provisioningState"] == "Creating"
        again = arm.send("PUT", arm.path("galleries", "galBody"), json={"location": LOCATION, "tags": {}})
        assert (again.status_code, again.json()["tags"]) == (200, {})
        assert again.json()["properties"]["description"] == "d"
        assert again.json()["properties"]["provisioningState"] == "Updating"

    def test_community_gallery(self, arm: Arm) -> None:
        info = {"publisherUri": "u", "publisherContact": "c", "eula": "e", "publicNamePrefix": "pub"}
        sharing = {"permissions": "community", "communityGalleryInfo": info}
        sent = {"location": LOCATION, "properties": {"sharingProfile": sharing}}
        answer = arm.send("PUT", arm.path("galleries", "galShared"), json=sent).json()
        found = answer["properties"]["sharingProfile"]
        assert found["permissions"] == "Community"
        assert found["communityGalleryInfo"]["communityGalleryEnabled"] is False
        assert found["communityGalleryInfo"]["publicNames"][0].startswith("pub-")

    @pytest.mark.parametrize("name", ["with-dash", "_gal", "gal.", "a" * 81])
    def test_names(self, arm: Arm, name: str) -> None:
        status, code, message = error(arm.send("PUT", arm.path("galleries", name), json={"location": LOCATION}))
        assert (status, code) == (400, "InvalidParameter")
        assert "is invalid according to its validation rule" in message

    def test_unique_in_the_subscription(self, arm: Arm, arm_web: Web) -> None:
        group = arm.path("x").split("/providers")[0].replace("rgGallerist", "second")
        arm.send("PUT", group, json={"location": LOCATION})
        path = f"{group}/providers/Microsoft.Compute/galleries/{arm_web.gallery}"
        assert "is not unique within the subscription" in error(arm.send("PUT", path, json={"location": LOCATION}))[2]


class TestDefinitions:
    def put(self, web: Web, name: str, api_version: str = "", **properties: Any) -> Any:
        body = {
            "osType": "Linux",
            "osState": "Generalized",
            "identifier": {"publisher": "p", "offer": "o", "sku": name},
        }
        path = web.arm.path("galleries", web.gallery, "images", name)
        sent = {"location": LOCATION, "properties": body | properties}
        return web.arm.send("PUT", path, json=sent, api_version=api_version)

    def test_defaults_by_api_version(self, arm_web: Web) -> None:
        old = self.put(arm_web, "old", "2021-10-01", disallowed={}, features=[]).json()["properties"]
        assert list(old) == [
            "hyperVGeneration", "architecture", "osType", "osState", "identifier", "provisioningState",
        ]  # fmt: skip
        assert (old["hyperVGeneration"], old["architecture"]) == ("V1", "x64")
        assert "architecture" not in self.put(arm_web, "older", "2019-12-01").json()["properties"]
        new = self.put(arm_web, "new").json()["properties"]
        assert new["hyperVGeneration"] == "V2"
        assert new["features"] == [{"name": "SecurityType", "value": "TrustedLaunchSupported"}]
        plain = self.put(arm_web, "plain", hyperVGeneration="V1").json()["properties"]
        assert "features" not in plain

    def test_values_are_normalised(self, arm_web: Web) -> None:
        features = [
            {"name": "IsAcceleratedNetworkSupported", "value": "true"},
            {"name": "SecurityType", "value": "ConfidentialVm"},
        ]
        found = self.put(arm_web, "norm", osType="linux", hyperVGeneration="v2", features=features).json()["properties"]
        assert [one["value"] for one in found["features"]] == ["True", "ConfidentialVM"]
        assert (found["osType"], found["hyperVGeneration"]) == ("Linux", "V2")

    @pytest.mark.parametrize(
        ("properties", "words"),
        [
            ({"osType": None}, "Required parameter 'galleryImage.properties.osType' is missing (null)."),
            ({"identifier": {"publisher": "p", "offer": "o"}}, "Asset name galleryImage.properties.identifier.sku"),
            ({"identifier": {"publisher": "p.", "offer": "o", "sku": "s"}}, "is not valid. It cannot be empty."),
            ({"endOfLifeDate": "2001-01-01T00:00:00Z"}, "EndOfLifeDate must be set to a future date."),
            ({"recommended": {"memory": {"min": 9, "max": 1}}}, "must not be greater than the maximum value"),
        ],
    )
    def test_refused(self, arm_web: Web, properties: dict[str, Any], words: str) -> None:
        status, code, message = error(self.put(arm_web, "bad", **properties))
        assert (status, code) == (400, "InvalidParameter")
        assert words in message

    def test_identifier_is_one_of_a_kind(self, arm_web: Web) -> None:
        taken = {"publisher": "contoso", "offer": "WEB", "sku": "web"}
        assert (
            "identified by (publisher:contoso, offer:WEB, sku:web) already exists"
            in error(self.put(arm_web, "copy", identifier=taken))[2]
        )

    @pytest.mark.parametrize(
        ("changed", "path"),
        [
            ({"osType": "Windows"}, "osType"),
            ({"hyperVGeneration": "V1"}, "hyperVGeneration"),
            ({"architecture": "Arm64"}, "architecture"),
            ({"identifier": {"publisher": "Other"}}, "identifier.publisher"),
            ({"features": [{"name": "SecurityType", "value": "TrustedLaunch"}]}, "features/SecurityType"),
            ({"eula": "new"}, "eula"),
        ],
    )
    def test_what_is_fixed(self, arm_web: Web, changed: dict[str, Any], path: str) -> None:
        answer = arm_web.arm.send(
            "PATCH", arm_web.arm.path("galleries", arm_web.gallery, "images", "web"), json={"properties": changed}
        )
        message = f"Changing property 'galleryImage.properties.{path}' is not allowed."
        assert error(answer) == (409, "PropertyChangeNotAllowed", message)
        assert answer.json()["error"]["target"] == f"galleryImage.properties.{path}"

    def test_what_may_change(self, arm_web: Web) -> None:
        changed = {"description": "new", "endOfLifeDate": "2199-01-01T02:00:00+02:00"}
        answer = arm_web.arm.send(
            "PATCH", arm_web.arm.path("galleries", arm_web.gallery, "images", "web"), json={"properties": changed}
        )
        assert answer.status_code == 200
        assert answer.json()["properties"]["description"] == "new"
        assert answer.json()["properties"]["endOfLifeDate"] == "2199-01-01T00:00:00+00:00"


class TestVersions:
    def test_created_and_filled(self, arm_web: Web, arm_image: str) -> None:
        body = version_body(arm_image) | {"tags": {}}
        answer = arm_web.arm.send("PUT", arm_web.path("1.1.2"), json=body, api_version="2023-07-03")
        body = answer.json()
        assert list(body) == ["name", "id", "type", "location", "tags", "properties"]
        assert list(body["properties"]) == ["publishingProfile", "storageProfile", "safetyProfile", "provisioningState"]
        assert list(body["properties"]["publishingProfile"]) == [
            "targetRegions", "replicaCount", "excludeFromLatest", "publishedDate", "storageAccountType",
        ]  # fmt: skip
        assert body["properties"]["publishingProfile"]["targetRegions"] == [
            {"name": "West Europe", "regionalReplicaCount": 1, "storageAccountType": "Standard_LRS"}
        ]
        assert body["properties"]["storageProfile"] == {"source": {"id": arm_image}}
        assert body["properties"]["safetyProfile"] == {
            "reportedForPolicyViolation": False,
            "allowDeletionOfReplicatedLocations": False,
        }
        arm_web.arm.finish(answer)
        found = arm_web.arm.send("GET", arm_web.path("1.1.2"), api_version="2021-10-01").json()["properties"]
        assert found["storageProfile"] == {
            "source": {"id": arm_image},
            "osDiskImage": {"sizeInGB": 1, "hostCaching": "None", "source": {}},
        }
        assert "safetyProfile" not in found
        assert "replicationStatus" not in found
        assert list(arm_web.get("1.1.2")["properties"])[-1] == "replicationStatus"

    def test_values_are_normalised(self, arm_web: Web, arm_image: str) -> None:
        regions = [{"name": "westeurope", "storageAccountType": "standard_zrs"}, {"name": "East US 2"}]
        body = version_body(arm_image, *regions, replicaCount=2, replicationMode="Full")
        publishing = arm_web.put("1.0.0", body).json()["properties"]["publishingProfile"]
        assert publishing["targetRegions"] == [
            {"name": "West Europe", "regionalReplicaCount": 2, "storageAccountType": "Standard_ZRS"},
            {"name": "East US 2", "regionalReplicaCount": 2, "storageAccountType": "Standard_ZRS"},
        ]
        assert "replicationMode" not in publishing

    @pytest.mark.parametrize("sent", [{}, {"properties": {}}], ids=["no properties", "empty properties"])
    def test_location_and_tags_alone_keep_everything(
        self, arm_web: Web, arm_storage: Storage, arm_vhd: str, sent: dict[str, Any]
    ) -> None:
        """Recorded traffic: such a PUT is how a client changes tags."""
        region = {"name": "westus2", "regionalReplicaCount": 3, "excludeFromLatest": True}
        body = direct(arm_storage, arm_vhd, hostCaching="ReadOnly") | {"tags": {"old": "1"}}
        body["properties"]["publishingProfile"] = {
            "targetRegions": [{"name": LOCATION, "storageAccountType": "Standard_ZRS"}, region],
            "replicaCount": 2,
            "excludeFromLatest": True,
            "endOfLifeDate": "2099-01-01T00:00:00Z",
            "replicationMode": "Full",
            "targetExtendedLocations": [
                {"name": "westus", "extendedLocation": {"name": "microsoftlosangeles1", "type": "EdgeZone"}}
            ],
        }
        body["properties"]["safetyProfile"] = {
            "allowDeletionOfReplicatedLocations": True,
            "blockDeletionBeforeEndOfLife": True,
        }
        made = arm_web.made("1.0.0", body)
        assert made["properties"]["provisioningState"] == "Succeeded"
        answer = arm_web.put("1.0.0", {"location": LOCATION, "tags": {"new": "2"}} | sent)
        assert (answer.status_code, answer.json()["tags"]) == (200, {"new": "2"})
        meanwhile = arm_web.get("1.0.0")["properties"]
        assert meanwhile["replicationStatus"]["aggregatedState"] == "Completed"
        assert arm_web.arm.finish(answer)["status"] == "Succeeded"
        assert arm_web.get("1.0.0") == made | {"tags": {"new": "2"}}
        shown = {key: value for key, value in made["properties"].items() if key not in MOMENTARY}
        assert {key: value for key, value in answer.json()["properties"].items() if key not in MOMENTARY} == shown
        # Tags that are not sent stay as well, empty ones do not
        assert arm_web.made("1.0.0", {"location": LOCATION} | sent) == made | {"tags": {"new": "2"}}
        assert arm_web.made("1.0.0", {"location": LOCATION, "tags": {}} | sent) == made | {"tags": {}}

    def test_update_merges(self, arm_web: Web, arm_image: str) -> None:
        created = arm_web.made("1.0.0", version_body(arm_image))["properties"]
        regions = [{"name": "westus2", "regionalReplicaCount": 1}, {"name": LOCATION}]
        body = version_body(None, *regions, replicaCount=2)
        body["properties"]["storageProfile"] = {}
        answer = arm_web.put("1.0.0", body)
        updated = answer.json()["properties"]
        assert (answer.status_code, updated["provisioningState"]) == (200, "Updating")
        assert [(r["name"], r["regionalReplicaCount"]) for r in updated["publishingProfile"]["targetRegions"]] == [
            ("West US 2", 1),
            ("West Europe", 2),
        ]
        assert updated["storageProfile"] == created["storageProfile"]
        arm_web.arm.finish(answer)
        alone = arm_web.made("1.0.0", {"location": LOCATION, "tags": {"kept": "yes"}})
        assert alone["tags"] == {"kept": "yes"}
        expected = updated["publishingProfile"] | {"publishedDate": created["publishingProfile"]["publishedDate"]}
        assert alone["properties"]["publishingProfile"] == expected
        states = alone["properties"]["replicationStatus"]["summary"]
        assert [(one["region"], one["state"]) for one in states] == [
            ("westus2", "Completed"),
            ("westeurope", "Completed"),
        ]

    def test_what_is_fixed(self, arm: Arm, arm_web: Web, arm_image: str, arm_vhd: str) -> None:
        arm_web.made("1.0.0", version_body(arm_image))
        other = arm.put_image("imgFixed", arm_vhd)
        path = "galleryImageVersion.properties.storageProfile.source.id"
        answer = arm_web.put("1.0.0", version_body(other))
        assert error(answer) == (409, "PropertyChangeNotAllowed", f"Changing property '{path}' is not allowed.")
        assert answer.json()["error"]["target"] == path
        assert arm_web.put("1.0.0", version_body(arm_image.upper())).status_code == 200
        arm_web.made("1.0.1", version_body(arm_image))
        changed = arm_web.put("1.0.1", version_body(None, storageAccountType="Premium_LRS"))
        assert error(changed)[1] == "PropertyChangeNotAllowed"

    @pytest.mark.parametrize("name", ["1", "1.0", "1.0.0.0", "1.0.x", "1.0.-1", "1.0.2147483648", "latest", "1.0.0-rc"])
    def test_names(self, arm_web: Web, arm_image: str, name: str) -> None:
        answer = arm_web.put(name, version_body(arm_image))
        assert error(answer)[:2] == (400, "InvalidParameter")
        assert answer.json()["error"]["target"] == "galleryImageVersionName"
        assert "should follow Major(int).Minor(int).Patch(int) format" in error(answer)[2]

    @pytest.mark.parametrize(
        ("regions", "publishing", "words"),
        [
            (["westeurope", "West Europe"], {}, "Duplicate regions are not allowed in target publishing regions."),
            (["northeurope"], {}, "must contain the location of image version 'westeurope'"),
            (["westeurope"], {"replicaCount": 101}, "The value must be between 1 and 100, inclusive."),
            ([{"name": "westeurope", "regionalReplicaCount": 0}], {}, "out of range"),
            (["westeurope"], {"endOfLifeDate": "2001-01-01"}, "EndOfLifeDate must be set to a future date."),
            (["westeurope"], {"replicaCount": 2, "replicationMode": "Shallow"}, "shallow image version must be 1"),
        ],
    )
    def test_publishing_profile(
        self, arm_web: Web, arm_image: str, regions: list[Any], publishing: dict[str, Any], words: str
    ) -> None:
        status, code, message = error(arm_web.put("1.0.0", version_body(arm_image, *regions, **publishing)))
        assert (status, code) == (400, "InvalidParameter")
        assert words in message
        assert arm_web.arm.send("GET", arm_web.path("1.0.0")).status_code == 404

    def test_unknown_region(self, arm_web: Web, arm_image: str) -> None:
        answer = arm_web.put("1.0.0", version_body(arm_image, "westeurope", "atlantis"))
        assert error(answer)[:2] == (400, "LocationNotAvailableForResourceType")

    def test_sources_not_found(self, arm: Arm, arm_web: Web, arm_vhd: str, arm_storage: Storage) -> None:
        missing = arm.path("images", "none")
        expected = (
            f"Source {missing} is not found. Please check source exists, and is in the same region as gallery image "
            "version being created"
        )
        assert error(arm_web.put("1.0.0", version_body(missing)))[:3] == (400, "InvalidParameter", expected)
        elsewhere = image_body(arm_vhd) | {"location": "eastus"}
        arm.finish(arm.send("PUT", arm.path("images", "imgFar"), json=elsewhere))
        assert "is in the same region" in error(arm_web.put("1.0.0", version_body(arm.path("images", "imgFar"))))[2]
        wrong = version_body(arm_storage.account_id)
        assert "must either be a managed image, virtual machine or another" in error(arm_web.put("1.0.0", wrong))[2]
        gone = direct(arm_storage, f"{arm_storage.url}/vhds/none.vhd")
        assert f"Source {arm_storage.url}/vhds/none.vhd is not found." in error(arm_web.put("1.0.0", gone))[2]

    def test_one_source_only(self, arm_web: Web, arm_image: str, arm_storage: Storage, arm_vhd: str) -> None:
        both = direct(arm_storage, arm_vhd)
        both["properties"]["storageProfile"]["source"] = {"id": arm_image}
        for body in (version_body(), both):
            status, code, message = error(arm_web.put("1.0.0", body))
            assert (status, code) == (400, "InvalidParameter")
            assert message.startswith("The gallery artifact version source can only be specified either directly")

    @pytest.mark.parametrize(
        ("definition", "words"),
        [
            ({"osType": "Windows"}, "has a different OS type ['Linux'] than the parent gallery image OS type"),
            (
                {"osState": "Specialized"},
                "since the OS State in the parent gallery image ('Specialized') is not 'Gener",
            ),
            ({"hyperVGeneration": "V1"}, "a different Hypervisor generation ['V2'] than the parent gallery image"),
            ({"architecture": "Arm64"}, "has a different architecture ['x64']"),
            (
                {"features": [{"name": "SecurityType", "value": "TrustedLaunch"}]},
                "parent gallery image security type ['TrustedLaunch']",
            ),
        ],
    )
    def test_source_and_definition_differ(
        self, arm: Arm, arm_web: Web, arm_image: str, definition: dict[str, Any], words: str
    ) -> None:
        arm.put_definition(arm_web.gallery, "differs", **definition)
        path = arm.path("galleries", arm_web.gallery, "images", "differs", "versions", "1.0.0")
        status, code, message = error(arm.send("PUT", path, json=version_body(arm_image)))
        assert (status, code) == (400, "InvalidParameter")
        assert words in message

    def test_another_version_as_source(self, arm_web: Web, arm_image: str) -> None:
        first = arm_web.made("1.0.0", version_body(arm_image))
        second = arm_web.made("1.0.1", version_body(first["id"]))
        assert second["properties"]["provisioningState"] == "Succeeded"
        assert second["properties"]["storageProfile"]["osDiskImage"]["sizeInGB"] == 1

    def test_direct_from_a_vhd(self, arm_web: Web, arm_storage: Storage) -> None:
        uri = arm_storage.put_vhd("direct.vhd", 3 * 1024 * MIB)
        data = arm_storage.put_vhd("data.vhd")
        body = direct(arm_storage, uri)
        body["properties"]["storageProfile"]["dataDiskImages"] = [
            {"lun": 2, "source": {"uri": data, "storageAccountId": arm_storage.account_id}}
        ]
        created = arm_web.put("1.0.0", body)
        source = {"uri": uri, "storageAccountId": arm_storage.account_id}
        assert created.json()["properties"]["storageProfile"]["osDiskImage"] == {
            "hostCaching": "ReadWrite",
            "source": source,
        }
        arm_web.arm.finish(created)
        found = arm_web.get("1.0.0")["properties"]["storageProfile"]
        assert found["osDiskImage"] == {"sizeInGB": 3, "hostCaching": "ReadWrite", "source": source}
        assert found["dataDiskImages"][0]["sizeInGB"] == 1
        assert found["dataDiskImages"][0]["hostCaching"] == "ReadOnly"
        other = direct(arm_storage, data)
        path = "galleryImageVersion.properties.storageProfile.osDiskImage.source.uri"
        assert error(arm_web.put("1.0.0", other))[2] == f"Changing property '{path}' is not allowed."

    def test_broken_vhd_fails_late(self, arm_web: Web, arm_storage: Storage) -> None:
        uri = arm_storage.put_page_blob("broken.vhd", 20 * MIB, b"\0" * 512)
        answer = arm_web.put("1.0.0", direct(arm_storage, uri))
        assert answer.status_code == 201
        operation = arm_web.arm.finish(answer)
        assert list(operation) == ["startTime", "endTime", "status", "error", "name"]
        assert (operation["status"], operation["error"]["code"]) == ("Failed", "InternalOperationError")
        assert "Disk is expected to have cookie value 'conectix'." in operation["error"]["message"]
        failed = arm_web.get("1.0.0")["properties"]
        assert failed["provisioningState"] == "Failed"
        assert "sizeInGB" not in failed["storageProfile"]["osDiskImage"]
        assert failed["replicationStatus"]["aggregatedState"] == "Failed"
        listed = arm_web.arm.send("GET", arm_web.path("").rstrip("/")).json()["value"]
        assert [one["properties"]["provisioningState"] for one in listed] == ["Failed"]
        # A PUT is accepted, but only a deletion makes room for the mended VHD
        arm_storage.put_vhd("broken.vhd")
        again = arm_web.put("1.0.0", direct(arm_storage, uri))
        assert (again.status_code, again.json()["properties"]["provisioningState"]) == (200, "Updating")
        assert arm_web.arm.finish(again)["status"] == "Failed"
        other = arm_web.put("1.0.0", direct(arm_storage, arm_storage.put_vhd("whole.vhd")))
        assert error(other)[:2] == (409, "PropertyChangeNotAllowed")
        arm_web.arm.finish(arm_web.arm.send("DELETE", arm_web.path("1.0.0")))
        anew = arm_web.put("1.0.0", direct(arm_storage, uri))
        assert anew.status_code == 201
        assert arm_web.arm.finish(anew)["status"] == "Succeeded"
        assert arm_web.get("1.0.0")["properties"]["storageProfile"]["osDiskImage"]["sizeInGB"] == 1

    def test_deletion_may_be_blocked(self, arm_web: Web, arm_image: str) -> None:
        body = version_body(arm_image, endOfLifeDate="2199-01-01T00:00:00Z")
        body["properties"]["safetyProfile"] = {"blockDeletionBeforeEndOfLife": True}
        arm_web.made("1.0.0", body)
        refused = arm_web.arm.send("DELETE", arm_web.path("1.0.0"))
        assert error(refused)[:2] == (409, "DeleteGalleryImageVersionBlockedBeforeEndOfLife")


class TestImages:
    def test_body(self, arm: Arm, arm_vhd: str) -> None:
        answer = arm.send("PUT", arm.path("images", "imgBody"), json=image_body(arm_vhd, "V1", caching="readwrite"))
        disk = {
            "osType": "Linux",
            "osState": "Generalized",
            "blobUri": arm_vhd,
            "caching": "ReadWrite",
            "storageAccountType": "Standard_LRS",
        }
        assert answer.status_code == 201
        assert answer.json()["properties"] == {
            "storageProfile": {"osDisk": disk, "dataDisks": []},
            "provisioningState": "Creating",
            "hyperVGeneration": "V1",
        }
        arm.finish(answer)
        done = arm.send("GET", arm.path("images", "imgBody")).json()["properties"]
        assert done["storageProfile"]["osDisk"] == disk | {"diskSizeGB": 1}
        assert list(done["storageProfile"]["osDisk"]) == [
            "osType", "osState", "diskSizeGB", "blobUri", "caching", "storageAccountType",
        ]  # fmt: skip

    def test_blob_out_of_reach(self, arm: Arm, arm_storage: Storage) -> None:
        for uri in (f"{arm_storage.url}/vhds/none.vhd", "https://elsewhere.blob.core.windows.net/vhds/x.vhd"):
            answer = arm.send("PUT", arm.path("images", "imgNone"), json=image_body(uri))
            assert error(answer) == (400, "InvalidParameter", f"The source blob {uri} is not accessible.")
            assert answer.json()["error"]["target"] == "disks"

    def test_storage_account_in_another_subscription(self, arm: Arm, arm_storage: Storage) -> None:
        uri, elsewhere = arm_storage.put_vhd("account.vhd"), arm.group_elsewhere()
        path = f"{elsewhere}/providers/Microsoft.Compute/images/imgFar"
        answer = arm.send("PUT", path, json=image_body(uri))
        words = f"The source blob {uri} does not belong to a storage account in subscription {ELSEWHERE}."
        assert error(answer) == (400, "InvalidParameter", words)
        assert arm.send("GET", path).status_code == 404
        near = arm.send("PUT", arm.path("images", "imgNear"), json=image_body(uri))
        assert arm.finish(near)["status"] == "Succeeded"

    @pytest.mark.parametrize("name", ["disk", "disk.img", "disk.vhd.bak", "diskvhd"])
    def test_blob_without_vhd_in_its_name(self, arm_web: Web, arm_storage: Storage, name: str) -> None:
        uri = arm_storage.put_vhd(name)
        answer = arm_web.arm.send("PUT", arm_web.arm.path("images", "imgNamed"), json=image_body(uri))
        words = f'Blob name in URL {uri} must end with ".vhd" extension.'
        assert error(answer) == (400, "InvalidParameter", words)
        assert answer.json()["error"]["target"] == "disk.blobUri"
        assert arm_web.arm.send("GET", arm_web.arm.path("images", "imgNamed")).status_code == 404
        assert error(arm_web.put("1.0.0", direct(arm_storage, uri))) == (400, "InvalidParameter", words)

    def test_vhd_in_capitals(self, arm: Arm, arm_storage: Storage) -> None:
        answer = arm.send("PUT", arm.path("images", "imgLoud"), json=image_body(arm_storage.put_vhd("LOUD.VHD")))
        assert arm.finish(answer)["status"] == "Succeeded"

    def test_blobs_that_are_no_vhds(self, arm: Arm, arm_storage: Storage) -> None:
        odd = 20 * MIB + 512
        uris = {
            arm_storage.put_block_blob("block.vhd", bytes(1024) + vhd_footer(1024)): "formatted as VHDs",
            arm_storage.put_page_blob("empty.vhd", 20 * MIB, b""): "cookie value 'conectix'",
            arm_storage.put_page_blob("dynamic.vhd", 20 * MIB, vhd_footer(20 * MIB, disk_type=3)): "formatted as VHDs",
            arm_storage.put_page_blob("longer.vhd", 20 * MIB, vhd_footer(19 * MIB)): "formatted as VHDs",
            arm_storage.put_vhd("odd.vhd", odd): f"has an unsupported virtual size of {odd} bytes",
        }
        for number, (uri, words) in enumerate(uris.items()):
            answer = arm.send("PUT", arm.path("images", f"imgNoVhd{number}"), json=image_body(uri))
            assert answer.status_code == 201
            operation = arm.finish(answer)
            assert operation["status"] == "Failed"
            assert words in operation["error"]["message"]
            assert (
                arm.send("GET", arm.path("images", f"imgNoVhd{number}")).json()["properties"]["provisioningState"]
                == "Failed"
            )

    def test_disks_are_fixed(self, arm: Arm, arm_image: str, arm_storage: Storage) -> None:
        other = arm_storage.put_vhd("other.vhd")
        assert error(arm.send("PUT", arm_image, json=image_body(other)))[1] == "PropertyChangeNotAllowed"

    def test_specialized_is_refused(self, arm: Arm, arm_vhd: str) -> None:
        body = image_body(arm_vhd, osState="Specialized")
        assert error(arm.send("PUT", arm.path("images", "imgSpecial"), json=body))[:2] == (400, "InvalidParameter")


class TestBinding:
    @pytest.mark.parametrize(
        ("properties", "words"),
        [
            (
                {"storageProfile": {"source": {"id": "x", "uri": "y"}}},
                (
                    "Could not find member 'uri' on object of type 'GalleryArtifactVersionFullSource'. "
                    "Path 'properties.storageProfile.source.uri', line 1, position "
                ),
            ),
            ({"publishing_profile": {}}, "Could not find member 'publishing_profile' on object of type 'GalleryImageV"),
            ({"publishingProfile": {"replicaCount": "many"}}, "Error converting value \"many\" to type 'int'. Path "),
            (
                {"publishingProfile": {"targetRegions": [{"name": "westus", "storageAccountType": "Gold"}]}},
                (
                    "Error converting value \"Gold\" to type 'StorageAccountType'. "
                    "Path 'properties.publishingProfile.targetRegions[0].storageAccountType', line 1, position "
                ),
            ),
            (
                {"publishingProfile": {"endOfLifeDate": "soon"}},
                "Could not convert string to DateTimeOffset: soon. Path ",
            ),
        ],
    )
    def test_refused(self, arm_web: Web, properties: dict[str, Any], words: str) -> None:
        status, code, message = error(arm_web.put("1.0.0", {"location": LOCATION, "properties": properties}))
        assert (status, code) == (400, "BadRequest")
        assert message.startswith(words)

    def test_what_azure_sets_is_dropped(self, arm_web: Web, arm_image: str) -> None:
        made = arm_web.made("1.0.0", version_body(arm_image))
        assert arm_web.put("1.0.0", made).status_code == 200
