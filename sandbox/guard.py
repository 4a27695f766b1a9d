"""Who may control the sandbox, and where what is for the eyes of its user alone is kept."""

from __future__ import annotations

import os
import socket
import stat
import struct
import sys
from collections.abc import Awaitable, Callable, Iterable
from hmac import compare_digest
from pathlib import Path
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

Endpoint = Callable[[Request], Awaitable[Response]]
_TABLES = ("/proc/net/tcp", "/proc/net/tcp6")
_ESTABLISHED = "01"
_LOOPBACK = ("127.0.0.1", "::1", "localhost")


class Guard:
    """Lets through who has the token, and any program of this user's on this machine; nobody else, and no browser.

    A page of the web can make a browser call loopback, and any user of the machine can: neither is who started the
    sandbox.
    """

    def __init__(self, token: str) -> None:
        self._token = token

    def around(self, endpoint: Endpoint) -> Endpoint:
        """`endpoint`, for those who may; others are answered 401."""

        async def guarded(request: Request) -> Response:
            if self._has_token(request) or (_is_no_browser(request) and _is_own(request)):
                return await endpoint(request)
            message = (
                "Only the user who started the sandbox may control it: send Authorization: Bearer with SANDBOX_TOKEN "
                "of the file env in its state directory."
            )
            return JSONResponse(
                {"error": {"code": "Unauthorized", "message": message}}, 401, {"WWW-Authenticate": "Bearer"}
            )

        return guarded

    def _has_token(self, request: Request) -> bool:
        kind, _, token = request.headers.get("Authorization", "").partition(" ")
        return kind.lower() == "bearer" and compare_digest(token.strip().encode(), self._token.encode())


def _is_no_browser(request: Request) -> bool:
    """Whether no header is there that browsers send, and the address is one that no name server had a say in."""
    if any(name == "origin" or name.startswith("sec-fetch-") for name in request.headers):
        return False
    try:
        return urlsplit("//" + request.headers.get("Host", "")).hostname in _LOOPBACK
    except ValueError:
        return False


def _is_own(request: Request) -> bool:
    client, server = request.scope.get("client"), request.scope.get("server")
    if client is None or server is None or not sys.platform.startswith("linux"):
        return False
    for path in _TABLES:
        try:
            with open(path, encoding="ascii") as table:  # noqa: PTH123 - a Path would read it all
                owner = owner_of((client[0], client[1]), (server[0], server[1]), table)
        except OSError:  # no IPv6
            continue
        if owner is not None:
            return owner == os.geteuid()
    return False


def owner_of(local: tuple[str, int], remote: tuple[str, int], table: Iterable[str]) -> int | None:
    """The user whose process holds the connection from `local` to `remote`, by a table as Linux has them in /proc/net.

    None where it is not there, or nobody holds it any more: the kernel then says 0, which is root.
    """
    wanted = {(spelt, far) for spelt in _spelt(local) for far in _spelt(remote)}
    for line in table:
        # sl local remote state queues timer retransmissions uid timeout inode
        fields = line.split()
        if len(fields) > 9 and (fields[1], fields[2]) in wanted:
            return int(fields[7]) if fields[3] == _ESTABLISHED and fields[9] != "0" else None
    return None


def _spelt(address: tuple[str, int]) -> list[str]:
    """An address as the tables have it: 32-bit words in the machine's order; IPv4 also as IPv6 has it."""
    host, port = address
    try:
        packed = socket.inet_aton(host)
    except OSError:
        return [f"{_words(socket.inet_pton(socket.AF_INET6, host))}:{port:04X}"]
    return [f"{_words(before + packed)}:{port:04X}" for before in (b"", bytes(10) + b"\xff\xff")]


def _words(packed: bytes) -> str:
    return "".join(f"{word:08X}" for word in struct.unpack(f"={len(packed) // 4}I", packed))


def own_folder(path: Path) -> Path:
    """Make `path`, or what is there, a folder that its owner alone can look into.

    Raises PermissionError where that is another user, or the folder is for all, as /tmp is.
    """
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = path.stat()
    if found.st_uid != os.geteuid():
        raise PermissionError(f"the folder {path} belongs to another user: give another --state-dir")
    if found.st_mode & stat.S_ISVTX:
        raise PermissionError(f"the folder {path} is for all users: give one below it as --state-dir")
    path.chmod(0o700)
    return path


def own_file(path: Path) -> Path:
    """Make `path`, or what is there, a file that its owner alone can read and write."""
    path.touch(mode=0o600)
    path.chmod(0o600)
    return path
