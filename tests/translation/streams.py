"""Answers as each dialect streams them, and streams as the answers that they tell: written and read by the book.

Made of what the dialects' documents and SDKs demand (facts: providers.md 12.10), of nothing of the router's. The readers
are strict: whatever an SDK would trip over is an AssertionError.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from hermes_router.conformance.feature import CHAT, MESSAGES, RESPONSES

__all__ = ["read_stream", "write_stream"]

Whole = dict[str, Any]
Frame = tuple[str, Any]
"""The name of an event and what it says."""


def write_stream(dialect: str, whole: Whole) -> bytes:
    """The stream of this answer."""
    out = []
    for name, value in _WRITERS[dialect](whole):
        head = f"event: {name}\n" if name else ""
        out.append(f"{head}data: {value if isinstance(value, str) else json.dumps(value)}\n\n")
    return "".join(out).encode()


def read_stream(dialect: str, raw: bytes) -> Whole:
    """The answer that this stream tells."""
    return _READERS[dialect]([*_frames(raw)])


def _frames(raw: bytes) -> Iterator[Frame]:
    *blocks, rest = raw.decode().split("\n\n")
    assert rest == "", "the last frame has no end"
    for block in blocks:
        lines = [line for line in block.split("\n") if not line.startswith(":")]
        if not lines:
            continue
        name = lines[0].removeprefix("event: ") if lines[0].startswith("event: ") else ""
        data = "\n".join(line.removeprefix("data: ") for line in lines if line.startswith("data: "))
        yield name, data if data == "[DONE]" else json.loads(data)


def _halves(text: str) -> list[str]:
    """A text as it comes: in two pieces."""
    middle = (len(text) + 1) // 2
    return [each for each in (text[:middle], text[middle:]) if each]


# --- Chat -------------------------------------------------------------------------------------------------


def _write_chat(whole: Whole) -> Iterator[Frame]:
    head = {key: whole[key] for key in ("id", "created", "model")} | {"object": "chat.completion.chunk"}
    (choice,) = whole["choices"]
    message = choice["message"]

    def chunk(delta: Mapping[str, Any], finish: str | None = None, **more: Any) -> Frame:
        return "", {**head, "choices": [{"index": 0, "delta": delta, "finish_reason": finish, **more}]}

    yield chunk({"role": "assistant", "content": ""})
    for key in ("reasoning_content", "content", "refusal"):
        logprobs = choice.get("logprobs") if key == "content" else None
        for at, piece in enumerate(_halves(message.get(key) or "")):
            yield chunk({key: piece}, **({"logprobs": logprobs} if logprobs and at == 0 else {}))
    for index, call in enumerate(message.get("tool_calls") or ()):
        inner, slot = call[call["type"]], "arguments" if call["type"] == "function" else "input"
        first = {"index": index, "id": call["id"], "type": call["type"], call["type"]: {**inner, slot: ""}}
        yield chunk({"tool_calls": [first]})
        for piece in _halves(inner[slot]):
            yield chunk({"tool_calls": [{"index": index, call["type"]: {slot: piece}}]})
    if message.get("annotations"):
        yield chunk({"annotations": message["annotations"]})
    yield chunk({}, choice["finish_reason"])
    if "usage" in whole:
        yield "", {**head, "choices": [], "usage": whole["usage"]}
    yield "", "[DONE]"


def _read_chat(frames: list[Frame]) -> Whole:
    assert frames[-1] == ("", "[DONE]"), "no [DONE]"
    message: dict[str, Any] = {"role": "assistant", "content": ""}
    whole: Whole = {}
    finish = None
    logprobs = None
    begun = False
    for _, chunk in frames[:-1]:
        identity = {key: chunk[key] for key in ("id", "created", "model")}
        assert chunk["object"] == "chat.completion.chunk"
        assert not whole or {key: whole[key] for key in identity} == identity, "another identity"
        whole |= identity
        if not chunk["choices"]:
            whole["usage"] = chunk["usage"]
            continue
        (choice,) = chunk["choices"]
        assert choice["index"] == 0
        assert finish is None, "something behind the finish"
        delta = dict(choice["delta"])
        assert begun or "role" in delta, "content before the role"
        begun = True
        delta.pop("role", None)
        logprobs = choice.get("logprobs") or logprobs
        for call in delta.pop("tool_calls", None) or ():
            _chat_call(message.setdefault("tool_calls", []), call)
        for key, value in delta.items():
            if value:
                message[key] = message.get(key, type(value)()) + value
        finish = choice["finish_reason"]
    assert finish, "no finish"
    choice = {"index": 0, "message": message, "finish_reason": finish, "logprobs": logprobs}
    return {**whole, "object": "chat.completion", "choices": [choice]}


def _chat_call(calls: list[dict[str, Any]], call: dict[str, Any]) -> None:
    if "id" in call:
        assert call["index"] == len(calls), "calls are not numbered one after another"
        calls.append({key: value for key, value in call.items() if key != "index"})
        return
    kind = calls[call["index"]]["type"]
    for key, value in call[kind].items():
        inner = calls[call["index"]][kind]
        inner[key] = inner.get(key, "") + value


# --- Messages ---------------------------------------------------------------------------------------------

_SLOTS: Final = {"text": ("text_delta", "text"), "thinking": ("thinking_delta", "thinking")}
_CALLS: Final = ("tool_use", "server_tool_use")


def _write_messages(whole: Whole) -> Iterator[Frame]:
    for event in _messages_events(whole):
        yield event["type"], event


def _messages_events(whole: Whole) -> Iterator[dict[str, Any]]:
    usage = whole["usage"]
    early = {**usage, "output_tokens": 1}
    begun = {"content": [], "stop_reason": None, "stop_sequence": None, "usage": early}
    yield {"type": "message_start", "message": {**whole, **begun}}
    for index, block in enumerate(whole["content"]):
        kind = block["type"]
        empty = {**block}
        deltas: list[dict[str, Any]] = []
        if kind in _SLOTS:
            delta, slot = _SLOTS[kind]
            empty[slot] = ""
            deltas += ({"type": delta, slot: piece} for piece in _halves(block[slot]))
        if kind == "thinking":
            empty["signature"] = ""
            deltas.append({"type": "signature_delta", "signature": block["signature"]})
        if kind == "text" and block.get("citations"):
            empty["citations"] = []
            deltas += ({"type": "citations_delta", "citation": each} for each in block["citations"])
        if kind in _CALLS:
            empty["input"] = {}
            said = json.dumps(block["input"], separators=(",", ":")) if block["input"] else ""
            deltas += ({"type": "input_json_delta", "partial_json": piece} for piece in _halves(said))
        yield {"type": "content_block_start", "index": index, "content_block": empty}
        for delta_ in deltas:
            yield {"type": "content_block_delta", "index": index, "delta": delta_}
        yield {"type": "content_block_stop", "index": index}
    end = {"stop_reason": whole["stop_reason"], "stop_sequence": whole["stop_sequence"]}
    yield {"type": "message_delta", "delta": end, "usage": usage}
    yield {"type": "message_stop"}


def _read_messages(frames: list[Frame]) -> Whole:
    assert all(name == event["type"] for name, event in frames), "an event without its name"
    events = [event for _, event in frames if event["type"] != "ping"]
    assert events[0]["type"] == "message_start"
    assert events[-2]["type"] == "message_delta"
    assert events[-1]["type"] == "message_stop"
    whole = events[0]["message"]
    assert whole["content"] == []
    blocks: list[dict[str, Any]] = []
    said, is_open, signed = "", False, False
    for event in events[1:-2]:
        match event["type"]:
            case "content_block_start":
                assert not is_open
                assert event["index"] == len(blocks), "blocks are not numbered one after another"
                blocks.append(event["content_block"])
                said, is_open, signed = "", True, False
            case "content_block_delta":
                assert is_open
                assert event["index"] == len(blocks) - 1
                assert not signed, "something behind the signature"
                said, signed = _messages_delta(blocks[-1], event["delta"], said)
            case "content_block_stop":
                assert is_open
                assert event["index"] == len(blocks) - 1
                if blocks[-1]["type"] in _CALLS:
                    blocks[-1]["input"] = json.loads(said or "{}")
                is_open = False
            case other:
                raise AssertionError(f"an unknown event {other}")
    assert not is_open
    usage = {**whole["usage"], **{key: value for key, value in events[-2]["usage"].items() if value is not None}}
    return {**whole, **events[-2]["delta"], "content": blocks, "usage": usage}


def _messages_delta(block: dict[str, Any], delta: dict[str, Any], said: str) -> tuple[str, bool]:
    """What was said of a call's input, and whether the block is signed."""
    match delta["type"]:
        case "text_delta":
            block["text"] += delta["text"]
        case "thinking_delta":
            block["thinking"] += delta["thinking"]
        case "input_json_delta":
            return said + delta["partial_json"], False
        case "signature_delta":
            block["signature"] = delta["signature"]
            return said, True
        case "citations_delta":
            block.setdefault("citations", []).append(delta["citation"])
        case other:
            raise AssertionError(f"an unknown delta {other}")
    return said, False


