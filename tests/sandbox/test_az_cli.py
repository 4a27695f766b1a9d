"""The Azure CLI against the sandbox: the commands that people type for galleries, versions and images.

Runs where `az` is on the PATH, or where GALLERIST_AZ names it.
"""

from __future__ import annotations

import json
import os
import shutil
import socketserver
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
from arm_server import MIB, vhd_footer

from sandbox.up import VHD_ACCOUNT
from tests.azure import Azure

AZ = os.environ.get("GALLERIST_AZ") or shutil.which("az")
GROUP = "rg-images"
IN_GALLERY = ["--resource-group", GROUP, "--gallery-name", "galCli"]
IN_DEFINITION = [*IN_GALLERY, "--gallery-image-definition", "web"]

pytestmark = [
    pytest.mark.skipif(AZ is None, reason="the Azure CLI is not here: az is not on the PATH, GALLERIST_AZ is not set"),
    pytest.mark.timeout(300),
]


class Az:
    """The CLI, logged in to a cloud of its own with a configuration of its own."""

    def __init__(self, azure: Azure, config: Path, proxy: str) -> None:
        self._env = {
            "PATH": os.environ["PATH"],
            "HOME": str(config),
            "AZURE_CONFIG_DIR": str(config),
            "AZURE_CORE_COLLECT_TELEMETRY": "0",
            "AZURE_CORE_INSTANCE_DISCOVERY": "0",
            "AZURE_CORE_ONLY_SHOW_ERRORS": "1",
            # Whatever does not go to the sandbox is caught
            "HTTP_PROXY": proxy,
            "HTTPS_PROXY": proxy,
            "NO_PROXY": "127.0.0.1",
        } | {name: azure.env[name] for name in ("IDENTITY_ENDPOINT", "IDENTITY_HEADER", "REQUESTS_CA_BUNDLE")}
        self("cloud", "register", "--name", "sandbox", "--endpoint-resource-manager", azure.sandbox.endpoints["arm"])
        self("cloud", "set", "--name", "sandbox")
        self("login", "--identity")

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        assert AZ is not None
        return subprocess.run(
            [AZ, *command, "--output", "json"], env=self._env, capture_output=True, text=True, timeout=120, check=False
        )

    def __call__(self, *command: str) -> Any:
        """What a command prints, which must not fail."""
        done = self.run(*command)
        assert done.returncode == 0, f"az {' '.join(command)}\n{done.stderr}"
        return json.loads(done.stdout) if done.stdout.strip() else None

    def error(self, *command: str) -> str:
        """What a command complains of, which must fail."""
        done = self.run(*command)
        assert done.returncode != 0, f"az {' '.join(command)}\n{done.stdout}"
        return done.stderr


class Outside(socketserver.BaseRequestHandler):
    """The proxy to everywhere but the sandbox: it turns callers away and remembers whom they asked for."""

    asked: ClassVar[list[str]] = []

    def handle(self) -> None:
        self.asked.append(self.request.recv(1000).decode().splitlines()[0])


@pytest.fixture(scope="module")
def az(bare: Azure, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Az]:
    with socketserver.TCPServer(("127.0.0.1", 0), Outside) as outside:
        threading.Thread(target=outside.serve_forever, daemon=True).start()
        yield Az(bare, tmp_path_factory.mktemp("az"), f"http://127.0.0.1:{outside.server_address[1]}")
        outside.shutdown()
    # With a new configuration the CLI looks once for its own newest release, which no setting turns off
    assert set(Outside.asked) <= {"CONNECT azcliprod.blob.core.windows.net:443 HTTP/1.0"}


@pytest.fixture(scope="module")
def vhd(bare: Azure) -> str:
    blob = bare.blobs.get_blob_client("vhds", "az-cli.vhd")
    blob.create_page_blob(20 * MIB + 512)
    blob.upload_page(vhd_footer(20 * MIB), offset=20 * MIB, length=512)
    return str(blob.url)


