"""A stream that breaks off goes on elsewhere: by prefill, by anchor, at most three times, and is accounted for."""

import json
from typing import Any

import pytest

from hermes_router.core.catalog import Capability, Claim, Known
from hermes_router.core.errors import Truncated, Unreachable
from hermes_router.core.records import ExchangeRecord
from hermes_router.core.settings import Settings
from hermes_router.engine.accounting import Recent
from hermes_router.engine.resumption import MOST_CONTINUATIONS
from hermes_router.wire.continuation import ANCHOR_BEGINS
from hermes_router.wire.seam import anchor_of

from ..fakes import (
    DONE,
    ROLE,
    STOP,
    USAGE,
    Flight,
    Run,
    World,
    chunk,
    completion,
    muse,
    refuses,
    say,
    streams,
    target,
    turns,
)

HALF = "The quick brown fox jumps over the lazy dog, and then"
REST = " it sleeps."
INVALID = {"message": "the last message must be a user's", "type": "invalid_request_error"}
TOOLS = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]


def call(index: int, call_id: str, name: str, arguments: str) -> bytes:
    function = {"name": name, "arguments": arguments}
    return chunk({"tool_calls": [{"index": index, "id": call_id, "type": "function", "function": function}]})


def taking(name: str) -> Any:
    """A target that is known to take a prefill."""
    return target(name, capabilities={Capability.PREFILL: Claim(Known.YES)})


async def broken(*specs: Any, **fields: Any) -> tuple[World, Run]:
    """A stream that has shown half of its answer and broken off."""
    world = World(*specs)
    world.engine.recorder = Recent()
    run = world.start(**fields)
    await turns()
    world.transport.last.head().data(ROLE, say(HALF))
    await turns()
    world.transport.last.fail(Truncated("cut"))
    await turns()
    return world, run


def record(world: World) -> ExchangeRecord:
    recorder = world.engine.recorder
    assert isinstance(recorder, Recent)
    found = recorder.request("req_1")
    assert found is not None
    return found


def asked(flight: Flight) -> list[dict[str, Any]]:
    return flight.body["messages"]


async def test_ca1_a_text_goes_on_behind_its_seam() -> None:
    """By anchor: the partial answer, the order to begin with its end; what was repeated is not shown again."""
    world, run = await broken("a/m", "b/m")
    flight = world.transport.last
    assert flight.provider == "b"
    assert asked(flight)[-2] == {"role": "assistant", "content": HALF}
    assert ANCHOR_BEGINS in asked(flight)[-1]["content"]
    flight.stream(ROLE, muse("hm"), say("Sure, continuing:\n\n" + anchor_of(HALF).text), say(REST), STOP, DONE)
    await run.over()
    assert run.out.good
    assert run.out.text == HALF + REST
    assert run.out.reasoning == ""
    assert len({event["model"] for event in run.out.events[:-1]}) == 1
    assert run.out.comments == [": hermes target=b/m attempts=2"]


async def test_by_prefill_where_the_target_takes_it() -> None:
    """The answer goes straight on."""
    world, run = await broken("a/m", taking("b/m"))
    flight = world.transport.last
    assert asked(flight)[-1] == {"role": "assistant", "content": HALF}
    flight.stream(ROLE, say(REST), STOP, DONE)
    await run.over()
    assert run.out.good
    assert run.out.text == HALF + REST
    assert [one.by for one in record(world).attempts] == ["", "prefill"]


async def test_a_refused_prefill_is_asked_by_anchor_at_the_same_target() -> None:
    """And not tried there again: it is learnt."""
    world, run = await broken("a/m", taking("b/m"))
    refuses(400, INVALID)(world.transport.last)
    await turns()
    flight = world.transport.last
    assert (flight.provider, asked(flight)[-1]["role"]) == ("b", "user")
    flight.stream(ROLE, say(HALF + REST), STOP, DONE)
    await run.over()
    assert run.out.text == HALF + REST
    learnt = world.engine.state.learned.of("b", "m").learnt(Capability.PREFILL, world.clock.now())
    assert learnt is not None
    assert learnt.known is Known.NO


async def test_an_empty_answer_to_a_prefill_proves_nothing() -> None:
    """It may have been the end, or a broken provider: the next one is asked by anchor, and can prove it."""
    world, run = await broken("a/m", taking("b/m"), taking("c/m"))
    world.transport.last.stream(ROLE, STOP, DONE)
    await turns()
    flight = world.transport.last
    assert (flight.provider, asked(flight)[-1]["role"]) == ("c", "user")
    flight.stream(ROLE, say(HALF), STOP, DONE)
    await run.over()
    assert run.out.good
    assert run.out.text == HALF


