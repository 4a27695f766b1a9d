"""Nobody ends an image's numbering: not by a number that is named, not by a run that fails, not by way of staging."""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path
from typing import Any

import pytest

from pipeline import engine, ledger, numbers
from pipeline.access import Role, of_key
from pipeline.catalog import Catalog, Numbering
from pipeline.cloud.faults import NotFound
from pipeline.context import Context
from pipeline.intake import take_request
from pipeline.numbers import NumberInUse, release_number
from pipeline.requests import parse_request
from pipeline.runs import Run, Stage
from pipeline.stages.numbering import numbering
from pipeline.stages.outcome import RunFailed, Wait
from pipeline.versions import LARGEST_PART, NoNumber, Version
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


def run_of(ctx: Context, image: str, name: str = "", *, jump: bool = False, **fields: Any) -> Run:
    """A run as it comes to its number."""
    blob = f"{image}/{name or f'{next(_names)}.vhd'}"
    wish = parse_request({"image": image, "source": {"blob": "https://x/y/z.vhd"}, **fields}).wish
    run = Run.draft(image, ctx.blobs.url("vhds", blob), container="vhds", blob=blob, wish=wish, may_jump=jump)
    run.definition, run.stage = ctx.catalog.definition_id(image), Stage.NUMBERING
    ctx.runs.begin(run)
    return run


def ended(ctx: Context, run: Run, stage: Stage) -> Run:
    """The run when it has its number, and has come to such an end under it."""
    while isinstance(numbering(run, ctx), Wait):
        pass
    _, etag = ctx.runs.load(run.id) or (run, "")
    run.stage = stage
    ctx.runs.save(run, etag, was=Stage.NUMBERING)
    return run


def number(ctx: Context, image: str, name: str = "", **fields: Any) -> str | None:
    """The number of a run that is published."""
    return ended(ctx, run_of(ctx, image, name, **fields), Stage.PUBLISHED).version


def fail(ctx: Context, image: str, **fields: Any) -> Run:
    """A run that reserves a number and then fails."""
    return ended(ctx, run_of(ctx, image, **fields), Stage.FAILED)


def refusal(ctx: Context, image: str, name: str = "", **fields: Any) -> str:
    """Why a run gets no number."""
    with pytest.raises(RunFailed) as refused:
        numbering(run_of(ctx, image, name, **fields), ctx)
    return str(refused.value)


def numbered(ctx: Context, image: str, **version: Any) -> Context:
    """The pipeline with another rule for the numbers of an image."""
    entry = ctx.catalog.images[image].model_copy(update={"version": Numbering.model_validate(version)})
    catalog: Catalog = ctx.catalog.model_copy(update={"images": {**ctx.catalog.images, image: entry}})
    return dataclasses.replace(ctx, catalog=catalog)


def replicating(azure: Azure, ctx: Context, run: Run) -> Run:
    """A run that has asked for its version, and has not seen it yet."""
    azure.fault(method="GET", path=f".*/{run.image}/versions/.*", status=404)
    while run.stage is not Stage.REPLICATING:
        assert not run.stage.ended, run.reason
        run = step(ctx, run)
    azure.clear()
    return run


@pytest.mark.parametrize(
    ("name", "fields", "says"),
    [
        ("", {"version": f"{LAST}.{LAST}.{LAST}"}, "leaves no room for what follows it"),
        ("", {"version": "3.0.0"}, "more than one major above 1.0.0, where the catalog lets it start"),
        ("", {"version": "3.x.x"}, "ask for 2.x.x at most"),
        ("", {"version": f"1.{LAST}.x"}, "leaves no room"),
        ("", {"version": f"1.0.{LAST}"}, "leaves no room"),
        ("", {"version": f"1.{LAST}.0"}, "leaves no room"),
        ("web-999.0.0.vhd", {"bump": "from-name"}, "more than one major above"),
        (f"web-1.0.{LAST}.vhd", {"bump": "from-name"}, "leaves no room"),
        ("", {"bump": "calver"}, "more than one major above"),
    ],
)
def test_a_number_that_is_named_does_not_end_the_numbering(
    ctx: Context, image: str, name: str, fields: dict[str, str], says: str
) -> None:
    why = refusal(ctx, image, name, **fields)
    assert says in why
    assert why.endswith(
        ". Set version.start in the catalog to a higher number, or let an operator ask for it with jump"
    )
    assert number(ctx, image) == "1.0.0"


