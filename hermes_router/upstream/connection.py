"""One HTTP/1.1 connection and the request under way on it.

Owns framing: bytes in, `Sink` calls out, and the verdict whether the connection may serve again. It must never
know hosts, pools' rules, dialects or what a status means; excerpts quote the parser, never the peer's bytes.
"""

import asyncio
from collections.abc import Callable
from typing import Final, Protocol, cast

import httptools

from hermes_router.core.errors import Malformed, Truncated, Unreachable, UpstreamError
from hermes_router.core.ports import Sink
from hermes_router.upstream.inflate import Inflate

JOIN_UP_TO: Final = 65536  # a body up to this size shares one buffer, hence one packet and call, with its head

_names: dict[bytes, str] = {}


def _lower_name(name: bytes) -> str:
    """The header name in lower case, remembered: providers send the same thirty with each answer."""
    if len(_names) >= 1024:
        _names.clear()
    return _names.setdefault(name, name.decode("latin-1").lower())


class HttpFlight:
    """One request under way; implements `core.ports.Flight`. Without a sink it is over."""

    __slots__ = ("body", "connect_timeout_s", "connection", "dial", "head", "head_only", "paused", "pooled", "sink")

    def __init__(self, sink: Sink, head: bytes, body: bytes, connect_timeout_s: float, head_only: bool) -> None:
        self.sink: Sink | None = sink
        self.head = head
        self.body = body
        self.connect_timeout_s = connect_timeout_s
        self.head_only = head_only
        self.paused = False
        self.pooled = False  # whether the connection came out of the pool, so that a silent death proves nothing
        self.connection: Connection | None = None
        self.dial: asyncio.Task[Connection] | None = None

    def abort(self) -> None:
        """Close the connection now; the sink hears nothing more. Idempotent, also after the end."""
        connection, dial = self.connection, self.dial
        self._clear()
        if connection is not None:
            connection.cut()
        if dial is not None:
            dial.cancel()

    def pause(self) -> None:
        """Stop reading; remembered if there is no connection yet."""
        self.paused = True
        if self.connection is not None:
            self.connection.hold()

    def resume(self) -> None:
        """Read on."""
        self.paused = False
        if self.connection is not None:
            self.connection.go_on()

    def finish(self, error: UpstreamError | None) -> None:
        """Say the last word to the sink, once: `end` without an error, else `failed`.

        What a sink raises goes up to the event loop, which reports it and closes that one connection.
        """
        sink = self.sink
        self._clear()
        if sink is None:
            return
        if error is None:
            sink.end()
        else:
            sink.failed(error)

    def _clear(self) -> None:
        self.sink = self.connection = self.dial = None
        self.head = self.body = b""


class Keeper(Protocol):
    """Where a connection comes from and goes back to."""

    def release(self, connection: "Connection") -> None:
        """It may serve again."""
        ...

    def lost(self, connection: "Connection") -> None:
        """It is closed."""
        ...

    def redial(self, flight: HttpFlight) -> None:
        """The pooled connection died without a byte: send this flight on a new one."""
        ...


class _Stop(Exception):
    """Leaves the parser: whatever follows is not part of this answer."""


def _ignore(_chunk: bytes) -> None:
    """Take a body that nobody waits for."""


