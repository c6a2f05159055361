"""The lanes of a stream whose two sides speak the same dialect: text frames go through as they came.

Owns the relay's pure half for Chat to Chat: bytes in, the caller's bytes out. Each frame is decoded by a small typed
struct, so that the text shown is known exactly; a frame that is nothing but text of the open block is forwarded raw,
any other is straightened (decode, splice, encode). It must never know a target or a transport.
"""

from typing import Any

import msgspec
from msgspec import Raw

from hermes_router.core.errors import EmptyReply, Malformed, Truncated, UpstreamError
from hermes_router.core.events import ChatEvent, Failed, Finish, Finished, Started
from hermes_router.wire.chat.calls import CallAssembler
from hermes_router.wire.chat.decoder import ChatDecoder
from hermes_router.wire.chat.frames import ChoiceFrame, ChunkFrame, DeltaFrame, finish_word
from hermes_router.wire.lane import SeenLane
from hermes_router.wire.splice import Splice
from hermes_router.wire.sse import Frame

_FIELDS = msgspec.json.Decoder(dict[str, Raw])
_JSON = msgspec.json.Encoder()
_CHUNK = "chat.completion.chunk"


class _ChatLane(SeenLane):
    """What both lanes share: the words with which a Chat stream ends or fails."""

    decoder: ChatDecoder

    def _frames(self, frames: list[Frame]) -> bytes:
        out: list[bytes] = []
        for frame in frames:
            data = frame.data
            if not data:
                continue
            if data.startswith(b"[DONE]"):
                self.decoder.marked = True
                out.append(self._conclude(clean=True))
                break
            try:
                if frame.name == b"error":
                    raise self.decoder.named_error(data)
                self._frame(data, out)
            except UpstreamError as error:
                self.error = error
                break
            if self.over or self.error is not None:
                break
        return out[0] if len(out) == 1 else b"".join(out)

    def _frame(self, data: bytes, out: list[bytes]) -> None:
        raise NotImplementedError


class StreamLane(_ChatLane):
    """The lane of one answer (`n` = 1)."""

    def __init__(self, splice: Splice, decoder: ChatDecoder, *, tap: bool = False) -> None:
        super().__init__(splice, decoder)
        self._tap = tap
        self._plain = False  # asked once per frame that is taken apart, since nothing else changes it

    def feed(self, chunk: bytes) -> bytes:
        """Upstream bytes in, caller's bytes out; sets `over` at a good end, `error` at a bad one."""
        # The hot path: one whole event, of text. Everything else takes the long way round.
        data = self._sse.single(chunk) if self._plain else None
        if data is None:
            return super().feed(chunk)
        try:
            parsed = self.decoder.parse(data)
        except UpstreamError:
            return self._frames([Frame(data)])  # `[DONE]`, or an error: the second look tells
        text = plain_text(parsed, self.decoder)
        if text is not None:
            self._splice.shown.add(text)
            return chunk
        try:
            return self._take(parsed)
        except UpstreamError as error:
            self.error = error
            return b""

    def _frame(self, data: bytes, out: list[bytes]) -> None:
        chunk = self.decoder.parse(data)
        text = plain_text(chunk, self.decoder) if self._plain else None
        if text is not None and b"\n" not in data:
            self._splice.shown.add(text)
            out.append(b"data: %b\n\n" % data)
        else:
            out.append(self._take(chunk))

    def _take(self, chunk: ChunkFrame) -> bytes:
        """Take a frame apart and write anew what of it may be seen."""
        decoder, splice = self.decoder, self._splice
        events = decoder.events(chunk)
        if self._tap:
            self.tapped.extend(events)
        out = splice.admit(events)
        self._plain = decoder.in_plain_text and splice.raw_lane
        if splice.capped:
            out += self._end_well([Finished(Finish.LENGTH, "length")])
        return out

    def _end_well(self, events: list[ChatEvent]) -> bytes:
        """The answer is over, unless all that could be shown of it is white space."""
        out = self._splice.admit(events)
        if self._splice.committed:
            self.over = True
        else:
            self.error = EmptyReply("white space up to the caller's cap")
        return out

    def _conclude(self, *, clean: bool) -> bytes:
        events: list[ChatEvent] = self.decoder.finish_stream(clean=clean)
        last = events[-1] if events else None
        if isinstance(last, Failed):
            self.error = last.error
            return b""
        if self._tap:
            self.tapped.extend(events)
        return self._end_well(events)