def test_from_vhd_to_version_and_back(az: Az, vhd: str) -> None:
    assert az("sig", "create", *IN_GALLERY, "--description", "by hand")["provisioningState"] == "Succeeded"
    assert "galCli" in [gallery["name"] for gallery in az("sig", "list")]
    assert az("sig", "show", *IN_GALLERY)["description"] == "by hand"
    assert "galCli" in [found["name"] for found in az("resource", "list", "--resource-group", GROUP)]

    made = az(
        "sig", "image-definition", "create", *IN_DEFINITION, "--publisher", "Contoso", "--offer", "web", "--sku", "cli",
        "--os-type", "Linux", "--os-state", "Generalized", "--hyper-v-generation", "V2",
    )  # fmt: skip
    assert made["identifier"] == {"publisher": "Contoso", "offer": "web", "sku": "cli"}
    assert az("sig", "image-definition", "show", *IN_DEFINITION) == made

    image = az(
        "image", "create", "--resource-group", GROUP, "--name", "imgCli", "--source", vhd,
        "--os-type", "Linux", "--hyper-v-generation", "V2",
    )  # fmt: skip
    assert image["storageProfile"]["osDisk"]["blobUri"] == vhd
    assert "imgCli" in [one["name"] for one in az("image", "list", "--resource-group", GROUP)]

    az(
        "sig", "image-version", "create", *IN_DEFINITION, "--gallery-image-version", "1.0.0",
        "--managed-image", "imgCli", "--target-regions", "westeurope", "northeurope=2=standard_zrs",
        "--replica-count", "3", "--exclude-from-latest", "true", "--no-wait",
    )  # fmt: skip
    one = [*IN_DEFINITION, "--gallery-image-version", "1.0.0"]
    az("sig", "image-version", "wait", *one, "--created", "--interval", "1")
    version = az("sig", "image-version", "show", *one, "--expand", "ReplicationStatus")
    assert version["publishingProfile"]["excludeFromLatest"] is True
    assert [tuple(region.values()) for region in version["publishingProfile"]["targetRegions"]] == [
        ("West Europe", 3, "Standard_LRS"),
        ("North Europe", 2, "Standard_ZRS"),
    ]
    assert version["replicationStatus"]["aggregatedState"] == "Completed"

    dropped = ["sig", "image-version", "update", *one, "--target-regions", "westeurope", "swedencentral=1"]
    assert "OperationNotAllowed" in az.error(*dropped)
    updated = az(
        *dropped, "--allow-replicated-location-deletion", "true",
        "--set", "publishingProfile.excludeFromLatest=false",
    )  # fmt: skip
    assert updated["publishingProfile"]["excludeFromLatest"] is False
    assert [region["name"] for region in updated["publishingProfile"]["targetRegions"]] == [
        "West Europe",
        "Sweden Central",
    ]

    az(
        "sig", "image-version", "create", *IN_DEFINITION, "--gallery-image-version", "1.1.0",
        "--os-vhd-uri", vhd, "--os-vhd-storage-account", VHD_ACCOUNT,
    )  # fmt: skip
    assert [one["name"] for one in az("sig", "image-version", "list", *IN_DEFINITION)] == ["1.0.0", "1.1.0"]

    assert "CannotDeleteResource" in az.error("sig", "image-definition", "delete", *IN_DEFINITION)
    for name in ("1.0.0", "1.1.0"):
        az("sig", "image-version", "delete", *IN_DEFINITION, "--gallery-image-version", name)
    az("sig", "image-definition", "delete", *IN_DEFINITION)
    az("sig", "delete", *IN_GALLERY)
    az("image", "delete", "--resource-group", GROUP, "--name", "imgCli")
    assert "ResourceNotFound" in az.error("sig", "show", *IN_GALLERY)


def test_locks(az: Az) -> None:
    gallery = ["--resource-group", GROUP, "--gallery-name", "galLocked"]
    az("sig", "create", *gallery)
    of = ["--resource-group", GROUP, "--resource-type", "Microsoft.Compute/galleries", "--resource", "galLocked"]
    made = az("lock", "create", "--name", "keep", "--lock-type", "CanNotDelete", "--notes", "ours", *of)
    assert (made["level"], made["notes"], made["type"]) == ("CanNotDelete", "ours", "Microsoft.Authorization/locks")
    assert az("lock", "show", "--name", "keep", *of) == made
    assert az("lock", "list", *of) == [made]
    assert "keep" in [found["name"] for found in az("lock", "list", "--resource-group", GROUP)]
    assert az("lock", "list", "--resource-group", GROUP, "--filter-string", "atScope()") == []
    assert "(ScopeLocked)" in az.error("sig", "delete", *gallery)
    assert az("sig", "update", *gallery, "--set", "description=changed")["description"] == "changed"
    assert az("lock", "update", "--name", "keep", "--lock-type", "ReadOnly", *of)["level"] == "ReadOnly"
    refused = az.error("sig", "update", *gallery, "--set", "description=again")
    assert "cannot perform write operation because following scope(s) are locked" in refused
    az("lock", "delete", "--name", "keep", *of)
    az("sig", "delete", *gallery)
