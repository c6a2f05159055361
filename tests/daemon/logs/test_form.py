"""hermes_router/daemon/logs/form.py: LOG_FORMAT, hot; and no secret in any form."""

import io
import json
import os
import pty
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hermes_router.core.ids import Secret
from hermes_router.daemon.logs.form import Form, FormWord, Stamp
from hermes_router.daemon.logs.journal import Journal
from hermes_router.daemon.logs.logging import Redactor, set_up
from hermes_router.daemon.logs.outlet import Outlet

from .test_journal import entry

ways: list[Journal] = []
NOW = 1_700_000_000.25
CANARY = 'canary-"01234\\é56789'  # what JSON and logfmt escape


class Kept(io.StringIO):
    """A stream that is no terminal and has no descriptor."""


def made(word: FormWord, out: Any = None, *secrets: str) -> tuple[Any, Any, Form]:
    redactor = Redactor(map(Secret, secrets))
    out = out or Kept()
    form = Form(out, {}, redactor.clean, now=lambda: NOW)
    form.set(word)
    return set_up("debug", redactor, out=out, environ={}, form=form), out, form


def test_json_is_one_object_a_line() -> None:
    """With the fields' own types; what JSON has no word for is a text."""
    log, out, _ = made("json")
    log.warning("a.b", n=3, ok=True, none=None, said='a "b"\nc', deep={"x": (1, 2)}, error=ValueError("x"))
    log.info("a.b", huge=10**40, half="\ud800")
    first, second = map(json.loads, out.getvalue().splitlines())
    assert first == {
        "timestamp": "2023-11-14T22:13:20.250Z", "level": "warning", "event": "a.b", "n": 3, "ok": True, "none": None,
        "said": 'a "b"\nc', "deep": {"x": [1, 2]}, "error": "x",
    }  # fmt: skip
    assert second["huge"] == str(10**40)


def test_console_is_a_sentence_with_a_date_where_it_is_kept() -> None:
    """In a file it is read on another day."""
    log, out, _ = made("console")
    log.warning("local.back", provider="local", url="u", n=1)
    date, time, rest = out.getvalue().split(" ", 2)
    assert (len(date), len(time)) == (10, 8)
    assert rest == "warn  local answers again at u  n=1\n"


def test_a_terminal_gets_time_alone_and_colour() -> None:
    """Somebody looks at it now."""
    theirs, ours = pty.openpty()
    try:
        log, _, _ = made("auto", Outlet(ours))
        log.error("local.back", provider="local", url="u")
        text = os.read(theirs, 10_000).decode()
        assert "\x1b[31merror\x1b[0m local answers again at u" in text
    finally:
        os.close(ours)
        os.close(theirs)


def test_the_form_changes_at_once() -> None:
    """LOG_FORMAT is taken up by a reload."""
    log, out, form = made("auto")
    for word in ("logfmt", "json", "console", "auto"):
        log.info("a.b", n=1)
        form.set(word)
    lines = out.getvalue().splitlines()
    assert lines[0] == lines[1] == "timestamp=2023-11-14T22:13:20.250Z level=info event=a.b n=1"
    assert json.loads(lines[2])["n"] == 1
    assert lines[3].endswith("a.b  n=1")


@pytest.mark.parametrize("word", ["logfmt", "json", "console"])
def test_ll13_no_form_shows_a_secret(word: FormWord) -> None:
    """Not as a value, as a field's name, inside what a field holds, as an event, in a traceback; however it is escaped."""
    log, out, _ = made(word, None, CANARY)
    log.info("a.b", said=CANARY, deep={CANARY: [CANARY]}, **{CANARY: 1})
    log.info(CANARY, error=ValueError(CANARY), api_key="plainword", nested={"X-API-Key": "plainword"})
    try:
        raise ValueError(CANARY)  # noqa: TRY301
    except ValueError as error:
        log.warning("server.fault", exc_info=error)
    text = out.getvalue()
    for piece in (CANARY, "01234", "56789", "plainword"):
        assert piece not in text
    assert text.count("***") >= 6


@pytest.mark.parametrize("word", ["logfmt", "json", "console"])
def test_what_is_learned_to_be_a_secret_is_hidden_from_then_on(word: FormWord) -> None:
    """Also a value that was rendered before, and kept."""
    redactor = Redactor()
    out = Kept()
    form = Form(out, {}, redactor.clean, now=lambda: NOW)
    form.set(word)
    log = set_up("info", redactor, out=out, environ={}, form=form)
    log.info("a.b", target="canary-0123456789")
    redactor.know([Secret("canary-0123456789")])
    log.info("a.b", target="canary-0123456789")
    assert out.getvalue().count("canary") == 1