# --- Responses --------------------------------------------------------------------------------------------

_INPUTS: Final = {
    "function_call": ("arguments", "response.function_call_arguments"),
    "custom_tool_call": ("input", "response.custom_tool_call_input"),
}


def _write_responses(whole: Whole) -> Iterator[Frame]:
    for number, (kind, event) in enumerate(_responses_events(whole)):
        yield kind, {"type": kind, "sequence_number": number, **event}


def _responses_events(whole: Whole) -> Iterator[tuple[str, dict[str, Any]]]:
    begun = {**whole, "status": "in_progress", "output": [], "usage": None, "incomplete_details": None}
    yield "response.created", {"response": begun}
    yield "response.in_progress", {"response": begun}
    for index, item in enumerate(whole["output"]):
        at = {"output_index": index, "item_id": item["id"]}
        kind = item["type"]
        empty = {**item}
        for key in ("content", "summary"):
            if key in empty:
                empty[key] = []
        if kind in _INPUTS:
            empty[_INPUTS[kind][0]] = ""
        if "status" in item:
            empty["status"] = "in_progress"
        yield "response.output_item.added", {"output_index": index, "item": empty}
        for position, part in enumerate(item.get("summary") or ()):
            yield from _part(
                part, {**at, "summary_index": position}, "reasoning_summary_part", "reasoning_summary_text"
            )
        for position, part in enumerate(item.get("content") or ()):
            name = "refusal" if part["type"] == "refusal" else "output_text"
            yield from _part(part, {**at, "content_index": position}, "content_part", name)
        if kind in _INPUTS:
            slot, name = _INPUTS[kind]
            for piece in _halves(item[slot]):
                yield f"{name}.delta", {**at, "delta": piece}
            yield f"{name}.done", {**at, slot: item[slot]}
        yield "response.output_item.done", {"output_index": index, "item": item}
    yield f"response.{whole['status']}", {"response": whole}


