"""`gallerist catalog check` names every fault at once, or what is published where."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pipeline.cli.app import app

SOUND = Path(__file__).parents[2] / "sandbox" / "catalog.yaml"


@pytest.fixture(autouse=True)
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CATALOG", raising=False)


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
