"""The connections of the public port: ordinary requests of the hot paths are answered here, all else is aiohttp's.

Owns the border between the two on one connection. A request is ours only if the connection stands between two messages,
its head came whole and is ordinary (head.py), and its path is hot. Once aiohttp got anything but one whole request
without a body, it alone knows where the next one begins, and the connection is its own until the end. Here no byte is
read by two parsers, and no message's end is guessed. It must never know a route.
"""

import asyncio
import logging
from collections.abc import Mapping
from typing import Any, Final

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from hermes_router.core.errors import BadRequest, HermesError
from hermes_router.core.ports import Ids
from hermes_router.server.arrival import Handler
from hermes_router.server.head import Head, HeadReader, write_head
from hermes_router.server.hot import Hot
from hermes_router.server.through import respond
from hermes_router.wire.openai_errors import Rendered, render_error

LEAST_DRAIN_S: Final = 0.1  # aiohttp takes 0 for "for ever"
_LARGE: Final = 1_048_576  # bytes of an answer
_HELD_BYTES: Final = 65_536  # of pipelined requests; beyond it the connection is not read


class FrontServer(web.Server):
    """A low-level server whose connections are ours. `hot` holds the handlers of the hot paths, for POST."""

    def __init__(self, handler: Any, *, hot: Mapping[str, Handler], ids: Ids, **kwargs: Any) -> None:
        super().__init__(handler, **kwargs)
        self.hot = hot
        self.ids = ids
        self.retiring = False  # a successor accepts the new connections: each of ours ends with its next answer

    def sweep(self, idle_s: float) -> int:
        """Close what one sweep after the other found idle for so many seconds; returns how many connections are left.

        Not at once: a request may be on its way.
        """
        now = self._loop.time()
        left = self.connections
        for connection in left:
            if isinstance(connection, Front):
                connection.sweep(now, idle_s)
        return len(left)

    def shed(self, silent_s: float) -> None:
        """Close what has not brought the head of a first request within so many seconds of its beginning.

        Later ones are not looked at: a caller may keep a connection that it has used.
        """
        now = self._loop.time()
        for connection in self.connections:
            if isinstance(connection, Front):
                connection.shed(now, silent_s)

    def __call__(self) -> RequestHandler:
        """A new connection."""
        return Front(self, loop=self._loop, **self._kwargs)


class _Envelope(RequestHandler):
    """aiohttp's connection, with its own errors (bad request lines, bad chunking) in our envelope."""

    __slots__ = ("_server",)

    def __init__(self, server: FrontServer, **kwargs: Any) -> None:
        super().__init__(server, **kwargs)
        self._server = server

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002 - aiohttp's text is shown to nobody
    ) -> web.StreamResponse:
        """JSON instead of text or HTML; nothing of the exception is shown."""
        if request.writer.output_size > 0:
            raise ConnectionError("the head is out already")
        if status >= 500 and exc is not None and not isinstance(exc, ConnectionError):
            logging.getLogger("hermes_router.server").error("server.fault", exc_info=exc)
        error = HermesError("internal") if status >= 500 else BadRequest("the HTTP request cannot be read")
        response = self._ours(render_error(error, now=0.0))
        response.force_close()
        return response

    @property
    def leaving(self) -> bool:
        """Whether the daemon shuts down: every answer from now on says that it is its connection's last."""
        return self._server.retiring or self._close or self._force_close

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Put aiohttp's own refusals (no route for `*`, an unmet Expect) in our envelope."""
        if isinstance(resp, web.HTTPException):
            rendered = render_error(BadRequest(f"The request cannot be served: {resp.reason}."), now=0.0)
            resp = self._ours(rendered._replace(status=resp.status))
        if self.leaving and not resp.prepared:
            resp.force_close()
        return await super().finish_response(request, resp, start_time)

    def _ours(self, rendered: Rendered) -> web.Response:
        request_id = self._server.ids.new("req_")
        ids = {"x-request-id": request_id, "request-id": request_id}
        return respond(rendered._replace(headers={"content-type": "application/json", **rendered.headers, **ids}))


