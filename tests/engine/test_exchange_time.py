"""The time limits of an exchange, with the clock turned by hand (contract.md: Answers, Keep-alives, Waiting, Silence)."""

import asyncio

import pytest

from hermes_router.core.catalog import Quirk
from hermes_router.core.errors import Truncated, Unreachable
from hermes_router.core.settings import Settings

from ..fakes import (
    COMMENT,
    DONE,
    ROLE,
    STOP,
    World,
    answers,
    completion,
    fails,
    muse,
    refuses,
    say,
    streams,
    target,
    turns,
)

# --- silence ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sign", [(), (ROLE,), (COMMENT,)], ids=["nothing", "a role chunk", "a comment"])
async def test_bf3_silence_beyond_the_first_token_limit_moves_on(sign) -> None:
    """45 s after dispatch without content the next target is asked; head and role chunk are no content."""
    world = World("a/m", "b/m")
    world.transport.on("b", streams("from b"))
    run = world.start()
    await turns()
    world.transport.last.head().data(*sign)
    await world.later(44.75)
    assert len(world.transport.flights) == 1
    await world.later(0.75)
    await run.over()
    assert run.out.text == "from b"
    assert world.transport.flights[0].aborted
    assert world.log.fields("exchange.done")["attempts"] == "a/m#k1-a:slow b/m#k1-b:ok"


async def test_or4_comments_are_no_progress_towards_the_first_token() -> None:
    """An upstream that sends nothing but comments is given up after 45 s all the same."""
    world = World("a/m", "b/m")
    world.transport.on("b", streams("from b"))
    run = world.start()
    await turns()
    flight = world.transport.last.head()
    for _ in range(9):
        flight.data(COMMENT)
        await world.later(5.0)
    await world.later(0.5)
    await run.over()
    assert run.out.text == "from b"
    assert flight.aborted


async def test_comments_are_life_for_the_stall_and_their_absence_is_none() -> None:
    """After the first text pings keep a stream alive beyond 30 s; after 30 s without a byte another goes on."""
    world = World("a/m", "b/m")
    run = world.start()
    await turns()
    flight = world.transport.last.head().data(ROLE, say("half"))
    for _ in range(9):
        await world.later(10.0)
        flight.data(COMMENT)
    assert not flight.aborted
    await world.later(30.0)
    assert not flight.aborted
    await world.later(0.5)
    assert flight.aborted
    assert world.log.fields("attempt.failed")["error"] == "TimedOut"
    world.transport.last.stream(ROLE, say("half of it"), STOP, DONE)
    await run.over()
    assert run.out.good
    assert run.out.text == "half of it"


async def test_comments_are_no_life_for_ever() -> None:
    """Ten minutes of pings without a word of the model: nothing will come."""
    world = World("a/m")
    run = world.start()
    await turns()
    flight = world.transport.last.head().data(ROLE, say("half"))
    for _ in range(60):
        await world.later(10.0)
        flight.data(COMMENT)
    assert not flight.aborted
    flight.data(say(" of"))
    await world.later(20.0)
    for _ in range(60):
        flight.data(COMMENT)
        await world.later(10.0)
    assert flight.aborted
    await run.leave()


async def test_reasoning_that_is_not_shown_again_is_life_all_the_same() -> None:
    """The second attempt's reasoning is suppressed, yet it is the model's first token: no time-out while it thinks."""
    world = World("a/m", "b/m", "c/m")
    run = world.start()
    await turns()
    first = world.transport.last.head().data(ROLE, muse("so"))
    await turns()
    first.fail(Truncated("cut"))
    await turns()
    second = world.transport.last.head()
    for _ in range(6):
        second.data(muse("again"))
        await world.later(10.0)
    assert not second.aborted
    second.data(say("it is 4"), STOP, DONE).end()
    await run.over()
    assert (run.out.reasoning, run.out.text) == ("so", "it is 4")
    assert run.out.good


