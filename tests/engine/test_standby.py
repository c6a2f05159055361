"""A request that waits for quota: when, for how long, what its caller sees meanwhile, and what ends it (contract.md)."""

import asyncio

import pytest
from msgspec.structs import replace

from hermes_router.core.catalog import QuotaRule
from hermes_router.core.errors import NetworkDown, Truncated, Unreachable
from hermes_router.core.ids import RouterKeyId
from hermes_router.core.observations import Unit, Window
from hermes_router.core.settings import Settings
from hermes_router.engine.admission import Caller
from hermes_router.engine.context import Generation
from hermes_router.engine.exchange import Exchange
from hermes_router.routing.names import Pin
from hermes_router.routing.roster import Roster

from ..fakes import ROLE, Run, World, answers, completion, fails, muse, refuses, say, streams, target, turns

PATIENT = Settings(patience_s=60.0)


def limited(seconds: float):
    """A turn: 429 with a told return."""
    return refuses(429, None, {"retry-after": str(seconds)})


def whole(run: Run) -> str:
    return run.said["choices"][0]["message"]["content"]


def world(*facts, **settings) -> World:
    return World(*facts, settings=replace(PATIENT, **settings))


def one_at_a_time(name: str):
    """A target of which the owner says that it takes one request at a time."""
    return replace(target(name), quotas=(QuotaRule(Unit.CONCURRENCY, 1, Window.NONE, "account", origin="owner"),))


def lines(made: World, event: str) -> list[dict]:
    return [fields for name, fields in made.log.lines if name == event]


# --- a wait, and its end --------------------------------------------------------------------------------------


async def test_ll6_a_return_within_the_patience_is_waited_for() -> None:
    """Every target is limited: the request waits for the earliest of them, is answered then, and says how many it took."""
    made = world("a/m", "b/m")
    made.transport.on("a", limited(40))
    made.transport.on("b", limited(25), answers("from b"))
    run = made.start(stream=False)
    await turns()
    await made.later(24.5)
    assert len(made.transport.flights) == 2
    await made.later(0.5)
    await run.over()
    assert whole(run) == "from b"
    assert run.rendered.headers["x-hermes-attempts"] == "3"
    assert made.engine.waiters.waiting == 0
    assert made.inflight == 0


async def test_a_wait_is_told_in_the_log_once_with_its_reason() -> None:
    """One line when it begins, with the instant and why; the line of the whole exchange has the seconds."""
    made = world("a/m")
    made.transport.on("a", limited(20), answers())
    began = made.clock.now()
    run = made.start(stream=False)
    await turns()
    await made.later(21.0)
    await run.over()
    (waiting,) = lines(made, "exchange.waiting")
    assert (waiting["request_id"], waiting["why"], waiting["until"]) == ("req_1", "limited", began + 20)
    assert made.log.fields("exchange.done")["waited_s"] == pytest.approx(20.0, abs=0.25)
    await made.ask(stream=False)
    assert "waited_s" not in made.log.fields("exchange.done")


async def test_a_return_beyond_the_patience_is_said_at_once() -> None:
    """429 with the truth, and nobody waits for what comes too late."""
    made = world("a/m")
    made.transport.on("a", limited(64))
    run = await made.ask(stream=False)
    assert (run.rendered.status, run.rendered.headers["retry-after"]) == (429, "64")
    assert lines(made, "exchange.waiting") == []


async def test_the_patience_is_that_of_all_waits_together() -> None:
    """40 s were waited for nothing, 30 more are not there: 429 with what is left of them, and every attempt is told."""
    made = world("a/m")
    made.transport.on("a", limited(40), limited(30))
    run = made.start(stream=False)
    await made.later(40.5)
    await run.over()
    assert (run.rendered.status, run.rendered.headers["retry-after"]) == (429, "30")
    assert [a["class"] for a in run.said["error"]["attempts"]] == ["limited", "limited"]


async def test_a_second_wait_within_the_patience_is_waited_too() -> None:
    """The provider said 20 s and meant 30: whoever was refused once is asked again after each wait."""
    made = world("a/m")
    made.transport.on("a", limited(20), limited(10), limited(10), answers("at last"))
    run = made.start(stream=False)
    await made.later(42.0)
    await run.over()
    assert whole(run) == "at last"
    assert len(lines(made, "exchange.waiting")) == 3


