"""Usage of a Messages answer, put together from its frames."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from hermes_router.core.events import Usage
from hermes_router.wire.messages.frames import MESSAGE, UsageSums, string

COUNTS = (
    st.none() | st.integers(-5, 2_000) | st.floats(allow_nan=True) | st.text(max_size=2) | st.integers(min_value=2**63)
)


def test_input_counts_what_a_cache_read_and_took() -> None:
    """1,000 prompt, 800 read, 50 written come as 150/800/50 (providers.md 12.7, 12.14 (6))."""
    sums = UsageSums()
    raw = {"input_tokens": 150, "cache_read_input_tokens": 800, "cache_creation_input_tokens": 50, "output_tokens": 1}
    assert sums.add(raw) == Usage(1_000, 1, 800, 0, written_tokens=50)
    assert sums.add({"output_tokens": 40, "output_tokens_details": {"thinking_tokens": 30}}) == sums.seen
    assert sums.seen == Usage(1_000, 40, 800, 30, written_tokens=50)
    assert sums.add({"output_tokens": 40}) is None


def test_a_share_that_turns_out_to_be_cached_is_not_counted_twice() -> None:
    """An estimate of the prompt at first, its cached share at the end: what is named later replaces, totals stand."""
    sums = UsageSums()
    sums.add({"input_tokens": 1_000, "output_tokens": 0})
    assert sums.add({"input_tokens": 200, "cache_read_input_tokens": 800, "output_tokens": 7}) == Usage(1_000, 7, 800)


def test_null_says_nothing() -> None:
    """Fields that are there and null leave what was said before."""
    sums = UsageSums()
    sums.add({"input_tokens": 10, "cache_read_input_tokens": 5, "output_tokens": 1})
    assert sums.add({"input_tokens": None, "cache_read_input_tokens": None, "output_tokens": 3}) == Usage(15, 3, 5)


@given(st.lists(st.none() | st.lists(st.integers()) | st.dictionaries(
    st.sampled_from([
        "input_tokens", "output_tokens", "cache_read_input_tokens", "cache_creation_input_tokens", "output_tokens_details",
    ]),
    COUNTS | st.dictionaries(st.just("thinking_tokens"), COUNTS),
)))  # fmt: skip
def test_no_count_ever_falls(frames: list[Any]) -> None:
    """Whatever is sent; and never below zero."""
    sums, last = UsageSums(), Usage()
    for frame in frames:
        seen = sums.add(frame)
        if seen is not None:
            for name in ("input_tokens", "output_tokens", "cached_tokens", "reasoning_tokens", "written_tokens"):
                assert getattr(seen, name) >= getattr(last, name) >= 0
            last = seen
    assert (sums.seen or Usage()) == last


def test_arguments_keep_their_bytes() -> None:
    """The input of a call is a slice of the body: order, spelling and digits of it survive."""
    body = b'{"content":[{"type":"tool_use","input":{"z":1.50, "a":123456789012345678901}}],"id":7}'
    message = MESSAGE.decode(body)
    assert isinstance(message.content, list)
    assert bytes(message.content[0].input) == b'{"z":1.50, "a":123456789012345678901}'
    assert string(message.id) == ""
