"""Following the daemon's events over restarts and crashes."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from hermes_router.control import types as t
from hermes_router.control.events import LOST, EventRing, frame
from hermes_router.control.follow import follow
from hermes_router.core.errors import ControlError

from ..fakes import turns
from .desk import START, Desk, refused, serve, served, until

FIRST = int(START * 1e6)
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


class Nap:
    """The pause between two attempts: noted, not slept. `then` runs in its place."""

    def __init__(self, then: Callable[[], Any] | None = None) -> None:
        self.pauses: list[float] = []
        self.then = then

    async def __call__(self, seconds: float) -> None:
        self.pauses.append(seconds)
        if self.then is not None:
            await self.then()
        await turns()


async def take(events: AsyncIterator[t.Event], number: int) -> list[int]:
    async with asyncio.timeout(5):
        return [(await anext(events)).id - FIRST for _ in range(number)]


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def told(n: int, **fields: object) -> bytes:
    return frame(t.Event(id=FIRST + n, at=START, event="e", fields=fields))


def remove(path: Path) -> None:
    path.unlink(missing_ok=True)


@asynccontextmanager
async def scripted(path: Path, *scripts: bytes) -> AsyncIterator[list[str]]:
    """A server that answers each connection with the next script and then cuts it, as SIGKILL would."""
    left, last_ids = list(scripts), []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        last_ids.append(head.partition("last-event-id: ")[2].partition("\r\n")[0])
        writer.write(left.pop(0))
        await writer.drain()
        writer.transport.abort() if len(left) % 2 else writer.close()

    server = await asyncio.start_unix_server(answer, path)
    try:
        yield last_ids
    finally:
        server.close()
        remove(path)


async def test_events_go_on_over_a_restart_with_continuous_ids(path: Path) -> None:
    """The daemon closes, events happen, it comes back: each one is told once, in order."""
    desk = Desk()
    servers = [await serve(path, desk)]

    async def comes_back() -> None:
        desk.ring.publish("e", "info", {})
        if len(nap.pauses) == 3:
            servers.append(await serve(path, desk))

    nap = Nap(comes_back)
    whys: list[str] = []
    async with aclosing(follow(path, FIRST - 1, sleep=nap, lost=whys.append)) as events:
        for _ in range(3):
            desk.ring.publish("e", "info", {})
        ids = await take(events, 3)
        await servers[0].close()
        ids += await take(events, 3)
        assert nap.pauses == [0.1, 0.2, 0.4]
        assert len(whys) == 3
        desk.ring.publish("e", "info", {})
        ids += await take(events, 1)
    assert ids == list(range(7))
    await servers[1].close()


async def test_a_new_process_goes_on_with_higher_ids(path: Path) -> None:
    """Its ring is new, and all of it is news to who followed the old one."""
    old, new = Desk(), Desk(EventRing(lambda: START + 60))
    first = await serve(path, old)
    second = []

    async def comes_back() -> None:
        new.ring.publish("started", "info", {})
        second.append(await serve(path, new))

    async with aclosing(follow(path, FIRST - 1, sleep=Nap(comes_back))) as events:
        old.ring.publish("e", "info", {})
        assert await take(events, 1) == [0]
        await first.close()
        assert await take(events, 1) == [60_000_000]
    await second[0].close()


async def test_a_cut_inside_an_event_loses_nothing(path: Path) -> None:
    """The half is thrown away, not glued to what comes next; the last whole id is what is asked for."""
    scripts = [
        HEAD + chunk(told(1)) + chunk(told(2)[:40]),
        HEAD + chunk(told(2)) + chunk(b"id: 1"),
        HEAD,
        b"",
        HEAD + chunk(told(3) + b": ping\n\n") + b"5\r\nid",
        HEAD + chunk(told(4)) + b"0\r\n\r\n",
        HEAD + chunk(told(5)),
    ]
    async with scripted(path, *scripts) as last_ids, aclosing(follow(path, None, sleep=Nap())) as events:
        assert await take(events, 5) == [1, 2, 3, 4, 5]
    assert last_ids == ["", *(str(FIRST + n) for n in (1, 2, 2, 2, 3, 4))]


async def test_pauses_grow_to_two_seconds_and_shrink_with_an_event(path: Path) -> None:
    """A daemon that is away is asked for gently."""

    async def comes_back() -> None:
        if len(nap.pauses) == 7:
            servers.append(await serve(path, desk))

    desk, servers = Desk(), []
    desk.ring.publish("e", "info", {})
    nap = Nap(comes_back)
    async with aclosing(follow(path, 0, sleep=nap)) as events:
        assert await take(events, 1) == [0]
    assert nap.pauses == [0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0]
    await servers[0].close()


async def test_the_largest_event_of_ours_passes(path: Path) -> None:
    """And one of a megabyte, which the library's own limit would not let through."""
    desk = Desk()
    desk.ring.publish("e", "info", {"text": "x" * 59_000})
    async with served(path, desk), aclosing(follow(path, 0)) as events:
        assert len((await anext(events)).fields["text"]) == 59_000
    big = msgspec.json.encode(t.Event(id=FIRST, at=START, event="e", fields={"text": "x" * (1 << 20)}))
    async with scripted(path, HEAD + chunk(b"id: 1\ndata: " + big + b"\n\n")), aclosing(follow(path, None)) as events:
        assert await take(events, 1) == [0]


