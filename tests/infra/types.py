"""What Azure says its resources look like: infra/types.json, cut from Bicep's own type definitions.

`python -m tests.infra.types CLONE` makes it anew from a clone of github.com/Azure/bicep-types-az. Of each object that
infra/ writes it keeps every property, but what is inside a property only where infra/ goes there.

In the file: "string", "int", "bool" or "any"; a list of the words that are taken, with "string" where others are too;
{"[]": of} for an array; else an object, where "name!" has to be there, "*" is any other name, and "?" names the
property that tells which of several objects it is. "…" is what infra/ does not use.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from typing import Any

from tests.infra.bicep import INFRA, File, Resource, files, values

TABLE = INFRA / "types.json"
ELSEWHERE = {"scope", "parent", "dependsOn"}
"""Properties that Bicep itself takes, on any resource."""
_CUT = "…"
_REQUIRED, _READ_ONLY = 1, 2


def used() -> dict[str, list[tuple[File, Resource]]]:
    """The resources that infra/ declares, by type and version."""
    found: dict[str, list[tuple[File, Resource]]] = {}
    for file in files():
        for resource in file.resources:
            found.setdefault(f"{resource.type}@{resource.version}", []).append((file, resource))
    return found


def written(file: File, resource: Resource) -> dict[str, Any]:
    return {name: value for name, value in resource.body.items() if name not in ELSEWHERE}


class Definitions:
    """The definitions in a clone, one provider's version at a time."""

    def __init__(self, clone: str) -> None:
        self._clone = clone
        self.commit = self._git("rev-parse", "HEAD").strip()
        self._paths = self._git("ls-tree", "-r", "--name-only", "HEAD", "generated").splitlines()

    def _git(self, *args: str) -> str:
        return subprocess.run(["git", "-C", self._clone, *args], check=True, capture_output=True, text=True).stdout

    def find(self, name: str) -> tuple[list[dict[str, Any]], dict[str, Any]]:
        """The types of the file that has the resource type, and the resource type's body."""
        kind, _, version = name.partition("@")
        ending = f"/{kind.partition('/')[0].lower()}/{version}/types.json"
        for path in self._paths:
            if path.endswith(ending):
                types = json.loads(self._git("show", f"HEAD:{path}"))
                for one in types:
                    if one["$type"] == "ResourceType" and one["name"].lower() == name.lower():
                        return types, _at(types, one["body"])
        raise LookupError(f"there is no {name}")


def _at(types: list[dict[str, Any]], reference: dict[str, str]) -> dict[str, Any]:
    return types[int(reference["$ref"].removeprefix("#/"))]


def cut(types: list[dict[str, Any]], kind: dict[str, Any], seen: list[tuple[File, Any]]) -> Any:
    """A type as the table has it, followed as far as the values in `seen` go."""
    seen = [(file, one) for file, value in seen for one in values(value, file)]
    match kind["$type"]:
        case "StringType":
            return "string"
        case "IntegerType":
            return "int"
        case "BooleanType":
            return "bool"
        case "StringLiteralType":
            return [kind["value"]]
        case "UnionType":
            words: list[str] = []
            for reference in kind["elements"]:
                one = _at(types, reference)
                words.append(one["value"] if one["$type"] == "StringLiteralType" else "string")
            return words
        case "ArrayType":
            inside = [(file, item) for file, value in seen if isinstance(value, list) for item in value]
            return {"[]": cut(types, _at(types, kind["itemType"]), inside)} if inside else _CUT
        case "ObjectType":
            return _object(types, kind["properties"], kind.get("additionalProperties"), seen)
        case "DiscriminatedObjectType":
            tells = kind["discriminator"]
            objects: dict[str, Any] = {"?": tells}
            for name, reference in kind["elements"].items():
                mine = [(file, one) for file, one in seen if isinstance(one, dict) and one.get(tells) == name]
                if mine:
                    one = _at(types, reference)
                    objects[name] = _object(
                        types, kind["baseProperties"] | one["properties"], one.get("additionalProperties"), mine
                    )
            return objects
    return "any"


