"""No text from outside takes longer to read than its length explains: so many passes over its characters at most, on
whatever machine.

`make fuzz` prints what 10,000 of them take.
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Callable, Iterator
from contextlib import suppress
from time import process_time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline import intake
from pipeline.access import of_queue
from pipeline.addresses import query_fault, without_queries
from pipeline.catalog import Drop
from pipeline.cloud.faults import CloudFault
from pipeline.context import Context
from pipeline.events import LONGEST_MESSAGE, Unreadable, legible, read_blob_events, read_json, read_step
from pipeline.limits import bounded
from pipeline.requests import InvalidRequest, parse_verdict
from pipeline.validation import visible
from tests.fuzz.conftest import EXAMPLES
from tests.fuzz.junk import BLOB
from tests.fuzz.test_fuzz_text import GRID, REQUEST, VERDICT, small  # noqa: F401 - a fixture

LONGEST = 64 * 1024
"""What Azure's queues take of a message."""
PASSES = 50
"""So often as long as one pass over the characters a reader may take: each of these takes 1 to 17, and what is
quadratic hundreds."""
NEVER_MORE = (Unreadable, InvalidRequest, ValueError, CloudFault)
PIECES = [
    "[", "{", '{"a":', "]", "}", '"', "\\", '\\"', "\\u", "\\ud800", "\\u0000", ",", '"",', "0,", "1.5,", "null,", "[],", "{},",
    '{"":0},', '"a":1,', "9", "-", "e", "1e9", " ", "\n", "\t", "a", "A", "ä", "\u0130", "\U0001f4bf", "\u202e", "\0", "/", "//",
    "../", "./", "%", "%2e", "%252e", "%25", "?", "&", "=", "a=b&", "#", ":", "://", "https://", "https://a/?", "sig=", "@", "*",
    "**", "-", ".", "x.", "1.", "0.0.", "QUFB", "A=", "snapshot=1&", "[::1]", "/subscriptions/", "/providers/", "image", "imag",
]  # fmt: skip


def passes(length: int) -> float:
    """CPU seconds that a pass over so many characters takes."""
    text = "a" * length
    return min(_timed(lambda: sum(map(ord, text))) for _ in range(3))


def _timed(work: Callable[[], object]) -> float:
    began = process_time()
    work()
    return process_time() - began


def seconds(read: Callable[[], object], allowed: float) -> float:
    """CPU seconds of a reader, the least of a few tries where it takes more than `allowed`."""

    def once() -> None:
        with suppress(*NEVER_MORE):
            read()

    least = math.inf
    for _ in range(4):
        least = min(least, _timed(once))
        if least <= allowed:
            break
    return least


Read = Callable[[], object]


def readers(ctx: Context, text: str) -> dict[str, Callable[[], Read]]:
    """What reads a text, as it is and in each place of a message, by what it is read as."""
    home = ctx.settings.blob_endpoint
    message = text.encode(errors="surrogatepass")
    many = [text[n : n + 40] for n in range(0, len(text), 50)]
    disks = [{"lun": 1, "blob": one} for one in many]

    def asked(**given: Any) -> Callable[[], Read]:
        def prepare() -> Read:
            sent = json.dumps(REQUEST | given).replace("BLOB", home).encode()
            return lambda: intake.read_request(ctx, read_json(sent), of_queue("publish-requests"))

        return prepare

    def said() -> Read:
        sent = json.dumps(VERDICT | {"name": text, "details": text}).encode()
        return lambda: parse_verdict(read_json(sent))

    def told() -> Read:
        sent = json.dumps([GRID | {"data": {"url": one}} for one in many]).encode()
        return lambda: read_blob_events(sent)

    return {
        "a message": lambda: lambda: read_json(message),
        "an event": lambda: lambda: read_blob_events(message),
        "a step": lambda: lambda: read_step(message),
        "base64": lambda: lambda: read_json(base64.b64encode(message)),
        "what is kept": lambda: lambda: legible(message),
        "what is logged": lambda: lambda: without_queries(text),
        "what is shown": lambda: lambda: visible(text),
        "what is cut": lambda: lambda: bounded(text, len(text) // 2),
        "a query": lambda: lambda: query_fault(f"{home}/vhds/x.vhd?{text}"),
        "a drop": lambda: lambda: Drop("vhds/**/*-*-*.vhd").takes(text),
        "an image": asked(image=text),
        "a version": asked(version=text),
        "an id": asked(request_id=text),
        "a blob": asked(source={"blob": f"BLOB/vhds/{text}.vhd"}),
        "a snapshot": asked(source={"snapshot": text}),
        "a tag": asked(tags={text: text[:256]}),
        "tags": asked(tags={one: one for one in many}),
        "fields": asked(**dict.fromkeys(many, 1)),
        "fields of a source": asked(source=dict.fromkeys(many, 1)),
        "disks": asked(source={"blob": BLOB, "data_disks": disks}),
        "a list": asked(source=many),
        "a verdict": said,
        "many events": told,
    }


@st.composite
def long_texts(draw: st.DrawFn) -> str:
    """Up to 64 KiB of few things over and over."""
    parts = draw(st.lists(st.tuples(st.sampled_from(PIECES), st.integers(1, LONGEST)), min_size=1, max_size=4))
    text, left = "", draw(st.integers(1, LONGEST))
    for piece, times in parts:
        text += piece * min(times, max(0, left - len(text)) // len(piece))
    return text


class Spent:
    """What all examples took together."""

    count = 0
    seconds = 0.0
    most = 0.0


@given(text=long_texts(), which=st.integers(0, 22))
def test_any_text_is_read_in_a_time_that_its_length_explains(small: Context, text: str, which: int) -> None:  # noqa: F811
    name, prepare = list(readers(small, text).items())[which]
    allowed = PASSES * _PASS
    took = seconds(prepare(), allowed)
    Spent.count, Spent.seconds, Spent.most = Spent.count + 1, Spent.seconds + took, max(Spent.most, took)
    assert took <= allowed, f"{name}: {took / _PASS:.1f} passes over {text[:40]!r}…"


_PASS = passes(LONGEST)


@pytest.fixture(scope="module", autouse=True)
def told(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    if EXAMPLES > 100:
        with request.config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
            print(
                f"\n{Spent.count:,} texts of up to {LONGEST:,} characters were read in {Spent.seconds:.1f} s of CPU, the "
                f"slowest in {1000 * Spent.most:.1f} ms"
            )


@pytest.mark.parametrize("piece", PIECES if EXAMPLES > 100 else PIECES[::4], ids=ascii)
def test_no_repetition_takes_longer_the_longer_it_is(small: Context, piece: str) -> None:  # noqa: F811
    for length in (LONGEST, LONGEST_MESSAGE - 1024) if EXAMPLES > 100 else (LONGEST,):
        one_pass = passes(length)
        for name, prepare in readers(small, piece * (length // len(piece))).items():
            took = seconds(prepare(), PASSES * one_pass)
            assert took <= PASSES * one_pass, f"{name}: {took / one_pass:.1f} passes over {length:,} characters"
