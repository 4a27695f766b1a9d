"""Limits hold whoever asks in whatever order; who came first goes first; nobody is starved, and all get through."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from pipeline.catalog import Limits, TotalLimits
from pipeline.quotas import Held, Line, Standing, held, look_delay

T0 = datetime(2026, 11, 25, 9, tzinfo=UTC)
DAY = date(2026, 11, 25)
FREE = TotalLimits(at_once=None, a_day=None)
IMAGES = ["web", "db", "edge"]
most = st.none() | st.integers(1, 4)
LIMITS = st.fixed_dictionaries({image: st.builds(Limits, at_once=most, a_day=most) for image in IMAGES})
TOTAL = st.builds(TotalLimits, at_once=st.none() | st.integers(1, 5), a_day=st.none() | st.integers(1, 8))
MOVES = st.lists(st.tuples(st.sampled_from(["come", "ask", "end", "give up"]), st.integers(0, 99)), max_size=60)


class World:
    """The line as it becomes while runs come, ask and end; what each asks is decided as the pipeline decides it."""

    def __init__(self, limits: dict[str, Limits], total: TotalLimits) -> None:
        self.limits, self.total = limits, total
        self.line = Line([], {}, {}, DAY)
        self.came = 0
        self.let_in: list[str] = []

    def come(self, image: str) -> str:
        key = f"{self.came:04}"
        self.line.standing.append(Standing(key, image, T0 + timedelta(seconds=self.came)))
        self.came += 1
        return key

    def ask(self, key: str) -> Held | None:
        found = held(self.line, key, self.limits, self.total)
        if found is None:
            self._replace(key, at_work=True)
            image = self.find(key).image
            begun = {**self.line.begun, image: self.line.begun.get(image, 0) + 1}
            last = {**self.line.last, image: T0 + timedelta(seconds=len(self.let_in))}
            self.line = Line(self.line.standing, begun, last, DAY)
            self.let_in.append(key)
        return found

    def leave(self, key: str) -> None:
        self.line.standing.remove(self.find(key))

    def next_day(self) -> None:
        self.line = Line(self.line.standing, {}, {}, DAY)

    def find(self, key: str) -> Standing:
        return next(one for one in self.line.standing if one.key == key)

    def keys(self, *, at_work: bool, image: str | None = None) -> list[str]:
        standing = [one for one in self.line.standing if one.at_work is at_work and image in (None, one.image)]
        return [one.key for one in sorted(standing, key=lambda one: one.ready)]

    def move(self, what: str, which: int) -> None:
        if what == "come":
            self.come(IMAGES[which % len(IMAGES)])
            return
        of = self.keys(at_work=what == "end")
        if of and what == "ask":
            self.ask(of[which % len(of)])
        elif of:
            self.leave(of[which % len(of)])

    def _replace(self, key: str, *, at_work: bool) -> None:
        was = self.find(key)
        at = self.line.standing.index(was)
        self.line.standing[at] = Standing(was.key, was.image, was.ready, at_work)


@given(LIMITS, TOTAL, MOVES)
def test_no_limit_is_ever_passed(limits: dict[str, Limits], total: TotalLimits, moves: list[tuple[str, int]]) -> None:
    world = World(limits, total)
    for move in moves:
        world.move(*move)
        begun = world.line.begun
        assert total.at_once is None or len(world.keys(at_work=True)) <= total.at_once
        assert total.a_day is None or sum(begun.values()) <= total.a_day
        for image, own in limits.items():
            assert own.at_once is None or len(world.keys(at_work=True, image=image)) <= own.at_once
            assert own.a_day is None or begun.get(image, 0) <= own.a_day


@given(LIMITS, TOTAL, MOVES)
def test_who_is_let_in_passes_nobody_of_its_image_who_is_not(
    limits: dict[str, Limits], total: TotalLimits, moves: list[tuple[str, int]]
) -> None:
    world = World(limits, total)
    for move in moves:
        world.move(*move)
    for image in IMAGES:
        waiting = world.keys(at_work=False, image=image)
        answers = [held(world.line, key, limits, total) for key in waiting]
        free = [answer is None for answer in answers]
        assert free == sorted(free, reverse=True), "a place is kept for who came before"
        before = [answer.before for answer in answers if answer]
        assert before == sorted(set(before)), "who came later has more before it"


@given(LIMITS, TOTAL, MOVES)
def test_all_get_through(limits: dict[str, Limits], total: TotalLimits, moves: list[tuple[str, int]]) -> None:
    world = World(limits, total)
    for move in moves:
        world.move(*move)
    while waiting := world.keys(at_work=False):
        came_in = [key for key in waiting if world.ask(key) is None]
        ended = world.keys(at_work=True)
        if not came_in and not ended:
            world.next_day()
            came_in = [key for key in waiting if world.ask(key) is None]
            assert came_in, "nothing is at work, the day is new, and yet nobody is let in"
        for key in world.keys(at_work=True):
            world.leave(key)


@given(st.integers(1, 6), st.integers(1, 30), st.integers(0, 5))
def test_a_busy_image_never_starves_another(places: int, busy: int, late: int) -> None:
    world = World({"web": Limits(at_once=None, a_day=None), "db": Limits()}, TotalLimits(at_once=places))
    for _ in range(busy + places):
        world.come("web")
    for key in world.keys(at_work=False)[: places + late]:
        world.ask(key)
    mine = world.come("db")
    assert world.ask(mine) is not None, "all places are taken"
    world.leave(world.keys(at_work=True)[0])
    for key in world.keys(at_work=False, image="web"):
        assert world.ask(key) is not None, "the place is the other image's"
    assert world.ask(mine) is None


@given(st.integers(1, 4), st.integers(1, 4))
def test_an_image_at_its_own_limit_keeps_nobody_else_waiting(own: int, others: int) -> None:
    limits = {"web": Limits(at_once=own), "db": Limits(at_once=others)}
    world = World(limits, TotalLimits(at_once=own + others))
    web = [world.come("web") for _ in range(own + 5)]
    assert [world.ask(key) is None for key in web] == [True] * own + [False] * 5
    assert [world.ask(world.come("db")) is None for _ in range(others + 1)] == [True] * others + [False]


def test_one_that_comes_takes_no_place_that_is_kept_for_another() -> None:
    world = World({"web": Limits(at_once=1)}, FREE)
    first, second = world.come("web"), world.come("web")
    assert world.ask(first) is None
    assert world.ask(second)
    world.leave(first)
    late = world.come("web")
    assert world.ask(late)
    assert world.ask(second) is None


def test_a_limit_that_was_lowered_lets_nobody_in_until_enough_have_ended() -> None:
    world = World({"web": Limits(at_once=3)}, FREE)
    runs = [world.come("web") for _ in range(4)]
    assert [world.ask(key) is None for key in runs] == [True, True, True, False]
    world.limits = {"web": Limits(at_once=1)}
    for key in runs[:2]:
        world.leave(key)
        assert world.ask(runs[3])
    world.leave(runs[2])
    assert world.ask(runs[3]) is None


def test_runs_of_an_image_that_the_catalog_has_no_more_keep_no_place() -> None:
    world = World({"web": Limits(), "old": Limits()}, TotalLimits(at_once=1))
    world.come("old")
    del world.limits["old"]
    assert world.ask(world.come("web")) is None


def test_what_keeps_a_run_is_told() -> None:
    web = {"web": Limits(at_once=1, a_day=2), "db": Limits()}
    world = World(web, TotalLimits(at_once=2, a_day=3))
    for _ in range(4):
        world.come("web")
    assert world.ask("0000") is None
    assert str(world.ask("0001")) == "waits its turn: 1 run of web at work (at most 1: limits.at_once)"
    assert str(world.ask("0002")) == (
        "waits its turn: 1 run of web at work (at most 1: limits.at_once); 1 is before it"
    )
    world.leave("0000")
    assert world.ask("0001") is None
    assert str(world.ask("0003")) == (
        "waits its turn: 2 versions of web begun today (at most 2: limits.a_day; the next day begins at "
        "2026-11-26 00:00 UTC); 1 is before it"
    )
    assert world.ask(world.come("db")) is None
    world.next_day()
    assert str(world.ask(world.come("db"))) == (
        "waits its turn: 2 runs at work (at most 2: limits.at_once of the catalog)"
    )
    world.line = Line(world.line.standing, {"web": 1, "db": 2}, {}, DAY)
    assert str(world.ask(world.come("db"))) == (
        "waits its turn: 3 versions begun today (at most 3: limits.a_day of the catalog; the next day begins at "
        "2026-11-26 00:00 UTC); 1 is before it"
    )


@given(st.integers(0, 20_000), st.floats(0.1, 30), st.floats(30, 600))
def test_who_is_further_back_looks_less_often(before: int, low: float, high: float) -> None:
    assert low <= look_delay(before, low, high) <= look_delay(before + 1, low, high) <= 3600
    assert look_delay(min(before, 50), low, high) <= high


def test_thousands_who_wait_look_a_few_times_a_second() -> None:
    assert sum(1 / look_delay(before, 10, 120) for before in range(100)) < 1.5
    assert sum(1 / look_delay(before, 10, 120) for before in range(10_000)) < 5
