"""The frames of a Chat Completions answer as typed structs, and the words that vendors use in them.

Owns what a chunk may look like (providers.md 6, 12.6, 12.7): which keys are read, how usage is spelled, what a finish
reason means. Everything foreign is `Any` and checked where it is used. It must never keep state.
"""

from typing import Any

import msgspec
from msgspec import UNSET

from hermes_router.core.errors import Malformed
from hermes_router.core.events import Finish, Usage


class DeltaFrame(msgspec.Struct, gc=False):
    """`choices[].delta` of a chunk, or `choices[].message` of a whole answer."""

    role: Any = None
    content: Any = None
    reasoning_content: Any = None
    reasoning: Any = None
    reasoning_details: Any = None
    tool_calls: Any = None
    function_call: Any = None
    refusal: Any = None
    annotations: Any = None
    extra_content: Any = None


class ChoiceFrame(msgspec.Struct, gc=False):
    """One of `choices`. A key that is absent is not one that is null: SDKs miss it."""

    index: Any = UNSET
    delta: DeltaFrame | None = None
    message: DeltaFrame | None = None
    finish_reason: Any = UNSET
    native_finish_reason: Any = None
    usage: Any = None
    error: Any = None


class ChunkFrame(msgspec.Struct, gc=False):
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

# providers.md 12.6: vendors' words for the ends that OpenAI knows, in lower case.
FINISH = {
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
    "safety": Finish.CONTENT_FILTER,
    "recitation": Finish.CONTENT_FILTER,
}
_COUNT_END = 2**63
FAILED_FINISH = frozenset({
    "error", "network_error", "insufficient_system_resource", "cancelled", "abort", "failed", "timeout",
    "malformed_function_call",
})  # fmt: skip


def finish_word(said: Any) -> str | None:
    """A finish reason in lower case; None where none was given. Gemini writes the cause behind a colon."""
    if said is None or said is UNSET or said is False:
        return None
    word = said.strip().lower() if isinstance(said, str) else "unknown"
    head, colon, cause = word.partition(":")
    return (cause.strip() if cause.strip() in FAILED_FINISH else head) if colon else word


def flatten(content: Any) -> tuple[str, str]:
    """(reasoning, text) of a content value: a string, or Mistral's list of thinking and text parts (3.7)."""
    if isinstance(content, str):
        return "", content
    reasoning, text = "", ""
    for part in content if isinstance(content, list) else ():
        if not isinstance(part, dict):
            continue
        if part.get("type") == "thinking":
            inner = part.get("thinking")
            reasoning += flatten(inner)[1] if isinstance(inner, list) else str(inner or "")
        elif isinstance(part.get("text"), str):
            text += part["text"]
    return reasoning, text


def sendable(value: Any) -> Any:
    """A foreign value that goes on to the caller. Raises Malformed where it cannot be written as JSON again."""
    try:
        msgspec.json.encode(value)
    except (ValueError, OverflowError, RecursionError) as error:  # nesting without end, a number of a thousand digits
        raise Malformed("a value that cannot be sent on") from error
    return value


def count(value: Any) -> int:
    """A number of tokens or seconds; 0 for anything else, and for more than 64 bits hold."""
    if type(value) is int or type(value) is float:
        return int(value) if 0 < value < _COUNT_END else 0
    return 0


def parse_usage(raw: dict[str, Any]) -> Usage:
    """A `usage` object in any of its spellings (providers.md 12.7): cached tokens are counted once."""
    prompt = raw.get("prompt_tokens_details")
    completion = raw.get("completion_tokens_details")
    cached = prompt.get("cached_tokens") if isinstance(prompt, dict) else None
    if cached is None:
        cached = raw.get("prompt_cache_hit_tokens", raw.get("cached_tokens"))
    return Usage(
        input_tokens=count(raw.get("prompt_tokens")),
        output_tokens=count(raw.get("completion_tokens")),
        cached_tokens=count(cached),
        written_tokens=count(prompt.get("cache_write_tokens")) if isinstance(prompt, dict) else 0,
        reasoning_tokens=count(completion.get("reasoning_tokens")) if isinstance(completion, dict) else 0,
    )
