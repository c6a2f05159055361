"""The HTTP error boundary: whatever happens inside, the caller gets JSON in its own dialect.

Owns the only broad `except` of the public API, the checks on `Host` and `Origin`, the router key, and the headers that
every answer carries. It must never know what a route does.
"""

import re
from collections.abc import Awaitable, Callable, Mapping

import msgspec

from hermes_router.core.catalog import DialectName
from hermes_router.core.errors import CallerError, HermesError
from hermes_router.core.ports import Clock, Ids, Log
from hermes_router.engine.admission import Caller
from hermes_router.server.access import Access
from hermes_router.server.arrival import Arrival, Handler, Reply
from hermes_router.server.turned_away import TurnedAway
from hermes_router.wire.dialect import Dialect
from hermes_router.wire.dialects import DIALECTS
from hermes_router.wire.openai_errors import Rendered

VERSION_HEADER = "anthropic-version"
"""Anthropic's SDKs send it with everything."""
# What a caller may call its own request; anything else could forge a line of our log (facts/os.md 6.4).
_CALLER_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


class Visit(msgspec.Struct):
    """One request that was let in. `headers` go on its answer, whatever that is; `reply` is where a stream goes."""

    caller: Caller
    request_id: str
    headers: Mapping[str, str]
    max_bytes: int
    reply: Reply | None = None


KeyedHandler = Callable[[Arrival, Visit], Awaitable[Rendered | None]]


class Boundary:
    """Wraps handlers. `open_route` needs no router key, `keyed` does."""

    def __init__(self, access: Callable[[], Access], clock: Clock, ids: Ids, log: Log) -> None:
        self._access = access
        self._clock = clock
        self._ids = ids
        self._log = log
        self._turned_away = TurnedAway(log)

    def keyed(self, handler: KeyedHandler, dialect: DialectName | None = None) -> Handler:
        """A route under `/v1`: host, origin and router key are checked before anything else happens.

        What goes wrong is told in `dialect`; None = in that of the caller's SDK.
        """

        async def guarded(arrival: Arrival) -> Rendered | None:
            headers = self._headers(arrival)
            visit: Visit | None = None
            try:
                access = self._access()
                access.check(arrival)
                headers.update(access.cors(arrival))
                caller = access.admission.admit(arrival.headers)
                visit = Visit(caller, headers["x-request-id"], headers, access.max_bytes)
                rendered = await handler(arrival, visit)
            except Exception as error:  # noqa: BLE001 - the border
                reply = visit.reply if visit else None
                rendered = await self._failed(error, arrival, headers, reply, _told_in(dialect, arrival))
            return rendered and _completed(rendered, headers)

        return guarded

    def open_route(self, handler: Handler, dialect: DialectName | None = None) -> Handler:
        """A route without a key; host and origin are checked all the same. `dialect` as in `keyed`."""

        async def guarded(arrival: Arrival) -> Rendered | None:
            headers = self._headers(arrival)
            try:
                access = self._access()
                access.check(arrival)
                headers.update(access.cors(arrival))
                rendered = await handler(arrival)
            except Exception as error:  # noqa: BLE001 - the border
                rendered = await self._failed(error, arrival, headers, None, _told_in(dialect, arrival))
            return rendered and _completed(rendered, headers)

        return guarded

    def _headers(self, arrival: Arrival) -> dict[str, str]:
        """Both id headers (the SDKs read only their own); a caller's own id is kept where it is a plain word."""
        request_id = arrival.headers.get("x-request-id")
        if request_id is None or not _CALLER_ID.fullmatch(request_id):
            request_id = self._ids.new("req_")
        return {"x-request-id": request_id, "request-id": request_id}

    async def _failed(
        self, error: Exception, arrival: Arrival, headers: Mapping[str, str], reply: Reply | None, dialect: Dialect
    ) -> Rendered | None:
        """The answer to an exception that reached the border; in a stream that has begun, its error event."""
        known = error if isinstance(error, HermesError) else HermesError("internal")
        request_id = headers["x-request-id"]
        if isinstance(known, CallerError):  # what became an exchange is told of by its own line
            self._turned_away.note(
                known, method=arrival.method, path=arrival.path, request_id=request_id, now=self._clock.now()
            )
        elif known is not error and not _caller_left(arrival):
            self._log.warning("server.fault", request_id=request_id, path=arrival.path[:200], exc_info=error)
        if reply is not None and reply.begun:
            reply.write(dialect.error_event(known, now=self._clock.now(), request_id=request_id))
            await reply.end()
            return None
        return dialect.render_error(known, now=self._clock.now(), request_id=request_id)


def _completed(rendered: Rendered, headers: Mapping[str, str]) -> Rendered:
    """The answer with the headers that every answer carries."""
    rendered.headers.update(headers)
    if rendered.body:
        rendered.headers.setdefault("content-type", "application/json")
    return rendered


def _told_in(dialect: DialectName | None, arrival: Arrival) -> Dialect:
    """The dialect of a failure, where the path has none of its own: Anthropic's SDKs name their version."""
    spoken: DialectName = "anthropic_messages" if VERSION_HEADER in arrival.headers else "openai_chat"
    return DIALECTS[dialect or spoken]


def _caller_left(arrival: Arrival) -> bool:
    transport = arrival.transport
    return transport is None or transport.is_closing()
