"""Patterns of names of blobs and of resource ids, matched in time that grows with the name's length alone. Pure."""

from __future__ import annotations

import re
from collections import defaultdict
from functools import cached_property

_SIGNS = re.compile(r"[*]+|.", re.DOTALL)


class Pattern:
    """`*` stands for any characters of one folder, `?` for one of them, `**` for any characters of any folders."""

    def __init__(self, text: str) -> None:
        self.text = text

    @cached_property
    def prefix(self) -> str:
        """What every name begins with that the pattern takes."""
        return re.split(r"[*?]", self.text, maxsplit=1)[0]

    @cached_property
    def _steps(self) -> tuple[dict[str, int], int, int, int]:
        """Bit sets of the pattern's places: by character, those that it passes; those that any character of a folder
        passes; those that are any number of characters of a folder; and those that are any number of any."""
        passed: defaultdict[str, int] = defaultdict(int)
        one = some = many = 0
        for place, sign in enumerate(_SIGNS.findall(self.text)):
            bit = 1 << place
            if sign == "?":
                one |= bit
            elif sign == "*":
                some |= bit
            elif sign[0] == "*":  # however many of them: two are as good
                many |= bit
            else:
                passed[sign] |= bit
        return dict(passed), one, some, many

    @cached_property
    def _end(self) -> int:
        return 1 << len(_SIGNS.findall(self.text))

    def takes(self, name: str) -> bool:
        """Whether the pattern takes the whole of `name`. All places that the pattern may have come to are kept at once,
        so that none is ever gone back to."""
        if not name.startswith(self.prefix):
            return False
        passed, one, some, many = self._steps
        # A star may stand for nothing: whoever is at one is behind it, too. No two stand side by side.
        at = 1 | (1 & (some | many)) << 1
        for char in name:
            folder = char != "/"
            stay = at & (many | some if folder else many)
            at = stay | (at & (passed.get(char, 0) | (one if folder else 0))) << 1
            at |= (at & (some | many)) << 1
            if not at:
                return False
        return bool(at & self._end)
