"""The shape of a Messages request: messages and their blocks, taken apart as far as somebody looks.

Owns the decoding of `messages`, once, and typed access to the keys of a block with the path of what is wrong. Values of
blocks stay raw, so that what nobody looks at goes on as it came. It must never know what a block means.
"""

from collections.abc import Mapping
from typing import Final, NoReturn

import msgspec
from msgspec import Raw

from hermes_router.core.errors import BadRequest

__all__ = [
    "Block", "Message", "MessagesFields", "decode_blocks", "decode_messages", "expect", "fault", "is_null",
    "kind_of", "messages_of", "rest_of", "string",
]  # fmt: skip

Block = dict[str, Raw]
"""One block of a content: its keys, their values raw."""


class Message(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """A message; `content` is a text or its blocks."""

    role: str
    content: str | list[Block]


class OddMessage(Message):
    """A message with keys that no message is known to have."""

    rest: dict[str, Raw]


class MessagesFields(dict[str, Raw]):
    """The top-level fields of a body as they came, in their order. `messages` are those of the field, decoded."""

    __slots__ = ("messages",)

    messages: list[Message]


_STR: Final = msgspec.json.Decoder(str)
_STRICT: Final = msgspec.json.Decoder(list[Message])
_LOOSE: Final = msgspec.json.Decoder(list[dict[str, Raw]])
_BLOCKS: Final = msgspec.json.Decoder(list[Block])
_NOTHING: Final = Raw(b"")
_QUOTE: Final = ord('"')
_BRACKET: Final = ord("[")
_WANTED: Final = {ord('"'): "a string", ord("{"): "an object", ord("["): "a list"}
_ROLES: Final = frozenset({"user", "assistant", "system"})
_KINDS: Final = {
    b'"%b"' % kind.encode(): kind
    for kind in (
        "text", "image", "document", "tool_use", "tool_result", "thinking", "redacted_thinking", "search_result",
    )
}  # fmt: skip


def fault(path: str, what: str) -> NoReturn:
    """Raise BadRequest for the field at this path."""
    raise BadRequest(f"{path} {what}", param=path)


def is_null(raw: Raw | None) -> bool:
    """Whether a value is null or absent."""
    return raw is None or (len(raw) == 4 and bytes(raw) == b"null")


def expect(fields: Mapping[str, Raw], key: str, first: bytes, path: str, *, needed: bool = True) -> bool:
    """Whether the key is there, its value beginning with `first`: a string, an object or a list. Decodes nothing."""
    raw = fields.get(key)
    if raw is not None and memoryview(raw)[0] == first[0]:
        return True
    if not needed and is_null(raw):
        return False
    fault(f"{path}.{key}", f"must be {_WANTED[first[0]]}")


def string(fields: Mapping[str, Raw], key: str, path: str, *, needed: bool = True) -> str:
    """The string of a key, empty where it is absent or null and not needed. Raises BadRequest with the path."""
    raw = fields.get(key)
    if raw is None or memoryview(raw)[0] != _QUOTE:
        if not needed and is_null(raw):
            return ""
        fault(f"{path}.{key}", "must be a string")
    try:
        return _STR.decode(raw)
    except (msgspec.MsgspecError, UnicodeError) as error:
        fault(f"{path}.{key}", f"cannot be read: {error}")


def kind_of(block: Block, path: str) -> str:
    """The type of a block. Raises BadRequest with the path."""
    raw = block.get("type")
    if raw is None:
        fault(f"{path}.type", "must be a string")
    return _KINDS.get(bytes(raw)) or string(block, "type", path)


def rest_of(message: Message) -> Mapping[str, Raw]:
    """The keys that no message is known to have."""
    return message.rest if isinstance(message, OddMessage) else {}


def messages_of(fields: Mapping[str, Raw]) -> list[Message]:
    """The messages of a body, decoded once. Raises BadRequest with the path."""
    if isinstance(fields, MessagesFields):
        return fields.messages
    return decode_messages(fields.get("messages", _NOTHING))


def decode_messages(raw: Raw) -> list[Message]:
    """Messages with a role and a content. Raises BadRequest with the path of what is none."""
    if is_null(raw) or not len(raw):
        raise BadRequest("messages is required: a list of message objects", param="messages")
    try:
        try:
            messages = _STRICT.decode(raw)
        except msgspec.ValidationError:
            messages = _loosely(raw)
    except RecursionError:
        fault("messages", "is nested too deeply")
    except (msgspec.DecodeError, UnicodeError) as error:
        fault("messages", f"cannot be read: {error}")
    if not messages:
        fault("messages", "must hold at least one message")
    for index, message in enumerate(messages):
        if message.role not in _ROLES:
            fault(f"messages[{index}].role", "must be user, assistant or system")
    return messages


def _loosely(raw: Raw) -> list[Message]:
    """Messages with more keys than two; whatever is wrong with one is named."""
    try:
        loose = _LOOSE.decode(raw)
    except msgspec.ValidationError as error:
        where = f"messages{_place(error)}"
        fault(where, "must be a message object" if "[" in where else "must be a list of message objects")
    messages: list[Message] = []
    for index, fields in enumerate(loose):
        at = f"messages[{index}]"
        role = string(fields, "role", at)
        raw_content = fields.get("content", _NOTHING)
        first = memoryview(raw_content)[0] if len(raw_content) else 0
        if first == _BRACKET:
            content: str | list[Block] = decode_blocks(raw_content, f"{at}.content")
        elif first == _QUOTE:
            content = string(fields, "content", at)
        else:
            fault(f"{at}.content", "must be a string or a list of blocks")
        rest = {key: value for key, value in fields.items() if key not in ("role", "content")}
        messages.append(OddMessage(role, content, rest) if rest else Message(role, content))
    return messages


def decode_blocks(raw: Raw, path: str) -> list[Block]:
    """A list of blocks. Raises BadRequest with the path of what is none."""
    try:
        return _BLOCKS.decode(raw)
    except RecursionError:
        fault(path, "is nested too deeply")
    except msgspec.ValidationError as error:
        place = _place(error)
        fault(f"{path}{place}", "must be an object with a type" if place else "must be a list of blocks")
    except (msgspec.DecodeError, UnicodeError) as error:
        fault(path, f"cannot be read: {error}")


def _place(error: msgspec.ValidationError) -> str:
    """Where in a list: `… - at `$[3]``. Keys of objects show as `[...]`, and say nothing."""
    return str(error).partition("`$")[2].rstrip("`").partition("[...]")[0]
