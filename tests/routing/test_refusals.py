"""What a refusal teaches: which window it speaks of, and which number."""

import pytest

from hermes_router.core import errors as err
from hermes_router.core.catalog import QuotaRule
from hermes_router.core.clocks import next_reset
from hermes_router.core.observations import QuotaSeen, Unit, Window

from .conftest import World, ask, target

MINUTE = QuotaRule(Unit.REQUESTS, 20, Window.MINUTE, "account_model")
ONE_AT_A_TIME = QuotaRule(Unit.CONCURRENCY, 1, Window.NONE, "account")


def learned(w: World) -> list[tuple[str, int | None]]:
    """The windows that refusals have taught, with their limits."""
    return [(f"{one.unit}/{one.window}", one.limit) for _, one in w.state.windows(w.now) if one.origin == "learned"]


def refused(w: World, error: err.UpstreamError) -> None:
    """One request more, which draws this refusal and costs nothing."""
    demand = ask()
    candidate = w.take(demand)
    assert candidate is not None
    w.state.failed(candidate.facts.target, error, w.now, demand=demand, reservation=candidate.reservation)
    w.settle(candidate, sent=False)


def test_a_refusal_near_the_published_number_makes_it_learned() -> None:
    """19 of a published 20 succeeded, the next is refused: 19 binds, and in the next minute no 429 is drawn."""
    w = World(target("a/m", quotas=(MINUTE,)))
    assert [w.who() for _ in range(19)].count(None) == 0
    refused(w, err.RateLimited(status=429, window=Window.MINUTE, scope="account_model"))
    assert learned(w) == [("requests/minute", 19)]
    w.later(61.0)
    assert [w.who() is not None for _ in range(21)].count(True) <= 20


def test_fl1_a_refusal_far_from_every_number_teaches_no_limit() -> None:
    """At 5 of 20 it is refused: that is a cooldown, and no limit of 5."""
    w = World(target("a/m", quotas=(MINUTE,)))
    for _ in range(5):
        w.who()
    refused(w, err.RateLimited(status=429, scope="account_model"))
    assert learned(w) == []
    assert w.status(w.roster.facts[0]).state == "cooling"


def test_a_second_one_in_flight_that_is_refused_makes_the_level_binding() -> None:
    """Published: one at a time. The first refusal of a second one proves it: from then on it is never tried."""
    w = World(target("a/m", quotas=(ONE_AT_A_TIME,)))
    first = w.take()
    assert first is not None
    refused(w, err.RateLimited(status=429, window=Window.NONE, scope="account_model"))
    assert learned(w) == [("concurrency/none", 1)]
    w.later(60.0)
    assert w.take() is None
    w.settle(first)
    assert w.take() is not None


@pytest.mark.parametrize("scope", ["ip", "provider", "model"])
def test_a_refusal_of_somebody_else_teaches_nothing_about_the_account(scope: str) -> None:
    """Our address, the provider or the model was refused: the account's windows are as they were."""
    w = World(target("a/m", quotas=(MINUTE,)))
    for _ in range(20):
        w.who()
    w.blame(w.roster.facts[0], err.RateLimited(status=429, window=Window.MINUTE, scope=scope))  # type: ignore[arg-type]
    assert learned(w) == []


def test_the_owners_word_is_never_unlearned() -> None:
    """P_LIMITS=rpm=20 stands, whatever a refusal says."""
    rule = QuotaRule(Unit.REQUESTS, 20, Window.MINUTE, "account_model", origin="owner")
    w = World(target("a/m", quotas=(rule,)))
    for _ in range(19):
        w.who()
    refused(w, err.RateLimited(status=429, window=Window.MINUTE, scope="account_model"))
    assert learned(w) == []


# --- what a number is not ------------------------------------------------------------------------------


