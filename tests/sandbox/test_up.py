"""`python -m sandbox up` keeps its contract: what it writes when ready, what it stops, what it says."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
import ssl
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from sandbox import azurite
from sandbox.ports import listen
from sandbox.shell import read_env
from sandbox.up import ROOT, Options, Sandbox, SandboxError
from tests.azure import eventually

SERVICES = {"blob", "queue", "table", "arm", "identity", "functions", "ca_bundle"}


@contextmanager
def up(state_dir: Path, *options: str, umask: int = -1) -> Iterator[subprocess.Popen[str]]:
    """A sandbox as a person starts it."""
    command = [sys.executable, "-m", "sandbox", "up", "--state-dir", str(state_dir), *options]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, umask=umask
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def ready(state_dir: Path, process: subprocess.Popen[str]) -> dict[str, str]:
    def look() -> dict[str, str] | None:
        assert process.poll() is None, process.stdout.read()
        path = state_dir / "endpoints.json"
        return json.loads(path.read_text()) if path.exists() else None

    return eventually(look)


def children(pid: int) -> set[int]:
    listed = subprocess.run(["ps", "-eo", "pid,ppid"], capture_output=True, text=True, check=True).stdout
    pairs = [tuple(map(int, line.split())) for line in listed.splitlines()[1:]]
    return {child for child, parent in pairs if parent == pid}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_says_where_everything_is_and_a_signal_ends_it_all(tmp_path: Path, number: signal.Signals) -> None:
    tmp_path.chmod(0o755)
    with up(tmp_path, "--port-base", "0", "--instances", "2", umask=0) as process:
        endpoints = ready(tmp_path, process)
        assert endpoints.keys() == SERVICES
        env = read_env(tmp_path / "env")
        assert env["Storage__blobServiceUri"] == endpoints["blob"]
        assert env["REQUESTS_CA_BUNDLE"] == endpoints["ca_bundle"]
        for path in [tmp_path, *tmp_path.rglob("*")]:
            assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, f"{path} is for its owner's eyes"
        assert httpx.get(endpoints["functions"] + "/admin/host/status").json()["state"] == "Running"
        trust = ssl.create_default_context(cafile=endpoints["ca_bundle"])
        assert len(trust.get_ca_certs()) > 100, "the rest of the world is trusted too"
        page, token = {"Origin": "https://example.com"}, {"Authorization": f"Bearer {env['SANDBOX_TOKEN']}"}
        for path in ("/sandbox/clock", "/topic/events"):
            assert httpx.get(endpoints["arm"] + path, verify=trust, headers=page | token).status_code == 200
            assert httpx.get(endpoints["arm"] + path, verify=trust, headers=page).status_code == 401
        for path in ("/sandbox/clock", "/topic/events", "/subscriptions"):
            assert len(httpx.get(endpoints["arm"] + path, verify=trust).headers.get_list("Date")) == 1, path
        started = children(process.pid)
        assert len(started) == 3, "Azurite and two hosts"
        process.send_signal(number)
        assert process.wait(timeout=20) == 0
        assert not started & {pid for pid in started if Path(f"/proc/{pid}").exists()}
        for name in SERVICES - {"ca_bundle"}:
            with pytest.raises(OSError, match="refused"):
                socket.create_connection(("127.0.0.1", httpx.URL(endpoints[name]).port), timeout=2)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives a folder to another user")
def test_a_folder_of_another_user_is_refused(tmp_path: Path) -> None:
    os.chown(tmp_path, 65534, -1)
    with (
        pytest.raises(SandboxError, match="belongs to another user: give another --state-dir"),
        Sandbox(Options(state_dir=tmp_path, host=False)),
    ):
        pass


def test_a_folder_for_all_users_is_left_as_it_is(tmp_path: Path) -> None:
    tmp_path.chmod(0o1777)
    with (
        pytest.raises(SandboxError, match="is for all users: give one below it"),
        Sandbox(Options(state_dir=tmp_path, host=False)),
    ):
        pass
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o1777


def test_a_port_in_use_is_said_by_name(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = held.getsockname()[1]
        with up(tmp_path, "--port-base", str(port), "--no-host") as process:
            assert process.wait(timeout=20) == 1
            said = " ".join(process.stdout.read().split())
    assert f"port {port}, which blob wants, is in use" in said
    assert "--port-base" in said


def test_a_port_is_nobody_elses_from_the_choice_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every moment that passes before Azurite runs, another process looks for a port, and for these ports."""
    taken: list[socket.socket] = []
    start = azurite.start

    def start_late(*arguments: Any) -> subprocess.Popen[bytes]:
        chosen = {held.getsockname()[1] for held in vars(arguments[1]).values()}
        for reuse in (0, 1):
            for port in chosen:
                with socket.socket() as thief:
                    thief.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, reuse)
                    with pytest.raises(OSError, match="in use"):
                        thief.bind(("127.0.0.1", port))
        taken.extend(listen() for _ in range(200))
        assert not chosen & {one.getsockname()[1] for one in taken}
        return start(*arguments)

    monkeypatch.setattr(azurite, "start", start_late)
    try:
        with Sandbox(Options(state_dir=tmp_path, host=False, public_authorities=False)) as sandbox:
            assert httpx.get(sandbox.endpoints["arm"] + "/sandbox/clock", verify=False).status_code == 200  # noqa: S501
    finally:
        for one in taken:
            one.close()
    assert len(taken) == 200


