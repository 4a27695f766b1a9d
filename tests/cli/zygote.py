"""Forks `gallerist`: each command is a process of its own, and none reads the same modules again.

Orders come on standard input, one line of JSON each; the exit code of each goes to standard output.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from pipeline.cli.app import main


def serve() -> None:
    """Run what is ordered, one after another, until there is no more. Returns in each child, which then ends."""
    for line in sys.stdin:
        order = json.loads(line)
        child = os.fork()
        if child == 0:
            _become(order)
            main()
            return
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def _become(order: dict[str, Any]) -> None:
    """Take on the arguments, the environment and the files of the command."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    for fd, path, how in ((0, os.devnull, os.O_RDONLY), (1, order["out"], flags), (2, order["err"], flags)):
        opened = os.open(path, how, 0o600)
        os.dup2(opened, fd)
        os.close(opened)
    sys.argv = ["gallerist", *order["arguments"]]
    os.environ.clear()
    os.environ.update(order["environment"])


if __name__ == "__main__":
    sys.path.insert(0, str(Path.cwd()))
    serve()
