"""The HTTP error boundary: whatever happens inside, the caller gets JSON in its own dialect.

Owns the only broad `except` of the public API, the checks on `Host` and `Origin`, and the router key. It must never know
what a route does.
"""

from collections.abc import Awaitable, Callable

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from hermes_router.core.errors import BadRequest, CallerError, HermesError, TooLarge
from hermes_router.core.ports import Clock, Ids, Log
from hermes_router.engine.admission import Caller
from hermes_router.server.access import Access
from hermes_router.wire.openai_errors import Rendered, render_error

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
KeyedHandler = Callable[[web.Request, Caller, str], Awaitable[web.StreamResponse]]


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
            request_id = self._ids.new("req_")
            try:
                access = self._access()
                origin = access.check(request)
                caller = access.admission.admit(request.headers)
                response = await handler(request, caller, request_id)
                if origin and not response.prepared:
                    response.headers.update(access.cors(origin))
            except Exception as error:
                response = self._failed(error, request, request_id)
            return response

        return guarded

    def open_route(self, handler: Handler) -> Handler:
        """A route without a key; host and origin are checked all the same."""

        async def guarded(request: web.Request) -> web.StreamResponse:
            try:
                access = self._access()
                origin = access.check(request)
                response = await handler(request)
                if origin:
                    response.headers.update(access.cors(origin))
            except Exception as error:
                response = self._failed(error, request, self._ids.new("req_"))
            return response

        return guarded

    def _failed(self, error: Exception, request: web.Request, request_id: str) -> web.Response:
        """The answer to an exception that reached the border."""
        known: HermesError
        match error:
            case HermesError():
                known = error
            case web.HTTPRequestEntityTooLarge():
                known = TooLarge(
                    f"The request body is larger than MAX_REQUEST_BYTES ({self._access().max_bytes} bytes)."
                )
            case web.RequestPayloadError() | HttpProcessingError():
                known = BadRequest(f"The request body cannot be read: {type(error).__name__}.")
            case web.HTTPException():
                known = CallerError(error.reason)
            case _:
                self._log.warning(
                    "server.fault", request_id=request_id, path=request.path[:200], exc_info=error
                )
                known = HermesError("internal")
        return respond(render_error(known, now=self._clock.now()), request_id)


def respond(rendered: Rendered, request_id: str) -> web.Response:
    """A rendered answer as a response, with both id headers (the SDKs read only their own)."""
    headers = {
        "content-type": "application/json",
        "x-request-id": request_id,
        "request-id": request_id,
        **rendered.headers,
    }
    return web.Response(status=rendered.status, headers=headers, body=rendered.body)

