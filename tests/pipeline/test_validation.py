"""What is wrong with data is told in our words, whatever the library behind calls it."""

from __future__ import annotations

import json
import sys
import unicodedata
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from ipaddress import IPv4Address
from pathlib import Path
from typing import Annotated, Any, Literal, get_args
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import AnyUrl, BaseModel, ConfigDict, Field, StringConstraints, ValidationError
from pydantic_core import PydanticKnownError, PydanticUndefined
from pydantic_core.core_schema import ErrorType

from pipeline.requests import InvalidRequest, parse, parse_request, parse_verdict
from pipeline.validation import (
    Fault,
    described,
    field_name,
    found,
    names,
    parsed,
    pattern,
    quoted,
    sentence,
    visible,
)
from pipeline.web import lifecycle


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Inner(BaseModel):
    model_config = ConfigDict(extra="forbid")

    size: Annotated[int, Field(ge=1, le=9)] = 1
    name: Annotated[str, pattern("^[a-z]{1,3}$", "one to three letters")] = "a"


class Everything(BaseModel):
    """A field of every kind that pydantic has words for."""

    model_config = ConfigDict(extra="forbid")

    a: int
    b: float
    c: bool
    d: str
    e: Annotated[str, StringConstraints(min_length=2, max_length=3)]
    f: list[int]
    g: dict[str, int]
    h: Colour
    i: Literal["x", "y"]
    j: datetime
    k: date
    l: time  # noqa: E741
    m: timedelta
    n: UUID
    o: Decimal
    p: bytes
    q: tuple[int, str]
    r: set[int]
    s: Path
    t: IPv4Address
    u: AnyUrl
    v: Inner
    w: Annotated[float, Field(gt=0, lt=1, allow_inf_nan=False)]
    x: Annotated[int, Field(multiple_of=3)]
    y: Annotated[list[int], Field(min_length=1, max_length=2)]
    z: None
    from_: Annotated[str, Field(alias="from")]


leaves = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(["\ud800", 10**4000])
junk = st.recursive(leaves, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=5)


@given(st.dictionaries(st.sampled_from([*Everything.model_fields, "from", "other"]), junk) | junk)
def test_no_phrase_of_the_library_reaches_a_person(data: Any) -> None:
    try:
        Everything.model_validate(data)
    except ValidationError as error:
        told = found(error, Everything)
        assert told
        for one in error.errors(include_url=False):
            assert not any(one["msg"] in fault.words for fault in told), one
    made, faults = parsed(Everything, data)
    assert (made is None) == bool(faults)
    for fault in faults:
        said = sentence(field_name(fault.path), fault.words)
        assert len(fault.words) < 1000
        said.encode()


OURS = ("value_error", "assertion_error")


@pytest.mark.parametrize("kind", get_args(ErrorType))
def test_every_error_that_the_library_knows_has_words_of_ours(kind: str) -> None:
    context: dict[str, Any] = {
        "pattern": "^x$", "expected": "'a' or 'b'", "error": ValueError("ours") if kind in OURS else "bad", "class": "C", "class_name": "C",
        "min_length": 1, "max_length": 2, "actual_length": 3, "field_type": "List", "method_name": "m", "name": "n",
        "ge": 1, "gt": 1, "le": 1, "lt": 1, "multiple_of": 3, "nan": 1, "discriminator": "d", "tag": "t", "attribute": "a",
        "expected_tags": "t", "encoding": "utf-8", "encoding_error": "bad", "tz_expected": 1, "tz_actual": 2,
        "max_digits": 1, "decimal_places": 1, "whole_digits": 1, "expected_version": 1, "unicode_error": "u",
        "expected_schemes": "https", "mapping_type": "M",
    }  # fmt: skip
    raised = PydanticKnownError(kind, context)  # type: ignore[arg-type]

    class One(BaseModel):
        a: Any = PydanticUndefined

    line = {"type": kind, "loc": ("a",), "input": {"x": 1}, "ctx": context}
    with pytest.raises(ValidationError) as error:
        raise ValidationError.from_exception_data("One", [line])  # type: ignore[list-item]
    (fault,) = found(error.value, One)
    assert fault.words
    if kind not in OURS:
        assert "Input" not in fault.words
        assert raised.message() not in fault.words


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        ({"size": 0}, "size takes 1 to 9, not 0"),
        ({"size": "x"}, 'size takes a whole number, not "x"'),
        ({"size": 1.5}, "size takes a whole number, not 1.5"),
        ({"size": None}, "size takes a whole number, not null"),
        ({"size": 10**5000}, "size takes 1 to 9, not a number of so many digits"),
        ({"name": "toolong"}, 'name takes one to three letters, not "toolong"'),
        ({"name": []}, "name takes text, not a list"),
        ({"nam": "a"}, "nam is unknown; size and name are taken here. Did you mean name?"),
        ({"name": "\ud800"}, "name holds half of a character (a lone surrogate), which no text can hold"),
        ({"\ud800": 1}, '"\\ud800": the name holds half of a character (a lone surrogate), which no text can hold'),
        ({"a\nb": 1}, '"a\\nb" is unknown; size and name are taken here'),
        (None, "takes an object, not null"),
        ([], "takes an object, not a list"),
    ],
)
def test_a_fault_says_what_is_taken_and_what_came(data: Any, fault: str) -> None:
    _, faults = parsed(Inner, data)
    assert [sentence(field_name(one.path), one.words) for one in faults] == [fault]


