"""The bars of the simulated week for our own policy, over two days at full load, and the worlds' own honesty."""

import pytest

from hermes_router.core.errors import QuotaExhausted, RateLimited
from hermes_router.core.observations import Unit, Window

from .load import DAY, flood, week
from .measures import Measures
from .ours import read_error
from .pool import sent_cap, targets
from .truth import Truth
from .week import BUDGET_MICROUSD, FEW, POLICIES, SEED, START, Score, bars, run_week, saturate, sequence, spread
from .windows import MINUTE, Count, Limit, day_of
from .world import World

QUIET = str.strip  # progress goes nowhere


@pytest.fixture(scope="module")
def score() -> Score:
    """Two days and a short flood of our own policy."""
    found, _ = run_week(POLICIES[0], days=2, scale=1.0, seed=SEED, say=QUIET)
    found.spread = spread(POLICIES[0], seed=SEED)
    found.early = sequence(POLICIES[0], seed=SEED)
    share = saturate(POLICIES[:1], minutes=3, per_minute=300, seed=SEED, say=QUIET, keys=FEW)[POLICIES[0]]
    found.spent, found.spent_owners, found.spent_429 = share
    return found


@pytest.mark.parametrize("number", range(9))
def test_the_bars_of_the_simulated_week_hold(score: Score, number: int) -> None:
    """Refusals, spending, the bench, losses, money, spread and order: each within what is promised."""
    bar = bars(score)[number]
    assert bar.holds, f"{bar.name}: {bar.value}; 429s by provider: {score.by_provider}"


def test_the_same_seed_gives_the_same_week() -> None:
    """Two runs of one seed score the same; the arrivals of another seed are others."""
    first, _ = run_week(POLICIES[0], days=1, scale=0.1, seed=7, say=QUIET)
    second, _ = run_week(POLICIES[0], days=1, scale=0.1, seed=7, say=QUIET)
    first.seconds = second.seconds = 0.0
    assert first == second
    assert [j.at for j in week(seed=7, start=START, days=1)] != [j.at for j in week(seed=8, start=START, days=1)]


def test_a_rolling_window_never_admits_more_than_its_limit_in_any_span() -> None:
    """Whatever is asked, a log never holds more than the limit, and what it says of the wait is exact."""
    count = Count(Limit("rpm", "requests", 3, MINUTE), 0.0)
    for at in (0.0, 1.0, 2.0):
        assert count.wait_s(at, 1) == 0
        count.charge(at, 1)
    assert count.wait_s(10.0, 1) == pytest.approx(50.0)
    assert count.wait_s(59.9, 1) > 0
    assert count.wait_s(60.0, 1) == 0
    assert count.wait_s(60.0, 2) == pytest.approx(1.0)


def test_a_bucket_refills_evenly_and_a_day_ends_where_its_clock_says() -> None:
    """A token bucket gives back in proportion; a calendar day is whole again at midnight, and only then."""
    bucket = Count(Limit("tpm", "tokens", 6_000, MINUTE, "bucket"), 0.0)
    bucket.charge(0.0, 6_000)
    assert bucket.wait_s(0.0, 1_000) == pytest.approx(10.0)
    assert bucket.left(30.0) == 3_000
    day = Count(Limit("rpd", "requests", 2, DAY, "ends", ends=day_of("utc")), START + 100)
    day.charge(START + 100, 2)
    assert day.wait_s(START + 200, 1) == pytest.approx(DAY - 200)
    assert day.wait_s(START + DAY, 1) == 0


def test_what_a_truth_says_is_what_the_wire_reads() -> None:
    """A spent minute of Gemini's and a spent day of OpenRouter's come out of the wire as what they are."""
    jobs = flood(seed=1, start=START, minutes=1, per_minute=60)
    job = min(jobs, key=lambda one: one.tokens)
    facts = {str(one.target.model): one for one in reversed(targets())}
    truth = Truth(START, 1, seed=1, calm=True)

    def refused(model: str, times: int):
        one = facts[model]
        for n in range(times):
            answer = truth.ask(one, job, START + n * 0.1, cap=sent_cap(one, job, modest=True))
        assert answer.status == 429
        return read_error(one, answer, START + times * 0.1)

    minute = refused("gemini-3.8-flash", 6)
    assert isinstance(minute, RateLimited)
    assert minute.window is Window.MINUTE
    assert minute.quotas[0].limit == 5
    assert minute.quotas[0].unit is Unit.REQUESTS
    truth.alone()
    day = None
    for n in range(60):
        one = facts["openrouter/free"]
        answer = truth.ask(one, job, START + n * 4.0, cap=None)
        day = read_error(one, answer, START + n * 4.0) if answer.status == 429 else day
    assert isinstance(day, QuotaExhausted)
    assert day.retry_at == pytest.approx(START + DAY, abs=2)


def test_a_loss_is_only_what_the_truth_could_have_served() -> None:
    """A refused request counts as lost where some target had room within its patience, and not where none had."""
    facts = tuple(one for one in targets({"groq": (None,)}) if one.target.model == "openai/gpt-oss-20b")
    job = min(flood(seed=2, start=START, minutes=2, per_minute=60), key=lambda one: one.tokens)
    truth = Truth(START, 1, seed=1, calm=True)
    world = World(truth, start=START, seed=1)
    measures = Measures(world, facts, START, BUDGET_MICROUSD)
    exchange = type("Refused", (), {"job": job})()
    measures.ended(exchange, "limited")
    assert len(measures.lost) == 1
    for count in truth.counts(facts[0], START):
        count.charge(START, count.limit.amount)
    measures.ended(exchange, "limited")
    assert len(measures.lost) == 1
