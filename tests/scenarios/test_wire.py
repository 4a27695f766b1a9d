"""What Azure would refuse is never sent: other api-versions than the settings', both of what excludes each other,
control characters in a filter."""

from __future__ import annotations

import unicodedata
import uuid
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from azure.core.pipeline.transport import RequestsTransport

from pipeline import retention
from pipeline.cloud.api_versions import BYPASS_SOFT_DELETE, COMPUTE, DISK, GALLERY, LOCKS
from pipeline.cloud.compute import DefinitionId
from pipeline.cloud.faults import NotFound
from pipeline.cloud.tables import Change, Span, Tables
from pipeline.runs import TABLE, RunStore, Stage
from pipeline.source import SourceKind
from tests.azure import Azure
from tests.conftest import connected, start
from tests.scenarios.lifecycle import GALLERIES, HOUR, PASSED, Life, write_catalog
from tests.scenarios.wire import Sent, Tap

KINDS: dict[str, tuple[dict[str, Any], dict[str, Any] | None]] = {
    "moved": ({"keep": {"newest": 1}}, {"require": PASSED}),
    "soft": ({"gallery": "soft"}, None),
}
OTHERS = {"GALLERY_API_VERSION": "2025-12-03", "COMPUTE_API_VERSION": "2025-04-01", "DISK_API_VERSION": "2025-01-02"}
DEFAULTS = dict(zip(OTHERS, (GALLERY, COMPUTE, DISK), strict=True))


@pytest.fixture(scope="module")
def azure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Azure]:
    folder = tmp_path_factory.mktemp("wire")
    catalog = write_catalog(folder / "rules.yaml", KINDS, 12)
    sandbox = start(folder, catalog=catalog, galleries=list(GALLERIES), time_scale=20_000, host=False, events="none")
    yield Azure(sandbox)
    sandbox.stop()


@pytest.fixture
def tap(monkeypatch: pytest.MonkeyPatch) -> Tap:
    tap = Tap()
    monkeypatch.setattr(RequestsTransport, "send", tap.watch(RequestsTransport.send))
    return tap


def service(sent: Sent) -> str:
    """The setting that a request's api-version is chosen by."""
    kind = sent.path.lower().rpartition("/providers/")[2].split("/")
    if kind[0] == "microsoft.authorization":
        return "locks"
    return {
        "galleries": "GALLERY_API_VERSION", "images": "COMPUTE_API_VERSION", "virtualmachines": "COMPUTE_API_VERSION",
        "disks": "DISK_API_VERSION", "snapshots": "DISK_API_VERSION",
    }[kind[1]]  # fmt: skip


@pytest.mark.parametrize("settings", [{}, OTHERS], ids=["by default", "as set"])
def test_every_call_names_the_api_version_of_the_settings(
    life: Life, tap: Tap, monkeypatch: pytest.MonkeyPatch, settings: dict[str, str]
) -> None:
    for name in OTHERS:
        monkeypatch.delenv(name, raising=False)
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    life.ctx = connected(life.azure, monkeypatch)
    image = life.image("moved")
    versions = [life.ripe(image), life.ripe(image)]
    assert life.promoted(image).stage is Stage.PUBLISHED
    planned = retention.look(life.ctx, image)
    retention.retire(life.ctx, planned)
    assert [one.name for one in planned.doomed] == versions[:1]
    for kind in (SourceKind.SNAPSHOT, SourceKind.DISK, SourceKind.VM, SourceKind.MANAGED_IMAGE):
        with pytest.raises(NotFound):
            life.ctx.compute.source(kind, resource(kind))

    chosen = {**DEFAULTS, **settings, "locks": LOCKS}
    asked = [one for one in tap.to(life.ctx.settings.arm_endpoint) if one.path.startswith("/subscriptions/")]
    assert {service(one) for one in asked} == set(chosen)
    assert [one for one in asked if one.query.get("api-version") != chosen[service(one)]] == []


def resource(kind: SourceKind) -> str:
    name = {"snapshot": "snapshots", "disk": "disks", "vm": "virtualMachines", "managed_image": "images"}[kind.value]
    return f"{GALLERIES['staging'].partition('/galleries/')[0]}/{name}/none"


def test_a_deletion_for_good_asks_by_what_knows_of_it_and_does_without_where_nothing_does(life: Life, tap: Tap) -> None:
    image = life.image("soft")
    life.build(image)
    life.build(image)
    at = DefinitionId.parse(life.azure.definition(image))
    life.ctx.compute.delete_version(at, "1.0.0", for_good=True)
    deleted = tap.to(life.ctx.settings.arm_endpoint)[-1]
    assert deleted.query == {"api-version": BYPASS_SOFT_DELETE, "bypassSoftDelete": "true"}

    refusal = {"error": {"code": "NoRegisteredProviderFound", "message": f"API version '{BYPASS_SOFT_DELETE}'"}}
    life.azure.fault(method="DELETE", path=f"{image}/versions/1.0.1", status=400, body=refusal, times=1)
    life.ctx.compute.delete_version(at, "1.0.1", for_good=True)
    assert tap.to(life.ctx.settings.arm_endpoint)[-1].query == {"api-version": GALLERY}
    life.azure.advance(HOUR)
    assert life.azure.versions(image) == []


