"""How each provider writes an answer down: its chunks, its whole completions, its usage.

Literal templates after facts/providers.md sections 6, 7, 12.7 and 12.10. Owns the *good* forms only (a
provider's own oddities included); what goes wrong on purpose is in `faults`.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from hermes_router.sandbox.model import count, pieces
from hermes_router.sandbox.values import Call, Frame, Reply

ReasoningForm = Literal["none", "reasoning", "reasoning_content", "details", "thinking_list", "thought_tag"]
UsageForm = Literal["asked", "always", "with_finish"]
CallForm = Literal["pieces", "whole", "whole_no_index"]
_ARGUMENTS_AT_ONCE = 8
_REFUSED = "content_filter"

DONE = Frame("done", raw=b"data: [DONE]\n\n")


@dataclass(frozen=True, slots=True)
class Hand:
    """One provider's handwriting.

    Attributes:
        id_prefix: what its completion ids begin with.
        reasoning: the field that holds reasoning.
        usage: when a stream carries usage: if asked for, always in a chunk of its own, always with finish.
        calls: how tool calls are cut into deltas.
        call_finish: its finish reason after tool calls.
        head: SSE bytes before the first chunk.
        trait: keys that every chunk and completion has besides the usual ones.
        seals: in Responses, reasoning is encrypted and at most summed up; else it is shown.
        done: `[DONE]` ends Responses streams, too.
        padded: each delta of Responses carries padding against onlookers.
        dress: last touch on the list of chunks (Groq's `x_groq`, OpenRouter's `native_finish_reason`).
        spaced: JSON with a space after comma and colon.
    """

    id_prefix: str = "chatcmpl-"
    reasoning: ReasoningForm = "none"
    usage: UsageForm = "asked"
    calls: CallForm = "pieces"
    call_finish: str = "tool_calls"
    head: bytes = b""
    trait: Mapping[str, Any] | None = None
    dress: Callable[[list[dict[str, Any]], dict[str, Any]], None] | None = None
    spaced: bool = False
    seals: bool = False
    done: bool = False
    padded: bool = False


@dataclass(frozen=True, slots=True)
class Written:
    """A reply with what else its writing needs.

    Attributes:
        created: epoch seconds.
        usage: as `usage_of` counts.
        said: the request, for dialects whose answers echo it.
        cached: tokens of the prompt that were read from the provider's cache, and that were written to it.
        seal: seals a thought of this answer.
    """

    reply: Reply
    id: str
    created: int
    model: str
    usage: dict[str, Any]
    said: Mapping[str, Any] = field(default_factory=dict)
    cached: tuple[int, int] = (0, 0)
    seal: Callable[[str], str] = lambda text: text


def usage_of(reply: Reply, prompt: int) -> dict[str, Any]:
    """Token counts: completion includes reasoning, shown or not."""
    reasoning = count(reply.reasoning) + reply.hidden_tokens
    shown = count(reply.text) + sum(count(call.arguments) + count(call.name) for call in reply.calls)
    return {
        "prompt_tokens": prompt,
        "completion_tokens": shown + reasoning,
        "total_tokens": prompt + shown + reasoning,
        "prompt_tokens_details": {"cached_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": reasoning},
    }


def encode(frame: Frame, hand: Hand) -> bytes:
    """A frame as it goes over the wire."""
    if frame.data is None:
        return frame.raw
    separators = None if hand.spaced else (",", ":")
    name = b"event: " + frame.event.encode() + b"\n" if frame.event else b""
    return name + b"data: " + json.dumps(frame.data, separators=separators, ensure_ascii=False).encode() + b"\n\n"


# --- streams ----------------------------------------------------------------------------------------


def stream(hand: Hand, written: Written, *, include_usage: bool) -> list[Frame]:
    """The frames of a good stream, `[DONE]` included."""
    reply = written.reply
    deltas: list[tuple[Any, dict[str, Any]]] = [("role", {"role": "assistant", "content": ""})]
    deltas += [("reasoning", _reasoning_delta(hand, piece)) for piece in _reasoning_pieces(hand, reply)]
    deltas += [("text", {"content": piece}) for piece in pieces(reply.text)]
    deltas += [("call", {"tool_calls": [delta]}) for delta in _call_deltas(hand, reply.calls)]
    chunks = [_chunk(hand, written, delta) for _, delta in deltas]
    kinds = [kind for kind, _ in deltas]
    finish = _finish(hand, reply)
    chunks.append(_chunk(hand, written, {}, finish))
    kinds.append("finish")
    if hand.usage == "with_finish":
        chunks[-1]["usage"] = written.usage
    elif hand.usage == "always" or include_usage:
        last = _chunk(hand, written, {})
        last["choices"] = []
        last["usage"] = written.usage
        chunks.append(last)
        kinds.append("usage")
    if hand.dress:
        hand.dress(chunks, written.usage)
    head = [Frame("comment", raw=hand.head)] if hand.head else []
    return [*head, *(Frame(kind, chunk) for kind, chunk in zip(kinds, chunks, strict=True)), DONE]


def _finish(hand: Hand, reply: Reply) -> str | None:
    if reply.calls:
        return hand.call_finish
    return _REFUSED if reply.finish == "refusal" else reply.finish


def cut(arguments: str) -> list[str]:
    """Arguments of a call as they are streamed."""
    return [arguments[at : at + _ARGUMENTS_AT_ONCE] for at in range(0, len(arguments), _ARGUMENTS_AT_ONCE)]


def _chunk(hand: Hand, written: Written, delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
    return {
        "id": written.id,
        "object": "chat.completion.chunk",
        "created": written.created,
        "model": written.model,
        **(hand.trait or {}),
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish}],
    }


def _reasoning_pieces(hand: Hand, reply: Reply) -> list[str]:
    return [] if hand.reasoning == "none" else pieces(reply.reasoning)


def _reasoning_delta(hand: Hand, piece: str) -> dict[str, Any]:
    match hand.reasoning:
        case "thinking_list":
            return {"content": [{"type": "thinking", "thinking": [{"type": "text", "text": piece}]}]}
        case "thought_tag":
            return {"content": f"<thought>{piece}</thought>"}
        case "details":
            detail = {"type": "reasoning.text", "text": piece, "format": "unknown", "index": 0}
            return {"content": "", "reasoning": piece, "reasoning_details": [detail]}
        case name:
            return {"content": None, name: piece}


def _call_deltas(hand: Hand, calls: Sequence[Call]) -> list[dict[str, Any]]:
    deltas: list[dict[str, Any]] = []
    for index, call in enumerate(calls):
        head: dict[str, Any] = {
            "index": index, "id": call.id, "type": "function",
            "function": {"name": call.name, "arguments": call.arguments},
        }  # fmt: skip
        if call.signature:
            head["extra_content"] = {"google": {"thought_signature": call.signature}}
        if hand.calls == "whole_no_index":
            del head["index"]
        deltas.append(head)
        if hand.calls == "pieces":
            head["function"] = {"name": call.name, "arguments": ""}
            deltas += [{"index": index, "function": {"arguments": piece}} for piece in cut(call.arguments)]
    return deltas


# --- whole completions --------------------------------------------------------------------------------


def completion(hand: Hand, written: Written) -> dict[str, Any]:
    """The unary answer."""
    reply = written.reply
    message: dict[str, Any] = {"role": "assistant", "content": reply.text}
    if reply.reasoning:
        _add_reasoning(hand, message, reply)
    if reply.calls:
        message["content"] = reply.text or None
        message["tool_calls"] = [_whole_call(hand, index, call) for index, call in enumerate(reply.calls)]
    finish = _finish(hand, reply)
    choice = {"message": message, "finish_reason": finish, **_likelihoods(written)}
    whole = {
        "id": written.id,
        "object": "chat.completion",
        "created": written.created,
        "model": written.model,
        **(hand.trait or {}),
        "choices": [{"index": index, **choice} for index in range(written.said.get("n") or 1)],
        "usage": written.usage,
    }
    if hand.dress:
        hand.dress([whole], written.usage)
    return whole


def _likelihoods(written: Written) -> dict[str, Any]:
    """How likely each token was, where that was asked for: every one was certain."""
    if not written.said.get("logprobs"):
        return {}
    told = [{"token": piece, "logprob": 0.0, "bytes": list(piece.encode()), "top_logprobs": []}
            for piece in pieces(written.reply.text)]  # fmt: skip
    return {"logprobs": {"content": told, "refusal": None}}


def _add_reasoning(hand: Hand, message: dict[str, Any], reply: Reply) -> None:
    match hand.reasoning:
        case "none":
            return
        case "thinking_list":
            thinking = {"type": "thinking", "thinking": [{"type": "text", "text": reply.reasoning}]}
            message["content"] = [thinking, {"type": "text", "text": reply.text}]
        case "thought_tag":
            message["content"] = f"<thought>{reply.reasoning}</thought>{reply.text}"
        case "details":
            message["reasoning"] = reply.reasoning
            detail = {"type": "reasoning.text", "text": reply.reasoning, "format": "unknown", "index": 0}
            message["reasoning_details"] = [detail]
        case name:
            message[name] = reply.reasoning


def _whole_call(hand: Hand, index: int, call: Call) -> dict[str, Any]:
    whole: dict[str, Any] = {
        "id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments},
    }  # fmt: skip
    if hand.calls == "whole":
        whole["index"] = index
    if call.signature:
        whole["extra_content"] = {"google": {"thought_signature": call.signature}}
    return whole


# --- last touches ---------------------------------------------------------------------------------------


def _groq_dress(chunks: list[dict[str, Any]], usage: dict[str, Any]) -> None:
    """First chunk `x_groq{id}`, the one that finishes `x_groq{id, usage}`."""
    chunks[0]["x_groq"] = {"id": "req_sandbox"}
    for chunk in chunks:
        if chunk["choices"] and chunk["choices"][0]["finish_reason"]:
            chunk["x_groq"] = {"id": "req_sandbox", "usage": usage}


def _openrouter_dress(chunks: list[dict[str, Any]], usage: dict[str, Any]) -> None:
    """`native_finish_reason` in each choice, the role repeated in each delta, the cost in usage."""
    usage["cost"] = 0
    for chunk in chunks:
        for choice in chunk["choices"]:
            choice["native_finish_reason"] = choice["finish_reason"]
            if "delta" in choice:
                choice["delta"] = {"role": "assistant", "content": "", **choice["delta"]}


HANDS: Mapping[str, Hand] = {
    "openai": Hand(trait={"service_tier": "default", "system_fingerprint": None}, seals=True, padded=True),
    "anthropic": Hand(),
    "gemini": Hand(id_prefix="gm-", reasoning="thought_tag", calls="whole_no_index", call_finish="stop"),
    "openrouter": Hand(
        id_prefix="gen-", reasoning="details", usage="always", head=b": OPENROUTER PROCESSING\n\n",
        trait={"provider": "SomeHost"}, dress=_openrouter_dress,
    ),
    "groq": Hand(reasoning="reasoning", calls="whole", trait={"system_fingerprint": "fp_sandbox"}, dress=_groq_dress),
    "cerebras": Hand(reasoning="reasoning", trait={"system_fingerprint": "fp_sandbox"}),
    "mistral": Hand(id_prefix="", reasoning="thinking_list", usage="with_finish", calls="whole"),
    "cohere": Hand(id_prefix=""),
    "zai": Hand(id_prefix="2026", reasoning="reasoning_content", usage="with_finish", calls="whole"),
    "nvidia": Hand(id_prefix="chat-", reasoning="reasoning_content", spaced=True),
    "kimi": Hand(reasoning="reasoning_content"),
    "huggingface": Hand(reasoning="reasoning"),
    "sambanova": Hand(id_prefix="", reasoning="reasoning"),
    "naga": Hand(reasoning="reasoning_content", done=True),
    "generic": Hand(reasoning="reasoning_content"),
    "local": Hand(reasoning="reasoning_content", spaced=True),
}  # fmt: skip
