"""Messages from outside are read in every form they come in, and refused with the reason in all others."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.events import BlobCreated, Unreadable, read_blob_events, read_step

URL = "https://a.blob.core.windows.net/vhds/web/x.vhd"
GRID = {"id": "1", "eventType": "Microsoft.Storage.BlobCreated", "subject": "…", "data": {"api": "PutBlob", "url": URL}}
CLOUD = {"specversion": "1.0", "id": "1", "type": "Microsoft.Storage.BlobCreated", "source": "…", "data": {"url": URL}}


@pytest.mark.parametrize("event", [GRID, CLOUD, [GRID], [CLOUD]])
@pytest.mark.parametrize("encode", [lambda text: text, base64.b64encode, lambda text: b"\n " + text + b"\n"])
def test_both_schemas_are_read_plain_and_base64(event: Any, encode: Any) -> None:
    assert read_blob_events(encode(json.dumps(event).encode())) == [BlobCreated("1", URL)]


def test_other_events_are_left_out() -> None:
    other = GRID | {"eventType": "Microsoft.Storage.BlobDeleted"}
    assert read_blob_events(json.dumps([other, GRID]).encode()) == [BlobCreated("1", URL)]


@pytest.mark.parametrize(
    "message",
    [b"", b"hello", b"{", b"[1]", b"{}", json.dumps(GRID | {"data": {}}).encode(), json.dumps(GRID | {"data": 1}).encode()],
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