def test_what_is_echoed_is_ascii_and_short() -> None:
    for value in ("é" * 10_000, "\x1b[2J", "\u202e", "🚀" * 500, '"'):
        assert quoted(value).isascii()
        assert quoted(value).isprintable()
        assert len(quoted(value)) < 1100
        assert json.loads(quoted(value)).startswith(value[:80])
    assert described({"a": [1]}) == "an object"
    assert names(map(str, range(100))).endswith("18 and 81 more")
    assert field_name(Fault(("a", 0, "b"), "").path) == "a.0.b"


SHOWN = {*range(0x600, 0x606), 0x6DD, 0x70F, 0x890, 0x891, 0x8E2, 0x110BD, 0x110CD, *range(0x13430, 0x13460)}
"""Characters of the category Cf that are drawn: signs around numbers, and the joints of hieroglyphs."""
UNSEEN = [
    chr(code)
    for code in range(sys.maxunicode + 1)
    if unicodedata.category(chr(code)) in ("Cc", "Cf", "Zl", "Zp") and code not in SHOWN
]
DIRECTIONS = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"


def test_what_shows_nothing_or_moves_other_text_is_shown_escaped() -> None:
    assert set(DIRECTIONS) <= set(UNSEEN)
    for character in [*UNSEEN, "\ud800", "\u3164", "\u034f"]:
        shown = visible(f"a{character}b")
        assert shown.isprintable()
        assert json.loads(f'"{shown}"') == f"a{character}b"
    for text in ("Grüße", "日本", "שלום", "🚀❤️", "a b", "é", "٣"):
        assert visible(text) == text
    assert visible("a\n\tb", lines=True) == "a\n\\tb"


VERSION = {"image": "web", "version": "1.0.0", "outcome": "passed"}
SNAPSHOT = "/subscriptions/s/resourceGroups/g/providers/Microsoft.Compute/snapshots/x"


@pytest.mark.parametrize(
    "character", [*DIRECTIONS, "\x1b", "\x7f", "\x9b", "\n", "\u2028", "\u200b", "\ufeff", "\xad", "\U000e0041"]
)
def test_no_text_of_a_person_takes_what_shows_nothing(character: str) -> None:
    text = f"a{character}b"
    asked = {"image": "web", "source": {"snapshot": SNAPSHOT}}
    for read, said in [
        (parse_request, asked | {"tags": {text: "x"}}),
        (parse_request, asked | {"tags": {"x": text}}),
        (parse_request, asked | {"request_id": text}),
        (parse_verdict, VERSION | {"name": text}),
        (parse_verdict, VERSION | {"outcome": text}),
        (parse_verdict, VERSION | {"details": text}),
        (parse_verdict, VERSION | {"by": text}),
        (lambda data: parse(lifecycle.ReasonRequest, data), {"why": text}),
        (lambda data: parse(lifecycle.ReasonRequest, data), {"why": "x", "by": text}),
        (lambda data: parse(lifecycle.WithdrawalRequest, data), {"why": text}),
        (lambda data: parse(lifecycle.RollbackRequest, data), {"why": text}),
        (lambda data: parse(lifecycle.ApprovalRequest, data), {"by": text}),
    ]:
        with pytest.raises(InvalidRequest) as fault:
            read(said)
        assert character not in str(fault.value)
