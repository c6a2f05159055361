"""A long body taken apart in one pass over its messages, which are nearly all of it.

Owns a guess and its proof. The guess, by a few byte searches, is where the value of `messages` begins and ends, and
that of `tools` where it is a list seen before. The proof is that the one slice is a list of messages, the other equal
to what was seen, and the rest an object in which these two fields are the stand-ins put there: then the whole body is
valid JSON, and every field is what decoding it at once would give. Where the guess fails, nothing is known about the
body, and it is read the long way. It must never know what a field means, and never raises.
"""

import re
from typing import NamedTuple

import msgspec
from msgspec import Raw

from hermes_router.wire.chat.seen_messages import History, history_at
from hermes_router.wire.chat.seen_tools import tools_at
from hermes_router.wire.chat.traits import Messages

_FIELDS = msgspec.json.Decoder(dict[str, Raw])
_LONG = 8_192  # bytes: below it, two passes cost less than the searches
_MARK = b"\x7f"  # legal in a JSON string, and in no body that is ever sent
_MESSAGES, _TOOLS = b'"\x7fmessages"', b'"\x7ftools"'
_STAND_INS = {"messages": Raw(_MESSAGES), "tools": Raw(_TOOLS)}

_COLON = re.compile(rb"\s*:\s*")
_END = re.compile(
    rb"\}\s*\](?=\s*(?:\}\s*\Z|,\s*\"(?!"
    rb"role\"|content\"|name\"|tool_call|refusal\"|reasoning|annotations\"|audio\"|cache_control\")))"
)
"""The end of a list of objects where another field follows, or nothing; not the next key of the same message."""


class Fields(dict[str, Raw]):
    """The top-level fields of a body as they came, in their order. `messages` are those of the field, decoded.

    `history` is what a look at them has found, None where nobody has looked yet.
    """

    __slots__ = ("history", "messages")

    messages: Messages
    history: History | None


class _Cut(NamedTuple):
    """A value within the body: `raw` is the same bytes."""

    name: str
    start: int
    end: int
    raw: Raw


def split_body(body: bytes) -> Fields | None:
    """The fields of a body that is UTF-8, its messages decoded; None where it has to be read the long way."""
    if len(body) < _LONG or (messages := _messages(body)) is None:
        return None
    cuts = [messages]
    tools = _tools(body, messages)
    if tools is not None:
        cuts.insert(tools.start > messages.start, tools)
    view, at = memoryview(body), 0
    rest: list[memoryview | Raw] = []
    for cut in cuts:
        rest += (view[at : cut.start], _STAND_INS[cut.name])
        at = cut.end
    rest.append(view[at:])
    try:
        fields = Fields(_FIELDS.decode(outside := b"".join(rest)))
        if outside.count(_MARK) != len(cuts) or any(fields.get(cut.name) != _STAND_INS[cut.name] for cut in cuts):
            return None  # the value of another key, or one of two of the same name
        for cut in cuts:
            fields[cut.name] = cut.raw
        fields.history = history = history_at(body, messages.start, messages.end)
        fields.messages = history.messages
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return None
    return fields


def _messages(body: bytes) -> _Cut | None:
    # Within JSON a quote in a string is escaped, so that a quoted name is met nearly only where it is a name.
    start, colon = _value(body, b'"messages"', body.find(b'"messages"'))
    if start < 0:
        return None
    # Long texts are passed over by a search from behind, spelled as this body spells its colons.
    last = body.rfind(b'"role"' + colon + b'"')
    if last < start or (found := _END.search(body, last)) is None:
        return None
    end = found.end()
    return _Cut("messages", start, end, Raw(memoryview(body)[start:end]))


def _tools(body: bytes, messages: _Cut) -> _Cut | None:
    at = body.find(b'"tools"', messages.end)
    start, _ = _value(body, b'"tools"', at if at >= 0 else body.find(b'"tools"', 0, messages.start))
    known = tools_at(body, start) if start >= 0 else None
    return None if known is None else _Cut("tools", start, start + len(known), known)


def _value(body: bytes, name: bytes, at: int) -> tuple[int, bytes]:
    """Where the list behind a name begins, -1 where there is none, and how its colon is written."""
    colon = _COLON.match(body, at + len(name)) if at >= 0 else None
    if colon is None or body[colon.end() : colon.end() + 1] != b"[":
        return -1, b""
    return colon.end(), colon[0]