async def test_an_anchor_that_is_missed_or_refused_leaves_it_to_the_next() -> None:
    """Nothing of such an answer is shown, nobody's health suffers, and it is no continuation that counts."""
    world, run = await broken("a/m", "b/m", "c/m", "d/m")
    world.transport.last.stream(ROLE, say("Certainly! Here is something else altogether. " * 12), STOP, DONE)
    await turns()
    assert world.transport.last.provider == "c"
    refuses(400, INVALID)(world.transport.last)
    await turns()
    flight = world.transport.last
    assert flight.provider == "d"
    flight.stream(ROLE, say(HALF + REST), STOP, DONE)
    await run.over()
    assert run.out.good
    assert run.out.text == HALF + REST
    assert [(one.outcome, one.by, one.shown_chars) for one in record(world).attempts] == [
        ("cut", "", len(HALF)), ("broken", "anchor", 0), ("refused", "anchor", 0), ("ok", "anchor", len(REST)),
    ]  # fmt: skip


async def test_ha3_a_cut_within_a_call_is_gone_on_with_before_the_call() -> None:
    """No half call was seen; the text before it is known to be whole, so that a call alone is an answer."""
    world = World("a/m", "b/m")
    run = world.start(tools=TOOLS)
    await turns()
    flight = world.transport.last.head().data(ROLE, say(HALF), call(0, "c1", "f", '{"a'))
    await turns()
    assert run.out.text == HALF
    flight.fail(Truncated("cut"))
    await turns()
    world.transport.last.stream(ROLE, call(0, "c2", "f", '{"b":1}'), chunk({}, "tool_calls"), DONE)
    await run.over()
    assert run.out.good
    assert run.out.text == HALF
    calls = [one for delta in run.out.deltas for one in delta.get("tool_calls", ())]
    assert "".join(one["function"].get("arguments", "") for one in calls) == '{"b":1}'
    assert {one["id"] for one in calls if one.get("id")} == {"c2"}


async def test_live_calls_give_that_up() -> None:
    """STREAM_TOOL_ARGS=live: a failure behind a call that was seen is the error event."""
    world = World("a/m", "b/m", settings=Settings(patience_s=0.0, stream_tool_args="live"))
    run = world.start(tools=TOOLS)
    await turns()
    flight = world.transport.last.head().data(ROLE, call(0, "c1", "f", '{"a'))
    await turns()
    assert any("tool_calls" in delta for delta in run.out.deltas)
    flight.fail(Truncated("cut"))
    await run.over()
    assert run.out.error is not None
    assert len(world.transport.flights) == 1


async def test_bf4_three_continuations_and_no_more() -> None:
    """Each has shown something and broken off: the fourth failure is told, and never as a good end."""
    world, run = await broken("a/m", "b/m", "c/m", "d/m", "e/m")
    shown = HALF
    for number in range(MOST_CONTINUATIONS):
        flight = world.transport.last.head().data(ROLE, say(f"{shown} and {number}"))
        shown += f" and {number}"
        await turns()
        assert run.out.text == shown
        flight.fail(Truncated("cut"))
        await turns()
    await run.over()
    assert run.out.error is not None
    assert run.out.finishes == []
    assert len(world.transport.flights) == 1 + MOST_CONTINUATIONS


async def test_the_target_that_failed_is_asked_again_once_after_all_others() -> None:
    """So that even one target survives a cut."""
    world, run = await broken("a/m", "b/m")
    world.transport.last.fail(Unreachable("refused"))
    await turns()
    flight = world.transport.last
    assert flight.provider == "a"
    flight.stream(ROLE, say(HALF + REST), STOP, DONE)
    await run.over()
    assert run.out.text == HALF + REST


@pytest.mark.parametrize(
    "fields",
    [{"response_format": {"type": "json_object"}}, {"n": 2}, {"logprobs": True}, {"modalities": ["text", "audio"]}],
    ids=["json", "n", "logprobs", "audio"],
)
async def test_what_nobody_can_go_on_with_is_an_error(fields) -> None:
    """A shape that another model cannot be told to keep from its middle on."""
    world = World("a/m", "b/m")
    run = world.start(**fields)
    await turns()
    if not world.transport.flights:
        pytest.skip("no target of this world can serve it")
    world.transport.last.head().data(ROLE, say(HALF))
    await turns()
    world.transport.last.fail(Truncated("cut"))
    await run.over()
    assert run.out.error is not None
    assert len(world.transport.flights) == 1


