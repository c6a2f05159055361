"""hermes_router/daemon/logs/logging.py: lines for the journal, for files and for people; secrets in none of them."""

import io
import json
import logging
import os
import pty
import re
import socket
import subprocess
import sys
import warnings
from collections.abc import Iterator
from typing import Any

import pytest

from hermes_router.core.ids import Secret
from hermes_router.daemon.logs.form import lost_line
from hermes_router.daemon.logs.logging import Redactor, adopt_standard_logging, set_up
from hermes_router.daemon.logs.outlet import Outlet

CANARY = "canary-0123456789"
SHAPES = [
    "sk-abcdefghij", "sk-ant-api03-xyz_123", "Bearer abc.def-ghi", "bearer  tok123456", "eyJhbGci.eyJzdWIi.c2ln", "AIzaSyA1234567890",
    "gsk_abcdef123", "hf_abcdef123", "nvapi-abc-123", "csk-abcdef12",
]  # fmt: skip


def _log(level: str = "debug", *secrets: str) -> tuple[Any, io.StringIO]:
    out = io.StringIO()
    return set_up(level, Redactor(map(Secret, secrets)), out=out, environ={}), out


def _raised(text: str) -> ValueError:
    local = f"{CANARY}-in-a-local-variable"
    try:
        raise ValueError(text)  # noqa: TRY301 - it needs its traceback
    except ValueError as error:
        assert local
        return error


def _fields(line: str) -> dict[str, str]:
    """Read a logfmt line the way a collector does."""
    found = re.findall(r'(\S+?)=("(?:[^"\\]|\\.)*"|\S*)', line)
    return {name: json.loads(value) if value.startswith('"') and "\\x" not in value else value for name, value in found}


def test_a_file_gets_logfmt_with_a_utc_time() -> None:
    """One line an event: when, how bad, what, then the fields."""
    log, out = _log()
    log.info("exchange.done", attempts="a b", n=3, ok=True, none=None, path="a=b", quoted='say "hi"', back="a\\b")
    line = out.getvalue()
    assert re.match(r"timestamp=\d{4}-\d\d-\d\dT[\d:.]+Z level=info event=exchange.done ", line)
    assert line.count("\n") == 1
    fields = _fields(line)
    assert (fields["attempts"], fields["n"], fields["ok"], fields["none"]) == ("a b", "3", "true", "")
    assert (fields["path"], fields["quoted"], fields["back"]) == ("a=b", 'say "hi"', "a\\b")


@pytest.mark.parametrize("evil", ["a\nlevel=error event=forged", "a\r\nb", "\x1b[31mred", "a\x00b", "a\u2028b", "\x85"])
def test_an_event_is_one_line_whatever_a_field_holds(evil: str) -> None:
    """Line ends and control characters of others are escaped: no forged line, no binary blob in the journal."""
    log, out = _log()
    log.warning("attempt.failed", said=evil)
    text = out.getvalue()
    assert len(text.splitlines()) == 1
    assert text[:-1].isprintable()


def test_a_traceback_is_one_line() -> None:
    """An exception stays one record, with its text."""
    log, out = _log()
    log.warning("server.fault", exc_info=_raised("what\nhappened"))
    assert out.getvalue().count("\n") == 1
    assert "Traceback" in out.getvalue()
    assert "\\nValueError: what" in out.getvalue()


def test_the_level_is_honoured() -> None:
    """LOG_LEVEL names the least that is written."""
    for level, expected in (("debug", 5), ("info", 4), ("warning", 3), ("error", 2), ("critical", 1)):
        log, out = _log(level)
        for method in ("debug", "info", "warning", "error", "critical"):
            getattr(log, method)("x.y")
        assert out.getvalue().count("\n") == expected


@pytest.mark.parametrize("secret", SHAPES)
def test_ll13_what_looks_like_a_secret_is_hidden(secret: str) -> None:
    """Known shapes are hidden wherever they stand, also in a traceback."""
    log, out = _log()
    log.info("x.y", said=f"key {secret} refused")
    log.warning("x.y", exc_info=_raised(secret))
    assert secret not in out.getvalue()
    assert out.getvalue().count("***") >= 2


def test_ll13_known_secrets_are_hidden_whatever_they_look_like() -> None:
    """Every loaded secret is hidden by its value; `know` replaces the set."""
    redactor = Redactor([Secret(CANARY)])
    out = io.StringIO()
    log = set_up("info", redactor, out=out, environ={})
    log.info("x.y", said=f"<{CANARY}>", **{CANARY: 1})
    assert CANARY not in out.getvalue()
    redactor.know([Secret("another-canary-1")])
    log.info("x.y", said="another-canary-1")
    assert "another" not in out.getvalue()


@pytest.mark.parametrize(
    "name", ["authorization", "x-api-key", "api_key", "refresh_token", "cookie", "password", "secret"]
)
def test_ll13_fields_that_name_a_secret_are_hidden(name: str) -> None:
    """Their value is never shown."""
    log, out = _log()
    log.info("x.y", **{name: "plainword"})
    assert "plainword" not in out.getvalue()


def test_words_are_not_taken_for_secrets() -> None:
    """A shape inside a word is no secret: log lines stay readable."""
    log, out = _log()
    log.info("x.y", target="groq/task-scheduler#0f1c", model="disk-analysis-7b")
    assert "***" not in out.getvalue()


# --- where it goes -----------------------------------------------------------------------------------


