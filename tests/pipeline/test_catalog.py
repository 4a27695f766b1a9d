"""The catalog is read whole, and every fault in it is named at once."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
import yaml

from pipeline.catalog import CatalogError, Route, load_catalog, parse_catalog
from pipeline.versions import Bump, Version
from sandbox.up import ROOT

GALLERY = "/subscriptions/s/resourceGroups/g/providers/Microsoft.Compute/galleries/galStaging"


PRODUCTION = "/subscriptions/other/resourceGroups/g/providers/Microsoft.Compute/galleries/galProduction"


def catalog(**image: Any) -> dict[str, Any]:
    definition = {"publisher": "Contoso", "offer": "web", "sku": "ubuntu", "os_type": "Linux"}
    definition |= image.pop("definition", {})
    return {
        "galleries": {"staging": {"id": GALLERY, "location": "West Europe"}},
        "images": {"web": {"gallery": "staging", "drop": "vhds/web/*.vhd", **image, "definition": definition}},
    }


def parse(data: Any) -> Any:
    return parse_catalog(yaml.safe_dump(data))


def faults(data: Any) -> str:
    with pytest.raises(CatalogError) as fault:
        parse(data)
    return str(fault.value)


def test_everything_a_catalog_can_say_is_read() -> None:
    data = catalog(
        definition={"hyper_v_generation": "V2", "security_type": "TrustedLaunchSupported", "architecture": "x64"},
        version={"bump": "calver", "start": "2.0.0"},
        regions=[{"name": "West Europe", "replicas": 3, "storage": "Standard_ZRS"}, {"name": "northeurope"}],
        end_of_life="180d",
        keep={"newest": 10, "days": 365},
    )
    data["galleries"]["production"] = {"id": PRODUCTION, "location": "westeurope"}
    data["promotions"] = [
        {"from": "web", "to": {"gallery": "production"}, "soak": "24h", "require": {"tests": "passed"}, "range": "~1.4"}
    ]
    read = parse(data)
    web = read.images["web"]
    assert web.version.bump is Bump.CALVER
    assert web.version.start == Version(2, 0, 0)
    assert web.end_of_life == timedelta(days=180)
    assert [region.name for region in web.regions] == ["westeurope", "northeurope"]
    assert read.definition_id("web") == f"{GALLERY}/images/web"
    assert read.promotions[0].soak == timedelta(hours=24)
    assert read.promotions[0].key == "web-to-production"


@pytest.mark.parametrize(
    ("blob", "fed"),
    [
        ("vhds/web/a.vhd", True), ("vhds/web/a/b.vhd", False), ("vhds/web/a.vhdx", False), ("other/web/a.vhd", False),
        ("vhds/webXa.vhd", False), ("vhds/web/.vhd", True), ("vhds/web/a.vhd\n", False),
    ],
)  # fmt: skip
def test_a_blob_feeds_the_images_whose_pattern_it_matches(blob: str, *, fed: bool) -> None:
    container, _, name = blob.partition("/")
    assert parse(catalog()).fed_by(container, name) == (["web"] if fed else [])


def test_two_stars_reach_into_folders() -> None:
    assert parse(catalog(drop="vhds/web/**.vhd")).fed_by("vhds", "web/2026/11/a.vhd") == ["web"]


def test_the_source_region_is_always_a_target() -> None:
    regions = parse(catalog(regions=[{"name": "northeurope"}])).target_regions("web")
    assert [(region.name, region.replicas) for region in regions] == [("westeurope", 1), ("northeurope", 1)]


@pytest.mark.parametrize(
    ("definition", "route"),
    [
        ({}, Route.MANAGED_IMAGE),
        ({"security_type": "TrustedLaunchSupported"}, Route.MANAGED_IMAGE),
        ({"os_state": "Specialized"}, Route.DIRECT),
        ({"architecture": "Arm64"}, Route.DIRECT),
    ],
)
def test_a_managed_image_is_made_unless_azure_rules_it_out(definition: dict[str, str], route: Route) -> None:
    assert parse(catalog(definition=definition)).images["web"].taken_route is route


def test_all_faults_are_named_at_once() -> None:
    data = catalog(
        definition={"os_type": "BeOS", "publisher": ""},
        regions=[{"name": "westeurope", "replicas": 101}],
        end_of_life="soon",
        colour="red",
    )
    data["galleries"]["staging"]["id"] = "galStaging"
    said = faults(data)
    for field in ("galleries.staging.id", "web.definition.os_type", "web.definition.publisher", "web.regions.0.replicas",
                  "web.end_of_life", "web.colour"):  # fmt: skip
        assert field in said


@pytest.mark.parametrize(
    ("image", "says"),
    [
        ({"gallery": "nowhere"}, "no gallery is named 'nowhere'"),
        ({"drop": "Vhds/*"}, "container/path"),
        ({"drop": "vhds"}, "container/path"),
        ({"regions": [{"name": "westeurope"}, {"name": "West Europe"}]}, "westeurope twice"),
        ({"definition": {"security_type": "TrustedLaunch"}}, "never a VHD"),
        ({"definition": {"hyper_v_generation": "V1", "security_type": "TrustedLaunchSupported"}}, "needs hyper_v_generation V2"),
        ({"definition": {"architecture": "Arm64"}, "route": "managed-image"}, "managed image is always Generalized and x64"),
        ({"version": {"start": "1.0"}}, "Major.Minor.Patch"),
    ],
)  # fmt: skip
def test_what_azure_would_refuse_is_refused_here(image: dict[str, Any], says: str) -> None:
    assert says in faults(catalog(**image))


def test_two_images_do_not_share_a_definition() -> None:
    data = catalog()
    data["images"]["web2"] = data["images"]["web"] | {
        "definition": data["images"]["web"]["definition"] | {"name": "WEB"}
    }
    assert "same definition" in faults(data)


def promoting(*rules: dict[str, Any], **image: Any) -> dict[str, Any]:
    data = catalog(**image)
    data["galleries"]["production"] = {"id": PRODUCTION, "location": "westeurope"}
    return data | {"promotions": [{"from": "web", "to": {"gallery": "production"}, **rule} for rule in rules]}


def test_a_promotion_brings_the_image_it_publishes_as() -> None:
    read = parse(promoting({"to": {"gallery": "production", "definition": "prod"}}, keep={"newest": 3}))
    assert read.target_of(read.promotions[0]) == "web-production"
    target = read.images["web-production"]
    assert read.definition_id("web-production") == f"{PRODUCTION}/images/prod"
    assert (target.keep.newest, target.definition.sku, target.drop) == (3, "ubuntu", None)
    assert not read.allows("web-production", "vhds/web/a.vhd")  # nothing but a promotion gets there


def test_a_promotion_into_an_image_of_the_catalog_takes_its_settings() -> None:
    data = promoting({})
    data["images"]["prod"] = {
        "gallery": "production",
        "definition": data["images"]["web"]["definition"] | {"name": "WEB"},
        "regions": [{"name": "northeurope", "replicas": 5}],
    }
    read = parse(data)
    assert read.target_of(read.promotions[0]) == "prod"
    assert [region.replicas for region in read.target_regions("prod")] == [1, 5]
    assert not read.allows("prod", "vhds/web/a.vhd")  # it has neither drop nor sources: only promotions get there
    data["images"]["prod"]["sources"] = ["builds/**"]
    assert parse(data).allows("prod", "builds/a.vhd")


@pytest.mark.parametrize(
    ("rule", "says"),
    [
        ({"from": "lost"}, "promotions: 0.from: no image is named 'lost'"),
        ({"to": {"gallery": "lost"}}, "no gallery is named 'lost'"),
        ({"to": {"gallery": "staging"}}, "promotions.0: leads from a definition to itself"),
        ({"to": {"gallery": "staging", "definition": "other"}}, "publisher, offer and sku once"),
        ({"range": "new"}, "'new' is no range: takes ~1.4"),
        ({"soak": "long"}, "takes a number and a unit"),
        ({"name": "No Name"}, "promotions.0.name"),
        ({"number": "next!"}, "promotions.0.number"),
        ({"number": "next", "image": {"version": {"bump": "from-name"}}}, "has no VHD to take a number from"),
    ],
)
def test_a_promotion_that_cannot_be_is_refused(rule: dict[str, Any], says: str) -> None:
    image = rule.pop("image", {})
    assert says in faults(promoting(rule, **image))


def test_promotions_keep_region_definition_and_name() -> None:
    data = promoting({}, {})
    assert "a rule is named 'web-to-production' already" in faults(data)
    data = promoting({})
    data["galleries"]["production"]["location"] = "northeurope"
    assert "Azure makes a version of another in the same region only" in faults(data)
    data = promoting({})
    data["images"]["prod"] = {
        "gallery": "production",
        "definition": data["images"]["web"]["definition"] | {"name": "web", "architecture": "Arm64"},
    }
    assert "differ in definition: architecture" in faults(data)


@pytest.mark.parametrize("tier", ["cool", "archive"])
def test_a_vhd_cannot_be_moved_to_a_tier(tier: str) -> None:
    assert "a VHD is a page blob" in faults(catalog(source_vhd={"then": tier}))


@pytest.mark.parametrize("text", ["", "galleries: [", "- a", "galleries: {}\nimages: {}"])
def test_what_is_no_catalog_is_said(text: str) -> None:
    with pytest.raises(CatalogError):
        parse_catalog(text)


def test_the_sandbox_brings_a_catalog_that_is_sound() -> None:
    assert "ubuntu-web" in load_catalog(ROOT / "sandbox" / "catalog.yaml").images
