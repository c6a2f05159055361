"""Logs that read well in `journalctl`, in a file and on a terminal.

Owns the choice of renderer by what stderr is, and redaction as the last step before it (facts/os.md 6). Event names are
dotted constants, fields carry the rest; bodies and prompts are never logged.
"""

import logging
import os
import re
import stat
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

# structlog imports rich where it is installed: 60 ms at start, for tracebacks that print local variables. Never ours.
if "rich" not in sys.modules:
    sys.modules["rich"] = None  # type: ignore[assignment]

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from hermes_router.core.ids import Secret, scrubber

_LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40, "critical": 50}
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


# What each shape holds: looking for these first costs 0.5 µs a line, the expression alone 5.
_HINTS = ("sk-", "bearer", "eyj", "aiza", "gsk_", "hf_", "nvapi-", "csk-")


class Redactor:
    """Removes secrets from finished lines: by shape, and every value that is known to be one."""

    def __init__(self, secrets: Iterable[Secret] = ()) -> None:
        self.know(secrets)

    def know(self, secrets: Iterable[Secret]) -> None:
        """Replace the set of exact values."""
        self._scrub = scrubber(secrets)

    def __call__(self, _logger: WrappedLogger, _method: str, line: Any) -> str:
        """The last structlog processor."""
        text = self._scrub(str(line))
        lowered = text.lower()
        for hint in _HINTS:
            if hint in lowered:
                return _SHAPES.sub("***", text)
        return text


def _hide_fields(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    for key in _SECRET_KEYS.intersection(event):
        event[key] = "***"
    return event


class Logfmt:
    """Renders an event as one logfmt line: `key=value`, quoted only where it must be.

    structlog's own renderer tests every character of every value (25 µs for our ten fields, measured; this one 9).
    """

    def __init__(self, first: Sequence[str]) -> None:
        self._first = tuple(first)

    def __call__(self, _logger: WrappedLogger, _method: str, event: EventDict) -> str:
        """The structlog processor."""
        parts = [f"{key}={_value(event.pop(key))}" for key in self._first if key in event]
        parts += [f"{key}={_value(value)}" for key, value in event.items()]
        return " ".join(parts)


_PLAIN = re.compile(r"[\w./:#@+,*~%-]+", re.ASCII).fullmatch


def _value(value: Any) -> str:
    kind = type(value)
    if kind is str:
        return value if _PLAIN(value) else _quoted(value)
    if kind is int or kind is float:
        return repr(value)
    if value is None:
        return ""
    if kind is bool:
        return "true" if value else "false"
    text = str(value)
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


def set_up(level: str, redactor: Redactor, *, out: Out, environ: Mapping[str, str]) -> Any:
    """The daemon's log on `out`. Nothing global is changed, so several logs can live in one test."""
    journal = _is_journal(out, environ)
    processors: list[Processor] = [
        structlog.processors.add_log_level,
        structlog.processors.format_exc_info,
        _hide_fields,
    ]
    if out.isatty():
        processors += _for_a_person(colours=not environ.get("NO_COLOR"))
    elif journal:
        processors.append(Logfmt(("level", "event")))  # the journal has its own clock
    else:
        processors += [
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            Logfmt(("timestamp", "level", "event")),
        ]
    processors.append(redactor)
    if journal:
        processors.append(_prefix)
    return structlog.wrap_logger(
        structlog.WriteLogger(out),  # type: ignore[arg-type] # it writes and flushes, no more
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS.get(level, 20)),
        cache_logger_on_first_use=True,
    ).bind()


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
