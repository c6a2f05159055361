"""Kept-alive connections to one origin, newest first, and the one timer that lets old ones go.

Owns which connection serves next and for how long an idle one lives. It must never know requests or framing.
"""

import asyncio
from collections.abc import Callable
from typing import Final, NamedTuple

from hermes_router.upstream.connection import Connection, HttpFlight
from hermes_router.upstream.proxy import Proxy

_TICKS_PER_LIFE: Final = 8  # how coarse the timer is: an idle connection lives up to 1/8 longer than told


class Origin(NamedTuple):
    """Whom a connection reaches: scheme, host without brackets in lower case, port, and by which proxy."""

    tls: bool
    host: str
    port: int
    proxy: Proxy | None

    @property
    def authority(self) -> str:
        """`host:port` as in CONNECT."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


class Pool:
    """The connections to one origin: a stack of idle ones, and all that are open."""

    __slots__ = ("_limit", "_loop", "_redial", "_sweep", "idle", "open", "origin")

    def __init__(
        self, origin: Origin, sweep: "Sweep", redial: Callable[["Pool", HttpFlight], None], limit: int
    ) -> None:
        self.origin = origin
        self.idle: list[Connection] = []
        self.open: set[Connection] = set()
        self._loop = sweep.loop
        self._sweep = sweep
        self._redial = redial
        self._limit = limit

    def take(self) -> Connection | None:
        """The connection that was used last: the likeliest to be alive still, and the others can grow old."""
        idle = self.idle
        while idle:
            connection = idle.pop()
            if connection.usable():
                return connection
        return None

    def release(self, connection: Connection) -> None:
        """Keep a connection whose answer is complete."""
        if len(self.idle) >= self._limit:
            connection.cut()
            return
        connection.idle_at = self._loop.time()
        self.idle.append(connection)
        if not self._sweep.armed:
            self._sweep.arm()

    def gained(self, connection: Connection) -> None:
        """Remember a connection that was opened; until `lost`."""
        self.open.add(connection)

    def lost(self, connection: Connection) -> None:
        """Forget a closed connection."""
        self.open.discard(connection)
        if connection in self.idle:
            self.idle.remove(connection)

    def redial(self, flight: HttpFlight) -> None:
        """Send a flight once more, on a new connection; only for one whose pooled connection never spoke."""
        flight.pooled = False
        flight.connection = None
        self._redial(self, flight)

    def expire(self, before: float) -> float | None:
        """Close what idles since before that loop time; return since when the oldest left idles."""
        idle = self.idle
        while idle and idle[0].idle_at <= before:
            idle.pop(0).cut()
        return idle[0].idle_at if idle else None


class Sweep:
    """One coarse timer over all pools; none while nothing idles."""

    __slots__ = ("_keepalive_s", "_timer", "loop", "pools")

    def __init__(self, loop: asyncio.AbstractEventLoop, keepalive_s: float) -> None:
        self.loop = loop
        self.pools: list[Pool] = []
        self._keepalive_s = keepalive_s
        self._timer: asyncio.TimerHandle | None = None

    @property
    def armed(self) -> bool:
        """Whether the timer runs."""
        return self._timer is not None

    def arm(self) -> None:
        """Look again when the first idle connection can have grown old."""
        self._timer = self.loop.call_later(self._keepalive_s, self._run)

    def stop(self) -> None:
        """End the timer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _run(self) -> None:
        now = self.loop.time()
        oldest = [at for pool in self.pools if (at := pool.expire(now - self._keepalive_s)) is not None]
        self._timer = None
        if oldest:
            tick = now + self._keepalive_s / _TICKS_PER_LIFE
            self._timer = self.loop.call_at(max(min(oldest) + self._keepalive_s, tick), self._run)
