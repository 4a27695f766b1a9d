"""What people upload that is no fixed VHD, told by its first bytes, and the line that makes one of it. Pure."""

from __future__ import annotations

from dataclasses import dataclass

ISO_AT = 32 * 1024 + 1
"""Offset of the signature of an ISO 9660 image (ECMA-119, section 8: the first volume descriptor)."""
_ISO = b"CD001"


@dataclass(frozen=True)
class Format:
    """A format: `what` with its article, and the line that makes a fixed VHD of it."""

    what: str
    mend: str


def _to_vhd(driver: str, end: str) -> str:
    return f"qemu-img convert -f {driver} -O vpc -o subformat=fixed,force_size in.{end} out.vhd"


def _unpacked(command: str) -> str:
    return f"{command}, then upload the VHD inside"


_OVA = Format(
    "a tar archive, as an OVA is",
    "tar -xf in.ova, then qemu-img convert -f vmdk -O vpc -o subformat=fixed,force_size disk.vmdk out.vhd; "
    "for a tar of a VHD: tar -xf in.tar, then upload the VHD inside",
)
_NOT_AN_IMAGE = "look at the file: the download or the build that was to bring the image failed"
_SIGNATURES: list[tuple[int, bytes, Format]] = [
    (0, b"vhdxfile", Format("a VHDX file", _to_vhd("vhdx", "vhdx"))),
    (0, b"QFI\xfb", Format("a qcow2 image", _to_vhd("qcow2", "qcow2"))),
    (0, b"QED\0", Format("a QED image", _to_vhd("qed", "qed"))),
    (0, b"KDMV", Format("a VMDK image", _to_vhd("vmdk", "vmdk"))),
    (0, b"COWD", Format("a VMDK image", _to_vhd("vmdk", "vmdk"))),
    (
        0,
        b"# Disk DescriptorFile",
        Format("the descriptor of a VMDK image, without the disk", _to_vhd("vmdk", "vmdk") + ", beside its extents"),
    ),
    (64, b"\x7f\x10\xda\xbe", Format("a VDI image", _to_vhd("vdi", "vdi"))),
    (0, b"WithoutFreeSpace", Format("a Parallels image", _to_vhd("parallels", "hdd"))),
    (0, b"WithouFreSpacExt", Format("a Parallels image", _to_vhd("parallels", "hdd"))),
    (0, b"\x1f\x8b\x08", Format("a gzip archive", _unpacked("gunzip it"))),
    (0, b"BZh", Format("a bzip2 archive", _unpacked("bunzip2 it"))),
    (0, b"\xfd7zXZ\0", Format("an xz archive", _unpacked("xz -d it"))),
    (0, b"\x5d\0\0", Format("an lzma archive", _unpacked("xz --format=lzma -d it"))),
    (0, b"\x28\xb5\x2f\xfd", Format("a zstd archive", _unpacked("zstd -d it"))),
    (0, b"\x04\x22\x4d\x18", Format("an lz4 archive", _unpacked("lz4 -d it"))),
    (0, b"\x1f\x9d", Format("a compress archive", _unpacked("uncompress it"))),
    (0, b"PK\x03\x04", Format("a zip archive", _unpacked("unzip it"))),
    (0, b"PK\x05\x06", Format("an empty zip archive", _NOT_AN_IMAGE)),
    (0, b"7z\xbc\xaf\x27\x1c", Format("a 7z archive", _unpacked("7z x it"))),
    (0, b"Rar!\x1a\x07", Format("a RAR archive", _unpacked("unrar x it"))),
    (257, b"ustar", _OVA),
    (0, b"MSWIM\0\0\0", Format("a Windows image file (WIM)", "dism /Apply-Image it to a disk, and upload that disk")),
    (0, b"hsqs", Format("a squashfs image", "install it to a disk with a boot loader, and upload that disk")),
    (0, b"\x3a\xff\x26\xed", Format("an Android sparse image", f"simg2img in.img in.raw; {_to_vhd('raw', 'raw')}")),
    (0, b"LUKS\xba\xbe", Format("an encrypted partition", "make the image of the whole disk, not of one partition")),
    (0, b"version https://git-lfs", Format("a Git LFS pointer, not the file", "git lfs pull, then upload the file")),
    (0, b"<!DOCTYPE", Format("an HTML page", _NOT_AN_IMAGE)),
    (0, b"<!doctype", Format("an HTML page", _NOT_AN_IMAGE)),
    (0, b"<html", Format("an HTML page", _NOT_AN_IMAGE)),
    (0, b"<?xml", Format("an XML document", _NOT_AN_IMAGE)),
    (0, b"\xef\xbb\xbf<?xml", Format("an XML document", _NOT_AN_IMAGE)),
]  # fmt: skip


def name_format(head: bytes) -> Format | None:
    """The format that the first 512 bytes of a file show; None where they show none."""
    bootable = head[510:512] == b"\x55\xaa"  # a boot sector may begin with anything: a few bytes are no proof then
    for at, signature, found in _SIGNATURES:
        if head[at : at + len(signature)] == signature and (len(signature) > 4 or not bootable):
            return found
    return None


ISO = Format(
    "an ISO 9660 image, which is for a CD",
    "boot a VM from it, install the system onto a disk, and upload that disk as a fixed VHD",
)


def is_iso(found: bytes) -> bool:
    """Whether `found`, the five bytes at `ISO_AT`, are of an ISO 9660 image."""
    return found == _ISO
