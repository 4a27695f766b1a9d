"""Starts Azure on this machine, and stops all it started."""

from __future__ import annotations

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Literal

import httpx
import structlog
import uvicorn
from azure.storage.blob import BlobServiceClient
from azure.storage.queue import QueueClient
from starlette.applications import Starlette
from starlette.routing import Mount

from pipeline.access import Role
from pipeline.catalog import Catalog, load_catalog
from sandbox import azurite, shell
from sandbox.arm import StorageBlobs, create_app
from sandbox.eventgrid import EventGrid, to_queue, to_webhook
from sandbox.guard import Guard, own_file, own_folder
from sandbox.host.keys import Keys
from sandbox.identity import Identity
from sandbox.ports import listen
from sandbox.provision import UPLOADS, provision
from sandbox.tls import Certificates, certificates
from sandbox.topic import create_topic

_log = structlog.get_logger()

ROOT = Path(__file__).parent.parent
SERVICES = ["blob", "queue", "table", "arm", "identity", "functions"]
VHD_ACCOUNT = (
    "/subscriptions/00000000-0000-4000-8000-000000000001/resourceGroups/rg-storage"
    f"/providers/Microsoft.Storage/storageAccounts/{azurite.ACCOUNT}"
)
MANAGED_IMAGE_GROUP = "/subscriptions/00000000-0000-4000-8000-000000000001/resourceGroups/rg-images"
_READY_WITHIN = 30.0  # seconds
_DIES_EARLY = 3.0  # seconds; a host that lives shorter than this three times over will not start at all


class SandboxError(RuntimeError):
    """The sandbox cannot run. The message says what to do."""


@dataclass(frozen=True)
class Options:
    """How to run. `port_base` 0 takes six free ports; `time_scale` is how many times faster Azure runs."""

    state_dir: Path = Path(".sandbox")
    port_base: int = 0
    time_scale: float = 1.0
    instances: int = 1
    host: bool = True
    catalog: Path = ROOT / "sandbox" / "catalog.yaml"
    events: Literal["queue", "webhook", "scan", "none"] = "queue"
    """How the function app is told of blobs: Event Grid to the queue, Event Grid to the blob trigger's webhook,
    the blob trigger's own scan, or not at all."""
    app_dir: Path = ROOT
    settings: dict[str, str] = field(default_factory=dict)
    """App settings beside, or instead of, those the sandbox chooses."""
    seed_galleries: list[str] | None = None
    """The catalog's galleries that exist from the start; all of them where not given."""
    sign_in: bool = False
    """Whether callers of the HTTP API sign in with Entra's tokens, and no key is accepted."""
    roles: Sequence[str] = ("Operator",)
    """The app roles that the sandbox's managed identity is assigned at the HTTP API."""
    quiet: bool = False
    """Keep what the functions host prints out of the terminal, in its log file alone."""
    public_authorities: bool = True
    """Whether who trusts the sandbox's certificates trusts the rest of the world's too."""


