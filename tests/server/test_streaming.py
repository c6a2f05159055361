"""hermes_router/server/streaming.py: the framing of a stream, as callers see it."""

import asyncio
import json
from typing import Any

from hermes_router.server.streaming import PlainReply

CHAT = "/v1/chat/completions"


def _stream_body(speak: Any) -> bytes:
    return json.dumps({**speak.ask, "stream": True}).encode()


async def test_the_head_of_a_stream_keeps_proxies_from_holding_it(serve: Any, speak: Any) -> None:
    """Event stream, no cache, no compression, no buffering in nginx, and who answers."""
    router = await serve(speak.stream("hello"))
    answer = await router.chat({"Accept-Encoding": "gzip, br, zstd"}, stream=True)
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert answer.headers["cache-control"] == "no-cache"
    assert answer.headers["x-accel-buffering"] == "no"
    assert "content-encoding" not in answer.headers
    assert answer.headers["x-hermes-target"] == "groq/openai/gpt-oss-20b"
    assert answer.headers["x-hermes-attempts"] == "1"
    assert answer.chunked


async def test_chunks_and_end_are_well_framed(serve: Any, speak: Any) -> None:
    """A stream is whole events and [DONE], and the connection serves on."""
    router = await serve(speak.stream("one ", "two"))
    wire = await router.wire()
    for _ in range(2):
        wire.send(speak.request("POST", CHAT, _stream_body(speak)))
        answer = await wire.answer()
        frames = answer.body.decode().strip().split("\n\n")
        assert frames[-1] == "data: [DONE]"
        chunks = [json.loads(frame.removeprefix("data: ")) for frame in frames[:-1]]
        assert "".join(c["delta"].get("content") or "" for chunk in chunks for c in chunk["choices"]) == "one two"


async def test_a_caller_of_http_1_0_gets_plain_bytes(serve: Any, speak: Any) -> None:
    """HTTP/1.0 knows no chunks: the bytes come bare, and the end of the connection is the end."""
    router = await serve(speak.stream("hello"))
    wire = await router.wire()
    wire.send(speak.request("POST", CHAT, _stream_body(speak), version="1.0"))
    answer = await wire.answer()
    assert not answer.chunked
    assert "content-length" not in answer.headers
    assert answer.body.startswith(b"data: {")
    assert answer.body.endswith(b"data: [DONE]\n\n")


async def test_http_1_0_gets_whole_answers_too(serve: Any, speak: Any) -> None:
    """A whole answer to HTTP/1.0 has its length."""
    router = await serve(speak.whole())
    answer = await router.ask("POST", CHAT, json.dumps(speak.ask).encode(), version="1.0")
    assert (answer.status, answer.headers["content-length"]) == (200, str(len(answer.body)))


async def test_close_is_honoured_after_a_stream(serve: Any, speak: Any) -> None:
    """A caller that asks to close gets its stream, chunked, and the end."""
    router = await serve(speak.stream("hello"))
    wire = await router.wire()
    wire.send(speak.request("POST", CHAT, _stream_body(speak), {"Connection": "close"}))
    answer = await wire.answer()
    assert answer.body.endswith(b"data: [DONE]\n\n")
    assert await wire.closed()


async def test_chunks_arrive_as_they_come(serve: Any, speak: Any) -> None:
    """What a provider has sent is at the caller before the provider goes on."""
    router = await serve(speak.stream("one ", hold=True))
    wire = await router.wire()
    wire.send(speak.request("POST", CHAT, _stream_body(speak)))
    assert b"one " in await wire.reader.readuntil(b"one ")
    router.providers.release(speak.frame({"content": "two"}), speak.frame({}, "stop"), b"data: [DONE]\n\n")
    assert (await wire.reader.readuntil(b"\r\n0\r\n\r\n")).count(b"[DONE]") == 1


async def test_a_pipelined_request_waits_for_the_stream_before_it(serve: Any, speak: Any) -> None:
    """Bytes written past aiohttp never mix with the next answer on the connection."""
    router = await serve(speak.stream("one ", hold=True))
    wire = await router.wire()
    wire.send(speak.request("POST", CHAT, _stream_body(speak)) + speak.request("GET", "/health"))
    await wire.reader.readuntil(b"one ")
    router.providers.release(speak.frame({}, "stop"), b"data: [DONE]\n\n")
    await wire.reader.readuntil(b"[DONE]\n\n\r\n0\r\n\r\n")
    assert (await wire.answer()).json == {"status": "ok"}


async def test_a_stream_that_fails_at_once_is_a_plain_error(serve: Any) -> None:
    """While the head is held back a failure is an HTTP status, not an event in a 200."""
    router = await serve()
    answer = await router.chat(stream=True)
    assert answer.status == 503
    assert answer.error["attempts"][0]["class"] == "unreachable"
    assert int(answer.headers["retry-after"]) >= 1


async def test_a_head_does_not_wait_for_the_first_chunk_for_long() -> None:
    """The head goes out with what follows at once, and by itself where nothing does."""
    for follows, seen in ((b"", b"\r\n\r\n"), (b"data", b"\r\n\r\n4\r\ndata\r\n")):
        transport = _Transport()
        reply = PlainReply(transport, {"x-request-id": "r"})
        await reply.start({"x-hermes-attempts": "1"})
        reply.write(follows)
        await asyncio.sleep(0)
        assert len(transport.writes) == 1
        assert transport.writes[0].startswith(b"HTTP/1.1 200 OK\r\n")
        assert b"\r\nx-request-id: r\r\nx-hermes-attempts: 1\r\n" in transport.writes[0]
        assert transport.writes[0].endswith(seen)
        await reply.end()
        await reply.end()
        reply.write(b"late")
        assert transport.writes[1:] == [b"0\r\n\r\n"]


async def test_a_caller_who_left_is_written_nothing() -> None:
    """On a connection that closes, every step is harmless."""
    transport = _Transport()
    transport.closing = True
    reply = PlainReply(transport, {})
    await reply.start({})
    reply.write(b"data")
    await reply.end()
    assert (transport.writes, reply.waiting_bytes()) == ([], 0)


class _Transport(asyncio.Transport):
    """Keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[bytes] = []
        self.closing = False

    def write(self, data: Any) -> None:
        self.writes.append(bytes(data))

    def is_closing(self) -> bool:
        return self.closing