def plain_text(chunk: ChunkFrame, decoder: ChatDecoder) -> str | None:
    """The text of a frame that holds nothing but text for the open block, under the stream's own identity, else None.

    What the SDKs cannot do without must be there: a frame without `index` or `finish_reason` is written anew.
    """
    choices = chunk.choices
    if (
        choices is None
        or len(choices) != 1
        or chunk.usage is not None
        or chunk.id != decoder.id
        or chunk.model != decoder.model
        or chunk.created != decoder.created
        or chunk.object != _CHUNK
    ):
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


class ManyLane(_ChatLane):
    """The lane of `n` > 1, or of anything that lies beside the text (logprobs): choices go through as they came.

    They are held until the first content, under one identity and without usage; every choice must finish. From the
    first tool call on they are held until then, and the calls must be whole.
    """

    def __init__(self, splice: Splice, decoder: ChatDecoder, choices: int) -> None:
        super().__init__(splice, decoder)
        self._unfinished = set(range(choices))
        self._begun = Started("", "", 0)
        self._held: list[dict[str, Any]] = []
        self._calls: dict[object, CallAssembler] = {}

    def _frame(self, data: bytes, out: list[bytes]) -> None:
        chunk = self.decoder.parse(data)
        self.decoder.note_usage(chunk)
        if not chunk.choices:
            return  # usage: the exchange writes its own, if it was asked for
        content = False
        for choice in chunk.choices:
            if finish_word(choice.finish_reason) and type(choice.index) is int:
                self._unfinished.discard(choice.index)
            content = self._note(choice) or content
        self._held.append(_FIELDS.decode(data))
        if content and not self.decoder.started:
            self._begun = self.decoder.start(chunk)
        if self._calls and not self._splice.live_calls:
            return
        if content or self.committed:
            out.append(self._let_go())

    def _let_go(self) -> bytes:
        if not self.committed:
            self._splice.commit(self._begun)
        held, self._held = self._held, []
        return b"".join(map(self._render, held))

    def _note(self, choice: ChoiceFrame) -> bool:
        """Whether a choice shows something; text is counted. Raises Malformed."""
        delta = choice.delta
        if delta is None:
            return False
        calls = delta.tool_calls
        if calls:
            if not isinstance(calls, list):
                raise Malformed("tool_calls is not a list")
            index = choice.index if type(choice.index) is int else 0
            self._calls.setdefault(index, CallAssembler(str)).add(calls, None)
        text = delta.content if isinstance(delta.content, str) else ""
        self._splice.shown.add(text)
        shows = bool(text.strip() or calls or delta.reasoning_content or delta.reasoning)
        self._splice.spoke = self._splice.spoke or shows
        return shows

    def _render(self, fields: dict[str, Any]) -> bytes:
        encoder = self._splice.encoder
        fields.pop("usage", None)
        fields |= {"id": encoder.id, "object": _CHUNK, "created": encoder.created, "model": encoder.model}
        return b"data: %b\n\n" % _JSON.encode(fields)

    def _conclude(self, *, clean: bool) -> bytes:  # noqa: ARG002 - what counts is every choice's finish
        if self._unfinished:
            self.error = Truncated(f"choices {sorted(self._unfinished)} never finished")
        elif not self.decoder.started:
            self.error = EmptyReply("no choice had content")
        elif not all(calls.whole for calls in self._calls.values()):
            self.error = Truncated("a tool call that is not whole")
        else:
            self.over = True
            return self._let_go()
        return b""
