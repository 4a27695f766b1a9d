"""What is uploaded in another format is named, with the line that makes a fixed VHD of it."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import shutil
import subprocess
import tarfile
import zipfile
from pathlib import Path

import pytest

from pipeline.formats import ISO_AT
from pipeline.vhd import MIB, NotAVhd, check_footer
from sandbox import disk

needs_qemu = pytest.mark.skipif(not shutil.which("qemu-img"), reason="qemu-img is not installed (qemu-utils)")


def said_of(content: bytes) -> str:
    """What is said of a page blob with this content, padded to whole pages as uploaders do."""
    padded = content.ljust(-(-len(content) // 512) * 512, b"\0").ljust(1024, b"\0")
    with pytest.raises(NotAVhd) as fault:
        check_footer(padded[:512], padded[-512:], len(padded), lambda at, length: padded[at : at + length])
    return str(fault.value)


def tar(name: str) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        archive.addfile(tarfile.TarInfo(name), io.BytesIO())
    return made.getvalue()


def zipped() -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        archive.writestr("x.vhd", bytes(9000))
    return made.getvalue()


@pytest.mark.parametrize(
    ("content", "says", "mend"),
    [
        (bz2.compress(bytes(5000)), "bzip2", "bunzip2"),
        (gzip.compress(bytes(5000)), "gzip", "gunzip"),
        (lzma.compress(bytes(5000)), "xz archive", "xz -d"),
        (lzma.compress(bytes(5000), format=lzma.FORMAT_ALONE), "lzma archive", "xz --format=lzma -d"),
        (zipped(), "zip", "unzip"),
        (tar("disk.ovf"), "tar archive, as an OVA is", "-f vmdk"),
        (tar("disk.vhd"), "tar archive", "tar -xf"),
        (b"7z\xbc\xaf\x27\x1c" + bytes(1000), "7z", "7z x"),
        (bytes(ISO_AT) + b"CD001\x01" + bytes(4096), "ISO 9660", "install the system onto a disk"),
        (b"\xeb\x63" + bytes(508) + b"\x55\xaa" + bytes(ISO_AT - 512) + b"CD001\x01" + bytes(4096), "ISO 9660", "disk"),
        (b"MSWIM\0\0\0" + bytes(1000), "WIM", "dism /Apply-Image"),
        (b"<!DOCTYPE html><title>404</title>", "HTML page", "download"),
        (b"<?xml version='1.0'?><Error>AccessDenied</Error>", "XML document", "download"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n", "Git LFS pointer", "git lfs pull"),
        (b"LUKS\xba\xbe\0\2" + bytes(4096), "encrypted partition", "whole disk"),
        (b"# Disk DescriptorFile\nversion=1\n", "descriptor of a VMDK", "-f vmdk"),
        (b"\x3a\xff\x26\xed" + bytes(4096), "Android sparse image", "simg2img"),
    ],
    ids=lambda part: part if isinstance(part, str) else "",  # an archive holds the time it was made at
)
def test_another_format_is_named_with_its_mend(content: bytes, says: str, mend: str) -> None:
    said = said_of(content)
    assert says in said
    assert mend in said


@needs_qemu
@pytest.mark.parametrize("driver", ["qcow2", "vmdk", "vdi", "vhdx", "parallels", "qed"])
def test_what_qemu_img_makes_is_told_and_its_line_makes_a_vhd(tmp_path: Path, driver: str) -> None:
    raw = disk.make_raw(tmp_path / "x.raw", 20)
    made = tmp_path / f"in.{driver}"
    subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", driver, raw, made], check=True, capture_output=True)
    line = f"qemu-img convert -f {driver} -O vpc -o subformat=fixed,force_size"
    assert line in said_of(made.read_bytes())
    out = tmp_path / "out.vhd"
    subprocess.run([*line.split(), made, out], check=True, capture_output=True)
    content = out.read_bytes()
    assert check_footer(content[:512], content[-512:], len(content)).current_size == 20 * MIB


@needs_qemu
def test_a_footer_without_a_checksum_is_mended_by_the_line_that_is_named(tmp_path: Path) -> None:
    vhd = disk.make_vhd(tmp_path / "in.vhd", 20)
    content = bytearray(vhd.read_bytes())
    content[-512 + 64 : -512 + 68] = bytes(4)
    vhd.write_bytes(content)
    said = said_of(bytes(content))
    assert "no checksum" in said
    lines = said.partition("To mend it: ")[2].partition(", which writes")[0].split(", then ")
    for line in lines:
        subprocess.run(line, shell=True, check=True, capture_output=True, cwd=tmp_path)  # noqa: S602 - as a person would paste it
    mended = (tmp_path / "out.vhd").read_bytes()
    assert check_footer(mended[:512], mended[-512:], len(mended)).current_size == 20 * MIB
    assert mended[:-512] == content[:-512]


def test_a_footer_whose_checksum_is_wrong_is_uploaded_again_or_written_anew() -> None:
    damaged = bytearray(disk.footer(20 * MIB))
    damaged[300] ^= 1
    said = said_of(bytes(20 * MIB) + bytes(damaged))
    assert "its checksum is wrong" in said
    assert "--put-md5" in said
    assert "head -c -512" in said


def test_a_boot_sector_may_begin_with_anything() -> None:
    head = b"\x1f\x9d" + bytes(508) + b"\x55\xaa"
    assert check_footer(head, disk.footer(20 * MIB), 20 * MIB + 512).current_size == 20 * MIB
