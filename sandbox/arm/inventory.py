"""What is there: the store's resources as of now, and what of them a rule needs to know."""

from __future__ import annotations

from sandbox.arm import definitions, disks, galleries, images, versions, virtual_machines
from sandbox.arm.blobs import BlobSource
from sandbox.arm.clock import Clock
from sandbox.arm.errors import ArmError, invalid_parameter
from sandbox.arm.resource import Resource, settled
from sandbox.arm.resource_id import ResourceId
from sandbox.arm.sources import Source, Sources
from sandbox.arm.store import Store
from sandbox.arm.vhd import VhdFault, disk_size_gb

_WHOLE = (images.TYPE, virtual_machines.TYPE, versions.TYPE)
_DISKS = (disks.DISK, disks.SNAPSHOT)
# What may stand at each member that names a source; before virtualMachineId there was only `id` (Microsoft's docs)
_ALLOWED = {"id": _WHOLE, "virtualMachineId": (virtual_machines.TYPE,), "disk": _DISKS}


class Inventory:
    """Reads the store, and the blobs behind it."""

    def __init__(self, store: Store, clock: Clock, blobs: BlobSource) -> None:
        self._store = store
        self._clock = clock
        self._blobs = blobs

    def find(self, resource_id: ResourceId | str | None) -> Resource | None:
        """The resource as of now, or None. Ids are blind to case."""
        if resource_id is None:
            return None
        key = resource_id.lower() if isinstance(resource_id, str) else resource_id.key
        resource = self._store.resource(key)
        return None if resource is None else settled(resource, self._clock.now())

    def below(self, prefix: str, kind: str | None = None) -> list[Resource]:
        """The resources, of one type or of all, whose lower-cased id begins with `prefix`."""
        now = self._clock.now()
        found = [one for stored in self._store.resources(prefix) if (one := settled(stored, now)) is not None]
        return found if kind is None else [one for one in found if one.type == kind]

    def in_subscription(self, subscription: str, kind: str) -> list[Resource]:
        """The resources of one type in a subscription."""
        return self.below(f"/subscriptions/{subscription.lower()}/", kind)

    def holders(self, subscription: str) -> dict[str, str]:
        """Which virtual machine holds a disk: ids of machines by lower-cased ids of disks."""
        machines = self.in_subscription(subscription, virtual_machines.TYPE)
        return {
            disk_id.lower(): machine.id
            for machine in machines
            for disk_id in virtual_machines.disk_ids(machine.properties)
        }

    def held(self, machine: Resource) -> dict[str, Resource]:
        """A virtual machine's disks by lower-cased id."""
        found = {disk_id.lower(): self.find(disk_id) for disk_id in virtual_machines.disk_ids(machine.properties)}
        return {key: disk for key, disk in found.items() if disk is not None}

    def sizes(self, uris: list[str]) -> dict[str, int | VhdFault | None]:
        """What the blobs are: a size in GiB, a fault, or None for one that cannot be read. Blocks."""
        found: dict[str, int | VhdFault | None] = {}
        for uri in uris:
            blob = self._blobs.look_up(uri)
            found[uri] = None if blob is None else disk_size_gb(blob)
        return found

    def elsewhere(self, uris: list[str], subscription: str) -> set[str]:
        """The blobs whose storage account is in another subscription."""
        accounts = {uri: self._blobs.subscription_of(uri) for uri in uris}
        return {uri for uri, account in accounts.items() if account and account.lower() != subscription.lower()}

    def sources(self, named: list[tuple[str, str]], sizes: dict[str, int | VhdFault | None]) -> Sources:
        """What a version's storage profile names, as `sources.ids` lists it. Raises ArmError for a wrong kind."""
        return Sources({source_id.lower(): self._named(member, source_id) for member, source_id in named}, sizes)

    def source(self, source_id: str) -> Source | None:
        """What any resource offers to an image, a version, or a disk; None where there is none that came through.

        Raises ArmError for a disk or snapshot without content.
        """
        resource = self.find(source_id)
        if resource is None or resource.provisioning_state in ("Creating", "Failed", "Deleting"):
            return None
        if resource.type == images.TYPE:
            return images.as_source(resource)
        if resource.type in _DISKS:
            disks.check_ready(resource, self._clock.now())
            return disks.as_source(resource)
        if resource.type == virtual_machines.TYPE:
            return virtual_machines.as_source(resource, self.held(resource))
        if resource.type == versions.TYPE:
            definition = self.find(resource.id.rsplit("/", 2)[0])
            return None if definition is None else versions.as_source(resource, definition)
        return None

    def image(self, image_id: str, location: str) -> tuple[Source | None, str | None]:
        """What a virtual machine in a region is made of, and the version's name where a gallery has it.

        The id of a definition, with or without `/versions/latest`, stands for its latest version. Raises ArmError.
        """
        now = self._clock.now()
        definition = self.find(image_id.lower().removesuffix("/versions/latest"))
        if definition is not None and definition.type == definitions.TYPE:
            found = self.below(f"{definition.id.lower()}/", versions.TYPE)
            image_id = versions.latest(definition, found, location, now).id
        version = self.find(image_id)
        if version is None or version.type != versions.TYPE:
            return self.source(image_id), None
        versions.check_in(version, location, now)
        return self.source(image_id), version.name

    def _named(self, member: str, source_id: str) -> Source | None:
        if member == "communityGalleryImageId":
            return None  # the sandbox has no galleries of other people
        parsed = ResourceId.parse(source_id)
        kind = "" if parsed is None or parsed.is_collection or parsed.namespace is None else parsed.type.lower()
        if kind not in [one.lower() for one in _ALLOWED[member]]:
            raise _wrong_kind(member, source_id)
        return self.source(source_id)

    def quota_used(self, subscription: str, kind: str, location: str) -> int:
        """How many resources of one type there are in a subscription and region."""
        return self._store.count(f"/subscriptions/{subscription.lower()}/", kind, location)

    def versions_in(self, gallery: ResourceId) -> list[Resource]:
        """All image versions of a gallery."""
        return self.below(f"{gallery.key}/images/", versions.TYPE)

    def siblings(self, definition: ResourceId) -> list[Resource]:
        """All definitions of a definition's gallery."""
        parent = definition.parent
        return [] if parent is None else self.below(f"{parent.key}/images/", definitions.TYPE)

    def galleries(self, subscription: str) -> list[Resource]:
        """All galleries of a subscription."""
        return self.in_subscription(subscription, galleries.TYPE)


def _wrong_kind(member: str, source_id: str) -> ArmError:
    # troubleshooting-shared-images
    if member == "disk":
        return invalid_parameter(
            f"The source id: {source_id} must be a managed disk or snapshot.",
            "galleryImageVersion.properties.storageProfile.osDiskImage.source.id",
        )
    return invalid_parameter(
        f"The source id: {source_id} must either be a managed image, virtual machine or another gallery image version",
        "galleryImageVersion.properties.storageProfile.source.id",
    )
