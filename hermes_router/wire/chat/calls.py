"""Parallel tool calls of a Chat stream, put in order: one block at a time.

Owns the assembly of tool-call deltas (providers.md 6): a missing or constant `index`, ids that are missing, empty or
repeated, whole calls in one delta, arguments as objects. Deltas of a call that is not the open one wait. It must
never know what a tool does.
"""

from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from hermes_router.core.errors import Malformed
from hermes_router.core.events import BlockKind, ChatEvent, Closed, Delta, Opened
from hermes_router.wire.chat.frames import sendable
from hermes_router.wire.messages.arguments import is_object


class _Call(msgspec.Struct):
    """One call. `upstream_id` is the provider's, `id` what the caller sees: unique within the answer.

    The arguments of a `custom` one are free text.
    """

    id: str
    upstream_id: str
    name: str
    extras: dict[str, object]
    arguments: list[str] = msgspec.field(default_factory=list)
    pending: list[str] = msgspec.field(default_factory=list)
    opened: bool = False
    custom: bool = False

    @property
    def text(self) -> str:
        return "".join(self.arguments)

    @property
    def complete(self) -> bool:
        """Whether the arguments so far are one JSON object: nothing but white space can follow. Free text never is."""
        if self.custom:
            return False
        # Nearly every delta ends inside the object, so the last one tells without parsing.
        return bool(self.arguments) and self.arguments[-1].rstrip()[-1:] in ("}", "") and is_object(self.text)


class CallAssembler:
    """Deltas in by `add`, ordered events out by `drain`; `finish` closes what is open."""

    def __init__(self, new_id: Callable[[str], str]) -> None:
        self._new_id = new_id
        self._calls: list[_Call] = []
        self._by_index: dict[int, _Call] = {}
        self._by_id: dict[str, _Call] = {}
        self._shown_ids: set[str] = set()
        self._current = 0

    @property
    def count(self) -> int:
        """How many calls have begun."""
        return len(self._calls)

    @property
    def named(self) -> int:
        """How many of them can be shown."""
        return sum(1 for call in self._calls if call.name)

    @property
    def whole(self) -> bool:
        """Whether every call has a name, and arguments that are one JSON object, free text, or none at all."""
        return all(call.name and (call.custom or call.complete or not call.text.strip()) for call in self._calls)

    @property
    def complete(self) -> bool:
        """Whether every call has a name and one JSON object: nothing is missing even if no more comes."""
        return all(call.name and call.complete for call in self._calls)

    def add(self, deltas: list[Any], extra_content: Any) -> None:
        """Take the `tool_calls` of one delta. Raises Malformed."""
        for raw in deltas:
            if not isinstance(raw, dict):
                raise Malformed("a tool call that is not an object")
            custom = raw.get("custom")
            function = custom if isinstance(custom, dict) else raw.get("function")
            function = function if isinstance(function, dict) else {}
            name = _string(function.get("name"))
            arguments = function.get("input" if function is custom else "arguments")
            if isinstance(arguments, dict | list):
                arguments = msgspec.json.encode(sendable(arguments)).decode()
            arguments = _string(arguments)
            if not name and not arguments and not raw.get("id"):
                continue  # nothing said
            call = self._find(raw, name, arguments)
            if not call.opened:
                call.name = call.name or name
                call.custom = call.custom or function is custom
                extra = raw.get("extra_content", extra_content)
                if extra is not None:
                    call.extras["extra_content"] = sendable(extra)
            # Some proxies send the whole arguments once more at the end (providers.md 6).
            if arguments and not (arguments.startswith("{") and call.complete and arguments == call.text):
                call.arguments.append(arguments)
                call.pending.append(arguments)

    def _find(self, raw: dict[str, Any], name: str, arguments: str) -> _Call:
        """The call that a delta belongs to; a new one where it begins one."""
        index = raw.get("index")
        index = index if type(index) is int else None
        call_id = _string(raw.get("id"))
        known = self._known(index, call_id, name)
        if known is not None and _begins_again(known, call_id, name, arguments):
            known = None
        if known is None:
            known = _Call(self._unique(call_id), call_id, name, {})
            self._calls.append(known)
        elif call_id and not known.upstream_id and not known.opened:
            known.id, known.upstream_id = self._unique(call_id), call_id
        if index is not None:
            self._by_index[index] = known
        if call_id:
            self._by_id.setdefault(call_id, known)
            if known.upstream_id == call_id:
                self._by_id[call_id] = known
        return known

    def _known(self, index: int | None, call_id: str, name: str) -> _Call | None:
        """The call that index and id point at. An id that is known wins over an index that never changes."""
        at_index = self._by_index.get(index) if index is not None else None
        if at_index is not None and at_index.upstream_id == call_id:
            return at_index
        by_id = self._by_id.get(call_id) if call_id else None
        if by_id is not None and (at_index is not None or index is None or not name):
            return by_id
        if index is not None:
            return at_index
        if call_id and name:
            return None
        return self._calls[-1] if self._calls else None

    def _unique(self, call_id: str) -> str:
        """The id to show: the provider's own, unless it has none or gives the same to two calls."""
        shown = call_id if call_id and call_id not in self._shown_ids else self._new_id("call_")
        self._shown_ids.add(shown)
        return shown

    def drain(self) -> Iterator[ChatEvent]:
        """Events of the open call; a later call opens when the one before it is known to be over."""
        while self._current < len(self._calls):
            call = self._calls[self._current]
            if not call.name:
                return
            yield from _news(call)
            # A later call has begun and this one is a whole object: no more of it will come.
            if self._current + 1 == len(self._calls) or not call.complete:
                return
            self._current += 1
            yield Closed()

    def close(self) -> list[ChatEvent]:
        """Something else begins: every call comes out and is over. Only where `complete` holds."""
        return self.finish(fill=False)

    def finish(self, *, fill: bool) -> list[ChatEvent]:
        """The answer is over: everything that waits comes out, in order.

        `fill` = a call without arguments is a call with none, since callers parse the string as JSON. Not so where the
        answer was cut at its length limit: there, what is missing stays missing, and a call without a name is none.
        """
        out: list[ChatEvent] = []
        for call in self._calls[self._current :]:
            if not call.name:
                continue
            out.extend(_news(call))
            if fill and not call.custom and not call.text.strip():
                out.append(Delta("{}"))
            out.append(Closed())
        self._current = len(self._calls)
        return out


def _news(call: _Call) -> Iterator[ChatEvent]:
    """What has not been said of a call."""
    if not call.opened:
        call.opened = True
        yield Opened(BlockKind.TOOL_CALL, call.id, call.name, call.extras, custom=call.custom)
    if call.pending:
        yield Delta("".join(call.pending))
        call.pending.clear()


def _begins_again(known: _Call, call_id: str, name: str, arguments: str) -> bool:
    """Whether a delta that points at a known call is a new one: providers reuse index 0, and send no or equal ids."""
    if not name or not known.name:
        return False
    if name != known.name:
        return True
    if call_id and known.upstream_id and call_id != known.upstream_id:
        # Another id: another call, unless this one is in the middle of its arguments (an id made up for each delta).
        return not known.arguments or known.complete
    if not arguments.lstrip().startswith("{") or not known.complete:
        return False
    # The same once more: a repetition at the end, but two equal calls where each came in one piece without an id.
    return arguments != known.text or (not call_id and len(known.arguments) == 1)


def _string(value: Any) -> str:
    return value if isinstance(value, str) else ""
