"""hermes_router/conformance/responses.py and responses_stream.py: response objects and their events, right and broken."""

import dataclasses
from typing import Any

import pytest

from hermes_router.conformance.answer import Answer, Call, Usage, Wrong
from hermes_router.conformance.frames import DONE, Frame
from hermes_router.conformance.responses import Responses

from .good import (
    CALL_ITEM,
    RESPONSE,
    RESPONSE_CALL,
    RESPONSE_CALL_STREAM,
    RESPONSE_STREAM,
    THOUGHT_ITEM,
    but,
    framed,
    having,
    response,
    without,
)  # fmt: skip

# Places in the good stream: the lifecycle, a thought (2 to 7), a text (8 to 14), the end.
TEXT_ADDED, PART_ADDED, DELTA, TEXT_DONE, PART_DONE, ITEM_DONE, END = 8, 9, 10, 12, 13, 14, 15


def read(events: list[Any]) -> Answer:
    return Responses().stream(framed(events, named=True))


def numbered(events: list[Any]) -> list[Any]:
    """The same with numbers that have no gap."""
    return [{**event, "sequence_number": at} for at, event in enumerate(events)]


def test_a_good_response_has_no_fault() -> None:
    """Text, thoughts, calls, end and usage are read as they stand; the items are what goes back."""
    text, call = Responses().whole(response(THOUGHT_ITEM, *RESPONSE["output"])), Responses().whole(RESPONSE_CALL)
    assert (text.faults, call.faults) == ((), ())
    assert (text.thoughts, text.text, text.finish, text.usage) == ("hm", "Hello!", "stop", Usage(7, 2))
    assert (call.calls, call.finish) == ((Call("call_1", "weather", '{"city":"Oslo"}'),), "calls")
    assert call.turn == (CALL_ITEM,)
    assert Responses().results(call, ["12 C"])[0]["call_id"] == "call_1"


def test_a_good_stream_has_no_fault() -> None:
    """Every event in its place; `[DONE]` at the end is tolerated."""
    for events in (RESPONSE_STREAM, RESPONSE_CALL_STREAM):
        assert read(events).faults == ()
        assert Responses().stream([*framed(events, named=True), Frame("", DONE)]).faults == ()
    assert (read(RESPONSE_STREAM).thoughts, read(RESPONSE_STREAM).text) == ("hm", "Hello!")


