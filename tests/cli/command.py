"""The command line as a person or a build runs it: a process of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tests.azure import Azure

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Ended:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one document on standard output."""
        (line,) = self.out.splitlines()
        return json.loads(line)


def environment(azure: Azure, **more: str) -> dict[str, str]:
    """What a shell has set for Gallerist, and for signing in."""
    signed_in = ("IDENTITY_ENDPOINT", "IDENTITY_HEADER", "AZURE_TOKEN_CREDENTIALS", "REQUESTS_CA_BUNDLE", "CATALOG")
    return {
        "PATH": os.environ["PATH"],
        **{name: azure.env[name] for name in signed_in},
        "GALLERIST_STORAGE": azure.env["Storage__blobServiceUri"],
        **more,
    }


def begin(azure: Azure, *arguments: object, **more: str) -> subprocess.Popen[str]:
    """Start `gallerist`. It heeds SIGINT, which what a shell runs in the background is born without."""
    return subprocess.Popen(
        [sys.executable, "-m", "pipeline.cli", *map(str, arguments)],
        cwd=ROOT, env=environment(azure, **more), text=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509 - it takes no lock
    )  # fmt: skip


@cache
def _zygote() -> subprocess.Popen[str]:
    """What forks commands; it ends with this process, which holds its standard input."""
    return subprocess.Popen(
        [sys.executable, "-m", "tests.cli.zygote"],
        cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip


def gallerist(azure: Azure, *arguments: object, **more: str) -> Ended:
    """Run `gallerist` to its end."""
    zygote = _zygote()
    with TemporaryDirectory() as folder:
        out, err = Path(folder, "out"), Path(folder, "err")
        order = {
            "arguments": [*map(str, arguments)],
            "environment": environment(azure, **more),
            "out": str(out),
            "err": str(err),
        }
        assert zygote.stdin
        assert zygote.stdout
        zygote.stdin.write(json.dumps(order) + "\n")
        zygote.stdin.flush()
        code = int(zygote.stdout.readline())
        return Ended(code, out.read_text(), err.read_text())
