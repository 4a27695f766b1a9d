"""App settings, read from the environment; all that is missing or wrong is named at once."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress
from datetime import date
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from pipeline.access import Role
from pipeline.cloud.api_versions import COMPUTE, DISK, GALLERY, ApiVersions
from pipeline.resource_ids import ResourceGroup, check_group, subscription_of_account
from pipeline.validation import Fault, beside, field_name, found, quoted, sentence

_YEAR = 366 * 24 * 3600  # seconds; what is longer is a slip of the hand


class SettingsError(ValueError):
    """App settings are missing or wrong. The message names each."""


def _https(url: str) -> str:
    try:
        parts = urlsplit(url)
    except ValueError:  # brackets that hold no IPv6 address, say
        parts = urlsplit("")
    if parts.scheme != "https" or not parts.netloc or parts.query:
        raise ValueError("takes an https:// address: tokens travel over TLS only")
    return url.rstrip("/")


def _account_id(value: str) -> str:
    subscription_of_account(value)
    return value.rstrip("/")


def _group_id(value: str) -> str:
    return str(ResourceGroup.parse(value))


def _api_version(value: str) -> str:
    if re.fullmatch(r"\d{4}-\d\d-\d\d(-preview)?", value, re.ASCII):
        with suppress(ValueError):
            date.fromisoformat(value[:10])
            return value
    raise ValueError(f"takes an api-version, a date such as {GALLERY} or {GALLERY}-preview, not {quoted(value)}")


def _unless_empty(default: str | None) -> BeforeValidator:
    return BeforeValidator(lambda value: value or default)


def _guid(value: str) -> str:
    if not re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", value.lower()):
        raise ValueError(f"takes an id of Entra's, 8-4-4-4-12 hexadecimal digits, not {quoted(value)}")
    return value.lower()


def _role_names(value: Any) -> Any:
    return [name.strip().lower() for name in value.split(",") if name.strip()] if isinstance(value, str) else value


Endpoint = Annotated[str, AfterValidator(_https)]
Guid = Annotated[str, AfterValidator(_guid)]
AccountId = Annotated[str, AfterValidator(_account_id)]
GroupId = Annotated[str, AfterValidator(_group_id)]
ApiVersion = Annotated[str, AfterValidator(_api_version)]
Seconds = Annotated[float, Field(ge=0, le=_YEAR)]
Positive = Annotated[float, Field(gt=0, le=_YEAR)]


class Settings(BaseSettings):
    """The app settings of the pipeline. Times are in seconds unless the name says otherwise."""

    model_config = SettingsConfigDict(extra="ignore", frozen=True)

    blob_endpoint: Annotated[Endpoint, Field(validation_alias="Storage__blobServiceUri")]
    queue_endpoint: Annotated[Endpoint, Field(validation_alias="Storage__queueServiceUri")]
    table_endpoint: Annotated[Endpoint, Field(validation_alias="Storage__tableServiceUri")]
    catalog: Path = Path("catalog.yaml")
    vhd_storage_account_id: Annotated[AccountId | None, _unless_empty(None)] = None
    """Resource id of the account that holds the VHDs; the direct route names it to Azure."""
    managed_image_group_id: Annotated[GroupId | None, _unless_empty(None)] = None
    """Resource id of the group in which managed images are made; beside the gallery where not set."""
    events_endpoint: Endpoint | None = None
    """An Event Grid topic that takes CloudEvents and is told what became of each run."""
    arm_endpoint: Endpoint = "https://management.azure.com"
    arm_audience: Endpoint = "https://management.azure.com"
    gallery_api_version: Annotated[ApiVersion, _unless_empty(GALLERY)] = GALLERY
    """What galleries, image definitions and image versions are asked by."""
    compute_api_version: Annotated[ApiVersion, _unless_empty(COMPUTE)] = COMPUTE
    """What managed images and virtual machines are asked by."""
    disk_api_version: Annotated[ApiVersion, _unless_empty(DISK)] = DISK
    """What managed disks and snapshots are asked by."""

    api_client_id: Annotated[Guid | None, _unless_empty(None)] = None
    """The Entra application that callers of the HTTP API get tokens for. Where set, no key opens anything."""
    api_tenant_id: Annotated[Guid | None, _unless_empty(None)] = None
    api_authority: Endpoint = "https://login.microsoftonline.com"
    api_key_roles: Annotated[frozenset[Role], NoDecode, BeforeValidator(_role_names)] = frozenset({Role.PUBLISHER})
    """The roles whose keys are accepted where callers do not sign in."""

    upload_settle_seconds: Seconds = 60
    """A VHD without a completion mark is whole when its last write is this long ago."""
    upload_stall_seconds: Seconds = 3600
    """An upload whose last page is still missing this long after the last write has failed."""
    poll_seconds: Positive = 10
    """The shortest wait between two looks at something Azure works on."""
    poll_max_seconds: Positive = 120
    run_deadline_seconds: Positive = 24 * 3600
    """A run that has not ended this long after its turn came is failed with what was last seen."""
    sweep_grace_seconds: Positive = 120
    """A step this long overdue counts as lost."""

    @model_validator(mode="wrap")
    @classmethod
    def _is_one_subscription(cls, data: Any, handler: Callable[[Any], Any]) -> Any:
        return beside(handler, data, cls, [*_elsewhere(data), *_no_tenant(data)] if isinstance(data, dict) else [])

    @property
    def api_versions(self) -> ApiVersions:
        """What Azure Resource Manager is asked by."""
        return ApiVersions(self.gallery_api_version, self.compute_api_version, self.disk_api_version)

    def managed_image_group(self, gallery: ResourceGroup) -> ResourceGroup | None:
        """Where managed images are made for a gallery in the group `gallery`; None where Azure lets none be made."""
        if self.managed_image_group_id:
            return ResourceGroup.parse(self.managed_image_group_id)
        if self.galleries_only_in not in (None, gallery.subscription.lower()):
            return None
        return gallery

    @property
    def galleries_only_in(self) -> str | None:
        """The subscription outside which no gallery gets managed images; None where there is no such bound.

        Beside a gallery, Azure makes one only in the subscription of the VHD's storage account. Which that is, is not
        known where VHD_STORAGE_ACCOUNT_ID is not set.
        """
        if self.managed_image_group_id or not self.vhd_storage_account_id:
            return None
        return subscription_of_account(self.vhd_storage_account_id)


def _elsewhere(data: dict[str, Any]) -> list[Fault]:
    """That managed images would be made in another subscription than the VHDs' account."""
    group, account = data.get("managed_image_group_id"), data.get("vhd_storage_account_id")
    if not group or not account:
        return []
    with suppress(ValueError):  # a wrong form is told of by its own field
        group, account = _group_id(group), _account_id(account)
        try:
            check_group(group, account)
        except ValueError as error:
            return [Fault(("managed_image_group_id",), str(error))]
    return []


def _no_tenant(data: dict[str, Any]) -> list[Fault]:
    if data.get("api_client_id") and not data.get("api_tenant_id"):
        return [Fault(("api_tenant_id",), "is missing: API_CLIENT_ID takes the tenant whose tokens count beside it")]
    return []


def load_settings() -> Settings:
    """The settings in the environment. Raises SettingsError."""
    try:
        return Settings()
    except ValidationError as error:
        told = [sentence(_setting(fault), fault.words) for fault in found(error, Settings)]
        raise SettingsError(f"app settings: {'; '.join(told)}") from error


def _setting(fault: Fault) -> str:
    """The app setting that a fault is of, as it is spelt."""
    name = field_name(fault.path)
    return name.upper() if name in Settings.model_fields else name or "settings"
