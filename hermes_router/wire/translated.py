"""The lanes of every pair of dialects but Chat to Chat: translated, or raw where both sides speak the same.

Owns the relay's pure half for them: upstream bytes in, the caller's bytes out. `TranslatedLane` decodes, splices and
encodes; `RawLane` forwards whole frames as they came, and decodes them only to know what the caller has been shown. It
must never know a dialect, a target or a transport.
"""

from hermes_router.core.errors import EmptyReply, Malformed, Truncated, UpstreamError
from hermes_router.core.events import ChatEvent, Failed, Finish, Finished, Started, Usage
from hermes_router.wire.dialect import Decoder
from hermes_router.wire.splice import Splice
from hermes_router.wire.sse import Frame, OversizedEvent, SSEDecoder

__all__ = ["RawLane", "TranslatedLane"]


class TranslatedLane:
    """One attempt's stream, taken apart and written anew. After `error` or `over` is set, nothing more is fed.

    With `tap`, all its events are kept in `tapped`, for what a later turn must replay.
    """

    def __init__(self, splice: Splice, decoder: Decoder, *, tap: bool = False) -> None:
        self._sse = SSEDecoder()
        self._splice = splice
        self._tap = tap
        self.decoder = decoder
        self.tapped: list[ChatEvent] = []
        self.error: UpstreamError | None = None
        self.over = False

    @property
    def began(self) -> bool:
        """Whether the model has said anything, shown or not."""
        return self.decoder.has_reasoning or not self._splice.shown.only_reasoning

    @property
    def committed(self) -> bool:
        """Whether the caller sees something of this exchange."""
        return self._splice.committed

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

    def _frames(self, frames: list[Frame]) -> bytes:
        out: list[bytes] = []
        for frame in frames:
            try:
                out.append(self._frame(frame))
            except UpstreamError as error:
                self.error = error
            if self.over or self.error is not None:
                break
        return out[0] if len(out) == 1 else b"".join(out)

    def _frame(self, frame: Frame) -> bytes:
        return self._take(self.decoder.feed(frame))

    def _take(self, events: list[ChatEvent]) -> bytes:
        """Write what of these events may be seen; know the end when it comes. Raises EmptyReply."""
        if not events:
            return b""
        if self._tap:
            self.tapped.extend(events)
        last = events[-1]
        if isinstance(last, Failed):
            out = self._splice.admit(events[:-1])
            self.error = last.error
            return out
        out = self._splice.admit(events)
        ended = isinstance(last, Finished)
        if self._splice.capped and not ended:
            out += self._splice.admit([Finished(Finish.LENGTH, "length")])
            ended = True
        if ended:
            self._end_well()
        return out

    def _end_well(self) -> None:
        """The answer is over, unless nothing of it could be shown."""
        if not self._splice.committed:
            raise EmptyReply("white space up to the end")
        self.over = True

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

    def _conclude(self, *, clean: bool) -> bytes:
        """The end that the decoder makes of what came."""
        out = b""
        try:
            out = self._take(self.decoder.finish_stream(clean=clean))
        except UpstreamError as error:
            self.error = error
        if self._may_conclude():
            self.error = self.error or Truncated("the stream ended without an end")
        return out


class RawLane(TranslatedLane):
    """The lane of two sides that speak the same dialect: frames go through as they came.

    They are held until something can be seen, and the frame that ends the stream until the exchange has said its word
    (`Splice.tail`). Where the caller has been shown another identity, or another attempt's thoughts, it translates.
    """

    def __init__(self, splice: Splice, decoder: Decoder, *, tap: bool = False) -> None:
        super().__init__(splice, decoder, tap=tap)
        self._held: list[tuple[Frame, list[ChatEvent]]] = []
        self._raw: bool | None = None  # None = nothing has been shown yet: undecided

    def feed(self, chunk: bytes) -> bytes:
        """Upstream bytes in, caller's bytes out."""
        # The hot path: one whole event, of text.
        data = self._sse.named(chunk) if self._raw and self.error is None and not self.over else None
        if data is None:
            return super().feed(chunk)
        text = self.decoder.plain_text(data)
        if text is None:
            return self._frames([Frame(data, chunk[7 : chunk.find(b"\n")])])
        self._splice.shown.add(text)
        self._splice.passed = chunk
        return chunk

    def _frame(self, frame: Frame) -> bytes:
        if self._raw is False:
            return super()._frame(frame)
        if frame.data is None:
            return b""
        if self._raw:
            text = self.decoder.plain_text(frame.data) if b"\n" not in frame.data else None
            if text is not None:
                self._splice.shown.add(text)
                self._splice.passed = written = b"event: %b\ndata: %b\n\n" % (frame.name, frame.data)
                return written
        events = self.decoder.feed(frame)
        if self._raw:
            return self._pass(frame, events)
        self._held.append((frame, events))
        if not self._splice.would_show(events) and not (events and isinstance(events[-1], Finished | Failed)):
            return b""
        return self._decide()

    def _decide(self) -> bytes:
        """Something can be seen: raw, if nobody was shown before, and the SDKs could read it.

        They skip a frame without an `event` line (providers.md 12.10).
        """
        held, self._held = self._held, []
        self._raw = self._splice.takes_raw and all(frame.name for frame, _ in held) and self.decoder.started
        out = [self._pass(frame, events) if self._raw else self._take(events) for frame, events in held]
        return b"".join(out)

    def _pass(self, frame: Frame, events: list[ChatEvent]) -> bytes:
        """Forward a frame. Raises EmptyReply."""
        if self._tap:
            self.tapped.extend(events)
        last = events[-1] if events else None
        if isinstance(last, Failed):
            self.error = last.error
            return b""
        written = self._written(frame)
        self._splice.passed = written
        self._splice.note(events)
        if isinstance(last, Finished):
            if not self._splice.committed:
                # Good, says the decoder, and nothing that we know can be seen: a tool that the provider runs.
                self._splice.commit(Started(self.decoder.id, self.decoder.model, self.decoder.created))
            self._splice.tail = written
            self._end_well()
            return b""
        return written

    def _written(self, frame: Frame) -> bytes:
        """A frame as it came, but for its comments, its line ends, and what no SDK could read."""
        data = self.decoder.mend(frame.data or b"").replace(b"\n", b"\ndata: ")
        return b"event: %b\ndata: %b\n\n" % (frame.name, data) if frame.name else b"data: %b\n\n" % data

    def _conclude(self, *, clean: bool) -> bytes:
        """The end of a raw stream whose own last frame is missing."""
        if self._raw:
            events = self.decoder.finish_stream(clean=clean)
            last = events[-1] if events else None
            if isinstance(last, Finished):
                self.over = True  # all but the last frame came: the encoder writes that one
            else:
                self.error = last.error if isinstance(last, Failed) else Truncated("the last event is missing")
            return b""
        held, self._held = self._held, []
        self._raw = False
        return b"".join(self._take(events) for _, events in held) + super()._conclude(clean=clean)
