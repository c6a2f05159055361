"""hermes_router/daemon/__main__.py: the process as a service manager and a person at a terminal meet it."""

import contextlib
import http.client
import json
import os
import re
import select
import signal
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

KEY = "sk-router-CANARY-0001"
GROQ_KEYS = ["groq-CANARY-0002-abcdefghijkl", "gsk_CANARY0003abcdefghijkl"]
COMMAND = (sys.executable, "-P", "-m", "hermes_router.daemon")
ASK = {"model": "hermes-router", "messages": [{"role": "user", "content": "PROMPT-CANARY-0004"}]}


class Upstream:
    """A provider on loopback in this process. `mode` says what it answers; streams wait for `go` after one piece."""

    def __init__(self) -> None:
        self.mode: Callable[[Any, bytes], None] = self.stream
        self.go = threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                with contextlib.suppress(OSError):
                    outer.mode(self, body)

            def log_message(self, *args: object) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.base = f"http://127.0.0.1:{self._server.server_address[1]}/v1"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def stream(self, handler: Any, _body: bytes) -> None:
        handler.send_response(200)
        handler.send_header("content-type", "text/event-stream")
        handler.send_header("connection", "close")
        handler.end_headers()
        handler.wfile.write(_frame("one "))
        self.go.wait(20)
        handler.wfile.write(_frame("two") + _frame(None, "stop") + b"data: [DONE]\n\n")
        handler.close_connection = True

    def leak(self, handler: Any, body: bytes) -> None:
        """Refuse, and repeat all that was sent, as a careless proxy does."""
        sent = handler.headers["authorization"]
        said = {
            "error": {"message": "x" * 150 + f" {sent} {sent.removeprefix('Bearer ')} {body.decode()}", "type": "t"}
        }
        data = json.dumps(said).encode()
        handler.send_response((500, 400, 401, 429)[len(sent) % 4])
        handler.send_header("content-length", str(len(data)))
        handler.send_header("x-echo", sent)
        handler.end_headers()
        handler.wfile.write(data)

    def stop(self) -> None:
        self.go.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _frame(text: str | None, finish: str | None = None) -> bytes:
    delta = {"content": text} if text else {}
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    chunk = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}
    return b"data: " + json.dumps(chunk).encode() + b"\n\n"


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


class Running:
    """A daemon as a process of its own. Its log is read as it comes."""

    def __init__(self, home: Path, environ: dict[str, str], argv: Sequence[str] = COMMAND, **popen: Any) -> None:
        self.port = int(environ["PORT"]) if environ["PORT"].isdecimal() else 0
        self.process = subprocess.Popen(
            argv,
            env={"PATH": os.environ["PATH"], "HOME": str(home), **environ},
            cwd=home,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            **popen,
        )
        self.seen = b""

    def until(self, text: str) -> str:
        """Read the log until `text` is in it."""
        assert self.process.stderr is not None
        number = self.process.stderr.fileno()
        while text.encode() not in self.seen:
            ready, _, _ = select.select([number], [], [], 20)
            data = os.read(number, 65536) if ready else b""
            assert data, f"{text!r} never came: {self.seen.decode()}"
            self.seen += data
        return self.seen.decode()

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)

    def up(self) -> None:
        """Wait until it answers, without its log."""
        for _ in range(2000):
            assert self.process.poll() is None
            connection = self.connect()
            try:
                connection.request("GET", "/health")
                connection.getresponse().read()
            except OSError:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self.process.wait(0.01)
            else:
                return
            finally:
                connection.close()
        raise AssertionError("it never came up")

    def ask(self, method: str, path: str, body: Any = None, key: str = KEY) -> tuple[int, str]:
        connection = self.connect()
        data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        connection.request(method, path, data, {"Authorization": f"Bearer {key}"})
        response = connection.getresponse()
        found = response.status, str(response.headers) + response.read().decode()
        connection.close()
        return found

    def end(self, number: int = signal.SIGTERM) -> int:
        """Signal it, and read what is left."""
        self.process.send_signal(number)
        out, err = self.process.communicate(timeout=20)
        self.seen += (out or b"") + (err or b"")
        return self.process.returncode


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    made = Upstream()
    yield made
    made.stop()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Running]]:
    running: list[Running] = []

    def started(*, argv: Sequence[str] = COMMAND, umask: int = 0o022, **environ: str) -> Running:
        default = {"PORT": str(_free_port()), "PROXY_API_KEYS": KEY}
        running.append(Running(tmp_path, {**default, **environ}, argv, umask=umask))
        return running[-1]

    yield started
    for one in running:
        if one.process.poll() is None:
            one.process.kill()
        one.process.wait()
        for stream in (one.process.stdout, one.process.stderr):
            if stream is not None:
                stream.close()


