"""hermes_router/cli/watch.py: a screen that follows the daemon."""

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

import msgspec
import pytest

from hermes_router.cli.watch import Pace
from hermes_router.control import types as t

from .conftest import Script
from .samples import STATUS

Serve = Callable[..., Script]
HR = Path(sys.executable).with_name("hr")


def _environ(script: Script) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"], "HOME": str(script.path.parent), "HERMES_ROUTER_SOCKET": str(script.path),
        "TERM": "xterm", "COLUMNS": "100", "LINES": "50", "PYTHONIOENCODING": "utf-8",
    }  # fmt: skip


def _event(number: int) -> bytes:
    event = t.Event(id=number, at=1.0, event="attempt.failed")
    return b"id: %d\ndata: " % number + msgspec.json.encode(event) + b"\n\n"


def test_json_is_one_line_a_change_and_ctrl_c_ends_quietly(serve: Serve) -> None:
    """An event brings the next line at once, at most two a second; Ctrl-C ends with 0 and says nothing."""
    script = serve({"GET /v1/status": STATUS})
    script.events.put(_event(1))
    with subprocess.Popen(
        [HR, "status", "--watch", "--json"], env=_environ(script), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["mode"] == "round-robin"
        began = time.monotonic()
        assert json.loads(process.stdout.readline())["mode"] == "round-robin"
        assert 0.4 < time.monotonic() - began < 4.5  # sooner than the look that needs no event
        process.send_signal(signal.SIGINT)
        out, said = process.communicate(timeout=10)
        assert (process.returncode, said) == (0, b"")
        assert b"Traceback" not in out
    streams = [one for one in script.asked if one.path.startswith("/v1/events")]
    assert len(streams) == 1


def test_a_terminal_is_redrawn_and_a_restart_is_outlived(serve: Serve) -> None:
    """The screen is drawn in place; while the daemon is away it says so, and goes on when it is back."""
    away = False

    def status(_asked: object) -> object:
        return t.Problem(code="going", message="it is stopping") if away else STATUS

    script = serve({"GET /v1/status": status})
    theirs, ours = pty.openpty()
    with subprocess.Popen(
        [HR, "status", "--watch"], env=_environ(script), stdin=ours, stdout=ours, stderr=ours
    ) as process:
        os.close(ours)
        try:
            seen = _until(theirs, "Providers")
            assert "\x1b[2J" in seen
            assert "\x1b[K" in seen
            away = True
            script.events.put(_event(1))
            _until(theirs, "reconnecting")
            away = False
            _until(theirs, "Providers")
            process.send_signal(signal.SIGINT)
            assert process.wait(10) == 0
        finally:
            process.kill()
            os.close(theirs)


def _until(number: int, text: str) -> str:
    seen = ""
    while text not in seen:
        ready, _, _ = select.select([number], [], [], 15)
        data = os.read(number, 65536).decode(errors="replace") if ready else ""
        assert data, seen
        seen += data
    return seen


def test_without_a_daemon_it_does_not_begin(serve: Serve, home: Path) -> None:
    """Nothing to watch is exit 4, as without --watch; a daemon that refuses at once is told."""
    script = serve({"GET /v1/status": t.Problem(code="x", message="no", exit_code=3)})
    assert (
        subprocess.run([HR, "status", "--watch"], env=_environ(script), check=False, capture_output=True).returncode
        == 3
    )
    environ = _environ(script) | {"HERMES_ROUTER_SOCKET": str(home / "none")}
    assert subprocess.run([HR, "status", "--watch"], env=environ, check=False, capture_output=True).returncode == 4


def test_a_pipe_that_closes_ends_it_quietly(serve: Serve) -> None:
    """`hr status --watch | head -1` leaves no traceback."""
    script = serve({"GET /v1/status": STATUS})
    script.events.put(_event(1))
    with subprocess.Popen(
        [HR, "status", "--watch", "--json"], env=_environ(script), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr is not None
        assert b"Traceback" not in process.stderr.read()
        assert process.wait(10) == 1


@pytest.mark.parametrize(("totals", "values"), [([10, 12, 12, 20], [2, 0, 8]), ([10, 3], [3]), ([5], [])])
def test_the_pace_counts_per_interval(totals: list[int], values: list[int]) -> None:
    """Differences of a growing number; one that begins anew (a restart) counts from nothing."""
    pace = Pace()
    for step, total in enumerate(totals):
        pace.add(step * 5.0, total)
        pace.add(step * 5.0 + 1, total)
    assert list(pace.values) == values
