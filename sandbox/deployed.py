"""Lays out the folder that azd deploys, and has Microsoft's worker library index the app in it, with nothing else."""

from __future__ import annotations

import importlib.util
import json
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from pathspec import GitIgnoreSpec

from sandbox import worker

ROOT = Path(__file__).parent.parent
SETTINGS = {"VHD_BLOB_TRIGGER": "EventGrid", "VHD_CONTAINER": "vhds"}
"""With which the app has all the functions that it can have."""


class DeployedError(RuntimeError):
    """What would be deployed does not work. The message says what to do."""


def lay_out(folder: Path, root: Path = ROOT) -> None:
    """Copy to `folder` what .funcignore leaves of `root`, as azd packs it."""
    ignored = GitIgnoreSpec.from_lines((root / ".funcignore").read_text(encoding="utf-8").splitlines())

    def leave_out(inside: str, names: list[str]) -> set[str]:
        here = Path(inside).relative_to(root)
        return {
            name
            for name in names
            if ignored.match_file(f"{(here / name).as_posix()}{'/' * (root / here / name).is_dir()}")
            or name == ".funcignore"
        }

    shutil.copytree(root, folder, ignore=leave_out, dirs_exist_ok=True)


def index(app: Path) -> dict[str, str]:
    """The functions that the worker library finds in a laid out app, and their triggers. Raises DeployedError.

    The app's own packages are all that it finds: no site-packages, no checkout. Every module of it is imported, too.
    """
    library = importlib.util.find_spec("azure_functions_runtime")
    if library is None or library.origin is None:
        raise DeployedError("azure-functions-runtime is not installed: it needs Python 3.13, so PYTHON=python3.13")
    with TemporaryDirectory() as alone:
        Path(alone, "azure_functions_runtime").symlink_to(Path(library.origin).parent)
        found = subprocess.run(
            [sys.executable, "-I", "-S", "-B", worker.__file__, str(app), alone, "pipeline"],
            cwd=alone, env=SETTINGS, capture_output=True, text=True, check=False,
        )  # fmt: skip
    if found.returncode != 0:
        raise DeployedError(f"the app is not indexed from what is deployed:\n{found.stderr}")
    triggers: dict[str, str] = json.loads(found.stdout.splitlines()[-1])
    return triggers


def main() -> None:
    """Print what is indexed from what is deployed; exit 1 where it is less than the app has."""
    if sys.version_info[:2] != (3, 13) or (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        here = f"Python {platform.python_version()} on {platform.system()} {platform.machine()}"
        print(f"not indexed: that takes Python 3.13 on Linux x86_64, and this is {here}")
        return
    with TemporaryDirectory() as folder:
        app = Path(folder, "app")
        lay_out(app)
        size = sum(path.stat().st_size for path in app.rglob("*") if path.is_file())
        try:
            deployed = index(app)
        except DeployedError as error:
            sys.exit(str(error))
    os.environ.update(SETTINGS)
    missing = worker.Worker(ROOT).triggers.keys() - deployed.keys()
    if missing:
        sys.exit(f"not indexed from what is deployed: {', '.join(sorted(missing))}")
    print(f"{len(deployed)} functions, indexed from the {size / 2**20:.0f} MiB that are deployed:")
    for name, kind in deployed.items():
        print(f"  {name:<20} {kind}")


if __name__ == "__main__":
    main()