@pytest.mark.parametrize("by", ["name", "metadata"])
def test_one_tiny_vhd_does_not_end_the_numbering(bare: Azure, ctx: Context, image: str, vhd: Path, by: str) -> None:
    run = begin(bare, ctx, image, vhd, f"web-{LAST}.{LAST}.{LAST}.vhd", bump=f"from-{by}")
    bare.blobs.get_blob_client(run.container, run.blob).set_blob_metadata({"version": f"{LAST}.0.0"})
    run = finish(ctx, run.id)
    assert run.stage is Stage.FAILED
    assert "leaves no room for what follows it" in str(run.reason)
    assert publish(bare, ctx, image, vhd).version == "1.0.0"


def test_it_may_be_one_major_above_the_highest_or_where_the_catalog_starts(ctx: Context, image: str) -> None:
    assert number(numbered(ctx, image, bump="patch", start="24.4.0"), image, version="25.0.0") == "25.0.0"
    assert number(ctx, image, version="26.1.x") == "26.1.0"
    assert number(ctx, image, version="1.4.0") == "1.4.0"  # a lower one ends nothing
    assert "more than one major above 26.1.0, the highest that counts" in refusal(ctx, image, version="28.0.0")


def test_an_operator_s_word_lets_it_jump(bare: Azure, ctx: Context, image: str, vhd: Path) -> None:
    run = begin(bare, ctx, image, vhd, version="2026.1.0", jump=True)
    assert run.may_jump
    assert number(ctx, image, version="2026.1.0", jump=True) == "2026.1.0"
    assert number(ctx, image) == "2026.1.1"


def test_dates_are_not_run_ahead_of(ctx: Context, image: str) -> None:
    dated = numbered(ctx, image, bump="calver")
    first = run_of(dated, image)
    assert ended(dated, first, Stage.PUBLISHED).version == f"{first.created:%Y.%-m%d}.0"
    for fields in ({"version": f"{first.created:%Y}.1232.0"}, {"bump": "minor"}, {"bump": "major"}):
        assert "is ahead of its day" in refusal(dated, image, **fields)
    assert number(dated, image) == f"{first.created:%Y.%-m%d}.1"


def test_a_number_of_a_run_that_failed_binds_nothing_and_is_not_given_again(ctx: Context, image: str) -> None:
    high = fail(ctx, image, version="2.2000000000.7")
    assert fail(ctx, image).version == "1.0.0"
    assert number(ctx, image) == "1.0.1"
    assert number(ctx, image, bump="minor") == "1.1.0"
    assert number(ctx, image, version="2.2000000000.x") == "2.2000000000.0"
    assert f"version 2.2000000000.7 is taken by the run {high.id}" in refusal(ctx, image, version="2.2000000000.7")
    for n in range(1, 8):
        assert number(ctx, image, version="2.2000000000.x") == f"2.2000000000.{n if n < 7 else 8}"


def test_a_run_that_is_tried_again_has_its_number_and_counts(bare: Azure, ctx: Context, image: str, vhd: Path) -> None:
    bare.fault(method="PUT", path=f".*/{image}/versions/.*", status=400, times=1)
    first = publish(bare, ctx, image, vhd, version="2.0.0")
    assert (first.stage, first.version) == (Stage.FAILED, "2.0.0")
    assert fail(ctx, image).version == "1.0.0"  # for the first one's number counts no more
    again = replicating(bare, ctx, engine.retry(ctx, first.id))
    assert again.version == "2.0.0"
    assert number(ctx, image) == "2.0.1"
    engine.cancel(ctx, again.id, "ann")


def test_a_number_that_its_run_gave_up_is_the_run_s_again(ctx: Context, image: str) -> None:
    run = fail(ctx, image, version="1.4.0")
    ctx.ledger.renounce(str(run.definition), run.id)  # it is asked for under another number, and then again
    run.stage, run.version = Stage.NUMBERING, None
    numbering(run, ctx)
    assert run.version == "1.4.0"


