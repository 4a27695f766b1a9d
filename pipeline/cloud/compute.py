"""Azure Resource Manager, Microsoft.Compute: managed images, image definitions and image versions.

Nothing here waits: every long-running operation is started and left, and looked at later by what it makes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import Enum
from functools import lru_cache
from hashlib import sha256
from typing import Any
from urllib.parse import urlsplit

from azure.core.credentials import TokenCredential
from azure.core.exceptions import HttpResponseError
from azure.core.rest import HttpRequest
from azure.mgmt.compute import ComputeManagementClient
from azure.mgmt.compute.models import (
    Disk,
    GalleryArtifactVersionFullSource,
    GalleryDataDiskImage,
    GalleryDiskImageSource,
    GalleryImage,
    GalleryImageFeature,
    GalleryImageIdentifier,
    GalleryImageProperties,
    GalleryImageVersion,
    GalleryImageVersionProperties,
    GalleryImageVersionPublishingProfile,
    GalleryImageVersionSafetyProfile,
    GalleryImageVersionStorageProfile,
    GalleryOSDiskImage,
    Image,
    ImageDataDisk,
    ImageOSDisk,
    ImageProperties,
    ImageStorageProfile,
    Snapshot,
    SnapshotProperties,
    TargetRegion,
    VirtualMachine,
)

from pipeline.cloud.api_versions import LOCKS, ApiVersions
from pipeline.cloud.retry import NO_SDK_RETRIES, cloud_call
from pipeline.gallery import Listing, VersionFacts, by_number
from pipeline.replication import RegionProgress, RegionState, region_name
from pipeline.resource_ids import ResourceGroup
from pipeline.source import SourceKind, parse_id

_SECURITY_TYPE = "SecurityType"
_LOCKS = "/providers/Microsoft.Authorization/locks"


@dataclass(frozen=True)
class DefinitionId:
    """An image definition by its parts."""

    subscription: str
    resource_group: str
    gallery: str
    name: str

    @classmethod
    def parse(cls, resource_id: str) -> DefinitionId:
        """The parts of `/subscriptions/…/resourceGroups/…/providers/Microsoft.Compute/galleries/…/images/…`."""
        parts = resource_id.strip("/").split("/")
        return cls(parts[1], parts[3], parts[7], parts[9])

    @property
    def group(self) -> ResourceGroup:
        """The resource group of its gallery."""
        return ResourceGroup(self.subscription, self.resource_group)


@dataclass(frozen=True)
class DefinitionFacts:
    """What makes a definition what it is; Azure lets none of it change."""

    publisher: str
    offer: str
    sku: str
    os_type: str
    os_state: str
    hyper_v_generation: str
    architecture: str
    security_type: str


@dataclass(frozen=True)
class Target:
    """A region a version is replicated to."""

    region: str
    replicas: int
    storage: str


@dataclass(frozen=True)
class VersionSource:
    """What a version is made of: one of a managed image or image version, a VM, a disk or snapshot, each by its
    resource id, or VHDs by their addresses and the resource id of their storage account."""

    image: str | None = None
    vm: str | None = None
    disk: str | None = None
    storage_account: str | None = None
    vhd: str | None = None
    data_vhds: list[tuple[int, str]] = field(default_factory=list)
    """LUN and address."""


@dataclass(frozen=True)
class ManagedImage:
    """A managed image: its provisioning state and its tags."""

    state: str
    tags: dict[str, str]


@dataclass(frozen=True)
class SourceFacts:
    """What Azure says of a resource that is to become a version; empty where it does not say.

    `fingerprint` names its content, as far as Azure tells one from another. What Succeeded need not be ready:
    `conditions` are the other states Azure names, in lower case; `copied` is how much of its content is there, in
    percent; `copy_error` is why the rest never comes. `encrypted` is what a disk encryption set encrypts.
    """

    state: str
    location: str
    fingerprint: str
    os_type: str = ""
    os_state: str = ""
    generation: str = ""
    architecture: str = ""
    conditions: frozenset[str] = frozenset()
    copied: float = 100.0
    copy_error: str = ""
    encrypted: bool = False


class Compute:
    """Microsoft.Compute of every subscription the identity may reach, at one Resource Manager endpoint.

    Every call names its api-version: the client takes none for all of its calls.
    """

    def __init__(self, endpoint: str, audience: str, credential: TokenCredential, asked_by: ApiVersions) -> None:
        self._endpoint = endpoint
        self._by = asked_by

        @lru_cache(maxsize=16)
        def client(subscription: str) -> ComputeManagementClient:
            return ComputeManagementClient(
                credential,
                subscription,
                base_url=endpoint,
                credential_scopes=[audience.rstrip("/") + "/.default"],
                **NO_SDK_RETRIES,
            )

        self._client: Callable[[str], ComputeManagementClient] = client

    @cloud_call
    def managed_image(self, group: ResourceGroup, name: str) -> ManagedImage:
        """What Azure says of a managed image. Raises NotFound."""
        image = self._client(group.subscription).images.get(group.name, name, api_version=self._by.compute)
        return ManagedImage(
            state=_text(image.properties.provisioning_state if image.properties else None), tags=dict(image.tags or {})
        )

    @cloud_call
    def create_image(
        self,
        group: ResourceGroup,
        name: str,
        *,
        location: str,
        blob_uri: str,
        os_type: str,
        generation: str,
        data_disks: list[tuple[int, str]],
        tags: dict[str, str],
    ) -> str:
        """Start a managed image from VHDs, `data_disks` by LUN and address; the same again is no fault.

        Returns the operation's address.
        """
        disk = ImageOSDisk(os_type=os_type, os_state="Generalized", blob_uri=blob_uri, caching="ReadWrite")
        image = Image(
            location=location,
            tags=tags,
            properties=ImageProperties(
                storage_profile=ImageStorageProfile(
                    os_disk=disk, data_disks=[ImageDataDisk(lun=lun, blob_uri=uri) for lun, uri in data_disks]
                ),
                hyper_v_generation=generation,
            ),
        )
        operation = _Operation()
        self._client(group.subscription).images.begin_create_or_update(
            group.name,
            name,
            image,
            polling=False,
            raw_response_hook=operation.note,
            api_version=self._by.compute,
        )
        return operation.address

    @cloud_call
    def delete_image(self, group: ResourceGroup, name: str) -> None:
        """Start to delete a managed image; one that is not there is no fault."""
        self._client(group.subscription).images.begin_delete(
            group.name, name, polling=False, api_version=self._by.compute
        )

    @cloud_call
    def source(self, kind: SourceKind, resource_id: str) -> SourceFacts:
        """What Azure says of a resource that is to become a version. Raises NotFound."""
        at = parse_id(kind, resource_id)
        client, group, name = self._client(at["subscription"]), at["group"], at["name"]
        match kind:
            case SourceKind.MANAGED_IMAGE:
                return _image_facts(client.images.get(group, name, api_version=self._by.compute))
            case SourceKind.SNAPSHOT:
                return _disk_facts(client.snapshots.get(group, name, api_version=self._by.disk))
            case SourceKind.DISK:
                return _disk_facts(client.disks.get(group, name, api_version=self._by.disk))
            case SourceKind.VM:
                return _vm_facts(
                    client.virtual_machines.get(group, name, expand="instanceView", api_version=self._by.compute)
                )
            case SourceKind.IMAGE_VERSION:
                version = client.gallery_image_versions.get(
                    group,
                    at["gallery"],
                    at["definition"],
                    name,
                    expand="ReplicationStatus",
                    api_version=self._by.gallery,
                )
                definition = client.gallery_images.get(
                    group, at["gallery"], at["definition"], api_version=self._by.gallery
                )
                return _image_version_facts(version, definition)
        raise ValueError(f"{kind} is no resource")

    @cloud_call
    def definition(self, at: DefinitionId) -> DefinitionFacts:
        """What the definition is. Raises NotFound."""
        found = self._client(at.subscription).gallery_images.get(
            at.resource_group, at.gallery, at.name, api_version=self._by.gallery
        )
        facts = found.properties
        if facts is None:
            raise HttpResponseError(f"Azure described definition {at.name} without properties")
        features = {feature.name: feature.value for feature in facts.features or []}
        return DefinitionFacts(
            publisher=_text(facts.identifier.publisher),
            offer=_text(facts.identifier.offer),
            sku=_text(facts.identifier.sku),
            os_type=_text(facts.os_type),
            os_state=_text(facts.os_state),
            hyper_v_generation=_text(facts.hyper_v_generation) or "V1",
            architecture=_text(facts.architecture) or "x64",
            security_type=_text(features.get(_SECURITY_TYPE)) or "Standard",
        )

    @cloud_call
    def create_definition(
        self,
        at: DefinitionId,
        facts: DefinitionFacts,
        *,
        location: str,
        description: str | None,
        tags: dict[str, str],
    ) -> None:
        """Create a definition; the same again is no fault. Raises NotFound where the gallery is not there.

        Generation, architecture and security type are always said: their defaults have moved between
        API versions.
        """
        definition = GalleryImage(
            location=location,
            tags=tags,
            properties=GalleryImageProperties(
                description=description,
                os_type=facts.os_type,
                os_state=facts.os_state,
                hyper_v_generation=facts.hyper_v_generation,
                architecture=facts.architecture,
                identifier=GalleryImageIdentifier(publisher=facts.publisher, offer=facts.offer, sku=facts.sku),
                features=[GalleryImageFeature(name=_SECURITY_TYPE, value=facts.security_type)],
            ),
        )
        self._client(at.subscription).gallery_images.begin_create_or_update(
            at.resource_group, at.gallery, at.name, definition, polling=False, api_version=self._by.gallery
        )

    @cloud_call
    def version_names(self, at: DefinitionId) -> list[str]:
        """The names of all versions the definition holds, whatever their state. Raises NotFound."""
        found = self._client(at.subscription).gallery_image_versions.list_by_gallery_image(
            at.resource_group, at.gallery, at.name, api_version=self._by.gallery
        )
        return [str(version.name) for version in found]

    @cloud_call
    def versions(self, at: DefinitionId) -> Listing:
        """The versions of a definition without their replication, which a list never tells. Raises NotFound."""
        clock = _Clock()
        client = self._client(at.subscription).gallery_image_versions
        found = client.list_by_gallery_image(
            at.resource_group, at.gallery, at.name, raw_response_hook=clock.note, api_version=self._by.gallery
        )
        versions = by_number([_version_facts(version) for version in found if version.name])
        return Listing(clock.now, versions)

    @cloud_call
    def version(self, at: DefinitionId, name: str) -> VersionFacts:
        """What Azure says of a version now, its replication included. Raises NotFound."""
        return _version_facts(
            self._client(at.subscription).gallery_image_versions.get(
                at.resource_group,
                at.gallery,
                at.name,
                name,
                expand="ReplicationStatus",
                api_version=self._by.gallery,
            )
        )

    @cloud_call
    def create_version(
        self,
        at: DefinitionId,
        name: str,
        *,
        location: str,
        source: VersionSource,
        targets: list[Target],
        end_of_life: datetime | None,
        tags: dict[str, str],
    ) -> str:
        """Start a version, kept out of `latest`. Returns the operation's address.

        A version of that name with another source is left alone: Azure answers PropertyChangeNotAllowed, a
        Conflict.
        """
        version = GalleryImageVersion(
            location=location,
            tags=tags,
            properties=GalleryImageVersionProperties(
                publishing_profile=GalleryImageVersionPublishingProfile(
                    target_regions=_target_regions(targets),
                    exclude_from_latest=True,
                    end_of_life_date=end_of_life,
                ),
                storage_profile=_storage_profile(source),
                safety_profile=GalleryImageVersionSafetyProfile(allow_deletion_of_replicated_locations=False),
            ),
        )
        return self._put_version(at, name, version)

    @cloud_call
    def join_latest(self, at: DefinitionId, name: str, version: GalleryImageVersion) -> str:
        """Let a version be `latest`. Returns the operation's address."""
        _profile(version).exclude_from_latest = False
        return self._put_version(at, name, version)

    @cloud_call
    def amend_version(
        self, at: DefinitionId, name: str, version: GalleryImageVersion, tags: dict[str, str], *, in_latest: bool | None
    ) -> str:
        """Give a version other tags, and let it be `latest` or keep it out in every region, None for as it is.

        A region's own say wins over the version's, so both are set. Returns the operation's address.
        """
        version.tags = tags
        if in_latest is not None:
            profile = _profile(version)
            profile.exclude_from_latest = not in_latest
            for target in profile.target_regions or []:
                target.exclude_from_latest = not in_latest
        return self._put_version(at, name, version)

    @cloud_call
    def drop_regions(self, at: DefinitionId, name: str, version: GalleryImageVersion, regions: list[str]) -> str:
        """Take a version out of regions. Returns the operation's address."""
        profile = _profile(version)
        profile.target_regions = [t for t in profile.target_regions or [] if region_name(t.name) not in regions]
        _facts_of(version).safety_profile = GalleryImageVersionSafetyProfile(
            allow_deletion_of_replicated_locations=True
        )
        return self._put_version(at, name, version)

    @cloud_call
    def add_regions(self, at: DefinitionId, name: str, version: GalleryImageVersion, targets: list[Target]) -> str:
        """Replicate a version to more regions; those it has already stay. Returns the operation's address."""
        profile = _profile(version)
        profile.target_regions = [*(profile.target_regions or []), *_target_regions(targets)]
        _facts_of(version).safety_profile = GalleryImageVersionSafetyProfile(
            allow_deletion_of_replicated_locations=False
        )
        return self._put_version(at, name, version)

    # A version is changed by a PUT of what a GET described, as `az sig image-version update` does it: in recorded
    # traffic a PUT keeps all it does not name, while a PATCH of a version was never recorded.
    def _put_version(self, at: DefinitionId, name: str, version: GalleryImageVersion) -> str:
        profile = _profile(version)
        if profile.storage_account_type:
            # A version may be described by both, and is refused with both ("cannot be specified along with").
            profile.pop("storageAccountStrategy", None)
        operation = _Operation()
        self._client(at.subscription).gallery_image_versions.begin_create_or_update(
            at.resource_group,
            at.gallery,
            at.name,
            name,
            version,
            polling=False,
            raw_response_hook=operation.note,
            api_version=self._by.gallery,
        )
        return operation.address

    @cloud_call
    def delete_version(self, at: DefinitionId, name: str, *, for_good: bool = False) -> None:
        """Start to delete a version; one that is not there is no fault.

        In a gallery with soft delete its name is taken until that is over, and one that failed cannot be deleted so;
        `for_good` passes soft delete by (REST: `bypassSoftDelete`), where Azure knows of that.
        """
        versions = self._client(at.subscription).gallery_image_versions
        by = self._by.bypass_soft_delete if for_good else self._by.gallery
        try:
            versions.begin_delete(
                at.resource_group,
                at.gallery,
                at.name,
                name,
                polling=False,
                bypass_soft_delete=for_good or None,
                api_version=by,
            )
        except HttpResponseError as error:
            if not for_good or error.status_code != 400:
                raise
            versions.begin_delete(
                at.resource_group, at.gallery, at.name, name, polling=False, api_version=self._by.gallery
            )

    @cloud_call
    def images_tagged(self, group: ResourceGroup, tag: str) -> list[tuple[str, str]]:
        """The managed images in a resource group that bear `tag`: each one's name, and the tag's value."""
        found = self._client(group.subscription).images.list_by_resource_group(group.name, api_version=self._by.compute)
        return [(str(image.name), value) for image in found if (value := (image.tags or {}).get(tag))]

    @cloud_call
    def locked_scopes(self, at: DefinitionId) -> list[str]:
        """The scopes at and below the gallery's resource group that a management lock is on, in lower case.

        What lies below a locked scope cannot be deleted ("Lock your resources" page; REST: Management Locks, List At
        Resource Group Level).
        """
        url: str | None = f"{self._endpoint}{at.group}{_LOCKS}?api-version={LOCKS}"
        found: list[str] = []
        while url:
            response = self._client(at.subscription).send_request(HttpRequest("GET", url))
            if response.status_code != 200:
                raise HttpResponseError(response=response)
            page = response.json()
            found += [str(lock["id"]).lower().partition(_LOCKS.lower())[0] for lock in page["value"]]
            url = page.get("nextLink")
        return found

    @cloud_call
    def why_failed(self, subscription: str, operation: str) -> str:
        """What the operation at that address says of its failure, empty where it says nothing.

        Only the operation holds the reason; the resource just says Failed.
        """
        if urlsplit(operation).netloc != urlsplit(self._endpoint).netloc:
            return ""
        response = self._client(subscription).send_request(HttpRequest("GET", operation))
        if response.status_code != 200:
            raise HttpResponseError(response=response)
        error = response.json().get("error") or {}
        return ": ".join(part for part in (error.get("code"), error.get("message")) if part)


