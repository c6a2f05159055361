"""The strict reader of a Responses caller: numbers without gaps, items whose parts agree with what was said.

Owns that one dialect, since it says everything three times. Whatever the events, the items and the last event do not
agree on is a complaint.
"""

import json
from typing import Any

from .told import Told, frames

ENDS = {"response.completed", "response.incomplete", "response.failed"}
_TEXTS = ("response.output_text", "response.reasoning_summary_text", "response.function_call_arguments")


def read(raw: bytes, told: Told) -> None:
    """A whole stream."""
    done: list[dict[str, Any]] = []
    item: dict[str, Any] | None = None
    said = ""
    number, over, ident = -1, False, None
    last_kind = ""
    for name, event in frames(raw, told, named=True):
        kind = event["type"]
        told.demand(kind == name, "the event's name is not its type")
        told.demand(not over, "something behind the end")
        # A keep-alive among a provider's own frames says its number again.
        again = kind == "response.in_progress" and event["sequence_number"] == number
        told.demand(
            again or event["sequence_number"] == number + 1, f"number {event['sequence_number']} behind {number}"
        )
        number = event["sequence_number"]
        told.demand((number == 0) == (kind == "response.created") or again, f"{kind} as event {number}")
        if "response" in event:
            ident = ident or event["response"]["id"]
            told.demand(event["response"]["id"] == ident, "the response's id changes")
        if kind in ENDS:
            over = True
            _end(event["response"], kind, done, item, told)
        elif kind == "response.output_item.added":
            told.demand(item is None and event["output_index"] == len(done), "items out of order")
            item, said = event["item"], ""
        elif kind == "response.output_item.done":
            _item(event, item, said, len(done), told)
            done.append(event["item"])
            item = None
        elif "item_id" in event:
            at = item is not None and (event["item_id"], event["output_index"]) == (item["id"], len(done))
            told.demand(at, f"{kind} of another item")
            if kind.endswith(".delta"):
                told.demand(kind.removesuffix(".delta") in _TEXTS, f"an unknown delta {kind}")
                said += event["delta"]
                if kind == "response.output_text.delta":
                    told.text += event["delta"]
                elif kind == "response.reasoning_summary_text.delta":
                    told.reasoning += event["delta"]
            elif kind.endswith(("text.done", "arguments.done")):
                told.demand(event.get("text", event.get("arguments")) == said, f"{kind} says something else")
            elif kind.endswith("part.done"):
                told.demand(event["part"]["text"] == said, f"{kind} says something else")
        else:
            told.demand(kind in {"response.created", "response.in_progress"}, f"an unknown event {kind}")
        last_kind = kind
    told.demand(over or last_kind == "error", f"no end, but {last_kind}")


def _item(event: dict[str, Any], item: dict[str, Any] | None, said: str, index: int, told: Told) -> None:
    whole = event["item"]
    same = item is not None and (item["id"], item["type"]) == (whole["id"], whole["type"])
    told.demand(same and event["output_index"] == index, "an item ends that is not open")
    told.demand(
        _text_of(whole) == said,
        f"an item says something else than its deltas: {_text_of(whole)[-40:]!r} {said[-40:]!r}",
    )
    if whole["type"] == "function_call":
        told.calls.append((whole["call_id"], whole["name"], whole["arguments"]))


def _text_of(item: dict[str, Any]) -> str:
    parts = item.get("content") or item.get("summary") or []
    return "".join(part["text"] for part in parts) + item.get("arguments", "")


def _end(
    response: dict[str, Any], kind: str, done: list[dict[str, Any]], item: dict[str, Any] | None, told: Told
) -> None:
    status = response["status"]
    told.demand(kind == f"response.{status}", "the last event is not its status")
    if status == "failed":
        told.error = response["error"]["code"]
        told.demand(not done or response["output"] == done, "the output is not what was done")
        return
    told.demand(item is None, "the response ends in an open item")
    told.demand(response["output"] == done, "the output is not what was done")
    told.demand(response["usage"]["output_tokens"] >= 0, "no usage")
    told.finish = _finish(response, told)


def _finish(response: dict[str, Any], told: Told) -> str:
    if response["status"] == "incomplete":
        return {"max_output_tokens": "length"}.get(response["incomplete_details"]["reason"], "filter")
    told.demand(response["status"] == "completed", f"an end that is none: {response['status']}")
    return "calls" if told.calls else "stop"


def read_whole(value: dict[str, Any], told: Told) -> None:
    """An answer that came whole."""
    for item in value["output"]:
        if item["type"] == "message":
            told.text += _text_of(item)
        elif item["type"] == "reasoning":
            told.reasoning += _text_of(item)
        else:
            told.calls.append((item["call_id"], item["name"], item["arguments"]))
            json.loads(item["arguments"])
    told.finish = _finish(value, told)
    told.demand(value["usage"]["output_tokens"] >= 0, "no usage")
