"""What ARM itself answers, before any resource provider is asked: tokens, versions, groups, headers."""

from __future__ import annotations

import re
import uuid

import pytest
from arm_server import GROUP, LOCATION, SUBSCRIPTION, Arm, Web, version_body

from sandbox.identity import STORAGE, Identity

pytest_plugins = ["arm_fixtures"]

GUID = r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"


def error(answer: object) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]  # type: ignore[attr-defined]


@pytest.mark.parametrize("path", ["/subscriptions", "/subscriptions/x/resourceGroups/y", "/nowhere"])
def test_no_token(arm: Arm, path: str) -> None:
    answer = arm.http.get(path, headers={"Authorization": ""})
    assert error(answer) == (401, "AuthenticationFailed")
    assert answer.headers["WWW-Authenticate"].startswith("Bearer authorization_uri=")
    assert answer.headers["x-ms-failure-cause"] == "gateway"


def test_bad_tokens(arm: Arm, tmp_path: object) -> None:
    codes = {
        "abc": "InvalidAuthenticationToken",
        arm.identity.token(STORAGE[0]): "InvalidAuthenticationTokenAudience",
        arm.identity.token("https://management.azure.com/", lifetime=-5): "ExpiredAuthenticationToken",
        Identity(tmp_path).token("https://management.azure.com/"): "InvalidAuthenticationToken",  # type: ignore[arg-type]
    }
    for token, code in codes.items():
        answer = arm.http.get("/subscriptions", headers={"Authorization": f"Bearer {token}"})
        assert error(answer) == (401, code)
        assert "WWW-Authenticate" in answer.headers


@pytest.mark.parametrize("audience", ["https://management.azure.com", "https://management.core.windows.net/"])
def test_both_audiences(arm: Arm, audience: str) -> None:
    headers = {"Authorization": f"Bearer {arm.identity.token(audience)}"}
    assert arm.send("GET", "/subscriptions", headers=headers).status_code == 200


def test_api_versions(arm: Arm) -> None:
    gallery = arm.path("galleries", "none")
    assert error(arm.http.get(gallery)) == (400, "MissingApiVersionParameter")
    assert error(arm.send("GET", gallery, api_version="latest")) == (400, "InvalidApiVersionParameter")
    unknown = arm.send("GET", gallery, api_version="2022-08-01")
    assert error(unknown) == (400, "NoRegisteredProviderFound")
    assert "for type 'galleries'. The supported api-versions are '2018-06-01, " in unknown.json()["error"]["message"]
    for version in ("2018-06-01", "2021-10-01", "2024-03-03", "2026-03-03"):
        assert arm.send("GET", gallery, api_version=version).status_code == 404
    assert arm.send("GET", arm.path("images", "none"), api_version="2026-04-01").status_code == 404
    assert error(arm.send("GET", arm.path("images", "none"), api_version="2026-03-03"))[0] == 400


def test_subscriptions_and_groups(arm: Arm) -> None:
    subscription = str(uuid.uuid4())
    groups = f"/subscriptions/{subscription}/resourceGroups"
    assert error(arm.send("GET", f"/subscriptions/{subscription}")) == (404, "SubscriptionNotFound")
    assert arm.send("PUT", f"{groups}/one", json={"location": "North Europe", "tags": {"a": "b"}}).status_code == 201
    assert arm.send("PUT", f"{groups}/ONE", json={"location": "northeurope"}).status_code == 200
    found = arm.send("GET", f"{groups}/One").json()
    assert (found["name"], found["location"], found["type"]) == (
        "one",
        "northeurope",
        "Microsoft.Resources/resourceGroups",
    )
    assert [one["name"] for one in arm.send("GET", groups).json()["value"]] == ["one"]
    assert arm.http.head(f"{groups}/one?api-version=2022-09-01").status_code == 204
    assert subscription in [one["subscriptionId"] for one in arm.send("GET", "/subscriptions").json()["value"]]
    assert arm.send("GET", f"/subscriptions/{subscription}").json()["state"] == "Enabled"
    moved = arm.send("PUT", f"{groups}/one", json={"location": "westus"})
    assert error(moved) == (409, "InvalidResourceGroupLocation")
    deleted = arm.send("DELETE", f"{groups}/one")
    assert deleted.status_code == 202
    assert arm.http.get(deleted.headers["Location"]).status_code in (200, 202)
    assert error(arm.send("GET", f"{groups}/one")) == (404, "ResourceGroupNotFound")


