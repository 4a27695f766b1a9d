"""The packages that are deployed fit the Python of the function app, or are refused before they are uploaded."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import re
import struct
import sys
import zipfile
from pathlib import Path
from types import ModuleType

import pytest
import yaml

ROOT = Path(__file__).parents[2]


def _load() -> ModuleType:
    """infra/package.py, which is no module of a package: it runs before anything is installed."""
    spec = importlib.util.spec_from_file_location("infra_package", ROOT / "infra/package.py")
    assert spec
    assert spec.loader
    sys.modules[spec.name] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


package = _load()
TARGET = package.Target((3, 13))


def elf(machine: int = 62, glibc: str = "GLIBC_2.17", bits: int = 2) -> bytes:
    return (
        b"\x7fELF" + bytes([bits, 1, 1]) + bytes(9) + struct.pack("<HH", 3, machine) + b"\0GLIBC_2.4\0" + glibc.encode()
    )


def made(folder: Path, name: str = "fast", tag: str = "cp313-cp313-manylinux_2_28_x86_64", **files: bytes) -> Path:
    """A folder with one package of version 1.0 in it, as pip installs it: `files` by the name of its module."""
    info = folder / f"{name}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "WHEEL").write_text(f"Wheel-Version: 1.0\nRoot-Is-Purelib: false\nTag: {tag}\n")
    (folder / name).mkdir()
    for file, content in files.items():
        (folder / name / file).write_bytes(content)
    listed = [f"{name}/{file},sha256=x,1\n" for file in files]
    (info / "RECORD").write_text("".join([*listed, f"{info.name}/RECORD,,\n"]))
    return folder


def lock(folder: Path, *lines: str) -> Path:
    path = folder / "requirements.txt"
    path.write_text("".join(f"{line} \\\n    --hash=sha256:00\n    # via x\n" for line in lines))
    return path


def faults(tmp_path: Path, *lines: str, **given: object) -> list[str]:
    folder = made(tmp_path / "site", **given)  # type: ignore[arg-type]
    return list(package.faults(folder, lock(tmp_path, *(lines or ("fast==1.0",))), TARGET))


def test_it_is_made_for_what_the_deployment_runs() -> None:
    deployed = json.loads((ROOT / "infra/snapshots/defaults.snapshot.json").read_text(encoding="utf-8"))
    (site,) = (one for one in deployed["predictedResources"] if one["type"] == "Microsoft.Web/sites")
    assert site["properties"]["functionAppConfig"]["runtime"] == {
        "name": "python",
        "version": ".".join(map(str, package.target().python)),
    }


@pytest.mark.parametrize(
    ("tag", "fits"),
    [
        ("cp313-cp313-manylinux_2_28_x86_64", True),
        ("cp313-cp313-manylinux_2_36_x86_64", True),
        ("cp313-cp313-manylinux2014_x86_64", True),
        ("cp38-abi3-manylinux_2_17_x86_64", True),
        ("py3-none-any", True),
        ("py2-none-any", False),
        ("py3-none-manylinux1_x86_64", True),
        ("py39-none-any", True),
        ("cp311-cp311-manylinux_2_28_x86_64", False),
        ("cp313-cp313t-manylinux_2_28_x86_64", False),
        ("cp314-abi3-manylinux_2_28_x86_64", False),
        ("cp313-cp313-manylinux_2_39_x86_64", False),
        ("cp313-cp313-manylinux_2_28_aarch64", False),
        ("cp313-cp313-musllinux_1_2_x86_64", False),
        ("cp313-cp313-macosx_11_0_arm64", False),
        ("cp313-cp313-win_amd64", False),
        ("pp311-pypy311_pp73-manylinux_2_28_x86_64", False),
    ],
)
def test_a_wheel_fits_by_its_tag(tag: str, fits: bool) -> None:
    assert TARGET.takes(tag) is fits


def test_what_fits_is_let_through(tmp_path: Path) -> None:
    modules = {
        "_a.cpython-313-x86_64-linux-gnu.so": elf(glibc="GLIBC_2.36"),
        "_b.abi3.so": elf(),
        "_c.so": elf(),
        "libd.so.4": elf(),
        "e.py": b"",
    }
    assert faults(tmp_path, **modules) == []
    package.check(tmp_path / "site", tmp_path / "requirements.txt", TARGET)


@pytest.mark.parametrize(
    ("file", "content", "why"),
    [
        ("_a.cpython-311-x86_64-linux-gnu.so", elf(), "is built for Python 3.11"),
        ("_a.cpython-313t-x86_64-linux-gnu.so", elf(), "is built for Python 3.13t"),
        ("_a.pypy311-pp73-x86_64-linux-gnu.so", elf(), "is built for PyPy"),
        ("_a.cpython-313-darwin.so", b"\xcf\xfa\xed\xfe", "is not for Linux"),
        ("_a.cp313-win_amd64.pyd", b"MZ", "is not for Linux"),
        ("_a.abi3.so", elf(machine=183), "is built for another machine than x86_64"),
        ("_a.abi3.so", elf(bits=1), "is built for another machine than x86_64"),
        ("_a.abi3.so", elf(glibc="GLIBC_2.38"), "needs glibc 2.38, and there is 2.36"),
    ],
)
def test_what_does_not_run_there_is_refused_by_package_and_file(
    tmp_path: Path, file: str, content: bytes, why: str
) -> None:
    assert faults(tmp_path, **{file: content}) == [f"fast 1.0: fast/{file} {why}"]
    with pytest.raises(package.PackageError) as refused:
        package.check(tmp_path / "site", tmp_path / "requirements.txt", TARGET)
    assert "the function app runs Python 3.13 on Linux x86_64 with glibc 2.36" in str(refused.value)
    assert "Run infra/package.sh" in str(refused.value)


def test_a_wheel_for_another_python_is_refused_though_no_file_says_so(tmp_path: Path) -> None:
    assert faults(tmp_path, tag="cp311-cp311-manylinux_2_28_x86_64", **{"_a.so": elf()}) == [
        "fast 1.0 is a wheel for cp311-cp311-manylinux_2_28_x86_64"
    ]


def test_what_is_locked_is_there_and_nothing_else(tmp_path: Path) -> None:
    assert faults(tmp_path, "fast==2.0", "Azure_Core==1.0") == [
        "fast is 1.0, and 2.0 is locked",
        "azure-core 1.0 is missing",
    ]
    assert faults(tmp_path / "other", "b==1.0", name="a") == ["b 1.0 is missing", "a 1.0 is not locked"]


def test_a_lock_that_asks_the_python_at_hand_is_refused(tmp_path: Path) -> None:
    with pytest.raises(package.PackageError, match=r"locks fast under a condition, .* run make lock"):
        package.locked(lock(tmp_path, "fast==1.0 ; python_full_version < '3.13'"))


def test_the_lock_is_of_the_one_that_is_tested() -> None:
    deployed = package.locked(ROOT / "requirements.txt")
    tested = re.findall(r"^([\w.-]+==\S+)", (ROOT / "requirements-dev.txt").read_text(encoding="utf-8"), re.MULTILINE)
    assert len(deployed) > 30
    assert {f"{name}=={version}" for name, version in deployed.items()} <= set(tested)


def wheel(folder: Path, tag: str, **metadata: str) -> str:
    """A wheel of `fast` 1.0; its digest. It depends on nothing under any other Python than the function app's."""
    path = folder / f"fast-1.0-{tag}.whl"
    said = {"Metadata-Version": "2.1", "Name": "fast", "Version": "1.0", **metadata}
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("fast/__init__.py", f"TAG = {tag!r}\n")
        archive.writestr("fast-1.0.dist-info/METADATA", "".join(f"{name}: {value}\n" for name, value in said.items()))
        archive.writestr("fast-1.0.dist-info/WHEEL", f"Wheel-Version: 1.0\nRoot-Is-Purelib: false\nTag: {tag}\n")
        archive.writestr("fast-1.0.dist-info/RECORD", "")
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of wheels that is all that pip looks at."""
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    return tmp_path


def test_pip_chooses_for_the_function_app_and_not_for_itself(index: Path) -> None:
    """Whatever runs it: for this Python there is a wheel too, and a package that it would need."""
    here = "cp{}{}".format(*sys.version_info)
    tags = ["cp313-cp313-manylinux_2_28_x86_64", "cp312-cp312-manylinux_2_28_x86_64", "py3-none-macosx_11_0_arm64"]
    tags += [f"{here}-{here}-linux_x86_64"]
    needs = {"Requires-Dist": f'absent; python_version == "{sys.version_info[0]}.{sys.version_info[1]}"'}
    hashes = [wheel(index, tag, **needs) for tag in tags]
    requirements = index / "requirements.txt"
    requirements.write_text("fast==1.0 " + " ".join(f"--hash=sha256:{one}" for one in hashes))
    package.install(index / "site", requirements, TARGET)
    assert (index / "site/fast/__init__.py").read_text() == f"TAG = {tags[0]!r}\n"
    assert list(package.faults(index / "site", requirements, TARGET)) == []


def test_without_a_wheel_that_fits_nothing_is_made(index: Path, capfd: pytest.CaptureFixture[str]) -> None:
    digest = wheel(index, "cp312-cp312-manylinux_2_28_x86_64")
    requirements = index / "requirements.txt"
    requirements.write_text(f"fast==1.0 --hash=sha256:{digest}")
    with pytest.raises(package.PackageError, match=r"for Python 3\.13 on Linux x86_64"):
        package.install(index / "site", requirements, TARGET)
    assert "No matching distribution found for fast==1.0" in capfd.readouterr().err


def test_another_file_under_the_same_name_is_refused(index: Path, capfd: pytest.CaptureFixture[str]) -> None:
    wheel(index, "py3-none-any")
    requirements = index / "requirements.txt"
    requirements.write_text(f"fast==1.0 --hash=sha256:{'0' * 64}")
    with pytest.raises(package.PackageError):
        package.install(index / "site", requirements, TARGET)
    assert "DO NOT MATCH THE HASHES" in capfd.readouterr().err


def test_azd_deploys_the_folder_as_it_is() -> None:
    azd = yaml.safe_load((ROOT / "azure.yaml").read_text(encoding="utf-8"))
    service = azd["services"]["api"]
    assert service["remoteBuild"] is False
    assert "infra/package.sh" in service["hooks"]["prepackage"]["posix"]["run"]
    assert "infra/package.ps1" in service["hooks"]["prepackage"]["windows"]["run"]
    ignored = (ROOT / ".funcignore").read_text(encoding="utf-8").split()
    assert not [one for one in ignored if one.rstrip("/").endswith("site-packages")]


def test_azd_is_one_that_reads_funcignore_right_and_the_workflow_names_it() -> None:
    azd = yaml.safe_load((ROOT / "azure.yaml").read_text(encoding="utf-8"))
    least = azd["requiredVersions"]["azd"].removeprefix(">= ")
    deploy = yaml.safe_load((ROOT / ".github/workflows/deploy.yml").read_text(encoding="utf-8"))
    (step,) = (one for one in deploy["jobs"]["deploy"]["steps"] if "setup-azd" in one.get("uses", ""))
    as_numbers = [tuple(map(int, version.split("."))) for version in (least, step["with"]["version"])]
    assert (1, 23, 13) <= as_numbers[0] <= as_numbers[1]
