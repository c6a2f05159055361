"""What a demonstration plays on: fake providers and a router in a home of their own, of which nothing remains.

Owns both processes and the signals that end them. It starts them as a user would. It must never use the owner's keys,
files or providers.
"""

import errno
import http.client
import json
import os
import queue
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Final

import click

from hermes_router.control import types as t
from hermes_router.control.client import Client, quote
from hermes_router.control.places import SOCKET_VARIABLE
from hermes_router.core.errors import ControlError

_START_S: Final = 20.0
_TRAIL_S: Final = 2.0
_LOOK_S: Final = 0.02


def play(show: "Callable[[Stage], None]", port: int, cast: str) -> bool:
    """Set the stage with this cast, show, and clear it; also where a signal or an error ends the show.

    Returns whether the show came to its end: False = a signal ended it. Raises ClickException where the router does not
    answer.
    """
    ended = False
    for number in _heeded():
        signal.signal(number, _interrupt)  # whatever ends the demo, its processes end with it
    with tempfile.TemporaryDirectory(prefix="hr-demo-") as home:
        stage = Stage(Path(home), _free(port))
        try:
            stage.start(cast)
            show(stage)
            ended = True
        except KeyboardInterrupt:
            pass
        except (OSError, http.client.HTTPException) as error:
            if isinstance(error, BrokenPipeError):
                raise  # of our own output: click ends quietly
            raise click.ClickException(f"the router did not answer: {error}") from None
        finally:
            try:
                _ignore()
            finally:
                stage.stop()
    click.echo("\nThe demo is over; nothing of it remains.")
    return ended


def _heeded() -> list[signal.Signals]:
    """The signals that end the demo, without those that its parent had switched off (nohup)."""
    wanted = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    return [number for number in wanted if signal.getsignal(number) is not signal.SIG_IGN]


def _ignore() -> None:
    for number in _heeded():
        signal.signal(number, signal.SIG_IGN)


def _interrupt(_number: int, _frame: object) -> None:
    _ignore()  # a second Ctrl-C while the first is obeyed would leave processes behind
    raise KeyboardInterrupt


