"""What is wrong with data from outside, field by field, in words that its writer can act on. Pure.

A model says what it takes; this module says what it does not, whatever pydantic calls it.
"""

from __future__ import annotations

import json
import re
import types
from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from enum import Enum
from typing import Annotated, Any, Literal, NamedTuple, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, StringConstraints, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

_LONGEST_ECHO = 80
_MOST_NAMES = 20
_KEY = "[key]"
"""What pydantic ends a location with where the name of an entry is at fault, not what it holds."""
_NO_TEXT = "holds half of a character (a lone surrogate), which no text can hold"
_WORDS: dict[str, str] = {}
_VERBS = {"is", "takes", "holds", "has", "names", "refers", "does"}
_Path = tuple[str | int, ...]
Made = TypeVar("Made")
Model = TypeVar("Model", bound=BaseModel)


class Fault(NamedTuple):
    """What is wrong with the field at `path`, in words. `also` is the path of another field that it is about."""

    path: _Path
    words: str
    also: _Path | None = None


class Faults(ValueError):
    """What a validator raises that has several faults to tell, or one of a field within; paths begin where it is."""

    def __init__(self, faults: Iterable[Fault]) -> None:
        self.faults = list(faults)
        super().__init__("; ".join(sentence(field_name(fault.path), fault.words) for fault in self.faults))


def pattern(regex: str, words: str) -> StringConstraints:
    """Text of the form `regex`; `words` say what that is, as in `takes WORDS, not "…"`."""
    _WORDS[regex] = words
    return StringConstraints(pattern=regex)


_UNSEEN_RANGES = [
    (0x00, 0x1F), (0x7F, 0x9F), (0xAD, 0xAD), (0x034F, 0x034F), (0x061C, 0x061C), (0x115F, 0x1160), (0x17B4, 0x17B5),
    (0x180B, 0x180F), (0x200B, 0x200F), (0x2028, 0x202E), (0x2060, 0x206F), (0x3164, 0x3164), (0xFEFF, 0xFEFF),
    (0xFFA0, 0xFFA0), (0xFFF0, 0xFFFB), (0x1BCA0, 0x1BCA3), (0x1D173, 0x1D17A), (0xE0000, 0xE0FFF),
]  # fmt: skip
"""Control characters, ends of lines, and what Unicode calls Default_Ignorable_Code_Point (DerivedCoreProperties.txt),
the directions of bidirectional text among them. U+FE00 to U+FE0F is not: it belongs to the emoji before it."""


def _escaped(code: int) -> str:
    """A character as Python, Rust, ECMAScript and JSON Schema take it in a class of a regular expression."""
    return chr(code) if code > 0xFFFF else f"\\u{code:04x}" if code > 0xFF else f"\\x{code:02x}"


UNSEEN = "".join(_escaped(first) + (f"-{_escaped(last)}" if last > first else "") for first, last in _UNSEEN_RANGES)
"""What shows nothing of its own, or changes how other text is shown: what stands in a class of a pattern."""
ONE_LINE = pattern(f"^[^{UNSEEN}]*$", "text of one line, without control or invisible characters")
"""Text that a log, a tag and a terminal can show as it is."""
_UNSEEN = re.compile(f"[{UNSEEN}\ud800-\udfff]+")
_UNSEEN_IN_A_LINE = re.compile(f"(?:(?!\n)[{UNSEEN}\ud800-\udfff])+")


def visible(text: str, *, lines: bool = False) -> str:
    """`text` as a terminal can show it: what shows nothing, or moves other text, as JSON escapes it, and halves of
    characters. With `lines`, ends of lines stay."""
    return (_UNSEEN_IN_A_LINE if lines else _UNSEEN).sub(lambda found: json.dumps(found[0])[1:-1], text)


def quoted(value: str) -> str:
    """Text as it was given, in ASCII, cut where it is long."""
    return json.dumps(value if len(value) <= _LONGEST_ECHO else value[:_LONGEST_ECHO] + "...")


def names(given: Iterable[str], last: str = "and") -> str:
    """Names as a sentence lists them, the first of them where there are many."""
    given = list(given)
    most = _MOST_NAMES if len(given) <= _MOST_NAMES else _MOST_NAMES - 1
    shown = [name if _is_plain(name) else quoted(name) for name in given[:most]]
    if len(given) > most:
        shown.append(f"{len(given) - most} more")
    return f" {last} ".join([", ".join(shown[:-1]), shown[-1]] if len(shown) > 1 else shown or ["none"])


def unknown(what: str, name: str, known: Iterable[str]) -> str:
    """That `what`, such as `the catalog has no image`, there is none of that `name`, and which there are."""
    known = list(known)
    return f"{what} {quoted(name)}; it has {names(known)}{_meant(name, known)}"


