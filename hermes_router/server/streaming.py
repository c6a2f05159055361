"""The caller's side of a stream: bytes that are pushed from within callbacks, framed as chunks.

Owns the framing, in both ways in. Chunks are written to the transport directly, since a push cannot await
(facts/perf.md). It must never know what it frames.
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import Final

from aiohttp import web
from aiohttp.http import HttpVersion11

from hermes_router.server.head import clean, write_head

_HEADERS: Final[Mapping[str, str]] = {
    "content-type": "text/event-stream; charset=utf-8",
    "cache-control": "no-cache",
    "x-accel-buffering": "no",
}


class PlainReply:
    """A Reply on a connection of our own front: always chunked."""

    __slots__ = ("_head", "_headers", "_leaving", "_transport", "begun", "last", "over")

    def __init__(
        self, transport: asyncio.Transport, headers: Mapping[str, str], leaving: Callable[[], bool] = bool
    ) -> None:
        self._transport = transport
        self._headers = headers
        self._leaving = leaving
        self.last = False  # the head said that the connection ends with this answer
        self._head = b""
        self.begun = False
        self.over = False

    async def start(self, headers: Mapping[str, str]) -> None:
        """Send the 200 head, together with what is written in the same step of the loop."""
        self.begun = True
        self.last = self._leaving()
        framing = "transfer-encoding: chunked\r\nconnection: close" if self.last else "transfer-encoding: chunked"
        self._head = write_head(200, {**_HEADERS, **self._headers, **headers}, framing)
        asyncio.get_running_loop().call_soon(self._put, b"")

    def _put(self, data: bytes) -> None:
        if self._head:
            data = self._head + data
            self._head = b""
        if data and not self._transport.is_closing():
            self._transport.write(data)

    def write(self, data: bytes) -> None:
        """Write bytes as one chunk of the body; after the end, or once the caller has left, nothing happens."""
        if data and not self.over:
            self._put(b"%x\r\n%b\r\n" % (len(data), data))

    def waiting_bytes(self) -> int:
        """What the caller has not taken yet."""
        return 0 if self._transport.is_closing() else self._transport.get_write_buffer_size()

    async def end(self) -> None:
        """Send the last chunk, once."""
        if not self.begun or self.over:
            return
        self.over = True
        self._put(b"0\r\n\r\n")


class AiohttpReply:
    """A Reply over aiohttp's request, HTTP/1.0 included: the head and the end go out through aiohttp."""

    def __init__(self, request: web.Request, headers: Mapping[str, str]) -> None:
        self._request = request
        self._headers = headers
        self._chunked = request.version >= HttpVersion11  # before it, the end of the connection is the end
        self._over = False
        self.response: web.StreamResponse | None = None

    @property
    def begun(self) -> bool:
        """Whether the head is out."""
        return self.response is not None

    async def start(self, headers: Mapping[str, str]) -> None:
        """Send the 200 head."""
        response = web.StreamResponse(headers=clean({**_HEADERS, **self._headers, **headers}))
        if self._chunked:
            response.enable_chunked_encoding()
        if getattr(self._request.protocol, "leaving", False):
            response.force_close()
        await response.prepare(self._request)
        self.response = response

    def write(self, data: bytes) -> None:
        """Write bytes as one chunk of the body; after the end, or once the caller has left, nothing happens."""
        transport = self._request.transport
        if transport is None or transport.is_closing() or self._over or not data:
            return
        transport.write(b"%x\r\n%b\r\n" % (len(data), data) if self._chunked else data)

    def waiting_bytes(self) -> int:
        """What the caller has not taken yet."""
        transport = self._request.transport
        return 0 if transport is None else transport.get_write_buffer_size()

    async def end(self) -> None:
        """Send the last chunk, once."""
        if self.response is None or self._over:
            return
        self._over = True
        transport = self._request.transport
        if transport is not None and not transport.is_closing():
            await self.response.write_eof()
