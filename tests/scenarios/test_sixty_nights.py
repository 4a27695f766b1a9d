"""Sixty nights of a team: builds, verdicts, promotion, a withdrawn version, retention. Nothing is lost, doubled or left."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline import amendments, promotion, retention
from pipeline.runs import Stage
from pipeline.versions import Version
from tests.azure import Azure
from tests.conftest import connected, start
from tests.scenarios.lifecycle import ANN, DAY, GALLERIES, HOUR, PASSED, Life, in_latest, write_catalog
from tests.steps import finish, runs_of

NIGHTS = 60
KEPT = 4
WEB, DB, LAB = "web-000", "db-000", "lab-000"
KINDS: dict[str, tuple[dict[str, Any], dict[str, Any] | None]] = {
    "web": ({"keep": {"newest": KEPT}}, {"soak": "24h", "require": PASSED}),
    "db": ({"keep": {"newest": KEPT, "days": 20}}, {"soak": "72h", "require": PASSED, "range": "~1.0"}),
    "lab": ({"keep": {"newest": 3}}, None),
}
EVERY = {WEB: 4, DB: 6, LAB: 10}  # nights from one build to the next


@pytest.fixture(scope="module")
def azure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Azure]:
    folder = tmp_path_factory.mktemp("nights")
    catalog = write_catalog(folder / "rules.yaml", KINDS, 1)
    sandbox = start(folder, catalog=catalog, galleries=list(GALLERIES), time_scale=50_000, host=False, events="none")
    yield Azure(sandbox)
    sandbox.stop()


@pytest.mark.timeout(240)
def test_sixty_nights(azure: Azure, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    life = Life(azure, connected(azure, monkeypatch), tmp_path)
    chance = random.Random(60)
    failed: set[tuple[str, str]] = set()
    for night in range(NIGHTS):
        for image, every in EVERY.items():
            if night % every == 0:
                version = str(life.build(image).version)
                outcome = "passed" if chance.random() < 0.7 else "failed"
                if image != LAB:
                    life.verdict(image, version, outcome)
                if outcome == "failed":
                    failed.add((image, version))
        if night == 30:
            bad = max(life.there(WEB), key=Version.parse)
            life.amended(*amendments.withdraw(life.ctx, WEB, bad, why="CVE-2026-1", caller=ANN, promoted=True))
        azure.advance(DAY - 2 * HOUR)
        for done in promotion.promote_all(life.ctx, life.ctx.catalog.promotions):
            assert done.fault is None
            if done.run:
                assert finish(life.ctx, done.run.id).stage is Stage.PUBLISHED
        for planned in retention.look_all(life.ctx, life.ctx.catalog.images):
            assert planned.fault is None
            retention.retire(life.ctx, planned)
        azure.advance(2 * HOUR)

    for image in (WEB, DB):
        production = life.there(image)
        assert production, image
        assert all(in_latest(version) or version["tags"]["gallerist-withdrawn"] for version in production.values())
        assert not {(image, name) for name in production} & failed, "what failed its tests reached production"
        newest = max((name for name in production if in_latest(production[name])), key=Version.parse)
        listing = life.ctx.listing(life.ctx.definition_of(image))
        judged = {one.name: life.ctx.judgements.of(one.fingerprint) for one in listing.versions}
        planned = promotion.plan(life.rule(image), listing.versions, Version.parse(newest), listing.at, judged)
        ripe = [found.version.name for found in planned.candidates if not found.gates]
        assert ripe == [], "something ripe was not promoted"
        assert len(production) <= KEPT + 1 if image == WEB else True
    web = life.there(WEB)
    assert [name for name, version in web.items() if not in_latest(version)] in ([], [bad])
    assert len(azure.versions(LAB)) == 3

    # Every number once, whoever held it; and nothing is left of any run.
    for image in life.ctx.catalog.images:
        runs = runs_of(life.ctx, image)
        assert all(run.stage.ended for run in runs)
        assert {run.stage for run in runs} <= {Stage.PUBLISHED, Stage.AMENDED}
        numbers = [run.version for run in runs if run.stage is Stage.PUBLISHED]
        assert len(numbers) == len(set(numbers)), image
        assert set(azure.versions(image)) <= set(numbers)
        assert azure.managed_images(image) == []
        assert retention.look(life.ctx, image).orphans == []
