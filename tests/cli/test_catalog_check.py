"""`gallerist catalog check` names every fault at once, or what is published where."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pipeline.cli.app import app

ELSEWHERE = "/subscriptions/00000000-0000-4000-8000-000000000009/resourceGroups/rg"
ACCOUNT = f"{ELSEWHERE}/providers/Microsoft.Storage/storageAccounts/stvhd"
SOUND = Path(__file__).parents[2] / "sandbox" / "catalog.yaml"


@pytest.fixture(autouse=True)
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CATALOG", "VHD_STORAGE_ACCOUNT_ID", "MANAGED_IMAGE_GROUP_ID", "API_CLIENT_ID"):
        monkeypatch.delenv(name, raising=False)


def check(*arguments: str, **options: object) -> object:
    return CliRunner().invoke(app, ["catalog", "check", *arguments], **options)


def test_a_sound_catalog_is_a_table_of_what_goes_where() -> None:
    done = check(str(SOUND))
    assert done.exit_code == 0
    assert "ubuntu-web" in done.stdout
    assert "galStaging/ubuntu-web" in done.stdout
    assert "vhds/ubuntu-web/*.vhd" in done.stdout
    assert "westeurope x3, northeurope x2, swedencentral x1" in done.stdout
    assert "direct" in done.stdout


def test_a_sound_catalog_in_json() -> None:
    found = json.loads(check(str(SOUND), "--json").stdout)
    images = {image["image"]: image for image in found["images"]}
    assert images["arm-edge"]["route"] == "direct"
    assert images["arm-edge"]["regions"][0] == {"name": "westeurope", "replicas": 1, "storage": "Standard_LRS"}


def test_every_fault_is_named_at_once(tmp_path: Path) -> None:
    path = tmp_path / "catalog.yaml"
    path.write_text(
        SOUND.read_text()
        .replace("bump: minor", "bump: sideways")
        .replace("replicas: 3", "replicas: 300")
        .replace("180d", "soon")
    )
    done = check(env={"CATALOG": str(path)})
    assert done.exit_code == 1
    for field in ("arm-edge.version.bump", "ubuntu-web.regions.0.replicas", "ubuntu-web.end_of_life"):
        assert field in done.stderr
    error = json.loads(check(str(path), "--json").stdout)["error"]
    assert error["code"] == "CatalogError"
    assert len(error["details"]) == 3


def test_a_catalog_that_is_not_there(tmp_path: Path) -> None:
    done = check(str(tmp_path / "no.yaml"))
    assert done.exit_code == 1
    assert "cannot be read" in done.stderr


def test_galleries_that_get_no_managed_images_are_refused() -> None:
    done = check(str(SOUND), "--vhd-account", ACCOUNT)
    assert done.exit_code == 1
    assert "images.ubuntu-web.gallery is in another subscription than the storage account" in done.stderr
    assert "images.debian-bios.gallery" in done.stderr
    assert "arm-edge" not in done.stderr  # it goes directly from the VHD
    assert "Set MANAGED_IMAGE_GROUP_ID" in done.stderr


def test_galleries_are_anywhere_where_managed_images_have_a_group_of_their_own() -> None:
    done = check(str(SOUND), env={"VHD_STORAGE_ACCOUNT_ID": ACCOUNT, "MANAGED_IMAGE_GROUP_ID": ELSEWHERE})
    assert (done.exit_code, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("account", "group", "words"),
    [
        ("stvhd", ELSEWHERE, "takes a storage account's resource id"),
        (ACCOUNT, "rg-images", "takes a resource group's resource id"),
        (ACCOUNT, ELSEWHERE.replace("9", "8"), "in another subscription than the storage account"),
    ],
)
def test_what_names_no_such_resource_is_a_wrong_use(account: str, group: str, words: str) -> None:
    done = check(str(SOUND), "--vhd-account", account, "--managed-image-group", group)
    assert done.exit_code == 2
    assert words in " ".join(done.stderr.replace("│", " ").split())


def test_what_is_not_checked_is_said() -> None:
    done = check(str(SOUND))
    assert "not checked: whether Azure makes managed images" in " ".join(done.stderr.split())


def test_what_is_unwise_is_warned_of_and_no_fault(tmp_path: Path) -> None:
    path = tmp_path / "catalog.yaml"
    path.write_text(SOUND.read_text().replace("soak: 24h", "soak: 24h, approval: true"))
    done = check(str(path))
    assert done.exit_code == 0
    assert "promotions.0.approval: with keys nobody can tell who approves" in " ".join(done.stderr.split())
    assert "approval" in " ".join(json.loads(check(str(path), "--json").stdout)["warnings"])
    signed_in = check(str(path), env={"API_CLIENT_ID": "00000000-0000-4000-8000-000000000002"})
    assert "approval" not in signed_in.stderr
