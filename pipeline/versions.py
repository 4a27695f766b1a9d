"""The numbers of image versions: three integers, going up, never used twice.

Azure's version names are `Major.Minor.Patch` with 32-bit parts and nothing else ("Azure Compute Gallery" page;
error `InvalidParameter` on galleryImageVersionName). SemVer's pre-releases and build metadata have no place in
them, so this is a tuple of three and not a SemVer library.
"""

from __future__ import annotations

import re
from datetime import date
from enum import StrEnum
from typing import NamedTuple, Self

from pydantic import BaseModel, ConfigDict

LARGEST_PART = 2**31 - 1
_PATTERN = re.compile(r"(0|[1-9]\d{0,9})\.(0|[1-9]\d{0,9})\.(0|[1-9]\d{0,9})", re.ASCII)


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
            raise ValueError(f"{text!r} is no image version: it takes Major.Minor.Patch, each part 0 to {LARGEST_PART}")
        return cls(*parts)


FIRST = Version(1, 0, 0)


def in_range(version: Version, text: str) -> bool:
    """Whether a number is in a range as npm writes them (~1.4, ^1.2, >=1.4 <2). Raises ValueError for no range."""
    from semantic_version import NpmSpec
    from semantic_version import Version as SemVer

    try:
        spec = NpmSpec(text)
    except ValueError:
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
    highest: Version | None, bump: Bump, *, start: Version = FIRST, today: date, name: str = ""
) -> Version:
    """The number that follows `highest`, of all that were ever given or seen.

    `calver` is year, month and day, and a count within the day from 0: 2026.1123.0. `from-name` and
    `from-metadata` are the last `Major.Minor.Patch` in `name`, the blob's name or its metadata `version`. Raises
    NoNumber where the rule has none to give.
    """
    match bump:
        case Bump.FROM_NAME | Bump.FROM_METADATA:
            return _from_name(name, highest)
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
        raise NoNumber(f"no {bump} version follows {highest}: a part of a version ends at {LARGEST_PART}")
    return number


def next_within(highest: Version | None, within: tuple[int, ...]) -> Version:
    """The number that follows `highest` among those whose first parts are `within`. Raises NoNumber."""
    if highest is None:
        return Version(*within, *[0] * (3 - len(within)))
    if highest.patch == LARGEST_PART:
        raise NoNumber(f"no version follows {highest}: a part of a version ends at {LARGEST_PART}")
    return highest._replace(patch=highest.patch + 1)


def _from_name(name: str, highest: Version | None) -> Version:
    found = re.findall(r"(?<![\d.])\d+\.\d+\.\d+(?![\d]|\.\d)", name, re.ASCII)
    if not found:
        raise NoNumber(f"{name!r} holds no Major.Minor.Patch, and that is where the number is to come from")
    try:
        number = Version.parse(found[-1])
    except ValueError as error:
        raise NoNumber(str(error)) from error
    if highest is not None and number <= highest:
        raise NoNumber(f"{name!r} asks for {number}, and {highest} is taken: numbers only go up")
    return number
