"""Quota: window arithmetic and claims."""

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from hermes_router.core.catalog import QuotaRule
from hermes_router.core.ids import ProviderName
from hermes_router.core.observations import QuotaSeen, Scope, Unit, Window
from hermes_router.routing.quota import Meter, Reservation, settle

SCOPE = Scope(ProviderName("p"))


def at(*parts: int) -> float:
    """Epoch seconds of a UTC date."""
    return datetime(*parts, tzinfo=UTC).timestamp()


def meter(
    unit: Unit = Unit.REQUESTS, window: Window = Window.MINUTE, limit: int | None = 10, origin: str = "owner"
) -> Meter:
    """A window with its limit."""
    made = Meter(SCOPE, unit, window)
    made.rule(limit, origin)  # type: ignore[arg-type]
    return made


def charge(one: Meter, amount: int, now: float) -> tuple[Meter, int, int]:
    """One request's claim, as the ledger makes it."""
    if now >= one.reset_at:
        one.roll(now)
    one.used += amount
    return one, amount, one.epoch


def told(remaining: int | None, limit: int | None = None, reset_at: float | None = None) -> QuotaSeen:
    """What a header says."""
    return QuotaSeen("provider", Unit.REQUESTS, Window.MINUTE, limit, remaining, reset_at)


def test_a_window_holds_its_limit_and_comes_back_whole() -> None:
    """What does not fit waits for the window's end, and then fits."""
    one = meter()
    charge(one, 10, 100.0)
    assert not one.fits(1, 100.0)
    assert one.left(100.0) == 0
    assert one.fits(10, 160.0)
    assert one.left(160.0) == 10


def test_a_claim_is_replaced_by_what_was_used() -> None:
    """Settling gives back what was not used; an unreported amount stands; nothing sent gives all back."""
    one = meter(Unit.TOKENS, limit=1_000)
    entry = charge(one, 400, 0.0)
    settle([entry], (1, 150, 100, 50, 0, 1))
    assert one.used == 150
    entry = charge(one, 400, 0.0)
    settle([entry], (1, -1, -1, -1, -1, 1))
    assert one.used == 550
    entry = charge(one, 300, 0.0)
    settle([entry], None)
    assert one.used == 550


def test_a_claim_of_another_window_changes_nothing() -> None:
    """A request that began before the window's end does not touch the new one."""
    one = meter()
    entry = charge(one, 5, 0.0)
    charge(one, 2, 61.0)
    settle([entry], None)
    assert one.used == 2


def test_concurrency_is_a_level() -> None:
    """Requests in flight are given back one by one, at any time, and no clock empties the level."""
    one = meter(Unit.CONCURRENCY, Window.NONE, limit=1)
    entry = charge(one, 1, 0.0)
    assert not one.fits(1, 1e9)
    settle([entry], (1, 5, 5, 0, 0, 1))
    assert one.fits(1, 0.0)


def test_a_prior_ranks_and_never_binds() -> None:
    """Published numbers go from ample to scarce to spent; they do not bind."""
    one = meter(origin="published")
    assert not one.binds
    assert one.rank(0.0) == 0
    charge(one, 9, 0.0)
    assert one.rank(0.0) == 1
    charge(one, 1, 0.0)
    assert one.rank(0.0) == 3
    assert one.rank(61.0) == 0


def test_what_is_told_binds_until_its_reset() -> None:
    """Nothing remaining blocks until the reset that was told, and the prior turns into a binding limit."""
    one = meter(origin="published")
    one.told(told(0, 30, 500.0), 100.0)
    assert (one.origin, one.binds, one.limit) == ("told", True, 30)
    assert not one.fits(1, 499.0)
    assert one.fits(1, 500.0)


def test_what_is_told_counts_requests_under_way() -> None:
    """The provider's count holds the requests that it has seen, so their claims settle without effect."""
    one = meter(limit=None, origin="published")
    entry = charge(one, 1, 0.0)
    one.told(told(7, 10), 0.0)
    settle([entry], (1, 5, 5, 0, 0, 1))
    assert one.left(0.0) == 7


