"""The pipeline's roles hold what it does, by its code and by what the sandbox was asked, and nothing else."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pipeline.context import Context
from pipeline.runs import Stage
from sandbox import disk
from tests.azure import Azure
from tests.infra import code
from tests.infra.snapshots import INFRA, KEPT, assignments, resources, roles
from tests.steps import finish, tell

ROLES = {
    # The first part of each role's name, as infra/main.bicep gives it.
    "publisher": "Gallerist publisher",
    "locks": "Gallerist lock reader",
    "image maker": "Gallerist image maker",
    "source": "Gallerist source",
    "tagger": "Gallerist VHD reader and tagger",
    "direct": "Gallerist direct VHD",
    "operations": "Gallerist operation status",
}
LINKED = {
    "Microsoft.Compute/disks/write": "Azure looks for it on a disk that a version is made of",
    "Microsoft.Compute/snapshots/write": "Azure looks for it on a snapshot that a version is made of",
    "Microsoft.Compute/virtualMachines/write": "Azure looks for it on a VM that a version is made of",
    "Microsoft.Storage/storageAccounts/read": "Azure looks for it on the account of a direct VHD",
    "Microsoft.Storage/storageAccounts/listKeys/action": "Azure looks for it on the account of a direct VHD",
}
"""What no call of the pipeline is, but Azure wants for one."""
STATUS = {"Microsoft.Compute/locations/operations/read", "Microsoft.Compute/locations/capsOperations/read"}
"""Operations are followed by the address that Azure gave, so the code does not name them."""


def _of(role: str, kind: str = "actions", name: str = "everything") -> set[str]:
    (permission,) = roles(name)[ROLES[role]]["properties"]["permissions"]
    return set(permission[kind])


def test_no_role_has_a_wildcard_or_denies() -> None:
    for name in KEPT:
        for role in resources(name, "Microsoft.Authorization/roleDefinitions"):
            (permission,) = role["properties"]["permissions"]
            assert not any("*" in action for action in permission["actions"] + permission["dataActions"])
            assert permission["notActions"] == []
            assert permission["notDataActions"] == []


def test_what_the_code_calls_is_what_the_roles_allow() -> None:
    assert set(roles("everything")) == set(ROLES.values())
    assert set(roles("defaults")) == set(ROLES.values()) - {ROLES["source"], ROLES["direct"]}
    calls = set(code.arm_actions())
    own = _own()
    assert calls - own - _of("source") == set(), "called, and in no role"
    allowed = own | _of("source") | _of("operations") | _of("direct")
    assert allowed - calls - set(LINKED) - STATUS == set(), "in a role, and never called"
    assert _of("operations") == STATUS
    assert _of("publisher") & _of("image maker") == set(), "one place for each right"
    assert _of("locks") == {"Microsoft.Authorization/locks/read"}, "a gallery's group shows nothing else"


def _own(name: str = "everything") -> set[str]:
    return _of("publisher", name=name) | _of("locks", name=name) | _of("image maker", name=name)


def test_every_role_is_assigned_once_on_its_scope_and_a_publishers_on_its_gallery_alone() -> None:
    for name in KEPT:
        made = {role["id"]: role["properties"] for role in resources(name, "Microsoft.Authorization/roleDefinitions")}
        assigned = {
            one["properties"]["roleDefinitionId"]: scope
            for one, (scope, why) in zip(
                resources(name, "Microsoft.Authorization/roleAssignments"), assignments(name), strict=True
            )
            if not why
        }
        of_storage = {
            key for key, role in made.items() if role["roleName"].startswith((ROLES["tagger"], ROLES["direct"]))
        }
        assert set(assigned) == set(made) - of_storage
        for key, scope in assigned.items():
            (assignable,) = made[key]["assignableScopes"]
            gallery = re.search(rf"^{ROLES['publisher']} of (\S+) in ", made[key]["roleName"])
            below = f"/providers/Microsoft.Compute/galleries/{gallery[1]}" if gallery else ""
            assert scope.lower() == f"{assignable}{below}".lower(), made[key]["roleName"]


def test_no_version_of_production_can_be_deleted_unless_its_retention_is_asked_for() -> None:
    delete = "Microsoft.Compute/galleries/images/versions/delete"
    for name, in_production in (("defaults", False), ("everything", True)):
        found = {
            role["properties"]["roleName"].split(" of gal")[1].split(" ")[0].partition("_")[0]: delete
            in role["properties"]["permissions"][0]["actions"]
            for role in resources(name, "Microsoft.Authorization/roleDefinitions")
            if role["properties"]["roleName"].startswith(ROLES["publisher"])
        }
        assert found == {"staging": True, "production": in_production}
        others = [
            role
            for role in resources(name, "Microsoft.Authorization/roleDefinitions")
            if delete in role["properties"]["permissions"][0]["actions"]
        ]
        assert len(others) == sum(found.values()), "no other role has it"


def test_galleries_elsewhere_get_their_roles_in_their_own_subscriptions() -> None:
    other = "/subscriptions/00000000-0000-4000-8000-000000000002"
    made = [
        (role["properties"]["roleName"].partition(" of ")[0], role["properties"]["assignableScopes"])
        for role in resources("everything", "Microsoft.Authorization/roleDefinitions")
        if role["id"].startswith(other)
    ]
    assert sorted(made) == [
        ("Gallerist lock reader", [f"{other}/resourceGroups/rg-images"]),
        ("Gallerist operation status", [other]),
        ("Gallerist publisher", [f"{other}/resourceGroups/rg-images"]),
        ("Gallerist source", [f"{other}/resourceGroups/rg-builds"]),
    ]


def test_only_sources_are_read_elsewhere_and_written_only_where_asked_for() -> None:
    writes = {action for action in _of("source") if not action.endswith("/read")}
    assert writes == {action for action in LINKED if "/write" in action}
    assert not {"Microsoft.Compute/disks/read", "Microsoft.Compute/virtualMachines/read"} & _of("publisher")
    text = (INFRA / "modules/roles.bicep").read_text(encoding="utf-8")
    for kind, resource in (("disk", "disks"), ("snapshot", "snapshots"), ("vm", "virtualMachines")):
        assert f"contains(kinds, '{kind}') ? ['Microsoft.Compute/{resource}/write'] : []" in text


def test_what_the_code_does_to_blobs_is_what_the_roles_allow() -> None:
    unknown = code.blob_calls() - set(code.STORAGE_CALLS)
    assert not unknown, f"say in STORAGE_CALLS what a role needs for {unknown}"
    needs = {need for call in code.blob_calls() for need in code.STORAGE_CALLS[call]}
    prefix = "Microsoft.Storage/storageAccounts/blobServices/containers/"
    allowed = {action.removeprefix(prefix) for action in _of("tagger", "dataActions")}
    # Writing is allowed in one container alone, by a role that Azure has: Storage Blob Data Contributor on `rejected`.
    assert needs == allowed | {"blobs/write"}
    assert allowed - {action.removeprefix(prefix) for action in _of("tagger", "dataActions", "defaults")} == {
        "blobs/delete"
    }
    writes = [scope for scope, why in assignments("defaults") if why == "Keeps messages that cannot be taken"]
    assert [scope.rpartition("/containers/")[2] for scope in writes] == ["rejected"]


def _asked(azure: Azure, since: int) -> set[str]:
    log = azure.arm.get("/sandbox/requests").json()[since:]
    return {action for one in log if (action := code.action(one["method"], one["path"]))}


@pytest.mark.timeout(120)
def test_what_the_sandbox_is_asked_is_what_the_roles_allow(bare: Azure, ctx: Context, tmp_path: Path) -> None:
    """A VHD is published, one fails on the way, one has a region that fails: all that is asked, a role has."""
    image = bare.image()
    since = len(bare.arm.get("/sandbox/requests").json())
    published = finish(ctx, tell(bare, ctx, bare.drop(image, disk.make_vhd(tmp_path / "a.vhd"))).id)
    rule = {"northeurope": {"seconds": 0.05, "outcome": "Failed", "details": "no room"}}
    bare.arm.post("/sandbox/replication", json={"regions": rule, "path": image}).raise_for_status()
    failed = finish(ctx, tell(bare, ctx, bare.drop(image, disk.make_vhd(tmp_path / "b.vhd"), "b.vhd")).id)
    asked = _asked(bare, since)
    bare.clear()

    assert (published.stage, failed.stage) == (Stage.PUBLISHED, Stage.FAILED)
    own = _own()
    assert asked - own - _of("operations") == set()
    publishing = {action for action in own if not action.startswith("Microsoft.Authorization/")}
    assert publishing - asked == set(), "publishing and undoing never asked for these"
    assert "Microsoft.Compute/locations/capsOperations/read" in asked
