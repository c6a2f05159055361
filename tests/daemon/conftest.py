"""An office to open: a daemon with its desks, closed at the end."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from hermes_router.sandbox.providers import FakeProvider

from .office import Office


@pytest.fixture
async def office(tmp_path: Path) -> AsyncIterator[Callable[..., Any]]:
    """Open one: providers by name or made, and the daemon's environment."""
    opened: list[Office] = []

    async def start(*providers: str | FakeProvider, **env: str) -> Office:
        made = [FakeProvider(each) if isinstance(each, str) else each for each in providers]
        opened.append(Office(tmp_path, made, env))
        return await opened[-1].__aenter__()

    yield start
    for each in opened:
        await each.__aexit__(None, None, None)
