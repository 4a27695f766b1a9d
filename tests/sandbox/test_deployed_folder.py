"""What azd deploys is laid out here as it packs it, and works with nothing beside it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from sandbox import deployed
from sandbox.worker import PACKAGES

needs_313 = pytest.mark.skipif(sys.version_info[:2] != (3, 13), reason="the function app's Python is 3.13")


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """This app, laid out without the packages that may have been made for it."""
    folder = tmp_path_factory.mktemp("deployed") / "app"
    deployed.lay_out(folder)
    with_packages = folder / PACKAGES.parts[0]
    if with_packages.exists():
        with_packages.rename(folder.parent / "made")
    return folder


def test_the_app_is_in_it_and_what_is_around_it_is_not(app: Path) -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=deployed.ROOT, capture_output=True, text=True, check=True).stdout
    there = {path.name for path in app.iterdir()} & {name.split("/")[0] for name in listed.split()}
    wanted = {"function_app.py", "host.json", "requirements.txt", "pipeline"}
    assert there - {"catalog.yaml"} == wanted, "say in .funcignore whether these are deployed"
    assert not (app / "pipeline/cli").exists()
    assert not list(app.rglob("__pycache__"))


def test_packages_are_whole(tmp_path: Path) -> None:
    """A package may have folders and files that are named as those which this project leaves out."""
    kept = ["docs/a.py", "tests/a.py", "build/a.py", "infra/a.py", "x.dist-info/LICENSE", "x/README.md", "x/.gitkeep"]
    for name in [*kept, "x/__pycache__/a.pyc", "bin/x"]:
        (tmp_path / "root" / PACKAGES / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "root" / PACKAGES / name).touch()
    for name in ("tests", ".venv", "api_env", ".azure", ".sandbox", ".git"):
        (tmp_path / "root" / name).mkdir()
    (tmp_path / "root/local.settings.json").touch()
    (tmp_path / "root/.funcignore").write_text((deployed.ROOT / ".funcignore").read_text())
    deployed.lay_out(tmp_path / "app", tmp_path / "root")
    packages = tmp_path / "app" / PACKAGES
    assert {path.relative_to(packages).as_posix() for path in packages.rglob("*") if path.is_file()} == set(kept)
    assert {path.name for path in (tmp_path / "app").iterdir()} == {PACKAGES.parts[0]}


@needs_313
def test_without_its_packages_it_is_refused(app: Path) -> None:
    with pytest.raises(deployed.DeployedError, match="No module named 'azure"):
        deployed.index(app)


@needs_313
def test_with_them_every_function_is_indexed(app: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import azure.functions

    (app / PACKAGES).parent.mkdir(parents=True)
    (app / PACKAGES).symlink_to(Path(azure.functions.__file__).parents[2])
    found = deployed.index(app)
    assert found["take_upload"] == "blobTrigger"
    assert len(found) > 25
    (app / "pipeline/late.py").write_text("import not_deployed\n")
    with pytest.raises(deployed.DeployedError, match="not_deployed"):
        deployed.index(app)