def test_deleting_a_group_deletes_what_is_in_it(arm: Arm) -> None:
    group = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/short"
    arm.send("PUT", group, json={"location": LOCATION})
    gallery = f"{group}/providers/Microsoft.Compute/galleries/shortLived"
    assert arm.send("PUT", gallery, json={"location": LOCATION}).status_code == 201
    arm.send("DELETE", group)
    assert error(arm.send("GET", gallery)) == (404, "ResourceGroupNotFound")
    arm.send("PUT", group, json={"location": LOCATION})
    assert error(arm.send("GET", gallery)) == (404, "ResourceNotFound")


def test_not_found(arm: Arm, arm_web: Web) -> None:
    missing = arm.send("GET", arm_web.path("1.0.0"))
    assert error(missing) == (404, "ResourceNotFound")
    assert missing.json()["error"]["message"] == (
        f"The Resource 'Microsoft.Compute/galleries/{arm_web.gallery}/images/web/versions/1.0.0' under resource group "
        f"'{GROUP}' was not found. For more details please go to https://aka.ms/ARMResourceNotFoundFix"
    )
    assert missing.headers["x-ms-failure-cause"] == "gateway"
    assert missing.headers["x-ms-request-id"] == missing.headers["x-ms-correlation-request-id"]
    assert "\n" not in missing.text
    nowhere = arm.path("galleries", "g").replace(GROUP, "nowhere")
    assert error(arm.send("GET", nowhere)) == (404, "ResourceGroupNotFound")
    orphan = arm.send("PUT", arm.path("galleries", "none", "images", "i"), json={"location": LOCATION})
    assert error(orphan) == (404, "ParentResourceNotFound")
    assert orphan.json()["error"]["message"].endswith("Parent resource 'none' not found.")
    assert error(arm.send("PATCH", arm_web.path("1.0.0"), json={"tags": {}})) == (404, "ResourceNotFound")
    assert error(arm.send("GET", arm.path("availabilitySets", "a")))[0] == 404


def test_locations(arm: Arm, arm_web: Web) -> None:
    path = arm.path("galleries", "galPlace")
    assert error(arm.send("PUT", path, json={})) == (400, "LocationRequired")
    assert error(arm.send("PUT", path, json={"location": "atlantis"})) == (400, "LocationNotAvailableForResourceType")
    moved = arm.send("PUT", arm.path("galleries", arm_web.gallery), json={"location": "East US"})
    assert error(moved) == (409, "InvalidResourceLocation")
    assert "already exists in location 'westeurope'" in moved.json()["error"]["message"]
    assert error(arm.http.put(f"{path}?api-version=2026-03-03", content=b"[")) == (400, "InvalidRequestContent")


def test_headers_of_a_put(arm: Arm, arm_web: Web, arm_image: str) -> None:
    answer = arm_web.put("1.0.0", version_body(arm_image))
    headers = answer.headers
    assert answer.status_code == 201
    pattern = (
        rf"{arm.url}/subscriptions/{SUBSCRIPTION}/providers/Microsoft.Compute/locations/westeurope/capsOperations/"
        rf"(?P<name>{GUID})\?api-version=2026-03-03&t=\d{{18}}&c=[\w-]+&s=[\w-]+&h=[\w-]+"
    )
    operation = re.fullmatch(pattern, headers["Azure-AsyncOperation"])
    assert operation is not None
    assert headers["x-ms-request-id"] == operation["name"] != headers["x-ms-correlation-request-id"]
    assert headers["Retry-After"] == "1"
    assert not {"location", "etag", "x-ms-failure-cause"} & set(headers)
    assert headers["x-ms-ratelimit-remaining-subscription-writes"] == "199"
    assert re.fullmatch(
        r"Microsoft\.Compute/CreateUpdateGalleryImageVersion3Min;\d+,"
        r"Microsoft\.Compute/CreateUpdateGalleryImageVersion30Min;\d+",
        headers["x-ms-ratelimit-remaining-resource"],
    )
    assert (headers["Cache-Control"], headers["Pragma"], headers["Expires"]) == ("no-cache", "no-cache", "-1")
    assert headers["Content-Type"] == "application/json; charset=utf-8"
    assert answer.text.startswith('{\r\n  "name": "1.0.0",\r\n  "id": ')
    assert arm.finish(answer)["status"] == "Succeeded"
    body = arm.http.get(headers["Azure-AsyncOperation"]).json()
    assert list(body) == ["startTime", "endTime", "status", "name"]
    assert body["startTime"] == answer.json()["properties"]["publishingProfile"]["publishedDate"]


