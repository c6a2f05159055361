"""Chat Completions streams, outward: neutral events to chunks that the OpenAI SDK accumulates without harm.

Owns the frames that we write ourselves (providers.md 12.10): one role, tool calls numbered 0, 1, 2 with id and name
sent once, `reasoning_content`, one finish, usage only where it was asked for. Tools of free text are called as such,
also where the upstream knew them as functions. It must never know who answered, beyond the model name that it shows.
"""

from typing import Any, assert_never

import msgspec
from msgspec import Raw

from hermes_router.core.errors import HermesError
from hermes_router.core.events import (
    Answer,
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
from hermes_router.wire.dialect import NewId
from hermes_router.wire.inbound import Inbound
from hermes_router.wire.openai_errors import error_event
from hermes_router.wire.responses.output import free_text

DONE = b"data: [DONE]\n\n"
_TEXT = msgspec.json.Encoder()
_ANY = msgspec.json.Decoder()
_CUSTOM = b'"custom"'


class ChatEncoder:
    """The caller's stream. `id` and `created` may be fixed before anyone has answered (keep-alives carry them)."""

    def __init__(self, *, include_usage: bool, tools: Raw | None = None) -> None:
        self._include_usage = include_usage
        self._tools = tools  # the caller's
        self._free = False  # the open call is one of free text
        self._wrapped: list[str] | None = None  # its input, where it comes as the JSON of a function
        self._prefix = b""
        self._calls = -1
        self._entries = 0
        self._kind: BlockKind | None = None
        self._usage: Usage | None = None
        self.origin = ""
        self.id_prefix = "chatcmpl-"
        self.id = ""
        self.model = ""
        self.created = 0
        self.finished = False

    def identify(self, new_id: str, model: str, created: int) -> None:
        """Fix what every chunk carries. Later calls change the model only (nobody has been shown one yet)."""
        self.id = self.id or new_id
        self.created = self.created or created
        self.model = model
        self._prefix = (
            b'data: {"id":%s,"object":"chat.completion.chunk","created":%d,"model":%s,"choices":[{"index":0,"delta":'
            % (_TEXT.encode(self.id), self.created, _TEXT.encode(self.model))
        )

    def role(self) -> bytes:
        """The opening chunk."""
        return self._chunk(b'{"role":"assistant","content":""}')

    def keep_alive(self) -> bytes:
        """A chunk that says nothing: clients ignore comments when they measure silence."""
        return self._chunk(b"{}")

    def encode(self, events: list[ChatEvent]) -> bytes:
        """Render events; Started renders the role, Finished the end without its `[DONE]` (see `end`)."""
        out: list[bytes] = []
        for event in events:
            match event:
                case Started(id=new_id, model=model, created=created):
                    self.identify(new_id, model, created)
                    out.append(self.role())
                case Opened():
                    self._kind = event.kind
                    out.append(self._opened(event))
                case Delta(text=text):
                    out.append(self._delta(text))
                case Closed():
                    if self._wrapped is not None:
                        out.append(self._said(free_text("".join(self._wrapped))))
                        self._wrapped = None
                    self._kind = None
                case UsageSeen(usage=usage):
                    self._usage = usage
                case Finished(reason=reason):
                    self.finished = True
                    out.append(self._chunk(b"{}", reason))
                case Failed():
                    pass  # the exchange decides whether it is shown
                case _:
                    assert_never(event)
        return b"".join(out)

    def _opened(self, event: Opened) -> bytes:
        if event.kind is BlockKind.TOOL_CALL:
            self._calls += 1
            self._free = event.custom or event.name in custom_names(self._tools)
            self._wrapped = [] if self._free and not event.custom else None
            call: dict[str, Any] = {"index": self._calls, **_call(event.call_id, event.name, "", custom=self._free)}
            call.update(event.extras)
            return self._chunk(_TEXT.encode({"tool_calls": [call]}))
        if event.extras:
            return self._chunk(_TEXT.encode({key: self._indexed(value) for key, value in event.extras.items()}))
        return b""

    def _indexed(self, value: object) -> object:
        """Objects in a streamed list have an `index`: the SDK's accumulator fails on any that lacks one."""
        if not isinstance(value, list):
            return value
        entries = []
        for entry in value:
            if isinstance(entry, dict) and type(entry.get("index")) is not int:
                entries.append({**entry, "index": self._entries})
            else:
                entries.append(entry)
            self._entries += 1
        return entries

    def _delta(self, text: str) -> bytes:
        match self._kind:
            case BlockKind.TEXT:
                return self._chunk(b'{"content":%s}' % _TEXT.encode(text))
            case BlockKind.REASONING:
                return self._chunk(b'{"reasoning_content":%s}' % _TEXT.encode(text))
            case BlockKind.TOOL_CALL:
                if self._wrapped is not None:
                    self._wrapped.append(text)
                    return b""
                return self._said(text)
            case None:
                return b""
        assert_never(self._kind)

    def _said(self, text: str) -> bytes:
        """More of the open call."""
        slot = b'"custom":{"input"' if self._free else b'"function":{"arguments"'
        return self._chunk(b'{"tool_calls":[{"index":%d,%b:%b}}]}' % (self._calls, slot, _TEXT.encode(text)))

    def _chunk(self, delta: bytes, finish: Finish | None = None) -> bytes:
        reason = b"null" if finish is None else b'"%s"' % finish.value.encode()
        return self._prefix + delta + b',"finish_reason":' + reason + b"}]}\n\n"

    def end(self, usage: Usage) -> bytes:
        """What follows the finish: usage if the caller asked for it, and `[DONE]`."""
        if not self._include_usage:
            return DONE
        head = self._prefix.partition(b'"choices":')[0]
        return head + b'"choices":[],"usage":' + _TEXT.encode(usage_object(usage)) + b"}\n\n" + DONE

    def join(self, frame: bytes) -> None:
        """Nothing of a chunk depends on those before it."""

    def follow(self, frame: bytes) -> None:
        """Every chunk but plain text is written here, so there is nothing to keep step with."""

    def resume(self, text: str) -> None:
        """A chunk goes on with the text before it whoever wrote that."""

    def fail(self, error: HermesError, *, now: float, request_id: str = "") -> bytes:  # noqa: ARG002 - in a header
        """A frame with `error`, on which the SDKs raise; no `[DONE]`."""
        return error_event(error, now=now)


def make_encoder(inbound: Inbound, *, prompt_tokens: int, new_id: NewId, now: int) -> ChatEncoder:  # noqa: ARG001
    """The encoder of one exchange."""
    return ChatEncoder(include_usage=inbound.request.include_usage, tools=inbound.fields.get("tools"))


def custom_names(tools: Raw | None) -> frozenset[str]:
    """The names of a caller's tools that take free text."""
    if tools is None or _CUSTOM not in bytes(tools):
        return frozenset()
    try:
        said = _ANY.decode(tools)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return frozenset()  # only passed on: what it means is the upstream's to say
    inner = (tool.get("custom") for tool in said if isinstance(tool, dict)) if isinstance(said, list) else ()
    return frozenset(str(each.get("name")) for each in inner if isinstance(each, dict))


def _call(call_id: str, name: str, said: str, *, custom: bool) -> dict[str, Any]:
    if custom:
        return {"id": call_id, "type": "custom", "custom": {"name": name, "input": said}}
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": said}}


def answer_bytes(answer: Answer, usage: Usage, inbound: Inbound, *, origin: str, new_id: NewId, now: int) -> bytes:  # noqa: ARG001
    """`render_answer` as the table of dialects wants it; an answer of another dialect gets an id of this one."""
    answer.id = answer.id or new_id("chatcmpl-")
    answer.created = answer.created or now
    return render_answer(answer, usage, custom_names(inbound.fields.get("tools")))


def usage_object(usage: Usage) -> dict[str, Any]:
    """`usage` in the Chat spelling; the total is computed, since providers disagree (providers.md 12.7)."""
    prompt = {"cached_tokens": usage.cached_tokens}
    if usage.written_tokens:
        prompt["cache_write_tokens"] = usage.written_tokens
    return {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.input_tokens + usage.output_tokens,
        "prompt_tokens_details": prompt,
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
    }


def render_answer(answer: Answer, usage: Usage, custom: frozenset[str] = frozenset()) -> bytes:
    """A whole answer as a `chat.completion` object; `custom` are the caller's tools that take free text."""
    message: dict[str, Any] = {"role": "assistant", "content": answer.text() or None}
    reasoning = answer.text(BlockKind.REASONING)
    if reasoning:
        message["reasoning_content"] = reasoning
    calls: list[dict[str, Any]] = []
    for block in answer.blocks:
        if block.kind is BlockKind.TOOL_CALL:
            free = block.custom or block.name in custom
            said = free_text(block.text) if free and not block.custom else block.text
            calls.append({**_call(block.call_id, block.name, said, custom=free), **block.extras})
        else:
            _merge(message, block.extras)
    if calls:
        message["tool_calls"] = calls
    finish = answer.finish or Finish.STOP
    return _TEXT.encode(
        {
            "id": answer.id,
            "object": "chat.completion",
            "created": answer.created,
            "model": answer.model,
            "choices": [{"index": 0, "message": message, "finish_reason": finish.value, "logprobs": None}],
            "usage": usage_object(usage),
        }
    )


def _merge(message: dict[str, Any], extras: dict[str, object]) -> None:
    """Lists that came in pieces are one list in the whole message."""
    for key, value in extras.items():
        old = message.get(key)
        message[key] = [*old, *value] if isinstance(old, list) and isinstance(value, list) else value
