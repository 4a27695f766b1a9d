"""The numbers of image versions: three integers, going up, never used twice.

Azure's version names are `Major.Minor.Patch` with 32-bit parts and nothing else ("Azure Compute Gallery" page;
error `InvalidParameter` on galleryImageVersionName). SemVer's pre-releases and build metadata have no place in
them, so this is a tuple of three and not a SemVer library.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from datetime import date
from enum import StrEnum
from typing import NamedTuple, Self

from pydantic import BaseModel, ConfigDict

LARGEST_PART = 2**31 - 1
ROOM = 1_000_000
"""How many numbers at the end of each part are left to counting: nobody may name one of them."""
PLACE = "{version}"
"""Where a pattern of file names has the number."""
_PATTERN = re.compile(r"(0|[1-9]\d{0,9})\.(0|[1-9]\d{0,9})\.(0|[1-9]\d{0,9})", re.ASCII)
_IN_NAME = re.compile(r"(?<!\d)(?<!\d\.)\d++\.\d++\.\d++(?!\.\d)", re.ASCII)
_LETTERS = re.compile(r"[a-z]+", re.IGNORECASE | re.ASCII)
_TOKENS = re.compile(r"[a-z0-9]+", re.IGNORECASE | re.ASCII)
# What comes before a release, by PEP 440, by Maven's ComparableVersion, and by custom of npm and NuGet
_PRE_RELEASE = {
    "alpha", "beta", "rc", "cr", "candidate", "releasecandidate", "preview", "prerelease", "milestone", "snapshot",
    "nightly", "canary", "unstable", "experimental", "insider", "insiders", "eap", "wip",
}  # fmt: skip
# These name flavours and places too, so that they tell a pre-release only where they follow the number.
_PRE_RELEASE_AFTER = _PRE_RELEASE | {"pre", "dev", "devel", "develop", "development"}
_SHORT = re.compile(r"(?:[abm]|ea)\d{1,2}|ea", re.IGNORECASE | re.ASCII)
_ATTACHED = re.compile(r"[abc]\d*(?![a-z0-9])", re.IGNORECASE | re.ASCII)


class Bump(StrEnum):
    """How the next number follows from the highest one."""

    MAJOR = "major"
    MINOR = "minor"
    PATCH = "patch"
    CALVER = "calver"
    FROM_NAME = "from-name"
    FROM_METADATA = "from-metadata"


class NoNumber(ValueError):
    """No number can be given; the message says why, for the person who reads the failed run."""


class Version(NamedTuple):
    """An image version's number. Orders as Azure orders `latest`: major, then minor, then patch."""

    major: int
    minor: int
    patch: int

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}.{self.patch}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """The number in `text`. Raises ValueError where Azure would refuse it as a version name."""
        found = _PATTERN.fullmatch(text)
        if not found or max(parts := tuple(map(int, found.groups()))) > LARGEST_PART:
            raise ValueError(
                f"{text!r} is no image version: it takes Major.Minor.Patch, each part 0 to {LARGEST_PART} without "
                "zeros before it"
            )
        return cls(*parts)


FIRST = Version(1, 0, 0)
_START = "Set version.start in the catalog to a higher number"
_JUMP = f"{_START}, or let an operator ask for it with jump"


def in_range(version: Version, text: str) -> bool:
    """Whether a number is in a range as npm writes them (~1.4, ^1.2, >=1.4 <2). Raises ValueError for no range."""
    from semantic_version import NpmSpec
    from semantic_version import Version as SemVer

    try:
        spec = NpmSpec(text)
    except (ValueError, AttributeError):  # it stumbles over ~1.4 - 2
        raise ValueError(f"{text!r} is no range: takes ~1.4, ^1.2, 1.x, or >=1.4 <2") from None
    return bool(spec.match(SemVer(str(version))))


class Wish(BaseModel):
    """How a run's number is to be found: exactly this one, the next within `major` or `major.minor`, or by `bump`."""

    model_config = ConfigDict(frozen=True)

    exact: str | None = None
    within: tuple[int, ...] = ()
    bump: Bump | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """A number, or a wildcard whose every part right of an x is an x. Raises ValueError."""
        if "x" not in text:
            return cls(exact=str(Version.parse(text)))
        fixed = text.split(".x", 1)[0]
        parts = Version.parse(f"{fixed}.0.0" if "." not in fixed else f"{fixed}.0")
        if text != fixed + ".x" * (2 - fixed.count(".")):
            raise ValueError(f"{text!r} is no wildcard: 1.x.x or 1.4.x")
        return cls(within=parts[: fixed.count(".") + 1])


def highest(names: list[str], within: tuple[int, ...] = ()) -> Version | None:
    """The highest number among the names of versions whose first parts are `within`.

    A name that no rule here would give counts by its numbers.
    """
    found = [re.fullmatch(r"(\d+)\.(\d+)\.(\d+)", name, re.ASCII) for name in names]
    numbers = [Version(*map(int, parts.groups())) for parts in found if parts]
    return max((number for number in numbers if number[: len(within)] == within), default=None)


