"""A Responses request as a turn of a conversation that is remembered here.

Owns how earlier turns are put before its input, what a `response` object says of that (facts: providers.md 12.10), and
what of an answer a later turn needs. Bytes are cut and joined, never written anew. It must never know where anything is
kept, nor for how long.
"""

import re
from typing import Any, Final, NamedTuple

import msgspec
from msgspec import Raw

from hermes_router.core.errors import BadRequest

__all__ = [
    "Ended",
    "Turn",
    "ended",
    "ended_stream",
    "items_of",
    "length",
    "mend_body",
    "mend_event",
    "own_place",
    "told_of",
    "with_past",
]

_FIELDS: Final = msgspec.json.Decoder(dict[str, Raw])
_RAWS: Final = msgspec.json.Decoder(list[Raw])
_ENCODE: Final = msgspec.json.Encoder().encode
_PLACE: Final = re.compile(r"\binput\[([0-9]+)\]")
_WHITE: Final = b" \n\r\t"
_DATA: Final = b"\ndata: "
_LIST: Final = ord("[")
_GOOD: Final = ("completed", "incomplete")
_LENGTH: Final = "max_output_tokens"
LIFECYCLE: Final = frozenset({
    b"response.created", b"response.queued", b"response.in_progress", b"response.completed", b"response.incomplete",
    b"response.failed", b"response.cancelled", b"response.done",
})  # fmt: skip
"""The events that carry the `response` object."""


class Turn(NamedTuple):
    """What is remembered around one request: `previous` is the id that it refers to, "" = none.

    `kept` = its answer may be referred to later. `before` are the items that were put before the caller's own.
    """

    previous: str = ""
    kept: bool = False
    before: int = 0


class Past(NamedTuple):
    """What a request goes on behind: the id that it named, and earlier turns as JSON items without the brackets.

    `conversation` is the digest by which the first of these turns was known.
    """

    previous: str
    items: list[bytes]
    conversation: str


# --- the request ------------------------------------------------------------------------------------


def items_of(raw: Raw | None) -> bytes | None:
    """The items of an input, as JSON without the brackets; a string is the message of a user. None = it is no input."""
    text = b"" if raw is None else bytes(raw).strip(_WHITE)
    if text[:1] == b"[":
        return text[1:-1].strip(_WHITE)
    if text[:1] == b'"':
        return b'{"type":"message","role":"user","content":%b}' % text
    return b"" if text in (b"", b"null") else None


def with_past(past: Past, own: bytes) -> Raw:
    """The input of a request whose own items stand behind earlier ones."""
    return Raw(b"[%b]" % b",".join(filter(None, (*past.items, own))))


def length(past: Past) -> int:
    """How many items it is."""
    return len(_RAWS.decode(with_past(past, b"")))


def own_place(error: BadRequest, past: Past) -> BadRequest:
    """An error of the whole input as one of the caller's own: its items are counted from the first that it sent."""
    before = length(past)

    def moved(found: re.Match[str]) -> str:
        at = int(found[1]) - before
        return f"input[{at}]" if at >= 0 else "an item of an earlier turn"

    param = error.param
    if param is not None and (found := _PLACE.search(param)) is not None:
        param = _PLACE.sub(moved, param) if int(found[1]) >= before else "previous_response_id"
    return BadRequest(_PLACE.sub(moved, error.message), param=param, code=error.code, should_retry=error.should_retry)


# --- what the caller is told ------------------------------------------------------------------------


def told_of(turn: Turn) -> dict[str, Raw]:
    """The members of a `response` object that say so."""
    previous = _ENCODE(turn.previous or None)
    return {"previous_response_id": Raw(previous), "store": Raw(b"true" if turn.kept else b"false")}


def mend_body(body: bytes, turn: Turn) -> bytes:
    """A provider's own `response` object, true of this turn. What is none stays as it is."""
    try:
        return _ENCODE(_FIELDS.decode(body) | told_of(turn))
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return body


def mend_event(data: bytes, turn: Turn) -> bytes:
    """The payload of a provider's own event with a `response` in it, true of this turn. Any other stays as it is."""
    try:
        event = _FIELDS.decode(data)
        if "response" not in event:
            return data
        event["response"] = Raw(_ENCODE(_FIELDS.decode(event["response"]) | told_of(turn)))
        return _ENCODE(event)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return data


# --- the answer -------------------------------------------------------------------------------------


class Ended(NamedTuple):
    """An answer that ended well: its id, the `response` object, and its items as JSON without the brackets."""

    id: str
    response: bytes
    output: bytes


class _Response(msgspec.Struct, gc=False):
    id: str
    status: Any = None
    incomplete_details: Any = None
    output: Raw = Raw(b"[]")


class _Event(msgspec.Struct, gc=False):
    response: Raw


_RESPONSE: Final = msgspec.json.Decoder(_Response)
_EVENT: Final = msgspec.json.Decoder(_Event)


def ended(response: bytes) -> Ended | None:
    """What is kept of a `response` object; None where its answer is not whole, or cut, but for its length."""
    try:
        found = _RESPONSE.decode(response)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return None
    output = items_of(found.output) if memoryview(found.output)[0] == _LIST else None
    if not found.id or found.status not in _GOOD or not output:
        return None
    why = found.incomplete_details
    if found.status == "incomplete" and not (isinstance(why, dict) and why.get("reason") == _LENGTH):
        return None
    return Ended(found.id, response, output)


def ended_stream(written: bytes) -> Ended | None:
    """The same of the last bytes of a stream: its last event, which a comment may stand before."""
    at = written.find(_DATA)
    if at < 0:
        return None
    data = written[at + len(_DATA) :].rstrip(b"\n")
    if b"\n" in data:
        data = data.replace(_DATA, b"\n")
    try:
        event = _EVENT.decode(data)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return None
    return ended(bytes(event.response))
