"""No run is lost because Table storage does not take its record: requests that are too large are refused, and what
grows with a run is cut."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline import engine, intake, promotion
from pipeline.cloud.tables import Row
from pipeline.completeness import Upload
from pipeline.context import Context
from pipeline.limits import CUT, LONGEST_PROPERTY, bounded, units
from pipeline.replication import RegionProgress, RegionState
from pipeline.requests import MOST_OF_DISKS, MOST_TAGS, InvalidRequest, parse_request
from pipeline.runs import MOST_ASKERS, Amendment, Boots, Purpose, Run, Stage, _happening, _row, read_record
from pipeline.versions import Version
from sandbox import disk
from tests.azure import Azure
from tests.pipeline.versions_of import version
from tests.scenarios.lifecycle import ANN
from tests.steps import PUBLISHER, runs_of

LARGEST_ROW = 1024 * 1024
"""Bytes of all properties of a row ("Understanding the Table service data model" page)."""
REGIONS = 150
"""Twice as many as Azure has."""
SIGNED = "https://management.azure.com/subscriptions/…/operations/…?t=…&c=…"
CHARACTERS = ["a", "~", " ", "%", '"', "ö", "€", "\U0001f4bf"]
NASTY = [*CHARACTERS, "\\", "\n", "\0", "\x85", "\ud800", "\u2028"]


def request(ctx: Context, **asked: Any) -> dict[str, Any]:
    return {"image": "web-000", "source": {"blob": url(ctx, "a", 1)}, **asked}


def url(ctx: Context, character: str, length: int, number: int = 0) -> str:
    """The address of a blob with a name that long."""
    ending = f"{number}.vhd"
    return f"{ctx.settings.blob_endpoint}/vhds/{quote(character * max(1, length - len(ending)))}{ending}"


def draft(ctx: Context, asked: dict[str, Any]) -> Run:
    """The run that intake would begin."""
    return intake._draft_of_request(ctx, parse_request(asked), PUBLISHER)


def taken(ctx: Context, asked: dict[str, Any]) -> tuple[Run | None, list[tuple[str, str]]]:
    """The run that intake would begin, or what it refuses the request for."""
    try:
        return draft(ctx, asked), []
    except InvalidRequest as refused:
        return None, refused.faults


def grown(run: Run, text: str) -> Run:
    """The run, as large as it can ever become: whatever Azure says holds `text` over and over."""
    long = text * 5000  # longer than any of it is kept
    run.stage, run.note, run.reason, run.operation = Stage.UNDOING, long, long, SIGNED + "x" * 7000
    run.definition = f"/subscriptions/{'s' * 36}/resourceGroups/{'g' * 90}/x/galleries/{'g' * 80}/images/{'i' * 80}"
    run.managed_image_group, run.managed_image = run.definition, "m" * 90
    run.version, run.etag, run.content, run.size = "1.2.3", "0x" + "E" * 40, "sha256:" + "d" * 64, 2**45
    run.duplicate_of = run.promotion = "r" * 120
    run.regions = [
        RegionProgress(region="r" * 60, state=RegionState.FAILED, progress=100, details=long) for _ in range(REGIONS)
    ]
    run.repairs = {f"{n:060}": 2 for n in range(REGIONS)}
    run.left_behind, run.may_jump = long, True
    run.asked_by = [f"{n:0100}" for n in range(MOST_ASKERS)]
    run.boots = Boots(scheme="GPT", generations=["V1", "V2"], fault=long)
    seen = Upload(etag="e" * 60, md5="m" * 32, examined="e" * 60, lacking=long, proof=long, age=1e9, silence=1e9)
    run.upload = seen.model_copy()
    for data in run.data_disks:
        data.upload, data.content = seen.model_copy(), "sha256:" + "d" * 64
    return run


def assert_fits(row: Row) -> None:
    texts = [value for value in row.values() if isinstance(value, str)]
    assert max(map(units, texts)) <= LONGEST_PROPERTY
    assert sum(2 * units(text) for text in [*row, *texts]) < LARGEST_ROW - 10_000  # the fault of a step goes beside it


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, derandomize=True)
@given(
    name=st.tuples(st.sampled_from(CHARACTERS), st.integers(5, 1100)),
    disks=st.tuples(st.sampled_from(CHARACTERS), st.integers(5, 1100), st.integers(0, 70)),
    tags=st.tuples(st.sampled_from(['"', "ö", "\U0001f4bf"]), st.integers(1, 300), st.integers(0, 40)),
    said=st.sampled_from(NASTY),
)
def test_what_intake_accepts_fits_into_its_row_whatever_becomes_of_it(
    ctx: Context, name: tuple[str, int], disks: tuple[str, int, int], tags: tuple[str, int, int], said: str
) -> None:
    character, length, count = disks
    source = {
        "blob": url(ctx, *name),
        "data_disks": [{"lun": n, "blob": url(ctx, character, length, n)} for n in range(count)],
    }
    signs, long, many = tags
    named = {f"{n}{signs * (min(2 * long, 512) - len(str(n)))}": signs * long for n in range(many)}
    run, faults = taken(ctx, request(ctx, source=source, tags=named))
    for field, words in faults:
        assert re.match(r"source\.(blob|data_disks)|tags|request", field)
        assert re.search(r"at most|takes the address of a blob|takes 0 to 63|more faults", words), words
    if run is None:
        assert faults
        return
    row = _row(grown(run, said))
    assert_fits(row)
    assert read_record(row) == run


def test_the_largest_request_is_taken_and_a_larger_one_is_told_its_limit(ctx: Context) -> None:
    source = {"blob": url(ctx, "a", 300)}
    disks = [{"lun": n, "blob": url(ctx, "a", 500, n)} for n in range(64)]
    tags = {f"{n:0512}": "v" * 256 for n in range(MOST_TAGS)}
    whole = draft(ctx, request(ctx, source=source | {"data_disks": disks}, tags=tags))
    assert (len(whole.data_disks), len(whole.tags)) == (64, MOST_TAGS)
    longer = [{"lun": n, "blob": url(ctx, "€", 1000, n)} for n in range(64)]
    with pytest.raises(InvalidRequest) as refused:
        draft(ctx, request(ctx, source=source | {"data_disks": longer}))
    ((field, words),) = refused.value.faults
    assert field == "source.data_disks"
    assert f"{MOST_OF_DISKS:,} at most" in words
    assert "name fewer data disks" in words


@pytest.mark.parametrize(
    ("asked", "field", "says"),
    [
        ({"tags": {str(n): "" for n in range(MOST_TAGS + 1)}}, "tags", "takes at most 30 entries, not 31"),
        ({"source": {"blob": "https://x/" + "a" * 20_000}}, "source.blob", "takes at most 16384 characters"),
        ({"source": {"vm": "/subscriptions/" + "s" * 2000}}, "source.vm", "takes at most 1024 characters"),
    ],
)
def test_a_field_that_is_too_long_is_named_with_its_limit(
    ctx: Context, asked: dict[str, Any], field: str, says: str
) -> None:
    with pytest.raises(InvalidRequest) as refused:
        parse_request(request(ctx, **asked))
    assert says in dict(refused.value.faults)[field]


def test_requests_one_after_the_other_set_no_more_tags_than_one_may(bare: Azure, ctx: Context, tmp_path: Any) -> None:
    image = bare.image()
    blob = bare.drop(image, disk.make_vhd(tmp_path / "x.vhd", 20))

    def ask(first: int, count: int, **more: str) -> Run:
        tags = {f"t{n}": "v" for n in range(first, first + count)}
        asked = {"image": image, "source": {"blob": blob.url}, "tags": tags, **more}
        return intake.take_request(ctx, parse_request(asked), PUBLISHER).run

    ask(0, 20)
    ask(15, 15)
    for _ in range(2):  # what is refused once is refused again, whatever its id
        with pytest.raises(InvalidRequest) as refused:
            ask(30, 1, request_id=image)
        assert dict(refused.value.faults)["tags"].startswith("takes 30 entries at most, and with those that the run ")
    (run,) = runs_of(ctx, image)
    assert len(run.tags) == 30


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, derandomize=True, max_examples=12)
@given(name=st.sampled_from(NASTY), value=st.sampled_from(NASTY), count=st.integers(0, 50), said=st.sampled_from(NASTY))
def test_what_is_promoted_or_amended_fits_into_its_row_whatever_azure_says_of_it(
    ctx: Context, name: str, value: str, count: int, said: str
) -> None:
    tags = {f"{n}".ljust(512, name): value * 256 for n in range(count)}
    (rule,) = ctx.catalog.promotions
    promoted = promotion._draft(ctx, rule, ctx.catalog.target_of(rule), version("1.0.0", tags=tags), ANN)
    amended = Run.draft(
        "web-000",
        promoted.source,
        amendment=Amendment(
            purpose=Purpose.VERDICT,
            tags={bounded(name * 512, 512): bounded(value * 256, 256)},
            why=bounded(said * 1000, 2000),
            by=bounded(said * 200, 400),
        ),
    )
    for run in (promoted, amended):
        assert_fits(_row(grown(run, said)))
        assert_fits(_happening(run, Stage.UNDOING, said * 40_000))


@pytest.mark.parametrize("said", ["\U0001f4bf", '"'])
def test_the_largest_run_can_fail_and_keeps_what_it_left_behind(bare: Azure, ctx: Context, said: str) -> None:
    image = bare.image()
    tags = {f"{n:0512}": '"' * 256 for n in range(MOST_TAGS)}
    disks = [{"lun": n, "blob": url(ctx, said, 90, n)} for n in range(64)]
    asked = request(ctx, image=image, source={"blob": url(ctx, said, 1000), "data_disks": disks}, tags=tags)
    run = grown(draft(ctx, asked), said)
    run.stage, run.left_behind, run.definition = Stage.IMAGING, "", ctx.catalog.definition_id(image)
    run.managed_image_group = None
    assert ctx.runs.begin(run)
    assert ctx.ledger.reserve(run.definition, Version(1, 2, 3), run.id, run.source, run.content or "")
    ctx.runs.note_fault(run.id, said * 40_000)
    engine.fail_poisoned(ctx, run.id, run.generation, tries=5)
    run, etag = ctx.runs.load(run.id) or (run, "")
    assert (run.stage, "tried 5 times" in str(run.reason)) == (Stage.UNDOING, True)
    run.reason, run.left_behind = said * 5000, "Version 1.2.3 is left behind, out of latest"
    ctx.runs.save(run, etag, was=run.stage)
    engine.step(ctx, run.id, run.generation)
    run, _ = ctx.runs.load(run.id) or (run, "")
    assert run.stage is Stage.FAILED
    assert str(run.reason).endswith(f"{CUT}. {run.left_behind}")


@pytest.mark.parametrize("said", ["a", "\U0001f4bf", '"', "\0"])
def test_storage_takes_the_largest_run_and_its_history(ctx: Context, said: str) -> None:
    disks = [{"lun": n, "blob": url(ctx, said if said != "\0" else "b", 90, n)} for n in range(64)]
    tags = {f"{n:0512}": '"' * 256 for n in range(MOST_TAGS)}
    run = draft(ctx, request(ctx, source={"blob": url(ctx, "\U0001f4bf", 1000), "data_disks": disks}, tags=tags))
    assert ctx.runs.begin(grown(run, said))
    loaded = ctx.runs.load(run.id)
    assert loaded
    assert loaded[0] == run
    ctx.runs.save(grown(run, said), loaded[1], was=Stage.UNDOING, happened=said * 40_000)
    ctx.runs.note_fault(run.id, said * 40_000)
    assert ctx.runs.history(run.id)[-1].note.endswith(CUT)
    assert ctx.runs.last_fault(run.id).endswith(CUT)
    run.note, run.reason, run.regions, run.data_disks = "", "", [], []
    _, etag = ctx.runs.load(run.id) or (run, "")
    ctx.runs.save(run, etag, was=Stage.UNDOING)
    shorter = ctx.runs.load(run.id)
    assert shorter
    assert shorter[0] == run  # nothing of a longer record before is left


def test_what_is_cut_says_so_and_can_be_shown() -> None:
    assert bounded("short\nof two lines", 100) == "short\nof two lines"
    assert bounded("x" * 101, 100) == "x" * 94 + CUT
    assert bounded("\U0001f4bf" * 51, 100) == "\U0001f4bf" * 47 + CUT
    assert bounded("a\0b\x85c\ud800d", 100) == "a b c?d"
