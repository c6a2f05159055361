"""A request on its way to one target, while quirks edit it: the caller's fields, decoded only as far as needed.

Owns lazy decoding (`thaw`), the shape checks that every quirk may rely on, and the list of warnings. What is still
`msgspec.Raw` here is a slice of the caller's own body and is written out as it came. It must never edit the caller's
fields in place: rendering runs again for each attempt, with another target. It knows no quirk.
"""

import re
from collections.abc import Iterator
from typing import Any, Protocol

import msgspec
from msgspec import UNSET, Raw

from hermes_router.core.catalog import Quirk
from hermes_router.core.chat import Warning as Notice
from hermes_router.core.content import Reasoning
from hermes_router.core.errors import BadRequest
from hermes_router.wire.chat.traits import Call
from hermes_router.wire.chat.traits import Message as StrictMessage

Message = dict[str, Any]
"""One message: `role` is a str, `tool_calls` (if any) a list of dicts; other values may still be Raw."""

_MESSAGES = msgspec.json.Decoder(list[dict[str, Raw]])
_PARTS = msgspec.json.Decoder(list[dict[str, Raw]])
_ANY = msgspec.json.Decoder()
_UNPRINTABLE = re.compile(r"[^\w.\[\]$-]", re.ASCII)
_MOST_NOTES = 32
_ROLES = {
    b'"%b"' % role.encode(): role for role in ("system", "developer", "user", "assistant", "tool", "function")
}  # fmt: skip
_LIST, _STRING = ord("["), ord('"')


class Recall(Protocol):
    """What an earlier answer of this target left behind for a tool call (facts: providers.md 7, 12.9)."""

    @property
    def holds(self) -> bool:
        """Whether anything is remembered for this target at all."""
        ...

    def signature(self, call_id: str, name: str, arguments: str) -> str | None:
        """The thought signature that came with the call, None where it is not known."""
        ...

    def reasoning(self, call_id: str, name: str, arguments: str) -> str | None:
        """The reasoning text that came before the call."""
        ...

    def details(self, call_id: str, name: str, arguments: str) -> object | None:
        """The `reasoning_details` that came with the call, to be encoded as they are."""
        ...

    def thoughts(self, call_id: str, name: str, arguments: str) -> tuple[Reasoning, ...]:
        """The sealed thoughts that came before the call, made by this very target's model."""
        ...

    def made_here(self, data: str) -> bool | None:
        """Whether this target's model made the signature or encrypted thought; None = nobody remembers."""
        ...


class NoRecall:
    """A memory that holds nothing."""

    holds = False

    def signature(self, call_id: str, name: str, arguments: str) -> str | None:  # noqa: ARG002
        """Nothing."""
        return None

    reasoning = signature
    details = signature

    def thoughts(self, call_id: str, name: str, arguments: str) -> tuple[Reasoning, ...]:  # noqa: ARG002
        """None."""
        return ()

    def made_here(self, data: str) -> bool | None:  # noqa: ARG002
        """Nobody remembers."""
        return None


class Draft(msgspec.Struct):
    """Working copy of one request. `params` are the top-level keys but messages and tools, Raw or decoded.

    `cap_default` and `cap_limit` (tokens) are what a quirk wants for the output cap. `instruction` is text that must
    reach the model because a parameter could not. `messages_changed` tells whether they have to be encoded anew.
    `session` is our own word for the conversation, empty where there is none.
    """

    params: dict[str, Any]
    recall: Recall
    quirks: frozenset[Quirk]
    allow: frozenset[str] | None = None
    refused: frozenset[str] = frozenset()
    has_tools: bool = False
    notes: list[Notice] = msgspec.field(default_factory=list)
    altered: bool = False
    messages: list[Message] = msgspec.field(default_factory=list)
    messages_changed: bool = False
    instruction: str = ""
    cap_default: int | None = None
    cap_limit: int | None = None
    session: str = ""

    def takes(self, key: str) -> bool:
        """Whether the provider and this model take this top-level key."""
        return (self.allow is None or key in self.allow) and key not in self.refused

    def value(self, key: str) -> Any:
        """A top-level value, decoded; None where it is absent."""
        return thaw(self.params, key, key)

    def warn(self, code: str, what: str, *, altered: bool = True) -> None:
        """Say that something was not honoured. `what` may come from the caller and ends in a header: it is cleaned."""
        note = Notice(code, _UNPRINTABLE.sub("?", what[:64]))
        if note not in self.notes and len(self.notes) < _MOST_NOTES:
            self.notes.append(note)
        self.altered = self.altered or altered

    def edited(self) -> None:
        """The messages are no longer what the caller sent."""
        self.messages_changed = True
        self.altered = True


def decode(raw: Any, param: str) -> Any:
    """Decode a raw value whole; raises BadRequest naming `param`."""
    try:
        return _ANY.decode(raw)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise BadRequest(f"{param} is not valid JSON", param=param) from error


def thaw(holder: dict[str, Any], key: str, param: str) -> Any:
    """The decoded value of a key, kept decoded; None where it is absent or null."""
    value = holder.get(key)
    if isinstance(value, Raw):
        value = holder[key] = decode(value, param)
    return value


