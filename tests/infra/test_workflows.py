"""CI for those who use this: pinned, least in rights, and without a secret."""

from __future__ import annotations

import re

import pytest
import yaml

from tests.infra.snapshots import INFRA, ROOT

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
    assert all("timeout-minutes" in job for job in workflow["jobs"].values())


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
    assert "az bicep install" in runs, "make check compiles, where it finds a compiler"
    (job,) = (step for step in _steps(_load("test.yml")) if step.get("run") == "bash .ci/run")
    assert job["env"]["PYTHON"] == "python${{ matrix.python }}", "make takes the newest there is where none is named"


def test_dependabot_looks_at_each_lock() -> None:
    config = yaml.safe_load((ROOT / ".github/dependabot.yml").read_text(encoding="utf-8"))
    looks = {(one["package-ecosystem"], one["directory"]) for one in config["updates"]}
    assert looks == {
        ("pip", "/"),
        ("pip", "/infra"),
        ("npm", "/sandbox"),
        ("npm", "/infra/kql"),
        ("github-actions", "/"),
    }
    for folder in ("sandbox", "infra/kql"):
        assert (ROOT / folder / "package-lock.json").exists()
    assert (INFRA / "requirements-checkov.txt").exists()


def test_the_hooks_before_a_commit_run_what_check_runs() -> None:
    (local,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))["repos"]
    entries = {hook["entry"] for hook in local["hooks"]}
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    check = makefile.split("\ncheck:")[1].split("\n.PHONY")[0]
    for tool in ("ruff check", "ruff format --check", "mypy"):
        assert f"$(PY) -m {tool}" in check
        assert any(entry.endswith(f"-m {tool}") for entry in entries)
    assert "infra-check" in check
    assert "make infra-check" in entries
    for hook in local["hooks"]:
        re.compile(hook.get("files", ""))


def test_the_checks_lock_names_no_host() -> None:
    for path in [*INFRA.glob("requirements-*.txt"), *ROOT.glob("requirements*.txt"), INFRA / "kql/package-lock.json"]:
        assert not re.search(r"https?://", path.read_text(encoding="utf-8")), path.name
