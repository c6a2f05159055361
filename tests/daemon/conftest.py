"""What is opened and closed around a test: a daemon with its desks, and a service manager that listens."""

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hermes_router.daemon.notify import Notifier
from hermes_router.sandbox.providers import FakeProvider

from .listening import Manager
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


@pytest.fixture
def notifier(manager: Manager) -> Iterator[Notifier]:
    """The daemon's end, which speaks to `manager`."""
    made = Notifier(manager.address)
    yield made
    if made._socket is not None:
        made._socket.close()


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    """The other end of NOTIFY_SOCKET."""
    made = Manager(str(tmp_path / "n"))
    yield made
    made.socket.close()