def next_version(
    highest: Version | None,
    bump: Bump,
    *,
    start: Version = FIRST,
    today: date,
    name: str = "",
    pattern: str | None = None,
) -> Version:
    """The number that follows `highest`, of all that were ever given or seen.

    `calver` is year, month and day, and a count within the day from 0: 2026.1123.0. `from-name` and
    `from-metadata` are the one `Major.Minor.Patch` in `name`, the blob's name or its metadata `version`; of a blob's
    name the last segment counts, and `pattern`, where it is given, says which number in it. A pre-release has none: it
    would take the number of its release. Raises NoNumber where the rule has none to give.
    """
    match bump:
        case Bump.FROM_NAME:
            return _above(highest, _from_name(name.rpartition("/")[2], pattern), name)
        case Bump.FROM_METADATA:
            return _above(highest, _from_metadata(name), name)
        case Bump.CALVER:
            day = Version(today.year, today.month * 100 + today.day, 0)
            if highest is None or highest < day:
                return day
            number = highest._replace(patch=highest.patch + 1)
        case _ if highest is None:
            return start
        case Bump.MAJOR:
            number = Version(highest.major + 1, 0, 0)
        case Bump.MINOR:
            number = Version(highest.major, highest.minor + 1, 0)
        case Bump.PATCH:
            number = highest._replace(patch=highest.patch + 1)
    number = max(number, start) if bump is not Bump.CALVER else number
    if max(number) > LARGEST_PART:
        raise NoNumber(f"no {bump} version follows {highest}: a part of a version ends at {LARGEST_PART}. {_START}")
    return number


def next_within(highest: Version | None, within: tuple[int, ...]) -> Version:
    """The number that follows `highest` among those whose first parts are `within`. Raises NoNumber."""
    if highest is None:
        return Version(*within, *[0] * (3 - len(within)))
    if highest.patch == LARGEST_PART:
        raise NoNumber(f"no version follows {highest}: a part of a version ends at {LARGEST_PART}")
    return highest._replace(patch=highest.patch + 1)


def part_of(bump: Bump) -> int:
    """Which part of a number `bump` counts up, from 0; the parts behind it are 0."""
    return {Bump.MAJOR: 0, Bump.MINOR: 1}.get(bump, 2)


def check_named(
    number: Version, highest: Version | None, bump: Bump, *, start: Version, today: date, skips: int = 0
) -> None:
    """Check that a number somebody names, rather than `bump` counting on from `highest`, does not end the numbering.

    It is at most one major, and `skips` more, above `highest`, or above `start` where that is higher; where the rule is
    calver, of no later day than that or `today`; and it leaves the last ROOM numbers of each part to counting. Raises
    NoNumber.
    """
    base = max(highest or start, start)
    if max(number) > LARGEST_PART - ROOM:
        most = LARGEST_PART - ROOM
        raise NoNumber(f"version {number} leaves no room for what follows it: ask for parts of {most} at most. {_JUMP}")
    if bump is Bump.CALVER:
        latest = max((today.year, today.month * 100 + today.day), base[:2])
        if number[:2] > latest:
            raise NoNumber(f"version {number} is ahead of its day: ask for {latest[0]}.{latest[1]}.x at most. {_JUMP}")
    elif number.major > base.major + 1 + skips:
        above = f"{base}, the highest that counts" if base == highest else f"{base}, where the catalog lets it start"
        raise NoNumber(
            f"version {number} is more than one major above {above}: ask for {base.major + 1}.x.x at most. {_JUMP}"
        )


def check_pattern(pattern: str) -> None:
    """Raises ValueError where this is no pattern of file names with a number in it."""
    if pattern.count(PLACE) != 1:
        raise ValueError(f'takes {PLACE} exactly once, such as "web-{PLACE}-*"; * and ? as in drop')
    if "/" in pattern:
        raise ValueError("is matched against the file name alone: leave out the folders")


class _Found(NamedTuple):
    """A number in a name, and the spans of the name that nobody vouches for: they may say pre-release."""

    number: str
    start: int
    end: int
    free: list[range]


def _from_name(name: str, pattern: str | None) -> Version:
    stem = _stem(name)
    found = _by_pattern(name, pattern) if pattern else _everywhere(stem)
    if not found:
        wanted = (
            f"does not match {pattern!r}, where {PLACE} is Major.Minor.Patch"
            if pattern
            else "holds no Major.Minor.Patch"
        )
        raise NoNumber(
            f"{name!r} {wanted}, and the number is to come from the file's name. Give the VHD such a name, or ask for "
            "it with a version or a bump of its own"
        )
    first = found[0]
    if len({one.number for one in found}) > 1:
        line = json.dumps(f"{stem[: first.start]}{PLACE}{stem[first.end : first.end + 1]}*", ensure_ascii=False)
        raise NoNumber(
            f"{name!r} holds more than one number: {_listed(one.number for one in found)}. The catalog says which one "
            f"counts, such as version: {{bump: from-name, pattern: {line}}}"
        )
    if word := _pre_release(stem, first):
        literal = json.dumps(f"{stem[: first.start]}{PLACE}{stem[first.end :]}", ensure_ascii=False)
        raise NoNumber(
            f"{name!r} is a pre-release of {first.number} ({word!r}), and image versions know no pre-releases: "
            f"{first.number} stays free for the release. Ask for it with a version or a bump of its own; where "
            f"that word means something else, the catalog says so: version: {{bump: from-name, pattern: {literal}}}"
        )
    return _parsed(first.number)


