"""`python -m sandbox.host`: one instance, on a socket it inherits. What `up` starts: it reads no more than it needs."""

from __future__ import annotations

import argparse
import socket
import sys
from pathlib import Path

from sandbox.host import StartError, run


def main() -> None:
    """Run until a signal ends it; ends with 1 where it cannot start."""
    arguments = argparse.ArgumentParser(prog="python -m sandbox.host")
    arguments.add_argument("--state-dir", type=Path, required=True)
    arguments.add_argument("--app-dir", type=Path, required=True)
    arguments.add_argument("--time-scale", type=float, required=True)
    arguments.add_argument("--fd", type=int, required=True, help="a listening socket to serve on")
    given = arguments.parse_args()
    try:
        run(
            app_dir=given.app_dir.resolve(),
            http=socket.socket(fileno=given.fd),
            time_scale=given.time_scale,
            state_dir=given.state_dir.resolve(),
        )
    except StartError as error:
        sys.exit(f"the functions host cannot start: {error}")


if __name__ == "__main__":
    main()
