"""Ports of the sandbox: taken once, and held until whoever serves on them ends."""

from __future__ import annotations

import socket


def listen(port: int = 0) -> socket.socket:
    """A socket that listens on a port of loopback, on a free one where none is named: nobody else has it from here on.

    Raises OSError where the port is in use.
    """
    # asyncio turns Nagle's algorithm off only where the protocol is named. With it, an answer in two writes
    # takes 40 ms.
    listening = socket.socket(proto=socket.IPPROTO_TCP)
    try:
        if port:
            # Connections that are over may still block it. Not for a free port: two could be given the same one.
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(("127.0.0.1", port))
        listening.listen(128)
    except OSError:
        listening.close()
        raise
    return listening
