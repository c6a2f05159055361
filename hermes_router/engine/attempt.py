"""One try at a target: sends the request, receives what is pushed, and comes to one verdict.

Owns the life of an attempt from the first byte sent to its verdict (answered, or an UpstreamError), its silence limits,
and the facts that it teaches the ledger. It must never know whether there will be another attempt.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple, Protocol

from hermes_router.core.catalog import TargetFacts
from hermes_router.core.errors import Malformed, TimedOut, Truncated, Unreachable, UpstreamError
from hermes_router.core.observations import QuotaSeen
from hermes_router.core.ports import Clock, Flight, Outbound, Transport
from hermes_router.engine.sweep import Sweeper
from hermes_router.wire.lane import Lane

_MAX_ERROR_BODY = 65_536
_MAX_WHOLE_BODY = 64 * 1024 * 1024
_MAX_SAID = 64 * 1024 * 1024  # characters of a stream
WORDLESS_S = 600.0  # pings are life, but not for ever: silence of the model itself
_LOOK_AGAIN_S = 5.0  # how often a silent target without a rival is compared with the pool


class Owner(Protocol):
    """The exchange, as its attempt sees it."""

    def emit(self, data: bytes) -> None:
        """Bytes for the caller."""
        ...

    def wake(self) -> None:
        """Something changed: the verdict, or the commit point."""
        ...

    def seen(self, quotas: tuple[QuotaSeen, ...]) -> None:
        """What the head says of the provider's windows: true now, stale at the end of a long stream."""
        ...

    def admitted(self) -> None:
        """A good head came: the provider has let the request in, whatever becomes of it."""
        ...

    def alone(self) -> bool:
        """Whether nobody else could serve the request now."""
        ...


class Border(NamedTuple):
    """The pure functions that read an answer: header quotas, and non-2xx bodies."""

    seen: Callable[[str, Mapping[str, str], float], tuple[QuotaSeen, ...]]
    classify: Callable[[str, int, Mapping[str, str], bytes, float], UpstreamError]


