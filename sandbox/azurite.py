"""Azurite: the storage of the sandbox, over TLS and with OAuth."""

from __future__ import annotations

import json
import os
import re
import socket
import ssl
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

from sandbox.guard import own_file, own_folder
from sandbox.ports import listen
from sandbox.tls import Certificates

ACCOUNT = "devstoreaccount1"
MAIN = Path(__file__).parent / "node_modules" / "azurite" / "dist" / "src" / "azurite.js"
_READY_WITHIN = 30.0  # seconds
_LISTENS_ON_GIVEN = Path(__file__).with_suffix(".cjs")


@dataclass(frozen=True)
class Sockets:
    """Where Azurite listens: sockets that listen already, so that nobody else has their ports."""

    blob: socket.socket
    queue: socket.socket
    table: socket.socket

    @classmethod
    def free(cls) -> Sockets:
        """On ports that are free."""
        return cls(listen(), listen(), listen())

    @property
    def ports(self) -> tuple[int, int, int]:
        """Of blob, queue and table."""
        blob, queue, table = (one.getsockname()[1] for one in (self.blob, self.queue, self.table))
        return blob, queue, table


def start(folder: Path, sockets: Sockets, certificates: Certificates, log: Path) -> subprocess.Popen[bytes]:
    """Start Azurite with its data in `folder`; its access log, one line a request, goes to `log`.

    It takes the sockets over: they are closed here, so that a client of an Azurite that died is refused at once.
    Raises FileNotFoundError where it is not installed.
    """
    if not MAIN.exists():
        raise FileNotFoundError("Azurite is not installed: run `make setup`")
    own_folder(folder)
    blob, queue, table = sockets.ports
    descriptors = {blob: sockets.blob.fileno(), queue: sockets.queue.fileno(), table: sockets.table.fileno()}
    command = [
        "node", "--require", str(_LISTENS_ON_GIVEN), str(MAIN), "--location", str(folder), "--oauth", "basic",
        "--cert", str(certificates.server_cert), "--key", str(certificates.server_key),
        "--blobHost", "127.0.0.1", "--blobPort", str(blob),
        "--queueHost", "127.0.0.1", "--queuePort", str(queue),
        "--tableHost", "127.0.0.1", "--tablePort", str(table),
        "--skipApiVersionCheck", "--disableTelemetry",
    ]  # fmt: skip
    with own_file(log).open("ab") as out, sockets.blob, sockets.queue, sockets.table:
        return subprocess.Popen(
            command, env={**os.environ, "AZURITE_SOCKETS": json.dumps(descriptors)}, pass_fds=descriptors.values(),
            stdout=out, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, start_new_session=True, umask=0o077,
        )  # fmt: skip


def await_ready(ports: Iterable[int], certificates: Certificates) -> None:
    """Wait until Azurite speaks on each port. Raises OSError where it dies first, or takes half a minute.

    Connections are taken before it starts, so one that stands says nothing yet.
    """
    trust = ssl.create_default_context(cafile=certificates.ca_bundle)
    for port in ports:
        with socket.create_connection(("127.0.0.1", port), timeout=_READY_WITHIN) as connection:
            trust.wrap_socket(connection, server_hostname="127.0.0.1").close()


@dataclass(frozen=True)
class Request:
    """One request as Azurite logged it: what went over the wire.

    `sent` counts the bytes of the response body (0 where Azurite names none).
    """

    method: str
    path: str
    query: dict[str, str]
    status: int
    sent: int

    @property
    def resource(self) -> str:
        """The path without the account: `container/blob`, `queue/messages`, `Table(PartitionKey=…)`."""
        return self.path.removeprefix(f"/{ACCOUNT}").lstrip("/")


_LINE = re.compile(r'"(?P<method>[A-Z]+) (?P<target>\S+) HTTP/1\.1" (?P<status>\d{3}) (?P<sent>\d+|-)')


def parse_log(lines: Iterator[str]) -> Iterator[Request]:
    """The requests in lines of Azurite's access log; lines of another shape are passed over."""
    for line in lines:
        if found := _LINE.search(line):
            parts = urlsplit(found["target"])
            yield Request(
                method=found["method"],
                path=unquote(parts.path),
                query={key: values[0] for key, values in parse_qs(parts.query, keep_blank_values=True).items()},
                status=int(found["status"]),
                sent=0 if found["sent"] == "-" or found["method"] == "HEAD" else int(found["sent"]),
            )
