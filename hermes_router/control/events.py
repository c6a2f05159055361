"""The last thousand events, and whoever listens to them.

Owns the ring, the ids and the form in which an event travels (facts/os.md 4.5: under 64 KiB). It must never hold up
whoever publishes: a subscriber that is slower than the ring is dropped and told what it lost.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from itertools import islice
from typing import Any, Final

import msgspec

from hermes_router.control.types import Event

__all__ = ["LOST", "EventRing", "frame"]

KEPT: Final = 1_000
LOST: Final = "events.lost"
"""The event that says in its field `lost` how many are gone."""

_LARGEST_FRAME: Final = 60_000  # bytes
_MOST_FIELDS, _LONGEST_NAME, _LONGEST_TEXT = (
    20,
    50,
    300,
)  # of an event that was too large; a character is 6 bytes at most
_DEEPEST: Final = 4
_NOT_TOLD: Final = frozenset({"event", "level", "timestamp"})  # among the fields: an event has its own

_Kept = tuple[int, float, str, str, Mapping[str, Any]]
"""Id, epoch seconds, event, level and fields."""


def _as_it_is(text: str) -> str:
    return text


class EventRing:
    """Events as they are published, for any number of subscribers. For one event loop's thread only.

    Ids begin at the time in microseconds, so they grow over restarts too; within a process they have no gaps.
    `scrub` takes secrets out of texts; it runs only when somebody listens.
    """

    def __init__(self, now: Callable[[], float], *, scrub: Callable[[str], str] = _as_it_is, kept: int = KEPT) -> None:
        self._now = now
        self._scrub = scrub
        self._first = self._next = int(now() * 1e6)
        self._kept: deque[_Kept] = deque(maxlen=kept)
        self._waiting: set[asyncio.Future[None]] = set()

    def publish(self, event: str, level: str, fields: Mapping[str, Any]) -> None:
        """Keep one event, and wake who waits. The mapping, and what it holds, must not change afterwards."""
        # Every log line comes by and next to none is ever asked for: an Event is made only then.
        self._kept.append((self._next, self._now(), event, level, fields))
        self._next += 1
        if self._waiting:
            for waiter in self._waiting:
                if not waiter.done():
                    waiter.set_result(None)
            self._waiting.clear()

    def subscribe(self, last_id: int | None) -> AsyncIterator[Event]:
        """Events after `last_id` as far as they are kept, then new ones; None = those from this call on.

        An id beyond our own is of a process whose clock ran ahead: then all that is kept is new.
        """
        if last_id is None or last_id == self._next - 1:
            return self._events(self._next - 1, 0)
        seen = last_id if self._first - 1 <= last_id < self._next else self._first - 1
        lost = max(0, self._oldest() - 1 - seen)
        return self._events(seen + lost, lost)

    def _oldest(self) -> int:
        return self._next - len(self._kept)

    async def _events(self, seen: int, lost: int) -> AsyncGenerator[Event, None]:
        if lost:
            yield self._gap(lost)
        while True:
            skipped = self._oldest() - 1 - seen
            if skipped > 0:
                yield self._gap(skipped)
                return
            # A copy: the ring moves on while the subscriber takes its time.
            for event in list(islice(self._kept, seen + 1 - self._oldest(), None)):
                yield self._told(event)
                seen = event[0]
            if seen == self._next - 1:
                await self._news()

    async def _news(self) -> None:
        waiter = asyncio.get_running_loop().create_future()
        self._waiting.add(waiter)
        try:
            await waiter
        finally:
            self._waiting.discard(waiter)

    def _gap(self, lost: int) -> Event:
        return Event(id=self._oldest() - 1, at=self._now(), event=LOST, level="warning", fields={"lost": lost})

    def _told(self, kept: _Kept) -> Event:
        ident, at, event, level, given = kept
        fields = {str(name): _plain(value, self._scrub) for name, value in given.items() if name not in _NOT_TOLD}
        return Event(id=ident, at=at, event=event, level=level, fields=fields)


def _plain(value: object, scrub: Callable[[str], str], depth: int = 0) -> Any:
    """A field as JSON can hold it. What is no plain value is shown as `str` shows it: a Secret stays closed."""
    match value:
        case None | bool() | int() | float():
            return value
        case str():
            return scrub(value)
        case Mapping() | list() | tuple() if depth == _DEEPEST:
            return f"({type(value).__name__})"
        case Mapping():
            return {str(name): _plain(inner, scrub, depth + 1) for name, inner in value.items()}
        case list() | tuple():
            return [_plain(inner, scrub, depth + 1) for inner in value]
        case _:
            return scrub(str(value))


_encode = msgspec.json.Encoder(enc_hook=str).encode


def frame(event: Event) -> bytes:
    """One server-sent event, under 64 KiB: what is larger, or nothing for JSON, goes out shortened and says so."""
    try:
        data = _encode(event)
    except (ValueError, TypeError, RecursionError):
        data = b""
    if not data or len(data) > _LARGEST_FRAME:
        data = _encode(_shortened(event))
    return b"id: %d\ndata: %s\n\n" % (event.id, data)


def _shortened(event: Event) -> Event:
    fields = {
        _text(str(name), _LONGEST_NAME): _short(value) for name, value in islice(event.fields.items(), _MOST_FIELDS)
    }
    name, level = _text(event.event, _LONGEST_TEXT), _text(event.level, _LONGEST_NAME)
    return Event(id=event.id, at=event.at, event=name, level=level, fields={**fields, "shortened": True})


def _short(value: object) -> object:
    match value:
        case None | bool() | float():
            return value
        case str():
            return _text(value, _LONGEST_TEXT)
        case int() if abs(value) < 1 << 63:
            return value
        case Sequence() | Mapping():
            return f"({type(value).__name__} of {len(value)})"
        case _:
            return f"({type(value).__name__})"


def _text(text: str, longest: int) -> str:
    return text[:longest].encode("utf-8", "replace").decode()