async def test_a_target_without_rival_has_the_whole_deadline() -> None:
    """A pool of one may be silent for minutes: there is nobody to gain by giving it up."""
    world = World("a/m")
    run = world.start()
    await turns()
    flight = world.transport.last
    await world.later(400.0)
    assert not flight.aborted
    flight.stream(ROLE, say("at last"), STOP, DONE)
    await run.over()
    assert run.out.good
    assert run.out.text == "at last"


async def test_a_target_whose_rivals_are_limited_has_the_whole_deadline_until_one_returns() -> None:
    """Nobody else could serve, so the silence is borne; within 5 s of the rival's return it is borne no more."""
    world = World("a/m", "b/m")
    world.transport.on("b", refuses(429, None, {"retry-after": "100"}), streams("from b"))
    first = world.start("one", stream=False)
    await turns()
    world.transport.last.answer(200, completion())
    await first.over()
    run = world.start("two")  # b's turn: limited; then a
    await turns()
    assert [flight.provider for flight in world.transport.flights] == ["a", "b", "a"]
    silent = world.transport.last
    await world.later(90.0)
    assert not silent.aborted
    await world.later(20.0)
    await run.over()
    assert silent.aborted
    assert run.out.text == "from b"


async def test_a_whole_answer_may_take_its_time_to_write() -> None:
    """Unary, all of it comes at once: the first-token limit grows by the tokens that may be written, at 20 a second."""
    world = World("a/m", "b/m")
    world.transport.on("b", answers("from b"))
    run = world.start(stream=False, max_tokens=1_000)
    await turns()
    await world.later(94.75)
    assert len(world.transport.flights) == 1
    await world.later(0.75)
    await run.over()
    assert run.said["choices"][0]["message"]["content"] == "from b"


async def test_a_whole_answers_time_is_no_time_to_first_token() -> None:
    """40 s of writing do not make a target slow for the plans that follow."""
    world = World("a/m", "b/m")
    run = world.start(stream=False)
    await turns()
    await world.later(40.0)
    world.transport.last.answer(200, completion())
    await run.over()
    group = world.engine.state.slot(world.facts[0].target).group
    assert group.memory.tempo.samples == 0


# --- the deadline -------------------------------------------------------------------------------------------


async def test_the_deadline_is_a_504_that_blames_nobody() -> None:
    """REQUEST_DEADLINE_SECONDS covers all attempts; a target that it cuts off stays ready."""
    world = World("a/m", "b/m", settings=Settings(request_deadline_s=60.0))
    run = world.start(stream=False, max_tokens=10)
    await turns()
    await world.later(46.0)  # a has been given up, b is under way
    assert len(world.transport.flights) == 2
    await world.later(14.5)
    await run.over()
    assert run.rendered.status == 504
    assert run.said["error"]["code"] == "deadline"
    assert [(a["target"], a["class"]) for a in run.said["error"]["attempts"]] == [("a/m", "slow"), ("b/m", "slow")]
    assert world.transport.last.aborted
    assert world.engine.state.slot(world.facts[1].target).model_breaker.consecutive == 0
    assert world.engine.state.slot(world.facts[0].target).model_breaker.consecutive == 1
    assert world.inflight == 0


async def test_the_deadline_of_a_stream_ends_it_with_an_error_event() -> None:
    """After 15 s the status is spent, so the 504 comes as an event, without [DONE]."""
    world = World("a/m", settings=Settings(request_deadline_s=60.0))
    run = world.start()
    await turns()
    await world.later(60.5)
    await run.over()
    assert run.out.error["code"] == "deadline"
    assert "[DONE]" not in run.out.events
    assert run.out.ended


