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

from pipeline import announce, engine, ledger, runs
from pipeline.catalog import Catalog, Gallery

UPLOADS = "vhd-uploads"
QUEUES = [UPLOADS, "publish-requests", "verdicts", engine.STEPS, f"{engine.STEPS}-poison"]
TABLES = [runs.TABLE, ledger.TABLE, ledger.SOURCES, ledger.HOLDS]


def provision(
    catalog: Catalog,
    galleries: list[str] | None,
    endpoints: dict[str, str],
    credential: TokenCredential,
    arm_token: str,
) -> None:
    """Make what `catalog` needs, of its galleries those named; what is there already stays as it is."""
    ca_bundle = endpoints["ca_bundle"]
    blobs = BlobServiceClient(endpoints["blob"], credential, connection_verify=ca_bundle)
    for container in {"vhds", announce.REJECTED} | {
        c for image in catalog.images.values() if (c := image.drop_container)
    }:
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
        endpoints["arm"],
        Path(ca_bundle),
        arm_token,
    )


def _galleries(galleries: list[Gallery], arm: str, ca_bundle: Path, token: str) -> None:
    trust = ssl.create_default_context(cafile=str(ca_bundle))
    with httpx.Client(base_url=arm, verify=trust, headers={"Authorization": f"Bearer {token}"}) as client:
        for gallery in galleries:
            group = gallery.id.partition("/providers/")[0]
            client.put(f"{group}?api-version=2021-04-01", json={"location": gallery.location}).raise_for_status()
            if client.get(f"{gallery.id}?api-version=2024-03-03").status_code == httpx.codes.NOT_FOUND:
                client.put(
                    f"{gallery.id}?api-version=2024-03-03", json={"location": gallery.location}
                ).raise_for_status()
