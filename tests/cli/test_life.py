"""hermes_router/cli/life.py: start, stop, restart, and the words for each way in which that does not work."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from hermes_router import __version__
from hermes_router.control import types as t

from . import samples

HR = Path(sys.executable).with_name("hr")


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


class Person:
    """Somebody at a shell, with an installation of their own."""

    def __init__(self, home: Path) -> None:
        self.port = _free_port()
        self.env = {
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "PORT": str(self.port),
            "PROXY_API_KEYS": "sk-cli-life-0123456789",
            "HERMES_ROUTER_SOCKET": str(home / "c.sock"),
            "COLUMNS": "200",
        }
        self.home = home
        self.lock = home / ".local/state/hermes-router/daemon.lock"

    def hr(self, *words: str, **environ: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [HR, *words], env=self.env | environ, cwd=self.home, capture_output=True, text=True, check=False, timeout=60
        )

    def pid(self) -> int:
        return int(self.lock.read_text())

    def clean_up(self) -> None:
        try:
            os.kill(self.pid(), 0)
            self.hr("stop", "--now")
        except (OSError, ValueError):
            pass


@pytest.fixture
def person() -> Iterator[Person]:
    with tempfile.TemporaryDirectory(prefix="hr-") as scratch:
        made = Person(Path(scratch))
        yield made
        made.clean_up()


def _answers(port: int) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0


def test_start_restart_stop(person: Person) -> None:
    """Each returns when what it says is true, names what it did, and is harmless twice."""
    done = person.hr("start")
    assert (done.returncode, done.stderr) == (0, "")
    first = person.pid()
    assert f"http://localhost:{person.port}/v1 (pid {first})" in done.stdout
    assert str(person.lock.with_name("daemon.log")) in done.stdout
    assert "hr status" in done.stdout
    assert _answers(person.port)

    again = person.hr("start")
    assert again.returncode == 3
    assert f"runs already, pid {first}" in again.stderr

    renewed = person.hr("restart")
    assert (renewed.returncode, renewed.stderr) == (0, "")
    second = person.pid()
    assert second != first
    assert f"pid {first} to {second}" in renewed.stdout
    assert "not needed for a change" in renewed.stdout

    stopped = person.hr("stop")
    assert (stopped.returncode, stopped.stdout) == (0, f"Stopped (pid {second}).\n")
    assert not _answers(person.port)
    assert person.hr("stop").stdout == "No daemon is running.\n"


def test_restart_without_a_daemon_starts_one(person: Person) -> None:
    """Whoever says restart wants it to run."""
    done = person.hr("restart")
    assert done.returncode == 0
    assert "No daemon was running." in done.stdout
    assert f"(pid {person.pid()})" in done.stdout


@pytest.mark.parametrize(
    ("environ", "code", "said"),
    [({"PORT": "abc"}, 1, "PORT"), ({"HOST": "0.0.0.0", "PROXY_API_KEYS": "sk-router-1"}, 1, "HOST=0.0.0.0")],
)
def test_a_start_that_fails_says_why(person: Person, environ: dict[str, str], code: int, said: str) -> None:
    """The daemon's own sentence, and its exit code; nothing is left running."""
    done = person.hr("start", **environ)
    assert (done.returncode, done.stdout) == (code, "")
    assert said in done.stderr
    assert person.hr("stop").stdout == "No daemon is running.\n"


def test_a_start_points_out_what_was_left_out(person: Person) -> None:
    """The router runs; a value that cannot be read is told on the terminal, too, by its line."""
    config = person.home / ".config/hermes-router"
    config.mkdir(parents=True)
    (config / ".env").write_text("MIN_TIER=9\n")
    done = person.hr("start")
    assert done.returncode == 0
    assert done.stderr == "hr: ~/.config/hermes-router/.env:1: MIN_TIER must be from 1 to 5; it is skipped\n"


def test_a_start_and_a_restart_point_out_a_stray_env(person: Person) -> None:
    """One line on standard error for a .env with our names where the person stands, no value of it; it counts for nothing."""
    (person.home / ".env").write_text("DATABASE_URL=x\nMIN_TIER=2\nGROQ_API_KEY=gsk_secret\n")
    hint = (
        "hr: ~/.env: holds MIN_TIER, GROQ_API_KEY, but is not read: settings lie in ~/.config/hermes-router/.env; "
        "`hr start --env-file` names another\n"
    )
    assert person.hr("start").stderr == hint
    assert person.hr("restart").stderr == hint
    person.hr("stop", "--now")
    for command in (("start", "--env-file", ".env"), ("restart",)):
        assert "is not read" not in person.hr(*command).stderr  # it is the one in force


def test_a_broken_file_is_not_restarted_into(person: Person) -> None:
    """A new process would start without what the file no longer says: exit 3, and the old one goes on with it."""
    config = person.home / ".config/hermes-router"
    config.mkdir(parents=True)
    (config / "config.toml").write_text("min_tier = 2\n")
    person.hr("start")
    pid = person.pid()
    (config / "config.toml").write_text("min_tier = ")
    for command in ("reload", "restart"):
        done = person.hr(command)
        assert (done.returncode, done.stdout) == (3, ""), command
        assert "config.toml: is not TOML" in done.stderr, command
    assert person.pid() == pid
    assert person.hr("config", "get", "min_tier").stdout == "2\n"


