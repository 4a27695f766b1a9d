"""The commands that ask the function app, against the real one: what they print, how they exit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sandbox import disk
from sandbox.host.keys import Keys
from tests.azure import Azure, eventually
from tests.cli.command import Ended, gallerist

pytestmark = pytest.mark.timeout(180)


def run(azure: Azure, *arguments: object) -> Ended:
    """Run `gallerist` with the function app's address and key set."""
    return gallerist(
        azure,
        *arguments,
        GALLERIST_URL=azure.sandbox.endpoints["functions"],
        GALLERIST_KEY=Keys.load(azure.state).function,
    )


def uploaded(azure: Azure, folder: Path, image: str, **kind: str) -> str:
    blob = azure.blob(f"asked/{image}", f"{image}.vhd")
    blob.upload_blob(disk.make_vhd(folder / f"{image}.vhd", 20, **kind).read_bytes(), blob_type="PageBlob")
    return blob.url


def test_a_version_from_upload_to_list(hosted: Azure, tmp_path: Path) -> None:
    image = hosted.image()
    vhd = disk.make_vhd(tmp_path / "x.vhd", 20)
    sent = run(hosted, "upload", vhd, "--image", image, "--json")
    assert (sent.code, sent.json["state"]) == (0, "uploaded"), sent.err
    asked = run(
        hosted, "publish", image, "--blob", sent.json["blob"], "--version", "2.1.x", "--tag", "a=b", "--wait", "--json"
    )
    assert asked.code == 0, asked.err
    assert (asked.json["state"], asked.json["image"]) == ("published", image)
    number = asked.json["version"]
    assert number in ("2.1.0", "1.0.0"), "the drop was taken first, and numbered before it was asked for"

    shown = run(hosted, "show", asked.json["run"])
    assert shown.code == 0
    assert number in shown.out
    watched = run(hosted, "watch", asked.json["run"], "--json")
    assert watched.code == 0
    lines: list[dict[str, Any]] = [json.loads(line) for line in watched.out.splitlines()]
    assert lines[-1]["state"] == "published"
    listed = run(hosted, "runs", "--image", image, "--json").json["runs"]
    assert [found["run"] for found in listed] == [asked.json["run"]]
    assert asked.json["run"] in run(hosted, "runs", "--image", image, "--state", "published", "--since", "1h").out
    held = run(hosted, "versions", image, "--json").json["versions"]
    assert [version["version"] for version in held] == [number]
    assert number in run(hosted, "versions", image).out
    late = run(hosted, "cancel", asked.json["run"])
    assert late.code == 4
    assert "too late" in late.err


def test_a_run_that_fails_says_why_and_is_tried_again(hosted: Azure, tmp_path: Path) -> None:
    image = hosted.image()
    url = uploaded(hosted, tmp_path, image, generation="V1")
    asked = run(hosted, "publish", image, "--blob", url, "--wait")
    assert asked.code == 1
    assert "no EFI system partition" in asked.out + asked.err
    found = run(hosted, "runs", "--image", image, "--json").json["runs"][0]["run"]
    again = run(hosted, "retry", found, "--json")
    assert (again.code, again.json["run"]) == (0, found)
    assert run(hosted, "watch", found).code == 1


def test_a_run_is_cancelled(hosted: Azure, tmp_path: Path) -> None:
    image = hosted.image()
    blob = hosted.blob(f"asked/{image}", "x.vhd")
    blob.create_page_blob(20 * 1024 * 1024 + 512)
    asked = run(hosted, "publish", image, "--blob", blob.url, "--json").json
    assert run(hosted, "cancel", asked["run"]).code == 0
    eventually(lambda: run(hosted, "show", asked["run"], "--json").json["state"] == "cancelled")


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("show", "no-such-run"), 3, "there is no run no-such-run"),
        (("versions", "nowhere"), 3, 'no image "nowhere"'),
        (("publish", "nowhere", "--vm", "/x"), 1, "source.vm"),
        (("publish", "web-000"), 2, "--blob"),
        (("publish", "web-000", "--vm", "x", "--tag", "b"), 2, "name=value"),
        (("runs", "--since", "lately"), 2, "ISO 8601"),
        (("runs", "--state", "lost"), 1, 'replicating or undoing, not "lost"'),
        (("nonsense",), 2, "nonsense"),
    ],
)
def test_what_cannot_be_is_said_and_told_by_the_exit_code(
    hosted: Azure, arguments: tuple[str, ...], code: int, says: str
) -> None:
    ended = run(hosted, *arguments)
    assert ended.code == code, ended
    assert says in " ".join(ended.err.replace("│", " ").split())


def test_a_setting_that_is_missing_or_wrong_is_named(hosted: Azure) -> None:
    missing = gallerist(hosted, "runs")
    assert missing.code == 2
    assert "GALLERIST_URL" in missing.err
    denied = gallerist(hosted, "runs", GALLERIST_URL=hosted.sandbox.endpoints["functions"], GALLERIST_KEY="wrong")
    assert denied.code == 5
    assert "GALLERIST_KEY" in denied.err
    assert "wrong" not in denied.out + denied.err
    nobody = gallerist(hosted, "runs", GALLERIST_URL="http://127.0.0.1:9")
    assert nobody.code == 5
