"""The deployment as Bicep evaluates it: infra/snapshots/, made by `make snapshots`, read without a compiler.

What only Azure knows while it deploys, such as who an identity is, stands in a snapshot as the expression that asks.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
INFRA = ROOT / "infra"
FOLDER = INFRA / "snapshots"
KEPT = ("defaults", "everything")
"""The options whose snapshots are committed; every other set of options is only evaluated."""
DIGESTS = FOLDER / "sources.sha256"

Resource = dict[str, Any]


def sources() -> list[Path]:
    """The files that the committed snapshots are made of."""
    kept = [FOLDER / f"{name}.bicepparam" for name in KEPT]
    bicep = [INFRA / "main.bicep", *(INFRA / "modules").glob("*.bicep")]
    return sorted([*kept, *bicep, *(INFRA / "queries").glob("*.kql"), INFRA / "workbook.json"])


def digests() -> str:
    """The digest of each source, a line each, as `sha256sum` prints them."""
    return "".join(
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(FOLDER.parent).as_posix()}\n"
        for path in sources()
    )


@cache
def snapshot(name: str) -> dict[str, Any]:
    """A committed snapshot: `predictedResources` and `outputs`."""
    found: dict[str, Any] = json.loads((FOLDER / f"{name}.snapshot.json").read_text(encoding="utf-8"))
    return found


def resources(name: str, kind: str = "") -> list[Resource]:
    """The resources of a snapshot; with `kind`, those of that type, whatever case it is in."""
    found = snapshot(name)["predictedResources"]
    return [one for one in found if not kind or one["type"].lower() == kind.lower()]


def one(name: str, kind: str, ending: str = "") -> Resource:
    """The only resource of that type whose name ends so."""
    (found,) = [one for one in resources(name, kind) if str(one["name"]).endswith(ending)]
    return found


def settings(name: str) -> dict[str, str]:
    """The app settings of a snapshot."""
    found: dict[str, str] = one(name, "Microsoft.Web/sites/config", "appsettings")["properties"]
    return found


def roles(name: str) -> dict[str, Resource]:
    """The custom roles of a snapshot by the first part of their names, one of each where there are several."""
    found = {}
    for role in resources(name, "Microsoft.Authorization/roleDefinitions"):
        found[re.split(r" of | \(", role["properties"]["roleName"])[0]] = role
    return found


def assignments(name: str) -> Iterator[tuple[str, str]]:
    """The scope of each role assignment, and what it is for where it says so."""
    for one in resources(name, "Microsoft.Authorization/roleAssignments"):
        yield _scope(one["id"]), one["properties"].get("description", "")


def _scope(identifier: str) -> str:
    """The scope of an assignment, by its id or by the expression that makes its id."""
    if found := re.match(r"\[extensionResourceId\('([^']*)'", identifier):
        return found[1]
    if found := re.match(r"\[resourceId\('([^']*)', '([^']*)'", identifier):
        return f"/subscriptions/{found[1]}/resourceGroups/{found[2]}"
    if found := re.match(r"\[subscriptionResourceId\('([^']*)'", identifier):
        return f"/subscriptions/{found[1]}"
    return identifier.partition("/providers/Microsoft.Authorization/")[0]


def main() -> None:
    """Write both snapshots as templates, for a scanner that reads those: `python -m tests.infra.snapshots FOLDER`."""
    import sys

    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    schema = "https://schema.management.azure.com/schemas/2018-05-01/subscriptionDeploymentTemplate.json#"
    for name in KEPT:
        template = {"$schema": schema, "contentVersion": "1.0.0.0", "resources": resources(name)}
        (folder / f"{name}.json").write_text(json.dumps(template, indent=2), encoding="utf-8")


if __name__ == "__main__":
    main()
