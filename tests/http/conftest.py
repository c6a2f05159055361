"""The whole router over real HTTP: the app as the daemon wires it, real transport, and the sandbox as its providers."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, Self

import aiohttp
import openai
import pytest
from aiohttp import web

from hermes_router.control.places import user_places
from hermes_router.daemon.config import load
from hermes_router.daemon.wiring import build
from hermes_router.sandbox.providers import FakeProvider
from hermes_router.sandbox.server import Recorded, Sandbox
from hermes_router.server.app import listen

from ..fakes import Clock, SilentLog

KEY = "sk-test-key-1"
WAIT_S = 10.0  # nothing here takes long; what does is stuck


def key_for(name: str, number: int = 1) -> str:
    """A provider's nth key."""
    return f"key-{name}-{number:06d}"


class House:
    """A router over a sandbox. `clock` drives the router, and the sandbox's quotas; it moves by hand only."""

    def __init__(
        self, home: Path, providers: list[FakeProvider], clock: Clock, keys: dict[str, list[str]], env: dict[str, str]
    ) -> None:
        self.home = home
        self.clock = clock
        self.sandbox = Sandbox(providers, clock=clock.now)
        self._keys = keys
        self._env = env

    async def __aenter__(self) -> Self:
        await self.sandbox.start()
        env = {"HOME": str(self.home), "PROXY_API_KEYS": KEY, "PATIENCE_SECONDS": "0"}
        # Load in these tests is one request again and again, which is what the guard looks for.
        env |= {"RUNAWAY_GUARD": "off", **self._env}
        for name in self.sandbox.providers:
            env[f"{name.upper()}_BASE_URL"] = self.sandbox.base_url(name)
            env[f"{name.upper()}_API_KEYS"] = ",".join(self._keys[name])
        loaded = load(user_places(env), env)
        assert not loaded.problems, loaded.problems
        self.log = SilentLog()
        self.daemon = build(loaded, asyncio.get_running_loop(), self.log, clock=self.clock)
        self.engine = self.daemon.engine
        await self.daemon.runner.setup()
        self.sockets = listen(None, 0)
        self.url = f"http://127.0.0.1:{self.sockets[0].getsockname()[1]}"
        for sock in self.sockets:
            await web.SockSite(self.daemon.runner, sock).start()
        self.http = aiohttp.ClientSession(
            headers={"authorization": f"Bearer {KEY}"}, connector=aiohttp.TCPConnector(limit=0)
        )
        self.sdk = openai.AsyncOpenAI(base_url=f"{self.url}/v1", api_key=KEY, max_retries=0)
        return self

    async def __aexit__(self, *_exc: object) -> None:
        await self.sdk.close()
        await self.http.close()
        await self.daemon.runner.shutdown_within(1.0)
        await self.daemon.supervisor.stop()
        await self.daemon.transport.close()
        await self.sandbox.stop()

    # --- asking --------------------------------------------------------------------------------------

    def post(self, text: str = "say 5 words", *, model: str = "hermes-router", path: str = "/v1/chat/completions",
             headers: dict[str, str] | None = None, **fields: Any) -> Any:  # fmt: skip
        """A raw chat request, as a context manager."""
        body = {"model": model, "messages": [{"role": "user", "content": text}], **fields}
        return self.http.post(self.url + path, json=body, headers=headers)

    async def whole(self, text: str = "say 5 words", **given: Any) -> "Heard":
        """A request to its end, streamed or not."""
        async with asyncio.timeout(WAIT_S), self.post(text, **given) as response:
            return Heard(response.status, dict(response.headers), await response.read())

    async def status(self, provider: str | None = None) -> list[dict[str, Any]]:
        """The targets of `GET /v1/status`."""
        async with self.http.get(f"{self.url}/v1/status") as response:
            rows = (await response.json())["targets"]
        return [row for row in rows if provider in {None, row["provider"]}]

    # --- time ----------------------------------------------------------------------------------------

    def later(self, seconds: float) -> None:
        """Let time pass, and run the sweep that falls due."""
        self.clock.advance(seconds)
        self.engine.sweeper.sweep()

    async def reached(self, what: asyncio.Event) -> None:
        """Wait for the sandbox to come to a point."""
        await asyncio.wait_for(what.wait(), WAIT_S)

    async def seen(self, number: int, provider: str | None = None) -> list[Recorded]:
        """Wait for requests at the sandbox."""
        return await asyncio.wait_for(self.sandbox.seen(number, provider), WAIT_S)

    def chats(self, provider: str | None = None) -> list[Recorded]:
        """The chat requests that providers got."""
        return [
            r for r in self.sandbox.requests if r.path.endswith("/chat/completions") and provider in {None, r.provider}
        ]


class Heard:
    """One answer, read to its end."""

    def __init__(self, status: int, headers: dict[str, str], raw: bytes) -> None:
        self.status = status
        self.headers = {name.lower(): value for name, value in headers.items()}
        self.raw = raw

    @property
    def json(self) -> Any:
        return json.loads(self.raw)

    @property
    def error(self) -> dict[str, Any] | None:
        """The error object, of a body or of a stream."""
        if self.streamed:
            return next((e["error"] for e in self.events if isinstance(e, dict) and "error" in e), None)
        return self.json.get("error")

    @property
    def streamed(self) -> bool:
        return self.headers["content-type"].startswith("text/event-stream")

    @property
    def events(self) -> list[Any]:
        blocks = [block[6:] for block in self.raw.decode().split("\n\n") if block.startswith("data: ")]
        return [text if text == "[DONE]" else json.loads(text) for text in blocks]

    @property
    def text(self) -> str:
        if not self.streamed:
            return self.json["choices"][0]["message"]["content"]
        choices = [c for e in self.events if isinstance(e, dict) for c in e.get("choices", ())]
        return "".join(choice["delta"].get("content") or "" for choice in choices)

    @property
    def good(self) -> bool:
        """Whether a caller takes it for a whole answer."""
        if self.status != 200:
            return False
        if not self.streamed:
            return self.json["choices"][0]["finish_reason"] in {"stop", "length", "tool_calls", "content_filter"}
        finishes = [c["finish_reason"] for e in self.events if isinstance(e, dict) for c in e.get("choices", ())]
        return self.events[-1] == "[DONE]" and any(finishes) and self.error is None

    @property
    def target(self) -> str:
        return self.headers["x-hermes-target"]

    @property
    def attempts(self) -> int:
        return int(self.headers["x-hermes-attempts"])


Open = Callable[..., Any]


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[Open]:
    """A running router, closed at the end. `keys` says how many a provider has; `env` goes to the router.

    Nobody waits for quota unless `env` says so.
    """
    opened: list[House] = []

    async def start(
        *providers: str | FakeProvider, keys: dict[str, int] | None = None, env: dict[str, str] | None = None
    ) -> House:
        made, secrets = [], {}
        for each in providers:
            provider = FakeProvider(each) if isinstance(each, str) else each
            name = provider.name
            secrets[name] = [key_for(name, n + 1) for n in range((keys or {}).get(name, 1))]
            provider.keys = set(secrets[name])
            made.append(provider)
        running = House(tmp_path, made, Clock(), secrets, env or {})
        opened.append(running)
        return await running.__aenter__()

    yield start
    for running in opened:
        await running.__aexit__(None, None, None)
