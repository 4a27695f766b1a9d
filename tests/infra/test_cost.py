"""What docs/cost.md says of alerts and instances is what is deployed, at list prices."""

from __future__ import annotations

from tests.infra import code
from tests.infra.snapshots import ROOT, one, resources

COST = (ROOT / "docs/cost.md").read_text(encoding="utf-8")
MONTH = 2_629_800
ALERT = {"PT5M": 1.50, "PT15M": 0.50}
"""A log alert's price a month, by how often it runs."""
BASELINE = 0.000004
"""The price of a GB-second of an always-ready instance that is idle."""
ON_DEMAND = 0.000026
"""The price of a GB-second of an instance on demand."""


def test_what_alerts_cost() -> None:
    rules = resources("defaults", "Microsoft.Insights/scheduledQueryRules")
    often = [rule["properties"]["evaluationFrequency"] for rule in rules]
    five, fifteen = often.count("PT5M"), often.count("PT15M")
    cost = sum(ALERT[every] for every in often)
    assert f"{five} every 5 minutes ($1.50 each) and {fifteen} every 15 ($0.50) are ${cost:.2f}" in COST
    metrics = len(resources("defaults", "Microsoft.Insights/metricAlerts"))
    of_log = len(resources("defaults", "Microsoft.Insights/activityLogAlerts"))
    assert f"| {len(rules)} log alerts, {metrics} metric alerts, {of_log} activity log alert:" in COST


def _scaled(*, blob_trigger: bool) -> int:
    """How many Flex Consumption scales by themselves: each function, but HTTP and blob triggers are a group each."""
    kinds = [trigger["type"] for trigger in code.functions(blob_trigger=blob_trigger).values()]
    grouped = {"httpTrigger", "blobTrigger"}
    return sum(kind not in grouped for kind in kinds) + len(grouped & set(kinds))


def test_what_instances_cost() -> None:
    groups, with_blobs = _scaled(blob_trigger=False), _scaled(blob_trigger=True)
    scale = one("defaults", "Microsoft.Web/sites")["properties"]["functionAppConfig"]["scaleAndConcurrency"]
    most, memory = scale["maximumInstanceCount"], scale["instanceMemoryMB"] // 1024
    idle = memory * MONTH * BASELINE
    for words in (
        f"each {memory} GB × 2 629 800 s at the baseline price: about ${idle:.0f}, idle.",
        f"whatever else is set: {groups} × 2, about ${round(groups * 2 * idle, -1):.0f}, idle",
        f"({with_blobs} × 2, about ${round(with_blobs * 2 * idle, -1):.0f}, with `blobTrigger`)",
        f"{groups} ({with_blobs} with `blobTrigger`), and so up to {groups} × {most} = {groups * most} instances",
        f"{groups * most} instances busy for an hour are {groups * most * memory * 3600:,} GB-seconds, ".replace(
            ",", " ", 2
        )
        + f"about ${groups * most * memory * 3600 * ON_DEMAND:.0f}",
    ):
        assert words in COST.replace("\n", " "), words


def test_security_names_the_same_bound() -> None:
    groups = _scaled(blob_trigger=False)
    most = one("defaults", "Microsoft.Web/sites")["properties"]["functionAppConfig"]["scaleAndConcurrency"]
    bound = groups * most["maximumInstanceCount"]
    assert f"up to {bound} instances in all" in (ROOT / "docs/security.md").read_text(encoding="utf-8")
