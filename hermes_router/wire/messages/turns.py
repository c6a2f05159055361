"""Turns as Messages messages, in the order that the dialect demands.

Owns the repairs of contract.md (Errors) for this dialect and its order (facts: providers.md 12.2, 12.4, 12.9): the
first turn is the user's, turns of one role are one, each call has its result in the turn right behind it and before
anything else, nothing is empty, a thought goes to its maker only. It must never know a provider.
"""

import hashlib
import re
from collections import defaultdict, deque
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any, Final

import msgspec
from msgspec import Raw

from hermes_router.core.content import (
    Audio,
    Document,
    Extras,
    Foreign,
    Image,
    Part,
    Reasoning,
    Text,
    ToolCall,
    ToolResult,
    Turn,
)
from hermes_router.wire.chat.outgoing import Recall
from hermes_router.wire.messages.media import media_blocks, own_keys
from hermes_router.wire.messages.parts import DIALECT
from hermes_router.wire.messages.rules import Notes, Rules
from hermes_router.wire.quirks.calls import CONTINUE
from hermes_router.wire.quirks.history import NO_NAME, NO_RESULT

__all__ = ["FIRST_TURN", "SYSTEM_NOTE", "MessageWriter", "call_id_for", "text_block"]

Block = dict[str, Any]

FIRST_TURN: Final = "."
"""The user's turn where a conversation begins with the assistant's (12.2)."""
SYSTEM_NOTE: Final = "[Note of the system]"
"""Stands before an instruction that had to become part of a user's turn."""
_ORPHAN: Final = "Result of an earlier tool call: "
_NOT_IN_ERRORS: Final = frozenset({"image", "document", "search_result"})
_ID: Final = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_ID_MAX: Final = 56  # leaves room for a suffix
_OBJECT: Final = msgspec.json.Decoder(dict[str, Raw])
_ANY: Final = msgspec.json.Decoder()
_EMPTY: Final = Raw(b"{}")
_THOUGHTS: Final = frozenset({"thinking", "redacted_thinking"})