class _Clock:
    """Azure's clock, as a response shows it: the one that stamps versions, whatever this machine's says."""

    def __init__(self) -> None:
        self.now = datetime.now(UTC)

    def note(self, response: Any) -> None:
        if date := response.http_response.headers.get("Date"):
            self.now = parsedate_to_datetime(date)


class _Operation:
    """Remembers where Azure tracks the operation that a response started."""

    address = ""

    def note(self, response: Any) -> None:
        self.address = response.http_response.headers.get("Azure-AsyncOperation", "")


def _storage_profile(source: VersionSource) -> GalleryImageVersionStorageProfile:
    def vhd(uri: str) -> GalleryDiskImageSource:
        return GalleryDiskImageSource(storage_account_id=source.storage_account, uri=uri)

    if source.vhd:
        return GalleryImageVersionStorageProfile(
            os_disk_image=GalleryOSDiskImage(source=vhd(source.vhd)),
            data_disk_images=[GalleryDataDiskImage(lun=lun, source=vhd(uri)) for lun, uri in source.data_vhds] or None,
        )
    if source.disk:
        return GalleryImageVersionStorageProfile(
            os_disk_image=GalleryOSDiskImage(source=GalleryDiskImageSource(id=source.disk))
        )
    return GalleryImageVersionStorageProfile(
        source=GalleryArtifactVersionFullSource(id=source.image, virtual_machine_id=source.vm)
    )


