"""Control of the emulator: the request log, faults, the fates of replications, and the time."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from arm_server import FAST, GROUP, LOCATION, Arm, Storage, Web, image_body, running_arm, version_body
from azure.core.exceptions import HttpResponseError, ServiceResponseError

from sandbox import tls
from sandbox.arm import replication
from sandbox.arm.clock import Clock, timestamp
from sandbox.arm.resource import Resource
from sandbox.arm.store import Store
from sandbox.identity import Identity

pytest_plugins = ["arm_fixtures"]


@pytest.fixture(scope="module")
def slow_session(
    tmp_path_factory: pytest.TempPathFactory,
    arm_identity: Identity,
    arm_storage: Storage,
    arm_certificates: tls.Certificates,
) -> Iterator[Arm]:
    """An emulator in which a version takes seconds, so that it can be watched."""
    state_dir = tmp_path_factory.mktemp("slow")
    with running_arm(state_dir, 300.0, arm_identity, arm_storage, arm_certificates) as arm:
        yield arm


@pytest.fixture
def slow_web(slow_session: Arm, request: pytest.FixtureRequest) -> Web:
    slow_session.reset()
    gallery = request.node.name.replace("[", "_").replace("]", "")
    slow_session.put_gallery(gallery)
    slow_session.put_definition(gallery)
    return Web(slow_session, gallery)


def states(version: dict[str, Any]) -> dict[str, str]:
    return {one["region"]: one["state"] for one in version["properties"]["replicationStatus"]["summary"]}


class TestRequests:
    def test_log(self, arm: Arm) -> None:
        arm.send("GET", arm.path("galleries", "none"))
        arm.send("GET", arm.path("images"))
        arm.http.get("/sandbox/faults")
        log = arm.http.get("/sandbox/requests", headers={"Authorization": ""}).json()
        assert [(one["method"], one["status"]) for one in log] == [("GET", 404), ("GET", 200)]
        assert log[0]["path"] == f"{arm.path('galleries', 'none')}?api-version=2026-03-03"
        assert set(log[0]) == {"index", "time", "method", "path", "status", "duration", "request_id"}
        assert arm.http.get("/sandbox/requests", params={"since": log[0]["index"]}).json() == log[1:]
        assert arm.http.get("/sandbox/requests", params={"path": "/images"}).json() == log[1:]
        assert arm.http.get("/sandbox/requests", params={"method": "PUT|POST"}).json() == []
        assert arm.http.get("/sandbox/requests", params={"path": "("}).status_code == 400
        assert arm.http.delete("/sandbox/requests").status_code == 204
        assert arm.http.get("/sandbox/requests").json() == []


class TestFaults:
    def add(self, arm: Arm, *rules: dict[str, Any]) -> list[int]:
        answer = arm.http.post("/sandbox/faults", json=list(rules))
        assert answer.status_code == 201, answer.text
        ids: list[int] = answer.json()["ids"]
        return ids

    def test_status(self, arm: Arm) -> None:
        rule = {
            "method": "PUT",
            "path": "/galleries/[^/]+$",
            "status": 429,
            "headers": {"Retry-After": "2"},
            "times": 2,
        }
        (number,) = self.add(arm, rule)
        path = arm.path("galleries", "galFault")
        assert arm.send("GET", path).status_code == 404
        for _ in range(2):
            struck = arm.send("PUT", path, json={"location": LOCATION})
            assert (struck.status_code, struck.headers["Retry-After"]) == (429, "2")
            assert struck.json()["error"]["code"] == "TooManyRequests"
        assert arm.send("PUT", path, json={"location": LOCATION}).status_code == 201
        assert arm.http.get("/sandbox/faults").json() == [{"id": number, "hits": 2, **rule}]
        log = arm.http.get("/sandbox/requests").json()
        assert [one["status"] for one in log] == [404, 429, 429, 201]

    def test_body(self, arm: Arm) -> None:
        self.add(arm, {"status": 503, "body": {"error": {"code": "ServerBusy", "message": "later"}}})
        with pytest.raises(HttpResponseError) as failed:
            arm.compute.galleries.get(GROUP, "none")
        assert (failed.value.status_code, failed.value.error.code) == (503, "ServerBusy")

    def test_retries_of_the_sdk_get_through(self, arm: Arm) -> None:
        self.add(arm, {"path": "galRetried", "status": 500, "times": 2})
        client = arm.client(retry_total=3, retry_backoff_factor=0)
        client.galleries.begin_create_or_update(GROUP, "galRetried", {"location": LOCATION}).result()
        assert arm.http.get("/sandbox/faults").json()[0]["hits"] == 2

    def test_latency(self, arm: Arm) -> None:
        self.add(arm, {"latency": 0.3, "times": 1})
        started = time.perf_counter()
        assert arm.send("GET", arm.path("galleries", "none")).status_code == 404
        assert time.perf_counter() - started >= 0.3
        assert arm.http.get("/sandbox/requests").json()[0]["duration"] >= 0.3

    @pytest.mark.parametrize(("drop", "status"), [("before", 404), ("after", 200)])
    def test_drop(self, arm: Arm, drop: str, status: int) -> None:
        path = arm.path("galleries", f"galDrop{drop}")
        self.add(arm, {"method": "PUT", "drop": drop, "times": 2})
        with pytest.raises(httpx.TransportError):
            arm.send("PUT", path, json={"location": LOCATION})
        assert arm.send("GET", path).status_code == status
        with pytest.raises(ServiceResponseError):
            arm.compute.galleries.begin_create_or_update(GROUP, f"galDrop{drop}", {"location": LOCATION})
        assert arm.send("PUT", path, json={"location": LOCATION}).status_code in (200, 201)
        assert arm.http.get("/sandbox/requests").json()[0]["status"] is None

    def test_probability_is_repeatable(self, arm: Arm) -> None:
        def strike() -> list[int]:
            self.add(arm, {"probability": 0.5, "seed": 7, "status": 500})
            found = [arm.send("GET", arm.path("galleries", "none")).status_code for _ in range(30)]
            arm.http.delete("/sandbox/faults")
            return found

        first = strike()
        assert first == strike()
        assert 5 < first.count(500) < 25

    @pytest.mark.parametrize(
        ("rule", "field"),
        [
            ({}, "one of status, latency and drop is required"),
            ({"status": 99}, "status"),
            ({"status": 500, "times": 0}, "times"),
            ({"status": 500, "path": "("}, "path"),
            ({"status": 500, "probability": 2}, "probability"),
            ({"drop": "sometimes"}, "drop"),
            ({"status": 500, "methd": "PUT"}, "methd"),
        ],
    )
    def test_bad_rules(self, arm: Arm, rule: dict[str, Any], field: str) -> None:
        answer = arm.http.post("/sandbox/faults", json=rule)
        assert answer.status_code == 400
        assert field in answer.text
        assert arm.http.get("/sandbox/faults").json() == []


class TestReplication:
    def fate(self, arm: Arm, path: str | None = None, **regions: dict[str, Any]) -> None:
        rule: dict[str, Any] = {"regions": {name.replace("any", "*"): fate for name, fate in regions.items()}}
        answer = arm.http.post("/sandbox/replication", json=rule | ({"path": path} if path else {}))
        assert answer.status_code == 201, answer.text

    def test_progress(self, slow_web: Web, arm_vhd: str) -> None:
        image = slow_web.arm.put_image("imgSlow", arm_vhd)
        self.fate(slow_web.arm, westeurope={"seconds": 0.4}, northeurope={"seconds": 0.8})
        answer = slow_web.put("1.0.0", version_body(image, "northeurope", LOCATION))
        busy = slow_web.put("1.0.0", version_body(image))
        assert (busy.status_code, busy.json()["error"]["code"]) == (409, "Conflict")
        seen: list[dict[str, Any]] = []
        while True:
            version = slow_web.get("1.0.0")["properties"]
            seen.append(version["replicationStatus"])
            if version["provisioningState"] != "Creating":
                break
            time.sleep(0.02)
        assert slow_web.arm.finish(answer)["status"] == "Succeeded"
        assert seen[0]["aggregatedState"] == "InProgress"
        assert seen[-1]["aggregatedState"] == "Completed"
        for region in (0, 1):
            progress = [status["summary"][region]["progress"] for status in seen]
            assert progress == sorted(progress)
            assert progress[0] < 50
            assert len(set(progress)) > 5
            for status in seen:
                one = status["summary"][region]
                assert (one["progress"] == 100) == (one["state"] == "Completed")
        # The source region is there first, wherever it stands in the list
        assert any([one["state"] for one in status["summary"]] == ["Replicating", "Completed"] for status in seen)

    def test_failed_region_and_its_repair(self, arm_web: Web, arm_image: str) -> None:
        self.fate(arm_web.arm, northeurope={"seconds": 0, "outcome": "Failed", "fails_at": 40, "times": 1})
        regions = (LOCATION, "northeurope")
        operation = arm_web.arm.finish(arm_web.put("1.0.0", version_body(arm_image, *regions)))
        assert operation["status"] == "Failed"
        assert operation["error"]["message"] == (
            "Gallery replication jobs failed in one or more regions. The failing regions' details are as follows: "
            "'{region:northeurope, detail:Failed with internal server error.}'. If retry does not work, then please do "
            "an update by removing the failed regions and update again by adding them back."
        )
        failed = arm_web.get("1.0.0")
        assert failed["properties"]["provisioningState"] == "Failed"
        assert failed["properties"]["replicationStatus"]["aggregatedState"] == "Failed"
        assert failed["properties"]["replicationStatus"]["summary"][1] == {
            "region": "northeurope",
            "state": "Failed",
            "details": "Failed with internal server error.",
            "progress": 40,
        }
        dropped = arm_web.made("1.0.0", version_body(None, LOCATION))
        assert dropped["properties"]["provisioningState"] == "Succeeded"
        assert states(dropped) == {"westeurope": "Completed"}
        healed = arm_web.made("1.0.0", version_body(None, *regions))
        assert healed["properties"]["provisioningState"] == "Succeeded"
        assert states(healed) == {"westeurope": "Completed", "northeurope": "Completed"}

    def test_retry_of_a_failed_region(self, arm_web: Web, arm_image: str) -> None:
        self.fate(arm_web.arm, any={"seconds": 0, "outcome": "Failed", "details": "full", "times": 1})
        failed = arm_web.made("1.0.0", version_body(arm_image))
        assert failed["properties"]["replicationStatus"]["summary"][0]["details"] == "full"
        assert arm_web.made("1.0.0", version_body(None))["properties"]["provisioningState"] == "Succeeded"

    def test_added_region_starts_over(self, arm_web: Web, arm_image: str) -> None:
        arm_web.made("1.0.0", version_body(arm_image, LOCATION, "eastus"))
        dropped = version_body(None, LOCATION)
        dropped["properties"]["safetyProfile"] = {"allowDeletionOfReplicatedLocations": True}
        arm_web.made("1.0.0", dropped)
        self.fate(arm_web.arm, eastus={"seconds": 0.3})
        answer = arm_web.put("1.0.0", version_body(None, LOCATION, "eastus"))
        assert states(arm_web.get("1.0.0")) == {"westeurope": "Completed", "eastus": "Replicating"}
        arm_web.arm.finish(answer)
        assert states(arm_web.get("1.0.0")) == {"westeurope": "Completed", "eastus": "Completed"}

    def test_stalled_region(self, arm_web: Web, arm_image: str) -> None:
        self.fate(arm_web.arm, eastus={"seconds": 0, "outcome": "Stalled", "fails_at": 30})
        answer = arm_web.put("1.0.0", version_body(arm_image, LOCATION, "eastus"))
        time.sleep(0.2)
        assert arm_web.arm.http.get(answer.headers["Azure-AsyncOperation"]).json()["status"] == "InProgress"
        version = arm_web.get("1.0.0")["properties"]
        assert version["provisioningState"] == "Creating"
        assert version["replicationStatus"]["summary"][1] == {
            "region": "eastus",
            "state": "Replicating",
            "progress": 30,
        }
        deleted = arm_web.arm.send("DELETE", arm_web.path("1.0.0"))
        assert deleted.status_code == 202
        assert arm_web.arm.http.get(answer.headers["Azure-AsyncOperation"]).json()["status"] == "Canceled"
        assert arm_web.arm.finish(deleted)["status"] == "Succeeded"

    def test_rules_choose_their_versions(self, arm_web: Web, arm_image: str) -> None:
        self.fate(arm_web.arm, path="/versions/2\\.", any={"seconds": 0, "outcome": "Failed"})
        first = arm_web.made("1.0.0", version_body(arm_image))
        second = arm_web.made("2.0.0", version_body(arm_image))
        assert [one["properties"]["provisioningState"] for one in (first, second)] == ["Succeeded", "Failed"]
        assert arm_web.arm.http.delete("/sandbox/replication").status_code == 204
        assert arm_web.arm.http.get("/sandbox/replication").json() == []

    @pytest.mark.parametrize(
        ("rule", "field"),
        [
            ({}, "regions"),
            ({"regions": {"atlantis": {}}}, "atlantis"),
            ({"regions": {"eastus": {"outcome": "Lost"}}}, "outcome"),
            ({"regions": {"eastus": {"seconds": -1}}}, "seconds"),
            ({"regions": {"eastus": {"fails_at": 100}}}, "fails_at"),
            ({"regions": {"eastus": {}}, "path": "("}, "path"),
        ],
    )
    def test_bad_rules(self, arm: Arm, rule: dict[str, Any], field: str) -> None:
        answer = arm.http.post("/sandbox/replication", json=rule)
        assert answer.status_code == 400
        assert field in answer.text

    def test_deletion_marks_the_version(self, slow_web: Web, arm_vhd: str) -> None:
        image = slow_web.arm.put_image("imgMarked", arm_vhd)
        self.fate(slow_web.arm, any={"seconds": 0})
        slow_web.made("1.0.0", version_body(image))
        deleted = slow_web.arm.send("DELETE", slow_web.path("1.0.0"))
        assert slow_web.get("1.0.0")["properties"]["provisioningState"] == "Deleting"
        refused = slow_web.put("1.0.0", version_body(image)).json()["error"]
        assert refused["code"] == "OperationNotAllowed"
        assert "since it is marked for deletion" in refused["message"]
        nested = slow_web.arm.send("DELETE", slow_web.arm.path("galleries", slow_web.gallery, "images", "web"))
        assert nested.status_code == 409
        monitored = slow_web.arm.http.get(deleted.headers["Location"])
        assert (monitored.status_code, monitored.content) == (202, b"")
        slow_web.arm.finish(deleted)
        assert slow_web.put("1.0.0", version_body(image)).status_code == 201


DAY = 86_400.0


class TestClock:
    """Time that is moved on. Each has an emulator of its own, since time does not go back."""

    @pytest.fixture
    def real(
        self,
        tmp_path: Path,
        arm_identity: Identity,
        arm_storage: Storage,
        arm_certificates: tls.Certificates,
    ) -> Iterator[Arm]:
        """An emulator as slow as Azure."""
        with running_arm(tmp_path / "real", 1.0, arm_identity, arm_storage, arm_certificates) as arm:
            yield arm

    @staticmethod
    def advance(arm: Arm, seconds: float) -> None:
        assert arm.http.post("/sandbox/clock", json={"advance": seconds}).status_code == 200

    @staticmethod
    def date(answer: httpx.Response) -> datetime:
        (date,) = answer.headers.get_list("Date")
        assert date.endswith(" GMT")
        return parsedate_to_datetime(date)

    @staticmethod
    def near(instant: datetime | str, other: datetime) -> bool:
        instant = datetime.fromisoformat(instant) if isinstance(instant, str) else instant
        return abs(instant - other) < timedelta(seconds=20)

    def web(self, arm: Arm, **gallery: Any) -> Web:
        """A definition in a gallery, made in as much time as they take."""
        at = arm.path("galleries", "gal")
        body = {"location": LOCATION, "properties": gallery}
        assert arm.send("PUT", at, json=body).status_code == 201
        identifier = {"publisher": "Contoso", "offer": "web", "sku": "web"}
        definition = {"osType": "Linux", "osState": "Generalized", "hyperVGeneration": "V2", "identifier": identifier}
        body = {"location": LOCATION, "properties": definition}
        assert arm.send("PUT", f"{at}/images/web", json=body).status_code == 201
        self.advance(arm, 10)
        return Web(arm, "gal")

    def image(self, arm: Arm, vhd: str) -> str:
        assert arm.send("PUT", arm.path("images", "img"), json=image_body(vhd)).status_code == 201
        self.advance(arm, 60)
        return arm.path("images", "img")

    def test_every_answer_bears_one_date(self, real: Arm) -> None:
        paths = ("/sandbox/clock", "/subscriptions?api-version=2022-12-01", real.path("images", "no"), "/nothing")
        for ahead in (0, 400 * DAY):
            if ahead:
                self.advance(real, ahead)
            now = datetime.now(UTC) + timedelta(seconds=ahead)
            answers = [real.http.get(path) for path in paths]
            answers.append(real.http.get(paths[1], headers={"Authorization": ""}))
            real.http.post("/sandbox/faults", json={"method": "HEAD", "status": 503}).raise_for_status()
            answers.append(real.http.head(paths[1]))
            assert {answer.status_code for answer in answers} >= {200, 400, 401, 503}
            assert all(self.near(self.date(answer), now) for answer in answers)
            assert f"{now:%Y%m%d}" in answers[1].headers["x-ms-routing-request-id"]
            assert f"{now:%Y-%m-%d}" in answers[1].headers["X-MSEdge-Ref"]

    def test_it_tells_the_time(self, real: Arm) -> None:
        told = real.http.get("/sandbox/clock").json()
        assert told.keys() == {"now", "offset"}
        assert told["offset"] == 0
        assert self.near(told["now"], datetime.now(UTC))
        moved = real.http.post("/sandbox/clock", json={"advance": 1.5})
        assert moved.json()["offset"] == 1.5
        self.advance(real, 5 * DAY)
        assert real.http.get("/sandbox/clock").json()["offset"] == 5 * DAY + 1.5
        (entry,) = real.http.get("/sandbox/requests", params={"path": "resourceGroups"}).json()
        assert self.near(entry["time"], datetime.now(UTC))

    @pytest.mark.parametrize("body", [{}, {"advance": 0}, {"advance": -1}, {"advance": "soon"}, {"advance": 1e12}])
    def test_it_only_goes_on(self, arm: Arm, body: dict[str, Any]) -> None:
        assert arm.http.post("/sandbox/clock", json=body).status_code == 400
        assert arm.http.post("/sandbox/clock", json={"advance": 1, "by": 2}).status_code == 400
        assert arm.http.delete("/sandbox/clock").status_code == 405
        assert arm.http.get("/sandbox/clock").json()["offset"] == 0

    def test_replication_and_operations_follow(self, real: Arm, arm_vhd: str) -> None:
        web = self.web(real)
        source = self.image(real, arm_vhd)
        answer = web.put("1.0.0", version_body(source, LOCATION, "eastus"))
        published = answer.json()["properties"]["publishingProfile"]["publishedDate"]
        offset = real.http.get("/sandbox/clock").json()["offset"]
        assert self.near(published, datetime.now(UTC) + timedelta(seconds=offset))
        self.advance(real, 170)
        first, second = web.get("1.0.0")["properties"]["replicationStatus"]["summary"]
        assert (first["state"], second["state"]) == ("Replicating", "Replicating")
        assert 45 <= first["progress"] <= 60
        assert 35 <= second["progress"] < first["progress"]
        url = answer.headers["Azure-AsyncOperation"]
        assert real.http.get(url).json()["status"] == "InProgress"
        self.advance(real, 600)
        done = real.http.get(url).json()
        assert done["status"] == "Succeeded"
        assert done["startTime"] == published
        assert self.near(done["endTime"], datetime.fromisoformat(published) + timedelta(seconds=370))
        assert states(web.get("1.0.0")) == {"westeurope": "Completed", "eastus": "Completed"}

    def test_end_of_life_is_reached(self, real: Arm, arm_vhd: str) -> None:
        web = self.web(real)
        source = self.image(real, arm_vhd)
        end = f"{datetime.now(UTC) + timedelta(days=180):%Y-%m-%dT%H:%M:%SZ}"
        body = version_body(source, endOfLifeDate=end)
        body["properties"]["safetyProfile"] = {"blockDeletionBeforeEndOfLife": True}
        assert web.put("1.0.0", body).status_code == 201
        self.advance(real, 179 * DAY)
        refused = real.send("DELETE", web.path("1.0.0"))
        assert refused.json()["error"]["code"] == "DeleteGalleryImageVersionBlockedBeforeEndOfLife"
        self.advance(real, DAY)
        late = web.put("2.0.0", version_body(source, endOfLifeDate=end))
        assert late.json()["error"]["message"] == "EndOfLifeDate must be set to a future date."
        assert real.send("DELETE", web.path("1.0.0")).status_code == 202

    def test_soft_deleted_versions_expire(self, real: Arm, arm_vhd: str) -> None:
        web = self.web(real, softDeletePolicy={"isSoftDeleteEnabled": True})
        assert web.put("1.0.0", version_body(self.image(real, arm_vhd))).status_code == 201
        self.advance(real, 3600)
        assert real.send("DELETE", web.path("1.0.0")).status_code == 202
        kept = real.path("galleries", "gal", "softDeletedArtifactTypes", "Images", "artifacts", "web", "versions")
        self.advance(real, 6.9 * DAY)
        (one,) = real.send("GET", kept).json()["value"]
        offset = real.http.get("/sandbox/clock").json()["offset"] - 6.9 * DAY
        deleted = datetime.now(UTC) + timedelta(seconds=offset)
        assert self.near(one["properties"]["softDeletedTime"], deleted)
        self.advance(real, 0.1 * DAY)
        assert real.send("GET", kept).json()["value"] == []

    def test_rate_limits_are_refilled(self, real: Arm) -> None:
        self.web(real)
        rule = {"policy": "GetGallery3Min", "limit": 1, "seconds": DAY}
        real.http.post("/sandbox/throttling", json=rule).raise_for_status()
        path = real.path("galleries", "gal")
        assert [real.send("GET", path).status_code for _ in range(3)][-1] == 429
        self.advance(real, DAY)
        assert real.send("GET", path).status_code == 200

    def test_tokens_live_in_real_time(self, real: Arm) -> None:
        self.advance(real, 10 * 365 * DAY)
        assert real.send("GET", real.path("images")).status_code == 200

    def test_it_outlives_a_restart(
        self,
        tmp_path: Path,
        arm_identity: Identity,
        arm_storage: Storage,
        arm_certificates: tls.Certificates,
    ) -> None:
        for times in (1, 2):
            with running_arm(tmp_path, FAST, arm_identity, arm_storage, arm_certificates) as arm:
                assert arm.http.get("/sandbox/clock").json()["offset"] == (times - 1) * DAY
                self.advance(arm, DAY)
                now = datetime.now(UTC) + timedelta(seconds=times * DAY)
                assert self.near(self.date(arm.http.get("/sandbox/clock")), now)


class TestTime:
    def test_scale(self) -> None:
        start = datetime(2025, 1, 7, 5, 56, 46, 464840, tzinfo=UTC)
        clock = Clock(100)
        assert clock.after(start, 429) == start + timedelta(seconds=4.29)
        assert [Clock(scale).retry_after(60) for scale in (1, 7, 100, 10_000)] == [60, 9, 1, 1]
        assert timestamp(start) == "2025-01-07T05:56:46.46484+00:00"
        with pytest.raises(ValueError, match="greater than 0"):
            Clock(0)

    def test_replication_grows_with_size_and_regions(self) -> None:
        start = datetime(2025, 1, 7, tzinfo=UTC)
        clock = Clock(1)

        def lasts(regions: int, size_gb: int) -> float:
            plan = replication.planned(
                [f"r{n}" for n in range(regions)], start, clock, size_gb=size_gb, shallow=False, rule_for=lambda _: None
            )
            end = replication.ends(plan.values(), start, clock, 0)
            assert end is not None
            return (end - start).total_seconds()

        assert 315 <= lasts(1, 1) < lasts(1, 30) < lasts(2, 30) < lasts(3, 127)
        assert 400 <= lasts(1, 30) <= 541


def test_concurrent_puts_make_one_version(arm_web: Web, arm_image: str) -> None:
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: arm_web.put("1.0.0", version_body(arm_image)).status_code, range(16)))
    assert answers.count(201) == 1
    assert set(answers) <= {200, 201, 409}


def test_nothing_is_kept_of_a_refused_change(tmp_path: Path) -> None:
    store = Store(tmp_path)

    def interrupted() -> None:
        with store.transaction():
            store.put("key", Resource(id="key", name="n", type="t", location="l"))
            raise InterruptedError

    with pytest.raises(InterruptedError):
        interrupted()
    assert store.resource("key") is None
    store.close()