def field_name(path: _Path) -> str:
    """The name by which a field is told of: `source.data_disks.0.lun`."""
    return ".".join(str(part) if isinstance(part, int) or _is_plain(part) else quoted(part) for part in path)


def _is_plain(name: str) -> bool:
    return 0 < len(name) <= _LONGEST_ECHO and name.isascii() and name.isprintable()


def sentence(field: str, words: str) -> str:
    """A fault in one line."""
    if not field:
        return words
    return f"{field} {words}" if words.partition(" ")[0] in _VERBS else f"{field}: {words}"


def beside(
    handler: Callable[[Any], Made], data: Any, model: type[BaseModel], faults: list[Fault], most: int | None = None
) -> Made:
    """What `handler` of a wrapping validator of `model` makes of `data`.

    Raises Faults: those of the fields, the first `most` of them in words, and `faults`, which are those between fields,
    together.
    """
    try:
        made = handler(data)
    except ValidationError as error:
        if not faults:
            raise
        raise Faults([*found(error, model, most), *faults]) from None
    if faults:
        raise Faults(faults)
    return made


def parsed(model: type[Model], data: Any, most: int | None = None) -> tuple[Model | None, list[Fault]]:
    """`data` as `model` has it, or every fault that keeps it from being so, the first `most` in words."""
    clean, faults = _legible(data, ())
    try:
        made = model.model_validate(clean)
    except ValidationError as error:
        told = {fault.path for fault in faults}
        return None, [*faults, *(fault for fault in found(error, model, most) if fault.path not in told)]
    return (None, faults) if faults else (made, [])


def _legible(data: Any, path: _Path) -> tuple[Any, list[Fault]]:
    """`data` with all text such that UTF-8 can hold it, and where it was not."""
    if isinstance(data, str):
        if data.isascii():
            return data, []
        clean = data.encode(errors="replace").decode()
        return clean, [] if clean == data else [Fault(path, _NO_TEXT)]
    faults: list[Fault] = []
    if isinstance(data, list):
        items = []
        for n, value in enumerate(data):
            clean, more = _legible(value, (*path, n))
            items.append(clean)
            faults += more
        return items, faults
    if isinstance(data, dict):
        entries = {}
        for name, value in data.items():
            if _legible(name, path)[1]:
                faults.append(Fault((*path, name), f"the name {_NO_TEXT}"))
                continue
            entries[name], more = _legible(value, (*path, name))
            faults += more
        return entries, faults
    return data, faults


def found(error: ValidationError, model: type[BaseModel], most: int | None = None) -> list[Fault]:
    """Every fault that pydantic found in what was to be `model`. Behind the first `most` it is not said what each is:
    that takes longer than to find it."""
    faults: list[Fault] = []
    for one in error.errors(include_url=False):
        raised = one.get("ctx", {}).get("error")
        path = one["loc"]
        if most is not None and len(faults) >= most:
            faults.append(Fault(path, "is at fault"))
        elif isinstance(raised, Faults):
            faults += [
                fault._replace(path=path + fault.path, also=None if fault.also is None else path + fault.also)
                for fault in raised.faults
            ]
        elif one["type"] in ("value_error", "assertion_error"):
            faults.append(Fault(path, str(raised)))
        elif path and path[-1] == _KEY:
            faults.append(Fault(path[:-1], f"the name {_words(one, model, path)}"))
        else:
            faults.append(Fault(path, _words(one, model, path)))
    return faults


def _words(one: ErrorDetails, model: type[BaseModel], path: _Path) -> str:
    kind, given, ctx = one["type"], one["input"], one.get("ctx", {})
    match kind:
        case "missing":
            return "is missing"
        case "extra_forbidden":
            return _unknown_field(str(path[-1]), _at(model, path[:-1]))
        case "enum" | "literal_error":
            return f"takes {names(_choices(_at(model, path)), 'or')}, not {described(given)}"
        case "string_pattern_mismatch":
            return f"takes {_WORDS.get(str(ctx['pattern']), 'text of another form')}, not {described(given)}"
        case "string_too_short" | "string_too_long" | "too_short" | "too_long":
            return _length(kind, ctx, len(given))
        case "greater_than" | "greater_than_equal" | "less_than" | "less_than_equal":
            return f"takes {_bounds(_constraints(model, path), ctx)}, not {described(given)}"
        case "string_unicode":
            return _NO_TEXT
        case "recursion_loop":
            return "refers to itself"
        case "finite_number":
            return f"takes a number, not {described(given)}"
    for begins, taken in _KINDS.items():
        if kind.startswith(begins):
            shown = described if "number" in taken and isinstance(given, float) else _kind
            return f"takes {taken}, not {shown(given)}"
    return f"does not take {described(given)}"


