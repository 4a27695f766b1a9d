"""The host's rules that need no storage: settings, schedules, routes, patterns, events, start-up errors."""

from __future__ import annotations

import json
import re
import stat
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pipeline.access import Role
from sandbox.host import index, queues
from sandbox.host.blobs import Blob, Pattern, created
from sandbox.host.http import FunctionRoute
from sandbox.host.keys import Keys
from sandbox.host.queues import _Backoff
from sandbox.host.settings import Connections, HostJson, StartError, time_span
from sandbox.host.timers import Schedule


def host_json(folder: Path, content: object, app_settings: Mapping[str, str] | None = None) -> HostJson:
    (folder / "host.json").write_text(json.dumps(content))
    return HostJson.load(folder, app_settings or {})


class TestHostJson:
    def test_defaults_are_the_real_hosts(self, tmp_path: Path) -> None:
        loaded = host_json(tmp_path, {"version": "2.0"})
        settings = loaded.extensions.queues
        assert loaded.function_timeout == timedelta(minutes=30)
        assert (settings.batch_size, settings.threshold, settings.max_dequeue_count) == (16, 8, 5)
        assert (settings.max_polling_interval, settings.visibility_timeout) == (timedelta(minutes=1), timedelta())
        assert settings.message_encoding == "base64"
        assert loaded.extensions.http.route_prefix == "api"

    def test_app_settings_change_it(self, tmp_path: Path) -> None:
        app_settings = {
            "AzureFunctionsJobHost__extensions__queues__batchSize": "2",
            "AzureFunctionsJobHost__functionTimeout": "00:00:05",
        }
        loaded = host_json(tmp_path, {"version": "2.0"}, app_settings)
        assert loaded.extensions.queues.batch_size == 2
        assert loaded.extensions.queues.threshold == 1
        assert loaded.function_timeout == timedelta(seconds=5)

    def test_timeout_may_be_unbounded(self, tmp_path: Path) -> None:
        assert host_json(tmp_path, {"version": "2.0", "functionTimeout": "-1"}).function_timeout is None

    @pytest.mark.parametrize(
        ("content", "named"),
        [
            ({}, "version"),
            ({"version": "2.0", "extensions": {"queues": {"batchSize": 33}}}, "batchSize"),
            ({"version": "2.0", "extensions": {"queues": {"messageEncoding": "utf8"}}}, "messageEncoding"),
            ({"version": "2.0", "functionTimeout": "soon"}, "functionTimeout"),
        ],
    )
    def test_what_is_wrong_is_named(self, tmp_path: Path, content: object, named: str) -> None:
        with pytest.raises(StartError, match=named):
            host_json(tmp_path, content)

    def test_time_spans(self) -> None:
        assert time_span("1.02:03:04.5") == timedelta(days=1, hours=2, minutes=3, seconds=4.5)
        for wrong in ("24:00:00", "00:60:00", "5", "00:00:60"):
            with pytest.raises(ValueError, match="TimeSpan"):
                time_span(wrong)


class TestSchedule:
    NOW = datetime(2026, 3, 14, 15, 9, 26, tzinfo=UTC)  # a Saturday

    @pytest.mark.parametrize(
        ("expression", "expected"),
        [
            ("*/5 * * * * *", datetime(2026, 3, 14, 15, 9, 30, tzinfo=UTC)),
            ("0 0 2 * * *", datetime(2026, 3, 15, 2, tzinfo=UTC)),
            ("30 16 * * *", datetime(2026, 3, 14, 16, 30, tzinfo=UTC)),
            ("0 0 3 * JAN Mon-Fri", datetime(2027, 1, 1, 3, tzinfo=UTC)),
            # Day and weekday must both match: the next 13th that is a Friday.
            ("0 0 0 13 * 5", datetime(2026, 11, 13, tzinfo=UTC)),
            ("01:30:00", datetime(2026, 3, 14, 16, 39, 26, tzinfo=UTC)),
        ],
    )
    def test_next(self, expression: str, expected: datetime) -> None:
        assert Schedule(expression).next(self.NOW) == expected

    @pytest.mark.parametrize("expression", ["", "* * *", "0 0 99 * * *", "@daily", "0 0 0 30 2 *", "00:00:00"])
    def test_refused(self, expression: str) -> None:
        with pytest.raises(ValueError, match=r"."):
            Schedule(expression)

    def test_no_status_is_kept_of_frequent_timers(self) -> None:
        assert [
            Schedule(one).too_frequent_to_monitor
            for one in ("*/10 * * * * *", "0 * * * * *", "*/10 5 * * * *", "00:00:30", "00:01:00")
        ] == [True, False, False, True, False]


