"""The caller's side of a stream: an aiohttp response whose body is written from within callbacks.

Owns the chunked framing of pushed bytes. The head goes out through aiohttp; from then on chunks are written to the
transport directly, since a push cannot await (facts/perf.md), and the end through aiohttp again.
"""

from collections.abc import Mapping

from aiohttp import web
from aiohttp.http import HttpVersion11


class SSEReply:
    """A ReplyStream over one request; `response` is set once the head is out."""

    def __init__(self, request: web.Request, headers: Mapping[str, str]) -> None:
        self._request = request
        self._headers = headers
        self._chunked = request.version >= HttpVersion11  # before it, the end of the connection is the end
        self._over = False
        self.response: web.StreamResponse | None = None

    async def start(self, headers: Mapping[str, str]) -> None:
        """Send the 200 head."""
        response = web.StreamResponse(
            headers={
                "content-type": "text/event-stream; charset=utf-8",
                "cache-control": "no-cache",
                "x-accel-buffering": "no",
                **self._headers,
                **headers,
            }
        )
        if self._chunked:
            response.enable_chunked_encoding()
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