def test_two_refusals_at_the_same_count_are_a_limit_that_nobody_published() -> None:
    """Published 40, true 6: refused twice at six, in two minutes, and six binds."""
    w = World(target("a/m", quotas=(QuotaRule(Unit.REQUESTS, 40, Window.MINUTE, "account_model"),)))
    for number in range(2):
        for _ in range(6):
            assert w.who()
        refused(w, err.RateLimited(status=429, window=Window.MINUTE))
        assert learned(w) == ([("requests/minute", 6)] if number else [])
        w.later(120.0)
    assert [w.who() is not None for _ in range(8)].count(True) == 6


def test_a_limit_published_for_a_model_may_be_its_accounts() -> None:
    """One a second for each model, they say; it is one for the account: the second refusal finds that out."""
    second = QuotaRule(Unit.REQUESTS, 1, Window.SECOND, "account_model")
    x, y = (target(f"a/{m}", account="acc", quotas=(second,)) for m in "xy")
    w = World(x, y)
    for _ in range(2):
        w.later(40.0)
        demand = ask()
        one, other = w.take(demand), w.take(demand)
        assert one is not None
        assert other is not None
        w.state.failed(
            other.facts.target, err.RateLimited(status=429), w.now, demand=demand, reservation=other.reservation
        )
        w.settle(other, sent=False)
        w.state.succeeded(one.facts.target, w.now, ttft_s=0.1, demand=demand)
        w.settle(one)
    assert learned(w) == [("requests/second", 1)]
    w.later(40.0)
    assert [w.who() is not None, w.who() is not None] == [True, False]


def test_keys_of_one_account_that_nobody_labelled_are_found_out() -> None:
    """Each is told that 50 are spent, when both together have sent them: from then on each counts for both."""
    day = QuotaRule(Unit.REQUESTS, 50, Window.DAY, "account", resets="utc")
    facts = [target("a/m", key=k, quotas=(day,)) for k in ("k1", "k2")]
    w = World(*facts)
    for _ in range(50):
        assert w.who()
    midnight = next_reset("utc", Window.DAY, w.now)
    spent = QuotaSeen("account", Unit.REQUESTS, Window.DAY, 50, 0, midnight)
    for one in facts:
        error = err.QuotaExhausted(window=Window.DAY, scope="account", retry_at=midnight, told=True, quotas=[spent])
        w.state.failed(one.target, error, w.now)
    w.later(midnight - w.now + 1.0)
    assert [w.who() is not None for _ in range(60)].count(True) == 50


def test_a_day_that_does_not_end_at_the_rows_midnight_is_found_out() -> None:
    """Spent in the evening and refused just after midnight, without a word: no second night of refusals."""
    day = QuotaRule(Unit.REQUESTS, 20, Window.DAY, "account", resets="utc")
    w = World(target("a/m", quotas=(day,)))
    w.later(next_reset("utc", Window.DAY, w.now) - w.now - 3_600.0)
    for _ in range(20):
        assert w.who()
    w.later(3_700.0)
    refused(w, err.RateLimited(status=429))
    w.later(600.0)
    assert w.who() is None
    assert w.later(82_800.0).who()


def test_a_request_too_large_for_what_is_left_holds_back_no_smaller_one() -> None:
    """The provider says how much is left of the day: whoever fits into it is sent at once."""
    w = World(target("a/m"))
    facts = w.roster.facts[0]
    large, small = ask(text_bytes=40_000, max_output_tokens=10), ask(max_output_tokens=10)
    left = QuotaSeen("account_model", Unit.TOKENS, Window.DAY, 200_000, 4_000, w.now + 30_000)
    assert w.who(small)
    w.state.seen(facts.target, [left], w.now)
    assert w.plan(large).take() is None
    slot = w.state.slot(facts.target)
    assert slot is not None
    late = w.state.reserve(slot, large, w.now)
    error = err.QuotaExhausted(window=Window.DAY, retry_at=w.now + 30_000, told=True, quotas=[left])
    w.state.failed(facts.target, error, w.now, demand=large, reservation=late)
    w.state.settle(late, w.now, input_tokens=None, output_tokens=None, sent=False)
    assert w.plan(large).take() is None
    assert w.who(small)


