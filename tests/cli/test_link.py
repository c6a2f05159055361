"""hermes_router/cli/link.py: which daemon answers, and the one that is started for a single command."""

import os
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import pytest

from hermes_router import __version__
from hermes_router.cli import link
from hermes_router.cli.main import main
from hermes_router.cli.trouble import Trouble
from hermes_router.control import types as t
from hermes_router.control.client import Client
from hermes_router.core.errors import ControlError

from .conftest import Hr, Script
from .samples import CREDENTIALS, ping

Serve = Callable[..., Script]

# Stands for `python -m hermes_router.daemon --control-only`: lock, socket, ping, and an end when its stdin closes.
STAND_IN = textwrap.dedent("""
    import fcntl, json, os, select, socket, sys
    assert sys.argv[-1] == "--control-only", sys.argv
    path = os.environ["HERMES_ROUTER_SOCKET"]
    lock = open(path + ".lock", "a")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        print("hr: the lock is held", file=sys.stderr)
        sys.exit(75)
    with open(path + ".starts", "a") as starts:
        starts.write("x")
    if os.path.exists(path):
        os.unlink(path)
    server = socket.socket(socket.AF_UNIX)
    server.bind(path)
    server.listen()
    while True:
        ready, _, _ = select.select([server, 0], [], [])
        if server not in ready:
            break
        peer, _ = server.accept()
        asked = peer.recv(65536).split()[1]
        answer = {"version": "VERSION", "pid": os.getpid(), "run": "control-only", "rows": [], "said": []}
        body = json.dumps(answer).encode()
        head = "HTTP/1.1 200 OK\\r\\nhermes-api: API\\r\\nhermes-version: VERSION\\r\\ncontent-length: %d\\r\\n\\r\\n"
        peer.sendall((head % len(body)).encode() + body)
        peer.close()
    os.unlink(path)
""")


