"""What we allow callers: any minute, and what is under way."""

import json
from collections import deque
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermes_router.core.errors import CallerLimited
from hermes_router.core.ids import RouterKeyId
from hermes_router.engine.admission import Caller
from hermes_router.engine.caller_limits import WINDOW_S, CallerLimits
from hermes_router.wire.openai_errors import render_error

from ..fakes import DONE, ROLE, STOP, World, answers, completion, refuses, say, streams

NOW = 1_790_000_000.0
RK = RouterKeyId("rk")


def caller(key: str = "rk", **limits: Any) -> Caller:
    return Caller(RouterKeyId(key), **limits)


def refused(limits: CallerLimits, who: Caller, now: float) -> CallerLimited:
    with pytest.raises(CallerLimited) as caught:
        limits.admit(who, now)
    return caught.value


def wait(limits: CallerLimits, who: Caller, now: float) -> float:
    """How long this one has to wait; 0 = it was let in."""
    try:
        limits.admit(who, now)
    except CallerLimited as error:
        return error.retry_after_s or 0.0
    return 0.0


# --- the counters ---------------------------------------------------------------------------------------------


def test_a_rate_counts_any_minute() -> None:
    """Three at the end of one minute and three at the start of the next are six within a minute."""
    limits, who = CallerLimits(), caller(rpm=3)
    for at in (58.0, 59.0, 59.5):
        limits.admit(who, NOW + at)
    assert refused(limits, who, NOW + 60.0).retry_after_s == 58.0
    assert refused(limits, who, NOW + 117.9).retry_after_s == pytest.approx(0.1)
    limits.admit(who, NOW + 118.0)
    assert refused(limits, who, NOW + 118.5).retry_after_s == 0.5


def test_what_is_refused_is_not_counted() -> None:
    """A caller who insists does not lengthen its own wait."""
    limits, who = CallerLimits(), caller(rpm=1)
    limits.admit(who, NOW)
    for second in range(60):
        assert refused(limits, who, NOW + second).retry_after_s == 60.0 - second
    limits.admit(who, NOW + 60.0)


@given(st.integers(1, 5), st.lists(st.floats(0.0, 30.0), max_size=60))
def test_no_minute_ever_has_more_and_every_wait_is_true(rpm: int, gaps: list[float]) -> None:
    """A caller that comes at any times: never more than its rate in a minute, and back at the instant named."""
    limits, who, now = CallerLimits(), caller(rpm=rpm), NOW
    let_in: deque[float] = deque()
    for gap in gaps:
        now += gap
        wait_s = wait(limits, who, now)
        if wait_s:
            assert wait_s <= WINDOW_S
            assert wait(limits, who, max(now, now + wait_s - 0.001)) > 0
            now += wait_s
            assert wait(limits, who, now) == 0
        let_in.append(now)
    times = list(let_in)
    assert all(b - a >= WINDOW_S for a, b in zip(times, times[rpm:], strict=False))


def test_exchanges_under_way_are_counted_until_they_end() -> None:
    """The third of two is refused; when one ends there is room, and an end counts once."""
    limits, who = CallerLimits(), caller(concurrency=2)
    one, two = limits.admit(who, NOW), limits.admit(who, NOW)
    error = refused(limits, who, NOW)
    assert (error.retry_after_s, error.should_retry, error.status) == (1.0, True, 429)
    one.release()
    one.release()
    assert limits.in_flight(RK) == 1
    limits.admit(who, NOW)
    refused(limits, who, NOW)
    two.release()
    assert limits.in_flight(RK) == 1


def test_a_refusal_for_concurrency_takes_nothing_of_the_rate() -> None:
    """It did not come in, so it is no request."""
    limits, who = CallerLimits(), caller(rpm=2, concurrency=1)
    lease = limits.admit(who, NOW)
    for _ in range(5):
        refused(limits, who, NOW)
    lease.release()
    limits.admit(who, NOW).release()
    assert refused(limits, who, NOW).retry_after_s == 60.0


def test_keys_do_not_share_and_a_key_without_limits_has_none() -> None:
    """Each key has its own counters; what is under way is known of all of them."""
    limits = CallerLimits()
    limits.admit(caller("a", rpm=1), NOW)
    limits.admit(caller("b", rpm=1), NOW)
    for _ in range(100):
        limits.admit(caller("free"), NOW)
    assert [limits.in_flight(key) for key in ("a", "b", "free", "unknown")] == [1, 1, 100, 0]


def test_counters_outlive_a_reload_and_those_of_a_removed_key_do_not() -> None:
    """A key that stays has spent what it has spent, under its new limits; one that is removed is forgotten."""
    limits = CallerLimits()
    for key in ("stays", "goes"):
        for second in range(3):
            limits.admit(caller(key, rpm=5), NOW + second).release()
    limits.keep(["stays"])
    assert refused(limits, caller("stays", rpm=2), NOW + 10).retry_after_s == 51.0  # until two of three are gone
    limits.admit(caller("goes", rpm=1), NOW + 10)


