"""One page blob, written in pieces by many threads at once, and by one upload at a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import requests
from azure.core.credentials import TokenCredential
from azure.core.pipeline.transport import RequestsTransport
from azure.storage.blob import BlobClient, SequenceNumberAction
from requests.adapters import HTTPAdapter

from pipeline import upload_marks
from pipeline.cloud.faults import Conflict, NotFound
from pipeline.cloud.retry import NO_SDK_RETRIES, cloud_call

LONGEST_WRITE = 4 * 1024 * 1024
"""Bytes that one Put Page takes at most."""
LARGEST = 8 * 1024**4
"""Bytes of the largest page blob."""


@dataclass(frozen=True)
class Found:
    """What is there under the blob's name. `size` in bytes, `sequence` 0 where the blob is no page blob, `mark` what
    marks it complete."""

    etag: str
    size: int
    page_blob: bool
    sequence: int
    metadata: dict[str, str]
    mark: str


class PageBlob:
    """A page blob in the hands of one upload, which its sequence number names.

    Every write is on condition that the number is still the upload's own. Whoever creates the blob anew, or takes it
    over, gives it another number, so two uploads under one name can never mix: the older one's next write meets a
    Conflict, even one that was on its way when its process died.
    """

    def __init__(self, endpoint: str, container: str, name: str, credential: TokenCredential, threads: int) -> None:
        session = requests.Session()
        session.mount("https://", HTTPAdapter(pool_connections=1, pool_maxsize=threads))
        self._blob = BlobClient(
            endpoint,
            container,
            name,
            credential=credential,
            transport=RequestsTransport(session=session, session_owner=False),
            **NO_SDK_RETRIES,
        )

    @property
    def url(self) -> str:
        return str(self._blob.url)

    @cloud_call
    def _properties(self) -> Found:
        properties = self._blob.get_blob_properties()
        kind = str(getattr(properties.blob_type, "value", properties.blob_type))
        return Found(
            etag=str(properties.etag),
            size=int(properties.size),
            page_blob=kind == "PageBlob",
            sequence=int(properties.page_blob_sequence_number or 0),
            metadata=dict(properties.metadata or {}),
            mark=upload_marks.mark(self._blob.container_name, self._blob.blob_name, properties.creation_time),
        )

    def find(self) -> Found | None:
        """What is there under this name, None where nothing is."""
        try:
            return self._properties()
        except NotFound:
            return None

    def create(self, size: int, sequence: int, metadata: dict[str, str], *, over: Found | None) -> None:
        """Make the blob, empty, in place of `over`. Raises NotFound for its container.

        Raises Conflict where what is there is not, or no longer, `over`.
        """
        try:
            self._create(size, sequence, metadata, over.etag if over else None)
        except Conflict:
            # A creation whose answer was lost is tried again, and meets itself.
            now = self.find()
            if now is None or now == over or (now.sequence, now.metadata) != (sequence, metadata):
                raise

    @cloud_call
    def _create(self, size: int, sequence: int, metadata: dict[str, str], etag: str | None) -> None:
        condition: dict[str, Any] = {"if_match": etag} if etag else {"if_none_match": "*"}
        self._blob.create_page_blob(size, metadata=metadata, sequence_number=sequence, **condition)

    def take_over(self, sequence: int, found: Found) -> None:
        """Go on with what another upload has begun and left. Raises Conflict where the blob is no longer as `found`."""
        try:
            self._set_sequence(sequence, found.etag)
        except Conflict:
            now = self.find()
            if now is None or now.sequence != sequence:
                raise

    @cloud_call
    def _set_sequence(self, sequence: int, etag: str) -> None:
        self._blob.set_sequence_number(SequenceNumberAction.UPDATE, str(sequence), if_match=etag)

    @cloud_call
    def write(self, offset: int, data: bytes, sequence: int) -> None:
        """Write whole pages. Raises Conflict where the blob is not this upload's any more."""
        self._blob.upload_page(data, offset=offset, length=len(data), if_sequence_number_eq=sequence)

    @cloud_call
    def describe(self, metadata: dict[str, str], etag: str) -> None:
        """Set the blob's metadata. Raises Conflict where it has changed since `etag`."""
        self._blob.set_blob_metadata(metadata, if_match=etag)

    @cloud_call
    def written(self) -> list[tuple[int, int]]:
        """Start and end of each range of pages that was written, in their order."""
        return [(int(r.start or 0), int(r.end or 0) + 1) for r in self._blob.list_page_ranges() if not r.cleared]
