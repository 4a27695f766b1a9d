"""What a test does to the sandbox, and reads from it, as any client would."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import httpx
from azure.storage.blob import BlobClient, BlobServiceClient
from azure.storage.queue import QueueClient, QueueServiceClient

from sandbox import disk
from sandbox.azurite import Request, parse_log
from sandbox.host.keys import Keys
from sandbox.identity import Identity
from sandbox.up import Sandbox

T = TypeVar("T")
AZCOPY = shutil.which("azcopy")
_counters: dict[str, Iterator[int]] = {}


class Azure:
    """One running sandbox."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox
        self.env = sandbox.env
        self.state = sandbox.options.state_dir
        self.identity = Identity(self.state / "identity", sandbox.endpoints["arm"] + "/entra", sandbox.options.roles)
        ca_bundle = sandbox.endpoints["ca_bundle"]
        credential = self.identity.credential()
        self.blobs = BlobServiceClient(sandbox.endpoints["blob"], credential, connection_verify=ca_bundle)
        self.queues = QueueServiceClient(sandbox.endpoints["queue"], credential, connection_verify=ca_bundle)
        self.arm = httpx.Client(
            base_url=sandbox.endpoints["arm"],
            verify=ssl.create_default_context(cafile=ca_bundle),
            headers={"Authorization": f"Bearer {self.identity.token('https://management.azure.com')}"},
        )
        self._http = httpx.Client(timeout=20)
        self._images: dict[str, Iterator[int]] = {}
        self._requests: list[Request] = []
        self._read = 0

    def image(self, kind: str = "web") -> str:
        """An image of the catalog that no other test uses."""
        name = f"{kind}-{next(self._images.setdefault(kind, itertools.count())):03}"
        assert name in self.sandbox.catalog.images, f"the tests' catalog has no image of kind {kind} left"
        return name

    def blob(self, image: str, name: str) -> BlobClient:
        """The blob `name` in the drop of `image`."""
        return self.blobs.get_blob_client("vhds", f"{image}/{name}")

    def drop(self, image: str, file: Path, name: str | None = None) -> BlobClient:
        """Upload a file as a page blob, holes skipped."""
        client = self.blob(image, name or file.name)
        client.create_page_blob(file.stat().st_size)
        with file.open("rb") as content:
            for offset, length in disk.extents(file):
                content.seek(offset)
                client.upload_page(content.read(length), offset=offset, length=length)
        return client

    def queue(self, name: str) -> QueueClient:
        return self.queues.get_queue_client(name)

    def event(self, client: BlobClient, *, cloud_events: bool = False) -> str:
        """The BlobCreated event of a blob."""
        data = {"api": "PutBlob", "url": client.url, "blobType": "PageBlob", "eTag": "0x1"}
        if cloud_events:
            return json.dumps(
                {"specversion": "1.0", "id": "1", "source": "/x", "type": "Microsoft.Storage.BlobCreated", "data": data}
            )
        return json.dumps(
            {"id": "1", "topic": "/x", "subject": "/x", "eventType": "Microsoft.Storage.BlobCreated", "data": data}
        )

    def definition(self, image: str) -> str:
        return self.sandbox.catalog.definition_id(image)

    def version(self, image: str, number: str) -> dict[str, Any]:
        """What ARM says of a version, its replication included."""
        answer = self.arm.get(
            f"{self.definition(image)}/versions/{number}",
            params={"api-version": "2024-03-03", "$expand": "ReplicationStatus"},
        )
        answer.raise_for_status()
        found: dict[str, Any] = answer.json()
        return found

    def versions(self, image: str) -> list[str]:
        """The names of the versions that the definition of `image` holds."""
        answer = self.arm.get(f"{self.definition(image)}/versions", params={"api-version": "2024-03-03"})
        return sorted(found["name"] for found in answer.json().get("value", []))

    def managed_images(self, image: str) -> list[str]:
        """The names of the managed images that runs of `image` have made and not taken away."""
        group = self.env["MANAGED_IMAGE_GROUP_ID"]
        answer = self.arm.get(f"{group}/providers/Microsoft.Compute/images", params={"api-version": "2024-07-01"})
        answer.raise_for_status()
        return [
            found["name"] for found in answer.json()["value"] if found.get("tags", {}).get("gallerist-image") == image
        ]

    def advance(self, seconds: float) -> None:
        """Move Azure's time on. It does not go back: not for a sandbox that other tests use too."""
        self.arm.post("/sandbox/clock", json={"advance": seconds}).raise_for_status()

    def lock(self, scope: str, level: str = "CanNotDelete", name: str = "keep") -> None:
        """Lock a resource or a resource group, and all that is in it, until `unlock`."""
        answer = self.arm.put(
            f"{scope}/providers/Microsoft.Authorization/locks/{name}",
            params={"api-version": "2020-05-01"},
            json={"properties": {"level": level}},
        )
        answer.raise_for_status()

    def unlock(self, scope: str, name: str = "keep") -> None:
        url = f"{scope}/providers/Microsoft.Authorization/locks/{name}"
        self.arm.delete(url, params={"api-version": "2020-05-01"}).raise_for_status()

    def fault(self, **rule: Any) -> None:
        self.arm.post("/sandbox/faults", json=rule).raise_for_status()

    def fault_hits(self) -> int:
        return sum(fault["hits"] for fault in self.arm.get("/sandbox/faults").json())

    def clear(self) -> None:
        """No faults and no replication rules any more."""
        self.arm.delete("/sandbox/faults")
        self.arm.delete("/sandbox/replication")

    def storage_requests(self) -> list[Request]:
        """What storage was asked since it started, by whomever."""
        # Read on from where the last look ended: the log grows long, and tests look often
        with (self.state / "azurite.log").open("rb") as log:
            log.seek(self._read)
            lines = log.read().rpartition(b"\n")[0]
        self._read += len(lines) + 1 if lines else 0
        self._requests += parse_log(iter(lines.decode().splitlines()))
        return list(self._requests)

    def kill_hosts(self) -> None:
        """SIGKILL every functions host; the sandbox starts others in their place, as Azure does."""
        killed = {host.pid for host in self.sandbox.hosts}
        for pid in killed:
            os.kill(pid, 9)
        eventually(lambda: not killed & {host.pid for host in self.sandbox.hosts})

    def fire(self, function: str) -> None:
        """Run a function by hand, as an operator may."""
        key = Keys.load(self.state).master
        url = f"{self.sandbox.endpoints['functions']}/admin/functions/{function}"
        self._http.post(url, json={}, headers={"x-functions-key": key}).raise_for_status()


