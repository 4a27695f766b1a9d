"""A way to the emulated storage that holds an upload where a test wants it, however fast the machine is."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit

from tests.azure import Azure

_CHUNK = 64 * 1024
_WITHIN = 60.0  # seconds


class Relay:
    """Passes connections on to storage, and holds what clients send once that is more than `most` bytes."""

    def __init__(self, azure: Azure, most: int) -> None:
        there = urlsplit(azure.env["Storage__blobServiceUri"])
        self._there = (str(there.hostname), int(there.port or 443))
        self._left = most
        self._lock = threading.Lock()
        self._full, self._may_pass = threading.Event(), threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._sockets: list[socket.socket] = []
        self.storage = there._replace(netloc=f"127.0.0.1:{self._listener.getsockname()[1]}").geturl()
        """The endpoint to upload to."""
        threading.Thread(target=self._accept, daemon=True).start()

    def await_held(self) -> None:
        """Return once something is held."""
        assert self._full.wait(_WITHIN), "nothing was held: the client sent less"

    def release(self) -> None:
        """Pass on what is held, and hold nothing any more."""
        self._may_pass.set()

    def cut(self) -> None:
        """End all connections, and take no more."""
        for one in (self._listener, *self._sockets):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()
        self._may_pass.set()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client = self._listener.accept()[0]
                server = socket.create_connection(self._there)
                self._sockets += [client, server]
                threading.Thread(target=self._pass, args=(client, server, True), daemon=True).start()
                threading.Thread(target=self._pass, args=(server, client, False), daemon=True).start()

    def _pass(self, source: socket.socket, sink: socket.socket, counted: bool) -> None:
        with suppress(OSError):
            while data := source.recv(_CHUNK):
                if counted and self._over(len(data)):
                    self._full.set()
                    self._may_pass.wait()
                sink.sendall(data)
        for one in (source, sink):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def _over(self, size: int) -> bool:
        with self._lock:
            self._left -= size
            return self._left < 0


@contextmanager
def held_after(azure: Azure, most: int) -> Iterator[Relay]:
    """A relay that holds what comes after `most` bytes, until it is released or the test is over."""
    relay = Relay(azure, most)
    try:
        yield relay
    finally:
        relay.cut()