@pytest.mark.parametrize(
    ("max_wait_s", "of_key_s", "waits"),
    [(0.0, None, False), (19.0, None, False), (20.0, 0.0, True), (None, 0.0, False), (None, 20.0, True),
     (None, None, True)],
)  # fmt: skip
async def test_whose_patience_it_is(max_wait_s, of_key_s, waits) -> None:
    """The caller's header counts before the router key's patience, and that before the setting; 0 is never."""
    made = world("a/m")
    made.transport.on("a", limited(20), answers())
    caller = Caller(RouterKeyId("rk"), patience_s=of_key_s)
    question = made.question(stream=False)._replace(max_wait_s=max_wait_s, caller=caller)
    run = Run(made, question)
    await made.later(20.5)
    rendered = await run.over()
    assert rendered is not None
    assert rendered.status == (200 if waits else 429)


async def test_a_caller_may_ask_for_more_patience_up_to_the_deadline() -> None:
    """X-Hermes-Max-Wait: 500 with a deadline of 100 s waits for a return in 90 s, not for one in 101."""
    for told, status in ((90, 200), (101, 429)):
        made = world("a/m", request_deadline_s=100.0)
        made.transport.on("a", limited(told), answers())
        run = Run(made, made.question(stream=False)._replace(max_wait_s=500.0))
        await made.later(91.0)
        await run.over()
        assert run.rendered.status == status


async def test_the_deadline_of_a_request_that_waits_is_a_504() -> None:
    """A free place was to come any second and never came: the deadline ends it, the patience would have lasted."""
    made = world(one_at_a_time("a/m"), patience_s=600.0, request_deadline_s=60.0)
    first = made.start()
    await turns()
    made.transport.last.head().data(ROLE, say("a long story"))
    run = made.start(stream=False)
    await made.later(59.0)
    assert not run.task.done()
    await made.later(1.25)
    await run.over()
    assert run.rendered.status == 504
    await first.leave()


async def test_the_end_of_the_patience_is_a_429_with_the_truth() -> None:
    """A minute on, the place is still taken: 429, and the next look is worth its second."""
    made = world(one_at_a_time("a/m"))
    first = made.start()
    await turns()
    made.transport.last.head().data(ROLE, say("a long story"))
    run = made.start(stream=False)
    for _ in range(6):
        await made.later(10.0)
        made.transport.last.data(say("more"))
    await made.later(1.25)
    assert made.engine.waiters.waiting == 1  # within three seconds somebody might be done
    await made.later(2.0)
    await run.over()
    assert (run.rendered.status, run.rendered.headers["retry-after"]) == (429, "1")
    assert made.engine.waiters.waiting == 0
    await first.leave()


# --- what ends a wait early -----------------------------------------------------------------------------------


async def test_cr7_a_place_that_gets_free_serves_the_next_one_at_once() -> None:
    """One at a time, four at once: each goes in the moment that the one before it has ended, in their order."""
    made = world(one_at_a_time("a/m"))
    runs = [made.start(text, stream=False) for text in ("one", "two", "three", "four")]
    await turns()
    for number, text in enumerate(("one", "two", "three", "four"), 1):
        assert len(made.transport.flights) == number
        assert made.transport.last.body["messages"][0]["content"] == text
        made.transport.last.answer(200, completion(text))
        await turns()
    assert [whole(run) for run in runs] == ["one", "two", "three", "four"]


async def test_a_new_generation_serves_who_waits_at_once() -> None:
    """A key added while a request waits rescues it: no time has to pass."""
    made = world("a/m")
    made.transport.on("a", limited(50))
    made.transport.on("b", answers("from b"))
    run = made.start(stream=False)
    await turns()
    more = Roster([*made.facts, target("b/m")])
    made.engine.snapshot = Generation(2, PATIENT, more, "round-robin")
    made.engine.waiters.wake()
    await turns()
    await run.over()
    assert whole(run) == "from b"


async def test_a_target_taken_away_while_it_is_waited_for_is_the_truth_at_once() -> None:
    """The pinned provider is switched off by the owner: there is nothing left to wait for."""
    made = world("a/m", "b/m")
    made.transport.on("a", limited(50))
    run = made.start(stream=False, pin=Pin("a", "m"))
    await turns()
    made.engine.snapshot = Generation(2, PATIENT, Roster([made.facts[1]]), "round-robin")
    made.engine.waiters.wake()
    await turns()
    await run.over()
    assert run.rendered.status in {429, 503}
    assert made.engine.waiters.waiting == 0