@pytest.fixture
def journald() -> Iterator[tuple[Path, socket.socket, int, socket.socket]]:
    """A journal: the path of its socket, the socket, a stream into it as standard error is one, and its other end."""
    ours, theirs = socket.socketpair()
    with (
        tempfile.TemporaryDirectory(prefix="hr") as folder,
        ours,
        theirs,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock,
    ):
        path = Path(folder) / "socket"
        sock.bind(str(path))
        sock.setblocking(False)
        theirs.setblocking(False)
        yield path, sock, ours.fileno(), theirs
        while ways:
            ways.pop().close()


def in_journal(path: Path, number: int, word: FormWord) -> Any:
    found = os.fstat(number)
    redactor = Redactor([Secret(CANARY)])
    out, environ = Outlet(number), {"JOURNAL_STREAM": f"{found.st_dev}:{found.st_ino}"}
    ways.append(Journal(str(path)))
    form = Form(out, environ, redactor.clean, journal=ways[-1])
    form.set(word)
    return set_up("debug", redactor, out=out, environ=environ, form=form)


def test_the_journal_gets_a_sentence_and_fields(journald: tuple[Path, socket.socket, int, socket.socket]) -> None:
    """`journalctl HR_PROVIDER=groq -p warning` finds it; nothing goes to standard error; no secret goes either way."""
    path, sock, number, stream = journald
    log = in_journal(path, number, "auto")
    log.warning(
        "attempt.failed",
        request_id="req_1",
        target="groq/m#1",
        status=429,
        said=CANARY,
        **{"class": "limited", CANARY: CANARY},
    )
    found = dict(entry(sock.recv(100_000)))
    assert found["MESSAGE"].startswith("groq/m#1 is limited (429): ***  request_id=req_1")
    assert (found["PRIORITY"], found["HR_PROVIDER"], found["HR_CLASS"], found["HR_SAID"]) == (
        "4",
        "groq",
        "limited",
        "***",
    )
    assert "01234" not in str(found)
    with pytest.raises(BlockingIOError):
        stream.recv(1)


def test_the_journal_gets_a_traceback_as_one_entry(journald: tuple[Path, socket.socket, int, socket.socket]) -> None:
    """With its lines, and its own priority on all of them."""
    path, sock, number, _ = journald
    log = in_journal(path, number, "auto")
    try:
        raise ValueError("no")  # noqa: TRY301
    except ValueError as error:
        log.error("server.fault", exc_info=error, path="/v1")  # noqa: TRY400 - not the standard library's
    found = dict(entry(sock.recv(100_000)))
    lines = found["MESSAGE"].split("\n")
    assert (lines[0], lines[1], lines[-1]) == (
        "a fault of ours in /v1",
        "Traceback (most recent call last):",
        "ValueError: no",
    )
    assert "HR_EXCEPTION" not in found


@pytest.mark.parametrize(
    ("word", "message"), [("json", '{"level":"info","event":"a.b","n":1}'), ("logfmt", "level=info event=a.b n=1")]
)
def test_a_form_that_is_named_is_the_message(
    journald: tuple[Path, socket.socket, int, socket.socket], word: FormWord, message: str
) -> None:
    """For a collector that reads the journal; the fields stand beside it all the same, and the journal has the time."""
    path, sock, number, _ = journald
    in_journal(path, number, word).info("a.b", n=1)
    found = dict(entry(sock.recv(100_000)))
    assert (found["MESSAGE"], found["HR_N"]) == (message, "1")


def test_without_the_socket_standard_error_gets_lines_with_priorities(
    journald: tuple[Path, socket.socket, int, socket.socket],
) -> None:
    """A sandbox may hide the socket: the log is there all the same."""
    path, _, number, stream = journald
    in_journal(path.with_name("none"), number, "auto").error("a.b", n=1)
    assert stream.recv(1_000) == b"<3>level=error event=a.b n=1\n"


def test_a_stamp_is_the_time_of_its_own_event() -> None:
    """Seconds are told apart, milliseconds are padded, and a clock that is set back is followed."""
    times = iter([1_700_000_000.0, 1_700_000_000.0049, 1_700_000_000.9999, 1_700_000_001.5, 1_699_999_999.25])
    stamp = Stamp(lambda: next(times))
    assert [stamp() for _ in range(5)] == [
        "2023-11-14T22:13:20.000Z", "2023-11-14T22:13:20.004Z", "2023-11-14T22:13:20.999Z", "2023-11-14T22:13:21.500Z",
        "2023-11-14T22:13:19.250Z",
    ]  # fmt: skip
