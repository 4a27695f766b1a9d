"""Throttling, quotas, pages, lags, denials, and the ends of ARM that tools ask first."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from arm_server import GROUP, LOCATION, SUBSCRIPTION, Arm, Web, version_body
from azure.core.exceptions import HttpResponseError

from sandbox.arm import galleries, operation_urls
from sandbox.arm.cache_lag import CacheLag
from sandbox.arm.clock import Clock
from sandbox.arm.errors import ArmError
from sandbox.arm.rate_limits import RateLimits, ThrottlingRule, TooManyRequests
from sandbox.arm.resource import Pending, Resource
from sandbox.arm.store import Store

pytest_plugins = ["arm_fixtures"]

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def error(answer: Any) -> tuple[int, str, str]:
    body = answer.json()["error"]
    return answer.status_code, body["code"], body["message"]


def control(arm: Arm, name: str, rule: Any) -> None:
    answer = arm.http.post(f"/sandbox/{name}", json=rule)
    assert answer.status_code == 201, answer.text


@pytest.fixture(autouse=True)
def _leave_no_rules(arm: Arm) -> Iterator[None]:
    yield
    arm.reset()


class TestThrottling:
    def test_provider(self, arm: Arm, arm_web: Web) -> None:
        control(arm, "throttling", {"policy": "GetGalleryImageVersion30Min", "limit": 2})
        answers = [arm.send("GET", arm_web.path("1.0.0")) for _ in range(3)]
        # A 404 is the gateway's own, yet it is not seen before the provider was asked
        assert [one.status_code for one in answers] in ([404, 404, 404], [404, 404, 429])
        control(arm, "throttling", {"policy": "ListGalleryImagesInGallery3Min", "limit": 1, "seconds": 3600})
        path = arm.path("galleries", arm_web.gallery, "images")
        assert ";0," in arm.send("GET", path).headers["x-ms-ratelimit-remaining-resource"]
        struck = arm.send("GET", path)
        assert struck.status_code == 429
        assert 1 <= int(struck.headers["Retry-After"]) <= 3600
        target = "ListGalleryImagesInGallery3Min"
        assert struck.headers["x-ms-ratelimit-remaining-resource"] == f"Microsoft.Compute/{target};0"
        body = struck.json()
        assert (body["code"], body["details"][0]["code"]) == ("OperationNotAllowed", "TooManyRequests")
        assert body["details"][0]["target"] == target
        assert '"allowedRequestCount":1,"measuredRequestCount":2' in body["details"][0]["message"]
        with pytest.raises(HttpResponseError) as failed:
            list(arm.compute.gallery_images.list_by_gallery(GROUP, arm_web.gallery))
        assert failed.value.status_code == 429

    @pytest.mark.parametrize(
        ("code", "words"),
        [
            ("SubscriptionRequestsThrottled", f"Number of requests for subscription '{SUBSCRIPTION}' and operation"),
            ("ResourceCollectionRequestsThrottled", "Operation 'Microsoft.Compute/galleries/read' failed as server"),
        ],
    )
    def test_resource_manager(self, arm: Arm, code: str, words: str) -> None:
        control(arm, "throttling", {"policy": "reads", "limit": 0, "seconds": 120, "code": code})
        struck = arm.send("GET", arm.path("galleries"))
        assert error(struck)[:2] == (429, code)
        assert error(struck)[2].startswith(words)
        assert f"after '{struck.headers['Retry-After']}' seconds" in error(struck)[2]
        assert struck.headers["x-ms-failure-cause"] == "gateway"
        assert arm.send("PUT", arm.path("galleries", "galUnread"), json={"location": LOCATION}).status_code < 300

    def test_budgets_run_out_and_come_back(self) -> None:
        limits = RateLimits(Clock(10))
        for left in range(49, -1, -1):
            assert f"CreateUpdateGallery3Min;{left}," in limits.spend("s", "CreateUpdateGallery", NOW)
        with pytest.raises(TooManyRequests) as struck:
            limits.spend("s", "CreateUpdateGallery", NOW)
        assert int(struck.value.headers["Retry-After"]) <= 18
        assert "3Min;49," in limits.spend("other", "CreateUpdateGallery", NOW)
        assert "3Min;49," in limits.spend("s", "CreateUpdateGallery", NOW + timedelta(seconds=18))

    def test_buckets_refill(self) -> None:
        limits = RateLimits(Clock(1))
        for left in range(199, -1, -1):
            headers = limits.admit("s", "PUT", "x/write", NOW)
            assert headers["x-ms-ratelimit-remaining-subscription-writes"] == str(left)
        with pytest.raises(ArmError) as struck:
            limits.admit("s", "PATCH", "x/write", NOW)
        assert (struck.value.status, struck.value.headers) == (429, {"Retry-After": "1"})
        limits.admit("s", "DELETE", "x/delete", NOW)
        assert (
            limits.admit("s", "PUT", "x/write", NOW + timedelta(seconds=1))[
                "x-ms-ratelimit-remaining-subscription-writes"
            ]
            == "9"
        )

    def test_the_newest_rule_holds(self) -> None:
        rules = [ThrottlingRule(policy="writes", limit=0), ThrottlingRule(policy="writes", limit=1)]
        RateLimits(Clock(1), rules).admit("s", "PUT", "x/write", NOW)

    def test_unknown_policy(self, arm: Arm) -> None:
        answer = arm.http.post("/sandbox/throttling", json={"policy": "Everything", "limit": 1})
        assert answer.status_code == 400
        assert "no such policy" in answer.text


def test_quota(arm: Arm) -> None:
    group = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/full"
    arm.send("PUT", group, json={"location": "uksouth"})
    path = f"{group}/providers/Microsoft.Compute/galleries"
    for number in range(galleries.QUOTA):
        arm.send("PUT", f"{path}/full{number}", json={"location": "uksouth"})
    refused = arm.send("PUT", f"{path}/toomany", json={"location": "uksouth"})
    assert error(refused)[:2] == (409, "QuotaExceeded")
    assert arm.send("PUT", f"{path}/full1", json={"location": "uksouth"}).status_code == 200
    assert arm.send("PUT", f"{path}/elsewhere", json={"location": "ukwest"}).status_code == 201
    arm.send("DELETE", group)


def test_pages(arm: Arm, arm_web: Web, arm_image: str) -> None:
    names = ["1.0.0", "1.0.1", "1.0.2", "1.0.3", "1.0.4"]
    for name in names:
        arm.finish(arm_web.put(name, version_body(arm_image)))
    control(arm, "paging", {"size": 2})
    path = arm_web.path("").rstrip("/")
    first = arm.send("GET", path).json()
    assert list(first) == ["value", "nextLink"]
    assert [one["name"] for one in first["value"]] == names[:2]
    found = arm.compute.gallery_image_versions.list_by_gallery_image(GROUP, arm_web.gallery, "web")
    assert [one.name for one in found] == names
    assert arm.http.get("/sandbox/requests", params={"path": "skiptoken"}).json() != []
    control(arm, "paging", {"size": 5})
    assert list(arm.send("GET", path).json()) == ["value"]
    assert error(arm.send("GET", path, **{"$skiptoken": "%"}))[0] == 400
    assert arm.http.post("/sandbox/paging", json={"size": 0}).status_code == 400


def test_lists_out_of_the_cache(arm: Arm, arm_web: Web) -> None:
    subscription = f"/subscriptions/{SUBSCRIPTION}/providers/Microsoft.Compute/galleries"
    cached = arm.send("GET", subscription)
    assert "\n" not in cached.text
    assert "x-ms-original-request-ids" in cached.headers
    for path, version in ((arm.path("galleries"), ""), (arm_web.path("").rstrip("/"), "2023-07-03")):
        direct = arm.send("GET", path, api_version=version)
        assert direct.text.startswith("{\r\n")
        assert "x-ms-original-request-ids" not in direct.headers
    assert "\n" not in arm.send("GET", arm_web.path("").rstrip("/")).text


class TestLags:
    def test_deleted_child_is_remembered(self, arm: Arm, arm_web: Web, arm_image: str) -> None:
        control(arm, "lags", {"deleted_child": 60})
        arm_web.made("1.0.0", version_body(arm_image))
        arm.finish(arm.send("DELETE", arm_web.path("1.0.0")))
        definition = arm.path("galleries", arm_web.gallery, "images", "web")
        refused = arm.send("DELETE", definition)
        assert error(refused)[:2] == (409, "CannotDeleteResource")
        assert "/images/web/versions/1.0.0" in error(refused)[2]
        arm.http.delete("/sandbox/lags")
        assert arm.send("DELETE", definition).status_code == 202

    def test_made_anew_is_not_found(self, arm: Arm, arm_web: Web, arm_image: str) -> None:
        control(arm, "lags", {"recreated": 1})
        arm_web.made("1.0.0", version_body(arm_image))
        arm.finish(arm.send("DELETE", arm_web.path("1.0.0")))
        answer = arm_web.put("1.0.0", version_body(arm_image))
        assert (answer.status_code, arm.finish(answer)["status"]) == (201, "Succeeded")
        missing = arm.send("GET", arm_web.path("1.0.0"))
        assert error(missing)[:2] == (404, "ResourceNotFound")
        assert missing.headers["x-ms-failure-cause"] == "gateway"
        deadline = time.monotonic() + 5
        while arm.send("GET", arm_web.path("1.0.0")).status_code == 404:
            assert time.monotonic() < deadline
            time.sleep(0.05)

    def test_replication_lags_behind_its_operation(self, arm: Arm, arm_web: Web, arm_image: str) -> None:
        control(arm, "lags", {"replication": 0.5})
        assert arm.finish(arm_web.put("1.0.0", version_body(arm_image)))["status"] == "Succeeded"
        found = arm_web.get("1.0.0")["properties"]
        assert found["provisioningState"] == "Succeeded"
        assert found["replicationStatus"]["aggregatedState"] == "InProgress"
        deadline = time.monotonic() + 5
        while arm_web.get("1.0.0")["properties"]["replicationStatus"]["aggregatedState"] != "Completed":
            assert time.monotonic() < deadline
            time.sleep(0.05)

    def test_only_what_was_deleted_lately_hides(self) -> None:
        cache = CacheLag()
        cache.note_deletion("/a/b", "b", NOW)
        cache.note_creation("/a/b", NOW, NOW + timedelta(seconds=11), 10)
        assert not cache.hides("/a/b", NOW + timedelta(seconds=11))
        cache.note_creation("/a/c", NOW, NOW, 10)
        assert not cache.hides("/a/c", NOW)

    def test_bad_lags(self, arm: Arm) -> None:
        assert arm.http.post("/sandbox/lags", json={"recreated": -1}).status_code == 400
        assert arm.http.get("/sandbox/lags").json() == {"deleted_child": 0.0, "recreated": 0.0, "replication": 0.0}


class TestDenials:
    def test_direct(self, arm: Arm, arm_web: Web) -> None:
        control(arm, "denials", {"path": f"/galleries/{arm_web.gallery}", "actions": "/versions/write$"})
        refused = arm_web.put("1.0.0", version_body("x"))
        action = "Microsoft.Compute/galleries/images/versions/write"
        assert error(refused)[:2] == (403, "AuthorizationFailed")
        assert f"does not have authorization to perform action '{action}' over scope '" in error(refused)[2]
        assert arm.send("GET", arm_web.path("1.0.0")).status_code == 404

    def test_linked(self, arm: Arm, arm_web: Web, arm_image: str) -> None:
        control(arm, "denials", [{"path": "/Microsoft.Compute/images/", "actions": "read"}])
        refused = arm_web.put("1.0.0", version_body(arm_image))
        assert error(refused)[:2] == (403, "LinkedAuthorizationFailed")
        assert f"'Microsoft.Compute/images/read' on the linked scope(s) '{arm_image}'" in error(refused)[2]
        arm.http.delete("/sandbox/denials")
        assert arm_web.put("1.0.0", version_body(arm_image)).status_code == 201

    def test_bad_rule(self, arm: Arm) -> None:
        assert arm.http.post("/sandbox/denials", json={"path": "("}).status_code == 400


def test_operation_urls_are_long_and_followed(arm: Arm, arm_web: Web, arm_image: str) -> None:
    answer = arm_web.put("1.0.0", version_body(arm_image))
    url = answer.headers["Azure-AsyncOperation"]
    assert 3_000 < len(url) < 4_096
    assert arm.finish(answer)["status"] == "Succeeded"
    logged = arm.http.get("/sandbox/requests", params={"path": "capsOperations"}).json()[-1]["path"]
    assert len(logged) < 500
    assert "&c=…&s=…&h=" in logged
    assert operation_urls.legible("/a?c=short") == "/a?c=short"


def test_what_tools_ask_first(arm: Arm) -> None:
    metadata = arm.http.get("/metadata/endpoints?api-version=2022-09-01", headers={"Authorization": ""})
    assert metadata.json()["resourceManager"] == arm.url
    assert [one["tenantId"] for one in arm.send("GET", "/tenants").json()["value"]] == [arm.identity.tenant_id]
    locations = arm.send("GET", f"/subscriptions/{SUBSCRIPTION}/locations").json()["value"]
    assert ("westeurope", "West Europe") in [(one["name"], one["displayName"]) for one in locations]
    provider = arm.send("GET", f"/subscriptions/{SUBSCRIPTION}/providers/Microsoft.Compute").json()
    types = {one["resourceType"]: one["apiVersions"][0] for one in provider["resourceTypes"]}
    assert provider["registrationState"] == "Registered"
    assert types["galleries/images/versions"] == "2026-03-03"
    assert types["disks"] == "2026-03-02"
    assert error(arm.send("GET", "/subscriptions/none/locations"))[:2] == (404, "SubscriptionNotFound")


def test_rows_of_deleted_resources_are_dropped(tmp_path: Path) -> None:
    store = Store(tmp_path)
    gone = Resource(id="/a", name="a", type="t", location="l", pending=Pending(at=NOW, gone=True))
    store.put("/a", gone)
    store.put("/b", gone.model_copy(update={"id": "/b", "pending": None}))
    assert [one.id for one in store.departing()] == ["/a"]
    store.close()
