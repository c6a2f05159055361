"""The last event of a stream that is passed on lists the items, also where the provider left them out."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.responses import ResponseUsage

from hermes_router.wire.responses.mend import ItemKeeper, with_output

ITEMS = [{"type": "message", "id": f"msg_{n}", "content": [{"type": "output_text", "text": "é"}]} for n in range(3)]


def event(kind: str, **fields: Any) -> bytes:
    return json.dumps({"type": kind, "sequence_number": 1, **fields}).encode()


def done(index: int) -> bytes:
    return event("response.output_item.done", output_index=index, item=ITEMS[index])


@pytest.mark.parametrize("kind", ["response.completed", "response.incomplete"])
def test_an_empty_output_is_filled_in(kind: str) -> None:
    """In the order of their indexes; all else stays (codex.md 0.3)."""
    keeper = ItemKeeper()
    for index in (1, 0, 2):
        assert keeper.mend(done(index)) == done(index)
    found = json.loads(keeper.mend(event(kind, response={"id": "r", "output": [], "usage": {"a": 1}})))
    assert found["response"] == {"id": "r", "output": ITEMS, "usage": {"a": 1}}
    assert found["sequence_number"] == 1


def test_an_output_that_is_there_is_left_alone() -> None:
    """Byte for byte; and so is one without any items."""
    keeper = ItemKeeper()
    empty = event("response.completed", response={"output": []})
    assert keeper.mend(empty) == empty
    keeper.mend(done(0))
    whole = event("response.completed", response={"output": [ITEMS[1]]})
    assert keeper.mend(whole) == whole


def test_a_missing_output_is_filled_in() -> None:
    """As an empty one."""
    keeper = ItemKeeper()
    keeper.mend(done(0))
    assert json.loads(keeper.mend(event("response.completed", response={"id": "r"})))["response"]["output"] == [
        ITEMS[0]
    ]


@given(st.binary() | st.sampled_from([b'{"type":"response.completed"}', b'{"type":"response.output_item.done"}']))
def test_garbage_is_passed_on(data: bytes) -> None:
    """Nothing is raised: whether it is an answer the decoder has said."""
    keeper = ItemKeeper()
    keeper.mend(done(0))
    assert keeper.mend(data) == data


def test_an_output_is_taken_over_whole() -> None:
    """From the last event of a stream, with items that nobody knows; what cannot be read changes nothing."""
    body = json.dumps({"id": "resp_1", "output": [], "usage": {"a": 1}}).encode()
    last = event("response.completed", response={"output": [*ITEMS, {"type": "compaction"}]})
    assert json.loads(with_output(body, last)) == {
        "id": "resp_1", "output": [*ITEMS, {"type": "compaction"}], "usage": {"a": 1}
    }  # fmt: skip
    for wrong in (b"", b"{}", b'{"response":3}', b'{"response":{}}'):
        assert with_output(body, wrong) == body


@pytest.mark.parametrize("usage", [{"input_tokens": 4, "output_tokens": 2, "total_tokens": 6}, {
    "input_tokens": 4, "input_tokens_details": {"cached_tokens": 3}, "output_tokens": 2,
    "output_tokens_details": {"reasoning_tokens": None}, "total_tokens": 6,
}])  # fmt: skip
def test_the_details_of_usage_are_numbers(usage: dict[str, Any]) -> None:
    """The SDKs read them without a look; what was told stays, and a usage that was not told is not made up."""
    keeper = ItemKeeper()
    found = json.loads(keeper.mend(event("response.completed", response={"usage": usage})))["response"]["usage"]
    ResponseUsage.model_validate(found, strict=True)
    assert found["input_tokens_details"]["cached_tokens"] == (3 if "input_tokens_details" in usage else 0)
    assert found["total_tokens"] == 6
    for other in (None, 3):
        silent = event("response.completed", response={"usage": other})
        assert keeper.mend(silent) == silent
