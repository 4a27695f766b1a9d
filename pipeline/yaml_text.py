"""YAML read into data, with the line of each entry, and with every fault of the text in words. Pure."""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml
from yaml.constructor import SafeConstructor
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from yaml.reader import Reader

from pipeline.validation import Fault, quoted

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_DEEPEST = 64  # lists and mappings within each other; PyYAML's C loader ends the process far behind it
_MOST = 100_000  # entries, those counted anew that an alias repeats
_TAG = "tag:yaml.org,2002:"
_Path = tuple[str | int, ...]


class NotYaml(ValueError):
    """Text that cannot be read as one YAML document. The message says where and why."""


@dataclass
class Document:
    """What a text says. `lines` has the line, from 1, of each path; `faults` is what is wrong though it can be read."""

    data: Any = None
    lines: dict[_Path, int] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)

    def line(self, path: _Path) -> int | None:
        """The line of a path, or of what it would be in."""
        return next((self.lines[path[:n]] for n in range(len(path), -1, -1) if path[:n] in self.lines), None)


def read_yaml(raw: bytes | str) -> Document:
    """The one document in `raw`: UTF-8 where it is bytes, a byte order mark is fine. Raises NotYaml.

    A name that a mapping has twice is a fault, as is one that is no text. Merge keys and aliases mean what YAML says.
    """
    text = raw.removeprefix("\ufeff") if isinstance(raw, str) else _decoded(raw)
    if control := Reader.NON_PRINTABLE.search(text):
        line = text.count("\n", 0, control.start()) + 1
        raise NotYaml(f"line {line} holds U+{ord(control[0]):04X}, a character that no YAML has")
    try:
        _check_events(text)
        node = _Loader(text).get_single_node()
    except yaml.MarkedYAMLError as error:
        raise NotYaml(_place(error, text)) from error
    except yaml.YAMLError as error:
        raise NotYaml("this cannot be read as YAML") from error
    reading = _Reading()
    if node is not None:
        reading.document.lines[()] = node.start_mark.line + 1
        reading.document.data = reading.value(node, ())
    return reading.document


def _decoded(raw: bytes) -> str:
    if raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or b"\0" in raw[:4]:
        raise NotYaml("this is UTF-16 or UTF-32: save it as UTF-8")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        # utf-8-sig counts from behind the mark.
        at = error.start + (len(codecs.BOM_UTF8) if raw.startswith(codecs.BOM_UTF8) else 0)
        line = raw.count(b"\n", 0, at) + 1
        raise NotYaml(
            f"line {line} holds the byte 0x{raw[at]:02x}, which is no UTF-8 (this may be Latin-1 or Windows-1252): "
            "save it as UTF-8"
        ) from error


def _check_events(text: str) -> None:
    """See to what composing nodes would stumble over. Raises NotYaml, or YAMLError where the text has no form."""
    depth, documents = 0, 0
    anchors: set[str] = set()
    for event in yaml.parse(text, _Loader):
        line = event.start_mark.line + 1 if event.start_mark else 1
        if isinstance(event, yaml.AliasEvent) and event.anchor not in anchors:
            raise NotYaml(f"line {line}: *{event.anchor} stands for nothing: there is no &{event.anchor} before it")
        if isinstance(event, yaml.NodeEvent) and event.anchor is not None:
            anchors.add(event.anchor)
        if isinstance(event, yaml.DocumentStartEvent):
            documents += 1
            if documents > 1:
                raise NotYaml(f"line {line} begins another document: there is to be one")
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > _DEEPEST:
            raise NotYaml(f"line {line}: lists and mappings lie more than {_DEEPEST} deep within each other")


def _place(error: yaml.MarkedYAMLError, text: str) -> str:
    mark = error.problem_mark or error.context_mark
    if mark is None:
        return "this cannot be read as YAML"
    lines = text.split("\n")
    at = min(mark.line, len(lines) - 1)
    said = f"line {at + 1}, column {mark.column + 1} cannot be read as YAML: {quoted(lines[at].strip())}"
    begun = error.context_mark
    if begun and begun.line != mark.line:
        said += f", in what begins in line {begun.line + 1}"
    if "\t" in lines[at][: len(lines[at]) - len(lines[at].lstrip())]:
        said += ": a tab stands where YAML takes spaces"
    return said


