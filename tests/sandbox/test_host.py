"""The functions host as processes of their own, against Azurite over TLS."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from azure.core.exceptions import ResourceNotFoundError
from azure.storage.blob import BlobServiceClient
from azure.storage.queue import QueueClient, QueueServiceClient

from sandbox import azurite, tls
from sandbox.host.keys import Keys
from sandbox.host.timers import Schedule
from sandbox.identity import Identity
from sandbox.ports import listen

APP = Path(__file__).parent / "host_app"
START = (
    "import pathlib, socket, sys; from sandbox.host import run;"
    "run(app_dir=pathlib.Path(sys.argv[1]), http=socket.socket(fileno=int(sys.argv[2])),"
    " time_scale=float(sys.argv[3]), state_dir=pathlib.Path(sys.argv[4]))"
)


def eventually(check: Callable[[], Any], seconds: float = 20.0) -> Any:
    """What `check` gives once it gives anything true; fails after `seconds`."""
    deadline = time.monotonic() + seconds
    while not (found := check()):
        assert time.monotonic() < deadline, f"not so within {seconds} s"
        time.sleep(0.05)
    return found


@dataclass(frozen=True)
class Azure:
    environment: dict[str, str]
    blobs: BlobServiceClient
    queues: QueueServiceClient


@pytest.fixture(scope="module")
def azure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Azure]:
    folder = tmp_path_factory.mktemp("azure")
    certificates = tls.certificates(folder / "tls", public=False)
    identity = Identity(folder / "identity")
    listening = socket.create_server(("127.0.0.1", 0))
    endpoint = uvicorn.Server(uvicorn.Config(identity.app(), log_level="warning", lifespan="off"))
    serving = threading.Thread(target=endpoint.run, kwargs={"sockets": [listening]}, daemon=True)
    serving.start()
    sockets = azurite.Sockets.free()
    blob, queue, _ = sockets.ports
    storage = azurite.start(folder / "storage", sockets, certificates, folder / "azurite.log")
    blob_uri = f"https://127.0.0.1:{blob}/{azurite.ACCOUNT}"
    queue_uri = f"https://127.0.0.1:{queue}/{azurite.ACCOUNT}"
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(Path(__file__).parents[2]),
        "IDENTITY_ENDPOINT": f"http://127.0.0.1:{listening.getsockname()[1]}/msi/token",
        "IDENTITY_HEADER": identity.header,
        "REQUESTS_CA_BUNDLE": str(certificates.ca_bundle),
        "AzureWebJobsStorage__blobServiceUri": blob_uri,
        "AzureWebJobsStorage__queueServiceUri": queue_uri,
        "Work__blobServiceUri": blob_uri,
        "Work__queueServiceUri": queue_uri,
    }
    client = {"credential": identity.credential(), "connection_verify": str(certificates.ca_bundle)}
    try:
        azurite.await_ready([blob, queue], certificates)
        yield Azure(environment, BlobServiceClient(blob_uri, **client), QueueServiceClient(queue_uri, **client))
    finally:
        storage.terminate()
        storage.wait(10)
        endpoint.should_exit = True
        serving.join(10)


@dataclass
class App:
    """The test app: its instances share a port, a folder of records, and queues of their own."""

    azure: Azure
    folder: Path
    http: socket.socket
    queue: QueueClient
    settings: dict[str, str]
    hosts: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start(self, time_scale: float = 60, **settings: str) -> subprocess.Popen[bytes]:
        """Start one more instance, and wait until it says it has started."""
        log = self.folder / f"host-{len(self.hosts)}.log"
        with log.open("wb") as out:
            host = subprocess.Popen(
                [sys.executable, "-c", START, str(APP), str(self.http.fileno()), str(time_scale), str(self.folder)],
                env=self.azure.environment | self.settings | settings,
                pass_fds=[self.http.fileno()],
                stderr=out,
            )
        self.hosts.append(host)
        eventually(lambda: host.poll() is not None or b'"host started"' in log.read_bytes())
        assert host.poll() is None, log.read_text()
        return host

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.http.getsockname()[1]}"

    @property
    def keys(self) -> Keys:
        return Keys.load(self.folder)

    def records(self, function: str, **facts: object) -> list[dict[str, Any]]:
        path = self.folder / "records"
        lines = path.read_text().splitlines() if path.exists() else []
        found = [json.loads(line) for line in lines if line]
        return [one for one in found if one["function"] == function and facts.items() <= one.items()]

    def log(self, number: int = 0) -> list[dict[str, Any]]:
        lines = (self.folder / f"host-{number}.log").read_text().splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]


@pytest.fixture
def app(azure: Azure, tmp_path: Path) -> Iterator[App]:
    name = uuid.uuid4().hex[:12]
    settings = {
        "TEST_FOLDER": str(tmp_path),
        "WORK_QUEUE": f"work-{name}",
        "TICK": "0 0 0 1 1 *",
        "AzureFunctionsWebHost__hostid": name,
    }
    with socket.create_server(("127.0.0.1", 0)) as http:
        made = App(azure, tmp_path, http, azure.queues.get_queue_client(settings["WORK_QUEUE"]), settings)
        try:
            yield made
        finally:
            (tmp_path / "release").touch()
            for host in made.hosts:
                if host.poll() is None:
                    host.kill()
                host.wait(10)


def empty(queue: QueueClient) -> bool:
    try:
        return queue.get_queue_properties().approximate_message_count == 0
    except ResourceNotFoundError:
        return False


def peeked(queue: QueueClient) -> list[str]:
    try:
        return [str(message.content) for message in queue.peek_messages(max_messages=32)]
    except ResourceNotFoundError:
        return []


class TestQueues:
    def test_a_message_is_given_as_the_worker_gives_it_and_deleted(self, app: App) -> None:
        app.start()  # the queue is not there yet: the host waits for it
        app.queue.create_queue()
        sent = app.queue.send_message('{"a": "é"}')
        (seen, _) = eventually(lambda: len(app.records("work")) == 2 and app.records("work"))
        assert (seen["text"], seen["id"], seen["dequeues"]) == ('{"a": "é"}', sent.id, 1)
        inserted, visible, expires = (datetime.fromisoformat(one) for one in seen["times"])
        assert inserted < visible < expires == inserted + timedelta(days=7)
        assert visible - inserted < timedelta(seconds=20)
        assert seen["context"][0] == "work"
        assert seen["context"][2] == str(APP)
        eventually(lambda: empty(app.queue))
        finished = [line for line in app.log() if line["event"] == "invocation finished"]
        assert [(line["function"], line["outcome"]) for line in finished] == [("work", "succeeded")]
        assert finished[0]["invocation"] == seen["context"][1]

    def test_a_failing_message_is_tried_maxdequeuecount_times_then_poisoned(self, app: App) -> None:
        poison = app.azure.queues.get_queue_client(app.queue.queue_name + "-poison")
        app.queue.create_queue()
        app.queue.send_message("fail")
        app.start()
        assert eventually(lambda: peeked(poison)) == ["fail"]
        assert [one["dequeues"] for one in app.records("work")] == [1, 2, 3]
        eventually(lambda: empty(app.queue))
        assert [one["reason"] for one in app.log() if "poison" in one] == ["failed for the last time"]
        failed = next(line for line in app.log() if line.get("outcome") == "failed")
        assert "RuntimeError: as asked" in failed["exception"]

    def test_visibility_timeout_is_the_pause_after_a_failure(self, app: App) -> None:
        app.queue.create_queue()
        app.queue.send_message("fail")
        app.start(AzureFunctionsJobHost__extensions__queues__visibilityTimeout="00:00:02")
        first, second = eventually(lambda: app.records("work")[1:2] and app.records("work")[:2])
        assert 2 <= second["at"] - first["at"] < 5

    def test_what_is_not_base64_is_poisoned_without_an_invocation(self, app: App) -> None:
        poison = app.azure.queues.get_queue_client(app.queue.queue_name + "-poison")
        app.queue.create_queue()
        app.queue.send_message("plain: text")
        app.queue.send_message("aGVsbG8=")
        app.start(AzureFunctionsJobHost__extensions__queues__messageEncoding="base64")
        assert eventually(lambda: peeked(poison)) == ["plain: text"]
        eventually(lambda: empty(app.queue))
        assert [one["text"] for one in app.records("work") if "text" in one] == ["hello"]

    def test_what_was_dequeued_too_often_is_poisoned_without_an_invocation(self, app: App) -> None:
        poison = app.azure.queues.get_queue_client(app.queue.queue_name + "-poison")
        app.queue.create_queue()
        app.queue.send_message("worn out")
        for _ in range(3):
            taken = app.queue.receive_message()
            assert taken is not None
            app.queue.update_message(taken.id, taken.pop_receipt, visibility_timeout=0)
        app.start()
        assert eventually(lambda: peeked(poison)) == ["worn out"]
        assert app.records("work") == []

    def test_concurrency_ends_at_batch_size_plus_threshold(self, app: App) -> None:
        app.queue.create_queue()
        for number in range(6):
            app.queue.send_message(f"hold {number}")
        limits = {
            "AzureFunctionsJobHost__extensions__queues__batchSize": "2",
            "AzureFunctionsJobHost__extensions__queues__newBatchThreshold": "1",
        }
        app.start(**limits, PYTHON_THREADPOOL_THREAD_COUNT="8")
        # Two are fetched; two in work is more than the threshold of one, so no more are.
        eventually(lambda: len(app.records("work")) == 2)
        assert len(peeked(app.queue)) == 4
        (app.folder / "release").touch()
        eventually(lambda: empty(app.queue))
        assert len([one for one in app.records("work") if "ended" in one]) == 6

    def test_asynchronous_functions(self, app: App) -> None:
        queue = app.azure.queues.get_queue_client(app.queue.queue_name + "-async")
        queue.create_queue()
        for number in range(20):
            queue.send_message(str(number))
        app.start()
        eventually(lambda: empty(queue))
        assert sorted(int(one["text"]) for one in app.records("later")) == list(range(20))

    def test_the_message_of_a_killed_instance_comes_back_and_that_of_a_living_one_stays(self, app: App) -> None:
        app.queue.create_queue()
        app.queue.send_message("hold for the killed")
        killed = app.start()  # a lease of 10 s, renewed after 5
        (first,) = eventually(lambda: app.records("work"))
        killed.kill()
        living = app.start()
        app.queue.send_message("hold for the living")
        (kept,) = eventually(lambda: app.records("work", text="hold for the living"))
        second = eventually(lambda: app.records("work", text="hold for the killed")[1:])[0]
        assert (first["dequeues"], second["dequeues"], second["process"]) == (1, 2, living.pid)
        assert 8 < second["at"] - first["at"] < 15
        eventually(lambda: time.time() - kept["at"] > 11)
        assert app.records("work", text="hold for the living") == [kept]
        assert peeked(app.queue) == []
        (app.folder / "release").touch()
        eventually(lambda: empty(app.queue))
        assert len(app.records("work", ended="hold for the living")) == 1

    def test_a_function_that_takes_too_long_has_failed(self, app: App) -> None:
        app.queue.create_queue()
        app.queue.send_message("hold")
        app.start(AzureFunctionsJobHost__functionTimeout="00:00:01")
        eventually(lambda: len(app.records("work")) == 2)
        assert next(line for line in app.log() if line.get("outcome") == "timed out")["limit"] == 1

    def test_storage_that_is_away_is_waited_for(self, app: App) -> None:
        with listen() as held:
            port = held.getsockname()[1]  # of nobody, once it is let go
        app.start(Work__queueServiceUri=f"https://127.0.0.1:{port}/{azurite.ACCOUNT}")
        eventually(lambda: [line for line in app.log() if line["event"] == "listener fault"], 30)
        assert httpx.get(app.url + "/admin/host/status").json()["state"] == "Running"


class TestStop:
    def test_sigterm_lets_what_runs_end_and_takes_nothing_new(self, app: App) -> None:
        app.queue.create_queue()
        app.queue.send_message("hold")
        host = app.start()
        eventually(lambda: app.records("work"))
        host.send_signal(signal.SIGTERM)
        eventually(lambda: [line for line in app.log() if line["event"] == "host stopping"])
        app.queue.send_message("too late")
        (app.folder / "release").touch()
        assert host.wait(10) == 0
        assert len(app.records("work", ended="hold")) == 1
        assert peeked(app.queue) == ["too late"]
        assert app.queue.get_queue_properties().approximate_message_count == 1
        assert app.log()[-1]["event"] == "host stopped"

    def test_sigint_stops_an_idle_host_at_once(self, app: App) -> None:
        host = app.start()
        host.send_signal(signal.SIGINT)
        assert host.wait(5) == 0

    def test_the_port_outlives_an_instance(self, app: App) -> None:
        app.start().kill()
        with httpx.Client(timeout=20) as client:
            answered: list[httpx.Response] = []
            asking = threading.Thread(target=lambda: answered.append(client.get(app.url + "/admin/host/status")))
            asking.start()
            other = app.start()
            asking.join(20)
        assert answered[0].json()["processId"] == other.pid


class TestTimers:
    def test_one_of_several_instances_fires(self, app: App) -> None:
        for _ in range(2):
            app.start(TICK="* * * * * *")
        ticks = eventually(lambda: len(app.records("tick")) >= 4 and app.records("tick"))
        assert len({one["process"] for one in ticks}) == 1
        seconds = [int(one["at"]) for one in ticks]
        assert len(set(seconds)) == len(seconds)
        assert not any(one["past_due"] for one in ticks)

    @pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
    def test_another_instance_takes_over(self, app: App, how: signal.Signals) -> None:
        first = app.start(TICK="* * * * * *")
        eventually(lambda: app.records("tick", process=first.pid))
        second = app.start(TICK="* * * * * *")
        first.send_signal(how)
        stopped = time.time()
        eventually(lambda: app.records("tick", process=second.pid), 25)
        waited = app.records("tick", process=second.pid)[0]["at"] - stopped
        assert waited < (6 if how is signal.SIGTERM else 20)  # told to stop it frees its lease of 15 s

    def test_a_missed_occurrence_is_caught_up_once(self, app: App) -> None:
        blob = app.azure.blobs.get_blob_client(
            "azure-webjobs-hosts",
            f"timers/{app.settings['AzureFunctionsWebHost__hostid']}/Host.Functions.yearly/status",
        )
        host = app.start()
        begun = json.loads(eventually(lambda: blob.exists() and blob.download_blob().readall()))
        assert datetime.fromisoformat(begun["Next"]) == Schedule("0 0 3 1 1 *").next(datetime.now(UTC))
        host.terminate()
        assert host.wait(10) == 0
        long_ago = datetime(2020, 5, 5, tzinfo=UTC)
        missed = {"Last": long_ago, "Next": datetime(2021, 1, 1, 3, tzinfo=UTC), "LastUpdated": long_ago}
        blob.upload_blob(json.dumps(missed, default=datetime.isoformat), overwrite=True)
        for _ in range(2):
            host = app.start()
            eventually(lambda: app.records("yearly"))
            host.terminate()
            assert host.wait(10) == 0
        (caught_up,) = app.records("yearly")
        assert caught_up["past_due"]
        assert caught_up["status"]["Next"] == "2021-01-01T03:00:00Z"
        assert datetime.fromisoformat(json.loads(blob.download_blob().readall())["Next"]) > datetime.now(UTC)


class TestHttp:
    def test_routes_methods_keys_and_bodies(self, app: App) -> None:
        app.start()
        keys = app.keys
        with httpx.Client(base_url=app.url) as client:
            assert client.get("/").status_code == 200
            assert client.get("/api/nothing").status_code == 404
            assert client.get("/api/things/all").text == "all of them"
            assert client.get("/api/things/7").status_code == 401
            assert client.get("/api/things/7?code=wrong").status_code == 401
            assert client.get("/api/things/x", params={"code": keys.function}).status_code == 404
            refused = client.post("/api/things/7", params={"code": keys.function})
            assert (refused.status_code, refused.headers["allow"]) == (405, "GET, PUT")
            done = client.put(
                "/api/things/7/lid",
                params={"a": "b"},
                content="body",
                headers={"x-functions-key": keys.function, "x-sent": "seen"},
            )
            assert (done.status_code, done.headers["content-type"]) == (201, "application/json")
            assert done.headers["x-seen"] == "seen"
            assert done.json() == {"params": {"id": "7", "part": "lid"}, "query": {"a": "b"}, "body": "body"}
            assert client.get("/api/files/a/b", params={"code": keys.function}).status_code == 401
            assert client.get("/api/files/a/b", params={"code": keys.master}).text == "a/b"
            broken = client.get("/api/broken")
            assert (broken.status_code, broken.content) == (500, b"")
        assert any("a secret of the inside" in line.get("exception", "") for line in app.log())

    def test_the_first_key_counts_and_the_header_goes_before_the_query(self, app: App) -> None:
        app.start()
        keys = app.keys
        good, wrong = keys.roles["reader"], "operator.wrong"
        sent: list[tuple[list[str], str, int]] = [
            ([good], "", 201),
            ([good, wrong], "", 201),
            ([wrong, good], "", 401),
            (["", good], "", 401),
            ([], f"code={good}", 201),
            ([], f"CODE={good}&code={wrong}", 201),
            ([], f"code={wrong}&code={good}", 401),
            ([], f"code=&code={good}", 401),
            ([good], f"code={wrong}", 201),
            ([wrong], f"code={good}", 401),
            ([""], f"code={good}", 401),
        ]
        with httpx.Client(base_url=app.url) as client:
            for headers, query, status in sent:
                answer = client.get(f"/api/things/7?{query}", headers=[("x-functions-key", one) for one in headers])
                assert answer.status_code == status, (headers, query)
            for role, key in keys.roles.items():
                assert key.startswith(f"{role}.")
                assert client.get("/api/things/7", params={"code": key}).status_code == 201

    def test_what_is_said_more_than_once_is_joined_as_the_worker_gets_it(self, app: App) -> None:
        app.start()
        repeated = [("x-sent", "a"), ("x-sent", ""), ("x-sent", "b, c"), ("x-functions-key", app.keys.function)]
        with httpx.Client(base_url=app.url) as client:
            done = client.get("/api/things/7?a=1&b=&A=2&a=3", headers=repeated)
        assert done.headers["x-seen"] == "a,b, c"
        assert done.json()["query"] == {"a": "1,2,3"}

    def test_whence_a_call_came_is_said_after_what_the_caller_says(self, app: App) -> None:
        app.start()
        with httpx.Client(base_url=app.url, headers={"x-functions-key": app.keys.function}) as client:
            seen = client.get("/api/things/7").headers["x-came-from"]
            assert re.fullmatch(r"127\.0\.0\.1:\d+", seen)
            claims = [("X-Forwarded-For", "1.2.3.4"), ("X-Forwarded-For", "5.6.7.8, 9.9.9.9")]
            seen = client.get("/api/things/7", headers=claims).headers["x-came-from"]
            assert re.fullmatch(r"1\.2\.3\.4,5\.6\.7\.8, 9\.9\.9\.9, 127\.0\.0\.1:\d+", seen)

    def test_admin(self, app: App) -> None:
        host = app.start()
        master = {"x-functions-key": app.keys.master}
        with httpx.Client(base_url=app.url) as client:
            status = client.get("/admin/host/status").json()
            assert (status["state"], status["processId"]) == ("Running", host.pid)
            assert client.get("/admin/functions").status_code == 401
            functions = {one["name"]: one for one in client.get("/admin/functions", headers=master).json()}
            assert functions["work"]["trigger"] == "queueTrigger"
            assert functions["work"]["config"]["bindings"][0]["queueName"] == app.queue.queue_name

            fire = {"input": "by hand"}
            key = {"x-functions-key": app.keys.function}
            assert client.post("/admin/functions/work", json=fire).status_code == 401
            assert client.post("/admin/functions/work", json=fire, headers=key).status_code == 401
            assert client.post("/admin/functions/none", json=fire, headers=master).status_code == 404
            assert client.post("/admin/functions/work", headers=master).status_code == 400
            assert client.post("/admin/functions/yearly", json={}, headers=master).status_code == 202
            assert client.post("/admin/functions/work", json=fire, headers=master).status_code == 202
        eventually(lambda: app.records("yearly", past_due=False))
        eventually(lambda: app.records("work", text="by hand"))


def blob_created(container: str, name: str, **more: str) -> dict[str, Any]:
    return {
        "id": str(uuid.uuid4()),
        "eventType": "Microsoft.Storage.BlobCreated",
        "subject": f"/blobServices/default/containers/{container}/blobs/{name}",
        "data": {"api": "PutBlob", "blobType": "PageBlob", "eTag": "0x1", "url": f"https://acme/{container}/{name}"},
        **more,
    }


class TestBlobs:
    def test_events(self, app: App) -> None:
        container = app.azure.blobs.get_container_client("vhds")
        if not container.exists():
            container.create_container()
        container.get_blob_client("web/a.vhd").create_page_blob(1024)
        container.get_blob_client("web/bad.vhd").create_page_blob(512)
        app.start()
        url = f"{app.url}/runtime/webhooks/blobs?functionName=Host.Functions.uploaded"
        key = {"code": app.keys.blobs_extension}
        with httpx.Client() as client:
            assert client.post(url, json=[blob_created("vhds", "web/a.vhd")]).status_code == 401
            validation = {
                "eventType": "Microsoft.EventGrid.SubscriptionValidationEvent",
                "data": {"validationCode": "123"},
            }
            assert client.post(
                url, params=key | {"functionName": "Host.Functions.uploaded"}, json=[validation]
            ).json() == {"validationResponse": "123"}
            url += "&code=" + key["code"]
            handshake = client.options(url, headers={"WebHook-Request-Origin": "eventgrid.azure.net"})
            assert handshake.headers["WebHook-Allowed-Origin"] == "eventgrid.azure.net"
            assert client.post(url.replace("uploaded", "work"), json=[]).status_code == 404
            events = [
                blob_created("vhds", "web/a.vhd"),
                blob_created("vhds", "readme.txt"),
                blob_created("vhds", "web/gone.vhd"),
                blob_created("vhds", "web/bad.vhd"),
                blob_created("vhds", "web/a.vhd", eventType="Microsoft.Storage.BlobDeleted"),
            ]
            assert client.post(url, json=events).status_code == 202
            cloud_event = blob_created("vhds", "web/a.vhd", specversion="1.0", type="Microsoft.Storage.BlobCreated")
            del cloud_event["eventType"]
            assert client.post(url, json=cloud_event).status_code == 202
        poison = app.azure.queues.get_queue_client("webjobs-blobtrigger-poison")
        poisoned = json.loads(eventually(lambda: peeked(poison))[-1])
        assert (poisoned["FunctionId"], poisoned["BlobName"]) == ("Host.Functions.uploaded", "web/bad.vhd")
        internal = app.azure.queues.get_queue_client(
            f"azure-webjobs-blobtrigger-{app.settings['AzureFunctionsWebHost__hostid']}"
        )
        eventually(lambda: empty(internal))
        seen = sorted((one["blob"], one["size"]) for one in app.records("uploaded"))
        assert seen == [("web/a.vhd", 1024)] * 2 + [("web/bad.vhd", 512)] * 2

    def test_a_scan_fires_once_for_each_etag(self, app: App) -> None:
        host = app.start()  # the container is not there yet: the host waits for it
        container = app.azure.blobs.get_container_client("drops")
        if not container.exists():
            container.create_container()
        name = uuid.uuid4().hex
        blob = container.get_blob_client(name)
        first = blob.create_page_blob(512)["etag"]
        eventually(lambda: app.records("dropped", blob=name, etag=first))
        host.terminate()
        assert host.wait(10) == 0
        second = blob.upload_page(b"x" * 512, 0, 512)["etag"]
        app.start()
        eventually(lambda: app.records("dropped", blob=name, etag=second))
        assert len(app.records("dropped", blob=name)) == 2
        receipts = app.azure.blobs.get_container_client("azure-webjobs-hosts").list_blob_names(
            name_starts_with=f"blobreceipts/{app.settings['AzureFunctionsWebHost__hostid']}/Host.Functions.dropped/"
        )
        of_blob = [one for one in receipts if one.endswith(f"/drops/{name}")]
        assert {re.split("/", one)[3] for one in of_blob} == {str(etag).strip('"') for etag in (first, second)}
