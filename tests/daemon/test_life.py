"""hermes_router/daemon/life.py: detached daemons as processes, from the start over handovers to the end."""

import asyncio
import contextlib
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

import hermes_router
from bench.restarts import Load, Trial
from hermes_router.control import types as t
from hermes_router.control.account_types import BeginLogin, Login
from hermes_router.control.client import Client
from hermes_router.core.errors import ControlError

DAEMON = (sys.executable, "-P", "-m", "hermes_router.daemon")
KEY = "sk-life-0123456789"
LIMIT_S = 20.0


def _until(found: Callable[[], Any]) -> Any:
    """What `found` returns once it is something; a process is waited for, not slept for."""
    end = time.monotonic() + LIMIT_S
    while time.monotonic() < end:
        value = found()
        if value:
            return value
        time.sleep(0.01)
    raise AssertionError("it never came")


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


class Provider:
    """A stream of one piece, and of a second one once `go` is set."""

    def __init__(self) -> None:
        self.go = threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["content-length"]))
                self.send_response(200)
                self.send_header("content-type", "text/event-stream")
                self.end_headers()
                with contextlib.suppress(OSError):
                    self.wfile.write(_frame("one "))
                    outer.go.wait(LIMIT_S)
                    self.wfile.write(_frame("two") + _frame(None, "stop") + b"data: [DONE]\n\n")

            def log_message(self, *args: object) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.base = f"http://127.0.0.1:{self._server.server_address[1]}/v1"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def stop(self) -> None:
        self.go.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _frame(text: str | None, finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": {"content": text} if text else {}, "finish_reason": finish}
    chunk = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}
    return b"data: " + json.dumps(chunk).encode() + b"\n\n"


class Home:
    """One installation, its daemons, and all that is ended with the test."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.port = _free_port()
        self.socket = path / "c.sock"
        self.env = {
            "PATH": os.environ["PATH"],
            "HOME": str(path),
            "PROXY_API_KEYS": KEY,
            "HERMES_ROUTER_SOCKET": str(self.socket),
        }
        self.pids: set[int] = set()
        self.processes: list[subprocess.Popen[bytes]] = []
        self.connections: list[http.client.HTTPConnection] = []
        self.config = path / ".config" / "hermes-router"
        self.config.mkdir(parents=True)
        self.settings(PORT=str(self.port))

    def settings(self, **values: str) -> None:
        (self.config / ".env").write_text("".join(f"{name}={value}\n" for name, value in values.items()))

    @property
    def state(self) -> Path:
        return self.path / ".local" / "state" / "hermes-router"

    def start(self, *flags: str) -> dict[str, Any]:
        """As `hr start` does it; returns what the daemon tells."""
        reader, writer = os.pipe()
        command = [*DAEMON, *(flags or ("--detached",)), "--tell", str(writer)]
        process = subprocess.Popen(command, env=self.env, pass_fds=(writer,), start_new_session=True)
        os.close(writer)
        self.pids.add(process.pid)
        with os.fdopen(reader) as pipe:
            told: dict[str, Any] = json.loads(pipe.read())
        self.processes.append(process)
        if not told["ready"]:
            process.wait(LIMIT_S)
        return told

    def client(self) -> Client:
        return Client(self.socket)

    def ping(self) -> t.Ping:
        found = self.client().ping()
        assert found is not None
        self.pids.add(found.pid)
        return found

    def restart(self) -> t.Ping:
        self.client().call("POST", "/v1/restart", t.Shutdown(), t.Done, timeout_s=60)
        return self.ping()

    def stop(self, drain_s: float = 0.0) -> None:
        self.client().call("POST", "/v1/shutdown", t.Shutdown(drain_s=drain_s), t.Done)

    def log(self) -> str:
        return (self.state / "daemon.log").read_text()

    def health(self) -> int:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=LIMIT_S)
        with contextlib.closing(connection):
            connection.request("GET", "/health")
            return connection.getresponse().status

    def stream(self) -> http.client.HTTPResponse:
        """A stream that has begun."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=LIMIT_S)
        self.connections.append(connection)
        body = json.dumps({"model": "m", "stream": True, "messages": [{"role": "user", "content": "hi"}]})
        connection.request("POST", "/v1/chat/completions", body, {"authorization": f"Bearer {KEY}"})
        response = connection.getresponse()
        while b"one " not in response.readline():
            pass
        return response

    def hang_up(self) -> None:
        """Callers go away."""
        for connection in self.connections:
            connection.close()

    def clean_up(self) -> None:
        self.hang_up()
        for pid in self.pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for process in self.processes:
            process.wait(LIMIT_S)


def _gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