def test_a_removed_key_with_exchanges_under_way_is_counted_until_they_end() -> None:
    """A key that a damaged file hid for a moment has not lost its count when it is back."""
    limits, who = CallerLimits(), caller(concurrency=1)
    lease = limits.admit(who, NOW)
    limits.keep([])
    refused(limits, who, NOW)
    lease.release()
    limits.keep([])
    assert limits.dump(NOW) == {}
    limits.admit(who, NOW)


def test_a_successor_goes_on_counting_the_minute() -> None:
    """`hr restart` gives nobody a fresh minute; what is unsound in a dump is left out."""
    old, new, who = CallerLimits(), CallerLimits(), caller(rpm=2)
    old.admit(who, NOW)
    old.admit(caller("other"), NOW)
    old.admit(who, NOW + 30)
    dumped = json.loads(json.dumps(old.dump(NOW + 31)))
    assert set(dumped) == {"rk"}
    new.load(dumped | {"x": 3, "y": [None, "a", float("nan"), NOW + 99, -1.0], "z": [True]}, NOW + 31)
    assert refused(new, who, NOW + 31).retry_after_s == 29.0
    assert set(new.dump(NOW + 31)) == {"rk"}
    CallerLimits().load([], NOW)  # type: ignore[arg-type]


@pytest.mark.parametrize(("rpm", "concurrency"), [(1, None), (None, 1)])
def test_the_answer_is_a_429_that_agents_retry(rpm: int | None, concurrency: int | None) -> None:
    """Status, envelope and Retry-After of the dialect, and none of the words that agents act on (clients.md 7.15)."""
    limits, who = CallerLimits(), caller(rpm=rpm, concurrency=concurrency)
    limits.admit(who, NOW)
    rendered = render_error(refused(limits, who, NOW + 0.5), now=NOW + 0.5)
    error = json.loads(rendered.body)["error"]
    assert rendered.status == 429
    assert (error["type"], error["code"]) == ("rate_limit_error", "rate_limit_exceeded")
    assert rendered.headers == {"retry-after": "60" if rpm else "1", "x-should-retry": "true"}
    for word in ("context length", "token limit", "max_tokens", "exceeds the limit", "quota", "usage limit"):
        assert word not in error["message"]


# --- around an exchange ---------------------------------------------------------------------------------------


@pytest.fixture
def one_at_a_time(monkeypatch: pytest.MonkeyPatch) -> World:
    """A world whose callers may have one exchange under way."""
    world = World("a/m")
    ask = world.question
    narrow = Caller(RK, concurrency=1)

    def question(*args: Any, **given: Any) -> Any:
        return ask(*args, **given)._replace(caller=narrow)

    monkeypatch.setattr(world, "question", question)
    return world


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(
    "turn",
    [
        streams(),
        answers(),
        refuses(400),
        refuses(500),
        lambda f: f.head().data(ROLE).end(),
        lambda f: f.answer(200, b"<"),
    ],
)
async def test_whatever_its_end_an_exchange_gives_its_place_back(one_at_a_time: World, stream: bool, turn: Any) -> None:
    """Good, refused, broken, cut: the next request of the key is let in."""
    world = one_at_a_time
    world.transport.on("a", turn)
    await world.ask(stream=stream)
    assert world.engine.limits.in_flight(RK) == 0


async def test_a_stream_holds_its_place_to_its_last_byte(one_at_a_time: World) -> None:
    """Text is flowing: a second request is refused; after the end of the first the third is let in."""
    world = one_at_a_time
    first = world.start()
    await world.later(0.5)
    world.transport.last.head().data(ROLE, say("hel"))
    await world.later(0.5)
    second = await world.ask()
    assert (second.rendered.status, second.said["error"]["code"]) == (429, "rate_limit_exceeded")
    assert second.rendered.headers["x-hermes-attempts"] == "0"
    assert len(world.transport.flights) == 1
    world.transport.last.data(say("lo"), STOP, DONE).end()
    await first.over()
    assert first.out.good
    world.transport.on("a", streams())
    assert (await world.ask()).out.good


@pytest.mark.parametrize("shown", [True, False])
async def test_a_caller_who_leaves_gives_its_place_back(one_at_a_time: World, shown: bool) -> None:
    """In mid-stream or before the first byte: the place is free at once."""
    world = one_at_a_time
    first = world.start()
    await world.later(0.5)
    if shown:
        world.transport.last.head().data(ROLE, say("hel"))
        await world.later(0.5)
    await first.leave()
    assert world.engine.limits.in_flight(RK) == 0
    assert world.transport.last.aborted


async def test_a_refused_exchange_is_told_in_the_log_and_holds_nothing(one_at_a_time: World) -> None:
    """The owner sees who ran into a limit; no target was asked, and the first goes on."""
    world = one_at_a_time
    first = world.start(stream=False)
    await world.later(0.5)
    await world.ask(stream=False)
    assert world.log.fields("exchange.done")["outcome"] == "CallerLimited"
    assert (world.engine.limits.in_flight(RK), world.inflight) == (1, 1)
    world.transport.last.answer(200, completion())
    assert (await first.over()).status == 200
