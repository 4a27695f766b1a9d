"""What the audit of the locked packages says, and when it fails a check."""

from __future__ import annotations

import importlib.util
import json
import re
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.infra.snapshots import INFRA, ROOT

PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")

_spec = importlib.util.spec_from_file_location("audit", INFRA / "audit.py")
assert _spec
assert _spec.loader
audit = importlib.util.module_from_spec(_spec)
sys.modules["audit"] = audit
_spec.loader.exec_module(audit)

SOUND = {"name": "idna", "version": "3.20", "vulns": []}
FLAWED = {
    "name": "requests",
    "version": "2.34.2",
    "vulns": [{"id": "PYSEC-2026-1", "fix_versions": ["2.35.0"], "aliases": ["CVE-2026-1"]}],
}
UNKNOWN = {"name": "yarl", "skip_reason": "Dependency not found on PyPI and could not be audited: yarl (1.25.1)"}


def report(*packages: dict[str, object]) -> str:
    return json.dumps({"dependencies": packages, "fixes": []})


def locked(path: Path) -> list[Requirement]:
    """What a lock pins, each with its marker. Every one of them has a hash."""
    text = path.read_text(encoding="utf-8").replace("\\\n", " ")
    lines = re.findall(r"^([\w.-]+==.*)$", text, re.MULTILINE)
    assert all("--hash=sha256:" in line for line in lines), path.name
    return [Requirement(line.partition(" --hash")[0]) for line in lines]


def test_a_finding_fails_and_names_package_and_remedy() -> None:
    status, said = audit.judge(1, report(SOUND, FLAWED, UNKNOWN), "Found 1 known vulnerability in 1 package")
    assert status == 1
    assert "requests 2.34.2: PYSEC-2026-1, fixed in 2.35.0" in said
    assert "make lock" in said
    assert "1 of 3 locked packages were not audited: yarl" in said


def test_nothing_known_passes() -> None:
    assert audit.judge(0, report(SOUND), "") == (0, "no vulnerability is known of 1 locked packages")


def test_an_index_without_the_service_is_said_and_fails_nobody() -> None:
    status, said = audit.judge(0, report(UNKNOWN), "No known vulnerabilities found, skipped 1")
    assert (status, said.count("\n")) == (0, 0)
    assert "not audited" in said


@pytest.mark.parametrize(
    "last",
    [
        "requests.exceptions.ConnectionError: HTTPSConnectionPool(host='pypi.org', port=443): Max retries exceeded",
        "requests.exceptions.ProxyError: HTTPSConnectionPool(host='pypi.org', port=443): Max retries exceeded",
        "pip_audit._service.interface.ServiceError",
        "ERROR:pip_audit._cli:Tip: your network may be blocking this service. Try another service with `-s SERVICE`",
    ],
)
def test_an_index_that_does_not_answer_is_said_and_fails_nobody(last: str) -> None:
    status, said = audit.judge(1, "", f"Traceback (most recent call last):\n{last}\n")
    assert (status, said.count("\n")) == (0, 0)
    assert "were not audited: no answer from the index" in said


def test_a_lock_that_cannot_be_read_fails() -> None:
    said = "ERROR:pip_audit._cli:requirement requests==2.0 does not contain a hash\n"
    assert audit.judge(1, "", said) == (1, "the locked packages cannot be audited: " + said.strip())
    assert audit.judge(1, "", "")[0] == 1


def test_every_lock_that_reaches_a_user_is_audited() -> None:
    (line,) = re.findall(r"infra/audit\.py (.*)", MAKEFILE)
    assert set(line.split()) == {path.name for path in ROOT.glob("requirements*.txt")}
    assert "security-check" in re.findall(r"^check: (.*) ##", MAKEFILE, re.MULTILINE)[0].split()


def test_the_lock_of_the_command_line_holds_what_it_asks_for() -> None:
    pins = locked(ROOT / "requirements-cli.txt")
    wanted = [
        *PYPROJECT["project"]["dependencies"],
        *PYPROJECT["project"]["optional-dependencies"]["cli"],
        *PYPROJECT["build-system"]["requires"],
    ]
    for minor in range(11, 15):
        for system, platform in (("Linux", "linux"), ("Darwin", "darwin"), ("Windows", "win32")):
            where = {
                "python_version": f"3.{minor}",
                "python_full_version": f"3.{minor}.1",
                "sys_platform": platform,
                "platform_system": system,
            }
            there = {
                canonicalize_name(pin.name): next(iter(pin.specifier)).version
                for pin in pins
                if pin.marker is None or pin.marker.evaluate(where)
            }
            for requirement in map(Requirement, wanted):
                version = there.get(canonicalize_name(requirement.name))
                assert version, f"{requirement.name} on {platform}, Python 3.{minor}: run make lock"
                assert version in requirement.specifier, requirement.name


def test_the_command_line_is_locked_as_it_is_tested() -> None:
    tested = {(pin.name, str(pin.specifier)) for pin in locked(ROOT / "requirements-dev.txt")}
    build = {Requirement(one).name for one in PYPROJECT["build-system"]["requires"]}
    for pin in locked(ROOT / "requirements-cli.txt"):
        assert (pin.name, str(pin.specifier)) in tested or pin.name in build, pin.name


def test_what_builds_it_is_said_twice_alike() -> None:
    assert PYPROJECT["dependency-groups"]["build"] == PYPROJECT["build-system"]["requires"]
