"""Whole answers: a 200 is believed only where it is an answer."""

import json
from typing import Any

import pytest
from hypothesis import given
from openai.types.chat import ChatCompletion

from hermes_router.core.errors import ContentFiltered, EmptyReply, Malformed, ServerFailed, Truncated, UpstreamError
from hermes_router.core.events import BlockKind, Finish, Usage, fold
from hermes_router.wire.chat.unary import Whole, read_answer

from ..grammar import check_events
from ..streams import NOW, decoder
from .test_decoder import chunks

CALL = {"id": "a", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}}
USAGE = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 99}
ESTIMATE = Usage(7, 1, estimated=True)


def answer(message: dict[str, Any] | None = None, finish: str | None = "stop", **more: Any) -> dict[str, Any]:
    """A completion as OpenAI sends it."""
    choice = {"index": 0, "message": {"role": "assistant", "content": "hello"}, "finish_reason": finish}
    choice["message"] = {**choice["message"], **(message or {})}  # type: ignore[dict-item]
    head = {"id": "chatcmpl-up", "object": "chat.completion", "created": NOW, "model": "up-1"}
    return {**head, "choices": [choice], "usage": USAGE, "system_fingerprint": "fp", **more}


def read(body: Any, *, cap: int | None = None, n: int = 1, plain: bool = True, **kw: Any) -> Whole:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return read_answer(raw, decoder(**kw), estimate=ESTIMATE, cap_chars=cap, choices=n, plain=plain)


def message_of(whole: Whole) -> dict[str, Any]:
    """The caller's message, in a body that the SDK takes as it is."""
    body = json.loads(whole.body)
    ChatCompletion.model_validate(body, strict=True)
    return dict(body["choices"][0]["message"])


def test_a_plain_answer_goes_through_byte_for_byte() -> None:
    """Text, and whole calls too, with all that stands beside them."""
    body = json.dumps(answer(), indent=1).encode()
    whole = read(body)
    assert whole.body == body
    assert (whole.usage, whole.model) == (Usage(10, 5), "up-1")
    calls = json.dumps(answer({"content": None, "tool_calls": [CALL]}, "tool_calls")).encode()
    tapped = read(calls)
    assert tapped.body == calls
    assert tapped.answer is not None
    assert [(b.call_id, b.name, b.text) for b in tapped.answer.blocks] == [("a", "f", '{"a":1}')]


ODD: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "reasoning": ({"reasoning": "hm"}, {"role": "assistant", "content": "hello", "reasoning_content": "hm"}),
    "parts": ({"content": [{"type": "text", "text": "x"}]}, {"role": "assistant", "content": "x"}),
    "no_role": ({"role": None}, {"role": "assistant", "content": "hello"}),
    "empty_calls": ({"tool_calls": []}, {"role": "assistant", "content": "hello"}),
}


@pytest.mark.parametrize("name", ODD)
def test_what_is_odd_is_written_anew(name: str) -> None:
    """Fields that callers do not read become those that they do."""
    message, wanted = ODD[name]
    assert message_of(read(answer(message))) == wanted


@pytest.mark.parametrize("missing", ["id", "object", "created", "model"])
def test_what_the_sdk_reads_is_there(missing: str) -> None:
    """A member that an upstream leaves out is filled in."""
    body = answer()
    del body[missing]
    assert message_of(read(body, model="row")) == {"role": "assistant", "content": "hello"}


@pytest.mark.parametrize(
    "calls",
    [
        [{"id": "", "function": {"name": "f", "arguments": {"a": 1}}}],
        [{"function": {"name": "f", "arguments": '{"a":1}'}}],
        [{**CALL, "type": None}],
    ],
)
def test_odd_calls_become_whole_ones(calls: list[Any]) -> None:
    """Ids missing, arguments as an object, no type; `stop` becomes tool_calls (providers.md 6, 12.6)."""
    whole = read(answer({"content": None, "tool_calls": calls}, "stop"))
    (call,) = message_of(whole)["tool_calls"]
    assert (call["type"], call["function"]) == ("function", {"name": "f", "arguments": '{"a":1}'})
    assert call["id"]
    assert json.loads(whole.body)["choices"][0]["finish_reason"] == "tool_calls"


def test_equal_ids_and_empty_arguments_are_straightened() -> None:
    """Two calls with one id are told apart, and no arguments are an empty object."""
    empty = {"id": "a", "type": "function", "function": {"name": "g", "arguments": ""}}
    calls = message_of(read(answer({"tool_calls": [CALL, empty]}, "tool_calls")))["tool_calls"]
    assert len({c["id"] for c in calls}) == 2
    assert calls[1]["function"]["arguments"] == "{}"


def test_tags_are_split_and_a_bare_closing_one_is_understood() -> None:
    """Here the whole text is known, so a missing opening tag does no harm (providers.md 7)."""
    for text in ("<think>hm</think>\nyes", "hm</think>\nyes"):
        message = message_of(read(answer({"content": text}), plain=False, think_tags=("<think>", "</think>")))
        assert (message["reasoning_content"], message["content"]) == ("hm", "yes")