async def test_a_success_that_ends_a_cooldown_serves_who_waits() -> None:
    """A probe of ours finds the target good before its told return: whoever waits goes at once."""
    made = world("a/m")
    made.transport.on("a", limited(50), answers("early"))
    run = made.start(stream=False)
    await turns()
    made.engine.state.succeeded(made.facts[0].target, made.clock.now(), ttft_s=None, demand=made.question().demand)
    made.engine.waiters.wake()
    await turns()
    await run.over()
    assert whole(run) == "early"


# --- the caller's side ----------------------------------------------------------------------------------------


async def test_a_stream_that_waits_has_its_head_after_15_s_and_keep_alives_every_10_s() -> None:
    """Before anyone has answered they carry the caller's model name; what follows is one clean stream."""
    made = world("a/m")
    made.transport.on("a", limited(40), streams("hello"))
    run = made.start(model="my-name")
    await made.later(14.75)
    assert run.out.head is None
    await made.later(0.5)
    assert run.out.head == {}
    await made.later(20.5)
    assert len(run.out.events) == 3
    assert {event["model"] for event in run.out.events} == {"my-name"}
    assert all(event["choices"][0]["delta"] == {} for event in run.out.events)
    await made.later(5.0)
    await run.over()
    assert run.out.good
    assert run.out.text == "hello"
    assert run.out.comments == [": hermes target=a/m attempts=2"]
    assert len({event["id"] for event in run.out.events[:-1]}) == 1


async def test_a_short_wait_leaves_the_head_to_the_answer() -> None:
    """Back within 15 s: the caller sees the true head, and not that anything was waited for."""
    made = world("a/m")
    made.transport.on("a", limited(10), streams("hello"))
    run = made.start()
    await made.later(10.5)
    await run.over()
    assert run.out.head == {"x-hermes-target": "a/m", "x-hermes-attempts": "2"}
    assert run.out.comments == []


async def test_a_wait_in_vain_behind_a_bare_head_is_an_error_event() -> None:
    """The status is spent: the event says the class, the attempts, and when to come back."""
    made = world("a/m")
    made.transport.on("a", limited(20), limited(50))
    run = made.start()
    await made.later(20.5)
    await run.over()
    assert run.out.error["type"] == "rate_limit_error"
    assert [a["class"] for a in run.out.error["attempts"]] == ["limited", "limited"]
    assert "[DONE]" not in run.out.events


async def test_a_caller_who_leaves_leaves_the_queue() -> None:
    """Nothing is sent for it later, no timer runs on, and the next of its kind is the first."""
    made = world("a/m")
    made.transport.on("a", limited(20), answers())
    run = made.start()
    await turns()
    other = made.start(stream=False)
    await turns()
    assert made.engine.waiters.waiting == 2
    await run.leave()
    assert made.engine.waiters.waiting == 1
    await made.later(20.5)
    await other.over()
    assert len(made.transport.flights) == 2
    assert made.log.fields("exchange.done")["outcome"] == "answered"
    await made.later(6.0)
    assert made.engine.sweeper.idle


async def test_a_caller_who_leaves_as_its_turn_comes_takes_no_quota_with_it() -> None:
    """What was reserved for it and never sent goes to the next, at once."""
    made = world(one_at_a_time("a/m"))
    first, second, third = (made.start(text, stream=False) for text in ("one", "two", "three"))
    await turns()
    made.transport.last.answer(200, completion())
    await first.over()
    second.task.cancel()  # its turn has come in the same round of the loop, or comes just now
    await asyncio.gather(second.task, return_exceptions=True)
    await turns()
    assert made.transport.last.body["messages"][0]["content"] == "three"
    made.transport.last.answer(200, completion("3"))
    await third.over()
    assert whole(third) == "3"
    assert made.inflight == 0
    assert sum(1 for flight in made.transport.flights if not flight.aborted) == 2


async def test_a_request_that_waits_is_under_way_for_its_key() -> None:
    """The router key's concurrency counts it, and its own limit stays an immediate 429."""
    made = world("a/m")
    made.transport.on("a", limited(20), answers())
    caller = Caller(RouterKeyId("rk"), concurrency=1)
    run = Run(made, made.question(stream=False)._replace(caller=caller))
    await turns()
    refused = await Exchange(made.engine, made.question(stream=False)._replace(caller=caller), None).run()
    assert refused is not None
    assert (refused.status, b"rate_limit_exceeded" in refused.body) == (429, True)
    await made.later(20.5)
    await run.over()
    assert run.rendered.status == 200
    assert made.engine.limits.in_flight("rk") == 0


