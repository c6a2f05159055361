"""What we allow callers: any minute, what is under way, and money in a day."""

import json
from collections import deque
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermes_router.core.errors import CallerLimited
from hermes_router.core.ids import RouterKeyId
from hermes_router.core.records import LedgerRow
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
    assert limits.dump(NOW)["rates"] == {}
    limits.admit(who, NOW)


def test_a_successor_goes_on_counting_the_minute() -> None:
    """`hr restart` gives nobody a fresh minute; what is unsound in a dump is left out."""
    old, new, who = CallerLimits(), CallerLimits(), caller(rpm=2)
    old.admit(who, NOW)
    old.admit(caller("other"), NOW)
    old.admit(who, NOW + 30)
    dumped = json.loads(json.dumps(old.dump(NOW + 31)))
    assert set(dumped["rates"]) == {"rk"}
    dumped["rates"] |= {"x": 3, "y": [None, "a", float("nan"), NOW + 99, -1.0], "z": [True]}
    new.load(dumped, NOW + 31)
    assert refused(new, who, NOW + 31).retry_after_s == 29.0
    assert set(new.dump(NOW + 31)["rates"]) == {"rk"}
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


# --- money ----------------------------------------------------------------------------------------------------

MIDNIGHT = (NOW // 86_400 + 1) * 86_400
BUDGET = 2_000_000


def test_what_is_in_flight_is_never_spent_twice() -> None:
    """A claim counts at once, the true cost takes its place, and each ends once."""
    limits, who = CallerLimits(), caller(budget_microusd=BUDGET)
    one, two = limits.admit(who, NOW), limits.admit(who, NOW)
    assert one.money_left(NOW) == BUDGET
    one.reserve(1_500_000, NOW)
    assert two.money_left(NOW) == 500_000
    two.reserve(400_000, NOW)
    assert one.money_left(NOW) == 100_000
    one.settle(200_000, NOW)
    one.settle(200_000 * 0, NOW)
    assert two.money_left(NOW) == BUDGET - 600_000
    assert (limits.claimed(NOW), one.settled(NOW)) == (400_000, 200_000)
    two.settle(None, NOW)  # nobody knows what it cost: what was claimed stands
    assert limits.spent(RK, NOW) == one.settled(NOW) == 600_000
    assert limits.claimed(NOW) == 0
    one.release()
    two.release()
    assert limits.spent(RK, NOW) == 600_000


def test_a_key_without_a_budget_has_none_and_is_counted_all_the_same() -> None:
    """A budget given at noon knows of the morning."""
    limits = CallerLimits()
    lease = limits.admit(caller(), NOW)
    assert lease.money_left(NOW) is None
    lease.reserve(700_000, NOW)
    lease.settle(900_000, NOW)
    assert limits.admit(caller(budget_microusd=BUDGET), NOW).money_left(NOW) == 1_100_000
    assert limits.admit(caller(budget_microusd=1), NOW).money_left(NOW) == 0


def test_a_dearer_end_than_expected_is_counted_whole() -> None:
    """The answer is not cut; what it went over is what was in flight, and nothing is left for the next."""
    limits, who = CallerLimits(), caller(budget_microusd=BUDGET)
    lease = limits.admit(who, NOW)
    lease.reserve(10_000, NOW)
    lease.settle(5_000_000, NOW)
    assert lease.money_left(NOW) == 0
    assert limits.spent(RK, NOW) == 5_000_000


def test_a_day_of_money_ends_at_midnight_utc() -> None:
    """Yesterday's spending is gone, and what was claimed yesterday is settled there."""
    limits, who = CallerLimits(), caller(budget_microusd=BUDGET)
    lease, late = limits.admit(who, NOW), limits.admit(who, NOW)
    lease.reserve(BUDGET, NOW)
    lease.settle(BUDGET, NOW)
    late.reserve(300_000, MIDNIGHT - 1)
    assert late.money_left(MIDNIGHT - 0.001) == 0
    assert late.money_left(MIDNIGHT) == BUDGET
    late.settle(900_000, MIDNIGHT + 1)
    assert limits.spent(RK, MIDNIGHT + 1) == 0


def test_the_refusal_is_true_and_says_what_to_do() -> None:
    """429, the seconds to midnight UTC, no retry by SDKs that would sleep for hours, and none of agents' words."""
    limits, who = CallerLimits(), caller(budget_microusd=BUDGET)
    lease = limits.admit(who, NOW)
    lease.reserve(1_995_000, NOW)
    lease.settle(1_995_000, NOW)
    rendered = render_error(lease.over_budget(NOW), now=NOW)
    error = json.loads(rendered.body)["error"]
    assert (rendered.status, error["type"], error["code"]) == (429, "rate_limit_error", "budget_spent")
    assert rendered.headers == {
        "retry-after": str(int(MIDNIGHT - NOW)),
        "x-should-retry": "false",
        "x-hermes-retry-at": str(int(MIDNIGHT)),
    }
    for word in ("$2.00 a day", "$0.005 left", "midnight UTC", "hr key add NAME --usd-day"):
        assert word in error["message"]
    for word in ("context length", "token limit", "max_tokens", "exceeds the limit", "quota", "billing"):
        assert word not in error["message"]


def test_a_key_whose_whole_day_is_too_little_is_told_that_waiting_is_in_vain() -> None:
    """No instant is named, since none would be true."""
    lease = CallerLimits().admit(caller(budget_microusd=0), NOW)
    rendered = render_error(lease.over_budget(NOW, in_vain=True), now=NOW)
    assert (rendered.status, rendered.headers) == (429, {"x-should-retry": "false"})
    assert "may spend $0.00 a day, less than this request" in json.loads(rendered.body)["error"]["message"]
    assert (lease.budget_microusd, lease.said_left(NOW)) == (0, "$0.00")


def test_money_outlives_a_restart_and_a_kill() -> None:
    """What was claimed counts as spent; a dump that is loaded twice, or beside the disk's rows, counts once."""
    old, who = CallerLimits(), caller(budget_microusd=BUDGET)
    lease = old.admit(who, NOW)
    lease.reserve(100_000, NOW)
    lease.settle(300_000, NOW)
    old.admit(who, NOW).reserve(200_000, NOW)
    dumped, rows = json.loads(json.dumps(old.dump(NOW))), old.rows(NOW)
    for new in (CallerLimits(), CallerLimits(), CallerLimits()):
        new.load(dumped, NOW + 5)
        new.restore(rows, NOW + 5)
        new.load(dumped, NOW + 5)
        assert new.spent(RK, NOW + 5) == 500_000
    late = CallerLimits()
    late.load(dumped, MIDNIGHT)
    late.restore(rows, MIDNIGHT)
    assert late.spent(RK, MIDNIGHT) == 0


def test_a_clock_that_was_set_back_forgives_nothing() -> None:
    """The dump is of tomorrow: a wrong clock wrote it, and its money was spent."""
    old = CallerLimits()
    old.admit(caller(), MIDNIGHT + 60).settle(400_000, MIDNIGHT + 60)
    new, other = CallerLimits(), CallerLimits()
    new.load(old.dump(MIDNIGHT + 60), NOW)
    other.restore(old.rows(MIDNIGHT + 60), NOW)
    assert new.spent(RK, NOW) == other.spent(RK, NOW) == 400_000


@pytest.mark.parametrize(
    "money", [None, 3, [], {"rk": -5}, {"rk": "5"}, {"rk": True}, {"rk": 10**30}, {"rk": 1.5}, {5: 5}]
)
def test_nonsense_in_a_dump_is_left_out(money: Any) -> None:
    """It never raises, and never gives or takes money."""
    limits = CallerLimits()
    limits.load({"money": money, "day": int(NOW // 86_400), "rates": 7}, NOW)
    limits.restore([LedgerRow("caller_money", "rk", money, NOW, NOW)], NOW)
    limits.restore([LedgerRow("caller_money", "rk", {"day": "x", "spent": 5}, NOW, NOW)], NOW)
    limits.restore([LedgerRow("meter", "rk", {"day": int(NOW // 86_400), "spent": 5}, NOW, NOW)], NOW)
    assert limits.spent(RK, NOW) == 0


def test_rows_are_those_that_changed_and_the_first_change_is_told() -> None:
    """One call for a burst; nothing to write where nothing changed; all of it where the file is new."""
    limits = CallerLimits()
    told: list[int] = []
    limits.on_change = lambda: told.append(1)
    for key in ("a", "b"):
        lease = limits.admit(caller(key), NOW)
        lease.reserve(100, NOW)
        lease.settle(70, NOW)
    limits.admit(caller("c"), NOW).settle(0, NOW)
    assert told == [1]
    assert sorted((row.key, row.value["spent"]) for row in limits.rows(NOW)) == [("a", 70), ("b", 70)]
    assert limits.rows(NOW) == []
    limits.admit(caller("a"), NOW).settle(5, NOW)
    assert told == [1, 1]
    [row] = limits.rows(NOW)
    assert (row.kind, row.key, row.value) == ("caller_money", "a", {"day": int(NOW // 86_400), "spent": 75})
    assert row.until > MIDNIGHT
    assert sorted(row.key for row in limits.rows(NOW, whole=True)) == ["a", "b"]


def test_a_successor_hears_of_every_change_of_its_predecessors_streams() -> None:
    """After the dump: what was claimed becomes what it cost, and a late request is counted whole."""
    old, new, who = CallerLimits(), CallerLimits(), caller(budget_microusd=BUDGET)
    lease = old.admit(who, NOW)
    lease.reserve(500_000, NOW)
    new.load(old.dump(NOW), NOW)
    told: list[Any] = []
    old.report_money(told.append)
    lease.settle(350_000, NOW + 1)
    late = old.admit(who, NOW + 1)
    late.reserve(100_000, NOW + 1)
    late.settle(140_000, NOW + 2)
    for each in json.loads(json.dumps(told)):
        new.adjust(each, NOW + 3)
    assert new.spent(RK, NOW + 3) == old.spent(RK, NOW + 3) == 490_000
    day = int(NOW // 86_400)
    for nonsense in (
        None,
        [],
        ["rk", day, 5],
        ["x", "rk", day, 5],
        ["caller_money", "rk", day, 10**40],
        [["s", 1]],
        "rk",
    ):
        new.adjust(nonsense, NOW + 3)
    new.adjust(["caller_money", "rk", day - 1, 5], NOW + 3)
    assert new.spent(RK, NOW + 3) == 490_000
    old.report_money(None)
    late.reserve(1, NOW + 4)
    assert len(told) == 3


def test_a_key_that_was_hidden_comes_back_with_what_it_spent() -> None:
    """A damaged file for a moment is no fresh budget; the day after, the removed key is forgotten."""
    limits = CallerLimits()
    lease = limits.admit(caller(), NOW)
    lease.settle(5, NOW)
    lease.release()
    limits.keep([])
    assert limits.spent(RK, NOW) == 5
    limits.dump(MIDNIGHT)
    limits.keep([])
    assert limits.rows(MIDNIGHT, whole=True) == []


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 900_000), st.integers(0, 1_500_000)), max_size=40))
def test_past_a_budget_goes_at_most_what_is_in_flight(steps: list[tuple[int, int, int]]) -> None:
    """Four exchanges in any order, each asked only if its expected cost fits: over it by no more than they cost."""
    limits, who = CallerLimits(), caller(budget_microusd=BUDGET)
    leases = [limits.admit(who, NOW) for _ in range(4)]
    open_costs: dict[int, int] = {}
    spent = 0
    for which, expected, cost in steps:
        lease = leases[which]
        if which in open_costs:
            lease.settle(open_costs.pop(which), NOW)
        left = lease.money_left(NOW)
        assert left is not None
        if expected and expected <= left:
            assert spent - BUDGET < 0
            lease.reserve(expected, NOW)
            open_costs[which] = cost
            spent = limits.spent(RK, NOW)
    for which, cost in open_costs.items():
        leases[which].settle(cost, NOW)
    assert limits.spent(RK, NOW) <= BUDGET + 4 * 1_500_000


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


def test_a_kill_does_not_give_a_minute_back() -> None:
    """The requests of the last minute are on the disk, too; what was not a request of it is left out."""
    old, said = CallerLimits(), []
    old.on_change = lambda: said.append(1)
    caller = Caller(RouterKeyId("rk"), rpm=2)
    for _ in range(2):
        old.admit(caller, NOW).release()
    rows = json.loads(json.dumps(old.rows(NOW)))
    assert (len(said), old.rows(NOW)) == (1, [])
    assert [row.key for row in old.rows(NOW, whole=True)] == ["rk"]
    new = CallerLimits()
    new.restore([LedgerRow(*row) for row in rows], NOW + 40)
    with pytest.raises(CallerLimited) as caught:
        new.admit(caller, NOW + 40)
    assert caught.value.retry_after_s == 20.0
    for wrong in (None, 7, "x", [None, "x", NOW + 1e9, -1, float("nan")], {"a": 1}):
        other = CallerLimits()
        other.restore([LedgerRow("caller_rate", "rk", wrong, NOW, NOW + 60)], NOW)
        other.admit(caller, NOW)
