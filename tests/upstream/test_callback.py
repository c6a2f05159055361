"""hermes_router/upstream/callback.py: where a browser comes back to."""

import asyncio
import socket
from collections.abc import AsyncIterator

import aiohttp
import pytest

from hermes_router.upstream.callback import ANY_PORT, CallbackListener, Page


class Desk:
    """Notes what came, and says what it is told to say."""

    def __init__(self) -> None:
        self.came: list[str] = []
        self.page = Page("Signed in", "You may close this <window>.")

    async def take(self, query: str) -> Page:
        self.came.append(query)
        return self.page


@pytest.fixture
async def desk() -> AsyncIterator[tuple[Desk, CallbackListener, str]]:
    """A listener on a free port."""
    made = Desk()
    listener = CallbackListener(made.take)
    port = await listener.open([ANY_PORT])
    yield made, listener, f"http://127.0.0.1:{port}"
    await listener.close()


async def test_what_the_browser_brings_is_handed_on_and_answered(desk: tuple[Desk, CallbackListener, str]) -> None:
    """The query as it came; the page is escaped, and nothing keeps or passes on the address."""
    made, _, url = desk
    async with aiohttp.ClientSession() as session, session.get(f"{url}/auth/callback?code=c%2B1&state=s") as page:
        text = await page.text()
        assert page.status == 200
        assert page.headers["cache-control"] == "no-store"
        assert page.headers["referrer-policy"] == "no-referrer"
    assert made.came == ["code=c%2B1&state=s"]
    assert "Signed in" in text
    assert "<window>" not in text


@pytest.mark.parametrize(
    ("method", "path", "host", "status"),
    [
        ("GET", "/", "", 404), ("GET", "/favicon.ico", "", 404), ("POST", "/auth/callback", "", 405),
        ("GET", "/auth/callback?code=c", "evil.test", 403),
    ],
)  # fmt: skip
async def test_nothing_else_is_taken(
    desk: tuple[Desk, CallbackListener, str], method: str, path: str, host: str, status: int
) -> None:
    """Another path, another method, another name for this machine."""
    made, _, url = desk
    headers = {"host": host} if host else {}
    async with aiohttp.ClientSession() as session, session.request(method, url + path, headers=headers) as answer:
        assert answer.status == status
    assert made.came == []


async def test_a_port_in_use_is_left_alone(desk: tuple[Desk, CallbackListener, str]) -> None:
    """The next one is taken; where none is free, that is said, and the listener can be opened again."""
    with socket.socket() as taken, socket.socket() as other:
        for one in (taken, other):
            one.bind(("127.0.0.1", 0))
            one.listen()
        listener = CallbackListener(desk[0].take)
        ports = [taken.getsockname()[1], other.getsockname()[1]]
        assert await listener.open(ports) is None
        found = await listener.open([ports[0], ANY_PORT])
        assert found not in {None, ports[0]}
        await listener.close()


async def test_a_page_under_way_is_still_sent() -> None:
    """The listener closes once the sign-in has ended, and the person reads how."""
    listener: CallbackListener

    async def take(_query: str) -> Page:
        closing.set()
        await asyncio.sleep(0)
        return Page("Done", "")

    closing = asyncio.Event()
    listener = CallbackListener(take)
    port = await listener.open([ANY_PORT])

    async def close() -> None:
        await closing.wait()
        await listener.close()
        await listener.close()  # twice is as good as once

    async with aiohttp.ClientSession() as session, asyncio.TaskGroup() as group:
        group.create_task(close())
        async with session.get(f"http://127.0.0.1:{port}/auth/callback?x=1") as page:
            assert "Done" in await page.text()