@pytest.mark.parametrize("typed", [True, False])
def test_a_version_is_not_sent_back_with_type_and_strategy(life: Life, tap: Tap, typed: bool) -> None:
    image = life.image("moved")
    life.build(image)
    described = life.azure.version(image, "1.0.0")
    profile = described["properties"]["publishingProfile"]
    profile["storageAccountStrategy"] = "PreferStandard_ZRS"
    if not typed:
        del profile["storageAccountType"]
    life.azure.fault(method="GET", path=f"{image}/versions/1.0.0$", status=200, body=described, times=1)
    # Azure excludes one by the other; what is sent is looked at, whatever this one makes of it.
    life.azure.fault(method="PUT", path=f"{image}/versions/1.0.0$", status=201, body=described, times=1)
    at = DefinitionId.parse(life.azure.definition(image))
    found = life.ctx.compute.version(at, "1.0.0")
    life.ctx.compute.amend_version(at, "1.0.0", found.resource, {**found.tags, "a": "b"}, in_latest=None)

    sent = tap.to(life.ctx.settings.arm_endpoint)[-1].json
    kept = sent["properties"]["publishingProfile"]
    assert sent["tags"]["a"] == "b"
    assert ("storageAccountType" in kept, "storageAccountStrategy" in kept) == (typed, not typed)
    assert [region["storageAccountType"] for region in kept["targetRegions"]] == ["Standard_LRS", "Standard_LRS"]


@pytest.fixture
def partition(life: Life) -> str:
    """A partition of its own in a table that there is."""
    return uuid.uuid4().hex


EDGES = ["a", "a|", "a|0", "a|~", "a}", "a~", "a~~", "ab", "b", "a|é", "a~é"]


@pytest.mark.parametrize("prefix", ["a", "a|", "a~", "a~~", "b", "c", ""])
def test_rows_are_found_by_what_their_keys_begin_with(life: Life, tap: Tap, partition: str, prefix: str) -> None:
    tables: Tables = life.ctx.runs._tables
    tables.transact(TABLE, [Change("insert", {"PartitionKey": partition, "RowKey": key}) for key in EDGES])
    tables.insert(TABLE, {"PartitionKey": f"{partition}0", "RowKey": "a|other"})
    expected = sorted(key for key in EDGES if key.startswith(prefix))
    assert [row["RowKey"] for row in tables.rows(TABLE, partition, prefix)] == expected
    assert [row["RowKey"] for row in tables.each(TABLE, partition, prefix)] == expected
    first = tables.first(TABLE, partition, prefix)
    assert (first["RowKey"] if first else None) == next(iter(expected), None)
    for limit in (1, 2, len(EDGES)):
        for n, after in enumerate(expected):
            found = tables.between(TABLE, partition, Span(after=after, end=Span.of(prefix).end), limit)
            assert [row["RowKey"] for row in found] == expected[n + 1 :][:limit]
    assert_no_control_character(life, tap)


def test_runs_are_listed_without_control_characters(life: Life, tap: Tap) -> None:
    image = life.image("moved")
    runs = [life.build(image), life.build(image), life.build(image)]
    store: RunStore = life.ctx.runs
    moment = timedelta(microseconds=1)
    asked: dict[str, Any] = {"image": image, "since": None, "until": None, "after": None, "limit": 50}

    def page(**options: Any) -> list[str]:
        return [run.id for run in store.page(**{**asked, **options})[0]]

    newest = [run.id for run in reversed(runs)]
    assert page() == newest
    middle = runs[1].created
    assert page(since=middle) == newest[:2]
    assert page(since=middle + moment) == newest[:1]
    assert page(until=middle) == newest[2:]
    assert page(until=middle + moment) == newest[1:]
    assert page(since=middle, until=middle + moment) == newest[1:2]
    first, after = store.page(**{**asked, "limit": 1})
    assert [run.id for run in first] == newest[:1]
    assert page(after=after) == newest[1:]
    assert page(after=after, since=middle) == newest[1:2]
    assert_no_control_character(life, tap)


def assert_no_control_character(life: Life, tap: Tap) -> None:
    """No filter that Table storage was asked by holds a control character."""
    filters = [one.query["$filter"] for one in tap.to(life.ctx.settings.table_endpoint) if "$filter" in one.query]
    assert filters
    assert [text for text in filters if any(unicodedata.category(one) == "Cc" for one in text)] == []
