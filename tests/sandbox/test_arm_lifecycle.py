"""Soft delete, sharing, and the guards of an image version's life."""

from __future__ import annotations

import itertools
import time
from datetime import UTC, datetime
from typing import Any

import pytest
from arm_server import GROUP, LOCATION, Arm, Storage, Web, version_body

from sandbox.arm import soft_delete
from sandbox.arm.clock import Clock
from sandbox.arm.resource import Resource, settled

pytest_plugins = ["arm_fixtures"]

_numbers = itertools.count(1)


def error(answer: Any) -> tuple[int, str, str]:
    body = answer.json()["error"]
    return answer.status_code, body["code"], body["message"]


class TestSoftDelete:
    @pytest.fixture
    def soft(self, arm_web: Web) -> Web:
        self.policy(arm_web, isSoftDeleteEnabled=True)
        return arm_web

    def policy(self, web: Web, **policy: Any) -> Any:
        body = {"location": LOCATION, "properties": {"softDeletePolicy": policy}}
        answer = web.arm.send("PUT", web.arm.path("galleries", web.gallery), json=body)
        if answer.status_code < 300:
            web.arm.finish(answer)
        return answer

    def kept(self, web: Web, version: str = "") -> str:
        path = ("softDeletedArtifactTypes", "Images", "artifacts", "web", "versions", version)
        return web.arm.path("galleries", web.gallery, *path).rstrip("/")

    def delete(self, web: Web, version: str = "1.0.0", **query: str) -> None:
        web.arm.finish(web.arm.send("DELETE", web.path(version), **query))

    def test_kept_and_restored(self, soft: Web, arm_image: str) -> None:
        made = soft.made("1.0.0", version_body(arm_image, LOCATION, "northeurope"))
        self.delete(soft)
        assert soft.arm.send("GET", soft.path("1.0.0")).status_code == 404
        (listed,) = soft.arm.send("GET", self.kept(soft)).json()["value"]
        assert listed["properties"]["resourceArmId"] == made["id"]
        assert listed["properties"]["softDeletedArtifactType"] == "Images"
        refused = soft.put("1.0.0", version_body(arm_image))
        assert error(refused)[:2] == (409, "Conflict")
        restored = soft.put("1.0.0", {"location": LOCATION})
        assert (restored.status_code, restored.json()["properties"]["provisioningState"]) == (200, "Updating")
        soft.arm.finish(restored)
        assert soft.get("1.0.0") == made
        assert soft.arm.send("GET", self.kept(soft)).json()["value"] == []
        self.delete(soft)
        (listed,) = soft.arm.send("GET", self.kept(soft), api_version="2024-03-03").json()["value"]
        assert list(listed["properties"]) == ["resourceArmId", "softDeletedArtifactType", "softDeletedTime"]

    def test_restored_by_the_sdk(self, soft: Web, arm_image: str) -> None:
        compute = soft.arm.compute
        soft.made("1.0.0", version_body(arm_image))
        compute.gallery_image_versions.begin_delete(GROUP, soft.gallery, "web", "1.0.0").result()
        (kept,) = compute.soft_deleted_resource.list_by_artifact_name(GROUP, soft.gallery, "Images", "web")
        properties = kept.properties
        assert properties.consumption_end_time == properties.hard_deletion_target_time
        body = {"location": LOCATION, "properties": {"restore": True, "storageProfile": {}}}
        found = compute.gallery_image_versions.begin_create_or_update(
            GROUP, soft.gallery, "web", "1.0.0", body
        ).result()
        assert found.provisioning_state == "Succeeded"

    def test_parents_stay(self, soft: Web, arm_image: str) -> None:
        soft.made("1.0.0", version_body(arm_image))
        self.delete(soft)
        definition = soft.arm.path("galleries", soft.gallery, "images", "web")
        assert error(soft.arm.send("DELETE", definition))[:2] == (409, "CannotDeleteResource")
        deleted = soft.arm.send("DELETE", self.kept(soft, "1.0.0"))
        assert (deleted.status_code, soft.arm.finish(deleted)["status"]) == (202, "Succeeded")
        assert soft.arm.send("DELETE", definition).status_code == 202

    def test_switched_off(self, soft: Web, arm_image: str) -> None:
        soft.made("1.0.0", version_body(arm_image))
        self.delete(soft)
        self.policy(soft, isSoftDeleteEnabled=False)
        assert soft.arm.send("GET", self.kept(soft)).json()["value"] == []
        assert soft.put("1.0.0", version_body(arm_image)).status_code == 201

    def test_bypassed(self, soft: Web, arm_image: str) -> None:
        soft.made("1.0.0", version_body(arm_image))
        self.delete(soft, bypassSoftDelete="true")
        assert soft.arm.send("GET", self.kept(soft)).json()["value"] == []

    def test_an_older_api_version_knows_no_bypass(self, soft: Web, arm_image: str) -> None:
        soft.made("1.0.0", version_body(arm_image))
        old = soft.arm.send("DELETE", soft.path("1.0.0"), api_version="2025-12-03", bypassSoftDelete="true")
        soft.arm.finish(old)
        assert [kept["name"] for kept in soft.arm.send("GET", self.kept(soft)).json()["value"]] == ["1.0.0"]

    def test_a_failed_version_is_not_kept(self, soft: Web, arm_storage: Storage) -> None:
        body = version_body()
        uri = arm_storage.put_page_blob("soft.vhd", 1024**2, b"\0" * 512)
        source = {"uri": uri, "storageAccountId": arm_storage.account_id}
        body["properties"]["storageProfile"] = {"osDiskImage": {"source": source}}
        soft.made("1.0.0", body)
        assert error(soft.arm.send("DELETE", soft.path("1.0.0")))[:2] == (409, "OperationNotAllowed")
        self.delete(soft, bypassSoftDelete="true")

    def test_retention_ends(self) -> None:
        now = datetime(2026, 1, 1, tzinfo=UTC)
        policy = {"isSoftDeleteEnabled": True, "retentionPeriodInDays": 2, "gracePeriodInDays": 1}
        gallery = Resource(id="/g", name="g", type="t", location="l", properties={"softDeletePolicy": policy})
        version = Resource(id="/g/images/web/versions/1.0.0", name="1.0.0", type="t", location="l")
        kept = soft_delete.buried(version, gallery, now, Clock(24 * 60 * 60))
        assert kept.properties["consumptionEndTime"] == "2026-01-01T00:00:02+00:00"
        assert kept.properties["hardDeletionTargetTime"] == "2026-01-01T00:00:03+00:00"
        assert settled(kept, datetime(2026, 1, 1, 0, 0, 2, tzinfo=UTC)) is not None
        assert settled(kept, datetime(2026, 1, 1, 0, 0, 3, tzinfo=UTC)) is None

    def test_bad_periods(self, arm_web: Web) -> None:
        answer = self.policy(arm_web, isSoftDeleteEnabled=True, retentionPeriodInDays=0)
        assert "retentionPeriodInDays is out of range" in error(answer)[2]


