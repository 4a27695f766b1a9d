"""What can never become a version fails at once, says what it is and what to run, and leaves nothing behind."""

from __future__ import annotations

import bz2
import dataclasses
import io
import random
import shutil
import struct
import subprocess
import tarfile
from binascii import crc32
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.context import Context
from pipeline.runs import Run, Stage
from pipeline.sweep import sweep
from sandbox import disk
from tests.azure import Azure
from tests.steps import finish, runs_of, tell

MIB = 1024 * 1024
needs_qemu = pytest.mark.skipif(not shutil.which("qemu-img"), reason="qemu-img is not installed (qemu-utils)")


def publish(azure: Azure, ctx: Context, file: Path, kind: str = "web") -> Run:
    """Drop a file that may have any size, padded to whole pages as uploaders do."""
    if rest := file.stat().st_size % 512:
        with file.open("ab") as content:
            content.write(bytes(512 - rest))
    return finish(ctx, tell(azure, ctx, azure.drop(azure.image(kind), file)).id)


def qemu_img(*arguments: object) -> None:
    subprocess.run(["qemu-img", *map(str, arguments)], check=True, capture_output=True)


def dynamic(folder: Path, raw: Path) -> Path:
    qemu_img("convert", "-f", "raw", "-O", "vpc", "-o", "subformat=dynamic,force_size", raw, folder / "x.vhd")
    return folder / "x.vhd"


def vhdx(folder: Path, raw: Path) -> Path:
    qemu_img("convert", "-f", "raw", "-O", "vhdx", raw, folder / "x.vhd")
    return folder / "x.vhd"


def qcow2(folder: Path, raw: Path) -> Path:
    qemu_img("convert", "-f", "raw", "-O", "qcow2", raw, folder / "x.vhd")
    return folder / "x.vhd"


def unforced(folder: Path, raw: Path) -> Path:
    # Without force_size, qemu-img rounds the disk to its geometry, which is no whole number of MiB.
    qemu_img("convert", "-f", "raw", "-O", "vpc", "-o", "subformat=fixed", raw, folder / "x.vhd")
    return folder / "x.vhd"


@needs_qemu
@pytest.mark.parametrize(
    ("make", "says", "mend"),
    [
        (dynamic, "dynamic VHD", "subformat=fixed,force_size"),
        (vhdx, "VHDX", "qemu-img convert -f vhdx"),
        (qcow2, "qcow2", "qemu-img convert -f qcow2"),
        (unforced, "whole number of MiB", "force_size"),
    ],
)
def test_what_qemu_img_makes_of_it_is_named(
    bare: Azure, ctx: Context, tmp_path: Path, make: Callable[[Path, Path], Path], says: str, mend: str
) -> None:
    raw = disk.make_raw(tmp_path / "x.raw", 20)
    run = publish(bare, ctx, make(tmp_path, raw))
    assert run.stage is Stage.FAILED
    assert says in run.reason
    assert mend in run.reason


@needs_qemu
def test_a_fixed_vhd_of_qemu_img_is_published(bare: Azure, ctx: Context, tmp_path: Path) -> None:
    raw = disk.make_raw(tmp_path / "x.raw", 20)
    qemu_img("convert", "-f", "raw", "-O", "vpc", "-o", "subformat=fixed,force_size", raw, tmp_path / "x.vhd")
    assert publish(bare, ctx, tmp_path / "x.vhd").version == "1.0.0"


def differencing(vhd: Path) -> None:
    content = vhd.read_bytes()
    size = len(content) - 512
    vhd.write_bytes(disk.footer(size, disk_type=4) + content[512:-512] + disk.footer(size, disk_type=4))


def raw(vhd: Path) -> None:
    vhd.write_bytes(vhd.read_bytes()[:-512])


def misaligned(vhd: Path) -> None:
    size = 20 * MIB + 1024
    vhd.write_bytes(vhd.read_bytes()[: 20 * MIB] + bytes(1024) + disk.footer(size))


def truncated(vhd: Path) -> None:
    content = vhd.read_bytes()
    vhd.write_bytes(content[: 10 * MIB])


