"""What every stream must be: the grammar of neutral events, and that of the frames a Chat caller is sent."""

import itertools
import json
from typing import Any

from hermes_router.core.events import (
    BlockKind,
    ChatEvent,
    Closed,
    Delta,
    Failed,
    Finished,
    Opened,
    Started,
    UsageSeen,
)


def check_events(events: list[ChatEvent]) -> None:
    """stream := Started Block* (Finished | Failed); Block := Opened Delta* Closed; UsageSeen anywhere, never falling."""
    rest = [event for event in events if not isinstance(event, UsageSeen)]
    assert isinstance(rest[0], Started), rest[:2]
    assert isinstance(rest[-1], Finished | Failed), rest[-2:]
    is_open = False
    for event in rest[1:-1]:
        match event:
            case Opened(kind=kind, call_id=call_id, name=name):
                assert not is_open, "a block inside another"
                assert kind is not BlockKind.TOOL_CALL or (call_id and name), "a call without id or name"
                is_open = True
            case Delta(text=text):
                assert is_open, "a delta outside a block"
                assert text, "an empty delta"
            case Closed():
                assert is_open, "closed twice"
                is_open = False
            case _:
                raise AssertionError(f"{event} in the middle")
    assert not is_open, "the last block never closed"
    usages = [event.usage for event in events if isinstance(event, UsageSeen)]
    for before, after in itertools.pairwise(usages):
        assert after.output_tokens >= before.output_tokens
        assert after.input_tokens >= before.input_tokens


def frames_of(sse: bytes) -> list[dict[str, Any]]:
    """The JSON frames of what a caller was sent; `[DONE]` stands at the end or nowhere."""
    payloads = []
    for block in sse.split(b"\n\n"):
        if not block or block.startswith(b":"):
            continue
        assert block.startswith(b"data: "), block
        assert b"\n" not in block, block
        payloads.append(block[6:].decode())
    if payloads and payloads[-1] == "[DONE]":
        payloads.pop()
    return [json.loads(payload) for payload in payloads]


def check_caller(sse: bytes) -> list[dict[str, Any]]:
    """One identity, one role, calls numbered one after another, one finish, nothing behind it but usage (12.10)."""
    frames = frames_of(sse)
    chunks = [frame for frame in frames if "error" not in frame]
    assert len({(f["id"], f["model"], f["created"], f["object"]) for f in chunks}) <= 1, "identity varies"
    roles = finishes = 0
    calls: list[str] = []
    for chunk in chunks:
        for choice in chunk["choices"]:
            assert choice["index"] == 0
            assert "finish_reason" in choice
            delta = choice["delta"]
            assert not finishes, "something behind the finish"
            assert roles or not delta or "role" in delta, "content before the role"
            roles += "role" in delta
            finishes += choice["finish_reason"] is not None
            for call in delta.get("tool_calls", ()):
                if "id" in call:
                    assert call["index"] == len(calls)
                    assert call["id"] not in calls
                    assert call["function"]["name"]
                    calls.append(call["id"])
                else:
                    assert call["index"] == len(calls) - 1, "calls interleave"
    assert roles == (1 if any(c["delta"] for chunk in chunks for c in chunk["choices"]) else 0)
    return frames
