"""The strict reader of a Responses caller: numbers without gaps, items whose parts agree with what was said.

Owns that one dialect, since it says everything three times. Whatever the events, the items and the last event do not
agree on is a complaint.
"""

import json
from typing import Any

from .told import Told, frames

ENDS = {"response.completed", "response.incomplete", "response.failed"}
_TEXTS = ("response.output_text", "response.reasoning_summary_text", "response.function_call_arguments")


class _Reader:
    """What is open while a stream is read."""

    def __init__(self, told: Told) -> None:
        self._told = told
        self._done: list[dict[str, Any]] = []
        self._item: dict[str, Any] | None = None
        self._said = self._part = ""  # of the open item, and of its open part
        self._number, self._ident = -1, ""
        self.over = False

    def take(self, name: str, event: dict[str, Any]) -> None:
        """One event."""
        kind, told, number = event["type"], self._told, event["sequence_number"]
        told.demand(kind == name, "the event's name is not its type")
        told.demand(not self.over, "something behind the end")
        # A keep-alive among a provider's own frames says its number again.
        again = kind == "response.in_progress" and number == self._number
        told.demand(again or number == self._number + 1, f"number {number} behind {self._number}")
        told.demand(again or (number == 0) == (kind == "response.created"), f"{kind} as event {number}")
        self._number = number
        if "response" in event:
            self._ident = self._ident or event["response"]["id"]
            told.demand(event["response"]["id"] == self._ident, "the response's id changes")
        if kind in ENDS:
            self.over = True
            _end(event["response"], kind, self._done, self._item, told)
        elif kind == "response.output_item.added":
            told.demand(self._item is None and event["output_index"] == len(self._done), "items out of order")
            self._item, self._said, self._part = event["item"], "", ""
        elif kind == "response.output_item.done":
            self._item_done(event)
        elif "item_id" in event:
            self._inside(kind, event)
        else:
            told.demand(kind in {"response.created", "response.in_progress"}, f"an unknown event {kind}")

    def _inside(self, kind: str, event: dict[str, Any]) -> None:
        told, item = self._told, self._item
        at = item is not None and (event["item_id"], event["output_index"]) == (item["id"], len(self._done))
        told.demand(at, f"{kind} of another item")
        if kind.endswith(".delta"):
            told.demand(kind.removesuffix(".delta") in _TEXTS, f"an unknown delta {kind}")
            self._said += event["delta"]
            self._part += event["delta"]
            if kind == "response.output_text.delta":
                told.text += event["delta"]
            elif kind == "response.reasoning_summary_text.delta":
                told.reasoning += event["delta"]
        elif kind.endswith("part.added"):
            self._part = ""
        elif kind.endswith(("text.done", "arguments.done")):
            told.demand(event.get("text", event.get("arguments")) == self._part, f"{kind} says something else")
        elif kind.endswith("part.done"):
            told.demand(event["part"]["text"] == self._part, f"{kind} says something else")

    def _item_done(self, event: dict[str, Any]) -> None:
        item, whole, told, said = self._item, event["item"], self._told, self._said
        same = item is not None and (item["id"], item["type"]) == (whole["id"], whole["type"])
        told.demand(same and event["output_index"] == len(self._done), "an item ends that is not open")
        told.demand(_text_of(whole) == said, f"an item says something else: {_text_of(whole)[-40:]!r} {said[-40:]!r}")
        if whole["type"] == "function_call":
            told.calls.append((whole["call_id"], whole["name"], whole["arguments"]))
        self._done.append(whole)
        self._item = None


def read(raw: bytes, told: Told) -> None:
    """A whole stream."""
    reader = _Reader(told)
    kind = ""
    for name, event in frames(raw, told, named=True):
        reader.take(name, event)
        kind = event["type"]
    told.demand(reader.over, f"no end, but {kind}")


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
