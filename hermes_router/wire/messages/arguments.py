"""Arguments of a tool call that come in pieces: where their JSON object begins and ends.

Owns the scan that never looks at a character twice. It tells ends, not validity: whoever needs that decodes the whole.
It must never know a dialect's frames.
"""

import re

import msgspec

_OUTSIDE = re.compile(r'["{}\[\]]')
_INSIDE = re.compile(r'["\\]')


class ObjectScan:
    """Follows one JSON object. `began` once its brace was seen, `over` once it is closed."""

    __slots__ = ("_depth", "_escaped", "_quoted", "began", "over")

    def __init__(self) -> None:
        self.began = False
        self.over = False
        self._depth = 0
        self._quoted = False
        self._escaped = False

    def feed(self, piece: str) -> str:
        """What of `piece` belongs to the object: not the white space before it, nothing behind it.

        A text that begins with anything else is no object: it is given back as it is, and `began` stays False.
        """
        if self.over:
            return ""
        if not self.began:
            piece = piece.lstrip()
            if not piece.startswith("{"):
                return piece
            self.began = True
        at = 0
        if self._escaped and piece:
            self._escaped = False
            at = 1
        while True:
            found = (_INSIDE if self._quoted else _OUTSIDE).search(piece, at)
            if found is None:
                return piece
            at = found.end()
            sign = found.group()
            if sign == '"':
                self._quoted = not self._quoted
            elif sign == "\\":
                self._escaped = at == len(piece)
                at += 1
            elif sign in "{[":
                self._depth += 1
            else:
                self._depth -= 1
                if self._depth == 0:
                    self.over = True
                    return piece[:at]


def is_object(text: str) -> bool:
    """Whether a text is one JSON object."""
    try:
        return isinstance(msgspec.json.decode(text), dict)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return False
