"""Anthropic's Messages: its bodies, its events and its errors, as the official SDKs read them.

Owns the dialect's shapes and the grammar of its stream. It must never know the checks.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from hermes_router.conformance.answer import Answer, Call, Kind, Usage, Wrong
from hermes_router.conformance.frames import Frame
from hermes_router.conformance.shapes import (
    anything,
    count,
    each,
    faults,
    filled,
    maybe,
    members,
    null,
    one_of,
    shown,
    tagged,
    text,
)
from hermes_router.conformance.tongue import Body, as_object, objects, tokens, words

VERSION: Final = "2023-06-01"
FINISHES: Final = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "calls",
    "pause_turn": "stop",
    "refusal": "refusal",
}
USAGE: Final = members(
    {"input_tokens": count, "output_tokens": count},
    {"cache_creation_input_tokens": maybe(count), "cache_read_input_tokens": maybe(count)},
)
BLOCK: Final = tagged(
    {
        "text": members({"text": text}),
        "thinking": members({"thinking": text, "signature": text}),
        "redacted_thinking": members({"data": filled}),
        "tool_use": members({"id": filled, "name": filled, "input": members({})}),
    }
)
ENVELOPE: Final = members(
    {
        "id": filled,
        "type": one_of("message"),
        "role": one_of("assistant"),
        "model": filled,
        "content": each(anything),
        "stop_reason": one_of(*FINISHES),
        "stop_sequence": maybe(text),
    }
)
START: Final = members(
    {
        "id": filled,
        "type": one_of("message"),
        "role": one_of("assistant"),
        "model": text,
        "content": each(anything),
        "stop_reason": null,
        "stop_sequence": null,
        "usage": USAGE,
    }
)
DELTAS: Final = {
    "text_delta": ("text", "text"),
    "thinking_delta": ("thinking", "thinking"),
    "signature_delta": ("thinking", "signature"),
    "input_json_delta": ("tool_use", "partial_json"),
}
"""Of each kind of delta: the kind of block that it belongs to, and the member that it brings."""
ENDING: Final = members(
    {
        "delta": members({"stop_reason": maybe(one_of(*FINISHES))}, {"stop_sequence": maybe(text)}),
        "usage": members({"output_tokens": count}, {"input_tokens": maybe(count)}),
    }
)
ERROR: Final = members(
    {"type": one_of("error"), "error": members({"type": filled, "message": filled})}, {"request_id": maybe(text)}
)


class Messages:
    """The dialect of `/v1/messages`."""

    name = "messages"
    path = "/messages"

    def headers(self, key: str) -> dict[str, str]:
        """The version that the SDKs name, and the key in the dialect's own header."""
        return {"anthropic-version": VERSION, **({"x-api-key": key} if key else {})}

    def ask(self, text: str, cap: int) -> Body:
        """One user turn; the cap is compulsory here."""
        return {"messages": [{"role": "user", "content": text}], "max_tokens": cap}

    def history(self, body: Body) -> list[Any]:
        """The messages."""
        return list(body["messages"])

    def with_history(self, body: Body, turns: Sequence[Any]) -> Body:
        """Other messages."""
        return {**body, "messages": list(turns)}

    def results(self, answer: Answer, texts: Sequence[str]) -> list[Any]:
        """All results in one user turn."""
        blocks = [
            {"type": "tool_result", "tool_use_id": call.id, "content": said}
            for call, said in zip(answer.calls, texts, strict=True)
        ]
        return [{"role": "user", "content": blocks}]

    def whole(self, body: Any) -> Answer:
        """Read a message."""
        body = as_object(body, "the answer")
        if not isinstance(body.get("content"), list):
            raise Wrong(f"an answer without a list `content`: {shown(body, 200)}")
        found: list[tuple[Kind, str]] = [("envelope", why) for why in faults(ENVELOPE, body)]
        found += [("content", why) for why in faults(each(BLOCK), body["content"], "content")]
        found += [("usage", why) for why in faults(USAGE, body.get("usage"), "usage")]
        return _answer(body, found)

    def stream(self, frames: Sequence[Frame]) -> Answer:
        """Read events up to `message_stop`."""
        return _Reading(frames).answer()

    def error(self, body: Any) -> list[str]:
        """`{"type": "error", "error": {type, message}}`."""
        return faults(ERROR, body)


def _answer(body: Mapping[str, Any], found: list[tuple[Kind, str]]) -> Answer:
    blocks = objects(body.get("content"))
    usage: Any = body.get("usage")
    return Answer(
        text="".join(words(block.get("text")) for block in blocks if block.get("type") == "text"),
        finish=FINISHES.get(words(body.get("stop_reason")), ""),
        model=words(body.get("model")),
        calls=tuple(
            Call(words(block.get("id")), words(block.get("name")), json.dumps(block.get("input", {})))
            for block in blocks
            if block.get("type") == "tool_use"
        ),
        thoughts="".join(words(block.get("thinking")) for block in blocks if block.get("type") == "thinking"),
        usage=None if faults(USAGE, usage) else _counted(usage),
        turn=({"role": "assistant", "content": list(blocks)},),
        body=body,
        faults=tuple(found),
    )


def _counted(usage: Any) -> Usage:
    thought = tokens(usage, "output_tokens_details", "thinking_tokens")
    return Usage(usage["input_tokens"], usage["output_tokens"], thought)


