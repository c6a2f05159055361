"""The words that vendors use in a frame: usage, finish reasons, content."""

from typing import Any

import pytest
from msgspec import UNSET

from hermes_router.core.errors import Malformed
from hermes_router.core.events import Finish, Usage
from hermes_router.wire.chat.frames import FINISH, count, finish_word, flatten, parse_usage, sendable

OPENAI = {
    "prompt_tokens": 1000,
    "completion_tokens": 50,
    "total_tokens": 7,
    "prompt_tokens_details": {"cached_tokens": 800},
    "completion_tokens_details": {"reasoning_tokens": 20},
}


@pytest.mark.parametrize(
    ("raw", "usage"),
    [
        (OPENAI, Usage(1000, 50, 800, 20)),
        ({"prompt_tokens": 10, "completion_tokens": 5, "prompt_cache_hit_tokens": 4}, Usage(10, 5, 4)),
        ({"prompt_tokens": 10, "completion_tokens": 5, "cached_tokens": 4}, Usage(10, 5, 4)),
        ({"prompt_tokens": None, "completion_tokens": "5", "prompt_tokens_details": None}, Usage()),
        ({"prompt_tokens": -1, "completion_tokens": True, "cached_tokens": 1e300}, Usage()),
        ({}, Usage()),
    ],
)
def test_ll12_usage_in_every_spelling(raw: dict[str, Any], usage: Usage) -> None:
    """OpenAI's, DeepSeek's and Kimi's spellings agree; cached tokens are part of the prompt, counted once (12.7)."""
    assert parse_usage(raw) == usage


def test_mistral_content_lists_are_thinking_and_text() -> None:
    """A list of parts is taken apart; what is neither is skipped (providers.md 3.7)."""
    parts = [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}, {"type": "text", "text": "yes"}, 5]
    assert flatten(parts) == ("hm", "yes")
    assert flatten([{"type": "thinking", "thinking": "hm"}]) == ("hm", "")
    for other in (None, 5, {}, [None]):
        assert flatten(other) == ("", "")


@pytest.mark.parametrize(
    ("said", "word"),
    [
        (None, None),
        (UNSET, None),
        ("", ""),
        ("STOP", "stop"),
        ("MAX_TOKENS", "max_tokens"),
        ("content_filter: SAFETY", "content_filter"),
        ("function_call_filter: MALFORMED_FUNCTION_CALL", "malformed_function_call"),
        ({"type": "stop"}, "unknown"),
        (5, "unknown"),
    ],
)
def test_finish_reasons_are_words_in_lower_case(said: Any, word: str | None) -> None:
    """Absent and null are no reason; anything that is no string is an unknown word, never a crash."""
    assert finish_word(said) == word


def test_vendor_reasons_map_as_the_facts_say() -> None:
    """The reverse table of providers.md 12.6."""
    assert {word: FINISH[word] for word in ("eos", "", "model_length", "function_call", "sensitive")} == {
        "eos": Finish.STOP,
        "": Finish.STOP,
        "model_length": Finish.LENGTH,
        "function_call": Finish.TOOL_CALLS,
        "sensitive": Finish.CONTENT_FILTER,
    }


def test_counts_are_never_strange() -> None:
    """A number of tokens is a number of tokens."""
    assert [count(v) for v in (3, 3.9, -3, True, "3", None, float("inf"), 2**64)] == [3, 3, 0, 0, 0, 0, 0, 0]


def test_what_cannot_be_written_again_is_malformed() -> None:
    """Decided when it comes in, not when it is rendered."""
    value: Any = []
    for _ in range(5_000):
        value = [value]
    with pytest.raises(Malformed):
        sendable(value)
    assert sendable([1]) == [1]
