"""What the host itself keeps in storage: the container `azure-webjobs-hosts` of AzureWebJobsStorage."""

from __future__ import annotations

import contextlib

from azure.core.exceptions import ResourceExistsError, ResourceNotFoundError
from azure.storage.blob import BlobClient, BlobServiceClient


class HostState:
    """Small blobs by name. Every method raises AzureError for a fault of the storage."""

    def __init__(self, storage: BlobServiceClient) -> None:
        self._container = storage.get_container_client("azure-webjobs-hosts")

    def blob(self, name: str) -> BlobClient:
        return self._container.get_blob_client(name)

    def read(self, name: str) -> bytes | None:
        """The content of a blob, None where there is none."""
        try:
            return self._container.download_blob(name).readall()
        except ResourceNotFoundError:
            return None

    def write(self, name: str, content: bytes, *, overwrite: bool = True) -> None:
        """Write a blob; ResourceExistsError where there is one and it is not to be overwritten."""
        try:
            self._container.upload_blob(name, content, overwrite=overwrite)
        except ResourceNotFoundError:
            with contextlib.suppress(ResourceExistsError):
                self._container.create_container()
            self._container.upload_blob(name, content, overwrite=overwrite)
