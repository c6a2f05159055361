"""Messages streams, inward: events to neutral events, every upstream oddity straightened once.

Owns the decoding of one upstream answer (providers.md 12.6, 12.7, 12.10): whose thoughts are sealed, what a stop reason
means, which endings are none. Blocks of a provider's own server tools are neither text nor calls. It must never know
who is being answered.
"""

import re
from typing import Any

import msgspec

from hermes_router.core.errors import ContentFiltered, EmptyReply, Malformed, Truncated, UpstreamError
from hermes_router.core.events import (
    BlockKind,
    ChatEvent,
    Delta,
    Failed,
    Finish,
    Finished,
    Started,
    Usage,
    UsageSeen,
)
from hermes_router.wire.chat.frames import FAILED_FINISH, FINISH, finish_word, sendable
from hermes_router.wire.citations import cited
from hermes_router.wire.dialect import InBand, NewId
from hermes_router.wire.messages.frames import (
    EVENT,
    MESSAGE,
    BlockFrame,
    DeltaFrame,
    EventFrame,
    MessageFrame,
    UsageSums,
    string,
)
from hermes_router.wire.messages.order import BlockQueue
from hermes_router.wire.sse import Frame

__all__ = ["MessagesDecoder", "make_decoder"]

_KNOWN = frozenset({
    "message_start", "content_block_start", "content_block_delta", "content_block_stop", "message_delta",
    "message_stop",
})  # fmt: skip
_CUT = (Finish.LENGTH, Finish.CONTENT_FILTER)


_HEAD = 200  # bytes in which the type of an event stands
_USAGE = re.compile(rb'"usage"\s*:\s*\{')


class _Typed(msgspec.Struct):
    type: str


_TYPE = msgspec.json.Decoder(_Typed)


