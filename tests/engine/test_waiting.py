"""The queue: earliest return first, then arrival; kinds do not wait for one another; nobody is asked in vain."""

from collections.abc import Callable
from typing import Any

import pytest

from hermes_router.engine.sweep import Sweeper
from hermes_router.engine.waiting import RELEASED, Waiters

from ..fakes import Clock, turns


class Pool:
    """Room for so many, by kind; `asked` are the names of all who looked, `served` of those who found room."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.timers: list[Callable[[], None]] = []
        self.sweeper = Sweeper(self.clock, self._later)
        self.waiters = Waiters(self.clock, self.sweeper)
        self.room: dict[str, int] = {}
        self.returns: dict[str, float] = {}
        self.asked: list[str] = []
        self.served: list[str] = []
        self.gave_up: list[str] = []

    def _later(self, _delay: float, call: Callable[[], None]) -> Any:
        self.timers.append(call)
        return object()

    def wait(
        self, name: str, kind: str = "any", *, at: float = 10.0, arrived: float = 0.0, until: float = 1e9
    ) -> "One":
        one = One(self, name, kind, arrived, self.clock.now() + until)
        self.returns.setdefault(kind, self.clock.now() + at)
        self.waiters.join(one, self.clock.now() + at)
        return one

    def later(self, seconds: float) -> None:
        self.clock.advance(seconds)
        due, self.timers = self.timers, []
        for call in due:
            call()


class One:
    def __init__(self, pool: Pool, name: str, kind: str, arrived: float, gives_up_at: float) -> None:
        self.pool, self.name, self.kind, self.arrived, self.gives_up_at = pool, name, kind, arrived, gives_up_at
        self.size = 100, 50

    def look(self) -> float | None:
        pool = self.pool
        pool.asked.append(self.name)
        if pool.room.get(self.kind, 0):
            pool.room[self.kind] -= 1
            pool.served.append(self.name)
            return None
        if pool.returns[self.kind] > self.gives_up_at:
            pool.gave_up.append(self.name)
            return None
        return pool.returns[self.kind]


@pytest.fixture
def pool() -> Pool:
    return Pool()


def test_first_come_first_served_within_a_kind(pool: Pool) -> None:
    """Room for two of four: the first two to have come, whichever joined first; the walk ends at the third."""
    for name, arrived in (("late", 4.0), ("first", 1.0), ("third", 3.0), ("second", 2.0)):
        pool.wait(name, arrived=arrived)
    pool.room["any"] = 2
    pool.later(10.0)
    assert pool.served == ["first", "second"]
    assert pool.asked == ["first", "second", "third"]
    assert pool.waiters.waiting == 2


def test_the_earliest_return_comes_before_the_earliest_arrival(pool: Pool) -> None:
    """Two kinds are due in one sweep: the one whose quota returned first goes first."""
    pool.wait("came first", "slow", at=10.0, arrived=1.0)
    pool.wait("returns first", "quick", at=9.0, arrived=2.0)
    pool.room |= {"slow": 1, "quick": 1}
    pool.later(10.0)
    assert pool.served == ["returns first", "came first"]


def test_equal_returns_of_two_kinds_are_served_by_arrival(pool: Pool) -> None:
    """Kinds that compete for one window take turns as they came, not kind by kind."""
    for number in range(6):
        pool.wait(str(number), "odd" if number % 2 else "even", arrived=number)
    pool.room |= {"odd": 3, "even": 3}
    pool.later(10.0)
    assert pool.served == list("012345")


def test_a_kind_whose_target_is_still_limited_blocks_no_other(pool: Pool) -> None:
    """A pinned request waits for its own model; everybody else goes by."""
    pool.wait("pinned", "pin", at=10.0, arrived=1.0)
    for number in range(3):
        pool.wait(str(number), arrived=2.0 + number)
    pool.room["any"] = 3
    pool.returns["pin"] = pool.clock.now() + 50.0
    pool.later(10.0)
    assert pool.served == ["0", "1", "2"]
    assert pool.waiters.waiting == 1


def test_before_its_return_nobody_is_asked(pool: Pool) -> None:
    """Sweeps cost a comparison: no plan is made until something is due."""
    pool.wait("one")
    for _ in range(39):
        pool.later(0.25)
    assert pool.asked == []
    pool.later(0.25)
    assert pool.asked == ["one"]


def test_a_return_that_did_not_come_is_looked_at_again_when_it_should(pool: Pool) -> None:
    """The instant was wrong: the next one is believed, and not asked about before."""
    pool.wait("one")
    pool.returns["any"] = pool.clock.now() + 20.0
    pool.later(10.0)
    pool.later(9.75)
    assert pool.asked == ["one"]
    pool.room["any"] = 1
    pool.later(0.25)
    assert pool.served == ["one"]


def test_a_thousand_who_wait_cost_one_plan_a_wake_up(pool: Pool) -> None:
    """The first of a kind finds nobody, so its thousand followers are not asked."""
    for number in range(1_000):
        pool.wait(str(number), arrived=number)
    pool.returns["any"] = pool.clock.now() + 20.0
    pool.later(10.0)
    assert pool.asked == ["0"]


async def test_a_wake_up_asks_everybodys_first_and_once_however_often_it_is_called(pool: Pool) -> None:
    """A burst of settlements is one walk, in the next round of the loop."""
    for kind in "abc":
        for number in range(3):
            pool.wait(f"{kind}{number}", kind, arrived=number)
    for _ in range(50):
        pool.waiters.wake()
    assert pool.asked == []
    await turns()
    assert sorted(pool.asked) == ["a0", "b0", "c0"]


async def test_without_anybody_a_wake_up_is_nothing(pool: Pool) -> None:
    """No task, no timer, no look."""
    pool.waiters.wake()
    await turns()
    assert pool.sweeper.idle
    assert pool.asked == []


async def test_room_for_all_lets_the_loop_turn_in_between(pool: Pool) -> None:
    """A thousand are not let go in one step, since each has a request to send; but all of them go."""
    for number in range(100):
        pool.wait(str(number), arrived=number)
    pool.room["any"] = 1_000
    pool.waiters.wake()
    await turns(1)
    assert len(pool.served) == RELEASED
    await turns(10)
    assert pool.served == [str(number) for number in range(100)]


def test_whoever_has_just_come_lets_the_others_go_first(pool: Pool) -> None:
    """The return has passed, no sweep has come yet: a newcomer's `serve` gives it to who waited for it."""
    pool.wait("waited")
    pool.room["any"] = 1
    pool.clock.advance(10.0)
    pool.waiters.serve()
    assert pool.served == ["waited"]


