"""Lists of tools that were looked at lately. An agent sends the same with every turn, and they are long.

Owns what a look at a list of tools has found, to be found again by comparing bytes (2 µs for 35 KB, where counting
takes 25 and each search for triggers 40). It must never know a row or a provider, and holds no request's body alive.
"""

import re

import msgspec
from msgspec import Raw

_MOST = 16
_LONGEST = 256 * 1024  # bytes: what is longer is looked at each time


class SeenTools(msgspec.Struct):
    """One list of tool objects. `text` is it, in one and the same object each time, so that it is hashed once."""

    raw: Raw
    text: bytes
    count: int
    _found: dict[bytes, bool] = msgspec.field(default_factory=dict)

    def match(self, pattern: re.Pattern[bytes]) -> bool:
        """Whether the pattern is found in it."""
        found = self._found.get(pattern.pattern)
        if found is None:
            found = self._found[pattern.pattern] = pattern.search(self.text) is not None
        return found


_lately: list[SeenTools] = []


def seen_tools(raw: Raw) -> SeenTools | None:
    """What is known of these tools, None where they were not seen lately."""
    for place, known in enumerate(_lately):
        if known.raw is raw or known.raw == raw:
            if place:
                _lately.insert(0, _lately.pop(place))
            return known
    return None


def tools_at(body: bytes, start: int) -> Raw | None:
    """The list seen lately that the body holds from `start` on."""
    for known in _lately:
        if body.startswith(known.text, start):
            return known.raw
    return None


def see_tools(raw: Raw, count: int) -> None:
    """Remember a list that was found to hold `count` objects."""
    if len(raw) <= _LONGEST:
        text = bytes(raw)
        _lately.insert(0, SeenTools(Raw(text), text, count))
        del _lately[_MOST:]
