"""The life of a version from the command line: against the real function app, by its users' words and exit codes."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from pipeline.cli.app import app
from sandbox import disk
from sandbox.host.keys import Keys
from tests.azure import Azure
from tests.cli.command import Ended
from tests.cli.test_commands import run as run_as_process
from tests.conftest import PROMOTED

pytestmark = pytest.mark.timeout(180)
RULE = f"{PROMOTED}-to-production"


def run(azure: Azure, *arguments: str) -> Ended:
    """Run `gallerist` in this process: these commands sign in with the key alone."""
    env = {
        "GALLERIST_URL": azure.sandbox.endpoints["functions"],
        "GALLERIST_KEY": Keys.load(azure.state).function,
        "COLUMNS": "240",
    }
    done = CliRunner().invoke(app, list(arguments), env=env)
    return Ended(done.exit_code, done.stdout, done.stderr)


@pytest.fixture(scope="module")
def version(hosted: Azure, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A published version of the image with a promotion rule."""
    vhd = disk.make_vhd(tmp_path_factory.mktemp("life") / "x.vhd", 20)
    sent = run_as_process(hosted, "upload", vhd, "--image", PROMOTED, "--json").json
    done = run(hosted, "publish", PROMOTED, "--blob", sent["blob"], "--wait", "--json")
    assert done.json["state"] == "published", done.err
    return f"{PROMOTED}@{done.json['version']}"


def test_a_version_is_judged_approved_promoted_and_withdrawn(hosted: Azure, version: str) -> None:
    waits = run(hosted, "promote", PROMOTED, "--dry-run")
    assert waits.code == 1
    assert "it has no verdict tests, passed is required; nobody has approved of it" in waits.out

    for words in (("verdict", version, "passed"), ("approve", version)):
        done = run(hosted, *words, "--wait", "--json")
        assert (done.code, done.json["state"]) == (0, "amended"), done.err
    assert "says so already" in run(hosted, "verdict", version, "passed").out

    held = run(hosted, "hold", RULE, "--why", "freeze")
    assert (held.code, "freeze" in held.out) == (0, True)
    assert run(hosted, "promote", PROMOTED).code == 1
    assert "ready" in run(hosted, "release", RULE).out
    planned = run(hosted, "promotions")
    assert f"{PROMOTED} {version.partition('@')[2]} moves to {PROMOTED}-production" in planned.out

    promoted = run(hosted, "promote", version, "--wait")
    assert promoted.code == 0, promoted.out + promoted.err
    number = version.partition("@")[2]
    assert f"{PROMOTED}-production {number}: published: promotion" in promoted.out
    assert f"nothing is newer than {number}" in run(hosted, "promote", version).out

    assert "no good version before" in run(hosted, "rollback", f"{PROMOTED}-production", "--why", "x").err
    done = run(hosted, "withdraw", version, "--why", "CVE-1", "--promoted", "--wait")
    assert done.code == 0, done.out + done.err
    assert "out of latest in every region" in done.out
    for image in (PROMOTED, f"{PROMOTED}-production"):
        assert [v["excluded_from_latest"] for v in run(hosted, "versions", image, "--json").json["versions"]] == [True]
    shown = run(hosted, "runs", "--image", f"{PROMOTED}-production", "--json").json["runs"]
    assert [(one["purpose"], one["state"]) for one in shown] == [("withdrawal", "amended"), ("promotion", "published")]
    back = run(hosted, "reinstate", version, "--why", "false alarm", "--wait")
    assert "in latest again" in back.out


def test_retention_is_planned_before_it_acts(hosted: Azure, version: str) -> None:
    planned = run(hosted, "retention", PROMOTED, "--dry-run")
    assert planned.code == 0
    assert "no rule takes any away" in planned.out
    assert run(hosted, "retention", PROMOTED, "--json", "--yes").json["dry_run"] is False


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("withdraw", "web-000@9.9.9", "--why", "x"), 3, "9.9.9"),
        (("withdraw", "web-000", "--why", "x"), 2, "IMAGE@VERSION"),
        (("withdraw", "web-000@1.0.0"), 2, "--why"),
        (("verdict", "web-000@1.0.0", "?"), 1, "outcome"),
        (("verdict", "web-000@1.0.0", "passed", "--name", "approved"), 1, "no verdict's name"),
        (("approve", "nowhere@1.0.0"), 3, 'no image "nowhere"'),
        (("rollback", "nowhere", "--why", "x"), 3, 'no image "nowhere"'),
        (("promote", "web-000"), 1, 'no rule promotes "web-000"'),
        (("hold", "nothing", "--why", "x"), 3, 'no rule "nothing"'),
        (("retention", "nowhere"), 1, 'no image "nowhere"'),
    ],
)
def test_what_cannot_be_is_said(hosted: Azure, arguments: tuple[str, ...], code: int, says: str) -> None:
    ended = run(hosted, *arguments)
    assert ended.code == code, ended
    assert says in " ".join(ended.err.replace("│", " ").split())
