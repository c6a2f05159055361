"""Everything that can be wrong with an answer, through the whole router: no half answer ever passes for a whole one."""

import asyncio
import json
from collections.abc import Callable

import openai
import pytest

from hermes_router.sandbox import bad_frames, faults
from hermes_router.sandbox.faults import Behaviour

BAD, GOOD = "groq", "mistral"
ONE_MODEL = {"GROQ_MODEL": "openai/gpt-oss-120b", "MISTRAL_MODEL": "mistral-small-latest"}
WORDS = "w1 w2 w3 w4 w5"

FAILURES: dict[str, Callable[[], Behaviour]] = {
    "500": lambda: faults.status(500),
    "502 html": lambda: faults.status(502, b"<html>bad gateway</html>"),
    "503": lambda: faults.status(503),
    "529": lambda: faults.status(529),
    "404 without words": lambda: faults.status(404, b""),
    "rate limited a minute": lambda: faults.rate_limited("rpm"),
    "rate limited a day": lambda: faults.rate_limited("rpd", 1_000, 50_000),
    "tokens a minute": lambda: faults.rate_limited("tpm", 8_000),
    "too large here": faults.too_large,
    "overloaded": faults.overloaded,
    "no credit": faults.no_credit,
    "bad key": faults.bad_key,
    "model gone": faults.model_gone,
    "context overflow": faults.context_overflow,
    "html with 200": faults.html_200,
    "error json with 200": faults.json_200_error,
    "redirect": lambda: faults.redirect("http://127.0.0.1:9/v1/chat/completions"),
    "reset": faults.reset,
    "no http": faults.garbage,
    "cut at once, abrupt": lambda: faults.cut(0, "abrupt"),
    "cut at once, clean": lambda: faults.cut(0, "clean"),
    "cut at once, reset": lambda: faults.cut(0, "reset"),
    "empty, stop": faults.empty_answer,
    "empty, length": lambda: faults.empty_answer("length"),
    "error finish": bad_frames.error_chunk,
    "error x_groq": lambda: bad_frames.error_chunk(form="x_groq"),
    "error bare": lambda: bad_frames.error_chunk(form="bare"),
    "error event": lambda: bad_frames.error_chunk(form="event"),
    "broken frame": lambda: bad_frames.broken_frame(0),
    "half utf-8": lambda: bad_frames.half_utf8(0),
    "invalid utf-8": lambda: bad_frames.invalid_utf8(0),
}
LATE_FAILURES: dict[str, Callable[[], Behaviour]] = {
    "cut, abrupt": lambda: faults.cut(2, "abrupt"),
    "cut, clean": lambda: faults.cut(2, "clean"),
    "cut, reset": lambda: faults.cut(2, "reset"),
    "error finish, late": lambda: bad_frames.error_chunk(2),
    "error x_groq, late": lambda: bad_frames.error_chunk(2, "x_groq"),
    "error bare, late": lambda: bad_frames.error_chunk(2, "bare"),
    "error event, late": lambda: bad_frames.error_chunk(2, "event"),
    "broken frame, late": lambda: bad_frames.broken_frame(2),
    "half utf-8, late": lambda: bad_frames.half_utf8(2),
    "invalid utf-8, late": lambda: bad_frames.invalid_utf8(2),
    "no finish": bad_frames.no_finish,
    "finish error": lambda: bad_frames.finish_reason("error"),
    "finish network_error": lambda: bad_frames.finish_reason("network_error"),
    "finish null": lambda: bad_frames.finish_reason(None),
}
SILENCES: dict[str, Callable[[], Behaviour]] = {
    "no head": faults.silent,
    "head and nothing": faults.slow_first_token,
    "stall before the first word": lambda: faults.stall(0),
    "comments for ever": faults.comments_only,
}
ODDITIES: dict[str, Callable[[], Behaviour]] = {
    "ok": faults.ok,
    "gzip": faults.gzip_body,
    "no done": bad_frames.no_done,
    "usage on every chunk": bad_frames.usage_repeated,
    "no usage": bad_frames.no_usage,
    "role on every chunk": bad_frames.role_repeated,
    "crlf": bad_frames.odd_lines,
    "cr": lambda: bad_frames.odd_lines(b"\r", space=True),
    "whole though a stream": faults.unary_though_stream,
    "reasoning": faults.reasoning,
    "finish eos": lambda: bad_frames.finish_reason("eos"),
    "finish model_length": lambda: bad_frames.finish_reason("model_length"),
    "finish sensitive": lambda: bad_frames.finish_reason("sensitive"),
}


def ids(table):
    """Parameters with their names."""
    return [pytest.param(make, id=name) for name, make in table.items()]


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
@pytest.mark.parametrize("make", ids(FAILURES))
async def test_a_failure_before_the_first_word_is_never_seen(house, make, stream) -> None:
    """The caller gets a whole answer of the second provider, in one piece, with the status of a good one."""
    h = await house(BAD, GOOD, env=ONE_MODEL)
    h.sandbox.behave(BAD, make(), times=None)
    got = await h.whole(stream=stream)
    assert (got.status, got.good, got.text) == (200, True, WORDS)
    assert got.target == "mistral/mistral-small-latest"
    assert got.attempts == 2
    assert [r.provider for r in h.chats()] == [BAD, GOOD]


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
@pytest.mark.parametrize("make", ids(SILENCES))
async def test_silence_is_a_failure_before_the_first_word(house, make, stream) -> None:
    """Beyond the first-token limit (of a model that thinks unseen: 180 s) the second provider is asked."""
    h = await house(BAD, GOOD, env=ONE_MODEL)
    behaviour = h.sandbox.behave(BAD, make(), times=None)
    asking = asyncio.ensure_future(h.whole(stream=stream, max_tokens=20))
    await h.seen(1)
    if behaviour.name == "comments only" and not stream:  # a whole answer knows no comments
        assert (await asking).good
        return
    await h.reached(behaviour.reached)
    h.later(182.0)
    got = await asking
    assert (got.good, got.text) == (True, WORDS)
    assert [r.provider for r in h.chats()] == [BAD, GOOD]
    if stream:  # the head went out after 15 s
        assert b": hermes target=mistral/mistral-small-latest attempts=2" in got.raw
    else:
        assert got.attempts == 2
    await h.reached(h.chats()[0].done)  # the first provider's connection is closed


