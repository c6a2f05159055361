"""Logs that read well in `journalctl`, in a file and on a terminal.

Owns the logger itself, and what is known to be a secret; the form of a line is `log_form.py`'s (facts/os.md 6). Event
names are dotted constants, fields carry the rest; bodies and prompts are never logged.
"""

import asyncio
import logging
import re
import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol, cast

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from hermes_router.control.events import SECRET_FIELDS
from hermes_router.core.ids import Secret, scrubber
from hermes_router.core.ports import Log
from hermes_router.daemon.logs.form import Form

_LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40, "critical": 50}
_HELD = 50  # lines of a LateLog
_UNHURRIED = frozenset({"debug", "info"})  # may wait a moment for others of their kind; what went wrong is out at once
_SECRET_KEYS = SECRET_FIELDS | {"x-api-key"}
_SHAPES = re.compile(
    r"(?<![A-Za-z0-9])(sk-[A-Za-z0-9_-]{6,}|(?i:bearer)\s+[A-Za-z0-9._~+/=-]{6,}|eyJ[\w-]+\.[\w-]+\.[\w-]+"
    r"|AIza[\w-]{10,}|gsk_\w{6,}|hf_\w{6,}|nvapi-[\w-]{6,}|csk-\w{6,})"
)


# What each shape holds: looking for these first costs 0.5 µs a line, the expression alone 5. `csk-` holds `sk-`.
_HINTS = ("sk-", "bearer", "eyj", "aiza", "gsk_", "hf_", "nvapi-")


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
    """The structlog processor that shows each event to followers, too, on the loop's own thread.

    What comes before it is opened is kept, a little of it: whatever was wrong with the configuration, say.
    """

    def __init__(self) -> None:
        self._publish: Publish | None = None
        self._early: list[tuple[str, str, EventDict]] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._home = 0

    def open(self, publish: Publish, loop: asyncio.AbstractEventLoop) -> None:
        """From now on; called on the loop's thread."""
        early, self._early = self._early, []
        for each in early:
            publish(*each)
        self._publish, self._loop, self._home = publish, loop, threading.get_ident()

    def __call__(self, _logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
        """The processor."""
        publish = self._publish
        if publish is None:
            if len(self._early) < _HELD:
                self._early.append((event["event"], method, event))
        elif threading.get_ident() == self._home:
            publish(event["event"], method, event)
        elif self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(publish, event["event"], method, event)
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
        if line is None:  # the journal has it
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
    level: Level | str,
    redactor: Redactor,
    *,
    out: Out,
    environ: Mapping[str, str],
    tee: Tee | None = None,
    form: Form | None = None,
) -> Any:
    """The daemon's log on `out`. Nothing global is changed, so several logs can live in one test.

    With a `Level` or a `Form` these can change later; a word is for ever.
    """
    form = form or Form(out, environ, redactor.clean)
    redactor.tell(form.forget)
    processors: list[Processor] = [
        Level(level) if isinstance(level, str) else level,
        _traceback,
        _hide_fields,
        *([] if tee is None else [tee]),
        cast("Processor", form),
    ]
    return structlog.wrap_logger(out, processors=processors, wrapper_class=Direct).bind()


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
