"""infra/verify.sh: what it says of itself, and what of it the sandbox can answer, answered by the sandbox."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from sandbox.host.keys import Keys
from tests.azure import Azure

INFRA = Path(__file__).parents[2] / "infra"
SCRIPT = INFRA / "verify.sh"
NOT_CHECKED = (INFRA / "README.md").read_text(encoding="utf-8").split("## Not checked here")[1]


def verify(*options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [SCRIPT, *options],
        env={"PATH": os.environ["PATH"], "HOME": "/nonexistent", **environment},
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip


def listed() -> list[str]:
    return [line.split()[0] for line in verify("--list").stdout.splitlines()]


def test_it_tries_what_the_readme_lists_in_that_order() -> None:
    assert listed() == re.findall(r"^\| `([a-z-]+)` \|", NOT_CHECKED, re.MULTILINE)
    assert len(listed()) > 20


def test_the_readme_and_the_script_say_the_same_fallback() -> None:
    script = SCRIPT.read_text(encoding="utf-8")
    for name in listed():
        assert f"\ncheck_{name.replace('-', '_')}() {{\n" in script
        (fallback,) = re.findall(rf"^{name} \|.*\| (.+)$", script, re.MULTILINE)
        for command in re.findall(r"[A-Z]+(?:_[A-Z]+)+", fallback):
            (row,) = re.findall(rf"^\| `{name}` \|.*$", NOT_CHECKED, re.MULTILINE)
            assert command in row, name


def test_what_it_would_run_is_printed_and_not_run() -> None:
    done = verify("--dry-run", "--image", "ubuntu-web", "--direct-image", "arm-edge", "--disturb")
    assert (done.returncode, done.stderr) == (0, "")
    told = done.stdout
    assert [re.sub(":.*", "", line[2:]) for line in told.splitlines() if line.startswith("# ")][:-1] == listed()
    # What is made is taken away, and what is shut is opened again.
    for made, taken in [
        ("publish ubuntu-web", "curl -sS -X DELETE 'https://management.azure.com"),
        ("az ad sp create-for-rbac", "az ad app delete"),
        ("az group create", "az group delete"),
        ("az image create", "az image delete"),
        ("--default-action Deny", "--default-action Allow"),
    ]:
        assert told.index(made) < told.index(taken), made
    key = r"'\S*/functionKeys/gallerist-verify\?"
    assert re.search(f"-X PUT {key}.*-X DELETE {key}", told, re.DOTALL)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--nonsense"], "there is no option --nonsense"),
        (["--only", "nonsense"], "there is no check nonsense; --list"),
        (["--image"], "--image takes a value"),
        (["--image", "ubuntu-web"], "say --yes"),
    ],
)
def test_what_it_cannot_read_or_may_not_make_is_refused(options: list[str], says: str) -> None:
    done = verify(*options)
    assert done.returncode == 2
    assert says in done.stderr
    assert "verdict" not in done.stdout


def test_what_is_not_known_is_not_tried() -> None:
    done = verify("--only", "answers", "--only", "ftp-policy", "--only", "managed-image", "--yes")
    verdicts = dict(re.findall(r"^([a-z-]+) +not tried +(.*)$", done.stdout, re.MULTILINE))
    assert verdicts["answers"] == "GALLERIST_URL is not known: azd env get-values has none"
    assert verdicts["ftp-policy"].startswith("AZURE_SUBSCRIPTION_ID is not known")
    assert verdicts["managed-image"].startswith("give --image NAME")
    assert done.returncode == 0


def verify_sandbox(
    azure: Azure, folder: Path, *checks: str, options: tuple[str, ...]
) -> subprocess.CompletedProcess[str]:
    return verify(
        *(word for name in checks for word in ("--only", name)), *options,
        "--container", "vhds", "--every", "1", "--minutes", "1", "--yes",
        **azure.env,
        AZURE_CONFIG_DIR=str(folder),
        GALLERIST_URL=azure.sandbox.endpoints["functions"],
        GALLERIST_KEY=Keys.load(azure.state).function,
        GALLERIST_STORAGE=azure.sandbox.endpoints["blob"],
    )  # fmt: skip


def left(azure: Azure) -> list[str]:
    return [str(blob.name) for blob in azure.blobs.get_container_client("vhds").list_blobs("gallerist-verify/")]


def test_the_sandbox_answers_it_and_nothing_is_left(hosted: Azure, tmp_path: Path) -> None:
    image, direct = hosted.image(), hosted.image("arm")
    done = verify_sandbox(
        hosted, tmp_path, "answers", "managed-image", "version-echo", "direct-version", "table-filter", "blob-tags",
        "soft-delete", "zone-redundant-vhd", options=("--image", image, "--direct-image", direct),
    )  # fmt: skip
    verdicts = dict(re.findall(r"^([a-z-]+) +(yes|no|not tried) ", done.stdout, re.MULTILINE))
    assert verdicts == {
        "answers": "yes", "managed-image": "yes", "version-echo": "yes", "direct-version": "yes",
        "table-filter": "yes", "blob-tags": "yes", "soft-delete": "yes", "zone-redundant-vhd": "not tried",
    }, done.stdout + done.stderr  # fmt: skip
    assert done.returncode == 0
    assert "Left behind" not in done.stderr
    for one in (image, direct):
        assert hosted.versions(one) == []
        assert hosted.managed_images(one) == []
    assert left(hosted) == []


def test_a_no_comes_with_what_azure_said_and_what_to_do(hosted: Azure, tmp_path: Path) -> None:
    image = hosted.image()
    denial = {"path": "/gallerist-verify/verify-", "actions": "/listKeys/action$"}
    hosted.arm.post("/sandbox/denials", json=denial).raise_for_status()
    try:
        done = verify_sandbox(hosted, tmp_path, "managed-image", "soft-delete", options=("--image", image))
    finally:
        hosted.arm.delete("/sandbox/denials").raise_for_status()
    assert done.returncode == 1
    assert re.search(r"^managed-image +no +LinkedAuthorizationFailed: .*listKeys", done.stdout, re.MULTILINE)
    assert re.search(r"^ +-> azd env set VHD_LIST_KEYS true, then azd provision$", done.stdout, re.MULTILINE)
    assert re.search(r"^soft-delete +not tried +LinkedAuthorizationFailed: ", done.stdout, re.MULTILINE)
    assert left(hosted) == []
