"""The api-versions that Azure Resource Manager is asked by: settings choose them, every call names one.

A version that a cloud or a region does not know yet is refused (NoRegisteredProviderFound), and the SDK's own defaults
are the newest there are. These are in Microsoft's published test recordings, and know all that the pipeline sends or
reads, but for `snapshotAccessState`, which came with 2025-01-02 and says no more than `completionPercent` does.
"""

from __future__ import annotations

from dataclasses import dataclass

GALLERY = "2024-03-03"
"""The first that knows `blockDeletionBeforeEndOfLife`."""
COMPUTE = "2024-07-01"
DISK = "2023-10-02"

LOCKS = "2020-05-01"
BYPASS_SOFT_DELETE = "2026-03-03"
"""The first that knows `bypassSoftDelete`, which nothing but the deletion for good asks for."""


@dataclass(frozen=True)
class ApiVersions:
    """The api-version of each of the services behind Microsoft.Compute.

    `gallery` is for galleries, image definitions and image versions, `compute` for managed images and virtual machines,
    `disk` for managed disks and snapshots.
    """

    gallery: str = GALLERY
    compute: str = COMPUTE
    disk: str = DISK

    @property
    def bypass_soft_delete(self) -> str:
        """For a deletion that passes soft delete by: never an older one than galleries are asked by."""
        return max(self.gallery, BYPASS_SOFT_DELETE)
