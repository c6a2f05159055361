"""Chunks to neutral events: every upstream oddity straightened once, and a missing end never an end."""

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermes_router.core.errors import (
    ContentFiltered,
    EmptyReply,
    Malformed,
    ServerFailed,
    Truncated,
    UpstreamError,
)
from hermes_router.core.events import (
    BlockKind,
    ChatEvent,
    Failed,
    Finish,
    Finished,
    Started,
    Usage,
    UsageSeen,
    fold,
)
from hermes_router.wire.sse import Frame

from ..grammar import check_events
from ..streams import NOW, call, chunk, decode, decoder, say


def verdict(events: list[ChatEvent]) -> Finish | UpstreamError:
    """The end of a stream whose grammar is right."""
    check_events(events)
    last = events[-1]
    return last.reason if isinstance(last, Finished) else last.error  # type: ignore[union-attr]


def shape(events: list[ChatEvent]) -> list[tuple[str, str]]:
    """(kind, text) of the blocks."""
    return [(block.kind.value, block.text) for block in fold(events).blocks]


# --- what is said ----------------------------------------------------------------------------------


def test_ll10_reasoning_and_text_are_blocks_of_their_own() -> None:
    """Reasoning in any of its fields opens a block of its own; it never lands in a text block (providers.md 7)."""
    for field in ("reasoning_content", "reasoning"):
        events = decode(
            chunk({"role": "assistant", "content": None, field: "a"}),
            chunk({field: "b"}),
            chunk({"content": "x"}),
            chunk({"content": "y"}, "stop"),
        )
        assert verdict(events) is Finish.STOP
        assert shape(events) == [("reasoning", "ab"), ("text", "xy")]
    both = decode(chunk({"reasoning_content": "a", "reasoning": "a", "content": "x"}, "stop"))
    assert shape(both) == [("reasoning", "a"), ("text", "x")]


