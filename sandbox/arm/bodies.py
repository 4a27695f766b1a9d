"""Request bodies of Microsoft.Compute, as Microsoft's REST description names and types them.

Class names are Azure's, because its binding errors print them. What only Azure may set is accepted and dropped: clients
send back what they read.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer, ValidationError
from pydantic.alias_generators import to_camel
from pydantic_core import ErrorDetails

from sandbox.arm import regions
from sandbox.arm.clock import timestamp
from sandbox.arm.errors import ArmError


@dataclass(frozen=True)
class Since:
    """The api-version that brought a member (Microsoft's REST description); older ones do not know it."""

    api_version: str


class CaseBlind(StrEnum):
    """Enumerations are read in any case and written in Azure's (recorded traffic)."""

    @classmethod
    def _missing_(cls, value: object) -> CaseBlind | None:
        text = str(value).lower()
        return next((member for member in cls if member.value.lower() == text), None)


class OperatingSystemTypes(CaseBlind):
    LINUX = "Linux"
    WINDOWS = "Windows"


class OperatingSystemStateTypes(CaseBlind):
    GENERALIZED = "Generalized"
    SPECIALIZED = "Specialized"


class HyperVGeneration(CaseBlind):
    V1 = "V1"
    V2 = "V2"


class Architecture(CaseBlind):
    X64 = "x64"
    ARM64 = "Arm64"


class CachingTypes(CaseBlind):
    NONE = "None"
    READ_ONLY = "ReadOnly"
    READ_WRITE = "ReadWrite"


class StorageAccountType(CaseBlind):
    STANDARD_LRS = "Standard_LRS"
    STANDARD_ZRS = "Standard_ZRS"
    PREMIUM_LRS = "Premium_LRS"
    PREMIUM_V2_LRS = "PremiumV2_LRS"


class EdgeZoneStorageAccountType(CaseBlind):
    STANDARD_LRS = "Standard_LRS"
    STANDARD_ZRS = "Standard_ZRS"
    STANDARD_SSD_LRS = "StandardSSD_LRS"
    PREMIUM_LRS = "Premium_LRS"


class StorageAccountTypes(CaseBlind):
    """The disk types of images, which are not those of galleries."""

    STANDARD_LRS = "Standard_LRS"
    PREMIUM_LRS = "Premium_LRS"
    STANDARD_SSD_LRS = "StandardSSD_LRS"
    ULTRA_SSD_LRS = "UltraSSD_LRS"
    PREMIUM_ZRS = "Premium_ZRS"
    STANDARD_SSD_ZRS = "StandardSSD_ZRS"
    PREMIUM_V2_LRS = "PremiumV2_LRS"


class DiskCreateOption(CaseBlind):
    EMPTY = "Empty"
    ATTACH = "Attach"
    FROM_IMAGE = "FromImage"
    IMPORT = "Import"
    COPY = "Copy"
    RESTORE = "Restore"
    UPLOAD = "Upload"
    COPY_START = "CopyStart"
    IMPORT_SECURE = "ImportSecure"
    UPLOAD_PREPARED_SECURE = "UploadPreparedSecure"


class DiskSecurityTypes(CaseBlind):
    """Those of disks and of virtual machines, which are read here as one."""

    STANDARD = "Standard"
    TRUSTED_LAUNCH = "TrustedLaunch"
    CONFIDENTIAL_VM = "ConfidentialVM"
    CONFIDENTIAL_VM_GUEST_STATE_ONLY = "ConfidentialVM_VMGuestStateOnlyEncryptedWithPlatformKey"
    CONFIDENTIAL_VM_PLATFORM_KEY = "ConfidentialVM_DiskEncryptedWithPlatformKey"
    CONFIDENTIAL_VM_CUSTOMER_KEY = "ConfidentialVM_DiskEncryptedWithCustomerKey"
    CONFIDENTIAL_VM_NON_PERSISTED_TPM = "ConfidentialVM_NonPersistedTPM"


class VirtualMachineDiskCreateOption(CaseBlind):
    ATTACH = "Attach"
    EMPTY = "Empty"
    FROM_IMAGE = "FromImage"
    COPY = "Copy"
    RESTORE = "Restore"


class AccessLevel(CaseBlind):
    NONE = "None"
    READ = "Read"
    WRITE = "Write"


class StorageAccountStrategy(CaseBlind):
    PREFER_STANDARD_ZRS = "PreferStandard_ZRS"
    DEFAULT_STANDARD_LRS = "DefaultStandard_LRS"


class ReplicationMode(CaseBlind):
    FULL = "Full"
    SHALLOW = "Shallow"


class SharingUpdateOperationTypes(CaseBlind):
    ADD = "Add"
    REMOVE = "Remove"
    RESET = "Reset"
    ENABLE_COMMUNITY = "EnableCommunity"


class SharingProfileGroupTypes(CaseBlind):
    SUBSCRIPTIONS = "Subscriptions"
    AAD_TENANTS = "AADTenants"


class GallerySharingPermissionTypes(CaseBlind):
    PRIVATE = "Private"
    GROUPS = "Groups"
    COMMUNITY = "Community"


def _offset(value: datetime) -> str:
    return timestamp(value if value.tzinfo else value.replace(tzinfo=UTC))


DateTimeOffset = Annotated[datetime, PlainSerializer(_offset, return_type=str)]
ReadOnly = Annotated[Any, Field(default=None, exclude=True)]


class Body(BaseModel):
    model_config = ConfigDict(extra="forbid", alias_generator=to_camel, validate_by_name=False)


class Resource(Body):
    id: ReadOnly
    name: ReadOnly
    type: ReadOnly
    system_data: ReadOnly
    location: str | None = None
    tags: dict[str, str] | None = None


class SubResource(Body):
    id: str | None = None


# --- galleries


class CommunityGalleryInfo(Body):
    community_gallery_enabled: ReadOnly
    publisher_uri: str | None = None
    publisher_contact: str | None = None
    eula: str | None = None
    public_name_prefix: str | None = None
    public_names: ReadOnly


class SharingProfile(Body):
    permissions: GallerySharingPermissionTypes | None = None
    groups: ReadOnly
    community_gallery_info: CommunityGalleryInfo | None = None


class SoftDeletePolicy(Body):
    is_soft_delete_enabled: bool | None = None
    retention_period_in_days: Annotated[int | None, Since("2026-03-03")] = None
    grace_period_in_days: Annotated[int | None, Since("2026-03-03")] = None


class GalleryProperties(Body):
    description: str | None = None
    identifier: ReadOnly
    sharing_profile: SharingProfile | None = None
    soft_delete_policy: SoftDeletePolicy | None = None
    sharing_status: ReadOnly
    provisioning_state: ReadOnly


class Gallery(Resource):
    properties: GalleryProperties | None = None
    identity: Any = None


class SharingProfileGroup(Body):
    type: SharingProfileGroupTypes
    ids: list[str] | None = None


class SharingUpdate(Body):
    operation_type: SharingUpdateOperationTypes
    groups: list[SharingProfileGroup] | None = None


# --- image definitions


class GalleryImageFeature(Body):
    name: str | None = None
    value: str | None = None
    starts_at_version: str | None = None


class GalleryImageIdentifier(Body):
    publisher: str | None = None
    offer: str | None = None
    sku: str | None = None


class ResourceRange(Body):
    min: int | None = None
    max: int | None = None


class RecommendedMachineConfiguration(Body):
    v_cpus: Annotated[ResourceRange | None, Field(alias="vCPUs")] = None
    memory: ResourceRange | None = None


class Disallowed(Body):
    disk_types: list[str] | None = None


class ImagePurchasePlan(Body):
    name: str | None = None
    publisher: str | None = None
    product: str | None = None


class GalleryImageProperties(Body):
    hyper_v_generation: HyperVGeneration | None = None
    architecture: Architecture | None = None
    features: list[GalleryImageFeature] | None = None
    os_type: OperatingSystemTypes | None = None
    os_state: OperatingSystemStateTypes | None = None
    end_of_life_date: DateTimeOffset | None = None
    recommended: RecommendedMachineConfiguration | None = None
    disallowed: Disallowed | None = None
    purchase_plan: ImagePurchasePlan | None = None
    identifier: GalleryImageIdentifier | None = None
    provisioning_state: ReadOnly
    description: str | None = None
    eula: str | None = None
    privacy_statement_uri: str | None = None
    release_note_uri: str | None = None
    allow_update_image: bool | None = None


class GalleryImage(Resource):
    properties: GalleryImageProperties | None = None


# --- image versions


class OSDiskImageSecurityProfile(Body):
    confidential_vm_encryption_type: Annotated[str | None, Field(alias="confidentialVMEncryptionType")] = None
    secure_vm_disk_encryption_set_id: Annotated[str | None, Field(alias="secureVMDiskEncryptionSetId")] = None


class OSDiskImageEncryption(Body):
    security_profile: OSDiskImageSecurityProfile | None = None
    disk_encryption_set_id: str | None = None


class DataDiskImageEncryption(Body):
    lun: int | None = None
    disk_encryption_set_id: str | None = None


class EncryptionImages(Body):
    os_disk_image: OSDiskImageEncryption | None = None
    data_disk_images: list[DataDiskImageEncryption] | None = None


class AdditionalReplicaSet(Body):
    storage_account_type: StorageAccountType | None = None
    regional_replica_count: int | None = None


class TargetRegion(Body):
    name: str | None = None
    regional_replica_count: int | None = None
    storage_account_type: StorageAccountType | None = None
    encryption: EncryptionImages | None = None
    exclude_from_latest: bool | None = None
    additional_replica_sets: list[AdditionalReplicaSet] | None = None


class GalleryExtendedLocation(Body):
    name: str | None = None
    type: str | None = None


class GalleryTargetExtendedLocation(Body):
    name: str | None = None
    extended_location: GalleryExtendedLocation | None = None
    extended_location_replica_count: int | None = None
    storage_account_type: EdgeZoneStorageAccountType | None = None
    encryption: EncryptionImages | None = None


class GalleryImageVersionPublishingProfile(Body):
    target_regions: list[TargetRegion] | None = None
    replica_count: int | None = None
    exclude_from_latest: bool | None = None
    published_date: ReadOnly
    end_of_life_date: DateTimeOffset | None = None
    storage_account_type: StorageAccountType | None = None
    replication_mode: ReplicationMode | None = None
    target_extended_locations: list[GalleryTargetExtendedLocation] | None = None
    storage_account_strategy: Annotated[StorageAccountStrategy | None, Since("2025-03-03")] = None


class GalleryArtifactVersionFullSource(Body):
    id: str | None = None
    virtual_machine_id: str | None = None
    community_gallery_image_id: str | None = None


class GalleryDiskImageSource(Body):
    uri: str | None = None
    storage_account_id: str | None = None
    id: str | None = None


class GalleryOSDiskImage(Body):
    size_in_gb: Annotated[Any, Field(alias="sizeInGB", default=None, exclude=True)]
    host_caching: CachingTypes | None = None
    source: GalleryDiskImageSource | None = None


class GalleryDataDiskImage(Body):
    lun: int | None = None
    size_in_gb: Annotated[Any, Field(alias="sizeInGB", default=None, exclude=True)]
    host_caching: CachingTypes | None = None
    source: GalleryDiskImageSource | None = None


class GalleryImageVersionStorageProfile(Body):
    source: GalleryArtifactVersionFullSource | None = None
    os_disk_image: GalleryOSDiskImage | None = None
    data_disk_images: list[GalleryDataDiskImage] | None = None


class GalleryImageVersionSafetyProfile(Body):
    reported_for_policy_violation: ReadOnly
    policy_violations: ReadOnly
    allow_deletion_of_replicated_locations: bool | None = None
    block_deletion_before_end_of_life: Annotated[bool | None, Since("2024-03-03")] = None


class UefiKey(Body):
    type: str | None = None
    value: list[str] | None = None


class UefiKeySignatures(Body):
    pk: UefiKey | None = None
    kek: list[UefiKey] | None = None
    db: list[UefiKey] | None = None
    dbx: list[UefiKey] | None = None


class GalleryImageVersionUefiSettings(Body):
    signature_template_names: list[str] | None = None
    additional_signatures: UefiKeySignatures | None = None


class ImageVersionSecurityProfile(Body):
    uefi_settings: GalleryImageVersionUefiSettings | None = None
    secrets_provisioning_settings: Any = None


class GalleryImageVersionProperties(Body):
    publishing_profile: GalleryImageVersionPublishingProfile | None = None
    storage_profile: GalleryImageVersionStorageProfile | None = None
    safety_profile: GalleryImageVersionSafetyProfile | None = None
    security_profile: ImageVersionSecurityProfile | None = None
    restore: bool | None = None
    validations_profile: ReadOnly
    image_metadata_profiles: ReadOnly
    provisioning_state: ReadOnly
    replication_status: ReadOnly


class GalleryImageVersion(Resource):
    properties: GalleryImageVersionProperties | None = None


# --- managed images


class ImageDisk(Body):
    disk_size_gb: Annotated[int | None, Field(alias="diskSizeGB")] = None
    snapshot: SubResource | None = None
    managed_disk: SubResource | None = None
    blob_uri: str | None = None
    caching: CachingTypes | None = None
    storage_account_type: StorageAccountTypes | None = None
    disk_encryption_set: SubResource | None = None


class ImageOSDisk(ImageDisk):
    os_type: OperatingSystemTypes | None = None
    os_state: OperatingSystemStateTypes | None = None


class ImageDataDisk(ImageDisk):
    lun: int | None = None


class ImageStorageProfile(Body):
    os_disk: ImageOSDisk | None = None
    data_disks: list[ImageDataDisk] | None = None
    zone_resilient: bool | None = None


class ImageProperties(Body):
    source_virtual_machine: SubResource | None = None
    storage_profile: ImageStorageProfile | None = None
    provisioning_state: ReadOnly
    hyper_v_generation: HyperVGeneration | None = None


class Image(Resource):
    properties: ImageProperties | None = None
    extended_location: Any = None


# --- managed disks and snapshots


class DiskSku(Body):
    name: StorageAccountTypes | None = None
    tier: ReadOnly


class ImageDiskReference(Body):
    id: str | None = None
    shared_gallery_image_id: str | None = None
    community_gallery_image_id: str | None = None
    lun: int | None = None


class CreationData(Body):
    create_option: DiskCreateOption
    storage_account_id: str | None = None
    image_reference: ImageDiskReference | None = None
    gallery_image_reference: ImageDiskReference | None = None
    source_uri: str | None = None
    source_resource_id: str | None = None
    source_unique_id: ReadOnly
    upload_size_bytes: int | None = None
    logical_sector_size: int | None = None
    security_data_uri: str | None = None
    security_metadata_uri: str | None = None
    performance_plus: bool | None = None
    elastic_san_resource_id: str | None = None
    provisioned_bandwidth_copy_speed: str | None = None
    instant_access_duration_minutes: Annotated[int | None, Since("2025-01-02")] = None


class SupportedCapabilities(Body):
    disk_controller_types: str | None = None
    accelerated_network: bool | None = None
    architecture: Architecture | None = None
    supported_security_option: str | None = None


class DiskSecurityProfile(Body):
    security_type: DiskSecurityTypes | None = None
    secure_vm_disk_encryption_set_id: Annotated[str | None, Field(alias="secureVMDiskEncryptionSetId")] = None


class DiskEncryption(Body):
    disk_encryption_set_id: str | None = None
    type: str | None = None


class SnapshotProperties(Body):
    time_created: ReadOnly
    os_type: OperatingSystemTypes | None = None
    hyper_v_generation: HyperVGeneration | None = None
    purchase_plan: Any = None
    supported_capabilities: SupportedCapabilities | None = None
    creation_data: CreationData | None = None
    disk_size_gb: Annotated[int | None, Field(alias="diskSizeGB")] = None
    disk_size_bytes: ReadOnly
    disk_state: ReadOnly
    unique_id: ReadOnly
    encryption_settings_collection: Any = None
    provisioning_state: ReadOnly
    incremental: bool | None = None
    incremental_snapshot_family_id: ReadOnly
    encryption: DiskEncryption | None = None
    network_access_policy: str | None = None
    disk_access_id: str | None = None
    security_profile: DiskSecurityProfile | None = None
    supports_hibernation: bool | None = None
    public_network_access: str | None = None
    completion_percent: float | None = None
    copy_completion_error: ReadOnly
    data_access_auth_mode: str | None = None
    snapshot_access_state: ReadOnly
    immutability_policy: Any = None


class DiskProperties(SnapshotProperties):
    disk_iops_read_write: Annotated[int | None, Field(alias="diskIOPSReadWrite")] = None
    disk_mbps_read_write: Annotated[int | None, Field(alias="diskMBpsReadWrite")] = None
    disk_iops_read_only: Annotated[int | None, Field(alias="diskIOPSReadOnly")] = None
    disk_mbps_read_only: Annotated[int | None, Field(alias="diskMBpsReadOnly")] = None
    max_shares: int | None = None
    share_info: ReadOnly
    bursting_enabled_time: ReadOnly
    tier: str | None = None
    bursting_enabled: bool | None = None
    property_updates_in_progress: ReadOnly
    optimized_for_frequent_attach: bool | None = None
    last_ownership_update_time: Annotated[Any, Field(default=None, exclude=True, alias="LastOwnershipUpdateTime")]
    availability_policy: Any = None


class Disk(Resource):
    managed_by: ReadOnly
    managed_by_extended: ReadOnly
    sku: DiskSku | None = None
    zones: list[str] | None = None
    extended_location: Any = None
    properties: DiskProperties | None = None


class Snapshot(Resource):
    managed_by: ReadOnly
    sku: DiskSku | None = None
    extended_location: Any = None
    properties: SnapshotProperties | None = None


class GrantAccessData(Body):
    access: AccessLevel
    duration_in_seconds: int
    get_secure_vm_guest_state_sas: Annotated[bool | None, Field(alias="getSecureVMGuestStateSAS")] = None
    file_format: str | None = None


# --- virtual machines


class ManagedDiskParameters(Body):
    id: str | None = None
    storage_account_type: StorageAccountTypes | None = None
    disk_encryption_set: SubResource | None = None
    security_profile: Any = None


class VirtualMachineDisk(Body):
    name: str | None = None
    caching: CachingTypes | None = None
    create_option: VirtualMachineDiskCreateOption | None = None
    delete_option: str | None = None
    disk_size_gb: Annotated[int | None, Field(alias="diskSizeGB")] = None
    managed_disk: ManagedDiskParameters | None = None
    write_accelerator_enabled: bool | None = None


class OSDisk(VirtualMachineDisk):
    os_type: OperatingSystemTypes | None = None
    diff_disk_settings: Any = None


class DataDisk(VirtualMachineDisk):
    lun: int | None = None
    to_be_detached: bool | None = None


class ImageReference(Body):
    id: str | None = None
    publisher: str | None = None
    offer: str | None = None
    sku: str | None = None
    version: str | None = None
    exact_version: ReadOnly
    shared_gallery_image_id: str | None = None
    community_gallery_image_id: str | None = None


class StorageProfile(Body):
    image_reference: ImageReference | None = None
    os_disk: OSDisk | None = None
    data_disks: list[DataDisk] | None = None
    disk_controller_type: str | None = None
    align_regional_disks_to_vm_zone: bool | None = None


class VirtualMachineSecurityProfile(Body):
    model_config = ConfigDict(extra="allow", alias_generator=to_camel, validate_by_name=False)

    security_type: DiskSecurityTypes | None = None


class VirtualMachineProperties(Body):
    """Only storage and security matter to galleries; all else is taken and given back as it is."""

    model_config = ConfigDict(extra="allow", alias_generator=to_camel, validate_by_name=False)

    storage_profile: StorageProfile | None = None
    security_profile: VirtualMachineSecurityProfile | None = None
    provisioning_state: ReadOnly
    vm_id: ReadOnly
    time_created: ReadOnly
    instance_view: ReadOnly


class VirtualMachine(Resource):
    etag: ReadOnly
    zones: list[str] | None = None
    identity: Any = None
    plan: Any = None
    extended_location: Any = None
    placement: Any = None
    managed_by: ReadOnly
    resources: ReadOnly
    properties: VirtualMachineProperties | None = None


ENVELOPE = ("sku", "zones", "extendedLocation", "identity", "plan")


class BoundBody:
    """What a request body said: only the members that were sent, in Azure's order, enumerations in Azure's case."""

    def __init__(self, body: Resource) -> None:
        sent: dict[str, Any] = body.model_dump(mode="json", by_alias=True, exclude_unset=True, exclude_none=True)
        self.location = body.location
        self.tags = body.tags
        # What some types have beside their properties: sku, zones
        self.envelope = {key: sent[key] for key in ENVELOPE if key in sent}
        self.properties: dict[str, Any] = sent.get("properties", {})

    @property
    def normalised_location(self) -> str:
        return regions.normalised(self.location or "")


def bind(model: type[Resource], raw: bytes, api_version: str) -> BoundBody:
    """Read a request body.

    Raises ArmError 400 as Azure's binding does: for what is no JSON object, for a member it does not know (unknown
    members are refused, not ignored: ansible-collections/azure#2113) and for a value of the wrong type. That a member
    which is younger than `api_version` counts as unknown is a guess.
    """
    body = read(model, raw)
    if young := _younger(body, api_version):
        raise _unknown_member(model, raw, young)
    return BoundBody(body)


def _younger(body: Body, api_version: str) -> tuple[int | str, ...]:
    """Where a member was sent that `api_version` does not know; empty where all are known."""
    for name in body.model_fields_set & type(body).model_fields.keys():
        field = type(body).model_fields[name]
        here: tuple[int | str, ...] = (field.alias or name,)
        if any(isinstance(one, Since) and one.api_version > api_version for one in field.metadata):
            return here
        value = getattr(body, name)
        for n, one in enumerate(value if isinstance(value, list) else [value]):
            if isinstance(one, Body) and (found := _younger(one, api_version)):
                return (*here, n, *found) if isinstance(value, list) else (*here, *found)
    return ()


_B = TypeVar("_B", bound=Body)


def read(model: type[_B], raw: bytes) -> _B:
    """Read a body that is no resource. Raises ArmError 400 as `bind` does."""
    try:
        return model.model_validate_json(raw or b"{}")
    except ValidationError as error:
        raise _binding_error(model, raw, error.errors(include_url=False)[0]) from error


def _binding_error(model: type[BaseModel], raw: bytes, error: ErrorDetails) -> ArmError:
    location = error["loc"]
    if error["type"] == "json_invalid" or not location:
        return ArmError(
            400, "InvalidRequestContent", f"The request content was invalid: '{error['msg']}'.", gateway=True
        )
    where = _place(raw, location)
    if error["type"] == "extra_forbidden":
        return _unknown_member(model, raw, location)
    if error["type"] == "missing":
        message = f"Required property '{location[-1]}' not found in JSON. {where}"
    elif "date" in error["type"]:
        message = f"Could not convert string to DateTimeOffset: {error['input']}. {where}"
    else:
        message = f"Error converting value \"{error['input']}\" to type '{_expected(model, location)}'. {where}"
    return ArmError(400, "BadRequest", message)


def _unknown_member(model: type[BaseModel], raw: bytes, location: tuple[int | str, ...]) -> ArmError:
    owner = _type_at(model, location[:-1]).__name__
    message = f"Could not find member '{location[-1]}' on object of type '{owner}'. {_place(raw, location)}"
    return ArmError(400, "BadRequest", message)


def _place(raw: bytes, location: tuple[int | str, ...]) -> str:
    # Array indices are part of the path in Newtonsoft's print: properties.dataDisks[0].lun
    path = ""
    for part in location:
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else str(part)
    position = raw.find(f'"{location[-1]}"'.encode()) + len(str(location[-1])) + 3
    return f"Path '{path}', line 1, position {position}."


def _expected(model: type[BaseModel], location: tuple[int | str, ...]) -> str:
    owner = _type_at(model, tuple(location[:-1]))
    for name, field in owner.model_fields.items():
        if (field.alias or name) == location[-1]:
            kinds = [kind for kind in get_args(field.annotation) or (field.annotation,) if kind is not type(None)]
            return str(getattr(kinds[0], "__name__", kinds[0]))
    return owner.__name__


def _type_at(model: type[BaseModel], location: tuple[int | str, ...]) -> type[BaseModel]:
    for part in location:
        if isinstance(part, int):
            continue
        field = next((f for name, f in model.model_fields.items() if (f.alias or name) == part), None)
        inner = None if field is None else _inner_model(field.annotation)
        if inner is None:
            break
        model = inner
    return model


def _inner_model(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for arg in get_args(annotation) if (found := _inner_model(arg))), None)


def merged(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """`old` with what `new` says: objects are merged, lists and values replaced (recorded updates do so)."""
    result = dict(old)
    for key, value in new.items():
        if isinstance(value, dict) and isinstance(result.get(key), dict):
            result[key] = merged(result[key], value)
        else:
            result[key] = value
    return result


def ordered(values: dict[str, Any], keys: tuple[str, ...]) -> dict[str, Any]:
    """`values` in the order of `keys`; what is not among them comes last."""
    head = {key: values[key] for key in keys if key in values}
    return head | {key: value for key, value in values.items() if key not in head}