class _Reading:
    """One stream: `message_start`, blocks one after another, `message_delta`, `message_stop`; pings anywhere."""

    def __init__(self, frames: Sequence[Frame]) -> None:
        self.faults: list[tuple[Kind, str]] = []
        self.begun = False
        self.body: dict[str, Any] = {}
        self.blocks: list[dict[str, Any]] = []
        self.pieces: list[str] = []  # of the JSON of the open block's input
        self.open = False
        self.signed = False
        self.reason: str | None = None
        self.stopped = False
        for at, frame in enumerate(frames):
            event = as_object(frame.data, "an event's data")
            kind = words(event.get("type"))
            if kind == "error":
                raise Wrong(f"the stream ended in an error: {shown(event.get('error'), 200)}")
            if frame.name != kind:
                told = f"the line `event: {frame.name}`" if frame.name else "no `event:` line, so SDKs skip it"
                self._amiss("grammar", f"event {at}, a {kind or '?'}, has {told}")
            if kind != "ping":
                self._event(at, kind, event)
        if not self.begun:
            raise Wrong("a stream without message_start")
        if not self.stopped:
            self._amiss("grammar", "the stream ends without message_stop")

    def answer(self) -> Answer:
        """What it came to."""
        body: dict[str, Any] = {**self.body, "content": self.blocks, "stop_reason": self.reason}
        return _answer(body, self.faults)

    def _amiss(self, kind: Kind, why: str) -> None:
        self.faults.append((kind, why))

    def _event(self, at: int, kind: str, event: Mapping[str, Any]) -> None:
        if self.stopped:
            self._amiss("grammar", f"event {at}, a {kind}, follows message_stop")
        if not self.begun and kind != "message_start":
            self._amiss("grammar", f"event {at}, a {kind}, stands before message_start")
        match kind:
            case "message_start":
                self._start(event)
            case "content_block_start":
                self._begin(at, event)
            case "content_block_delta":
                self._grow(at, event)
            case "content_block_stop":
                self._close(at, event)
            case "message_delta":
                self._end(at, event)
            case "message_stop":
                self.stopped = True
                if self.reason is None:
                    self._amiss("grammar", "message_stop comes without a message_delta that gives the stop_reason")
            case _:
                pass  # dialects grow

    def _start(self, event: Mapping[str, Any]) -> None:
        if self.begun:
            self._amiss("grammar", "a second message_start")
        self.begun = True
        for why in faults(START, event.get("message"), "message_start: message"):
            self._amiss("envelope", why)
        self.body = dict(as_object(event.get("message"), "the message of message_start"))
        if self.body.get("content"):
            self._amiss("grammar", "the message of message_start has content already")

    def _begin(self, at: int, event: Mapping[str, Any]) -> None:
        if self.open:
            self._amiss("grammar", f"event {at} opens a block inside another")
        if self.reason is not None:
            self._amiss("grammar", f"event {at} opens a block behind message_delta")
        if event.get("index") != len(self.blocks):
            self._amiss(
                "grammar", f"content_block_start has index {shown(event.get('index'))} where {len(self.blocks)} is next"
            )
        block = event.get("content_block")
        for why in faults(BLOCK, block, "content_block_start: content_block"):
            self._amiss("content", why)
        self.blocks.append(dict(block) if isinstance(block, dict) else {})
        self.open, self.pieces, self.signed = True, [], False

    def _grow(self, at: int, event: Mapping[str, Any]) -> None:
        if not self._is_open(at, event):
            return
        delta = event.get("delta")
        delta = delta if isinstance(delta, dict) else {}
        kind, block = words(delta.get("type")), self.blocks[-1]
        if kind not in DELTAS:
            if not kind:
                self._amiss("content", f"event {at}: a delta without a type")
            return
        of, member = DELTAS[kind]
        for why in faults(text, delta.get(member), f"event {at}: delta.{member}"):
            self._amiss("content", why)
        if block.get("type") != of:
            self._amiss("grammar", f"event {at}: a {kind} in a block of the kind {shown(block.get('type'))}")
        elif self.signed:
            self._amiss("grammar", f"event {at}: a {kind} behind the block's signature")
        elif kind == "input_json_delta":
            self.pieces.append(words(delta.get(member)))
        else:
            block[member] = words(block.get(member)) + words(delta.get(member))
            self.signed = kind == "signature_delta"

    def _close(self, at: int, event: Mapping[str, Any]) -> None:
        if not self._is_open(at, event):
            return
        self.open = False
        block = self.blocks[-1]
        if block.get("type") == "tool_use" and self.pieces:
            try:
                block["input"] = json.loads("".join(self.pieces) or "{}")
            except ValueError:
                self._amiss("content", f"the input of a call is not valid JSON: {shown(''.join(self.pieces))}")
            for why in faults(BLOCK, block, f"content[{len(self.blocks) - 1}]"):
                self._amiss("content", why)

    def _is_open(self, at: int, event: Mapping[str, Any]) -> bool:
        if self.open and event.get("index") == len(self.blocks) - 1:
            return True
        self._amiss(
            "grammar", f"event {at}, a {event.get('type')}, is of block {shown(event.get('index'))}, which is not open"
        )
        return False

    def _end(self, at: int, event: Mapping[str, Any]) -> None:
        if self.open:
            self._amiss("grammar", f"event {at}, message_delta, comes while a block is open")
        for why in faults(ENDING, event, "message_delta"):
            self._amiss("envelope", why)
        delta, usage = event.get("delta"), event.get("usage")
        if isinstance(delta, dict):
            self.reason = words(delta.get("stop_reason")) or self.reason
        if isinstance(usage, dict):
            told = {name: value for name, value in usage.items() if value is not None}
            begun = self.body.get("usage")
            self.body["usage"] = {**(begun if isinstance(begun, dict) else {}), **told}