_KINDS = {
    "string": "text",
    "int": "a whole number",
    "float": "a number",
    "decimal": "a number",
    "bool": "true or false",
    "model": "an object",
    "dict": "an object",
    "mapping": "an object",
    "list": "a list",
    "tuple": "a list",
    "set": "a list",
    "date": "a time",
    "time": "a time",
    "path": "a path",
    "invalid_key": "text for a name",
    "none": "null",
}


def _unknown_field(name: str, model: Any) -> str:
    if not _is_model(model):
        return "is unknown"
    known = [field.alias or own for own, field in model.model_fields.items()]
    return f"is unknown; {names(known)} {'is' if len(known) == 1 else 'are'} taken here{_meant(name, known)}"


def _meant(name: str, known: list[str]) -> str:
    close = get_close_matches(name.lower()[:_LONGEST_ECHO], [one.lower() for one in known], 1)
    meant = next((one for one in known if one.lower() in close), None)
    return f". Did you mean {meant}?" if meant else ""


def _length(kind: str, ctx: Mapping[str, Any], given: int) -> str:
    if kind.startswith("string"):
        if kind == "string_too_long":
            return f"takes at most {ctx['max_length']} characters, not {given}"
        return "is empty" if given == 0 else f"takes at least {ctx['min_length']} characters, not {given}"
    if kind == "too_long":
        return f"takes at most {ctx['max_length']} entries, not {given}"
    return "is empty" if given == 0 else f"takes at least {ctx['min_length']} entries, not {given}"


def _bounds(known: Mapping[str, Any], ctx: Mapping[str, Any]) -> str:
    bounds = {**known, **ctx}
    bounds |= {name: int(bound) for name, bound in bounds.items() if isinstance(bound, float) and bound.is_integer()}
    if "ge" in bounds and "le" in bounds:
        return f"{bounds['ge']} to {bounds['le']}"
    said = {"ge": "{} or more", "gt": "more than {}", "le": "{} or less", "lt": "less than {}"}
    return " and ".join(words.format(bounds[name]) for name, words in said.items() if name in bounds)


def described(value: object) -> str:
    """What was given, as its writer wrote it where that is short."""
    if isinstance(value, Enum):
        value = value.value
    if value is None or isinstance(value, bool | float):
        return json.dumps(value)
    if isinstance(value, int):
        return str(value) if abs(value) < 10**_LONGEST_ECHO else "a number of so many digits"
    return quoted(value) if isinstance(value, str) else _kind(value)


def _kind(value: object) -> str:
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    if isinstance(value, int | float):
        return "a number"
    if isinstance(value, str):
        return quoted(value)
    if isinstance(value, Mapping):
        return "an object"
    return "a list" if isinstance(value, list | tuple | set) else "this"


def _field(model: Any, name: str | int) -> FieldInfo | None:
    """The field of a model that its writer calls `name`."""
    if not _is_model(model):
        return None
    fields = model.model_fields.items()
    return next((field for own, field in fields if name in (field.alias, field.validation_alias, own)), None)


def _at(model: Any, path: _Path) -> Any:
    """The type of the field at `path` in `model`, None where that cannot be told."""
    for part in path:
        kind = _bare(model)
        if field := _field(kind, part):
            model = field.annotation
        elif get_origin(kind) in (dict, list):
            model = get_args(kind)[-1]
        else:
            return None
    return _bare(model)


def _bare(kind: Any) -> Any:
    """A type without annotations and without the None that may stand in its place."""
    while True:
        if get_origin(kind) is Annotated:
            kind = get_args(kind)[0]
        elif get_origin(kind) in (Union, types.UnionType):
            kind = next((arm for arm in get_args(kind) if arm is not type(None)), None)
        else:
            return kind


def _is_model(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def _choices(kind: Any) -> list[str]:
    if isinstance(kind, type) and issubclass(kind, Enum):
        return [str(member.value) for member in kind]
    return [str(choice) for choice in get_args(kind)] if get_origin(kind) is Literal else ["another value"]


def _constraints(model: Any, path: _Path) -> dict[str, Any]:
    """The bounds of the number at `path` in `model`, by the names they have in a Field."""
    field = _field(_at(model, path[:-1]), path[-1])
    kinds = ("ge", "gt", "le", "lt")
    held = [*field.metadata, *_annotations(field.annotation)] if field else []
    return {kind: getattr(one, kind) for one in held for kind in kinds if getattr(one, kind, None) is not None}


def _annotations(kind: Any) -> list[Any]:
    """What a type is annotated with, the arms of a union included."""
    if get_origin(kind) is Annotated:
        first, *rest = get_args(kind)
        flat = [inner for one in rest for inner in getattr(one, "metadata", [one])]
        return flat + _annotations(first)
    if get_origin(kind) in (Union, types.UnionType):
        return [one for arm in get_args(kind) for one in _annotations(arm)]
    return []