def _image_facts(image: Image) -> SourceFacts:
    facts = image.properties
    profile = facts.storage_profile if facts else None
    disk = profile.os_disk if profile else None
    # An image has no id of its own making: what it was made of tells it from another of the same name.
    made_of = [disk.blob_uri, disk.managed_disk, disk.snapshot, disk.disk_size_gb] if disk else []
    data = profile.data_disks if profile else None
    return SourceFacts(
        state=_text(facts.provisioning_state if facts else None),
        location=region_name(image.location),
        fingerprint=sha256(repr([image.id, made_of]).lower().encode()).hexdigest(),
        os_type=_text(disk.os_type if disk else None),
        os_state=_text(disk.os_state if disk else None),
        generation=_text(facts.hyper_v_generation if facts else None) or "V1",
        architecture="x64",
        encrypted=any(one.disk_encryption_set for one in [*([disk] if disk else []), *(data or [])]),
    )


def _disk_facts(disk: Disk | Snapshot) -> SourceFacts:
    facts = disk.properties
    able = facts.supported_capabilities if facts else None
    error = facts.copy_completion_error if isinstance(facts, SnapshotProperties) else None
    access = facts.snapshot_access_state if isinstance(facts, SnapshotProperties) else None
    copied = facts.completion_percent if facts else None
    return SourceFacts(
        state=_text(facts.provisioning_state if facts else None),
        location=region_name(disk.location),
        fingerprint=_text(facts.unique_id if facts else None) or str(disk.id).lower(),
        os_type=_text(facts.os_type if facts else None),
        generation=_text(facts.hyper_v_generation if facts else None),
        architecture=_text(able.architecture if able else None),
        conditions=frozenset({_text(facts.disk_state if facts else None).lower(), _text(access).lower()} - {""}),
        copied=100.0 if copied is None else copied,
        copy_error=f"{_text(error.error_code)}: {error.error_message}" if error else "",
        encrypted=bool(facts and facts.encryption and facts.encryption.disk_encryption_set_id),
    )


