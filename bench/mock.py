"""The mock provider: the cheapest HTTP server that a gateway may take for a provider.

It answers `POST …/chat/completions` (unary, or a stream whose length and pace stand in the request's text) and
`GET …/models`. One tick a millisecond serves the streams that are due, so that streams have phases of their own.
Usage: python -m bench.mock PORT [CERT KEY]
"""

import asyncio
import re
import ssl
import sys
from collections import deque

import uvloop

_MODEL = b"mock-model"
_UNARY = (
    b'{"id":"chatcmpl-bench","object":"chat.completion","created":1790000000,"model":"'
    + _MODEL
    + b'","choices":[{"index":0,'
    b'"message":{"role":"assistant","content":"Hello there, nice to meet you."},"logprobs":null,"finish_reason":"stop"}],'
    b'"usage":{"prompt_tokens":14,"completion_tokens":8,"total_tokens":22}}'
)
_MODELS = b'{"object":"list","data":[{"id":"' + _MODEL + b'","object":"model","created":1,"owned_by":"bench"}]}'
_FRAME = (
    b'data: {"id":"chatcmpl-bench","object":"chat.completion.chunk","created":1790000000,"model":"' + _MODEL + b'",'
    b'"choices":[{"index":0,"delta":%s,"logprobs":null,"finish_reason":%s}]}\n\n'
)
_USAGE = (
    b'data: {"id":"chatcmpl-bench","object":"chat.completion.chunk","created":1790000000,"model":"' + _MODEL + b'",'
    b'"choices":[],"usage":{"prompt_tokens":14,"completion_tokens":%d,"total_tokens":%d}}\n\n'
)
_STREAMED = re.compile(rb'"stream"\s*:\s*true')
_WITH_USAGE = re.compile(rb'"include_usage"\s*:\s*true')
_ORDER = re.compile(rb"\[chunks=(\d+) rate=([0-9.]+)\]")
_LENGTH = re.compile(rb"\r\ncontent-length:\s*(\d+)", re.IGNORECASE)
_STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncache-control: no-cache\r\n"
    b"transfer-encoding: chunked\r\n\r\n"
)
TICK_S = 0.001


def _framed(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def _response(body: bytes, status: bytes = b"200 OK") -> bytes:
    return b"HTTP/1.1 %b\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (status, len(body), body)


_FIRST = _framed(_FRAME % (b'{"role":"assistant","content":"Hello"}', b"null"))
_NEXT = _framed(_FRAME % (b'{"content":" and more"}', b"null"))
_LAST = _FRAME % (b"{}", b'"stop"')
_UNARY_ANSWER = _response(_UNARY)


class Pace:
    """All streams under way, in one queue for each gap between chunks; the head of a queue is always the next due."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.queues: dict[float, deque[tuple[float, Provider]]] = {}
        self.ticking = False

    def add(self, at: float, gap_s: float, provider: "Provider") -> None:
        self.queues.setdefault(gap_s, deque()).append((at + gap_s, provider))
        if not self.ticking:
            self.ticking = True
            self.loop.call_later(TICK_S, self.tick)

    def tick(self) -> None:
        now = self.loop.time()
        for gap_s, queue in self.queues.items():
            while queue and queue[0][0] <= now:
                due, provider = queue.popleft()
                if provider.chunk():
                    queue.append((max(due + gap_s, now), provider))
        self.ticking = any(self.queues.values())
        if self.ticking:
            self.loop.call_later(TICK_S, self.tick)


class Provider(asyncio.Protocol):
    """One connection of a gateway."""

    def __init__(self, pace: Pace) -> None:
        self.pace = pace
        self.transport: asyncio.Transport | None = None
        self.got = bytearray()
        self.need = 0
        self.left = 0
        self.chunks = 0
        self.usage = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport, self.left = None, 0

    def data_received(self, data: bytes) -> None:
        self.got += data
        while len(self.got) >= max(self.need, 1):
            end = self.got.find(b"\r\n\r\n")
            if end < 0:
                return
            length = _LENGTH.search(self.got, 0, end + 2)
            self.need = end + 4 + (int(length[1]) if length else 0)
            if len(self.got) < self.need:
                return
            line, body = bytes(self.got[: self.got.find(b"\r\n")]), bytes(self.got[end + 4 : self.need])
            del self.got[: self.need]
            self.need = 0
            self.answer(line, body)

    def answer(self, line: bytes, body: bytes) -> None:
        assert self.transport is not None
        method, path, _ = line.split(b" ", 2)
        if method == b"POST" and path.endswith(b"/chat/completions"):
            if _STREAMED.search(body):
                self.begin(body)
            else:
                self.transport.write(_UNARY_ANSWER)
        elif path.endswith(b"/models"):
            self.transport.write(_response(_MODELS))
        else:
            self.transport.write(_response(b'{"error":{"message":"not here"}}', b"404 Not Found"))

    def begin(self, body: bytes) -> None:
        assert self.transport is not None
        order = _ORDER.search(body)
        self.chunks = self.left = int(order[1]) if order else 20
        self.usage = bool(_WITH_USAGE.search(body))
        self.transport.write(_STREAM_HEAD + _FIRST)
        self.left -= 1
        gap_s = 1 / float(order[2]) if order else 0.05
        self.pace.add(self.pace.loop.time(), gap_s, self)

    def chunk(self) -> bool:
        """Send what is due; False after the last, or when the gateway has left."""
        if self.transport is None:
            return False
        if self.left > 0:
            self.left -= 1
            self.transport.write(_NEXT)
            return True
        tail = _USAGE % (self.chunks, self.chunks + 14) if self.usage else b""
        self.transport.write(_framed(_LAST + tail + b"data: [DONE]\n\n") + b"0\r\n\r\n")
        return False


async def serve(port: int, certificate: tuple[str, str] | None) -> None:
    loop = asyncio.get_running_loop()
    pace = Pace(loop)
    context = None
    if certificate:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(*certificate)
    server = await loop.create_server(lambda: Provider(pace), "127.0.0.1", port, ssl=context, backlog=1024)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1]), (sys.argv[2], sys.argv[3]) if len(sys.argv) > 3 else None))
