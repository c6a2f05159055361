"""hermes_router/conformance/messages.py: messages and their events, right and broken."""

import dataclasses
from typing import Any

import pytest

from hermes_router.conformance.answer import Answer, Call, Usage, Wrong
from hermes_router.conformance.frames import Frame
from hermes_router.conformance.messages import Messages

from .good import MESSAGE, MESSAGE_CALL, MESSAGE_CALL_STREAM, MESSAGE_STREAM, but, framed, having, without


def read(events: list[Any]) -> Answer:
    return Messages().stream(framed(events, named=True))


def test_a_good_message_has_no_fault() -> None:
    """Text, calls, end and usage are read as they stand."""
    text, call = Messages().whole(MESSAGE), Messages().whole(MESSAGE_CALL)
    assert (text.faults, call.faults) == ((), ())
    assert (text.text, text.finish, text.model, text.usage) == ("Hello!", "stop", "m", Usage(7, 2))
    assert (call.calls, call.finish) == ((Call("toolu_1", "weather", '{"city": "Oslo"}'),), "calls")
    (turn,) = Messages().results(call, ["12 C"])
    assert turn["content"] == [{"type": "tool_result", "tool_use_id": "toolu_1", "content": "12 C"}]


def test_a_good_stream_has_no_fault() -> None:
    """A thought, a text and a call add up; usage is that of the end, with what only the start told."""
    text, call = read(MESSAGE_STREAM), read(MESSAGE_CALL_STREAM)
    assert (text.faults, call.faults) == ((), ())
    assert (text.thoughts, text.text, text.finish, text.usage) == ("hm", "Hello!", "stop", Usage(7, 2))
    assert (call.calls, call.finish) == ((Call("toolu_1", "weather", '{"city": "Oslo"}'),), "calls")


WHOLE: list[tuple[Any, str, str]] = [
    *((without(MESSAGE, name), "envelope", f"{name} is missing")
      for name in ("id", "type", "role", "model", "stop_reason", "stop_sequence")),
    (having(MESSAGE, "stop", "stop_reason"), "envelope", "stop_reason should be"),
    (having(MESSAGE, None, "stop_reason"), "envelope", "stop_reason should be"),
    (without(MESSAGE, "usage"), "usage", "usage should be an object"),
    (without(MESSAGE, "usage", "output_tokens"), "usage", "usage.output_tokens is missing"),
    (without(MESSAGE, "content", 0, "text"), "content", "content[0].text is missing"),
    (having(MESSAGE_CALL, '{"city": "Oslo"}', "content", 0, "input"), "content", "content[0].input should be an object"),
    (without(MESSAGE_CALL, "content", 0, "id"), "content", "content[0].id is missing"),
]  # fmt: skip


@pytest.mark.parametrize(("body", "kind", "why"), WHOLE, ids=[why for _, _, why in WHOLE])
def test_each_broken_message_is_told(body: Any, kind: str, why: str) -> None:
    """The fault stands in its own kind."""
    answer = Messages().whole(body)
    assert {found for found, _ in answer.faults} == {kind}
    assert any(why in told for _, told in answer.faults), answer.faults


DELTA = 7  # the first text_delta of the good stream
STREAMS: list[tuple[str, Any, str, str]] = [
    ("no message_stop", MESSAGE_STREAM[:-1], "grammar", "ends without message_stop"),
    ("no message_delta", [*MESSAGE_STREAM[:-2], MESSAGE_STREAM[-1]], "grammar", "without a message_delta"),
    ("something behind the end", [*MESSAGE_STREAM, MESSAGE_STREAM[2]], "grammar", "follows message_stop"),
    ("message_start late", [MESSAGE_STREAM[2], MESSAGE_STREAM[0], *MESSAGE_STREAM[3:]], "grammar", "before message_start"),
    ("message_start twice", [MESSAGE_STREAM[0], *MESSAGE_STREAM], "grammar", "a second message_start"),
    ("a wrong index", having(MESSAGE_STREAM, 2, 6, "index"), "grammar", "has index 2 where 1 is next"),
    ("a delta of another block", having(MESSAGE_STREAM, 0, DELTA, "index"), "grammar", "block 0, which is not open"),
    ("a block that is never closed", [*MESSAGE_STREAM[:5], *MESSAGE_STREAM[6:]], "grammar", "a block inside another"),
    ("a delta of another kind", having(MESSAGE_STREAM, {"type": "thinking_delta", "thinking": "x"}, DELTA, "delta"),
     "grammar", 'a thinking_delta in a block of the kind "text"'),
    ("a thought behind its signature", but(MESSAGE_STREAM, lambda e: [*e[:3], e[4], e[3], *e[5:]]), "grammar", "behind the block's signature"),
    ("a start with content", having(MESSAGE_STREAM, [{"type": "text", "text": "x"}], 0, "message", "content"), "grammar",
     "has content already"),
    ("a start with its end", having(MESSAGE_STREAM, "end_turn", 0, "message", "stop_reason"), "envelope",
     "stop_reason should be null"),
    ("a start without usage", without(MESSAGE_STREAM, 0, "message", "usage"), "envelope", "usage is missing"),
    ("an end without usage", without(MESSAGE_STREAM, -2, "usage"), "envelope", "usage is missing"),
    ("a delta without its text", without(MESSAGE_STREAM, DELTA, "delta", "text"), "content", "delta.text should be a string"),
    ("a call without an id", without(MESSAGE_CALL_STREAM, 1, "content_block", "id"), "content", "id is missing"),
    ("half a call", [*MESSAGE_CALL_STREAM[:3], *MESSAGE_CALL_STREAM[4:]], "content", "not valid JSON"),
]  # fmt: skip


@pytest.mark.parametrize(("events", "kind", "why"), [each[1:] for each in STREAMS], ids=[each[0] for each in STREAMS])
def test_each_broken_stream_is_told(events: Any, kind: str, why: str) -> None:
    """What an SDK would stumble over is named, in its own kind."""
    found = [told for which, told in read(events).faults if which == kind]
    assert any(why in told for told in found), read(events).faults


def test_event_lines_are_compulsory() -> None:
    """A frame without its `event:` line, or with another one, is a fault: the SDK skips it."""
    good = framed(MESSAGE_STREAM, named=True)
    for name, why in (("", "no `event:` line"), ("message", "the line `event: message`")):
        frames = [*good[:DELTA], dataclasses.replace(good[DELTA], name=name), *good[DELTA + 1 :]]
        ((kind, told),) = Messages().stream(frames).faults
        assert kind == "grammar"
        assert why in told


def test_an_error_in_the_stream_is_no_answer() -> None:
    """The error event ends it, and a stream without a message is none."""
    error = {"type": "error", "error": {"type": "overloaded_error", "message": "boom"}}
    with pytest.raises(Wrong, match=r"ended in an error: .*boom"):
        read([*MESSAGE_STREAM[:3], error])
    with pytest.raises(Wrong, match="without message_start"):
        read([])
    with pytest.raises(Wrong, match="should be a JSON object"):
        Messages().stream([Frame("x", 7)])
    with pytest.raises(Wrong, match="without a list `content`"):
        Messages().whole({"content": "Hello!"})


def test_errors_have_one_shape() -> None:
    """`{"type": "error", "error": {type, message}}`, and nothing less."""
    good = {"type": "error", "error": {"type": "invalid_request_error", "message": "no"}, "request_id": "r"}
    assert Messages().error(good) == []
    for broken in ({"error": {"type": "x", "message": "no"}}, {"type": "error", "error": "no"}, []):
        assert Messages().error(broken)