def _vm_facts(machine: VirtualMachine) -> SourceFacts:
    facts = machine.properties
    view = facts.instance_view if facts else None
    codes = {_text(status.code).lower() for status in (view.statuses if view else None) or []}
    profile = facts.storage_profile if facts else None
    disks = [profile.os_disk, *(profile.data_disks or [])] if profile else []
    return SourceFacts(
        state=_text(facts.provisioning_state if facts else None),
        location=region_name(machine.location),
        fingerprint=_text(facts.vm_id if facts else None) or str(machine.id).lower(),
        os_type=_text(profile.os_disk.os_type if profile and profile.os_disk else None),
        os_state="Generalized" if "osstate/generalized" in codes else "Specialized",
        generation=_text(view.hyper_v_generation if view else None),
        conditions=frozenset(codes),
        encrypted=any(one and one.managed_disk and one.managed_disk.disk_encryption_set for one in disks),
    )


def _image_version_facts(version: GalleryImageVersion, definition: GalleryImage) -> SourceFacts:
    facts, kind, home = _facts_of(version), definition.properties, region_name(version.location)
    known = _version_facts(version)
    # Its own region is where another version is made of it, and may be behind the operation that made it.
    behind = [
        one.progress
        for one in known.replication
        if region_name(one.region) == home and one.state is not RegionState.COMPLETED
    ]
    return SourceFacts(
        state=_text(facts.provisioning_state),
        location=home,
        fingerprint=known.fingerprint,
        os_type=_text(kind.os_type if kind else None),
        os_state=_text(kind.os_state if kind else None),
        generation=_text(kind.hyper_v_generation if kind else None) or "V1",
        architecture=_text(kind.architecture if kind else None) or "x64",
        copied=float(min(*behind, 99)) if behind else 100.0,
        encrypted=any(_is_encrypted(target) for target in _profile(version).target_regions or []),
    )


