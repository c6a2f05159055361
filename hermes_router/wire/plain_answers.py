"""Whole answers of a provider that are text and nothing else, read in one step: most of what is asked for.

Owns what may be believed of an answer without taking it apart: one that ended of itself or by its length, shows text,
and says what it cost. Anything else is None here, and the dialect's decoder says what it is; where both can tell, they
tell the same. It must never change a body.
"""

from collections.abc import Callable
from typing import Annotated, Any, Final, Literal, NamedTuple, TypeVar

import msgspec

from hermes_router.core.events import Usage
from hermes_router.wire.chat.frames import FAILED_FINISH, finish_word

__all__ = ["Plain", "ReadPlain", "plain_completion", "plain_message", "plain_response"]

_Answer = TypeVar("_Answer")
_Tokens = Annotated[int, msgspec.Meta(ge=0, lt=2**53)]
_Counted = Annotated[int, msgspec.Meta(gt=0, lt=2**53)]
_Named = Annotated[str, msgspec.Meta(min_length=1)]


class Plain(NamedTuple):
    """The text, what it cost, and the model as the provider names it."""

    text: str
    usage: Usage
    model: str


ReadPlain = Callable[[bytes], Plain | None]


class _Given(msgspec.Struct, gc=False):
    cached_tokens: _Tokens | None = None
    cache_write_tokens: _Tokens | None = None


class _Made(msgspec.Struct, gc=False):
    reasoning_tokens: _Tokens | None = None


_NOTHING_GIVEN: Final = _Given()
_NOTHING_MADE: Final = _Made()


def _usage(prompt: int, completion: int, given: _Given | None, made: _Made | None) -> Usage:
    given, made = given or _NOTHING_GIVEN, made or _NOTHING_MADE
    return Usage(
        prompt,
        completion,
        given.cached_tokens or 0,
        made.reasoning_tokens or 0,
        written_tokens=given.cache_write_tokens or 0,
    )


# --- Chat -------------------------------------------------------------------------------------------


class _ChatMessage(msgspec.Struct, gc=False):
    role: Literal["assistant"]
    content: str
    reasoning: None = None  # callers read it as reasoning_content
    refusal: None = None
    tool_calls: None = None
    function_call: None = None


class _Choice(msgspec.Struct, gc=False):
    index: Literal[0]
    message: _ChatMessage
    finish_reason: Literal["stop", "length", "content_filter"]
    native_finish_reason: str | None = None
    error: None = None


class _ChatUsage(msgspec.Struct, gc=False):
    completion_tokens: _Counted
    prompt_tokens: _Tokens = 0
    prompt_tokens_details: _Given | None = None
    completion_tokens_details: _Made | None = None
    prompt_cache_hit_tokens: None = None  # another spelling, which the decoder knows
    cached_tokens: None = None


class _Groq(msgspec.Struct, gc=False):
    error: None = None


class _Completion(msgspec.Struct, gc=False):
    id: _Named
    object: Literal["chat.completion"]
    created: int
    model: _Named
    choices: list[_Choice]
    usage: _ChatUsage
    error: None = None
    x_groq: _Groq | None = None


_COMPLETION: Final = msgspec.json.Decoder(_Completion)


def plain_completion(body: bytes) -> Plain | None:
    """A whole Chat answer (providers.md 6, 12.6, 12.7) to who asked for one, None where it is not plain."""
    completion = _read(_COMPLETION, body)
    if completion is None or len(completion.choices) != 1:
        return None
    choice = completion.choices[0]
    text = choice.message.content
    if not text.strip() or finish_word(choice.native_finish_reason) in FAILED_FINISH:
        return None
    said = completion.usage
    usage = _usage(
        said.prompt_tokens, said.completion_tokens, said.prompt_tokens_details, said.completion_tokens_details
    )
    return Plain(text, usage, completion.model)


# --- Messages ---------------------------------------------------------------------------------------


class _Text(msgspec.Struct, gc=False):
    type: Literal["text"]
    text: str


class _MessagesUsage(msgspec.Struct, gc=False):
    output_tokens: _Counted
    input_tokens: _Tokens = 0
    cache_read_input_tokens: _Tokens | None = None
    cache_creation_input_tokens: _Tokens | None = None
    output_tokens_details: Any = None


class _Message(msgspec.Struct, gc=False):
    type: Literal["message"]
    model: _Named
    content: list[_Text]
    stop_reason: Literal["end_turn", "max_tokens", "stop_sequence"]
    usage: _MessagesUsage
    error: None = None


_MESSAGE: Final = msgspec.json.Decoder(_Message)


def plain_message(body: bytes) -> Plain | None:
    """A whole Messages answer (providers.md 12.6, 12.7), None where it is not plain."""
    message = _read(_MESSAGE, body)
    if message is None or message.usage.output_tokens_details is not None:
        return None
    text = "".join(block.text for block in message.content)
    if not text.strip():
        return None
    said = message.usage
    read, written = said.cache_read_input_tokens or 0, said.cache_creation_input_tokens or 0
    usage = Usage(said.input_tokens + read + written, said.output_tokens, read, 0, written_tokens=written)
    return Plain(text, usage, message.model)


# --- Responses --------------------------------------------------------------------------------------


class _Part(msgspec.Struct, gc=False):
    type: Literal["output_text"]
    text: str


class _Item(msgspec.Struct, gc=False):
    type: Literal["message"]
    content: list[_Part]


class _ResponsesUsage(msgspec.Struct, gc=False):
    output_tokens: _Counted
    input_tokens: _Tokens = 0
    input_tokens_details: _Given | None = None
    output_tokens_details: _Made | None = None


class _Response(msgspec.Struct, gc=False):
    status: Literal["completed"]
    model: _Named
    output: list[_Item]
    usage: _ResponsesUsage
    error: None = None


_RESPONSE: Final = msgspec.json.Decoder(_Response)


def plain_response(body: bytes) -> Plain | None:
    """A whole Responses answer (providers.md 12.6, 12.7), None where it is not plain."""
    response = _read(_RESPONSE, body)
    if response is None or len(response.output) != 1:
        return None
    text = "".join(part.text for part in response.output[0].content)
    if not text.strip():
        return None
    said = response.usage
    usage = _usage(said.input_tokens, said.output_tokens, said.input_tokens_details, said.output_tokens_details)
    return Plain(text, usage, response.model)


def _read(decoder: "msgspec.json.Decoder[_Answer]", body: bytes) -> _Answer | None:
    """What is skipped is not checked by the decoder, and what is passed on must be UTF-8."""
    try:
        if not body.isascii():
            body.decode()
        return decoder.decode(body)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return None
