"""A pattern takes what its words say, in time that grows with the name and no faster."""

from __future__ import annotations

import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pipeline.patterns import Pattern


def takes(pattern: str, name: str) -> bool:
    """What a pattern takes, by trying all there is: as slow as it is plain."""
    if not pattern:
        return not name
    if pattern.startswith("**"):
        return any(takes(pattern[2:], name[n:]) for n in range(len(name) + 1))
    if pattern[0] == "*":
        folder = name.partition("/")[0]
        return any(takes(pattern[1:], name[n:]) for n in range(len(folder) + 1))
    if not name:
        return False
    return (name[0] != "/" if pattern[0] == "?" else name[0] == pattern[0]) and takes(pattern[1:], name[1:])


@given(st.text("a/*?", max_size=10), st.text("ab/\n", max_size=10))
@example("***", "a/b")
@example("a**/*?b", "a/a/ab")
@example("?*", "/")
def test_a_pattern_takes_what_a_slow_reader_of_it_takes(pattern: str, name: str) -> None:
    assert Pattern(pattern).takes(name) == takes(pattern, name)


@given(st.text("ab/", max_size=8), st.text("*?ab/", max_size=8))
def test_all_that_a_pattern_takes_begins_with_its_prefix(name: str, pattern: str) -> None:
    assert not Pattern(pattern).takes(name) or name.startswith(Pattern(pattern).prefix)


@pytest.mark.parametrize("pattern", ["builds/*-*-*.vhd", "**a**a**a**b", "*?*?*?*?x", "**/**/**/**.vhd"])
@pytest.mark.parametrize("piece", ["-", "a", "/", "a/", "a-"])
def test_no_name_takes_long_however_it_is_made(pattern: str, piece: str) -> None:
    name = "builds/" + piece * (16 * 1024 // len(piece))
    began = time.process_time()
    Pattern(pattern).takes(name)
    assert time.process_time() - began < 2  # milliseconds; what goes back takes hours