class TestRoutes:
    @pytest.mark.parametrize(
        ("template", "path", "expected"),
        [
            ("api/runs/{id}", "/api/runs/7", {"id": "7"}),
            ("api/runs/{id}", "/API/Runs/7/", {"id": "7"}),
            ("api/runs/{id}", "/api/runs", None),
            ("api/runs/{id:int}", "/api/runs/x", None),
            ("api/runs/{id?}", "/api/runs", {}),
            ("api/v{major}.{minor:int}/x", "/api/va.1/x", {"major": "a", "minor": "1"}),
            ("api/files/{*path}", "/api/files/a/b.txt", {"path": "a/b.txt"}),
            ("api/files/{*path}", "/api/files", {}),
            ("/", "/", {}),
        ],
    )
    def test_match(self, template: str, path: str, expected: dict[str, str] | None) -> None:
        assert FunctionRoute(template).match(path) == expected

    def test_the_specific_goes_first(self) -> None:
        templates = ["a/{*rest}", "a/{id}", "a/b", "a/{id:int}"]
        assert sorted(templates, key=lambda one: FunctionRoute(one).rank) == [
            "a/b",
            "a/{id:int}",
            "a/{id}",
            "a/{*rest}",
        ]

    @pytest.mark.parametrize("template", ["a/{id:regex(x)}", "a/{id:odd}", "a/{id", "a/b-{*rest}"])
    def test_refused(self, template: str) -> None:
        with pytest.raises(ValueError, match="not supported"):
            FunctionRoute(template)


class TestBlobRules:
    @pytest.mark.parametrize(
        ("path", "blob", "expected"),
        [
            ("vhds/{name}", "vhds/a/b.vhd", True),
            ("vhds/{name}.vhd", "vhds/a.vhd", True),
            ("vhds/{name}.vhd", "vhds/a.vhdx", False),
            ("vhds/web/{name}", "vhds/db/a.vhd", False),
            ("vhds/{image}/{name}.vhd", "vhds/a.vhd", False),
            ("vhds", "vhds/anything", True),
            ("vhds/{name}", "other/a", False),
        ],
    )
    def test_pattern(self, path: str, blob: str, *, expected: bool) -> None:
        container, _, name = blob.partition("/")
        assert Pattern(path).matches(Blob(container, name)) is expected

    @pytest.mark.parametrize("path", ["", "{container}/{name}", "vhds/{name"])
    def test_pattern_refused(self, path: str) -> None:
        with pytest.raises(ValueError, match=r"blob path|parameter"):
            Pattern(path)

    def test_events_of_both_schemas(self) -> None:
        subject = "/blobServices/default/containers/vhds/blobs/a/blobs/b.vhd"
        data = {"blobType": "PageBlob", "eTag": "0x1"}
        events = [
            {"eventType": "Microsoft.Storage.BlobCreated", "subject": subject, "data": data},
            {"type": "Microsoft.Storage.BlobCreated", "subject": subject, "data": data},
            {"type": "Microsoft.Storage.BlobDeleted", "subject": subject, "data": data},
        ]
        assert list(created(events)) == [(Blob("vhds", "a/blobs/b.vhd"), "PageBlob", "0x1")] * 2


class TestQueueRules:
    def test_backoff_grows_at_random_up_to_the_longest(self) -> None:
        backoff = _Backoff(2.0)
        pauses = [backoff.next() for _ in range(100)]
        assert pauses[0] == 0.1
        assert 0.18 <= pauses[1] <= 0.22
        assert 0.26 <= pauses[2] <= 0.34
        assert pauses[-1] == 2.0
        backoff.reset()
        assert backoff.next() == 0.1

    def test_lease(self) -> None:
        assert [queues.lease(scale) for scale in (1, 10, 60, 1000)] == [600, 60, 10, 10]

    def test_encodings(self) -> None:
        assert queues.decode(queues.encode(b"\xff{}", "base64"), "base64") == b"\xff{}"
        assert queues.decode("plain", "none") == b"plain"
        with pytest.raises(ValueError, match=r"."):
            queues.decode("no base64!", "base64")


class TestKeys:
    def test_are_made_once_and_for_the_owner_only(self, tmp_path: Path) -> None:
        keys = Keys.load(tmp_path / "state")
        path = tmp_path / "state" / "role-keys.json"
        assert Keys.load(tmp_path / "state") == keys
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert [one.name for one in path.parent.iterdir()] == ["role-keys.json"]

    def test_levels(self, tmp_path: Path) -> None:
        keys = Keys.load(tmp_path)
        opened = {
            (level, name): keys.open(level, key)
            for level in ("anonymous", "function", "admin")
            for name, key in [("none", None), ("wrong", "é"), ("function", keys.function), ("master", keys.master)]
        }
        assert {pair for pair, is_open in opened.items() if is_open} == {
            ("anonymous", "none"), ("anonymous", "wrong"), ("anonymous", "function"), ("anonymous", "master"),
            ("function", "function"), ("function", "master"), ("admin", "master"),
        }  # fmt: skip

    def test_each_role_has_one_of_its_own(self, tmp_path: Path) -> None:
        keys = Keys.load(tmp_path)
        assert keys.roles.keys() == {str(role) for role in Role}
        assert keys.function == keys.roles["operator"]
        for role, key in keys.roles.items():
            assert re.fullmatch(rf"{role}\.[\w-]{{43}}", key)
            assert keys.open("function", key)
            assert not keys.open("admin", key)
        assert len({keys.master, keys.blobs_extension, *keys.roles.values()}) == 2 + len(Role)
        assert not keys.open("function", keys.blobs_extension)