def azcopy(azure: Azure, folder: Path, vhd: Path, url: str, *options: str) -> subprocess.Popen[bytes]:
    """Start azcopy, which keeps its plans and logs in `folder`, on a VHD."""
    environment = {
        **os.environ,
        "AZCOPY_AUTO_LOGIN_TYPE": "MSI",
        "AZCOPY_LOG_LOCATION": str(folder),
        "AZCOPY_JOB_PLAN_LOCATION": str(folder),
        "HOME": str(folder),
        **{name: azure.env[name] for name in ("IDENTITY_ENDPOINT", "IDENTITY_HEADER", "SSL_CERT_FILE")},
    }
    # It signs in as the function app does, by the identity endpoint; loopback has to be named as a place for tokens.
    return subprocess.Popen(
        [
            str(AZCOPY), "copy", str(vhd), url, "--blob-type", "PageBlob", "--from-to", "LocalBlob",
            "--trusted-microsoft-suffixes", urlsplit(url).netloc, *options,
        ],
        env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip


def eventually(look: Callable[[], T | None], within: float = 45, slowest: float = 0.3) -> T:
    """What `look` finds, as soon as it finds something. Fails with what it last saw after `within` seconds.

    It looks less and less often, every `slowest` seconds in the end: to look is work for all that is looked at.
    What is there for a moment alone must be looked for more closely.
    """
    deadline = time.monotonic() + within
    pause = 0.05
    while True:
        if found := look():
            return found
        assert time.monotonic() < deadline, f"not within {within} s; last seen: {found!r}"
        time.sleep(pause)
        pause = min(pause * 1.3, slowest)
