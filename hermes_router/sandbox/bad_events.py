"""Faults inside streams of named events (facts/providers.md 12.10, 12.11): Messages and Responses.

Owns what the faults of `bad_frames` mean in these two dialects, as edits of good frames and of unary answers; which
dialect a list of frames is in is read off the frames. It must never know how a fault is asked for, or delivered.
"""

import itertools
import json
from collections.abc import Callable, Sequence
from typing import Any

from hermes_router.sandbox.values import CONTENT_KINDS, Frame, SpeechName

Edit = Callable[[list[Frame]], list[Frame]]
_OVERLOADED = {"type": "overloaded_error", "message": "Overloaded"}
_SERVER_ERROR = {"code": "server_error", "message": "The server had an error while processing your request."}


def spoken(frames: Sequence[Frame]) -> SpeechName:
    """The dialect of a stream."""
    named = next((frame.event for frame in frames if frame.event), "")
    return "chat" if not named else "responses" if named.startswith("response.") else "messages"


def spoken_whole(whole: dict[str, Any]) -> SpeechName:
    """The dialect of a unary answer."""
    if whole.get("object") == "response":
        return "responses"
    return "messages" if whole.get("type") == "message" else "chat"


def _changed(frame: Frame, **fields: Any) -> Frame:
    return Frame(frame.kind, {**(frame.data or {}), **fields}, event=fields.get("type", frame.event))


def _event(event: str, data: dict[str, Any], *, named: bool = True) -> Frame:
    return Frame("error", {"type": event, **data}, event=event if named else "")


# --- ends ---------------------------------------------------------------------------------------------


def finish(frames: list[Frame], reason: str | None) -> list[Frame]:
    """Any stop reason; in Responses an answer that is incomplete because of it."""

    def change(frame: Frame) -> Frame:
        data = frame.data or {}
        if frame.kind != "finish":
            return frame
        if "response" in data:
            response = finish_whole(data["response"], reason)
            return _changed(frame, type=f"response.{response['status'] or 'completed'}", response=response)
        return _changed(frame, delta={**data["delta"], "stop_reason": reason})

    return [change(frame) for frame in frames]


def finish_whole(whole: dict[str, Any], reason: str | None) -> dict[str, Any]:
    """The same in a unary answer."""
    if spoken_whole(whole) == "messages":
        return {**whole, "stop_reason": reason}
    if reason is None:
        return {**whole, "status": None}
    return {**whole, "status": "incomplete", "incomplete_details": {"reason": reason}}


def failure(frames: list[Frame], form: str) -> list[Frame]:
    """The frames of an error in the middle. `bare`: unnamed in Messages, flat in Responses; `event`: an error event."""
    if spoken(frames) == "messages":
        return [_event("error", {"error": _OVERLOADED}, named=form != "bare")]
    response = next((dict(frame.data["response"]) for frame in frames if frame.data and "response" in frame.data), {})
    if form == "event":
        return [_event("error", {"error": {"type": "server_error", "param": None, **_SERVER_ERROR}})]
    if form == "bare":
        return [_event("error", {**_SERVER_ERROR, "param": None, "sequence_number": 99})]
    return [_event("response.failed", {"sequence_number": 99, "response": failed_whole(response)})]


def failed_whole(whole: dict[str, Any]) -> dict[str, Any]:
    """A unary answer with status 200 that is an error."""
    if spoken_whole(whole) == "messages":
        return {"type": "error", "error": _OVERLOADED}
    return {**whole, "status": "failed", "error": _SERVER_ERROR, "output": [], "usage": None}


# --- bytes --------------------------------------------------------------------------------------------


def cut_text(speech: SpeechName) -> bytes:
    """The beginning of a frame, up to within its text."""
    if speech == "messages":
        return (b'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,"delta":'
                b'{"type":"text_delta","text":"caf')  # fmt: skip
    if speech == "responses":
        return (b'event: response.output_text.delta\ndata: {"type":"response.output_text.delta","output_index":0,'
                b'"item_id":"msg_1","content_index":0,"sequence_number":7,"delta":"caf')  # fmt: skip
    return b'data: {"id":"x","choices":[{"index":0,"finish_reason":null,"delta":{"content":"caf'


def closed_text(speech: SpeechName) -> bytes:
    """What ends that frame."""
    return {"messages": b'"}}\n\n', "responses": b'"}\n\n', "chat": b'"}}]}\n\n'}[speech]


# --- usage --------------------------------------------------------------------------------------------