def open_messages(raw: Raw) -> list[Message]:
    """Decode messages as far as every quirk may rely on; content stays raw. Raises BadRequest with the path."""
    try:
        messages: list[Message] = _MESSAGES.decode(raw)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise BadRequest("messages must be a list of message objects", param="messages") from error
    for index, message in enumerate(messages):
        at = f"messages[{index}]"
        role = message.get("role")
        known = _ROLES.get(bytes(role)) if role is not None else None
        if known is not None:
            message["role"] = known
        elif not isinstance(thaw(message, "role", f"{at}.role"), str):
            raise BadRequest(f"{at}.role must be a string", param=f"{at}.role")
        if "tool_calls" in message:
            _open_calls(message, f"{at}.tool_calls")
        for key in ("tool_call_id", "name"):
            if key in message and not isinstance(thaw(message, key, f"{at}.{key}"), str | None):
                raise BadRequest(f"{at}.{key} must be a string", param=f"{at}.{key}")
    return messages


def open_strict(messages: list[StrictMessage]) -> list[Message]:
    """The same of messages that were decoded already. Raises BadRequest with the path."""
    opened: list[Message] = []
    for index, strict in enumerate(messages):
        content = strict.content
        message: Message = {"role": strict.role, "content": content} if content else {"role": strict.role}
        if (name := strict.name) is not UNSET:
            message["name"] = name
        if (calls := strict.tool_calls) is not UNSET:
            try:
                message["tool_calls"] = [_open_call(call) for call in calls]
            except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
                path = f"messages[{index}].tool_calls"
                raise BadRequest(f"{path} is not valid JSON", param=path) from error
        if (result_id := strict.tool_call_id) is not UNSET:
            message["tool_call_id"] = result_id
        opened.append(message)
    return opened


def _open_call(strict: Call) -> dict[str, Any]:
    function = strict.function
    opened = {"name": function.name, "arguments": _ANY.decode(function.arguments)}
    if strict.type is UNSET:
        return {"id": strict.id, "function": opened}
    return {"id": strict.id, "type": strict.type, "function": opened}


def _open_calls(message: Message, at: str) -> None:
    calls = thaw(message, "tool_calls", at)
    if calls is None:
        return
    if not isinstance(calls, list):
        raise BadRequest(f"{at} must be a list", param=at)
    for index, call in enumerate(calls):
        where = f"{at}[{index}]"
        function = call.get("function", {}) if isinstance(call, dict) else None
        if not isinstance(function, dict):
            raise BadRequest(f"{where} must be an object with a function", param=where)
        for key, value in (("id", call.get("id")), ("function.name", function.get("name"))):
            if not isinstance(value, str | None):
                raise BadRequest(f"{where}.{key} must be a string", param=f"{where}.{key}")


def calls_of(message: Message) -> list[dict[str, Any]]:
    """The tool calls of an assistant turn, empty for all other messages."""
    if message["role"] != "assistant":
        return []
    return message.get("tool_calls") or []


def call_parts(call: dict[str, Any]) -> tuple[str, str, str]:
    """Id, name and arguments of a call, each a string, empty where they are missing."""
    function = call.get("function") or {}
    arguments = function.get("arguments")
    return call.get("id") or "", function.get("name") or "", arguments if isinstance(arguments, str) else ""


def is_null(value: Any) -> bool:
    """Whether a value, raw or not, is null or absent."""
    return value is None or (isinstance(value, Raw) and bytes(memoryview(value)[:4]) == b"null")


def is_plain_text(message: Message) -> bool:
    """Whether a message is a role and a text that is not empty: nothing for a quirk of keys to look at."""
    content = message.get("content")
    return len(message) == 2 and isinstance(content, Raw) and memoryview(content)[0] == _STRING and len(content) > 2


def parts_of(message: Message, index: int) -> list[dict[str, Any]] | None:
    """Content parts, their values raw, where the content is a list; None otherwise."""
    content = message.get("content")
    if isinstance(content, Raw):
        if memoryview(content)[0] != _LIST:
            return None
        try:
            content = message["content"] = _PARTS.decode(content)
        except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
            param = f"messages[{index}].content"
            raise BadRequest(f"{param} must be a string or a list of parts", param=param) from error
    return content if isinstance(content, list) else None


def part_text(part: dict[str, Any], index: int) -> str | None:
    """The text of a text or refusal part, None for any other part."""
    param = f"messages[{index}].content"
    kind = thaw(part, "type", param)
    if kind not in ("text", "refusal"):
        return None
    text = thaw(part, kind, param)
    return text if isinstance(text, str) else ""


def text_of(message: Message, index: int) -> str | None:
    """The content as text: a string, or parts that are all text joined by blank lines. None for anything else."""
    parts = parts_of(message, index)
    if parts is not None:
        texts = [part_text(part, index) for part in parts]
        return None if None in texts else "\n\n".join(text for text in texts if text)
    content = message.get("content")
    if isinstance(content, Raw) and memoryview(content)[0] == _STRING:
        content = thaw(message, "content", f"messages[{index}].content")
    return content if isinstance(content, str) else None


def text_part(text: str) -> dict[str, Any]:
    """A content part of this text."""
    return {"type": "text", "text": text}


def numbered(messages: list[Message], role: str) -> Iterator[tuple[int, Message]]:
    """The messages of one role with their positions."""
    return ((index, message) for index, message in enumerate(messages) if message["role"] == role)