def cut_in_the_middle(vhd: Path) -> None:
    content = vhd.read_bytes()
    vhd.write_bytes(content[: 10 * MIB] + content[-512:])


def damaged(vhd: Path) -> None:
    content = bytearray(vhd.read_bytes())
    content[-300] ^= 1
    vhd.write_bytes(content)


def without_checksum(vhd: Path) -> None:
    content = bytearray(vhd.read_bytes())
    content[-512 + 64 : -512 + 68] = bytes(4)
    vhd.write_bytes(content)


def without_header(vhd: Path) -> None:
    content = vhd.read_bytes()
    vhd.write_bytes(content[:512] + bytes(8) + content[520:])


def large_sectors(vhd: Path) -> None:
    """A table whose header lies where a disk with sectors of 4096 bytes has it."""
    content = bytearray(vhd.read_bytes())
    content[4096:4608], content[512:1024] = content[512:1024], bytes([0xFF]) + bytes(511)
    vhd.write_bytes(content)


def boot_sector_alone(vhd: Path) -> None:
    content = bytearray(vhd.read_bytes())
    content[:512] = b"\xeb\x3c\x90MSDOS5.0" + bytes(43) + b"FAT16   " + b"\x33" * 448 + b"\x55\xaa"
    vhd.write_bytes(content)


def bzip2(vhd: Path) -> None:
    vhd.write_bytes(bz2.compress(random.Random(1).randbytes(5000)))


def ova(vhd: Path) -> None:
    with tarfile.open(vhd, "w") as archive:
        archive.addfile(tarfile.TarInfo("x.ovf"), io.BytesIO())


def iso(vhd: Path) -> None:
    vhd.write_bytes(bytes(32769) + b"CD001\x01" + bytes(8186))


def no_partitions(vhd: Path) -> None:
    content = vhd.read_bytes()
    vhd.write_bytes(bytes(40 * 512) + content[40 * 512 :])


@pytest.mark.parametrize(
    ("spoil", "says", "mend"),
    [
        (differencing, "differencing VHD", "Merge-VHD"),
        (raw, "raw disk image", "qemu-img convert -f raw -O vpc -o subformat=fixed,force_size"),
        (misaligned, "whole number of MiB", "qemu-img resize -f raw in.raw 21M"),
        (truncated, "cut short", "upload the VHD again"),
        (cut_in_the_middle, "cut short", "azcopy copy x.vhd URL --blob-type PageBlob"),
        (damaged, "checksum", "upload it again"),
        (without_checksum, "no checksum", "head -c -512 in.vhd > in.raw"),
        (without_header, "GPT header is gone", "sgdisk -e in.raw"),
        (large_sectors, "sectors of 4096 bytes", "sector size of 512"),
        (boot_sector_alone, "FAT file system and no partition table", "whole disk"),
        (bzip2, "bzip2 archive", "bunzip2"),
        (ova, "tar archive, as an OVA is", "tar -xf in.ova"),
        (iso, "ISO 9660", "install the system onto a disk"),
        (no_partitions, "no partition table", "OS disk"),
    ],
)
def test_what_is_wrong_with_a_vhd_is_named(
    bare: Azure, ctx: Context, tmp_path: Path, spoil: Callable[[Path], None], says: str, mend: str
) -> None:
    vhd = disk.make_vhd(tmp_path / "x.vhd", 20)
    spoil(vhd)
    run = publish(bare, ctx, vhd)
    assert run.stage is Stage.FAILED
    assert says in run.reason
    assert mend in run.reason
    assert run.version is None
    assert run.source_at_fault
    assert bare.versions(run.image) == bare.managed_images(run.image) == []


@pytest.mark.parametrize(("kind", "generation"), [("web", "V1"), ("bios", "V2")])
def test_a_disk_of_the_other_generation_is_refused(
    bare: Azure, ctx: Context, tmp_path: Path, kind: str, generation: str
) -> None:
    run = publish(bare, ctx, disk.make_vhd(tmp_path / "x.vhd", generation=generation), kind)
    assert run.stage is Stage.FAILED
    assert "hyper_v_generation" in run.reason