class MessageWriter:
    """Writes the turns of one request for one target; `leading` is system text that stood among them first."""

    def __init__(
        self, rules: Rules, recall: Recall, notes: Notes, *, strip_thoughts: bool, thinks: bool = False
    ) -> None:
        self.leading: list[Text] = []
        self._prefill = rules.prefill is True and not thinks  # with thinking on, nobody takes one
        self._rules = rules
        self._recall = recall
        self._notes = notes
        self._strip = strip_thoughts
        self._out: list[dict[str, Any]] = []
        self._pairs = _Pairs(())
        self._used: set[str] = set()
        self._numbers: dict[str, int] = {}

    def write(self, turns: Sequence[Turn]) -> list[dict[str, Any]]:
        """The messages, at least one. Raises Inexpressible."""
        self._pairs = _Pairs(turns)
        for index, turn in enumerate(turns):
            if turn.name:
                self._notes.warn("dropped", "messages.name")
            match turn.role:
                case "assistant":
                    self._assistant(turn, index)
                case "user":
                    self._user(turn, index)
                case "system" | "developer":
                    self._system(turn)
        return self._ended()

    # -- turns -----------------------------------------------------------------------------------------

    def _assistant(self, turn: Turn, index: int) -> None:
        thoughts, blocks, calls = [], [], []
        for part in turn.parts:
            if isinstance(part, ToolCall):
                calls.append(part)
            elif isinstance(part, Reasoning):
                if (thought := self._thought(part)) is not None:
                    thoughts.append(thought)
                    blocks.append(thought)
            elif not isinstance(part, ToolResult):
                blocks += self._blocks(part)
        if calls and not thoughts:
            blocks[:0] = self._remembered(calls)
        answers: list[tuple[tuple[int, int], str, ToolResult]] = []
        missing: list[Block] = []
        for number, call in enumerate(calls):
            new = self._call_id(call.call_id, f"call_{index}_{number}")
            blocks.append(self._call(call, new))
            found = self._pairs.take(call.call_id, index)
            if found is None:
                self._notes.warn("repaired", "missing_results")
                missing.append({"type": "tool_result", "tool_use_id": new, "content": NO_RESULT, "is_error": True})
            else:
                answers.append((found[0], new, found[1]))
        self._say("assistant", blocks, turn.extras)
        if calls:
            self._results([(new, result) for _, new, result in sorted(answers, key=_place)], missing)

    def _results(self, answers: list[tuple[str, ToolResult]], missing: list[Block]) -> None:
        """All results of a turn, then the images and documents that a failed one may not hold (12.4)."""
        blocks: list[Block] = []
        behind: list[Block] = []
        for new, result in answers:
            content = self._all_blocks(result.parts)
            if result.is_error and any(block["type"] in _NOT_IN_ERRORS for block in content):
                behind += (block for block in content if block["type"] in _NOT_IN_ERRORS)
                content = [block for block in content if block["type"] not in _NOT_IN_ERRORS]
                self._notes.warn("approx", "tool_result.images")
            block: Block = {"type": "tool_result", "tool_use_id": new}
            if content:
                block["content"] = _plain(content)
            if result.is_error:
                block["is_error"] = True
            blocks.append({**block, **own} if (own := own_keys(result.extras)) else block)
        self._say("user", [*blocks, *missing, *behind])

    def _user(self, turn: Turn, index: int) -> None:
        blocks: list[Block] = []
        for position, part in enumerate(turn.parts):
            if not isinstance(part, ToolResult):
                blocks += self._blocks(part)
            elif not self._pairs.is_taken((index, position)):
                self._notes.warn("repaired", "orphan_results")
                blocks += self._orphan(part)
        self._say("user", blocks, turn.extras)

    def _orphan(self, result: ToolResult) -> list[Block]:
        """A result without its call, as what the user says."""
        content = self._all_blocks(result.parts)
        if content and content[0]["type"] == "text":
            return [{**content[0], "text": _ORPHAN + content[0]["text"]}, *content[1:]]
        return [text_block(_ORPHAN + ("" if content else "(no output)")), *content]

    def _system(self, turn: Turn) -> None:
        texts = [part for part in turn.parts if isinstance(part, Text) and part.text.strip()]
        if not texts:
            return
        if not self._out:
            self.leading += texts
        elif self._rules.system_turns:
            self._say("system", self._all_blocks(texts), turn.extras)
        else:
            self._notes.warn("approx", "messages.system")
            self._say("user", [text_block(f"{SYSTEM_NOTE}\n{part.text}") for part in texts])

    def _say(self, role: str, blocks: list[Block], extras: Extras | None = None) -> None:
        same = bool(self._out) and self._out[-1]["role"] == role
        if same:
            self._out[-1]["content"] += blocks
        elif blocks:
            self._out.append({"role": role, "content": blocks})
        if extras and (same or blocks) and (own := own_keys(extras)):
            self._out[-1] = {**own, **self._out[-1]}

    def _ended(self) -> list[dict[str, Any]]:
        out = [message for message in self._out if not _only_thoughts(message)]
        if len(out) != len(self._out):
            out = _merged(out)
        if not out or out[0]["role"] == "assistant":
            out.insert(0, {"role": "user", "content": [text_block(FIRST_TURN)]})
        last = out[-1]
        if last["role"] == "assistant":
            final = last["content"][-1]
            if self._prefill and final["type"] == "text":
                final["text"] = final["text"].rstrip()  # white space at its end is refused (12.2)
            else:
                self._notes.warn("approx", "messages.last")
                out.append({"role": "user", "content": [text_block(CONTINUE)]})
        return out

    # -- parts -----------------------------------------------------------------------------------------

    def _all_blocks(self, parts: Iterable[Part]) -> list[Block]:
        return [block for part in parts for block in self._blocks(part)]

    def _blocks(self, part: Part) -> list[Block]:
        match part:
            case Text(text=text):
                if not text.strip():  # refused everywhere (12.2), and says nothing
                    return []
                own = own_keys(part.extras)
                return [{"type": "text", "text": text, **own}] if own else [text_block(text)]
            case Image() | Document() | Audio() | Foreign():
                return media_blocks(part, self._rules, self._notes)
        return []

    def _call(self, call: ToolCall, new: str) -> Block:
        name = call.name
        if not name:
            name = NO_NAME
            self._notes.warn("repaired", "tool_names")
        arguments = {"input": call.arguments} if call.custom else self._arguments(call.arguments)
        block = {"type": "tool_use", "id": new, "name": name, "input": arguments}
        return {**block, **own} if (own := own_keys(call.extras)) else block

    def _arguments(self, said: str) -> Any:
        """An object, as it was said; what is none becomes one (12.4)."""
        if not said.strip():
            return _EMPTY
        try:
            _OBJECT.decode(said)
        except (msgspec.MsgspecError, UnicodeError, RecursionError):
            pass
        else:
            return Raw(said.encode())
        self._notes.warn("repaired", "tool_arguments")
        try:
            return {"input": _ANY.decode(said)}
        except (msgspec.MsgspecError, UnicodeError, RecursionError):
            return {"input": said}

    def _call_id(self, old: str, otherwise: str) -> str:
        """The id as this dialect takes it, no id twice. The same id gives the same one in the next request."""
        wanted = call_id_for(old or otherwise)
        new, number = wanted, self._numbers.get(wanted, 2)
        while new in self._used:
            new, number = f"{wanted[:_ID_MAX]}_{number}", number + 1
        self._numbers[wanted] = number
        if new != wanted or not old:
            self._notes.warn("repaired", "duplicate_call_ids" if old else "call_ids")
        self._used.add(new)
        return new

    # -- thoughts --------------------------------------------------------------------------------------

    def _thought(self, part: Reasoning) -> Block | None:
        """A thought that this target's model made, as it gave it (12.9); None for all others."""
        seal = part.seal
        if seal is None or self._strip or seal.dialect not in (DIALECT, ""):
            return None
        if seal.origin and seal.origin != self._rules.name:
            return None
        if self._recall.made_here(seal.data) is False:  # another's, or refused although it bears this name
            return None
        if seal.kind == "redacted":
            block: Block = {"type": "redacted_thinking", "data": seal.data}
        elif seal.kind in ("signature", "none"):
            if self._rules.claude and not seal.data:
                return None
            block = {"type": "thinking", "thinking": part.text, "signature": seal.data}
        else:
            return None
        return {**block, **own} if (own := own_keys(part.extras)) else block

    def _remembered(self, calls: list[ToolCall]) -> list[Block]:
        """The thoughts that came before these calls, where the caller's dialect could not hold them."""
        if self._strip or not self._recall.holds:
            return []
        for call in calls:
            thoughts = self._recall.thoughts(call.call_id, call.name, call.arguments)
            if blocks := [block for thought in thoughts if (block := self._thought(thought)) is not None]:
                return blocks
        return []


