"""The whole thing as it runs: Event Grid, queues and functions hosts that are killed, with nobody stepping by hand."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pipeline import engine
from pipeline.announce import REJECTED
from pipeline.context import Context
from pipeline.runs import Run, Stage
from sandbox import disk
from tests.azure import AZCOPY, Azure, azcopy, eventually
from tests.conftest import connected
from tests.steps import runs_of

pytestmark = pytest.mark.timeout(180)
WALKED = [stage for stage in Stage if not stage.ended and stage not in (Stage.UNDOING, Stage.AMENDING)]


@pytest.fixture
def ctx(hosted: Azure, monkeypatch: pytest.MonkeyPatch) -> Iterator[Context]:
    yield connected(hosted, monkeypatch)
    hosted.clear()


def ended(
    ctx: Context, image: str, count: int = 1, within: float = 60, look_by: Callable[[], object] = lambda: None
) -> list[Run]:
    """The runs of an image once `count` of them have ended."""

    def look() -> list[Run] | None:
        look_by()
        runs = runs_of(ctx, image)
        return runs if len(runs) >= count and all(run.stage.ended for run in runs) else None

    return eventually(look, within, slowest=0.5)


def published_once(azure: Azure, run: Run) -> bool:
    return (
        (run.stage, run.version) == (Stage.PUBLISHED, "1.0.0")
        and azure.versions(run.image) == ["1.0.0"]
        and azure.managed_images(run.image) == []
    )


def test_a_drop_is_all_it_takes(hosted: Azure, ctx: Context, tmp_path: Path) -> None:
    image = hosted.image()
    hosted.drop(image, disk.make_vhd(tmp_path / "x.vhd"))
    (run,) = ended(ctx, image)
    assert published_once(hosted, run)


def test_an_event_delivered_three_times_is_one_run(hosted: Azure, ctx: Context, tmp_path: Path) -> None:
    image = hosted.image()
    blob = hosted.drop(image, disk.make_vhd(tmp_path / "x.vhd"))
    queue = hosted.queue("vhd-uploads")
    queue.send_message(hosted.event(blob))
    queue.send_message(hosted.event(blob, cloud_events=True))
    (run,) = ended(ctx, image)
    queue.send_message(hosted.event(blob))
    eventually(lambda: queue.get_queue_properties().approximate_message_count == 0)
    assert len(runs_of(ctx, image)) == 1
    assert published_once(hosted, run)


def test_vhds_of_one_image_at_once_get_numbers_without_gap_or_clash(
    hosted: Azure, ctx: Context, tmp_path: Path
) -> None:
    image = hosted.image()
    vhds = [disk.make_vhd(tmp_path / f"{n}.vhd", build=str(n)) for n in range(2)]
    threads = [threading.Thread(target=hosted.drop, args=(image, vhd)) for vhd in vhds]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    runs = ended(ctx, image, count=2)
    assert sorted(str(run.version) for run in runs) == hosted.versions(image) == ["1.0.0", "1.0.1"]


@pytest.mark.parametrize("stage", WALKED)
def test_hosts_killed_at_any_stage_lose_nothing(hosted: Azure, ctx: Context, tmp_path: Path, stage: Stage) -> None:
    image = hosted.image()
    # Each call to Resource Manager takes its time, so that the kill strikes while the stage is at work.
    hosted.fault(path=f".*{image}.*", latency=0.3)
    hosted.drop(image, disk.make_vhd(tmp_path / "x.vhd"))

    def reached() -> bool:
        return any(
            WALKED.index(run.stage) >= WALKED.index(stage) if run.stage in WALKED else True
            for run in runs_of(ctx, image)
        )

    eventually(reached, slowest=0.05)
    hosted.kill_hosts()
    hosted.clear()
    # The timer's lock died with its holder and stands until its lease runs out; a sweep by hand need not wait for it.
    (run,) = ended(ctx, image, look_by=lambda: hosted.fire("sweep"))
    assert published_once(hosted, run), run.reason


def test_a_lost_step_is_taken_up_again(hosted: Azure, ctx: Context, tmp_path: Path) -> None:
    image = hosted.image()
    hosted.fault(method="GET", path=f".*/images/gallerist-{image}.*", status=503, times=4)
    hosted.drop(image, disk.make_vhd(tmp_path / "x.vhd"))
    eventually(lambda: any(run.stage is Stage.IMAGING for run in runs_of(ctx, image)), slowest=0.05)
    hosted.queue(engine.STEPS).clear_messages()
    (run,) = ended(ctx, image)
    assert published_once(hosted, run)


def test_a_vhd_whose_event_is_lost_is_found(hosted: Azure, ctx: Context, tmp_path: Path) -> None:
    image, queue = hosted.image(), hosted.queue("vhd-uploads")
    thread = threading.Thread(target=lambda: [queue.clear_messages() for _ in range(40)])
    thread.start()
    hosted.drop(image, disk.make_vhd(tmp_path / "x.vhd"))
    thread.join()
    (run,) = ended(ctx, image)
    assert published_once(hosted, run)


def test_a_step_that_always_breaks_is_poisoned_and_fails_its_run(hosted: Azure, ctx: Context, tmp_path: Path) -> None:
    image = hosted.image()
    # No such thing as Azure would say: the SDK breaks on it in a way that nobody foresaw.
    hosted.fault(method="GET", path=f".*/images/gallerist-{image}.*", status=200, body={"properties": 5}, times=200)
    hosted.drop(image, disk.make_vhd(tmp_path / "x.vhd"))
    eventually(lambda: any(run.stage is Stage.UNDOING for run in runs_of(ctx, image)), within=60, slowest=0.05)
    hosted.clear()
    (run,) = ended(ctx, image)
    assert run.stage is Stage.FAILED
    assert "tried 5 times" in str(run.reason)
    assert hosted.managed_images(image) == []


@pytest.mark.parametrize("queue", ["vhd-uploads", "publish-requests"])
def test_a_message_that_cannot_be_taken_is_kept_whole(hosted: Azure, queue: str) -> None:
    message = f"what is {hosted.image()}?"  # others of this sandbox may have been refused before
    hosted.queue(queue).send_message(message)
    container = hosted.blobs.get_container_client(REJECTED)

    def kept() -> list[dict[str, str]]:
        blobs = container.list_blobs(f"{queue}/")
        entries = [json.loads(container.download_blob(blob.name).readall()) for blob in blobs]
        return [entry for entry in entries if entry["message"] == message]

    (entry,) = eventually(kept)
    assert entry["queue"] == queue
    assert "neither JSON nor base64" in entry["reason"]
    eventually(lambda: hosted.queue(queue).get_queue_properties().approximate_message_count == 0)


@pytest.mark.skipif(not AZCOPY, reason="azcopy is not on PATH")
def test_an_upload_by_azcopy_is_published(hosted: Azure, ctx: Context, tmp_path: Path) -> None:
    image, vhd = hosted.image(), disk.make_vhd(tmp_path / "x.vhd", 256)
    url = f"{hosted.env['Storage__blobServiceUri']}/vhds/{image}/x.vhd"
    assert azcopy(hosted, tmp_path, vhd, url).wait(timeout=60) == 0
    (run,) = ended(ctx, image)
    assert published_once(hosted, run)


@pytest.mark.timeout(300)
def test_a_hundred_requests_at_once_get_a_hundred_numbers(hosted: Azure, ctx: Context, tmp_path: Path) -> None:
    images = [hosted.image() for _ in range(10)]
    content = disk.make_vhd(tmp_path / "x.vhd", 18).read_bytes()
    queue = hosted.queue("publish-requests")

    def ask(n: int) -> None:
        blob = hosted.blob(f"asked/{images[n % 10]}", f"{n}.vhd")
        blob.upload_blob(content, blob_type="PageBlob")
        queue.send_message(
            json.dumps({"image": images[n % 10], "source": {"blob": blob.url}, "request_id": f"many-{images[0]}-{n}"})
        )

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(ask, range(100)))
    for image in images:
        runs = ended(ctx, image, count=10, within=240)
        assert {run.stage for run in runs} == {Stage.PUBLISHED}, [run.reason for run in runs]
        numbers = sorted(int(str(run.version).rpartition(".")[2]) for run in runs)
        assert numbers == list(range(10))
        assert len(hosted.versions(image)) == 10
        assert hosted.managed_images(image) == []
