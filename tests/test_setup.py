"""`make setup` takes the interpreter that PYTHON names, else the newest that starts, and says which."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from sandbox.up import ROOT


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """The repository as far as making .venv looks at it, and a folder of interpreters that is first on PATH."""
    for name in ("Makefile", "requirements-dev.txt"):
        shutil.copy2(ROOT / name, tmp_path / name)
        os.utime(tmp_path / name, (0, 0))
    (tmp_path / "bin").mkdir()
    return tmp_path


def interpreter(clone: Path, name: str, version: str) -> Path:
    """What answers as a Python of `version` does to all that the Makefile asks of one."""
    path = clone / "bin" / name
    path.write_text(f"""#!/bin/sh
case "$1 $2" in
  "-c "*version_info*) echo "{version.split(".")[1]} $0" ;;
  "-c "*python_version*) echo {version} ;;
  "-m venv") rm -rf .venv; mkdir -p .venv/bin; cp "$0" .venv/bin/python ;;
  "-m pip") echo "$*" >> pip.log ;;
  "--version ") echo "Python {version}" ;;
  *) exit 99 ;;
esac
""")
    path.chmod(0o755)
    return path


def broken(clone: Path, name: str, says: str) -> Path:
    path = clone / "bin" / name
    path.write_text(f"#!/bin/sh\necho '{says}' >&2\nexit 127\n")
    path.chmod(0o755)
    return path


def make(clone: Path, target: str = "venv", **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["make", "--no-print-directory", target],
        cwd=clone,
        env={"PATH": f"{clone}/bin:/usr/local/bin:/usr/bin:/bin", "HOME": str(clone), **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_newest_that_starts_is_taken(clone: Path) -> None:
    interpreter(clone, "python3.12", "3.12.4")
    interpreter(clone, "python3.13", "3.13.2")
    broken(clone, "python3.14", "pyenv: python3.14: command not found")
    done = make(clone)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [f"making .venv with {clone}/bin/python3.13", "using Python 3.13.2 in .venv"]


def test_the_one_that_is_named_wins_over_a_newer_one(clone: Path) -> None:
    interpreter(clone, "python3.13", "3.13.2")
    interpreter(clone, "python3.11", "3.11.9")
    done = make(clone, PYTHON="python3.11")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "using Python 3.11.9 in .venv"


@pytest.mark.parametrize(
    ("named", "why"),
    [
        ("python3.9", "it is Python 3.9"),
        ("shim", "pyenv: shim: command not found"),
        ("/no/such/python", "No such file or directory"),
    ],
)
def test_one_that_does_not_serve_is_refused_by_name(clone: Path, named: str, why: str) -> None:
    interpreter(clone, "python3.13", "3.13.2")
    broken(clone, "python3.9", "it is Python 3.9")
    broken(clone, "shim", "pyenv: shim: command not found\nIt exists in these versions:")
    done = make(clone, PYTHON=named)
    assert done.returncode != 0
    assert f"PYTHON={named} does not serve" in done.stderr
    assert why in done.stderr
    assert "Python 3.11 to 3.14" in done.stderr
    assert not (clone / ".venv").exists()


def test_a_real_interpreter_is_asked_whether_it_serves(clone: Path) -> None:
    """The question itself, of the one that runs this, and of a version that is not supported."""
    serves = subprocess.run(
        ["make", "-pn", "venv"], cwd=clone, capture_output=True, text=True, check=True, env={"PATH": os.environ["PATH"]}
    ).stdout
    question = next(line.partition(":= ")[2] for line in serves.splitlines() if line.startswith("SERVES :="))
    ask = [sys.executable, "-c"]
    here = subprocess.run([*ask, question], capture_output=True, text=True, check=True)
    assert re.fullmatch(r"\d+ /.+\n", here.stdout)
    older = subprocess.run(
        [*ask, "import sys; sys.version_info = (3, 10, 0); " + question], capture_output=True, text=True, check=False
    )
    assert (older.returncode, older.stderr) == (1, "it is Python 3.10\n")


def test_what_is_there_is_said_and_kept(clone: Path) -> None:
    interpreter(clone, "python3.13", "3.13.2")
    make(clone)
    interpreter(clone, "python3.14", "3.14.0")
    for named in ({}, {"PYTHON": "python3.13"}):
        done = make(clone, **named)
        assert done.stdout.splitlines() == ["using Python 3.13.2 in .venv"], done.stderr
    assert len((clone / "pip.log").read_text().splitlines()) == 1


def test_another_version_by_name_makes_it_anew(clone: Path) -> None:
    interpreter(clone, "python3.13", "3.13.2")
    interpreter(clone, "python3.12", "3.12.4")
    make(clone)
    assert make(clone, PYTHON="python3.12").stdout.splitlines()[-1] == "using Python 3.12.4 in .venv"
    assert make(clone).stdout.splitlines() == ["using Python 3.12.4 in .venv"]


def test_newer_requirements_and_an_interpreter_that_is_gone_make_it_anew(clone: Path) -> None:
    interpreter(clone, "python3.13", "3.13.2")
    make(clone)
    stamp = (clone / ".venv/.installed").stat().st_mtime
    os.utime(clone / "requirements-dev.txt", (stamp + 10, stamp + 10))
    assert "making .venv" in make(clone).stdout
    os.utime(clone / "requirements-dev.txt", (0, 0))
    (clone / ".venv/bin/python").unlink()
    assert "making .venv" in make(clone).stdout


def test_the_scanners_environment_is_made_by_the_same_choice(clone: Path) -> None:
    interpreter(clone, "python3.13", "3.13.2")
    (clone / "infra").mkdir()
    (clone / "infra/requirements-checkov.txt").touch()
    done = make(clone, ".venv-checkov/.installed", PYTHON="/no/such/python")
    assert done.returncode != 0
    assert "PYTHON=/no/such/python does not serve" in done.stderr


@pytest.fixture
def scanned(clone: Path) -> Path:
    """The clone with an interpreter that has everything but zizmor, of which pip says what pip.says holds."""
    python = interpreter(clone, "python3.13", "3.13.2")
    python.write_text(
        python.read_text()
        .replace(
            '"-m venv") rm -rf .venv; mkdir -p .venv/bin; cp "$0" .venv/bin/python ;;',
            '"-m venv") mkdir -p .venv-security/bin; cp "$0" .venv-security/bin/python ;;',
        )
        .replace('"-m pip") ', '"-m pip") case "$*" in *zizmor*) cat pip.says >&2; exit 1;; esac; ')
        .replace('"--version ")', '"infra/audit.py "*) echo audited ;;\n  "--version ")')
    )
    (clone / "infra").mkdir()
    for name in ("pip-audit", "zizmor"):
        (clone / f"infra/requirements-{name}.txt").touch()
    return clone


def test_a_machine_without_zizmor_is_told_so_and_goes_on(scanned: Path) -> None:
    (scanned / "pip.says").write_text("ERROR: No matching distribution found for zizmor==1.32.0")
    done = make(scanned, "security-check")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-2:] == [
        "audited",
        "the workflows were not scanned: pip finds no zizmor for this machine",
    ]


def test_a_zizmor_that_is_not_the_locked_one_fails(scanned: Path) -> None:
    (scanned / "pip.says").write_text("ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE.")
    done = make(scanned, "security-check")
    assert done.returncode != 0
    assert "DO NOT MATCH THE HASHES" in done.stderr


def test_a_finding_of_zizmor_fails(scanned: Path) -> None:
    assert make(scanned, ".venv-security/.installed").returncode == 0
    zizmor = scanned / ".venv-security/bin/zizmor"
    zizmor.write_text("#!/bin/sh\nexit 14\n")
    zizmor.chmod(0o755)
    assert make(scanned, "security-check").returncode != 0
