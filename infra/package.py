"""Fills .python_packages with what requirements.txt locks, for the Python that runs the function app, and checks it.

azd's hook runs this before the app is packed. Any Python with pip does: what is installed is chosen for the function
app's interpreter and machine, not for those at hand. What does not fit them is refused here, before it is uploaded.
"""

from __future__ import annotations

import csv
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FUNCTION_APP = ROOT / "infra" / "modules" / "function-app.bicep"
REQUIREMENTS = ROOT / "requirements.txt"
PACKAGES = ROOT / ".python_packages" / "lib" / "site-packages"
GLIBC = (2, 36)
"""Of Debian 12: Functions runs Python 3.13 on it (Azure/azure-functions-docker, host/4/bookworm/python/python313)."""
_OLDEST_GLIBC = (2, 5)  # of the first manylinux
_NAMED_GLIBC = {"manylinux1": (2, 5), "manylinux2010": (2, 12), "manylinux2014": (2, 17)}
_X86_64 = 62  # e_machine of ELF
_FIX = "Run infra/package.sh, which installs for the function app; where it is not to be had, choose another version"


class PackageError(RuntimeError):
    """The folder cannot be made. The message says what to do."""


@dataclass(frozen=True)
class Target:
    """What runs the function app."""

    python: tuple[int, int]
    glibc: tuple[int, int] = GLIBC

    @property
    def platforms(self) -> list[str]:
        """The platform tags of wheels that run there, those that run in most places first."""
        versions = range(_OLDEST_GLIBC[1], self.glibc[1] + 1)
        return [*(f"{name}_x86_64" for name in _NAMED_GLIBC), *(f"manylinux_2_{minor}_x86_64" for minor in versions)]

    def takes(self, tag: str) -> bool:
        """Whether it runs a wheel of this tag, such as cp313-cp313-manylinux_2_28_x86_64 or py3-none-any."""
        python, abi, platform = tag.split("-")
        if platform != "any" and platform not in self.platforms:
            return False
        found = re.fullmatch(r"(py|cp)3(\d*)", python)
        if not found:
            return False
        minor = int(found[2] or 0)
        if abi == "none":
            return minor <= self.python[1] if found[1] == "py" else minor == self.python[1]
        if abi == "abi3":
            return found[1] == "cp" and minor <= self.python[1]
        return python == abi == "cp{}{}".format(*self.python)


def target() -> Target:
    """What the deployment says. Raises PackageError."""
    found = re.search(
        r"runtime: \{\s*name: 'python'\s*version: '(\d+)\.(\d+)'", FUNCTION_APP.read_text(encoding="utf-8")
    )
    if not found:
        raise PackageError(f"{FUNCTION_APP} names no runtime of the form {{ name: 'python', version: '3.13' }}")
    return Target((int(found[1]), int(found[2])))


def locked(requirements: Path) -> dict[str, str]:
    """The versions that a lock names, by normalized name. Raises PackageError where it depends on the interpreter."""
    versions = {}
    for line in requirements.read_text(encoding="utf-8").splitlines():
        if found := re.match(r"([\w.-]+)==([^\s;\\]+)\s*(;?)", line):
            if found[3]:
                raise PackageError(
                    f"{requirements.name} locks {found[1]} under a condition, and pip would ask the Python at hand:"
                    " run make lock, which resolves for the function app's"
                )
            versions[_normalized(found[1])] = found[2]
    return versions


def install(folder: Path, requirements: Path, wanted: Target) -> None:
    """Install a lock into `folder`, for `wanted`. Raises PackageError."""
    # The lock is whole, and resolved for `wanted`. Of what a package depends on, and of the Python it takes, pip asks
    # the interpreter at hand.
    command = [
        sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input", "--no-compile",
        "--no-deps", "--ignore-requires-python", "--require-hashes", "--only-binary=:all:", "--implementation=cp",
        "--python-version={}.{}".format(*wanted.python), "--abi=cp{}{}".format(*wanted.python),
        *(f"--platform={platform}" for platform in wanted.platforms),
        "--target", str(folder), "--requirement", str(requirements),
    ]  # fmt: skip
    if subprocess.run(command, check=False).returncode != 0:
        raise PackageError(
            f"pip cannot install {requirements.name} for Python {_dotted(wanted.python)} on Linux x86_64, see above."
            " Where there is no pip, run make setup, or install it (Debian: apt install python3-pip)"
        )