FAILURES: dict[str, tuple[Any, type[UpstreamError]]] = {
    "error_object": ({"error": {"code": 502}}, ServerFailed),
    "9r11_error_beside_choices": (answer(error={"code": 502}), ServerFailed),
    "9r11_finish_error": (answer({"content": ""}, "error"), ServerFailed),
    "in_an_array": ([{"error": {"code": 503}}], ServerFailed),
    "no_choices": (answer(choices=[]), EmptyReply),
    "another_object": ({"hello": 1}, Malformed),
    "empty_text": (answer({"content": ""}), EmptyReply),
    "null": (answer({"content": None}), EmptyReply),
    "white_space": (answer({"content": "\n "}), EmptyReply),
    "reasoning_only": (answer({"content": None, "reasoning_content": "hm"}, "length"), EmptyReply),
    "filtered": (answer({"content": None}, "content_filter"), ContentFiltered),
    "9r6_cut_call": (
        answer({"tool_calls": [{**CALL, "function": {"name": "f", "arguments": '{"a'}}]}, "tool_calls"),
        Truncated,
    ),
    "9r10_no_finish": (answer(finish=None), Truncated),
    "html": (b"<html>", Malformed),
    "nothing": (b"", Malformed),
    "half": (json.dumps(answer()).encode()[:-9], Malformed),
}


@pytest.mark.parametrize("name", FAILURES)
@pytest.mark.parametrize("plain", [True, False])
def test_200s_that_are_no_answers_are_failures(name: str, plain: bool) -> None:
    """An error, nothing, half a call: the next candidate is asked (cases 9R-6, 9R-10, 9R-11)."""
    body, error = FAILURES[name]
    with pytest.raises(error):
        read(body, plain=plain)


def test_missing_usage_is_estimated_and_the_rest_kept() -> None:
    """The caller gets usage in any case; what stands beside the text stays (providers.md 12.7)."""
    for usage in (None, {}, {"prompt_tokens": 0, "completion_tokens": 0}):
        whole = read(answer({"content": "x" * 40}, usage=usage))
        assert whole.usage == Usage(7, 10, estimated=True)
        body = json.loads(whole.body)
        assert body["usage"]["total_tokens"] == 17
        assert body["system_fingerprint"] == "fp"
        assert message_of(whole)["content"] == "x" * 40


def test_text_is_cut_at_the_callers_cap() -> None:
    """Finish is length, calls behind the cut are gone; text that fits is untouched."""
    whole = read(answer({"content": "x" * 9, "tool_calls": [CALL]}, "tool_calls"), cap=8)
    assert message_of(whole) == {"role": "assistant", "content": "x" * 8}
    assert json.loads(whole.body)["choices"][0]["finish_reason"] == "length"
    fits = json.dumps(answer({"content": "x" * 8})).encode()
    assert read(fits, cap=8).body == fits
    with pytest.raises(EmptyReply):
        read(answer({"content": " " * 8 + "x"}), cap=8)


def test_several_choices_go_through_if_each_says_something() -> None:
    """n > 1: as they came; one that is empty, missing or unfinished is a failure."""
    one = answer()["choices"][0]
    two = answer(choices=[one, {**one, "index": 1}])
    body = json.dumps(two).encode()
    assert read(body, n=2).body == body
    assert json.loads(read({**two, "usage": None}, n=2).body)["usage"]["prompt_tokens"] == 7
    with pytest.raises(Truncated):
        read(answer(), n=2)
    with pytest.raises(Truncated):
        read(answer(choices=[one, {**one, "finish_reason": None}]), n=2)
    with pytest.raises(EmptyReply):
        read(answer(choices=[one, {"index": 1, "message": {"content": ""}, "finish_reason": "stop"}]), n=2)


def test_a_whole_answer_becomes_a_stream() -> None:
    """An upstream that answers whole though a stream was asked for (providers.md 6)."""
    body = json.dumps(answer({"reasoning": "hm", "tool_calls": [CALL]}, "tool_calls")).encode()
    events = decoder().whole(body)
    check_events(events)
    folded = fold(events)
    assert [(b.kind, b.text) for b in folded.blocks] == [
        (BlockKind.REASONING, "hm"),
        (BlockKind.TEXT, "hello"),
        (BlockKind.TOOL_CALL, '{"a":1}'),
    ]
    assert folded.finish is Finish.TOOL_CALLS
    with pytest.raises(ServerFailed):
        decoder().whole(b'{"error":{"message":"m"}}')


@given(chunks)
def test_any_body_is_an_answer_or_an_upstream_error(frames: list[Any]) -> None:
    """Nothing else is raised, and what goes out is what the SDK takes."""
    for frame in frames:
        for choice in frame["choices"]:
            choice["message"] = choice.pop("delta")
        for plain in (True, False):
            try:
                whole = read(frame, plain=plain)
            except UpstreamError:
                continue
            body = json.loads(whole.body)
            assert body["usage"] is not None
            assert {"id", "object", "created", "model"} <= set(body)
            assert body["choices"][0]["message"]["role"] == "assistant"
