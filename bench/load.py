"""The load generator: keep-alive callers as bare protocols, cheap enough to share a core with the mock provider.

It reads just enough of HTTP to know that an answer is whole, so that a wrong or cut one is counted and never mistaken
for a fast one. It must never know which gateway it talks to.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from time import perf_counter

HOST = "127.0.0.1"


@dataclass(frozen=True)
class Wire:
    """A dialect as far as its answers are looked at.

    `content` marks the text of a whole answer; in a stream `text` is where text is, `empty` text that is none, `chunk` a
    piece and `done` the good end. No mark of a stream is longer than `chunk`, but for `text` and `empty`.
    """

    path: bytes
    content: bytes
    text: bytes
    empty: bytes
    chunk: bytes
    done: bytes


CHAT = Wire(b"/v1/chat/completions", b'"content":"', b'"content":"', b'"content":""', b"data: {", b"[DONE]")
MESSAGES = Wire(b"/v1/messages", b'"text":"', b'"text":"', b'"text":""', b'"text_delta"', b"message_stop")
RESPONSES = Wire(
    b"/v1/responses", b'"text":"', b'"delta":"', b'"delta":""', b"event: response.output_text.delta",
    b"response.completed",
)  # fmt: skip


def request(port: int, body: bytes, wire: Wire = CHAT) -> bytes:
    """The bytes of one POST, as an SDK sends it."""
    return (
        b"POST %b HTTP/1.1\r\nhost: 127.0.0.1:%d\r\naccept: application/json\r\n"
        b"content-type: application/json\r\nauthorization: Bearer bench-key\r\nuser-agent: OpenAI/Python 2.0\r\n"
        b"content-length: %d\r\n\r\n" % (wire.path, port, len(body))
    ) + body


@dataclass
class Tally:
    """What came back. `first_s` are times from sending to the first content; `trouble` is the first wrong answer."""

    answers: int = 0
    bad: int = 0
    chunks: int = 0
    first_s: list[float] = field(default_factory=list)
    trouble: str = ""

    def wrong(self, what: bytes) -> None:
        self.bad += 1
        self.trouble = self.trouble or what[:600].decode(errors="replace")


class Unary(asyncio.Protocol):
    """One caller that sends the same request again and again, as long as there are some left to send."""

    def __init__(self, payload: bytes, take: Callable[[], bool], tally: Tally, wire: Wire = CHAT) -> None:
        self.payload, self.take, self.tally, self.wire = payload, take, tally, wire
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.got = b""
        self.waiting = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: asyncio.Transport = transport  # type: ignore[assignment]
        self.next()

    def next(self) -> None:
        self.waiting = self.take()
        if self.waiting:
            self.transport.write(self.payload)
        else:
            self.transport.close()

    def data_received(self, data: bytes) -> None:
        self.got = self.got + data if self.got else data
        if not whole(self.got):
            return
        if not self.got.startswith(b"HTTP/1.1 200") or self.wire.content not in self.got:
            self.tally.wrong(self.got)
        self.tally.answers += 1
        self.got = b""
        self.next()

    def connection_lost(self, exc: Exception | None) -> None:
        if self.waiting:
            self.tally.wrong(self.got or b"connection closed without an answer")
        if not self.done.done():
            self.done.set_result(None)


def whole(answer: bytes) -> bool:
    """Whether these bytes are one complete answer."""
    end = answer.find(b"\r\n\r\n")
    if end < 0:
        return False
    head = answer[:end].lower()
    at = head.find(b"\r\ncontent-length:")
    if at >= 0:
        return len(answer) >= end + 4 + int(head[at + 17 :].split(b"\r\n", 1)[0])
    return answer.endswith(b"0\r\n\r\n")


class Stream(asyncio.Protocol):
    """One caller with one stream."""

    def __init__(self, payload: bytes, tally: Tally, wire: Wire = CHAT) -> None:
        self.payload, self.tally, self.wire = payload, tally, wire
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.first = self.ended = False
        self.head = b""
        self.tail = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: asyncio.Transport = transport  # type: ignore[assignment]
        self.began = perf_counter()
        self.transport.write(self.payload)

    def data_received(self, data: bytes) -> None:
        data = self.tail + data  # a mark may be cut in two; the tail is too short to hold a whole one
        if not self.first:
            self.head = self.tail = data
            if not data.startswith(b"HTTP/1.1 200"[: len(data)]) and whole(data):
                self.transport.close()
            if not self.spoke(data):
                return
            self.first = True
            self.tally.first_s.append(perf_counter() - self.began)
        self.tally.chunks += data.count(self.wire.chunk)
        self.ended = self.ended or self.wire.done in data
        if self.ended and data.endswith(b"0\r\n\r\n"):
            self.transport.close()
        self.tail = data[-len(self.wire.chunk) + 1 :]

    def spoke(self, data: bytes) -> bool:
        """Whether there is text in it."""
        return self.wire.text in data.replace(self.wire.empty, b"")

    def connection_lost(self, exc: Exception | None) -> None:
        if self.ended and self.head.startswith(b"HTTP/1.1 200"):
            self.tally.answers += 1
        else:
            self.tally.wrong(self.head or b"stream closed without an answer")
        if not self.done.done():
            self.done.set_result(None)


async def _connect(caller: asyncio.Protocol, port: int) -> None:
    await asyncio.get_running_loop().create_connection(lambda: caller, HOST, port)


async def unary(
    port: int, bodies: Sequence[bytes], count: int, connections: int = 16, limit_s: float = 60.0, wire: Wire = CHAT
) -> Tally:
    """Send `count` requests over keep-alive connections, each as soon as the one before it is answered.

    Each connection sends one of `bodies`, again and again: an agent in its conversation.
    """
    tally, left = Tally(), count

    def take() -> bool:
        nonlocal left
        left -= 1
        return left >= 0 and tally.bad < 5

    payloads = [request(port, each, wire) for each in bodies]
    callers = [Unary(payloads[i % len(payloads)], take, tally, wire) for i in range(min(connections, count))]
    await asyncio.gather(*(_connect(c, port) for c in callers))
    _, late = await asyncio.wait([c.done for c in callers], timeout=limit_s)
    if late:
        tally.wrong(b"no answer within the time")
    return tally


class Streams:
    """Streams opened one after another at an even pace."""

    def __init__(self, port: int, body: bytes, wire: Wire = CHAT) -> None:
        self.port, self.payload, self.wire = port, request(port, body, wire), wire
        self.tally = Tally()
        self.callers: list[Stream] = []

    async def open(self, count: int, over_s: float) -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        opening = set()
        for i in range(count):
            await asyncio.sleep(max(0.0, began + over_s * i / count - loop.time()))
            caller = Stream(self.payload, self.tally, self.wire)
            self.callers.append(caller)
            opening.add(loop.create_task(_connect(caller, self.port)))
        await asyncio.gather(*opening)

    async def reach(self, chunks: int, limit_s: float) -> None:
        """Wait until so many more chunks have come, or all streams are over."""
        loop = asyncio.get_running_loop()
        goal, end = self.tally.chunks + chunks, loop.time() + limit_s
        # Looked at now and then, since a wake-up per chunk would be the load generator's own cost.
        while self.tally.chunks < goal and loop.time() < end and not all(c.done.done() for c in self.callers):
            await asyncio.sleep(0.01)

    async def finish(self, limit_s: float = 30.0) -> Tally:
        _, late = await asyncio.wait([c.done for c in self.callers], timeout=limit_s)
        for caller in self.callers:
            if not caller.done.done():
                caller.transport.abort()
        if late:
            await asyncio.wait(late, timeout=5)
        return self.tally