class TestConnections:
    def test_what_is_missing_is_named(self) -> None:
        with pytest.raises(StartError, match="function f: the setting Work__queueServiceUri is missing"):
            Connections({}).queues("Work", "function f")

    def test_connection_strings_are_refused(self) -> None:
        with pytest.raises(StartError, match=r"connection string.*Work__blobServiceUri"):
            Connections({"Work": "AccountKey=…"}).blobs("Work", "function f")

    def test_account_name(self) -> None:
        client = Connections({"Work__accountName": "acme"}).queues("Work", "function f")
        assert client.url == "https://acme.queue.core.windows.net/"


HEAD = "import azure.functions as func\napp = func.FunctionApp()\n"
QUEUE = '@app.queue_trigger("msg", queue_name="q", connection="C")\n'


class TestIndex:
    @pytest.mark.parametrize(
        ("source", "message"),
        [
            ("", r"one FunctionApp at its top level; it holds 0"),
            (HEAD + (QUEUE + "def twice(msg): ...\n") * 2, r"twice"),
            (HEAD + QUEUE + "def twice(msg): ...\n" + QUEUE + "def Twice(msg): ...\n", r"more than case: .*twice"),
            (
                HEAD + '@app.queue_trigger(arg_name="msg", queue_name="%NONE%", connection="C")\ndef f(msg): ...\n',
                r"function f: the setting NONE that '%NONE%' names is missing",
            ),
            (
                HEAD + '@app.event_hub_message_trigger("e", event_hub_name="h", connection="C")\ndef f(e): ...\n',
                r"function f: the trigger eventHubTrigger is not supported",
            ),
            (
                HEAD + QUEUE + '@app.queue_output("out", queue_name="o", connection="C")\ndef f(msg, out): ...\n',
                r"function f: the binding out \(queue\) is not supported",
            ),
            (
                HEAD + '@app.blob_trigger("b", path="c/{n}", connection="C")\ndef f(b: func.InputStream): ...\n',
                r"function f: b must be declared as .*BlobClient, not .*never loads",
            ),
            (HEAD + QUEUE + "def f(msg: bytes): ...\n", r"function f: msg must be declared as .*QueueMessage or"),
            (HEAD + QUEUE + "def f(other): ...\n", r"function f: it has no parameter msg"),
            (HEAD + QUEUE + "def f(msg, extra): ...\n", r"function f: nothing is bound to .*extra"),
        ],
    )
    def test_what_is_wrong_is_named(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, message: str
    ) -> None:
        (tmp_path / "function_app.py").write_text(source)
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "path", sys.path.copy())
        monkeypatch.setitem(sys.modules, "function_app", sys)
        del sys.modules["function_app"]
        with pytest.raises(StartError, match=message):
            index.load(tmp_path, {})


@pytest.mark.parametrize(
    ("function", "message"),
    [
        ('@app.timer_trigger("t", schedule="never")\ndef f(t): ...\n', "function f: 'never' has neither five nor six"),
        ('@app.route(route="a/{b:odd}")\ndef f(req): ...\n', "function f: the route segment '{b:odd}' is not"),
        (QUEUE + "def f(msg): ...\n", "function f: the setting C__queueServiceUri is missing"),
    ],
)
def test_an_app_that_cannot_run_says_why(tmp_path: Path, function: str, message: str) -> None:
    (tmp_path / "function_app.py").write_text(HEAD + function)
    (tmp_path / "host.json").write_text('{"version": "2.0"}')
    start = (
        "import pathlib, socket, sys; from sandbox.host import run;"
        "run(app_dir=pathlib.Path(sys.argv[1]), http=socket.create_server(('127.0.0.1', 0)),"
        " state_dir=pathlib.Path(sys.argv[1]))"
    )
    environment = {"PYTHONPATH": str(Path(__file__).parents[2]), "AzureWebJobsStorage__accountName": "acme"}
    ended = subprocess.run(
        [sys.executable, "-c", start, str(tmp_path)],
        env=environment, capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    assert ended.returncode == 1
    assert f"StartError: {message}" in ended.stderr