@pytest.fixture
def stand_in(home: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Put a program in the daemon's place: an executable that ignores `-P -m hermes_router.daemon`."""

    def put(text: str) -> None:
        program = home / "daemon.py"
        program.write_text(text.replace("VERSION", __version__).replace("API", str(t.API)))
        fake = home / "python"
        fake.write_text(f'#!/bin/sh\nexec "{sys.executable}" -S "{program}" "$@"\n')
        fake.chmod(0o755)
        monkeypatch.setattr(sys, "executable", str(fake))

    return put


@pytest.fixture(autouse=True)
def _at_home(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("HERMES_ROUTER_SOCKET", str(home / "s"))
    monkeypatch.setenv("HOME", str(home))
    return


def test_a_daemon_is_started_for_one_command_and_ends_with_it(
    hr: Hr, home: Path, stand_in: Callable[[str], None]
) -> None:
    """Without a daemon a command on files starts one, uses it, and it is gone when the command is."""
    stand_in(STAND_IN)
    done = hr("key", "list")
    assert done.exit_code == 0, done.output
    assert (home / "s.starts").read_text() == "x"
    assert not (home / "s").exists()


def test_two_commands_at_once_both_work(home: Path, stand_in: Callable[[str], None]) -> None:
    """One of two gets the lock; the other uses its daemon, or starts the next when that one is gone."""
    stand_in(STAND_IN)
    program = (
        "import sys; sys.executable = sys.argv.pop(1)\nfrom hermes_router.cli.main import main\nmain(['key', 'list'])\n"
    )
    real = Path(sys.prefix) / "bin" / "python"
    running = [
        subprocess.Popen([real, "-c", program, sys.executable], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for _ in range(4)
    ]
    for process in running:
        _, said = process.communicate(timeout=20)
        assert process.returncode == 0, said


def test_a_daemon_that_cannot_start_says_why(hr: Hr, stand_in: Callable[[str], None]) -> None:
    """Its last line is told; exit code 1."""
    stand_in("import sys; print('hr: the disk is full', file=sys.stderr); sys.exit(1)")
    done = hr("key", "list")
    assert done.exit_code == 1
    assert "the disk is full" in done.stderr
    assert "hr serve" in done.stderr


def test_a_lock_that_stays_held_is_exit_3(
    hr: Hr, stand_in: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that holds the lock and does not answer is named after the time is up."""
    monkeypatch.setattr(link, "START_S", 0.3)
    stand_in("import sys; print('hr: the lock is held by pid 7\\n    end it', file=sys.stderr); sys.exit(75)")
    done = hr("key", "list")
    assert (done.exit_code, done.stderr) == (3, "hr: The lock is held by pid 7.\n    End it.\n")


def test_a_visit_that_was_asked_to_leave_before_it_was_found_is_replaced(
    hr: Hr, home: Path, stand_in: Callable[[str], None]
) -> None:
    """A daemon that starts in the same moment wants the lock: ours ends well and unused, and the next one is tried."""
    stand_in(
        f"import pathlib, sys\ntried = pathlib.Path({str(home / 'tried')!r})\n"
        f"if not tried.exists():\n    tried.touch()\n    sys.exit(0)\n{STAND_IN}"
    )
    with click.Context(main):
        assert link.connect(needs_daemon=False).ping.run == "control-only"
    _wait_for_end(home / "s")


def test_a_place_that_cannot_be_used_is_told_at_once(hr: Hr, home: Path, stand_in: Callable[[str], None]) -> None:
    """What no waiting would mend is not tried again: the daemon's two sentences, and its exit code."""
    stand_in(
        f"open({str(home / 'tried')!r}, 'a').write('x')\n"
        "import sys; print('hr: the directory is open to others\\n    chmod it', file=sys.stderr); sys.exit(3)"
    )
    done = hr("key", "list")
    assert (done.exit_code, done.stderr) == (3, "hr: The directory is open to others.\n    Chmod it.\n")
    assert (home / "tried").read_text() == "x"


def test_a_program_that_cannot_be_run_is_told(hr: Hr, monkeypatch: pytest.MonkeyPatch) -> None:
    """An upgrade took the interpreter away: a sentence, and no traceback."""
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    for command in (("key", "list"), ("start",), ("serve",)):
        done = hr(*command)
        assert done.exit_code == 1
        assert "/nowhere/python: No such file or directory." in done.stderr
        assert "install it anew" in done.stderr


def test_a_daemon_that_never_listens_is_given_up(
    hr: Hr, stand_in: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The wait is bounded, and the process is let go."""
    monkeypatch.setattr(link, "START_S", 0.2)
    stand_in("import sys; sys.stdin.read()")
    done = hr("key", "list")
    assert done.exit_code == 1
    assert "did not come up" in done.stderr


def test_a_daemon_that_has_handed_over_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """It says that nothing has begun; its successor listens by then. Other refusals are final, and the wait ends."""
    client = Client(Path("/nowhere"))
    link_ = link.Link(client.path, client, ping())
    answers = [ControlError("moved", code="moved"), ControlError("moved", code="moved"), "done"]

    def ask(_client: Client) -> str:
        answer = answers.pop(0)
        if isinstance(answer, ControlError):
            raise answer
        return answer

    assert link_._call(ask) == "done"
    answers[:] = [ControlError("no", code="refused"), "never"]
    with pytest.raises(Trouble, match="No"):
        link_._call(ask)
    monkeypatch.setattr(link, "START_S", 0.0)
    answers[:] = [ControlError("moved", code="moved"), "never"]
    with pytest.raises(Trouble, match="Moved"):
        link_._call(ask)


def test_the_daemon_of_the_socket_that_was_named_is_asked(hr: Hr, serve: Serve) -> None:
    """HERMES_ROUTER_SOCKET decides; no other place is looked at."""
    script = serve({"GET /v1/credentials": CREDENTIALS}, name="other")
    assert hr("auth", "list", env={"HERMES_ROUTER_SOCKET": str(script.path)}).exit_code == 0


def test_a_stale_socket_is_no_daemon(hr: Hr, home: Path) -> None:
    """A socket file that nobody answers is what a crash leaves."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(home / "s"))
    assert hr("status").exit_code == 4


def test_a_path_too_long_is_told(hr: Hr, home: Path) -> None:
    """The limit and the variable that helps are named."""
    done = hr("auth", "list", env={"HERMES_ROUTER_SOCKET": str(home / ("x" * 120))})
    what, step = done.stderr.splitlines()
    assert done.exit_code == 3
    assert "bytes" in what
    assert what.endswith("xxx.")
    assert step == "    Set HERMES_ROUTER_SOCKET to a shorter one."


def test_what_is_no_daemon_is_refused(hr: Hr, home: Path) -> None:
    """A file in the socket's place is named with exit 3; nothing is started on top of it."""
    (home / "s").write_text("hello")
    for command in ("status", "reload"):
        done = hr(command)
        assert done.exit_code == 3
        assert "is not a socket" in done.stderr


def test_a_closed_system_service_does_not_stop_work_on_own_files(
    home: Path, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first socket counts; a refusal of a later one is told only where a daemon is needed."""
    (home / "file").write_text("")
    monkeypatch.setattr(link, "candidates", lambda: (home / "none", home / "file"))
    assert link.find() is None
    with pytest.raises(Trouble) as caught:
        link.find(own_only=False)
    assert caught.value.exit_code == 3
    script = serve({}, name="second")
    monkeypatch.setattr(link, "candidates", lambda: (home / "none", script.path))
    found = link.find()
    assert found is not None
    assert found.path == script.path


def test_a_visit_that_went_away_between_two_calls_is_replaced(
    home: Path, serve: Serve, stand_in: Callable[[str], None]
) -> None:
    """Another `hr` ended its control-only daemon: a new one is started, and the call is made there."""
    stand_in(STAND_IN)
    used = link.Link(home / "gone", Client(home / "gone"), ping(run="control-only"))
    with click.Context(main):
        assert used.call("POST", "/v1/x", None, t.Done).said == []
        assert used.path == home / "s"
    _wait_for_end(home / "s")


def test_a_daemon_that_went_away_is_not_replaced(home: Path) -> None:
    """What a full daemon was asked is not asked of another."""
    used = link.Link(home / "gone", Client(home / "gone"), ping())
    with pytest.raises(Trouble) as caught:
        used.get("/v1/x", t.Done)
    assert caught.value.exit_code == 4


def _wait_for_end(path: Path) -> None:
    deadline = time.monotonic() + 5
    while path.exists() and time.monotonic() < deadline:
        os.sched_yield()
    assert not path.exists()