def test_mistral_thinking_parts_are_reasoning() -> None:
    """Content that is a list of thinking and text parts is taken apart (providers.md 3.7)."""
    think = {"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "a"}]}]}
    assert shape(decode(chunk(think), chunk({"content": "x"}, "stop"))) == [("reasoning", "a"), ("text", "x")]


def test_reasoning_details_are_kept_for_the_next_turn() -> None:
    """OpenRouter's `reasoning_details` come out as they came, with the text beside them (providers.md 7)."""
    detail = [{"type": "reasoning.text", "text": "a", "index": 0}]
    events = decode(chunk({"reasoning": "a", "reasoning_details": detail}), chunk({"content": "x"}, "stop"))
    blocks = fold(events).blocks
    assert blocks[0].extras == {"reasoning_details": detail}
    assert shape(events) == [("reasoning", "a"), ("text", "x")]


def test_think_tags_are_split_where_the_row_says_so() -> None:
    """Tags that are cut over chunks become a reasoning block; without the quirk they are text."""
    frames = [chunk({"content": piece}) for piece in ("<th", "ink>a</", "think>", "\n\n", "x")]
    assert shape(decode(*frames, chunk({}, "stop"), think_tags=("<think>", "</think>"))) == [
        ("reasoning", "a"),
        ("text", "x"),
    ]
    assert shape(decode(*frames, chunk({}, "stop"))) == [("text", "<think>a</think>\n\nx")]


def test_the_identity_is_that_of_the_first_chunk_with_a_choice() -> None:
    """A frame that some send ahead (no choices, no model) does not say who answers; what is missing is made up."""
    ahead = {"id": "", "object": "", "created": 0, "model": "", "choices": [], "prompt_filter_results": []}
    assert decode(ahead, *say("x"), chunk({}, "stop"))[0] == Started("chatcmpl-up", "up-1", NOW - 5)
    nameless = {"choices": [{"delta": {"content": "x"}, "finish_reason": "stop"}]}
    started = decode(nameless, model="row-model")[0]
    assert isinstance(started, Started)
    assert started.id.startswith("chatcmpl-")
    assert (started.model, started.created) == ("row-model", NOW)


def test_cp8_usage_in_every_chunk_is_cumulative_and_closes_nothing() -> None:
    """The last usage counts, it never falls, and a tool block stays open through it (CP-8, providers.md 6)."""
    usage = [{"prompt_tokens": 9, "completion_tokens": n} for n in (1, 2, 3)]
    events = decode(
        chunk(call(0, "a", "f", ""), usage=usage[0]),
        chunk(call(0, None, None, '{"a":'), usage=usage[1]),
        chunk(call(0, None, None, "1}"), usage=usage[2]),
        chunk({}, "tool_calls", usage=usage[0]),
        {"id": "x", "choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 4}},
    )
    assert verdict(events) is Finish.TOOL_CALLS
    assert shape(events) == [("tool_call", '{"a":1}')]
    assert [e.usage.output_tokens for e in events if isinstance(e, UsageSeen)] == [1, 2, 3, 4]
    assert fold(events).usage == Usage(9, 4)


def test_kimi_puts_usage_into_the_choice() -> None:
    """`choices[0].usage` is read (providers.md 6)."""
    last = chunk({}, "stop")
    last["choices"][0]["usage"] = {"prompt_tokens": 3, "completion_tokens": 2}
    assert fold(decode(*say("x"), last)).usage == Usage(3, 2)


def test_text_in_the_middle_of_a_call_waits_until_the_call_is_whole() -> None:
    """9R-6: a call is never closed before its arguments are whole, whatever else is said in between."""
    events = decode(
        chunk(call(0, "a", "f", '{"a":')),
        chunk({"content": "meanwhile"}),
        chunk(call(0, None, None, "1}")),
        chunk({"content": " more"}),
        chunk({}, "tool_calls"),
    )
    assert verdict(events) is Finish.TOOL_CALLS
    assert shape(events) == [("tool_call", '{"a":1}'), ("text", "meanwhile more")]


def test_line_feeds_around_calls_are_dropped() -> None:
    """Templates leave white space between calls: it is no block."""
    events = decode(chunk(call(0, "a", "f", "{}")), chunk({"content": "\n"}), chunk(call(1, "b", "g", "{}"), "stop"))
    assert shape(events) == [("tool_call", "{}"), ("tool_call", "{}")]


def test_a_call_without_arguments_before_text_is_whole() -> None:
    """Text behind a call without arguments comes out, and the call has an object (providers.md 12.14 no. 2)."""
    events = decode(chunk(call(0, "a", "f", "")), chunk({"content": "x"}), chunk({}, "tool_calls"))
    assert shape(events) == [("tool_call", "{}"), ("text", "x")]


def test_legacy_function_call_deltas_are_a_tool_call() -> None:
    """`function_call` in pieces, and its finish reason, are understood (providers.md 6)."""
    events = decode(
        chunk({"function_call": {"name": "f", "arguments": ""}}),
        chunk({"function_call": {"arguments": "{}"}}),
        chunk({}, "function_call"),
    )
    assert verdict(events) is Finish.TOOL_CALLS
    assert shape(events) == [("tool_call", "{}")]


def test_deltas_behind_the_finish_are_ignored() -> None:
    """The answer ended with its finish reason; usage may follow, text may not."""
    late = chunk({}, usage={"prompt_tokens": 1, "completion_tokens": 1})
    events = decode(*say("x"), chunk({}, "stop"), chunk({"content": "late"}), late)
    assert shape(events) == [("text", "x")]
    assert fold(events).usage == Usage(1, 1)


# --- how it ends -----------------------------------------------------------------------------------


@pytest.mark.parametrize("clean", [True, False])
def test_9r10_ha2_no_finish_reason_is_no_end(clean: bool) -> None:
    """Not even with `[DONE]`: the stream is cut (9R-10, HA-2)."""
    for frames in (say("x"), [*say("x"), chunk({"content": "y"}, None)], [], say()):
        assert isinstance(verdict(decode(*frames, clean=clean)), Truncated)


def test_a_finish_reason_stands_though_the_connection_was_reset_behind_it() -> None:
    """No `[DONE]`, or a reset before it: the answer was whole (providers.md 6)."""
    assert verdict(decode(*say("x"), chunk({}, "stop"), clean=False)) is Finish.STOP


def test_pi1_whole_calls_without_a_reason_are_an_end_cut_ones_are_not() -> None:
    """NVIDIA NIM: complete arguments finish with tool_calls, incomplete ones are an error; so is a reset (PI-1)."""
    whole = chunk(call(0, "a", "f", '{"a":1}'))
    assert verdict(decode(whole, bare_end=True)) is Finish.TOOL_CALLS
    assert isinstance(verdict(decode(whole, clean=False, bare_end=True)), Truncated)
    for arguments in ('{"a":', "", None):
        assert isinstance(verdict(decode(chunk(call(0, "a", "f", arguments)), bare_end=True)), Truncated)
    assert isinstance(verdict(decode(whole, chunk(call(1, "b", "g", "")), bare_end=True)), Truncated)
    # Another provider may have been cut behind the first of two calls, and then only [DONE] says that it was not.
    assert isinstance(verdict(decode(whole)), Truncated)
    one = decoder()
    events = [
        event for data in (whole, None) for event in one.feed(Frame(json.dumps(data).encode() if data else b"[DONE]"))
    ]
    assert verdict(events) is Finish.TOOL_CALLS


def test_blank_finish_reasons_are_an_end_only_behind_the_answer() -> None:
    """Some send `""` in every chunk: it ends a stream only where it comes alone, last and cleanly (12.6)."""
    frames = [chunk(frame["choices"][0]["delta"], "") for frame in say("x", "y")]
    assert isinstance(verdict(decode(*frames)), Truncated)
    events = decode(*frames, chunk({}, ""))
    assert verdict(events) is Finish.STOP
    assert shape(events) == [("text", "xy")]
    assert isinstance(verdict(decode(*frames, chunk({}, ""), clean=False)), Truncated)
    assert isinstance(verdict(decode(chunk({"role": "assistant"}, ""))), Truncated)


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        ("stop", Finish.STOP),
        ("eos", Finish.STOP),
        ("STOP", Finish.STOP),
        ("tool_calls", Finish.STOP),
        ("length", Finish.LENGTH),
        ("model_length", Finish.LENGTH),
        ("sensitive", Finish.CONTENT_FILTER),
        ("whatever", Finish.STOP),
    ],
)
def test_finish_words_of_texts(word: str, reason: Finish) -> None:
    """Vendors' words are unified; the raw one is kept; tool_calls without a call is stop (12.6)."""
    events = decode(*say("x"), chunk({}, word))
    assert verdict(events) is reason
    assert events[-1] == Finished(reason, word.lower())