def test_a_directory_open_to_others_is_told_in_two_sentences(person: Person) -> None:
    """`hr start` and a command that works on files say the same, with the daemon's exit code."""
    elsewhere = person.home / "open"
    elsewhere.mkdir()
    elsewhere.chmod(0o755)
    for command in (("start",), ("key", "list")):
        done = person.hr(*command, HERMES_ROUTER_SOCKET=str(elsewhere / "c.sock"))
        what, step = done.stderr.splitlines()
        assert done.returncode == 3, command
        assert what.endswith("is open to others (mode 0755)."), command
        assert step.startswith("    Run `chmod 0700"), command


def test_a_daemon_in_a_terminal_is_stopped_but_not_restarted(person: Person) -> None:
    """`hr restart` says where it runs and ends with 3; `hr stop` ends it."""
    with subprocess.Popen([HR, "serve"], env=person.env, cwd=person.home, stderr=subprocess.PIPE) as serve:
        assert serve.stderr is not None
        while b"daemon.ready" not in (line := serve.stderr.readline()):
            assert line
        done = person.hr("restart")
        assert done.returncode == 3
        assert f"in a terminal, pid {serve.pid}" in done.stderr
        assert person.hr("stop").returncode == 0
        serve.stderr.read()
        assert serve.wait(20) == 0


def test_stop_tells_that_it_waits_and_now_cuts(person: Person) -> None:
    """A request that does not end: `hr stop` says what it waits for; a second one with --now ends both."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        base = f"http://127.0.0.1:{silent.getsockname()[1]}/v1"
        person.hr("start", GROQ_BASE_URL=base, GROQ_API_KEY="gsk_0123456789abcdefghij")
        pid = person.pid()
        with socket.create_connection(("127.0.0.1", person.port)) as caller:
            body = b'{"model":"m","messages":[{"role":"user","content":"x"}]}'
            caller.sendall(
                b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer sk-cli-life-0123456789"
                b"\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body)
            )
            connection, _ = silent.accept()
            with connection, subprocess.Popen([HR, "stop"], env=person.env, stderr=subprocess.PIPE) as patient:
                assert patient.stderr is not None
                assert b"hr stop --now" in patient.stderr.readline()
                assert person.hr("stop", "--now").stdout == f"Stopped (pid {pid}).\n"
                assert patient.wait(20) == 0


# --- against a scripted daemon ------------------------------------------------------------------------


def _ping(**changes: Any) -> t.Ping:
    return msgspec.structs.replace(samples.ping(), **changes)


@pytest.mark.parametrize("run", ["systemd", "launchd"])
def test_what_a_manager_looks_after_is_stopped_by_it(
    serve: Callable[..., Any], hr: Callable[..., Any], run: str, home: Path
) -> None:
    """It would start it again: where it cannot be asked (exit 3), the daemon is not told to stop either."""
    script = serve({"GET /v1/ping": _ping(run=run)})
    done = hr("stop", env={"PATH": str(home)})
    assert done.exit_code == 3
    assert f"{run.capitalize()} looks after the router" in done.output
    assert script.asks("POST") == []


def test_a_restart_waits_for_another_instance(serve: Callable[..., Any], hr: Callable[..., Any]) -> None:
    """The version that went and the one that came are named; with another version nothing is reloaded first."""
    pings = [_ping(run="detached", version="0.0.9", instance=i, pid=p) for i, p in (("a", 1), ("a", 1))]

    def answer(_asked: Any) -> t.Ping:
        return pings.pop(0) if pings else _ping(run="detached", instance="b", pid=2, version=__version__)

    script = serve({"GET /v1/ping": answer, "POST /v1/restart": t.Done(said=["x"])})
    done = hr("restart")
    assert done.exit_code == 0, done.output
    assert f"pid 1 to 2, 0.0.9 to {__version__}" in done.output
    assert [one.path for one in script.asks("POST")] == ["/v1/restart"]


def test_a_restart_that_the_daemon_refuses(serve: Callable[..., Any], hr: Callable[..., Any]) -> None:
    """Its sentence, what to do, and its exit code."""
    problem = t.Problem(code="refused", message="PORT must be a number", next_step="repair that", exit_code=1)
    serve({"GET /v1/ping": _ping(run="detached"), "POST /v1/restart": problem})
    done = hr("restart")
    assert done.exit_code == 1
    assert "PORT must be a number" in done.output
    assert "epair that" in done.output


def test_a_changed_port_is_a_reason_to_restart(serve: Callable[..., Any], hr: Callable[..., Any]) -> None:
    """Nothing is said of a needless restart then."""
    instances = iter("aab")
    script = serve(
        {
            "GET /v1/ping": lambda _asked: _ping(run="detached", instance=next(instances), version=__version__),
            "POST /v1/reload": t.Reloaded(generation=2, needs_restart=["PORT"]),
            "POST /v1/restart": t.Done(),
        }
    )
    done = hr("restart")
    assert done.exit_code == 0, done.output
    assert "not needed" not in done.output
    assert [one.path for one in script.asks("POST")] == ["/v1/reload", "/v1/restart"]


def test_a_daemon_that_was_killed_is_not_running(person: Person) -> None:
    """A daemon killed in between is no riddle: `hr stop` says that none runs."""
    person.hr("start")
    os.kill(person.pid(), signal.SIGKILL)
    assert person.hr("stop").stdout == "No daemon is running.\n"
