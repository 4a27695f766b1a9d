"""Alerts and workbook: what they look for is what the code says, and each has its page to act by."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from pipeline.runs import Stage
from tests.infra import code
from tests.infra.bicep import INFRA, ROOT, module

ALERTS = module("alerts")
QUERIES = sorted((INFRA / "queries").glob("*.kql"))
WORKBOOK = json.loads((INFRA / "workbook.json").read_text(encoding="utf-8"))
PANELS = {item["name"]: item["content"]["query"] for item in WORKBOOK["items"] if item["type"] == 3}
EVERY = {path.stem: path.read_text(encoding="utf-8") for path in QUERIES} | PANELS


def _rules() -> dict[str, dict[str, object]]:
    return {rule["name"]: rule for rule in ALERTS.vars["rules"]}


@pytest.mark.parametrize("name", sorted(EVERY))
def test_a_query_looks_for_what_the_code_says(name: str) -> None:
    query = EVERY[name]
    looked_for = set(re.findall(r'e\.event\) == "(\w+)"', query))
    for several in re.findall(r"e\.event\) in \(([^)]*)\)", query):
        looked_for |= set(re.findall(r'"(\w+)"', several))
    assert looked_for - code.events() == set()
    assert bool(looked_for) == query.startswith("AppTraces")
    for event in looked_for:
        assert f'Message has "{event}"' in query, "the cheap look comes before the parse"
    stages = set(re.findall(r'(?:led_to\)|stage) [!=]= "(\w+)"', query))
    for several in re.findall(r"(?:led_to\)|stage) !?in \(([^)]*)\)", query):
        stages |= set(re.findall(r'"(\w+)"', several))
    assert stages <= {stage.value for stage in Stage}
    named = {
        one
        for several in re.findall(r"(?:Name in \(|dynamic\(\[)([^)\]]*)", query)
        for one in re.findall(r'"(\w+)"', several)
    }
    assert named <= set(code.functions())


def test_the_ends_of_a_run_are_those_there_are() -> None:
    ends = '", "'.join(("published", "failed", "cancelled", "duplicate", "amended"))
    assert {stage.value for stage in Stage if stage.ended} == set(ends.split('", "'))
    assert f'("{ends}")' in PANELS["live"]


@pytest.mark.parametrize("name", sorted(EVERY))
def test_a_query_is_whole(name: str) -> None:
    for opening, closing in ("()", "[]", "{}"):
        bare = re.sub(r'@?"[^"]*"', "", EVERY[name])
        assert bare.count(opening) == bare.count(closing)
    for line in EVERY[name].splitlines():
        assert re.match(r"(\| \w+|//|let \w+ = |print |[A-Z]\w+$|[ )])", line), line


def test_each_query_has_an_alert_and_each_alert_its_query() -> None:
    text = ALERTS.path.read_text(encoding="utf-8")
    assert set(re.findall(r"queries/([\w-]+)\.kql", text)) == {path.stem for path in QUERIES} == set(_rules())
    for name, rule in _rules().items():
        assert f"queries/{name}.kql" in getattr(rule["query"], "text", "")


def test_what_an_alert_sums_up_or_splits_by_is_a_column() -> None:
    for name, rule in _rules().items():
        for column in (rule["measured"], rule["by"]):
            assert not column or re.search(rf"\b{column}\b", EVERY[name]), f"{name}: {column}"
        assert rule["severity"] in range(5)
        assert rule["window"] in {"PT5M", "PT15M", "PT30M", "PT1H", "P2D"}, "what Azure Monitor takes"
        assert rule["every"] in {"PT5M", "PT15M", "PT30M", "PT1H"}
        minutes = {"PT5M": 5, "PT15M": 15, "PT30M": 30, "PT1H": 60, "P2D": 2880}
        assert minutes[rule["window"]] >= 2 * minutes[rule["every"]], f"{name}: what is logged late is never seen"


def test_the_late_replication_is_measured_by_the_parameter() -> None:
    assert "ago(DEADLINE_HOURSh)" in EVERY["replication-late"]
    assert "'DEADLINE_HOURS', string(replicationDeadlineHours)" in ALERTS.path.read_text(encoding="utf-8")


def test_the_docs_say_what_to_do_for_each() -> None:
    told = set(re.findall(r"^### `([\w-]+)`", (ROOT / "docs/operate.md").read_text(encoding="utf-8"), re.MULTILINE))
    assert told == {*_rules(), "event-dead-lettered"}


def test_what_the_code_logs_as_an_error_has_an_alert() -> None:
    """But for what another alert tells of anyway."""
    told_otherwise = {"step_poisoned"}  # by the poison queue, and by the run that fails
    errors = set()
    for path in code.deployed():
        errors |= set(re.findall(r'\.error\(\s*"(\w+)"', Path(path).read_text(encoding="utf-8")))
    assert errors, "nothing is logged as an error any more"
    assert errors - told_otherwise - set(re.findall(r'"(\w+)"', " ".join(EVERY.values()))) == set()