def test_stop_with_calls_is_tool_calls() -> None:
    """If there are calls, the reason must say so (12.6)."""
    assert verdict(decode(chunk(call(0, "a", "f", "{}")), chunk({}, "stop"))) is Finish.TOOL_CALLS


def test_9r6_a_call_cut_at_the_length_keeps_length() -> None:
    """The client must not run half a call: length stays, and nothing is filled in (9R-6, 12.6)."""
    events = decode(chunk(call(0, "a", "f", '{"a":')), chunk(call(1, "b", "g", "")), chunk({}, "length"))
    assert verdict(events) is Finish.LENGTH
    assert shape(events) == [("tool_call", '{"a":'), ("tool_call", "")]
    for word in ("stop", "tool_calls"):
        assert isinstance(verdict(decode(chunk(call(0, "a", "f", '{"a":')), chunk({}, word))), Truncated)


def test_empty_answers_are_failures() -> None:
    """No text and no call, or white space only, or reasoning only: a dead turn, at the length limit too (7)."""
    for delta in ({}, {"content": ""}, {"content": " \n"}, {"reasoning_content": "hm"}):
        for word in ("stop", "length", "tool_calls"):
            assert isinstance(verdict(decode(chunk(delta), chunk({}, word))), EmptyReply)
    assert isinstance(
        verdict(decode(chunk({"tool_calls": [{"index": 0, "id": "a"}]}), chunk({}, "length"))), EmptyReply
    )
    assert isinstance(verdict(decode(chunk({}, "content_filter"))), ContentFiltered)


# --- errors inside a 200 ---------------------------------------------------------------------------

ERRORS: dict[str, Any] = {
    "9r11_empty_choices": {"id": "x", "choices": [], "error": {"code": 502, "message": "m"}},
    "9r11_finish_error": chunk({"content": ""}, "error", error={"code": 502, "message": "m"}),
    "9r11_finish_error_alone": chunk({"content": ""}, "error"),
    "9r11_native_finish": {
        "choices": [{"delta": {}, "finish_reason": "stop", "native_finish_reason": "network_error"}]
    },
    "in_the_choice": {"choices": [{"delta": {}, "finish_reason": None, "error": {"message": "m"}}]},
    "groq": chunk({"content": "x"}, x_groq={"error": "over capacity"}),
    "deepseek": chunk({}, "insufficient_system_resource"),
    "gemini_malformed": chunk({}, "function_call_filter: MALFORMED_FUNCTION_CALL"),
    "vllm": {"object": "error", "message": "m", "type": "BadRequestError", "code": 400},
    "fastapi": {"detail": "m"},
    "a_list": [{"error": {"code": 503}}],
    "choices_of_another_type": {"choices": {"error": "m"}},
    "delta_of_another_type": {"choices": [{"delta": "x"}]},
}


@pytest.mark.parametrize("name", ERRORS)
def test_9r11_error_objects_in_any_place_are_errors(name: str) -> None:
    """Wherever a chunk carries its error, it is raised, as the classifier says (9R-11, providers.md 6)."""
    with pytest.raises(ServerFailed):
        decoder().parse(json.dumps(ERRORS[name]).encode())


def test_the_classifier_gets_the_whole_error() -> None:
    """Codes are what cooldowns are made of: they reach the classifier."""
    seen: list[object] = []
    for name in ("9r11_empty_choices", "vllm"):
        one = decoder()
        one._in_band = lambda error: seen.append(error) or ServerFailed()  # type: ignore[func-returns-value]
        with pytest.raises(ServerFailed):
            one.parse(json.dumps(ERRORS[name]).encode())
    assert [error.get("code") for error in seen if isinstance(error, dict)] == [502, 400]