def _from_metadata(value: str) -> Version:
    found = _everywhere(value)
    mend = "Set the blob's metadata version to the number alone, such as 1.4.0, or ask with a version or a bump"
    if not found:
        raise NoNumber(f"the blob's metadata version is {value!r}, which holds no Major.Minor.Patch. {mend}")
    if len({one.number for one in found}) > 1:
        numbers = _listed(one.number for one in found)
        raise NoNumber(f"the blob's metadata version {value!r} holds more than one number: {numbers}. {mend}")
    first = found[0]
    if word := _pre_release(value, first):
        raise NoNumber(
            f"the blob's metadata version {value!r} is a pre-release of {first.number} ({word!r}), and image "
            f"versions know no pre-releases: {first.number} stays free for the release. {mend}"
        )
    return _parsed(first.number)


def _above(highest: Version | None, number: Version, name: str) -> Version:
    if highest is not None and number <= highest:
        raise NoNumber(f"{name!r} asks for {number}, and {highest} is taken: numbers only go up")
    return number


def _parsed(text: str) -> Version:
    try:
        return Version.parse(text)
    except ValueError as error:
        raise NoNumber(str(error)) from error


def _listed(numbers: Iterable[str]) -> str:
    *first, last = dict.fromkeys(numbers)
    return f"{', '.join(first)} and {last}" if first else last


def _stem(name: str) -> str:
    return name[:-4] if name.lower().endswith(".vhd") else name


def _everywhere(text: str) -> list[_Found]:
    return [_Found(one[0], one.start(), one.end(), [range(len(text))]) for one in _IN_NAME.finditer(text)]


def _by_pattern(name: str, pattern: str) -> list[_Found]:
    """The numbers of a name that stand where the pattern has its own."""
    before, _, after = pattern.partition(PLACE)
    stem = _stem(name)
    found = []
    for one in _IN_NAME.finditer(name):
        head = _glob(before, name[: one.start()])
        # A pattern may end as the file does, in .vhd, or leave that out.
        ends = [(_stem(after), stem), (after, name)]
        tail = next((spans for rest, text in ends if (spans := _glob(rest, text[one.end() :])) is not None), None)
        if head is not None and tail is not None:
            spans = [*head, *(range(one.end() + part.start, one.end() + part.stop) for part in tail)]
            found.append(_Found(one[0], one.start(), one.end(), spans))
    return found


def _glob(pattern: str, text: str) -> list[range] | None:
    """The spans of `text` that the wildcards of `pattern` stand for, None where it does not match.

    Each stretch between two * is sought once, from the left, and never given back: no name takes longer than its length
    times that of the pattern.
    """
    stretches = pattern.split("*")
    at, free = 0, []
    for number, stretch in enumerate(stretches):
        is_first, is_last = number == 0, number == len(stretches) - 1
        sought = re.compile(re.escape(stretch).replace(r"\?", "."), re.DOTALL)
        start = max(at, len(text) - len(stretch)) if is_last and not is_first else at
        found = sought.match(text, start) if is_first or is_last else sought.search(text, start)
        if found is None or (is_last and found.end() != len(text)):
            return None
        free += [range(at, found.start())]
        free += [range(found.start() + n, found.start() + n + 1) for n, sign in enumerate(stretch) if sign == "?"]
        at = found.end()
    return free


def _pre_release(text: str, found: _Found) -> str:
    """The word in `text` that tells a pre-release of the number found, empty where none does."""

    def is_free(start: int, end: int) -> bool:
        return any(part.start < end and start < part.stop for part in found.free)

    attached = _ATTACHED.match(text, found.end)
    if attached and is_free(*attached.span()):
        return attached[0]
    # A tilde sorts before the release itself, whatever follows it (deb-version(7)).
    for tilde in re.finditer("~", text[found.end :]):
        if is_free(found.end + tilde.start(), found.end + tilde.end()):
            return text[found.end + tilde.start() :]
    before = [(token, _PRE_RELEASE) for token in _TOKENS.finditer(text, 0, found.start)]
    after = [(token, _PRE_RELEASE_AFTER) for token in _TOKENS.finditer(text, found.end)]
    for token, words in after + before:
        if is_free(*token.span()) and any(letters.lower() in words for letters in _LETTERS.findall(token[0])):
            return token[0]
    # What follows a + is SemVer's build metadata, where a hash may look like the short form of a beta.
    for token, _ in after:
        if is_free(*token.span()) and _SHORT.fullmatch(token[0]) and "+" not in text[found.end : token.start()]:
            return token[0]
    return ""