class Attempt:
    """A Sink for one request to one target. `verdict` is set once: an error, or None with `answered`."""

    __slots__ = (
        "_border",
        "_buffer",
        "_clock",
        "_ended",
        "_flight",
        "_headers",
        "_lane",
        "_owner",
        "_paused",
        "_said",
        "_said_mono",
        "_size",
        "_status",
        "_sweeper",
        "answered",
        "body",
        "error",
        "facts",
        "first_token_limit_s",
        "last_data_mono",
        "sent_mono",
        "stall_s",
        "ttft_s",
    )

    def __init__(
        self,
        facts: TargetFacts,
        owner: Owner,
        lane: Lane | None,
        *,
        clock: Clock,
        border: Border,
        sweeper: Sweeper,
        first_token_limit_s: float,
        stall_s: float,
    ) -> None:
        self.facts = facts
        self._owner = owner
        self._lane = lane
        self._clock = clock
        self._border = border
        self._sweeper = sweeper
        self.first_token_limit_s = first_token_limit_s
        self.stall_s = stall_s
        self._status = 0
        self._headers: Mapping[str, str] = {}
        self._buffer: list[bytes] = []
        self._size = 0
        self._flight: Flight | None = None
        self._ended = False
        self._paused = False
        self.body = b""
        self.answered = False
        self.error: UpstreamError | None = None
        self.ttft_s: float | None = None
        self._said = 0  # characters, at the last look
        self.sent_mono = self.last_data_mono = self._said_mono = clock.mono()

    @property
    def over(self) -> bool:
        """Whether there is a verdict."""
        return self.answered or self.error is not None

    @property
    def status(self) -> int | None:
        """The HTTP status that came back, None where none did."""
        return self._status or None

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers that came back, names in lower case; none where no head came."""
        return self._headers

    def send(self, transport: Transport, request: Outbound) -> None:
        """Start. A request that cannot be put into HTTP (a row's address, a header) is a failure like others."""
        try:
            flight = transport.send(request, self)
        except ValueError as error:
            self._ended = True
            self._fail(Unreachable(f"it cannot be sent: {error}"))
            return
        if self._ended:  # it came to its verdict within send
            flight.abort()
        else:
            self._flight = flight

    def abort(self) -> None:
        """Close the connection; there will be no (other) verdict."""
        self._ended = True
        if self._flight is not None:
            self._flight.abort()
            self._flight = None

    # -- pushed by the transport -----------------------------------------------------------------------

    def head(self, status: int, headers: Mapping[str, str]) -> None:
        """Status and headers."""
        self._status = status
        self._headers = headers
        self.last_data_mono = self._clock.mono()
        provider = self.facts.provider
        quotas = self._border.seen(provider.ratelimit, headers, self._clock.now())
        if quotas:
            self._owner.seen(quotas)
        if 200 <= status < 300:
            self._owner.admitted()
            kind = headers.get("content-type", "")
            if kind.startswith("text/html"):
                self._fail(Malformed("HTML instead of an answer", status=status))
            elif self._lane is not None and "json" in kind:
                # A whole answer, or an error, although a stream was asked for (providers.md 6).
                self._lane = None

    def data(self, chunk: bytes) -> None:
        """Some of the body."""
        if self.over:
            return
        self.last_data_mono = self._clock.mono()
        lane = self._lane
        if lane is None or not 200 <= self._status < 300:
            self._collect(chunk)
            return
        out = lane.feed(chunk)
        if self.ttft_s is None and lane.began:
            self.ttft_s = self.last_data_mono - self.sent_mono
        if out:
            self._owner.emit(out)
        if lane.error is not None:
            self._fail(lane.error)
        elif lane.over:
            self._answer()

    def _collect(self, chunk: bytes) -> None:
        self._size += len(chunk)
        if 200 <= self._status < 300:
            if self._size > _MAX_WHOLE_BODY:
                self._fail(Malformed("an answer beyond every bound"))
                return
            self._buffer.append(chunk)
        elif self._size - len(chunk) < _MAX_ERROR_BODY:
            self._buffer.append(chunk[:_MAX_ERROR_BODY])

    def end(self) -> None:
        """The body ended as its framing said."""
        self._ended = True
        flight, self._flight = self._flight, None
        if flight is not None:
            self._sweeper.landed(flight)
        if not self.over:
            self._conclude()

    def _conclude(self) -> None:
        if not 200 <= self._status < 300:
            body = b"".join(self._buffer)
            self._fail(
                self._border.classify(
                    self.facts.provider.rejection, self._status, self._headers, body, self._clock.now()
                )
            )
        elif self._lane is None:
            self.body = b"".join(self._buffer)
            self._answer()
        else:
            self._end_lane(self._lane, Truncated("the stream ended without an end"), clean=True)

    def failed(self, error: UpstreamError) -> None:
        """The connection failed."""
        self._ended = True
        if self.over:
            return
        if self._status >= 300:
            self._conclude()  # what the head said counts, also where the body did not come whole
        elif self._lane is not None and self._status:
            # A finish reason that came before the cut is a good ending; the lane knows.
            self._end_lane(self._lane, error, clean=False)
        else:
            self._fail(error)

    def _end_lane(self, lane: Lane, error: UpstreamError, *, clean: bool) -> None:
        out = lane.end(clean=clean)
        if out:
            self._owner.emit(out)
        if lane.over:
            self._answer()
        else:
            self._fail(error if not clean and isinstance(lane.error, Truncated) else lane.error or error)

    # -- the verdict -----------------------------------------------------------------------------------

    def _answer(self) -> None:
        self.answered = True
        if not self._ended and self._flight is not None:
            self._sweeper.linger(self._flight)
        self._owner.wake()

    def _fail(self, error: UpstreamError) -> None:
        error.target = self.facts.target
        self.error = error
        if not self._ended:
            self.abort()
        self._owner.wake()

    def overrule(self, error: UpstreamError) -> None:
        """The answer turned out to be none when it was read."""
        error.target = self.facts.target
        self.answered = False
        self.error = error

    def tick(self, mono: float) -> None:
        """Silence beyond its limit is a failure; upstream pings count as life for the stall only."""
        if self.over:
            return
        lane = self._lane
        if lane is None or self.ttft_s is None:
            if mono - self.sent_mono > self.first_token_limit_s:
                self._too_late(mono)
        elif not self._paused:
            said = lane.said_chars
            if said > _MAX_SAID:  # much of it may be held: calls wait for the end, and a fold keeps all
                self._fail(Malformed("an answer beyond every bound"))
            elif mono - self.last_data_mono > self.stall_s or self._is_wordless(said, mono):
                self.abort()
                self._end_lane(lane, TimedOut("stall"), clean=False)

    def _is_wordless(self, said: int, mono: float) -> bool:
        """Whether nothing but signs of life has come for so long that nothing will."""
        if said != self._said:
            self._said, self._said_mono = said, mono
        return mono - self._said_mono > max(WORDLESS_S, self.stall_s)

    def _too_late(self, mono: float) -> None:
        if self._status >= 300:
            self.abort()
            self._conclude()
        elif self._owner.alone():
            self.first_token_limit_s = mono - self.sent_mono + _LOOK_AGAIN_S
        else:
            self._fail(TimedOut("first_token"))

    def pause(self) -> None:
        """The caller is slow: stop reading. The silence that follows is ours, not the provider's."""
        self._paused = True
        if self._flight is not None and not self._ended:
            self._flight.pause()

    def resume(self) -> None:
        """Read on."""
        self._paused = False
        self.last_data_mono = self._said_mono = self._clock.mono()
        if self._flight is not None and not self._ended:
            self._flight.resume()
