"""Management locks: at every scope, what they hold back, what a list of them shows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest
from arm_server import FAST, GROUP, LOCATION, LOCKS, SUBSCRIPTION, Arm, Storage, Web, running_arm, version_body

from sandbox import tls
from sandbox.identity import Identity

pytest_plugins = ["arm_fixtures"]

OLD, NEW = "2016-09-01", "2020-05-01"
IN_SUBSCRIPTION = f"/subscriptions/{SUBSCRIPTION}"
IN_GROUP = f"{IN_SUBSCRIPTION}/resourceGroups/{GROUP}"


def lock(arm: Arm, scope: str, level: str = "CanNotDelete", name: str = "keep", **properties: Any) -> httpx.Response:
    body = {"properties": {"level": level} | properties}
    return arm.send("PUT", f"{scope}{LOCKS}/{name}", json=body, api_version=NEW)


def listed(arm: Arm, scope: str, **query: str) -> list[str]:
    """The scopes of the locks that a list shows, from the group on."""
    answer = arm.send("GET", f"{scope}{LOCKS}", api_version=NEW, **query)
    assert answer.status_code == 200, answer.text
    return [one["id"].removesuffix(f"{LOCKS}/{one['name']}").removeprefix(IN_GROUP) for one in answer.json()["value"]]


def held(answer: httpx.Response, operation: str, *scopes: str) -> bool:
    """Whether an answer says that a lock at `scopes` holds the request back."""
    message = (
        f"The scope '{answer.request.url.path}' cannot perform {operation} operation because following scope(s) are locked: "
        f"'{','.join(scopes)}'. Please remove the lock and try again."
    )
    assert (answer.status_code, answer.json()) == (409, {"error": {"code": "ScopeLocked", "message": message}})
    assert answer.headers["x-ms-failure-cause"] == "gateway"
    return True


@pytest.fixture
def version(arm_web: Web, arm_image: str) -> str:
    """The path of a version that is made, of a managed image `arm_image`."""
    arm_web.made("1.0.0", version_body(arm_image))
    return arm_web.path("1.0.0")


@pytest.fixture
def scopes(arm: Arm, arm_web: Web, version: str, arm_image: str) -> dict[str, str]:
    """What a lock may be put on."""
    gallery = arm.path("galleries", arm_web.gallery)
    return {
        "subscription": IN_SUBSCRIPTION,
        "group": IN_GROUP,
        "gallery": gallery,
        "definition": f"{gallery}/images/web",
        "version": version,
        "image": arm_image,
    }


class TestALock:
    @pytest.mark.parametrize("kind", ["subscription", "group", "gallery", "definition", "version", "image"])
    def test_life(self, arm: Arm, scopes: dict[str, str], kind: str) -> None:
        scope = scopes[kind]
        url = f"{scope}{LOCKS}/do-not-delete"
        assert arm.send("GET", url, api_version=OLD).json()["error"]["code"] == "LockNotFound"
        made = arm.send("PUT", url, json={"properties": {"level": "CanNotDelete"}}, api_version=OLD)
        assert made.status_code == 201
        assert made.text == (
            f'{{"properties":{{"level":"CanNotDelete"}},"id":"{url}","type":"Microsoft.Authorization/locks",'
            '"name":"do-not-delete"}'
        )
        body = {"properties": {"level": "ReadOnly", "notes": "asked for"}}
        changed = arm.send("PUT", url.upper().replace("/SUBSCRIPTIONS", "/subscriptions"), json=body, api_version=OLD)
        assert (changed.status_code, changed.json()["id"]) == (200, url)
        assert changed.json()["properties"] == {"level": "ReadOnly", "notes": "asked for"}
        assert arm.send("GET", url, api_version=OLD).json() == changed.json()
        gone = arm.send("DELETE", url, api_version=OLD)
        assert (gone.status_code, gone.content) == (200, b"")
        assert arm.send("DELETE", url, api_version=OLD).status_code == 204
        assert listed(arm, scope) == []

    def test_an_empty_parent(self, arm: Arm, arm_image: str) -> None:
        """azure-mgmt-resource writes one between two slashes, and so the Azure CLI."""
        made = lock(arm, arm_image.replace("/images/", "//images/"))
        assert (made.status_code, made.json()["id"]) == (201, f"{arm_image}{LOCKS}/keep")
        assert listed(arm, arm_image.replace("/images/", "//images/")) == [arm_image.removeprefix(IN_GROUP)]
        assert held(arm.send("DELETE", arm_image), "delete", arm_image)

    def test_system_data(self, arm: Arm) -> None:
        first = lock(arm, IN_GROUP).json()["systemData"]
        again = lock(arm, IN_GROUP, "ReadOnly").json()["systemData"]
        assert first["createdAt"] == first["lastModifiedAt"] == again["createdAt"] < again["lastModifiedAt"]
        assert again["createdByType"] == "Application"
        assert "systemData" not in arm.send("GET", f"{IN_GROUP}{LOCKS}/keep", api_version=OLD).json()

    @pytest.mark.parametrize(
        "properties", [{}, {"level": "NotSpecified"}, {"level": "ReadOnly", "notes": "x" * 513}, {"levels": "ReadOnly"}]
    )
    def test_what_is_none(self, arm: Arm, properties: dict[str, Any]) -> None:
        url = f"{IN_GROUP}{LOCKS}/keep"
        assert arm.send("PUT", url, json={"properties": properties}, api_version=NEW).status_code == 400
        assert arm.send("PUT", url, json={}, api_version=NEW).status_code == 400
        assert listed(arm, IN_GROUP) == []

    def test_nothing_to_lock(self, arm: Arm) -> None:
        missing = lock(arm, arm.path("images", "no"))
        assert (missing.status_code, missing.json()["error"]["code"]) == (404, "ResourceNotFound")
        assert lock(arm, f"{IN_SUBSCRIPTION}/resourceGroups/no").json()["error"]["code"] == "ResourceGroupNotFound"
        assert lock(arm, arm.path("images")).status_code == 404
        wrong = arm.send("GET", f"{IN_GROUP}{LOCKS}", api_version="2021-04-01").json()["error"]
        assert wrong["code"] == "NoRegisteredProviderFound"
        assert arm.send("POST", f"{IN_GROUP}{LOCKS}", api_version=NEW).status_code == 405
        assert arm.send("PATCH", f"{IN_GROUP}{LOCKS}/keep", json={}, api_version=NEW).status_code == 405

    def test_it_may_be_denied(self, arm: Arm, scopes: dict[str, str]) -> None:
        rule = {"path": "/galleries/", "actions": r"Microsoft\.Authorization/locks/read"}
        arm.http.post("/sandbox/denials", json=rule).raise_for_status()
        refused = arm.send("GET", f"{scopes['version']}{LOCKS}", api_version=NEW)
        assert (refused.status_code, refused.json()["error"]["code"]) == (403, "AuthorizationFailed")
        assert "action 'Microsoft.Authorization/locks/read' over scope" in refused.text
        assert arm.send("GET", scopes["version"]).status_code == 200

    def test_it_outlives_a_restart(
        self, tmp_path: Path, arm_identity: Identity, arm_storage: Storage, arm_certificates: tls.Certificates
    ) -> None:
        for status in (201, 200):
            with running_arm(tmp_path, FAST, arm_identity, arm_storage, arm_certificates) as arm:
                assert lock(arm, IN_GROUP).status_code == status


class TestLists:
    def test_at_above_and_below(self, arm: Arm, scopes: dict[str, str]) -> None:
        for scope in scopes.values():
            assert lock(arm, scope).status_code == 201
        short = {kind: scope.removeprefix(IN_GROUP) for kind, scope in scopes.items()}
        above = [short["subscription"], short["group"], short["gallery"], short["definition"], short["version"]]
        assert sorted(listed(arm, IN_SUBSCRIPTION)) == sorted(short.values())
        assert sorted(listed(arm, scopes["version"])) == sorted(above)
        assert sorted(listed(arm, scopes["gallery"])) == sorted(above)
        assert sorted(listed(arm, scopes["gallery"], **{"$filter": "atScope()"})) == sorted(above[:3])
        assert sorted(listed(arm, scopes["image"])) == sorted([*above[:2], short["image"]])
        assert listed(arm, IN_SUBSCRIPTION, **{"$filter": "atScope()"}) == [IN_SUBSCRIPTION]
        wrong = arm.send("GET", f"{IN_GROUP}{LOCKS}", api_version=NEW, **{"$filter": "level eq 'ReadOnly'"})
        assert wrong.status_code == 400

    def test_a_neighbour_is_not_shown(self, arm: Arm, arm_web: Web, version: str, arm_image: str) -> None:
        arm_web.made("1.0.01", version_body(arm_image))
        lock(arm, version)
        assert listed(arm, arm_web.path("1.0.01")) == []
        assert arm.send("DELETE", arm_web.path("1.0.01")).status_code == 202


class TestWhatIsHeldBack:
    @pytest.mark.parametrize("level", ["CanNotDelete", "ReadOnly"])
    @pytest.mark.parametrize("kind", ["subscription", "group", "gallery", "definition", "version"])
    def test_deletion(self, arm: Arm, scopes: dict[str, str], kind: str, level: str) -> None:
        lock(arm, scopes[kind], level)
        assert held(arm.send("DELETE", scopes["version"]), "delete", scopes[kind])
        arm.send("DELETE", f"{scopes[kind]}{LOCKS}/keep", api_version=NEW)
        assert arm.send("DELETE", scopes["version"]).status_code == 202

    def test_deletion_of_what_is_above(self, arm: Arm, scopes: dict[str, str]) -> None:
        lock(arm, scopes["version"])
        lock(arm, scopes["image"], name="other")
        assert held(arm.send("DELETE", scopes["definition"]), "delete", scopes["version"])
        group = arm.send("DELETE", IN_GROUP, api_version="2021-04-01")
        assert held(group, "delete", scopes["version"], scopes["image"])
        assert held(arm.send("DELETE", scopes["image"]), "delete", scopes["image"])

    @pytest.mark.parametrize("kind", ["subscription", "group", "gallery", "definition", "version"])
    def test_a_change(self, arm: Arm, arm_web: Web, scopes: dict[str, str], kind: str) -> None:
        tags = {"location": LOCATION, "tags": {"a": "b"}}
        lock(arm, scopes[kind])
        assert arm_web.put("1.0.0", tags).status_code == 200
        lock(arm, scopes[kind], "ReadOnly")
        assert held(arm_web.put("1.0.0", tags), "write", scopes[kind])
        assert held(arm_web.put("1.0.0", tags, "PATCH"), "write", scopes[kind])
        assert arm_web.get("1.0.0")["tags"] == {"a": "b"}

    def test_something_new(self, arm: Arm, arm_web: Web, scopes: dict[str, str], arm_image: str) -> None:
        lock(arm, scopes["definition"], "ReadOnly")
        assert held(arm_web.put("2.0.0", version_body(arm_image)), "write", scopes["definition"])
        lock(arm, IN_GROUP, "ReadOnly")
        group = arm.send("PUT", IN_GROUP, json={"location": LOCATION, "tags": {}}, api_version="2021-04-01")
        assert held(group, "write", IN_GROUP)

    def test_an_action(self, arm: Arm, scopes: dict[str, str]) -> None:
        share = {"operationType": "Reset"}
        lock(arm, scopes["gallery"], "ReadOnly")
        assert held(arm.send("POST", f"{scopes['gallery']}/share", json=share), "write", scopes["gallery"])

    def test_soft_deleted_versions_too(self, arm: Arm, arm_web: Web, scopes: dict[str, str]) -> None:
        gallery = scopes["gallery"]
        body = {"location": LOCATION, "properties": {"softDeletePolicy": {"isSoftDeleteEnabled": True}}}
        arm.finish(arm.send("PUT", gallery, json=body))
        arm.finish(arm.send("DELETE", scopes["version"]))
        lock(arm, gallery)
        kept = f"{gallery}/softDeletedArtifactTypes/Images/artifacts/web/versions/1.0.0"
        assert held(arm.send("DELETE", kept), "delete", gallery)
        # To restore is to write
        assert arm_web.put("1.0.0", {"location": LOCATION}).status_code in (200, 201)

    def test_a_source_may_be_read_only(self, arm: Arm, arm_web: Web, arm_image: str) -> None:
        lock(arm, arm_image, "ReadOnly")
        assert arm_web.put("1.0.0", version_body(arm_image)).status_code == 201
