"""One event as one line of `key=value`, without a secret in it.

Owns the logfmt renderer (facts/os.md 6): quoted only where it must be, redacted value by value. It must never write.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from structlog.typing import EventDict, WrappedLogger

from hermes_router.control.events import plain
from hermes_router.control.log_text import escaped as escape

__all__ = ["REPEATED", "Logfmt"]

_PLAIN: Final = re.compile(r"[\w./:#@+,*~%-]+", re.ASCII).fullmatch
_ODD: Final = re.compile(r"[^\w.*-]")
REPEATED: Final = frozenset({"level", "event", "outcome", "attempts", "target", "error", "path"})
"""Fields whose values come again and again: each is redacted and quoted once."""
_MOST_KNOWN: Final = 1_024

_Plan = tuple[tuple[str, str, bool], ...]
"""The fields in the order of the line: each key, what is written in front of its value, whether that comes again."""


class Logfmt:
    """Renders events, the fields named in `first` in front, each text through `clean`.

    structlog's own renderer tests every character of every value (25 µs for our ten fields, measured; this one 3, with
    secrets taken out). Events of the same fields share a plan. `stamp` makes the time that a line begins with.
    `forget` is for when `clean` has learned of new secrets.
    """

    def __init__(
        self, first: Sequence[str], clean: Callable[[str], str], stamp: Callable[[], str] | None = None
    ) -> None:
        self._first = tuple(first)
        self._clean = clean
        self._stamp = stamp
        self._known: dict[str, str] = {}
        self._plans: dict[tuple[str, ...], _Plan] = {}

    def forget(self) -> None:
        """What was harmless may be one no longer."""
        self._known.clear()
        self._plans.clear()

    def __call__(self, _logger: WrappedLogger, _method: str, event: EventDict) -> str:
        """The structlog processor; it leaves the event as it is."""
        keys = tuple(event)
        known = self._known
        parts = [] if self._stamp is None else [f"timestamp={self._stamp()}"]
        for key, name, again in self._plans.get(keys) or self._plan(keys):
            value = event[key]
            kind = type(value)
            if kind is str:
                text = known.get(value) or self._remember(value) if again else self._text(value)
            elif kind is int or kind is float:
                text = repr(value)
            elif kind is bool:
                text = "true" if value else "false"
            else:
                text = "" if value is None else self._other(value)
            parts.append(name + text)
        return " ".join(parts)

    def _plan(self, keys: tuple[str, ...]) -> _Plan:
        """Names are without a secret either: some are a caller's."""
        if len(self._plans) >= _MOST_KNOWN:
            self._plans.clear()
        first = [key for key in self._first if key in keys]
        plan = self._plans[keys] = tuple(
            (
                key,
                f"{key if key in first else _ODD.sub('?', self._clean(key)) or '?'}=",
                key in REPEATED,
            )
            for key in (*first, *(key for key in keys if key not in first and key != "timestamp"))
        )
        return plan

    def _other(self, value: object) -> str:
        return self._text(str(plain(value, self._clean) if isinstance(value, Mapping) else value))

    def _remember(self, value: str) -> str:
        if len(self._known) >= _MOST_KNOWN:
            self._known.clear()
        text = self._known[value] = self._text(value)
        return text

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
        escaped = "".join(c if c.isprintable() else escape(c) for c in escaped)
    return f'"{escaped}"'