@pytest.fixture
def home() -> Iterator[Home]:
    with tempfile.TemporaryDirectory(prefix="hr-") as scratch:
        made = Home(Path(scratch))
        yield made
        made.clean_up()


@pytest.fixture
def provider() -> Iterator[Provider]:
    made = Provider()
    yield made
    made.stop()


def test_three_restarts_under_load_lose_nothing(tmp_path: Path) -> None:
    """Kept and fresh connections and slow streams: refused 0, failed 0, cut 0, every record kept, no process left."""
    with tempfile.TemporaryDirectory(prefix="hr-") as scratch:
        tally = asyncio.run(Trial(Path(scratch), Load(keeping=3, fresh=2, streams=4, words=25)).run(3, 0.1))
    assert tally.clean, tally.report()
    assert tally.streams >= 4
    assert tally.left == 0


def test_a_detached_daemon_tells_where_it_is(home: Home) -> None:
    """Ready with pid, address and log; its own session, nothing of ours open, the log its owner's alone."""
    told = home.start()
    ping = home.ping()
    assert (told["pid"], told["port"], told["log"]) == (ping.pid, home.port, str(home.state / "daemon.log"))
    assert (ping.run, ping.url) == ("detached", f"http://localhost:{home.port}/v1")
    assert os.getsid(ping.pid) == ping.pid
    assert (home.state / "daemon.lock").read_text() == f"{ping.pid}\n"
    assert (home.state / "daemon.log").stat().st_mode & 0o777 == 0o600
    assert "event=daemon.ready" in home.log()
    assert home.health() == 200
    home.stop()
    _until(lambda: _gone(ping.pid))
    assert not home.socket.exists()
    assert (home.state / "daemon.lock").exists()


def test_of_two_starts_at_once_one_serves(home: Home) -> None:
    """The other says who does, and ends with 3."""
    told: list[dict[str, Any]] = []
    starts = [threading.Thread(target=lambda: told.append(home.start())) for _ in range(2)]
    for one in starts:
        one.start()
    for one in starts:
        one.join()
    ready, refused = sorted(told, key=lambda one: not one["ready"])
    assert ready["pid"] == home.ping().pid
    assert refused["code"] == 3
    assert f"already running, pid {ready['pid']}" in refused["said"][0]


def test_after_kill_9_a_start_needs_no_help(home: Home) -> None:
    """The lock is free, the stale socket is replaced."""
    first = home.start()
    os.kill(first["pid"], signal.SIGKILL)
    _until(lambda: _gone(first["pid"]))
    assert home.socket.exists()
    assert home.start()["ready"]
    assert home.ping().pid != first["pid"]


def test_a_bad_configuration_leaves_the_old_daemon_serving(home: Home) -> None:
    """PORT=abc is fatal: the restart says so with exit code 1, nothing else has changed, and mended it restarts."""
    home.start()
    before = home.ping()
    home.settings(PORT="abc")
    with pytest.raises(ControlError, match="PORT") as caught:
        home.restart()
    assert caught.value.exit_code == 1
    assert home.ping() == before
    assert home.health() == 200
    assert "event=daemon.not_handed_over" in home.log()
    home.settings(PORT=str(home.port), LOG_LEVEL="debug")
    after = home.restart()
    assert after.instance != before.instance
    assert after.pid != before.pid
    _until(lambda: _gone(before.pid))


def test_a_restart_takes_up_another_port(home: Home) -> None:
    """What no reload can change: the successor listens where the files say now."""
    home.start()
    home.ping()
    home.port = _free_port()
    home.settings(PORT=str(home.port))
    assert home.restart().port == home.port
    assert home.health() == 200


def test_a_stream_outlives_restarts_and_its_record_is_kept(home: Home, provider: Provider) -> None:
    """It ends whole in the process that began it, which then goes; the record is in the store of the last successor."""
    home.env |= {"GROQ_BASE_URL": provider.base, "GROQ_API_KEY": "gsk_0123456789abcdefghij"}
    home.start()
    first = home.ping()
    response = home.stream()
    second = home.restart()
    third = home.restart()
    assert len({first.pid, second.pid, third.pid}) == 3
    assert not _gone(first.pid)
    provider.go.set()
    rest = response.read().decode()
    assert "two" in rest
    assert rest.rstrip().endswith("[DONE]")
    request_id = str(response.headers["x-request-id"])
    response.close()
    home.hang_up()
    _until(lambda: _gone(first.pid) and _gone(second.pid))
    trail = home.client().call("GET", f"/v1/requests/{request_id}", None, t.Trail)
    assert trail.outcome == "answered"


