"""How much Azure holds of a text in a row and of a line of a log, and what is cut to fit. Pure."""

from __future__ import annotations

import re

from pipeline.validation import UNSEEN

LONGEST_PROPERTY = 32 * 1024
"""UTF-16 units of a text in a row ("Understanding the Table service data model" page: 64 KiB)."""
LONGEST_LINE = 32_000
"""Characters of a line of a log: Application Insights keeps 32,768 of a trace, and what is cut is no JSON."""
CUT = " … cut"
"""What ends a text that is not whole."""


def units(text: str) -> int:
    """The UTF-16 units of a text, in which Table storage counts: two for a character such as an emoji."""
    return len(text) + sum(character > "\uffff" for character in text)


def bounded(text: str, longest: int) -> str:
    """`text` as a row, a log and a terminal can hold it: in at most `longest` UTF-16 units, a space where a control
    character was or one that shows nothing, and ? where half of a character was. Ends of lines stay."""
    sound = text.encode(errors="replace").decode()
    return cut(_UNSEEN.sub(" ", sound), longest)


_UNSEEN = re.compile(f"(?!\n)[{UNSEEN}]")


def cut(text: str, longest: int) -> str:
    """`text`, or its beginning and that it is cut, in at most `longest` UTF-16 units."""
    if units(text) <= longest:
        return text
    room, kept = longest - len(CUT), 0
    while room >= (taken := units(text[kept])):
        room, kept = room - taken, kept + 1
    return text[:kept] + CUT
