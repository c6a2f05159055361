"""Logs that read well in `journalctl`, in a file and on a terminal.

Owns the choice of renderer by what stderr is, and redaction as the last step before it (facts/os.md 6). Event names are
dotted constants, fields carry the rest; bodies and prompts are never logged.
"""

import asyncio
import logging
import os
import re
import stat
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

# structlog imports rich where it is installed: 60 ms at start, for tracebacks that print local variables. Never ours.
if "rich" not in sys.modules:
    sys.modules["rich"] = None  # type: ignore[assignment]

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from hermes_router.core.ids import Secret, scrubber
from hermes_router.core.ports import Log
from hermes_router.daemon.logfmt import Logfmt

_LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40, "critical": 50}
_HELD = 50  # lines of a LateLog
_UNHURRIED = frozenset({"debug", "info"})  # may wait a moment for others of their kind; what went wrong is out at once
_JOURNAL = {"debug": "<7>", "info": "<6>", "warning": "<4>", "error": "<3>", "critical": "<2>"}
_SECRET_KEYS = frozenset(
    {
        "authorization", "x-api-key", "api_key", "access_token", "refresh_token", "id_token", "cookie", "password",
        "secret",
    }
)  # fmt: skip
_SHAPES = re.compile(
    r"(?<![A-Za-z0-9])(sk-[A-Za-z0-9_-]{6,}|(?i:bearer)\s+[A-Za-z0-9._~+/=-]{6,}|eyJ[\w-]+\.[\w-]+\.[\w-]+"
    r"|AIza[\w-]{10,}|gsk_\w{6,}|hf_\w{6,}|nvapi-[\w-]{6,}|csk-\w{6,})"
)


# What each shape holds: looking for these first costs 0.5 µs a line, the expression alone 5. `csk-` holds `sk-`.
_HINTS = ("sk-", "bearer", "eyj", "aiza", "gsk_", "hf_", "nvapi-")
_MILLISECONDS = [f".{number:03d}Z" for number in range(1_000)]  # a third of what the format costs, line by line


class Redactor:
    """Removes secrets from texts: by shape, and every value that is known to be one."""

    def __init__(self, secrets: Iterable[Secret] = ()) -> None:
        self._on_news: list[Callable[[], None]] = []
        self.know(secrets)

    def know(self, secrets: Iterable[Secret]) -> None:
        """Replace the set of exact values."""
        self._scrub = scrubber(secrets)
        for told in self._on_news:
            told()

    def tell(self, told: Callable[[], None]) -> None:
        """Call this whenever the set was replaced."""
        self._on_news.append(told)

    def __call__(self, _logger: WrappedLogger, _method: str, line: Any) -> str:
        """The last structlog processor, for a line that is finished."""
        return self.clean(str(line))

    def clean(self, text: str) -> str:
        """The text without secrets."""
        text = self._scrub(text)
        lowered = text.lower()
        for hint in _HINTS:
            if hint in lowered:
                return _SHAPES.sub("***", text)
        return text


