"""Storage account, staging and production are each in a subscription of its own; managed images are made, found and
taken away where Azure makes them."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from pipeline import amendments, engine, retention
from pipeline.catalog import CatalogError
from pipeline.context import Context, context
from pipeline.intake import take_request
from pipeline.requests import InvalidRequest, parse_request
from pipeline.resource_ids import ResourceGroup
from pipeline.runs import Run, Stage
from pipeline.stages.marks import RUN_TAG
from sandbox.up import MANAGED_IMAGE_GROUP, VHD_ACCOUNT
from tests.azure import Azure, eventually
from tests.conftest import start
from tests.scenarios.lifecycle import ANN, GALLERIES, HOUR, PASSED, PRODUCTION, STAGING, Life, in_latest, write_catalog
from tests.steps import PUBLISHER, finish

HOME = "/subscriptions/00000000-0000-4000-8000-000000000001/resourceGroups/rg-gallery"
"""A gallery's own group, in the subscription of the storage account."""
OTHER = "/subscriptions/00000000-0000-4000-8000-000000000001/resourceGroups/rg-other"
KINDS: dict[str, tuple[dict[str, Any], dict[str, Any] | None]] = {
    "web": ({"keep": {"newest": 1}}, {"require": PASSED}),
    "home": ({"gallery": "home"}, None),
    "taken": ({"sources": [f"{PRODUCTION}/**"]}, None),
}
_names = itertools.count()


@pytest.fixture(scope="module")
def azure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Azure]:
    folder = tmp_path_factory.mktemp("subscriptions")
    path = write_catalog(folder / "rules.yaml", KINDS, 12)
    catalog = yaml.safe_load(path.read_text())
    home = f"{HOME}/providers/Microsoft.Compute/galleries/galHome"
    catalog["galleries"]["home"] = {"id": home, "location": "westeurope"}
    path.write_text(yaml.safe_dump(catalog))
    sandbox = start(folder, catalog=path, galleries=[*GALLERIES, "home"], time_scale=20_000, host=False, events="none")
    azure = Azure(sandbox)
    azure.arm.put(OTHER, params={"api-version": "2021-04-01"}, json={"location": "westeurope"}).raise_for_status()
    yield azure
    sandbox.stop()


def under(life: Life, **settings: str | None) -> Life:
    """The same, under other app settings."""
    changed = life.ctx.settings.model_copy(update=settings)
    return Life(life.azure, dataclasses.replace(life.ctx, settings=changed), life.folder)


def managed_images(azure: Azure, group: str, image: str) -> list[str]:
    """The names of the managed images in a group that runs of `image` have made."""
    answer = azure.arm.get(f"{group}/providers/Microsoft.Compute/images", params={"api-version": "2024-07-01"})
    found = answer.raise_for_status().json()["value"]
    return [one["name"] for one in found if one.get("tags", {}).get("gallerist-image") == image]


def leave(azure: Azure, group: str, run: Run) -> None:
    """A managed image that a run has left in a group."""
    disk = {"osType": "Linux", "osState": "Generalized", "blobUri": run.source}
    tags = {RUN_TAG: run.id, "gallerist-image": run.image}
    body = {"location": "westeurope", "tags": tags, "properties": {"storageProfile": {"osDisk": disk}}}
    url = f"{group}/providers/Microsoft.Compute/images/gallerist-{run.id}"
    azure.arm.put(url, params={"api-version": "2024-07-01"}, json=body).raise_for_status()
    azure.advance(HOUR)


def as_before(ctx: Context, run: Run) -> Run:
    """The run's record as a release wrote it that knew no other place than the gallery's group."""
    loaded = ctx.runs.load(run.id)
    assert loaded
    old, etag = loaded
    old.managed_image_group = None
    ctx.runs.save(old, etag, was=old.stage)
    return old


def test_a_version_lives_its_life_across_subscriptions(life: Life) -> None:
    image = life.image("web")
    run = life.build(image)
    version = life.azure.version(image, "1.0.0")
    assert version["id"].startswith(GALLERIES["staging"])
    made_of = version["properties"]["storageProfile"]["source"]["id"]
    assert made_of.startswith(f"{MANAGED_IMAGE_GROUP}/providers/Microsoft.Compute/images/")
    assert made_of.endswith(f"/gallerist-{run.id}")
    assert life.azure.managed_images(image) == []

    life.verdict(image, "1.0.0")
    assert life.promoted(image).stage is Stage.PUBLISHED
    promoted = life.there(image)["1.0.0"]
    assert promoted["id"].startswith(GALLERIES["production"])
    assert promoted["properties"]["storageProfile"]["source"]["id"] == version["id"]

    life.amended(*amendments.withdraw(life.ctx, image, "1.0.0", why="CVE-2026-1", caller=ANN, promoted=True))
    assert not in_latest(life.azure.version(image, "1.0.0"))
    assert not in_latest(life.there(image)["1.0.0"])

    for _ in range(3):
        life.build(image)
    life.verdict(image, "1.0.3")
    assert life.promoted(image).version == "1.0.3"
    for planned in retention.look_all(life.ctx, [image, f"{image}-production"]):
        assert planned.fault is None
        assert planned.orphans == []
        retention.retire(life.ctx, planned)
    life.azure.advance(HOUR)
    assert life.azure.versions(image) == ["1.0.3"]
    assert list(life.there(image)) == ["1.0.3"]
    assert (
        life.azure.managed_images(image)
        == managed_images(life.azure, GALLERIES["staging"].split("/prov")[0], image)
        == []
    )


