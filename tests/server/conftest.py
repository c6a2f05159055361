"""The public application on a real socket over scripted providers, and a caller that sees every byte."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web

from hermes_router.control.places import Places
from hermes_router.core.errors import Unreachable
from hermes_router.daemon.config import Loaded, load
from hermes_router.daemon.wiring import Daemon, build

KEY = "sk-caller-0123456789"
ASK = {"model": "hermes-router", "messages": [{"role": "user", "content": "hi"}]}
GROQ = {"GROQ_API_KEY": "gsk_0123456789abcdef", "GROQ_MODEL": "openai/gpt-oss-20b"}


class Notes:
    """A log that keeps its events."""

    def __init__(self) -> None:
        self.events: list[tuple[str, str, dict[str, object]]] = []

    def __getattr__(self, level: str) -> Callable[..., None]:
        return lambda event, **fields: self.events.append((level, event, fields))

    def named(self, event: str) -> list[dict[str, object]]:
        return [fields for _, name, fields in self.events if name == event]


@dataclass
class Turn:
    """What a provider answers. `hold` = the stream stays open after the chunks, until `Providers.release`."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=lambda: {"content-type": "application/json"})
    chunks: tuple[bytes, ...] = ()
    hold: bool = False
    raises: type[BaseException] | None = None


def whole(text: str = "hello") -> Turn:
    message = {"role": "assistant", "content": text}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
    body = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "choices": [choice],
        "usage": usage,
    }
    return Turn(chunks=(json.dumps(body).encode(),))


def frame(delta: Mapping[str, Any], finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    chunk = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}
    return b"data: " + json.dumps(chunk).encode() + b"\n\n"


def stream(*texts: str, hold: bool = False) -> Turn:
    frames = [frame({"role": "assistant", "content": ""}), *(frame({"content": text}) for text in texts)]
    if not hold:
        frames += [frame({}, "stop"), b"data: [DONE]\n\n"]
    return Turn(headers={"content-type": "text/event-stream"}, chunks=tuple(frames), hold=hold)


class _Flight:
    def __init__(self) -> None:
        self.aborted = asyncio.Event()

    def abort(self) -> None:
        self.aborted.set()

    def pause(self) -> None: ...

    def resume(self) -> None: ...


class Providers:
    """A Transport that answers the n-th request with the n-th turn; the last one again and again."""

    def __init__(self, *turns: Turn) -> None:
        self.turns = list(turns)
        self.requests: list[Any] = []
        self.flights: list[_Flight] = []
        self._held: list[Any] = []

    def send(self, request: Any, sink: Any) -> _Flight:
        self.requests.append(request)
        flight = _Flight()
        self.flights.append(flight)
        turn = self.turns.pop(0) if len(self.turns) > 1 else self.turns[0] if self.turns else None
        if turn is not None and turn.raises is not None:
            raise turn.raises("a bug")
        asyncio.get_running_loop().call_soon(self._play, turn, sink, flight)
        return flight

    def _play(self, turn: Turn | None, sink: Any, flight: _Flight) -> None:
        if turn is None:
            sink.failed(Unreachable("nobody"))
            return
        sink.head(turn.status, turn.headers)
        for chunk in turn.chunks:
            if not flight.aborted.is_set():
                sink.data(chunk)
        if turn.hold:
            self._held.append(sink)
        elif not flight.aborted.is_set():
            sink.end()

    def release(self, *chunks: bytes) -> None:
        for sink in self._held:
            for chunk in chunks:
                sink.data(chunk)
            sink.end()


@dataclass
class Answer:
    """One response as it came. `chunked` and `length` are its framing."""

    status: int
    headers: dict[str, str]
    body: bytes
    chunked: bool

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> dict[str, Any]:
        """The error object of the OpenAI envelope; everything about it is checked on the way."""
        assert self.headers["content-type"].startswith("application/json"), self
        assert set(self.json) == {"error"}
        error = self.json["error"]
        assert {"message", "type", "param", "code"} <= set(error)
        assert isinstance(error["message"], str)
        assert "Traceback" not in error["message"]
        return error


