"""How a provider writes an answer down in OpenAI Responses: items, their parts, and one end that repeats them all.

Owns literal templates of good answers after facts/providers.md 12.6 and 12.10.
"""

import random
from collections.abc import Iterator
from typing import Any

from .hand import CREATED, Event, Hand, Kind, blocks_of, in_deltas, usage_of
from .model import Reply


def _items(said: Reply, hand: Hand, ident: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    status = "incomplete" if said.finish == "length" else "completed"
    for n, (kind, text) in enumerate(blocks_of(said, hand)):
        part: dict[str, Any] = {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
        if kind == "reasoning":
            summary = [{"type": "summary_text", "text": text}]
            found.append({"id": f"rs_{ident}_{n}", "type": "reasoning", "summary": summary})
        elif found and found[-1]["type"] == "message":  # two messages would be two texts
            found[-1]["content"].append(part)
        else:
            item = {"id": f"msg_{ident}_{n}", "type": "message", "role": "assistant", "status": status}
            found.append({**item, "content": [part]})
    for n, call in enumerate(said.calls):
        found.append({
            "id": f"fc_{ident}_{n}", "type": "function_call", "status": "completed", "call_id": f"call_{ident}_{n}",
            "name": call.name, "arguments": call.arguments,
        })  # fmt: skip
    return found


def _response(said: Reply, hand: Hand, ident: str, status: str, *, over: bool) -> dict[str, Any]:
    prompt, output = usage_of(said)
    usage = {"input_tokens": prompt, "output_tokens": output, "total_tokens": prompt + output}
    cut = {"reason": "max_output_tokens"} if status == "incomplete" else None
    return {
        "id": f"resp_{ident}", "object": "response", "created_at": CREATED, "status": status, "error": None,
        "incomplete_details": cut, "model": f"up-{ident[0]}", "output": _items(said, hand, ident) if over else [],
        "usage": usage if over else None, "parallel_tool_calls": True, "tool_choice": "auto", "tools": [],
    }  # fmt: skip


_TEXTS = {
    "reasoning": ("response.reasoning_summary_text", "response.reasoning_summary_part", "summary_index", "summary"),
    "message": ("response.output_text", "response.content_part", "content_index", "content"),
}


def stream(said: Reply, hand: Hand, rng: random.Random, ident: str) -> Iterator[Event]:
    number = -1

    def event(kind: Kind, event_name: str, /, **fields: Any) -> Event:
        nonlocal number
        number += 1
        return kind, event_name, {"type": event_name, "sequence_number": number, **fields}

    for name in ("response.created", "response.in_progress"):
        yield event("head", name, response=_response(said, hand, ident, "in_progress", over=False))
    for index, item in enumerate(_items(said, hand, ident)):
        at: dict[str, Any] = {"item_id": item["id"], "output_index": index}
        if item["type"] == "function_call":
            begun = {**item, "arguments": "", "status": "in_progress"}
            yield event("call", "response.output_item.added", output_index=index, item=begun)
            stem = "response.function_call_arguments"
            for piece in in_deltas(item["arguments"], hand, rng):
                yield event("call", f"{stem}.delta", **at, delta=piece)
            yield event("call", f"{stem}.done", **at, name=item["name"], arguments=item["arguments"])
        else:
            stem, part_stem, place, key = _TEXTS[item["type"]]
            begun = {**item, key: [], **({"status": "in_progress"} if "status" in item else {})}
            yield event("mark", "response.output_item.added", output_index=index, item=begun)
            more: dict[str, Any] = {"logprobs": []} if key == "content" else {}
            for n, part in enumerate(item[key]):
                at[place] = n
                yield event("mark", f"{part_stem}.added", **at, part={**part, "text": ""})
                for piece in in_deltas(part["text"], hand, rng):
                    yield event("text" if key == "content" else "reasoning", f"{stem}.delta", **at, delta=piece, **more)
                yield event("mark", f"{stem}.done", **at, text=part["text"], **more)
                yield event("mark", f"{part_stem}.done", **at, part=part)
        yield event("mark", "response.output_item.done", output_index=index, item=item)
    status = "incomplete" if said.finish == "length" else "completed"
    yield event("finish", f"response.{status}", response=_response(said, hand, ident, status, over=True))


def whole(said: Reply, hand: Hand, ident: str) -> Any:
    return _response(said, hand, ident, "incomplete" if said.finish == "length" else "completed", over=True)
