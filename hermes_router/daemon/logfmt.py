"""One event as one line of `key=value`, without a secret in it.

Owns the logfmt renderer (facts/os.md 6): quoted only where it must be, redacted value by value. It must never write.
"""

import re
from collections.abc import Callable, Sequence
from typing import Any, Final

from structlog.typing import EventDict, WrappedLogger

__all__ = ["Logfmt"]

_PLAIN: Final = re.compile(r"[\w./:#@+,*~%-]+", re.ASCII).fullmatch
_ODD: Final = re.compile(r"[^\w.*-]")
_REPEATED: Final = frozenset({"level", "event", "outcome", "attempts", "target", "error", "path"})
"""Fields whose values come again and again: each is redacted and quoted once."""
_MOST_KNOWN: Final = 1_024


class Logfmt:
    """Renders events, the fields named in `first` in front, each text through `clean`.

    structlog's own renderer tests every character of every value (25 µs for our ten fields, measured; this one 5, with
    secrets taken out). `forget` is for when `clean` has learned of new secrets.
    """

    def __init__(self, first: Sequence[str], clean: Callable[[str], str]) -> None:
        self._first = tuple(first)
        self._clean = clean
        self._known: dict[str, str] = {}
        self._names: dict[str, str] = {}

    def forget(self) -> None:
        """What was harmless may be one no longer."""
        self._known.clear()
        self._names.clear()

    def __call__(self, _logger: WrappedLogger, _method: str, event: EventDict) -> str:
        """The structlog processor; it leaves the event as it is."""
        first, names = self._first, self._names
        parts = [f"{key}={self._of(key, event[key])}" for key in first if key in event]
        for key, value in event.items():
            if key in first:
                continue
            name = names.get(key) or self._name(key)
            kind = type(value)
            if kind is int or kind is float:
                parts.append(f"{name}={value!r}")
            elif kind is bool:
                parts.append(f"{name}=true" if value else f"{name}=false")
            else:
                parts.append(f"{name}={self._of(key, value)}")
        return " ".join(parts)

    def _name(self, key: str) -> str:
        """A field's name, without a secret either: some are a caller's."""
        if len(self._names) >= _MOST_KNOWN:
            self._names.clear()
        name = self._names[key] = _ODD.sub("?", self._clean(key)) or "?"
        return name

    def _of(self, key: str, value: Any) -> str:
        if key == "timestamp":
            return str(value)  # our own clock's
        if value is None:
            return ""
        if type(value) is not str:
            return self._text(str(value))
        if key not in _REPEATED:
            return self._text(value)
        known = self._known.get(value)
        if known is None:
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            known = self._known[value] = self._text(value)
        return known

    def _text(self, text: str) -> str:
        text = self._clean(text)
        return text if _PLAIN(text) else _quoted(text)


def _quoted(text: str) -> str:
    if not text:
        return '""'
    if text.isprintable() and not any(sign in text for sign in ' "=\\'):
        return text
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\r", "\\r")
    if not escaped.isprintable():
        escaped = "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in escaped)
    return f'"{escaped}"'
