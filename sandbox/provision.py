"""What a deployment makes before the function app runs: containers, queues, tables, resource groups, galleries."""

from __future__ import annotations

import ssl
from contextlib import suppress
from pathlib import Path

import httpx
from azure.core.credentials import TokenCredential
from azure.core.exceptions import ResourceExistsError
from azure.data.tables import TableServiceClient
from azure.storage.blob import BlobServiceClient
from azure.storage.queue import QueueServiceClient

from pipeline import announce, audit, engine, judgements, ledger, runs
from pipeline.addresses import CONTAINER
from pipeline.catalog import Catalog, Gallery

UPLOADS = "vhd-uploads"
QUEUES = [UPLOADS, "publish-requests", "verdicts", engine.STEPS, f"{engine.STEPS}-poison"]
TABLES = [runs.TABLE, ledger.TABLE, ledger.SOURCES, ledger.HOLDS, audit.TABLE, judgements.TABLE]


def provision(
    catalog: Catalog,
    galleries: list[str] | None,
    managed_image_group: str,
    endpoints: dict[str, str],
    credential: TokenCredential,
    arm_token: str,
) -> None:
    """Make what `catalog` needs, of its galleries those named, and the group that managed images are made in; what is
    there already stays as it is."""
    ca_bundle = endpoints["ca_bundle"]
    blobs = BlobServiceClient(endpoints["blob"], credential, connection_verify=ca_bundle)
    named = {text.partition("/")[0] for name in catalog.images for text in catalog.taken_by(name)}
    for container in {"vhds", announce.REJECTED, *filter(CONTAINER.fullmatch, named)}:
        with suppress(ResourceExistsError):
            blobs.create_container(container)
    queues = QueueServiceClient(endpoints["queue"], credential, connection_verify=ca_bundle)
    for queue in QUEUES:
        with suppress(ResourceExistsError):
            queues.create_queue(queue)
    tables = TableServiceClient(endpoints["table"], credential=credential, connection_verify=ca_bundle)
    for table in TABLES:
        tables.create_table_if_not_exists(table)
    _galleries(
        [catalog.galleries[name] for name in galleries or catalog.galleries],
        managed_image_group,
        endpoints["arm"],
        Path(ca_bundle),
        arm_token,
    )


def _galleries(galleries: list[Gallery], managed_image_group: str, arm: str, ca_bundle: Path, token: str) -> None:
    trust = ssl.create_default_context(cafile=str(ca_bundle))
    with httpx.Client(base_url=arm, verify=trust, headers={"Authorization": f"Bearer {token}"}) as client:

        def make(resource_id: str, api_version: str, location: str) -> None:
            url = f"{resource_id}?api-version={api_version}"
            if client.get(url).status_code == httpx.codes.NOT_FOUND:
                client.put(url, json={"location": location}).raise_for_status()

        make(managed_image_group, "2021-04-01", galleries[0].location)
        for gallery in galleries:
            make(gallery.id.partition("/providers/")[0], "2021-04-01", gallery.location)
            make(gallery.id, "2024-03-03", gallery.location)