async def test_a_line_without_end_is_left_and_asked_for_anew(path: Path) -> None:
    """LineTooLong is neither a ClientError nor a ValueError: caught by name."""
    whys: list[str] = []
    async with (
        scripted(path, HEAD + chunk(b"data: " + b"x" * (3 << 20)), HEAD + chunk(told(1))),
        aclosing(follow(path, None, sleep=Nap(), lost=whys.append)) as events,
    ):
        assert await take(events, 1) == [1]
    assert len(whys) == 1


async def test_what_is_no_event_is_passed_over(path: Path) -> None:
    """Of a later version, perhaps."""
    async with (
        scripted(path, HEAD + chunk(b"data: hello\n\ndata: {}\n\nevent: x\ndata: [1\n\n" + told(1))),
        aclosing(follow(path, None, sleep=Nap())) as events,
    ):
        assert await take(events, 1) == [1]


async def test_a_refusal_is_an_error_and_not_tried_again(path: Path) -> None:
    """With the daemon's own words; without this it would ask for ever."""
    desk, nap = Desk(), Nap()
    desk.failure = refused("No events for you.")
    async with served(path, desk):
        with pytest.raises(ControlError, match="No events for you") as caught:
            await anext(follow(path, None, sleep=nap))
    assert (caught.value.code, caught.value.exit_code, caught.value.next_step) == ("no", 3, "Do something else.")
    assert nap.pauses == []


async def test_a_fault_of_the_daemon_is_tried_again(path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A 500 may pass; the library's own line about it does not reach the terminal."""
    desk = Desk()
    desk.failure = ValueError("x")
    desk.ring.publish("e", "info", {})

    async def recovers() -> None:
        desk.failure = None

    async with served(path, desk), aclosing(follow(path, 0, sleep=Nap(recovers))) as events:
        assert await take(events, 1) == [0]
    assert "".join(capfd.readouterr()) == ""


async def test_a_slow_follower_hears_of_its_gap_and_goes_on(path: Path) -> None:
    """Dropped, told how many are lost, reconnected behind the gap."""
    desk = Desk(EventRing(lambda: START, kept=10))
    async with served(path, desk), aclosing(follow(path, None, sleep=Nap())) as events:
        first = asyncio.get_running_loop().create_task(take(events, 1))
        await until(lambda: desk.ring._waiting)
        desk.ring.publish("e", "info", {})
        assert await first == [0]
        for _ in range(30):
            desk.ring.publish("e", "info", {})
        gap = await anext(events)
        assert (gap.event, gap.fields) == (LOST, {"lost": 20})
        assert await take(events, 10) == list(range(21, 31))
