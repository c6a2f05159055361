"""Histories that no provider takes as they are: the legacy function shape, and calls and results that do not pair.

Owns the repairs of contract.md (Errors): results without calls, calls without results, duplicate ids, empty tool names,
arguments that are no JSON object. They hold for every target and say what they did. A history that is sound is left
alone, byte for byte. It must never know a provider.
"""

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import msgspec
from msgspec import Raw

from hermes_router.wire.quirks.draft import Draft, Message, calls_of, text_of, thaw

NO_RESULT = "No result provided."
NO_NAME = "unnamed_tool"
_ID_MAX = 56  # leaves room for a suffix below the 64 that all dialects take (providers.md 12.4)
_OBJECT = msgspec.json.Decoder(dict[str, Raw])


def legacy_functions(draft: Draft) -> None:
    """`function_call` and role `function` become tool calls and results (providers.md 12.2)."""
    waiting: list[tuple[str, str]] = []
    for index, message in enumerate(draft.messages):
        if message["role"] == "function":
            name = message.pop("name", None)
            found = next((pair for pair in waiting if pair[1] == name), None)
            if found is not None:
                waiting.remove(found)
            message["role"], message["tool_call_id"] = "tool", found[0] if found is not None else ""
        elif message["role"] == "assistant" and "function_call" in message and not message.get("tool_calls"):
            call = thaw(message, "function_call", f"messages[{index}].function_call")
            if not isinstance(call, dict):
                continue  # null: the SDKs echo it so
            del message["function_call"]
            name = call.get("name")
            name = name if isinstance(name, str) else ""
            waiting.append((f"call_{index}", name))
            function = {"name": name, "arguments": call.get("arguments", "")}
            message["tool_calls"] = [{"id": f"call_{index}", "type": "function", "function": function}]
        else:
            continue
        draft.edited()
        draft.warn("renamed", "function_call")


def repair(draft: Draft) -> None:
    """Give each call exactly one result right behind it, and each result its call."""
    for message in draft.messages:
        if "tool_calls" in message and message["tool_calls"] == []:
            del message["tool_calls"]  # an empty list is refused by most
            draft.edited()
        for call in calls_of(message):
            _repair_call(draft, call)
    if not _paired(draft.messages):
        draft.messages = _Pairing(draft).run()
        draft.edited()


def _repair_call(draft: Draft, call: dict[str, Any]) -> None:
    function = call.get("function")
    if not isinstance(function, dict):
        return  # a custom call: for targets that know them
    if not function.get("name"):
        function["name"] = NO_NAME
        draft.edited()
        draft.warn("repaired", "tool_names")
    arguments = function.get("arguments")
    if isinstance(arguments, str):
        try:
            _OBJECT.decode(arguments)
        except (msgspec.MsgspecError, UnicodeError, RecursionError):
            pass
        else:
            return
    if arguments is None or arguments == "":
        function["arguments"] = "{}"  # a call without arguments is a call with none
        draft.edited()
        return
    whole = arguments if isinstance(arguments, dict) else {"input": arguments}
    function["arguments"] = msgspec.json.encode(whole).decode()
    draft.edited()
    draft.warn("repaired", "tool_arguments")


def _paired(messages: list[Message]) -> bool:
    seen: set[str] = set()
    waiting: set[str] = set()
    for message in messages:
        if message["role"] == "tool":
            call_id = message.get("tool_call_id")
            if call_id not in waiting:
                return False
            waiting.discard(call_id)
            continue
        if waiting:
            return False
        for call in calls_of(message):
            call_id = call.get("id")
            if not call_id or call_id in seen:
                return False
            seen.add(call_id)
            waiting.add(call_id)
    return not waiting


class _Pairing:
    """Rebuilds one history: results move behind their calls, the rest keeps its order."""

    def __init__(self, draft: Draft) -> None:
        self.draft = draft
        self.used: set[str] = set()
        self.taken: set[int] = set()
        self.results: defaultdict[str, list[int]] = defaultdict(list)
        self.calls: defaultdict[str, list[int]] = defaultdict(list)
        for index, message in enumerate(draft.messages):
            if message["role"] == "tool":
                self.results[message.get("tool_call_id") or ""].append(index)
            for call in calls_of(message):
                self.calls[call.get("id") or ""].append(index)

    def run(self) -> list[Message]:
        """The history, rebuilt."""
        out: list[Message] = []
        for index, message in enumerate(self.draft.messages):
            if message["role"] != "tool":
                out.append(message)
                out.extend(self._answers(message, index))
            elif index not in self.taken:
                out.append(self._orphan(message, index))
        return out

    def _answers(self, message: Message, index: int) -> Iterator[Message]:
        found: list[tuple[int, Message]] = []
        missing: list[Message] = []
        for number, call in enumerate(calls_of(message)):
            old = call.get("id") or ""
            new = call["id"] = self._fresh(old, f"call_{index}_{number}")
            at = self._result(old, index)
            if at is None:
                self.draft.warn("repaired", "missing_results")
                missing.append({"role": "tool", "tool_call_id": new, "content": NO_RESULT})
                continue
            self.taken.add(at)
            self.draft.messages[at]["tool_call_id"] = new
            found.append((at, self.draft.messages[at]))
        yield from (answer for _, answer in sorted(found, key=lambda pair: pair[0]))
        yield from missing

    def _fresh(self, old: str, otherwise: str) -> str:
        new, number = old or otherwise, 2
        while new in self.used:
            new, number = f"{(old or otherwise)[:_ID_MAX]}_{number}", number + 1
        if new != old:
            self.draft.warn("repaired", "duplicate_call_ids" if old else "call_ids")
        self.used.add(new)
        return new

    def _result(self, old: str, index: int) -> int | None:
        """The first free result of this id that comes later, unless a later call of the same id is nearer to it."""
        later = next((at for at in self.calls[old] if at > index), len(self.draft.messages))
        return next((at for at in self.results[old] if index < at < later and at not in self.taken), None)

    def _orphan(self, message: Message, index: int) -> Message:
        self.draft.warn("repaired", "orphan_results")
        text = text_of(message, index)
        turn = {key: value for key, value in message.items() if key not in ("tool_call_id", "name")}
        turn["role"] = "user"
        if text is not None:
            turn["content"] = f"Result of an earlier tool call: {text}"
        return turn