async def test_usage_is_that_of_the_answer_and_each_attempt_has_its_own() -> None:
    """The caller's: the prompt once, the completion as shown. The records': as reported, or estimated, attempt by one."""
    world, run = await broken("a/m", "b/m", stream_options={"include_usage": True})
    text = HALF + REST
    world.transport.last.stream(ROLE, say(text), STOP, USAGE, DONE)
    await run.over()
    usage = next(event["usage"] for event in run.out.events if isinstance(event, dict) and event.get("usage"))
    assert usage["completion_tokens"] == len(text) // 4
    one, two = record(world).attempts
    assert (one.estimated, one.billed, one.output_tokens) == (True, True, -(-len(HALF) // 4))
    reported = json.loads(USAGE.removeprefix(b"data: "))["usage"]
    assert (two.estimated, two.input_tokens, two.output_tokens) == (
        False, reported["prompt_tokens"], reported["completion_tokens"],
    )  # fmt: skip


async def test_a_refusal_of_what_we_asked_is_not_told_as_the_callers() -> None:
    """All refuse to go on: an error event, not the 400 of a request that the caller never made."""
    world, run = await broken("a/m", "b/m")
    refuses(400, INVALID)(world.transport.last)
    await turns()
    refuses(400, INVALID)(world.transport.last)
    await run.over()
    assert run.out.error is not None
    assert run.out.error["type"] != "invalid_request_error"


async def test_a_cap_shrinks_by_what_was_shown() -> None:
    """max_tokens is the caller's for the whole answer."""
    world, run = await broken("a/m", taking("b/m"), max_tokens=100)
    assert world.transport.last.body["max_tokens"] == 100 - len(HALF) // 4
    world.transport.last.stream(ROLE, say(REST), STOP, DONE)
    await run.over()
    assert run.out.good


async def test_before_anything_was_sent_the_caller_sees_one_clean_stream() -> None:
    """Text and the cut in one read: the head was not out, so the next one answers anew."""
    world = World("a/m", "b/m")
    world.engine.recorder = Recent()
    world.transport.on("a", lambda flight: flight.head().data(ROLE + say(HALF)).fail(Truncated("cut")))
    world.transport.on("b", streams("other"))
    run = await world.ask()
    assert run.out.text == "other"
    assert [one.by for one in record(world).attempts] == ["", "anew"]
    assert record(world).attempts[0].shown_chars == 0


async def test_who_cannot_go_on_is_asked_twice_and_no_more() -> None:
    """However long the caller would wait: each such answer is paid for."""
    world = World("a/m", "b/m", settings=Settings(patience_s=60.0))
    run = world.start()
    await turns()
    flight = world.transport.last.head().data(ROLE, say(HALF))
    await turns()
    elsewhere = streams("Certainly! Here is something else altogether. " * 12)
    world.transport.on("a", *[elsewhere] * 9)
    world.transport.on("b", *[elsewhere] * 9)
    flight.fail(Truncated("cut"))
    await turns()
    await world.later(120.0)
    await run.over()
    assert run.out.error is not None
    assert len(world.transport.flights) == 4


KEPT = {"type": "file", "file": {"file_id": "file-1"}}


@pytest.mark.parametrize(
    "fields",
    [{"tools": [{"type": "web_search"}]}, {"messages": [{"role": "user", "content": [KEPT]}]}],
    ids=["a tool", "a file that its provider keeps"],
)
async def test_a_request_that_only_its_provider_can_read_ends_with_the_cut(fields) -> None:
    """What was passed on unread cannot be gone on with: the caller is told of the cut, and not that its field is wrong."""
    world, run = await broken("a/m", "b/m", **fields)
    await run.over()
    assert run.out.error is not None
    assert run.out.error["type"] != "invalid_request_error"
    assert [(one.outcome, one.shown_chars) for one in record(world).attempts] == [("cut", len(HALF))]


async def test_a_reserve_for_thoughts_is_no_room_for_text() -> None:
    """The caller's cap holds for the whole text, also where what is left of it and the reserve are less than the cap."""
    settings = Settings(patience_s=0.0, reasoning_token_reserve=8)
    goes_on = target("b/m", reasoning=True, capabilities={Capability.PREFILL: Claim(Known.YES)})
    world = World("a/m", goes_on, settings=settings)
    run = world.start(max_tokens=20)
    await turns()
    world.transport.last.head().data(ROLE, say(HALF))
    await turns()
    world.transport.last.fail(Truncated("cut"))
    await turns()
    left = 20 - len(HALF) // 4
    assert world.transport.last.body["max_tokens"] == left + 8 < 20
    world.transport.last.stream(ROLE, say(" it sleeps" * 20), STOP, DONE)
    await run.over()
    assert len(run.out.text) == 20 * 4
    assert run.out.finishes == ["length"]


async def test_an_attempt_that_was_not_sent_is_no_continuation() -> None:
    """Three keys are gone when the answer is to go on: the fourth target is asked all the same."""
    world = World(*(f"{name}/m" for name in "abcde"))
    world.authorizer.gone |= {"k1-b", "k1-c", "k1-d"}
    run = world.start()
    await turns()
    assert world.transport.last.provider == "a"
    world.transport.last.head().data(ROLE, say(HALF))
    await turns()
    world.transport.last.fail(Truncated("cut"))
    await turns()
    world.transport.last.stream(ROLE, say(HALF + REST), STOP, DONE)
    await run.over()
    assert run.out.text == HALF + REST
    assert [line for event, line in world.log.lines if event == "attempt.failed" and line.get("shown_chars")] != []
    assert len([line for event, line in world.log.lines if "shown_chars" in line]) == 1


async def test_a_field_that_is_refused_is_left_out_when_an_answer_goes_on() -> None:
    """It is the caller's, not ours: the same target is asked without it, by prefill as before."""
    world, run = await broken("a/m", taking("b/m"), top_p=0.5)
    named = {"message": "Unsupported parameter: 'top_p'", "param": "top_p", "code": "unsupported_parameter"}
    refuses(400, named)(world.transport.last)
    await turns()
    flight = world.transport.last
    assert flight.provider == "b"
    assert "top_p" not in flight.body
    assert asked(flight)[-1] == {"role": "assistant", "content": HALF}
    flight.stream(ROLE, say(REST), STOP, DONE)
    await run.over()
    assert run.out.text == HALF + REST


async def test_who_goes_on_must_take_the_answer_too() -> None:
    """The request has grown by what was shown: a window that just held the prompt is not asked."""
    world = World(target("a/m"), target("b/m", context=1_000), target("c/m"))
    run = world.start(max_tokens=400)
    await turns()
    text = "".join(f"Line {number} of a story that goes on and on.\n" for number in range(120))
    flight = world.transport.last.head().data(ROLE, say(text))
    await turns()
    flight.fail(Truncated("cut"))
    await turns()
    assert world.transport.last.provider == "c"
    world.transport.last.stream(ROLE, say(anchor_of(text).text + "\nThe end."), STOP, DONE)
    await run.over()
    assert run.out.text == text + "The end."


# --- answers that are wanted whole ----------------------------------------------------------------------------


def folding(name: str) -> Any:
    """A target whose streams are folded for callers who want the answer whole."""
    return target(name, aggregate=True)


async def test_a_whole_answer_is_folded_from_a_stream() -> None:
    """A cut is seen, and the next one answers; what comes out is a plain completion with the usage of its own."""
    world = World(folding("a/m"), folding("b/m"))
    world.engine.recorder = Recent()
    run = world.start(stream=False, tools=TOOLS)
    await turns()
    first = world.transport.last
    assert first.body["stream"] is True
    first.head().data(ROLE, say(HALF)).fail(Truncated("cut"))
    await turns()
    world.transport.last.stream(
        ROLE, muse("hm"), say("Let me look."), call(0, "c1", "f", '{"a":'), call(0, "", "", "1}"),
        chunk({}, "tool_calls"), USAGE, DONE,
    )  # fmt: skip
    await run.over()
    said = run.said
    assert said["object"] == "chat.completion"
    message = said["choices"][0]["message"]
    assert (message["content"], message["reasoning_content"]) == ("Let me look.", "hm")
    assert message["tool_calls"][0]["function"] == {"name": "f", "arguments": '{"a":1}'}
    assert said["usage"]["completion_tokens"] == 2
    assert run.rendered.headers["x-hermes-attempts"] == "2"
    assert [(one.outcome, one.by) for one in record(world).attempts] == [("cut", ""), ("ok", "anew")]
    assert record(world).attempts[0].output_tokens == -(-len(HALF) // 4)


async def test_a_stall_of_a_folded_answer_is_seen_after_its_limit() -> None:
    """Not after the minutes that a whole answer may take."""
    world = World(folding("a/m"), "b/m")
    run = world.start(stream=False)
    await turns()
    flight = world.transport.last.head().data(ROLE, say(HALF))
    await world.later(31.0)
    assert flight.aborted
    world.transport.last.answer(200, {**completion("other")})
    await run.over()
    assert run.said["choices"][0]["message"]["content"] == "other"


async def test_a_whole_answer_that_comes_whole_all_the_same_is_one() -> None:
    """Some answer a stream request in JSON; and what cannot be folded is not asked for so."""
    world = World(folding("a/m"))
    world.transport.on("a", lambda flight: flight.answer(200, completion("hello")))
    run = await world.ask(stream=False)
    assert run.said["choices"][0]["message"]["content"] == "hello"
    world.transport.on("a", lambda flight: flight.answer(400, {"error": INVALID}))
    await world.ask(stream=False, n=2)
    assert not world.transport.last.body["stream"]
