"""What a Responses caller may rely on: the types of the openai SDK, strictly, and the grammar of providers.md 12.10.

Owns the one check that all of our streams and whole answers of this dialect have to pass, whoever answered.
"""

import json
from typing import Any

from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

_EVENT: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)
_RESPONSE: TypeAdapter[Any] = TypeAdapter(Response)
_ENDS = ("response.completed", "response.incomplete", "response.failed")
_PARTS = {
    "content_part": ("content_index", "content"),
    "reasoning_summary_part": ("summary_index", "summary"),
}
_SAYING = {  # the stem of a delta: the counter of its part (none = the item's own), the member that it fills
    "output_text": ("content_index", "text"),
    "refusal": ("content_index", "refusal"),
    "reasoning_summary_text": ("summary_index", "text"),
    "reasoning_text": ("content_index", "text"),
    "function_call_arguments": ("", "arguments"),
    "custom_tool_call_input": ("", "input"),
}
_ALWAYS = (
    "id", "object", "created_at", "model", "output", "parallel_tool_calls", "tool_choice", "tools", "status", "error",
    "incomplete_details", "instructions", "metadata", "temperature", "top_p", "text", "reasoning", "usage", "truncation",
    "previous_response_id", "store", "background", "max_output_tokens", "user",
)  # fmt: skip
Json = dict[str, Any]


def frames_of(body: bytes) -> list[Json]:
    """The events of a stream; the name of each is its type. Comments are nothing."""
    frames = []
    for block in body.decode().split("\n\n"):
        if not block or block.startswith(":"):
            continue
        name, data = block.split("\n")
        frame: Json = json.loads(data.removeprefix("data: "))
        assert name == f"event: {frame['type']}"
        frames.append(frame)
    return frames


def check_response(response: Json, *, over: bool = True) -> Json:
    """One `response` object, strictly: every member that the dialect has, and details of usage that are numbers."""
    _RESPONSE.validate_python(response, strict=True)
    missing = [name for name in _ALWAYS if name not in response]
    assert not missing, missing
    status, why, error = response["status"], response["incomplete_details"], response["error"]
    assert (why is not None) == (status == "incomplete"), (status, why)
    assert (error is not None) == (status == "failed"), (status, error)
    if not over:
        assert (status, response["output"], response["usage"]) == ("in_progress", [], None)
    elif status != "failed":
        usage = response["usage"]
        numbers = [
            usage["input_tokens"], usage["input_tokens_details"]["cached_tokens"],
            usage["input_tokens_details"]["cache_write_tokens"], usage["output_tokens"],
            usage["output_tokens_details"]["reasoning_tokens"],
        ]  # fmt: skip
        assert all(type(number) is int and number >= 0 for number in numbers), usage
        assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"]
    ids = [item["id"] for item in response["output"]]
    assert len(set(ids)) == len(ids)
    for item in response["output"]:
        _check_item(item)
    return response


def _check_item(item: Json) -> None:
    assert item["id"]
    if item["type"] in ("function_call", "custom_tool_call"):
        assert item["call_id"]
        assert item["name"]
    for part in item.get("content") or ():
        for note in part.get("annotations", ()):
            assert 0 <= note["start_index"] <= note["end_index"] <= len(part["text"])


def check_stream(body: bytes) -> Json:
    """A whole stream; returns its last `response`.

    Numbers from 0 without a gap; created, in progress, items one after another, one end; parts within their items;
    what is done is what the deltas said; the last response lists all items, as they were done.
    """
    frames = frames_of(body)
    for frame in frames:
        _EVENT.validate_python(frame, strict=True)
    assert [frame["sequence_number"] for frame in frames] == list(range(len(frames)))
    assert [frame["type"] for frame in frames[:2]] == ["response.created", "response.in_progress"]
    lifecycle = [frame for frame in frames if "response" in frame]
    assert len({(frame["response"]["id"], frame["response"]["created_at"]) for frame in lifecycle}) == 1
    assert sum(frame["type"] == "response.created" for frame in lifecycle) == 1
    *earlier, last = lifecycle
    assert last is frames[-1]
    assert last["type"] in _ENDS
    assert last["type"] == f"response.{last['response']['status']}"
    for frame in earlier:
        assert frame["type"] in ("response.created", "response.in_progress")
        check_response(frame["response"], over=False)
    items = _Items()
    for frame in frames:
        if "response" not in frame:
            items.take(frame)
    whole = check_response(last["response"])
    if whole["status"] != "failed":
        assert items.open is None, "an item that never ended"
    assert whole["output"] == items.done
    return whole


