"""Bicep as it is written: what a file declares, its values as Python's where they are plain."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import tree_sitter_bicep
from tree_sitter import Language, Node, Parser

ROOT = Path(__file__).parents[2]
INFRA = ROOT / "infra"
_PARSER = Parser(Language(tree_sitter_bicep.language()))


@dataclass(frozen=True)
class Expr:
    """What is not a plain value. `branches`: the values it may come to, as far as they are written out in it."""

    text: str
    branches: list[Any] = field(default_factory=list)


@dataclass(frozen=True)
class Resource:
    symbol: str
    type: str
    version: str
    existing: bool
    text: str
    body: dict[str, Any]


@dataclass(frozen=True)
class Module:
    symbol: str
    path: str
    condition: str
    body: dict[str, Any]


@dataclass
class File:
    path: Path
    scope: str = "resourceGroup"
    params: dict[str, Any] = field(default_factory=dict)  # the default, or ...
    types: dict[str, str] = field(default_factory=dict)
    described: set[str] = field(default_factory=set)
    vars: dict[str, Any] = field(default_factory=dict)
    resources: list[Resource] = field(default_factory=list)
    modules: list[Module] = field(default_factory=list)
    outputs: dict[str, Any] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)

    def known(self, value: Any) -> Any:
        """`value`, or what the variable or parameter of that name comes to here."""
        while isinstance(value, Expr):
            found = self.vars.get(value.text, self.params.get(value.text, ...))
            if found is ...:
                return value
            value = found
        return value


def files() -> list[File]:
    return [read(path) for path in sorted(INFRA.rglob("*.bicep"))]


def module(name: str) -> File:
    return read(INFRA / "modules" / f"{name}.bicep")


@cache
def read(path: Path) -> File:
    root = _PARSER.parse(path.read_bytes()).root_node
    file = File(path, faults=[f"{path.name}:{n.start_point.row + 1}: {_text(n)[:60]}" for n in _faults(root)])
    decorated: list[str] = []
    for node in root.named_children:
        match node.type:
            case "target_scope_assignment":
                file.scope = str(_value(node.named_children[-1]))
            case "decorators":
                decorated = [_text(one.named_children[0].named_children[0]) for one in node.named_children]
                continue
            case "parameter_declaration":
                name, kind, *default = node.named_children
                file.params[_text(name)] = _value(default[0]) if default else ...
                file.types[_text(name)] = _text(kind)
                if "description" in decorated:
                    file.described.add(_text(name))
            case "variable_declaration":
                file.vars[_text(node.named_children[0])] = _value(node.named_children[-1])
            case "output_declaration":
                file.outputs[_text(node.named_children[0])] = _value(node.named_children[-1])
            case "resource_declaration":
                symbol, kind, body = node.named_children
                name, _, version = str(_value(kind)).partition("@")
                existing = any(child.type == "existing" for child in node.children)
                file.resources.append(Resource(_text(symbol), name, version, existing, _text(node), _body(body)))
            case "module_declaration":
                symbol, where, body = node.named_children
                condition = _text(body.named_children[0]) if body.type == "if_statement" else ""
                file.modules.append(Module(_text(symbol), str(_value(where)), condition, _body(body)))
        decorated = []
    return file


def _faults(node: Node) -> Iterator[Node]:
    if node.type == "ERROR" or node.is_missing:
        yield node
    for child in node.children:
        yield from _faults(child)


def _text(node: Node) -> str:
    return (node.text or b"").decode()


def _body(node: Node) -> dict[str, Any]:
    while node.type in ("if_statement", "for_statement"):
        node = node.named_children[-1]
    return _value(node)


def _value(node: Node) -> Any:
    match node.type:
        case "string":
            return _text(node)[1:-1].replace("\\'", "'") if _plain(node) else Expr(_text(node))
        case "number":
            return int(_text(node))
        case "boolean":
            return _text(node) == "true"
        case "null":
            return None
        case "array":
            return [_value(child) for child in node.named_children if child.type != "comment"]
        case "object":
            pairs = [child.named_children for child in node.named_children if child.type == "object_property"]
            return {_key(key): _value(value) for key, value in pairs}
        case "parenthesized_expression":
            return _value(node.named_children[0])
        case "for_statement":
            return Expr(_text(node), [[_value(node.named_children[-1])]])
        case "ternary_expression":
            return Expr(_text(node), _flat(node.named_children[1:]))
        case "call_expression" if _text(node.named_children[0]) in ("union", "concat"):
            return Expr(_text(node), _flat(node.named_children[1].named_children))
    return Expr(_text(node))


def _flat(nodes: list[Node]) -> list[Any]:
    found: list[Any] = []
    for node in nodes:
        value = _value(node)
        found += value.branches if isinstance(value, Expr) and value.branches else [value]
    return found


def _plain(node: Node) -> bool:
    return not any(child.type == "interpolation" for child in node.named_children)


def _key(node: Node) -> str:
    return _text(node)[1:-1] if node.type == "string" else _text(node)


def values(value: Any, file: File) -> list[Any]:
    """All that a value may be written as, names looked up: an object or array of each branch."""
    value = file.known(value)
    if isinstance(value, Expr):
        return [one for branch in value.branches for one in values(branch, file)]
    return [value]
