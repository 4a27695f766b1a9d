"""The catalog is read whole, and every fault in it is named at once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import yaml

from pipeline.access import Caller, NotAllowed, Role, of_key, of_queue
from pipeline.catalog import CatalogError, Route, load_catalog, parse_catalog
from pipeline.source import SourceKind, parse_id
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
        ({"gallery": "nowhere"}, 'no gallery is named "nowhere"; there is staging'),
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
    assert not read.allows("prod", "vhds/web/a.vhd")  # it has neither drop nor sources
    data["images"]["prod"]["sources"] = ["builds/**"]
    assert parse(data).allows("prod", "builds/a.vhd")


@pytest.mark.parametrize(
    ("rule", "says"),
    [
        ({"from": "lost"}, 'promotions.0.from: no image is named "lost"'),
        ({"to": {"gallery": "lost"}}, 'no gallery is named "lost"'),
        ({"to": {"gallery": "staging"}}, "promotions.0: leads from a definition to itself"),
        ({"to": {"gallery": "staging", "definition": "other"}}, "publisher, offer and sku once"),
        ({"range": "new"}, "'new' is no range: takes ~1.4"),
        ({"range": "~1.4 - 2"}, "'~1.4 - 2' is no range: takes ~1.4"),
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
    assert 'a rule is named "web-to-production" already' in faults(data)
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


def written(text: str | bytes) -> list[str]:
    """The faults of a catalog as it is written."""
    with pytest.raises(CatalogError) as fault:
        parse_catalog(text)
    for phrase in (
        "Input should",
        "Traceback",
        "codec",
        "<class",
        "yaml.",
        "while parsing",
        "expected",
        "1 validation",
    ):
        assert phrase not in str(fault.value)
    return fault.value.faults


SOUND = f"""\
galleries:
  staging: {{id: {GALLERY}, location: westeurope}}
  production: {{id: {PRODUCTION}, location: westeurope}}
images:
  web:
    gallery: staging
    definition: {{publisher: Contoso, offer: web, sku: one, os_type: Linux}}
  db:
    gallery: staging
    definition: {{publisher: Contoso, offer: db, sku: one, os_type: Linux}}
promotions:
  - {{from: web, to: {{gallery: production}}}}
