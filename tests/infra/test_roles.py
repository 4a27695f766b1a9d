"""The pipeline's roles hold what it does, by its code and by what the sandbox was asked, and nothing else."""

from __future__ import annotations

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
    assert set(roles("defaults")) == {ROLES[role] for role in ("publisher", "image maker", "tagger", "operations")}
    calls = set(code.arm_actions())
    own = _of("publisher") | _of("image maker")
    assert calls - own - _of("source") == set(), "called, and in no role"
    allowed = own | _of("source") | _of("operations") | _of("direct")
    assert allowed - calls - set(LINKED) - STATUS == set(), "in a role, and never called"
    assert _of("operations") == STATUS
    assert _of("publisher") & _of("image maker") == set(), "one place for each right"


def test_every_role_is_assigned_where_it_may_be_and_nowhere_else() -> None:
    """Each role on its one scope, once, whatever is named twice."""
    for name in KEPT:
        scopes = {
            scope.lower(): role["properties"]["roleName"]
            for role in resources(name, "Microsoft.Authorization/roleDefinitions")
            for scope in role["properties"]["assignableScopes"]
        }
        own = [scope for scope, why in assignments(name) if not why]
        assert len(own) == len(resources(name, "Microsoft.Authorization/roleDefinitions")) - _on_storage(name)
        assert {scope.lower() for scope in own} <= set(scopes)
        assert all(own.count(scope) <= 2 for scope in own), "a group that has images and a gallery has two roles"


def _on_storage(name: str) -> int:
    """The roles that are assigned on the VHD account, where they say what for."""
    return len({"Gallerist VHD reader and tagger", "Gallerist direct VHD"} & set(roles(name)))


def test_galleries_elsewhere_get_their_roles_in_their_own_subscriptions() -> None:
    other = "/subscriptions/00000000-0000-4000-8000-000000000002"
    made = [
        (role["properties"]["roleName"].partition(" of ")[0], role["properties"]["assignableScopes"])
        for role in resources("everything", "Microsoft.Authorization/roleDefinitions")
        if role["id"].startswith(other)
    ]
    assert sorted(made) == [
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
    own = _of("publisher") | _of("image maker")
    assert asked - own - _of("operations") == set()
    publishing = {action for action in own if not action.startswith("Microsoft.Authorization/")}
    assert publishing - asked == set(), "publishing and undoing never asked for these"
    assert "Microsoft.Compute/locations/capsOperations/read" in asked
