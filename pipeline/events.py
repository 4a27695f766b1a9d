"""Messages from outside, read: blob events in both schemas, step messages. All hostile until parsed."""

from __future__ import annotations

import base64
import codecs
import json
import re
from collections import Counter
from dataclasses import dataclass
from typing import Any

from pipeline.addresses import without_queries
from pipeline.validation import quoted

BLOB_CREATED = "Microsoft.Storage.BlobCreated"


LONGEST_MESSAGE = 512 * 1024
"""Bytes of a message. Azure's queues take 64 KiB; the largest request (64 data disks and 30 tags, all of it escaped)
takes some 300."""
_DEEPEST = 64  # objects and lists within each other
_MOST = 2000
"""Values in a message: the largest request has 300, and 64 KiB of blob events have some 1,300."""
_LONGEST_NUMBER = 100  # characters
_AROUND = 30  # characters of a line that are shown on either side of a fault
_BOMS = {
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
    codecs.BOM_UTF8: "utf-8-sig",
}  # the longer before those that they begin with


class Unreadable(ValueError):
    """A message that is not what its queue is for. The text says what is wrong with it."""


class TooLong(Unreadable):
    """A message of more than LONGEST_MESSAGE bytes."""


@dataclass(frozen=True)
class BlobCreated:
    """A blob was created at `url`, as the storage account told it. `id` is the event's own."""

    id: str
    url: str


def read_json(message: bytes) -> Any:
    """The JSON in a message: in UTF-8, UTF-16 or UTF-32, as it is or in base64. Raises Unreadable, or TooLong."""
    if len(message) > LONGEST_MESSAGE:
        raise TooLong(f"it has {len(message):,} bytes, and {LONGEST_MESSAGE:,} are taken at most")
    try:
        return _loads(_text(message))
    except _NoJson as fault:
        try:
            inner = _base64(message)
            if inner is None:
                raise Unreadable(f"neither JSON nor base64 of JSON: {fault}") from fault
            return _loads(_text(inner))
        except _NoJson as within:
            raise Unreadable(f"neither JSON nor base64 of JSON: decoded, {within}") from fault


class _NoJson(Unreadable):
    """Text that is not JSON, and may be base64 of it."""


def _encoding(message: bytes) -> str:
    # PowerShell writes UTF-16 and byte order marks; without a mark, the zeros of the first characters tell.
    marked = next((encoding for bom, encoding in _BOMS.items() if message.startswith(bom)), None)
    return marked or json.detect_encoding(message)


def _text(message: bytes) -> str:
    encoding = _encoding(message)
    try:
        return message.decode(encoding).strip()
    except UnicodeDecodeError as error:
        byte, name = f"0x{message[error.start]:02x}", encoding.removesuffix("-sig").upper()
        raise _NoJson(f"the byte {byte} at position {error.start + 1} is no {name}") from error


def legible(message: bytes) -> str:
    """A message as text that may be kept: without the queries of addresses, in base64 that it holds, too.

    What is no text is written with backslashes. Base64 is left as it is where it hides no query.
    """
    encoding = _encoding(message)
    return _without_queries(message.decode(encoding, errors="backslashreplace"), _LAYERS)


_LAYERS = 3  # of base64 within each other
_IN_BASE64 = re.compile(r"[A-Za-z0-9+/_-]{12,}+={0,2}")


def _without_queries(text: str, layers: int) -> str:
    clean = without_queries(text)
    if not layers:
        return clean
    whole = "".join(clean.split())
    if _IN_BASE64.fullmatch(whole):
        return _decoded(whole, layers) or clean
    return _IN_BASE64.sub(lambda found: _decoded(found[0], layers) or found[0], clean)


def _decoded(encoded: str, layers: int) -> str | None:
    """What is in base64, without its queries; None where it has none. What stands before it may be left out."""
    plain = encoded.rstrip("=").replace("-", "+").replace("_", "/")
    for skipped in range(4):
        shifted = plain[skipped:]
        shifted = shifted[: len(shifted) - (len(shifted) % 4 == 1)]
        text = _as_text(base64.b64decode(shifted + "=" * (-len(shifted) % 4)))
        if text and (clean := _without_queries(text, layers - 1)) != text:
            return clean
    return None


def _as_text(inner: bytes) -> str | None:
    """Bytes as text, None where they are none, or only in a few places."""
    encoding = _encoding(inner)
    try:
        return inner.decode(encoding)
    except UnicodeDecodeError:
        most_is_ascii = len(inner.translate(None, _NOT_ASCII)) > 0.75 * len(inner)
        return inner.decode(encoding, errors="backslashreplace") if most_is_ascii else None


