"""Which of the runs that wait for their turn may begin, by the limits of their images and of the catalog. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

from pipeline.catalog import Limits


@dataclass(frozen=True)
class Standing:
    """A run in the line: `ready` is when it came there, `at_work` says that it has had its turn and not ended yet."""

    key: str
    image: str
    ready: datetime
    at_work: bool = False


@dataclass(frozen=True)
class Line:
    """All runs that wait or are at work, and the versions of each image that were begun on `day`, in UTC."""

    standing: list[Standing]
    begun: Mapping[str, int]
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

    Within an image, who came first goes first. Between images, the one with the fewest runs at work does, so that one
    with many never keeps another from its turn. A place is kept for whoever is to have it next, until it asks.
    """
    order = _order(line, limits)
    at_work = sum(one.at_work for one in line.standing)
    begun = sum(line.begun.values())
    if key in order:
        before = order.index(key)
        if before >= _room(total.a_day, begun):
            return Held(f"{begun} versions were begun today ({_limit(total.a_day, 'a_day', line.day)})", before)
        if before >= _room(total.at_once, at_work):
            return Held(f"{at_work} runs are at work ({_limit(total.at_once, 'at_once')} of the catalog)", before)
        return None
    image = next(one.image for one in line.standing if one.key == key)
    before = [one.key for one in _waiting(line) if one.image == image].index(key)
    own, at_work, begun = limits[image], _at_work(line)[image], line.begun.get(image, 0)
    if before >= _room(own.a_day, begun):
        said = f"{begun} versions of {image} were begun today ({_limit(own.a_day, 'a_day', line.day)})"
    else:
        said = f"{at_work} runs of {image} are at work ({_limit(own.at_once, 'at_once')})"
    return Held(said, before)


def _limit(most: int | None, name: str, day: date | None = None) -> str:
    then = ""
    if day:
        tomorrow = datetime.combine(day + timedelta(days=1), time(), UTC)
        then = f"; the next day begins at {tomorrow:%Y-%m-%d %H:%M} UTC"
    return f"at most {most}: limits.{name}{then}"


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
    order: list[tuple[int, datetime, str]] = []
    for image in queues.keys() & limits.keys():  # the runs of an image that the catalog has no more fail elsewhere
        own = limits[image]
        room = min(_room(own.at_once, at_work[image]), _room(own.a_day, line.begun.get(image, 0)))
        order += [(at_work[image] + n, one.ready, one.key) for n, one in enumerate(queues[image]) if n < room]
    return [key for _, _, key in sorted(order)]