def _is_encrypted(target: TargetRegion) -> bool:
    images = target.encryption
    found = [images.os_disk_image, *(images.data_disk_images or [])] if images else []
    return any(image and image.disk_encryption_set_id for image in found)


def _target_regions(targets: list[Target]) -> list[TargetRegion]:
    return [
        TargetRegion(name=target.region, regional_replica_count=target.replicas, storage_account_type=target.storage)
        for target in targets
    ]


def _facts_of(version: GalleryImageVersion) -> GalleryImageVersionProperties:
    if version.properties is None:
        raise HttpResponseError(f"Azure described version {version.name} without properties")
    return version.properties


def _profile(version: GalleryImageVersion) -> GalleryImageVersionPublishingProfile:
    profile = _facts_of(version).publishing_profile
    if profile is None:
        raise HttpResponseError(f"Azure described version {version.name} without a publishing profile")
    return profile


def _text(value: object) -> str:
    """The word itself, which the SDK hands over as a plain string or as a member of an enum."""
    return str(value.value if isinstance(value, Enum) else value or "")


def _latest_in(profile: GalleryImageVersionPublishingProfile) -> list[str]:
    """The regions that may take the version for `latest`: a region's own say wins over the version's."""
    everywhere = bool(profile.exclude_from_latest)
    return [
        region_name(target.name)
        for target in profile.target_regions or []
        if not (everywhere if target.exclude_from_latest is None else target.exclude_from_latest)
    ]


def _version_facts(version: GalleryImageVersion) -> VersionFacts:
    facts = _facts_of(version)
    status, safety = facts.replication_status, facts.safety_profile
    return VersionFacts(
        id=str(version.id),
        name=str(version.name),
        state=_text(facts.provisioning_state),
        tags=dict(version.tags or {}),
        published=_profile(version).published_date,
        end_of_life=_profile(version).end_of_life_date,
        targets=[region_name(target.name) for target in _profile(version).target_regions or []],
        latest_in=_latest_in(_profile(version)),
        replication=[
            RegionProgress(
                region=_text(region.region),
                state=RegionState(_text(region.state) or RegionState.UNKNOWN),
                progress=int(region.progress or 0),
                details=_text(region.details),
            )
            for region in (status.summary if status else None) or []
        ],
        kept_until_end_of_life=bool(safety and safety.block_deletion_before_end_of_life),
        resource=version,
    )
