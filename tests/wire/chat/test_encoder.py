"""Neutral events to chunks, read back by the OpenAI SDK's own accumulator."""

import json
from typing import Any

from msgspec import Raw
from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from hermes_router.core.errors import Truncated
from hermes_router.core.events import (
    Answer,
    Block,
    BlockKind,
    ChatEvent,
    Closed,
    Delta,
    Failed,
    Finish,
    Finished,
    Opened,
    Started,
    Usage,
    UsageSeen,
)
from hermes_router.wire.chat.encoder import DONE, ChatEncoder, custom_names, render_answer, usage_object

from ..grammar import check_caller, frames_of

CALLS: list[ChatEvent] = [
    Opened(BlockKind.TOOL_CALL, "a", "f"),
    Delta('{"x":'),
    Delta("1}"),
    Closed(),
    Opened(BlockKind.TOOL_CALL, "b", "g", {"extra_content": {"google": {"thought_signature": "s"}}}),
    Delta("{}"),
    Closed(),
]
EVENTS: list[ChatEvent] = [
    Started("id-1", 'm"1', 1_790_000_000),
    Opened(BlockKind.REASONING),
    Delta("hm"),
    Closed(),
    Opened(BlockKind.TEXT),
    Delta("he"),
    UsageSeen(Usage(1, 1)),
    Delta("llo \u2028 é"),
    Closed(),
    *CALLS,
    Finished(Finish.TOOL_CALLS),
]


def encode(events: list[ChatEvent], *, include_usage: bool = False) -> bytes:
    encoder = ChatEncoder(include_usage=include_usage)
    return encoder.encode(events) + encoder.end(Usage(10, 5, 4, 2))


def accumulate(sse: bytes) -> Any:
    """What the SDK makes of the frames."""
    state: Any = ChatCompletionStreamState()
    for frame in frames_of(sse):
        state.handle_chunk(ChatCompletionChunk.model_validate(frame, strict=True))
    return state.get_final_completion()


def test_the_sdk_accumulates_the_same_answer() -> None:
    """Text, reasoning and parallel calls come out of the openai SDK as they went in (providers.md 12.10)."""
    sse = encode(EVENTS)
    check_caller(sse)
    final = accumulate(sse)
    message = final.choices[0].message
    assert (final.id, final.model) == ("id-1", 'm"1')
    assert message.content == "hello \u2028 é"
    assert message.reasoning_content == "hm"
    assert [(c.id, c.function.name, c.function.arguments) for c in message.tool_calls] == [
        ("a", "f", '{"x":1}'),
        ("b", "g", "{}"),
    ]
    assert message.tool_calls[1].extra_content == {"google": {"thought_signature": "s"}}
    assert final.choices[0].finish_reason == "tool_calls"


def test_usage_goes_out_only_where_it_was_asked_for() -> None:
    """In a chunk of its own behind the finish, the total computed; otherwise in none (clients.md 7.6)."""
    assert not any(frame.get("usage") for frame in frames_of(encode(EVENTS)))
    assert encode(EVENTS).endswith(DONE)
    sse = encode(EVENTS, include_usage=True)
    assert sse.endswith(DONE)
    last = frames_of(sse)[-1]
    assert last["choices"] == []
    assert last["id"] == "id-1"
    assert last["usage"] == {
        "prompt_tokens": 10,
        "completion_tokens": 5,
        "total_tokens": 15,
        "prompt_tokens_details": {"cached_tokens": 4},
        "completion_tokens_details": {"reasoning_tokens": 2},
    }
    assert accumulate(sse).usage.total_tokens == 15


def test_reasoning_details_go_out_beside_the_text() -> None:
    """What only the dialect understands is a delta of its own; without an index the SDK would fail on it (7)."""
    details: list[Any] = [{"type": "reasoning.encrypted", "data": "x", "index": 4}, {"type": "reasoning.text"}]
    opened = [Opened(BlockKind.REASONING, extras={"reasoning_details": details}), Closed()]
    sse = encode([EVENTS[0], *opened, *opened, *EVENTS[1:]])
    shown = frames_of(sse)[1]["choices"][0]["delta"]
    assert shown == {"reasoning_details": [details[0], {**details[1], "index": 1}]}
    assert "index" not in details[1]  # what is remembered for the next turn stays as it came
    assert accumulate(sse).choices[0].message.content == "hello \u2028 é"


def test_failures_are_not_rendered_here() -> None:
    """The exchange decides whether a failure is seen."""
    encoder = ChatEncoder(include_usage=False)
    assert encoder.encode([Failed(Truncated())]) == b""
    assert not encoder.finished


