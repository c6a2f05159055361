"""One timer for all time limits, and none when idle."""

from collections.abc import Callable
from typing import Any

import pytest

from hermes_router.engine.sweep import LINGER_S, PERIOD_S, Sweeper

from ..fakes import Clock


class Timers:
    """`call_later`, played by hand."""

    def __init__(self) -> None:
        self.set: list[tuple[float, Callable[[], None]]] = []

    def call_later(self, delay: float, callback: Callable[[], None]) -> Any:
        self.set.append((delay, callback))
        return object()

    def fire(self) -> None:
        ((delay, callback),) = self.set
        assert delay == PERIOD_S
        self.set.clear()
        callback()


class Watched:
    def __init__(self, act: Callable[[], None] = lambda: None) -> None:
        self.ticks: list[float] = []
        self._act = act

    def tick(self, mono: float) -> None:
        self.ticks.append(mono)
        self._act()


class Flight:
    def __init__(self) -> None:
        self.aborted = 0

    def abort(self) -> None:
        self.aborted += 1

    def pause(self) -> None: ...

    def resume(self) -> None: ...


@pytest.fixture
def timers() -> Timers:
    return Timers()


@pytest.fixture
def clock() -> Clock:
    return Clock(mono=100.0)


@pytest.fixture
def sweeper(clock: Clock, timers: Timers) -> Sweeper:
    return Sweeper(clock, timers.call_later)


def test_one_timer_serves_all_and_none_runs_when_idle(sweeper: Sweeper, timers: Timers, clock: Clock) -> None:
    """Two watched things, one timer; when both are forgotten it is not set again (facts/perf.md)."""
    assert sweeper.idle
    one, two = Watched(), Watched()
    sweeper.watch(one)
    sweeper.watch(two)
    assert len(timers.set) == 1
    clock.advance(PERIOD_S)
    timers.fire()
    assert one.ticks == two.ticks == [100.0 + PERIOD_S]
    sweeper.forget(one)
    sweeper.forget(one)
    timers.fire()
    assert (len(one.ticks), len(two.ticks)) == (1, 2)
    sweeper.forget(two)
    timers.fire()
    assert not timers.set
    assert sweeper.idle


def test_a_tick_may_watch_and_forget(sweeper: Sweeper, timers: Timers) -> None:
    """What a tick forgets is not ticked in the same round, and the set may change under it."""
    things: list[Watched] = []

    def forget_all() -> None:
        for thing in things:
            sweeper.forget(thing)

    things.extend(Watched(forget_all) for _ in range(3))
    for thing in things:
        sweeper.watch(thing)
    timers.fire()
    assert sum(len(thing.ticks) for thing in things) == 1
    assert sweeper.idle


def test_a_bug_in_one_tick_does_not_end_all_time_limits(sweeper: Sweeper, timers: Timers) -> None:
    """The next round comes all the same."""

    def fail() -> None:
        raise ZeroDivisionError

    sweeper.watch(Watched(fail))
    with pytest.raises(ZeroDivisionError):
        timers.fire()
    assert len(timers.set) == 1


def test_a_lingering_body_is_closed_after_its_time(sweeper: Sweeper, timers: Timers, clock: Clock) -> None:
    """An answer is over, its body is not: five seconds later the connection is closed; a landed one is left alone."""
    slow, quick = Flight(), Flight()
    sweeper.linger(slow)
    sweeper.linger(quick)
    timers.fire()
    assert (slow.aborted, quick.aborted) == (0, 0)
    sweeper.landed(quick)
    sweeper.landed(quick)
    clock.advance(LINGER_S)
    timers.fire()
    assert (slow.aborted, quick.aborted) == (1, 0)
    assert sweeper.idle
