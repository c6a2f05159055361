"""Installations to open; each is stopped and looked after at the end."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from hermes_router.sandbox.providers import FakeProvider

from .home import Home


@pytest.fixture
async def home() -> AsyncIterator[Callable[..., Any]]:
    """Open one: providers by name or made, and the environment of every `hr`."""
    opened: list[Home] = []
    folders: list[TemporaryDirectory[str]] = []

    async def start(*providers: str | FakeProvider, prefix: tuple[str, ...] = (), **env: str) -> Home:
        made = [FakeProvider(each) if isinstance(each, str) else each for each in providers]
        folder = TemporaryDirectory(prefix="hr")  # short: a socket's path has 107 bytes
        folders.append(folder)
        path = Path(folder.name)
        opened.append(Home(path, made, env, prefix))
        return await opened[-1].__aenter__()

    yield start
    for each in opened:
        await each.__aexit__(None, None, None)
    for folder in folders:
        folder.cleanup()
