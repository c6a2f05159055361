"""hermes_router/cli/status.py: the command."""

import json
from collections.abc import Callable

import msgspec

from hermes_router.control import types as t

from .conftest import Hr, Script
from .samples import NOW, STATUS, ping

Serve = Callable[..., Script]


def test_status_is_one_screen(hr: Hr, serve: Serve) -> None:
    """The screen goes to standard output, nothing to standard error, and a pipe gets no colours."""
    serve({"GET /v1/status": STATUS})
    done = hr("status")
    assert done.exit_code == 0
    assert "Mostly: " in done.stdout
    assert "\x1b" not in done.stdout
    assert done.stderr == ""


def test_colours_and_no_color(hr: Hr, serve: Serve) -> None:
    """A terminal gets colours, one with NO_COLOR or a dumb one none."""
    serve({"GET /v1/status": STATUS})
    assert "\x1b[" in hr("status", color=True).stdout
    assert "\x1b[" not in hr("status", color=True, env={"NO_COLOR": "1"}).stdout
    assert "\x1b[" not in hr("status", color=True, env={"TERM": "dumb"}).stdout


def test_a_narrow_terminal_is_kept(hr: Hr, serve: Serve) -> None:
    """COLUMNS is the width, in a pipe, too."""
    serve({"GET /v1/status": STATUS})
    assert max(map(len, hr("status", columns=60).stdout.split("\n"))) <= 60


def test_json_is_the_type_itself(hr: Hr, serve: Serve) -> None:
    """--json prints what the daemon said, whole."""
    serve({"GET /v1/status": STATUS})
    done = hr("status", "--json")
    assert json.loads(done.stdout) == json.loads(msgspec.json.encode(STATUS))


def test_without_a_daemon_it_is_exit_4(hr: Hr) -> None:
    """No daemon: one sentence what, one what to do, exit code 4."""
    done = hr("status")
    assert done.exit_code == 4
    assert done.stderr == (
        "hr: No daemon is running.\n    Start it with `hr start`, or run `hr serve` in a terminal of its own.\n"
    )
    assert done.stdout == ""


def test_a_visit_of_another_hr_is_no_daemon(hr: Hr, serve: Serve) -> None:
    """A control-only daemon routes nothing, so there is no status of it."""
    serve({"GET /v1/ping": ping(run="control-only", port=0)})
    assert hr("status").exit_code == 4


def test_an_older_daemon_is_pointed_out(hr: Hr, serve: Serve) -> None:
    """Versions that differ but understand each other cost one line on standard error."""
    serve({"GET /v1/status": STATUS, "GET /v1/ping": ping(version="0.0.9")})
    done = hr("status")
    assert done.exit_code == 0
    assert "0.0.9" in done.stderr
    assert "hr restart" in done.stderr


def test_a_daemon_of_another_language_is_still_seen(hr: Hr, serve: Serve) -> None:
    """Where the API differs, `hr status` shows what every version tells; other commands refuse with exit 3."""
    script = serve({"GET /v1/ping": ping(version="9.0.0", api=t.API + 1, started_at=NOW - 7200)})
    script.api = t.API + 1
    done = hr("status")
    assert done.exit_code == 0
    assert "version 9.0.0, pid 4711, up 2 h" in done.stdout
    assert "hr restart" in done.stdout
    assert json.loads(hr("status", "--json").stdout)["version"] == "9.0.0"
    refused = hr("explain")
    assert refused.exit_code == 3
    assert "hr restart" in refused.stderr


def test_an_error_of_the_daemon_is_two_sentences(hr: Hr, serve: Serve) -> None:
    """A Problem's words and exit code are the command's; escape sequences in it do nothing."""
    serve(
        {"GET /v1/status": t.Problem(code="x", message="the disk is\x1b[2J full", next_step="make room", exit_code=3)}
    )
    done = hr("status")
    assert done.exit_code == 3
    assert done.stderr == "hr: The disk is full.\n    Make room.\n"
