"""What has had its time is taken away; what is held, locked, needed or not ours stays."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from structlog.testing import LogCapture

from pipeline import amendments, retention
from pipeline.resource_ids import ResourceGroup
from pipeline.runs import Stage
from pipeline.stages.marks import RUN_TAG, source_mark, source_tag
from tests.azure import Azure, eventually
from tests.conftest import start
from tests.scenarios.lifecycle import ANN, DAY, GALLERIES, HOUR, PASSED, Life, write_catalog
from tests.steps import finish

QUERIES = Path(__file__).parents[2] / "infra" / "queries"
ELSEWHERE = "/subscriptions/00000000-0000-4000-8000-000000000001/resourceGroups/rg-elsewhere"
KEEP = {"keep": {"newest": 2}}
KINDS: dict[str, tuple[dict[str, Any], dict[str, Any] | None]] = {
    "keep": (KEEP, None),
    "aged": ({"keep": {"newest": 1, "days": 30}}, None),
    "ruled": (KEEP, {"require": PASSED}),
    "spent": ({"source_vhd": {"then": "delete"}}, None),
    "saved": ({"source_vhd": {"then": "delete", "after": "7d"}}, None),
    "soft": ({"gallery": "soft", "keep": {"newest": 1}}, None),
    "plain": ({"source_vhd": {"then": "keep"}}, None),
}


@pytest.fixture(scope="module")
def azure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Azure]:
    folder = tmp_path_factory.mktemp("retention")
    catalog = write_catalog(folder / "rules.yaml", KINDS, 24)
    sandbox = start(folder, catalog=catalog, galleries=list(GALLERIES), time_scale=20_000, host=False, events="none")
    yield Azure(sandbox)
    sandbox.stop()


def night(life: Life, image: str) -> retention.Retention:
    """Retention's turn at an image, until Azure has let go."""
    planned = retention.look(life.ctx, image)
    retention.retire(life.ctx, planned)
    life.azure.advance(HOUR)
    return planned


def reasons(planned: retention.Retention) -> dict[str, str]:
    return {one.version.name: one.why for one in planned.decisions if not one.delete}


def tag(azure: Azure, image: str, version: str, **tags: str) -> None:
    found = azure.version(image, version)
    body = {"location": "westeurope", "tags": found["tags"] | tags}
    azure.arm.put(found["id"], params={"api-version": "2024-03-03"}, json=body).raise_for_status()
    azure.advance(HOUR)


def test_versions_beyond_the_rule_go(life: Life) -> None:
    image = life.image("keep")
    for _ in range(4):
        life.build(image)
    planned = retention.look(life.ctx, image)
    assert [version.name for version in planned.doomed] == ["1.0.1", "1.0.0"]
    assert life.azure.versions(image) == ["1.0.0", "1.0.1", "1.0.2", "1.0.3"]  # looking changes nothing
    night(life, image)
    assert life.azure.versions(image) == ["1.0.2", "1.0.3"]
    assert night(life, image).doomed == []
    assert life.build(image).version == "1.0.4"  # a number that is free again is not given again


def test_age_counts_by_azures_clock(life: Life) -> None:
    image = life.image("aged")
    for _ in range(2):
        life.build(image)
    assert reasons(night(life, image))["1.0.0"] == "it is younger than 30 days"
    life.azure.advance(31 * DAY)
    night(life, image)
    assert life.azure.versions(image) == ["1.0.1"]


def test_what_is_tagged_to_be_kept_stays(life: Life) -> None:
    image = life.image("keep")
    for _ in range(4):
        life.build(image)
    tag(life.azure, image, "1.0.0", keep="true")
    assert reasons(night(life, image))["1.0.0"] == "it bears the tag keep=true"
    assert life.azure.versions(image) == ["1.0.0", "1.0.2", "1.0.3"]


def test_what_may_still_be_promoted_stays(life: Life) -> None:
    image = life.image("ruled")
    for _ in range(4):
        life.build(image)
    life.verdict(image, "1.0.1", "failed")
    assert reasons(night(life, image))["1.0.0"] == f"the promotion rule {image}-to-production may still take it"
    assert life.azure.versions(image) == ["1.0.0", "1.0.2", "1.0.3"]
    life.verdict(image, "1.0.3")
    assert life.promoted(image).version == "1.0.3"
    night(life, image)
    assert life.azure.versions(image) == ["1.0.2", "1.0.3"]


def test_the_source_of_a_promotion_under_way_stays(life: Life) -> None:
    image = life.image("ruled")
    life.build(image)
    life.verdict(image, "1.0.0")
    life.slow(f"{image}/")
    run = life.stepped(life.promote(image).run, until=Stage.REPLICATING)
    life.azure.clear()
    for _ in range(2):
        life.build(image)
    assert reasons(night(life, image))["1.0.0"] == f"the run {run.id} is at work with it"
    life.azure.advance(HOUR)
    assert finish(life.ctx, run.id).stage is Stage.PUBLISHED