def test_an_upgrade_under_it_disturbs_neither_who_drains_nor_who_serves(home: Home, provider: Provider) -> None:
    """All files of the program replaced by torn ones: nothing is imported any more, and a restart is refused whole."""
    package = Path(hermes_router.__file__).parent
    copy = home.path / "site" / package.name
    shutil.copytree(package, copy, ignore=shutil.ignore_patterns("__pycache__"))
    home.env |= {"PYTHONPATH": str(copy.parent), "GROQ_BASE_URL": provider.base, "GROQ_API_KEY": "gsk_0123456789abcdef"}
    home.start()
    draining = home.restart()
    response = home.stream()
    serving = home.restart()
    for path in copy.rglob("*.py"):
        path.write_text("raise RuntimeError('torn')\n")
    for path in [*copy.rglob("*.pyc"), *copy.rglob("*.toml")]:
        path.unlink()
    provider.go.set()
    assert response.read().decode().rstrip().endswith("[DONE]")
    response.close()
    home.hang_up()
    _until(lambda: _gone(draining.pid))
    client = home.client()
    assert client.call("PATCH", "/v1/config", t.ChangeConfig(changes={"MIN_TIER": "2"}), t.Changed).rows
    client.call("POST", "/v1/reload", None, t.Reloaded)
    client.call("GET", "/v1/status", None, t.Status)
    asked = BeginLogin(provider="codex", way="browser")
    assert client.call("POST", "/v1/accounts/login", asked, Login).state == "waiting"
    with pytest.raises(ControlError, match="torn") as caught:
        home.restart()
    assert "serves on as before" in caught.value.next_step
    assert home.ping() == serving
    assert home.health() == 200
    log = home.log()
    assert "Traceback" not in log
    assert "ImportError" not in log
    assert log.count("torn") == 1  # what the restart was refused with


def test_a_stop_reaches_what_a_predecessor_still_serves(home: Home, provider: Provider) -> None:
    """`hr stop --now` after a restart leaves no process behind, whatever was under way."""
    home.env |= {"GROQ_BASE_URL": provider.base, "GROQ_API_KEY": "gsk_0123456789abcdefghij"}
    home.start()
    first = home.ping()
    response = home.stream()
    second = home.restart()
    home.stop(0.0)
    _until(lambda: _gone(first.pid) and _gone(second.pid))
    response.close()


def test_a_kept_connection_is_served_and_then_closed(home: Home) -> None:
    """A request on a connection of the predecessor is answered, with `connection: close`; a new one is the successor's."""
    home.start()
    first = home.ping()
    connection = http.client.HTTPConnection("127.0.0.1", home.port, timeout=LIMIT_S)
    for expected in (None, "close"):
        connection.request("GET", "/v1/models", headers={"authorization": f"Bearer {KEY}"})
        response = connection.getresponse()
        response.read()
        assert response.status == 200
        assert response.headers["connection"] == expected
        if expected is None:
            home.restart()
    connection.close()
    _until(lambda: _gone(first.pid))
    assert home.health() == 200


def test_sigusr2_hands_over(home: Home) -> None:
    """As a service manager would ask for it."""
    home.start()
    before = home.ping()
    os.kill(before.pid, signal.SIGUSR2)
    _until(lambda: home.ping().instance != before.instance)
    _until(lambda: _gone(before.pid))


def test_a_stop_in_the_middle_of_a_restart_is_said(home: Home) -> None:
    """Whoever asked for the restart is answered: stopped, exit code 3; no process is left."""
    home.start()
    before = home.ping()
    said: list[ControlError] = []

    def restart() -> None:
        with pytest.raises(ControlError) as caught:
            home.restart()
        said.append(caught.value)

    asking = threading.Thread(target=restart)
    asking.start()
    _until(lambda: "event=daemon.handing_over" in home.log())
    os.kill(before.pid, signal.SIGTERM)
    asking.join(LIMIT_S)
    assert (said[0].code, said[0].exit_code) == ("stopping", 3)
    _until(lambda: _gone(before.pid))
    assert not home.socket.exists()


def test_a_change_during_a_restart_is_made_by_the_successor(home: Home) -> None:
    """The predecessor says that it has not begun, whatever was waiting; nothing is left unknown, nothing is lost."""
    home.start()
    before = home.ping()
    asking = threading.Thread(target=home.restart)
    asking.start()
    _until(lambda: "event=daemon.handing_over" in home.log())
    change = t.ChangeConfig(changes={"STALL_SECONDS": "17"})
    with pytest.raises(ControlError) as caught:
        home.client().call("PATCH", "/v1/config", change, t.Changed, timeout_s=30)
    assert caught.value.code == "moved"
    asking.join(LIMIT_S)
    home.client().call("PATCH", "/v1/config", change, t.Changed)
    assert home.ping().instance != before.instance
    rows = home.client().call("GET", "/v1/config", None, t.Config).rows
    assert [row.value for row in rows if row.name == "STALL_SECONDS"] == ["17"]


