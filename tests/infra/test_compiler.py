"""What the Bicep compiler says, where there is one: files compile, each set of options evaluates, wrong ones do not."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.infra import compiler
from tests.infra.snapshots import FOLDER, INFRA, KEPT

OPTIONS = sorted(FOLDER.glob("*.bicepparam"))
WRONG = sorted((FOLDER / "refused").glob("*.bicepparam"))

pytestmark = [
    pytest.mark.compiler,
    pytest.mark.skipif(
        not compiler.find(),
        reason="no Bicep compiler was found: az bicep install, or set BICEP=/path/to/bicep",
    ),
]


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compiler.copy(tmp_path_factory.mktemp("bicep") / "infra")


def _faults(printed: str) -> list[str]:
    """What is wrong, but for the rule that goes by the calendar."""
    return [line for line in printed.splitlines() if line and "use-recent-api-versions" not in line]


def test_everything_compiles_and_the_linter_has_nothing_to_say(tmp_path: Path) -> None:
    compiler.run("build", INFRA / "main.bicep", "--outfile", tmp_path / "main.json")
    assert _faults(compiler.run("lint", INFRA / "main.bicep")) == []


def test_the_files_are_formatted(tmp_path: Path) -> None:
    formatted = compiler.copy(tmp_path / "infra").parent
    for ending in ("bicep", "bicepparam"):
        compiler.run("format", "--pattern", formatted / f"**/*.{ending}")
    files = [*INFRA.glob("*.bicep"), *INFRA.glob("modules/*.bicep"), *FOLDER.rglob("*.bicepparam")]
    changed = {
        path for path in files if path.read_text("utf-8") != (formatted / path.relative_to(INFRA)).read_text("utf-8")
    }
    assert changed == set(), "run: bicep format FILE"


@pytest.mark.parametrize("path", OPTIONS, ids=lambda path: path.stem)
def test_a_set_of_options_evaluates_and_makes_nothing_twice(path: Path, copy: Path) -> None:
    compiler.snapshot(copy / path.name, "overwrite")
    made = json.loads((copy / path.with_suffix(".snapshot.json").name).read_text("utf-8"))
    assert made["diagnostics"] == []
    ids = [one["id"].lower() for one in made["predictedResources"]]
    assert sorted({one for one in ids if ids.count(one) > 1}) == []


@pytest.mark.parametrize("name", KEPT)
def test_a_committed_snapshot_is_what_the_compiler_makes(name: str) -> None:
    compiler.snapshot(FOLDER / f"{name}.bicepparam", "validate")


@pytest.mark.parametrize("path", WRONG, ids=lambda path: path.stem)
def test_wrong_parameters_are_refused_by_name(path: Path, copy: Path) -> None:
    """Each line of the file that begins with `// refused:` says what the message has."""
    wanted = re.findall(r"^// refused: (.+)$", path.read_text("utf-8"), re.MULTILINE)
    assert wanted
    with pytest.raises(compiler.Refused) as refused:
        compiler.snapshot(copy / "refused" / path.name, "overwrite")
    for words in wanted:
        assert words in str(refused.value)