def test_the_good_one_below_withdrawn_ones_stays(life: Life) -> None:
    image = life.image("keep")
    for _ in range(4):
        life.build(image)
    for version in ("1.0.1", "1.0.2", "1.0.3"):
        life.amended(*amendments.withdraw(life.ctx, image, version, why="bad", caller=ANN, promoted=False))
    assert night(life, image).doomed == []  # bad ones push no good one out
    assert life.azure.versions(image) == ["1.0.0", "1.0.1", "1.0.2", "1.0.3"]


def test_what_a_rollback_under_way_falls_back_on_stays(life: Life) -> None:
    image = life.image("keep")
    for _ in range(3):
        life.build(image)
    (run,) = amendments.withdraw(life.ctx, image, "1.0.2", why="bad", caller=ANN, promoted=False)
    assert reasons(night(life, image))["1.0.0"] == "it is among the newest 2"
    life.amended(run)
    assert life.azure.versions(image) == ["1.0.0", "1.0.1", "1.0.2"]


@pytest.mark.parametrize("scope", ["version", "definition", "group"])
def test_what_is_locked_stays(life: Life, scope: str) -> None:
    image = life.image("keep")
    for _ in range(3):
        life.build(image)
    definition = life.azure.definition(image)
    at = {
        "version": f"{definition}/versions/1.0.0",
        "definition": definition,
        "group": definition.partition("/providers/")[0],
    }[scope]
    lock = f"{at}/providers/Microsoft.Authorization/locks/hands-off"
    query = {"api-version": "2020-05-01"}
    life.azure.arm.put(lock, params=query, json={"properties": {"level": "CanNotDelete"}}).raise_for_status()
    try:
        assert reasons(night(life, image))["1.0.0"] == "a lock is on it, or above it"
        assert "1.0.0" in life.azure.versions(image)
    finally:
        life.azure.arm.delete(lock, params=query).raise_for_status()
    night(life, image)
    assert life.azure.versions(image) == ["1.0.1", "1.0.2"]


def test_a_soft_deleted_number_is_not_given_again(life: Life) -> None:
    image, api = life.image("soft"), {"api-version": "2024-03-03"}
    gallery = life.azure.definition(image).partition("/images/")[0]
    policy = {"location": "westeurope", "properties": {"softDeletePolicy": {"isSoftDeleteEnabled": True}}}
    life.azure.arm.put(gallery, params=api, json=policy).raise_for_status()
    for _ in range(3):
        life.build(image)
    retention.retire(life.ctx, retention.look(life.ctx, image))
    eventually(lambda: life.azure.versions(image) == ["1.0.2"])
    kept = f"{gallery}/softDeletedArtifactTypes/Images/artifacts/{image}/versions"
    found = life.azure.arm.get(kept, params=api).raise_for_status().json()["value"]
    assert [one["name"] for one in found] == ["1.0.0", "1.0.1"]
    assert night(life, image).doomed == []
    assert life.build(image).version == "1.0.3"


def test_a_refusal_is_said_and_keeps_nothing_else(life: Life) -> None:
    image = life.image("keep")
    for _ in range(4):
        life.build(image)
    life.azure.fault(method="DELETE", path=".*/versions/1.0.1", status=409, times=1)
    night(life, image)
    assert life.azure.versions(image) == ["1.0.1", "1.0.2", "1.0.3"]
    night(life, image)
    assert life.azure.versions(image) == ["1.0.2", "1.0.3"]


def test_what_ended_runs_left_behind_goes(life: Life) -> None:
    image, other = life.image("keep"), life.image("keep")
    run = life.build(image)
    images = f"{life.azure.env['MANAGED_IMAGE_GROUP_ID']}/providers/Microsoft.Compute/images"
    disk = {"osType": "Linux", "osState": "Generalized", "blobUri": life.azure.blob(image, "1.vhd").url}

    def leave(name: str, tags: dict[str, str]) -> None:
        body = {"location": "westeurope", "tags": tags, "properties": {"storageProfile": {"osDisk": disk}}}
        life.azure.arm.put(f"{images}/{name}", params={"api-version": "2024-07-01"}, json=body).raise_for_status()

    leave(run.image_name, {RUN_TAG: run.id, "gallerist-image": image})
    leave(f"{image}-copy", {RUN_TAG: run.id, "gallerist-image": image})  # somebody's own, with all tags of ours
    leave(f"{image}-of-another-deployment", {RUN_TAG: "web-20200101-000000-aaaaa", "gallerist-image": image})
    leave(f"{image}-of-a-person", {"gallerist-image": image})
    planned = night(life, image)
    assert [(orphan.kind, orphan.name) for orphan in planned.orphans] == [("managed image", run.image_name)]
    left = {f"{image}-of-another-deployment", f"{image}-of-a-person", f"{image}-copy"}
    eventually(lambda: set(life.azure.managed_images(image)) == left)

    # A version of a run that failed, and could not be undone then.
    life.slow(other)
    made = life.stepped(life.dropped(other), until=Stage.REPLICATING)
    run, etag = life.ctx.runs.load(made.id)
    run.stage = Stage.FAILED
    life.ctx.runs.save(run, etag, was=Stage.REPLICATING)
    life.azure.advance(HOUR)
    tag(life.azure, other, "1.0.0", keep="true")
    assert [orphan.kind for orphan in retention.look(life.ctx, other).orphans] == ["managed image"]
    tag(life.azure, other, "1.0.0", keep="false")
    planned = night(life, other)
    assert [orphan.kind for orphan in planned.orphans] == ["version", "managed image"]
    assert life.azure.versions(other) == []


