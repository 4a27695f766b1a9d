"""What the code needs is made, and nothing beside it: settings, queues, tables, containers, functions."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from pipeline import announce
from pipeline.catalog import load_catalog, parse_catalog
from sandbox import provision
from tests.azure import Azure
from tests.infra import code
from tests.infra.snapshots import ROOT, one, resources, settings

PLATFORM = {
    "AzureWebJobsStorage__blobServiceUri": "the Functions host, for its leases, timers and keys",
    "AzureWebJobsStorage__queueServiceUri": "the Functions host",
    "AzureWebJobsStorage__tableServiceUri": "the Functions host, for its diagnostic events",
    "AzureWebJobsStorage__credential": "the Functions host",
    "AzureWebJobsStorage__clientId": "the Functions host",
    "Storage__credential": "the queue triggers",
    "Storage__clientId": "the queue triggers",
    "APPLICATIONINSIGHTS_CONNECTION_STRING": "the Functions host",
    "APPLICATIONINSIGHTS_AUTHENTICATION_STRING": "the Functions host",
    "PYTHON_THREADPOOL_THREAD_COUNT": "the Python worker",
    "AZURE_CLIENT_ID": "DefaultAzureCredential",
    "AZURE_TOKEN_CREDENTIALS": "DefaultAzureCredential, which then tries nothing else",
}
"""App settings that others than this code read, each with who does."""


def _names(kind: str) -> set[str]:
    """The names of what the VHD account has of a kind."""
    found = resources("defaults", f"Microsoft.Storage/storageAccounts/{kind}")
    return {one["name"].rpartition("/")[2] for one in found if one["name"].split("/")[0].endswith("vhd")}


def test_each_setting_that_is_read_is_set_and_each_that_is_set_is_read() -> None:
    reads = set(code.pipeline_settings()) | code.trigger_settings()
    assert set(settings("everything")) - set(PLATFORM) == reads
    assert set(PLATFORM) <= set(settings("everything"))
    assert code.connections() == {"Storage"}, "a connection's own settings are those of Storage__"
    optional = {"VHD_STORAGE_ACCOUNT_ID", "EVENTS_ENDPOINT", "VHD_BLOB_TRIGGER", "VHD_CONTAINER"}
    sign_in = {"API_CLIENT_ID", "API_TENANT_ID", "API_AUTHORITY"}
    assert set(settings("everything")) - set(settings("defaults")) == optional | sign_in


def test_a_setting_with_a_default_is_set_to_it() -> None:
    for name, default in code.pipeline_settings().items():
        value = settings("everything")[name]
        if default is None or value.startswith("[") or (not value and name.endswith("_API_VERSION")):
            continue  # only Azure knows; or the code says it, where nothing else is chosen
        if isinstance(default, frozenset):
            assert set(value.split(",")) == default, name
            continue
        assert (float(value) if isinstance(default, int | float) else value) == (
            default if isinstance(default, int | float) else str(default)
        ), name


def test_the_timers_run_as_the_code_says() -> None:
    for name, trigger in code.functions().items():
        if trigger["type"] == "timerTrigger":
            schedules = {value for setting, value in settings("defaults").items() if setting.endswith("_SCHEDULE")}
            assert trigger["schedule"] in schedules, f"{name} runs at {trigger['schedule']}"


def test_the_example_for_func_start_has_what_is_read() -> None:
    example = json.loads((ROOT / "local.settings.json.example").read_text(encoding="utf-8"))
    known = set(code.pipeline_settings()) | code.trigger_settings() | set(PLATFORM)
    sandbox_only = {
        "FUNCTIONS_WORKER_RUNTIME",
        "IDENTITY_ENDPOINT",
        "IDENTITY_HEADER",
        "REQUESTS_CA_BUNDLE",
        "SSL_CERT_FILE",
    }
    assert set(example["Values"]) - sandbox_only <= known
    required = {name for name in code.pipeline_settings() if name.startswith("Storage__")}
    assert required | sandbox_only | {"CATALOG"} <= set(example["Values"])
    assert example["IsEncrypted"] is False


def test_the_example_is_filled_in_from_what_the_sandbox_tells(bare: Azure) -> None:
    example = json.loads((ROOT / "local.settings.json.example").read_text(encoding="utf-8"))["Values"]
    assert set(example) <= set(bare.env)
    same = {name for name, value in example.items() if bare.env[name] == value}
    assert {"FUNCTIONS_WORKER_RUNTIME", "VHD_CONTAINER", "AZURE_TOKEN_CREDENTIALS"} <= same
    assert all("<the " in example[name] for name in ("IDENTITY_HEADER", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"))


def test_each_queue_that_is_used_is_made() -> None:
    triggers = {one["queueName"] for one in code.functions().values() if one["type"] == "queueTrigger"}
    used = {name for name in triggers | set(provision.QUEUES) if not name.endswith("-poison")}
    assert _names("queueServices/queues") == used | {f"{name}-poison" for name in used}
    assert triggers <= _names("queueServices/queues")


def test_each_table_that_is_used_is_made() -> None:
    assert _names("tableServices/tables") == set(provision.TABLES)


def test_each_container_that_is_used_is_made() -> None:
    made = _names("blobServices/containers")
    dead = _uploads()["deadLetterWithResourceIdentity"]["deadLetterDestination"]["properties"]["blobContainerName"]
    catalog = parse_catalog(_example("/subscriptions/s/resourceGroups/g/providers/Microsoft.Compute/galleries/a"))
    named = {image.drop_container for image in catalog.images.values()}
    named |= {source.partition("/")[0] for image in catalog.images.values() for source in image.sources}
    assert made == named | {announce.REJECTED, dead}


def _uploads() -> dict[str, Any]:
    found: dict[str, Any] = one("defaults", "Microsoft.EventGrid/systemTopics/eventSubscriptions")["properties"]
    return found


def test_event_grid_delivers_to_a_queue_that_a_function_takes() -> None:
    destination = _uploads()["deliveryWithResourceIdentity"]["destination"]["properties"]
    assert destination["queueName"] in {one.get("queueName") for one in code.functions().values()}
    assert _uploads()["filter"]["includedEventTypes"] == ["Microsoft.Storage.BlobCreated"]
    assert _uploads()["filter"]["subjectEndsWith"] == ".vhd"
    topic = one("defaults", "Microsoft.EventGrid/systemTopics")
    assert topic["identity"]["type"] == "SystemAssigned", "a storage firewall lets in no other"


def test_what_is_kept_warm_is_a_function() -> None:
    warm = one("everything", "Microsoft.Web/sites")["properties"]["functionAppConfig"]["scaleAndConcurrency"]
    groups = {group["name"] for group in warm["alwaysReady"]}
    assert groups - {"blob"} == {"function:take_step"}
    assert "take_step" in code.functions()


def test_the_functions_host_is_told_what_the_code_counts_on() -> None:
    from pipeline import triggers

    host = json.loads((ROOT / "host.json").read_text(encoding="utf-8"))
    queues = host["extensions"]["queues"]
    assert queues["maxDequeueCount"] == triggers._MAX_DEQUEUE_COUNT
    assert queues["messageEncoding"] == "none", "the pipeline decodes by itself, and sends plain text"
    threads = queues["batchSize"] + queues["newBatchThreshold"]
    assert str(threads) == settings("defaults")["PYTHON_THREADPOOL_THREAD_COUNT"]
    assert host["extensionBundle"]["version"] == "[4.*, 5.0.0)"
    sampling = host["logging"]["applicationInsights"]["samplingSettings"]["excludedTypes"].split(";")
    assert {"Request", "Exception", "Trace"} <= set(sampling), "alerts rest on each of these"
    levels = host["logging"]["logLevel"]
    assert levels["Host.Function.Console"] == "Information", "the pipeline's own events come by there"


def _example(gallery: str) -> str:
    text = (ROOT / "catalog.yaml.example").read_text(encoding="utf-8")
    named = {"STAGING_GALLERY_ID": gallery, "PRODUCTION_GALLERY_ID": f"{gallery}b", "AZURE_LOCATION": "westeurope"}
    for name, value in named.items():
        text = text.replace(name, value)
    return text


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    (tmp_path / "infra").mkdir()
    for name in ("infra/seed-catalog.sh", "catalog.yaml.example"):
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    return tmp_path


def _seed(clone: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["sh", "infra/seed-catalog.sh"],
        cwd=clone,
        env={"PATH": os.environ["PATH"], **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_first_deployment_gets_a_catalog_of_its_galleries(clone: Path) -> None:
    gallery = "/subscriptions/s/resourceGroups/rg-x-images/providers/Microsoft.Compute/galleries/gal{}_abc"
    done = _seed(
        clone,
        STAGING_GALLERY_ID=gallery.format("Staging"),
        PRODUCTION_GALLERY_ID=gallery.format("Production"),
        AZURE_LOCATION="swedencentral",
    )
    assert done.returncode == 0, done.stderr
    catalog = load_catalog(clone / "catalog.yaml")
    assert catalog.galleries["staging"].name == "galStaging_abc"
    assert catalog.galleries["production"].name == "galProduction_abc"
    assert catalog.galleries["staging"].location == "swedencentral"


def test_a_catalog_that_is_there_stays(clone: Path) -> None:
    (clone / "catalog.yaml").write_text("mine")
    assert _seed(clone).returncode == 0
    assert (clone / "catalog.yaml").read_text() == "mine"


def test_without_galleries_no_half_a_catalog_is_left(clone: Path) -> None:
    done = _seed(clone, STAGING_GALLERY_ID="/x")
    assert done.returncode != 0
    assert "azd provision" in done.stderr
    assert not (clone / "catalog.yaml").exists()
