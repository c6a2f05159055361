"""Requests that come in through aiohttp: every route but the hot ones, and of those what is not ordinary.

Owns the adapter between aiohttp's requests and responses and ours. It must never decide anything.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from hermes_router.core.errors import Stalled, Unreadable
from hermes_router.server.arrival import Handler
from hermes_router.server.body import read_body
from hermes_router.server.head import clean
from hermes_router.server.streaming import AiohttpReply
from hermes_router.wire.openai_errors import Rendered

WebHandler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Through:
    """An Arrival over aiohttp's request. `broken` once the connection is of no further use."""

    def __init__(self, request: web.Request) -> None:
        self._request = request
        self.method = request.method
        self.path = request.path
        self.headers: Mapping[str, str] = request.headers
        self.reply: AiohttpReply | None = None
        self.broken = False

    @property
    def params(self) -> Mapping[str, str]:
        """What the route's pattern matched."""
        return self._request.match_info

    @property
    def query(self) -> Mapping[str, str]:
        """What stands behind the path."""
        return self._request.rel_url.query

    @property
    def transport(self) -> asyncio.Transport | None:
        """The connection, None once the caller has left."""
        return self._request.transport

    async def body(self, limit: int) -> bytes:
        """The body within its bound, unpacked."""
        try:
            return await read_body(self._request, limit)
        except (web.RequestPayloadError, HttpProcessingError):
            self.broken = True
            raise Unreadable from None
        except Stalled:
            self.broken = True
            raise

    def stream(self, headers: Mapping[str, str]) -> AiohttpReply:
        """Where a stream goes."""
        self.reply = AiohttpReply(self._request, headers)
        return self.reply


def through(handler: Handler) -> WebHandler:
    """A route as aiohttp calls it."""

    async def called(request: web.Request) -> web.StreamResponse:
        arrival = Through(request)
        rendered = await handler(arrival)
        if rendered is None:
            assert arrival.reply is not None
            assert arrival.reply.response is not None
            return arrival.reply.response
        response = respond(rendered)
        if arrival.broken:
            response.force_close()
        return response

    return called


def respond(rendered: Rendered) -> web.Response:
    """A rendered answer as a response."""
    return web.Response(status=rendered.status, headers=clean(rendered.headers), body=rendered.body or None)
