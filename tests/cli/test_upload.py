"""An upload sends what is not zero, survives whatever ends it, and never mixes two files."""

from __future__ import annotations

import dataclasses
import os
import random
import signal
import subprocess
from pathlib import Path

import pytest

from pipeline.cli.holes import WINDOW, content, windows
from pipeline.context import Context
from pipeline.runs import Stage
from sandbox import disk
from sandbox.azurite import Request
from tests.azure import Azure, eventually
from tests.cli.command import begin, gallerist
from tests.cli.relay import held_after
from tests.steps import finish, step, tell

MIB = 1024 * 1024


def dense(path: Path, mib: int = 96) -> Path:
    """A VHD with hardly a hole."""
    vhd = disk.make_vhd(path, mib)
    noise = random.Random(str(path)).randbytes(MIB)
    with vhd.open("r+b") as file:
        for n in range(2, mib - 1):
            os.pwrite(file.fileno(), noise[n:] + noise[:n], n * MIB)
    return vhd


def writes(azure: Azure, image: str, name: str) -> list[Request]:
    """The writes of pages that storage saw."""
    return [
        request
        for request in azure.storage_requests()
        if request.resource == f"vhds/{image}/{name}"
        and request.query.get("comp") == "page"
        and request.method == "PUT"
    ]


def asked(azure: Azure, image: str) -> list[Request]:
    return [request for request in azure.storage_requests() if f"/{image}/" in request.path]


def holds(azure: Azure, image: str, vhd: Path) -> bool:
    """Whether the blob has the file's content: its ranges hold the file's bytes, and all outside them is zero."""
    blob, size = azure.blob(image, vhd.name), vhd.stat().st_size
    held = set()
    with vhd.open("rb") as file:
        for found in blob.list_page_ranges():
            length = found.end + 1 - found.start
            file.seek(found.start)
            if file.read(length) != blob.download_blob(found.start, length).readall():
                return False
            held |= set(range(found.start, found.end, 512))
        for offset in windows(file.fileno(), size):
            file.seek(offset)
            data = file.read(WINDOW)
            if any(not held.issuperset(range(offset + start, offset + stop, 512)) for start, stop in content(data)):
                return False
    return blob.get_blob_properties().size == size


def test_only_what_is_not_zero_of_a_sparse_2_gib_is_sent(bare: Azure, tmp_path: Path) -> None:
    image, vhd = bare.image(), disk.make_vhd(tmp_path / "x.vhd", 2048)
    with vhd.open("r+b") as file:
        os.pwrite(file.fileno(), bytes(8 * MIB), 100 * MIB)  # on disk, and zero
        os.pwrite(file.fileno(), b"data", 1500 * MIB + 700)
    done = gallerist(bare, "upload", vhd, "--image", image, "--json")
    assert done.code == 0, done.err
    ranges = [(r.start, r.end + 1) for r in bare.blob(image, "x.vhd").list_page_ranges()]
    assert done.json["sent"] == sum(stop - start for start, stop in ranges) < 2 * MIB
    assert (1500 * MIB + 512, 1500 * MIB + 1024) in ranges
    assert len(writes(bare, image, "x.vhd")) < 10
    assert holds(bare, image, vhd)


def killed(azure: Azure, image: str, vhd: Path, by: int) -> subprocess.Popen[str]:
    """An upload that a signal ended after a few pieces."""
    with held_after(azure, 24 * MIB) as relay:
        process = begin(
            azure, "upload", vhd, "--image", image, "--parallel", "2", "--json", GALLERIST_STORAGE=relay.storage
        )
        relay.await_held()
        eventually(lambda: len(writes(azure, image, vhd.name)) >= 4)
        process.send_signal(by)
        process.wait(timeout=60)
    return process


def test_a_killed_upload_goes_on_where_it_ended(bare: Azure, tmp_path: Path) -> None:
    image, vhd = bare.image(), dense(tmp_path / "x.vhd")
    killed(bare, image, vhd, signal.SIGKILL)
    before = len(writes(bare, image, "x.vhd"))
    done = gallerist(bare, "upload", vhd, "--image", image, "--json")
    assert (done.code, done.json["state"]) == (0, "resumed"), done.err
    sent = writes(bare, image, "x.vhd")[before:]
    assert done.json["kept"] >= before // 2 * MIB
    # The first window holds two runs; whatever was there was sent no second time.
    assert before + len(sent) <= 26 + 2
    whole = gallerist(bare, "upload", vhd, "--image", image, "--name", "y.vhd", "--json")
    assert done.json["sent"] + done.json["kept"] == whole.json["sent"]
    assert holds(bare, image, vhd)
    assert "were there from before" in gallerist_words(done.json)


