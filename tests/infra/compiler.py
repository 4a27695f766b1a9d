"""The Bicep compiler, where there is one: BICEP, `bicep` on the PATH, or the one that `az bicep install` installs.

`python -m tests.infra.compiler` makes the committed snapshots and their digest anew.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

from tests.infra.snapshots import DIGESTS, FOLDER, INFRA, KEPT, digests

_WHERE = (
    # Any will do, but always the same: names and ids in a snapshot are made of them.
    "--tenant-id", "00000000-0000-4000-8000-0000000000aa",
    "--subscription-id", "00000000-0000-4000-8000-000000000001",
    "--location", "westeurope",
    "--deployment-name", "main",
)  # fmt: skip


class Refused(Exception):
    """The compiler refused a file. The message is what it printed."""


@cache
def find() -> str | None:
    """The compiler's command; None where there is none."""
    if named := os.environ.get("BICEP"):
        return shutil.which(named) or sys.exit(f"BICEP={named} names no command that can be run")
    return shutil.which("bicep") or shutil.which(Path.home() / ".azure/bin/bicep")


def run(*arguments: str | Path) -> str:
    """What the compiler prints. Raises Refused."""
    done = subprocess.run([str(find()), *map(str, arguments)], capture_output=True, text=True, check=False, timeout=120)
    if done.returncode:
        raise Refused(done.stdout + done.stderr)
    return done.stdout + done.stderr


def snapshot(parameters: Path, mode: str) -> str:
    """Evaluate a .bicepparam file: `overwrite` its snapshot, which lies beside it, or `validate` it. Raises Refused."""
    return run("snapshot", parameters, "--mode", mode, *_WHERE)


def copy(folder: Path) -> Path:
    """A copy of what Bicep reads, for snapshots that nobody keeps. Returns its folder of .bicepparam files."""
    for part in ("modules", "queries", "snapshots"):
        shutil.copytree(INFRA / part, folder / part)
    for name in ("main.bicep", "bicepconfig.json", "workbook.json"):
        shutil.copy(INFRA / name, folder / name)
    return folder / FOLDER.name


def main() -> None:
    """Make the committed snapshots anew."""
    if not find():
        sys.exit("missing: the Bicep compiler (az bicep install, or set BICEP=/path/to/bicep)")
    with tempfile.TemporaryDirectory() as temporary:
        made = copy(Path(temporary) / "infra")
        for name in KEPT:
            try:
                snapshot(made / f"{name}.bicepparam", "overwrite")
            except Refused as refused:
                sys.exit(str(refused))
            found = json.loads((made / f"{name}.snapshot.json").read_text(encoding="utf-8"))
            found["outputs"] = dict(sorted(found["outputs"].items()))  # else in another order each time
            text = json.dumps(found, indent=2, ensure_ascii=False)
            (FOLDER / f"{name}.snapshot.json").write_text(text + "\n", encoding="utf-8")
    DIGESTS.write_text(digests(), encoding="utf-8")


if __name__ == "__main__":
    main()