class Sandbox:
    """One Azure on loopback. `start` returns when it is ready; `stop` ends all that was started."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.endpoints: dict[str, str] = {}
        self.env: dict[str, str] = {}
        self.catalog: Catalog = load_catalog(options.catalog)
        self._stops: list[Callable[[], None]] = []
        self._stopping = threading.Event()
        self.failure: str | None = None
        self.hosts: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Sandbox:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start everything, in the order of need. Raises SandboxError."""
        try:
            folder = own_folder(self.options.state_dir.resolve())
        except PermissionError as error:
            raise SandboxError(str(error)) from error
        for stale in ("endpoints.json", "env"):
            (folder / stale).unlink(missing_ok=True)
        sockets = _listen(self.options.port_base)
        self._stops.extend(held.close for held in sockets.values())
        ports = {name: held.getsockname()[1] for name, held in sockets.items()}
        trusted = certificates(folder / "tls", public=self.options.public_authorities)
        authority = f"https://127.0.0.1:{ports['arm']}/entra"
        identity = Identity(folder / "identity", authority, self.options.roles)
        tls = f"https://127.0.0.1:{{}}/{azurite.ACCOUNT}"
        self.endpoints = {
            **{name: tls.format(ports[name]) for name in ("blob", "queue", "table")},
            "arm": f"https://127.0.0.1:{ports['arm']}",
            "identity": f"http://127.0.0.1:{ports['identity']}/msi/token",
            "functions": f"http://127.0.0.1:{ports['functions']}",
            "ca_bundle": str(trusted.ca_bundle),
        }
        storage = azurite.start(
            folder / "azurite",
            azurite.Sockets(sockets["blob"], sockets["queue"], sockets["table"]),
            trusted,
            folder / "azurite.log",
        )
        self._stops.append(lambda: _end(storage))
        token = secrets.token_urlsafe(32)
        guard = Guard(token)
        blobs = StorageBlobs(self.endpoints["blob"], VHD_ACCOUNT, identity.credential(), trusted.ca_bundle)
        arm = create_app(
            state_dir=folder / "arm",
            time_scale=self.options.time_scale,
            identity=identity,
            blobs=blobs,
            guard=guard,
            beside=[Mount("/topic", create_topic(identity, guard)), Mount("/entra", identity.entra())],
        )
        self._serve(arm, sockets["arm"], trusted)
        self._serve(identity.app(), sockets["identity"])
        try:
            azurite.await_ready([ports[name] for name in ("blob", "queue", "table")], trusted)
        except OSError as error:
            raise SandboxError(f"Azurite does not start: see {folder / 'azurite.log'}") from error
        provision(
            self.catalog,
            self.options.seed_galleries,
            MANAGED_IMAGE_GROUP,
            self.endpoints,
            identity.credential(),
            identity.token("https://management.azure.com"),
        )
        self._start_events(folder, identity)
        self.env = self._environment(identity, authority)
        if self.options.host:
            self._start_hosts(sockets["functions"], folder)
        else:
            sockets["functions"].close()  # for a host of one's own
        self._watch(storage)
        subscriptions = [VHD_ACCOUNT, *(gallery.id for gallery in self.catalog.galleries.values())]
        shell.configure_az(
            folder / "az", self.endpoints["arm"], identity.tenant_id, [found.split("/")[2] for found in subscriptions]
        )
        audience = identity.api_audience if self.options.sign_in else None
        clients = shell.clients(folder, self.endpoints, audience) | {"SANDBOX_TOKEN": token}
        shell.write_env(folder / "env", self.env | clients)
        shell.write(folder / "endpoints.json", json.dumps(self.endpoints, indent=2) + "\n")

    def stop(self) -> None:
        """Stop all that was started, last started first."""
        self._stopping.set()
        while self._stops:
            self._stops.pop()()

    def wait(self) -> None:
        """Block until something ends the sandbox. Raises SandboxError where that was a fault."""
        while not self._stopping.wait(0.5):
            pass
        if self.failure:
            raise SandboxError(self.failure)

    def end(self) -> None:
        """Let `wait` return."""
        self._stopping.set()

    def _serve(self, app: Starlette, listening: socket.socket, tls: Certificates | None = None) -> None:
        port = listening.getsockname()[1]
        config = uvicorn.Config(
            app, log_level="warning", access_log=False, lifespan="off",
            server_header=False,  # ARM sends none
            proxy_headers=False,  # who calls is who is connected, whatever a header says
            date_header=tls is None,  # ARM, which TLS is for, has a time of its own
            ssl_certfile=str(tls.server_cert) if tls else None, ssl_keyfile=str(tls.server_key) if tls else None,
        )  # fmt: skip
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, args=[[listening]], name=f"port-{port}", daemon=True)
        thread.start()
        deadline = time.monotonic() + _READY_WITHIN
        while not server.started:
            if not thread.is_alive() or time.monotonic() > deadline:
                raise SandboxError(f"nothing answers on port {port}")
            time.sleep(0.01)

        def stop() -> None:
            server.should_exit = server.force_exit = True  # clients keep idle connections open
            thread.join(timeout=1)  # from Python 3.12 on it waits for those connections all the same

        self._stops.append(stop)

    def _start_events(self, folder: Path, identity: Identity) -> None:
        ca_bundle, credential = self.endpoints["ca_bundle"], identity.credential()
        if self.options.events == "queue":
            deliver = to_queue(
                QueueClient(self.endpoints["queue"], UPLOADS, credential=credential, connection_verify=ca_bundle)
            )
        elif self.options.events == "webhook":
            hook = f"{self.endpoints['functions']}/runtime/webhooks/blobs?functionName=Host.Functions.take_upload"
            deliver = to_webhook(lambda: f"{hook}&code={Keys.load(folder).blobs_extension}")
        else:
            return
        blobs = BlobServiceClient(self.endpoints["blob"], credential, connection_verify=ca_bundle)
        grid = EventGrid(folder / "azurite.log", blobs, deliver)
        grid.start()
        self._stops.append(grid.stop)

    def _environment(self, identity: Identity, authority: str) -> dict[str, str]:
        signed_in = {
            "API_CLIENT_ID": identity.api_client_id,
            "API_TENANT_ID": identity.tenant_id,
            "API_AUTHORITY": authority,
        }
        faster = self.options.time_scale
        trigger = {"webhook": "EventGrid", "scan": "LogsAndContainerScan"}.get(self.options.events)
        return {
            **{
                f"{connection}__{service}ServiceUri": self.endpoints[service]
                for connection in ("AzureWebJobsStorage", "Storage")
                for service in ("blob", "queue", "table")
            },
            "FUNCTIONS_WORKER_RUNTIME": "python",
            "IDENTITY_ENDPOINT": self.endpoints["identity"],
            "IDENTITY_HEADER": identity.header,
            "REQUESTS_CA_BUNDLE": self.endpoints["ca_bundle"],
            "SSL_CERT_FILE": self.endpoints["ca_bundle"],
            "AZURE_TOKEN_CREDENTIALS": "ManagedIdentityCredential",
            "ARM_ENDPOINT": self.endpoints["arm"],
            "EVENTS_ENDPOINT": self.endpoints["arm"] + "/topic/api/events",
            "CATALOG": str(self.options.catalog.resolve()),
            "VHD_CONTAINER": "vhds",
            "VHD_STORAGE_ACCOUNT_ID": VHD_ACCOUNT,
            "MANAGED_IMAGE_GROUP_ID": MANAGED_IMAGE_GROUP,
            **(signed_in if self.options.sign_in else {"API_KEY_ROLES": ",".join(Role)}),
            **({"VHD_BLOB_TRIGGER": trigger} if trigger else {}),
            "SWEEP_SCHEDULE": "0 */5 * * * *" if faster < 60 else "*/5 * * * * *",
            "SWEEP_GRACE_SECONDS": f"{max(120 / faster, 5):g}",
            "UPLOAD_SETTLE_SECONDS": f"{max(60 / faster, 1):g}",
            "UPLOAD_STALL_SECONDS": f"{max(3600 / faster, 30):g}",
            "POLL_SECONDS": f"{max(10 / faster, 1):g}",
            "POLL_MAX_SECONDS": f"{max(120 / faster, 2):g}",
            **self.options.settings,
        }

    def _start_hosts(self, functions: socket.socket, folder: Path) -> None:
        self.hosts = [self._start_host(functions, folder, n) for n in range(self.options.instances)]
        self._stops.append(self._end_hosts)
        deadline = time.monotonic() + _READY_WITHIN
        asking = httpx.Client(base_url=self.endpoints["functions"], timeout=1, trust_env=False)
        while not self._stopping.is_set():
            try:
                asking.get("/admin/host/status").raise_for_status()
            except httpx.HTTPError as error:
                dead = [host for host in self.hosts if host.poll() is not None]
                if dead or time.monotonic() > deadline:
                    raise SandboxError(f"the functions host does not start: see {folder}/host-0.log") from error
                time.sleep(0.05)
            else:
                break
        threading.Thread(target=self._keep_hosts, args=(functions, folder), name="hosts", daemon=True).start()

    def _start_host(self, functions: socket.socket, folder: Path, number: int) -> subprocess.Popen[bytes]:
        command = [
            sys.executable, "-m", "sandbox.host", "--state-dir", str(folder),
            "--app-dir", str(self.options.app_dir), "--fd", str(functions.fileno()),
            "--time-scale", str(self.options.time_scale),
        ]  # fmt: skip
        with own_file(folder / f"host-{number}.log").open("ab") as log:
            out: IO[bytes] | None = log if self.options.quiet else None
            return subprocess.Popen(
                command, cwd=ROOT, env={**os.environ, **self.env}, stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                pass_fds=[functions.fileno()], start_new_session=True, umask=0o077,
            )  # fmt: skip

    def _end_hosts(self) -> None:
        for host in self.hosts:
            host.terminate()
        for host in self.hosts:
            _end(host)

    def _keep_hosts(self, functions: socket.socket, folder: Path) -> None:
        """Start another instance where one died, as Azure does."""
        began = [time.monotonic()] * len(self.hosts)
        early = 0
        while not self._stopping.wait(0.1):
            for number, host in enumerate(self.hosts):
                if host.poll() is None:
                    continue
                early = early + 1 if time.monotonic() - began[number] < _DIES_EARLY else 0
                if early >= 3:
                    self.failure = f"the functions host does not stay up: see {folder}/host-{number}.log"
                    self._stopping.set()
                    return
                _log.warning("host_died", instance=number, code=host.returncode)
                if not self._stopping.is_set():
                    self.hosts[number] = self._start_host(functions, folder, number)
                    began[number] = time.monotonic()

    def _watch(self, storage: subprocess.Popen[bytes]) -> None:
        def watch() -> None:
            while not self._stopping.wait(0.2):
                if storage.poll() is not None:
                    self.failure = f"Azurite ended with code {storage.returncode}: see azurite.log"
                    self._stopping.set()

        threading.Thread(target=watch, name="azurite-watch", daemon=True).start()


def run(options: Options, ready: Callable[[Sandbox], None]) -> None:
    """Run a sandbox in the foreground until a signal ends it. Raises SandboxError."""
    sandbox = Sandbox(options)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: sandbox.end())
    with sandbox:
        ready(sandbox)
        sandbox.wait()


def _listen(base: int) -> dict[str, socket.socket]:
    """A listening socket for each service: its port is nobody else's from here on."""
    held: dict[str, socket.socket] = {}
    try:
        for number, name in enumerate(SERVICES):
            port = base + number if base else 0
            try:
                held[name] = listen(port)
            except OSError as error:
                raise SandboxError(
                    f"port {port}, which {name} wants, is in use: end what holds it, or give another --port-base"
                ) from error
    except SandboxError:
        for taken in held.values():
            taken.close()
        raise
    return held


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
