"""hermes_router/cli/logs.py: the log on a terminal, in a pipe, as JSON, and while it is followed."""

import json
import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from hermes_router.control import types as t
from hermes_router.control.log_types import LogTail

from . import samples
from .conftest import Hr, Script

Serve = Callable[..., Script]
EXE = Path(sys.executable).with_name("hr")
DONE = t.Event(
    id=5, at=samples.NOW - 60, event="exchange.done",
    fields={"request_id": "req_1", "outcome": "answered", "attempts": "groq/m#1:ok", "input_tokens": 3, "output_tokens": 4, "duration_s": 0.25},
)  # fmt: skip
FAULT = t.Event(
    id=6, at=samples.NOW - 5 * 86_400, event="server.fault", level="error",
    fields={"request_id": "req_2", "exception": "Traceback (most recent call last):\n  File\nValueError: \x1b]0;x\x07no"},
)  # fmt: skip


def tail(*events: t.Event, **more: Any) -> Callable[[object], LogTail]:
    return lambda _asked: LogTail(events=list(events), last_id=6, level="info", **more)


def asked(script: Script) -> str:
    return next(one.path for one in script.asked if one.path.startswith("/v1/logs"))


class Answers(dict[str, Any]):
    """Answers to `/v1/logs` with whatever query."""

    def get(self, key: str, default: Any = None) -> Any:
        return super().get(key.partition("?")[0], default)


def daemon(serve: Serve, *events: t.Event, **more: Any) -> Script:
    script = serve()
    script.answers = Answers({"GET /v1/logs": tail(*events, **more)})
    return script


def test_lines_read_as_the_log_on_a_terminal(serve: Serve, hr: Hr) -> None:
    """Time, level, sentence; another day has its date; a traceback its own lines; nothing steers the terminal."""
    script = daemon(serve, FAULT, DONE)
    ran = hr("logs")
    assert ran.exit_code == 0
    lines = ran.output.splitlines()
    at = time.strftime("%H:%M:%S", time.localtime(DONE.at))
    then = time.strftime("%b %d %H:%M:%S", time.localtime(FAULT.at))
    assert lines == [
        f"{then} error a fault of ours  request_id=req_2", "Traceback (most recent call last):", "  File",
        "ValueError: \\x1b]0;x\\x07no", f"{at}       answered by groq/m#1 in 250 ms, 3+4 tokens  request_id=req_1",
    ]  # fmt: skip
    assert asked(script) == "/v1/logs?lines=50"


@pytest.mark.parametrize(("env", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)])
def test_colour_is_for_terminals_that_want_it(serve: Serve, hr: Hr, env: dict[str, str], coloured: bool) -> None:
    """As everywhere in `hr`; in a pipe there is none."""
    daemon(serve, FAULT)
    assert ("\x1b[31merror" in hr("logs", env=env, color=True).output) is coloured
    assert "\x1b[3" not in hr("logs", env=env).output


def test_json_is_one_object_a_line(serve: Serve, hr: Hr) -> None:
    """With stable names, the sentence among them."""
    daemon(serve, FAULT, DONE)
    first, second = map(json.loads, hr("logs", "--json").output.splitlines())
    assert first["fields"]["exception"].startswith("Traceback")
    assert second == {
        "id": 5, "at": DONE.at, "level": "info", "event": "exchange.done",
        "message": "answered by groq/m#1 in 250 ms, 3+4 tokens", "fields": DONE.fields,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("options", "query"),
    [
        (["-n", "3"], "lines=3"), (["--level", "WARNING"], "lines=50&level=warning"),
        (["--since", "10m"], f"lines=100000&since={samples.NOW - 600}"), (["--since", "2h", "-n", "5"], f"lines=5&since={samples.NOW - 7200}"),
        (["--since", "2026-11-20T10:00:00Z"], "lines=100000&since=1795168800.0"),
        (["-n", "0"], "lines=0"),
    ],
)  # fmt: skip
def test_options_are_asked_of_the_daemon(serve: Serve, hr: Hr, options: list[str], query: str) -> None:
    """It looks through what it remembers and what its file has."""
    script = daemon(serve, DONE)
    assert hr("logs", *options).exit_code == 0
    assert asked(script) == f"/v1/logs?{query}"


def test_a_time_of_day_is_the_last_such(serve: Serve, hr: Hr) -> None:
    """14:05 in the morning is yesterday's."""
    script = daemon(serve, DONE)
    for minutes in (-10, 10):
        there = time.localtime(samples.NOW + minutes * 60)
        hr("logs", "--since", time.strftime("%H:%M", there))
        since = float(asked(script).rpartition("=")[2])
        assert samples.NOW - 86_400 < since <= samples.NOW
        assert time.localtime(since)[3:5] == there[3:5]
        script.asked.clear()


@pytest.mark.parametrize(
    "options", [["--since", "soon"], ["--since", "5 parsecs"], ["--since", "nand"], ["-n", "-1"], ["--level", "loud"]]
)
def test_nonsense_is_a_usage_error(serve: Serve, hr: Hr, options: list[str]) -> None:
    """Exit code 2, with what would do."""
    daemon(serve, DONE)
    ran = hr("logs", *options)
    assert ran.exit_code == 2
    assert "Traceback" not in ran.output