def usage_repeated(frames: list[Frame]) -> list[Frame]:
    """Usage after each piece of content, growing."""
    out: list[Frame] = []
    tokens = itertools.count(1)
    envelope = next((frame.data["response"] for frame in frames if frame.data and "response" in frame.data), None)
    for frame in frames:
        out.append(frame)
        if frame.kind not in CONTENT_KINDS:
            continue
        usage = {"input_tokens": 7, "output_tokens": next(tokens)}
        if envelope is None:
            delta = {"stop_reason": None, "stop_sequence": None}
            out.append(Frame("mark", {"type": "message_delta", "delta": delta, "usage": usage}, event="message_delta"))
        else:
            response = {**envelope, "usage": usage}
            event = "response.in_progress"
            out.append(Frame("mark", {"type": event, "response": response}, event=event))
    return out


def no_usage(frames: list[Frame]) -> list[Frame]:
    """No usage anywhere."""
    out = []
    for frame in frames:
        data = {key: value for key, value in (frame.data or {}).items() if key != "usage"}
        for key in ("message", "response"):
            if key in data:
                data[key] = {name: value for name, value in data[key].items() if name != "usage"}
        out.append(Frame(frame.kind, data, event=frame.event) if frame.data is not None else frame)
    return out


# --- calls --------------------------------------------------------------------------------------------


def odd_calls(frames: list[Frame], oddity: str) -> list[Frame]:
    """Calls as careless hosts send them."""
    if oddity == "finish_stop" and spoken(frames) == "messages":
        return finish(frames, "end_turn")
    out: list[Frame] = []
    for frame in frames:
        data = dict(frame.data or {})
        if oddity == "object_arguments" and frame.kind == "call":
            continue
        for key in ("item", "content_block"):
            if data.get(key, {}).get("type") in {"function_call", "custom_tool_call", "tool_use"}:
                data[key] = _odd_call(data[key], oddity)
        if oddity in {"no_index", "zero_index"} and ("index" in data or "output_index" in data):
            data = _without_index(data, zero=oddity == "zero_index")
        if "response" in data:
            data["response"] = odd_calls_whole(data["response"], oddity)
        if oddity == "object_arguments" and "content_block" in data:
            data["content_block"] = _whole_input(frames, data)
        out.append(Frame(frame.kind, data, event=frame.event) if frame.data is not None else frame)
    return out


def odd_calls_whole(whole: dict[str, Any], oddity: str) -> dict[str, Any]:
    """The same in a unary answer."""
    place = "content" if spoken_whole(whole) == "messages" else "output"
    found = [
        _odd_call(each, oddity) if each["type"] in {"function_call", "custom_tool_call", "tool_use"} else each
        for each in whole[place]
    ]
    end = {"stop_reason": "end_turn"} if oddity == "finish_stop" and place == "content" else {}
    return {**whole, place: found, **end}


def _odd_call(call: dict[str, Any], oddity: str) -> dict[str, Any]:
    name = "call_id" if "call_id" in call else "id"
    if oddity == "no_id":
        return {key: value for key, value in call.items() if key != name}
    if oddity in {"empty_id", "repeated_id"}:
        return {**call, name: "" if oddity == "empty_id" else "call_1"}
    if oddity == "object_arguments" and call.get("arguments"):
        return {**call, "arguments": json.loads(call["arguments"])}
    return call


def _without_index(data: dict[str, Any], *, zero: bool) -> dict[str, Any]:
    kept = {key: value for key, value in data.items() if key not in {"index", "output_index"}}
    return kept | ({key: 0 for key in ("index", "output_index") if key in data} if zero else {})


def _whole_input(frames: list[Frame], start: dict[str, Any]) -> dict[str, Any]:
    """The block with its input whole at its start, as some hosts of Messages send it."""
    block: dict[str, Any] = start["content_block"]
    if block["type"] != "tool_use":
        return block
    pieces = [frame.data["delta"]["partial_json"] for frame in frames
              if frame.kind == "call" and frame.data and frame.data["index"] == start["index"]]  # fmt: skip
    return {**block, "input": json.loads("".join(pieces) or "{}")}


# --- what is none of the above --------------------------------------------------------------------------


def empty_output(frames: list[Frame]) -> list[Frame]:
    """The last event lists no items (codex.md 0.3)."""
    return [_changed(frame, response={**frame.data["response"], "output": []})
            if frame.kind == "finish" and frame.data and "response" in frame.data else frame
            for frame in frames]  # fmt: skip


def unknown_events(frames: list[Frame]) -> list[Frame]:
    """Events, and fields of events, that nobody has heard of yet, between all others."""
    if spoken(frames) == "chat":
        return frames
    strange = {"messages": "content_block_hint", "responses": "response.metadata"}[spoken(frames)]
    out: list[Frame] = []
    for frame in frames:
        known = Frame(frame.kind, {**frame.data, "hint": {"a": [1]}}, event=frame.event) if frame.data else frame
        out += [known, Frame("mark", {"type": strange, "headers": {"x": "y"}}, event=strange)]
    return out
