"""A log is one line of JSON an event, on standard output, short enough to be kept whole."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from pipeline.limits import CUT, LONGEST_LINE
from pipeline.logs import one_line
from sandbox.up import ROOT

SAYS = """
import sys
import structlog
from pipeline.logs import configure_logs
configure_logs()
log = structlog.get_logger()
log.info("begun", why="a run that failed before: error")
log.error("ended", image="web", note="two\\nlines \\u2028 and \\r\\n more")
try:
    secret = "hunter" + "2"
    1 / 0
except ZeroDivisionError:
    log.exception("broken")
"""


def said(program: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)


TERMINAL = """
import sys
sys.stdout.isatty = lambda: True
import structlog
from pipeline.logs import configure_logs
configure_logs()
log = structlog.get_logger()
log.info("begun", image="a\x1b]0;title\x07b", more=["\u202e\x9b2J"], note="two\\nlines\\r")
try:
    secret = "hunter" + "2"
    raise ValueError("\x1b[2Jgone")
except ValueError:
    log.exception("broken")
"""


def test_what_is_logged_to_a_terminal_steers_it_nowhere() -> None:
    done = said(TERMINAL)
    begun, *broken = re.sub(r"\x1b\[[\d;]*m", "", done.stdout).splitlines()
    assert "\\u001b]0;title\\u0007b" in begun
    assert "\\u202e\\x9b2J" in begun
    assert "two\\nlines\\r" in begun
    assert broken[-1] == "ValueError: \\u001b[2Jgone"
    assert "hunter2" not in done.stdout


def test_no_query_of_an_address_is_logged() -> None:
    sas = "https://a.blob.core.windows.net/vhds/x.vhd?sv=1&sig=SECRET"
    program = SAYS.replace("1 / 0", f"raise ZeroDivisionError({sas!r})")
    done = said(f"{program}\nlog.info('x', fault={sas!r}, more=[{{'url': {sas!r}}}])")
    assert done.stdout.count("x.vhd?...") == 3
    assert "SECRET" not in done.stdout


def line(**event: Any) -> dict[str, Any]:
    text = one_line(None, "info", event)
    assert len(text) <= LONGEST_LINE
    assert len(text.splitlines()) == 1
    read: dict[str, Any] = json.loads(text)
    return read


def test_events_are_lines_of_standard_output_and_say_their_level() -> None:
    done = said(SAYS)
    assert done.stderr == ""  # the host takes what stands there for an error by its words
    begun, ended, broken = map(json.loads, done.stdout.splitlines())
    assert (begun["event"], begun["level"]) == ("begun", "info")
    assert (ended["event"], ended["level"], ended["image"]) == ("ended", "error", "web")
    assert ended["note"] == "two\nlines \u2028 and \r\n more"
    assert broken["level"] == "error"
    assert broken["exception"][0]["exc_type"] == "ZeroDivisionError"
    assert "hunter2" not in done.stdout


def test_the_command_line_answers_on_standard_output_and_logs_nothing_there() -> None:
    logs = "import structlog; structlog.get_logger().warning('x', fault='no \\x1b[2Janswer', wait_seconds=2)"
    done = said(f"from pipeline.cli import show; show.configure_logs(); {logs}; show.say('done')")
    assert done.stdout == "done\n"
    assert done.stderr == "no \\u001b[2Janswer; asking again in 2 s\n"


def test_an_event_that_fits_is_told_whole() -> None:
    versions = [f"1.0.{n}" for n in range(2000)]
    assert line(event="retention_planned", versions=versions)["versions"] == versions


def test_a_long_event_is_cut_and_says_so() -> None:
    told = line(event="run_stage", run="web-1", image="web", level="info", note="x" * 100_000, more=list(range(50_000)))
    assert (told["event"], told["run"], told["image"], told["level"]) == ("run_stage", "web-1", "web", "info")
    assert told["note"].endswith(CUT)
    assert told["more"][-1] == "49800 more cut"


def test_an_event_of_very_many_parts_still_says_what_it_is_of() -> None:
    parts = {f"part-{n}": "x" for n in range(5000)}
    assert line(event="run_stage", run="web-1", **parts) == {"event": "run_stage", "run": "web-1", "cut": True}


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=50),
    lambda inner: st.lists(inner, max_size=40) | st.dictionaries(st.text(max_size=20), inner, max_size=40),
)


@given(VALUES, st.integers(1, 4000))
def test_every_event_is_one_line_that_is_kept_whole(value: Any, times: int) -> None:
    assert line(event="x", level="info", value=[value] * times)["event"] == "x"
