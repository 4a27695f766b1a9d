"""Nobody ends an image's numbering: not by a number that is named, not by a run that fails, not by way of staging."""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path
from typing import Any

import pytest

from pipeline import engine, numbers
from pipeline.access import Role, of_key
from pipeline.catalog import Catalog, Numbering
from pipeline.cloud.faults import NotFound
from pipeline.context import Context
from pipeline.intake import take_request
from pipeline.numbers import NumberInUse, release_number
from pipeline.requests import parse_request
from pipeline.runs import Run, Stage
from pipeline.versions import LARGEST_PART, Version
from sandbox import disk
from tests.azure import Azure, eventually
from tests.steps import PUBLISHER, finish, step

_names = itertools.count()
LAST = str(LARGEST_PART)


@pytest.fixture
def vhd(tmp_path: Path) -> Path:
    return disk.make_vhd(tmp_path / "x.vhd", 20, generation="V1")


@pytest.fixture
def image(bare: Azure) -> str:
    return bare.image("bios")


def begin(azure: Azure, ctx: Context, image: str, vhd: Path, name: str = "", **fields: Any) -> Run:
    """A run that somebody asks for; one that is to jump, an operator."""
    blob = azure.drop(image, vhd, name or f"{next(_names)}.vhd")
    request = parse_request({"image": image, "source": {"blob": blob.url}, **fields})
    return take_request(ctx, request, of_key(Role.OPERATOR) if request.jump else PUBLISHER).run


def publish(azure: Azure, ctx: Context, image: str, vhd: Path, name: str = "", **fields: Any) -> Run:
    return finish(ctx, begin(azure, ctx, image, vhd, name, **fields).id)


def fail(azure: Azure, ctx: Context, image: str, vhd: Path, **fields: Any) -> Run:
    """A run that reserves a number and then fails."""
    azure.fault(method="PUT", path=f".*/{image}/versions/.*", status=400, times=1)
    run = publish(azure, ctx, image, vhd, **fields)
    assert run.stage is Stage.FAILED
    assert run.version, run.reason
    return run


def numbered(ctx: Context, image: str, **version: Any) -> Context:
    """The pipeline with another rule for the numbers of an image."""
    entry = ctx.catalog.images[image].model_copy(update={"version": Numbering.model_validate(version)})
    catalog: Catalog = ctx.catalog.model_copy(update={"images": {**ctx.catalog.images, image: entry}})
    return dataclasses.replace(ctx, catalog=catalog)


def replicating(azure: Azure, ctx: Context, image: str, run: Run) -> Run:
    """A run whose version takes its time to reach its regions."""
    azure.arm.post("/sandbox/replication", json={"path": f"{image}/", "regions": {"*": {"seconds": 1e6}}})
    while run.stage is not Stage.REPLICATING:
        assert not run.stage.ended, run.reason
        run = step(ctx, run)
    azure.clear()
    return run


def deleted(azure: Azure, ctx: Context, run: Run) -> None:
    """Somebody deletes what a run has published."""
    ctx.compute.delete_version(ctx.definition(run), str(run.version), for_good=True)
    eventually(lambda: run.version not in azure.versions(run.image))


@pytest.mark.parametrize(
    ("name", "fields", "says"),
    [
        ("", {"version": f"{LAST}.{LAST}.{LAST}"}, "leaves no room for what follows it"),
        ("", {"version": "3.0.0"}, "more than one major above 1.0.0"),
        ("", {"version": "3.x.x"}, "ask for 2.x.x at most"),
        ("", {"version": f"1.{LAST}.x"}, "leaves no room"),
        ("", {"version": f"1.0.{LAST}"}, "leaves no room"),
        ("", {"version": f"1.{LAST}.0"}, "leaves no room"),
        ("web-999.0.0.vhd", {"bump": "from-name"}, "more than one major above"),
        (f"web-1.0.{LAST}.vhd", {"bump": "from-name"}, "leaves no room"),
        ("", {"bump": "from-metadata"}, "more than one major above"),
        ("", {"bump": "calver"}, "more than one major above"),
    ],
)
def test_a_number_that_is_named_does_not_end_the_numbering(
    bare: Azure, ctx: Context, image: str, vhd: Path, name: str, fields: dict[str, str], says: str
) -> None:
    run = begin(bare, ctx, image, vhd, name, **fields)
    bare.blobs.get_blob_client(run.container, run.blob).set_blob_metadata({"version": "77.0.0"})
    run = finish(ctx, run.id)
    assert run.stage is Stage.FAILED
    assert says in str(run.reason)
    assert str(run.reason).endswith(
        "Set version.start in the catalog to a higher number, or let an operator ask for it with jump"
    )
    assert publish(bare, ctx, image, vhd).version == "1.0.0"


def test_it_may_be_one_major_above_the_highest_or_where_the_catalog_starts(
    bare: Azure, ctx: Context, image: str, vhd: Path
) -> None:
    started = numbered(ctx, image, bump="patch", start="24.4.0")
    assert publish(bare, started, image, vhd, version="25.0.0").version == "25.0.0"
    assert publish(bare, ctx, image, vhd, version="26.1.x").version == "26.1.0"
    assert publish(bare, ctx, image, vhd, version="1.4.0").version == "1.4.0"  # a lower one ends nothing


def test_an_operator_s_word_lets_it_jump(bare: Azure, ctx: Context, image: str, vhd: Path) -> None:
    assert publish(bare, ctx, image, vhd, version="2026.1.0", jump=True).version == "2026.1.0"
    assert publish(bare, ctx, image, vhd).version == "2026.1.1"


