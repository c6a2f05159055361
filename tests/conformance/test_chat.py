"""hermes_router/conformance/chat.py: completions and chunks, right and broken."""

from typing import Any

import pytest

from hermes_router.conformance.answer import Answer, Call, Usage, Wrong
from hermes_router.conformance.chat import Chat

from .good import CHAT, CHAT_CALL, CHAT_CALLS_STREAM, CHAT_STREAM, CHAT_USAGE, but, chunk, framed, having, without

KINDS = ("envelope", "content", "grammar", "usage")
USAGE_CHUNK = {**chunk({}), "choices": [], "usage": CHAT_USAGE}


def read(events: list[Any]) -> Answer:
    return Chat().stream(framed(events, named=False))


def test_a_good_completion_has_no_fault() -> None:
    """Text, calls, end, name and usage are read as they stand, and the answer can be sent back as a turn."""
    text, call = Chat().whole(CHAT), Chat().whole(CHAT_CALL)
    assert (text.faults, call.faults) == ((), ())
    assert (text.text, text.finish, text.model, text.usage) == ("Hello!", "stop", "m", Usage(7, 2))
    assert (call.calls, call.finish) == ((Call("call_1", "weather", '{"city":"Oslo"}'),), "calls")
    assert call.turn[0]["tool_calls"][0]["id"] == "call_1"


def test_a_good_stream_has_no_fault() -> None:
    """Text and two calls add up; usage in a last chunk of its own is no fault."""
    assert read(CHAT_STREAM).faults == ()
    assert read(CHAT_STREAM).text == "Hello!"
    calls = read(CHAT_CALLS_STREAM)
    assert calls.faults == ()
    assert calls.calls == (Call("call_0", "weather", '{"city":"Oslo"}'), Call("call_1", "time", "{}"))
    counted = read([*CHAT_STREAM[:-1], USAGE_CHUNK, CHAT_STREAM[-1]])
    assert (counted.faults, counted.usage) == ((), Usage(7, 2))


WHOLE: list[tuple[Any, str, str]] = [
    *((without(CHAT, name), "envelope", f"{name} is missing") for name in ("id", "object", "created", "model")),
    (having(CHAT, "chat.completion.chunk", "object"), "envelope", 'object should be "chat.completion"'),
    (having(CHAT, "1", "created"), "envelope", "created should be a whole number"),
    (without(CHAT, "choices", 0, "index"), "envelope", "choices[0].index is missing"),
    (having(CHAT, "eos", "choices", 0, "finish_reason"), "envelope", "choices[0].finish_reason should be"),
    (without(CHAT, "choices", 0, "message", "content"), "content", "choices[0].message.content is missing"),
    (having(CHAT, [], "choices", 0, "message", "content"), "content", "content should be a string"),
    (without(CHAT, "usage"), "usage", "usage should be an object"),
    (having(CHAT, 8, "usage", "total_tokens"), "usage", "total_tokens is not prompt and completion"),
    (without(CHAT_CALL, "choices", 0, "message", "tool_calls", 0, "id"), "content", "tool_calls[0].id is missing"),
    (without(CHAT_CALL, "choices", 0, "message", "tool_calls", 0, "type"), "content", "an object with a type"),
    (having(CHAT_CALL, '{"city":', "choices", 0, "message", "tool_calls", 0, "function", "arguments"), "content",
     "arguments should be valid JSON"),
    (having(CHAT_CALL, {"city": "Oslo"}, "choices", 0, "message", "tool_calls", 0, "function", "arguments"), "content",
     "arguments should be a string of JSON"),
]  # fmt: skip


@pytest.mark.parametrize(("body", "kind", "why"), WHOLE, ids=[why for _, _, why in WHOLE])
def test_each_broken_completion_is_told(body: Any, kind: str, why: str) -> None:
    """The fault stands in its own kind, so that a check of something else does not fail with it."""
    answer = Chat().whole(body)
    assert {found for found, _ in answer.faults} == {kind}
    with pytest.raises(Wrong) as told:
        answer.keep(kind)  # type: ignore[arg-type]
    assert why in told.value.why