def test_who_waits_in_vain_hears_it_when_it_is_known(pool: Pool) -> None:
    """The return moved beyond the patience of some: they are refused now, the patient ones wait on."""
    pool.wait("patient", arrived=1.0, until=100.0)
    pool.wait("hurried", arrived=2.0, until=15.0)
    pool.wait("calm", arrived=3.0, until=100.0)
    pool.returns["any"] = pool.clock.now() + 60.0
    pool.later(10.0)
    assert pool.gave_up == ["hurried"]
    assert pool.waiters.waiting == 2


def test_at_its_end_a_wait_has_one_last_look_after_those_before_it(pool: Pool) -> None:
    """The return and the end of the patience are one instant: first come, first served all the same."""
    pool.wait("first", arrived=1.0, at=10.0)
    last = pool.wait("second", arrived=2.0, at=10.0, until=10.0)
    pool.room["any"] = 1
    pool.returns["any"] = pool.clock.now() + 11.0
    pool.clock.advance(10.0)
    pool.waiters.expire(last)
    assert (pool.served, pool.gave_up) == (["first"], ["second"])


def test_who_leaves_is_out_and_the_queue_ends_with_the_last(pool: Pool) -> None:
    """Leaving twice is leaving once; without anybody nothing is watched."""
    one, two = pool.wait("one"), pool.wait("two")
    pool.waiters.leave(one)
    pool.waiters.leave(one)
    assert pool.waiters.waiting == 1
    pool.waiters.leave(two)
    pool.later(0.25)
    assert pool.sweeper.idle
    assert pool.asked == []


def test_who_comes_while_its_kind_waits_needs_no_plan_of_its_own(pool: Pool) -> None:
    """The first of the kind has just found nobody: that holds for one as large, not for a smaller or another one."""
    pool.wait("first", at=10.0)
    here = pool.clock.now() + 10.0
    assert pool.waiters.expects("any", (100, 50)) == here
    assert pool.waiters.expects("any", (150, 60)) == here
    assert pool.waiters.expects("any", (99, 50)) is None
    assert pool.waiters.expects("any", (100, 49)) is None
    assert pool.waiters.expects("other", (100, 50)) is None
    pool.clock.advance(1.5)
    assert pool.waiters.expects("any", (100, 50)) is None


async def test_a_walk_that_takes_long_leaves_the_loop_to_others(pool: Pool) -> None:
    """A plan over ten thousand targets took half a second: the next walk comes two seconds later, however often woken."""
    one = pool.wait("one")

    def slow() -> float:
        pool.asked.append("one")
        pool.clock.advance(0.5)
        return pool.clock.now() + 60.0

    one.look = slow
    pool.waiters.wake()
    await turns()
    pool.waiters.wake()
    await turns()
    assert pool.asked == ["one"]
    for _ in range(8):
        pool.later(0.25)
    assert pool.asked == ["one", "one"]
