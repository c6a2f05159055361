"""Histories that were decoded lately. An agent sends the same with every turn, a little longer, and they are long.

Owns what was found in the messages of a long body, to be found again by comparing bytes (10 µs for 200 KB, where
decoding and a look at each message take 300). It must never know a row or a provider. It keeps copies of bounded size
and no request's body alive.
"""

import re
from typing import Final

import msgspec
from msgspec import Raw

from hermes_router.wire.chat.traits import (
    Messages,
    StrictLook,
    are_strict,
    decode_loosely,
    decode_messages,
    heads_of,
    traits_of,
)

__all__ = ["History", "history_at"]

MOST: Final = 32  # each is compared with a body, and those that begin alike for as long as they do
MOST_BYTES: Final = 6 * 1024 * 1024  # of text in all
LONGEST: Final = 1024 * 1024  # bytes of one: what is longer is decoded each time

_GOES_ON = re.compile(rb"\s*([,\]])")
_ENDS = b"}"


class History:
    """The messages of a body, with what is found of them at once. Nothing in it is ever changed.

    `text` is the list's text up to the end of its last message. `heads` is `traits.heads_of`, `traits` is
    `traits.traits_of`; `look` is what the next ones go on from, None where something is foreign. Raises msgspec's
    errors, UnicodeError and RecursionError, as the decoding of messages does.
    """

    __slots__ = ("heads", "look", "messages", "text", "traits")

    def __init__(self, text: bytes, tail: bytes, earlier: "History | None" = None) -> None:
        """`tail` is the list of what comes behind `earlier`, or of all."""
        self.text = text
        self.look: StrictLook | None = None
        added: Messages
        if earlier is None:
            self.messages = added = decode_messages(Raw(tail))
            self.heads = heads_of(added)
        else:
            self.messages, added = _joined(earlier.messages, tail)
            self.heads = earlier.heads | heads_of(added)
        if are_strict(self.messages) and are_strict(added):
            self.look = look = StrictLook(None if earlier is None else earlier.look)
            look.at(added)
        self.traits = traits_of(self.messages, self.heads, self.look)


_lately: list[History] = []


def history_at(body: bytes, start: int, end: int) -> History:
    """The messages that the body holds from `start` to `end`, a list as text.

    Raises msgspec's errors, UnicodeError and RecursionError.
    """
    for place, known in enumerate(_lately):
        if not body.startswith(known.text, start):
            continue
        behind = _GOES_ON.match(body, start + len(known.text), end)
        if behind is None:
            continue
        if behind[1] == b"]":
            if behind.end() != end:
                continue
            if place:
                _lately.insert(0, _lately.pop(place))
            return known
        try:
            longer = History(_text(body, start, end), b"[" + body[behind.end() : end], known)
        except (msgspec.MsgspecError, UnicodeError, RecursionError):
            break  # read as a whole, it says where the fault is
        _lately.pop(place)
        _remember(longer)
        return longer
    found = History(_text(body, start, end), body[start:end])
    _remember(found)
    return found


def _text(body: bytes, start: int, end: int) -> bytes:
    return body[start : body.rfind(_ENDS, start, end) + 1]


def _joined(earlier: Messages, tail: bytes) -> tuple[Messages, Messages]:
    """All messages, of one kind, and those that are new. Raises DecodeError where no message follows the comma."""
    added: Messages = decode_messages(Raw(tail))
    if not added:
        raise msgspec.DecodeError("a comma with nothing behind it")
    if are_strict(earlier) and not are_strict(added):
        raise msgspec.ValidationError("they are of two kinds")
    if not are_strict(earlier) and are_strict(added):
        added = decode_loosely(Raw(tail))
    return [*earlier, *added], added


def _remember(history: History) -> None:
    if not history.messages or len(history.text) > LONGEST:
        return
    _lately.insert(0, history)
    del _lately[MOST:]
    left = MOST_BYTES
    for place, known in enumerate(_lately):
        left -= len(known.text)
        if left < 0:
            del _lately[place:]
            break
