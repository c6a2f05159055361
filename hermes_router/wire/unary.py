"""A whole answer of a Chat upstream: checked, and passed on as it came where nothing is odd.

Owns the truthfulness of unary answers: an error object, no choice, no content, a cut tool call in a 200 are failures.
It must never know a target.
"""

from dataclasses import dataclass

from hermes_router.core.errors import EmptyReply, Malformed
from hermes_router.core.events import Answer, BlockKind, ChatEvent, Failed, Finish, Usage, fold
from hermes_router.wire.chat_decoder import ChatDecoder, ChoiceFrame, ChunkFrame, DeltaFrame
from hermes_router.wire.chat_encoder import render_answer

_PLAIN_ENDS = frozenset({"stop", "length", "content_filter"})


@dataclass(frozen=True, slots=True)
class Whole:
    """A good answer: the caller's body, the usage, and the folded answer where it had to be taken apart."""

    body: bytes
    usage: Usage
    model: str
    answer: Answer | None


def events_of(body: bytes, decoder: ChatDecoder) -> list[ChatEvent]:
    """The whole answer as a stream of events, its end included. Raises the UpstreamError that it carries."""
    chunk = _parse(body, decoder)
    return [*decoder.events(chunk), *decoder.finish_stream(clean=True)]


def read_answer(
    body: bytes,
    decoder: ChatDecoder,
    *,
    estimate: Usage,
    cap_chars: int | None,
    choices: int,
    tap: bool,
    plain: bool,
) -> Whole:
    """Check a unary answer. Raises the UpstreamError that it really is.

    `plain` = the row needs no straightening of texts; `tap` = the folded answer is wanted (for replay);
    `estimate` stands in where the upstream reports no usage; text beyond `cap_chars` is cut.
    """
    chunk = _parse(body, decoder)
    decoder.note_usage(chunk)
    if choices > 1:
        _check_many(chunk)
        return Whole(body, decoder.usage or estimate, str(chunk.model or ""), None)
    choice = (chunk.choices or [ChoiceFrame()])[0]
    if plain and not tap and decoder.usage is not None and _is_plain(choice, cap_chars):
        return Whole(body, decoder.usage, str(chunk.model or ""), None)
    events = [*decoder.events(chunk), *decoder.finish_stream(clean=True)]
    answer = fold(events)
    if isinstance(events[-1], Failed):
        raise events[-1].error
    usage = decoder.usage or estimate
    if plain and decoder.usage is not None and _is_whole(choice, cap_chars):
        return Whole(body, usage, answer.model, answer)
    _cap(answer, cap_chars)
    return Whole(render_answer(answer, usage), usage, answer.model, answer)


def _parse(body: bytes, decoder: ChatDecoder) -> ChunkFrame:
    chunk = decoder.parse(body)
    if not chunk.choices:
        raise EmptyReply("an answer without choices") if chunk.choices == [] else Malformed("not a chat completion")
    return chunk


def _is_plain(choice: ChoiceFrame, cap_chars: int | None) -> bool:
    message = choice.message
    return (
        message is not None
        and isinstance(message.content, str)
        and bool(message.content.strip())
        and message.tool_calls is None
        and _is_whole(choice, cap_chars)
        and choice.finish_reason in _PLAIN_ENDS
    )


def _is_whole(choice: ChoiceFrame, cap_chars: int | None) -> bool:
    """Whether the caller can be given the upstream's message as it is."""
    message = choice.message
    if message is None or message.function_call is not None:
        return False
    if isinstance(message.content, list) or (message.reasoning and not message.reasoning_content):
        return False
    if cap_chars is not None and isinstance(message.content, str) and len(message.content) > cap_chars:
        return False
    calls = message.tool_calls
    if not calls:
        return choice.finish_reason in _PLAIN_ENDS and calls is None
    return choice.finish_reason == "tool_calls" and isinstance(calls, list) and all(map(_is_whole_call, calls))


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


def _check_many(chunk: ChunkFrame) -> None:
    for choice in chunk.choices or ():
        message = choice.message or DeltaFrame()
        if choice.finish_reason is None or not (message.content or message.tool_calls):
            raise EmptyReply("a choice without content")


def _cap(answer: Answer, cap_chars: int | None) -> None:
    """Cut the visible text at the caller's own cap."""
    left = cap_chars
    if left is None:
        return
    for block in answer.blocks:
        if block.kind is not BlockKind.TEXT:
            continue
        if len(block.text) > left:
            block.text = block.text[:left]
            answer.finish = Finish.LENGTH
        left -= len(block.text)
