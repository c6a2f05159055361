"""What a request's messages are like, found once: which quirks and repairs can have something to do in them.

Owns the decoding of messages into small structs and the traits read off them. A target whose row has no quirk for any
trait of a request gets the messages as the caller's own bytes, without a second look (facts/perf.md: never build the
tree of a body that is forwarded). It must never know a provider, and never change a message.
"""

from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import Raw


class Trait:
    """Kinds of things that some target cannot take as they are. Plain bits: enum flags cost 1 µs an operation."""

    CALLS = 1 << 0  # tool calls
    DEVELOPER = 1 << 1  # a developer message
    SYSTEM = 1 << 2  # a system or developer message
    SYSTEMS = 1 << 3  # two or more of them
    FOREIGN = 1 << 4  # keys that not every provider knows, or known ones that are null
    NAMES = 1 << 5  # `name` on a message
    LISTS = 1 << 6  # content as a list of parts
    NULL_CONTENT = 1 << 7  # no content beside tool calls
    EMPTY_TURN = 1 << 8  # an assistant turn with nothing in it
    PARALLEL = 1 << 9  # several calls in one turn
    ODD_IDS = 1 << 10  # call ids that are not 9 of [a-zA-Z0-9]
    USER_AFTER_TOOL = 1 << 11
    OPEN_END = 1 << 12  # the last message is neither the user's nor a result
    BROKEN = 1 << 13  # calls and results that do not pair, legacy functions, arguments that are no object


NOTHING = 0
EVERYTHING = (1 << 14) - 1


class _Function(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    name: str
    arguments: Raw


class _Call(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    id: str
    function: _Function
    type: str = ""


class Message(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """A message that holds nothing but what every provider knows. Content stays raw, empty where it is absent."""

    role: str
    content: Raw = Raw(b"")
    name: str | msgspec.UnsetType = msgspec.UNSET
    tool_calls: list[_Call] | msgspec.UnsetType = msgspec.UNSET
    tool_call_id: str | msgspec.UnsetType = msgspec.UNSET


class LooseMessage(msgspec.Struct, gc=False):
    """Any message object."""

    role: Any = None
    content: Raw = Raw(b"")
    tool_calls: Any = None
    tool_call_id: Any = None
    function_call: Any = None


Messages = list[Message] | list[LooseMessage]

_STRICT = msgspec.json.Decoder(list[Message])
_LOOSE = msgspec.json.Decoder(list[LooseMessage])
_LIST = ord("[")
_NOTHING_SAID = 4  # bytes: null, "", []
_WITH_TOOLS = Trait.CALLS | Trait.BROKEN | Trait.PARALLEL | Trait.ODD_IDS | Trait.NULL_CONTENT | Trait.USER_AFTER_TOOL


def decode_messages(raw: Raw) -> Messages:
    """The messages, strictly where they allow it. Raises msgspec's errors, UnicodeError and RecursionError."""
    try:
        return _STRICT.decode(raw)
    except msgspec.ValidationError:
        return _LOOSE.decode(raw)


def traits_of(messages: Messages) -> int:
    """What these messages are like. A trait too many costs a closer look, one too few would send a broken request."""
    found = 0
    systems = 0
    calls = False
    before = ""
    for message in messages:
        role, content = message.role, message.content
        size = len(content)
        if role == "system" or role == "developer":  # noqa: PLR1714 - twice as fast as a look-up, on the hot path
            systems += 1
            if role == "developer":
                found |= Trait.DEVELOPER
        elif role == "user" and before == "tool":
            found |= Trait.USER_AFTER_TOOL
        elif role == "assistant" and size <= _NOTHING_SAID and not message.tool_calls and _is_empty(content):
            found |= Trait.EMPTY_TURN
        if size and memoryview(content)[0] == _LIST:
            found |= Trait.LISTS
        if message.tool_calls or message.tool_call_id:
            calls = True
        elif role in ("tool", "function"):
            found |= Trait.BROKEN
        before = role
    if systems:
        found |= Trait.SYSTEM if systems == 1 else Trait.SYSTEM | Trait.SYSTEMS
    if before not in ("user", "tool"):
        found |= Trait.OPEN_END
    strict = [message for message in messages if isinstance(message, Message)]
    if len(strict) == len(messages):
        return found | _strict(strict, calls=calls)
    return found | _loose(messages, calls=calls)


def _loose(messages: Messages, *, calls: bool) -> int:
    """Foreign keys: whatever has to do with tools is looked at closely."""
    found = Trait.FOREIGN | Trait.NAMES
    if calls or any(
        m.function_call is not None or m.tool_calls is not None for m in messages if isinstance(m, LooseMessage)
    ):
        found |= _WITH_TOOLS
    return found


def _strict(messages: list[Message], *, calls: bool) -> int:
    found = 0
    seen: set[str] = set()
    waiting: set[str] = set()
    for message in messages:
        own = message.tool_calls
        if message.name is not msgspec.UNSET:
            found |= Trait.NAMES
        if own is not msgspec.UNSET and not own:
            found |= Trait.BROKEN  # an empty list is refused by most
        if not calls:
            continue
        if message.role == "tool":
            call_id = message.tool_call_id
            if call_id not in waiting or own is not msgspec.UNSET:
                found |= Trait.BROKEN
            waiting.discard(call_id)
            continue
        if waiting or message.tool_call_id is not msgspec.UNSET:
            found |= Trait.BROKEN | Trait.FOREIGN
        if own:
            if len(message.content) <= _NOTHING_SAID and _is_null(message.content):
                found |= Trait.NULL_CONTENT
            found |= _calls(own, seen, waiting, assistant=message.role == "assistant")
    return found | Trait.BROKEN if waiting else found


def _calls(calls: Sequence[_Call], seen: set[str], waiting: set[str], *, assistant: bool) -> int:
    found = Trait.CALLS if len(calls) == 1 else Trait.CALLS | Trait.PARALLEL
    if not assistant:
        found |= Trait.BROKEN | Trait.FOREIGN
    for call in calls:
        call_id, function = call.id, call.function
        if len(call_id) != 9 or not (call_id.isascii() and call_id.isalnum()):
            found |= Trait.ODD_IDS
        if call.type != "function":
            found |= Trait.FOREIGN
        if not call_id or call_id in seen or not function.name or not _is_object(function.arguments):
            found |= Trait.BROKEN
        seen.add(call_id)
        waiting.add(call_id)
    return found


def _is_object(arguments: Raw) -> bool:
    """Whether arguments look like the text of an object: `"{…}"`. What is inside, the provider judges."""
    view = memoryview(arguments)
    return len(view) >= 4 and bytes(view[:2]) == b'"{' and bytes(view[-2:]) == b'}"'


def _is_null(content: Raw) -> bool:
    return len(content) == 0 or bytes(content) == b"null"


def _is_empty(content: Raw) -> bool:
    return _is_null(content) or bytes(content) in (b'""', b"[]")
