"""Chat Completions streams, inward: chunks to neutral events, every upstream oddity straightened once.

Owns the decoding of one upstream answer (providers.md 6, 7, 12.6 and 12.10): tool calls without index, ids or
names are numbered and named, reasoning in any of its fields becomes one block, error objects inside a 200 become errors,
and a missing end is never an end. It must never know who is being answered.
"""

from collections.abc import Callable
from typing import Any

import msgspec

from hermes_router.core.errors import EmptyReply, Malformed, Truncated, UpstreamError
from hermes_router.core.events import (
    BlockKind,
    ChatEvent,
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
from hermes_router.wire.calls import CallAssembler
from hermes_router.wire.thinking import TagSplitter

InBand = Callable[[object], UpstreamError]
"""Classifies an error object that was found inside a 200."""


class DeltaFrame(msgspec.Struct):
    """`choices[].delta` of a chunk, or `choices[].message` of a whole answer."""

    role: Any = None
    content: Any = None
    reasoning_content: Any = None
    reasoning: Any = None
    reasoning_details: Any = None
    tool_calls: Any = None
    function_call: Any = None
    refusal: Any = None
    extra_content: Any = None


class ChoiceFrame(msgspec.Struct):
    """One of `choices`."""

    index: Any = 0
    delta: DeltaFrame | None = None
    message: DeltaFrame | None = None
    finish_reason: Any = None
    native_finish_reason: Any = None
    usage: Any = None
    error: Any = None


class ChunkFrame(msgspec.Struct):
    """One chunk, or one whole answer."""

    id: Any = None
    object: Any = None
    created: Any = None
    model: Any = None
    choices: list[ChoiceFrame] | None = None
    usage: Any = None
    error: Any = None
    x_groq: Any = None
    detail: Any = None
    message: Any = None


CHUNK = msgspec.json.Decoder(ChunkFrame)

# providers.md 12.6: vendors' words for the ends that OpenAI knows.
_FINISH = {
    "stop": Finish.STOP,
    "eos": Finish.STOP,
    "end_turn": Finish.STOP,
    "": Finish.STOP,
    "length": Finish.LENGTH,
    "max_tokens": Finish.LENGTH,
    "model_length": Finish.LENGTH,
    "model_context_window_exceeded": Finish.LENGTH,
    "tool_calls": Finish.TOOL_CALLS,
    "function_call": Finish.TOOL_CALLS,
    "tool_use": Finish.TOOL_CALLS,
    "content_filter": Finish.CONTENT_FILTER,
    "sensitive": Finish.CONTENT_FILTER,
    "refusal": Finish.CONTENT_FILTER,
}
_FAILED_FINISH = frozenset({"error", "network_error", "insufficient_system_resource", "cancelled", "abort"})


class ChatDecoder:
    """One upstream answer, chunk by chunk. `think_tags` are (open, close) pairs that wrap reasoning in the content."""

    def __init__(
        self,
        in_band: InBand,
        *,
        new_id: Callable[[str], str],
        now: int,
        think_tags: tuple[str, str] | None = None,
    ) -> None:
        self._in_band = in_band
        self._new_id = new_id
        self._now = now
        self._splitter = TagSplitter(*think_tags) if think_tags else None
        self._calls = CallAssembler(new_id)
        self._open: BlockKind | None = None
        self.started = False
        self.over = False
        self.finish: str | None = None
        self.usage: Usage | None = None
        self.has_text = False
        self.has_reasoning = False
        self.model = ""

    # -- the fast lane asks ---------------------------------------------------------------------------

    @property
    def in_plain_text(self) -> bool:
        """Whether the open block is text and nothing can turn up in it but more text."""
        return self._open is BlockKind.TEXT and (self._splitter is None or self._splitter.settled)

    # -- chunks ---------------------------------------------------------------------------------------

    def parse(self, data: bytes) -> ChunkFrame:
        """One `data` payload as a chunk. Raises Malformed, or the error that the chunk carries."""
        try:
            chunk = CHUNK.decode(data)
        except (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError, RecursionError):
            raise self._unreadable(data) from None
        self.raise_in_band(chunk)
        return chunk

    def _unreadable(self, data: bytes) -> UpstreamError:
        """A frame of another shape: an error in somebody's own words, or garbage."""
        try:
            value = msgspec.json.decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return Malformed("a frame that is not JSON")
        if isinstance(value, dict | list) and value:
            return self._in_band(value)
        return Malformed("a frame of an unknown shape")

    def raise_in_band(self, chunk: ChunkFrame) -> None:
        """Raise the error object that a chunk carries in any of the known places (providers.md 6)."""
        error = chunk.error
        if error is None and isinstance(chunk.x_groq, dict):
            error = chunk.x_groq.get("error")
        if error:
            raise self._in_band(error)
        for choice in chunk.choices or ():
            if choice.error:
                raise self._in_band(choice.error)
            if choice.finish_reason in _FAILED_FINISH or choice.native_finish_reason in _FAILED_FINISH:
                raise self._in_band({"message": f"finish_reason {choice.finish_reason}/{choice.native_finish_reason}"})
        if chunk.choices is None and chunk.usage is None and (chunk.detail or chunk.message):
            raise self._in_band({"message": chunk.detail or chunk.message})

    def named_error(self, data: bytes) -> UpstreamError:
        """An `event: error` frame whose payload does not look like one."""
        return self._in_band(data.decode(errors="replace"))

    def note_usage(self, chunk: ChunkFrame) -> None:
        """Take the usage of a chunk without making events of it."""
        self._usage(chunk.usage, [])

    def events(self, chunk: ChunkFrame) -> list[ChatEvent]:
        """The neutral events of one chunk. The first choice is the answer."""
        out: list[ChatEvent] = []
        if not self.started:
            self._start(chunk, out)
        choice = chunk.choices[0] if chunk.choices else None
        self._usage(chunk.usage if chunk.usage is not None else (choice and choice.usage), out)
        if choice is None:
            return out
        delta = choice.delta or choice.message
        if delta is not None and self.finish is None:
            self._delta(delta, out)
        if choice.finish_reason is not None and self.finish is None:
            self.finish = str(choice.finish_reason)
        return out

    def _start(self, chunk: ChunkFrame, out: list[ChatEvent]) -> None:
        self.started = True
        self.model = chunk.model if isinstance(chunk.model, str) else ""
        created = int(chunk.created) if isinstance(chunk.created, int | float) and chunk.created > 0 else self._now
        chunk_id = chunk.id if isinstance(chunk.id, str) and chunk.id else self._new_id("chatcmpl-")
        out.append(Started(chunk_id, self.model, created))

    def _delta(self, delta: DeltaFrame, out: list[ChatEvent]) -> None:
        reasoning, text = _flatten(delta.content)
        for field in (delta.reasoning_content, delta.reasoning):
            if isinstance(field, str) and field:
                reasoning = field
                break
        if reasoning or delta.reasoning_details:
            extras = {"reasoning_details": delta.reasoning_details} if delta.reasoning_details else {}
            self._say(BlockKind.REASONING, reasoning, out, extras)
        if isinstance(delta.refusal, str):
            text += delta.refusal
        if text:
            self._text(text, out)
        if delta.tool_calls:
            if not isinstance(delta.tool_calls, list):
                raise Malformed("tool_calls is not a list")
            self._calls.add(delta.tool_calls, delta.extra_content)
        elif isinstance(delta.function_call, dict):
            self._calls.add([{"index": 0, "function": delta.function_call}], None)
        self._flush_calls(out)

    def _flush_calls(self, out: list[ChatEvent]) -> None:
        for event in self._calls.drain():
            if isinstance(event, Opened):
                self._close(out)
                self._open = BlockKind.TOOL_CALL
            elif isinstance(event, Closed):
                self._open = None
            out.append(event)

    def _text(self, text: str, out: list[ChatEvent]) -> None:
        if self._splitter is None or self._splitter.settled:
            self._say(BlockKind.TEXT, text, out)
            return
        for kind, part in self._splitter.feed(text):
            self._say(kind, part, out)

    def _say(self, kind: BlockKind, text: str, out: list[ChatEvent], extras: dict[str, object] | None = None) -> None:
        if self._open is BlockKind.TOOL_CALL:
            out.extend(self._calls.close())
            self._open = None
        if self._open is not kind:
            self._close(out)
            out.append(Opened(kind, extras=extras or {}))
            self._open = kind
        elif extras:
            self._close(out)
            out.append(Opened(kind, extras=extras))
            self._open = kind
        if kind is BlockKind.TEXT:
            self.has_text = self.has_text or bool(text.strip())
        else:
            self.has_reasoning = True
        if text:
            out.append(Delta(text))

    def _close(self, out: list[ChatEvent]) -> None:
        if self._open is not None:
            out.append(Closed())
            self._open = None

    def _usage(self, raw: Any, out: list[ChatEvent]) -> None:
        if isinstance(raw, dict):
            usage = parse_usage(raw)
            if self.usage is None or usage.output_tokens >= self.usage.output_tokens:
                self.usage = usage
                out.append(UsageSeen(usage))

    # -- the end --------------------------------------------------------------------------------------

    def finish_stream(self, *, clean: bool) -> list[ChatEvent]:
        """The stream is over; `clean` = by `[DONE]` or by its framing. Ends with Finished or Failed, once."""
        out: list[ChatEvent] = []
        if self.over:
            return out
        self.over = True
        if self._splitter is not None:
            for kind, part in self._splitter.finish():
                self._say(kind, part, out)
        error = self._verdict(clean=clean)
        if error is not None:
            if self._open is not None:
                out.append(Closed())
                self._open = None
            out.append(Failed(error))
            return out
        out.extend(self._calls.finish())
        if self._open is not None and self._open is not BlockKind.TOOL_CALL:
            out.append(Closed())
        self._open = None
        out.append(Finished(self._reason(), self.finish or ""))
        return out

    def _verdict(self, *, clean: bool) -> UpstreamError | None:
        """What is wrong with this ending, None where it is a good one."""
        calls = self._calls.count
        if self.finish is None:
            # NVIDIA NIM closes a tool-call stream without a reason (cases.md PI-1): whole calls are an end.
            if clean and calls and self._calls.whole:
                return None
            return Truncated("the stream ended without a finish reason")
        reason = _FINISH.get(self.finish, Finish.STOP)
        if reason is Finish.CONTENT_FILTER:
            return None
        if calls and not self._calls.whole and reason is not Finish.LENGTH:
            return Truncated("a tool call ended in the middle of its arguments")
        if not self.has_text and not calls:
            return EmptyReply(f"no text and no tool call, finish {self.finish}")
        return None

    def _reason(self) -> Finish:
        reason = _FINISH.get(self.finish or "", Finish.STOP)
        if self._calls.count and reason is Finish.STOP:
            return Finish.TOOL_CALLS
        if not self._calls.count and reason is Finish.TOOL_CALLS:
            return Finish.STOP
        return Finish.TOOL_CALLS if self.finish is None else reason


def _flatten(content: Any) -> tuple[str, str]:
    """(reasoning, text) of a content value: a string, or Mistral's list of thinking and text parts (3.7)."""
    if isinstance(content, str):
        return "", content
    reasoning, text = "", ""
    for part in content if isinstance(content, list) else ():
        if not isinstance(part, dict):
            continue
        if part.get("type") == "thinking":
            inner = part.get("thinking")
            reasoning += _flatten(inner)[1] if isinstance(inner, list) else str(inner or "")
        elif isinstance(part.get("text"), str):
            text += part["text"]
    return reasoning, text


def _count(value: Any) -> int:
    return int(value) if isinstance(value, int | float) and not isinstance(value, bool) and value > 0 else 0


def parse_usage(raw: dict[str, Any]) -> Usage:
    """A `usage` object in any of its spellings (providers.md 12.7): cached tokens are counted once."""
    prompt = raw.get("prompt_tokens_details")
    completion = raw.get("completion_tokens_details")
    cached = prompt.get("cached_tokens") if isinstance(prompt, dict) else None
    if cached is None:
        cached = raw.get("prompt_cache_hit_tokens", raw.get("cached_tokens"))
    return Usage(
        input_tokens=_count(raw.get("prompt_tokens")),
        output_tokens=_count(raw.get("completion_tokens")),
        cached_tokens=_count(cached),
        reasoning_tokens=_count(completion.get("reasoning_tokens")) if isinstance(completion, dict) else 0,
    )