@pytest.mark.parametrize(
    ("environ", "said"),
    [
        ({"HOST": "0.0.0.0", "PROXY_API_KEYS": "sk-router-1"}, ["PROXY_API_KEYS", "HOST=0.0.0.0"]),
        ({"PORT": "many"}, ["PORT"]),
        ({"HOST": "192.0.2.77"}, ["HOST=192.0.2.77", "no address of this machine"]),
    ],
)
def test_a_configuration_that_is_dangerous_or_deaf_is_refused(
    start: Callable[..., Running], environ: dict[str, str], said: list[str]
) -> None:
    """Exit code 1 and one sentence on standard error that names the setting; no traceback."""
    daemon = start(**environ)
    out, err = daemon.process.communicate(timeout=20)
    assert daemon.process.returncode == 1
    assert out == b""
    (line,) = err.decode().splitlines()
    assert line.startswith("hr: ")
    assert all(word in line for word in said)


def test_a_taken_port_is_named(start: Callable[..., Running]) -> None:
    """Exit code 1, what is taken and what to do, also where the log is a file."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        daemon = start(PORT=str(port), LOG_FILE="~/hr.log")
        _, err = daemon.process.communicate(timeout=20)
    assert daemon.process.returncode == 1
    (line,) = err.decode().splitlines()
    assert f"port {port} is taken" in line
    assert "set PORT" in line


def test_broken_lines_are_named_and_skipped(start: Callable[..., Running], tmp_path: Path) -> None:
    """Zero usable keys and broken files: it starts, names file and line, says that it is empty, and serves status."""
    config = tmp_path / ".config" / "hermes-router"
    config.mkdir(parents=True)
    (config / ".env").write_text("GROQ_MODEL=x\nthis is SECRET-LINE no setting\nLOG_LEVEL=loud\n")
    (config / "providers.toml").write_text("[providers.mine]\ntitle = 5\n")
    daemon = start()
    log = daemon.until("pool.empty")
    assert f"{config / '.env'}:2" in log
    assert f"{config / '.env'}:3" in log
    assert "providers.toml" in log
    assert log.count("config.skipped") >= 3
    assert "SECRET-LINE" not in log
    assert daemon.ask("POST", "/v1/chat/completions", ASK)[0] == 503
    status, text = daemon.ask("GET", "/v1/status")
    assert (status, '"targets":[]' in text) == (200, True)
    assert daemon.end() == 0
    assert b"daemon.stopped" in daemon.seen


def test_files_and_directories_are_the_owners_alone(start: Callable[..., Running], tmp_path: Path) -> None:
    """Whatever the daemon makes is 0600, or 0700 for a directory, whatever the umask was; LOG_FILE gets the log."""
    daemon = start(umask=0, LOG_FILE=str(tmp_path / "hr.log"))
    daemon.up()
    assert daemon.end(signal.SIGINT) == 0
    made = {path: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.rglob("*")}
    ours = {path for path in made if "hermes-router" in str(path.relative_to(tmp_path)) or path.name == "hr.log"}
    assert any(path.name == "credential.key" for path in ours)
    assert {path.name: oct(made[path]) for path in ours if path.is_file() and made[path] != 0o600} == {}
    assert {path.name: oct(made[path]) for path in ours if path.is_dir() and made[path] != 0o700} == {}
    assert "event=daemon.ready" in (tmp_path / "hr.log").read_text()
    assert daemon.seen == b""


def test_a_log_file_that_cannot_be_is_skipped(start: Callable[..., Running]) -> None:
    """An impossible LOG_FILE is named, and the log goes to standard error; PORT=0 takes a free port and names it."""
    daemon = start(LOG_FILE="/nowhere/at/all.log", PORT="0")
    log = daemon.until("targets=")
    assert re.search(r"event=daemon.ready .* port=[1-9]\d+ hosts=", log)
    assert "config.skipped" in log
    assert "LOG_FILE=/nowhere/at/all.log" in log


def _begin_stream(daemon: Running, upstream: Upstream) -> http.client.HTTPResponse:
    connection = daemon.connect()
    body = json.dumps({**ASK, "stream": True})
    connection.request("POST", "/v1/chat/completions", body, {"Authorization": f"Bearer {KEY}", "Connection": "close"})
    response = connection.getresponse()
    while b"one " not in response.readline():
        pass
    return response


def test_sigterm_drains(start: Callable[..., Running], upstream: Upstream) -> None:
    """A stream that runs when the stop comes ends whole; nobody new is let in; the exit code is 0."""
    daemon = start(GROQ_BASE_URL=upstream.base, GROQ_API_KEY=GROQ_KEYS[0])
    daemon.up()
    response = _begin_stream(daemon, upstream)
    daemon.process.send_signal(signal.SIGTERM)
    daemon.until("daemon.stopping")
    for _ in range(1000):
        with socket.socket() as sock:
            if sock.connect_ex(("127.0.0.1", daemon.port)):
                break
    else:
        pytest.fail("it still accepts")
    upstream.go.set()
    rest = response.read().decode()
    assert "two" in rest
    assert rest.rstrip().endswith("[DONE]")
    response.close()
    assert daemon.process.wait(20) == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_at_once(start: Callable[..., Running], upstream: Upstream, number: int) -> None:
    """Who asks twice is not kept waiting for streams."""
    daemon = start(GROQ_BASE_URL=upstream.base, GROQ_API_KEY=GROQ_KEYS[0])
    daemon.up()
    response = _begin_stream(daemon, upstream)
    daemon.process.send_signal(number)
    daemon.until("daemon.stopping")
    while daemon.process.poll() is None:  # what comes in the same moment is the same signal
        daemon.process.send_signal(number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            daemon.process.wait(0.05)
    assert daemon.process.wait(5) == 128 + number
    response.close()


def test_a_signal_that_comes_twice_at_once_is_one(start: Callable[..., Running], upstream: Upstream) -> None:
    """Ctrl-C reaches a daemon from the terminal and from the wrapper that runs it: what is under way ends whole."""
    daemon = start(GROQ_BASE_URL=upstream.base, GROQ_API_KEY=GROQ_KEYS[0])
    daemon.up()
    response = _begin_stream(daemon, upstream)
    daemon.process.send_signal(signal.SIGINT)
    daemon.until("daemon.stopping")
    daemon.process.send_signal(signal.SIGINT)
    upstream.go.set()
    assert response.read().decode().rstrip().endswith("[DONE]")
    response.close()
    assert daemon.process.wait(20) == 0


def test_ll13_secrets_appear_nowhere(start: Callable[..., Running], upstream: Upstream) -> None:
    """With LOG_LEVEL=debug and providers that repeat what they got, no key and no prompt is in log, answers or status."""
    upstream.mode = upstream.leak
    daemon = start(
        LOG_LEVEL="debug",
        GROQ_BASE_URL=upstream.base,
        GROQ_API_KEYS=",".join(GROQ_KEYS),
        MISTRAL_BASE_URL=upstream.base,
        MISTRAL_API_KEY="mistral-CANARY-0005-xyz",
        GEMINI_BASE_URL=upstream.base,
        GEMINI_API_KEY="AIzaCANARY0006abcdefgh",
        HTTPS_PROXY="http://me:CANARY-0007-password@127.0.0.1:1",
        OPENROUTER_API_KEY="bad key CANARY-0008 with spaces",
    )
    daemon.until("daemon.ready")
    answers = [
        daemon.ask("POST", "/v1/chat/completions", {**ASK, "stream": streaming, "model": model})
        for streaming in (False, True)
        for model in ("hermes-router", "groq/openai/gpt-oss-20b", "CANARY-ish")
    ]
    answers += [
        daemon.ask("POST", "/v1/chat/completions", b'{"messages": "PROMPT-CANARY-0004'),
        daemon.ask(
            "POST", "/v1/chat/completions", {**ASK, "messages": [{"role": "CANARY-0009"}]}, key="wrong-CANARY-0010"
        ),
        daemon.ask("GET", f"/v1/models?key={KEY}"),
        daemon.ask("GET", f"/nowhere?key={KEY}"),
        daemon.ask("GET", "/v1/status"),
    ]
    assert daemon.end() == 0
    log = daemon.seen.decode()
    assert log.count("attempt.failed") > 5
    shown = log + "".join(text for _, text in answers)
    # Prompts may come back to the one who sent them; the log never has them.
    secrets = [KEY, *GROQ_KEYS, "mistral-CANARY", "AIzaCANARY", "CANARY-0007", "CANARY-0008", "CANARY-0010"]
    assert {secret for secret in secrets if secret in shown} == set()
    assert "CANARY" not in log.replace("CANARY-ish", "")


def test_closed_standard_streams_are_no_reason_to_stop(start: Callable[..., Running]) -> None:
    """Started without 0, 1 and 2 it serves, and none of its sockets becomes somebody's standard error."""
    closed = ["/bin/sh", "-c", f'exec "{sys.executable}" -P -m hermes_router.daemon <&- >&- 2>&-']
    daemon = start(argv=closed)
    daemon.up()
    assert daemon.ask("GET", "/v1/models")[0] == 200
    for number in range(3 if os.geteuid() == 0 else 0):  # it is not dumpable, so only root sees its descriptors
        assert Path(f"/proc/{daemon.process.pid}/fd/{number}").readlink() == Path("/dev/null")
    assert daemon.end() == 0


def test_a_reader_that_is_gone_or_asleep_is_no_reason_to_stop(start: Callable[..., Running], tmp_path: Path) -> None:
    """A closed pipe and a full one cost log lines, not requests."""
    env = {"RUNAWAY_GUARD": "off"}  # it is one request 600 times
    gone, asleep = start(**env), start(XDG_STATE_HOME=str(tmp_path / "other"), **env)
    for daemon in (gone, asleep):
        daemon.until("daemon.ready")
    assert gone.process.stderr is not None
    gone.process.stderr.close()
    assert asleep.process.stderr is not None
    for daemon in (gone, asleep):
        connection = daemon.connect()
        for _ in range(600):  # more lines than a pipe of 64 KiB holds
            body = json.dumps({**ASK, "model": "x"})
            connection.request("POST", "/v1/chat/completions", body, {"Authorization": f"Bearer {KEY}"})
            response = connection.getresponse()
            response.read()
            assert response.status == 503
        connection.close()
        daemon.process.send_signal(signal.SIGTERM)
        assert daemon.process.wait(20) == 0
