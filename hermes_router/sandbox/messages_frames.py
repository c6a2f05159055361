"""How an answer is written down in Anthropic Messages: its events, its whole messages, its usage.

Literal templates after facts/providers.md 12.6, 12.7 and 12.10, of good answers only; what goes wrong on purpose is in
`bad_events`.
"""

import json
from collections.abc import Iterator
from typing import Any

from hermes_router.sandbox.frames import Hand, Written, cut
from hermes_router.sandbox.model import pieces
from hermes_router.sandbox.values import Frame, FrameKind

_STOPS = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use"}
_OMITTED = "omitted"


def usage(written: Written) -> dict[str, Any]:
    """Input without what the cache gave or took (12.7); output with thinking."""
    read, wrote = written.cached
    counted = written.usage
    return {
        "input_tokens": max(0, counted["prompt_tokens"] - read - wrote),
        "cache_creation_input_tokens": wrote,
        "cache_read_input_tokens": read,
        "cache_creation": {"ephemeral_5m_input_tokens": wrote, "ephemeral_1h_input_tokens": 0},
        "output_tokens": counted["completion_tokens"],
        "output_tokens_details": {"thinking_tokens": counted["completion_tokens_details"]["reasoning_tokens"]},
        "service_tier": "standard",
    }


def _envelope(written: Written) -> dict[str, Any]:
    return {
        "id": written.id, "type": "message", "role": "assistant", "model": written.model, "content": [],
        "stop_reason": None, "stop_sequence": None, "usage": usage(written),
    }  # fmt: skip


def _stop(written: Written) -> dict[str, Any]:
    reply = written.reply
    if reply.finish == "refusal":
        details = {"type": "refusal", "category": "general_harms", "explanation": "It was asked to."}
        return {"stop_reason": "refusal", "stop_sequence": None, "stop_details": details}
    if reply.stopped_by is not None and reply.finish == "stop":
        return {"stop_reason": "stop_sequence", "stop_sequence": reply.stopped_by}
    return {"stop_reason": _STOPS.get(str(reply.finish), reply.finish), "stop_sequence": None}


def _blocks(written: Written) -> Iterator[tuple[FrameKind, dict[str, Any]]]:
    """The blocks of the answer, each whole, with the kind of frame that its deltas are."""
    reply = written.reply
    if reply.reasoning and reply.secret:
        yield "reasoning", {"type": "redacted_thinking", "data": written.seal(reply.reasoning)}
    elif reply.reasoning:
        shown = "" if (written.said.get("thinking") or {}).get("display") == _OMITTED else reply.reasoning
        yield "reasoning", {"type": "thinking", "thinking": shown, "signature": written.seal(reply.reasoning)}
    if reply.text:
        yield "text", {"type": "text", "text": reply.text}
    for call in reply.calls:
        yield "call", {"type": "tool_use", "id": call.id, "name": call.name, "input": json.loads(call.arguments)}


def whole(_hand: Hand, written: Written) -> dict[str, Any]:
    """The unary answer."""
    content = [block for _, block in _blocks(written)]
    return _envelope(written) | {"content": content} | _stop(written)


def stream(_hand: Hand, written: Written) -> list[Frame]:
    """The frames of a good stream. Usage is told at both ends: with next to no output, and whole."""
    envelope = _envelope(written)
    envelope["usage"] = envelope["usage"] | {"output_tokens": 1}
    frames = [_frame("role", "message_start", message=envelope)]
    for index, (kind, block) in enumerate(_blocks(written)):
        frames.append(_frame("mark", "content_block_start", index=index, content_block=_opened(block)))
        if index == 0:
            frames.append(_frame("comment", "ping"))
        frames += [_frame("mark" if delta["type"] == "signature_delta" else kind, "content_block_delta", index=index,
                          delta=delta) for delta in _deltas(block)]  # fmt: skip
        frames.append(_frame("mark", "content_block_stop", index=index))
    frames.append(_frame("finish", "message_delta", delta=_stop(written), usage=usage(written)))
    return [*frames, _frame("done", "message_stop")]


def _frame(kind: FrameKind, event: str, **fields: Any) -> Frame:
    return Frame(kind, {"type": event, **fields}, event=event)


def _opened(block: dict[str, Any]) -> dict[str, Any]:
    empty: dict[str, dict[str, Any]] = {
        "text": {"text": ""},
        "thinking": {"thinking": "", "signature": ""},
        "tool_use": {"input": {}},
    }
    return {**block, **empty.get(block["type"], {})}


def _deltas(block: dict[str, Any]) -> Iterator[dict[str, Any]]:
    match block["type"]:
        case "text":
            yield from ({"type": "text_delta", "text": piece} for piece in pieces(block["text"]))
        case "thinking":
            yield from ({"type": "thinking_delta", "thinking": piece} for piece in pieces(block["thinking"]))
            yield {"type": "signature_delta", "signature": block["signature"]}
        case "tool_use":  # an empty piece comes first, and is all where there is no argument
            arguments = json.dumps(block["input"]) if block["input"] else ""
            yield from ({"type": "input_json_delta", "partial_json": piece} for piece in ("", *cut(arguments)))
        case _:
            pass
