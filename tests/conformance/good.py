"""Answers that are right in every member, one of each kind a dialect, for the tests to break."""

import json
from collections.abc import Callable, Iterable
from typing import Any

from hermes_router.conformance.frames import DONE, Frame

Json = dict[str, Any]

# --- Chat -----------------------------------------------------------------------------------------------

CHAT_USAGE = {"prompt_tokens": 7, "completion_tokens": 2, "total_tokens": 9}
CHAT: Json = {
    "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "m",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hello!"}, "finish_reason": "stop"}],
    "usage": CHAT_USAGE,
}  # fmt: skip
CHAT_CALL: Json = {
    **CHAT,
    "choices": [{"index": 0, "finish_reason": "tool_calls", "message": {"role": "assistant", "content": None, "tool_calls": [
        {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"city":"Oslo"}'}}]}}],
}  # fmt: skip


def chunk(delta: Json, finish: str | None = None, **more: Any) -> Json:
    """One chunk of a Chat stream."""
    choices = [{"index": 0, "delta": delta, "finish_reason": finish}]
    return {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": choices, **more}


def _piece(index: int, arguments: str) -> Json:
    return chunk({"tool_calls": [{"index": index, "function": {"arguments": arguments}}]})


def _begun(index: int, name: str) -> Json:
    function = {"name": name, "arguments": ""}
    return chunk({"tool_calls": [{"index": index, "id": f"call_{index}", "type": "function", "function": function}]})


CHAT_STREAM: list[Any] = [
    chunk({"role": "assistant", "content": ""}), chunk({"content": "Hel"}), chunk({"content": "lo!"}), chunk({}, "stop"),
    DONE,
]  # fmt: skip
CHAT_CALLS_STREAM: list[Any] = [
    chunk({"role": "assistant", "content": None}),
    _begun(0, "weather"), _piece(0, '{"city":'), _piece(0, '"Oslo"}'), _begun(1, "time"), _piece(1, "{}"),
    chunk({}, "tool_calls"), DONE,
]  # fmt: skip

# --- Messages -------------------------------------------------------------------------------------------

MESSAGE: Json = {
    "id": "msg_1", "type": "message", "role": "assistant", "model": "m", "content": [{"type": "text", "text": "Hello!"}],
    "stop_reason": "end_turn", "stop_sequence": None, "usage": {"input_tokens": 7, "output_tokens": 2},
}  # fmt: skip
MESSAGE_CALL: Json = {
    **MESSAGE, "stop_reason": "tool_use",
    "content": [{"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"city": "Oslo"}}],
}  # fmt: skip


def _start() -> Json:
    return {"type": "message_start", "message": {**MESSAGE, "content": [], "stop_reason": None}}


def _block(index: int, block: Json, *deltas: Json) -> list[Json]:
    return [
        {"type": "content_block_start", "index": index, "content_block": block},
        *({"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas),
        {"type": "content_block_stop", "index": index},
    ]


def _end(reason: str) -> list[Json]:
    delta = {"stop_reason": reason, "stop_sequence": None}
    return [{"type": "message_delta", "delta": delta, "usage": {"output_tokens": 2}}, {"type": "message_stop"}]


MESSAGE_STREAM: list[Any] = [
    _start(), {"type": "ping"},
    *_block(0, {"type": "thinking", "thinking": "", "signature": ""},
            {"type": "thinking_delta", "thinking": "hm"}, {"type": "signature_delta", "signature": "sig"}),
    *_block(1, {"type": "text", "text": ""}, {"type": "text_delta", "text": "Hel"}, {"type": "text_delta", "text": "lo!"}),
    *_end("end_turn"),
]  # fmt: skip
MESSAGE_CALL_STREAM: list[Any] = [
    _start(),
    *_block(0, {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {}},
            {"type": "input_json_delta", "partial_json": '{"city":'},
            {"type": "input_json_delta", "partial_json": '"Oslo"}'}),
    *_end("tool_use"),
]  # fmt: skip

# --- Responses ------------------------------------------------------------------------------------------

RESPONSE_USAGE: Json = {
    "input_tokens": 7, "input_tokens_details": {"cached_tokens": 0}, "output_tokens": 2,
    "output_tokens_details": {"reasoning_tokens": 0}, "total_tokens": 9,
}  # fmt: skip
TEXT_ITEM: Json = {
    "id": "msg_1", "type": "message", "role": "assistant", "status": "completed",
    "content": [{"type": "output_text", "text": "Hello!", "annotations": []}],
}  # fmt: skip
CALL_ITEM: Json = {
    "id": "fc_1", "type": "function_call", "call_id": "call_1", "name": "weather", "arguments": '{"city":"Oslo"}',
    "status": "completed",
}  # fmt: skip
THOUGHT_ITEM: Json = {"id": "rs_1", "type": "reasoning", "summary": [{"type": "summary_text", "text": "hm"}]}


def response(*output: Json, **more: Any) -> Json:
    """A response object."""
    return {
        "id": "resp_1", "object": "response", "created_at": 1, "model": "m", "status": "completed", "output": [*output],
        "parallel_tool_calls": True, "tool_choice": "auto", "tools": [], "error": None, "incomplete_details": None,
        "instructions": None, "metadata": {}, "temperature": 1.0, "top_p": 1.0, "usage": RESPONSE_USAGE, **more,
    }  # fmt: skip


RESPONSE = response(TEXT_ITEM)
RESPONSE_CALL = response(CALL_ITEM)


def _event(kind: str, **fields: Any) -> Json:
    return {"type": f"response.{kind}", **fields}


def _text_events(at: int) -> list[Json]:
    here = {"item_id": "msg_1", "output_index": at}
    part = {**here, "content_index": 0}
    return [
        _event("output_item.added", output_index=at, item={**TEXT_ITEM, "status": "in_progress", "content": []}),
        _event("content_part.added", **part, part={"type": "output_text", "text": "", "annotations": []}),
        _event("output_text.delta", **part, delta="Hel", logprobs=[]),
        _event("output_text.delta", **part, delta="lo!", logprobs=[]),
        _event("output_text.done", **part, text="Hello!", logprobs=[]),
        _event("content_part.done", **part, part=TEXT_ITEM["content"][0]),
        _event("output_item.done", output_index=at, item=TEXT_ITEM),
    ]


def _thought_events(at: int) -> list[Json]:
    part = {"item_id": "rs_1", "output_index": at, "summary_index": 0}
    return [
        _event("output_item.added", output_index=at, item={**THOUGHT_ITEM, "summary": []}),
        _event("reasoning_summary_part.added", **part, part={"type": "summary_text", "text": ""}),
        _event("reasoning_summary_text.delta", **part, delta="hm"),
        _event("reasoning_summary_text.done", **part, text="hm"),
        _event("reasoning_summary_part.done", **part, part=THOUGHT_ITEM["summary"][0]),
        _event("output_item.done", output_index=at, item=THOUGHT_ITEM),
    ]


def _call_events(at: int) -> list[Json]:
    here = {"item_id": "fc_1", "output_index": at}
    return [
        _event("output_item.added", output_index=at, item={**CALL_ITEM, "arguments": "", "status": "in_progress"}),
        _event("function_call_arguments.delta", **here, delta='{"city":'),
        _event("function_call_arguments.delta", **here, delta='"Oslo"}'),
        _event("function_call_arguments.done", **here, arguments='{"city":"Oslo"}'),
        _event("output_item.done", output_index=at, item=CALL_ITEM),
    ]


def _lifecycle(events: Iterable[Json], *output: Json) -> list[Any]:
    begun = response(status="in_progress", usage=None)
    whole = [_event("created", response=begun), _event("in_progress", response=begun), *events,
             _event("completed", response=response(*output))]  # fmt: skip
    return [{**event, "sequence_number": number} for number, event in enumerate(whole)]


RESPONSE_STREAM = _lifecycle([*_thought_events(0), *_text_events(1)], THOUGHT_ITEM, TEXT_ITEM)
RESPONSE_CALL_STREAM = _lifecycle(_call_events(0), CALL_ITEM)

# --- on the wire ----------------------------------------------------------------------------------------


def framed(events: Iterable[Any], *, named: bool) -> list[Frame]:
    """Events as they are read; `named` = with their `event:` lines."""
    return [Frame(event["type"] if named and event != DONE else "", event) for event in events]


def raw(events: Iterable[Any], *, named: bool) -> bytes:
    """Events as they go over the wire."""
    return b"".join(
        (f"event: {frame.name}\n" if frame.name else "").encode()
        + b"data: " + (DONE if frame.data == DONE else json.dumps(frame.data)).encode() + b"\n\n"
        for frame in framed(events, named=named)
    )  # fmt: skip


def but(value: Any, change: Callable[[Any], Any]) -> Any:
    """A copy that was changed; `change` works on it in place, or returns another."""
    copied = json.loads(json.dumps(value))  # parts that were one object are two, as they are on the wire
    other = change(copied)
    return copied if other is None else other


def without(value: Any, *path: Any) -> Any:
    """A copy without what stands at this path."""

    def change(copied: Any) -> None:
        for step in path[:-1]:
            copied = copied[step]
        del copied[path[-1]]

    return but(value, change)


def having(value: Any, put: Any, *path: Any) -> Any:
    """A copy with `put` at this path."""

    def change(copied: Any) -> None:
        for step in path[:-1]:
            copied = copied[step]
        copied[path[-1]] = put

    return but(value, change)