def test_a_run_that_fails_takes_its_managed_image_away(life: Life) -> None:
    image = life.image("web")
    life.azure.fault(method="PUT", path=f".*/{image}/versions/.*", status=400, times=1)
    run = life.stepped(life.dropped(image), until=Stage.IMAGING)
    assert life.azure.managed_images(image) == [f"gallerist-{run.id}"]
    assert finish(life.ctx, run.id).stage is Stage.FAILED
    assert life.azure.managed_images(image) == life.azure.versions(image) == []


def test_azure_says_why_it_makes_no_managed_image(life: Life) -> None:
    """It says so at the operation, which is in the subscription of the managed image, not of the gallery."""
    image = life.image("web")
    life.azure.fault(method="GET", path=f".*/galleries/galStaging/images/{image}", status=503)
    run = life.stepped(life.dropped(image), until=Stage.IMAGING)
    life.azure.blobs.get_blob_client(run.container, run.blob).resize_blob(1024**2)  # behind the run's back
    life.azure.clear()
    run = finish(life.ctx, run.id)
    assert run.stage is Stage.FAILED
    assert "Azure could not make a managed image of the VHD: InvalidParameter: " in str(run.reason)
    assert life.azure.managed_images(image) == []


def test_what_could_not_be_taken_away_is_found_under_another_setting(life: Life) -> None:
    image = life.image("web")
    life.azure.fault(method="PUT", path=f".*/{image}/versions/.*", status=400)
    life.azure.fault(method="DELETE", path=f".*/images/gallerist-{image}.*", status=403)
    run = finish(life.ctx, life.dropped(image).id)
    assert f"left behind, if still there: managed image gallerist-{run.id}" in str(run.reason)
    life.azure.clear()

    moved = under(life, managed_image_group_id=OTHER)
    planned = retention.look(moved.ctx, image)
    assert [(one.kind, one.run, str(one.group)) for one in planned.orphans] == [
        ("managed image", run.id, MANAGED_IMAGE_GROUP)
    ]
    retention.retire(moved.ctx, planned)
    eventually(lambda: life.azure.managed_images(image) == [])
    assert moved.build(image).version == "1.0.1"


def test_a_run_under_way_keeps_its_place_when_the_setting_comes(life: Life) -> None:
    before = under(life, managed_image_group_id=None)
    image = life.image("home")
    run = as_before(before.ctx, before.stepped(before.dropped(image), until=Stage.IMAGING))
    assert managed_images(life.azure, HOME, image) == [f"gallerist-{run.id}"]
    run = finish(life.ctx, run.id)
    assert run.stage is Stage.PUBLISHED, run.reason
    made_of = life.azure.version(image, "1.0.0")["properties"]["storageProfile"]["source"]["id"]
    assert made_of.startswith(f"{HOME}/")
    assert managed_images(life.azure, HOME, image) == life.azure.managed_images(image) == []


def test_a_run_under_way_undoes_what_it_made_when_the_setting_comes(life: Life) -> None:
    before = under(life, managed_image_group_id=None)
    image = life.image("home")
    life.slow(f"{image}/")
    run = as_before(before.ctx, before.stepped(before.dropped(image), until=Stage.REPLICATING))
    life.azure.clear()
    engine.cancel(life.ctx, run.id, "ann")
    assert finish(life.ctx, run.id).stage is Stage.CANCELLED
    assert managed_images(life.azure, HOME, image) == life.azure.versions(image) == []

    life.stepped(engine.retry(life.ctx, run.id), until=Stage.IMAGING)
    assert life.azure.managed_images(image) == [f"gallerist-{run.id}"]
    assert finish(life.ctx, run.id).stage is Stage.PUBLISHED
    assert life.azure.managed_images(image) == managed_images(life.azure, HOME, image) == []


def test_what_was_left_beside_the_gallery_is_found(life: Life) -> None:
    image = life.image("home")
    run = life.build(image)
    leave(life.azure, HOME, run)
    planned = retention.look(life.ctx, image)
    assert [(one.kind, str(one.group)) for one in planned.orphans] == [("managed image", HOME)]
    retention.retire(life.ctx, planned)
    eventually(lambda: managed_images(life.azure, HOME, image) == [])