class _Items:
    """The items of a stream, one open at a time."""

    def __init__(self) -> None:
        self.done: list[Json] = []
        self.open: Json | None = None
        self._part: tuple[str, Json] | None = None
        self._parts: dict[str, list[Json]] = {}
        self._said = ""
        self._told: str | None = None
        self._notes: list[Json] = []

    def take(self, frame: Json) -> None:
        stem, _, verb = frame["type"].removeprefix("response.").rpartition(".")
        if stem == "output_item":
            self._added(frame) if verb == "added" else self._over(frame)
            return
        assert self.open is not None, frame
        assert (frame["item_id"], frame["output_index"]) == (self.open["id"], len(self.done)), frame
        if stem in _PARTS:
            self._part_added(stem, frame) if verb == "added" else self._part_over(stem, frame)
        elif stem == "output_text.annotation":
            assert frame["annotation_index"] == len(self._notes)
            self._notes.append(frame["annotation"])
        else:
            self._say(stem, verb, frame)

    def _added(self, frame: Json) -> None:
        assert self.open is None, "an item inside another"
        assert frame["output_index"] == len(self.done)
        self.open = item = frame["item"]
        assert not any(item.get(key) for key in ("content", "summary", "arguments", "input"))
        assert item["type"] == "reasoning" or item["status"] == "in_progress"
        self._parts = {}
        self._part, self._said, self._told = None, "", None

    def _over(self, frame: Json) -> None:
        assert self.open is not None
        assert self._part is None, "a part that never ended"
        assert frame["output_index"] == len(self.done)
        item, opened = frame["item"], self.open
        assert {key: item.get(key) for key in _NAMES} == {key: opened.get(key) for key in _NAMES}
        for slot in ("content", "summary"):
            assert (item.get(slot) or []) == self._parts.get(slot, [])
        own = {"function_call": "arguments", "custom_tool_call": "input"}.get(item["type"])
        if own is not None:
            assert item[own] == self._said == self._told
        self.done.append(item)
        self.open = None

    def _part_added(self, stem: str, frame: Json) -> None:
        assert self._part is None, "a part inside another"
        counter, slot = _PARTS[stem]
        assert frame[counter] == len(self._parts.setdefault(slot, []))
        assert not any(frame["part"].get(key) for key in ("text", "refusal"))
        self._part = stem, frame["part"]
        self._said, self._told, self._notes = "", None, []

    def _part_over(self, stem: str, frame: Json) -> None:
        assert self._part is not None
        counter, slot = _PARTS[stem]
        part = frame["part"]
        assert (self._part[0], self._part[1]["type"]) == (stem, part["type"])
        assert frame[counter] == len(self._parts[slot])
        assert part.get("text", part.get("refusal")) == self._said == self._told
        assert part.get("annotations", []) == self._notes
        self._parts[slot].append(part)
        self._part = None

    def _say(self, stem: str, verb: str, frame: Json) -> None:
        counter, key = _SAYING[stem]
        assert (self._part is None) == (not counter), frame
        if self._part is not None:
            assert {"output_text": "output_text", "refusal": "refusal", "reasoning_summary_text": "summary_text",
                    "reasoning_text": "reasoning_text"}[stem] == self._part[1]["type"]  # fmt: skip
            assert frame[counter] == len(self._parts[_PARTS[self._part[0]][1]])
        assert self._told is None, "something said behind the end"
        if verb == "delta":
            assert frame["delta"]
            self._said += frame["delta"]
        else:
            self._told = frame[key]
            assert self._told == self._said


_NAMES = ("id", "type", "role", "call_id", "name", "namespace")
