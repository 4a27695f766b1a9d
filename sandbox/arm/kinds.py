"""The resource types of Microsoft.Compute that the emulator has, and what sets them apart besides their rules."""

from __future__ import annotations

from dataclasses import dataclass

from sandbox.arm import bodies, definitions, disks, galleries, images, versions, virtual_machines

NAMESPACE = "Microsoft.Compute"


@dataclass(frozen=True)
class Policies:
    """The rate limit each kind of request counts against. `list_all` is of the list in a whole subscription."""

    put: str
    get: str
    delete: str
    list: str
    list_all: str


@dataclass(frozen=True)
class Kind:
    """One resource type.

    `operations` is the path segment of its operation URLs. `answers_late`: a PUT is 202 with a Location and without
    what Azure fills in, as DiskRP does it. `cached_since`: the api-version from which its list comes from ARM's cache
    in every scope; that of a whole subscription always does.
    """

    resource_type: str
    label: str  # as in "Operation 'Update Gallery Image Version' is not allowed"
    body: type[bodies.Resource]
    delete_seconds: float
    operations: str
    policies: Policies
    retry_after: float | None = None
    refuses_concurrent_changes: bool = False
    answers_late: bool = False
    cached_since: str | None = None
    quota: int | None = None

    @property
    def operation_policy(self) -> str:
        """The rate limit of a look at one of its operations."""
        return OPERATION_POLICIES[self.operations]


OPERATION_POLICIES = {
    "capsOperations": "GetOperationStatus",
    "operations": "GetOperationSubscriptionMaximum",
    "DiskOperations": "GetOperation",
}

KINDS = {
    kind.resource_type.lower(): kind
    for kind in (
        Kind(
            galleries.TYPE, "Gallery", bodies.Gallery, galleries.DELETE_SECONDS, "capsOperations",
            Policies(
                "CreateUpdateGallery", "GetGallery", "DeleteGallery",
                "ListGalleryInResourceGroup", "ListGalleryInSubscription",
            ),
            quota=galleries.QUOTA,
        ),
        Kind(
            definitions.TYPE, "Gallery Image", bodies.GalleryImage, definitions.DELETE_SECONDS, "capsOperations",
            Policies(
                "CreateUpdateGalleryImage", "GetGalleryImage", "DeleteGalleryImage",
                "ListGalleryImagesInGallery", "ListGalleryImagesInGallery",
            ),
            quota=definitions.QUOTA,
        ),
        Kind(
            versions.TYPE, "Gallery Image Version", bodies.GalleryImageVersion, versions.DELETE_SECONDS,
            "capsOperations",
            Policies(
                "CreateUpdateGalleryImageVersion", "GetGalleryImageVersion", "DeleteGalleryImageVersion",
                "ListGalleryImageVersionsInGalleryImage", "ListGalleryImageVersionsInGalleryImage",
            ),
            retry_after=versions.RETRY_AFTER_SECONDS, refuses_concurrent_changes=True, cached_since="2024-03-03",
            quota=versions.QUOTA,
        ),
        Kind(
            images.TYPE, "Image", bodies.Image, images.DELETE_SECONDS, "operations",
            Policies(
                "CreateImagesSubscriptionMaximum", "GetImagesSubscriptionMaximum", "DeleteImagesSubscriptionMaximum",
                "HighCostGetImagesSubscriptionMaximum", "HighCostGetImagesSubscriptionMaximum",
            ),
            refuses_concurrent_changes=True,
        ),
        Kind(
            disks.DISK, "Disk", bodies.Disk, disks.DELETE_SECONDS, "DiskOperations",
            Policies("CreateUpdateDisks", "LowCostGet", "DeleteDisks", "HighCostGet", "HighCostGet"),
            answers_late=True,
        ),
        Kind(
            disks.SNAPSHOT, "Snapshot", bodies.Snapshot, disks.DELETE_SECONDS, "DiskOperations",
            Policies("HighCostSnapshotCreateHydrate", "LowCostGet", "DeleteSnapshots", "HighCostGet", "HighCostGet"),
            answers_late=True,
        ),
        Kind(
            virtual_machines.TYPE, "VM", bodies.VirtualMachine, virtual_machines.DELETE_SECONDS, "operations",
            Policies(
                "UpdateVMSubscriptionMaximum", "LowCostGetSubscriptionMaximum", "DeleteVMSubscriptionMaximum",
                "HighCostGetSubscriptionMaximum", "HighCostGetSubscriptionMaximum",
            ),
            retry_after=virtual_machines.RETRY_AFTER_SECONDS,
        ),
    )
}  # fmt: skip