def test_many_start_at_once(tmp_path: Path) -> None:
    def start(number: int) -> set[int]:
        with Sandbox(Options(state_dir=tmp_path / str(number), host=False, public_authorities=False)) as sandbox:
            return {httpx.URL(sandbox.endpoints[name]).port for name in SERVICES - {"ca_bundle", "functions"}}

    with ThreadPoolExecutor(6) as pool:
        ports = list(pool.map(start, range(6)))
    assert all(len(own) == 5 for own in ports)


def test_an_azurite_that_dies_is_said_at_once(tmp_path: Path) -> None:
    """Its ports are held before it runs, and are let go with it: who waits for it is refused."""
    (tmp_path / "azurite").mkdir()
    (tmp_path / "azurite/__azurite_db_blob__.json").mkdir()
    began = time.monotonic()
    with (
        pytest.raises(SandboxError, match=r"Azurite does not start: see .*azurite\.log"),
        Sandbox(Options(state_dir=tmp_path, host=False)),
    ):
        pass
    assert time.monotonic() - began < 20


def test_a_catalog_with_faults_is_said_at_once(tmp_path: Path) -> None:
    (tmp_path / "catalog.yaml").write_text("galleries: {}\nimages: {}\n")
    with up(tmp_path / "state", "--catalog", str(tmp_path / "catalog.yaml")) as process:
        assert process.wait(timeout=20) == 1
        assert "galleries" in process.stdout.read()


def test_the_pipeline_knows_nothing_of_the_sandbox() -> None:
    for path in [ROOT / "function_app.py", *(ROOT / "pipeline").rglob("*.py")]:
        assert not re.search("sandbox|azurite|devstoreaccount", path.read_text(), re.IGNORECASE), path


def test_an_answer_waits_for_no_acknowledgement() -> None:
    """With Nagle's algorithm each answer in two writes takes 40 ms, and a publish makes dozens of requests."""

    async def accepted() -> int:
        at_once: asyncio.Future[int] = asyncio.get_running_loop().create_future()

        def take(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            connection = writer.get_extra_info("socket")
            at_once.set_result(connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
            writer.close()

        with listen() as listening:
            async with await asyncio.start_server(take, sock=listening):
                _, writer = await asyncio.open_connection(*listening.getsockname())
                found = await at_once
                writer.close()
        return found

    assert asyncio.run(accepted())


def test_only_the_edge_imports_sdks() -> None:
    for path in (ROOT / "pipeline").rglob("*.py"):
        if path.parent.name != "cloud":
            assert not re.search(r"^\s*(from|import) azure\b", path.read_text(), re.MULTILINE), path
