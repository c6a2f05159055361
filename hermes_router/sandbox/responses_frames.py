"""How an answer is written down in OpenAI Responses: its events, its whole responses, its items, its usage.

Literal templates after facts/providers.md 12.6, 12.7 and 12.10, of good answers only; what goes wrong on purpose is in
`bad_events`.
"""

import itertools
from collections.abc import Iterator
from typing import Any

from hermes_router.sandbox import responses_compact
from hermes_router.sandbox.frames import DONE, Hand, Written, cut
from hermes_router.sandbox.model import pieces
from hermes_router.sandbox.values import Call, Frame, FrameKind

_PADDING = "k3QzX8vT1mBn6yRw"
_ECHOED: dict[str, Any] = {
    "background": False, "instructions": None, "max_output_tokens": None, "max_tool_calls": None, "metadata": {},
    "parallel_tool_calls": True, "previous_response_id": None, "prompt_cache_key": None, "reasoning": None,
    "safety_identifier": None, "service_tier": "default", "store": True, "temperature": 1.0, "text": None,
    "tool_choice": "auto", "tools": [], "top_logprobs": 0, "top_p": 1.0, "truncation": "disabled", "user": None,
}  # fmt: skip

_Event = tuple[FrameKind, str, dict[str, Any]]


def usage(written: Written) -> dict[str, Any]:
    """Input with what the cache gave, which is told besides (12.7)."""
    counted, (read, _) = written.usage, written.cached
    return {
        "input_tokens": counted["prompt_tokens"],
        "input_tokens_details": {"cached_tokens": read, "cache_write_tokens": 0},
        "output_tokens": counted["completion_tokens"],
        "output_tokens_details": {"reasoning_tokens": counted["completion_tokens_details"]["reasoning_tokens"]},
        "total_tokens": counted["total_tokens"],
    }


def items(hand: Hand, written: Written) -> list[dict[str, Any]]:
    """The items of the answer, each whole."""
    reply, tail = written.reply, written.id.removeprefix("resp_")
    if responses_compact.is_ordered(written.said):
        return [responses_compact.item(written.said, tail, written.seal)]
    found: list[dict[str, Any]] = []
    if reply.reasoning:
        found.append(_reasoning(hand, written, f"rs_{tail}"))
    if reply.text or not reply.calls:
        part: dict[str, Any] = {"type": "output_text", "text": reply.text, "annotations": [], "logprobs": []}
        if reply.finish == "refusal":
            part = {"type": "refusal", "refusal": reply.text}
        found.append({"id": f"msg_{tail}", "type": "message", "role": "assistant", "status": _status(written),
                      "content": [part] if reply.text else []})  # fmt: skip
    return found + [_call(call, f"{tail}{number}") for number, call in enumerate(reply.calls)]


def _reasoning(hand: Hand, written: Written, name: str) -> dict[str, Any]:
    text, said = written.reply.reasoning, written.said
    item: dict[str, Any] = {"id": name, "type": "reasoning", "summary": []}
    if not hand.seals:
        return item | {"content": [{"type": "reasoning_text", "text": text}]}
    if (said.get("reasoning") or {}).get("summary"):
        item["summary"] = [{"type": "summary_text", "text": text}]
    if "reasoning.encrypted_content" in (said.get("include") or ()):
        item["encrypted_content"] = written.seal(text)
    return item


def _call(call: Call, tail: str) -> dict[str, Any]:
    named = {"namespace": call.namespace} if call.namespace else {}
    if call.custom:
        return {"id": f"ctc_{tail}", "type": "custom_tool_call", "status": "completed", "call_id": call.id,
                "name": call.name, "input": call.arguments, **named}  # fmt: skip
    return {"id": f"fc_{tail}", "type": "function_call", "status": "completed", "call_id": call.id, "name": call.name,
            "arguments": call.arguments, **named}  # fmt: skip


def _status(written: Written) -> str:
    return "incomplete" if written.reply.finish in {"length", "content_filter"} else "completed"


def _envelope(written: Written, status: str) -> dict[str, Any]:
    echoed = {key: written.said.get(key, usual) for key, usual in _ECHOED.items()}
    echoed["text"] = echoed["text"] or {"format": {"type": "text"}, "verbosity": "medium"}
    echoed["reasoning"] = {"effort": None, "summary": None} | (echoed["reasoning"] or {})
    return {
        "id": written.id, "object": "response", "created_at": written.created, "status": status, "error": None,
        "incomplete_details": None, "model": written.model, "output": [], **echoed, "usage": None,
    }  # fmt: skip


