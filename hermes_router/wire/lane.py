"""A lane: what an attempt feeds an upstream's bytes to, and what every lane does with them.

Owns the way from bytes to frames and the one verdict of a stream. It must never know what a frame means, a target or a
transport.
"""

from typing import Protocol

from hermes_router.core.errors import Malformed, UpstreamError
from hermes_router.core.events import ChatEvent, Usage
from hermes_router.wire.dialect import Decoder
from hermes_router.wire.splice import Splice
from hermes_router.wire.sse import Frame, OversizedEvent, SSEDecoder

__all__ = ["FrameLane", "Lane", "SeenLane"]


class Lane(Protocol):
    """One attempt's stream. After `error` or `over` is set, nothing more is fed."""

    error: UpstreamError | None
    over: bool

    @property
    def began(self) -> bool:
        """Whether the model has said anything, shown or not: what the first-token limit waits for."""
        ...

    @property
    def said_chars(self) -> int:
        """How many characters of the answer have come: a stream of which nothing but comments comes is a silent one."""
        ...

    @property
    def committed(self) -> bool:
        """Whether the caller sees something of this exchange."""
        ...

    @property
    def usage(self) -> Usage | None:
        """What the upstream reported, if it did."""
        ...

    def feed(self, chunk: bytes) -> bytes:
        """Upstream bytes in, caller's bytes out."""
        ...

    def end(self, *, clean: bool) -> bytes:
        """The body is over."""
        ...


class FrameLane:
    """Frames out of bytes, one verdict, and nothing but UpstreamErrors as reasons."""

    def __init__(self, decoder: Decoder) -> None:
        self._sse = SSEDecoder()
        self.decoder = decoder
        self.tapped: list[ChatEvent] = []  # what a later turn must replay, where that is asked for
        self.error: UpstreamError | None = None
        self.over = False

    @property
    def usage(self) -> Usage | None:
        """What the upstream reported."""
        return self.decoder.usage

    def feed(self, chunk: bytes) -> bytes:
        """Upstream bytes in, caller's bytes out; sets `over` at a good end, `error` at a bad one."""
        if self.over or self.error is not None:
            return b""
        try:
            frames = self._sse.feed(chunk)
        except OversizedEvent as error:
            self.error = Malformed(str(error))
            return b""
        return self._frames(frames) if frames else b""

    def end(self, *, clean: bool) -> bytes:
        """The body ended, by its framing (`clean`) or not."""
        if self.over or self.error is not None:
            return b""
        out = self._frames(self._sse.finish())
        if not self._may_conclude():
            return out
        # The last line had no end: a frame that was cut says nothing of those before it.
        clean = clean and self.error is None
        self.error = None
        return out + self._conclude(clean=clean)

    def _may_conclude(self) -> bool:
        return not self.over and (self.error is None or isinstance(self.error, Malformed))

    def _frames(self, frames: list[Frame]) -> bytes:
        raise NotImplementedError

    def _conclude(self, *, clean: bool) -> bytes:
        """The end that is made of what came."""
        raise NotImplementedError


class SeenLane(FrameLane):
    """A lane whose answer its caller sees as it comes."""

    def __init__(self, splice: Splice, decoder: Decoder) -> None:
        super().__init__(decoder)
        self._splice = splice

    @property
    def began(self) -> bool:
        """Whether the model has said anything, shown or not."""
        return self._splice.spoke or self.decoder.has_reasoning or self.decoder.has_text

    @property
    def said_chars(self) -> int:
        """How many characters it has said, as far as they were decoded."""
        return self._splice.said_chars

    @property
    def committed(self) -> bool:
        """Whether the caller sees something of this exchange."""
        return self._splice.committed