STREAMS: list[tuple[str, Any, str, str]] = [
    ("no end", CHAT_STREAM[:-1], "grammar", "without data: [DONE]"),
    ("something behind the end", [*CHAT_STREAM, CHAT_STREAM[1]], "grammar", "something follows data: [DONE]"),
    ("no finish", [*CHAT_STREAM[:3], CHAT_STREAM[4]], "grammar", "no chunk gives a finish_reason"),
    ("two finishes", [*CHAT_STREAM[:4], *CHAT_STREAM[3:]], "grammar", "a second finish_reason"),
    ("no role", [CHAT_STREAM[1], *CHAT_STREAM[3:]], "grammar", "no chunk gives the role"),
    ("the role twice", having(CHAT_STREAM, "assistant", 1, "choices", 0, "delta", "role"), "grammar", "the role again"),
    ("another id", having(CHAT_STREAM, "c2", 2, "id"), "grammar", "the id changes"),
    ("another model", having(CHAT_STREAM, "other", 2, "model"), "grammar", "the model changes"),
    ("content behind the finish", [*CHAT_STREAM[:4], CHAT_STREAM[1], CHAT_STREAM[4]], "grammar", "behind the finish"),
    ("no choice index", without(CHAT_STREAM, 1, "choices", 0, "index"), "envelope", "choices[0].index is missing"),
    ("another object", having(CHAT_STREAM, "chat.completion", 1, "object"), "envelope", "object should be"),
    ("a finish of its own", having(CHAT_STREAM, "eos_token", 3, "choices", 0, "finish_reason"), "envelope", "finish_reason"),
    ("usage too early", [CHAT_STREAM[0], USAGE_CHUNK, *CHAT_STREAM[1:]], "grammar", "usage is not in the last chunk"),
    ("no call index", without(CHAT_CALLS_STREAM, 2, "choices", 0, "delta", "tool_calls", 0, "index"), "content",
     "tool_calls[0].index is missing"),
    ("a gap in the call indexes", but(CHAT_CALLS_STREAM, lambda e: [*e[:4], having(e[4], 2, "choices", 0, "delta",
     "tool_calls", 0, "index"), *e[6:]]), "grammar", "index 2 where 1 is next"),
    ("a call's name twice", having(CHAT_CALLS_STREAM, "weather", 2, "choices", 0, "delta", "tool_calls", 0, "function",
     "name"), "grammar", "again, which SDKs add up"),
    ("a call without an id", without(CHAT_CALLS_STREAM, 1, "choices", 0, "delta", "tool_calls", 0, "id"), "content",
     "begins without its id"),
    ("calls that interleave", but(CHAT_CALLS_STREAM, lambda e: [*e[:3], *e[4:6], e[3], *e[6:]]), "grammar",
     "goes back to call 0"),
    ("half a call", but(CHAT_CALLS_STREAM, lambda e: [*e[:3], *e[4:]]), "content", "arguments should be valid JSON"),
]  # fmt: skip


@pytest.mark.parametrize(("events", "kind", "why"), [each[1:] for each in STREAMS], ids=[each[0] for each in STREAMS])
def test_each_broken_stream_is_told(events: Any, kind: str, why: str) -> None:
    """What an SDK would stumble over is named, in its own kind."""
    found = [told for which, told in read(events).faults if which == kind]
    assert any(why in told for told in found), read(events).faults


def test_an_error_in_the_stream_is_no_answer() -> None:
    """A chunk with `error` ends it, and so do a stream and a body without any answer."""
    with pytest.raises(Wrong, match=r"ended in an error: .*boom"):
        read([*CHAT_STREAM[:2], {"error": {"message": "boom"}}])
    for nothing in ([], [CHAT_STREAM[-1]]):
        with pytest.raises(Wrong, match="without a single chunk"):
            read(nothing)
    for broken in ([], {}, {"choices": []}):
        with pytest.raises(Wrong):
            Chat().whole(broken)


def test_errors_have_one_shape() -> None:
    """`{"error": {message, type}}`, and nothing less."""
    assert Chat().error({"error": {"message": "no", "type": "invalid_request_error", "param": None, "code": 7}}) == []
    for broken in ({}, {"error": "no"}, {"error": {"message": "no"}}, {"detail": "no"}, "no"):
        assert Chat().error(broken)


def test_results_name_their_calls() -> None:
    """Each result is a message of its own, with the id of its call."""
    turns = Chat().results(read(CHAT_CALLS_STREAM), ["a", "b"])
    assert [(turn["role"], turn["tool_call_id"], turn["content"]) for turn in turns] == [
        ("tool", "call_0", "a"), ("tool", "call_1", "b"),
    ]  # fmt: skip
