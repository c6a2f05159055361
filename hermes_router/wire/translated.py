"""The lanes of every pair of dialects but Chat to Chat: translated, or raw where both sides speak the same.

Owns the relay's pure half for them: upstream bytes in, the caller's bytes out. `TranslatedLane` decodes, splices and
encodes; `RawLane` forwards whole frames as they came, and decodes them only to know what the caller has been shown;
`FoldLane` collects what a caller wants whole. It must never know a dialect, a target or a transport, but for the events
that a backend sends to the account's owner alone.
"""

from hermes_router.core.errors import EmptyReply, Malformed, Truncated, UpstreamError
from hermes_router.core.events import ChatEvent, Closed, Delta, Failed, Finish, Finished, Opened, Started
from hermes_router.wire.broken_calls import without_broken_calls
from hermes_router.wire.dialect import Decoder
from hermes_router.wire.lane import FrameLane, SeenLane
from hermes_router.wire.responses.turn import LIFECYCLE, Turn, mend_event
from hermes_router.wire.splice import Splice
from hermes_router.wire.sse import Frame

__all__ = ["FoldLane", "RawLane", "TranslatedLane"]

_MOST_HELD = 64 * 1024 * 1024
_NOT_THE_CALLERS = b"codex."  # what a plan's backend says of the account, to the account's owner


class _EventLane(FrameLane):
    """What these lanes share: a frame is the events that the decoder makes of it."""

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
        raise NotImplementedError

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


class FoldLane(_EventLane):
    """One attempt's stream that is wanted whole: nothing comes out, and all of it is in `tapped` at a good end."""

    committed = False

    def __init__(self, decoder: Decoder) -> None:
        super().__init__(decoder)
        self.said_chars = 0
        """How many characters it has said."""
        self.last = b""
        """The last frame, as SDKs can read it."""

    @property
    def began(self) -> bool:
        """Whether the model has said anything."""
        return self.decoder.has_reasoning or self.decoder.has_text or any(isinstance(e, Opened) for e in self.tapped)

    def _frame(self, frame: Frame) -> bytes:
        out = super()._frame(frame)
        self.last = self.decoder.mend(frame.data or b"")
        return out

    def _take(self, events: list[ChatEvent]) -> bytes:
        self.tapped.extend(events)
        self.said_chars += sum(len(event.text) for event in events if isinstance(event, Delta))
        last = events[-1] if events else None
        if isinstance(last, Failed):
            self.error = last.error
        self.over = isinstance(last, Finished)
        return b""


class TranslatedLane(_EventLane, SeenLane):
    """One attempt's stream, taken apart and written anew.

    With `tap`, all its events are kept in `tapped`, for what a later turn must replay.
    """

    def __init__(self, splice: Splice, decoder: Decoder, *, tap: bool = False) -> None:
        super().__init__(splice, decoder)
        self._tap = tap

    def _take(self, events: list[ChatEvent]) -> bytes:
        """Write what of these events may be seen; know the end when it comes. Raises EmptyReply."""
        if not events:
            return b""
        if self._tap:
            self.tapped.extend(events)
        last = events[-1]
        if isinstance(last, Failed):
            said = events[:-1]
            while said and isinstance(said[-1], Closed):
                said.pop()  # the decoder's doing: the provider has not ended its block
            out = self._splice.admit(said)
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