def test_a_whole_answer_is_what_the_sdk_reads() -> None:
    """Every required member is there, content is null beside calls, reasoning has its field."""
    details = [
        Block(BlockKind.REASONING, "h", extras={"reasoning_details": [1]}),
        Block(BlockKind.REASONING, "m", extras={"reasoning_details": [2]}),
    ]
    answer = Answer("id-1", "m-1", 5, [*details, Block(BlockKind.TOOL_CALL, "{}", "a", "f")], None, Finish.TOOL_CALLS)
    body = json.loads(render_answer(answer, Usage(3, 4)))
    completion = ChatCompletion.model_validate(body, strict=True)
    message = completion.choices[0].message
    assert (message.content, message.role, completion.choices[0].finish_reason) == (None, "assistant", "tool_calls")
    assert body["choices"][0]["message"]["reasoning_content"] == "hm"
    assert body["choices"][0]["message"]["reasoning_details"] == [1, 2]
    assert completion.usage is not None
    assert completion.usage.total_tokens == 7
    text = json.loads(
        render_answer(Answer("i", "m", 5, [Block(BlockKind.TEXT, "x")], None, Finish.LENGTH), Usage(1, 1))
    )
    assert text["choices"][0]["message"] == {"role": "assistant", "content": "x"}
    assert text["choices"][0]["finish_reason"] == "length"


def test_another_goes_on_where_the_first_one_stopped() -> None:
    """In the middle of a text, and behind a thought that has no end: one message, whoever wrote the chunks (2.14)."""
    encoder = ChatEncoder(include_usage=True)
    sse = encoder.encode([*EVENTS[:1], Opened(BlockKind.REASONING), Delta("hm")])
    encoder.join(sse)
    encoder.resume("hm")
    sse += encoder.encode([Closed()]) + encoder.encode([Opened(BlockKind.TEXT), Delta("he")])
    raw = encoder.encode([Delta("llo")])
    encoder.follow(raw)
    encoder.join(raw)
    encoder.resume("hello")
    sse += raw + encoder.keep_alive() + encoder.encode([Delta(" you"), Closed(), *CALLS, Finished(Finish.TOOL_CALLS)])
    sse += encoder.end(Usage(10, 5))
    check_caller(sse)
    final = accumulate(sse)
    message = final.choices[0].message
    assert (message.reasoning_content, message.content, len(message.tool_calls)) == ("hm", "hello you", 2)
    assert (final.choices[0].finish_reason, final.usage.total_tokens) == ("tool_calls", 15)


def test_a_tool_of_free_text_is_called_as_one() -> None:
    """Whether the upstream knows it as one or as a function of one string; others are called as functions."""
    tools = Raw(b'[{"type":"custom","custom":{"name":"note"}},{"type":"function","function":{"name":"f"}}]')
    calls: list[ChatEvent] = [
        Opened(BlockKind.TOOL_CALL, "a", "note", custom=True), Delta("Os"), Delta("lo"), Closed(),
        Opened(BlockKind.TOOL_CALL, "b", "note"), Delta('{"input":"Ber'), Delta('gen"}'), Closed(),
        Opened(BlockKind.TOOL_CALL, "c", "f"), Delta('{"input":"x"}'), Closed(),
    ]  # fmt: skip
    encoder = ChatEncoder(include_usage=False, tools=tools)
    sse = encoder.encode([Started("id-1", "m", 1), *calls, Finished(Finish.TOOL_CALLS)]) + encoder.end(Usage(1, 1))
    said: dict[int, list[str]] = {}
    for frame in frames_of(sse):
        for call in frame["choices"][0]["delta"].get("tool_calls", ()):
            kind, slot = ("custom", "input") if "custom" in call else ("function", "arguments")
            said.setdefault(call["index"], [kind, ""])[1] += call[kind].get(slot, "")
    assert said == {0: ["custom", "Oslo"], 1: ["custom", "Bergen"], 2: ["function", '{"input":"x"}']}
    blocks = [
        Block(BlockKind.TOOL_CALL, "Oslo", "a", "note", custom=True),
        Block(BlockKind.TOOL_CALL, '{"input":"Bergen"}', "b", "note"),
    ]
    answer = Answer("id-1", "m", 1, blocks, finish=Finish.TOOL_CALLS)
    whole = json.loads(render_answer(answer, Usage(1, 1), custom_names(tools)))
    assert [call["custom"]["input"] for call in whole["choices"][0]["message"]["tool_calls"]] == ["Oslo", "Bergen"]


def test_tokens_written_to_a_cache_are_told() -> None:
    """Where there are any (providers.md 12.7)."""
    assert usage_object(Usage(10, 5, 4, written_tokens=3))["prompt_tokens_details"] == {
        "cached_tokens": 4,
        "cache_write_tokens": 3,
    }
    assert usage_object(Usage(10, 5, 4))["prompt_tokens_details"] == {"cached_tokens": 4}