def test_a_block_blob_is_refused_with_the_line_to_run(bare: Azure, ctx: Context, tmp_path: Path) -> None:
    image = bare.image()
    blob = bare.blob(image, "x.vhd")
    blob.upload_blob(disk.make_vhd(tmp_path / "x.vhd", 20).read_bytes())
    run = finish(ctx, tell(bare, ctx, blob).id)
    assert run.stage is Stage.FAILED
    assert "BlockBlob" in run.reason
    assert "--blob-type PageBlob" in run.reason


def test_a_name_that_does_not_end_in_vhd_is_refused_before_anything_is_made(
    bare: Azure, ctx: Context, tmp_path: Path
) -> None:
    image = bare.image()
    entry = ctx.catalog.images[image].model_copy(update={"drop": f"vhds/{image}/*"})
    entry.__dict__.pop("_dropped")  # a copy has what was read of the other drop
    catalog = ctx.catalog.model_copy(update={"images": {**ctx.catalog.images, image: entry}})
    wide = dataclasses.replace(ctx, catalog=catalog)
    run = finish(wide, tell(bare, wide, bare.drop(image, disk.make_vhd(tmp_path / "x.img", 20))).id)
    assert run.stage is Stage.FAILED
    assert "does not end in .vhd" in run.reason
    assert run.managed_image is None
    assert finish(wide, tell(bare, wide, bare.drop(image, disk.make_vhd(tmp_path / "X.VHD", 20))).id).version == "1.0.0"


def test_a_table_that_windows_has_moved_is_published(bare: Azure, ctx: Context, tmp_path: Path) -> None:
    vhd = disk.make_vhd(tmp_path / "x.vhd", 20)
    content = bytearray(vhd.read_bytes())
    content[2016 * 512 : 2048 * 512], content[1024:17408] = content[1024:17408], bytes(16384)
    struct.pack_into("<Q", content, 512 + 72, 2016)
    struct.pack_into("<I", content, 512 + 16, 0)
    struct.pack_into("<I", content, 512 + 16, crc32(content[512 : 512 + 92]))
    vhd.write_bytes(content)
    run = publish(bare, ctx, vhd)
    assert (run.stage, run.version) == (Stage.PUBLISHED, "1.0.0"), run.reason


def test_a_bad_vhd_is_told_of_once_and_a_mended_one_is_taken(bare: Azure, ctx: Context, tmp_path: Path) -> None:
    vhd = disk.make_vhd(tmp_path / "x.vhd", 20)
    good = vhd.read_bytes()
    raw(vhd)
    run = publish(bare, ctx, vhd)
    blob = bare.blob(run.image, "x.vhd")
    assert tell(bare, ctx, blob) is None
    sweep(ctx)
    assert len(runs_of(ctx, run.image)) == 1
    vhd.write_bytes(good)
    assert finish(ctx, tell(bare, ctx, bare.drop(run.image, vhd)).id).version == "1.0.0"


def test_a_gallery_that_is_not_there_is_named(bare: Azure, ctx: Context, tmp_path: Path) -> None:
    run = publish(bare, ctx, disk.make_vhd(tmp_path / "x.vhd"), "lost")
    assert run.stage is Stage.FAILED
    assert "galMissing does not exist" in run.reason


def test_a_definition_that_is_another_is_left_alone_and_named(bare: Azure, ctx: Context, tmp_path: Path) -> None:
    image = bare.image()
    definition = {
        "location": "westeurope",
        "properties": {
            "osType": "Windows",
            "osState": "Generalized",
            "hyperVGeneration": "V1",
            "architecture": "x64",
            "identifier": {"publisher": "Contoso", "offer": "other", "sku": image},
        },
    }
    bare.arm.put(bare.definition(image), params={"api-version": "2024-03-03"}, json=definition).raise_for_status()
    run = finish(ctx, tell(bare, ctx, bare.drop(image, disk.make_vhd(tmp_path / "x.vhd"))).id)
    assert run.stage is Stage.FAILED
    for difference in ("os_type is Windows", "offer is other", "hyper_v_generation is V1"):
        assert difference in run.reason
