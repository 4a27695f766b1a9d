"""A key or a token travels to no host that it is not for."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from pipeline.cli.app import app
from pipeline.cli.hosts import own_audience, safe_url, storage_endpoint
from sandbox import disk

ELSEWHERE = [
    "https://evil.example",
    "https://account.blob.core.windows.net.evil.example",
    "https://account.blob.core.windows.net@evil.example",
    "https://evil.example\\.blob.core.windows.net",
    "https://evil.example#.blob.core.windows.net",
    "https://evil.example?.blob.core.windows.net",
    "https://blob.core.windows.net",
    "https://a.b.blob.core.windows.net",
    "https://account.blob.core.windows.net.",
    "https://account.blob.core.windows.net:8443",
    "https://account.blobxcore.windows.net",
    "https://account.file.core.windows.net",
    "https://accoun\u2460.blob.core.windows.net",
    "https://account.z1.evil.blob.storage.azure.net",
    "https://127.0.0.1.evil.example",
    "https://[::1",
    "http://account.blob.core.windows.net",
    "http://127.0.0.1:10000/devstoreaccount1",
    "ftp://account.blob.core.windows.net",
]


@pytest.mark.parametrize("url", ELSEWHERE)
def test_a_storage_token_goes_to_no_other_host(url: str) -> None:
    with pytest.raises(ValueError, match="goes to no other host"):
        storage_endpoint(url)


@pytest.mark.parametrize(
    "url",
    [
        "https://account.blob.core.windows.net",
        "https://account-secondary.blob.core.windows.net",
        "https://account.blob.core.chinacloudapi.cn",
        "https://account.blob.core.usgovcloudapi.net",
        "https://account.z31.blob.storage.azure.net",
        "https://account.blob.core.windows.net:443",
        "https://127.0.0.1:10000/devstoreaccount1",
        "https://localhost:10000",
        "https://[::1]:10000",
    ],
)
def test_it_goes_to_accounts_of_every_cloud_and_to_this_machine(url: str) -> None:
    assert storage_endpoint(url) == url
    assert storage_endpoint(url + "/") == url


def test_what_a_terminal_or_a_browser_leaves_out_of_an_address_is_left_out() -> None:
    assert storage_endpoint("https://acc\nount.blob.core.windows.net\t") == "https://account.blob.core.windows.net"


@pytest.mark.parametrize(
    "url", ["https://evil.example/vhds/x.vhd", "https://account.blob.core.windows.net@evil.example/vhds/x.vhd"]
)
def test_no_command_asks_for_a_token_for_another_host(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IDENTITY_ENDPOINT", "http://127.0.0.1:1")  # whoever asks for a token fails otherwise
    vhd = str(disk.make_vhd(tmp_path / "x.vhd", 20))
    root = url.removesuffix("/vhds/x.vhd")
    for arguments, setting in [
        (["upload", vhd, "--to", url], ""),
        (["upload", vhd, "--to", "vhds/x.vhd"], root),
        (["upload", vhd, "--to", url], root),
        (["complete", url], ""),
        (["complete", "vhds/x.vhd"], root),
    ]:
        done = CliRunner().invoke(app, arguments, env={"GALLERIST_STORAGE": setting or None, "COLUMNS": "240"})
        assert done.exit_code == 2, done.output
        assert "goes to no other host" in " ".join(done.stderr.replace("│", " ").split())


def test_a_token_for_a_service_of_azure_goes_to_no_function_app() -> None:
    for audience in (
        "https://storage.azure.com",
        "https://management.azure.com/",
        "",
        "00000000-0000-4000-8000-000000000001",
    ):
        with pytest.raises(ValueError, match="Application ID URI"):
            own_audience(audience)
    done = CliRunner().invoke(
        app, ["runs"], env={"GALLERIST_URL": "https://evil.example", "GALLERIST_AUDIENCE": "https://storage.azure.com"}
    )
    assert done.exit_code == 2
    assert "--audience" in done.stderr
    assert own_audience("api://gallerist") == "api://gallerist"


@pytest.mark.parametrize(
    "url", ["http://app.azurewebsites.net", "https://user@evil.example", "https://app/?code=1", "https://[::1", "app"]
)
def test_no_key_travels_in_the_clear_or_to_what_is_no_address(url: str) -> None:
    with pytest.raises(ValueError, match="takes an https:// address"):
        safe_url(url)
