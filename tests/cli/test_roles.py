"""With whose key the function app is asked, and what is said where it does not let one in."""

from __future__ import annotations

import json
from inspect import signature

import pytest
from typer.testing import CliRunner

from pipeline.access import Role
from pipeline.cli.app import app
from sandbox.host.keys import Keys
from tests.azure import Azure
from tests.cli.command import Ended
from tests.cli.stand_in import StandIn, standing_in

KEYS = {"GALLERIST_KEY": "its-own"} | {f"GALLERIST_KEY_{role.upper()}": f"key-of-{role}" for role in Role}


def run(url: str, *arguments: str, **env: str) -> Ended:
    done = CliRunner().invoke(app, list(arguments), env={"GALLERIST_URL": url, "COLUMNS": "240", **env})
    return Ended(done.exit_code, done.stdout, done.stderr)


def test_as_picks_the_key_of_a_role_before_a_command_and_after_it() -> None:
    with standing_in({"*": (200, {"runs": [], "next": None})}) as stand_in:
        for arguments, key in [
            (["runs"], "its-own"),
            *(
                ([*given], f"key-of-{role}")
                for role in Role
                for given in (["--as", role, "runs"], ["runs", "--as", role])
            ),
            (["runs"], "its-own"),
        ]:
            assert run(stand_in.url, *arguments, **KEYS).code == 0
            assert stand_in.asked[-1][2]["x-functions-key"] == key
        assert run(stand_in.url, "runs", GALLERIST_AS="tester", **KEYS).code == 0
        assert stand_in.asked[-1][2]["x-functions-key"] == "key-of-tester"


def test_a_key_that_is_not_set_and_a_role_that_is_none_are_told() -> None:
    missing = run("http://127.0.0.1:9", "--as", "tester", "runs", GALLERIST_KEY="x")
    assert missing.code == 2
    assert "set GALLERIST_KEY_TESTER to the tester's key" in missing.err
    assert run("http://127.0.0.1:9", "--as", "admin", "runs").code == 2


def test_the_help_of_what_asks_the_function_app_says_which_role_it_takes() -> None:
    told = {}
    for command in app.registered_commands:
        assert command.callback
        name = command.name or command.callback.__name__.replace("_", "-")
        if "as_role" in signature(command.callback).parameters:
            told[name] = str(command.callback.__doc__).rsplit("\n", 1)[-1]
    assert told.keys() >= {"publish", "runs", "retry", "verdict", "approve", "withdraw", "audit", "retention"}
    taken = {role: {name for name, words in told.items() if words == f"Takes the role {role}."} for role in Role}
    assert taken[Role.PUBLISHER] == {"publish", "retry", "cancel"}
    assert taken[Role.TESTER] == {"verdict"}
    assert taken[Role.APPROVER] == {"approve"}
    assert taken[Role.READER] == {"runs", "show", "watch", "versions", "promotions"}
    assert set.union(*taken.values()) == told.keys() - {"upload"}  # which asks where an image is dropped, if anything


def asked(stand_in: StandIn) -> dict[str, object]:
    return dict(json.loads(stand_in.asked[-1][3]))


def test_a_jump_and_the_release_of_a_number_are_asked_for() -> None:
    with standing_in({"*": (200, {"run": "r", "state": "imaging", "image": "web", "version": "9.0.0"})}) as stand_in:
        assert run(stand_in.url, "publish", "web", "--snapshot", "s", "--version", "9.0.0", "--jump").code == 0
        assert asked(stand_in) == {"image": "web", "source": {"snapshot": "s"}, "version": "9.0.0", "jump": True}
        assert run(stand_in.url, "publish", "web", "--snapshot", "s").code == 0
        assert "jump" not in asked(stand_in)
        done = run(stand_in.url, "release-number", "web@9.0.0", "--why", "a slip")
        assert (done.code, done.out) == (0, "the number of web@9.0.0 binds no more\n")
        assert stand_in.asked[-1][:2] == ("POST", "/api/images/web/versions/9.0.0/number-release")
        assert asked(stand_in) == {"why": "a slip"}


def test_the_audit_is_read_a_page_at_a_time() -> None:
    change = {
        "at": "2026-11-24T01:06:39+00:00", "who": "key:publisher", "name": "the publisher's key", "action": "publish",
        "on": "image web", "from": "192.0.2.1", "outcome": "done", "runs": ["r"],
    }  # fmt: skip
    with standing_in({"GET audit": (200, {"audit": [change] * 2, "next": "p2"})}) as stand_in:
        done = run(stand_in.url, "audit", "--limit", "4", "--since", "24h", "--who", "key:publisher")
        assert done.code == 0
        assert done.out.count("2026-11-24 01:06:39Z  the publisher's key (key:publisher)  publish  image web") == 4
        first, second = (path for _, path, _, _ in stand_in.asked)
        assert "who=key%3Apublisher&limit=4" in first
        assert second.endswith("&limit=2&next=p2")
        assert len(run(stand_in.url, "audit", "--limit", "2", "--json").json["audit"]) == 2


@pytest.mark.timeout(180)
def test_who_may_not_is_told_which_role_it_takes_and_who_is_unknown_how_to_be_known(hosted: Azure) -> None:
    url = hosted.sandbox.endpoints["functions"]
    keys = {f"GALLERIST_KEY_{role.upper()}": key for role, key in Keys.load(hosted.state).roles.items()}
    denied = run(url, "--as", "tester", "promotions", **keys)
    assert denied.code == 0, denied.err
    denied = run(url, "--as", "tester", "approve", "web-000@1.0.0", **keys)
    assert denied.code == 5
    assert "this takes the role approver" in denied.err
    assert "GALLERIST_KEY" not in denied.err
    assert json.loads(run(url, "approve", "web-000@1.0.0", "--as", "tester", "--json", **keys).out)["error"]["code"]
    unknown = run(url, "approve", "web-000@1.0.0", GALLERIST_KEY="wrong")
    assert unknown.code == 5
    assert "does not know who asks" in unknown.err
    assert "GALLERIST_KEY_ROLE" in unknown.err
    assert run(url, "--as", "reader", "audit", **keys).code == 5
    told = run(url, "--as", "operator", "audit", "--json", **keys)
    assert told.code == 0, told.err