def gallerist_words(found: dict[str, int]) -> str:
    from pipeline.cli.upload import Uploaded
    from pipeline.cli.uploading import _in_words

    return _in_words(Uploaded("resumed", found["size"], found["sent"], found["kept"], 1.0), "x")


def test_an_interrupted_upload_says_how_to_go_on(bare: Azure, tmp_path: Path) -> None:
    image, vhd = bare.image(), dense(tmp_path / "x.vhd")
    process = killed(bare, image, vhd, signal.SIGINT)
    assert process.returncode == 130
    assert "the same command goes on from here" in process.stderr.read()
    assert gallerist(bare, "upload", vhd, "--image", image, "--json").json["state"] == "resumed"
    assert holds(bare, image, vhd)


def test_the_same_again_is_already_there(bare: Azure, tmp_path: Path) -> None:
    image, vhd = bare.image(), dense(tmp_path / "x.vhd", 20)
    assert gallerist(bare, "upload", vhd, "--image", image, "--json").json["state"] == "uploaded"
    etag = bare.blob(image, "x.vhd").get_blob_properties().etag
    os.utime(vhd)  # fetched anew by another build, say
    again = gallerist(bare, "upload", vhd, "--image", image, "--json")
    assert (again.code, again.json["state"], again.json["sent"]) == (0, "there", 0)
    assert "nothing was sent" in gallerist(bare, "upload", vhd, "--image", image).out
    assert bare.blob(image, "x.vhd").get_blob_properties().etag == etag


@pytest.mark.parametrize("finished", [True, False])
def test_another_file_under_the_name_is_refused_unless_it_is_to_be_replaced(
    bare: Azure, tmp_path: Path, finished: bool
) -> None:
    image, first, second = bare.image(), dense(tmp_path / "1.vhd", 48), dense(tmp_path / "2.vhd", 48)
    if finished:
        assert gallerist(bare, "upload", first, "--image", image, "--name", "2.vhd").code == 0
    else:
        with held_after(bare, 6 * MIB) as relay:
            process = begin(
                bare, "upload", first, "--image", image, "--name", "2.vhd", "--parallel", "1",
                GALLERIST_STORAGE=relay.storage,
            )  # fmt: skip
            relay.await_held()
            process.kill()
            process.wait()
    refused = gallerist(bare, "upload", second, "--image", image, "--json")
    assert refused.code == 4
    assert "--overwrite" in refused.json["error"]["message"]
    assert gallerist(bare, "upload", second, "--image", image, "--overwrite", "--json").json["kept"] == 0
    assert holds(bare, image, second)


def test_a_blob_of_another_tool_is_refused(bare: Azure, tmp_path: Path) -> None:
    image, vhd = bare.image(), disk.make_vhd(tmp_path / "x.vhd", 20)
    bare.drop(image, vhd)
    refused = gallerist(bare, "upload", vhd, "--image", image)
    assert (refused.code, refused.out) == (4, "")
    assert "gallerist did not upload" in refused.err


def test_a_second_upload_of_the_file_takes_over_and_the_first_ends(bare: Azure, tmp_path: Path) -> None:
    image, vhd = bare.image(), dense(tmp_path / "x.vhd", 48)
    with held_after(bare, 16 * MIB) as relay:
        first = begin(bare, "upload", vhd, "--image", image, "--parallel", "1", GALLERIST_STORAGE=relay.storage)
        relay.await_held()
        second = gallerist(bare, "upload", vhd, "--image", image, "--json")
        assert (second.code, second.json["state"]) == (0, "resumed"), second.err
        relay.release()
        assert first.wait(timeout=60) == 4
    assert "another upload" in first.stderr.read()
    assert holds(bare, image, vhd)


def test_a_file_that_changes_meanwhile_is_not_completed(bare: Azure, tmp_path: Path) -> None:
    image, vhd = bare.image(), dense(tmp_path / "x.vhd")
    with held_after(bare, 6 * MIB) as relay:
        process = begin(bare, "upload", vhd, "--image", image, "--parallel", "1", GALLERIST_STORAGE=relay.storage)
        relay.await_held()
        os.utime(vhd)
        relay.release()
        assert process.wait(timeout=60) == 1
    assert "was written to" in process.stderr.read()
    size = vhd.stat().st_size
    assert not any(bare.blob(image, "x.vhd").download_blob(size - 512, 512).readall())


