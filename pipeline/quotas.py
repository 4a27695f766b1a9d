"""Which of the runs that wait for their turn may begin, by the limits of their images and of the catalog. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

from pipeline.catalog import Limits

_NEAR = 50
"""How many of those who wait look again within the longest wait between two looks at anything."""
_HOUR = 3600.0
_NEVER = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True)
class Standing:
    """A run in the line: `ready` is when it came there, `at_work` says that it has had its turn and not ended yet."""

    key: str
    image: str
    ready: datetime
    at_work: bool = False


@dataclass(frozen=True)
class Line:
    """All runs that wait or are at work; the versions of each image that were begun on `day`, in UTC, and when the last
    of them was."""

    standing: list[Standing]
    begun: Mapping[str, int]
    last: Mapping[str, datetime]
    day: date


@dataclass(frozen=True)
class Held:
    """What keeps a run from its turn, in words, and how many have theirs before it."""

    why: str
    before: int

    def __str__(self) -> str:
        before = {0: "", 1: "; 1 is before it"}.get(self.before, f"; {self.before} are before it")
        return f"waits its turn: {self.why}{before}"


def held(line: Line, key: str, limits: Mapping[str, Limits], total: Limits) -> Held | None:
    """What keeps the run `key`, which stands in the line, from its turn; None where it may begin.

    Within an image, who came first goes first. Between images, the one with the fewest runs at work does, and of those
    with as many the one whose last turn is the longest ago, so that one with many never keeps another from its turn. A
    place is kept for whoever is to have it next, until it asks.
    """
    order = _order(line, limits)
    if key in order:
        begun, at_work = sum(line.begun.values()), sum(_at_work(line).values())
        return _beyond(order.index(key), total, at_work, begun, line.day)
    image = next(one.image for one in line.standing if one.key == key)
    before = [one.key for one in _waiting(line) if one.image == image].index(key)
    return _beyond(before, limits[image], _at_work(line)[image], line.begun.get(image, 0), line.day, image)


def look_delay(before: int, shortest: float, longest: float) -> float:
    """Seconds until a run with `before` before it looks again: `longest` at most near the head of the line, further
    back in proportion, an hour at most.

    So thousands who wait ask hardly more often than dozens, and the next ones soon see that there is room.
    """
    return min(shortest * (1 + before), longest * max(1, before / _NEAR), max(longest, _HOUR))


def _beyond(before: int, limits: Limits, at_work: int, begun: int, day: date, image: str = "") -> Held | None:
    """What a run is told that has `before` before it; None where there is room for it, too."""
    today, at_once = _room(limits.a_day, begun), _room(limits.at_once, at_work)
    if before < min(today, at_once):
        return None
    of, whose = (f" of {image}", "") if image else ("", " of the catalog")
    if today <= 0 or before < at_once:
        tomorrow = datetime.combine(day + timedelta(days=1), time(), UTC)
        said = f"{_count(begun, 'version')}{of} begun today (at most {limits.a_day}: limits.a_day{whose}; "
        said += f"the next day begins at {tomorrow:%Y-%m-%d %H:%M} UTC)"
    else:
        said = f"{_count(at_work, 'run')}{of} at work (at most {limits.at_once}: limits.at_once{whose})"
    return Held(said, before)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _room(most: int | None, used: int) -> float:
    return float("inf") if most is None else most - used


def _waiting(line: Line) -> list[Standing]:
    return sorted((one for one in line.standing if not one.at_work), key=lambda one: (one.ready, one.key))


def _at_work(line: Line) -> Counter[str]:
    return Counter(one.image for one in line.standing if one.at_work)


def _order(line: Line, limits: Mapping[str, Limits]) -> list[str]:
    """The runs that their images' limits let begin, in the order in which they are to, were there no limit in all."""
    queues: dict[str, list[Standing]] = {}
    for one in _waiting(line):
        queues.setdefault(one.image, []).append(one)
    at_work = _at_work(line)
    order: list[tuple[int, bool, datetime, datetime, str]] = []
    for image in queues.keys() & limits.keys():  # the runs of an image that the catalog has no more fail elsewhere
        own = limits[image]
        room = min(_room(own.at_once, at_work[image]), _room(own.a_day, line.begun.get(image, 0)))
        last = line.last.get(image, _NEVER)
        for n, one in enumerate(queues[image]):
            if n < room:
                order.append((at_work[image] + n, n > 0, last, one.ready, one.key))
    return [key for *_, key in sorted(order)]