def _object(types: list[dict[str, Any]], properties: dict[str, Any], more: Any, seen: list[tuple[File, Any]]) -> Any:
    objects = [(file, one) for file, one in seen if isinstance(one, dict)]
    if not objects:
        return _CUT
    shape: dict[str, Any] = {}
    for name, entry in sorted(properties.items()):
        if entry["flags"] & _READ_ONLY:
            continue
        inside = [(file, one[name]) for file, one in objects if name in one]
        kind = _at(types, entry["type"])
        plain = kind["$type"] not in ("ObjectType", "ArrayType", "DiscriminatedObjectType")
        shape[name + "!" * bool(entry["flags"] & _REQUIRED)] = cut(types, kind, inside) if inside or plain else _CUT
    if more:
        inside = [(file, value) for file, one in objects for name, value in one.items() if name not in properties]
        shape["*"] = cut(types, _at(types, more), inside)
    return shape


def faults(shape: Any, value: Any, file: File, path: str) -> list[str]:
    """How a value is not of its shape."""
    found: list[str] = []
    for one in values(value, file):
        found += _faults(shape, one, file, path)
    whole = values(value, file)
    if isinstance(shape, dict) and len(whole) == 1 and isinstance(whole[0], dict) and file.known(value) is whole[0]:
        required = [name[:-1] for name in _for(shape, whole[0]) if name.endswith("!")]
        found += [f"{path}: misses {name}" for name in required if name not in whole[0]]
    return found


def _for(shape: dict[str, Any], value: dict[str, Any]) -> dict[str, Any]:
    return shape.get(value.get(shape["?"]), {}) if "?" in shape else shape


def _faults(shape: Any, value: Any, file: File, path: str) -> list[str]:
    if shape == "any" or value is None:
        return []
    if shape == _CUT:
        return [f"{path}: infra/types.json is not cut for this; make it anew"] if value else []
    if isinstance(value, dict):
        if not isinstance(shape, dict) or "[]" in shape:
            return [f"{path}: an object, where Azure takes {shape}"]
        if "?" in shape and value.get(shape["?"]) not in shape:
            return [f"{path}: no such {shape['?']}: {value.get(shape['?'])}"]
        shape = _for(shape, value)
        found: list[str] = []
        for name, inside in value.items():
            inner = shape.get(name, shape.get(f"{name}!", shape.get("*")))
            if inner is None:
                found.append(f"{path}: Azure knows no {name}")
            else:
                found += faults(inner, inside, file, f"{path}.{name}")
        return found
    if isinstance(value, list):
        if not isinstance(shape, dict) or "[]" not in shape:
            return [f"{path}: an array, where Azure takes {shape}"]
        return [fault for n, item in enumerate(value) for fault in faults(shape["[]"], item, file, f"{path}[{n}]")]
    if isinstance(shape, list):
        taken = value in shape or ("string" in shape and isinstance(value, str))
        return [] if taken else [f"{path}: {value!r}, where Azure takes {shape}"]
    kind = {bool: "bool", int: "int", str: "string"}[type(value)]
    return [] if kind == shape else [f"{path}: {value!r}, where Azure takes {shape}"]


def make(clone: str) -> None:
    definitions = Definitions(clone)
    table = {}
    for name, resources in sorted(used().items()):
        types, body = definitions.find(name)
        table[name] = cut(types, body, [(file, written(file, resource)) for file, resource in resources])
    source = f"github.com/Azure/bicep-types-az at {definitions.commit}"
    text = json.dumps({"source": source, "types": table}, indent=1, ensure_ascii=False)
    text = re.sub(r'\[\s+((?:"[^"]*",?\s+)+)\]', lambda found: "[" + " ".join(found[1].split()) + "]", text)
    TABLE.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    make(sys.argv[1])
