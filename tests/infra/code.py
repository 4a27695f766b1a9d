"""What the code needs of its surroundings, read from the code itself."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from azure.mgmt.compute.operations import _operations as compute

from pipeline.settings import Settings
from sandbox.arm.denials import verb
from tests.infra.snapshots import ROOT

_SETTING = re.compile(r"[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+")
_BUILDERS = {name: one for name, one in vars(compute).items() if name.startswith("build_")}


def deployed() -> Iterator[Path]:
    """The modules that run in Azure."""
    yield ROOT / "function_app.py"
    yield from (path for path in sorted((ROOT / "pipeline").rglob("*.py")) if "cli" not in path.parts)


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def _strings(node: ast.AST) -> Iterator[str]:
    for one in ast.walk(node):
        if isinstance(one, ast.Constant) and isinstance(one.value, str):
            yield one.value


@cache
def functions(*, blob_trigger: bool = False) -> dict[str, dict[str, Any]]:
    """Each function's trigger, as the Functions host is told of it."""
    import importlib
    import sys

    import pytest

    with pytest.MonkeyPatch.context() as patch:
        patch.delitem(sys.modules, "function_app", raising=False)
        for name in trigger_settings():
            patch.delenv(name, raising=False)
        if blob_trigger:
            patch.setenv("VHD_BLOB_TRIGGER", "EventGrid")
        app = importlib.import_module("function_app").app
        return {one.get_function_name(): one.get_trigger().get_dict_repr() for one in app.get_functions()}


def trigger_settings() -> set[str]:
    """The app settings that function_app.py names."""
    found: set[str] = set()
    for text in _strings(tree(ROOT / "function_app.py")):
        found |= {text} if _SETTING.fullmatch(text) else set(re.findall(r"%(\w+)%", text))
    return found


def pipeline_settings() -> dict[str, Any]:
    """The app settings that the pipeline reads, with their defaults, None for one that has to be given."""
    return {
        str(one.validation_alias or name.upper()): None if one.is_required() else one.default
        for name, one in Settings.model_fields.items()
    }


def connections() -> set[str]:
    """The connections that triggers name: prefixes of app settings."""
    return {trigger["connection"] for trigger in functions(blob_trigger=True).values() if "connection" in trigger}


def events() -> set[str]:
    """The names of what is logged."""
    found: set[str] = set()
    for path in deployed():
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args:
                if node.func.attr in ("info", "warning", "error"):
                    found |= set(_strings(node.args[0]))
                elif node.func.attr == "bind":  # what is told of by a name that is handed on
                    found |= {text for text in _strings(node) if re.fullmatch(r"[a-z]+(_[a-z]+)+", text)}
    return found


def arm_actions() -> dict[str, set[str]]:
    """What the pipeline does at Resource Manager, as actions of Azure's roles, each with the calls that do it."""
    found: dict[str, set[str]] = {}
    for path in sorted((ROOT / "pipeline/cloud").glob("*.py")):  # nothing else imports an SDK
        for function in ast.walk(tree(path)):
            if isinstance(function, ast.FunctionDef):
                for group, method in _sdk_calls(function):
                    found.setdefault(_action_of(group, method), set()).add(f"{group}.{method}")
        for text in _strings(tree(path)):
            if place := re.search(r"/providers/(Microsoft\.Authorization/\w+)", text):
                found.setdefault(f"{place[1]}/read", set()).add(f"GET {text}")
    return found


def _groups() -> set[str]:
    return {
        re.sub(r"(?<!^)(?=[A-Z])", "_", name.removesuffix("Operations")).lower()
        for name in vars(compute)
        if name.endswith("Operations")
    }


def _sdk_calls(function: ast.FunctionDef) -> Iterator[tuple[str, str]]:
    groups, aliases = _groups(), {}
    for node in ast.walk(function):
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Attribute) and node.value.attr in groups:
            aliases.update({target.id: node.value.attr for target in node.targets if isinstance(target, ast.Name)})
    for node in ast.walk(function):
        if isinstance(node, ast.Attribute):
            if isinstance(node.value, ast.Attribute) and node.value.attr in groups:
                yield node.value.attr, node.attr
            elif isinstance(node.value, ast.Name) and node.value.id in aliases:
                yield aliases[node.value.id], node.attr


def _action_of(group: str, method: str) -> str:
    """The action that a method of the SDK is, from the request that the SDK builds for it."""
    builder = _BUILDERS[f"build_{group}_{method.removeprefix('begin_')}_request"]
    named = {
        name: "x"
        for name, one in inspect.signature(builder).parameters.items()
        if one.default is inspect.Parameter.empty and one.kind is not inspect.Parameter.VAR_KEYWORD
    }
    request = builder(**named)
    asked = action(request.method, request.url)
    assert asked, f"{group}.{method} asks for {request.url}"
    return asked


def action(method: str, path: str) -> str | None:
    """The action that a request to Resource Manager is, None where it is to no resource provider."""
    _, found, named = path.partition("?")[0].rstrip("/").rpartition("/providers/")
    provider, *parts = named.split("/")
    return "/".join([provider, *parts[::2], verb(method)]) if found else None


STORAGE_CALLS = {
    # "Permissions for blob operations": what each operation wants of a role.
    "get_blob_properties": {"blobs/read"},
    "send_request": {"blobs/read"},
    "list_blobs": {"blobs/read", "blobs/tags/read"},
    "find_blobs_by_tags": {"blobs/filter/action"},
    "list_page_ranges": {"blobs/read"},
    "get_blob_tags": {"blobs/tags/read"},
    "set_blob_tags": {"blobs/tags/write"},
    "delete_blob": {"blobs/delete"},
    "upload_blob": {"blobs/write"},
}
_NO_CALLS = {"get_blob_client", "get_container_client"}


def blob_calls() -> set[str]:
    """The calls of Blob storage that the pipeline makes."""
    path = ROOT / "pipeline/cloud/blobs.py"
    found = {node.func.attr for node in ast.walk(tree(path)) if _on_storage(node)}
    return found - _NO_CALLS


def _on_storage(node: ast.AST) -> bool:
    if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
        return False
    return any(part in node.func.attr for part in ("blob", "container", "send_request", "page_ranges"))
