"""The look-up of the VHD behind a blob URI, in the sandbox's storage."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol
from urllib.parse import unquote, urlsplit

from azure.core.credentials import TokenCredential
from azure.core.exceptions import AzureError
from azure.storage.blob import BlobServiceClient

from sandbox.arm.vhd import FOOTER, Blob


class BlobSource(Protocol):
    """Where the emulator finds the blobs that images and versions are made of."""

    def look_up(self, uri: str) -> Blob | None:
        """The blob's type, size and last 512 bytes, or None where it cannot be read. Blocks."""

    def subscription_of(self, uri: str) -> str | None:
        """The subscription of the storage account that an address is in; None for an account that is not known."""


class StorageBlobs:
    """Blobs of one storage account. `account_url` as in `https://127.0.0.1:10000/devstoreaccount1`; `account_id` is its
    resource id."""

    def __init__(self, account_url: str, account_id: str, credential: TokenCredential, ca_bundle: Path) -> None:
        self._account_url = account_url.rstrip("/")
        self._subscription = account_id.split("/")[2]
        self._service = BlobServiceClient(
            self._account_url, credential=credential, connection_verify=str(ca_bundle), retry_total=1
        )

    def subscription_of(self, uri: str) -> str | None:
        return self._subscription if uri.startswith(f"{self._account_url}/") else None

    def look_up(self, uri: str) -> Blob | None:
        address = urlsplit(uri)._replace(query="", fragment="").geturl()
        container, _, name = address.removeprefix(self._account_url).lstrip("/").partition("/")
        if not address.startswith(f"{self._account_url}/") or not name:
            return None
        client = self._service.get_blob_client(container, unquote(name))
        try:
            properties = client.get_blob_properties()
            size = int(properties.size)
            length = min(FOOTER, size)
            tail = bytes(client.download_blob(offset=size - length, length=length).readall()) if length else b""
        except AzureError:
            return None
        return Blob(address, str(getattr(properties.blob_type, "value", properties.blob_type)), size, tail)
