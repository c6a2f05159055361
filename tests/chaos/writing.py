"""How providers write an answer down: the frames of a stream and the body of a whole answer, in three dialects.

Owns good forms only, as literal templates after facts/providers.md 6, 12.6 and 12.10; none of it is built with the
router's own encoders, which would prove their errors right.
"""

import json
import random
from collections.abc import Callable, Iterator
from typing import Any

from . import writing_responses
from .hand import CREATED, Event, Hand, Kind, Piece, as_json, blocks_of, framed, in_deltas, usage_of
from .model import Reply

# --- Chat -------------------------------------------------------------------------------------------------


def _chat_ident(ident: str) -> dict[str, Any]:
    return {"id": f"chatcmpl-{ident}", "created": CREATED, "model": f"up-{ident[0]}"}


def _chat_usage(said: Reply) -> dict[str, Any]:
    prompt, completion = usage_of(said)
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


def _chat(said: Reply, hand: Hand, rng: random.Random, ident: str) -> Iterator[Event]:
    def chunk(kind: Kind, delta: dict[str, Any], finish: str | None = None, **more: Any) -> Event:
        choice = {"index": 0, "delta": delta, "finish_reason": finish}
        return kind, "", {"object": "chat.completion.chunk", **_chat_ident(ident), "choices": [choice], **more}

    yield chunk("head", {"role": "assistant", "content": ""})
    for kind, text in blocks_of(said, hand):
        for piece in in_deltas(text, hand, rng):
            yield chunk(kind, {"content" if kind == "text" else hand.thought: piece})
    queues = []
    for index, call in enumerate(said.calls):
        first: dict[str, Any] = {"index": index, "id": f"call_{ident}_{index}", "type": "function"}
        first["function"] = {"name": call.name, "arguments": call.arguments if hand.whole_calls else ""}
        more = () if hand.whole_calls else in_deltas(call.arguments, hand, rng)
        queues.append([first, *({"index": index, "function": {"arguments": piece}} for piece in more)])
    begun = 0  # calls begin in order, and may be written by turns
    while any(queues):
        ready = [n for n, queue in enumerate(queues) if queue and n <= begun]
        n = rng.choice(ready) if hand.merged else ready[0]
        begun = max(begun, n + 1)
        yield chunk("call", {"tool_calls": [queues[n].pop(0)]})
    finish = "tool_calls" if said.calls else said.finish
    with_finish = {"usage": _chat_usage(said)} if hand.usage == "with finish" else {}
    yield chunk("finish", {}, finish, **with_finish)
    if hand.usage == "own":
        usage = chunk("tail", {})[2]
        yield "tail", "", {**usage, "choices": [], "usage": _chat_usage(said)}
    yield "tail", "", b"[DONE]"


def _chat_whole(said: Reply, hand: Hand, ident: str) -> Any:
    message: dict[str, Any] = {"role": "assistant", "content": said.text or None}
    if said.reasoning:
        message[hand.thought] = said.reasoning
    if said.calls:
        message["tool_calls"] = [
            {
                "id": f"call_{ident}_{n}",
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments},
            }
            for n, call in enumerate(said.calls)
        ]
    choice = {"index": 0, "message": message, "finish_reason": "tool_calls" if said.calls else said.finish}
    return {"object": "chat.completion", **_chat_ident(ident), "choices": [choice], "usage": _chat_usage(said)}


# --- Messages ---------------------------------------------------------------------------------------------


def _message(ident: str, said: Reply, *, output: int) -> dict[str, Any]:
    return {
        "id": f"msg_{ident}", "type": "message", "role": "assistant", "model": f"up-{ident[0]}", "content": [],
        "stop_reason": None, "stop_sequence": None,
        "usage": {"input_tokens": usage_of(said)[0], "output_tokens": output},
    }  # fmt: skip


def _blocks(said: Reply, hand: Hand, ident: str) -> Iterator[tuple[dict[str, Any], str, str, str]]:
    """Each block as it begins, its kind of delta, the key in it, and its text."""
    for kind, text in blocks_of(said, hand):
        if kind == "text":
            yield {"type": "text", "text": ""}, "text_delta", "text", text
        else:
            yield {"type": "thinking", "thinking": "", "signature": ""}, "thinking_delta", "thinking", text
    for n, call in enumerate(said.calls):
        begun = {"type": "tool_use", "id": f"toolu_{ident}_{n}", "name": call.name, "input": {}}
        yield begun, "input_json_delta", "partial_json", call.arguments


_BLOCK_KINDS: dict[str, Kind] = {"thinking": "reasoning", "text": "text", "tool_use": "call"}


def _stop_reason(said: Reply) -> str:
    return "tool_use" if said.calls else "max_tokens" if said.finish == "length" else "end_turn"


def _messages(said: Reply, hand: Hand, rng: random.Random, ident: str) -> Iterator[Event]:
    def event(kind: Kind, event_name: str, /, **fields: Any) -> Event:
        return kind, event_name, {"type": event_name, **fields}

    yield event("head", "message_start", message=_message(ident, said, output=1))
    for index, (begun, delta, key, text) in enumerate(_blocks(said, hand, ident)):
        kind = _BLOCK_KINDS[begun["type"]]
        yield event("call" if kind == "call" else "mark", "content_block_start", index=index, content_block=begun)
        if index == 0:
            yield event("mark", "ping")
        for piece in in_deltas(text, hand, rng):
            yield event(kind, "content_block_delta", index=index, delta={"type": delta, key: piece})
        if kind == "reasoning":
            seal = {"type": "signature_delta", "signature": f"sig{ident}"}
            yield event("mark", "content_block_delta", index=index, delta=seal)
        yield event("mark", "content_block_stop", index=index)
    stop = {"stop_reason": _stop_reason(said), "stop_sequence": None}
    yield event("finish", "message_delta", delta=stop, usage={"output_tokens": usage_of(said)[1]})
    yield event("tail", "message_stop")


def _messages_whole(said: Reply, hand: Hand, ident: str) -> Any:
    content: list[dict[str, Any]] = []
    for begun, _, _, text in _blocks(said, hand, ident):
        match begun["type"]:
            case "thinking":
                content.append({**begun, "thinking": text, "signature": f"sig{ident}"})
            case "text":
                content.append({**begun, "text": text})
            case _:
                content.append({**begun, "input": json.loads(text)})
    message = _message(ident, said, output=usage_of(said)[1])
    return {**message, "content": content, "stop_reason": _stop_reason(said)}


_STREAMS: dict[str, Callable[[Reply, Hand, random.Random, str], Iterator[Event]]] = {
    "openai_chat": _chat, "anthropic_messages": _messages, "openai_responses": writing_responses.stream,
}  # fmt: skip
_WHOLES: dict[str, Callable[[Reply, Hand, str], Any]] = {
    "openai_chat": _chat_whole, "anthropic_messages": _messages_whole, "openai_responses": writing_responses.whole,
}  # fmt: skip


# --- all of them ---


def stream(dialect: str, said: Reply, hand: Hand, rng: random.Random, ident: str) -> list[Piece]:
    """The pieces of a good stream. `ident` goes into every id."""
    found: list[Piece] = []
    for kind, event, fields in _STREAMS[dialect](said, hand, rng, ident):
        if hand.comments and rng.random() < 0.1:
            found.append(Piece("mark", b": still here\n\n"))
        found.append(Piece(kind, framed(event, fields, hand)))
    return found


def whole(dialect: str, said: Reply, hand: Hand, ident: str) -> bytes:
    """The body of an answer that is not streamed."""
    return as_json(_WHOLES[dialect](said, hand, ident), hand)
