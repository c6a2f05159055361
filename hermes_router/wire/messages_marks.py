"""Cache marks where the caller's dialect has none: a provider that caches up to marks only would cache nothing.

Owns where they stand (facts: providers.md 12.8, clients.md 2.3, 7.18): behind the tools, the system text and the last
two turns of the user, four at most, so that each request of a conversation finds what the one before has written. It
must never know a provider.
"""

from typing import Any, Final

from hermes_router.core.content import Conversation, Extras, Part, ToolResult
from hermes_router.wire.messages_media import own_keys

__all__ = ["holds_marks", "set_marks"]

_MARK: Final = "cache_control"
_EPHEMERAL: Final = {"type": "ephemeral"}
_TURNS: Final = 2
_UNMARKABLE: Final = frozenset({"thinking", "redacted_thinking"})


def holds_marks(conversation: Conversation) -> bool:
    """Whether the caller has set a mark anywhere: then it knows best."""
    if _MARK in own_keys(conversation.extras):
        return True
    if any(_MARK in own_keys(part.extras) for part in conversation.system):
        return True
    if any(_MARK in own_keys(tool.extras) for tool in conversation.tools):
        return True
    return any(_is_marked(part) for turn in conversation.turns for part in turn.parts)


def _is_marked(part: Part) -> bool:
    extras: Extras | None = getattr(part, "extras", None)
    if extras and _MARK in own_keys(extras):
        return True
    return isinstance(part, ToolResult) and any(_is_marked(each) for each in part.parts)


def set_marks(system: list[dict[str, Any]], tools: list[dict[str, Any]], messages: list[dict[str, Any]]) -> None:
    """Set them, each on the last block of its list."""
    _mark(tools)
    _mark(system)
    users = [message["content"] for message in reversed(messages) if message["role"] == "user"]
    for content in users[:_TURNS]:
        _mark(content)


def _mark(blocks: list[dict[str, Any]]) -> None:
    if blocks and blocks[-1].get("type") not in _UNMARKABLE:
        blocks[-1] = {**blocks[-1], _MARK: _EPHEMERAL}
