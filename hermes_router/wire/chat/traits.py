"""What a request's messages are like, found once: which quirks and repairs can have something to do in them.

Owns the decoding of messages into small structs and the traits read off them. A target whose row has no quirk for any
trait of a request gets the messages as the caller's own bytes, without a second look (facts/perf.md: never build the
tree of a body that is forwarded). It must never know a provider, and never change a message.
"""

import struct
from itertools import pairwise
from typing import Any, Literal, TypeGuard

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


Role = Literal["system", "developer", "user", "assistant", "tool", "function"]


class _Function(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    name: str
    arguments: Raw


class Call(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """A tool call that holds nothing but what every provider knows. Arguments stay raw, whatever they are."""

    id: str
    function: _Function
    type: str | msgspec.UnsetType = msgspec.UNSET


Calls = list[Call] | msgspec.UnsetType


class Message(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """A message that holds nothing but what every provider knows. Content stays raw, empty where it is absent."""

    role: Role
    content: Raw = Raw(b"")
    name: str | msgspec.UnsetType = msgspec.UNSET
    tool_calls: Calls = msgspec.UNSET
    tool_call_id: str | msgspec.UnsetType = msgspec.UNSET


class _LooseFunction(msgspec.Struct, gc=False):
    name: str | None = None


class _LooseCustom(msgspec.Struct, gc=False):
    name: str | None = None
    input: str | None = None


class _LooseCall(msgspec.Struct, gc=False):
    id: str | None = None
    type: str | None = None
    function: _LooseFunction | None = None
    custom: _LooseCustom | None = None


class LooseMessage(msgspec.Struct, gc=False):
    """Any message object whose known keys are of the types that they must have. Null is not said."""

    role: Any = None
    content: Raw = Raw(b"")
    name: str | None = None
    refusal: str | None = None
    tool_calls: list[_LooseCall] | None = None
    tool_call_id: str | None = None
    function_call: _LooseFunction | None = None


Messages = list[Message] | list[LooseMessage]

_STRICT = msgspec.json.Decoder(list[Message])
_LOOSE = msgspec.json.Decoder(list[LooseMessage])
_UNSET = msgspec.UNSET
_LIST = ord("[")
_FIRST_BYTE = struct.Struct("B").unpack_from  # half of what a memoryview costs
_FIRST_TWO = struct.Struct("BB").unpack_from
_BEGINS, _ENDS = tuple(b'"{'), tuple(b'}"')
_AFTER_TOOL = ("tool", "user")
_NOTHING_SAID = 4  # bytes: null, "", []
_WITH_TOOLS = Trait.CALLS | Trait.BROKEN | Trait.PARALLEL | Trait.ODD_IDS | Trait.NULL_CONTENT | Trait.USER_AFTER_TOOL


def decode_messages(raw: Raw) -> Messages:
    """The messages, strictly where they allow it. Raises msgspec's errors, UnicodeError and RecursionError.

    A ValidationError names the place of a wrong type (`fields.misfit`).
    """
    try:
        return _STRICT.decode(raw)
    except msgspec.ValidationError:
        return decode_loosely(raw)


def decode_loosely(raw: Raw) -> list[LooseMessage]:
    """The same, whatever they allow."""
    return _LOOSE.decode(raw)


def are_strict(messages: Messages) -> TypeGuard[list[Message]]:
    """Whether no message holds anything but what every provider knows."""
    return not messages or isinstance(messages[0], Message)


def heads_of(messages: Messages) -> set[tuple[int, ...]]:
    """The first bytes that contents have, each in a tuple of its own; an empty one where there is no content."""
    contents = [message.content for message in messages]
    try:
        return set(map(_FIRST_BYTE, contents))
    except struct.error:
        return {_FIRST_BYTE(content) if content else () for content in contents}


def traits_of(messages: Messages, heads: set[tuple[int, ...]] | None = None, looked: "StrictLook | None" = None) -> int:
    """What these messages are like. A trait too many costs a closer look, one too few would send a broken request.

    `heads` is `heads_of(messages)`, `looked` what a look at all of them has found, where the caller has it.
    """
    if looked is None and are_strict(messages):
        looked = StrictLook()
        looked.at(messages)
    found = _loose(messages) if looked is None else looked.traits
    if (_LIST,) in (heads_of(messages) if heads is None else heads):
        found |= Trait.LISTS
    if not messages or messages[-1].role not in ("user", "tool"):
        found |= Trait.OPEN_END
    return found


def _loose(messages: Messages) -> int:
    """Foreign keys: whatever has to do with tools is looked at closely."""
    found = Trait.FOREIGN | Trait.NAMES
    roles = [message.role for message in messages]
    developers = roles.count("developer")
    found |= _systems(roles.count("system") + developers, developers)
    if _AFTER_TOOL in pairwise(roles):
        found |= Trait.USER_AFTER_TOOL
    for message in messages:
        role, content = message.role, message.content
        if role == "assistant" and not message.tool_calls and _is_empty(content):
            found |= Trait.EMPTY_TURN
        if message.tool_calls or message.tool_call_id:
            found |= _WITH_TOOLS
        elif role in ("tool", "function"):
            found |= Trait.BROKEN
        elif isinstance(message, LooseMessage) and (
            message.function_call is not None or message.tool_calls is not None
        ):
            found |= _WITH_TOOLS
    return found


def _systems(count: int, developers: int) -> int:
    if not count:
        return NOTHING
    found = Trait.SYSTEM if count == 1 else Trait.SYSTEM | Trait.SYSTEMS
    return found | Trait.DEVELOPER if developers else found


class StrictLook:
    """What a look at messages that hold nothing foreign has found so far. It goes on where an earlier one ended."""

    __slots__ = ("before", "developers", "found", "seen", "systems", "waiting")

    def __init__(self, earlier: "StrictLook | None" = None) -> None:
        self.found = self.systems = self.developers = 0
        self.before = ""
        self.seen: set[str] = set()
        self.waiting: set[Any] = set()
        if earlier is not None:
            self.found, self.systems, self.developers = earlier.found, earlier.systems, earlier.developers
            self.before, self.seen, self.waiting = earlier.before, set(earlier.seen), set(earlier.waiting)

    @property
    def traits(self) -> int:
        """Of all that was looked at, but for what its last message alone tells."""
        if self.waiting or self.found & Trait.BROKEN:
            return EVERYTHING
        return self.found | _systems(self.systems, self.developers)

    def at(self, messages: list[Message]) -> None:  # noqa: PLR0912 - one pass, on the hot path
        """Look at these, which come next."""
        found, systems, developers, before = self.found, self.systems, self.developers, self.before
        seen, waiting = self.seen, self.waiting
        for message in messages:
            role, turn, result_id = message.role, message.tool_calls, message.tool_call_id
            if role == "tool":
                if result_id in waiting and turn is _UNSET:
                    waiting.remove(result_id)
                else:
                    found |= Trait.BROKEN
            elif waiting or result_id is not _UNSET:
                found |= Trait.BROKEN
            elif turn is not _UNSET:
                found |= _turn(message, turn, seen, waiting)
            elif role == "user":
                if before == "tool":
                    found |= Trait.USER_AFTER_TOOL
            elif role == "assistant":
                if _is_empty(message.content):
                    found |= Trait.EMPTY_TURN
            elif role == "function":
                found |= Trait.BROKEN
            else:
                systems += 1
                developers += role == "developer"
            if message.name is not _UNSET:
                found |= Trait.NAMES
            before = role
        self.found, self.systems, self.developers, self.before = found, systems, developers, before


def _turn(message: Message, turn: list[Call], seen: set[str], waiting: set[Any]) -> int:
    """A message with `tool_calls`; its calls wait for their results."""
    if not turn or message.role != "assistant":  # an empty list is refused by most
        return Trait.BROKEN
    found = Trait.CALLS if len(turn) == 1 else Trait.CALLS | Trait.PARALLEL
    if _is_null(message.content):
        found |= Trait.NULL_CONTENT
    for call in turn:
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
    return len(arguments) >= 4 and _FIRST_TWO(arguments) == _BEGINS and _FIRST_TWO(arguments, -2) == _ENDS


def _is_null(content: Raw) -> bool:
    return len(content) <= _NOTHING_SAID and bytes(content) in (b"null", b"")


def _is_empty(content: Raw) -> bool:
    return len(content) <= _NOTHING_SAID and bytes(content) in (b"null", b"", b'""', b"[]")
