"""Responses streams, inward: typed events to neutral ones, the end only where it was said.

Owns the decoding of one upstream answer (facts: codex.md 8, providers.md 12.6, 12.10): created, items, completed;
incomplete is an end, failed and cancelled are errors, and so is a stream that just stops. It must never know who is
being answered.
"""

from collections.abc import Callable
from typing import Any, ClassVar, Final

import msgspec

from hermes_router.core.content import Seal
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
from hermes_router.core.observations import QuotaSeen
from hermes_router.wire.chat.frames import count
from hermes_router.wire.dialect import InBand, NewId
from hermes_router.wire.plan_windows import PLAN_EVENT, plan_told
from hermes_router.wire.responses.frames import (
    CUT,
    EVENT,
    RESPONSE,
    TEXT,
    TEXT_DELTA,
    EventFrame,
    ResponseFrame,
    cut_of,
    parse_usage,
    refuses,
)
from hermes_router.wire.responses.mend import ItemKeeper
from hermes_router.wire.responses.queue import Queue
from hermes_router.wire.sse import Frame

__all__ = ["ResponsesDecoder", "make_decoder"]

_FAILED: Final = frozenset({"failed", "cancelled", "canceled", "error"})


class ResponsesDecoder:
    """One upstream answer, event by event. `limits` are the windows that it told of beside its head."""

    def __init__(self, in_band: InBand, *, new_id: NewId, now: int, model: str, origin: str) -> None:
        self._in_band = in_band
        self._new_id = new_id
        self._now = now
        self._queue = Queue(new_id, origin)
        self.id = ""
        self.model = model
        self.created = now
        self.started = False
        self.over = False
        self.usage: Usage | None = None
        self.has_text = False
        self.has_reasoning = False
        self._refused = False
        self._items = ItemKeeper()
        self.limits: tuple[QuotaSeen, ...] = ()

    @property
    def says_more(self) -> bool:
        """Whether it holds items that are neither text nor thought nor call."""
        return self._queue.foreign > 0

    @property
    def compactions(self) -> list[Seal]:
        """What of the answer stands for a conversation, and goes back to its maker alone."""
        return self._queue.compactions

    # -- frames ---------------------------------------------------------------------------------------

    def plain_text(self, data: bytes) -> str | None:
        """The text of a payload that is more text of the open message, and nothing else; None = feed it."""
        live = self._queue.live
        if live is None:
            return None
        try:
            if not data.isascii():
                data.decode()  # what is skipped is not checked, and what is forwarded must be UTF-8
            said = TEXT.decode(data)
        except (msgspec.MsgspecError, UnicodeError, RecursionError):
            return None
        text = said.delta
        if said.type != TEXT_DELTA or not text or said.output_index != live.index or said.item_id != live.item_id:
            return None
        live.said.append(text)
        live.shown += 1
        return text

    def feed(self, frame: Frame) -> list[ChatEvent]:
        """The events of one frame, the last of them Finished once the end has come. Raises the UpstreamError it is."""
        data = frame.data
        if not data or self.over:
            return []
        if self._queue.live is not None and (text := self.plain_text(data)) is not None:
            return [Delta(text)]
        if data.startswith(b"[DONE]"):
            return []
        event = self._parse(data, frame.name)
        handle = self._HANDLERS.get(event.type)
        if handle is None:
            if event.type == "error":
                raise self._in_band(_value_of(data))
            return self._unknown(event, data)
        out: list[ChatEvent] = []
        handle(self, event, out)
        self.has_text, self.has_reasoning = self._queue.has_text, self._queue.has_reasoning
        return out

    def _parse(self, data: bytes, name: bytes) -> EventFrame:
        """One payload; its type is that of the event's name where it has none. Raises the error that it is."""
        try:
            if not data.isascii():
                data.decode()
            event = EVENT.decode(data)
        except (msgspec.MsgspecError, UnicodeError, RecursionError):
            return self._odd(data, name)
        if not isinstance(event.type, str):
            event.type = name.decode(errors="replace")
        return event

    def _odd(self, data: bytes, name: bytes) -> EventFrame:
        """A payload of another shape: nothing if its type is unknown, an error in somebody's own words, or garbage."""
        value = _value_of(data)
        if name == b"error":
            raise self._in_band(value)
        if isinstance(value, dict):
            kind = value.get("type")
            if isinstance(kind, str) and kind not in self._HANDLERS and not value.get("error"):
                return EventFrame(type=kind)
        raise self._unreadable(data)

    def _unreadable(self, data: bytes) -> UpstreamError:
        value = _value_of(data)
        if isinstance(value, list) and value:
            return self._in_band(value)
        if isinstance(value, dict) and any(value.get(key) for key in ("error", "detail", "message")):
            return self._in_band(value)
        return Malformed("not JSON" if isinstance(value, str) else "a frame of an unknown shape")

    def _unknown(self, event: EventFrame, data: bytes) -> list[ChatEvent]:
        """What only hosted tools and other versions say is nothing, unless it is an error without a name."""
        if event.type == PLAN_EVENT:
            self.limits = plan_told(_value_of(data), float(self._now))
            return []
        if event.error and not event.type.startswith(("response.", "codex.")):
            raise self._in_band(_value_of(data))
        if not event.type and (event.detail or event.message):
            raise self._unreadable(data)
        return []

    # -- events ---------------------------------------------------------------------------------------

    def _began(self, event: EventFrame, out: list[ChatEvent]) -> None:
        response = event.response or ResponseFrame()
        self._check(response)
        if not self.started:
            self._start(response, out)
        elif event.type == "response.created" and response.id != self.id:
            raise Malformed("another answer begins within this one")
        self._usage(response.usage, out)

    def _start(self, response: ResponseFrame, out: list[ChatEvent]) -> None:
        """Take the identity of the stream from its first event; what is missing is made up."""
        self.started = True
        self.model = response.model if isinstance(response.model, str) and response.model else self.model
        self.created = count(response.created_at) or self._now
        self.id = response.id if isinstance(response.id, str) and response.id else self._new_id("resp_")
        out.append(Started(self.id, self.model, self.created))

    def _item_added(self, event: EventFrame, out: list[ChatEvent]) -> None:
        if not self.started:
            self._start(ResponseFrame(), out)
        if event.item is not None:
            self._queue.begin(event.output_index, event.item)
            self._queue.drain(out)

    def _item_done(self, event: EventFrame, out: list[ChatEvent]) -> None:
        if event.item is not None:
            self._queue.end(event.output_index, event.item)
        if not self.started:
            self._start(ResponseFrame(), out)
        self._queue.drain(out)

    def _text(self, event: EventFrame, out: list[ChatEvent]) -> None:
        self._say(BlockKind.TEXT, event, ("text", event.content_index), out)

    def _refusal(self, event: EventFrame, out: list[ChatEvent]) -> None:
        self._refused = self._refused or bool(event.delta)
        self._say(BlockKind.TEXT, event, ("refusal", event.content_index), out)

    def _summary(self, event: EventFrame, out: list[ChatEvent]) -> None:
        self._say(BlockKind.REASONING, event, ("summary", event.summary_index), out)

    def _thought(self, event: EventFrame, out: list[ChatEvent]) -> None:
        self._say(BlockKind.REASONING, event, ("thought", event.content_index), out)

    def _call(self, event: EventFrame, out: list[ChatEvent]) -> None:
        self._say(BlockKind.TOOL_CALL, event, ("call", None), out)

    def _custom(self, event: EventFrame, out: list[ChatEvent]) -> None:
        self._say(BlockKind.TOOL_CALL, event, ("custom", None), out)

    def _say(self, kind: BlockKind, event: EventFrame, part: tuple[str, Any], out: list[ChatEvent]) -> None:
        if not self.started:
            self._start(ResponseFrame(), out)
        self._queue.say(kind, event.output_index, event.item_id, part, event.delta)
        self._queue.drain(out)

    def _usage(self, raw: Any, out: list[ChatEvent]) -> None:
        """Take a usage object; none may take anything back."""
        usage, old = parse_usage(raw), self.usage
        if usage is None:
            return
        if old is not None:
            usage = Usage(
                max(old.input_tokens, usage.input_tokens),
                max(old.output_tokens, usage.output_tokens),
                max(old.cached_tokens, usage.cached_tokens),
                max(old.reasoning_tokens, usage.reasoning_tokens),
                written_tokens=max(old.written_tokens, usage.written_tokens),
            )
        if usage != old:
            self.usage = usage
            out.append(UsageSeen(usage))

    # -- the end --------------------------------------------------------------------------------------

    def _check(self, response: ResponseFrame) -> None:
        """Raise the error that a response is."""
        if response.error:
            raise self._in_band(response.error)
        if isinstance(response.status, str) and response.status in _FAILED:
            raise self._in_band({"message": f"the response is {response.status}"})

    def _failed(self, event: EventFrame, out: list[ChatEvent]) -> None:  # noqa: ARG002 - nothing of it is said
        self._check(event.response or ResponseFrame())
        raise self._in_band(event.error or {"message": f"{event.type}, and no word why"})

    def _completed(self, event: EventFrame, out: list[ChatEvent]) -> None:
        response = event.response or ResponseFrame()
        self._check(response)
        cut = event.type == "response.incomplete" or response.status == "incomplete"
        self._conclude(response, cut_of(response) if cut else "", out)

    def _conclude(self, response: ResponseFrame, cut: str, out: list[ChatEvent]) -> None:
        """The end was said; `cut` is why it came early. Raises where it is no good one."""
        queue = self._queue
        queue.reconcile(response.output or [])
        self.has_text, self.has_reasoning = queue.has_text, queue.has_reasoning
        # An unknown reason is one to stop early: nobody may take what was said for all of it.
        reason = CUT.get(cut, Finish.LENGTH) if cut else Finish.TOOL_CALLS if queue.named else Finish.STOP
        word = cut or "completed"
        if reason is Finish.STOP and (self._refused or any(map(refuses, response.output or ()))):
            reason, word = Finish.CONTENT_FILTER, "refusal"  # providers.md 12.6
        error = self._verdict(reason, cut)
        if error is not None:
            self._usage(response.usage, [])
            raise error
        if not self.started:
            self._start(response, out)
        self._usage(response.usage, out)
        queue.finish(out, fill=not cut)
        self.over = True
        out.append(Finished(reason, word))

    def _verdict(self, reason: Finish, cut: str) -> UpstreamError | None:
        """What is wrong with this end, None where it is a good one."""
        queue = self._queue
        if not cut and (fault := queue.fault()) is not None:
            return fault
        if queue.has_text or queue.named:
            return None
        if reason is Finish.CONTENT_FILTER:
            return ContentFiltered(f"incomplete: {cut}")
        if queue.foreign and not cut:
            return None  # an image, a compaction: it says something to whoever asked for it in this dialect
        return EmptyReply(f"no text and no tool call, {f'incomplete: {cut}' if cut else 'completed'}")

    def mend(self, data: bytes) -> bytes:
        """The payload as SDKs can read it: a whole answer lists its items, which some backends leave out."""
        return self._items.mend(data)

    def finish_stream(self, *, clean: bool) -> list[ChatEvent]:
        """The body is over without an end of its own, which is none, however clean its framing. Nothing once `over`."""
        out: list[ChatEvent] = []
        if self.over:
            return out
        self.over = True
        if not self.started:
            self._start(ResponseFrame(), out)
        self._queue.close(out)
        how = "ended" if clean else "broke off"
        out.append(Failed(Truncated(f"the stream {how} without response.completed")))
        return out

    def whole(self, body: bytes) -> list[ChatEvent]:
        """A unary answer as events, Finished included. Raises the UpstreamError that it is."""
        try:
            body.decode()
            response = RESPONSE.decode(body)
        except (msgspec.MsgspecError, UnicodeError, RecursionError):
            raise self._unreadable(body) from None
        self._check(response)
        if response.output is None:
            raise self._unreadable(body)
        if response.status in ("queued", "in_progress"):
            raise Truncated(f"the response is still {response.status}")
        out: list[ChatEvent] = []
        self._conclude(response, cut_of(response) if response.status == "incomplete" else "", out)
        return out

    _HANDLERS: ClassVar[dict[str, Callable[["ResponsesDecoder", EventFrame, list[ChatEvent]], None]]] = {
        "response.created": _began,
        "response.queued": _began,
        "response.in_progress": _began,
        "response.output_item.added": _item_added,
        "response.output_item.done": _item_done,
        TEXT_DELTA: _text,
        "response.refusal.delta": _refusal,
        "response.reasoning_summary_text.delta": _summary,
        "response.reasoning_text.delta": _thought,
        "response.function_call_arguments.delta": _call,
        "response.custom_tool_call_input.delta": _custom,
        "response.completed": _completed,
        "response.incomplete": _completed,
        "response.done": _completed,
        "response.failed": _failed,
        "response.cancelled": _failed,
    }


def _value_of(data: bytes) -> Any:
    """The JSON value of a payload; its text where it is none."""
    try:
        return msgspec.json.decode(data)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return data.decode(errors="replace")


def make_decoder(in_band: InBand, *, new_id: NewId, now: int, model: str, origin: str) -> ResponsesDecoder:
    """The decoder of one attempt."""
    return ResponsesDecoder(in_band, new_id=new_id, now=now, model=model, origin=origin)
