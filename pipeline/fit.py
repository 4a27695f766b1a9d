"""Whether a disk can become a version of an image: asked before an upload, and again before anything is made of it."""

from __future__ import annotations

from pipeline.catalog import Generation
from pipeline.vhd import LARGEST_OS_DISK, MIB, Disk, read_partitions


class Unfit(ValueError):
    """The disk is no OS disk of this image. The message says why, and what mends it."""


def check_size(disk_size: int) -> None:
    """Raises Unfit where a disk of `disk_size` bytes is larger than a version takes."""
    if disk_size > LARGEST_OS_DISK:
        raise Unfit(
            f"the disk has {disk_size // MIB // 1024} GiB; an image version takes an OS disk of 2048 GiB at most"
        )


def check_boot(head: bytes, wanted: Generation) -> Disk:
    """What the first `HEAD` bytes say of a disk that boots as `wanted`. Raises Unfit where it does not."""
    disk = read_partitions(head)
    if disk.scheme == "none":
        raise Unfit("the disk has no partition table, so no VM can boot from it: is this an OS disk?")
    if wanted.value not in disk.generations:
        raise Unfit(_generation_fault(disk, wanted))
    return disk


def _generation_fault(disk: Disk, wanted: Generation) -> str:
    if wanted is Generation.V2:
        return (
            "the definition says generation V2, but the disk has no EFI system partition and boots as V1 only. "
            "To mend it: install a UEFI boot loader, or publish it under another definition with hyper_v_generation: V1"
        )
    seen = "boots by UEFI only" if disk.efi_system_partition else "holds nothing a BIOS can boot"
    return (
        f"the definition says generation V1, but the disk {seen}. "
        "To mend it: add a BIOS boot partition, or publish it under another definition with hyper_v_generation: V2"
    )