@pytest.mark.parametrize(
    ("more", "finish"),
    [
        ({"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}}, "length"),
        ({"status": "incomplete", "incomplete_details": {"reason": "content_filter"}}, "refusal"),
        ({"status": "cancelled"}, ""),
    ],
)
def test_the_end_is_told_by_the_status(more: Any, finish: str) -> None:
    """`incomplete` says why."""
    assert Responses().whole(response(**more)).finish == finish


WHOLE: list[tuple[Any, str, str]] = [
    *((without(RESPONSE, name), "envelope", f"{name} is missing")
      for name in ("id", "object", "created_at", "model", "parallel_tool_calls", "tool_choice", "tools", "error",
                   "incomplete_details", "instructions", "metadata", "temperature", "top_p")),
    (having(RESPONSE, "done", "status"), "envelope", "status should be"),
    (having(RESPONSE, [{}], "tools"), "envelope", "tools[0].type is missing"),
    (without(RESPONSE, "usage"), "usage", "usage should be an object"),
    (without(RESPONSE, "usage", "input_tokens_details"), "usage", "usage.input_tokens_details is missing"),
    (having(RESPONSE, 3, "usage", "total_tokens"), "usage", "total_tokens is not input and output"),
    (without(RESPONSE, "output", 0, "id"), "content", "output[0].id is missing"),
    (without(RESPONSE, "output", 0, "status"), "content", "output[0].status is missing"),
    (without(RESPONSE, "output", 0, "content", 0, "annotations"), "content", "content[0].annotations is missing"),
    (without(RESPONSE_CALL, "output", 0, "call_id"), "content", "output[0].call_id is missing"),
    (having(RESPONSE_CALL, "{", "output", 0, "arguments"), "content", "arguments should be valid JSON"),
    (without(response(THOUGHT_ITEM), "output", 0, "summary"), "content", "output[0].summary is missing"),
]  # fmt: skip


@pytest.mark.parametrize(("body", "kind", "why"), WHOLE, ids=[why for _, _, why in WHOLE])
def test_each_broken_response_is_told(body: Any, kind: str, why: str) -> None:
    """The fault stands in its own kind."""
    answer = Responses().whole(body)
    assert {found for found, _ in answer.faults} == {kind}
    assert any(why in told for _, told in answer.faults), answer.faults


STREAMS: list[tuple[str, Any, str, str]] = [
    ("no end", RESPONSE_STREAM[:-1], "grammar", "ends without response.completed"),
    ("something behind the end", numbered([*RESPONSE_STREAM, RESPONSE_STREAM[1]]), "grammar", "follows the response's end"),
    ("no response.created", numbered(RESPONSE_STREAM[1:]), "grammar", "the first event should be response.created"),
    ("response.created twice", numbered([RESPONSE_STREAM[0], *RESPONSE_STREAM]), "grammar", "response.created again"),
    ("a gap in the numbers", [*RESPONSE_STREAM[:4], *RESPONSE_STREAM[5:]], "grammar", "has the sequence_number 5"),
    ("no number", without(RESPONSE_STREAM, 3, "sequence_number"), "grammar", "has the sequence_number null"),
    ("another id", having(RESPONSE_STREAM, "resp_2", END, "response", "id"), "grammar", "the response's id changes"),
    ("another status", having(RESPONSE_STREAM, "in_progress", END, "response", "status"), "grammar", "with the status"),
    ("an output index twice", having(RESPONSE_STREAM, 0, TEXT_ADDED, "output_index"), "grammar", "output_index 0: 1 is next"),
    ("an item that was not added", having(RESPONSE_STREAM, 5, DELTA, "output_index"), "grammar", "which was not added"),
    ("another item's id", having(RESPONSE_STREAM, "msg_9", DELTA, "item_id"), "grammar", "the item is msg_1"),
    ("text without its part", numbered([*RESPONSE_STREAM[:PART_ADDED], *RESPONSE_STREAM[PART_ADDED + 1 :]]), "grammar",
     "part 0, which is not open"),
    ("a part that is not closed", numbered([*RESPONSE_STREAM[:PART_DONE], *RESPONSE_STREAM[PART_DONE + 1 :]]), "grammar",
     "whose parts are open"),
    ("a part's index", having(RESPONSE_STREAM, 1, PART_ADDED, "content_index"), "grammar", "adds part 1 where 0 is next"),
    ("a text that is another", having(RESPONSE_STREAM, "Bye", TEXT_DONE, "text"), "grammar", 'with "Bye"; its deltas were'),
    ("an item that is another", having(RESPONSE_STREAM, "Bye", ITEM_DONE, "item", "content", 0, "text"), "grammar",
     'with "Bye"; its deltas were'),
    ("an item with another id", having(RESPONSE_STREAM, "msg_9", ITEM_DONE, "item", "id"), "grammar", "as another"),
    ("an item that is never done", numbered([*RESPONSE_STREAM[:ITEM_DONE], RESPONSE_STREAM[END]]), "grammar",
     "no response.output_item.done"),
    ("an end without the items", having(RESPONSE_STREAM, [], END, "response", "output"), "grammar", "lists the items []"),
    ("an end that tells them otherwise", having(RESPONSE_STREAM, "incomplete", END, "response", "output", 1, "status"),
     "grammar", "otherwise than its response.output_item.done"),
    ("a delta without logprobs", without(RESPONSE_STREAM, DELTA, "logprobs"), "envelope", "logprobs is missing"),
    ("a delta without its item", without(RESPONSE_STREAM, DELTA, "item_id"), "envelope", "item_id is missing"),
    ("a start that is no response", without(RESPONSE_STREAM, 0, "response", "tools"), "envelope", "tools is missing"),
    ("arguments that are others", having(RESPONSE_CALL_STREAM, "{}", 5, "arguments"), "grammar", 'with "{}"; its deltas'),
    ("a second item with one id", but(RESPONSE_STREAM, lambda e: having(e, "rs_1", TEXT_ADDED, "item", "id")), "grammar",
     "a second item with the id rs_1"),
]  # fmt: skip


@pytest.mark.parametrize(("events", "kind", "why"), [each[1:] for each in STREAMS], ids=[each[0] for each in STREAMS])
def test_each_broken_stream_is_told(events: Any, kind: str, why: str) -> None:
    """What an SDK would stumble over is named, in its own kind."""
    found = [told for which, told in read(events).faults if which == kind]
    assert any(why in told for told in found), read(events).faults


def test_event_lines_equal_the_types() -> None:
    """A frame whose `event:` line is missing is a fault."""
    good = framed(RESPONSE_STREAM, named=True)
    frames = [*good[:DELTA], dataclasses.replace(good[DELTA], name=""), *good[DELTA + 1 :]]
    ((kind, why),) = Responses().stream(frames).faults
    assert (kind, "has `event: `" in why) == ("grammar", True)


def test_a_failure_is_no_answer() -> None:
    """An error event, response.failed and a failed response each end the reading."""
    failed = having(RESPONSE_STREAM[END], "failed", "response", "status")
    failed = having(failed, {"code": "server_error", "message": "boom"}, "response", "error")
    for last in ({"type": "error", "message": "boom", "sequence_number": 2}, {**failed, "type": "response.failed"}):
        with pytest.raises(Wrong, match=r"ended in an error: .*boom"):
            read([*RESPONSE_STREAM[:2], last])
    with pytest.raises(Wrong, match=r"failed: .*boom"):
        Responses().whole(failed["response"])
    with pytest.raises(Wrong, match="without a single event"):
        read([])
    with pytest.raises(Wrong, match="without a list `output`"):
        Responses().whole({"output": "Hello!"})
