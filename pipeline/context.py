"""What a stage works with: the settings, the catalog, the edge and the stores."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from pipeline.audit import Audit
from pipeline.catalog import Catalog, load_catalog
from pipeline.cloud.blobs import Blobs
from pipeline.cloud.compute import Compute, DefinitionId, Target
from pipeline.cloud.entra import Entra
from pipeline.cloud.events import Topic
from pipeline.cloud.faults import NotFound
from pipeline.cloud.identity import credential
from pipeline.cloud.queues import Queues
from pipeline.cloud.tables import Tables
from pipeline.gallery import Listing
from pipeline.judgements import Judgements
from pipeline.ledger import Holds, Ledger, Requests, Sources, Turns
from pipeline.line import LineStore
from pipeline.resource_ids import ResourceGroup
from pipeline.runs import Run, RunStore, now
from pipeline.settings import Settings, load_settings
from pipeline.versions import Version


@dataclass(frozen=True)
class Context:
    """Everything a stage may touch."""

    settings: Settings
    catalog: Catalog
    blobs: Blobs
    queues: Queues
    compute: Compute
    topic: Topic
    runs: RunStore
    ledger: Ledger
    sources: Sources
    requests: Requests
    holds: Holds
    turns: Turns
    judgements: Judgements
    line: LineStore
    audit: Audit
    entra: Entra | None = None
    """Who knows the callers of the HTTP API, where they sign in."""

    def definition(self, run: Run) -> DefinitionId:
        """Where the run's version goes: what the catalog said when the run began to make things."""
        return DefinitionId.parse(str(run.definition))

    def definition_of(self, image: str) -> DefinitionId:
        """Where versions of an image go by the catalog."""
        return DefinitionId.parse(self.catalog.definition_id(image))

    def managed_image_group(self, image: str) -> ResourceGroup | None:
        """Where managed images for an image are made; None where Azure lets none be made."""
        return self.settings.managed_image_group(self.definition_of(image).group)

    def managed_image_group_of(self, run: Run) -> ResourceGroup:
        """Where the run's managed image is made, whatever the settings have become since."""
        if run.managed_image_group:
            return ResourceGroup.parse(run.managed_image_group)
        return self.definition(run).group

    def maker(self, version: str) -> Run | None:
        """The run that made a version, which is named by its id. The ledger tells: a tag may name another."""
        try:
            definition, _, number = version.rsplit("/", 2)
            reserved = self.ledger.reservation(definition, Version.parse(number))
        except ValueError:  # a number that is none of ours
            return None
        loaded = self.runs.load(reserved.run) if reserved else None
        return loaded[0] if loaded and loaded[0].version == number else None

    def listing(self, at: DefinitionId) -> Listing:
        """The versions of a definition; none where it is not there, for then nothing was published yet."""
        try:
            return self.compute.versions(at)
        except NotFound:
            return Listing(now(), [])

    def targets(self, run: Run) -> list[Target]:
        """The regions the run's version is to be in."""
        return [
            Target(region.name, region.replicas, region.storage.value)
            for region in self.catalog.target_regions(run.image)
        ]


def connect(settings: Settings, catalog: Catalog) -> Context:
    """A context over the accounts that `settings` name. Nothing is called yet."""
    identity = credential()
    tables = Tables(settings.table_endpoint, identity)
    return Context(
        settings=settings,
        catalog=catalog,
        blobs=Blobs(settings.blob_endpoint, identity),
        queues=Queues(settings.queue_endpoint, identity),
        compute=Compute(settings.arm_endpoint, settings.arm_audience, identity, settings.api_versions),
        topic=Topic(settings.events_endpoint, identity),
        runs=RunStore(tables),
        ledger=Ledger(tables),
        sources=Sources(tables),
        requests=Requests(tables),
        holds=Holds(tables),
        turns=Turns(tables),
        judgements=Judgements(tables),
        line=LineStore(tables),
        audit=Audit(tables),
        entra=Entra(settings.api_authority, str(settings.api_tenant_id), settings.api_client_id)
        if settings.api_client_id
        else None,
    )


@cache
def context() -> Context:
    """The context of this process, made at first use. Raises SettingsError or CatalogError."""
    settings = load_settings()
    return connect(settings, load_catalog(settings.catalog, settings.galleries_only_in))
