"""App settings, read from the environment; all that is missing or wrong is named at once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict


class SettingsError(ValueError):
    """App settings are missing or wrong. The message names each."""


def _https(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme != "https" or not parts.netloc or parts.query:
        raise ValueError("takes an https:// address: tokens travel over TLS only")
    return url.rstrip("/")


Endpoint = Annotated[str, AfterValidator(_https)]
Seconds = Annotated[float, Field(ge=0)]


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
    poll_seconds: Annotated[float, Field(gt=0)] = 10
    """The shortest wait between two looks at something Azure works on."""
    poll_max_seconds: Annotated[float, Field(gt=0)] = 120
    run_deadline_seconds: Annotated[float, Field(gt=0)] = 24 * 3600
    """A run that has not ended this long after it began is failed with what was last seen."""
    sweep_grace_seconds: Annotated[float, Field(gt=0)] = 120
    """A step this long overdue counts as lost."""


def load_settings() -> Settings:
    """The settings in the environment. Raises SettingsError."""
    try:
        return Settings()
    except ValidationError as error:
        faults = "; ".join(
            f"{str(e['loc'][0]) if e['loc'] else 'settings'}: "
            + ("missing" if e["type"] == "missing" else e["msg"].removeprefix("Value error, "))
            for e in error.errors()
        )
        raise SettingsError(f"app settings: {faults}") from error