def test_a_state_directory_that_others_could_enter_is_closed(home: Home) -> None:
    """The control socket stands in it: 0700 and a word in the log, as with the directory of secrets."""
    home.state.mkdir(parents=True)
    home.state.chmod(0o777)
    assert home.start()["ready"]
    assert home.state.stat().st_mode & 0o777 == 0o700
    assert "was open to others (mode 0777)" in home.log()


def test_a_control_socket_that_was_removed_is_made_again(home: Home) -> None:
    """Else the daemon could not be stopped or restarted. What stands in its place is not touched; it moves with it."""
    home.start()
    before = home.ping()
    home.socket.unlink()
    _until(home.socket.exists)
    _until(home.client().ping)
    assert home.ping() == before
    after = home.restart()
    assert after.instance != before.instance
    home.socket.unlink()
    home.socket.write_text("of somebody")
    assert home.health() == 200
    home.socket.unlink()
    _until(home.client().ping)
    assert home.ping() == after
    home.stop()
    _until(lambda: _gone(after.pid))
    assert not home.socket.exists()


def test_a_daemon_in_a_terminal_is_not_restarted(home: Home) -> None:
    """Its shell waits for this very process: exit code 3, and where it runs."""
    home.start("--env-file", str(home.config / ".env"))
    before = home.ping()
    with pytest.raises(ControlError, match=f"in a terminal, pid {before.pid}") as caught:
        home.restart()
    assert caught.value.exit_code == 3
    assert home.ping() == before


def test_a_control_only_daemon_ends_with_whoever_started_it(home: Home) -> None:
    """It has no public port, answers on the socket, gives way to a real daemon, and ends when its input closes."""
    with subprocess.Popen([*DAEMON, "--control-only"], env=home.env, stdin=subprocess.PIPE) as visit:
        _until(lambda: home.socket.exists() and home.client().ping())
        ping = home.ping()
        assert (ping.run, ping.port, ping.pid) == ("control-only", 0, visit.pid)
        with pytest.raises(OSError):
            home.health()
        with pytest.raises(ControlError) as caught:
            home.restart()
        assert caught.value.exit_code == 3
        assert visit.stdin is not None
        visit.stdin.close()
        assert visit.wait(LIMIT_S) == 0
    assert not home.socket.exists()
    with subprocess.Popen([*DAEMON, "--control-only"], env=home.env, stdin=subprocess.PIPE) as visit:
        _until(lambda: home.socket.exists() and home.client().ping())
        assert home.start()["ready"]
        assert visit.wait(LIMIT_S) == 0
        assert home.ping().run == "detached"


@pytest.mark.parametrize("wrong", ["PROXY_API_KEYS=", "PROXY_API_KEYS=\nHOST=0.0.0.0"])
def test_whom_nobody_could_call_is_mended_by_a_key(home: Home, wrong: str) -> None:
    """No start without any router key, with the cure; a control-only daemon starts all the same, and carries it out."""
    del home.env["PROXY_API_KEYS"]
    home.config.mkdir(parents=True, exist_ok=True)
    (home.config / ".env").write_text(wrong)
    refused = home.start()
    assert (refused["ready"], "`hr key add NAME`" in refused["said"][0]) == (False, True)
    with subprocess.Popen([*DAEMON, "--control-only"], env=home.env, stdin=subprocess.PIPE) as visit:
        _until(lambda: home.socket.exists() and home.client().ping())
        assert home.client().call("POST", "/v1/keys", t.AddKey(name="one"), t.AddedKey).said == []
        assert visit.stdin is not None
        visit.stdin.close()
        assert visit.wait(LIMIT_S) == 0
    assert home.start()["ready"]


def test_without_a_place_for_its_lock_it_serves_all_the_same(home: Home) -> None:
    """A read-only disk: no control socket, a word in the log, and callers are answered. Detached, it is refused."""
    home.state.parent.mkdir(parents=True)
    home.state.write_text("a file where the directory should be")
    refused = home.start()
    assert not refused["ready"]
    assert "daemon.lock" in refused["said"][0]
    with subprocess.Popen(DAEMON, env=home.env, stderr=subprocess.PIPE) as daemon:
        assert daemon.stderr is not None
        seen = b""
        while b"daemon.ready" not in seen:
            line = daemon.stderr.readline()
            assert line, seen
            seen += line
        assert b"runs without control socket" in seen
        assert home.health() == 200
        daemon.send_signal(signal.SIGHUP)
        while b"config.not_reloaded" not in seen:  # it says so, rather than do nothing
            line = daemon.stderr.readline()
            assert line, seen
            seen += line
        daemon.send_signal(signal.SIGTERM)
        daemon.stderr.read()
        assert daemon.wait(LIMIT_S) == 0