class TestSharing:
    def gallery(self, arm: Arm, **sharing: Any) -> str:
        path = arm.path("galleries", f"galShare{next(_numbers)}")
        properties = {"sharingProfile": sharing} if sharing else {}
        arm.finish(arm.send("PUT", path, json={"location": LOCATION, "properties": properties}))
        return path

    def share(self, arm: Arm, path: str, operation: str, *ids: str, kind: str = "subscriptions") -> Any:
        body = {"operationType": operation, "groups": [{"type": kind, "ids": list(ids)}] if ids else []}
        return arm.send("POST", f"{path}/share", json=body)

    def profile(self, arm: Arm, path: str, **query: str) -> Any:
        return arm.send("GET", path, **query).json()["properties"].get("sharingProfile")

    def test_groups(self, arm: Arm) -> None:
        path = self.gallery(arm, permissions="Groups")
        answer = self.share(arm, path, "Add", "s1", "s2")
        assert (answer.status_code, answer.content) == (202, b"")
        assert "PostShareGallery3Min;" in answer.headers["x-ms-ratelimit-remaining-resource"]
        arm.finish(answer)
        assert arm.http.get(answer.headers["Location"]).status_code == 200
        arm.finish(self.share(arm, path, "Add", "t1", kind="AADTenants"))
        arm.finish(self.share(arm, path, "Remove", "s1"))
        expanded = self.profile(arm, path, **{"$expand": "sharingProfile/Groups"})
        assert expanded == {
            "permissions": "Groups",
            "groups": [{"type": "Subscriptions", "ids": ["s2"]}, {"type": "AADTenants", "ids": ["t1"]}],
        }
        assert self.profile(arm, path) == {"permissions": "Groups"}
        arm.finish(self.share(arm, path, "Reset"))
        assert self.profile(arm, path) is None
        assert self.profile(arm, path, **{"$select": "Permissions"}) == {"permissions": "Private"}

    def test_limits(self, arm: Arm) -> None:
        path = self.gallery(arm, permissions="Groups")
        too_many = self.share(arm, path, "Add", *(f"s{n}" for n in range(31)))
        assert "exceeds the limit of 30" in error(too_many)[2]
        private = self.gallery(arm)
        assert error(self.share(arm, private, "Add", "s1"))[:2] == (409, "OperationNotAllowed")
        assert error(self.share(arm, private, "Give"))[:2] == (400, "BadRequest")
        body = {"properties": {"sharingProfile": {"permissions": "Groups"}}}
        assert error(arm.send("PATCH", private, json=body))[1] == "PropertyChangeNotAllowed"

    def test_community(self, arm: Arm) -> None:
        info = {"publisherUri": "u", "publisherContact": "c", "eula": "e", "publicNamePrefix": "pub"}
        path = self.gallery(arm, permissions="Community", communityGalleryInfo=info)
        arm.finish(self.share(arm, path, "EnableCommunity"))
        assert self.profile(arm, path)["communityGalleryInfo"]["communityGalleryEnabled"] is True
        assert self.profile(arm, path, **{"$select": "Permissions"}) == {"permissions": "Community"}


