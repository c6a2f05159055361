"""What the sandbox's tests share: a clock to turn by hand, a way to ask a provider without HTTP, one with."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import aiohttp
import pytest

from hermes_router.sandbox.providers import FakeProvider, Granted, Refused
from hermes_router.sandbox.server import Sandbox
from hermes_router.sandbox.styles import STYLES

START = 1_790_000_000.0
CHATS = [name for name, style in STYLES.items() if "chat" in style.speaks]


class HandClock:
    """Epoch seconds that move when told to."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> HandClock:
    """A clock that starts in September 2026."""
    return HandClock()


def body(model: str, *messages: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """A chat request for a model; one plain user message where none is given."""
    return {"model": model, "messages": list(messages) or [{"role": "user", "content": "hello"}], **fields}


@pytest.fixture
def ask() -> Callable[..., Granted | Refused]:
    """Ask a fresh provider of a style: `ask("groq", *messages, **fields)` with its first model."""

    def ask(style: str, *messages: dict[str, Any], to: FakeProvider | None = None, **fields: Any) -> Granted | Refused:
        provider = to or FakeProvider(style)
        model = fields.pop("model", provider.models[0].id)
        agent = fields.pop("agent", "claude-cli/2")
        decided = provider.decide("sandbox-key", {"user-agent": agent}, body(model, *messages, **fields), START)
        assert isinstance(decided, Granted | Refused)
        return decided

    return ask


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    """A caller with the usual key that decompresses nothing."""
    async with aiohttp.ClientSession(headers={"authorization": "Bearer sandbox-key"}, auto_decompress=False) as session:
        yield session


@pytest.fixture
async def sandbox(clock: HandClock) -> AsyncIterator[Sandbox]:
    """One provider of each style."""
    async with Sandbox(clock=clock) as running:
        yield running
