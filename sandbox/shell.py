"""What a shell sets so that clients reach the sandbox: the file `env`, and an Azure CLI that is signed in to it."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable
from pathlib import Path

from sandbox.guard import own_file, own_folder
from sandbox.host.keys import Keys


def clients(folder: Path, endpoints: dict[str, str], audience: str | None = None) -> dict[str, str]:
    """What `gallerist`, azcopy and `az` read, beside what they share with the SDKs and the function app.

    The HTTP API takes tokens for `audience`, or else keys.
    """
    return {
        "GALLERIST_URL": endpoints["functions"],
        "GALLERIST_STORAGE": endpoints["blob"],
        **({"GALLERIST_AUDIENCE": audience} if audience else _keys(folder)),
        "AZCOPY_AUTO_LOGIN_TYPE": "MSI",
        "AZURE_CONFIG_DIR": str(folder / "az"),
        "AZURE_CORE_INSTANCE_DISCOVERY": "0",
        "AZURE_CORE_COLLECT_TELEMETRY": "0",
        "AZURE_STORAGE_AUTH_MODE": "login",
    }


def _keys(folder: Path) -> dict[str, str]:
    keys = Keys.load(folder)
    return {"GALLERIST_KEY": keys.function} | {f"GALLERIST_KEY_{role.upper()}": key for role, key in keys.roles.items()}


def write_env(path: Path, values: dict[str, str]) -> None:
    """Write lines of `NAME=value` that a shell can source."""
    write(path, "".join(f"{name}={shlex.quote(value)}\n" for name, value in values.items()))


def read_env(path: Path) -> dict[str, str]:
    """What a shell sets that sources a file of `write_env`."""
    return dict(line.split("=", 1) for line in shlex.split(path.read_text(encoding="utf-8")))


def configure_az(folder: Path, arm: str, tenant_id: str, subscriptions: Iterable[str]) -> None:
    """Make `folder` a configuration of the Azure CLI, as `az cloud register`, `az cloud set` and `az login` write one.

    The first of `subscriptions`, which are ids, is the one that commands work in. Settings that are there stay.
    """
    own_folder(folder)
    storage_and_management = "https://management.core.windows.net/"
    cloud = {
        "endpoint_resource_manager": arm,
        "endpoint_management": storage_and_management,
        "endpoint_active_directory": arm,
        "endpoint_active_directory_resource_id": storage_and_management,
        "endpoint_active_directory_graph_resource_id": arm,
        "endpoint_microsoft_graph_resource_id": arm,
    }
    write(folder / "clouds.config", "[sandbox]\n" + "".join(f"{name} = {value}\n" for name, value in cloud.items()))
    if not (folder / "config").exists():
        write(folder / "config", "[cloud]\nname = sandbox\n")
    profile = [
        {
            "id": subscription,
            "name": "Gallerist sandbox",
            "state": "Enabled",
            "user": {"name": "systemAssignedIdentity", "type": "servicePrincipal", "assignedIdentityInfo": "MSI"},
            "isDefault": number == 0,
            "tenantId": tenant_id,
            "homeTenantId": tenant_id,
            "environmentName": "sandbox",
            "managedByTenants": [],
        }
        for number, subscription in enumerate(dict.fromkeys(subscriptions))
    ]
    write(folder / "azureProfile.json", json.dumps({"subscriptions": profile}))


def write(path: Path, text: str) -> None:
    """Whole or not at all, and for this user's eyes: what is written holds secrets."""
    draft = path.with_suffix(".draft")
    own_file(draft).write_text(text, encoding="utf-8")
    draft.rename(path)
