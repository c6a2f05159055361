"""A whole answer of a Chat upstream: checked, and passed on as it came where nothing is odd.

Owns the truthfulness of unary answers: an error object, no choice, no content, a cut tool call in a 200 are failures.
It must never know a target.
"""

from typing import NamedTuple

import msgspec
from msgspec import Raw

from hermes_router.core.errors import EmptyReply, Malformed, Truncated
from hermes_router.core.events import CHARS_PER_TOKEN, Answer, Block, BlockKind, Failed, Finish, Usage, fold
from hermes_router.wire.broken_calls import drop_broken_calls
from hermes_router.wire.chat.decoder import ChatDecoder
from hermes_router.wire.chat.encoder import render_answer, usage_object
from hermes_router.wire.chat.frames import ChoiceFrame, ChunkFrame, DeltaFrame, finish_word

_FIELDS = msgspec.json.Decoder(dict[str, Raw])
_JSON = msgspec.json.Encoder()
_PLAIN_ENDS = ("stop", "length", "content_filter")


class Whole(NamedTuple):
    """A good answer: the caller's body, the usage, the model, and the folded answer where it was taken apart."""

    body: bytes
    usage: Usage
    model: str
    answer: Answer | None


def read_answer(
    body: bytes,
    decoder: ChatDecoder,
    *,
    estimate: Usage,
    cap_chars: int | None,
    choices: int,
    plain: bool,
) -> Whole:
    """Check a unary answer. Raises the UpstreamError that it really is.

    `plain` = the row needs no straightening of texts; `estimate` (its prompt; the completion is counted here) stands
    in where the upstream reports no usage; text beyond `cap_chars` is cut.
    """
    chunk = _parse(body, decoder)
    decoder.note_usage(chunk)
    if choices > 1:
        _check_many(chunk, choices)
        usage = usage_of(decoder.usage, estimate, "".join(_text(choice) for choice in chunk.choices or ()))
        return Whole(_with_usage(body, usage), usage, _model(chunk), None)
    choice = (chunk.choices or [ChoiceFrame()])[0]
    as_it_came = plain and _is_ours(chunk) and _is_whole(choice, cap_chars)
    decoder.marked = True
    events = [*decoder.events(chunk), *decoder.finish_stream(clean=True)]
    if isinstance(events[-1], Failed):
        raise events[-1].error
    answer = fold(events)
    drop_broken_calls(answer)
    cap(answer, cap_chars)
    usage = usage_of(decoder.usage, estimate, "".join(block.text for block in answer.blocks))
    whole = _with_usage(body, usage) if as_it_came else render_answer(answer, usage)
    return Whole(whole, usage, answer.model, answer)


def _parse(body: bytes, decoder: ChatDecoder) -> ChunkFrame:
    chunk = decoder.parse(body)
    if not chunk.choices:
        raise EmptyReply("an answer without choices") if chunk.choices == [] else Malformed("not a chat completion")
    return chunk


def _model(chunk: ChunkFrame) -> str:
    return chunk.model if isinstance(chunk.model, str) else ""


def _text(choice: ChoiceFrame) -> str:
    content = choice.message.content if choice.message is not None else None
    return content if isinstance(content, str) else ""


def usage_of(reported: Usage | None, estimate: Usage, text: str) -> Usage:
    """What was reported, if it counts anything; else an estimate, marked as one."""
    if reported is not None and reported.output_tokens:
        return reported
    tokens = max(1, estimate.output_tokens, len(text) // CHARS_PER_TOKEN)
    prompt = reported.input_tokens if reported is not None else 0
    return Usage(prompt or estimate.input_tokens, tokens, estimated=True)


def _with_usage(body: bytes, usage: Usage) -> bytes:
    """The body as it came; with `usage` added where it has none that is worth the name."""
    if not usage.estimated:
        return body
    fields: dict[str, object] = dict(_FIELDS.decode(body))
    return _JSON.encode({**fields, "usage": usage_object(usage)})


def _is_ours(chunk: ChunkFrame) -> bool:
    """Whether everything is there that the SDKs read."""
    return (
        isinstance(chunk.id, str)
        and bool(chunk.id)
        and isinstance(chunk.model, str)
        and bool(chunk.model)
        and type(chunk.created) is int
        and chunk.object == "chat.completion"
    )


def _is_whole(choice: ChoiceFrame, cap_chars: int | None) -> bool:
    """Whether the caller can be given the upstream's message as it is."""
    message = choice.message
    if message is None or message.role != "assistant" or choice.index != 0 or message.function_call is not None:
        return False
    if isinstance(message.content, list) or (message.reasoning and not message.reasoning_content):
        return False
    if cap_chars is not None and isinstance(message.content, str) and len(message.content) > cap_chars:
        return False
    calls = message.tool_calls
    if not calls:
        return calls is None and choice.finish_reason in _PLAIN_ENDS
    if choice.finish_reason != "tool_calls" or not isinstance(calls, list) or not all(map(_is_whole_call, calls)):
        return False
    return len({call["id"] for call in calls}) == len(calls)


def _is_whole_call(call: object) -> bool:
    if not isinstance(call, dict) or not isinstance(call.get("id"), str) or not call["id"]:
        return False
    function = call.get("function")
    return (
        call.get("type") == "function"
        and isinstance(function, dict)
        and isinstance(function.get("name"), str)
        and isinstance(function.get("arguments"), str)
        and bool(function["arguments"])
    )


def _check_many(chunk: ChunkFrame, choices: int) -> None:
    found = chunk.choices or []
    for choice in found:
        message = choice.message or DeltaFrame()
        if not (message.content or message.tool_calls):
            raise EmptyReply("a choice without content")
    ended = sum(1 for choice in found if finish_word(choice.finish_reason))
    if ended < choices:
        raise Truncated(f"{ended} of {choices} choices finished")


def cap(answer: Answer, cap_chars: int | None) -> bool:
    """Cut the visible text at the caller's own cap; nothing comes behind the cut. Whether there was one.

    Raises EmptyReply where nothing is left.
    """
    left = cap_chars
    if left is None:
        return False
    kept: list[Block] = []
    cut = False
    for block in answer.blocks:
        kept.append(block)
        if block.kind is not BlockKind.TEXT:
            continue
        if len(block.text) > left:
            block.text = block.text[:left]
            answer.finish = Finish.LENGTH
            cut = True
            break
        left -= len(block.text)
    answer.blocks = kept
    if (
        answer.finish is Finish.LENGTH
        and not any(b.kind is BlockKind.TOOL_CALL for b in kept)
        and not answer.text().strip()
    ):
        raise EmptyReply("white space up to the caller's cap")
    return cut