_NOT_ASCII = bytes(range(0x80, 0x100))


def _base64(message: bytes) -> bytes | None:
    """What `message` is the base64 of, None where it is not base64. Line ends and other space do not count."""
    try:
        return base64.b64decode("".join(_text(message).split()), validate=True) or None
    except ValueError:
        return None


def _loads(text: str) -> Any:
    if not text:
        raise _NoJson("it is empty")
    counted = _Counted()
    try:
        found = json.loads(
            text,
            object_pairs_hook=counted.object,
            parse_int=counted.integer,
            parse_float=counted.fraction,
            parse_constant=_no_number,
        )
    except json.JSONDecodeError as error:
        raise _NoJson(_place(error)) from error
    except RecursionError as error:
        raise Unreadable(_TOO_DEEP) from error
    _check_size(found)
    return found


_TOO_DEEP = f"objects and lists lie more than {_DEEPEST} deep within each other"
_TOO_MANY = f"it has more than {_MOST:,} values"


def _place(error: json.JSONDecodeError) -> str:
    line = error.doc.split("\n")[error.lineno - 1]
    at = error.colno - 1
    if error.pos >= len(error.doc):
        return f"it ends in line {error.lineno}, column {error.colno}, before its value does"
    shown = quoted(line[max(0, at - _AROUND) : at + _AROUND])
    return f"line {error.lineno} is no JSON from column {error.colno} on, near {shown}"


class _Counted:
    """What is made of objects and numbers while a text is read; no more of it is read than may be."""

    def __init__(self) -> None:
        self._count = 0

    def _more(self, count: int) -> None:
        self._count += count
        if self._count > _MOST:
            raise Unreadable(_TOO_MANY)

    def object(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        self._more(1)
        found = dict(pairs)
        if len(found) < len(pairs):
            (twice, _), *_ = Counter(name for name, _ in pairs).most_common(1)
            raise Unreadable(f"an object names {quoted(twice)} twice")
        return found

    def integer(self, text: str) -> int:
        return int(self._number(text))

    def fraction(self, text: str) -> float:
        return float(self._number(text))

    def _number(self, text: str) -> str:
        self._more(1)
        if len(text) > _LONGEST_NUMBER:
            raise Unreadable(f"a number has {len(text)} digits, which is more than {_LONGEST_NUMBER}")
        return text


def _no_number(text: str) -> float:
    raise Unreadable(f"{text} is no number that JSON has")


def _check_size(found: Any) -> None:
    level, count = [found], 0
    for _ in range(_DEEPEST + 1):
        count += len(level)
        if count > _MOST:
            raise Unreadable(_TOO_MANY)
        lists = [value for value in level if isinstance(value, list)]
        objects = [value.values() for value in level if isinstance(value, dict)]
        level = [inner for value in [*lists, *objects] for inner in value]
    if level:
        raise Unreadable(_TOO_DEEP)


def read_blob_events(message: bytes) -> tuple[list[BlobCreated], list[str]]:
    """The BlobCreated events in a message, and what is wrong with others in it.

    It is one event or a list, Event Grid schema or CloudEvents 1.0. Events of other types are left out. Raises
    Unreadable where the message is no JSON.
    """
    found = read_json(message)
    if not isinstance(found, list):
        event = _read_blob_event(found)
        return [event] if event else [], []
    events, faults = [], []
    for n, one in enumerate(found):
        try:
            events.append(_read_blob_event(one))
        except Unreadable as fault:
            faults.append(f"event {n}: {fault}")
    return [event for event in events if event], faults


def _read_blob_event(event: Any) -> BlobCreated | None:
    if not isinstance(event, dict):
        raise Unreadable("an event is a JSON object")
    kind = event.get("eventType") or event.get("type")
    if not isinstance(kind, str):
        raise Unreadable("an event has eventType (Event Grid schema) or type (CloudEvents)")
    if kind != BLOB_CREATED:
        return None
    data = event.get("data")
    url = data.get("url") if isinstance(data, dict) else None
    if not isinstance(url, str) or not url:
        raise Unreadable("a BlobCreated event has data.url")
    return BlobCreated(id=str(event.get("id", "")), url=url)


def read_step(message: bytes) -> tuple[str, int]:
    """The run and the generation that a step message names. Raises Unreadable."""
    found = read_json(message)
    run, generation = (found.get("run"), found.get("generation")) if isinstance(found, dict) else (None, None)
    if not isinstance(run, str) or not isinstance(generation, int):
        raise Unreadable('a step is {"run": id, "generation": number}')
    return run, generation
