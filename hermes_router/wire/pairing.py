"""Calls and results that do not pair, in neutral turns: repaired for targets that take no such history.

Owns the repairs of contract.md (Errors) where a history is translated; `quirks_history` does so for Chat messages.
Results without calls, calls without results, duplicate or missing ids, nameless calls, arguments that are no JSON
object. A history that is sound is left alone. It must never know a dialect or a target.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Final

import msgspec
from msgspec import Raw

from hermes_router.core.chat import Warning as Notice
from hermes_router.core.content import Part, Text, ToolCall, ToolResult, Turn
from hermes_router.wire.quirks.history import NO_NAME, NO_RESULT

__all__ = ["pair"]

_OBJECT: Final = msgspec.json.Decoder(dict[str, Raw])
_ID_MAX: Final = 56  # leaves room for a suffix below the 64 that all dialects take (providers.md 12.4)
_ORPHAN: Final = "Result of an earlier tool call: "


def pair(turns: Sequence[Turn]) -> tuple[Sequence[Turn], tuple[Notice, ...]]:
    """The turns with each call answered once, right behind it, and what had to be repaired for that."""
    if _is_sound(turns):
        return turns, ()
    pairing = _Pairing(turns)
    return pairing.run(), tuple(Notice("repaired", what) for what in pairing.repaired)


def _is_sound(turns: Sequence[Turn]) -> bool:
    seen: set[str] = set()
    waiting: set[str] = set()
    for turn in turns:
        if turn.role == "user":
            for part in turn.parts:
                if isinstance(part, ToolResult):
                    if part.call_id not in waiting:
                        return False
                    waiting.remove(part.call_id)
        if waiting:
            return False
        if turn.role == "assistant":
            for part in turn.parts:
                if isinstance(part, ToolCall):
                    if not part.call_id or part.call_id in seen or not part.name or not _has_object(part):
                        return False
                    seen.add(part.call_id)
                    waiting.add(part.call_id)
    return not waiting


def _has_object(call: ToolCall) -> bool:
    if call.custom:
        return True
    try:
        _OBJECT.decode(call.arguments)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return False
    return True


class _Pairing:
    """Rebuilds one history: results move behind their calls, the rest keeps its order."""

    def __init__(self, turns: Sequence[Turn]) -> None:
        self.turns = turns
        self.repaired: dict[str, None] = {}
        self.used: set[str] = set()
        self.copies: defaultdict[str, int] = defaultdict(lambda: 1)
        self.taken: set[tuple[int, int]] = set()
        self.results: defaultdict[str, list[tuple[int, int]]] = defaultdict(list)
        self.calls: defaultdict[str, list[int]] = defaultdict(list)
        for index, turn in enumerate(turns):
            for number, part in enumerate(turn.parts):
                if isinstance(part, ToolResult):
                    self.results[part.call_id].append((index, number))
                elif isinstance(part, ToolCall):
                    self.calls[part.call_id].append(index)
        for calls in self.calls.values():
            calls.reverse()
        for found in self.results.values():
            found.reverse()  # the first is taken from the end

    def run(self) -> list[Turn]:
        """The history, rebuilt."""
        out: list[Turn] = []
        for index, turn in enumerate(self.turns):
            if turn.role == "assistant":
                answers: list[Part] = []
                parts = tuple(self._said(turn, index, answers))
                out.append(turn._replace(parts=parts))
                if answers:
                    out.append(Turn("user", tuple(answers)))
                continue
            parts = tuple(self._heard(turn, index))
            if parts or not turn.parts:
                out.append(turn._replace(parts=parts))
        return out

    def _said(self, turn: Turn, index: int, answers: list[Part]) -> Iterator[Part]:
        for number, part in enumerate(turn.parts):
            if isinstance(part, ToolCall):
                call = self._sound(part, f"call_{index}_{number}")
                answers.append(self._answer(part.call_id, call.call_id, index))
                yield call
            else:
                yield part

    def _sound(self, call: ToolCall, otherwise: str) -> ToolCall:
        new = call.call_id or otherwise
        while new in self.used:
            stem = (call.call_id or otherwise)[:_ID_MAX]
            self.copies[stem] += 1
            new = f"{stem}_{self.copies[stem]}"
        if new != call.call_id:
            self.repaired["duplicate_call_ids" if call.call_id else "call_ids"] = None
        self.used.add(new)
        arguments = call.arguments
        if not call.custom and not arguments:
            arguments = "{}"  # a call without arguments is a call with none
        elif not _has_object(call):
            arguments = msgspec.json.encode({"input": arguments}).decode()
            self.repaired["tool_arguments"] = None
        if not call.name:
            self.repaired["tool_names"] = None
        return call._replace(call_id=new, name=call.name or NO_NAME, arguments=arguments)

    def _answer(self, old: str, new: str, index: int) -> ToolResult:
        """The first free result of this id that comes later, unless a later call of the same id is nearer to it."""
        calls, found = self.calls[old], self.results[old]
        while calls and calls[-1] <= index:
            calls.pop()
        later = calls[-1] if calls else len(self.turns)
        while found and found[-1][0] <= index:
            found.pop()  # it came before its call
        if found and found[-1][0] < later:
            turn, number = found.pop()
            self.taken.add((turn, number))
            part = self.turns[turn].parts[number]
            if isinstance(part, ToolResult):
                return part._replace(call_id=new)
        self.repaired["missing_results"] = None
        return ToolResult(new, (Text(NO_RESULT),))

    def _heard(self, turn: Turn, index: int) -> Iterator[Part]:
        for number, part in enumerate(turn.parts):
            if not isinstance(part, ToolResult):
                yield part
            elif (index, number) not in self.taken:
                self.repaired["orphan_results"] = None
                first = part.parts[0] if part.parts else Text("")
                if isinstance(first, Text):
                    yield Text(f"{_ORPHAN}{first.text}")
                    yield from part.parts[1:]
                else:
                    yield Text(_ORPHAN.rstrip(": ") + ":")
                    yield from part.parts
