"""Typed frames: what an item says, what it is, and how usage is spelled."""

from typing import Any

import msgspec
import pytest

from hermes_router.core.errors import Malformed
from hermes_router.core.events import BlockKind, Usage
from hermes_router.wire.responses.frames import (
    EVENT,
    ItemFrame,
    ResponseFrame,
    cut_of,
    kind_of,
    parse_usage,
    text_of,
    tool_of,
)


def item(**fields: Any) -> ItemFrame:
    return msgspec.convert(fields, ItemFrame)


@pytest.mark.parametrize(
    ("fields", "kind", "tool"),
    [
        ({"type": "message"}, BlockKind.TEXT, ""),
        ({"type": "reasoning"}, BlockKind.REASONING, ""),
        ({"type": "function_call", "name": "f"}, BlockKind.TOOL_CALL, "f"),
        ({"type": "custom_tool_call", "name": 3}, BlockKind.TOOL_CALL, ""),
        ({"type": "shell_call"}, BlockKind.TOOL_CALL, "shell"),
        ({"type": "tool_search_call", "execution": "client"}, BlockKind.TOOL_CALL, "tool_search"),
        ({"type": "tool_search_call", "execution": "server"}, None, "tool_search"),
        ({"type": "web_search_call"}, None, ""),
        ({"type": "compaction"}, None, ""),
        ({"type": ["message"]}, None, None),
        ({}, None, ""),
    ],
)
def test_items_are_blocks_or_foreign(fields: dict[str, Any], kind: BlockKind | None, tool: str | None) -> None:
    """What the caller must act on is a call; what a provider ran itself is none (12.4)."""
    one = item(**fields)
    assert kind_of(one) is kind
    if tool is not None:
        assert tool_of(one) == tool


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"type": "message", "content": [{"type": "output_text", "text": "a"}, {"refusal": "b"}, 3, {}]}, "ab"),
        ({"type": "message", "content": "a"}, "a"),
        ({"type": "message", "content": None}, ""),
        ({"type": "message", "content": {"text": "a"}}, ""),
        (
            {"type": "reasoning", "summary": [{"text": "a"}, {"text": ""}, {"text": "b"}], "content": [{"text": "c"}]},
            "a\n\nb",
        ),
        ({"type": "reasoning", "summary": [], "content": [{"text": "c"}]}, "c"),
        ({"type": "function_call", "arguments": '{"a":1}'}, '{"a":1}'),
        ({"type": "function_call", "arguments": {"a": 1}}, '{"a":1}'),
        ({"type": "function_call"}, ""),
        ({"type": "custom_tool_call", "input": "a"}, "a"),
        ({"type": "custom_tool_call", "input": {}}, ""),
        ({"type": "apply_patch_call", "operation": {"type": "x"}}, '{"type":"x"}'),
    ],
)
def test_what_a_whole_item_says(fields: dict[str, Any], text: str) -> None:
    """Every shape of every kind; summaries are parted by a blank line (codex.md 8)."""
    assert text_of(item(**fields)) == text


def test_arguments_that_cannot_be_written_again_are_malformed() -> None:
    """Objects instead of JSON text may hold anything."""
    deep: Any = {}
    for _ in range(3_000):
        deep = {"a": deep}
    with pytest.raises(Malformed):
        text_of(ItemFrame(type="function_call", arguments=deep))


@pytest.mark.parametrize("raw", [None, [], "x", 3])
def test_what_is_no_usage_is_none(raw: Any) -> None:
    """Nothing is made up."""
    assert parse_usage(raw) is None


def test_usage_includes_what_was_cached_and_thought() -> None:
    """1,000 with 800 read and 50 written stay 1,000 (12.7, 12.14); nonsense counts nothing."""
    details = {"cached_tokens": 800, "cache_write_tokens": 50}
    made = {"reasoning_tokens": 20}
    raw = {"input_tokens": 1_000, "input_tokens_details": details, "output_tokens": 30, "output_tokens_details": made}
    assert parse_usage(raw) == Usage(1_000, 30, 800, 20, written_tokens=50)
    odd = {"input_tokens": -1, "output_tokens": "9", "input_tokens_details": [], "output_tokens_details": None}
    assert parse_usage(odd) == Usage()


@pytest.mark.parametrize("details", [None, {}, {"reason": ""}, {"reason": 3}, []])
def test_a_cut_without_a_reason_is_still_one(details: Any) -> None:
    """Incomplete is what it says itself."""
    assert cut_of(ResponseFrame(incomplete_details=details)) == "incomplete"
    assert cut_of(ResponseFrame(incomplete_details={"reason": "max_output_tokens"})) == "max_output_tokens"


def test_what_a_frame_echoes_is_not_read() -> None:
    """Tools and instructions of the request come back in each lifecycle event, of any shape."""
    event = EVENT.decode(b'{"type":"response.created","response":{"id":"r","tools":{"x":[1]},"instructions":[{}]}}')
    assert event.response is not None
    assert event.response.id == "r"
