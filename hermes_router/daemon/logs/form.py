"""The form of the log's lines: for the journal, for files and collectors, for people; and the word that chooses it.

Owns what each value of LOG_FORMAT makes of an event, and what `auto` means by what the log goes to (facts/os.md 6). No
secret is in any of them: texts are cleaned before they are put together. It must never write.
"""

import os
import stat
import time
from collections.abc import Callable, Mapping
from typing import Any, Final, Literal, Protocol

import msgspec
from structlog.typing import EventDict, WrappedLogger

from hermes_router.control import log_text
from hermes_router.control.events import may_show, plain
from hermes_router.daemon.logs.journal import PRIORITIES, Journal
from hermes_router.daemon.logs.logfmt import REPEATED, Logfmt

__all__ = ["Form", "FormWord", "Json", "Sink", "Stamp", "Tidy", "is_journal", "lost_line"]

FormWord = Literal["auto", "logfmt", "json", "console"]
Render = Callable[[WrappedLogger, str, EventDict], str | None]
Clean = Callable[[str], str]

_encode: Final = msgspec.json.Encoder().encode
_OWN: Final = frozenset({"event", "level", "timestamp"})
_MOST_KNOWN: Final = 1_024
_MILLISECONDS: Final = [f".{number:03d}Z" for number in range(1_000)]  # a third of what the format costs, line by line


class Sink(Protocol):
    """What lines go to, as far as their form depends on it."""

    def fileno(self) -> int:
        """The descriptor, or OSError."""
        ...

    def isatty(self) -> bool:
        """Whether a person reads it."""
        ...


class Stamp:
    """The time of now, ISO 8601 in UTC with milliseconds; what all events of a second share is kept."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._second = -1
        self._text = ""

    def __call__(self) -> str:
        """The text."""
        now = self._now()
        second = int(now)
        if second != self._second:
            self._second = second
            self._text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        return self._text + _MILLISECONDS[int((now - second) * 1_000)]


class Tidy:
    """An event's fields as JSON can hold them, without a secret; what comes again is cleaned once, until `forget`."""

    def __init__(self, clean: Clean) -> None:
        self._clean = clean
        self._names: dict[str, str] = {}
        self._known: dict[str, str] = {}

    def forget(self) -> None:
        """What was harmless may be one no longer."""
        self._names.clear()
        self._known.clear()

    def __call__(self, event: EventDict) -> dict[str, Any]:
        """The fields; name, level and time of the event are none of them."""
        names, told = self._names, {}
        for key, value in event.items():
            if key in _OWN:
                continue
            name = names.get(key)
            if name is None:
                if not may_show(key):
                    told[self._clean(key)] = "***"
                    continue
                name = self._keep(names, key)
            kind = type(value)
            if kind is str:
                told[name] = self.again(value) if key in REPEATED else self._clean(value)
            elif value is None or kind is int or kind is float or kind is bool:
                told[name] = value
            else:
                told.update(plain({key: value}, self._clean))
        return told

    def again(self, text: str) -> str:
        """A text that comes again and again."""
        return self._known.get(text) or self._keep(self._known, text)

    def _keep(self, known: dict[str, str], text: str) -> str:
        if len(known) >= _MOST_KNOWN:
            known.clear()
        found = known[text] = self._clean(text)
        return found


