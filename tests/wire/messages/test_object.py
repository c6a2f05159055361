"""Neutral values in the spelling of the Messages dialect."""

import json

import pytest

from hermes_router.core.events import BlockKind, Finish, Usage
from hermes_router.wire.messages.object import INVALID_JSON, ending, goes_on, message_id, stand_in, usage_object


def test_input_excludes_what_a_cache_read_and_took() -> None:
    """Prompt minus both, never below zero (providers.md 12.7, 12.14 (6))."""
    assert usage_object(Usage(1_000, 5, 800, written_tokens=50))["input_tokens"] == 150
    assert usage_object(Usage(10, 5, 800))["input_tokens"] == 0
    assert "output_tokens_details" not in usage_object(Usage(10, 5))


def test_ids_are_of_the_dialects_shape() -> None:
    """An id of ours or of Anthropic's stays; any other is told as one that follows from it, the same every time."""
    assert message_id("msg_01Up") == "msg_01Up"
    other = message_id("chatcmpl-7")
    assert other == message_id("chatcmpl-7") != message_id("chatcmpl-8")
    assert len(other) == 28
    assert message_id("\ud800 odd").startswith("msg_")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", {}),
        (" \n", {}),
        ("null", {}),
        ("[1, 2]", {"input": [1, 2]}),
        (' "x" ', {"input": "x"}),
        ("x y", {INVALID_JSON: "x y"}),
        ('{"a":"', {INVALID_JSON: '{"a":"'}),
        ("123456789012345678901234567890", {"input": 123456789012345678901234567890}),
    ],
)
def test_arguments_that_are_no_object_are_put_into_one(text: str, value: object) -> None:
    """The dialect has no other arguments (providers.md 12.4); of a custom tool they are its input."""
    assert json.loads(stand_in(text, custom=False)) == value
    assert json.loads(stand_in(text, custom=True)) == {"input": text}


def test_calls_make_the_end() -> None:
    """A stop with calls is for their sake, whatever sequence was met; a refusal says that it is one (12.6)."""
    assert ending(Finish.STOP, "stop", "x", calls=1) == {"stop_reason": "tool_use", "stop_sequence": None}
    assert ending(Finish.STOP, "stop", "x", calls=0) == {"stop_reason": "stop_sequence", "stop_sequence": "x"}
    assert ending(Finish.CONTENT_FILTER, "", None, calls=0)["stop_details"]["type"] == "refusal"


def test_only_a_thought_with_details_goes_on() -> None:
    """Every other block stands for itself: the seal of one thought does not fit the text of two."""
    assert goes_on(BlockKind.REASONING, {"reasoning_details": []})
    assert not goes_on(BlockKind.REASONING, {})
    assert not goes_on(BlockKind.TOOL_CALL, {"extra_content": {}})