@pytest.mark.parametrize("make", ids(LATE_FAILURES))
async def test_a_failure_after_the_first_word_is_gone_on_with(house, make) -> None:
    """The SDK reads one clean answer, word for word: the first provider's beginning, and the second's rest of it."""
    h = await house(BAD, GOOD, env=ONE_MODEL)
    h.sandbox.behave(BAD, make(), times=None)
    text, finishes = "", []
    stream = await h.sdk.chat.completions.create(
        model="hermes-router", messages=[{"role": "user", "content": "say 5 words"}], stream=True
    )
    async for chunk in stream:
        if chunk.choices:
            text += chunk.choices[0].delta.content or ""
            finishes.append(chunk.choices[0].finish_reason)
    assert text == WORDS
    assert [finish for finish in finishes if finish] == ["stop"]
    assert [r.provider for r in h.chats()] == [BAD, GOOD]
    got = await h.whole()  # a whole answer is never cut
    assert got.good
    assert got.text == WORDS


async def test_where_all_break_off_the_sdk_raises(house) -> None:
    """Nobody is left to go on: what was seen ends in an error, never in a clean end."""
    h = await house(BAD, GOOD, env=ONE_MODEL)
    for provider in (BAD, GOOD):
        h.sandbox.behave(provider, faults.cut(2, "abrupt"), times=None)
    text = ""
    with pytest.raises(openai.APIError):
        async for chunk in await h.sdk.chat.completions.create(
            model="hermes-router", messages=[{"role": "user", "content": "say 5 words"}], stream=True
        ):
            text += chunk.choices[0].delta.content or "" if chunk.choices else ""
    assert text
    assert WORDS.startswith(text)


async def test_a_stall_after_the_first_word_is_gone_on_with(house) -> None:
    """30 s of silence in the middle: the second provider goes on, and the first one's connection is closed."""
    h = await house(BAD, GOOD, env=ONE_MODEL)
    stall = h.sandbox.behave(BAD, faults.stall(2))
    async with h.post(stream=True) as response:
        said = await response.content.readany()
        assert b"w1" in said
        await h.reached(stall.reached)
        h.later(31.0)
        said += await response.read()
    frames = [block[6:] for block in said.decode().split("\n\n") if block.startswith("data: ")]
    assert frames.pop() == "[DONE]"
    deltas = [choice["delta"] for frame in frames for choice in json.loads(frame)["choices"]]
    assert "".join(delta.get("content") or "" for delta in deltas) == WORDS
    assert b": hermes target=mistral/mistral-small-latest attempts=2" in said
    await h.reached(h.chats()[0].done)
    assert h.chats()[0].outcome == "aborted"


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
@pytest.mark.parametrize("make", ids(ODDITIES))
async def test_an_odd_answer_is_an_answer(house, make, stream) -> None:
    """Oddities of careless hosts cost nothing: the first provider's answer arrives whole."""
    h = await house(BAD, GOOD, env=ONE_MODEL)
    h.sandbox.behave(BAD, make(), times=None)
    got = await h.whole(stream=stream, stream_options={"include_usage": True} if stream else None)
    assert (got.status, got.good, got.text) == (200, True, WORDS)
    assert got.target == "groq/openai/gpt-oss-120b"
    assert got.attempts == 1
    usage = got.events[-2]["usage"] if stream else got.json["usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
@pytest.mark.parametrize(
    "oddity", ["no_index", "zero_index", "no_id", "empty_id", "repeated_id", "object_arguments", "finish_stop"]
)
async def test_odd_tool_calls_arrive_whole_and_valid(house, oddity, stream) -> None:
    """Two calls, badly written: the SDK's accumulator ends up with two, each with its own id and JSON arguments."""
    h = await house(BAD, GOOD, env=ONE_MODEL)
    h.sandbox.behave(BAD, bad_frames.odd_calls(oddity), times=None)
    tools = [
        {"type": "function", "function": {"name": name, "parameters": {
            "type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}}}
        for name in ("weather", "time_of")
    ]  # fmt: skip
    asked = {"model": "hermes-router", "tools": tools, "messages": [{"role": "user", "content": "call all tools"}]}
    if stream:
        async with h.sdk.chat.completions.stream(**asked) as events:
            choice = (await events.get_final_completion()).choices[0]
    else:
        choice = (await h.sdk.chat.completions.create(**asked)).choices[0]
    assert choice.finish_reason == "tool_calls"
    calls = choice.message.tool_calls
    assert [call.function.name for call in calls] == ["weather", "time_of"]
    assert [call.function.arguments.replace(" ", "") for call in calls] == ['{"city":"somecity"}'.replace(" ", "")] * 2
    if oddity != "repeated_id":
        assert len({call.id for call in calls}) == 2
    assert all(call.id for call in calls)