async def test_the_deadline_ends_at_the_commit_point() -> None:
    """A stream that shows something may go on beyond the deadline, and so may what replaces it."""
    world = World("a/m", "b/m", settings=Settings(request_deadline_s=60.0))
    run = world.start()
    await turns()
    flight = world.transport.last.head().data(ROLE, muse("hm"))
    for _ in range(4):
        await world.later(20.0)
        flight.data(muse("hm"))
    flight.fail(Truncated("cut"))
    await turns()
    second = world.transport.last
    assert second is not flight
    await world.later(10.0)
    second.stream(ROLE, say("done"), STOP, DONE)
    await run.over()
    assert run.out.good
    assert run.out.text == "done"


# --- the head -----------------------------------------------------------------------------------------------


async def test_the_head_waits_for_the_commit_point() -> None:
    """Role chunks commit nothing; the first content brings the head with target, attempts, and all that was held."""
    world = World("a/m", "b/m")
    run = world.start()
    await turns()
    flight = world.transport.last.head().data(ROLE)
    await turns()
    assert run.out.head is None
    flight.data(say("hel"))
    await turns()
    assert run.out.head == {"x-hermes-target": "a/m", "x-hermes-attempts": "1"}
    assert run.out.text == "hel"
    flight.data(say("lo"), STOP, DONE).end()
    await run.over()
    assert run.out.good
    assert run.out.comments == []
    assert {event["model"] for event in run.out.events[:-1]} == {"up-model"}


async def test_ll15_after_15_s_the_head_goes_out_with_a_keep_alive_every_10_s() -> None:
    """What was not known by then follows as a comment before the end; keep-alives carry the caller's model name."""
    world = World("a/m", "b/m")
    run = world.start(model="my-name")
    await turns()
    await world.later(14.75)
    assert run.out.head is None
    await world.later(0.25)
    assert run.out.head == {}
    assert len(run.out.events) == 1
    await world.later(9.75)
    assert len(run.out.events) == 1
    await world.later(10.5)
    assert len(run.out.events) == 3
    assert {event["model"] for event in run.out.events} == {"my-name"}
    assert all(event["choices"][0]["delta"] == {} for event in run.out.events)
    world.transport.last.stream(ROLE, say("hello"), STOP, DONE)
    await run.over()
    assert run.out.good
    assert run.out.events[-2]["model"] == "up-model"
    assert len({event["id"] for event in run.out.events[:-1]}) == 1
    assert run.out.comments == [": hermes target=a/m attempts=1"]
    assert run.out.raw.endswith(b": hermes target=a/m attempts=1\n\ndata: [DONE]\n\n")


async def test_failover_behind_a_bare_head_is_one_clean_stream_and_one_true_comment() -> None:
    """The first target dies after 20 s; the caller sees keep-alives, one answer, and who gave it."""
    world = World("a/m", target("b/m", allow=frozenset({"messages", "model", "stream"})))
    world.transport.on("b", streams("from b", model="b-model"))
    run = world.start(seed=7)
    await turns()
    first = world.transport.last.head().data(ROLE)
    await world.later(20.0)
    first.fail(Truncated("cut"))
    await run.over()
    assert run.out.good
    assert run.out.text == "from b"
    assert [d for d in run.out.deltas if d.get("role")] == [{"role": "assistant", "content": ""}]
    assert run.out.comments == [": hermes target=b/m attempts=2 warnings=dropped:seed"]


async def test_silence_after_the_commit_point_has_keep_alives_of_the_upstreams_model() -> None:
    """Ten seconds without a byte for the caller bring one empty chunk, a second ten another."""
    world = World("a/m")
    run = world.start()
    await turns()
    flight = world.transport.last.head().data(ROLE, say("hel"))
    await turns()
    before = len(run.out.events)
    await world.later(20.5)
    quiet = run.out.events[before:]
    assert len(quiet) == 2
    assert all(event["model"] == "up-model" and event["choices"][0]["delta"] == {} for event in quiet)
    flight.data(say("lo"), STOP, DONE).end()
    await run.over()
    assert run.out.good