def _hide_fields(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    if not _SECRET_KEYS.isdisjoint(event):
        for key in _SECRET_KEYS.intersection(event):
            event[key] = "***"
    return event


def _traceback(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    return structlog.processors.format_exc_info(logger, method, event) if "exc_info" in event else event


class Stamp:
    """Puts `timestamp` on an event, ISO 8601 in UTC with milliseconds; what all events of a second share is kept."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._second = -1
        self._text = ""

    def __call__(self, _logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        """The structlog processor."""
        now = self._now()
        second = int(now)
        if second != self._second:
            self._second = second
            self._text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        event["timestamp"] = self._text + _MILLISECONDS[int((now - second) * 1_000)]
        return event


class Out(Protocol):
    """What a log is written to: an Outlet, or a text stream of a test."""

    def write(self, text: str, /) -> int:
        """Take whole lines."""
        ...

    def flush(self) -> None:
        """Bring them out."""
        ...

    def fileno(self) -> int:
        """The descriptor, or OSError."""
        ...

    def isatty(self) -> bool:
        """Whether a person reads it."""
        ...


class Level:
    """The structlog processor that drops what is below LOG_LEVEL, which may change at any time."""

    def __init__(self, word: str) -> None:
        self.set(word)

    def set(self, word: str) -> None:
        """From now on this one."""
        self._least = _LEVELS.get(word, 20)

    def __call__(self, _logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
        """The processor."""
        if _LEVELS.get(method, 40) < self._least:
            raise structlog.DropEvent
        return event


Publish = Callable[[str, str, Mapping[str, Any]], None]
"""Event, level and fields, for whoever follows the daemon live."""


class Tee:
    """The structlog processor that shows each event to followers, too, on the loop's own thread."""

    def __init__(self) -> None:
        self.keeps = False  # what comes after leaves the event as it is, but for what control/events.py leaves out
        self._publish: Publish | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._home = 0

    def open(self, publish: Publish, loop: asyncio.AbstractEventLoop) -> None:
        """From now on; called on the loop's thread."""
        self._publish, self._loop, self._home = publish, loop, threading.get_ident()

    def __call__(self, _logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
        """The processor."""
        publish = self._publish
        if publish is not None:
            fields = event if self.keeps else dict(event)
            name = event["event"]
            if threading.get_ident() == self._home:
                publish(name, method, fields)
            elif self._loop is not None and not self._loop.is_closed():
                self._loop.call_soon_threadsafe(publish, name, method, fields)
        return event


class Direct(structlog.BoundLoggerBase):
    """A structlog logger whose five methods go straight through the processors: fields are packed once, not thrice.

    Where `structlog.make_filtering_bound_logger` costs 7 µs of a line's 20 (measured), this one costs 2.
    """

    def debug(self, event: str, **fields: Any) -> None:
        """Of use to who mends us."""
        self._say("debug", event, fields)

    def info(self, event: str, **fields: Any) -> None:
        """Something happened."""
        self._say("info", event, fields)

    def warning(self, event: str, **fields: Any) -> None:
        """Something happened that the owner should know."""
        self._say("warning", event, fields)

    def error(self, event: str, **fields: Any) -> None:
        """Something failed."""
        self._say("error", event, fields)

    def critical(self, event: str, **fields: Any) -> None:
        """Nothing goes on."""
        self._say("critical", event, fields)

    def _say(self, method: str, event: str, fields: dict[str, Any]) -> None:
        line: Any = {**self._context, "event": event, "level": method, **fields}
        try:
            for processor in self._processors:
                line = processor(self._logger, method, line)
        except structlog.DropEvent:
            return
        self._logger.write(f"{line}\n")
        if method not in _UNHURRIED:
            self._logger.flush()


class LateLog:
    """A log for what is built before it is known where lines go; what comes before is kept, a little of it."""

    def __init__(self) -> None:
        self._log: Log | None = None
        self._held: list[tuple[str, str, dict[str, object]]] = []

    def open(self, log: Log) -> None:
        """They go there."""
        self._log = log
        held, self._held = self._held, []
        for method, event, fields in held:
            getattr(log, method)(event, **fields)

    def info(self, event: str, **fields: object) -> object:
        """Something happened."""
        return self._say("info", event, fields)

    def warning(self, event: str, **fields: object) -> object:
        """Something happened that the owner should know."""
        return self._say("warning", event, fields)

    def _say(self, method: str, event: str, fields: dict[str, object]) -> object:
        if self._log is not None:
            return getattr(self._log, method)(event, **fields)
        if len(self._held) < _HELD:
            self._held.append((method, event, fields))
        return None


def set_up(
    level: Level | str, redactor: Redactor, *, out: Out, environ: Mapping[str, str], tee: Tee | None = None
) -> Any:
    """The daemon's log on `out`. Nothing global is changed, so several logs can live in one test.

    With a `Level` the level can change later; a word is for ever.
    """
    journal = _is_journal(out, environ)
    processors: list[Processor] = [
        Level(level) if isinstance(level, str) else level,
        _traceback,
        _hide_fields,
        *([] if tee is None else [tee]),
    ]
    person = out.isatty()
    if tee is not None:
        tee.keeps = not person
    if person:
        processors += [*_for_a_person(colours=not environ.get("NO_COLOR")), redactor]
    else:
        line = Logfmt(("level", "event") if journal else ("timestamp", "level", "event"), redactor.clean)
        redactor.tell(line.forget)
        # The journal has its own clock, and takes the priority from the line's beginning.
        processors += [line, _prefix] if journal else [Stamp(time.time), line]
    return structlog.wrap_logger(out, processors=processors, wrapper_class=Direct).bind()


def _for_a_person(*, colours: bool) -> list[Processor]:
    return [
        _harmless,
        structlog.processors.TimeStamper(fmt="%H:%M:%S", utc=False),
        structlog.dev.ConsoleRenderer(colors=colours, exception_formatter=structlog.dev.plain_traceback),
    ]


def _harmless(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Control characters in what others say could move the cursor or forge a line; a traceback keeps its own lines."""
    for key, value in event.items():
        if isinstance(value, str) and not value.isprintable():
            kept = "\n" if key == "exception" else ""
            event[key] = "".join(c if c.isprintable() or c in kept else f"\\x{ord(c):02x}" for c in value)
    return event


def lost_line(out: Out, environ: Mapping[str, str]) -> str:
    """The template of the line that says how many were lost; `{}` is the number."""
    line = "level=warning event=log.lost lines={}"
    return f"{_JOURNAL['warning']}{line}" if _is_journal(out, environ) else line


def _is_journal(out: Out, environ: Mapping[str, str]) -> bool:
    """JOURNAL_STREAM alone is not enough: a pipe inside a unit inherits it (facts/os.md 6.1)."""
    try:
        found = os.fstat(out.fileno())
    except (OSError, ValueError):
        return False
    wanted = environ.get("JOURNAL_STREAM", "")
    return stat.S_ISSOCK(found.st_mode) and wanted == f"{found.st_dev}:{found.st_ino}"


def _prefix(_logger: WrappedLogger, method: str, line: Any) -> str:
    """The journal takes `<3>` at the start of a line as its priority."""
    return _JOURNAL.get(method, "<6>") + str(line)


class _Bridge(logging.Handler):
    """Records of aiohttp, asyncio and warnings, as events of ours."""

    def __init__(self, log: Any) -> None:
        super().__init__(logging.WARNING)
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        """Pass one record on."""
        method = self._log.error if record.levelno >= logging.ERROR else self._log.warning
        method("library.message", logger=record.name, message=_message(record), exc_info=record.exc_info or None)


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except (TypeError, ValueError, KeyError):  # arguments that do not fit the text
        return str(record.msg)


def adopt_standard_logging(log: Any) -> None:
    """From now on, what the standard library's loggers and warnings say in this process is an event of `log`."""
    root = logging.getLogger()
    root.handlers[:] = [_Bridge(log)]
    root.setLevel(logging.WARNING)
    logging.captureWarnings(capture=True)