def test_a_managed_image_goes_only_where_its_run_made_it(life: Life) -> None:
    image = life.image("keep")
    run, etag = life.ctx.runs.load(life.build(image).id) or (None, "")
    assert run
    group = {"location": "westeurope"}
    life.azure.arm.put(ELSEWHERE, params={"api-version": "2021-04-01"}, json=group).raise_for_status()
    life.ctx.sources.leave_in(ResourceGroup.parse(ELSEWHERE))
    url = f"{ELSEWHERE}/providers/Microsoft.Compute/images/{run.image_name}"
    disk = {"osType": "Linux", "osState": "Generalized", "blobUri": life.azure.blob(image, "1.vhd").url}
    body = {"location": "westeurope", "tags": {RUN_TAG: run.id}, "properties": {"storageProfile": {"osDisk": disk}}}
    life.azure.arm.put(url, params={"api-version": "2024-07-01"}, json=body).raise_for_status()
    life.azure.advance(HOUR)
    assert retention.look(life.ctx, image).orphans == []
    run.managed_image_group = ELSEWHERE
    life.ctx.runs.save(run, etag, was=run.stage)
    assert [str(orphan.group) for orphan in retention.look(life.ctx, image).orphans] == [ELSEWHERE]


def test_what_may_not_be_deleted_is_asked_for_once_and_is_no_alert(life: Life, monkeypatch: pytest.MonkeyPatch) -> None:
    logs = LogCapture()
    monkeypatch.setattr(retention, "_log", structlog.wrap_logger(None, processors=[logs]))
    image = life.image("keep")
    for _ in range(5):
        life.build(image)
    denial = {"path": f"/{image}/versions/", "actions": "versions/delete$"}
    life.azure.arm.post("/sandbox/denials", json=denial).raise_for_status()
    try:
        done = retention.retire(life.ctx, retention.look(life.ctx, image))
    finally:
        life.azure.arm.delete("/sandbox/denials").raise_for_status()
    assert [one.what for one in done] == ["1.0.2", "1.0.1", "1.0.0"]
    assert all("does not have authorization to perform action" in str(one.refused) for one in done)
    asked = life.azure.arm.get("/sandbox/requests").json()
    assert sum(one["method"] == "DELETE" and f"/{image}/versions/" in one["path"] for one in asked) == 1
    (told,) = logs.entries
    assert (told["event"], told["image"], told["refused"]) == ("retention_denied", image, 3)
    alerts = "".join(path.read_text() for path in QUERIES.glob("*.kql"))
    assert "not_let_go" in alerts
    assert "retention_denied" not in alerts
    night(life, image)
    assert life.azure.versions(image) == ["1.0.3", "1.0.4"]


def test_a_vhd_that_only_its_tag_calls_published_stays(life: Life) -> None:
    image = life.image("spent")
    run = life.dropped(image)
    blob = life.azure.blob(image, run.blob.partition("/")[2])
    blob.set_blob_tags({source_tag(image): source_mark(blob.get_blob_properties().etag.strip('"'), "1.0.0")})
    eventually(lambda: life.ctx.blobs.tagged(source_tag(image)))
    assert retention.look(life.ctx, image).vhds == []


def test_a_vhd_that_is_published_goes_where_the_catalog_says_so(life: Life) -> None:
    image = life.image("spent")
    published, waiting = life.build(image), life.dropped(image)
    eventually(lambda: retention.look(life.ctx, image).vhds)
    planned = night(life, image)
    assert [name for _, name, _ in planned.vhds] == [published.blob]
    assert not life.azure.blob(image, published.blob.partition("/")[2]).exists()
    assert finish(life.ctx, waiting.id).version == "1.0.1"


def test_a_vhd_that_was_overwritten_since_stays(life: Life) -> None:
    image = life.image("spent")
    run = life.build(image)
    (found,) = eventually(lambda: retention.look(life.ctx, image).vhds)
    blob = life.azure.blob(image, run.blob.partition("/")[2])
    blob.upload_page(b"\x01" * 512, offset=0, length=512)
    retention.retire(life.ctx, retention.Retention(image, vhds=[found]))
    assert blob.exists()
    assert retention.look(life.ctx, image).vhds == []


@pytest.mark.parametrize("kind", ["saved", "plain"])
def test_a_vhd_stays_until_its_time_or_for_good(life: Life, kind: str) -> None:
    image = life.image(kind)
    run = life.build(image)
    assert retention.look(life.ctx, image).vhds == []
    tags = life.azure.blob(image, run.blob.partition("/")[2]).get_blob_tags()
    assert bool(tags) == (kind == "saved")
