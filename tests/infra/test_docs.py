"""The docs say what is so: functions, triggers, commands, roles, names, links."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path

import pytest
import typer

from pipeline.access import ROUTES
from pipeline.cli.app import app as cli
from tests.infra import code
from tests.infra.snapshots import INFRA, ROOT, resources, roles

PAGES = [*sorted((ROOT / "docs").glob("*.md")), INFRA / "README.md"]
DEPLOY = (ROOT / "docs/deploy.md").read_text(encoding="utf-8")
SECURITY = (ROOT / "docs/security.md").read_text(encoding="utf-8")
OPERATE = (ROOT / "docs/operate.md").read_text(encoding="utf-8")


def _anchors(path: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading).strip().lower().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: f"{page.parent.name}-{page.stem}")
def test_a_link_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]*(?:#[^)]*)?)\)", page.read_text(encoding="utf-8")):
        where, _, anchor = target.partition("#")
        linked = (page.parent / where).resolve() if where else page
        assert linked.exists(), target
        assert not anchor or anchor in _anchors(linked), target


def test_the_functions_are_those_there_are() -> None:
    told = dict(re.findall(r"^\| `(\w+)` \| (queue|timer|blobs).*$", DEPLOY, re.MULTILINE))
    kinds = {"queueTrigger": "queue", "timerTrigger": "timer", "blobTrigger": "blobs"}
    there = {
        name: kinds[trigger["type"]]
        for name, trigger in code.functions(blob_trigger=True).items()
        if trigger["type"] in kinds
    }
    assert told == there
    for name, trigger in code.functions().items():
        if at := trigger.get("queueName") or trigger.get("schedule"):
            assert re.search(rf"^\| `{name}` \| \w+ `{re.escape(at)}` \|$", DEPLOY, re.MULTILINE), name


def test_the_readme_gives_each_route_its_role() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    told = dict(re.findall(r"^\| `((?:GET|POST) /[^`]*)` \| (\w+) \|", readme, re.MULTILINE))
    assert told == {route: role.value if role else "anyone" for route, role in ROUTES.items()}


def test_the_commands_are_those_there_are() -> None:
    known = set(typer.main.get_command(cli).commands)  # type: ignore[attr-defined]
    for page in PAGES:
        for command in re.findall(r"(?:^|`)gallerist ([a-z]+)", page.read_text(encoding="utf-8"), re.MULTILINE):
            assert command in known, f"{page.name}: gallerist {command}"


def test_every_line_that_uploads_by_azcopy_marks_the_upload_complete() -> None:
    told = [*PAGES, ROOT / "README.md", ROOT / "sandbox/README.md", *(ROOT / "pipeline").rglob("*.py")]
    lines = [
        line
        for page in told
        for line in re.findall(r"azcopy copy (?!URL URL)(?:[^\n`]|\\\n)*", page.read_text(encoding="utf-8"))
        if "--blob-type" in line
    ]
    assert len(lines) > 5
    assert [line for line in lines if "--put-md5" not in line.replace("\n", " ")] == []


def test_the_reasons_are_those_the_code_gives() -> None:
    table = OPERATE.split("## Reasons")[1].split("\n## ")[0]
    said = " ".join(
        node.value
        for path in code.deployed()
        for node in ast.walk(code.tree(path))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    )
    reasons = [
        reason for row in re.findall(r"^\| (.*?) \|", table, re.MULTILINE) for reason in re.findall(r"`([^`]+)`", row)
    ]
    assert len(reasons) > 8
    for reason in reasons:
        assert reason in said, reason


def test_security_names_each_action_and_each_role() -> None:
    table = SECURITY.split("## Roles")[1].split("### Direct VHDs")[0]
    for name, role in roles("everything").items():
        assert name in SECURITY, name
        for action in role["properties"]["permissions"][0]["actions"]:
            kind, _, verb = action.rpartition("/")
            if kind.endswith(("disks", "snapshots", "virtualMachines")):
                kind = {"virtualMachines": "virtual machines"}.get(kind.rpartition("/")[2], kind.rpartition("/")[2])
            assert kind.removeprefix("Microsoft.Compute/").removeprefix("Microsoft.Storage/") in table, action
            assert verb in table or action in table, action


def test_cost_counts_what_there_is() -> None:
    from pipeline.replication import poll_delay

    cost = (ROOT / "docs/cost.md").read_text(encoding="utf-8")
    for words, minutes in (("10 minutes", 10), ("30 minutes", 30), ("an hour", 60), ("six hours", 360)):
        waited, polls = 0.0, 0
        while waited < minutes * 60:
            waited, polls = waited + poll_delay(waited, 10, 120), polls + 1
        assert f"| {words} | {polls} |" in cost
    rules = resources("everything", "Microsoft.Insights/scheduledQueryRules")
    metrics = resources("everything", "Microsoft.Insights/metricAlerts")
    assert f"{len(rules)} log alerts, {len(metrics)} metric alerts" in cost
    endpoints = resources("everything", "Microsoft.Network/privateEndpoints")
    zones = resources("everything", "Microsoft.Network/privateDnsZones")
    assert f"{len(endpoints)} private endpoints, {len(zones)} DNS zones" in cost


def test_the_readme_of_infra_names_each_file() -> None:
    text = (INFRA / "README.md").read_text(encoding="utf-8")
    for path in [*(INFRA / "modules").iterdir(), *INFRA.glob("*.*")]:
        name = path.name if path.suffix != ".ps1" else path.suffix
        assert name in text or path.name == "README.md", path.name


def test_the_names_that_docs_use_are_outputs() -> None:
    outputs = set(re.findall(r"^output (\w+)", (INFRA / "main.bicep").read_text(encoding="utf-8"), re.MULTILINE))
    own = set(re.findall(r"export (\w+)=", DEPLOY)) | {"GALLERIST_KEY"}
    for page in PAGES:
        blocks = "".join(re.findall(r"```sh\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL))
        for name in re.findall(r"\$\{?([A-Z][A-Z_]+)\b", blocks):
            assert name in outputs | own, f"{page.name}: ${name} comes from nowhere"
    assert json.loads((INFRA / "main.parameters.json").read_text(encoding="utf-8"))


def test_each_test_that_security_names_is_there() -> None:
    tests = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    there = set(re.findall(r"def (test_\w+)\(", tests))
    named = set(re.findall(r"`(test_\w+)`", SECURITY))
    assert named - there == set()
    assert len(named) > 60
