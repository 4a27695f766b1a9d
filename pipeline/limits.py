"""How much Azure holds: of a row, of a message, of a line of a log. Pure."""

from __future__ import annotations

LONGEST_PROPERTY = 32 * 1024
"""UTF-16 units of a text in a row ("Understanding the Table service data model" page: 64 KiB)."""
LONGEST_MESSAGE = 64 * 1024
"""Bytes of a queue message ("Scalability and performance targets for Queue Storage" page)."""
LONGEST_LINE = 32_000
"""Characters of a line of a log: Application Insights keeps 32,768 of a trace, and what is cut is no JSON."""
CUT = " … cut"
"""What ends a text that is not whole."""


def units(text: str) -> int:
    """The UTF-16 units of a text, in which Table storage counts: two for a character such as an emoji."""
    return len(text) + sum(character > "\uffff" for character in text)


def cut(text: str, longest: int) -> str:
    """`text`, or its beginning and that it is cut, in at most `longest` UTF-16 units."""
    if units(text) <= longest:
        return text
    kept = text[: longest - len(CUT)]
    while units(kept) > longest - len(CUT):
        kept = kept[:-1]
    return kept + CUT