@pytest.fixture
def journal() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


def _stream_name(number: int) -> str:
    found = os.fstat(number)
    return f"{found.st_dev}:{found.st_ino}"


def test_the_journal_gets_priorities_and_no_time(journal: tuple[socket.socket, socket.socket]) -> None:
    """Where JOURNAL_STREAM names our own standard error, lines begin with <N> and have no timestamp."""
    ours, theirs = journal
    environ = {"JOURNAL_STREAM": _stream_name(ours.fileno())}
    log = set_up("debug", Redactor([Secret(CANARY)]), out=Outlet(ours.fileno()), environ=environ)
    for method in ("debug", "info", "warning", "error", "critical"):
        getattr(log, method)("x.y", said=CANARY)
    lines = theirs.recv(65536).decode().splitlines()
    assert lines == [
        f"<{n}>level={level} event=x.y said=***"
        for n, level in ((7, "debug"), (6, "info"), (4, "warning"), (3, "error"), (2, "critical"))
    ]
    assert lost_line(Outlet(ours.fileno()), environ).startswith("<4>level=warning event=log.lost")


def test_a_pipe_inside_a_unit_is_not_the_journal(journal: tuple[socket.socket, socket.socket]) -> None:
    """JOURNAL_STREAM is inherited by `hr serve 2>&1 | cat`: what does not match is a plain stream."""
    ours, theirs = journal
    for name in ("1:2", "", _stream_name(theirs.fileno())):
        log = set_up("info", Redactor(), out=Outlet(ours.fileno()), environ={"JOURNAL_STREAM": name})
        log.info("x.y")
        assert theirs.recv(1000).startswith(b"timestamp=")


@pytest.fixture
def terminal() -> Iterator[tuple[int, int]]:
    theirs, ours = pty.openpty()
    yield theirs, ours
    os.close(ours)
    os.close(theirs)


@pytest.mark.parametrize(("environ", "coloured"), [({}, True), ({"NO_COLOR": ""}, True), ({"NO_COLOR": "1"}, False)])
def test_a_terminal_gets_lines_for_people(terminal: tuple[int, int], environ: dict[str, str], coloured: bool) -> None:
    """A person sees colours, unless NO_COLOR is set to anything; nothing of others reaches the terminal raw."""
    theirs, ours = terminal
    log = set_up("info", Redactor([Secret(CANARY)]), out=Outlet(ours), environ=environ)
    log.info("x.y", said=f"a\nb\x1b]0;title\x07 {CANARY}")
    text = os.read(theirs, 10_000).decode()
    assert ("\x1b[" in text) is coloured
    assert "\x1b]" not in text
    assert CANARY not in text
    assert "timestamp=" not in text
    assert text.count("\n") == 1


def test_a_terminal_shows_a_traceback_in_lines(terminal: tuple[int, int]) -> None:
    """An exception is readable, without warnings about its formatter, and without local variables."""
    theirs, ours = terminal
    log = set_up("info", Redactor(), out=Outlet(ours), environ={"NO_COLOR": "1"})
    log.warning("server.fault", exc_info=_raised("what happened"))
    text = os.read(theirs, 10_000).decode()
    assert "ValueError: what happened" in text.splitlines()
    assert CANARY not in text


# --- the standard library's records ------------------------------------------------------------------


@pytest.fixture
def root() -> Iterator[None]:
    logger = logging.getLogger()
    handlers, level = logger.handlers[:], logger.level
    yield
    logging.captureWarnings(capture=False)
    logger.handlers[:], logger.level = handlers, level


def test_records_of_libraries_are_events(root: None) -> None:
    """aiohttp's and asyncio's warnings and errors come out as ours, redacted; what is lesser does not."""
    log, out = _log("debug", CANARY)
    adopt_standard_logging(log)
    logging.getLogger("asyncio").error("task %s died\nbadly", CANARY)
    logging.getLogger("aiohttp.server").warning("odd")
    logging.getLogger("asyncio").info("chatter")
    lines = out.getvalue().splitlines()
    assert [_fields(line)["level"] for line in lines] == ["error", "warning"]
    assert all("event=library.message" in line for line in lines)
    assert "logger=asyncio" in lines[0]
    assert CANARY not in lines[0]


def test_a_record_whose_arguments_do_not_fit_is_still_an_event(root: None) -> None:
    """A bug in a library's log call does not raise in its caller."""
    log, out = _log()
    adopt_standard_logging(log)
    text = "%d and %s"
    logging.getLogger("x").error(text, "only one")
    assert "%d and %s" in out.getvalue()


def test_warnings_are_events(root: None) -> None:
    """What the warnings module says is a line of the log, not a stray line on standard error."""
    log, out = _log()
    adopt_standard_logging(log)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(capture=True)
        warnings.warn("careful", stacklevel=1)
    assert "careful" in out.getvalue()
    assert out.getvalue().count("\n") == 1


def test_rich_is_not_loaded_for_the_daemons_sake() -> None:
    """Structlog would import rich, 60 ms, wherever it is installed."""
    program = "import sys, hermes_router.daemon.logs.logging; print('rich.console' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_the_daemon_brings_no_rich() -> None:
    """Whatever is imported first: where rich is installed it would cost 60 ms at start, and 4 MB."""
    program = "import sys, hermes_router.daemon.__main__; print(sys.modules['rich'], 'pygments' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["None", "False"]
