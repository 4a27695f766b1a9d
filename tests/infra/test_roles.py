"""The pipeline's roles hold what it does, by its code and by what the sandbox was asked, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.context import Context
from pipeline.runs import Stage
from sandbox import disk
from tests.azure import Azure
from tests.infra import code
from tests.infra.bicep import module, values
from tests.steps import finish, tell

ROLES = module("roles")
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


def _of(symbol: str, kind: str = "actions") -> set[str]:
    role = next(resource for resource in ROLES.resources if resource.symbol == symbol)
    (permission,) = role.body["properties"]["permissions"]
    return {action for branch in values(permission[kind], ROLES) for action in _flat(branch)}


def _flat(value: object) -> list[str]:
    if isinstance(value, list):
        return [text for one in value for text in _flat(one)]
    return [str(value)]


def test_no_role_has_a_wildcard_or_denies() -> None:
    for role in ROLES.resources:
        for kind in ("actions", "dataActions"):
            assert not any("*" in action for action in _of(role.symbol, kind))
        (permission,) = role.body["properties"]["permissions"]
        assert permission["notActions"] == []
        assert permission["notDataActions"] == []


def test_what_the_code_calls_is_what_the_roles_allow() -> None:
    calls = set(code.arm_actions())
    assert calls - _of("publisher") - _of("source") == set(), "called, and in no role"
    allowed = _of("publisher") | _of("source") | _of("operations") | _of("direct")
    assert allowed - calls - set(LINKED) - STATUS == set(), "in a role, and never called"
    assert _of("operations") == STATUS


def test_only_sources_are_read_elsewhere_and_written_only_where_asked_for() -> None:
    writes = {action for action in _of("source") if not action.endswith("/read")}
    assert writes == {action for action in LINKED if "/write" in action}
    assert not {"Microsoft.Compute/disks/read", "Microsoft.Compute/virtualMachines/read"} & _of("publisher")
    text = ROLES.path.read_text(encoding="utf-8")
    for kind in ("disk", "snapshot", "vm"):
        assert f"contains(sourceKinds, '{kind}') ? {kind}Sources : []" in text


def test_what_the_code_does_to_blobs_is_what_the_roles_allow() -> None:
    unknown = code.blob_calls() - set(code.STORAGE_CALLS)
    assert not unknown, f"say in STORAGE_CALLS what a role needs for {unknown}"
    needs = {need for call in code.blob_calls() for need in code.STORAGE_CALLS[call]}
    prefix = "Microsoft.Storage/storageAccounts/blobServices/containers/"
    allowed = {action.removeprefix(prefix) for action in _of("tagger", "dataActions")}
    # Writing is allowed in one container alone, by a role that Azure has: Storage Blob Data Contributor on `rejected`.
    assert needs == allowed | {"blobs/write"}
    assert "kept[indexOf(keptContainers, 'rejected')]" in module("vhd-storage").path.read_text(encoding="utf-8")


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
    assert asked - _of("publisher") - _of("operations") == set()
    publishing = {action for action in _of("publisher") if not action.startswith("Microsoft.Authorization/")}
    assert publishing - asked == set(), "publishing and undoing never asked for these"
    assert "Microsoft.Compute/locations/capsOperations/read" in asked
