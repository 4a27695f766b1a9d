"""What the app settings and host.json say."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

from azure.identity import DefaultAzureCredential
from azure.storage import blob, queue
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel
from pydantic_core import from_json

HOST_STORAGE = "AzureWebJobsStorage"
_OVERRIDE = "AzureFunctionsJobHost__"
_TIME_SPAN = re.compile(r"(?:(\d+)\.)?(\d{1,2}):(\d{2})(?::(\d{2}(?:\.\d{1,7})?))?")


class StartError(Exception):
    """The app cannot be run; the message names what is wrong and where."""


def time_span(text: object) -> object:
    """The timedelta a .NET TimeSpan (`[d.]hh:mm[:ss[.fffffff]]`) stands for.

    Raises ValueError for a string of another shape; what is no string is given back as it is.
    """
    if not isinstance(text, str):
        return text
    if not (found := _TIME_SPAN.fullmatch(text.strip())):
        raise ValueError(f"{text!r} is no TimeSpan, such as 00:01:00")
    days, hours, minutes, seconds = found.groups(default="0")
    if int(hours) > 23 or int(minutes) > 59 or float(seconds) >= 60:
        raise ValueError(f"{text!r} is no TimeSpan: hours end at 23, minutes and seconds at 59")
    return timedelta(days=int(days), hours=int(hours), minutes=int(minutes), seconds=float(seconds))


def _unbounded(value: object) -> object:
    return None if value in ("-1", -1) else time_span(value)


TimeSpan = Annotated[timedelta, BeforeValidator(time_span)]


class _Section(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True, extra="ignore")


class QueueSettings(_Section):
    """`extensions.queues`, with the defaults and bounds of the host.json reference for queues."""

    max_polling_interval: TimeSpan = Field(timedelta(minutes=1), ge=timedelta(milliseconds=100))
    visibility_timeout: TimeSpan = Field(timedelta(), ge=timedelta())
    batch_size: int = Field(16, ge=1, le=32)
    new_batch_threshold: int | None = Field(None, ge=0)
    max_dequeue_count: int = Field(5, ge=1)
    message_encoding: Literal["base64", "none"] = "base64"

    @property
    def threshold(self) -> int:
        """How few messages in work let the next batch be fetched; by default half a batch."""
        return self.batch_size // 2 if self.new_batch_threshold is None else self.new_batch_threshold


class BlobSettings(_Section):
    """`extensions.blobs`, as the host.json reference for blobs has it."""

    max_degree_of_parallelism: int = Field(8 * (os.cpu_count() or 1), ge=1)
    poison_blob_threshold: int = Field(5, ge=1)


class HttpSettings(_Section):
    """`extensions.http`."""

    route_prefix: str = "api"


class _Extensions(_Section):
    queues: QueueSettings = QueueSettings()
    blobs: BlobSettings = BlobSettings()
    http: HttpSettings = HttpSettings()


class HostJson(_Section):
    """What this host reads of host.json; the rest is for other hosts."""

    version: Literal["2.0"]
    function_timeout: Annotated[timedelta | None, BeforeValidator(_unbounded)] = timedelta(minutes=30)
    extensions: _Extensions = _Extensions()

    @classmethod
    def load(cls, app_dir: Path, app_settings: Mapping[str, str]) -> HostJson:
        """host.json, with app settings `AzureFunctionsJobHost__a__b` put in (app settings reference).

        Raises StartError where it is absent or wrong.
        """
        try:
            content = from_json((app_dir / "host.json").read_bytes())
            for name, value in app_settings.items():
                if name.startswith(_OVERRIDE):
                    _put(content, name.removeprefix(_OVERRIDE).split("__"), value)
            return cls.model_validate(content)
        except (OSError, ValueError, ValidationError) as error:
            raise StartError(f"{app_dir / 'host.json'}: {error}") from error


def _put(content: dict[str, Any], path: list[str], value: str) -> None:
    *sections, last = path
    for section in sections:
        content = content.setdefault(section, {})
    content[last] = value


def host_id(app_settings: Mapping[str, str], app_dir: Path) -> str:
    """The name under which the instances of one app share locks, receipts and queues.

    It is the setting `AzureFunctionsWebHost__hostid` where there is one (as in Azure), else made of the app's
    folder: at most 32 lower-case letters, digits and dashes.
    """
    if given := app_settings.get("AzureFunctionsWebHost__hostid"):
        return given
    return "sandbox-" + hashlib.sha256(str(app_dir).encode()).hexdigest()[:12]


class Connections:
    """Clients for the storage behind a connection's name, by managed identity only."""

    def __init__(self, app_settings: Mapping[str, str]) -> None:
        self._app_settings = app_settings
        self._credential = DefaultAzureCredential()
        self._queues: dict[str, queue.QueueServiceClient] = {}
        self._blobs: dict[str, blob.BlobServiceClient] = {}

    def queues(self, connection: str, wanted_by: str) -> queue.QueueServiceClient:
        """Queue storage of `connection`; StartError names the setting that is missing, and who wants it."""
        if connection not in self._queues:
            self._queues[connection] = queue.QueueServiceClient(
                self._address(connection, "queue", wanted_by),
                credential=self._credential,
                # The default policy waits 15 s and more before its first retry, longer than some leases here last.
                retry_policy=queue.LinearRetry(backoff=1, random_jitter_range=1),
            )
        return self._queues[connection]

    def blobs(self, connection: str, wanted_by: str) -> blob.BlobServiceClient:
        """Blob storage of `connection`; StartError names the setting that is missing, and who wants it."""
        if connection not in self._blobs:
            self._blobs[connection] = blob.BlobServiceClient(
                self._address(connection, "blob", wanted_by),
                credential=self._credential,
                retry_policy=blob.LinearRetry(backoff=1, random_jitter_range=1),
            )
        return self._blobs[connection]

    def _address(self, connection: str, service: str, wanted_by: str) -> str:
        setting = f"{connection}__{service}ServiceUri"
        if address := self._app_settings.get(setting):
            return address
        if account := self._app_settings.get(f"{connection}__accountName"):
            return f"https://{account}.{service}.core.windows.net"
        if connection in self._app_settings:
            raise StartError(f"{wanted_by}: {connection} is a connection string; connect by identity, with {setting}")
        raise StartError(f"{wanted_by}: the setting {setting} is missing")