def test_a_group_that_the_identity_may_not_see_any_more_keeps_retention_from_nothing(life: Life) -> None:
    image = life.image("home")
    run = life.build(image)
    leave(life.azure, MANAGED_IMAGE_GROUP, run)
    denial = {"path": f"{HOME}/providers/Microsoft.Compute/images", "actions": "Microsoft.Compute/images/read"}
    life.azure.arm.post("/sandbox/denials", json=denial).raise_for_status()
    try:
        assert [str(one.group) for one in retention.look(life.ctx, image).orphans] == [MANAGED_IMAGE_GROUP]
        (looked,) = retention.look_all(under(life, managed_image_group_id=None).ctx, [image])
        assert "AuthorizationFailed" in str(looked.fault)  # where they are made it must not be blind
    finally:
        life.azure.arm.delete("/sandbox/denials")


def test_without_a_group_a_gallery_elsewhere_takes_no_vhd(life: Life) -> None:
    before = under(life, managed_image_group_id=None, vhd_storage_account_id=VHD_ACCOUNT)
    image = life.image("web")
    run = finish(before.ctx, before.dropped(image).id)
    assert run.stage is Stage.FAILED
    assert f"the gallery of {image} is in another subscription than the storage account" in str(run.reason)
    assert "Set MANAGED_IMAGE_GROUP_ID" in str(run.reason)
    asked = parse_request({"image": image, "source": {"blob": life.azure.blob(image, "asked.vhd").url}})
    with pytest.raises(InvalidRequest) as refused:
        take_request(before.ctx, asked, PUBLISHER)
    assert [field for field, _ in refused.value.faults] == ["source.blob"]
    assert "Set MANAGED_IMAGE_GROUP_ID" in str(refused.value)
    assert finish(life.ctx, engine.retry(life.ctx, run.id).id).stage is Stage.PUBLISHED


def test_without_a_group_the_app_does_not_start_with_such_a_catalog(
    life: Life, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MANAGED_IMAGE_GROUP_ID")
    context.cache_clear()
    try:
        with pytest.raises(CatalogError) as refused:
            context()
        at_fault = [image for image, entry in life.ctx.catalog.images.items() if entry.drop and entry.gallery != "home"]
        assert len(refused.value.faults) == len(at_fault)
        assert "images.web-000.gallery is in another subscription" in str(refused.value)
        assert "images.home-000" not in str(refused.value)
        monkeypatch.setenv("MANAGED_IMAGE_GROUP_ID", MANAGED_IMAGE_GROUP)
        assert context().managed_image_group(life.image("web")) == ResourceGroup.parse(MANAGED_IMAGE_GROUP)
    finally:
        context.cache_clear()


def put(azure: Azure, path: str, properties: dict[str, Any], version: str = "2024-03-02") -> str:
    """A resource in production's subscription, once it is made."""
    url = f"{PRODUCTION}/resourceGroups/rg-prod/providers/Microsoft.Compute/{path}{next(_names)}"
    body = {"location": "westeurope", "properties": properties}
    azure.arm.put(url, params={"api-version": version}, json=body).raise_for_status()
    azure.advance(HOUR)
    return url


def disk(azure: Azure, **properties: Any) -> str:
    made = {"creationData": {"createOption": "Empty"}, "diskSizeGB": 10, "osType": "Linux", "hyperVGeneration": "V2"}
    return put(azure, "disks/d", made | properties)


def asked(life: Life, image: str, source: dict[str, str]) -> Run:
    return finish(life.ctx, take_request(life.ctx, parse_request({"image": image, "source": source}), PUBLISHER).run.id)


def test_an_encrypted_source_of_another_subscription_is_refused_before_azure_does(life: Life) -> None:
    image = life.image("taken")
    keys = f"{PRODUCTION}/resourceGroups/rg-prod/providers/Microsoft.Compute/diskEncryptionSets/des"
    encrypted = disk(life.azure, encryption={"type": "EncryptionAtRestWithCustomerKey", "diskEncryptionSetId": keys})
    run = asked(life, image, {"disk": encrypted})
    assert run.stage is Stage.FAILED
    assert "encrypted by a disk encryption set in subscription 00000000-0000-4000-8000-00000000000b" in str(run.reason)
    assert "in a gallery of that subscription" in str(run.reason)
    assert life.azure.versions(image) == []


def test_sources_of_another_subscription_become_versions(life: Life) -> None:
    image = life.image("taken")
    plain = disk(life.azure)
    assert asked(life, image, {"disk": plain}).stage is Stage.PUBLISHED
    attached = {"osType": "Linux", "createOption": "Attach", "managedDisk": {"id": disk(life.azure)}}
    machine = put(life.azure, "virtualMachines/vm", {"storageProfile": {"osDisk": attached}}, "2024-07-01")
    for action in ("deallocate", "generalize"):
        life.azure.arm.post(f"{machine}/{action}", params={"api-version": "2024-07-01"}).raise_for_status()
    run = asked(life, image, {"vm": machine})
    assert run.stage is Stage.PUBLISHED, run.reason
    assert STAGING in str(run.definition)