# --- a pool that is broken ------------------------------------------------------------------------------------


async def test_a_pool_that_comes_back_in_some_seconds_loses_no_request() -> None:
    """Everybody fails: a second later each is asked once more, and answers; no 503 reaches the agent."""
    made = world("a/m", "b/m")
    for name in "ab":
        made.transport.on(name, fails(lambda: Unreachable("refused")))
    run = made.start(stream=False)
    await turns()
    await made.later(0.75)
    assert len(made.transport.flights) == 2
    for name in "ab":
        made.transport.on(name, answers("back"))
    await made.later(0.5)
    await run.over()
    assert whole(run) == "back"
    assert {line["why"] for line in lines(made, "exchange.waiting")} == {"broken"}


async def test_9r12_an_outage_of_forty_seconds_costs_an_agent_none_of_its_three_tries_in_vain() -> None:
    """It asks again when the 503 says; its third try waits for the breakers' end within its patience, and is answered."""
    made = world("a/m", "b/m")
    for name in "ab":
        made.transport.on(name, *[fails(lambda: Unreachable("refused"))] * 5, answers("back"))
    for ends_after_s in (1.25, 15.25, 0.0):
        run = made.start(stream=False)
        await turns()
        await made.later(ends_after_s)
        if ends_after_s:
            await run.over()
            assert (run.rendered.status, run.rendered.headers["retry-after"]) == (503, "1")
            await made.later(1.0)
    assert len(made.transport.flights) == 2 * 5
    await made.later(29.0)
    await run.over()
    assert whole(run) == "back"


async def test_bf4_a_dead_pool_is_asked_twice_and_no_more() -> None:
    """A minute of patience with a pool that is dead: each target is asked twice, a second apart; then it is a 503."""
    made = world("a/m", "b/m")
    for name in "ab":
        made.transport.on(name, refuses(500))
    run = made.start(stream=False)
    await turns()
    await made.later(1.25)
    await run.over()
    assert (run.rendered.status, run.rendered.headers["retry-after"]) == (503, "1")
    assert [flight.provider for flight in made.transport.flights] == ["a", "b", "a", "b"]
    assert made.inflight == 0


async def test_who_is_overloaded_is_asked_again_when_its_cooldown_ends() -> None:
    """503 of the provider's: five seconds, which the ledger names, and then once more; the answer names the next end."""
    made = world("a/m")
    made.transport.on("a", refuses(503))
    run = made.start(stream=False)
    await made.later(4.5)
    assert len(made.transport.flights) == 1
    await made.later(1.0)
    await run.over()
    assert len(made.transport.flights) == 2
    assert (run.rendered.status, run.rendered.headers["retry-after"]) == (503, "10")


async def test_a_limit_between_two_failures_gives_no_third_chance() -> None:
    """It failed, was limited for a while, and failed again: that is twice."""
    made = world("a/m")
    made.transport.on("a", refuses(500), limited(20), refuses(500))
    run = made.start(stream=False)
    await made.later(30.0)
    await run.over()
    assert run.rendered.status == 503
    assert [a["class"] for a in run.said["error"]["attempts"]] == ["broken", "limited", "broken"]


async def test_without_patience_the_second_asking_comes_at_once() -> None:
    """X-Hermes-Max-Wait: 0: after all others, and without a pause."""
    made = world("a/m")
    made.transport.on("a", refuses(500), answers("at last"))
    run = Run(made, made.question(stream=False)._replace(max_wait_s=0.0))
    await run.over()
    assert whole(run) == "at last"


@pytest.mark.parametrize(("max_wait_s", "status"), [(60.0, 429), (None, 200)])
async def test_the_callers_own_limit_is_not_exceeded(max_wait_s, status) -> None:
    """A return in 62 s is waited for with the patience of the settings; a caller who says 60 means 60."""
    made = world("a/m")
    made.transport.on("a", limited(62), answers())
    run = Run(made, made.question(stream=False)._replace(max_wait_s=max_wait_s))
    await made.later(62.5)
    await run.over()
    assert run.rendered.status == status


