"""Azurite: the storage of the sandbox, over TLS and with OAuth."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

from sandbox.tls import Certificates

ACCOUNT = "devstoreaccount1"
MAIN = Path(__file__).parent / "node_modules" / "azurite" / "dist" / "src" / "azurite.js"


@dataclass(frozen=True)
class Ports:
    blob: int
    queue: int
    table: int


def start(folder: Path, ports: Ports, certificates: Certificates, log: Path) -> subprocess.Popen[bytes]:
    """Start Azurite with its data in `folder`; its access log, one line a request, goes to `log`.

    Raises FileNotFoundError where it is not installed.
    """
    if not MAIN.exists():
        raise FileNotFoundError("Azurite is not installed: run `make setup`")
    folder.mkdir(parents=True, exist_ok=True)
    command = [
        "node", str(MAIN), "--location", str(folder), "--oauth", "basic",
        "--cert", str(certificates.server_cert), "--key", str(certificates.server_key),
        "--blobHost", "127.0.0.1", "--blobPort", str(ports.blob),
        "--queueHost", "127.0.0.1", "--queuePort", str(ports.queue),
        "--tableHost", "127.0.0.1", "--tablePort", str(ports.table),
        "--skipApiVersionCheck", "--disableTelemetry",
    ]  # fmt: skip
    with log.open("ab") as out:
        return subprocess.Popen(
            command, stdout=out, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, start_new_session=True
        )


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
