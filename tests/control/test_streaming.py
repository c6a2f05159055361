"""`GET /v1/events` on the wire, read by hand."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import msgspec
import pytest
from aiohttp import web

from hermes_router.control import types as t
from hermes_router.control.events import LOST, EventRing

from ..fakes import turns
from .desk import HEADERS, START, Desk, make, refused, serve, served, session, until

FIRST = int(START * 1e6)


@asynccontextmanager
async def listening(path: Path, last_id: object = None) -> AsyncIterator[aiohttp.ClientResponse]:
    """A stream that has begun."""
    headers = {} if last_id is None else {"Last-Event-ID": str(last_id)}
    async with session(path) as http, http.get("/v1/events", headers=headers) as response:
        if response.status == 200:
            assert await response.content.readuntil(b"\n\n") == b": hermes-router\n\n"
        yield response


async def event(response: aiohttp.ClientResponse) -> t.Event:
    """The next event; pings are passed over."""
    while True:
        async with asyncio.timeout(5):
            block = (await response.content.readuntil(b"\n\n")).strip()
        if block != b": ping":
            break
    first, second = block.split(b"\n")
    told = msgspec.json.decode(second.removeprefix(b"data: "), type=t.Event)
    assert first == b"id: %d" % told.id
    return told


async def test_events_are_a_stream_with_ids(path: Path) -> None:
    """The head comes before the first event; what was before the call is not told; the versions are on it."""
    desk = Desk()
    desk.ring.publish("before", "info", {})
    async with served(path, desk), listening(path) as stream:
        assert stream.status == 200
        assert stream.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert {k: stream.headers[k] for k in HEADERS} == HEADERS
        desk.ring.publish("attempt.failed", "warning", {"target": "groq/m", "said": "a\nb"})
        told = await event(stream)
    assert (told.id, told.event, told.level) == (FIRST + 1, "attempt.failed", "warning")
    assert told.fields == {"target": "groq/m", "said": "a\nb"}


async def test_last_event_id_is_honoured(path: Path) -> None:
    """Kept events after it come first, then the new ones."""
    desk = Desk()
    for n in range(5):
        desk.ring.publish("e", "info", {"n": n})
    async with served(path, desk), listening(path, FIRST + 2) as stream:
        assert [(await event(stream)).fields["n"] for _ in range(2)] == [3, 4]
        desk.ring.publish("e", "info", {"n": 5})
        assert (await event(stream)).id == FIRST + 5
    assert desk.asked == [("events", FIRST + 2)]


@pytest.mark.parametrize("last_id", ["x", "-1", "1" * 30, "\u0663", "1 2"])
async def test_a_last_event_id_that_is_no_number_is_refused(path: Path, last_id: str) -> None:
    """400 instead of a stream that leaves something out in silence."""
    desk = Desk()
    async with served(path, desk), listening(path, last_id) as stream:
        assert stream.status == 400
    assert desk.asked == []


async def test_a_refusal_before_the_stream_is_a_problem(path: Path) -> None:
    """Like on any other route."""
    desk = Desk()
    desk.failure = refused()
    async with served(path, desk), listening(path) as stream:
        assert (stream.status, (await stream.json())["code"]) == (409, "no")


async def test_silence_is_filled_with_pings(path: Path) -> None:
    """A comment each `ping_s`, which readers ignore: both ends know that the other lives."""
    async with served(path, Desk(), ping_s=0.01), listening(path) as stream:
        for _ in range(3):
            assert await stream.content.readuntil(b"\n\n") == b": ping\n\n"


async def test_streams_end_at_once_and_well_when_the_daemon_closes(path: Path) -> None:
    """Without waiting for the drain, with a proper end; what was published before it has arrived."""
    desk = Desk()
    server = await serve(path, desk)
    async with listening(path) as one, listening(path) as two, asyncio.timeout(5):
        desk.ring.publish("e", "info", {})
        await turns()
        await server.close()
        for stream in (one, two):
            assert b'"event":"e"' in await stream.content.read()
    assert not desk.ring._waiting


async def test_an_application_that_is_closed_by_another_runner_ends_its_streams_too(path: Path) -> None:
    """The daemon has doors of its own, with a long drain: streams do not use it up, and work when it opens again."""
    desk = Desk()
    runner = web.AppRunner(make(desk)[0], handle_signals=False, handler_cancellation=False, shutdown_timeout=60)
    for _ in range(2):
        await runner.setup()
        await web.UnixSite(runner, str(path)).start()
        async with listening(path) as stream, asyncio.timeout(5):
            desk.ring.publish("e", "info", {})
            await event(stream)
            await runner.cleanup()
            await stream.content.read()


async def test_who_leaves_is_forgotten(path: Path) -> None:
    """The next ping finds out, and nobody waits at the ring any more."""
    desk = Desk()
    async with served(path, desk, ping_s=0.005) as log:
        async with listening(path):
            await turns()
            assert len(desk.ring._waiting) == 1
        await until(lambda: not desk.ring._waiting)
    assert log.lines == []


async def test_a_stream_that_breaks_is_cut_and_said(path: Path) -> None:
    """A bug in the source of events is one log line, and no end that looks like a good one."""

    async def broken() -> AsyncIterator[t.Event]:
        yield t.Event(id=1, at=START, event="e")
        raise ValueError("sk-canary-0123456789")

    desk = Desk()
    desk.events = lambda last_id: broken()  # type: ignore[method-assign]
    async with served(path, desk) as log, listening(path) as stream:
        with pytest.raises(aiohttp.ClientPayloadError):
            await stream.content.read()
    (name, fields), *more = log.lines
    assert (name, fields["error"], more) == ("control.fault", "ValueError", [])
    assert "broken" in str(fields["where"])
    assert "canary" not in str(log.lines)


async def test_a_slow_listener_is_dropped_and_the_publisher_never_waits(path: Path) -> None:
    """Megabytes for somebody who does not read: publishing goes on, the stream ends with the number of lost ones."""
    desk = Desk(EventRing(lambda: START, kept=50))
    async with served(path, desk):
        reader, writer = await asyncio.open_unix_connection(path, limit=1024)
        writer.write(b"GET /v1/events HTTP/1.1\r\nHost: hermes-router\r\nConnection: close\r\n\r\n")
        await reader.readuntil(b": hermes-router\n\n")
        published = 0
        for _ in range(40):
            for _ in range(25):
                desk.ring.publish("e", "info", {"text": "x" * 10_000})
                published += 1
            await turns(2)
        raw = await asyncio.wait_for(reader.read(-1), 5)
        writer.close()
        await writer.wait_closed()
    told = [json.loads(line.partition(b"data: ")[2]) for line in raw.split(b"\n") if b"data: " in line]
    *good, last = told
    assert [e["id"] for e in good] == list(range(FIRST, FIRST + len(good)))
    assert last["event"] == LOST
    assert 0 < last["fields"]["lost"] == last["id"] - good[-1]["id"]
    assert published == 1_000