class Connection(asyncio.Protocol):
    """A connection; serves one flight at a time, and is idle without one."""

    __slots__ = (
        "_data", "_done", "_flight", "_head_bytes", "_headers", "_inflate", "_keep", "_keeper", "_max_head",
        "_parser", "_spoke", "_status", "_transport", "_until_close", "idle_at",
    )  # fmt: skip

    def __init__(self, keeper: Keeper, max_head_bytes: int) -> None:
        self._keeper = keeper
        self._max_head = max_head_bytes
        self._parser = httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport | None = None
        self._flight: HttpFlight | None = None
        self._data: Callable[[bytes], None] = _ignore
        self._headers: dict[str, str] = {}
        self._inflate: Inflate | None = None
        self._status = self._head_bytes = 0
        self._done = self._keep = self._spoke = self._until_close = False
        self.idle_at = 0.0

    # --- used by pool and flight ---------------------------------------------------------------------

    def usable(self) -> bool:
        """Whether it is open, as far as we have heard."""
        return self._transport is not None and not self._transport.is_closing()

    def start(self, flight: HttpFlight) -> None:
        """Write the flight's request; its sink gets the answer."""
        transport = cast(asyncio.Transport, self._transport)
        self._flight = flight
        self._headers = {}
        self._inflate = None
        self._status = self._head_bytes = 0
        self._done = self._keep = self._spoke = self._until_close = False
        flight.connection = self
        flight.dial = None
        if flight.paused:
            self.hold()
        body = flight.body
        if len(body) <= JOIN_UP_TO:
            transport.write(flight.head + body)
        else:
            transport.writelines((flight.head, body))

    def cut(self) -> None:
        """Close at once, unsent and unread bytes are dropped."""
        self._detach()
        if self._transport is not None:
            self._transport.abort()

    def fail(self, error: UpstreamError) -> None:
        """Close at once, and tell the flight under way, if any, why."""
        flight = self._flight
        self.cut()
        if flight is not None:
            flight.finish(error)

    def hold(self) -> None:
        """Stop reading."""
        if self.usable():
            cast(asyncio.Transport, self._transport).pause_reading()

    def go_on(self) -> None:
        """Read on."""
        if self.usable():
            cast(asyncio.Transport, self._transport).resume_reading()

    # --- called by the event loop --------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection stands (after TLS, if any)."""
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Feed the parser; it calls the `on_...` methods."""
        if self._flight is None:  # an idle connection that speaks has lost its framing
            self.cut()
            return
        self._spoke = True
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            if self._done:
                self._keep = False
            else:
                self._refuse(error)
                return
        if self._done:
            self._finish()
        elif not self._status:
            self._head_bytes += len(data)
            if self._head_bytes > self._max_head:
                self.fail(Malformed("the head of the answer is too large"))

    def connection_lost(self, exc: Exception | None) -> None:
        """Closed by the peer, by an error, or by us."""
        self._keeper.lost(self)
        flight = self._flight
        if flight is None:
            return
        inflate = self._inflate
        self._detach()
        if self._until_close and exc is None and (inflate is None or inflate.whole()):
            flight.finish(None)
        elif self._spoke:
            phase = "body" if self._status else "head"
            flight.finish(Truncated(f"the connection ended within the {phase}", status=self._status or None))
        elif flight.pooled:
            self._keeper.redial(flight)
        else:
            unheard = Unreachable("the connection ended before the answer began")
            unheard.sent = True
            flight.finish(unheard)

    # --- called by the parser ------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """Refuse a second answer: nobody asked for it."""
        if self._done:
            raise _Stop

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header; after the body (trailers) they are ignored."""
        if self._status:
            return
        self._head_bytes += len(name) + len(value) + 4  # colon, space, CR, LF
        if self._head_bytes > self._max_head:
            raise Malformed("the head of the answer is too large")
        key = _names.get(name) or _lower_name(name)
        text = value.decode("latin-1").strip(" \t")
        headers = self._headers
        headers[key] = f"{headers[key]}, {text}" if key in headers else text

    def on_headers_complete(self) -> None:
        """Settle the framing and give the head to the sink; interim answers (1xx) are skipped."""
        status = self._parser.get_status_code()
        if status < 200:
            if status < 100 or status == 101:
                raise Malformed("a status that answers nothing", status=status)
            self._headers = {}
            return
        flight = cast(HttpFlight, self._flight)
        sink = cast(Sink, flight.sink)
        headers = self._headers
        self._status = status
        coding = headers.get("transfer-encoding")
        if coding is not None and coding.lower() != "chunked":
            raise Malformed("a transfer-encoding that was not asked for", status=status)
        self._until_close = coding is None and "content-length" not in headers
        self._data = sink.data
        if headers.get("content-encoding", "identity").lower() != "identity" and not flight.head_only:
            self._inflate = Inflate(headers.pop("content-encoding"))
            headers.pop("content-length", None)
            self._data = self._unpack
        flight.head = flight.body = b""  # never sent again from here on
        sink.head(status, headers)
        if flight.head_only:
            self._done = True
            raise _Stop

    def on_body(self, chunk: bytes) -> None:
        """Some bytes of the body."""
        self._data(chunk)

    def on_message_complete(self) -> None:
        """The framing says that it ended."""
        if self._status:
            self._done = True
            self._keep = self._parser.should_keep_alive()

    # --- within --------------------------------------------------------------------------------------

    def _unpack(self, chunk: bytes) -> None:
        flight, inflate = cast(HttpFlight, self._flight), cast(Inflate, self._inflate)
        for piece in inflate.pieces(chunk):
            if flight.sink is None:
                return
            flight.sink.data(piece)

    def _detach(self) -> None:
        self._flight = None
        self._data = _ignore
        self._inflate = None

    def _finish(self) -> None:
        """The answer is complete: keep the connection if that is safe, then tell the sink.

        In this order, so that a sink which sends again from `end` finds the connection.
        """
        flight, inflate = self._flight, self._inflate
        if flight is None:  # aborted from within the last bytes
            return
        self._detach()
        transport = cast(asyncio.Transport, self._transport)
        # unsent bytes: it answered before it had read the request, and would read the rest as the next one
        if self._keep and not transport.is_closing() and not transport.get_write_buffer_size():
            if flight.paused:
                transport.resume_reading()
            self._keeper.release(self)
        else:
            transport.abort()
        cut = inflate is not None and not inflate.whole()
        flight.finish(Truncated("the packed body ended early", status=self._status) if cut else None)

    def _refuse(self, error: httptools.HttpParserError) -> None:
        """The parser gave up: the peer's bytes, a limit of ours, or a sink that raised."""
        cause = error.__context__ if isinstance(error, httptools.HttpParserCallbackError) else None
        if cause is None:
            self.fail(Malformed(f"not HTTP/1.1: {error}", status=self._status or None))
        elif isinstance(cause, UpstreamError):
            self.fail(cause)
        else:
            self.fail(Malformed("the answer could not be taken in", status=self._status or None))
            raise cause
