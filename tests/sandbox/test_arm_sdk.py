"""The whole way of an image, walked by the real SDK."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from arm_server import GROUP, LOCATION, MIB, SUBSCRIPTION, Arm, Storage, Web, image_body, running_arm, version_body
from azure.core.credentials import AccessToken
from azure.core.exceptions import HttpResponseError, ResourceExistsError, ResourceNotFoundError
from azure.mgmt.compute.models import GalleryImageVersionUpdate

from sandbox import tls
from sandbox.identity import Identity

pytest_plugins = ["arm_fixtures"]


def test_from_vhd_to_version(arm: Arm, arm_vhd: str) -> None:
    compute = arm.compute
    gallery = compute.galleries.begin_create_or_update(
        GROUP, "galSdk", {"location": "West Europe", "properties": {"description": "all of it"}, "tags": {}}
    ).result()
    assert (gallery.location, gallery.provisioning_state) == (LOCATION, "Succeeded")
    assert gallery.identifier.unique_name == f"{SUBSCRIPTION}-GALSDK"
    arm.put_definition("galSdk", "web")
    definition = compute.gallery_images.get(GROUP, "galSdk", "web")
    assert definition.provisioning_state == "Succeeded"
    image = compute.images.begin_create_or_update(GROUP, "imgSdk", image_body(arm_vhd)).result()
    assert image.storage_profile.os_disk.disk_size_gb == 1

    versions = compute.gallery_image_versions
    body = version_body(image.id, LOCATION, {"name": "North Europe", "regionalReplicaCount": 3})
    version = versions.begin_create_or_update(GROUP, "galSdk", "web", "1.0.0", body).result()
    assert version.provisioning_state == "Succeeded"
    assert version.storage_profile.os_disk_image.size_in_gb == 1
    assert [(r.name, r.regional_replica_count) for r in version.publishing_profile.target_regions] == [
        ("West Europe", 1),
        ("North Europe", 3),
    ]
    assert version.replication_status is None
    status = versions.get(GROUP, "galSdk", "web", "1.0.0", expand="ReplicationStatus").replication_status
    assert status.aggregated_state == "Completed"
    assert [(r.region, r.state, r.progress) for r in status.summary] == [
        ("westeurope", "Completed", 100),
        ("northeurope", "Completed", 100),
    ]

    update = GalleryImageVersionUpdate({"properties": {"publishingProfile": {"excludeFromLatest": True}}})
    update.properties.storage_profile = {}
    patched = versions.begin_update(GROUP, "galSdk", "web", "1.0.0", update).result()
    assert patched.publishing_profile.exclude_from_latest is True
    assert patched.publishing_profile.published_date == version.publishing_profile.published_date

    assert [one.name for one in versions.list_by_gallery_image(GROUP, "galSdk", "web")] == ["1.0.0"]
    assert [one.name for one in compute.gallery_images.list_by_gallery(GROUP, "galSdk")] == ["web"]
    assert "galSdk" in [one.name for one in compute.galleries.list_by_resource_group(GROUP)]
    assert "imgSdk" in [one.name for one in compute.images.list()]

    compute.images.begin_delete(GROUP, "imgSdk").result()
    versions.begin_delete(GROUP, "galSdk", "web", "1.0.0").result()
    compute.gallery_images.begin_delete(GROUP, "galSdk", "web").result()
    compute.galleries.begin_delete(GROUP, "galSdk").result()
    with pytest.raises(ResourceNotFoundError) as missing:
        compute.galleries.get(GROUP, "galSdk")
    assert missing.value.error.code == "ResourceNotFound"


def test_aio_client(arm_web: Web, arm_image: str) -> None:
    class Credential:
        async def get_token(self, *scopes: str, **_: Any) -> AccessToken:
            token = arm_web.arm.identity.credential().get_token(*scopes)
            return AccessToken(token.token, token.expires_on)

        async def close(self) -> None:
            pass

    async def publish() -> Any:
        async with arm_web.arm.async_client(Credential()) as compute:
            poller = await compute.gallery_image_versions.begin_create_or_update(
                GROUP, arm_web.gallery, "web", "1.0.0", version_body(arm_image)
            )
            return (await poller.result()).provisioning_state

    assert asyncio.run(publish()) == "Succeeded"


def test_typed_errors(arm_web: Web, arm_image: str, arm: Arm, arm_vhd: str) -> None:
    versions = arm.compute.gallery_image_versions
    with pytest.raises(ResourceNotFoundError):
        versions.get(GROUP, arm_web.gallery, "web", "9.9.9")
    arm_web.made("1.0.0", version_body(arm_image))
    other = arm.put_image("imgOther", arm_vhd)
    with pytest.raises(ResourceExistsError) as changed:
        versions.begin_create_or_update(GROUP, arm_web.gallery, "web", "1.0.0", version_body(other))
    assert changed.value.error.code == "PropertyChangeNotAllowed"


def test_failed_operation_reaches_the_poller(arm: Arm, arm_storage: Storage) -> None:
    uri = arm_storage.put_page_blob("hollow.vhd", 20 * MIB, b"\0" * 512)
    with pytest.raises(HttpResponseError) as failed:
        arm.compute.images.begin_create_or_update(GROUP, "imgHollow", image_body(uri)).result()
    assert failed.value.error.code == "InvalidParameter"
    assert "Disk is expected to have cookie value 'conectix'." in failed.value.error.message
    assert arm.compute.images.get(GROUP, "imgHollow").provisioning_state == "Failed"


def test_state_outlives_a_restart(
    tmp_path: Path, arm_identity: Identity, arm_storage: Storage, arm_certificates: tls.Certificates, arm_vhd: str
) -> None:
    with running_arm(tmp_path, 100.0, arm_identity, arm_storage, arm_certificates) as arm:
        arm.put_gallery()
        arm.put_definition()
        image = arm.put_image("img", arm_vhd)
        web = Web(arm, "gal")
        answer = web.put("1.0.0", version_body(image))
        operation = answer.headers["Azure-AsyncOperation"].removeprefix(arm.url)
        assert arm.http.get(operation).json()["status"] == "InProgress"
    with running_arm(tmp_path, 100.0, arm_identity, arm_storage, arm_certificates) as arm:
        found = Web(arm, "gal").get("1.0.0")
        assert found["properties"]["provisioningState"] == "Creating"
        assert found["properties"]["publishingProfile"] == answer.json()["properties"]["publishingProfile"]
        answer.headers["Azure-AsyncOperation"] = operation
        assert arm.finish(answer)["status"] == "Succeeded"
        assert Web(arm, "gal").get("1.0.0")["properties"]["provisioningState"] == "Succeeded"