class Later:
    """Keeps those signals waiting while a process is made: one that came in between would lose sight of it."""

    def __enter__(self) -> None:
        self._came = False
        self._before = {number: signal.signal(number, self._note) for number in _heeded()}

    def _note(self, _number: int, _frame: object) -> None:
        self._came = True

    def __exit__(self, *_error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        if self._came:
            _interrupt(signal.SIGINT, None)


def _free(port: int) -> int:
    """`port` if it can be had on both loopback addresses, else any other, said aloud."""
    if port and _is_free(port):
        return port
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        found = int(other.getsockname()[1])
    if port:
        click.echo(f"Port {port} is taken; the demo listens on {found} instead.")
    return found


def _is_free(port: int) -> bool:
    for family, address in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
        try:
            with socket.socket(family) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind((address, port))
        except OSError as error:
            if family == socket.AF_INET or error.errno == errno.EADDRINUSE:
                return False  # else: a machine without IPv6
    return True


class Stage:
    """One demonstration: two processes and what they say.

    `port` and `key` are what a caller needs; `fresh` has the router's log, line by line, for whoever takes them.
    """

    def __init__(self, home: Path, port: int) -> None:
        self._home = home
        self._socket = home / "control.sock"
        self.port = port
        self.key = f"sk-demo-{secrets.token_hex(6)}"
        self._sandbox: subprocess.Popen[bytes] | None = None
        self._daemon: subprocess.Popen[bytes] | None = None
        self._log: deque[str] = deque(maxlen=1_000)
        self.fresh: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._reader: threading.Thread | None = None

    def start(self, cast: str) -> None:
        """Start the sandbox with a cast of its own, then the daemon on it."""
        click.echo("Starting fake providers …", nl=False)
        variables = self._start_sandbox(cast)
        providers = sorted(name.removesuffix("_BASE_URL").lower() for name in variables if name.endswith("_BASE_URL"))
        click.echo(f" {', '.join(providers)}.")
        click.echo("Starting the router …", nl=False)
        environment = {name: os.environ[name] for name in ("PATH", "LANG", "TZ") if name in os.environ}
        environment |= {
            "HOME": str(self._home),
            "PORT": str(self.port),
            "PROXY_API_KEYS": self.key,
            SOCKET_VARIABLE: str(self._socket),
            **variables,
        }
        with Later():
            self._daemon = subprocess.Popen(
                [sys.executable, "-P", "-m", "hermes_router.daemon"],
                env=environment,
                cwd=self._home,
                stdin=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
        self._reader = threading.Thread(target=self._listen, daemon=True)
        self._reader.start()
        self._await_health()
        click.echo(f" listening on http://localhost:{self.port}.\n")

    def _start_sandbox(self, cast: str) -> dict[str, str]:
        port_file = self._home / "sandbox.json"
        with Later():
            self._sandbox = subprocess.Popen(  # noqa: S603 - our own interpreter
                [sys.executable, "-P", "-m", "hermes_router.sandbox", "--cast", cast, "--port-file", str(port_file)],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                start_new_session=True,
            )
        deadline = time.monotonic() + _START_S
        while time.monotonic() < deadline:
            if self._sandbox.poll() is not None:
                raise click.ClickException("the sandbox did not start")
            try:
                found: dict[str, str] = json.loads(port_file.read_text())
            except (OSError, ValueError):
                time.sleep(_LOOK_S)
                continue
            return found
        raise click.ClickException("the sandbox did not start in time")

    def _await_health(self) -> None:
        deadline = time.monotonic() + _START_S
        while time.monotonic() < deadline:
            if self._daemon is not None and self._daemon.poll() is not None:
                raise click.ClickException("the router did not start:\n" + self.last_words())
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=1)
            try:
                connection.request("GET", "/health")
                if connection.getresponse().status == 200:
                    return
            except OSError:
                time.sleep(_LOOK_S)
            finally:
                connection.close()
        raise click.ClickException("the router did not start in time")

    def _listen(self) -> None:
        assert self._daemon is not None
        assert self._daemon.stderr is not None
        for line in self._daemon.stderr:
            text = line.decode(errors="replace").rstrip()
            self._log.append(text)
            self.fresh.put(text)

    @property
    def runs(self) -> bool:
        """Whether the router does."""
        return self._daemon is not None and self._daemon.poll() is None

    def line_of(self, request_id: str) -> str:
        """What the router's log says of an exchange that is over; empty where it says nothing."""
        deadline = time.monotonic() + _TRAIL_S
        while time.monotonic() < deadline:
            for line in reversed(tuple(self._log)):
                if "exchange.done" in line and request_id in line:
                    return line
            time.sleep(_LOOK_S)
        return ""

    def trail(self, request_id: str) -> t.Trail:
        """What `hr request` would know of an exchange. Raises ControlError where it is not known."""
        client, path = Client(self._socket), f"/v1/requests/{quote(request_id)}"
        deadline = time.monotonic() + _TRAIL_S
        while True:
            try:
                return client.call("GET", path, None, t.Trail)
            except ControlError:  # it is written down when all is over, a moment after the caller has heard the end
                if time.monotonic() >= deadline:
                    raise
            time.sleep(_LOOK_S)

    def last_words(self) -> str:
        """The end of the router's log."""
        return "\n".join(tuple(self._log)[-5:])

    def stop(self) -> None:
        """End both processes."""
        for process in (self._daemon, self._sandbox):
            if process is not None and process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for process in (self._daemon, self._sandbox):
            if process is None:
                continue
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if self._reader is not None and self._reader.is_alive():
            self._reader.join(2)
        if self._daemon is not None and self._daemon.stderr is not None:
            self._daemon.stderr.close()
        if self._sandbox is not None and self._sandbox.stdin is not None:
            self._sandbox.stdin.close()