def test_a_remainder_without_a_limit_holds_for_one_window() -> None:
    """With only the rest told, the limit is unknown again after the reset."""
    one = meter(limit=None, origin="published")
    one.told(told(2, None, 50.0), 10.0)
    assert one.fits(2, 10.0)
    assert not one.fits(3, 10.0)
    one.roll(50.0)
    assert one.limit is None
    assert one.fits(99, 50.0)


def test_nothing_left_and_no_reset_told_is_looked_at_again_soon() -> None:
    """Without an instant the block lasts a minute at most, whatever the window."""
    one = Meter(SCOPE, Unit.REQUESTS, Window.DAY)
    one.told(QuotaSeen("provider", Unit.REQUESTS, Window.DAY, 50, 0), 100.0)
    assert not one.fits(1, 159.0)
    assert one.fits(1, 160.0)


def test_a_limit_alone_changes_no_count() -> None:
    """A header with only the limit makes it binding and leaves our count."""
    one = meter(limit=None, origin="published")
    charge(one, 3, 0.0)
    one.told(told(None, 10), 0.0)
    assert one.left(0.0) == 7


def test_the_owners_word_is_only_ever_tightened() -> None:
    """What a provider tells never widens the owner's limit, and narrows what is left of it."""
    one = meter(limit=10)
    one.told(told(900, 1_000, 99.0), 0.0)
    assert (one.limit, one.origin, one.left(0.0)) == (10, "owner", 10)
    charge(one, 1, 0.0)
    one.told(told(2, 1_000, 99.0), 0.0)
    assert one.left(0.0) == 2
    assert one.reset_at == 99.0


def test_a_told_level_sets_the_limit_only() -> None:
    """A told concurrency limit does not overwrite what is in flight."""
    one = meter(Unit.CONCURRENCY, Window.NONE, limit=None, origin="published")
    charge(one, 1, 0.0)
    one.told(QuotaSeen("provider", Unit.CONCURRENCY, Window.NONE, 1, 1), 0.0)
    assert not one.fits(1, 0.0)


@given(st.lists(st.tuples(st.integers(1, 9), st.integers(0, 200), st.sampled_from(["used", "unsent", "unknown"]))))
def test_settled_claims_leave_exactly_what_was_used(requests: list[tuple[int, int, str]]) -> None:
    """Over any sequence of claims the window holds neither more nor less than their outcomes; never below 0."""
    one = meter(Unit.TOKENS, limit=None, origin="published")
    expected, epoch = 0, 0
    for amount, second, outcome in requests:
        entry = charge(one, amount, float(second))
        if one.epoch != epoch:
            expected, epoch = 0, one.epoch
        settle([entry], None if outcome == "unsent" else (1, 2 if outcome == "used" else -1, 0, 0, 0, 1))
        expected += {"used": 2, "unsent": 0, "unknown": amount}[outcome]
        assert one.used == expected >= 0


def test_a_reservation_begins_unsettled() -> None:
    """A claim holds what it claimed, and no probe."""
    made = Reservation(None, [])  # type: ignore[arg-type]
    assert (made.settled, made.probes) == (False, ())


def test_scarcity_is_noticed_again_after_a_settlement_took_it_back(world, make, want) -> None:
    """A claim crosses nine tenths of a prior, its settlement takes most of it back: the next crossing counts anew."""
    w = world(make("a/m", quotas=[QuotaRule(Unit.TOKENS, 10_000, Window.DAY)]))

    def why(used: int) -> list[str]:
        held = w.take(want(max_output_tokens=9_500))
        w.state.settle(held.reservation, w.now, input_tokens=10, output_tokens=used, sent=True)
        return [one.why for one in w.plan(want()).explain()]

    assert why(10) == ["fits"]
    assert why(9_300) == ["scarce"]
