"""hermes_router/wire/responses/turn.py: bytes cut and joined, so that a turn by id is a turn with all that was said."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from hermes_router.core.errors import BadRequest
from hermes_router.wire.responses.turn import (
    Ended,
    Past,
    Turn,
    ended,
    ended_stream,
    items_of,
    mend_body,
    mend_event,
    own_place,
    told_of,
    with_past,
)

VALUES: Any = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
ITEMS = st.lists(st.dictionaries(st.text(), VALUES, max_size=3), max_size=4)
MEMBERS = {"id": "resp_1", "object": "response", "status": "completed", "output": [{"type": "message"}]}


@given(st.lists(ITEMS, max_size=4), ITEMS, st.sampled_from([None, 1]))
def test_turns_are_joined_in_order(turns: list[Any], own: list[Any], indent: int | None) -> None:
    """Whatever the items hold and however they are spaced: the input is all of them, the oldest first."""
    cut = [items_of(Raw(json.dumps(items, indent=indent).encode())) for items in turns]
    assert None not in cut
    mine = items_of(Raw(json.dumps(own, indent=indent).encode()))
    whole = with_past(Past("resp_1", [each or b"" for each in cut], ""), mine or b"")
    assert json.loads(bytes(whole)) == [item for items in [*turns, own] for item in items]


@given(st.text())
def test_a_text_is_the_message_of_a_user(text: str) -> None:
    """As the dialect has it."""
    found = items_of(Raw(json.dumps(text).encode()))
    assert json.loads(found or b"") == {"type": "message", "role": "user", "content": text}


@pytest.mark.parametrize(
    ("raw", "items"), [(None, b""), (b"null", b""), (b" [ ] ", b""), (b"3", None), (b"{}", None), (b"true", None)]
)
def test_nothing_is_no_items_and_another_value_is_no_input(raw: bytes | None, items: bytes | None) -> None:
    """None tells a value that the parser is to name."""
    assert items_of(None if raw is None else Raw(raw)) == items


@pytest.mark.parametrize(
    ("param", "place"),
    [
        ("input[5].content[0].text", "input[3].content[0].text"),
        ("input[2]", "input[0]"),
        ("tools[5]", "tools[5]"),
        ("input[1].content", "previous_response_id"),
        (None, None),
    ],
)
def test_a_fault_is_counted_from_the_callers_own_items(param: str | None, place: str | None) -> None:
    """One in an earlier turn is the reference's; other fields and what else the error says stay."""
    past = Past("resp_1", [b'{"a":1},{"a":"]"}', b""], "")
    moved = own_place(BadRequest(f"{param} must be a string", param=param, code="c", should_retry=False), past)
    assert (moved.param, moved.code, moved.should_retry) == (place, "c", False)
    if place == "previous_response_id":
        assert moved.message == "an item of an earlier turn.content must be a string"
    else:
        assert moved.message == f"{place} must be a string"


# --- what the caller is told ------------------------------------------------------------------------

TURNS = st.builds(Turn, st.sampled_from(["", "resp_0", 'r"\\1']), st.booleans())
SAID = {"previous_response_id", "store"}


@given(
    TURNS,
    st.dictionaries(st.text() | st.sampled_from(sorted(SAID)), VALUES, max_size=4),
    st.sampled_from([{}, {"store": False}, {"previous_response_id": None, "store": True}]),
    st.sampled_from([None, 1]),
)
def test_a_response_says_what_is_true_here(turn: Turn, odd: Any, own: Any, indent: int | None) -> None:
    """In an event and in a whole body, whatever else stands there: those two members change, and nothing besides."""
    response = {**MEMBERS, "tools": [{"parameters": odd}], **own, "metadata": odd}
    said = {"previous_response_id": turn.previous or None, "store": turn.kept}
    told = json.loads(mend_body(json.dumps(response, indent=indent).encode(), turn))
    assert told["previous_response_id"] == said["previous_response_id"] or SAID & odd.keys()
    if not _mentions(odd):
        assert told == {**response, **said}
        event = {"type": "response.created", "response": response, "sequence_number": 3}
        data = mend_event(json.dumps(event, indent=indent).encode(), turn)
        assert json.loads(data) == {**event, "response": {**response, **said}}


