"""Ports of the sandbox: taken once, and held until whoever serves on them ends."""

from __future__ import annotations

import socket


def listen(port: int = 0) -> socket.socket:
    """A socket that listens on a port of loopback, on a free one where none is named: nobody else has it from here on.

    Raises OSError where the port is in use.
    """
    listening = socket.socket()
    try:
        if (
            port
        ):  # which connections that are over may still block; two that look for a free one could be given the same
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(("127.0.0.1", port))
        listening.listen(128)
    except OSError:
        listening.close()
        raise
    return listening