"""


def test_every_fault_has_its_line() -> None:
    text = SOUND.replace("offer: web", "offer: ''").replace("gallery: staging\n    definition: {publisher: Contoso, offer: db", "gallry: staging\n    definition: {publisher: Contoso, offer: db").replace("from: web", "from: wbe")  # fmt: skip
    assert written(text) == [
        "line 7: images.web.definition.offer is empty",
        "line 8: images.db.gallery is missing",
        (
            "line 9: images.db.gallry is unknown; gallery, drop, completion, sources, publishers, definition, "
            "route, version, regions, end_of_life, limits, keep and source_vhd are taken here. Did you mean gallery?"
        ),
        'line 12: promotions.0.from: no image is named "wbe"',
    ]


def test_a_name_that_is_there_twice_is_a_fault_with_both_lines() -> None:
    text = SOUND.replace("  db:\n", "  web:\n").replace("offer: web,", "offer: web, offer: shop,")
    text = text.replace("galleries:", "promotions: []\ngalleries:")
    assert [fault for fault in written(text) if "twice" in fault] == [
        "line 9: images.web is there twice, in lines 6 and 9",
        "line 12: promotions is there twice, in lines 1 and 12",
    ]
    assert any("offer is there twice" in fault for fault in written(SOUND.replace("offer: web", "offer: a, offer: b")))


def test_a_rule_that_is_there_twice_is_a_fault_with_both_lines() -> None:
    again = "  - {from: db, name: web-to-production, to: {gallery: production}}\n  - {from: web, to: {gallery: production}}\n"
    found = written(SOUND + again)
    assert "line 13: promotions.1: a rule is named" in found[0]
    assert "(line 12)" in found[0]
    assert "line 14: promotions.2: a rule is named" in found[1]


def test_what_is_merged_in_may_be_named_again() -> None:
    text = SOUND.replace(
        "definition: {publisher: Contoso, offer: web", "definition: &base {publisher: Contoso, offer: web"
    )
    text = text.replace("{publisher: Contoso, offer: db, sku: one, os_type: Linux}", "{<<: *base, offer: db}")
    db = parse_catalog(text).images["db"].definition
    assert (db.publisher, db.offer, db.sku) == ("Contoso", "db", "one")
    listed = text.replace("{<<: *base, offer: db}", "{<<: [{offer: db}, *base]}")
    assert parse_catalog(listed).images["db"].definition == db


def test_a_gallery_takes_publisher_offer_and_sku_once() -> None:
    assert written(SOUND.replace("offer: db", "offer: WEB")) == [
        "line 10: images.db.definition has the publisher, offer and sku of web, and a gallery takes them once (line 5)"
    ]
    elsewhere = SOUND.replace("gallery: staging\n    definition: {publisher: Contoso, offer: db", "gallery: production\n    definition: {publisher: contoso, offer: Web")  # fmt: skip
    assert written(elsewhere) == [
        "line 12: promotions.0: to: db has the publisher, offer and sku of web there, and a gallery takes them once"
    ]


@pytest.mark.parametrize("again", [GALLERY, GALLERY.upper(), f"{GALLERY}/"])
def test_a_gallery_has_one_name(again: str) -> None:
    (fault,) = written(SOUND.replace(PRODUCTION, again))
    assert fault.startswith("line 3: galleries.production.id is the gallery that galleries.staging is")
    assert "(line 2)" in fault


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (SOUND.encode("utf-16"), "UTF-16"),
        (SOUND.encode("utf-16-le"), "UTF-16"),
        (SOUND.encode("utf-32"), "UTF-32"),
        (SOUND.replace("Contoso", "Caf\xe9").encode("latin-1"), "line 7 holds the byte 0xe9, which is no UTF-8"),
        (SOUND.replace("Contoso", "Stra\xdfe \u20ac").encode("cp1252"), "save it as UTF-8"),
        (SOUND.replace("  web:", "\tweb:"), "line 5, column 1 cannot be read as YAML"),
        (SOUND.replace("  web:", "\tweb:"), "a tab stands where YAML takes spaces"),
        (SOUND.replace("offer: web", "offer: [web"), "cannot be read as YAML"),
        (SOUND.replace("gallery: staging", "gallery: a: b"), "line 6, column 15 cannot be read as YAML: \"gallery: a: b\""),
        (SOUND.replace("Contoso", "\x07"), "line 7 holds U+0007"),
        (SOUND.replace("Contoso", "*nobody"), "line 7: *nobody stands for nothing"),
        (SOUND + "---\n" + SOUND, "line 13 begins another document"),
        (SOUND.replace("Contoso", "[" * 100 + "]" * 100), "more than 64 deep"),
        ("[" * 100_000, "more than 64 deep"),
        (SOUND.replace("Contoso", "!!python/object:os.system x"), "which means nothing here"),
        ("a: &a\n  b: *a\n", "a.b refers to itself"),
        ("a: &a {<<: *a}\n", "a refers to itself"),
        (SOUND.replace("  web:", "  1:"), 'takes text for a name in line 5, not "1": put it in quotes'),
        (SOUND.replace("  web:", "  yes:"), 'takes text for a name in line 5, not "yes"'),
        (SOUND.replace("  web:", "  ? [a]\n  :"), "takes text for a name in line 5, not a list or a mapping"),
        (SOUND.replace("Contoso", "2026-13-45 25:61:00"), None),
        (SOUND.replace("Contoso", "2026-01-01"), None),
        (SOUND.replace("Contoso", "12"), "images.web.definition.publisher takes text, not a number"),
        (SOUND.replace("Contoso", "~"), "images.web.definition.publisher takes text, not null"),
        ("- a\n", "line 1: takes an object, not a list"),
        ("text", 'line 1: takes an object, not "text"'),
        ("~", "is empty"),
        ("galleries: {}\nimages: {}", "galleries is empty"),
    ],
)  # fmt: skip
def test_any_text_is_read_or_refused_in_words(text: str | bytes, says: str | None) -> None:
    if says is None:
        assert parse_catalog(text).images
    else:
        assert says in "\n".join(written(text))


def test_a_byte_order_mark_is_no_fault() -> None:
    assert parse_catalog(SOUND.encode("utf-8-sig")).images
    assert parse_catalog("\ufeff" + SOUND).images


@pytest.mark.parametrize(
    ("image", "says"),
    [
        ({"end_of_life": "9999999999w"}, 'end_of_life takes 36500d at most, not "9999999999w"'),
        ({"end_of_life": "9" * 5000 + "d"}, "end_of_life takes 36500d at most"),
        ({"end_of_life": "36501d"}, "end_of_life takes 36500d at most"),
        ({"end_of_life": 180}, "end_of_life takes a number and a unit, such as 24h, 180d or 2w, not 180"),
        ({"end_of_life": "-1d"}, "takes a number and a unit"),
        ({"source_vhd": {"after": "5218w"}}, "source_vhd.after takes 36500d at most"),
        ({"keep": {"days": 40_000}}, "keep.days takes 1 to 36500, not 40000"),
        ({"keep": {"newest": 10**30}}, "keep.newest takes 1 to 10000, not 1000000"),
        ({"keep": {"newest": 0}}, "keep.newest takes 1 to 10000, not 0"),
        ({"version": {"start": {"a": 1}}}, "version.start takes Major.Minor.Patch, such as 1.0.0, not an object"),
        ({"route": "sideways"}, 'route takes auto, managed-image or direct, not "sideways"'),
        ({"regions": "westeurope"}, 'regions takes a list, not "westeurope"'),
    ],
)
def test_a_value_beyond_its_bounds_is_told_with_what_is_taken(image: dict[str, Any], says: str) -> None:
    assert says in faults(catalog(**image))


def test_the_longest_duration_ends_on_a_date() -> None:
    read = parse(catalog(end_of_life="36500d")).images["web"]
    assert datetime.now(UTC) + read.end_of_life > datetime.now(UTC)


@pytest.mark.parametrize("require", [{"Tests": "passed", "tests": "passed"}, {"tests": "a\x00b"}, {"a<b": "x"}])
def test_a_rule_requires_tags_that_azure_keeps(require: dict[str, str]) -> None:
    assert "promotions.0.require" in faults(promoting({"require": require}))


def test_faults_of_all_kinds_are_told_at_once() -> None:
    text = (
        SOUND.replace("  db:\n", "  web:\n").replace("os_type: Linux}", "os_type: BeOS}").replace(PRODUCTION, GALLERY)
    )
    found = "\n".join(written(text.replace("{from: web", "{from: lost")))
    for says in ("twice, in lines 5 and 8", 'takes Linux or Windows, not "BeOS"', "is the gallery that", 'no image is named "lost"'):  # fmt: skip
        assert says in found


def test_a_subscription_has_one_gallery_of_a_name() -> None:
    data = catalog()
    data["galleries"]["twin"] = {"id": GALLERY.replace("/g/", "/h/").upper(), "location": "westeurope"}
    said = faults(data)
    assert "galleries.twin.id names a gallery as galleries.staging does, in another group" in said
    data["galleries"]["twin"]["id"] = GALLERY.replace("/s/", "/t/")
    assert parse(data)


def fed(data: dict[str, Any], name: str, gallery: str, **image: Any) -> None:
    definition = {"publisher": "Contoso", "offer": "web", "sku": name, "os_type": "Linux"} | image.pop("definition", {})
    data["images"][name] = {"gallery": gallery, **image, "definition": definition}


def test_one_storage_account_feeds_galleries_of_one_region() -> None:
    data = catalog()
    data["galleries"]["north"] = {"id": PRODUCTION, "location": "northeurope"}
    fed(data, "x-db", "north", drop="vhds/db/*.vhd")
    fed(data, "x-lab", "north", sources=["builds/**"])
    fed(data, "arm", "north", drop="vhds/arm/*.vhd", definition={"architecture": "Arm64"})
    fed(data, "disks", "north", sources=["/subscriptions/s/**"])
    said = faults(data)
    for name in ("x-db", "x-lab"):
        assert f'images.{name}.gallery is in "northeurope", that of web in "westeurope"' in said
    assert "name the others in regions" in said
    assert not any(name in said for name in ("images.arm", "images.disks"))


def test_what_managed_images_cannot_be_made_for_is_refused_with_all_else_that_is_wrong() -> None:
    data = catalog(end_of_life="soon")
    data["galleries"]["production"] = {"id": PRODUCTION, "location": "westeurope"}
    fed(data, "db", "production", drop="vhds/db/*.vhd")
    fed(data, "direct", "production", drop="vhds/direct/*.vhd", route="direct")
    fed(data, "disks", "production", sources=["/subscriptions/other/**"])
    with pytest.raises(CatalogError) as fault:
        parse_catalog(yaml.safe_dump(data), galleries_only_in="s")
    told = fault.value.faults
    assert len(told) == 2
    assert "images.web.end_of_life" in told[1]
    assert "images.db.gallery is in another subscription than the storage account with the VHDs" in told[0]
    assert "Set MANAGED_IMAGE_GROUP_ID to the resource id of a resource group there" in told[0]
    del data["images"]["web"]["end_of_life"]
    assert parse(data)
    assert parse_catalog(
        yaml.safe_dump(data).replace("/subscriptions/other/", "/subscriptions/S/"), galleries_only_in="s"
    )


DISK = f"{GALLERY.partition('/galleries/')[0]}/disks/x"


@pytest.mark.parametrize(
    ("sources", "source", "allowed"),
    [
        ([], "vhds/web/a.vhd", True),
        ([], "vhds/other/a.vhd", False),
        ([], "builds/a.vhd", False),
        ([], DISK, False),
        (["builds/**"], "builds/a/b.vhd", True),
        (["builds/**"], "vhds/web/a.vhd", True),
        (["builds/*"], "builds/a/b.vhd", False),
        (["builds/**"], "BUILDS/a.vhd", False),
        (["builds/A.vhd"], "builds/a.vhd", False),
        (["builds/**"], DISK, False),
        (["**"], DISK, False),
        (["**"], "builds/a.vhd", True),
        ([f"{DISK}/"[:-2] + "*"], DISK, True),
        ([DISK.upper().replace("/SUBSCRIPTIONS", "/Subscriptions")], DISK, True),
        (["/subscriptions/s/**"], DISK.replace("/s/", "/S/"), True),
        (["/subscriptions/s/**"], DISK.replace("/s/", "/t/"), False),
        (["/subscriptions/s/**"], "subscriptions/s/a.vhd", False),
        (["/subscriptions/s/**"], DISK.replace("/s/", "/\u017f/"), False),
        (["builds/**"], "builds/../vhds/a.vhd", False),
        (["builds/**"], "builds/./a.vhd", False),
        (["builds/**"], "builds//a.vhd", False),
        (["builds/**"], "builds/%252e%252e/a.vhd", False),
        (["builds/**"], "builds/a\\..\\..\\b.vhd", False),
        (["builds/**"], "builds/" + "a" * 1025, False),
        (["/subscriptions/s/**"], "/subscriptions/s/" + "a" * 1025, False),
    ],
)
def test_a_request_may_name_what_is_dropped_and_what_sources_name(
    sources: list[str], source: str, *, allowed: bool
) -> None:
    assert parse(catalog(sources=sources)).allows("web", source) is allowed


@pytest.mark.parametrize("folder", ["..", ".", "", "a.", "%252e", "%2f", "\\", "\uff0e", "\uff0f", "\x7f"])
def test_no_pattern_names_what_a_client_resolves_on_the_way(folder: str) -> None:
    data = catalog(drop=f"vhds/{folder}/*.vhd", sources=["builds/**", f"builds/{folder}/*.vhd"])
    data["images"]["web"]["sources"].append(f"/subscriptions/s/{folder}/**")
    data["images"]["web"]["sources"] += ["/elsewhere/**", "builds", "", "a/" + "b" * 1024]
    said = faults(data)
    for field in ("drop", *(f"sources.{n}" for n in range(1, 7))):
        assert f"images.web.{field}" in said
    assert "sources.0" not in said
    assert "sources.3 takes resource ids from /subscriptions/ on" in said
    assert "sources.4 takes container/path" in said


@pytest.mark.parametrize("part", ["..", ".", "%2e%2e", "a.", "a b", "a\\b", "", "a?b", "\uff0e\uff0e", "g/../h"])
@pytest.mark.parametrize("at", ["subscriptions", "resourceGroups", "disks"])
def test_no_id_names_what_a_client_resolves_on_the_way(part: str, at: str) -> None:
    parts = DISK.split("/")
    parts[parts.index(at) + 1] = part
    with pytest.raises(ValueError, match="takes the resource id of a disk: /subscriptions/"):
        parse_id(SourceKind.DISK, "/".join(parts))
    if at != "disks":
        data = catalog()
        data["galleries"]["staging"]["id"] = "/".join(parts).replace("/disks/x", "/galleries/g")
        assert "galleries.staging.id takes a gallery's resource id" in faults(data)


@pytest.mark.parametrize(("letter", "like"), [("s", "\u017f"), ("k", "\u212a")])
def test_only_letters_of_ascii_are_of_any_case(letter: str, like: str) -> None:
    assert parse_id(SourceKind.DISK, DISK.upper())["name"] == "X"
    with pytest.raises(ValueError, match="takes the resource id"):
        parse_id(SourceKind.DISK, like.join(DISK.rsplit(letter, 1)))


def test_a_tag_that_any_rule_requires_is_nobody_s_to_give_whichever_image_asks_for_it() -> None:
    data = promoting({"require": {"Tests": "passed"}})
    assert parse(data).required_tags == {"tests"}
    data["images"]["prod"] = data["images"]["web"] | {"gallery": "production", "drop": "vhds/prod/*.vhd"}
    data["images"]["prod"]["definition"] = data["images"]["web"]["definition"] | {"name": "web"}
    data["galleries"]["shop"] = {"id": PRODUCTION.replace("galProduction", "galShop"), "location": "westeurope"}
    data["promotions"].append({"from": "prod", "to": {"gallery": "shop"}, "require": {"pentest": "passed"}})
    assert parse(data).required_tags == {"tests", "pentest"}
    assert parse(data).verdicts_on("web") == {"tests"}


ANN = Caller("5B2C1D7E-0000-4000-8000-0000000000AA", "ann", frozenset({Role.PUBLISHER}))
BOB = Caller("5b2c1d7e-0000-4000-8000-0000000000bb", "bob", frozenset({Role.PUBLISHER, Role.TESTER}))
EVE = Caller("5b2c1d7e-0000-4000-8000-0000000000ee", "eve", frozenset({Role.OPERATOR}))
CALLERS = {"ann": ANN, "bob": BOB, "eve": EVE, "key": of_key(Role.PUBLISHER), "master": of_key(Role.OPERATOR),
           "queue": of_queue("publish-requests")}  # fmt: skip


@pytest.mark.parametrize(
    ("publishers", "may"),
    [
        ([], {*CALLERS}),
        (["5b2c1d7e-0000-4000-8000-0000000000AA"], {"ann", "eve", "master"}),
        (["key"], {"key", "eve", "master"}),
        (["queue", BOB.id.upper()], {"queue", "bob", "eve", "master"}),
    ],
)
def test_publishers_narrow_who_may_ask_for_versions(publishers: list[str], may: set[str]) -> None:
    read = parse(catalog(publishers=publishers))
    for name, caller in CALLERS.items():
        if name in may:
            read.check_publisher("web", caller)
            continue
        with pytest.raises(NotAllowed, match="may not ask for versions of web") as fault:
            read.check_publisher("web", caller)
        assert "images.web.publishers" in str(fault.value)


@pytest.mark.parametrize("name", ["ann", "keys", "", "5b2c1d7e-0000-4000-8000-0000000000a", "key:operator"])
def test_a_publisher_is_an_object_id_or_a_door(name: str) -> None:
    said = faults(catalog(publishers=["key", name]))
    assert "images.web.publishers.1 takes an object id of Entra's (a GUID), key or queue" in said


def test_a_sound_catalog_is_warned_of_what_it_may_not_mean() -> None:
    data = promoting({"approval": True})
    data["images"]["web"] |= {"sources": ["**", "/subscriptions/s/**", "builds/**"], "publishers": [ANN.id]}
    data["images"]["web"]["sources"] += ["/subscriptions/*/resourceGroups/g/**", "/subscriptions/s/resourceGroups/g/**"]
    fed(data, "idle", "staging", publishers=["key"])
    fed(data, "keyed", "staging", drop="vhds/keyed/*.vhd", publishers=["key"])
    read = parse(data)
    common = [
        "images.web.sources.0 takes what lies in any container of the account: name less, such as builds/**",
        (
            "images.web.sources.1 takes what lies in a subscription, or more: name less, such as "
            "/subscriptions/…/resourceGroups/NAME/**"
        ),
        (
            "images.web.sources.3 takes what lies in a subscription, or more: name less, such as "
            "/subscriptions/…/resourceGroups/NAME/**"
        ),
        "images.idle takes nothing: give it drop or sources, or let a rule promote to it",
        "images.idle.publishers is for nothing: the image takes nothing that anybody asks for. Leave it out",
    ]
    with_keys = [
        (
            "images.web.publishers names none but object ids, and with keys nobody has one: let callers sign in "
            "(API_CLIENT_ID)"
        ),
        "promotions.0.approval: with keys nobody can tell who approves: let callers sign in (API_CLIENT_ID)",
    ]
    signed_in = ["images.keyed.publishers names key, and where callers sign in nobody comes with one: name object ids"]
    assert sorted(read.warnings(sign_in=False)) == sorted(common + with_keys)
    assert sorted(read.warnings(sign_in=True)) == sorted(common + signed_in)
    assert parse(promoting({})).warnings(sign_in=False) == []


@pytest.mark.parametrize("sign_in", [False, True])
def test_the_catalogs_that_are_brought_along_are_warned_of_nothing(*, sign_in: bool) -> None:
    assert load_catalog(ROOT / "sandbox" / "catalog.yaml").warnings(sign_in=sign_in) == []
    text = (ROOT / "catalog.yaml.example").read_text()
    text = text.replace("STAGING_GALLERY_ID", GALLERY).replace("PRODUCTION_GALLERY_ID", PRODUCTION)
    assert parse_catalog(text.replace("AZURE_LOCATION", "westeurope")).warnings(sign_in=sign_in) == []
