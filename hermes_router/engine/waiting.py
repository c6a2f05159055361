"""Everybody who waits for a target, in a fair order (design.md 2.15).

Owns the order and the wake-ups: the earliest return first, then arrival; one after the other, each in one synchronous
step of planning and reserving, so that nobody is let go whom the next would find in its way. Those who could be served
by the same targets are one kind: where the first of a kind finds nobody, the others of it are not asked. A kind never
waits behind another. It must never know what is waited for, or answer anybody.
"""

import asyncio
from bisect import insort
from collections.abc import Hashable
from typing import Protocol

from hermes_router.core.ports import Clock
from hermes_router.engine.ramp import Ramps
from hermes_router.engine.sweep import Sweeper

RELEASED = 32  # in one go; then the loop turns, since each of them has a request to send
KNOWN_S = 1.0  # for so long what the first of a kind has found holds for those who come after it
REST = 4.0  # of the time that a walk took: wake-ups of a large pool must leave the loop to those who are served

_NEVER = float("inf")


class Waiter(Protocol):
    """One who waits.

    `kind`: equal for those whom the same targets could serve, but for `size`, what it takes of them: what is too much
    for one is too much for a larger one. `arrived`: monotonic seconds. `gives_up_at`: epoch seconds from which a return
    comes too late.
    """

    @property
    def kind(self) -> Hashable:
        """What it could be served by, as one value."""
        ...

    @property
    def size(self) -> tuple[int, int]:
        """Tokens in, and tokens out at the most."""
        ...

    @property
    def arrived(self) -> float:
        """When its request came, monotonic seconds."""
        ...

    @property
    def gives_up_at(self) -> float:
        """Until when it waits at the longest, epoch seconds."""
        ...

    def look(self) -> float | None:
        """Plan and reserve. None = its wait is over, one way or the other; else when to look again, epoch seconds."""
        ...


class _Place:
    """A waiter in its queue."""

    __slots__ = ("order", "waiter")

    def __init__(self, waiter: Waiter, number: int) -> None:
        self.waiter = waiter
        self.order = waiter.arrived, number

    def __lt__(self, other: "_Place") -> bool:
        return self.order < other.order


class _Kind:
    """Those whom the same targets could serve, in the order of their arrival.

    `again_at` is their first one's; it looked at `looked_at`; both epoch seconds.
    """

    __slots__ = ("again_at", "looked_at", "places")

    def __init__(self, now: float) -> None:
        self.places: list[_Place] = []
        self.again_at = _NEVER
        self.looked_at = now


class Waiters:
    """The queue. `waiting` = how many are in it; without any, nothing here costs anything."""

    def __init__(self, clock: Clock, sweeper: Sweeper) -> None:
        self._clock = clock
        self._sweeper = sweeper
        self._kinds: dict[Hashable, _Kind] = {}
        self._places: dict[Waiter, tuple[_Kind, _Place]] = {}
        self._number = 0
        self._next_at = _NEVER
        self._woken = False
        self._scheduled = False
        self._rests_until = 0.0
        self.ramps = Ramps()
        self.waiting = 0

    def join(self, waiter: Waiter, again_at: float) -> None:
        """Wait from now on; `again_at` is what its last look said."""
        if not self.waiting:
            self._sweeper.watch(self)
        kind = self._kinds.get(waiter.kind)
        if kind is None:
            kind = self._kinds[waiter.kind] = _Kind(self._clock.now())
        self._number += 1
        place = _Place(waiter, self._number)
        insort(kind.places, place)
        self._places[waiter] = kind, place
        self.waiting += 1
        kind.again_at = min(kind.again_at, again_at)
        self._next_at = min(self._next_at, again_at)

    def expects(self, kind: Hashable, size: tuple[int, int]) -> float | None:
        """When one of this kind and size need look at the soonest, epoch seconds; None where only a plan can tell.

        Who comes while its kind waits joins the queue without a plan of its own.
        """
        found = self._kinds.get(kind)
        if found is None or self._clock.now() - found.looked_at > KNOWN_S:
            return None
        first = found.places[0].waiter.size
        return found.again_at if size[0] >= first[0] and size[1] >= first[1] else None

    def leave(self, waiter: Waiter) -> None:
        """Wait no more; whoever does not wait is no matter."""
        found = self._places.pop(waiter, None)
        if found is None:
            return
        kind, place = found
        kind.places.remove(place)
        if not kind.places:
            del self._kinds[waiter.kind]
        self.waiting -= 1
        if not self.waiting:
            self._sweeper.forget(self)
            self.ramps.clear()
            self._next_at = _NEVER
            self._woken = False

    # -- wake-ups --------------------------------------------------------------------------------------

    def wake(self) -> None:
        """Something has changed that may serve somebody: a key, a limit, a request that has ended."""
        if self.waiting:
            self._woken = True
            if not self._scheduled:
                self._scheduled = True
                asyncio.get_running_loop().call_soon(self._soon)

    def _soon(self) -> None:
        self._scheduled = False
        self.serve()

    def tick(self, mono: float) -> None:  # noqa: ARG002 - returns are told in epoch seconds
        """Look at the clock: quota may have come back."""
        self.serve()

    def serve(self) -> None:
        """Let go whoever can be served now. Whoever has just come calls it first, so that it overtakes nobody."""
        now, mono = self._clock.now(), self._clock.mono()
        if not (self._woken or now >= self._next_at) or mono < self._rests_until:
            return
        woken, self._woken = self._woken, False
        self._walk(now, woken=woken)
        ended_mono = self._clock.mono()
        self._rests_until = ended_mono + REST * (ended_mono - mono)

    def _walk(self, now: float, *, woken: bool) -> None:
        due = [kind for kind in self._kinds.values() if woken or kind.again_at <= now]
        left = RELEASED
        while due and left:
            kind = min(due, key=_order)
            first = kind.places[0]
            again_at = first.waiter.look()
            left -= 1
            if again_at is None:
                self.leave(first.waiter)
            else:
                kind.again_at, kind.looked_at = again_at, now
                self._hurry(kind)
            if again_at is not None or not kind.places:
                due.remove(kind)
        self._next_at = min((kind.again_at for kind in self._kinds.values()), default=_NEVER)
        if due:
            self.wake()

    def _hurry(self, kind: _Kind) -> None:
        """Those for whom their kind's return comes too late hear it now."""
        for place in [each for each in kind.places if each.waiter.gives_up_at < kind.again_at]:
            again_at = place.waiter.look()
            if again_at is None:
                self.leave(place.waiter)
            else:
                kind.again_at = min(kind.again_at, again_at)

    def expire(self, waiter: Waiter) -> None:
        """Its time is up: those before it first, then its last look."""
        self.serve()
        if waiter in self._places and waiter.look() is None:
            self.leave(waiter)


def _order(kind: _Kind) -> tuple[float, tuple[float, int]]:
    return kind.again_at, kind.places[0].order