class _Pairs:
    """Which result belongs to which call: the first one behind it, unless a later call of that id is nearer."""

    def __init__(self, turns: Sequence[Turn]) -> None:
        self._results: defaultdict[str, deque[tuple[tuple[int, int], ToolResult]]] = defaultdict(deque)
        self._calls: defaultdict[str, deque[int]] = defaultdict(deque)
        self._taken: set[tuple[int, int]] = set()
        for index, turn in enumerate(turns):
            for position, part in enumerate(turn.parts):
                if isinstance(part, ToolResult) and turn.role == "user":
                    self._results[part.call_id].append(((index, position), part))
                elif isinstance(part, ToolCall) and turn.role == "assistant":
                    self._calls[part.call_id].append(index)

    def take(self, call_id: str, index: int) -> tuple[tuple[int, int], ToolResult] | None:
        """The place and the result of a call in turn `index`; calls are asked for in their order."""
        results, calls = self._results[call_id], self._calls[call_id]
        while results and results[0][0][0] <= index:
            results.popleft()
        while calls and calls[0] <= index:
            calls.popleft()
        if not results or (calls and calls[0] < results[0][0][0]):
            return None
        found = results.popleft()
        self._taken.add(found[0])
        return found

    def is_taken(self, place: tuple[int, int]) -> bool:
        """Whether a call has taken the result at this place: turn, and part of it."""
        return place in self._taken


def _place(answer: tuple[tuple[int, int], str, ToolResult]) -> tuple[int, int]:
    return answer[0]


def text_block(text: str) -> Block:
    """A block of this text."""
    return {"type": "text", "text": text}


def _plain(blocks: list[Block]) -> str | list[Block]:
    """A content that is one text and nothing else, as a string."""
    only = blocks[0]
    return only["text"] if len(blocks) == 1 and only["type"] == "text" and len(only) == 2 else blocks


def _only_thoughts(message: dict[str, Any]) -> bool:
    return message["role"] == "assistant" and all(block["type"] in _THOUGHTS for block in message["content"])


def _merged(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Turns of one role are one, after some between them fell."""
    out: list[dict[str, Any]] = []
    for message in messages:
        if out and out[-1]["role"] == message["role"]:
            out[-1]["content"] += message["content"]
        else:
            out.append(message)
    return out


def call_id_for(old: str) -> str:
    """The id that the dialect takes (12.4): the same, or one derived from it by a hash."""
    return old if _ID.fullmatch(old) else _hashed(old)


@lru_cache(maxsize=4_096)  # a history brings the same ids with every turn
def _hashed(old: str) -> str:
    return "call_" + hashlib.blake2b(old.encode(errors="surrogatepass"), digest_size=16).hexdigest()
