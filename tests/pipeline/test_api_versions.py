"""The api-versions that Azure is asked by by default know all that is sent and read."""

from __future__ import annotations

import ast
import inspect

import pytest
from azure.mgmt.compute import models

from pipeline.cloud import compute
from pipeline.cloud.api_versions import BYPASS_SOFT_DELETE, COMPUTE, DISK, GALLERY, ApiVersions

# Since when Microsoft's REST description has a property, at the latest: what is in the oldest document that was looked
# at is not looked for in older ones.
EVERYWHERE = "code description id location name properties provisioningState sku tags value"
GALLERIES = {
    "2023-07-03": """
        allowDeletionOfReplicatedLocations architecture dataDiskImages dataDisks details diskEncryptionSetId encryption
        endOfLifeDate excludeFromLatest features hyperVGeneration identifier lun offer osDiskImage osState osType progress
        publishedDate publisher publishingProfile region regionalReplicaCount replicationStatus safetyProfile source state
        storageAccountId storageAccountType storageProfile summary targetRegions uri virtualMachineId
    """,
    "2024-03-03": "blockDeletionBeforeEndOfLife",
}
COMPUTES = {
    "2024-07-01": """
        blobUri caching dataDisks diskEncryptionSet diskSizeGB hyperVGeneration instanceView lun managedDisk osDisk
        osState osType snapshot statuses storageProfile vmId
    """,
}
DISKS = {
    "2023-10-02": """
        architecture completionPercent copyCompletionError diskEncryptionSetId diskState encryption errorCode
        errorMessage hyperVGeneration osType supportedCapabilities uniqueId
    """,
}
DISPENSABLE = {"snapshotAccessState"}
"""Younger than the default, and what it says of a snapshot is in completionPercent, too."""
OTHERS = {"disks", "image", "resource", "securityType", "vhd", "virtualMachines", "encrypted"}
"""Names of the module itself, which models of other services happen to have."""


def properties() -> set[str]:
    """The names on the wire of the properties that the module sends or reads."""
    known: dict[str, set[str]] = {}
    for model in vars(models).values():
        for one in inspect.getmro(model) if inspect.isclass(model) else ():
            for name, field in vars(one).items():
                if type(field).__name__ == "_RestField":
                    known.setdefault(name, set()).add(field._rest_name_input or name)
    tree = ast.parse(inspect.getsource(compute))
    used = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    used |= {str(node.arg) for node in ast.walk(tree) if isinstance(node, ast.keyword)}
    return set().union(*(known[name] for name in used if name in known)) - {"Name"}


def calls() -> list[ast.Call]:
    """The module's calls of the SDK's operations."""

    def is_one(node: ast.Call) -> bool:
        name = node.func.attr if isinstance(node.func, ast.Attribute) else ""
        # All of Azure's are found by a group and a name; what is found by a word is a dict's.
        found = name == "get" and len(node.args) > 1 and not isinstance(node.args[0], ast.Constant)
        return found or name.startswith(("begin_", "list_by_"))

    tree = ast.parse(inspect.getsource(compute))
    return [node for node in ast.walk(tree) if isinstance(node, ast.Call) and is_one(node)]


def test_every_call_says_its_api_version() -> None:
    """What a call does not say, the SDK fills in, and it takes the newest there is."""
    assert len(calls()) >= 17
    silent = [ast.unparse(call) for call in calls() if "api_version" not in {word.arg for word in call.keywords}]
    assert silent == []


@pytest.mark.parametrize(
    ("since", "default"), [(GALLERIES, GALLERY), (COMPUTES, COMPUTE), (DISKS, DISK)], ids=["gallery", "compute", "disk"]
)
def test_the_default_is_not_older_than_what_is_used(since: dict[str, str], default: str) -> None:
    assert max(since) <= default


def test_of_every_property_it_is_known_since_when_azure_has_it() -> None:
    """A new property is looked up in the REST description before it is used."""
    known = set(EVERYWHERE.split()) | DISPENSABLE | OTHERS
    for since in (GALLERIES, COMPUTES, DISKS):
        known |= set(" ".join(since.values()).split())
    assert properties() - known == set()


def test_a_deletion_for_good_is_never_asked_for_by_an_older_version_than_the_rest() -> None:
    assert ApiVersions().bypass_soft_delete == BYPASS_SOFT_DELETE
    assert ApiVersions(gallery="2027-03-03").bypass_soft_delete == "2027-03-03"
    assert ApiVersions(gallery=f"{BYPASS_SOFT_DELETE}-preview").bypass_soft_delete == f"{BYPASS_SOFT_DELETE}-preview"
