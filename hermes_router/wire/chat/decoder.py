"""Chat Completions streams, inward: chunks to neutral events, every upstream oddity straightened once.

Owns the decoding of one upstream answer (providers.md 6, 7, 12.6 and 12.10): tool calls without index, ids or
names are numbered and named, reasoning in any of its fields becomes one block, error objects inside a 200 become
errors, and a missing end is never an end. It must never know who is being answered.
"""

from collections.abc import Callable
from typing import Any

import msgspec

from hermes_router.core.errors import ContentFiltered, EmptyReply, Malformed, Truncated, UpstreamError
from hermes_router.core.events import (
    BlockKind,
    ChatEvent,
    Citation,
    Closed,
    Delta,
    Failed,
    Finish,
    Finished,
    Opened,
    Started,
    Usage,
    UsageSeen,
)
from hermes_router.wire.chat.calls import CallAssembler
from hermes_router.wire.chat.frames import (
    CHUNK,
    FAILED_FINISH,
    FINISH,
    ChoiceFrame,
    ChunkFrame,
    DeltaFrame,
    count,
    finish_word,
    flatten,
    parse_usage,
    sendable,
)
from hermes_router.wire.citations import citations
from hermes_router.wire.sse import Frame
from hermes_router.wire.thinking import TagSplitter

InBand = Callable[[object], UpstreamError]
"""Classifies an error object that was found inside a 200."""


