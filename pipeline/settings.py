"""App settings, read from the environment; all that is missing or wrong is named at once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from pipeline.validation import field_name, found, sentence

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


Endpoint = Annotated[str, AfterValidator(_https)]
Seconds = Annotated[float, Field(ge=0, le=_YEAR)]
Positive = Annotated[float, Field(gt=0, le=_YEAR)]


class Settings(BaseSettings):
    """The app settings of the pipeline. Times are in seconds unless the name says otherwise."""

    model_config = SettingsConfigDict(extra="ignore", frozen=True)

    blob_endpoint: Annotated[Endpoint, Field(validation_alias="Storage__blobServiceUri")]
    queue_endpoint: Annotated[Endpoint, Field(validation_alias="Storage__queueServiceUri")]
    table_endpoint: Annotated[Endpoint, Field(validation_alias="Storage__tableServiceUri")]
    catalog: Path = Path("catalog.yaml")
    vhd_storage_account_id: str | None = None
    """Resource id of the account that holds the VHDs; the direct route names it to Azure."""
    events_endpoint: Endpoint | None = None
    """An Event Grid topic that takes CloudEvents and is told what became of each run."""
    arm_endpoint: Endpoint = "https://management.azure.com"
    arm_audience: Endpoint = "https://management.azure.com"

    upload_settle_seconds: Seconds = 60
    """A VHD without a completion mark is whole when its last write is this long ago."""
    upload_stall_seconds: Seconds = 3600
    """An upload whose last page is still missing this long after the last write has failed."""
    poll_seconds: Positive = 10
    """The shortest wait between two looks at something Azure works on."""
    poll_max_seconds: Positive = 120
    run_deadline_seconds: Positive = 24 * 3600
    """A run that has not ended this long after its source was whole is failed with what was last seen."""
    sweep_grace_seconds: Positive = 120
    """A step this long overdue counts as lost."""


def load_settings() -> Settings:
    """The settings in the environment. Raises SettingsError."""
    try:
        return Settings()
    except ValidationError as error:
        told = [sentence(field_name(fault.path) or "settings", fault.words) for fault in found(error, Settings)]
        raise SettingsError(f"app settings: {'; '.join(told)}") from error
