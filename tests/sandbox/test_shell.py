"""`set -a; . DIR/env` is all that a shell needs to reach the sandbox by the command line, azcopy, `az` and the SDKs."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.access import Role
from sandbox import disk
from sandbox.host.keys import Keys
from sandbox.shell import read_env, write_env
from sandbox.up import ROOT
from tests.azure import Azure, eventually

AZ = os.environ.get("GALLERIST_AZ") or shutil.which("az")
SHELLS = [path for name in ("sh", "bash", "dash", "zsh") if (path := shutil.which(name))]


def sourced(env: Path, script: str, *arguments: object, shell: str = "sh", home: Path) -> str:
    """What `script` prints in a shell that has sourced `env`, and has nothing else set."""
    done = subprocess.run(
        [shell, "-euc", f'set -a; . "{env}"; set +a; {script}', shell, *map(str, arguments)],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "HOME": str(home)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("shell", SHELLS, ids=lambda path: Path(path).name)
def test_a_shell_sets_what_was_written(tmp_path: Path, shell: str) -> None:
    values = {
        "PLAIN": "https://127.0.0.1:10000/devstoreaccount1",
        "SCHEDULE": "*/10 * * * * *",
        "LIST": '["a", "b c"]',
        "QUOTES": 'it\'s "so" `id` $HOME \\ #',
        "LINES": "one\ntwo",
        "EMPTY": "",
    }
    write_env(tmp_path / "env", values)
    script = f'"{sys.executable}" -c "import json, os; print(json.dumps(dict(os.environ)))"'
    shown = json.loads(sourced(tmp_path / "env", script, shell=shell, home=tmp_path))
    assert {name: shown.get(name) for name in values} == values
    assert read_env(tmp_path / "env") == values


def test_the_function_app_is_given_what_is_written(hosted: Azure) -> None:
    assert hosted.env.items() <= read_env(hosted.state / "env").items()


def test_there_is_a_key_for_each_role(hosted: Azure) -> None:
    env, keys = read_env(hosted.state / "env"), Keys.load(hosted.state)
    assert env["GALLERIST_KEY"] == keys.roles["operator"]
    assert {role: env[f"GALLERIST_KEY_{role.upper()}"] for role in Role} == keys.roles
    assert env["API_KEY_ROLES"].split(",") == list(Role)


def test_the_command_line_uploads_and_watches(hosted: Azure, tmp_path: Path) -> None:
    image = hosted.image()
    vhd = disk.make_vhd(tmp_path / "x.vhd")
    gallerist = f'"{sys.executable}" -m pipeline.cli'
    env = hosted.state / "env"
    sourced(env, f'{gallerist} upload "$1" --image "$2"', vhd, image, home=tmp_path)
    listed = f'{gallerist} runs --image "$1" --json'
    (run,) = eventually(lambda: json.loads(sourced(env, listed, image, home=tmp_path))["runs"])
    sourced(env, f'{gallerist} watch "$1"', run["run"], home=tmp_path)
    assert hosted.versions(image) == ["1.0.0"]


def test_an_sdk_signs_in(hosted: Azure, tmp_path: Path) -> None:
    script = """
import os
from azure.identity import DefaultAzureCredential
from azure.storage.queue import QueueServiceClient
queues = QueueServiceClient(os.environ["Storage__queueServiceUri"], DefaultAzureCredential())
print([queue.name for queue in queues.list_queues()])
"""
    assert "publish-requests" in sourced(hosted.state / "env", f'"{sys.executable}" -c "$1"', script, home=tmp_path)


@pytest.mark.skipif(shutil.which("azcopy") is None, reason="azcopy is not on the PATH")
def test_azcopy_signs_in(hosted: Azure, tmp_path: Path) -> None:
    image = hosted.image()
    vhd = disk.make_vhd(tmp_path / "x.vhd")
    script = """
host=${GALLERIST_STORAGE#https://}
azcopy copy "$1" "$GALLERIST_STORAGE/vhds/$2/x.vhd" --blob-type PageBlob --put-md5 --from-to LocalBlob \
  --trusted-microsoft-suffixes "${host%%/*}"
"""
    sourced(hosted.state / "env", script, vhd, image, home=tmp_path)
    eventually(lambda: hosted.versions(image) == ["1.0.0"])


@pytest.mark.skipif(AZ is None, reason="the Azure CLI is not here: az is not on the PATH, GALLERIST_AZ is not set")
@pytest.mark.timeout(120)
def test_the_azure_cli_is_signed_in(hosted: Azure, tmp_path: Path) -> None:
    env = hosted.state / "env"
    account = json.loads(sourced(env, '"$1" account show', AZ, home=tmp_path))
    assert account["environmentName"] == "sandbox"
    group = hosted.definition("web-000").split("/")[4]
    subscription = hosted.definition("web-000").split("/")[2]
    listed = '"$1" sig list --resource-group "$2" --subscription "$3" --query "[].name"'
    assert "galStaging" in json.loads(sourced(env, listed, AZ, group, subscription, home=tmp_path))
    put = (
        '"$1" storage message put --queue-name "$2" --queue-endpoint "$Storage__queueServiceUri" '
        "--account-name devstoreaccount1 --content hello"
    )
    hosted.queue("by-az").create_queue()
    sourced(env, put, AZ, "by-az", home=tmp_path)
    assert hosted.queue("by-az").receive_message() is not None