def test_a_request_that_is_not_clear_or_not_there(serve: Serve, hr: Hr) -> None:
    """Several that begin so are named; none at all is a failure, with where to ask next."""
    daemon(serve, requests=["req_1", "req_12"])
    ran = hr("logs", "--request", "req_1")
    assert (ran.exit_code, "req_1, req_12" in ran.output) == (2, True)


def test_a_request_that_the_log_does_not_know(serve: Serve, hr: Hr) -> None:
    """A failure, with where to ask next."""
    daemon(serve)
    ran = hr("logs", "--request", "req_9")
    assert (ran.exit_code, "hr request" in ran.output) == (1, True)
    assert hr("logs").exit_code == 0


def test_a_level_that_is_not_logged_is_pointed_out(serve: Serve, hr: Hr) -> None:
    """Nobody waits for lines that never come."""
    daemon(serve, DONE)
    assert "hr config set LOG_LEVEL debug" in hr("logs", "--level", "debug").output
    assert "hr config set" not in hr("logs", "--level", "info").output


@pytest.mark.parametrize("run", ["systemd", "detached"])
def test_what_a_service_said_before_a_crash_is_in_the_journal(serve: Serve, hr: Hr, run: str) -> None:
    """One line on standard error with the command, where the daemon's memory begins later; none in JSON's company."""
    script = daemon(serve, DONE, begins_at=samples.NOW - 600)
    script.answers["GET /v1/ping"] = samples.ping(run=run)
    ran = hr("logs", "--since", "1h")
    here, then = (time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(samples.NOW - s)) for s in (3600, 600))
    command = f'`journalctl --user-unit hermes-router --since "{here}" --until "{then}"`'
    assert (ran.exit_code, command in ran.stderr) == (0, run == "systemd")
    assert "journalctl" not in ran.stdout
    assert hr("logs", "--since", "1h", "--json").stderr == ""
    assert hr("logs", "--since", "5m").stderr == ""
    assert hr("logs").stderr == ""


@pytest.mark.parametrize(
    ("file", "said"),
    [
        ("", ""), (".local/state/hermes-router/daemon.log", "daemon.log"),
        (".config/systemd/user/hermes-router.service", "`journalctl --user-unit hermes-router -n 50`"),
    ],
)  # fmt: skip
def test_without_a_daemon_it_says_where_the_log_lies(hr: Hr, home: Path, file: str, said: str) -> None:
    """Exit code 4; the file of a detached daemon, or the line for the unit that is there."""
    if file:
        (home / file).parent.mkdir(parents=True)
        (home / file).touch()
    ran = hr("logs", env={"XDG_STATE_HOME": "", "XDG_CONFIG_HOME": ""})
    assert ran.exit_code == 4
    assert said in ran.output


# --- following ------------------------------------------------------------------------------------------


def _environ(script: Script) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"], "HOME": str(script.path.parent), "HERMES_ROUTER_SOCKET": str(script.path),
        "TERM": "xterm", "COLUMNS": "100", "PYTHONIOENCODING": "utf-8",
    }  # fmt: skip


def _frame(event: t.Event) -> bytes:
    return b"id: %d\ndata: %s\n\n" % (event.id, msgspec.json.encode(event))


def test_following_goes_on_behind_the_tail_and_filters_alike(serve: Serve) -> None:
    """From the id that the tail ended at; only what fits; missing lines are always told; Ctrl-C ends it with 0."""
    script = daemon(serve, DONE, requests=["req_1"])
    script.events.put(_frame(t.Event(id=7, at=1.0, event="a.b", fields={"request_id": "req_12"})))
    script.events.put(_frame(t.Event(id=8, at=1.0, event="events.lost", level="warning", fields={"lost": 3})))
    script.events.put(_frame(t.Event(id=9, at=1.0, event="a.b", fields={"request_id": "req_1"})))
    with subprocess.Popen(
        [EXE, "logs", "-f", "--json", "--request", "req_1"],
        env=_environ(script),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert [json.loads(process.stdout.readline())["id"] for _ in range(3)] == [5, 8, 9]
        process.send_signal(signal.SIGINT)
        out, said = process.communicate(timeout=10)
        assert (process.returncode, out, said) == (0, b"", b"")
    stream = next(one for one in script.asked if one.path.startswith("/v1/events"))
    assert stream.headers["Last-Event-ID"] == "6"


def test_a_terminal_shows_what_comes(serve: Serve) -> None:
    """In colour, line by line."""
    script = daemon(serve)
    script.events.put(_frame(FAULT))
    theirs, ours = pty.openpty()
    with subprocess.Popen([EXE, "logs", "-f"], env=_environ(script), stdin=ours, stdout=ours, stderr=ours) as process:
        os.close(ours)
        try:
            seen = ""
            while "ValueError" not in seen:
                assert select.select([theirs], [], [], 15)[0], seen
                seen += os.read(theirs, 65536).decode(errors="replace")
            assert "\x1b[31merror\x1b[0m a fault of ours" in seen
            assert "\x1b]0" not in seen
            process.send_signal(signal.SIGINT)
            assert process.wait(10) == 0
        finally:
            process.kill()
            os.close(theirs)


def test_a_closed_pipe_ends_it_quietly(serve: Serve) -> None:
    """`hr logs -f | head -1` leaves no traceback."""
    script = daemon(serve, DONE)
    with subprocess.Popen(
        [EXE, "logs", "-f"], env=_environ(script), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline()
        process.stdout.close()
        script.events.put(_frame(FAULT))
        assert process.stderr.read() == b""
        process.wait(10)
