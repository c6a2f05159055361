"""A scripted upstream on loopback, a sink that writes down what it hears, and both event loops."""

import asyncio
import shutil
import socket
import ssl
import struct
import subprocess
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import pytest
import uvloop

from hermes_router.core.errors import UpstreamError

CLOSE, RESET, HANG = "close", "reset", "hang"


class Upstream:
    """Answers the n-th request, over all connections, with the n-th turn: bytes and one of CLOSE, RESET, HANG.

    After bytes alone the connection stays open for the next request. `requests` holds what came, head and body.
    """

    def __init__(self, *turns: Any) -> None:
        self.turns = [turn if isinstance(turn, tuple) else (turn,) for turn in turns]
        self.requests: list[bytes] = []
        self.connections = 0
        self.gone = asyncio.Queue()  # one entry for each connection that ended
        self.asked = asyncio.Queue()
        self.port = 0

    async def start(self, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None) -> "Upstream":
        self._server = await asyncio.start_server(self._serve, host, 0, ssl=tls)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    def url(self, path: str = "/v1/x", scheme: str = "http", host: str = "127.0.0.1") -> str:
        return f"{scheme}://{host}:{self.port}{path}"

    async def stop(self) -> None:
        self._server.close()
        for _ in range(self.connections):
            await asyncio.wait_for(self.gone.get(), 5)
        await self._server.wait_closed()

    async def _request(self, reader: asyncio.StreamReader) -> bytes:
        head = await reader.readuntil(b"\r\n\r\n")
        for line in head.split(b"\r\n"):
            if line.lower().startswith(b"content-length:"):
                head += await reader.readexactly(int(line.split(b":")[1]))
        return head

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while True:
                self.requests.append(await self._request(reader))
                self.asked.put_nowait(None)
                for step in self.turns.pop(0):
                    if isinstance(step, bytes):
                        writer.write(step)
                        await writer.drain()
                    elif step == HANG:
                        await reader.read()
                        return
                    elif step == CLOSE:
                        return
                    elif step == RESET:
                        sock = writer.get_extra_info("socket")
                        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                        writer.transport.abort()
                        return
                    else:
                        await step(reader, writer)
        except (asyncio.IncompleteReadError, OSError):
            pass
        finally:
            writer.close()
            self.gone.put_nowait(None)


class Seen:
    """A Sink that keeps what it heard, in order, with pieces of the body joined."""

    def __init__(self) -> None:
        self.heard: list[Any] = []
        self.headers: dict[str, str] = {}
        self.over = asyncio.Event()
        self.began = asyncio.Event()

    def head(self, status, headers) -> None:
        self.headers = dict(headers)
        self.heard.append(status)

    def data(self, chunk) -> None:
        if isinstance(self.heard[-1], bytes):
            self.heard[-1] += chunk
        else:
            self.heard.append(chunk)
        self.began.set()

    def end(self) -> None:
        self.heard.append("end")
        self.over.set()

    def failed(self, error: UpstreamError) -> None:
        self.heard.append(type(error).__name__)
        self.error = error
        self.over.set()

    async def wait(self) -> list[Any]:
        await asyncio.wait_for(self.over.wait(), 5)
        return self.heard


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request) -> Callable[[Callable[[], Awaitable[None]]], None]:
    """Run a scenario to its end, on each of the two event loops."""
    factory = asyncio.new_event_loop if request.param == "asyncio" else uvloop.new_event_loop

    def runs(scenario: Callable[[], Coroutine[Any, Any, None]]) -> None:
        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(asyncio.wait_for(scenario(), 20))

    return runs


@pytest.fixture
def upstream() -> type[Upstream]:
    return Upstream


@pytest.fixture
def seen() -> type[Seen]:
    return Seen


@pytest.fixture(scope="session")
def certificate(tmp_path_factory) -> tuple[str, str]:
    """Certificate and key for localhost, made for this run."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl to make a certificate with")
    folder = tmp_path_factory.mktemp("tls")
    cert, key = str(folder / "cert.pem"), str(folder / "key.pem")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days",
         "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", key,
         "-out", cert],
        check=True, capture_output=True,
    )  # fmt: skip
    return cert, key
