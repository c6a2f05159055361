"""One coarse sweep over everything that waits: all time limits of all exchanges, and no timer when idle.

Owns the single timer (facts/perf.md: no future, task or timer per chunk). It must never know what it watches.
"""

import asyncio
from collections.abc import Callable
from typing import Protocol

from hermes_router.core.ports import Clock, Flight

PERIOD_S = 0.25
LINGER_S = 5.0


class Watched(Protocol):
    """Something with time limits."""

    def tick(self, mono: float) -> None:
        """Look at the clock (monotonic seconds) and act; must not raise."""
        ...


class Sweeper:
    """Ticks every watched thing four times a second, while there is one."""

    def __init__(self, clock: Clock, call_later: Callable[..., asyncio.TimerHandle]) -> None:
        self._clock = clock
        self._call_later = call_later
        self._watched: set[Watched] = set()
        self._lingering: dict[Flight, float] = {}
        self._timer: asyncio.TimerHandle | None = None

    def watch(self, what: Watched) -> None:
        """Tick `what` until `forget`."""
        self._watched.add(what)
        self._arm()

    def forget(self, what: Watched) -> None:
        """Stop ticking `what`. Idempotent."""
        self._watched.discard(what)

    def linger(self, flight: Flight) -> None:
        """An answer is over but its body is not: the connection is reusable if the end comes soon, else closed."""
        self._lingering[flight] = self._clock.mono() + LINGER_S
        self._arm()

    def landed(self, flight: Flight) -> None:
        """The body ended by itself."""
        self._lingering.pop(flight, None)

    @property
    def idle(self) -> bool:
        """Whether no timer runs."""
        return self._timer is None

    def sweep(self) -> None:
        """One round."""
        self._timer = None
        mono = self._clock.mono()
        try:
            for flight in [f for f, until in self._lingering.items() if mono >= until]:
                del self._lingering[flight]
                flight.abort()
            for what in tuple(self._watched):
                if what in self._watched:  # a tick may have forgotten it
                    what.tick(mono)
        finally:
            self._arm()  # a bug in one tick must not end all time limits

    def _arm(self) -> None:
        if self._timer is None and (self._watched or self._lingering):
            self._timer = self._call_later(PERIOD_S, self.sweep)