class ChatDecoder:
    """One upstream answer, chunk by chunk.

    `think_tags` is the (open, close) pair that wraps reasoning in the content; `model` the name to show where the
    upstream gives none; `now` epoch seconds; `bare_end` = a clean end of the body is as good as `[DONE]` behind calls.
    """

    def __init__(
        self,
        in_band: InBand,
        *,
        new_id: Callable[[str], str],
        now: int,
        think_tags: tuple[str, str] | None = None,
        model: str = "",
        bare_end: bool = False,
    ) -> None:
        self._in_band = in_band
        self._new_id = new_id
        self._now = now
        self._splitter = TagSplitter(*think_tags) if think_tags else None
        self._calls = CallAssembler(new_id)
        self._open: BlockKind | None = None
        self._late: list[tuple[BlockKind, str, dict[str, object]]] = []  # said in the middle of a call
        self._refusing = False  # the open text is a refusal
        self._citations: list[Citation] = []  # of the open text
        self._open_chars = self._said_chars = 0  # of the open block, and of the texts before it
        self._blank_end = False  # the last thing said was `finish_reason: ""` with nothing beside it
        self.started = False
        self.over = False
        self.marked = bare_end  # the provider has said that this is all of it
        self.finish: str | None = None
        self.usage: Usage | None = None
        self.has_text = False
        self.has_reasoning = False
        self.id = ""
        self.model = model
        self.created = now

    # -- the fast lane asks ---------------------------------------------------------------------------

    @property
    def in_plain_text(self) -> bool:
        """Whether the open block is text, something can be read in it, and nothing can turn up but more text."""
        return (
            self._open is BlockKind.TEXT
            and self.has_text
            and self.finish is None
            and not self._refusing
            and (self._splitter is None or self._splitter.settled)
        )

    # -- chunks ---------------------------------------------------------------------------------------

    def parse(self, data: bytes) -> ChunkFrame:
        """One `data` payload as a chunk. Raises Malformed, or the error that the chunk carries."""
        try:
            if not data.isascii():
                data.decode()  # what is skipped is not checked, and what is forwarded must be UTF-8
            chunk = CHUNK.decode(data)
        except (msgspec.MsgspecError, UnicodeError, RecursionError):
            raise self._unreadable(data) from None
        if chunk.error or chunk.x_groq is not None or not chunk.choices:
            self._check_top(chunk, data)
        for choice in chunk.choices or ():
            if choice.error:
                raise self._in_band(choice.error)
            if choice.finish_reason or choice.native_finish_reason:
                self._check_finish(choice)
        return chunk

    def _unreadable(self, data: bytes) -> UpstreamError:
        """A frame of another shape: an error in somebody's own words, or garbage."""
        try:
            value = msgspec.json.decode(data)
        except (msgspec.MsgspecError, UnicodeError, RecursionError):
            return Malformed("a frame that is not JSON")
        if isinstance(value, dict | list) and value:
            return self._in_band(value)
        return Malformed("a frame of an unknown shape")

    def _check_top(self, chunk: ChunkFrame, data: bytes) -> None:
        """Raise the error object that a chunk carries at its top (providers.md 6)."""
        error = chunk.error
        if not error and isinstance(chunk.x_groq, dict):
            error = chunk.x_groq.get("error")
        if error:
            raise self._in_band(error)
        if chunk.choices is None and chunk.usage is None and (chunk.detail or chunk.message):
            raise self._unreadable(data)

    def _check_finish(self, choice: ChoiceFrame) -> None:
        """Raise where a finish reason is none (cases.md 9R-11)."""
        for said in (choice.finish_reason, choice.native_finish_reason):
            word = finish_word(said)
            if word in FAILED_FINISH:
                raise self._in_band({"message": f"finish_reason {word}"})

    def named_error(self, data: bytes) -> UpstreamError:
        """What an `event: error` frame says, whatever its payload looks like."""
        try:
            value = msgspec.json.decode(data)
        except (msgspec.MsgspecError, UnicodeError, RecursionError):
            value = data.decode(errors="replace")
        if isinstance(value, dict) and value.get("error"):
            value = value["error"]
        return self._in_band(value)

    def note_usage(self, chunk: ChunkFrame) -> None:
        """Take the usage of a chunk without making events of it."""
        self._usage(chunk.usage, [])

    def events(self, chunk: ChunkFrame) -> list[ChatEvent]:
        """The neutral events of one chunk. The first choice is the answer. Raises Malformed."""
        out: list[ChatEvent] = []
        choice = chunk.choices[0] if chunk.choices else None
        if choice is None:  # usage, or what some send ahead: it does not say who answers
            self._usage(chunk.usage, out)
            return out
        if not self.started:
            out.append(self.start(chunk))
        self._usage(chunk.usage if chunk.usage is not None else choice.usage, out)
        delta = choice.delta or choice.message
        before = len(out)
        if delta is not None and self.finish is None:
            self._delta(delta, out, whole=choice.message is not None)
        word = finish_word(choice.finish_reason)
        if word == "" and choice.message is None:
            # In every chunk of some streams; an end only where it comes alone, behind what was said.
            self._blank_end = len(out) == before and (self.has_text or self._calls.count > 0)
        elif word is not None and self.finish is None:
            self.finish = word
        return out

    def start(self, chunk: ChunkFrame) -> Started:
        """Take the identity of the stream from its first chunk; what is missing is made up."""
        self.started = True
        self.model = chunk.model if isinstance(chunk.model, str) and chunk.model else self.model
        self.created = count(chunk.created) or self._now
        self.id = chunk.id if isinstance(chunk.id, str) and chunk.id else self._new_id("chatcmpl-")
        return Started(self.id, self.model, self.created)

    def _delta(self, delta: DeltaFrame, out: list[ChatEvent], *, whole: bool) -> None:
        reasoning, text = flatten(delta.content)
        for field in (delta.reasoning_content, delta.reasoning):
            if isinstance(field, str) and field:
                reasoning = field
                break
        details = delta.reasoning_details
        details = [part for part in details if isinstance(part, dict)] if isinstance(details, list) else None
        if reasoning or details:
            extras: dict[str, object] = {"reasoning_details": sendable(details)} if details else {}
            self._say(BlockKind.REASONING, reasoning, out, extras)
        if text:
            self._text(text, out, whole=whole)
        if isinstance(delta.refusal, str) and delta.refusal:
            self._say(BlockKind.TEXT, delta.refusal, out, refusal=True)
        if delta.annotations:
            self._citations += citations(delta.annotations, self._said_chars)
        if delta.tool_calls:
            if not isinstance(delta.tool_calls, list):
                raise Malformed("tool_calls is not a list")
            self._calls.add(delta.tool_calls, delta.extra_content)
        elif isinstance(delta.function_call, dict):
            self._calls.add([{"index": 0, "function": delta.function_call}], None)
        else:
            return
        self._flush_calls(out)

    def _flush_calls(self, out: list[ChatEvent]) -> None:
        for event in self._calls.drain():
            if isinstance(event, Opened):
                self._close(out)
                self._open = BlockKind.TOOL_CALL
            elif isinstance(event, Closed):
                self._open = None
            out.append(event)
        if self._late and self._calls.complete:
            late, self._late = self._late, []
            for kind, text, extras in late:
                self._say(kind, text, out, extras)

    def _text(self, text: str, out: list[ChatEvent], *, whole: bool) -> None:
        if self._splitter is None or self._splitter.settled:
            self._say(BlockKind.TEXT, text, out)
            return
        for kind, part in self._splitter.whole(text) if whole else self._splitter.feed(text):
            self._say(kind, part, out)

    def _say(
        self,
        kind: BlockKind,
        text: str,
        out: list[ChatEvent],
        extras: dict[str, object] | None = None,
        *,
        refusal: bool = False,
    ) -> None:
        if kind is BlockKind.REASONING:
            self.has_reasoning = True
        elif not self.has_text:
            self.has_text = bool(text.strip())
        if self._calls.count and not self._make_room(kind, text, out, extras):
            return
        if self._open is not kind or extras or refusal is not self._refusing:
            self._close(out)
            out.append(Opened(kind, extras=extras or {}, refusal=refusal))
            self._open = kind
            self._refusing = refusal
        if text:
            out.append(Delta(text))
            self._open_chars += len(text)

    def _make_room(self, kind: BlockKind, text: str, out: list[ChatEvent], extras: dict[str, object] | None) -> bool:
        """End the calls that have begun, since something else is said; where one is not whole yet, that waits."""
        if self._open is kind:
            return True
        if not self._late and not extras and not text.strip():
            return False  # line feeds around calls
        if self._late or not self._calls.complete:
            self._late.append((kind, text, extras or {}))
            return False
        for event in self._calls.close():
            if isinstance(event, Opened):
                self._close(out)
            self._open = None if isinstance(event, Closed) else BlockKind.TOOL_CALL
            out.append(event)
        return True

    def _close(self, out: list[ChatEvent]) -> None:
        if self._open is not None:
            found: tuple[Citation, ...] = ()
            if self._open is BlockKind.TEXT:
                found, self._citations = tuple(self._citations), []
                self._said_chars += self._open_chars
            out.append(Closed(citations=found))
            self._open = None
            self._refusing = False
        self._open_chars = 0

    def _usage(self, raw: Any, out: list[ChatEvent]) -> None:
        """Take a usage object; cumulative ones come in every chunk, and none may take anything back."""
        if not isinstance(raw, dict):
            return
        usage, old = parse_usage(raw), self.usage
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

    # -- for another lane than Chat's own ---------------------------------------------------------------

    def feed(self, frame: Frame) -> list[ChatEvent]:
        """The events of one frame, Finished with the `[DONE]`. Raises the UpstreamError that it is."""
        data = frame.data
        if not data:
            return []
        if data.startswith(b"[DONE]"):
            self.marked = True
            return self.finish_stream(clean=True)
        if frame.name == b"error":
            raise self.named_error(data)
        return self.events(self.parse(data))

    def plain_text(self, data: bytes) -> str | None:  # noqa: ARG002
        """None: a frame is always fed (Chat's own lane has a shorter way)."""
        return None

    def mend(self, data: bytes) -> bytes:
        """The payload as it is (Chat's own lane writes odd frames anew)."""
        return data

    def whole(self, body: bytes) -> list[ChatEvent]:
        """A unary answer as events, its end included. Raises the UpstreamError that it is."""
        chunk = self.parse(body)
        if not chunk.choices:
            raise EmptyReply("an answer without choices") if chunk.choices == [] else Malformed("not a chat completion")
        self.marked = True
        events = [*self.events(chunk), *self.finish_stream(clean=True)]
        if isinstance(events[-1], Failed):
            raise events[-1].error
        return events

    # -- the end --------------------------------------------------------------------------------------

    def finish_stream(self, *, clean: bool) -> list[ChatEvent]:
        """The stream is over; `clean` = by `[DONE]` or by its framing. Ends with Finished or Failed, once."""
        out: list[ChatEvent] = []
        if self.over:
            return out
        self.over = True
        if not self.started:
            out.append(self.start(ChunkFrame()))
        if self._splitter is not None:
            for kind, part in self._splitter.finish():
                self._say(kind, part, out)
        if self.finish is None and clean and self._blank_end:
            self.finish = ""
        error = self._verdict(clean=clean)
        if error is not None:
            self._close(out)
            out.append(Failed(error))
            return out
        if self._calls.count:
            self._end_calls(out)
        self._close(out)
        out.append(Finished(self._reason(), self.finish or ""))
        return out

    def _end_calls(self, out: list[ChatEvent]) -> None:
        for event in self._calls.finish(fill=self._reason() is not Finish.LENGTH):
            if isinstance(event, Opened):
                self._close(out)
            self._open = None if isinstance(event, Closed) else BlockKind.TOOL_CALL
            out.append(event)
        late, self._late = self._late, []
        for kind, text, extras in late:
            if self._open is not kind or extras:
                self._close(out)
                out.append(Opened(kind, extras=extras))
                self._open = kind
            if text:
                out.append(Delta(text))

    def _verdict(self, *, clean: bool) -> UpstreamError | None:
        """What is wrong with this ending, None where it is a good one."""
        calls = self._calls.count
        if self.finish is None:
            # NVIDIA NIM closes a tool-call stream without a reason (cases.md PI-1): whole calls are an end.
            # Elsewhere only behind the mark, or one call of two would pass for all.
            if clean and self.marked and calls and self._calls.complete:
                return None
            return Truncated("the stream ended without a finish reason")
        reason = FINISH.get(self.finish, Finish.STOP)
        if calls and not self._calls.whole and reason not in (Finish.LENGTH, Finish.CONTENT_FILTER):
            return Truncated("a tool call ended in the middle of its arguments")
        if not self.has_text and not self._calls.named:
            if reason is Finish.CONTENT_FILTER:
                return ContentFiltered(f"finish_reason {self.finish}")
            return EmptyReply(f"no text and no tool call, finish_reason {self.finish}")
        return None

    def _reason(self) -> Finish:
        if self.finish is None:
            return Finish.TOOL_CALLS
        reason = FINISH.get(self.finish, Finish.STOP)
        if self._calls.count and reason is Finish.STOP:
            return Finish.TOOL_CALLS
        if not self._calls.count and reason is Finish.TOOL_CALLS:
            return Finish.STOP
        return reason
