"""Messages from outside are read in every form they come in, and refused with the reason in all others."""

from __future__ import annotations

import base64
import codecs
import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.events import (
    LONGEST_MESSAGE,
    BlobCreated,
    TooLong,
    Unreadable,
    legible,
    read_blob_events,
    read_json,
    read_step,
)

URL = "https://a.blob.core.windows.net/vhds/web/x.vhd"
GRID = {"id": "1", "eventType": "Microsoft.Storage.BlobCreated", "subject": "…", "data": {"api": "PutBlob", "url": URL}}
CLOUD = {"specversion": "1.0", "id": "1", "type": "Microsoft.Storage.BlobCreated", "source": "…", "data": {"url": URL}}


@pytest.mark.parametrize("event", [GRID, CLOUD, [GRID], [CLOUD]])
@pytest.mark.parametrize("encode", [lambda text: text, base64.b64encode, lambda text: b"\n " + text + b"\n"])
def test_both_schemas_are_read_plain_and_base64(event: Any, encode: Any) -> None:
    assert read_blob_events(encode(json.dumps(event).encode())) == ([BlobCreated("1", URL)], [])


def test_other_events_are_left_out() -> None:
    other = GRID | {"eventType": "Microsoft.Storage.BlobDeleted"}
    assert read_blob_events(json.dumps([other, GRID]).encode()) == ([BlobCreated("1", URL)], [])


def test_an_event_that_is_none_keeps_no_other() -> None:
    found, faults = read_blob_events(json.dumps([1, GRID, GRID | {"data": {}}, CLOUD]).encode())
    assert found == [BlobCreated("1", URL)] * 2
    assert faults == ["event 0: an event is a JSON object", "event 2: a BlobCreated event has data.url"]


@pytest.mark.parametrize(
    "message",
    [b"", b"hello", b"{", b"1", b"{}", json.dumps(GRID | {"data": {}}).encode(), json.dumps(GRID | {"data": 1}).encode()],
)  # fmt: skip
def test_what_is_no_event_is_refused(message: bytes) -> None:
    with pytest.raises(Unreadable):
        read_blob_events(message)


@pytest.mark.parametrize("message", [b"{}", b"[]", b'{"run": 1, "generation": 1}', b'{"run": "a", "generation": "1"}'])
def test_what_is_no_step_is_refused(message: bytes) -> None:
    with pytest.raises(Unreadable):
        read_step(message)


@given(st.binary() | st.text().map(str.encode) | st.recursive(st.none() | st.text() | st.integers(), st.lists).map(json.dumps).map(str.encode))  # fmt: skip
def test_any_bytes_are_read_or_refused(message: bytes) -> None:
    for read in (read_blob_events, read_step):
        try:
            read(message)
        except Unreadable:
            continue


@pytest.mark.parametrize(
    "encoding",
    ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be"],
)
@pytest.mark.parametrize(
    "wrap",
    [
        lambda data: data,
        base64.b64encode,
        base64.encodebytes,
        lambda data: base64.encodebytes(data).replace(b"\n", b"\r\n"),
        lambda data: codecs.BOM_UTF8 + base64.b64encode(data),
        lambda data: base64.b64encode(data).decode().encode("utf-16"),
    ],
    ids=["plain", "base64", "lines", "crlf", "marked", "powershell"],
)
def test_json_is_read_as_windows_and_unix_send_it(encoding: str, wrap: Any) -> None:
    sent = {"image": "web", "tags": {"Grüße": "日本 🚀"}}
    assert read_json(wrap(json.dumps(sent, ensure_ascii=False, indent=1).encode(encoding))) == sent


def test_null_is_json_before_it_is_base64() -> None:
    assert read_json(b"null") is None
    assert read_json(b"true") is True
    assert read_json(b"[]") == []