def test_headers_of_galleries_and_images(arm: Arm, arm_image: str) -> None:
    gallery = arm.send("PUT", arm.path("galleries", "galHeaders"), json={"location": LOCATION})
    assert "Retry-After" not in gallery.headers
    image = arm.send("PATCH", arm_image, json={"tags": {"a": "b"}}, api_version="2024-07-01")
    assert (image.status_code, image.json()["tags"]) == (200, {"a": "b"})
    assert re.search(
        rf"/operations/{GUID}\?p={GUID}&api-version=2024-07-01&t=\d{{18}}&c=", image.headers["Azure-AsyncOperation"]
    )
    assert image.headers["x-ms-ratelimit-remaining-resource"].startswith(
        "Microsoft.Compute/CreateImagesSubscriptionMaximum;"
    )


def test_deletion(arm: Arm, arm_web: Web, arm_image: str) -> None:
    arm_web.made("1.0.0", version_body(arm_image))
    definition = arm.path("galleries", arm_web.gallery, "images", "web")
    for parent in (definition, arm.path("galleries", arm_web.gallery)):
        refused = arm.send("DELETE", parent)
        assert error(refused) == (409, "CannotDeleteResource")
        assert f"Microsoft.Compute/galleries/{arm_web.gallery}/images/web/versions/1.0.0" in refused.text
    deleted = arm.send("DELETE", arm_web.path("1.0.0"))
    assert (deleted.status_code, deleted.content, deleted.headers["Content-Length"]) == (202, b"", "0")
    assert "Content-Type" not in deleted.headers
    assert "monitor=true&api-version=2026-03-03" in deleted.headers["Location"]
    assert deleted.headers["x-ms-ratelimit-remaining-subscription-deletes"] == "199"
    assert arm.finish(deleted)["status"] == "Succeeded"
    monitored = arm.http.get(deleted.headers["Location"])
    assert (monitored.status_code, monitored.content) == (200, b"")
    again = arm.send("DELETE", arm_web.path("1.0.0"))
    assert (again.status_code, again.content) == (204, b"")
    assert arm.finish(arm.send("DELETE", definition))["status"] == "Succeeded"


def test_lists_in_a_group_show_it_in_capitals(arm: Arm, arm_web: Web) -> None:
    for path in (arm.path("galleries"), f"/subscriptions/{SUBSCRIPTION}/providers/Microsoft.Compute/galleries"):
        listed = arm.send("GET", path).json()
        assert list(listed) == ["value"]
        ids = {one["name"]: one["id"] for one in listed["value"]}
        assert f"/resourceGroups/{GROUP.upper()}/" in ids[arm_web.gallery]
    definitions = arm.send("GET", arm.path("galleries", arm_web.gallery, "images")).json()["value"]
    assert f"/resourceGroups/{GROUP}/" in definitions[0]["id"]


def test_paths_are_blind_to_case(arm: Arm, arm_web: Web) -> None:
    lower = arm.path("galleries", arm_web.gallery, "images", "web").lower()
    found = arm.send("GET", lower).json()
    assert found["id"] == arm.path("galleries", arm_web.gallery, "images", "web")


def test_unknown_operation(arm: Arm) -> None:
    path = (
        f"/subscriptions/{SUBSCRIPTION}/providers/Microsoft.Compute/locations/westeurope/capsOperations/{uuid.uuid4()}"
    )
    answer = arm.send("GET", path)
    assert error(answer) == (404, "NotFound")
    assert "x-ms-failure-cause" not in answer.headers