class Form:
    """The last structlog processor: an event as the text of its line, or None where it is out already.

    `set` changes the form at any time. It leaves the event as it is.
    """

    def __init__(
        self,
        out: Sink,
        environ: Mapping[str, str],
        clean: Clean,
        *,
        now: Callable[[], float] = time.time,
        journal: Journal | None = None,
    ) -> None:
        self._clean = clean
        self._tidy = Tidy(clean)
        self._now = now
        self._coloured = out.isatty() and not environ.get("NO_COLOR")
        self._person = out.isatty()
        self._journal = (journal or Journal()) if is_journal(out, environ) else None
        self._logfmts: list[Logfmt] = []
        self._render: Render = self._made("auto")
        self.word: FormWord = "auto"

    def set(self, word: FormWord) -> None:
        """From now on this one."""
        if word != self.word:
            self._logfmts.clear()
            self._render = self._made(word)
            self.word = word

    def forget(self) -> None:
        """New secrets were learned: what was harmless may be one."""
        self._tidy.forget()
        for one in self._logfmts:
            one.forget()

    def __call__(self, logger: WrappedLogger, method: str, event: EventDict) -> str | None:
        """The processor."""
        return self._render(logger, method, event)

    def _made(self, word: FormWord) -> Render:
        if self._journal is not None:
            return self._for_journal(self._journal, word)
        if word == "auto":
            word = "console" if self._person else "logfmt"
        match word:
            case "console":
                return Console(self._tidy, self._now, coloured=self._coloured, dated=not self._person)
            case "json":
                return Json(self._tidy, Stamp(self._now))
            case _:
                return self._logfmt(("timestamp", "level", "event"), Stamp(self._now))

    def _logfmt(self, first: tuple[str, ...], stamp: Stamp | None) -> Logfmt:
        made = Logfmt(first, self._clean, stamp)
        self._logfmts.append(made)
        return made

    def _for_journal(self, journal: Journal, word: FormWord) -> Render:
        """It has a clock of its own; where it cannot be reached, the line's beginning says how bad it is."""
        plain_line = self._logfmt(("level", "event"), None)
        whole: Render | None = None
        match word:
            case "json":
                whole = Json(self._tidy, None)
            case "logfmt":
                whole = plain_line

        def render(logger: WrappedLogger, method: str, event: EventDict) -> str | None:
            if journal.ready:
                fields = self._tidy(event)
                name = self._tidy.again(event["event"])
                message = whole(logger, method, event) if whole is not None else None
                if journal.send(method, name, message or log_text.body(name, fields), fields):
                    return None
            return f"<{PRIORITIES.get(method, 6)}>{(whole or plain_line)(logger, method, event)}"

        return render


class Json:
    """One object a line: `timestamp` (where there is a `stamp`), `level`, `event`, then the fields."""

    def __init__(self, tidy: Tidy, stamp: Stamp | None) -> None:
        self._tidy = tidy
        self._stamp = stamp

    def __call__(self, _logger: WrappedLogger, method: str, event: EventDict) -> str:
        """The processor."""
        told: dict[str, Any] = {} if self._stamp is None else {"timestamp": self._stamp()}
        told["level"] = method
        told["event"] = self._tidy.again(event["event"])
        told.update(self._tidy(event))
        try:
            return _encode(told).decode()
        except (ValueError, TypeError, OverflowError):  # half a surrogate, or a number beyond 64 bits
            safe = {_encodable(name): _encodable(value) for name, value in told.items()}
            return msgspec.json.encode(safe).decode()


def _encodable(value: object) -> str:
    return str(value).encode("utf-8", "backslashreplace").decode()


class Console:
    """A line for a person, a traceback below it; `dated` where it is read on another day, too."""

    def __init__(self, tidy: Tidy, now: Callable[[], float], *, coloured: bool, dated: bool) -> None:
        self._tidy = tidy
        self._now = now
        self._coloured = coloured
        self._format = "%Y-%m-%d %H:%M:%S" if dated else "%H:%M:%S"

    def __call__(self, _logger: WrappedLogger, method: str, event: EventDict) -> str:
        """The processor."""
        at = time.strftime(self._format, time.localtime(self._now()))
        name, fields = self._tidy.again(event["event"]), self._tidy(event)
        return log_text.line(name, method, fields, at=at, coloured=self._coloured)


def lost_line(out: Sink, environ: Mapping[str, str]) -> str:
    """The template of the line that says how many were lost; `{}` is the number."""
    line = "level=warning event=log.lost lines={}"
    return f"<{PRIORITIES['warning']}>{line}" if is_journal(out, environ) else line


def is_journal(out: Sink, environ: Mapping[str, str]) -> bool:
    """JOURNAL_STREAM alone is not enough: a pipe inside a unit inherits it (facts/os.md 6.1)."""
    try:
        found = os.fstat(out.fileno())
    except (OSError, ValueError):
        return False
    wanted = environ.get("JOURNAL_STREAM", "")
    return stat.S_ISSOCK(found.st_mode) and wanted == f"{found.st_dev}:{found.st_ino}"
