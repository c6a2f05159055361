"""What `hr logs` asks: the end of the log, from memory, and from the daemon's own file where that reaches further.

Owns where the two meet. It must never know how lines are written.
"""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from hermes_router.control.events import EventRing
from hermes_router.control.log_filter import request_of
from hermes_router.control.log_types import LogTail, LogWish
from hermes_router.daemon.logs.file import read_back

__all__ = ["LogDesk"]

_OVERLAP: Final = 50  # of the oldest events in memory, by which they are known in the file
_SHOWN: Final = 10  # ids of requests that a beginning fits


class LogDesk:
    """The log of one daemon. `path` is its file, empty where it has none; `level` says the least that is logged."""

    def __init__(
        self, ring: EventRing, *, path: Callable[[], str], clean: Callable[[str], str], level: Callable[[], str]
    ) -> None:
        self._ring = ring
        self._path = path
        self._clean = clean
        self._level = level

    async def tail(self, wish: LogWish) -> LogTail:
        """The last events that are wished for. A file that cannot be read is as if there were none."""
        ring, path = self._ring, self._path()
        found = ring.tail(wish)
        oldest = ring.oldest(_OVERLAP)
        told = LogTail(
            events=found.events,
            last_id=ring.last_id,
            requests=found.requests[:_SHOWN],
            level=self._level(),
            begins_at=oldest[0].at if oldest and not path else 0.0,
        )
        missing = wish.lines - len(found.events)
        reaches = bool(oldest) and bool(wish.since) and wish.since >= oldest[0].at
        if not path or missing <= 0 or reaches or len(found.requests) > 1:
            return told
        more = msgspec.structs.replace(wish, lines=missing)
        if found.requests:
            more = msgspec.structs.replace(more, request=found.requests[0], whole=True)
        try:
            older = await asyncio.to_thread(read_back, Path(path), more, before=oldest, clean=self._clean)
        except OSError:
            return told
        named = found.requests or (sorted({request_of(event.fields) for event in older}) if wish.request else [])
        if wish.request in named:
            older = [event for event in older if request_of(event.fields) == wish.request]
            named = [wish.request]
        if len(named) > 1:
            older = []
        return msgspec.structs.replace(told, events=[*older, *found.events], requests=named[:_SHOWN])
