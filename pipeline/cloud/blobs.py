"""Blob storage: what a blob is, a few of its bytes, and its index tags. Never its whole content."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime

from azure.core import MatchConditions, PipelineClient
from azure.core.credentials import TokenCredential
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError
from azure.core.pipeline.policies import BearerTokenCredentialPolicy, HttpLoggingPolicy, UserAgentPolicy
from azure.core.rest import HttpRequest, HttpResponse
from azure.storage.blob import BlobProperties, BlobServiceClient

from pipeline import upload_marks
from pipeline.addresses import address_of, place_of
from pipeline.cloud.retry import NO_SDK_RETRIES, cloud_call

_API_VERSION = "2023-11-03"


@dataclass(frozen=True)
class BlobFacts:
    """What storage says of a blob.

    `size` in bytes; `content_md5` in hex; `age` in seconds since the last write; `marked` where its uploader, or a
    person, has said that it is complete; `digest` is what the uploader says its content is.
    """

    container: str
    name: str
    etag: str
    size: int
    page_blob: bool
    kind: str
    copy_status: str | None
    content_md5: str | None
    marked: bool
    digest: str | None
    age: float
    tags: dict[str, str]

    @property
    def content(self) -> str:
        """What names the content: a digest where one is known, which no change of metadata or headers changes, else
        the ETag."""
        if self.digest:
            return f"sha256:{self.digest}"
        return f"md5:{self.content_md5}" if self.content_md5 else self.etag


class Blobs:
    """The blobs of one storage account, the only ones the pipeline touches."""

    def __init__(self, endpoint: str, credential: TokenCredential) -> None:
        self._endpoint = endpoint
        self._service = BlobServiceClient(endpoint, credential, **NO_SDK_RETRIES)
        # BlobClient.download_blob asks for the page ranges of the whole blob after every read of a page blob,
        # megabytes for a fragmented one; a plain ranged GET sends the bytes asked for and nothing else.
        self._ranges: PipelineClient[HttpRequest, HttpResponse] = PipelineClient(
            endpoint,
            policies=[
                UserAgentPolicy(),
                BearerTokenCredentialPolicy(credential, "https://storage.azure.com/.default"),
                HttpLoggingPolicy(),
            ],
        )

    def locate(self, url: str) -> tuple[str, str]:
        """Container and name of the blob at `url`. Raises ValueError, in words, where it is not in this account, names
        no blob, or another blob to other clients.

        A query is left out: `query_fault` tells what it may say.
        """
        return place_of(self._endpoint, url)

    def url(self, container: str, name: str) -> str:
        """The blob's one address, the same whichever door it was named by."""
        return address_of(self._endpoint, container, name)

    @cloud_call
    def facts(self, container: str, name: str) -> BlobFacts:
        """What storage says of the blob now. Raises NotFound."""
        seen: dict[str, str] = {}
        properties = self._service.get_blob_client(container, name).get_blob_properties(
            raw_response_hook=lambda response: seen.update(response.http_response.headers)
        )
        return _facts(properties, now=_http_date(seen.get("Date") or seen.get("date")))

    @cloud_call
    def read(self, blob: BlobFacts, offset: int, length: int) -> bytes:
        """`length` bytes at `offset`, fewer where the blob ends. Raises Conflict where it has changed since `blob` was
        seen."""
        length = min(length, blob.size - offset)
        if offset < 0 or length <= 0:
            return b""
        request = HttpRequest(
            "GET",
            self.url(blob.container, blob.name),
            headers={
                "x-ms-range": f"bytes={offset}-{offset + length - 1}",
                "x-ms-version": _API_VERSION,
                "If-Match": f'"{blob.etag}"',
            },
        )
        response = self._ranges.send_request(request)
        if response.status_code not in (200, 206):
            raise HttpResponseError(response=response)
        return response.content

    @cloud_call
    def pages(self, blob: BlobFacts, offset: int, length: int, most: int) -> tuple[list[tuple[int, int]], bool]:
        """The ranges of pages that were written in `length` bytes at `offset`, each from its first byte to before the
        byte behind it; and whether that is all of them. One call, which asks for `most` ranges.

        Raises Conflict where the blob has changed since `blob` was seen.
        """
        found = self._service.get_blob_client(blob.container, blob.name).list_page_ranges(
            offset=offset,
            length=length,
            results_per_page=most,
            etag=blob.etag,
            match_condition=MatchConditions.IfNotModified,
        )
        answers = found.by_page()
        ranges = [(int(r.start or 0), int(r.end or 0) + 1) for r in next(answers) if not r.cleared]
        return ranges, not answers.continuation_token  # type: ignore[attr-defined]

    @cloud_call
    def keep(self, container: str, name: str, text: str) -> None:
        """Write a small blob, over what had its name."""
        self._service.get_blob_client(container, name).upload_blob(text.encode(), overwrite=True)

    @cloud_call
    def metadata(self, container: str, name: str) -> dict[str, str]:
        """The blob's metadata, names in lower case. Raises NotFound."""
        found = self._service.get_blob_client(container, name).get_blob_properties().metadata or {}
        return {key.lower(): value for key, value in found.items()}

    @cloud_call
    def tag(self, container: str, name: str, tags: dict[str, str]) -> None:
        """Add index tags to a blob, keeping those it has; the ETag stays. Raises NotFound."""
        blob = self._service.get_blob_client(container, name)
        blob.set_blob_tags({**blob.get_blob_tags(), **tags})

    @cloud_call
    def tags(self, container: str, name: str) -> dict[str, str]:
        """A blob's index tags. Raises NotFound."""
        return dict(self._service.get_blob_client(container, name).get_blob_tags())

    @cloud_call
    def tagged(self, tag: str) -> list[tuple[str, str]]:
        """Container and name of every blob of the account that bears the index tag, as far as the index has come."""
        found = self._service.find_blobs_by_tags(f"{tag} >= ''")
        return [(str(blob.container_name), str(blob.name)) for blob in found]

    @cloud_call
    def delete(self, container: str, name: str, etag: str) -> None:
        """Delete a blob whose content `etag` names; one that is gone is no fault. Raises Conflict where it changed."""
        with suppress(ResourceNotFoundError):
            self._service.get_blob_client(container, name).delete_blob(
                etag=etag, match_condition=MatchConditions.IfNotModified
            )

    @cloud_call
    def list(self, container: str, prefix: str) -> list[BlobFacts]:
        """The blobs whose name begins with `prefix`, with their tags. Raises NotFound for the container."""
        client = self._service.get_container_client(container)
        now = datetime.now().astimezone()
        return [_facts(found, now) for found in client.list_blobs(prefix, include=["tags", "copy", "metadata"])]


def _http_date(value: str | None) -> datetime:
    return parsedate_to_datetime(value) if value else datetime.now().astimezone()


def _facts(properties: BlobProperties, now: datetime) -> BlobFacts:
    md5 = properties.content_settings.content_md5
    kind = str(getattr(properties.blob_type, "value", properties.blob_type))
    metadata = properties.metadata or {}
    marked = upload_marks.is_marked(metadata, str(properties.container), str(properties.name), properties.creation_time)
    return BlobFacts(
        container=str(properties.container),
        name=str(properties.name),
        etag=str(properties.etag).strip('"'),
        size=int(properties.size),
        page_blob=kind == "PageBlob",
        kind=kind,
        copy_status=properties.copy.status,
        content_md5=bytes(md5).hex() if md5 else None,
        marked=marked,
        digest=metadata.get(upload_marks.CONTENT) if marked else None,
        age=max(0.0, (now - properties.last_modified).total_seconds()),
        tags=dict(properties.tags or {}),
    )