@pytest.mark.parametrize(
    ("message", "says"),
    [
        (b"", "it is empty"),
        (b"\xff\xfe", "it is empty"),
        (b"image=web", 'line 1 is no JSON from column 1 on, near "image=web"'),
        (b'{\n "a": 1\n "b": 2}', "line 3 is no JSON from column 2 on"),
        (b'{"a": [1,', "it ends in line 1, column 10, before its value does"),
        (b'{"a": "caf\xe9"}', "the byte 0xe9 at position 11 is no UTF-8"),
        (base64.b64encode(b"hello"), 'decoded, line 1 is no JSON from column 1 on, near "hello"'),
        (b"[" * 20_000 + b"]" * 20_000, "more than 64 deep"),
        (b'{"a":' * 65 + b"1" + b"}" * 65, "more than 64 deep"),
        (b"[" + b"9" * 5000 + b"]", "a number has 5000 digits"),
        (b"9" * 5000, "a number has 5000 digits"),
        (b'{"a": 0.' + b"1" * 5000 + b"}", "a number has 5002 digits"),
        (b'{"a": NaN}', "NaN is no number that JSON has"),
        (b'{"a": -Infinity}', "-Infinity is no number that JSON has"),
        (b'{"image": "a", "image": "b"}', 'an object names "image" twice'),
        (base64.b64encode(b'{"a": {"b": 1, "b": 2}}'), 'an object names "b" twice'),
        (b"[" + b"0," * 2000 + b"0]", "more than 2,000 values"),
        (b"[" + b"null," * 2000 + b"0]", "more than 2,000 values"),
        (b"[" + b"{}," * 2000 + b"0]", "more than 2,000 values"),
    ],
)
def test_what_cannot_be_read_is_told_in_words(message: bytes, says: str) -> None:
    with pytest.raises(Unreadable) as fault:
        read_json(message)
    assert says in str(fault.value)
    for phrase in ("codec", "Expecting", "delimiter", "Extra data", "char ", "recursion", "base64 digit", "0x10"):
        assert phrase not in str(fault.value)


def test_what_is_nested_as_deep_as_may_be_is_read() -> None:
    assert read_json(b"[" * 64 + b"]" * 64)


def test_what_is_too_long_is_not_read() -> None:
    assert read_json(b" " * (LONGEST_MESSAGE - 2) + b"{}") == {}
    with pytest.raises(TooLong, match="524,289 bytes, and 524,288 are taken at most"):
        read_json(b" " * (LONGEST_MESSAGE - 1) + b"{}")


SAS = f"{URL}?sv=2024-11-04&sr=b&sig=SECRET%2Bx%3D&se=2027-01-01"
ASKED = json.dumps({"image": "web", "source": {"blob": SAS}, "tags": {"note": f'see "{SAS}"'}})


@pytest.mark.parametrize(
    "text",
    [
        ASKED,
        ASKED.replace("/", "\\/").replace("?", "\\u003f").replace("&", "\\u0026").replace("=", "\\u003D"),
        ASKED.replace("https", "\\u0068ttps").replace("sig", "\\u0073ig"),
        json.dumps({"within": json.dumps({"further": ASKED.replace("/", "\\/")})}),
        ASKED[:-3],
        f"please publish {SAS} now",
        f"az storage blob copy start --source-uri '{SAS}'",
        SAS.partition("?")[2],
        ASKED.replace("&sig", "'&sig"),
        "to=https%3A%2F%2Fa%2Fx.vhd%3Fsv%3D1%26sig%3DSECRET",
    ],
    ids=["json", "escaped", "letters", "json in json", "broken", "text", "command", "bare", "quote", "percent"],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32"])
@pytest.mark.parametrize(
    "wrap",
    [
        lambda data: data,
        base64.b64encode,
        base64.encodebytes,
        base64.urlsafe_b64encode,
        lambda data: base64.b64encode(data)[:-1],
        lambda data: b"#" + base64.b64encode(data),
        lambda data: base64.b64encode(base64.b64encode(data)),
        lambda data: base64.b64encode(data).decode().encode("utf-16"),
        lambda data: json.dumps({"body": base64.b64encode(data).decode()}).encode(),
        lambda data: data + b"\xff",
    ],
    ids=["plain", "base64", "lines", "urlsafe", "cut", "shifted", "twice", "powershell", "field", "no text"],
)
def test_no_query_of_an_address_is_kept(text: str, encoding: str, wrap: Any) -> None:
    message = wrap(text.encode(encoding))
    kept = legible(message)
    assert "SECRET" not in kept
    for run in re.findall(r"[A-Za-z0-9+/]{16,}", kept):
        for n in range(4):
            assert b"SECRET" not in base64.b64decode(run[n : n + (len(run) - n) // 4 * 4])


def test_what_holds_no_query_is_kept_as_it_came() -> None:
    for message in (ASKED.replace(SAS, URL), "what?", base64.b64encode(b'{"image": "web"}').decode(), "a\\/b\\u0041"):
        assert legible(message.encode()) == message
    assert legible(b"caf\xe9") == "caf\\xe9"
    assert legible(f"{URL}?snapshot=2026-01-01T00:00:00.0000000Z".encode()).endswith(
        "?snapshot=2026-01-01T00:00:00.0000000Z"
    )
