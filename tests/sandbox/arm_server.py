"""A running ARM emulator over real TLS, with real storage behind it, for the tests of `sandbox.arm`."""

from __future__ import annotations

import ssl
import struct
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from azure.core.pipeline.transport import AsyncioRequestsTransport
from azure.mgmt.compute import ComputeManagementClient
from azure.mgmt.compute.aio import ComputeManagementClient as AsyncComputeManagementClient
from azure.storage.blob import BlobServiceClient
from starlette.types import ASGIApp

from sandbox import azurite, tls
from sandbox.arm import StorageBlobs, create_app
from sandbox.guard import Guard
from sandbox.identity import Identity
from sandbox.ports import listen

SUBSCRIPTION = "11111111-2222-3333-4444-555555555555"
ELSEWHERE = "11111111-2222-3333-4444-666666666666"
GROUP = "rgGallerist"
LOCATION = "westeurope"
MIB = 1024**2
FAST = 10_000.0
NEWEST = {"images": "2026-04-01", "virtualMachines": "2026-04-01", "disks": "2026-03-02", "snapshots": "2026-03-02"}
LOCKS = "/providers/Microsoft.Authorization/locks"
LOCKS_API = {"api-version": "2020-05-01"}
SCOPE = "https://management.azure.com/.default"


@contextmanager
def serving(app: ASGIApp, certificates: tls.Certificates) -> Iterator[str]:
    """Serve `app` over TLS in a thread; its URL."""
    listening = listen()
    config = uvicorn.Config(
        app,
        log_level="error",
        server_header=False,
        date_header=False,
        proxy_headers=False,
        ssl_certfile=str(certificates.server_cert),
        ssl_keyfile=str(certificates.server_key),
        # Clients keep their connections open, and TLS waits for them to say goodbye
        timeout_graceful_shutdown=0,
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, args=[[listening]], daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    try:
        yield f"https://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(10)


@contextmanager
def running_azurite(folder: Path, certificates: tls.Certificates) -> Iterator[str]:
    """Azurite's blob service; its URL with the account."""
    sockets = azurite.Sockets.free()
    blob, _, _ = sockets.ports
    process = azurite.start(folder / "azurite", sockets, certificates, folder / "azurite.log")
    try:
        azurite.await_ready([blob], certificates)
        yield f"https://127.0.0.1:{blob}/{azurite.ACCOUNT}"
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()


class Storage:
    """The storage account behind the emulator, to put VHDs in."""

    def __init__(self, url: str, identity: Identity, certificates: tls.Certificates) -> None:
        self.url = url
        self._signed_in = identity.credential(), certificates.ca_bundle
        self.belong_to(SUBSCRIPTION)
        service = BlobServiceClient(
            url, credential=identity.credential(), connection_verify=str(certificates.ca_bundle)
        )
        self.container = service.create_container("vhds")

    def belong_to(self, subscription: str) -> None:
        """Let the account be in that subscription, for emulators that are started from now on."""
        self.account_id = (
            f"/subscriptions/{subscription}/resourceGroups/{GROUP}/providers/Microsoft.Storage/storageAccounts/store"
        )
        self.source = StorageBlobs(self.url, self.account_id, *self._signed_in)

    def put_page_blob(self, name: str, content_size: int, footer: bytes) -> str:
        """A page blob of `content_size` empty bytes and `footer`; its URI."""
        client = self.container.get_blob_client(name)
        client.create_page_blob(content_size + len(footer))
        if footer:
            client.upload_page(footer, offset=content_size, length=len(footer))
        return str(client.url)

    def put_vhd(self, name: str, size: int = 20 * MIB) -> str:
        """A fixed VHD of `size` bytes without content; its URI."""
        return self.put_page_blob(name, size, vhd_footer(size))

    def put_block_blob(self, name: str, content: bytes) -> str:
        client = self.container.upload_blob(name, content, overwrite=True)
        return str(client.url)


def vhd_footer(size: int, disk_type: int = 2) -> bytes:
    head = struct.pack(
        ">8sIIQI4sI4sQQIII",
        b"conectix", 2, 0x10000, 2**64 - 1, 0, b"test", 0x10000, b"Wi2k", size, size, 0, disk_type, 0,
    )  # fmt: skip
    footer = bytearray(head.ljust(512, b"\0"))
    footer[64:68] = struct.pack(">I", ~sum(footer) & 0xFFFFFFFF)
    return bytes(footer)


class Arm:
    """One emulator: its URL, SDK clients, and its control endpoints."""

    def __init__(self, url: str, identity: Identity, certificates: tls.Certificates) -> None:
        self.url = url
        self.identity = identity
        self.ca_bundle = str(certificates.ca_bundle)
        self.http = httpx.Client(
            base_url=url,
            verify=ssl.create_default_context(cafile=self.ca_bundle),
            headers={"Authorization": f"Bearer {identity.token('https://management.azure.com')}"},
        )
        self.compute = self.client()

    def client(self, **options: Any) -> ComputeManagementClient:
        settings: dict[str, Any] = {
            "base_url": self.url,
            "credential_scopes": [SCOPE],
            "connection_verify": self.ca_bundle,
            "polling_interval": 0,
            "retry_total": 0,
        }
        return ComputeManagementClient(self.identity.credential(), SUBSCRIPTION, **(settings | options))

    def async_client(self, credential: Any) -> AsyncComputeManagementClient:
        return AsyncComputeManagementClient(
            credential,
            SUBSCRIPTION,
            base_url=self.url,
            credential_scopes=[SCOPE],
            connection_verify=self.ca_bundle,
            polling_interval=0,
            transport=AsyncioRequestsTransport(connection_verify=self.ca_bundle),
        )

    def path(self, *parts: str) -> str:
        return "/".join((f"/subscriptions/{SUBSCRIPTION}/resourceGroups/{GROUP}/providers/Microsoft.Compute", *parts))

    def send(
        self, method: str, path: str, json: Any = None, api_version: str = "", headers: Any = None, **query: str
    ) -> httpx.Response:
        """A request past the SDK. `api_version` is the newest of the type where none is given."""
        newest = next(
            (version for kind, version in NEWEST.items() if f"/Microsoft.Compute/{kind}" in path), "2026-03-03"
        )
        params = {"api-version": api_version or newest} | query
        return self.http.request(method, path, json=json, params=params, headers=headers)

    def finish(self, answer: httpx.Response) -> dict[str, Any]:
        """The body of the operation an answer began, once it is over. Faster than the SDK, which waits a second."""
        assert answer.status_code in (200, 201, 202), answer.text
        url = answer.headers["Azure-AsyncOperation"]
        deadline = time.monotonic() + 10
        while (body := self.http.get(url).json())["status"] == "InProgress":
            assert time.monotonic() < deadline, f"{url} does not come to an end"
            time.sleep(0.005)
        return dict(body)

    def put_group(self) -> None:
        answer = self.http.put(
            f"/subscriptions/{SUBSCRIPTION}/resourceGroups/{GROUP}?api-version=2021-04-01", json={"location": LOCATION}
        )
        assert answer.status_code in (200, 201), answer.text

    def group_elsewhere(self) -> str:
        """A resource group in another subscription."""
        group = f"/subscriptions/{ELSEWHERE}/resourceGroups/{GROUP}"
        answer = self.http.put(f"{group}?api-version=2021-04-01", json={"location": LOCATION})
        assert answer.status_code in (200, 201), answer.text
        return group

    def put_gallery(self, name: str = "gal") -> None:
        self.compute.galleries.begin_create_or_update(GROUP, name, {"location": LOCATION}).result()

    def put_definition(self, gallery: str = "gal", name: str = "web", **properties: Any) -> None:
        body = {
            "location": LOCATION,
            "properties": {
                "osType": "Linux",
                "osState": "Generalized",
                "hyperVGeneration": "V2",
                "identifier": {"publisher": "Contoso", "offer": "web", "sku": name},
            }
            | properties,
        }
        self.compute.gallery_images.begin_create_or_update(GROUP, gallery, name, body).result()

    def put_image(self, name: str, blob_uri: str, **os_disk: Any) -> str:
        image = self.compute.images.begin_create_or_update(GROUP, name, image_body(blob_uri, **os_disk)).result()
        return str(image.id)

    def reset(self) -> None:
        for what in ("faults", "replication", "requests", "throttling", "denials", "lags", "paging"):
            self.http.delete(f"/sandbox/{what}")
        for lock in self.http.get(f"/subscriptions/{SUBSCRIPTION}{LOCKS}", params=LOCKS_API).json().get("value", []):
            self.http.delete(lock["id"], params=LOCKS_API)


def image_body(blob_uri: str, generation: str = "V2", **os_disk: Any) -> dict[str, Any]:
    disk = {"osType": "Linux", "osState": "Generalized", "blobUri": blob_uri} | os_disk
    return {
        "location": LOCATION,
        "properties": {"hyperVGeneration": generation, "storageProfile": {"osDisk": disk}},
    }


def version_body(source_id: str | None = None, *regions: Any, **publishing: Any) -> dict[str, Any]:
    targets = [{"name": one} if isinstance(one, str) else one for one in regions or (LOCATION,)]
    properties: dict[str, Any] = {"publishingProfile": {"targetRegions": targets} | publishing}
    if source_id is not None:
        properties["storageProfile"] = {"source": {"id": source_id}}
    return {"location": LOCATION, "properties": properties}


@contextmanager
def running_arm(
    state_dir: Path, time_scale: float, identity: Identity, storage: Storage, certificates: tls.Certificates
) -> Iterator[Arm]:
    app = create_app(
        state_dir=state_dir, time_scale=time_scale, identity=identity, blobs=storage.source, guard=Guard("token")
    )
    with serving(app, certificates) as url:
        arm = Arm(url, identity, certificates)
        arm.put_group()
        yield arm


class Web:
    """The definition `web` in a gallery, and its versions."""

    def __init__(self, arm: Arm, gallery: str) -> None:
        self.arm = arm
        self.gallery = gallery

    def path(self, version: str) -> str:
        return self.arm.path("galleries", self.gallery, "images", "web", "versions", version)

    def put(self, version: str, body: dict[str, Any], method: str = "PUT") -> httpx.Response:
        return self.arm.send(method, self.path(version), json=body)

    def made(self, version: str, body: dict[str, Any], method: str = "PUT") -> dict[str, Any]:
        """The version once its operation is over, with its replication status."""
        self.arm.finish(self.put(version, body, method))
        return self.get(version)

    def get(self, version: str) -> dict[str, Any]:
        answer = self.arm.send("GET", self.path(version), **{"$expand": "ReplicationStatus"})
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found
