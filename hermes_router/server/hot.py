"""One request of a hot path on our own front, from its head to its last byte.

Owns the gathering of its body by its length. It must never know the connection's other requests.
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import Final

from hermes_router.core.errors import Stalled
from hermes_router.server import arrival
from hermes_router.server.arrival import too_large
from hermes_router.server.head import Head
from hermes_router.server.streaming import PlainReply

_NO_PARAMS: Final[Mapping[str, str]] = {}


class Hot:
    """An Arrival. `need` is how many bytes of the body are still to come; `task` answers it, None once it has."""

    __slots__ = (
        "_last_need", "_leaving", "_loop", "_pieces", "_size", "_timer", "_waiter", "broken", "headers", "method",
        "need", "path", "reply", "task", "transport",
    )  # fmt: skip

    def __init__(
        self,
        head: Head,
        path: str,
        transport: asyncio.Transport,
        loop: asyncio.AbstractEventLoop,
        leaving: Callable[[], bool],
    ) -> None:
        self.method = head.method
        self.path = path
        self.headers: Mapping[str, str] = head.headers
        self.transport: asyncio.Transport | None = transport
        self.reply: PlainReply | None = None
        self.broken = False  # the connection is closed after the answer
        self.task: asyncio.Task[None] | None = None
        self.need = self._last_need = self._size = head.length or 0
        self._loop = loop
        self._leaving = leaving
        self._pieces: list[bytes | memoryview] | None = []
        self._waiter: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    @property
    def params(self) -> Mapping[str, str]:
        """No hot path has any."""
        return _NO_PARAMS

    @property
    def query(self) -> Mapping[str, str]:
        """No hot path reads any."""
        return _NO_PARAMS

    def feed(self, data: bytes, start: int) -> int:
        """Take what `data` has of the body from `start` on; returns where that ends."""
        end = min(start + self.need, len(data))
        if end > start:
            self.need -= end - start
            if self._pieces is not None:
                self._pieces.append(memoryview(data)[start:end])
            if not self.need and self._waiter is not None and not self._waiter.done():
                self._waiter.set_result(None)
        return end

    def drop(self) -> None:
        """Nobody wants the body any more: what still comes is counted only."""
        self._pieces = None

    async def body(self, limit: int) -> bytes:
        """The body, joined once. Raises TooLarge and Stalled."""
        if self._size > limit:
            raise too_large(limit)
        if self.need:
            await self._rest()
        pieces, self._pieces = self._pieces, None
        return b"".join(pieces or ())

    async def _rest(self) -> None:
        self._waiter = self._loop.create_future()
        self._timer = self._loop.call_later(arrival.STALL_S, self._look)
        try:
            await self._waiter
        finally:
            self._waiter = None
            self._timer.cancel()

    def _look(self) -> None:
        """Every STALL_S: something must have come since."""
        waiter = self._waiter
        if waiter is None or waiter.done():
            return
        if self.need == self._last_need:
            self.broken = True
            waiter.set_exception(Stalled())
            return
        self._last_need = self.need
        self._timer = self._loop.call_later(arrival.STALL_S, self._look)

    def stream(self, headers: Mapping[str, str]) -> PlainReply:
        """Where a stream goes."""
        assert self.transport is not None
        self.reply = PlainReply(self.transport, headers, self._leaving)
        return self.reply
