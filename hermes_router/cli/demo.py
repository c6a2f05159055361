"""`hr demo`: the router on a sandbox of failing providers, shown at work.

Owns the show: it starts the sandbox and a daemon as a user would, asks one streamed question through the public port,
and tells who answered and who failed on the way. It must never use the owner's keys, files or providers.
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
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

DEFAULT_PORT = 8319
_START_S = 20.0
_QUESTION = "In about forty words: what does a lighthouse keeper do on a night when the lamp fails?"


@click.command()
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=DEFAULT_PORT,
    show_default=True,
    help="Where the router listens; 0 = any free port.",
)
@click.option("--once", is_flag=True, help="Stop after the first answer (for scripts).")
def demo(port: int, once: bool) -> None:
    """Show the router at work on fake providers: failures, failover, one whole answer."""
    for number in _heeded():
        signal.signal(number, _interrupt)  # whatever ends the demo, its processes end with it
    with tempfile.TemporaryDirectory(prefix="hr-demo-") as home:
        show = Show(Path(home), _free(port))
        try:
            show.start()
            show.ask(_QUESTION)
            show.explain()
            if not once:
                show.wait()
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
                show.stop()
    click.echo("\nThe demo is over; nothing of it remains.")


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


class _Later:
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


class Show:
    """One demonstration: two processes and what they say."""

    def __init__(self, home: Path, port: int) -> None:
        self._home = home
        self._port = port
        self._key = f"sk-demo-{secrets.token_hex(6)}"
        self._sandbox: subprocess.Popen[bytes] | None = None
        self._daemon: subprocess.Popen[bytes] | None = None
        self._log: deque[str] = deque(maxlen=1_000)
        self._fresh: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._reader: threading.Thread | None = None

    def start(self) -> None:
        """Start the sandbox, then the daemon on it."""
        click.echo("Starting fake providers …", nl=False)
        variables = self._start_sandbox()
        providers = sorted(name.removesuffix("_BASE_URL").lower() for name in variables if name.endswith("_BASE_URL"))
        click.echo(f" {', '.join(providers)}.")
        click.echo("Starting the router …", nl=False)
        environment = {name: os.environ[name] for name in ("PATH", "LANG", "TZ") if name in os.environ}
        environment |= {"HOME": str(self._home), "PORT": str(self._port), "PROXY_API_KEYS": self._key, **variables}
        with _Later():
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
        click.echo(f" listening on http://localhost:{self._port}.\n")

    def _start_sandbox(self) -> dict[str, str]:
        port_file = self._home / "sandbox.json"
        with _Later():
            self._sandbox = subprocess.Popen(  # noqa: S603 - our own interpreter
                [sys.executable, "-P", "-m", "hermes_router.sandbox", "--port-file", str(port_file)],
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
                time.sleep(0.02)
                continue
            return found
        raise click.ClickException("the sandbox did not start in time")

    def _await_health(self) -> None:
        deadline = time.monotonic() + _START_S
        while time.monotonic() < deadline:
            if self._daemon is not None and self._daemon.poll() is not None:
                raise click.ClickException("the router did not start:\n" + self._last_words())
            connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=1)
            try:
                connection.request("GET", "/health")
                if connection.getresponse().status == 200:
                    return
            except OSError:
                time.sleep(0.02)
            finally:
                connection.close()
        raise click.ClickException("the router did not start in time")

    def _listen(self) -> None:
        assert self._daemon is not None
        assert self._daemon.stderr is not None
        for line in self._daemon.stderr:
            text = line.decode(errors="replace").rstrip()
            self._log.append(text)
            self._fresh.put(text)

    def ask(self, question: str) -> None:
        """One streamed chat through the public port, shown as it comes."""
        click.echo(click.style("You: ", bold=True) + question)
        click.echo(click.style("Answer: ", bold=True), nl=False)
        body = {"model": "hermes-router", "stream": True, "messages": [{"role": "user", "content": question}]}
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=120)
        headers = {"Authorization": f"Bearer {self._key}", "Content-Type": "application/json"}
        connection.request("POST", "/v1/chat/completions", json.dumps(body), headers)
        response = connection.getresponse()
        if response.status != 200:
            raise click.ClickException(f"HTTP {response.status}: {response.read().decode(errors='replace')}")
        for text in _texts(response):
            click.echo(text, nl=False)
        click.echo("\n")
        target = response.headers.get("x-hermes-target")
        attempts = int(response.headers.get("x-hermes-attempts", "1"))
        request_id = response.headers.get("x-request-id", "")
        connection.close()
        self._trail(request_id, str(target), attempts)

    def _trail(self, request_id: str, target: str, attempts: int) -> None:
        """Who answered, and who failed on the way."""
        tried = _field(self._line_of(request_id), "attempts").split()
        for one in tried[:-1]:
            name, _, why = one.rpartition(":")
            click.echo(click.style("  failed    ", fg="red") + f"{name:<52} {why}")
        answered = tried[-1].rpartition(":")[0] if tried else target
        click.echo(click.style("  answered  ", fg="green") + answered)
        unseen = attempts - 1
        click.echo(f"  {unseen} failover{'s' if unseen != 1 else ''}, and the caller saw one clean stream.\n")

    def _line_of(self, request_id: str) -> str:
        deadline = time.monotonic() + 2
        while time.monotonic() < deadline:
            for line in reversed(tuple(self._log)):
                if "exchange.done" in line and request_id in line:
                    return line
            time.sleep(0.02)
        return ""

    def explain(self) -> None:
        """What to try next."""
        base = f"http://localhost:{self._port}/v1"
        said = '"messages":[{"role":"user","content":"Hello!"}]'
        asked = {
            "chat/completions": f'{{"model":"hermes-router",{said}}}',
            "messages": f'{{"model":"hermes-router","max_tokens":200,{said}}}',
            "responses": '{"model":"hermes-router","input":"Hello!"}',
        }
        click.echo(f"Base URL  {base}\nKey       {self._key}\nModel     hermes-router\n")
        click.echo("Try it:")
        for path, body in asked.items():
            click.echo(
                f"  curl -s {base}/{path} -H 'Authorization: Bearer {self._key}' \\\n"
                f"       -H 'Content-Type: application/json' -d '{body}'"
            )
        click.echo(f"  curl -s {base}/status -H 'Authorization: Bearer {self._key}'\n")

    def wait(self) -> None:
        """Serve until Ctrl-C, and show each exchange."""
        click.echo("Serving; Ctrl-C ends it.")
        while not self._fresh.empty():
            self._fresh.get()
        while self._daemon is not None and self._daemon.poll() is None:
            try:
                line = self._fresh.get(timeout=0.5)
            except queue.Empty:
                continue
            if "exchange.done" in line:
                click.echo(f"  {_field(line, 'outcome'):<12} {_field(line, 'attempts')}")
        raise click.ClickException("the router ended:\n" + self._last_words())

    def _last_words(self) -> str:
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


def _texts(response: http.client.HTTPResponse) -> Iterator[str]:
    """The visible text of a Chat stream."""
    for raw in response:
        line = raw.decode().rstrip()
        if not line.startswith("data: ") or line == "data: [DONE]":
            continue
        chunk: dict[str, Any] = json.loads(line[6:])
        if chunk.get("error"):
            raise click.ClickException(str(chunk["error"].get("message")))
        for choice in chunk.get("choices", []):
            text = choice["delta"].get("content")
            if text:
                yield text


def _field(line: str, name: str) -> str:
    """One field of a logfmt line."""
    _, found, rest = line.partition(f" {name}=")
    if not found:
        return ""
    if rest.startswith('"'):
        return rest[1:].partition('"')[0]
    return rest.partition(" ")[0]
