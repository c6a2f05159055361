"""Cache marks in a Chat body, for models whose prompts are cached up to marks only and callers that set none.

Owns where they stand (facts: providers.md 12.8, clients.md 2.3, 5; cases.md BF-10): on the last text of the system
text, and of the caller's last two turns, so that each request of a conversation finds what the one before has written.
A caller that has set a mark anywhere knows best: its body stays as it is. It must never know a provider.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from msgspec import Raw

from hermes_router.wire.quirks.draft import Draft, Message, parts_of, thaw

__all__ = ["may_mark", "set_marks"]

_MARK: Final = "cache_control"
_QUOTED: Final = b'"cache_control"'
_EPHEMERAL: Final = {"type": "ephemeral"}
_SYSTEM: Final = ("system", "developer")
_TURNS: Final = 2
_SHORT: Final = 16  # bytes of a text that may be nothing but white space, which takes no mark


def may_mark(draft: Draft, fields: Mapping[str, Raw]) -> bool:
    """Whether marks of ours may be set: the caller has none, and the target has not refused them."""
    if _MARK in draft.refused or _MARK in fields:
        return False
    return not any(_QUOTED in bytes(fields[key]) for key in ("messages", "tools") if key in fields)


def set_marks(draft: Draft) -> None:
    """Set them, where there is a conversation or there are tools: to write a cache costs more than one use brings."""
    messages = draft.messages
    if not draft.has_tools and not any(message["role"] == "assistant" for message in messages):
        return
    leading = next((n for n, message in enumerate(messages) if message["role"] not in _SYSTEM), len(messages))
    places = [*range(leading)[-1:], *_last_of_turns(messages)]
    for index in places:
        if _mark(messages[index], index):
            draft.edited()


def _last_of_turns(messages: list[Message]) -> Iterator[int]:
    """The last message of each of the caller's last turns: results in a row, and what is said behind them, are one."""
    left, open_turn = _TURNS, False
    for index in range(len(messages) - 1, -1, -1):
        if messages[index]["role"] not in ("user", "tool"):
            open_turn = False
        elif not open_turn and left:
            open_turn, left = True, left - 1
            yield index


def _mark(message: Message, index: int) -> bool:
    """Mark the last text of a message; whether it has one."""
    parts = parts_of(message, index)
    at = f"messages[{index}].content"
    if parts is None:
        if not _says_something(message, "content", at):
            return False
        message["content"] = [{"type": "text", "text": message["content"], _MARK: _EPHEMERAL}]
        return True
    for number, part in reversed(list(enumerate(parts))):
        if thaw(part, "type", at) == "text" and _says_something(part, "text", at):
            message["content"] = [*parts[:number], {**part, _MARK: _EPHEMERAL}, *parts[number + 1 :]]
            return True
    return False


def _says_something(holder: dict[str, Any], key: str, param: str) -> bool:
    value = holder.get(key)
    if isinstance(value, Raw) and len(value) > _SHORT:
        return True
    value = thaw(holder, key, param)
    return isinstance(value, str) and bool(value.strip())