def _part(part: dict[str, Any], at: dict[str, Any], holder: str, name: str) -> Iterator[tuple[str, dict[str, Any]]]:
    slot = "refusal" if part["type"] == "refusal" else "text"
    beside = {"logprobs": []} if name == "output_text" else {}
    empty = {**part, slot: ""} | ({"annotations": []} if "annotations" in part else {})
    yield f"response.{holder}.added", {**at, "part": empty}
    for piece in _halves(part[slot]):
        yield f"response.{name}.delta", {**at, "delta": piece, **beside}
    for position, each in enumerate(part.get("annotations") or ()):
        yield "response.output_text.annotation.added", {**at, "annotation_index": position, "annotation": each}
    yield f"response.{name}.done", {**at, slot: part[slot], **beside}
    yield f"response.{holder}.done", {**at, "part": part}


def _read_responses(frames: list[Frame]) -> Whole:
    assert all(name == event["type"] for name, event in frames), "an event without its name"
    events = [event for _, event in frames]
    assert [event["sequence_number"] for event in events] == list(range(len(events))), "a gap in the numbers"
    assert events[0]["type"] == "response.created"
    whole: Whole = events[-1]["response"]
    assert events[-1]["type"] == f"response.{whole['status']}"
    assert {event["response"]["id"] for event in events if "response" in event} == {whole["id"]}
    done: list[dict[str, Any]] = []
    opened: dict[str, Any] | None = None
    said = ""
    for event in events[1:-1]:
        kind = event["type"]
        if kind == "response.output_item.added":
            assert opened is None
            assert event["output_index"] == len(done)
            opened, said = event["item"], ""
        elif kind == "response.output_item.done":
            item = event["item"]
            assert opened is not None
            assert (item["id"], item["type"]) == (opened["id"], opened["type"])
            assert _said(item) == said, "an item says something else than its events"
            done.append(item)
            opened = None
        elif "item_id" in event:
            assert opened is not None
            assert (event["item_id"], event["output_index"]) == (opened["id"], len(done))
            said += event["delta"] if kind.endswith(".delta") else ""
        else:
            assert kind == "response.in_progress", f"an unknown event {kind}"
    assert opened is None
    assert whole["output"] == done, "the output is not what was done"
    return whole


def _said(item: dict[str, Any]) -> str:
    parts = [*(item.get("summary") or ()), *(item.get("content") or ())]
    slot = _INPUTS.get(item["type"], ("", ""))[0]
    return "".join(part.get("text") or part.get("refusal") or "" for part in parts) + (item[slot] if slot else "")


_WRITERS: Final[Mapping[str, Callable[[Whole], Iterator[Frame]]]] = {
    CHAT: _write_chat,
    MESSAGES: _write_messages,
    RESPONSES: _write_responses,
}
_READERS: Final[Mapping[str, Callable[[list[Frame]], Whole]]] = {
    CHAT: _read_chat,
    MESSAGES: _read_messages,
    RESPONSES: _read_responses,
}