def faults(folder: Path, requirements: Path, wanted: Target) -> Iterator[str]:
    """What of `folder` does not run on `wanted`, or is not what `requirements` locks: the package, and why."""
    lock = locked(requirements)
    owners: dict[str, str] = {}
    found: dict[str, str] = {}
    for info in sorted(folder.glob("*.dist-info")):
        name, _, version = info.name.removesuffix(".dist-info").rpartition("-")
        package = f"{name} {version}"
        found[_normalized(name)] = version
        with (info / "RECORD").open(encoding="utf-8", newline="") as record:
            owners |= {row[0]: package for row in csv.reader(record) if row}
        tags = re.findall(r"^Tag: (\S+)$", (info / "WHEEL").read_text(encoding="utf-8"), re.MULTILINE)
        if not any(wanted.takes(tag) for tag in tags):
            yield f"{package} is a wheel for {', '.join(tags) or 'nothing'}"
    for name, version in lock.items():
        if name not in found:
            yield f"{name} {version} is missing"
        elif found[name] != version:
            yield f"{name} is {found[name]}, and {version} is locked"
    for name in found.keys() - lock.keys():
        yield f"{name} {found[name]} is not locked"
    for path in sorted(folder.rglob("*")):
        if path.is_file() and (fault := _fault_of(path, wanted)):
            inside = path.relative_to(folder).as_posix()
            yield f"{owners.get(inside, 'a package that is not recorded')}: {inside} {fault}"


def _fault_of(path: Path, wanted: Target) -> str | None:
    """Why an extension module, or a library, does not run on `wanted`; None where it does, and for any other file."""
    if path.suffix in (".pyd", ".dll", ".dylib"):
        return "is not for Linux"
    if not re.search(r"\.so(\.\d+)*$", path.name):
        return None
    built_for = re.search(r"\.(?:cpython-(\d)(\d+\w*)|(pypy\d+)|abi3)?[\w-]*\.so$", path.name)
    if built_for and built_for[1] and f"{built_for[1]}.{built_for[2]}" != _dotted(wanted.python):
        return f"is built for Python {built_for[1]}.{built_for[2]}"
    if built_for and built_for[3]:
        return "is built for PyPy"
    content = path.read_bytes()
    if content[:4] != b"\x7fELF":
        return "is not for Linux"
    if content[4:6] != b"\x02\x01" or int.from_bytes(content[18:20], "little") != _X86_64:
        return "is built for another machine than x86_64"
    needs = max((tuple(map(int, one)) for one in re.findall(rb"GLIBC_(\d+)\.(\d+)", content)), default=(0, 0))
    if needs > wanted.glibc:
        return f"needs glibc {_dotted(needs)}, and there is {_dotted(wanted.glibc)}"
    return None


def _normalized(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))


def check(folder: Path, requirements: Path, wanted: Target) -> None:
    """Raises PackageError with all that is wrong with `folder`."""
    if wrong := list(faults(folder, requirements, wanted)):
        runs = (
            f"the function app runs Python {_dotted(wanted.python)} on Linux x86_64 with glibc {_dotted(wanted.glibc)}"
        )
        raise PackageError("\n  ".join([f"{folder} is not to be deployed: {runs}.", *wrong, _FIX]))


def main() -> None:
    """Make the folder anew, and check it. With --python-version, print the one it is made for."""
    try:
        wanted = target()
        if sys.argv[1:] == ["--python-version"]:
            print(_dotted(wanted.python))
            return
        locked(REQUIREMENTS)
        shutil.rmtree(PACKAGES.parent.parent, ignore_errors=True)
        install(PACKAGES, REQUIREMENTS, wanted)
        check(PACKAGES, REQUIREMENTS, wanted)
    except PackageError as error:
        sys.exit(str(error))
    print(f"{len(locked(REQUIREMENTS))} packages for Python {_dotted(wanted.python)} in {PACKAGES.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
