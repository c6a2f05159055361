"""Parallel tool calls of a Chat stream, put in order: one block at a time.

Owns the assembly of tool-call deltas (providers.md 6): a missing or constant `index`, ids that are missing, empty or
repeated, whole calls in one delta, arguments as objects. Deltas of a call that is not the open one wait. It must
never know what a tool does.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import msgspec

from hermes_router.core.errors import Malformed
from hermes_router.core.events import BlockKind, ChatEvent, Closed, Delta, Opened


@dataclass(slots=True)
class _Call:
    id: str
    name: str
    extras: dict[str, object]
    arguments: list[str] = field(default_factory=list)
    pending: list[str] = field(default_factory=list)
    opened: bool = False
    done: bool = False

    @property
    def text(self) -> str:
        return "".join(self.arguments)


class CallAssembler:
    """Deltas in by `add`, ordered events out by `drain`; `finish` closes what is open."""

    def __init__(self, new_id: Callable[[str], str]) -> None:
        self._new_id = new_id
        self._calls: list[_Call] = []
        self._by_index: dict[int, _Call] = {}
        self._current = 0

    @property
    def count(self) -> int:
        """How many calls have begun."""
        return len(self._calls)

    @property
    def whole(self) -> bool:
        """Whether every call has a name and arguments that are one JSON object."""
        return all(call.name and _is_object(call.text) for call in self._calls)

    def add(self, deltas: list[Any], extra_content: Any) -> None:
        """Take the `tool_calls` of one delta. Raises Malformed."""
        for raw in deltas:
            if not isinstance(raw, dict):
                raise Malformed("a tool call that is not an object")
            function = raw.get("function")
            function = function if isinstance(function, dict) else {}
            name = function.get("name")
            name = name if isinstance(name, str) else ""
            call = self._find(raw, name, extra_content)
            if name and not call.name:
                call.name = name
            arguments = function.get("arguments")
            if isinstance(arguments, dict | list):
                arguments = msgspec.json.encode(arguments).decode()
            if isinstance(arguments, str) and arguments and not _repeats(call, arguments):
                call.arguments.append(arguments)
                call.pending.append(arguments)

    def _find(self, raw: dict[str, Any], name: str, extra_content: Any) -> _Call:
        """The call that a delta belongs to. A new id, or a name where one is known already, begins a new one."""
        index = raw.get("index")
        call_id = raw.get("id")
        call_id = call_id if isinstance(call_id, str) else ""
        known = self._by_index.get(index) if isinstance(index, int) else None
        if known is None and not isinstance(index, int) and self._calls:
            known = self._calls[-1]
        if known is not None:
            other_id = bool(call_id) and call_id != known.id and bool(name)
            begun_again = (
                bool(name and known.name)
                and not call_id
                and (name != known.name or (bool(known.arguments) and _is_object(known.text)))
            )
            if not other_id and not begun_again:
                return known
        extras: dict[str, object] = {}
        extra = raw.get("extra_content", extra_content)
        if extra is not None:
            extras["extra_content"] = extra
        call = _Call(call_id or self._new_id("call_"), name, extras)
        self._calls.append(call)
        if isinstance(index, int):
            self._by_index[index] = call
        return call

    def drain(self) -> Iterator[ChatEvent]:
        """Events of the open call; a later call opens when the one before it is known to be over."""
        while self._current < len(self._calls):
            call = self._calls[self._current]
            if not call.name:
                return
            if not call.opened:
                call.opened = True
                yield Opened(BlockKind.TOOL_CALL, call.id, call.name, call.extras)
            if call.pending:
                yield Delta("".join(call.pending))
                call.pending.clear()
            # A later call has begun and this one is a whole object: no more of it will come.
            if self._current + 1 < len(self._calls) and call.arguments and _is_object(call.text):
                call.done = True
                self._current += 1
                yield Closed()
                continue
            return

    def close(self) -> list[ChatEvent]:
        """Text begins while a call is open: the call is over."""
        out = list(self.drain())
        if self._current < len(self._calls) and self._calls[self._current].opened:
            self._calls[self._current].done = True
            self._current += 1
            out.append(Closed())
        return out

    def finish(self) -> list[ChatEvent]:
        """The answer is over: everything that waits comes out, in order."""
        out: list[ChatEvent] = []
        while self._current < len(self._calls):
            call = self._calls[self._current]
            if not call.opened:
                call.opened = True
                out.append(Opened(BlockKind.TOOL_CALL, call.id, call.name, call.extras))
            if call.pending:
                out.append(Delta("".join(call.pending)))
                call.pending.clear()
            if not call.arguments:
                # A call without arguments is a call with none: callers parse the string as JSON.
                out.append(Delta("{}"))
            call.done = True
            self._current += 1
            out.append(Closed())
        return out


def _is_object(text: str) -> bool:
    if not text:
        return True
    try:
        return isinstance(msgspec.json.decode(text), dict)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False


def _repeats(call: _Call, arguments: str) -> bool:
    """Some proxies send the whole arguments once more at the end (providers.md 6)."""
    return len(call.arguments) > 1 and arguments.startswith("{") and arguments == call.text
