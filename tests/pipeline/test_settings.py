"""App settings that are missing or wrong are all named at once."""

from __future__ import annotations

import pytest

from pipeline.cloud.api_versions import ApiVersions
from pipeline.resource_ids import ResourceGroup
from pipeline.settings import SettingsError, load_settings

ACCOUNT = "/subscriptions/0a/resourceGroups/rg/providers/Microsoft.Storage/storageAccounts/stvhd"
GROUP = "/subscriptions/0A/resourceGroups/rg-images"
ELSEWHERE = "/subscriptions/0b/resourceGroups/rg-images"


@pytest.fixture(autouse=True)
def _empty(monkeypatch: pytest.MonkeyPatch) -> None:
    for service in ("blob", "queue", "table"):
        monkeypatch.delenv(f"Storage__{service}ServiceUri", raising=False)
    for name in ("VHD_STORAGE_ACCOUNT_ID", "MANAGED_IMAGE_GROUP_ID", *API_VERSIONS):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def _storage(monkeypatch: pytest.MonkeyPatch) -> None:
    for service in ("blob", "queue", "table"):
        monkeypatch.setenv(f"Storage__{service}ServiceUri", f"https://a.{service}.core.windows.net")


def test_all_that_is_missing_or_wrong_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("Storage__queueServiceUri", "http://plain.example")
    monkeypatch.setenv("POLL_SECONDS", "soon")
    with pytest.raises(SettingsError) as fault:
        load_settings()
    said = str(fault.value)
    assert "Storage__blobServiceUri is missing" in said
    assert "Storage__tableServiceUri is missing" in said
    assert "Storage__queueServiceUri takes an https://" in said
    assert "poll_seconds" in said.lower()


def test_an_address_is_one_with_or_without_a_slash(monkeypatch: pytest.MonkeyPatch) -> None:
    for service in ("blob", "queue", "table"):
        monkeypatch.setenv(f"Storage__{service}ServiceUri", f"https://a.{service}.core.windows.net/")
    assert load_settings().blob_endpoint == "https://a.blob.core.windows.net"


@pytest.mark.usefixtures("_storage")
@pytest.mark.parametrize(
    ("account", "group", "gallery", "made_in"),
    [
        (ACCOUNT, GROUP, ELSEWHERE, GROUP),
        (ACCOUNT, GROUP + "/", GROUP, GROUP),
        (ACCOUNT, "", "/subscriptions/0A/resourceGroups/rg-gallery", "/subscriptions/0A/resourceGroups/rg-gallery"),
        (ACCOUNT, "", ELSEWHERE, None),
        ("", "", ELSEWHERE, ELSEWHERE),
        ("", GROUP, ELSEWHERE, GROUP),
    ],
    ids=["named", "slash", "beside the gallery", "gallery elsewhere", "account not known", "named, account not known"],
)
def test_managed_images_are_made_where_azure_makes_them(
    monkeypatch: pytest.MonkeyPatch, account: str, group: str, gallery: str, made_in: str | None
) -> None:
    monkeypatch.setenv("VHD_STORAGE_ACCOUNT_ID", account)
    monkeypatch.setenv("MANAGED_IMAGE_GROUP_ID", group)
    found = load_settings().managed_image_group(ResourceGroup.parse(gallery))
    assert found == (ResourceGroup.parse(made_in) if made_in else None)


@pytest.mark.usefixtures("_storage")
@pytest.mark.parametrize(
    ("account", "group", "said"),
    [
        (ACCOUNT, ELSEWHERE, ["MANAGED_IMAGE_GROUP_ID names a group in another subscription", "name a group in subscription 0a"]),
        (ACCOUNT, "rg-images", ["MANAGED_IMAGE_GROUP_ID takes a resource group's resource id", 'not "rg-images"']),
        (ACCOUNT, f"{GROUP}/providers/Microsoft.Compute/galleries/g", ["MANAGED_IMAGE_GROUP_ID takes a resource group's"]),
        ("stvhd", GROUP, ["VHD_STORAGE_ACCOUNT_ID takes a storage account's resource id", 'not "stvhd"']),
        ("stvhd", "rg", ["VHD_STORAGE_ACCOUNT_ID takes", "MANAGED_IMAGE_GROUP_ID takes"]),
    ],
)  # fmt: skip
def test_a_group_where_no_managed_image_can_be_made_is_refused(
    monkeypatch: pytest.MonkeyPatch, account: str, group: str, said: list[str]
) -> None:
    monkeypatch.setenv("VHD_STORAGE_ACCOUNT_ID", account)
    monkeypatch.setenv("MANAGED_IMAGE_GROUP_ID", group)
    monkeypatch.setenv("POLL_SECONDS", "soon")
    with pytest.raises(SettingsError) as fault:
        load_settings()
    for words in [*said, "POLL_SECONDS takes a number"]:
        assert words in str(fault.value)


API_VERSIONS = {
    "GALLERY_API_VERSION": "2024-03-03",
    "COMPUTE_API_VERSION": "2024-07-01",
    "DISK_API_VERSION": "2023-10-02",
}


@pytest.mark.usefixtures("_storage")
def test_api_versions_are_the_settings_and_no_others(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in API_VERSIONS:
        monkeypatch.setenv(name, "")  # as a template that leaves one open writes it
    assert load_settings().api_versions == ApiVersions(*API_VERSIONS.values())
    for name, value in zip(API_VERSIONS, ("2025-03-03", "2025-04-01", "2026-03-02-preview"), strict=True):
        monkeypatch.setenv(name, value)
    assert load_settings().api_versions == ApiVersions("2025-03-03", "2025-04-01", "2026-03-02-preview")


@pytest.mark.usefixtures("_storage")
@pytest.mark.parametrize(
    "wrong", ["latest", "2024-3-3", "2024-13-03", "2024-03-03&x=y", "2024-03-03-beta", "２０２４-03-03"]
)
def test_what_is_no_api_version_is_refused_by_name(monkeypatch: pytest.MonkeyPatch, wrong: str) -> None:
    for name in API_VERSIONS:
        monkeypatch.setenv(name, wrong)
    with pytest.raises(SettingsError) as fault:
        load_settings()
    for name in API_VERSIONS:
        assert f"{name} takes an api-version, a date such as 2024-03-03" in str(fault.value)