async def test_a_failure_while_the_head_is_held_keeps_its_status() -> None:
    """Nothing is out: a stream request gets a real HTTP error, never a 200 with an error inside (LL-2)."""
    world = World("a/m")
    world.transport.on("a", fails(lambda: Unreachable("refused")))
    run = await world.ask()
    assert run.out.head is None
    assert run.rendered.status == 503


async def test_a_failure_behind_a_bare_head_is_an_error_event() -> None:
    """The status is spent: the event tells the class and the attempts, and the stream has no [DONE]."""
    world = World("a/m")
    run = world.start()
    await turns()
    await world.later(16.0)
    world.transport.on("a", refuses(429, None, {"retry-after": "30"}))
    world.transport.last.fail(Truncated("cut"))
    await run.over()
    assert run.out.error["type"] == "rate_limit_error"
    assert [a["class"] for a in run.out.error["attempts"]] == ["cut", "limited"]
    assert "[DONE]" not in run.out.events


# --- a slow caller ------------------------------------------------------------------------------------------


async def test_a_slow_caller_pauses_the_upstream_and_a_quicker_one_resumes_it() -> None:
    """What a caller may leave unread is bounded; at a quarter of the bound reading goes on."""
    world = World("a/m")
    run = world.start()
    await turns()
    flight = world.transport.last.head().data(ROLE, say("x"))
    await turns()
    run.out.waiting = 262_145
    flight.data(say("y"))
    assert flight.paused
    run.out.waiting = 200_000
    await world.later(1.0)
    assert flight.paused
    run.out.waiting = 65_000
    await world.later(0.5)
    assert not flight.paused
    assert (flight.pauses, flight.resumes) == (1, 1)
    flight.data(STOP, DONE).end()
    await run.over()
    assert run.out.good


async def test_a_slow_caller_is_not_the_providers_stall() -> None:
    """While we do not read, silence is ours: nobody is blamed after 30 s, and the clock starts anew with reading."""
    world = World("a/m", "b/m")
    run = world.start()
    await turns()
    flight = world.transport.last.head().data(ROLE, say("x"))
    await turns()
    run.out.waiting = 300_000
    flight.data(say("y"))
    await world.later(120.0)
    assert flight.paused
    assert not flight.aborted
    run.out.waiting = 0
    await world.later(29.0)
    assert not flight.paused
    flight.data(STOP, DONE).end()
    await run.over()
    assert run.out.good
    assert world.status(0) == "ready"


async def test_nothing_follows_the_end_of_a_slow_callers_stream() -> None:
    """The end is written and the caller is still reading: no keep-alive may come behind it."""
    world = World("a/m")
    run = world.start()
    run.out.slow_end = asyncio.Event()
    await turns()
    world.transport.last.stream(ROLE, say("x"), STOP, DONE)
    await turns()
    await world.later(60.0)  # Reply.write asserts that nothing comes after the end
    run.out.slow_end.set()
    await run.over()
    assert run.out.good


# --- quiet rows ---------------------------------------------------------------------------------------------


async def test_hidden_reasoning_stretches_the_first_token_limit() -> None:
    """A model that thinks without showing it is given four times as long; one that shows it is not."""
    hidden = World(target("a/m", reasoning=True), "b/m")
    shown = World(target("a/m", reasoning=True, quirks=frozenset({Quirk.THINK_TAGS})), "b/m")
    for world, limit_s in ((hidden, 180.0), (shown, 45.0)):
        run = world.start()
        await turns()
        flight = world.transport.last
        await world.later(limit_s - 0.25)
        assert not flight.aborted
        await world.later(0.75)
        assert flight.aborted
        await run.leave()


async def test_no_timer_runs_when_nothing_is_asked() -> None:
    """One sweep serves all exchanges, and none is armed without one (facts/perf.md)."""
    world = World("a/m")
    world.transport.on("a", streams())
    await world.ask()
    await world.later(6.0)
    assert world.engine.sweeper.idle
