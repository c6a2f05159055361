"""Streams over real sockets: many at once, callers who leave, connections that are used again."""

import asyncio
import json
import socket

from hermes_router.engine.attempt import Attempt
from hermes_router.sandbox import faults

from .conftest import KEY

ONE = {"GROQ_MODEL": "openai/gpt-oss-20b"}


async def test_220_streams_at_once(house) -> None:
    """All are open upstream at the same time before the first one ends, and every one arrives whole."""
    h = await house("groq", env=ONE)
    held = h.sandbox.behave("groq", faults.stall(2), times=None)
    load = [asyncio.ensure_future(h.whole(f"say {5 + n % 7} words", stream=True)) for n in range(220)]
    await h.seen(220)
    assert all(record.outcome == "open" for record in h.chats())
    held.gate.set()
    answers = await asyncio.gather(*load)
    assert all(answer.good and answer.attempts == 1 for answer in answers)
    assert [answer.text for answer in answers] == [
        " ".join(f"w{i}" for i in range(1, 6 + n % 7)) for n in range(220)
    ]  # fmt: skip
    assert h.engine.counters.answered == 220
    assert [row["state"] for row in await h.status()] == ["ready"]


async def test_ll14_a_caller_who_leaves_a_stream_closes_its_upstream(house) -> None:
    """Within a second the provider sees the connection go; it is not blamed, and no other is asked."""
    h = await house("groq", "mistral", env=ONE)
    held = h.sandbox.behave("groq", faults.stall(2), times=None)
    response = await h.post(stream=True, model="groq/openai/gpt-oss-20b")
    await h.reached(held.reached)
    assert b"w1" in await response.content.readany()
    response.close()
    async with asyncio.timeout(1.0):
        await h.chats()[0].done.wait()
    assert h.chats()[0].outcome == "aborted"
    assert len(h.chats()) == 1
    assert {row["state"] for row in await h.status()} == {"ready"}
    assert h.engine.counters.caller_left == 1
    assert all(h.engine.state.slot(f.target).inflight == 0 for f in h.engine.snapshot.roster.facts)


async def test_ll14_a_caller_who_leaves_before_the_head_closes_its_upstream(house) -> None:
    """Nothing was answered yet, streamed or not: the same."""
    h = await house("groq", env=ONE)
    for number, stream in enumerate((True, False)):
        held = h.sandbox.behave("groq", faults.silent())
        asking = asyncio.ensure_future(h.whole(stream=stream))
        await h.reached(held.reached)
        asking.cancel()
        async with asyncio.timeout(1.0):
            await h.chats()[number].done.wait()
        assert h.chats()[number].outcome in {"aborted", "cut"}
    assert [row["state"] for row in await h.status()] == ["ready"]
    assert (await h.whole()).good


async def test_no_fault_is_logged_when_callers_leave(house) -> None:
    """A caller who goes away in the middle of anything is no error of ours."""
    h = await house("groq", env=ONE)
    held = h.sandbox.behave("groq", faults.stall(2), times=None)
    leaving = [await h.post(stream=True) for _ in range(10)]
    for response in leaving:
        response.close()
    held.gate.set()
    await asyncio.gather(*(asyncio.wait_for(record.done.wait(), 5) for record in h.chats()))
    assert (await h.whole(stream=True)).good
    assert "server.fault" not in [event for event, _ in h.log.lines]


def connections_of(h, name) -> list[object]:
    """Every connection that a provider of the sandbox gets from now on."""
    made: list[object] = []
    server = h.sandbox._listeners[name].http
    known = server.connection_made

    def count(handler, transport):
        made.append(handler)
        known(handler, transport)

    server.connection_made = count
    return made


async def test_upstream_connections_are_used_again(house) -> None:
    """Forty requests one after another, streamed and not, are one connection; ten at once are ten at most."""
    h = await house("groq", env=ONE)
    made = connections_of(h, "groq")
    for number in range(40):
        assert (await h.whole(stream=number % 2 == 0)).good
    assert len(made) == 1
    await asyncio.gather(*(h.whole(stream=True) for _ in range(10)))
    await asyncio.gather(*(h.whole(stream=True) for _ in range(10)))
    assert len(made) <= 10


async def test_failures_leave_connections_usable(house) -> None:
    """A refusal is read to its end, so the next request goes out on the same connection."""
    h = await house("groq", env=ONE)
    made = connections_of(h, "groq")
    for _ in range(5):
        h.sandbox.behave("groq", faults.status(400, {"error": {"message": "no", "type": "invalid_request_error"}}))
        assert (await h.whole()).status == 400
    assert len(made) == 1


async def test_a_slow_caller_does_not_fill_our_memory(house, monkeypatch) -> None:
    """A long stream to a caller who does not read: the upstream is paused, and goes on to its end when he reads."""
    h = await house("groq", env=ONE)
    paused, pause = asyncio.Event(), Attempt.pause

    def noting(attempt):
        paused.set()
        pause(attempt)

    monkeypatch.setattr(Attempt, "pause", noting)
    h.sandbox.providers["groq"].compose = lambda _asked: " y" * 12_000
    body = json.dumps({"model": "m", "stream": True, "messages": [{"role": "user", "content": "talk"}]}).encode()
    for listening in h.sockets:  # what it accepts inherits this: the kernel takes in little for a caller
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16_384)
    head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\nx-api-key: {KEY}\r\n"
    loop = asyncio.get_running_loop()
    with socket.socket() as caller:
        caller.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        caller.setblocking(False)
        await loop.sock_connect(caller, ("127.0.0.1", int(h.url.rpartition(":")[2])))
        await loop.sock_sendall(caller, f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)
        await h.reached(paused)
        h.later(60.0)  # our own pause is no stall of the provider's
        caller.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        got = bytearray()
        async with asyncio.timeout(10):
            while not got.endswith(b"0\r\n\r\n"):
                got += await loop.sock_recv(caller, 1 << 20)
                h.engine.sweeper.sweep()
    assert got.count(b'"content":" y"') >= 11_000
    assert b"data: [DONE]" in got
    assert b'"error"' not in got
    assert h.chats()[0].outcome == "finished"
