"""Who may control the sandbox: whoever has its token, and programs of the user who started it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import httpx
import pytest
from arm_server import Arm

from sandbox.guard import owner_of

pytest_plugins = ["arm_fixtures"]

CONTROLS = ["requests", "faults", "replication", "throttling", "denials", "lags", "paging", "clock"]
TOKEN = {"Authorization": "Bearer token"}
NOBODY = 65534
linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the kernel is asked as Linux is")


def refused(answer: httpx.Response) -> bool:
    return answer.status_code == 401 and "SANDBOX_TOKEN" in answer.json()["error"]["message"]


@linux
def test_programs_of_the_same_user_need_no_token(arm: Arm) -> None:
    for headers in ({}, {"Authorization": "Bearer of ARM"}, {"X-Forwarded-For": "8.8.8.8"}, {"Host": "localhost:1"}):
        assert arm.http.get("/sandbox/clock", headers=headers).status_code == 200, headers


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://example.com"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Host": "sandbox.example.com"},
        {"Host": "[::1"},
    ],
)
def test_a_page_that_a_browser_shows_needs_one(arm: Arm, headers: dict[str, str]) -> None:
    for name in CONTROLS:
        for method in ("GET", "POST", "DELETE"):
            assert refused(arm.http.request(method, f"/sandbox/{name}", headers=headers)), (method, name)
    assert arm.http.get("/sandbox/clock", headers=headers | TOKEN).status_code == 200
    assert refused(arm.http.get("/sandbox/clock", headers=headers | {"Authorization": "Bearer token2"}))
    assert refused(arm.http.get("/sandbox/clock", headers=headers | {"Authorization": "Basic token"}))


@linux
@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs something as another user")
@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not on the PATH")
def test_programs_of_another_user_need_one(arm: Arm) -> None:
    def status(*options: str) -> str:
        command = ["curl", "-sk", "-w", "%{http_code}", "-o", os.devnull, *options, f"{arm.url}/sandbox/clock"]
        return subprocess.run(command, user=NOBODY, capture_output=True, text=True, check=True, cwd="/").stdout

    assert status() == "401"
    assert status("-H", "X-Forwarded-For: 127.0.0.1") == "401"
    assert status("-X", "POST", "-d", '{"advance": 1}') == "401"
    assert status("-H", "Authorization: Bearer token") == "200"


HEAD = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode"


@pytest.mark.parametrize(
    ("line", "owner"),
    [
        ("1: 0100007F:1389 0100007F:01BB 01 00000000:00000000 00:00000000 00000000  1000  0 4711 1 0", 1000),
        ("1: 0100007F:1389 0100007F:01BB 01 00000000:00000000 00:00000000 00000000     0  0 4711 1 0", 0),
        # Nobody's any more: root's by the number alone
        ("1: 0100007F:1389 0100007F:01BB 06 00000000:00000000 03:00000C39 00000000     0  0 0 3 0", None),
        ("1: 0100007F:1389 0100007F:01BB 04 00000000:00000000 00:00000000 00000000     0  0 0 1 0", None),
        ("1: 0100007F:1389 0100007F:01BB 01 00000000:00000000 00:00000000 00000000     0  0 0 1 0", None),
        # The other end, and other connections
        ("1: 0100007F:01BB 0100007F:1389 01 00000000:00000000 00:00000000 00000000  1000  0 4711 1 0", None),
        ("1: 0100007F:138A 0100007F:01BB 01 00000000:00000000 00:00000000 00000000  1000  0 4711 1 0", None),
        ("1: 0100007F:1389 0100007F:01BC 01 00000000:00000000 00:00000000 00000000  1000  0 4711 1 0", None),
        # IPv4 through a socket of IPv6
        (
            f"1: {'0' * 16}FFFF00000100007F:1389 {'0' * 16}FFFF00000100007F:01BB 01 00000000:00000000 00:0 0 1000 0 4711",
            1000,
        ),
    ],
)
@pytest.mark.skipif(sys.byteorder != "little", reason="the lines are of a little-endian machine")
def test_whose_a_connection_is(line: str, owner: int | None) -> None:
    assert owner_of(("127.0.0.1", 5001), ("127.0.0.1", 443), [HEAD, line]) == owner
