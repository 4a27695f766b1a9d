"""What is deployed knows nothing of the command line, and the pipeline nothing of where it is tried."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def imports(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return found


def test_the_function_app_imports_none_of_it() -> None:
    code = "import sys, function_app, pipeline.triggers; print(sorted({'typer', 'httpx', 'pipeline.cli'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_only_the_edge_imports_azure() -> None:
    for path in (ROOT / "pipeline").rglob("*.py"):
        if path.parent.name != "cloud":
            assert not [name for name in imports(path) if re.match(r"azure(\.|$)", name)], path


def test_the_product_speaks_of_no_sandbox() -> None:
    for path in (ROOT / "pipeline").rglob("*.py"):
        assert not re.search(r"sandbox|azurite|devstoreaccount", path.read_text(), re.IGNORECASE), path
