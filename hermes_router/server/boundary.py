"""The HTTP error boundary: whatever happens inside, the caller gets JSON in its own dialect.

Owns the only broad `except` of the public API, the checks on `Host` and `Origin`, the router key, and the headers that
every answer carries. It must never know what a route does.
"""

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from hermes_router.core.errors import BadRequest, HermesError
from hermes_router.core.ports import Clock, Ids, Log
from hermes_router.engine.admission import Caller
from hermes_router.server.access import Access
from hermes_router.server.streaming import SSEReply
from hermes_router.wire.openai_errors import Rendered, error_event, render_error

# What a caller may call its own request; anything else could forge a line of our log (facts/os.md 6.4).
_CALLER_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


@dataclass(slots=True)
class Visit:
    """One request that was let in. `headers` go on its answer, whatever that is; `reply` is where a stream goes."""

    caller: Caller
    request_id: str
    headers: Mapping[str, str]
    max_bytes: int
    reply: SSEReply | None = None


Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
KeyedHandler = Callable[[web.Request, Visit], Awaitable[web.StreamResponse]]


class Boundary:
    """Wraps handlers. `open_route` needs no router key, `keyed` does."""

    def __init__(self, access: Callable[[], Access], clock: Clock, ids: Ids, log: Log) -> None:
        self._access = access
        self._clock = clock
        self._ids = ids
        self._log = log

    def keyed(self, handler: KeyedHandler) -> Handler:
        """A route under `/v1`: host, origin and router key are checked before anything else happens."""

        async def guarded(request: web.Request) -> web.StreamResponse:
            headers = self._headers(request)
            visit: Visit | None = None
            try:
                access = self._access()
                access.check(request)
                headers.update(access.cors(request))
                caller = access.admission.admit(request.headers)
                visit = Visit(caller, headers["x-request-id"], headers, access.max_bytes)
                response = await handler(request, visit)
            except Exception as error:  # noqa: BLE001 - the border
                response = await self._failed(error, request, headers, visit.reply if visit else None)
            if not response.prepared:
                response.headers.update(headers)
            return response

        return guarded

    def open_route(self, handler: Handler) -> Handler:
        """A route without a key; host and origin are checked all the same."""

        async def guarded(request: web.Request) -> web.StreamResponse:
            headers = self._headers(request)
            try:
                access = self._access()
                access.check(request)
                headers.update(access.cors(request))
                response = await handler(request)
            except Exception as error:  # noqa: BLE001 - the border
                response = await self._failed(error, request, headers, None)
            response.headers.update(headers)
            return response

        return guarded

    def _headers(self, request: web.Request) -> dict[str, str]:
        """Both id headers (the SDKs read only their own); a caller's own id is kept where it is a plain word."""
        request_id = request.headers.get("x-request-id", "")
        if not _CALLER_ID.fullmatch(request_id):
            request_id = self._ids.new("req_")
        return {"x-request-id": request_id, "request-id": request_id}

    async def _failed(
        self, error: Exception, request: web.Request, headers: Mapping[str, str], reply: SSEReply | None
    ) -> web.StreamResponse:
        """The answer to an exception that reached the border; in a stream that has begun, its error event."""
        known: HermesError
        unreadable = False
        match error:
            case HermesError():
                known = error
            case web.RequestPayloadError() | HttpProcessingError():
                # What follows on this connection cannot be told from the rest of this body.
                known, unreadable = BadRequest("the request body cannot be read: its framing is broken"), True
            case _:
                known = HermesError("internal")
                if not _caller_left(request):
                    self._log.warning(
                        "server.fault", request_id=headers["x-request-id"], path=request.path[:200], exc_info=error
                    )
        if reply is not None and reply.response is not None:
            reply.write(error_event(known, now=self._clock.now()))
            await reply.end()
            return reply.response
        response = respond(render_error(known, now=self._clock.now()))
        if unreadable:
            response.force_close()
        return response


def _caller_left(request: web.Request) -> bool:
    return request.transport is None or request.transport.is_closing()


def respond(rendered: Rendered) -> web.Response:
    """A rendered answer as a response."""
    headers = {"content-type": "application/json", **rendered.headers}
    return web.Response(status=rendered.status, headers=headers, body=rendered.body)