class RawLane(TranslatedLane):
    """The lane of two sides that speak the same dialect: frames go through as they came.

    What shows nothing by itself waits for what does, everything behind a tool call for the end, and the frame that ends
    the stream until the exchange has said its word (`Splice.tail`). Where the caller has been shown another identity,
    or another attempt's part, it translates. `turn` is what the frames are to say of what is remembered here.
    """

    def __init__(self, splice: Splice, decoder: Decoder, *, tap: bool = False, turn: Turn | None = None) -> None:
        super().__init__(splice, decoder, tap=tap)
        self._turn = turn
        self._held: list[tuple[Frame, list[ChatEvent]]] = []
        self._held_bytes = 0
        self._raw: bool | None = None  # None = nothing has been shown yet: undecided

    def feed(self, chunk: bytes) -> bytes:
        """Upstream bytes in, caller's bytes out."""
        # The hot path: one whole event, of text.
        flows = self._raw and not self._held and self.error is None and not self.over
        data = self._sse.named(chunk) if flows else None
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
        if not frame.data:
            return b""
        if frame.name.startswith(_NOT_THE_CALLERS):
            self.decoder.feed(frame)
            return b""
        splice = self._splice
        if self._raw and not self._held and b"\n" not in frame.data:
            text = self.decoder.plain_text(frame.data)
            if text is not None:
                splice.shown.add(text)
                splice.passed = written = b"event: %b\ndata: %b\n\n" % (frame.name, frame.data)
                return written
        events = self.decoder.feed(frame)
        last = events[-1] if events else None
        if isinstance(last, Failed):
            self.error = last.error
            return b""
        if not events:
            _check_text(frame.data)
        behind = bool(self._held)
        self._held.append((frame, events))
        self._held_bytes += len(frame.data)
        if isinstance(last, Finished):
            return self._let_go(last)
        if not splice.waits and splice.would_show(events, behind=behind):
            return self._let_go(None)
        splice.hear(events)
        if self._held_bytes > _MOST_HELD:
            raise Malformed("an answer beyond every bound")
        return b""

    def _let_go(self, finished: Finished | None) -> bytes:
        """Something can be seen: raw, if nobody was shown before, and the SDKs could read it.

        They skip a frame without an `event` line (providers.md 12.10), and fall over a call that is no whole JSON.
        """
        held, self._held, self._held_bytes = self._held, [], 0
        splice = self._splice
        if self._raw is None:
            self._raw = splice.takes_raw and all(frame.name for frame, _ in held) and self.decoder.started
        if self._raw and finished is not None and finished.reason is Finish.LENGTH and splice.waits:
            self._raw = not without_broken_calls([event for _, events in held for event in events])[1]
            if not self._raw:
                splice.take_over()
        if not self._raw:
            return b"".join([self._take(events) for _, events in held])
        out = [self._pass(frame, events) for frame, events in held]
        if finished is not None:
            self._end_raw(out)
        return b"".join(out)

    def _end_raw(self, out: list[bytes]) -> None:
        """The last frame of `out` is the end of the stream: it waits for the exchange's word. Raises EmptyReply."""
        splice = self._splice
        if not splice.committed:
            # Good, says the decoder, and nothing that we know can be seen: a tool that the provider runs.
            splice.commit(Started(self.decoder.id, self.decoder.model, self.decoder.created))
        splice.tail = out.pop()
        self._end_well()

    def _pass(self, frame: Frame, events: list[ChatEvent]) -> bytes:
        if self._tap:
            self.tapped.extend(events)
        written = self._written(frame)
        self._splice.pass_raw(written, events)
        return written

    def _written(self, frame: Frame) -> bytes:
        """A frame as it came, but for its comments, its line ends, and what no SDK could read."""
        data = self.decoder.mend(frame.data or b"")
        if self._turn is not None and frame.name in LIFECYCLE:
            data = mend_event(data, self._turn)
        data = data.replace(b"\n", b"\ndata: ")
        return b"event: %b\ndata: %b\n\n" % (frame.name, data) if frame.name else b"data: %b\n\n" % data

    def _conclude(self, *, clean: bool) -> bytes:
        """The end of a stream whose own last frame is missing: all but that one may have come."""
        if self._raw is False:
            return super()._conclude(clean=clean)
        events = self.decoder.finish_stream(clean=clean)
        last = events[-1] if events else None
        if isinstance(last, Failed):
            self.error = last.error
            return b""
        if not isinstance(last, Finished):
            self.error = self.error or Truncated("the last event is missing")
            return b""
        if self._raw is None or (last.reason is Finish.LENGTH and self._splice.waits):
            held, self._held, self._raw = self._held, [], False
            self._splice.take_over()
            try:
                return b"".join([self._take(each) for each in (*(one for _, one in held), events)])
            except UpstreamError as error:
                self.error = error
                return b""
        out = b"".join([self._pass(frame, each) for frame, each in self._held])
        self._splice.encoder.join(self._splice.passed)  # it writes the last frame
        self.over = True
        return out


def _check_text(data: bytes) -> None:
    """What nobody has decoded is forwarded all the same, if it is UTF-8. Raises Malformed."""
    if not data.isascii():
        try:
            data.decode()
        except UnicodeError:
            raise Malformed("a frame that is not UTF-8") from None
