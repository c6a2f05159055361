"""A conversation by `previous_response_id` through a router that is killed, restarted and left by its provider."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import openai

from hermes_router.sandbox import faults
from hermes_router.sandbox.providers import FakeProvider

from ..whole.home import KEY, Home

MODELS = {
    "chat": "groq/openai/gpt-oss-120b",
    "messages": "anthropic/claude-haiku-5-5",
    "responses": "openai/gpt-6-luna",
}
PATHS = ("chat/completions", "messages", "responses")
ANYONE = {"x-hermes-fallback": "any"}
Tell = Callable[[str], None]


@asynccontextmanager
async def opened() -> AsyncIterator["Talk"]:
    """A router with one provider of each dialect, started."""
    with TemporaryDirectory(prefix="hr") as folder:
        fakes = [FakeProvider(name) for name in ("groq", "anthropic", "openai")]
        keys = {f"{fake.name.upper()}_API_KEY": "sandbox-key" for fake in fakes}
        async with Home(Path(folder), fakes, keys) as home:
            address = home.environ.pop("OPENAI_BASE_URL")
            rows = Path(folder) / ".config/hermes-router/providers.toml"
            rows.parent.mkdir(parents=True)
            rows.write_text(f'[openai]\nendpoints = {{ openai_chat = "{address}", openai_responses = "{address}" }}\n')
            await home.hr("start", code=0)
            talk = Talk(home)
            try:
                yield talk
            finally:
                await talk.sdk.close()


class Talk:
    """One caller's conversation; it keeps nothing of it but the last id. `said` are its own words, and what came."""

    def __init__(self, home: Home) -> None:
        self.home = home
        self.previous: str | None = None
        self.said: list[str] = []
        self.sdk = openai.AsyncOpenAI(base_url=f"http://localhost:{home.port}/v1", api_key=KEY, max_retries=0)

    @property
    def file(self) -> Path:
        return self.home.path / ".local/state/hermes-router/responses.db"

    async def say(self, text: str, *, stream: bool, model: str = "hermes-router", headers: Any = ANYONE) -> Any:
        """One turn; the provider must have been told all that was said before."""
        asked = {"model": model, "input": text, "extra_headers": headers}
        if self.previous is not None:
            asked["previous_response_id"] = self.previous
        if stream:
            async with self.sdk.responses.stream(**asked) as events:
                response = await events.get_final_response()
        else:
            response = await self.sdk.responses.create(**asked)
        assert response.status == "completed"
        assert response.previous_response_id == self.previous
        request = self.asked[-1]
        body = str(request.body)
        missing = [words for words in (*self.said, text) if words not in body]
        assert not missing, (request.provider, missing, body)
        assert "previous_response_id" not in body
        self.said += [text, response.output_text]
        self.previous = response.id
        return response

    @property
    def asked(self) -> list[Any]:
        """What the providers were asked for answers, in order."""
        return [each for each in self.home.sandbox.requests if each.path.rpartition("/v1/")[2] in PATHS]

    async def kill(self, after_s: float) -> None:
        """kill -9, so long after the last answer; and a new start."""
        await asyncio.sleep(after_s)
        for pid in self.home.daemons():
            os.kill(pid, signal.SIGKILL)
        while self.home.daemons():  # noqa: ASYNC110 - another process is awaited
            await asyncio.sleep(0.01)
        await self.home.hr("start", code=0)


async def over_kills(talk: Talk, tell: Tell, *, stream: bool) -> None:
    """A kill -9 some tens of milliseconds after each answer: the next daemon goes on behind it."""
    for number, upstream in enumerate(MODELS, 3):
        await talk.say(f"say {number} words", stream=stream, model=MODELS[upstream])
        await talk.kill(0.05)
        began = time.monotonic()
        response = await talk.say(f"say {number + 10} words", stream=stream, model=MODELS[upstream])
        took = (time.monotonic() - began) * 1000
        tell(f"  kill -9, 50 ms after an answer of {MODELS[upstream]}: gone on with in {took:.0f} ms, "
             f"behind {len(talk.said) - 2} texts; {response.id[:14]}…")  # fmt: skip


async def over_restarts(talk: Talk, tell: Tell, *, stream: bool) -> None:
    """`hr restart`, with an answer under way that the predecessor finishes: the successor goes on behind that one."""
    await talk.say("say 5 words", stream=stream, model=MODELS["chat"])
    gate = talk.home.sandbox.behave("anthropic", faults.stall(after=2))
    late = asyncio.ensure_future(talk.say("say 9 words", stream=True, model=MODELS["messages"]))
    await asyncio.wait_for(gate.reached.wait(), 20)
    await talk.home.hr("restart", code=0)
    gate.gate.set()
    response = await asyncio.wait_for(late, 20)
    began = time.monotonic()
    await talk.say("say 6 words", stream=stream, model=MODELS["chat"])
    took = (time.monotonic() - began) * 1000
    tell(f"  hr restart within {response.id[:14]}…: its last words came from the old daemon, the new one went on behind "
         f"them in {took:.0f} ms")  # fmt: skip


async def over_providers(talk: Talk, tell: Tell, *, stream: bool) -> None:
    """Whoever answered is killed between two turns: one of another dialect goes on."""
    await talk.say("say 7 words", stream=stream)
    first = talk.asked[-1]
    await talk.home.sandbox.kill(first.provider)
    await talk.say("say 8 words", stream=stream)
    second = talk.asked[-1]
    assert first.provider != second.provider
    assert first.path != second.path
    tell(f"  {first.provider} ({first.path}) killed: {second.provider} ({second.path}) went on")