async def test_who_waits_for_a_dead_pool_tries_it_one_at_a_time() -> None:
    """Ten agents, one dead provider: when its breaker ends, no two attempts are under way together."""
    made = world("a/m")
    made.transport.on("a", fails(lambda: Unreachable("refused")))
    runs = [made.start(str(number), stream=False) for number in range(10)]
    await turns(30)
    assert made.engine.waiters.waiting == 10
    made.transport.script.clear()
    before = len(made.transport.flights)
    await made.later(20.0)
    assert len(made.transport.flights) == before + 1
    made.transport.on("a", answers("back"))
    made.transport.last.answer(200, completion("back"))
    await made.later(5.0)
    assert [whole(run) for run in runs] == ["back"] * 10


async def test_own_network_down_is_waited_out_without_hammering() -> None:
    """Nobody is blamed, so nobody rests: it is the pauses that keep a request from trying hundreds of times."""
    made = world("a/m", "b/m")
    for name in "ab":
        made.transport.on(name, fails(lambda: NetworkDown("no route to host")))
    run = made.start(stream=False)
    await made.later(25.0)
    assert len(made.transport.flights) <= 4 + 2 * 5
    for name in "ab":
        made.transport.on(name, answers("back"))
    await made.later(10.25)
    await run.over()
    assert whole(run) == "back"


async def test_a_limited_one_is_waited_for_beside_a_broken_one() -> None:
    """One is limited for 5 s, the other dead: the first one's return ends the wait."""
    made = world("a/m", "b/m")
    made.transport.on("a", limited(5), answers("from a"))
    made.transport.on("b", refuses(500))
    run = made.start(stream=False)
    await made.later(5.5)
    await run.over()
    assert whole(run) == "from a"


async def test_who_cannot_take_the_request_is_not_asked_again_after_a_wait() -> None:
    """Groq's 413: this target is too small for this request however long it waits; it makes no 503 of the 429 either."""
    made = world("a/m", "b/m")
    body = {"message": "Request too large for model on tokens per minute (TPM): Limit 6000, Requested 9000",
            "type": "tokens", "code": "rate_limit_exceeded"}  # fmt: skip
    made.transport.on("a", refuses(413, body))
    made.transport.on("b", limited(20), limited(70))
    run = made.start("x" * 20_000, stream=False)
    await made.later(20.5)
    await run.over()
    assert [flight.provider for flight in made.transport.flights] == ["a", "b", "b"]
    assert (run.rendered.status, run.rendered.headers["retry-after"]) == (429, "70")


async def test_a_stream_that_showed_its_reasoning_waits_on_with_keep_alives() -> None:
    """After the commit point only the patience counts; the answer goes on in the same stream."""
    made = world("a/m", request_deadline_s=30.0)
    run = made.start()
    await turns()
    made.transport.last.head().data(ROLE, muse("hm"))
    await turns()
    made.transport.on("a", limited(40), streams("done"))
    made.transport.last.fail(Truncated("cut"))
    await made.later(41.5)
    await run.over()
    assert run.out.good
    assert (run.out.reasoning, run.out.text) == ("hm", "done")


async def test_a_local_server_that_never_came_is_not_waited_for() -> None:
    """Nobody knows when it comes, if ever: the 503 of a local profile comes at once, and names a retry."""
    made = world("a/m")
    made.engine.snapshot = made.engine.snapshot._replace(awaits_local=True)
    question = made.question(stream=False)
    local = question.demand._replace(profile="local")
    asked = question._replace(demand=local, constraint=question.constraint._replace(local_only=True))
    rendered = await Exchange(made.engine, asked, None).run()
    assert rendered is not None
    assert rendered.status == 503


# --- two processes --------------------------------------------------------------------------------------------


async def test_who_waits_at_a_handover_waits_on_and_is_reported() -> None:
    """The predecessor's own ledger serves it when quota returns, and the successor hears what it has spent."""
    rules = (QuotaRule(Unit.REQUESTS, 1, Window.MINUTE, "account", origin="owner"),)
    made = world(replace(target("a/m"), quotas=rules))
    made.transport.on("a", answers("first"), answers("second"))
    await made.ask(stream=False)
    run = made.start(stream=False)
    await turns()
    assert made.engine.waiters.waiting == 1
    made.engine.state.dump(made.clock.now())
    told: list = []
    made.engine.state.report_settlements(told.append)
    await made.later(61.0)
    await run.over()
    assert whole(run) == "second"
    assert told
    assert [row[3] for row in told[0]] == [None]  # of a claim that the successor has never seen
