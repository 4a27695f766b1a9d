"""Whether a disk can become a version of an image: asked before an upload, and again before anything is made of it."""

from __future__ import annotations

from collections.abc import Collection

from pipeline.catalog import Generation
from pipeline.vhd import LARGEST_OS_DISK, MIB


class Unfit(ValueError):
    """The disk is no OS disk of this image. The message says why, and what mends it."""


def check_size(disk_size: int) -> None:
    """Raises Unfit where a disk of `disk_size` bytes is larger than a version takes."""
    if disk_size > LARGEST_OS_DISK:
        raise Unfit(
            f"the disk has {disk_size // MIB // 1024} GiB; an image version takes an OS disk of 2048 GiB at most"
        )


def check_boot(fault: str, generations: Collection[str], wanted: Generation) -> None:
    """Raises Unfit where a disk does not boot as `wanted`. `fault` says why its partition table is no use, empty where
    it is; `generations` are those that it boots as."""
    if fault:
        raise Unfit(fault)
    if wanted.value not in generations:
        raise Unfit(_generation_fault(generations, wanted))


def _generation_fault(generations: Collection[str], wanted: Generation) -> str:
    other = next(iter(generations), None)
    publish = f", or publish it under another definition with hyper_v_generation: {other}" if other else ""
    if wanted is Generation.V2:
        seen = "boots as V1 only" if other else "has nothing on it that a BIOS boots either"
        return (
            f"the definition says generation V2, but the disk has no EFI system partition and {seen}. "
            f"To mend it: install a UEFI boot loader{publish}"
        )
    seen = "boots by UEFI only" if other else "holds nothing a BIOS can boot"
    return (
        f"the definition says generation V1, but the disk {seen}. "
        f"To mend it: install a BIOS boot loader (GRUB wants a BIOS boot partition on GPT disks){publish}"
    )