def test_a_complete_upload_is_published_at_once_and_an_incomplete_one_waited_for(
    bare: Azure, ctx: Context, tmp_path: Path
) -> None:
    slow = dataclasses.replace(ctx, settings=ctx.settings.model_copy(update={"upload_settle_seconds": 3600}))
    image, vhd = bare.image(), dense(tmp_path / "x.vhd")
    killed(bare, image, vhd, signal.SIGKILL)
    run = tell(bare, slow, bare.blob(image, "x.vhd"))
    waiting = step(slow, run)
    assert waiting.stage is Stage.AWAITING_UPLOAD
    assert "the upload goes on" in waiting.note
    assert gallerist(bare, "upload", vhd, "--image", image).code == 0
    assert finish(slow, run.id).version == "1.0.0"


def dynamic(path: Path) -> None:
    path.write_bytes(disk.footer(20 * MIB, disk_type=3) + path.read_bytes()[512:])


def qcow2(path: Path) -> None:
    path.write_bytes(b"QFI\xfb".ljust(20 * MIB, b"\0"))


def raw(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-512])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def unfinished(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-512] + bytes(512))


def misaligned(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: 19 * MIB] + bytes(1024) + disk.footer(19 * MIB + 1024))


def no_partitions(path: Path) -> None:
    path.write_bytes(bytes(MIB) + path.read_bytes()[MIB:])


@pytest.mark.parametrize(
    ("spoil", "says", "mend"),
    [
        (dynamic, "dynamic VHD", "subformat=fixed,force_size"),
        (qcow2, "qcow2", "qemu-img convert -f qcow2"),
        (raw, "raw disk image", "qemu-img convert -f raw"),
        (empty, "no VHD footer", "qemu-img"),
        (unfinished, "never written to its end", "convert or download it again"),
        (misaligned, "whole number of MiB", "qemu-img resize -f raw in.raw 20M"),
        (no_partitions, "no partition table", "OS disk"),
    ],
)
def test_what_azure_would_refuse_is_refused_before_a_byte_is_sent(
    bare: Azure, shell: object, tmp_path: Path, spoil: object, says: str, mend: str
) -> None:
    image, vhd = bare.image(), disk.make_vhd(tmp_path / "x.vhd", 20)
    spoil(vhd)
    refused = shell("upload", str(vhd), "--image", image, "--json")
    assert refused.exit_code == 1
    assert says in refused.stderr
    assert mend in refused.stderr
    assert asked(bare, image) == []


def test_a_disk_of_the_other_generation_is_refused(bare: Azure, shell: object, tmp_path: Path) -> None:
    vhd, image = disk.make_vhd(tmp_path / "x.vhd", 20), bare.image("bios")
    for options in (["--image", image], ["--to", f"vhds/{image}/"]):
        refused = shell("upload", str(vhd), *options)
        assert refused.exit_code == 1
        assert "hyper_v_generation" in refused.stderr
    assert asked(bare, image) == []


def test_a_dry_run_sends_nothing(bare: Azure, shell: object, tmp_path: Path) -> None:
    image, vhd = bare.image(), disk.make_vhd(tmp_path / "x.vhd", 20)
    url = f"{bare.env['Storage__blobServiceUri']}/vhds/{image}/sub/x.vhd"
    assert url in shell("upload", str(vhd), "--to", url, "--dry-run").stdout
    assert asked(bare, image) == []


def test_what_cannot_be_meant_is_a_usage_error(bare: Azure, shell: object, tmp_path: Path) -> None:
    vhd = str(disk.make_vhd(tmp_path / "x.vhd", 20))
    for options, says in [
        ([], "--image"),
        (["--image", "web-000", "--to", "vhds/x.vhd"], "--image"),
        (["--to", "https://a.blob.core.windows.net/vhds/x.vhd?sv=1&sig=x"], "not a SAS"),
        (["--to", "http://a.blob.core.windows.net/vhds/x.vhd"], "https://"),
        (["--image", "web-000", "--name", "x.img"], "would not feed"),
        (["--to", "vhds/web/../x.vhd"], 'has ".." in its path'),
        (["--image", "web-000", "--name", "../x.vhd"], "would not feed"),
    ]:
        refused = shell("upload", vhd, *options)
        assert refused.exit_code == 2, refused.output
        assert says in refused.stderr
    assert shell("upload", vhd, "--image", "nobody").exit_code == 3
    assert shell("upload", vhd, "--to", "nowhere/x.vhd").exit_code == 3
    assert shell("upload", str(tmp_path / "no.vhd"), "--image", "web-000").exit_code == 1
    assert "GALLERIST_STORAGE" in shell("upload", vhd, "--image", "web-000", env={"GALLERIST_STORAGE": None}).stderr


