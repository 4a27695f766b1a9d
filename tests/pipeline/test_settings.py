"""App settings that are missing or wrong are all named at once."""

from __future__ import annotations

import pytest

from pipeline.settings import SettingsError, load_settings


@pytest.fixture(autouse=True)
def _empty(monkeypatch: pytest.MonkeyPatch) -> None:
    for service in ("blob", "queue", "table"):
        monkeypatch.delenv(f"Storage__{service}ServiceUri", raising=False)


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
