"""Cache marks where the caller's dialect has none, and where the caller has set more than a provider takes.

Owns where they stand, since a provider that caches up to marks only would cache nothing without (facts: providers.md
12.8, clients.md 2.3, 5, 7.18): behind the tools, the system text and the last turns of the user, four at most, so that
each request of a conversation finds what the one before has written. It must never know a provider.
"""

from collections.abc import Iterator
from typing import Any, Final

import msgspec
from msgspec import Raw

from hermes_router.core.content import Conversation, Extras, Part, ToolResult
from hermes_router.wire.messages.blocks import is_null
from hermes_router.wire.messages.media import own_keys

__all__ = ["holds_marks", "set_marks", "spare_marks"]

_MARK: Final = "cache_control"
_EPHEMERAL: Final = {"type": "ephemeral"}
_TURNS: Final = 2
_MOST: Final = 4  # more are refused
_QUOTED: Final = b'"cache_control"'
_PLACES: Final = ("tools", "system", "messages")  # in the order of the prefix that is cached
_BLOCKS: Final = msgspec.json.Decoder(list[dict[str, Raw]])
_NESTING: Final = ("tool_result", b'"tool_result"')
_LIST: Final = ord("[")
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


def spare_marks(body: dict[str, Any]) -> bool:
    """Take out the marks beyond the most that are taken; whether there were any.

    The last of the tools, of the system text and of the messages stay, then the later ones of the messages. What needs
    no change stays the raw slice that it is.
    """
    places = [place for place in _PLACES if place in body]
    if sum(bytes(body[place]).count(_QUOTED) for place in places if isinstance(body[place], Raw)) <= _MOST and not any(
        isinstance(body[place], list) for place in places
    ):
        return False
    opened = {place: _opened(body[place]) for place in places}
    marked = {place: list(_holders(blocks)) for place, blocks in opened.items()}
    room = _MOST - (_MARK in body)
    if sum(map(len, marked.values())) <= room:
        return False
    lasting = [blocks[-1] for blocks in marked.values() if blocks]
    earlier = [block for blocks in marked.values() for block in blocks[:-1]]
    kept = {id(block) for block in [*lasting, *reversed(earlier)][:room]}
    for place, blocks in marked.items():
        spare = [block for block in blocks if id(block) not in kept]
        for block in spare:
            del block[_MARK]
        if spare:
            body[place] = opened[place]
    return True


def _opened(blocks: Any) -> Any:
    """A list of objects whose contents are opened, too, where they are lists."""
    if isinstance(blocks, Raw):
        if memoryview(blocks)[0] != _LIST:
            return ()
        blocks = _BLOCKS.decode(blocks)
    elif isinstance(blocks, list):
        blocks = [dict(block) for block in blocks]
    else:
        return ()
    for block in blocks:
        content = block.get("content")
        if _nests(block) and (
            isinstance(content, list) or (isinstance(content, Raw) and memoryview(content)[0] == _LIST)
        ):
            block["content"] = _opened(content)
    return blocks


def _nests(block: dict[str, Any]) -> bool:
    """Whether it is a message, or a block that holds blocks: what lies within others is their own."""
    kind = block.get("type")
    return "role" in block or (bytes(kind) if isinstance(kind, Raw) else kind) in _NESTING


def _holders(blocks: Any) -> Iterator[dict[str, Any]]:
    """Those that hold a mark, in their order; what lies within a block comes before it."""
    for block in blocks:
        content = block.get("content")
        if _nests(block) and isinstance(content, list):
            yield from _holders(content)
        mark = block.get(_MARK)
        if mark is not None and not (isinstance(mark, Raw) and is_null(mark)):
            yield block