def test_a_vhd_that_another_program_uploaded_is_marked_by_hand(bare: Azure, ctx: Context, tmp_path: Path) -> None:
    slow = dataclasses.replace(ctx, settings=ctx.settings.model_copy(update={"upload_settle_seconds": 3600}))
    image = bare.image()
    blob = bare.drop(image, disk.make_vhd(tmp_path / "x.vhd"))
    blob.set_blob_metadata({"team": "web"})
    run = tell(bare, slow, blob)
    done = gallerist(bare, "complete", blob.url, "--json")
    assert (done.code, done.json["state"]) == (0, "complete"), done.err
    assert blob.get_blob_properties().metadata["team"] == "web"
    assert finish(slow, run.id).version == "1.0.0"
    assert any("marked complete" in line.note for line in ctx.runs.history(run.id))
    before = blob.get_blob_properties().etag
    again = gallerist(bare, "complete", f"vhds/{image}/x.vhd")
    assert (again.code, blob.get_blob_properties().etag) == (0, before)
    assert "marked complete already" in again.err + again.out


def test_a_mark_on_what_is_published_already_makes_no_other_version(bare: Azure, ctx: Context, tmp_path: Path) -> None:
    image = bare.image()
    blob = bare.drop(image, disk.make_vhd(tmp_path / "x.vhd"))
    finish(ctx, tell(bare, ctx, blob).id)
    before = blob.get_blob_properties().etag
    done = gallerist(bare, "complete", blob.url, "--json")
    assert (done.code, done.json["state"]) == (0, "published"), done.err
    assert blob.get_blob_properties().etag == before


def test_what_has_not_ended_is_not_marked(bare: Azure, tmp_path: Path) -> None:
    image, vhd = bare.image(), dense(tmp_path / "x.vhd", 24)
    content = vhd.read_bytes()
    blob = bare.blob(image, "x.vhd")
    blob.create_page_blob(len(content))
    for start in (0, 20 * MIB):
        blob.upload_page(content[start : start + 4 * MIB], offset=start, length=4 * MIB)
    done = gallerist(bare, "complete", blob.url)
    assert done.code == 1
    assert "the upload has not ended" in done.err
    blob.upload_page(content[-512:], offset=24 * MIB, length=512)
    done = gallerist(bare, "complete", blob.url)
    assert done.code == 1
    assert "the beginning of partition 2, at 17.0 MiB, is not written" in done.err
    assert "--anyway" in done.err
    assert gallerist(bare, "complete", blob.url, "--anyway").code == 0
    assert gallerist(bare, "complete", f"{blob.url}?sv=1&sig=x").code == 2
    assert gallerist(bare, "complete", blob.url.replace("x.vhd", "none.vhd")).code == 3


def test_a_mark_does_not_travel_with_a_copy(bare: Azure, ctx: Context, tmp_path: Path) -> None:
    slow = dataclasses.replace(ctx, settings=ctx.settings.model_copy(update={"upload_settle_seconds": 3600}))
    image = bare.image()
    vhd = disk.make_vhd(tmp_path / "x.vhd", 20)
    assert gallerist(bare, "upload", vhd, "--image", image).code == 0
    copy = bare.blob(image, "copy.vhd")
    copy.create_page_blob(vhd.stat().st_size, metadata=bare.blob(image, "x.vhd").get_blob_properties().metadata)
    content = vhd.read_bytes()
    copy.upload_page(content[-512:], offset=20 * MIB, length=512)
    run = tell(bare, slow, copy)
    assert step(slow, run).stage is Stage.AWAITING_UPLOAD


def test_a_name_that_azure_makes_no_image_of_is_refused(bare: Azure, tmp_path: Path) -> None:
    vhd = disk.make_vhd(tmp_path / "x.vhd", 20)
    done = gallerist(bare, "upload", vhd, "--to", "vhds/other/x.img")
    assert done.code == 2
    assert ".vhd" in done.err


@pytest.mark.parametrize("command", [["upload", "FILE", "--to"], ["complete"]])
def test_an_address_that_is_none_is_a_usage_error(bare: Azure, tmp_path: Path, command: list[str]) -> None:
    vhd = disk.make_vhd(tmp_path / "x.vhd", 20)
    named = [str(vhd) if part == "FILE" else part for part in command]
    done = gallerist(bare, *named, "https://[account].blob.core.windows.net/vhds/x.vhd")
    assert done.code == 2
    assert "takes https://ACCOUNT" in done.err