def test_two_models_that_refuse_together_are_one_limit_of_their_account() -> None:
    """Without a word on why: the account rests, and its third model draws no refusal of its own."""
    w = World(*(target(f"a/{m}", account="acc") for m in "xyz"))
    w.state.adopt(w.roster)
    for facts in w.roster.facts[:2]:
        w.state.failed(facts.target, err.RateLimited(status=429), w.now)
    assert w.who() is None
    assert w.later(5.0).who()


def test_cp2_what_the_ledger_explains_is_not_asked_after() -> None:
    """A day that is spent by our own count too is spent; a day told out of nothing is asked about once an hour."""
    day = QuotaRule(Unit.REQUESTS, 5, Window.DAY, "account", resets="utc")
    until = next_reset("utc", Window.DAY, World().now)
    error = err.QuotaExhausted(window=Window.DAY, scope="account", retry_at=until, told=True)
    explained, not_so = World(target("a/m", quotas=(day,))), World(target("a/m"))
    for _ in range(5):
        explained.who()
    for w in (explained, not_so):
        refused(w, error)
        w.later(3_601.0)
    assert explained.who() is None
    assert not_so.who() is not None


TOKENS_A_DAY = QuotaRule(Unit.TOKENS, 200_000, Window.DAY, "account_model")


def short_of_tokens(w: World, remaining: int, *, used_first: int) -> None:
    """One that draws a refusal by the day's tokens, of which `remaining` are left, after `used_first` were used."""
    demand = ask(max_output_tokens=4_000)
    first = w.take(demand)
    assert first is not None
    w.state.settle(first.reservation, w.now, input_tokens=used_first, output_tokens=0, sent=True)
    candidate = w.take(demand)
    assert candidate is not None
    left = QuotaSeen("account_model", Unit.TOKENS, Window.DAY, 200_000, remaining, w.now + 500.0)
    error = err.QuotaExhausted(status=429, window=Window.DAY, scope="account_model", retry_at=w.now + 500.0, told=True)
    error.quotas = (left,)
    w.state.failed(candidate.facts.target, error, w.now, demand=demand, reservation=candidate.reservation)
    w.settle(candidate, sent=False)


def test_a_request_that_was_taken_for_too_little_holds_back_its_like_and_nobody_else() -> None:
    """4,050 were left, it was taken for some 4,010 and was more: a smaller one may go at once, an equal one waits."""
    w = World(target("a/m", quotas=(TOKENS_A_DAY,)))
    short_of_tokens(w, 4_050, used_first=195_950)
    assert w.status(w.roster.facts[0]).state == "ready"
    assert w.who(ask(max_output_tokens=4_000)) is None
    assert w.who(ask(max_output_tokens=2_000)) is not None
    w.later(501.0)
    assert w.take(ask(max_output_tokens=1_000)) is not None


def test_a_refusal_that_names_its_unit_teaches_nothing_of_another() -> None:
    """A prompt above the minute's input tokens: no number of requests is learned of it, for nobody."""
    rules = (QuotaRule(Unit.REQUESTS, 30, Window.MINUTE, "account_model"),)
    w = World(target("a/m", quotas=rules))
    for _ in range(3):
        w.later(70.0)
        for _ in range(3):
            w.who()
        error = err.RateLimited(
            status=429, window=Window.MINUTE, scope="account_model", retry_at=w.now + 30.0, told=True
        )
        error.quotas = (QuotaSeen("account_model", Unit.INPUT_TOKENS, Window.MINUTE, 15_000, None, w.now + 30.0),)
        refused(w, error)
    assert learned(w) == []
    assert not [one for scope, one in w.state.windows(w.now) if scope.model is None and one.unit == "requests"]