class _Reading:
    """One reading of a node tree, in which each fault is told once however often an alias leads to it."""

    def __init__(self) -> None:
        self.document = Document()
        self._construct = SafeConstructor()
        self._within: set[int] = set()
        self._told: set[int] = set()
        self._count = 0

    def value(self, node: Node, path: _Path) -> Any:
        self._count += 1
        if self._count > _MOST:
            raise NotYaml(f"this has more than {_MOST} entries, counting what aliases repeat")
        if id(node) in self._within:
            self._tell(node, Fault(path, "refers to itself"))
            return None
        self._within.add(id(node))
        try:
            return self._read(node, path)
        finally:
            self._within.discard(id(node))

    def _read(self, node: Node, path: _Path) -> Any:
        if isinstance(node, MappingNode) and node.tag == f"{_TAG}map":
            entries = {}
            for name, (key, inner) in self._entries(node, path).items():
                self.document.lines[*path, name] = key.start_mark.line + 1
                entries[name] = self.value(inner, (*path, name))
            return entries
        if isinstance(node, SequenceNode) and node.tag == f"{_TAG}seq":
            items = []
            for n, inner in enumerate(node.value):
                self.document.lines[*path, n] = inner.start_mark.line + 1
                items.append(self.value(inner, (*path, n)))
            return items
        return self._scalar(node, path)

    def _entries(self, node: MappingNode, path: _Path) -> dict[str, tuple[Node, Node]]:
        """A mapping's entries by name, with the nodes of key and value; its own go before those that it merges in."""
        own: dict[str, tuple[Node, Node]] = {}
        merged: dict[str, tuple[Node, Node]] = {}
        for key, inner in node.value:
            if key.tag == f"{_TAG}merge":
                for further in self._merged(inner, path):
                    merged = {**further, **merged}
                continue
            name = self._name(key, path)
            if name in own:
                lines = f"{own[name][0].start_mark.line + 1} and {key.start_mark.line + 1}"
                self._tell(key, Fault((*path, name), f"is there twice, in lines {lines}"))
            own[name] = (key, inner)
        return merged | own

    def _merged(self, node: Node, path: _Path) -> Iterator[dict[str, tuple[Node, Node]]]:
        for one in node.value if isinstance(node, SequenceNode) else [node]:
            if not isinstance(one, MappingNode):
                self._tell(one, Fault(path, "takes a mapping to merge behind <<, or a list of them"))
            elif id(one) in self._within:
                self._tell(one, Fault(path, "refers to itself"))
            else:
                self._within.add(id(one))
                yield self._entries(one, path)
                self._within.discard(id(one))

    def _name(self, key: Node, path: _Path) -> str:
        if isinstance(key, ScalarNode) and key.tag == f"{_TAG}str":
            return str(key.value)
        shown = str(key.value) if isinstance(key, ScalarNode) else "…"
        what = f"{quoted(shown)}: put it in quotes" if isinstance(key, ScalarNode) else "a list or a mapping"
        self._tell(key, Fault(path, f"takes text for a name in line {key.start_mark.line + 1}, not {what}"))
        return shown

    def _scalar(self, node: Node, path: _Path) -> Any:
        if not isinstance(node, ScalarNode):  # its tag says that it is one
            self._tell(node, Fault(path, _meaningless(node)))
            return None
        text = str(node.value)
        try:
            match node.tag.removeprefix(_TAG):
                case "str" | "timestamp" | "value" | "merge":
                    return text
                case "null":
                    return None
                case "bool":
                    return SafeConstructor.bool_values[text.lower()]
                case "int":
                    return self._construct.construct_yaml_int(node)
                case "float":
                    return self._construct.construct_yaml_float(node)
        except (ValueError, KeyError, IndexError):  # a tag says what the text is not, or it has thousands of digits
            return text
        self._tell(node, Fault(path, _meaningless(node)))
        return text

    def _tell(self, node: Node, fault: Fault) -> None:
        if id(node) not in self._told:
            self._told.add(id(node))
            self.document.faults.append(fault)


def _meaningless(node: Node) -> str:
    return f"has the tag {quoted(node.tag.replace(_TAG, '!!'))}, which means nothing here"