def _mentions(value: Any) -> bool:
    text = json.dumps(value)
    return any(word in text for word in SAID)


def test_members_of_tools_are_not_taken_for_the_responses() -> None:
    """A tool with a parameter `store` leaves the response's own to be found."""
    properties = {"store": {"type": "boolean"}, "previous_response_id": {"type": "string"}}
    response = {**MEMBERS, "tools": [{"properties": properties, "default": {"store": False}}], "store": False}
    told = json.loads(mend_body(json.dumps(response).encode(), Turn("resp_0", kept=True)))
    assert told == {**response, "store": True, "previous_response_id": "resp_0"}


def test_what_only_looks_like_a_member_is_left_alone() -> None:
    """Metadata of the caller's may use our words."""
    response = {
        "id": "resp_1",
        "metadata": {"previous_response_id": "mine", "store": "x"},
        "store": False,
        "output": [],
    }
    told = json.loads(mend_body(json.dumps(response).encode(), Turn("resp_0", kept=True)))
    assert told["metadata"] == response["metadata"]
    assert (told["previous_response_id"], told["store"]) == ("resp_0", True)


@pytest.mark.parametrize("data", [b"", b"{", b"[1]", b'{"type":"x"}', b'{"response":3}', b"\xff", b'{"response":null}'])
def test_what_holds_no_response_stays_as_it_is(data: bytes) -> None:
    """Nothing is made up, nothing raises."""
    assert mend_event(data, Turn("resp_0", kept=True)) == data
    if data != b'{"type":"x"}' and b"response" not in data:
        assert mend_body(data, Turn("resp_0", kept=True)) == data


def test_the_members_of_a_response() -> None:
    """As JSON, for whoever writes the object."""
    assert {name: bytes(raw) for name, raw in told_of(Turn()).items()} == {
        "previous_response_id": b"null",
        "store": b"false",
    }
    assert bytes(told_of(Turn("resp_0", kept=True))["previous_response_id"]) == b'"resp_0"'


# --- the answer -------------------------------------------------------------------------------------


def body(**members: Any) -> bytes:
    return json.dumps({**MEMBERS, **members}).encode()


def test_a_good_end_is_kept_whole() -> None:
    """Completed, or cut at its length; the object as it was told, and its items without the brackets."""
    for members in ({}, {"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}}):
        data = body(**members)
        assert ended(data) == Ended("resp_1", data, b'{"type": "message"}')


@pytest.mark.parametrize(
    "members",
    [
        {"status": "failed"}, {"status": "in_progress"}, {"status": None}, {"status": ["completed"]},
        {"status": "incomplete"}, {"status": "incomplete", "incomplete_details": {"reason": "content_filter"}},
        {"status": "incomplete", "incomplete_details": "max_output_tokens"},
        {"id": ""}, {"id": None}, {"output": []}, {"output": None}, {"output": "text"[:0]},
    ],
)  # fmt: skip
def test_any_other_end_leaves_nothing(members: dict[str, Any]) -> None:
    """Failed, filtered, empty, nameless, or nothing that can be read."""
    assert ended(body(**members)) is None


@pytest.mark.parametrize("data", [b"", b"[]", b"{", b"\xff", b"[" * 5_000])
def test_what_is_no_response_leaves_nothing(data: bytes) -> None:
    """Never an exception."""
    assert ended(data) is None
    assert ended_stream(b"event: x\ndata: " + data + b"\n\n") is None
    assert ended_stream(data) is None


@pytest.mark.parametrize("comment", [b"", b": hermes target=a/b attempts=2\n\n"])
def test_the_end_of_a_stream_is_its_last_event(comment: bytes) -> None:
    """With our comment before it or not, in one line or in several."""
    response = json.dumps(MEMBERS, indent=1)
    event = f'{{"type":"response.completed","response":{response}}}'.replace("\n", "\ndata: ")
    found = ended_stream(comment + f"event: response.completed\ndata: {event}\n\n".encode())
    assert found is not None
    assert (found.id, json.loads(found.response), json.loads(found.output)) == ("resp_1", MEMBERS, {"type": "message"})
