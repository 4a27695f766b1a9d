"""Alerts and workbook: what they look for is what the code says, and each has its page to act by."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from pipeline.runs import Stage
from tests.infra import code
from tests.infra.snapshots import INFRA, ROOT, Resource, resources

QUERIES = {path.stem: path.read_text(encoding="utf-8") for path in sorted((INFRA / "queries").glob("*.kql"))}
WORKBOOK = json.loads((INFRA / "workbook.json").read_text(encoding="utf-8"))
PANELS = {item["name"]: item["content"]["query"] for item in WORKBOOK["items"] if item["type"] == 3}
EVERY = QUERIES | PANELS
GROUPED = {"needs-action-today", "needs-action-this-week"}
OPERATE = (ROOT / "docs/operate.md").read_text(encoding="utf-8")


def _alerts(kind: str) -> dict[str, Resource]:
    """The alerts of a kind by the names that docs/operate.md has, in the deployment that has everything."""
    found = {}
    for one in resources("everything", f"Microsoft.Insights/{kind}"):
        name = re.fullmatch(r"gallerist-(.+)-\w+", one["name"])
        assert name, one["name"]
        found[name[1]] = one["properties"]
    return found


def _condition(rule: dict[str, Any]) -> dict[str, Any]:
    (condition,) = rule["criteria"]["allOf"]
    assert isinstance(condition, dict)
    return condition


def _split_by(rule: dict[str, Any]) -> list[str]:
    dimensions = _condition(rule)["dimensions"]
    assert all((one["operator"], one["values"]) == ("Include", ["*"]) for one in dimensions), (
        "all values, now and later"
    )
    return [one["name"] for one in dimensions]


def _duration(text: str) -> timedelta:
    found = re.fullmatch(r"P(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?)?", text)
    assert found, text
    days, hours, minutes = (int(one or 0) for one in found.groups())
    return timedelta(days=days, hours=hours, minutes=minutes)


def _told_of(query: str) -> set[str]:
    """The names that a grouped query gives to what it tells of."""
    (cases,) = re.findall(r"event = case\((.*?)\)\n", query, re.DOTALL)
    return set(re.findall(r'"([a-z]+(?:-[a-z]+)+)"', cases))


def _looked_for(query: str) -> set[str]:
    """The names of logged events that a query compares with."""
    found = set(re.findall(r'e\.event\) == "(\w+)"', query))
    for several in re.findall(r"e\.event\) in \(([^)]*)\)", query):
        found |= set(re.findall(r'"(\w+)"', several))
    return found


@pytest.mark.parametrize("name", sorted(EVERY))
def test_a_query_looks_for_what_the_code_says(name: str) -> None:
    query = EVERY[name]
    looked_for = _looked_for(query)
    assert looked_for - code.events() == set()
    if looked_for:
        terms = re.findall(r'Message has(?:_any)? (\([^)]*\)|"\w+")', query)
        assert set(re.findall(r'"(\w+)"', " ".join(terms))) == looked_for, "the cheap look comes before the parse"
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


@pytest.mark.parametrize("name", sorted(EVERY))
def test_a_query_does_without_a_table_that_has_had_no_row(name: str) -> None:
    """A table comes to be with its first row. A rule whose query fails for a week is disabled."""
    tables = re.findall(r"\b(?:App[A-Z]\w+|Storage[A-Z]\w+)", EVERY[name])
    stand_ins = re.findall(r"^union isfuzzy=true \(datatable\([^)]+\)\[\]\), (\w+)$", EVERY[name], re.MULTILINE)
    assert tables == stand_ins != []


@pytest.mark.parametrize("name", sorted(EVERY))
def test_how_bad_it_is_comes_from_the_event_itself(name: str) -> None:
    """The host guesses the SeverityLevel of a line from the words in it."""
    assert "SeverityLevel" not in EVERY[name]
    assert "level" not in EVERY[name] or "tostring(e.level)" in EVERY[name]


def test_the_ends_of_a_run_are_those_there_are() -> None:
    ends = '", "'.join(("published", "failed", "cancelled", "duplicate", "amended"))
    assert {stage.value for stage in Stage if stage.ended} == set(ends.split('", "'))
    assert f'("{ends}")' in PANELS["live"]


def test_each_query_has_an_alert_and_each_alert_its_query() -> None:
    rules = _alerts("scheduledQueryRules")
    assert rules.keys() == QUERIES.keys()
    for name, rule in rules.items():
        hours = re.search(r"ago\((\d+)h\)", _condition(rule)["query"]) if "DEADLINE_HOURS" in QUERIES[name] else None
        assert _condition(rule)["query"] == QUERIES[name].replace("DEADLINE_HOURS", hours[1] if hours else "")


def test_a_row_is_an_alert_and_what_it_is_split_by_is_in_it() -> None:
    for name, rule in _alerts("scheduledQueryRules").items():
        condition, split_by = _condition(rule), _split_by(rule)
        assert (condition["timeAggregation"], condition["operator"], condition["threshold"]) == (
            "Count",
            "GreaterThan",
            0,
        )
        assert rule["autoMitigate"], (
            f"{name}: it would be told again at each look, for as long as its row is in the window"
        )
        assert len(split_by) <= 6, "what Azure Monitor takes"
        for column in split_by:
            assert re.search(rf"\b{column}\b", QUERIES[name]), f"{name}: {column}"


def test_each_failure_of_each_run_is_told() -> None:
    """A rule that is split tells once of each combination: what tells two failures apart has to be among it."""
    rule = _alerts("scheduledQueryRules")["needs-action-today"]
    assert {"event", "run", "image", "reason", "at"} <= set(_split_by(rule))
    query = QUERIES["needs-action-today"]
    assert 'at = iff(event == "run-failed", format_datetime(TimeGenerated, ' in query
    for name in sorted(GROUPED):
        rows = re.findall(r"summarize .* by (.+)$", QUERIES[name], re.MULTILINE)
        assert rows == [", ".join(_split_by(_alerts("scheduledQueryRules")[name]))], "one row a combination"
        (most,) = re.findall(r"\| top (\d+) by TimeGenerated desc", QUERIES[name])
        assert int(most) <= 300, "what a rule may tell of at a time, or it tells of nothing"


def test_what_is_logged_late_is_seen_and_each_rule_has_its_health_reported() -> None:
    for name, rule in _alerts("scheduledQueryRules").items():
        every, window = _duration(rule["evaluationFrequency"]), _duration(rule["windowSize"])
        assert window >= 2 * every, f"{name}: what is logged late is never seen"
        assert window <= timedelta(days=2), "what Azure Monitor takes"
        assert every <= timedelta(minutes=15), "Azure reports no health of a rule that runs less often"
        assert rule["severity"] in range(5)


def test_the_severity_of_what_needs_action_says_when() -> None:
    rules = _alerts("scheduledQueryRules")
    assert [rules[name]["severity"] for name in ("needs-action-today", "needs-action-this-week")] == [2, 3]
    assert "severity 1 wants somebody now, 2 today, 3 this week" in OPERATE.lower().replace("\n", " ")


def test_event_grid_tells_of_what_it_kept_and_of_what_it_dropped() -> None:
    found = {
        name: (_condition(rule)["metricNamespace"], _condition(rule)["metricName"], _split_by(rule))
        for name, rule in _alerts("metricAlerts").items()
    }
    of_topics = "Microsoft.EventGrid/systemTopics"
    assert found == {
        "event-dead-lettered": (of_topics, "DeadLetteredCount", ["DeadLetterReason"]),
        "event-dropped": (of_topics, "DroppedEventCount", ["DropReason"]),
    }


def test_a_rule_that_azure_disables_is_told_of() -> None:
    (rule,) = _alerts("activityLogAlerts").values()
    conditions = {one["field"]: one["equals"] for one in rule["condition"]["allOf"]}
    assert conditions == {
        "category": "Administrative",
        "operationName": "Microsoft.Insights/ScheduledQueryRules/disable/action",
    }
    assert [scope.rpartition("/")[2] for scope in rule["scopes"]] == ["rg-prod"]


def test_every_alert_writes_to_whoever_is_named_and_to_nobody_else() -> None:
    (group,) = resources("everything", "Microsoft.Insights/actionGroups")
    for kind in ("scheduledQueryRules", "metricAlerts", "activityLogAlerts"):
        for name, rule in _alerts(kind).items():
            assert group["id"] in json.dumps(rule["actions"]), name
    assert resources("defaults", "Microsoft.Insights/actionGroups") == []
    for kind in ("scheduledQueryRules", "metricAlerts", "activityLogAlerts"):
        for one in resources("defaults", f"Microsoft.Insights/{kind}"):
            assert "actionGroups/" not in json.dumps(one["properties"]["actions"])


def test_the_docs_say_what_to_do_for_each() -> None:
    told = set(re.findall(r"^### `([\w-]+)`", OPERATE, re.MULTILINE))
    events = {one for name in GROUPED for one in _told_of(QUERIES[name])}
    others = {*_alerts("scheduledQueryRules"), *_alerts("metricAlerts"), *_alerts("activityLogAlerts")} - GROUPED
    assert told == events | others
    assert len(events) == 7


def test_the_docs_name_each_dimension() -> None:
    introduction = OPERATE.split("## Alerts")[1].split("\n### ")[0]
    for name, rule in {**_alerts("scheduledQueryRules"), **_alerts("metricAlerts")}.items():
        for column in _split_by(rule):
            assert f"`{column}`" in introduction, f"{name}: {column}"


def test_what_the_code_logs_as_an_error_has_an_alert() -> None:
    """But for what another alert tells of anyway."""
    told_otherwise = {"step_poisoned"}  # by the poison queue, and by the run that fails
    errors = set()
    for path in code.deployed():
        errors |= set(re.findall(r'\.error\(\s*"(\w+)"', Path(path).read_text(encoding="utf-8")))
    assert errors, "nothing is logged as an error any more"
    assert errors - told_otherwise - {one for query in QUERIES.values() for one in _looked_for(query)} == set()