class TestGuards:
    def test_replicated_regions_are_kept(self, arm_web: Web, arm_image: str) -> None:
        arm_web.made("1.0.0", version_body(arm_image, LOCATION, "northeurope"))
        dropped = version_body(None, LOCATION)
        refused = arm_web.put("1.0.0", dropped)
        assert error(refused)[:2] == (409, "OperationNotAllowed")
        assert "from replicated regions 'North Europe' is not allowed" in error(refused)[2]
        older = arm_web.arm.send("PUT", arm_web.path("1.0.0"), json=dropped, api_version="2021-10-01")
        assert older.status_code == 200
        arm_web.arm.finish(older)
        dropped["properties"]["safetyProfile"] = {"allowDeletionOfReplicatedLocations": True}
        assert arm_web.put("1.0.0", dropped).status_code == 200

    def test_end_of_life_frees(self, arm_web: Web, arm_image: str) -> None:
        soon = datetime.fromtimestamp(time.time() + 0.5, UTC).isoformat()
        body = version_body(arm_image, endOfLifeDate=soon)
        body["properties"]["safetyProfile"] = {"blockDeletionBeforeEndOfLife": True}
        made = arm_web.made("1.0.0", body)["properties"]
        assert made["safetyProfile"]["blockDeletionBeforeEndOfLife"] is True
        refused = arm_web.arm.send("DELETE", arm_web.path("1.0.0"))
        assert error(refused)[1] == "DeleteGalleryImageVersionBlockedBeforeEndOfLife"
        while (answer := arm_web.arm.send("DELETE", arm_web.path("1.0.0"))).status_code == 409:
            time.sleep(0.05)
        assert answer.status_code == 202

    def test_storage_strategy(self, arm_web: Web, arm_image: str) -> None:
        regions = (LOCATION, "westus", {"name": "eastus", "storageAccountType": "Premium_LRS"})
        made = arm_web.made("1.0.0", version_body(arm_image, *regions))["properties"]["publishingProfile"]
        assert made["storageAccountStrategy"] == "PreferStandard_ZRS"
        assert "storageAccountType" not in made
        types = [region["storageAccountType"] for region in made["targetRegions"]]
        assert types == ["Standard_ZRS", "Standard_LRS", "Premium_LRS"]
        old = arm_web.arm.send("GET", arm_web.path("1.0.0"), api_version="2023-07-03").json()["properties"]
        assert old["publishingProfile"]["storageAccountType"] == "Standard_LRS"
        plain = version_body(arm_image, LOCATION, storageAccountStrategy="DefaultStandard_LRS")
        made = arm_web.made("1.0.1", plain)["properties"]["publishingProfile"]
        assert made["targetRegions"][0]["storageAccountType"] == "Standard_LRS"
        both = version_body(arm_image, storageAccountStrategy="DefaultStandard_LRS", storageAccountType="Standard_LRS")
        assert "cannot be specified along with" in error(arm_web.put("1.0.2", both))[2]
        changed = version_body(None, storageAccountStrategy="PreferStandard_ZRS")
        assert error(arm_web.put("1.0.1", changed))[1] == "PropertyChangeNotAllowed"
        retyped = version_body(None, {"name": LOCATION, "storageAccountType": "Premium_LRS"})
        assert error(arm_web.put("1.0.1", retyped))[1] == "PropertyChangeNotAllowed"

    def test_members_have_their_time(self, arm_web: Web, arm_image: str) -> None:
        strategy = version_body(arm_image, storageAccountStrategy="DefaultStandard_LRS")
        blocking = version_body(arm_image)
        blocking["properties"]["safetyProfile"] = {"blockDeletionBeforeEndOfLife": False}
        for body, before, since in ((strategy, "2024-03-03", "2025-03-03"), (blocking, "2023-07-03", "2024-03-03")):
            path = arm_web.path(f"1.0.{since[:4]}")
            refused = arm_web.arm.send("PUT", path, json=body, api_version=before)
            assert "Could not find member" in error(refused)[2]
            assert arm_web.arm.send("PUT", path, json=body, api_version=since).status_code == 201
        shown = {
            version: arm_web.arm.send("GET", path, api_version=version).json()["properties"]["safetyProfile"]
            for version in ("2023-07-03", "2024-03-03")
        }
        assert "blockDeletionBeforeEndOfLife" not in shown["2023-07-03"]
        assert shown["2024-03-03"]["blockDeletionBeforeEndOfLife"] is False

    def test_zones(self, arm_web: Web, arm_image: str) -> None:
        body = version_body(arm_image, LOCATION, "westus", storageAccountType="Standard_ZRS")
        expected = "ZRS storage account type is not supported in this region."
        assert error(arm_web.put("1.0.0", body)) == (400, "InvalidParameter", expected)

    def test_encryption_everywhere_or_nowhere(self, arm_web: Web, arm_image: str) -> None:
        encryption = {"osDiskImage": {"diskEncryptionSetId": "des"}}
        region = {"name": LOCATION, "encryption": encryption}
        made = arm_web.made("1.0.0", version_body(arm_image, region))["properties"]["publishingProfile"]
        assert made["targetRegions"][0]["encryption"]["osDiskImage"]["securityProfile"] == {}
        bare = arm_web.put("1.0.1", version_body(arm_image, region, "northeurope"))
        assert "A disk encryption set is required for disk" in error(bare)[2]
        twice = {"dataDiskImages": [{"lun": 0, "diskEncryptionSetId": "des"}] * 2}
        answer = arm_web.put("1.0.1", version_body(arm_image, {"name": LOCATION, "encryption": twice}))
        assert "Duplicate luns '0' were specified" in error(answer)[2]

    def test_edge_zones_and_more_replicas(self, arm_web: Web, arm_image: str) -> None:
        more = [{"storageAccountType": "Premium_LRS", "regionalReplicaCount": 2}]
        zone = {"name": "westus", "extendedLocation": {"name": "microsoftlosangeles1", "type": "EdgeZone"}}
        body = version_body(
            arm_image, {"name": LOCATION, "additionalReplicaSets": more}, targetExtendedLocations=[zone]
        )
        made = arm_web.made("1.0.0", body)["properties"]["publishingProfile"]
        assert made["targetRegions"][0]["additionalReplicaSets"] == more
        assert made["targetExtendedLocations"] == [
            zone | {"name": "West US", "extendedLocationReplicaCount": 1, "storageAccountType": "StandardSSD_LRS"}
        ]
        assert (
            "targetExtendedLocations"
            not in arm_web.made("1.0.0", version_body(None))["properties"]["publishingProfile"]
        )

    def test_uefi_settings(self, arm_web: Web, arm_image: str) -> None:
        body = version_body(arm_image)
        security = {"uefiSettings": {"signatureTemplateNames": ["MicrosoftUefiCertificateAuthorityTemplate"]}}
        body["properties"]["securityProfile"] = security
        answer = arm_web.put("1.0.0", body)
        assert answer.json()["properties"]["securityProfile"] == security
        arm_web.arm.finish(answer)
        assert "securityProfile" not in arm_web.get("1.0.0")["properties"]
        expanded = arm_web.arm.send("GET", arm_web.path("1.0.0"), **{"$expand": "UefiSettings"}).json()["properties"]
        assert expanded["securityProfile"] == security
        body["properties"]["securityProfile"] = {"uefi": {}}
        assert error(arm_web.put("1.0.1", body))[:2] == (400, "BadRequest")

    def test_validations(self, arm_web: Web, arm_image: str) -> None:
        answer = arm_web.put("1.0.0", version_body(arm_image))
        assert "validationsProfile" not in answer.json()["properties"]
        arm_web.arm.finish(answer)
        found = arm_web.arm.send("GET", arm_web.path("1.0.0")).json()["properties"]
        assert found["validationsProfile"] == {"validationOperationStatus": "NotExecuted"}
        assert list(found)[-2:] == ["validationsProfile", "provisioningState"]
        old = arm_web.arm.send("GET", arm_web.path("1.0.0"), api_version="2023-07-03").json()["properties"]
        assert "validationsProfile" not in old