def test_dates_are_not_run_ahead_of(bare: Azure, ctx: Context, image: str, vhd: Path) -> None:
    dated = numbered(ctx, image, bump="calver")
    first = publish(bare, dated, image, vhd)
    assert first.version == f"{first.created:%Y.%-m%d}.0"
    for fields in ({"version": f"{first.created:%Y}.1232.0"}, {"bump": "minor"}, {"bump": "major"}):
        run = publish(bare, dated, image, vhd, **fields)
        assert "is ahead of its day" in str(run.reason)
    assert publish(bare, dated, image, vhd).version == f"{first.created:%Y.%-m%d}.1"


def test_a_number_of_a_run_that_failed_binds_nothing_and_is_not_given_again(
    bare: Azure, ctx: Context, image: str, vhd: Path
) -> None:
    high = fail(bare, ctx, image, vhd, version="2.2000000000.7")
    first = fail(bare, ctx, image, vhd)
    assert first.version == "1.0.0"
    assert publish(bare, ctx, image, vhd).version == "1.0.1"
    assert publish(bare, ctx, image, vhd, bump="minor").version == "1.1.0"
    assert publish(bare, ctx, image, vhd, version="2.2000000000.x").version == "2.2000000000.0"
    taken = publish(bare, ctx, image, vhd, version="2.2000000000.7")
    assert f"version 2.2000000000.7 is taken by the run {high.id}" in str(taken.reason)
    again = finish(ctx, engine.retry(ctx, high.id).id)
    assert (again.stage, again.version) == (Stage.PUBLISHED, "2.2000000000.7")  # its own run's it still is
    assert publish(bare, ctx, image, vhd).version == "2.2000000000.8"


def test_a_run_that_is_tried_again_counts_as_soon_as_it_holds_its_number(
    bare: Azure, ctx: Context, image: str, vhd: Path
) -> None:
    first = fail(bare, ctx, image, vhd, version="2.0.0")
    second = fail(bare, ctx, image, vhd)  # which marks the first one's number as one that does not count
    assert second.version == "1.0.0"
    run = replicating(bare, ctx, image, engine.retry(ctx, first.id))
    assert publish(bare, ctx, image, vhd).version == "2.0.1"
    engine.cancel(ctx, run.id, "ann")


def test_numbers_of_runs_that_failed_are_passed_over_in_few_reads(
    bare: Azure, ctx: Context, image: str, vhd: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dead = fail(bare, ctx, image, vhd, version="2.0.5")
    definition = str(dead.definition)
    for n in range(120):
        ctx.ledger.renounce(definition, dead.id)
        ctx.ledger.reserve(definition, Version(1, 0, n), dead.id, "", "")
    monkeypatch.setattr(numbers, "_MOST", 50)
    before = len(bare.storage_requests())
    run = begin(bare, ctx, image, vhd)
    noted = set()
    while not run.stage.ended:
        run = step(ctx, run)
        noted.add(run.note)
    assert run.version == "1.0.120"
    assert sum("never published" in note for note in noted) == 2
    first = len(bare.storage_requests()) - before
    before = len(bare.storage_requests())
    assert publish(bare, ctx, image, vhd).version == "1.0.121"
    assert len(bare.storage_requests()) - before < first / 3  # looked up once, and never again


@pytest.mark.parametrize(("bump", "number"), [("major", "4.0.0"), ("minor", "1.3.0"), ("patch", "1.0.3")])
def test_each_rule_passes_over_what_is_used_up(
    bare: Azure, ctx: Context, image: str, vhd: Path, bump: str, number: str
) -> None:
    assert publish(bare, ctx, image, vhd).version == "1.0.0"
    for _ in range(2):
        fail(bare, ctx, image, vhd, bump=bump)
    assert publish(bare, ctx, image, vhd, bump=bump).version == number


def test_a_number_is_released_once_nothing_uses_it(bare: Azure, ctx: Context, image: str, vhd: Path) -> None:
    assert publish(bare, ctx, image, vhd).version == "1.0.0"
    run = replicating(bare, ctx, image, begin(bare, ctx, image, vhd, version="9.0.0", jump=True))
    with pytest.raises(NumberInUse, match=f"the run {run.id} is at work with {image} 9.0.0: cancel it"):
        release_number(ctx, image, "9.0.0", why="by mistake")
    engine.cancel(ctx, run.id, "ann")
    finish(ctx, run.id)
    release_number(ctx, image, "9.0.0", why="by mistake")
    with pytest.raises(NotFound, match=f"no run has ever reserved {image} 8.0.0"):
        release_number(ctx, image, "8.0.0", why="x")
    with pytest.raises(NotFound, match='no image "nowhere"'):
        release_number(ctx, "nowhere", "1.0.0", why="x")


def test_what_was_published_by_mistake_is_mended(bare: Azure, ctx: Context, image: str, vhd: Path) -> None:
    assert publish(bare, ctx, image, vhd).version == "1.0.0"
    wrong = publish(bare, ctx, image, vhd, version="9.0.0", jump=True)
    assert wrong.version == "9.0.0"
    with pytest.raises(NumberInUse, match=rf"the gallery holds {image} 9\.0\.0.*az sig image-version delete"):
        release_number(ctx, image, "9.0.0", why="by mistake")
    deleted(bare, ctx, wrong)
    after = publish(bare, ctx, image, vhd)
    assert after.version == "9.0.1"  # it was published: numbers go up over it
    deleted(bare, ctx, after)
    for number in ("9.0.0", "9.0.1", "9.0.1"):
        release_number(ctx, image, number, why="by mistake")
    assert publish(bare, ctx, image, vhd).version == "1.0.1"
    refused = publish(bare, ctx, image, vhd, version="9.0.0", jump=True)
    assert "version 9.0.0 was released, and is given to nobody again" in str(refused.reason)
