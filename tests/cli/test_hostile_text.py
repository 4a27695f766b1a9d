"""Whatever a function app, a catalog or storage says, no command lets it steer the terminal or pass for another line."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from pipeline.cli.app import app
from pipeline.validation import UNSEEN
from sandbox import disk
from tests.cli.stand_in import standing_in
from tests.fuzz.test_fuzz_text import CATALOG

STEERS = re.compile(f"(?!\n)[{UNSEEN}]")
EVIL = "[red]m[/red]\x1b]0;owned\x07\x9b2J\u202e\u2066\u200b\u00ad\u061c\U000e0041\r\n\u2028\ud800FORGED"
AT = "2026-11-24T01:06:39+00:00"
REGION = {"region": EVIL, "state": EVIL, "progress": 50, "details": EVIL}
RUN = {
    "run": EVIL, "image": EVIL, "state": "failed", "version": EVIL, "definition": EVIL, "created": AT, "ended": None,
    "entered": AT, "due": AT, "note": EVIL, "reason": EVIL, "duplicate_of": None, "request_id": EVIL,
    "tags": {EVIL: EVIL}, "promotion": EVIL, "purpose": EVIL, "source": {"kind": EVIL, "id": EVIL, "etag": EVIL},
    "regions": [REGION], "history": [{"at": AT, "stage": EVIL, "note": EVIL}],
}  # fmt: skip
BRIEF = {"run": EVIL, "state": EVIL, "image": EVIL, "url": EVIL}
RULE = {
    "rule": EVIL, "from": EVIL, "to": EVIL, "have": EVIL, "moves": EVIL, "why_nothing": EVIL, "run": BRIEF,
    "held": {"at": AT, "by": EVIL, "why": EVIL}, "candidates": [{"version": EVIL, "gates": [EVIL]}],
}  # fmt: skip
VERSION = {
    "version": EVIL, "state": EVIL, "excluded_from_latest": True, "published": EVIL, "end_of_life": EVIL,
    "regions": [REGION], "run": EVIL, "source": EVIL, "tags": {EVIL: EVIL},
}  # fmt: skip
PLAN = {
    "image": EVIL, "fault": EVIL, "versions": [{"version": EVIL, "delete": True, "why": EVIL}],
    "orphans": [{"kind": EVIL, "name": EVIL, "run": EVIL}], "vhds": [EVIL],
    "done": [{"what": EVIL, "refused": EVIL}, {"what": EVIL, "refused": None}],
}  # fmt: skip
CHANGE = {
    "at": AT,
    "who": EVIL,
    "name": EVIL,
    "action": EVIL,
    "on": EVIL,
    "from": EVIL,
    "outcome": EVIL,
    "runs": [EVIL],
}
SAYS: dict[str, tuple[int, Any]] = {
    "POST publish": (202, BRIEF),
    "GET runs": (200, {"runs": [RUN, RUN | {"state": EVIL}], "next": None}),
    "GET runs/x": (200, RUN),
    "POST runs/x/retry": (202, BRIEF),
    "POST runs/x/cancel": (202, BRIEF),
    "GET images": (200, {"images": [{"image": "web", "drop": f"vhds/{EVIL}/*.vhd"}, {"image": EVIL, "drop": None}]}),
    "GET images/web/versions": (200, {"image": EVIL, "versions": [VERSION]}),
    "GET promotions": (200, {"promotions": [RULE, RULE | {"moves": None, "held": None, "candidates": []}]}),
    "POST promotions": (200, {"promotions": [RULE]}),
    "POST promotions/x/hold": (200, {"promotions": [RULE]}),
    "POST promotions/x/release": (200, {"promotions": [RULE]}),
    "POST retention": (200, {"dry_run": True, "images": [PLAN]}),
    "POST images/web/rollback": (202, {"image": EVIL, "out": EVIL, "back_to": EVIL, "runs": [BRIEF]}),
    "GET audit": (200, {"audit": [CHANGE], "next": None}),
    "*": (202, {"runs": [BRIEF]}),
}
WHY = ("--why", "x")
COMMANDS: list[tuple[str, ...]] = [
    ("publish", "web", "--snapshot", "x"),
    ("runs",),
    ("show", "x"),
    ("watch", "x"),
    ("retry", "x"),
    ("retry", "x", "--wait"),
    ("cancel", "x"),
    ("versions", "web"),
    ("audit",),
    ("verdict", "web@1.0.0", "passed"),
    ("approve", "web@1.0.0"),
    ("withdraw", "web@1.0.0", *WHY),
    ("reinstate", "web@1.0.0", *WHY),
    ("release-number", "web@1.0.0", *WHY),
    ("rollback", "web", *WHY),
    ("promote", "web"),
    ("promotions",),
    ("hold", "x", *WHY),
    ("release", "x"),
    ("retention", "--dry-run"),
    ("retention", "--yes"),
    ("upload", "VHD", "--image", "web", "--dry-run"),
    ("upload", "VHD", "--image", "nobody", "--dry-run"),
]


@pytest.fixture
def said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Runs a command against a function app that gives these answers, and looks at all it prints."""
    monkeypatch.setenv("COLUMNS", "400")
    monkeypatch.setenv("GALLERIST_STORAGE", "https://account.blob.core.windows.net")
    vhd = disk.make_vhd(tmp_path / "x.vhd", 20)

    def run(answers: dict[str, tuple[int, Any]], *arguments: str) -> str:
        with standing_in(answers) as stand_in:
            done = CliRunner().invoke(
                app,
                [str(vhd) if argument == "VHD" else argument for argument in arguments],
                env={"GALLERIST_URL": stand_in.url, "GALLERIST_KEY": "k"},
            )
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
        assert not STEERS.search(done.output), ascii(done.output)
        assert not re.search("^FORGED", done.output, re.MULTILINE), ascii(done.output)
        return done.output

    return run


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
@pytest.mark.parametrize("as_json", [(), ("--json",)], ids=["words", "json"])
def test_no_answer_steers_the_terminal(
    said: Callable[..., str], command: tuple[str, ...], as_json: tuple[str, ...]
) -> None:
    answers = SAYS | ({"*": (200, RUN)} if "--wait" in command else {})
    output = said(answers, *command, *as_json)
    if command[0] not in ("release-number", "upload") and not as_json:
        assert "[red]m[/red]" in output, "nothing of it is markup"
    if as_json and command[0] in ("runs", "show", "versions", "audit", "promotions"):
        assert json.loads(output)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 413])
@pytest.mark.parametrize("as_json", [(), ("--json",)], ids=["words", "json"])
def test_no_fault_steers_the_terminal(said: Callable[..., str], status: int, as_json: tuple[str, ...]) -> None:
    fault = {"code": EVIL, "message": EVIL, "details": [{"field": EVIL, "message": EVIL}] if status == 400 else []}
    assert "FORGED" in said({"*": (status, {"error": fault})}, "show", "x", *as_json)
    assert "owned" in said({"*": (status, EVIL.encode(errors="replace"))}, "show", "x", *as_json)


def test_no_catalog_steers_the_terminal(said: Callable[..., str], tmp_path: Path) -> None:
    catalog = tmp_path / "catalog.yaml"
    for steers in "\x85\u202e\u200b\u2066":
        for changed in ({"drop": f"vhds/{steers}/*.vhd"}, {"sources": [f"a{steers}[red]/**"]}, {f"x{steers}": 1}):
            sound = {**CATALOG, "images": {"web": CATALOG["images"]["web"] | changed}, "promotions": []}
            catalog.write_text(yaml.safe_dump(sound))
            for as_json in ((), ("--json",)):
                said({}, "catalog", "check", str(catalog), *as_json)
