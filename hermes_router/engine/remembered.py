"""Answers that later requests refer to (`previous_response_id`): from memory, else from the shelf behind it.

Owns who may refer to what and for how long, and the walk from an answer to the turns before it. What one router key
made does not exist for another. It must never log or show what it holds, nor make a caller wait for a disk but where
an answer is no longer in memory.
"""

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple, TypeVar

from hermes_router.core.errors import BadRequest
from hermes_router.core.kept import KeptResponse
from hermes_router.core.ports import Clock, ReplyStream, ResponseShelf
from hermes_router.wire.responses.turn import Ended, Past, ended, ended_stream

__all__ = ["KEPT_S", "MOST_BYTES", "Behind", "Keeping", "RememberedResponses", "not_found"]

_T = TypeVar("_T")
KEPT_S: Final = 24 * 3600.0
MEMORY_BYTES: Final = 8 * 1024 * 1024
MOST_BYTES: Final = 8 * 1024 * 1024  # of one turn: what is larger is not kept
MOST_TURNS: Final = 10_000
_OVERHEAD_BYTES: Final = 600  # an entry's own objects, roughly
_LATE_S: Final = 0.1  # for what a predecessor has told its caller, and is writing


def not_found(previous: str) -> BadRequest:
    """The dialect's own error for an id that is not known, whoever else may know it."""
    return BadRequest(
        f"Previous response with id '{previous[:100]}' not found.",
        param="previous_response_id",
        code="previous_response_not_found",
    )


class Behind(NamedTuple):
    """What a request goes on behind, and the names of those turns, the latest first."""

    past: Past
    names: tuple[bytes, ...]


class _Latest:
    """What was used last, as much of it as there is room for."""

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._rows: OrderedDict[bytes, KeptResponse] = OrderedDict()  # least recently used first
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._rows)

    def get(self, name: bytes, now: float) -> KeptResponse | None:
        """The row of that name; a find is a use. None also where it is over."""
        kept = self._rows.get(name)
        if kept is None or kept.until <= now:
            return None
        self._rows.move_to_end(name)
        return kept

    def hold(self, kept: KeptResponse) -> None:
        """Keep it for as long as there is room."""
        self.drop(kept.name)
        self._rows[kept.name] = kept
        self.bytes += _size(kept)
        while self.bytes > self._bytes_max and len(self._rows) > 1:
            self.drop(next(iter(self._rows)))

    def drop(self, name: bytes) -> None:
        """Forget it."""
        kept = self._rows.pop(name, None)
        if kept is not None:
            self.bytes -= _size(kept)

    def tidy(self, now: float) -> None:
        """Forget what is over."""
        for name in [name for name, kept in self._rows.items() if kept.until <= now]:
            self.drop(name)


def _size(kept: KeptResponse) -> int:
    return len(kept.input) + len(kept.output) + len(kept.response) + _OVERHEAD_BYTES


