"""The runaway guard: what is the same request, and what happens to one that comes again and again."""

import json
import timeit
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermes_router.core.errors import CallerLimited
from hermes_router.engine import runaway
from hermes_router.engine.runaway import LIMIT_AFTER, PACE_S, WARN_AFTER, WINDOW_S, RunawayGuard, fingerprint
from hermes_router.wire.chat.request import parse_request
from hermes_router.wire.inbound import Inbound
from hermes_router.wire.openai_errors import render_error

from ..fakes import SilentLog

NOW = 1_790_000_000.0


def inbound(text: Any = "hi", *, messages: list[dict[str, Any]] | None = None, **fields: Any) -> Inbound:
    said = messages if messages is not None else [{"role": "user", "content": text}]
    return parse_request(json.dumps({"model": "hermes-router", "messages": said, **fields}).encode(), {})


def agent(turns: int = 60, last: str = "go on") -> list[dict[str, Any]]:
    """A conversation of an agent's: about 240 KB at 60 turns."""
    made: list[dict[str, Any]] = [{"role": "system", "content": "You are an agent. " * 100}]
    for turn in range(turns):
        made += [{"role": "user", "content": f"step {turn}"}, {"role": "assistant", "content": f"{turn:04d}" * 1_000}]
    return [*made, {"role": "user", "content": last}]


@pytest.fixture
def log() -> SilentLog:
    return SilentLog()


@pytest.fixture
def guard(log: SilentLog) -> RunawayGuard:
    return RunawayGuard(log)


def burst(guard: RunawayGuard, number: int, *, now: float = NOW, key: str = "rk", **given: Any) -> list[str]:
    """So many at one instant; the warnings."""
    return [str(notice) for _ in range(number) if (notice := guard.admit(key, inbound(**given), now)) is not None]


def refused(guard: RunawayGuard, now: float, key: str = "rk") -> CallerLimited:
    with pytest.raises(CallerLimited) as caught:
        guard.admit(key, inbound(), now)
    return caught.value


def wait(guard: RunawayGuard, now: float) -> float:
    """How long this one has to wait; 0 = it was let in."""
    try:
        guard.admit("rk", inbound(), now)
    except CallerLimited as error:
        return error.retry_after_s or 0.0
    return 0.0


# --- what is the same -----------------------------------------------------------------------------------------


def test_equal_bodies_are_one_request() -> None:
    """Small and large, as a retry of an SDK sends them."""
    assert fingerprint(inbound()) == fingerprint(inbound())
    assert fingerprint(inbound(messages=agent())) == fingerprint(inbound(messages=agent()))


@pytest.mark.parametrize(
    "other",
    [{"text": "ho"}, {"temperature": 0.5}, {"model": "groq/x"}, {"stream": True}, {"seed": 2},
     {"tools": [{"type": "function", "function": {"name": "f", "parameters": {}}}]}],
)  # fmt: skip
def test_any_field_makes_another_request(other: dict[str, Any]) -> None:
    """Ten samples with ten seeds are ten requests."""
    assert fingerprint(inbound(**{"seed": 1, **other})) != fingerprint(inbound(seed=1))


def test_a_turn_of_an_agent_is_another_request_than_the_one_before() -> None:
    """Longer by a turn; of equal length with another end; of equal length with another beginning or middle."""
    base = agent()
    middle = [*base]
    middle[60] = {**middle[60], "content": middle[60]["content"].replace("0", "x")}
    system = [{**base[0], "content": base[0]["content"].replace("an agent", "no agent")}, *base[1:]]
    others = [agent(61), agent(last="go by"), middle, system]
    prints = {fingerprint(inbound(messages=each)) for each in (base, *others)}
    assert len(prints) == 5


def test_polling_that_reads_the_same_length_is_not_the_same() -> None:
    """A trimmed history whose last tool result differs in one character."""
    said = agent(20)
    one, two = ([*said, {"role": "user", "content": f"job {n} % done"}] for n in (12, 13))
    assert fingerprint(inbound(messages=one)) != fingerprint(inbound(messages=two))


def test_images_are_looked_at_too() -> None:
    """Two frames of a camera in requests that say the same."""

    def frame(n: int) -> list[dict[str, Any]]:
        url = "data:image/png;base64," + "A" * 30_000 + f"{n:04d}"
        return [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]}]

    assert fingerprint(inbound(messages=frame(1))) != fingerprint(inbound(messages=frame(2)))
    assert fingerprint(inbound(messages=frame(1))) == fingerprint(inbound(messages=frame(1)))


# --- how often ------------------------------------------------------------------------------------------------


def test_twenty_in_five_minutes_are_nobodys_business(guard: RunawayGuard, log: SilentLog) -> None:
    """No warning up to the number that the owner was told; the next one is warned about, once in the log."""
    assert burst(guard, WARN_AFTER) == []
    assert log.lines == []
    assert burst(guard, 3) == [f"runaway:the same request {n} times in 5 minutes" for n in (21, 22, 23)]
    [(event, fields)] = log.lines
    assert (event, fields["router_key"], fields["times"], fields["messages"]) == ("caller.runaway", "rk", 21, 1)
    assert "hi" not in map(str, fields.values())