def whole(hand: Hand, written: Written) -> dict[str, Any]:
    """The unary answer."""
    finish = written.reply.finish
    reason = {"length": "max_output_tokens", "content_filter": "content_filter"}.get(str(finish))
    return _envelope(written, _status(written)) | {
        "output": items(hand, written), "usage": usage(written),
        "incomplete_details": {"reason": reason} if reason else None,
    }  # fmt: skip


def stream(hand: Hand, written: Written) -> list[Frame]:
    """The frames of a good stream, numbered without a gap."""
    number = itertools.count()

    def frame(kind: FrameKind, event: str, fields: dict[str, Any]) -> Frame:
        padding = {"obfuscation": _PADDING} if hand.padded and event.endswith(".delta") else {}
        return Frame(kind, {"type": event, "sequence_number": next(number), **fields, **padding}, event=event)

    begun = _envelope(written, "in_progress")
    frames = [frame("role", f"response.{name}", {"response": begun}) for name in ("created", "in_progress")]
    for index, item in enumerate(items(hand, written)):
        done = {"output_index": index, "item": item}
        frames.append(frame("mark", "response.output_item.added", done | {"item": _added(item)}))
        frames += [frame(kind, event, {"item_id": item["id"], "output_index": index, **fields})
                   for kind, event, fields in _inside(item)]  # fmt: skip
        frames.append(frame("mark", "response.output_item.done", done))
    last = whole(hand, written)
    frames.append(frame("finish", f"response.{last['status']}", {"response": last}))
    return [*frames, *([DONE] if hand.done else ())]


def _added(item: dict[str, Any]) -> dict[str, Any]:
    """The item before anything of it came; only a reasoning item has no status."""
    fresh = {key: value for key, value in item.items() if key != "encrypted_content"}
    for key, empty in (("content", []), ("summary", []), ("arguments", ""), ("input", "")):
        if key in fresh:
            fresh[key] = empty
    return fresh | ({"status": "in_progress"} if "status" in fresh else {})


def _inside(item: dict[str, Any]) -> Iterator[_Event]:
    match item["type"]:
        case "reasoning":
            yield from _thought(item)
        case "message":
            for index, part in enumerate(item["content"]):
                yield from _part(part, {"content_index": index})
        case "compaction":
            pass
        case "function_call":
            stem = "response.function_call_arguments"
            yield from (("call", f"{stem}.delta", {"delta": piece}) for piece in cut(item["arguments"]))
            yield "mark", f"{stem}.done", {"arguments": item["arguments"], "name": item["name"]}
        case _:
            stem = "response.custom_tool_call_input"
            yield from (("call", f"{stem}.delta", {"delta": piece}) for piece in cut(item["input"]))
            yield "mark", f"{stem}.done", {"input": item["input"]}


def _thought(item: dict[str, Any]) -> Iterator[_Event]:
    for index, part in enumerate(item["summary"]):
        at, stem = {"summary_index": index}, "response.reasoning_summary"
        yield "mark", f"{stem}_part.added", at | {"part": part | {"text": ""}}
        yield from (("reasoning", f"{stem}_text.delta", at | {"delta": piece}) for piece in pieces(part["text"]))
        yield "mark", f"{stem}_text.done", at | {"text": part["text"]}
        yield "mark", f"{stem}_part.done", at | {"part": part}
    for index, part in enumerate(item.get("content", ())):
        at, stem = {"content_index": index}, "response.reasoning_text"
        yield from (("reasoning", f"{stem}.delta", at | {"delta": piece}) for piece in pieces(part["text"]))
        yield "mark", f"{stem}.done", at | {"text": part["text"]}


def _part(part: dict[str, Any], at: dict[str, Any]) -> Iterator[_Event]:
    word = "refusal" if part["type"] == "refusal" else "text"
    stem = "response.refusal" if word == "refusal" else "response.output_text"
    logs: dict[str, Any] = {} if word == "refusal" else {"logprobs": []}
    yield "mark", "response.content_part.added", at | {"part": part | {word: ""}}
    yield from (("text", f"{stem}.delta", at | {"delta": piece} | logs) for piece in pieces(part[word]))
    yield "mark", f"{stem}.done", at | {word: part[word]} | logs
    yield "mark", "response.content_part.done", at | {"part": part}