def test_named_error_events_reach_the_classifier() -> None:
    """`event: error` with any payload (providers.md 6)."""
    one = decoder()
    assert "429" in str(one.named_error(b'{"error":{"code":429}}'))
    assert "busy" in str(one.named_error(b"busy"))
    assert isinstance(one.named_error(b"\xff"), ServerFailed)


@pytest.mark.parametrize(
    "data", [b"<html>", b"{", b'"x"', b"5", b"null", b'{"choices":[{"delta":{"content":"\xff"}}]}', b'{"x":"\xff"}']
)
def test_garbage_is_malformed(data: bytes) -> None:
    """HTML, half a frame, bad UTF-8 anywhere: the provider's fault, by name."""
    with pytest.raises((Malformed, ServerFailed)):
        decoder().parse(data)


def test_falsy_errors_are_none() -> None:
    """`error: null`, `{}` and `""` stand in good chunks of some providers."""
    for nothing in (None, {}, ""):
        assert verdict(decode(chunk({"content": "x"}, "stop", error=nothing))) is Finish.STOP


# --- properties ------------------------------------------------------------------------------------

_text = st.sampled_from(["", " ", "\n", "a", "b<", "<think>", "</think>", "<th", "ink>", "é"])
_odd = st.none() | st.integers(-1, 2) | st.booleans() | _text | st.just({}) | st.just([]) | st.just({"type": "x"})
_arguments = st.sampled_from(["", "{", "}", "{}", '{"a":', "1}", '{"a":1}', None]) | st.just({"a": 1})
_calls = st.lists(
    st.fixed_dictionaries(
        {},
        optional={
            "index": st.sampled_from([0, 0, 1, 2, None]),
            "id": st.sampled_from(["", "a", "b", None]),
            "function": st.fixed_dictionaries(
                {}, optional={"name": st.sampled_from(["f", "g", ""]), "arguments": _arguments}
            ),
        },
    ),
    max_size=3,
)
_delta = st.fixed_dictionaries(
    {},
    optional={
        "role": st.just("assistant"),
        "content": _text | _odd,
        "reasoning_content": _text | _odd,
        "reasoning_details": _odd | st.just([{"text": "x"}]),
        "tool_calls": _calls | _odd,
        "refusal": _odd,
    },
)
_finish = st.sampled_from([None, None, None, "", "stop", "length", "tool_calls", "content_filter", "error"]) | _odd
_choice = st.fixed_dictionaries(
    {"delta": _delta}, optional={"finish_reason": _finish, "index": _odd, "native_finish_reason": _finish}
)
_chunk = st.fixed_dictionaries(
    {"choices": st.lists(_choice, max_size=2)},
    optional={
        "id": _odd,
        "model": _odd,
        "created": _odd,
        "usage": _odd | st.fixed_dictionaries({"prompt_tokens": _odd, "completion_tokens": st.integers(0, 9)}),
        "x_groq": _odd,
    },
)
chunks = st.lists(_chunk, max_size=12)


@given(chunks, st.booleans(), st.booleans())
def test_every_sequence_of_chunks_keeps_the_grammar(frames: list[Any], clean: bool, tags: bool) -> None:
    """Started Block* (Finished | Failed) for whatever an upstream sends; only UpstreamErrors are raised."""
    one = decoder(think_tags=("<think>", "</think>") if tags else None)
    events: list[ChatEvent] = []
    try:
        for frame in frames:
            events.extend(one.events(one.parse(json.dumps(frame).encode())))
    except UpstreamError:
        return
    events.extend(one.finish_stream(clean=clean))
    check_events(events)
    assert one.finish_stream(clean=clean) == []
    answer = fold(events)
    if answer.finish in (Finish.STOP, Finish.TOOL_CALLS):
        for block in answer.blocks:
            if block.kind is BlockKind.TOOL_CALL:
                assert isinstance(json.loads(block.text), dict)
    if isinstance(events[-1], Finished):
        assert answer.text().strip() or any(b.kind is BlockKind.TOOL_CALL for b in answer.blocks)
    elif one.finish is None:
        assert isinstance(events[-1], Failed)


@given(st.binary(max_size=60) | st.recursive(_odd, lambda i: st.lists(i) | st.dictionaries(st.sampled_from(
    ["choices", "delta", "message", "error", "usage", "content", "tool_calls", "finish_reason"]), i)).map(
    lambda value: json.dumps(value).encode()))  # fmt: skip
def test_garbage_raises_only_our_errors(data: bytes) -> None:
    """Whatever a `data:` line holds: a chunk, or an UpstreamError."""
    one = decoder()
    with suppress(UpstreamError):
        one.events(one.parse(data))
