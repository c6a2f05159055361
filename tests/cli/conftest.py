"""A scripted control server on a Unix socket, and `hr` run against it in this process."""

import http.server
import json
import os
import queue
import shutil
import socketserver
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner, Result

from hermes_router import __version__
from hermes_router.cli.main import main
from hermes_router.control import types as t

from . import samples

Hr = Callable[..., Result]


@dataclass
class Asked:
    """One request as it came in; `path` holds the query, too."""

    method: str
    path: str
    body: Any
    headers: dict[str, str]


@dataclass
class Script:
    """What the fake daemon answers: `answers["GET /v1/status"]` is a value, a Problem, or a function of the request."""

    path: Path
    answers: dict[str, Any] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)
    api: int = t.API
    events: queue.SimpleQueue[bytes] = field(default_factory=queue.SimpleQueue)
    stop: threading.Event = field(default_factory=threading.Event)

    def asks(self, method: str) -> list[Asked]:
        """The requests of one method, but for the ping."""
        return [one for one in self.asked if one.method == method and one.path != "/v1/ping"]


class _Handler(http.server.BaseHTTPRequestHandler):
    script: Script

    def handle_one(self) -> None:
        length = int(self.headers.get("content-length") or 0)
        data = self.rfile.read(length)
        self.script.asked.append(Asked(self.command, self.path, json.loads(data) if data else None, dict(self.headers)))
        if self.path.startswith("/v1/events"):
            self._stream()
            return
        answer = self.script.answers.get(f"{self.command} {self.path}")
        if answer is None and self.path == "/v1/ping":
            answer = samples.ping()
        if callable(answer):
            answer = answer(self.script.asked[-1])
        if answer is None:
            answer = t.Problem(code="unknown_route", message=f"no route {self.command} {self.path}")
        code = 200
        if isinstance(answer, t.Problem):
            code = {2: 400, 3: 409, 4: 404}.get(answer.exit_code, 500)
        self._head(code, "application/json")
        body = msgspec.json.encode(answer)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = do_PATCH = do_DELETE = handle_one  # noqa: N815 - the library calls them so

    def _head(self, code: int, kind: str) -> None:
        self.send_response(code)
        self.send_header("content-type", kind)
        self.send_header(t.VERSION_HEADER, __version__)
        self.send_header(t.API_HEADER, str(self.script.api))

    def _stream(self) -> None:
        self._head(200, "text/event-stream")
        self.end_headers()
        while not self.script.stop.is_set():
            with suppress(queue.Empty):
                self.wfile.write(self.script.events.get(timeout=0.05))

    def log_message(self, *_args: Any) -> None:
        """Say nothing."""


class _Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True
    block_on_close = False

    def get_request(self) -> tuple[Any, Any]:
        request, _ = super().get_request()
        return request, ("unix", 0)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no event."""


@pytest.fixture
def home() -> Iterator[Path]:
    """A short directory: a socket's path has 107 bytes at most."""
    path = Path(tempfile.mkdtemp(prefix="hr-"))
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def serve(home: Path) -> Iterator[Callable[..., Script]]:
    """Start a fake daemon with these answers (name of the route: value)."""
    running: list[tuple[_Server, Script]] = []

    def started(answers: dict[str, Any] | None = None, *, name: str = "s") -> Script:
        script = Script(home / name, dict(answers or {}))
        handler = type("Handler", (_Handler,), {"script": script})
        server = _Server(str(script.path), handler)
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        running.append((server, script))
        return script

    yield started
    for server, script in running:
        script.stop.set()
        server.shutdown()
        server.server_close()


@pytest.fixture
def hr(home: Path, monkeypatch: pytest.MonkeyPatch) -> Hr:
    """Run `hr` here, its clock at the samples' NOW, as in a pipe unless `columns` say how wide the terminal is."""
    monkeypatch.setattr(time, "time", lambda: samples.NOW)

    def run(*arguments: str, columns: int | None = None, env: dict[str, str] | None = None, **more: Any) -> Result:
        environ = {
            "HOME": str(home), "HERMES_ROUTER_SOCKET": str(home / "s"), "NO_COLOR": "", "TERM": "xterm",
            "COLUMNS": "" if columns is None else str(columns), "PATH": os.environ["PATH"], **(env or {}),
        }  # fmt: skip
        return CliRunner().invoke(main, list(arguments), env=environ, **more)

    return run