class RememberedResponses:
    """The answers of all router keys. Without a `shelf` they last as long as the process.

    `has_predecessor` = another process may still be writing what it has just told a caller.
    """

    def __init__(
        self,
        clock: Clock,
        shelf: ResponseShelf | None = None,
        *,
        bytes_max: int = MEMORY_BYTES,
        sleep: Callable[[float], Awaitable[Any]] = asyncio.sleep,
    ) -> None:
        self._clock = clock
        self._shelf = shelf
        self._sleep = sleep
        self._turns = _Latest(bytes_max * 3 // 4)  # without the object told: it repeats its request's tools
        self._whole = _Latest(bytes_max // 4)
        self.has_predecessor = False

    def __repr__(self) -> str:
        return f"<RememberedResponses {len(self._turns)} turns, {self.size_bytes} bytes>"

    @property
    def size_bytes(self) -> int:
        """Bytes held in memory, overhead estimated."""
        return self._turns.bytes + self._whole.bytes

    # -- what is asked ---------------------------------------------------------------------------------

    async def behind(self, previous: str, caller: str) -> Behind:
        """The turns up to the answer that a caller names. Raises BadRequest where it is not known to that caller."""
        chain: list[KeptResponse] = []
        at = _name(caller, previous)
        while at:
            found = await self._found(at)
            chain += found
            if not found or len(chain) > MOST_TURNS:
                raise not_found(previous)
            at = found[-1].parent
        items: list[bytes] = []
        for kept in reversed(chain):
            items += (kept.input, kept.output)
        return Behind(Past(previous, items, chain[-1].conversation), tuple(kept.name for kept in chain))

    async def find(self, ident: str, caller: str) -> KeptResponse | None:
        """One answer, None where this caller has none of that id."""
        name = _name(caller, ident)
        kept = self._whole.get(name, self._clock.now())
        if kept is None and self._shelf is not None:
            kept = await self._shelf.find(name) or await self._late(self._shelf.find, name)
            if kept is not None:
                self._whole.hold(kept)
        return kept

    async def forget(self, ident: str, caller: str) -> bool:
        """Erase an answer for good: whatever is built on it cannot be referred to any more. Whether there was one."""
        name = _name(caller, ident)
        if self._turns.get(name, self._clock.now()) is None and await self.find(ident, caller) is None:
            return False
        self._drop(name)
        if self._shelf is not None:
            await self._shelf.erase(name)
        self._drop(name)  # somebody may have loaded it meanwhile
        return True

    async def _found(self, name: bytes) -> Sequence[KeptResponse]:
        """The turn of that name; with those before it where they had to be loaded."""
        kept = self._turns.get(name, self._clock.now())
        if kept is not None:
            return [kept]
        shelf = self._shelf
        if shelf is None:
            return []

        async def load(name: bytes) -> Sequence[KeptResponse]:
            return await shelf.load(name, turns=MOST_TURNS)

        found = await load(name) or await self._late(load, name) or ()
        for one in reversed(found):  # the latest are used first
            self._turns.hold(one._replace(response=b""))
        return found

    async def _late(self, look: Callable[[bytes], Awaitable[_T]], name: bytes) -> _T | None:
        """What a predecessor may have been writing just now."""
        if not self.has_predecessor:
            return None
        await self._sleep(_LATE_S)
        return await look(name)

    # -- what is kept ----------------------------------------------------------------------------------

    def keep(self, caller: str, own: bytes, behind: Behind | None, conversation: str, end: Ended) -> None:
        """Remember an answer that ended well, to a caller's `own` items, and what these stand behind.

        `conversation` as in Past.
        """
        name = _name(caller, end.id)
        if behind is not None and name in behind.names:  # a provider that gives an id again: the old one is no more
            own = b",".join(filter(None, (*behind.past.items, own)))
            behind = None
        if len(own) + len(end.output) + len(end.response) > MOST_BYTES:
            return
        parent, root = (behind.names[0], behind.names[-1]) if behind is not None else (b"", name)
        until = self._clock.now() + KEPT_S
        kept = KeptResponse(name, parent, root, caller, conversation, own, end.output, end.response, until)
        self._turns.hold(kept._replace(response=b""))
        self._whole.hold(kept)
        if self._shelf is not None:
            self._shelf.put(kept)

    def tidy(self, *, everything: bool) -> None:
        """Forget what is too old; or `everything`, where nothing is to be remembered any more."""
        for latest in (self._turns, self._whole):
            latest.tidy(float("inf") if everything else self._clock.now())
        if self._shelf is not None:
            self._shelf.tidy(everything=everything)

    def _drop(self, name: bytes) -> None:
        self._turns.drop(name)
        self._whole.drop(name)


class Keeping:
    """Waits for the good end of one answer, and has it remembered before the caller can refer to it.

    Around the caller's own reply it is a ReplyStream. An answer that is cut, or that its caller did not wait for,
    leaves nothing.
    """

    __slots__ = ("_behind", "_caller", "_conversation", "_last", "_own", "_remembered", "_reply")

    def __init__(
        self, remembered: RememberedResponses, caller: str, own: bytes, behind: Behind | None, conversation: str
    ) -> None:
        self._remembered = remembered
        self._caller = caller
        self._own = own
        self._behind = behind
        self._conversation = conversation
        self._reply: ReplyStream | None = None
        self._last = b""

    def whole(self, body: bytes) -> None:
        """The whole answer, as the caller gets it."""
        self._keep(ended(body))

    def _keep(self, end: Ended | None) -> None:
        if end is not None:
            self._remembered.keep(self._caller, self._own, self._behind, self._conversation, end)

    # -- the answer as a stream ------------------------------------------------------------------------

    def around(self, reply: ReplyStream) -> "Keeping":
        """What is to be written to instead."""
        self._reply = reply
        return self

    async def start(self, headers: Mapping[str, str]) -> None:
        """Send the head."""
        await self._stream.start(headers)

    def write(self, data: bytes) -> None:
        """Pass on what is written; the last of it is the end of the answer."""
        self._last = data
        self._stream.write(data)

    def waiting_bytes(self) -> int:
        """How much the caller has not taken yet."""
        return self._stream.waiting_bytes()

    async def end(self) -> None:
        """The answer is over."""
        self._keep(ended_stream(self._last))
        await self._stream.end()

    @property
    def _stream(self) -> ReplyStream:
        assert self._reply is not None
        return self._reply


def _name(caller: str, ident: str) -> bytes:
    """One name for an id of one caller: of nobody else's does anything show in it."""
    return hashlib.blake2b(f"{caller}\0{ident}".encode(errors="surrogatepass"), digest_size=16).digest()