def test_beyond_forty_one_in_fifteen_seconds_is_served(guard: RunawayGuard) -> None:
    """The wait is true, it is a 429 that SDKs wait for, and what is refused is not counted."""
    burst(guard, LIMIT_AFTER)
    error = refused(guard, NOW + 1)
    assert (error.status, error.code, error.retry_after_s) == (429, "runaway", PACE_S - 1)
    for second in range(2, 15):
        assert refused(guard, NOW + second).retry_after_s == PACE_S - second
    assert guard.admit("rk", inbound(), NOW + PACE_S) is not None
    assert refused(guard, NOW + PACE_S).retry_after_s == PACE_S


def test_the_answer_says_why_and_uses_no_word_that_agents_act_on(guard: RunawayGuard) -> None:
    """Why, what to do, a true Retry-After; none of the words of clients.md 7.15, and nothing of the request."""
    burst(guard, LIMIT_AFTER)
    rendered = render_error(refused(guard, NOW), now=NOW)
    error = json.loads(rendered.body)["error"]
    assert (rendered.status, error["type"], error["code"]) == (429, "rate_limit_error", "runaway")
    assert rendered.headers == {"retry-after": "15", "x-should-retry": "true"}
    assert "40 times in 5 minutes" in error["message"]
    assert "RUNAWAY_GUARD=off" in error["message"]
    for word in ("context length", "token limit", "max_tokens", "exceeds the limit", "quota", "usage limit"):
        assert word not in error["message"]


def test_a_caller_that_keeps_to_the_pace_stays_at_it_and_one_that_stops_is_free(guard: RunawayGuard) -> None:
    """For an hour at full speed: 40, then 20 in any five minutes; five minutes of silence end it."""
    let_in: list[float] = []
    for second in range(3_600):
        try:
            guard.admit("rk", inbound(), NOW + second * 1.0)
        except CallerLimited:
            continue
        let_in.append(NOW + second)
    assert len(let_in) == 40 + (3_600 - 40) // int(PACE_S)
    late = [at for at in let_in if at >= NOW + 600]
    assert all(b - a == PACE_S for a, b in pairwise(late))
    assert burst(guard, WARN_AFTER, now=NOW + 3_600 + WINDOW_S) == []


def test_every_episode_is_told_once(guard: RunawayGuard, log: SilentLog) -> None:
    """Night after night: a line each, not a line a request."""
    for night in range(3):
        burst(guard, 30, now=NOW + night * 86_400)
    assert [event for event, _ in log.lines] == ["caller.runaway"] * 3


def test_slow_repetition_is_no_runaway(guard: RunawayGuard, log: SilentLog) -> None:
    """A monitor that asks the same every 20 seconds, for a day."""
    for n in range(4_320):
        assert guard.admit("rk", inbound(), NOW + n * 20.0) is None
    assert log.lines == []


def test_keys_and_requests_do_not_share(guard: RunawayGuard) -> None:
    """One key's circle is no other's, and the same key may ask something else."""
    burst(guard, LIMIT_AFTER)
    refused(guard, NOW)
    assert guard.admit("other", inbound(), NOW) is None
    assert guard.admit("rk", inbound("something else"), NOW) is None


@given(st.lists(st.floats(0.0, 40.0), max_size=200))
def test_every_wait_is_true(gaps: list[float]) -> None:
    """Whenever it comes: never more than 40 and the pace in a window, and let in at the instant that was named."""
    guard, now = RunawayGuard(SilentLog()), NOW
    let_in: list[float] = []
    for gap in gaps:
        now += gap
        wait_s = wait(guard, now)
        assert 0.0 <= wait_s <= PACE_S
        if wait_s:
            now += wait_s + 1e-6
            assert wait(guard, now) == 0.0
        let_in.append(now)
    most = LIMIT_AFTER + WINDOW_S / PACE_S
    assert all(sum(at - WINDOW_S < other <= at for other in let_in) <= most for at in let_in)


# --- what it costs --------------------------------------------------------------------------------------------


def test_memory_is_bounded_and_the_latest_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten thousand different requests: so many are remembered, and one that runs away meanwhile is among them."""
    monkeypatch.setattr(runaway, "MOST", 100)
    guard = RunawayGuard(SilentLog())
    warned = 0
    for n in range(10_000):
        guard.admit("rk", inbound(f"question {n}"), NOW + n * 0.001)
        if n % 50 == 0:
            warned += guard.admit("rk", inbound("circle"), NOW + n * 0.001) is not None if n < 1_500 else 0
    assert len(guard) <= 101
    assert warned == 10


def test_what_is_old_goes_as_new_comes(guard: RunawayGuard) -> None:
    """No sweep is needed: after a quiet hour the table shrinks with each request."""
    for n in range(1_000):
        guard.admit("rk", inbound(f"question {n}"), NOW)
    for n in range(1_000):
        guard.admit("rk", inbound(f"later {n}"), NOW + 3_600)
    assert len(guard) == 1_000


def test_it_costs_next_to_nothing() -> None:
    """A body of 240 KB is not read again: ten times as long takes about as long (measured: 1 and 8 µs)."""
    small, large = inbound(), inbound(messages=agent())
    timers = (timeit.Timer(lambda: fingerprint(small)), timeit.Timer(lambda: fingerprint(large)))
    took = [min(timer.repeat(number=200, repeat=5)) / 200 for timer in timers]
    assert took[0] < 20e-6
    assert took[1] < 100e-6
