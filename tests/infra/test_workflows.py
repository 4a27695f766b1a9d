"""CI for those who use this: pinned, least in rights, and without a secret."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from pathspec import GitIgnoreSpec

from sandbox import deployed
from tests.infra.snapshots import INFRA, ROOT

DEPLOY = (ROOT / "docs/deploy.md").read_text(encoding="utf-8")
TOLD = [ROOT / "README.md", ROOT / "sandbox/README.md", INFRA / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
RUN = [ROOT / "Makefile", ROOT / ".ci/run", *INFRA.glob("*.sh"), *INFRA.glob("*.ps1")]
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))


def _load(name: str) -> dict:
    found = yaml.safe_load((ROOT / ".github/workflows" / name).read_text(encoding="utf-8"))
    found["on"] = found.pop(True)  # YAML 1.1 reads `on` as a boolean
    return found


def _steps(workflow: dict) -> list[dict]:
    return [step for job in workflow["jobs"].values() for step in job["steps"]]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_is_pinned_and_keeps_no_secret(path) -> None:  # type: ignore[no-untyped-def]
    text = path.read_text(encoding="utf-8")
    assert "secrets." not in text
    workflow = _load(path.name)
    for step in _steps(workflow):
        if uses := step.get("uses"):
            assert re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}", uses), uses
            assert re.search(rf"{re.escape(uses)} # v\d+\.\d+\.\d+\n", text), f"{uses} does not say its version"
        if "checkout" in step.get("uses", ""):
            assert step["with"]["persist-credentials"] is False
        assert "${{" not in step.get("run", ""), "what others wrote reaches a shell by the environment alone"
    assert workflow["permissions"] in ({}, {"contents": "read"})
    for job in workflow["jobs"].values():
        assert "timeout-minutes" in job
        rights = job.get("permissions", {})
        if "write" in rights.values():
            assert (rights, job["environment"]) == ({"id-token": "write", "contents": "read"}, "production")
            assert "github.ref == 'refs/heads/main'" in job["if"]


def test_the_deployment_signs_in_by_oidc_and_deploys_only_what_passed() -> None:
    workflow = _load("deploy.yml")
    (job,) = workflow["jobs"].values()
    assert job["permissions"] == {"id-token": "write", "contents": "read"}
    assert "pull_request_target" not in workflow["on"]
    assert "workflow_run.conclusion == 'success'" in job["if"]
    assert "workflow_run.event == 'push'" in job["if"], "a pull request's run is none of main's"
    assert workflow["on"]["workflow_run"]["workflows"] == [_load("test.yml")["name"]]
    runs = " ".join(step.get("run", "") for step in _steps(workflow))
    assert "--federated-credential-provider github" in runs
    assert "--client-secret" not in runs
    (azd,) = (step for step in _steps(workflow) if "setup-azd" in step.get("uses", ""))
    assert re.fullmatch(r"\d+\.\d+\.\d+", azd["with"]["version"]), "what bears such rights is no moving version"
    (rule,) = (line for line in DEPLOY.splitlines() if "deployment-branch-policies" in line)
    assert "-f name=main -f type=branch" in rule, "the environment takes main alone"


def test_the_deployment_can_set_what_a_person_can() -> None:
    parameters = (INFRA / "main.parameters.json").read_text(encoding="utf-8")
    (job,) = _load("deploy.yml")["jobs"].values()
    for name, default in re.findall(r"\$\{(\w+)=(\w*)\}", parameters):
        value = job["env"][name]
        assert f"vars.{name}" in value
        assert not default or f"|| '{default}'" in value, "an empty variable is no default"
    for name in re.findall(r"\$\{(\w+)\}", parameters):
        assert job["env"][name] == f"${{{{ vars.{name} }}}}"


def test_the_tests_run_on_every_python_that_is_supported() -> None:
    pythons = _load("test.yml")["jobs"]["test"]["strategy"]["matrix"]["python"]
    wanted = re.search(r"3\.(\d+) to 3\.(\d+)", (ROOT / "README.md").read_text(encoding="utf-8"))
    assert wanted
    assert pythons == [f"3.{minor}" for minor in range(int(wanted[1]), int(wanted[2]) + 1)]
    runs = [step.get("run") for step in _steps(_load("test.yml"))]
    assert "bash .ci/run" in runs
    assert any(re.fullmatch(r"az bicep install --version v\d+\.\d+\.\d+", run) for run in runs if run), (
        "make check compiles, where it finds a compiler"
    )
    (job,) = (step for step in _steps(_load("test.yml")) if step.get("run") == "bash .ci/run")
    assert job["env"]["PYTHON"] == "python${{ matrix.python }}", "make takes the newest there is where none is named"


def test_dependabot_looks_at_each_lock() -> None:
    config = yaml.safe_load((ROOT / ".github/dependabot.yml").read_text(encoding="utf-8"))
    looks = {(one["package-ecosystem"], one["directory"]) for one in config["updates"]}
    assert looks == {
        ("pip", "/"),
        ("pip", "/infra"),
        ("npm", "/.ci"),
        ("npm", "/sandbox"),
        ("npm", "/infra/kql"),
        ("github-actions", "/"),
    }
    for folder in (".ci", "sandbox", "infra/kql"):
        assert (ROOT / folder / "package-lock.json").exists()
    assert {path.stem for path in INFRA.glob("*.in")} == {
        path.stem.removeprefix("requirements-") for path in INFRA.glob("requirements-*.txt")
    }
    for one in config["updates"]:
        assert one["cooldown"]["default-days"] >= 7, "a release that was taken over is found out within days"


def test_the_hooks_before_a_commit_run_what_check_runs() -> None:
    (local,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))["repos"]
    entries = {hook["entry"] for hook in local["hooks"]}
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    check = makefile.split("\ncheck:")[1].split("\n.PHONY")[0]
    assert "make security-check" in entries
    for tool in ("ruff check", "ruff format --check", "mypy"):
        assert f"$(PY) -m {tool}" in check
        assert any(entry.endswith(f"-m {tool}") for entry in entries)
    assert "infra-check security-check" in check
    assert "make infra-check" in entries
    for hook in local["hooks"]:
        re.compile(hook.get("files", ""))


def test_the_checks_lock_names_no_host() -> None:
    npm = (ROOT / folder / "package-lock.json" for folder in (".ci", "infra/kql"))
    for path in [*INFRA.glob("requirements-*.txt"), *ROOT.glob("requirements*.txt"), *npm]:
        assert not re.search(r"https?://", path.read_text(encoding="utf-8")), path.name


@pytest.mark.parametrize("path", [*TOLD, *RUN, *WORKFLOWS], ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_is_installed_that_is_not_locked(path: Path) -> None:
    """What pip and npm install is held to hashes. The project itself brings nothing, nor does its building."""
    text = path.read_text(encoding="utf-8")
    for line in re.findall(r"\bpip install\b[^\n&|]*", text):
        if "--no-deps --no-build-isolation ." not in line:
            assert "--require-hashes" in line, line
    for line in re.findall(r"\bnpm (?:ci|install|i|exec)\b.*", text):
        assert line.startswith("npm ci "), line
        assert "--ignore-scripts" in line, line


@pytest.mark.parametrize("path", [*TOLD, *RUN], ids=lambda path: str(path.relative_to(ROOT)))
def test_no_key_is_an_argument(path: Path) -> None:
    """Everyone on a machine can read the arguments of what runs there; those of printf stay in the shell."""
    for line in path.read_text(encoding="utf-8").splitlines():
        assert not re.search(
            r"(?:-H|--header)[ =\\\"']*(?:x-functions-key|x-identity-header|authorization)", line, re.IGNORECASE
        ), line
        assert not re.search(r"[?&]code=\$", line) or line.startswith("printf "), line


@pytest.mark.parametrize("name", ["key.header", "headers.txt", ".env", ".env.prod", "a.key", "a.pem", "a.pfx", "a.p12"])
def test_a_key_beside_the_code_is_neither_committed_nor_deployed(name: str, tmp_path: Path) -> None:
    committed = GitIgnoreSpec.from_lines((ROOT / ".gitignore").read_text(encoding="utf-8").splitlines())
    assert committed.match_file(name)
    (tmp_path / "root").mkdir()
    for there in (name, "host.json"):
        (tmp_path / "root" / there).touch()
    (tmp_path / "root/.funcignore").write_text((ROOT / ".funcignore").read_text(encoding="utf-8"), encoding="utf-8")
    deployed.lay_out(tmp_path / "app", tmp_path / "root")
    assert [path.name for path in (tmp_path / "app").iterdir()] == ["host.json"]