class Wire:
    """A connection to the router: bytes out, whole responses in."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def answer(self, *, method: str = "GET") -> Answer:
        head = (await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), 5)).decode("latin-1")
        status_line, *lines = head.strip().split("\r\n")
        headers = {k.strip().lower(): v.strip() for k, v in (line.split(":", 1) for line in lines)}
        status = int(status_line.split()[1])
        chunked = headers.get("transfer-encoding") == "chunked"
        if method == "HEAD" or status in {100, 204, 304}:
            body = b""
        elif chunked:
            body = await self._chunks()
        elif "content-length" in headers:
            body = await asyncio.wait_for(self.reader.readexactly(int(headers["content-length"])), 5)
        else:
            body = await asyncio.wait_for(self.reader.read(), 5)
        return Answer(status, headers, body, chunked)

    async def _chunks(self) -> bytes:
        body = b""
        while True:
            size = int((await asyncio.wait_for(self.reader.readuntil(b"\r\n"), 5)).strip(), 16)
            body += (await self.reader.readexactly(size + 2))[:-2]
            if not size:
                return body

    async def closed(self) -> bool:
        """Whether the router closes, without another byte."""
        return not await asyncio.wait_for(self.reader.read(), 5)

    def close(self) -> None:
        self.writer.close()


def request(
    method: str,
    path: str,
    body: bytes = b"",
    headers: Mapping[str, str] | None = None,
    *,
    version: str = "1.1",
    key: str | None = KEY,
) -> bytes:
    """The bytes of a request; a header of None is left out."""
    fields = {"Host": "localhost"}
    if key is not None:
        fields["Authorization"] = f"Bearer {key}"
    if body:
        fields["Content-Length"] = str(len(body))
    fields |= headers or {}
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items() if value is not None)
    return f"{method} {path} HTTP/{version}\r\n{lines}\r\n".encode("latin-1") + body


class Router:
    """A running router."""

    def __init__(self, daemon: Daemon, port: int, providers: Providers, notes: Notes) -> None:
        self.daemon = daemon
        self.port = port
        self.providers = providers
        self.notes = notes
        self._wires: list[Wire] = []

    async def wire(self) -> Wire:
        self._wires.append(Wire(*await asyncio.open_connection("127.0.0.1", self.port)))
        return self._wires[-1]

    async def ask(
        self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None, **more: Any
    ) -> Answer:
        """One request on a connection of its own."""
        wire = await self.wire()
        wire.send(request(method, path, body, headers, **more))
        answer = await wire.answer(method=method)
        wire.close()
        return answer

    async def chat(self, headers: Mapping[str, str] | None = None, **fields: Any) -> Answer:
        return await self.ask("POST", "/v1/chat/completions", json.dumps({**ASK, **fields}).encode(), headers)

    async def stop(self) -> None:
        for wire in self._wires:
            wire.close()
        await self.daemon.runner.shutdown_within(0)
        await self.daemon.transport.close()


Serve = Callable[..., Awaitable[Router]]


@pytest.fixture(scope="session")
def configured(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Loaded]:
    """Configurations by environment; each is read once, since rows take a while and values are frozen."""
    home = tmp_path_factory.mktemp("places")
    places = Places(home, home, home, home / ".env", home / "control.sock")
    made: dict[tuple[tuple[str, str], ...], Loaded] = {}

    def configuration(**environ: str) -> Loaded:
        key = tuple(sorted(environ.items()))
        if key not in made:
            made[key] = load(places, environ)
        return made[key]

    return configuration


@pytest.fixture
def start(configured: Callable[..., Loaded]) -> Serve:
    """A starter of routers on the loop that runs: turns of the provider first, settings by name. The test stops them."""

    async def start(*turns: Turn, **environ: str) -> Router:
        loaded = configured(
            **{"PROXY_API_KEYS": KEY, "PATIENCE_SECONDS": "0", "RUNAWAY_GUARD": "off", **GROQ, **environ}
        )
        assert not loaded.problems
        notes, providers = Notes(), Providers(*turns)
        daemon = build(loaded, asyncio.get_running_loop(), notes, transport=providers)
        await daemon.runner.setup()
        site = web.TCPSite(daemon.runner, "127.0.0.1", 0)
        await site.start()
        return Router(daemon, daemon.runner.addresses[0][1], providers, notes)

    return start


@pytest.fixture
async def serve(start: Serve) -> AsyncIterator[Serve]:
    """The same; they are stopped at the end."""
    running: list[Router] = []

    async def serving(*turns: Turn, **environ: str) -> Router:
        running.append(await start(*turns, **environ))
        return running[-1]

    yield serving
    for router in running:
        await router.stop()


@pytest.fixture
def speak() -> Any:
    """The vocabulary of these tests: turns of a provider, bytes of a request."""

    class Speak:
        whole = staticmethod(whole)
        stream = staticmethod(stream)
        frame = staticmethod(frame)
        request = staticmethod(request)
        turn = Turn
        ask = ASK
        key = KEY

    return Speak