def test_numbers_of_runs_that_failed_are_passed_over_in_few_reads(
    bare: Azure, ctx: Context, image: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    dead = fail(ctx, image, version="2.0.5")
    for n in range(60):
        ctx.ledger.renounce(str(dead.definition), dead.id)
        ctx.ledger.reserve(str(dead.definition), Version(1, 0, n), dead.id, "", "")
    monkeypatch.setattr(numbers, "_MOST", 25)
    run, before = run_of(ctx, image), len(bare.storage_requests())
    waits = 0
    while isinstance(numbering(run, ctx), Wait):
        waits += 1
    assert (run.version, waits) == ("1.0.60", 2)
    first = len(bare.storage_requests()) - before
    before = len(bare.storage_requests())
    numbering(run_of(ctx, image), ctx)
    assert len(bare.storage_requests()) - before < 12 < first  # looked up once, and never again


@pytest.mark.parametrize(("bump", "expected"), [("major", "4.0.0"), ("minor", "1.3.0"), ("patch", "1.0.3")])
def test_each_rule_passes_over_what_is_used_up(ctx: Context, image: str, bump: str, expected: str) -> None:
    assert number(ctx, image) == "1.0.0"
    for _ in range(2):
        fail(ctx, image, bump=bump)
    assert number(ctx, image, bump=bump) == expected


def test_a_long_row_of_numbers_that_are_used_up_is_stepped_over_page_by_page(
    ctx: Context, image: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger, "_PAGE", 4)
    dead, definition = fail(ctx, image), ctx.catalog.definition_id(image)
    for taken in [*(Version(1, 0, n) for n in range(1, 10)), *(Version(1, n, 7) for n in range(1, 4))]:
        ctx.ledger.renounce(definition, dead.id)
        ctx.ledger.reserve(definition, taken, dead.id, "", "")
    assert ctx.ledger.first_free(definition, Version(1, 0, 0), 2) == Version(1, 0, 10)
    assert ctx.ledger.first_free(definition, Version(1, 1, 0), 1) == Version(1, 1, 0)
    monkeypatch.setattr(ledger, "_MOST_PAGES", 2)
    with pytest.raises(NoNumber, match=r"Set version\.start in the catalog to a higher one"):
        ctx.ledger.first_free(definition, Version(1, 0, 0), 2)


def test_the_number_of_a_run_under_way_is_not_released(bare: Azure, ctx: Context, image: str) -> None:
    run = ended(ctx, run_of(ctx, image, version="9.0.0", jump=True), Stage.PUBLISHING)
    with pytest.raises(NumberInUse, match=f"the run {run.id} is at work with {image} 9.0.0: cancel it"):
        release_number(ctx, image, "9.0.0", why="by mistake")
    with pytest.raises(NotFound, match=f"no run has ever reserved {image} 8.0.0"):
        release_number(ctx, image, "8.0.0", why="x")
    with pytest.raises(NotFound, match='no image "nowhere"'):
        release_number(ctx, "nowhere", "1.0.0", why="x")


def test_a_run_whose_number_was_released_gets_another(ctx: Context, image: str) -> None:
    run = fail(ctx, image, version="2.x.x")
    release_number(ctx, image, "2.0.0", why="by mistake")
    run.stage, run.version = Stage.NUMBERING, None
    numbering(run, ctx)
    assert run.version == "2.0.1"


def test_what_was_published_by_mistake_is_mended(bare: Azure, ctx: Context, image: str, vhd: Path) -> None:
    assert number(ctx, image) == "1.0.0"
    wrong = publish(bare, ctx, image, vhd, version="9.0.0", jump=True)
    with pytest.raises(NumberInUse, match=rf"the gallery holds {image} 9\.0\.0.*az sig image-version delete"):
        release_number(ctx, image, "9.0.0", why="by mistake")
    ctx.compute.delete_version(ctx.definition(wrong), "9.0.0", for_good=True)
    eventually(lambda: bare.versions(image) == [])
    assert number(ctx, image) == "9.0.1"  # it was published: numbers go up over it
    for released in ("9.0.0", "9.0.1", "9.0.1"):
        release_number(ctx, image, released, why="by mistake")
    assert number(ctx, image) == "1.0.1"
    why = refusal(ctx, image, version="9.0.0", jump=True)
    assert "version 9.0.0 was released, and is given to nobody again" in why