class MessagesDecoder:
    """One upstream answer, event by event. `model` is shown where the upstream names none; `now` epoch seconds."""

    def __init__(self, in_band: InBand, *, new_id: NewId, now: int, model: str, origin: str) -> None:
        self._in_band = in_band
        self._new_id = new_id
        self._blocks = BlockQueue(new_id, origin)
        self._sums = UsageSums()
        self._plain: int | None = None  # the number of the open block, if nothing can turn up but more of its text
        self._finish: str | None = None
        self._stop_sequence: str | None = None
        self._ended = False  # the provider said that the message is over
        self._foreign = False
        self._upstream_id: Any = None
        self.id = ""
        self.model = model
        self.created = now
        self.started = False
        self.over = False
        self.usage: Usage | None = None
        self.has_text = False
        self.has_reasoning = False

    # -- streams --------------------------------------------------------------------------------------

    def plain_text(self, data: bytes) -> str | None:
        """The text of a payload that is nothing but more text of the open text block, else None: then `feed` it."""
        if self._plain is None:
            return None
        try:
            frame = EVENT.decode(data)
        except (msgspec.MsgspecError, UnicodeError, RecursionError):
            return None
        delta = frame.delta
        if delta is None or delta.type != "text_delta" or frame.type != "content_block_delta":
            return None
        text = delta.text
        if frame.index != self._plain or type(frame.index) is not int or type(text) is not str or not text:
            return None
        if frame.error or not _is_utf8(data):
            return None
        if not self.has_text:
            self.has_text = bool(text.strip())
        return text

    def feed(self, frame: Frame) -> list[ChatEvent]:
        """The events of one frame, Finished last once the end has come. Raises the UpstreamError that it is."""
        data = frame.data
        if not data or self.over:
            return []
        if self._plain is not None and frame.name != b"error":
            text = self.plain_text(data)
            if text is not None:
                return [Delta(text)]
        if frame.name == b"ping" or data.startswith(b"[DONE]"):  # some send that too; an end is the stop reason
            return []
        if frame.name == b"error":
            raise self._named_error(data)
        event = self._parse(data)
        kind = event.type or frame.name.decode(errors="replace")
        if kind == "message_stop":
            self._ended = True
            return self._end()
        if not isinstance(kind, str) or not kind:
            raise self._unreadable(data)
        if kind.endswith("error"):  # an event, or the bare error object
            raise self._named_error(data)
        out: list[ChatEvent] = []
        self._take(kind, event, out)
        self._plain = self._blocks.plain_index if self._finish is None else None
        return out

    def _take(self, kind: str, event: EventFrame, out: list[ChatEvent]) -> None:
        match kind:
            case "content_block_delta":
                self._delta(event, out)
            case "content_block_start":
                self._start_block(event, out)
            case "content_block_stop":
                self._blocks.stop(_index(event))
                self._blocks.drain(out)
            case "message_start":
                self._start_message(event.message or MessageFrame(), out)
            case "message_delta":
                self._message_delta(event, out)
            case _:
                pass  # ping, and what is not invented yet

    def _parse(self, data: bytes) -> EventFrame:
        if not _is_utf8(data):  # what is skipped is not checked, and what is forwarded must be UTF-8
            raise Malformed("a frame that is not UTF-8")
        try:
            event = EVENT.decode(data)
        except (msgspec.MsgspecError, UnicodeError, RecursionError):
            return self._odd(data)
        if event.error:
            raise self._in_band(event.error)
        return event

    def _odd(self, data: bytes) -> EventFrame:
        """A frame of another shape: nothing if its type is unknown, too. Raises what it is otherwise."""
        try:
            kind = _TYPE.decode(data).type
        except (msgspec.MsgspecError, UnicodeError, RecursionError):
            raise self._unreadable(data) from None
        if kind in _KNOWN:
            raise Malformed(f"a {kind} of another shape")
        return EventFrame(type=kind)

    def _unreadable(self, data: bytes) -> UpstreamError:
        """A frame of another shape: an error in somebody's own words, or garbage."""
        try:
            value = msgspec.json.decode(data)
        except (msgspec.MsgspecError, UnicodeError, RecursionError):
            return Malformed("a frame that is not JSON")
        if isinstance(value, dict) and (value.get("error") or value.get("message") or value.get("detail")):
            return self._in_band(value.get("error") or value)
        return Malformed("a frame of an unknown shape")

    def _named_error(self, data: bytes) -> UpstreamError:
        """What an error event says, whatever its payload looks like."""
        try:
            value = msgspec.json.decode(data)
        except (msgspec.MsgspecError, UnicodeError, RecursionError):
            value = data.decode(errors="replace")
        if isinstance(value, dict) and value.get("error"):
            value = value["error"]
        return self._in_band(value)

    def _start_message(self, message: MessageFrame, out: list[ChatEvent]) -> None:
        if self.started and not self.over and message.id != self._upstream_id and self._blocks.began:
            raise Malformed("a second message inside the first")
        if self._finish is not None:
            return
        self._begin(message, out)
        self._usage(message.usage, out)

    def _begin(self, message: MessageFrame | None, out: list[ChatEvent]) -> None:
        """Take the identity of the message from its beginning; what is missing is made up."""
        if self.started:
            return
        self.started = True
        if message is not None:
            self._upstream_id = message.id
            self.id = string(message.id)
            self.model = string(message.model) or self.model
        self.id = self.id or self._new_id("msg_")
        out.append(Started(self.id, self.model, self.created))

    def _start_block(self, event: EventFrame, out: list[ChatEvent]) -> None:
        if self._finish is None:
            self._begin(None, out)
            self._block(event.content_block or BlockFrame(), _index(event), out)
            self._blocks.drain(out)

    def _block(self, block: BlockFrame, index: int | None, out: list[ChatEvent]) -> None:
        """A block begins, or is there whole."""
        match block.type:
            case "text":
                self._blocks.start(BlockKind.TEXT, index)
                self._say(BlockKind.TEXT, index, string(block.text), out)
                self._cite(index, block.citations)
            case "thinking":
                self.has_reasoning = True
                self._blocks.start(BlockKind.REASONING, index)
                self._say(BlockKind.REASONING, index, string(block.thinking), out)
                if string(block.signature):
                    self._blocks.sign(index, string(block.signature))
            case "redacted_thinking":
                self.has_reasoning = True
                self._blocks.start_redacted(index, string(block.data))
            case "tool_use":
                self._blocks.start_call(index, string(block.id), string(block.name), _given(block))
            case _:
                self._foreign = True
                self.has_reasoning = True  # the model is at work, whatever it is that it does
                self._blocks.start_foreign(index)

    def _delta(self, event: EventFrame, out: list[ChatEvent]) -> None:
        delta = event.delta
        if delta is None or self._finish is not None:
            return
        index = _index(event)
        match delta.type:
            case "text_delta":
                self._begin(None, out)
                self._say(BlockKind.TEXT, index, string(delta.text), out)
            case "thinking_delta":
                self.has_reasoning = True
                self._begin(None, out)
                self._say(BlockKind.REASONING, index, string(delta.thinking), out)
            case "signature_delta":
                if string(delta.signature):
                    self._blocks.sign(index, string(delta.signature))
            case "citations_delta":
                self._cite(index, [delta.citation])
            case "input_json_delta":
                self._argue(index, delta, out)
            case _:
                pass  # what is not invented yet

    def _say(self, kind: BlockKind, index: int | None, text: str, out: list[ChatEvent]) -> None:
        if not text:
            return
        if kind is BlockKind.TEXT and not self.has_text:
            self.has_text = bool(text.strip())
        if self._blocks.say(kind, index, text):
            out.append(Delta(text))
        else:
            self._blocks.drain(out)

    def _cite(self, index: int | None, said: Any) -> None:
        for citation in cited(said):
            self._blocks.cite(index, citation)

    def _argue(self, index: int | None, delta: DeltaFrame, out: list[ChatEvent]) -> None:
        piece = delta.partial_json
        if isinstance(piece, dict):
            piece = msgspec.json.encode(sendable(piece)).decode()
        if string(piece):
            self._blocks.argue(index, piece)
            self._blocks.drain(out)

    def _message_delta(self, event: EventFrame, out: list[ChatEvent]) -> None:
        self._begin(None, out)
        self._usage(event.usage, out)
        if event.delta is not None:
            self._take_finish(event.delta.stop_reason, event.delta.stop_sequence)

    def _take_finish(self, reason: Any, stop_sequence: Any) -> None:
        """The first stop reason stands. Raises where it is none, also behind one."""
        if not string(reason):
            return
        if finish_word(reason) in FAILED_FINISH:
            raise self._in_band({"message": f"stop_reason {reason}"})
        if self._finish is not None:
            return
        self._finish = reason
        self._stop_sequence = stop_sequence if isinstance(stop_sequence, str) else None

    def _usage(self, raw: Any, out: list[ChatEvent]) -> None:
        usage = self._sums.add(raw)
        if usage is not None:
            self.usage = usage
            out.append(UsageSeen(usage))

    def mend(self, data: bytes) -> bytes:
        """The payload as the SDKs can read it: theirs fails on a stream without usage."""
        head = data[:_HEAD]
        starts = b'"message_start"' in head
        if not (starts or b'"message_delta"' in head) or _USAGE.search(data) is not None:
            return data
        counts = {"output_tokens": self.usage.output_tokens if self.usage is not None else 0}
        try:
            event: dict[str, Any] = msgspec.json.decode(data)
            if not starts:
                return msgspec.json.encode({**event, "usage": counts})
            message = {**event["message"], "usage": {"input_tokens": 0, **counts}}
        except (msgspec.MsgspecError, UnicodeError, RecursionError, KeyError, TypeError):
            return data
        return msgspec.json.encode({**event, "message": message})

    # -- whole answers --------------------------------------------------------------------------------

    def whole(self, body: bytes) -> list[ChatEvent]:
        """A unary answer as events, Finished included. Raises the UpstreamError that it is."""
        if not _is_utf8(body):
            raise Malformed("an answer that is not UTF-8")
        try:
            message = MESSAGE.decode(body)
        except (msgspec.MsgspecError, UnicodeError, RecursionError):
            raise self._unreadable(body) from None
        if message.error or message.type == "error":
            raise self._named_error(body)
        if message.content is None:
            raise self._unreadable(body)
        out: list[ChatEvent] = []
        self._begin(message, out)
        self._usage(message.usage, out)
        content = message.content
        blocks = [BlockFrame(type="text", text=content)] if isinstance(content, str) else content
        for index, block in enumerate(blocks):
            self._block(block, index, out)
            self._blocks.stop(index)
        self._blocks.drain(out)
        self._take_finish(message.stop_reason, message.stop_sequence)
        self._ended = True
        return [*out, *self._end()]

    # -- the end --------------------------------------------------------------------------------------

    def finish_stream(self, *, clean: bool) -> list[ChatEvent]:  # noqa: ARG002 - an end is only what the provider says
        """The body is over, by its framing (`clean`) or not: Finished, or Failed. Nothing once `over`."""
        if self.over:
            return []
        try:
            return self._end()
        except UpstreamError as error:
            out: list[ChatEvent] = []
            self._begin(None, out)
            self._blocks.cut(out)
            self.over = True
            return [*out, Failed(error)]

    def _end(self) -> list[ChatEvent]:
        """The good end. Raises what is wrong with it."""
        reason = self._reason()
        error = self._verdict(reason)
        self._plain = None
        if error is not None:
            raise error
        out: list[ChatEvent] = []
        self._blocks.finish(out, fill=reason not in _CUT)
        self.over = True
        out.append(Finished(reason, self._finish or "", self._stop_sequence))
        return out

    def _reason(self) -> Finish:
        reason = FINISH.get(finish_word(self._finish) or "", Finish.STOP)
        if self._blocks.calls and reason is Finish.STOP:
            return Finish.TOOL_CALLS
        if not self._blocks.calls and reason is Finish.TOOL_CALLS:
            return Finish.STOP
        return reason

    def _verdict(self, reason: Finish) -> UpstreamError | None:
        """What is wrong with this ending, None where it is a good one."""
        if self._finish is None and not (self._ended and self._blocks.all_stopped):
            return Truncated("the stream ended without a stop reason")
        if self._blocks.calls and reason not in _CUT and not self._blocks.calls_whole:
            return Truncated("a tool call ended in the middle of its arguments")
        if not self.has_text and not self._blocks.calls and not self._foreign:
            if reason is Finish.CONTENT_FILTER:
                return ContentFiltered(f"stop_reason {self._finish}")
            return EmptyReply(f"no text and no tool call, stop_reason {self._finish}")
        return None


def make_decoder(in_band: InBand, *, new_id: NewId, now: int, model: str, origin: str) -> MessagesDecoder:
    """The decoder of one attempt (dialect.MakeDecoder)."""
    return MessagesDecoder(in_band, new_id=new_id, now=now, model=model, origin=origin)


def _is_utf8(data: bytes) -> bool:
    if data.isascii():
        return True
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _index(event: EventFrame) -> int | None:
    return event.index if type(event.index) is int else None


def _given(block: BlockFrame) -> str:
    """Arguments that stand in the beginning of a call: all there is in a whole answer, `{}` in most streams."""
    text = bytes(block.input).decode().strip()
    return text if text.startswith("{") and text[1:-1].strip() else ""
