"""The mock provider: the cheapest HTTP server that a gateway may take for a provider.

It answers `POST …/chat/completions`, `…/messages` and `…/responses` (unary, or a stream whose length and pace stand in
the request's text) and `GET …/models`. One tick a millisecond serves the streams that are due, so that streams have phases of their own.
Usage: python -m bench.mock PORT [CERT KEY]
"""

import asyncio
import re
import ssl
import sys
from collections import deque
from dataclasses import dataclass

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


def _event(data: bytes) -> bytes:
    """A frame that is named by its type, which comes first in it."""
    return b"event: %b\ndata: %b\n\n" % (data.split(b'"', 4)[3], data)


@dataclass(frozen=True)
class Answers:
    """What is said in one dialect: whole, or the first, each next and the last bytes of a stream."""

    whole: bytes
    first: bytes
    next: bytes
    last: bytes


_CHAT = Answers(
    _response(_UNARY),
    _framed(_FRAME % (b'{"role":"assistant","content":"Hello"}', b"null")),
    _framed(_FRAME % (b'{"content":" and more"}', b"null")),
    _FRAME % (b"{}", b'"stop"'),
)
_MESSAGE = (
    b'{"id":"msg_bench","type":"message","role":"assistant","model":"' + _MODEL + b'","content":[%b],"stop_reason":%b,'
    b'"stop_sequence":null,"usage":{"input_tokens":14,"output_tokens":%d}}'
)
_SAID = b"Hello there, nice to meet you."
_BLOCK = b'{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"%b"}}'
_MESSAGES = Answers(
    _response(_MESSAGE % (b'{"type":"text","text":"' + _SAID + b'"}', b'"end_turn"', 8)),
    _framed(
        _event(b'{"type":"message_start","message":%b}' % (_MESSAGE % (b"", b"null", 1)))
        + _event(b'{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}')
        + _event(_BLOCK % b"Hello")
    ),
    _framed(_event(_BLOCK % b" and more")),
    _event(b'{"type":"content_block_stop","index":0}')
    + _event(b'{"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null},'
             b'"usage":{"output_tokens":90}}')
    + _event(b'{"type":"message_stop"}'),
)  # fmt: skip
_PART = b'{"type":"output_text","text":"%b","annotations":[]}'
_ITEM = b'{"id":"msg_1","type":"message","role":"assistant","status":"%b","content":[%b]}'
_RESPONSE = (
    b'{"id":"resp_bench","object":"response","created_at":1790000000,"status":"%b","error":null,'
    b'"incomplete_details":null,"instructions":null,"metadata":{},"model":"' + _MODEL + b'","output":[%b],'
    b'"parallel_tool_calls":true,"temperature":1.0,"tool_choice":"auto","tools":[],"top_p":1.0,"usage":%b}'
)
_COUNTED = (
    b'{"input_tokens":14,"input_tokens_details":{"cached_tokens":0,"cache_write_tokens":0},"output_tokens":8,'
    b'"output_tokens_details":{"reasoning_tokens":0},"total_tokens":22}'
)
_AT = b'"item_id":"msg_1","output_index":0,"content_index":0'
_DELTA = b'{"type":"response.output_text.delta","sequence_number":9,' + _AT + b',"delta":"%b","logprobs":[]}'
_DONE_ITEM = _ITEM % (b"completed", _PART % _SAID)
_RESPONSES = Answers(
    _response(_RESPONSE % (b"completed", _DONE_ITEM, _COUNTED)),
    _framed(
        _event(b'{"type":"response.created","sequence_number":0,"response":%b}' % (
            _RESPONSE % (b"in_progress", b"", b"null")))
        + _event(b'{"type":"response.output_item.added","sequence_number":1,"output_index":0,"item":%b}' % (
            _ITEM % (b"in_progress", b"")))
        + _event(b'{"type":"response.content_part.added","sequence_number":2,%b,"part":%b}' % (_AT, _PART % b""))
        + _event(_DELTA % b"Hello")
    ),
    _framed(_event(_DELTA % b" and more")),
    _event(b'{"type":"response.output_text.done","sequence_number":97,%b,"text":"%b","logprobs":[]}' % (_AT, _SAID))
    + _event(b'{"type":"response.content_part.done","sequence_number":98,%b,"part":%b}' % (_AT, _PART % _SAID))
    + _event(b'{"type":"response.output_item.done","sequence_number":99,"output_index":0,"item":%b}' % _DONE_ITEM)
    + _event(b'{"type":"response.completed","sequence_number":100,"response":%b}' % (
        _RESPONSE % (b"completed", _DONE_ITEM, _COUNTED))),
)  # fmt: skip
_PATHS = ((b"/chat/completions", _CHAT), (b"/messages", _MESSAGES), (b"/responses", _RESPONSES))


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
        self.says = _CHAT

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
        says = next((one for tail, one in _PATHS if path.endswith(tail)), None)
        if method == b"POST" and says is not None:
            self.says = says
            if _STREAMED.search(body):
                self.begin(body)
            else:
                self.transport.write(says.whole)
        elif path.endswith(b"/models"):
            self.transport.write(_response(_MODELS))
        else:
            self.transport.write(_response(b'{"error":{"message":"not here"}}', b"404 Not Found"))

    def begin(self, body: bytes) -> None:
        assert self.transport is not None
        order = _ORDER.search(body)
        self.chunks = self.left = int(order[1]) if order else 20
        self.usage = bool(_WITH_USAGE.search(body))
        self.transport.write(_STREAM_HEAD + self.says.first)
        self.left -= 1
        gap_s = 1 / float(order[2]) if order else 0.05
        self.pace.add(self.pace.loop.time(), gap_s, self)

    def chunk(self) -> bool:
        """Send what is due; False after the last, or when the gateway has left."""
        if self.transport is None:
            return False
        if self.left > 0:
            self.left -= 1
            self.transport.write(self.says.next)
            return True
        tail = b""
        if self.says is _CHAT:
            tail = (_USAGE % (self.chunks, self.chunks + 14) if self.usage else b"") + b"data: [DONE]\n\n"
        self.transport.write(_framed(self.says.last + tail) + b"0\r\n\r\n")
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