class Front(_Envelope):
    """A connection. At any time it is between two messages, or answers a hot request, or is aiohttp's."""

    __slots__ = (
        "_began_at", "_drained", "_foreign", "_halted", "_heads",
        "_held", "_held_bytes", "_hot", "_idle_at", "_linger", "_spoken",
    )  # fmt: skip

    def __init__(self, server: FrontServer, **kwargs: Any) -> None:
        super().__init__(server, **kwargs)
        self._heads = HeadReader()
        self._foreign = False  # aiohttp's parser may stand within a message
        self._hot: Hot | None = None
        self._held: list[bytes] = []  # what came behind the request under way
        self._held_bytes = 0
        self._halted = False
        self._linger: asyncio.TimerHandle | None = None
        self._drained: asyncio.Future[None] | None = None
        self._idle_at: float | None = None  # when a sweep first found nothing under way
        self._began_at = self._loop.time()
        self._spoken = False  # a head has come that was ours to answer; aiohttp counts its own

    # -- in --------------------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """Bytes of the caller."""
        hot = self._hot
        if hot is None:
            if self._foreign or not data:
                super().data_received(data)
            elif self._paused:  # the caller takes no answers: it gets no further ones
                self._hold(data)
            else:
                self._between(data)
        elif hot.need:
            end = hot.feed(data, 0)
            if end < len(data):
                self._hold(data[end:])
            if not hot.need and hot.task is None:
                self._next()
        else:
            self._hold(data)

    def _between(self, data: bytes) -> None:
        """Bytes that begin a message: whose are they?"""
        head = self._heads.read(data) if self._idle() else None
        if head is not None:
            if head.method == "POST" and head.length is not None:
                path = head.target.partition("?")[0]
                handler = self._server.hot.get(path)
                if handler is not None and "#" not in head.target:
                    self._begin(head, path, handler, data)
                    return
            elif head.method != "POST" and head.length is None and head.end == len(data):
                super().data_received(data)
                return
        self._foreign = True
        super().data_received(data)

    def _idle(self) -> bool:
        """Whether aiohttp waits for a message: it has a pending waiter then, or has not come to make its first one."""
        if self._close or self._force_close:
            return False
        waiter = self._waiter
        return not self._request_count if waiter is None else not waiter.done()

    def _begin(self, head: Head, path: str, handler: Handler, data: bytes) -> None:
        assert self.transport is not None
        self._spoken = True
        self._hot = hot = Hot(head, path, self.transport, self._loop, lambda: self.leaving)
        end = hot.feed(data, head.end)
        if end < len(data):
            self._hold(data[end:])
        hot.task = self._loop.create_task(self._serve(hot, handler))

    def _hold(self, data: bytes) -> None:
        self._held.append(data)
        self._held_bytes += len(data)
        if self._held_bytes > _HELD_BYTES and not self._halted:
            self._halted = True
            self._pause_transport_reading()

    # -- out -------------------------------------------------------------------------------------------

    async def _serve(self, hot: Hot, handler: Handler) -> None:
        clean = False
        try:
            clean = self._answer(hot, await handler(hot))
        finally:
            hot.task = None
            self._served(hot, clean=clean)

    def _answer(self, hot: Hot, rendered: Rendered | None) -> bool:
        """Write a whole answer at once. Whether the connection serves on."""
        if rendered is None:
            return hot.reply is not None and hot.reply.over and not hot.reply.last
        last = hot.broken or self.leaving
        transport = self.transport
        if transport is None or transport.is_closing():
            return False
        framing = f"content-length: {len(rendered.body)}"
        if last:
            framing += "\r\nconnection: close"
        head = write_head(rendered.status, rendered.headers, framing)
        if len(rendered.body) < _LARGE:
            transport.write(head + rendered.body)
        else:  # a copy would hold up all others
            transport.writelines((head, rendered.body))
        return not last

    def _served(self, hot: Hot, *, clean: bool) -> None:
        """The exchange is over; an answer before the end of the body leaves the rest of it to be read off."""
        if hot is not self._hot:
            return  # the connection is lost
        if not clean or self._close or self._force_close:
            self._end()
        elif hot.need:
            hot.drop()
            self._linger = self._loop.call_later(self._lingering_time, self._end)
        else:
            self._next()

    def _end(self) -> None:
        self._forget()
        if self.transport is not None:
            self.transport.close()

    def _next(self) -> None:
        """Between two messages again."""
        self._next_keepalive_close_time = self._loop.time() + self._keepalive_timeout
        if self._linger is not None:
            self._linger.cancel()
            self._linger = None
        self._hot = None
        if self._held and not self._paused:
            self._release()

    def _release(self) -> None:
        """Go on with what came meanwhile."""
        data = b"".join(self._held)
        self._held.clear()
        self._held_bytes = 0
        self.data_received(data)
        if self._halted and self._held_bytes <= _HELD_BYTES:
            self._halted = False
            if not self._reading_paused and not self._buffer_paused:  # aiohttp's own reasons
                self._resume_transport_reading()

    def resume_writing(self) -> None:
        """The caller takes answers again."""
        super().resume_writing()
        if self._held and self._hot is None:
            self._release()

    # -- the end ---------------------------------------------------------------------------------------

    def _forget(self) -> None:
        self._hot = None
        self._held.clear()
        self._held_bytes = 0
        if self._linger is not None:
            self._linger.cancel()
            self._linger = None
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)

    def connection_lost(self, exc: BaseException | None) -> None:
        """The caller left: what it asked for is cancelled."""
        hot = self._hot
        self._forget()
        if hot is not None and hot.task is not None:
            hot.task.cancel()
        super().connection_lost(exc)

    def _process_keepalive(self) -> None:
        """A connection that answers a hot request is idle for aiohttp only."""
        if self._hot is not None:
            self._keepalive_handle = self._loop.call_later(self._keepalive_timeout, self._process_keepalive)
        else:
            super()._process_keepalive()

    def sweep(self, now: float, idle_s: float) -> None:
        """Close the connection if it has been idle for so long."""
        if self._hot is not None or not (self._idle() or self._is_left()):
            self._idle_at = None
        elif self._idle_at is None:
            self._idle_at = now
        elif now - self._idle_at >= idle_s:
            self.force_close()

    def _is_left(self) -> bool:
        """Whether aiohttp was told to close it while it waited: it waits no longer then, and leaves it open."""
        return self._close and self._task_handler is not None and self._task_handler.done()

    def shed(self, now: float, silent_s: float) -> None:
        """Close the connection if it is so old, and nothing was asked on it yet."""
        if not self._spoken and not self._request_count and now - self._began_at >= silent_s:
            self.force_close()

    async def shutdown(self, timeout: float | None = 15.0) -> None:  # noqa: ASYNC109 - overrides
        """Wait for the request under way, then cancel it; aiohttp's own would wait for it twice."""
        self._force_close = True  # no further request on this connection
        if self._hot is not None and self._hot.task is not None:
            self._drained = done = self._loop.create_future()
            await asyncio.wait((done,), timeout=timeout)
            await self._cut()
        elif self._request_in_progress:
            self._handler_waiter = done = self._loop.create_future()
            await asyncio.wait((done,), timeout=timeout)
            if not done.done():
                self._handler_waiter = None
                if self._task_handler is not None:
                    self._task_handler.cancel()
        self._forget()
        await super().shutdown(LEAST_DRAIN_S)

    async def _cut(self) -> None:
        task = self._hot.task if self._hot is not None else None
        if task is not None:
            task.cancel()
            await asyncio.wait((task,), timeout=LEAST_DRAIN_S)
