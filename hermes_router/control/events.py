"""The last thousand events, and whoever listens to them.

Owns the ring, the ids and the form in which an event travels (facts/os.md 4.5: under 64 KiB); also from a daemon to its
successor, whose ring goes on where this one rests. It must never hold up whoever publishes: a subscriber that is slower
than the ring is dropped and told what it lost.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from itertools import islice, pairwise
from typing import Any, Final, NamedTuple

import msgspec

from hermes_router.control.log_filter import fits, request_of
from hermes_router.control.log_types import LogWish
from hermes_router.control.types import Event

__all__ = ["LOST", "SECRET_FIELDS", "EventRing", "Tail", "frame", "may_show", "plain"]

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
_DUMPED_BYTES: Final = 1_000_000
SECRET_FIELDS: Final = frozenset({
    "authorization", "x_api_key", "api_key", "access_token", "refresh_token", "id_token", "cookie", "password",
    "secret",
})  # fmt: skip
"""Names of fields whose value is never shown, small and with underscores."""

_Kept = tuple[int, float, str, str, Mapping[str, Any]]
"""Id, epoch seconds, event, level and fields."""


class Tail(NamedTuple):
    """Events in order, and the ids of requests that the wished one fits: more than one = it is not clear which."""

    events: list[Event]
    requests: list[str]


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
        self._held: deque[_Kept] | None = None  # what is published while the ring rests
        self._pass_on: Callable[[bytes], object] | None = None

    def publish(self, event: str, level: str, fields: Mapping[str, Any]) -> None:
        """Keep one event, and wake who waits. The mapping, and what it holds, must not change afterwards."""
        # Every log line comes by and next to none is ever asked for: an Event is made only then.
        self._keep(self._now(), event, level, fields)

    def _keep(self, at: float, event: str, level: str, fields: Mapping[str, Any]) -> None:
        if self._held is not None:
            self._hold((0, at, event, level, fields))
            return
        self._kept.append((self._next, at, event, level, fields))
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

    def tail(self, wish: LogWish) -> Tail:
        """The last of those events that are wished for."""
        exact = {request_of(kept[4]) for kept in self._kept if wish.request and fits(wish, kept[1], kept[3], kept[4])}
        named = [wish.request] if wish.request in exact else sorted(exact)
        if len(named) > 1:
            return Tail([], named)
        if named:
            wish = msgspec.structs.replace(wish, request=named[0], whole=True)
        found = (kept for kept in reversed(self._kept) if fits(wish, kept[1], kept[3], kept[4]))
        return Tail([self._told(kept) for kept in islice(found, wish.lines)][::-1], named)

    @property
    def last_id(self) -> int:
        """The id of the latest event, from which to follow on."""
        return self._next - 1

    def oldest(self, most: int) -> list[Event]:
        """The first few that are kept; nobody knows here what was before them."""
        return [self._told(kept) for kept in islice(self._kept, most)]

    # --- from a daemon to its successor ---------------------------------------------------------------

    def rest(self) -> dict[str, Any]:
        """All that is kept, for a successor's ring; from now on events are held, and no subscriber hears of them.

        The successor gives them their ids, so that nobody who follows both is told anything twice.
        """
        self._held = deque(maxlen=self._kept.maxlen)
        events: list[msgspec.Raw] = []
        room = _DUMPED_BYTES
        for kept in reversed(self._kept):
            data = _encoded(self._told(kept))
            room -= len(data)
            if room < 0:
                break
            events.append(msgspec.Raw(data))
        return {"first": self._first, "events": events[::-1]}

    def hand_on(self, pass_on: Callable[[bytes], object]) -> None:
        """What is held and what comes goes there, each as JSON for `hear`."""
        self._pass_on = pass_on
        for kept in self._held or ():
            pass_on(_encoded(self._told(kept)))

    def _hold(self, kept: _Kept) -> None:
        assert self._held is not None
        self._held.append(kept)
        if self._pass_on is not None:
            self._pass_on(_encoded(self._told(kept)))

    def go_on(self) -> None:
        """There is no successor after all: what was held is published."""
        held, self._held, self._pass_on = self._held, None, None
        for _, at, event, level, fields in held or ():
            self._keep(at, event, level, fields)

    def inherit(self, dumped: object) -> None:
        """Go on behind what a predecessor kept. Before anybody subscribes; what makes no sense is left out."""
        if not isinstance(dumped, Mapping):
            return
        told = [event for each in _listed(dumped.get("events")) if (event := _event(each)) is not None]
        first = dumped.get("first")
        ours = list(self._kept)
        if not told or not isinstance(first, int) or any(b.id != a.id + 1 for a, b in pairwise(told)):
            return
        self._kept.clear()
        self._first, self._next = min(first, told[0].id), told[0].id
        for event in told:
            self._keep(event.at, event.event, event.level, event.fields)
        for _, at, name, level, fields in ours:
            self._keep(at, name, level, fields)

    def hear(self, told: object) -> None:
        """Publish what a predecessor says that still has requests to end."""
        event = _event(told)
        if event is not None:
            self._keep(event.at, event.event, event.level, event.fields)

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
        return Event(id=ident, at=at, event=event, level=level, fields=plain(given, self._scrub, leave_out=_NOT_TOLD))


def plain(
    fields: Mapping[str, Any], scrub: Callable[[str], str], *, leave_out: AbstractSet[str] = frozenset()
) -> dict[str, Any]:
    """Fields as JSON can hold them, without a secret in values or names."""
    return {
        scrub(str(name)): _plain(value, scrub) if may_show(name) else "***"
        for name, value in fields.items()
        if name not in leave_out
    }


def may_show(name: object) -> bool:
    """Whether what a field of this name holds may be shown."""
    return str(name).lower().replace("-", "_") not in SECRET_FIELDS


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
            return {
                scrub(str(name)): _plain(inner, scrub, depth + 1) if may_show(name) else "***"
                for name, inner in value.items()
            }
        case list() | tuple():
            return [_plain(inner, scrub, depth + 1) for inner in value]
        case _:
            return scrub(str(value))


_encode = msgspec.json.Encoder(enc_hook=str).encode


def frame(event: Event) -> bytes:
    """One server-sent event, under 64 KiB: what is larger, or nothing for JSON, goes out shortened and says so."""
    return b"id: %d\ndata: %s\n\n" % (event.id, _encoded(event))


def _encoded(event: Event) -> bytes:
    try:
        data = _encode(event)
    except (ValueError, TypeError, RecursionError):
        data = b""
    if not data or len(data) > _LARGEST_FRAME:
        data = _encode(_shortened(event))
    return data


def _listed(value: object) -> list[object]:
    return value if isinstance(value, list) else []


def _event(value: object) -> Event | None:
    try:
        return msgspec.convert(value, Event)
    except (msgspec.ValidationError, RecursionError):
        return None  # of a version whose events we cannot read


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
