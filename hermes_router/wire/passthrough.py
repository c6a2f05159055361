"""The lane of a stream whose two sides speak the same dialect: text frames go through as they came.

Owns the relay's pure half for Chat to Chat: bytes in, the caller's bytes out. Each frame is decoded by a small typed
struct, so that the text shown is known exactly; a frame that is nothing but text of the open block is forwarded raw, any
other is straightened (decode, splice, encode). It must never know a target or a transport.
"""

from typing import Protocol

from hermes_router.core.errors import EmptyReply, Malformed, Truncated, UpstreamError
from hermes_router.core.events import ChatEvent, Failed, Finish, Finished, Opened, Usage
from hermes_router.wire.chat_decoder import ChatDecoder, ChunkFrame, DeltaFrame
from hermes_router.wire.splice import Splice
from hermes_router.wire.sse import Frame, OversizedEvent, SSEDecoder


class Lane(Protocol):
    """One attempt's stream. After `error` or `over` is set, nothing more is fed."""

    error: UpstreamError | None
    over: bool

    @property
    def began(self) -> bool:
        """Whether the model has said anything, shown or not: what the first-token limit waits for."""
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


class StreamLane:
    """The lane of one answer (`n` = 1)."""

    def __init__(self, splice: Splice, decoder: ChatDecoder, *, tap: bool = False) -> None:
        self._sse = SSEDecoder()
        self._splice = splice
        self._tap = tap
        self.tapped: list[ChatEvent] = []  # all but plain text, for what a later turn must replay
        self.decoder = decoder
        self.began = False
        self.error: UpstreamError | None = None
        self.over = False

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
        try:
            frames = self._sse.feed(chunk)
        except OversizedEvent as error:
            self.error = Malformed(str(error))
            return b""
        return self._frames(frames)

    def _frames(self, frames: list[Frame]) -> bytes:
        out: list[bytes] = []
        for frame in frames:
            data = frame.data
            if not data:
                continue
            if data == b"[DONE]":
                out.append(self._finish(clean=True))
                break
            try:
                self._frame(data, frame.name, out)
            except UpstreamError as error:
                self.error = error
                break
            if self.over:
                break
        return b"".join(out) if len(out) != 1 else out[0]

    def _frame(self, data: bytes, name: bytes, out: list[bytes]) -> None:
        chunk = self.decoder.parse(data)
        if name == b"error":
            raise self.decoder.named_error(data)
        splice = self._splice
        if splice.raw_lane and self.decoder.in_plain_text and (text := plain_text(chunk, self.decoder.model)):
            splice.shown.add(text)
            out.append(b"data: %s\n\n" % data)
            return
        events = self.decoder.events(chunk)
        if not self.began:
            self.began = any(isinstance(event, Opened) for event in events)
        if self._tap:
            self.tapped.extend(events)
        out.append(splice.admit(events))
        if splice.capped:
            self.over = True
            out.append(splice.admit([Finished(Finish.LENGTH, "length")]))

    def end(self, *, clean: bool) -> bytes:
        """The body ended, by its framing (`clean`) or not."""
        if self.over or self.error is not None:
            return b""
        out = self._frames(self._sse.finish())
        if not self.over and self.error is None:
            out += self._finish(clean=clean)
        return out

    def _finish(self, *, clean: bool) -> bytes:
        events: list[ChatEvent] = self.decoder.finish_stream(clean=clean)
        for event in events:
            if isinstance(event, Failed):
                self.error = event.error
                return b""
        self.over = True
        if self._tap:
            self.tapped.extend(events)
        return self._splice.admit(events)


def plain_text(chunk: ChunkFrame, model: str) -> str | None:
    """The text of a frame that holds nothing but text for the open block, else None."""
    choices = chunk.choices
    if choices is None or len(choices) != 1 or chunk.usage is not None or chunk.model != model:
        return None
    choice = choices[0]
    delta = choice.delta
    if delta is None or choice.finish_reason is not None or choice.index != 0 or choice.usage is not None:
        return None
    text = delta.content
    if type(text) is not str or not text or not _only_content(delta):
        return None
    return text


def _only_content(delta: DeltaFrame) -> bool:
    return (
        delta.role is None
        and delta.tool_calls is None
        and delta.reasoning_content is None
        and delta.reasoning is None
        and delta.reasoning_details is None
        and delta.function_call is None
        and delta.refusal is None
    )


class ManyLane:
    """The lane of `n` > 1: frames go through as they came, held until the first content; every choice must finish."""

    def __init__(self, splice: Splice, decoder: ChatDecoder, choices: int) -> None:
        self._sse = SSEDecoder()
        self._splice = splice
        self._decoder = decoder
        self._unfinished = set(range(choices))
        self._held: list[bytes] = []
        self.error: UpstreamError | None = None
        self.over = False

    @property
    def began(self) -> bool:
        """Whether a choice has had content."""
        return self._splice.committed

    @property
    def committed(self) -> bool:
        """Whether the caller sees something of this exchange."""
        return self._splice.committed

    @property
    def usage(self) -> Usage | None:
        """What the upstream reported."""
        return self._decoder.usage

    def feed(self, chunk: bytes) -> bytes:
        """Upstream bytes in, caller's bytes out."""
        out: list[bytes] = []
        for frame in self._sse.feed(chunk):
            if frame.data == b"[DONE]":
                out.append(self.end(clean=True))
                break
            if not frame.data:
                continue
            try:
                parsed = self._decoder.parse(frame.data)
            except UpstreamError as error:
                self.error = error
                break
            out.append(self._one(parsed, frame.data))
        return b"".join(out)

    def _one(self, chunk: ChunkFrame, data: bytes) -> bytes:
        self._decoder.note_usage(chunk)
        content = False
        for choice in chunk.choices or ():
            if choice.finish_reason is not None:
                self._unfinished.discard(choice.index)
            delta = choice.delta
            content = content or bool(delta is not None and (delta.content or delta.tool_calls))
        if not chunk.choices:
            return b""  # usage: the exchange writes its own, if it was asked for
        self._held.append(b"data: %s\n\n" % data)
        if not self.committed and not content:
            return b""
        if not self.committed:
            self._splice.committed = True
            self._splice.shown.add("…")
            self._splice.encoder.identify(str(chunk.id or ""), str(chunk.model or ""), int(chunk.created or 0))
        out = b"".join(self._held)
        self._held.clear()
        return out

    def end(self, *, clean: bool) -> bytes:  # noqa: ARG002 - the port's shape; what counts is every choice's finish
        """The body is over: good only if every choice has finished."""
        if self._unfinished:
            self.error = Truncated(f"choices {sorted(self._unfinished)} never finished")
        elif not self.committed:
            self.error = EmptyReply("no choice had content")
        else:
            self.over = True
        return b""
