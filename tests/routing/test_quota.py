"""Quota: window arithmetic and claims."""

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from hermes_router.core.catalog import QuotaRule
from hermes_router.core.ids import ProviderName
from hermes_router.core.observations import WINDOW_SECONDS, QuotaSeen, Scope, Unit, Window
from hermes_router.routing.claims import Reservation, settle
from hermes_router.routing.quota import GRACE_S, MOST_SLICES, SLICES, TRIAL_FIRST_S, Meter

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
    return one, amount, one.charge(amount, now)


def told(remaining: int | None, limit: int | None = None, reset_at: float | None = None) -> QuotaSeen:
    """What a header says."""
    return QuotaSeen("provider", Unit.REQUESTS, Window.MINUTE, limit, remaining, reset_at)


def test_a_window_holds_its_limit_and_comes_back_whole() -> None:
    """What does not fit waits for the window's end, and then fits."""
    one = meter()
    charge(one, 10, 100.0)
    assert not one.fits(1, 100.0)
    assert one.left(100.0) == 0
    assert one.fits(10, 160.0 + GRACE_S)
    assert one.left(160.0 + GRACE_S) == 10


def test_a_claim_is_replaced_by_what_was_used() -> None:
    """Settling gives back what was not used; an unreported amount stands; nothing sent gives all back."""
    one = meter(Unit.TOKENS, limit=1_000)
    entry = charge(one, 400, 0.0)
    settle([entry], (1, 150, 100, 50, 0, 1, 0))
    assert one.used == 150
    entry = charge(one, 400, 0.0)
    settle([entry], (1, -1, -1, -1, -1, 1, 0))
    assert one.used == 550
    entry = charge(one, 300, 0.0)
    settle([entry], None)
    assert one.used == 550


def test_a_claim_of_another_window_changes_nothing() -> None:
    """A request that began before it left the window does not touch what came since."""
    one = meter()
    entry = charge(one, 5, 0.0)
    charge(one, 2, 30.0)
    assert one.count(61.0) == 2
    settle([entry], None)
    assert one.used == 2


def test_concurrency_is_a_level() -> None:
    """Requests in flight are given back one by one, at any time, and no clock empties the level."""
    one = meter(Unit.CONCURRENCY, Window.NONE, limit=1)
    entry = charge(one, 1, 0.0)
    assert not one.fits(1, 1e9)
    settle([entry], (1, 5, 5, 0, 0, 1, 0))
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


def test_a_reset_that_only_once_looked_like_a_buckets_keeps_a_spent_window_shut() -> None:
    """What is told of a spent window denies that it refills evenly: nobody is let in before its reset."""
    one = meter(origin="published")
    one.told(told(2, limit=15, reset_at=1_052.0), 1_000.0)  # 13 of 15 used and 52 s left: by chance a bucket's
    one.told(told(0, limit=15, reset_at=1_052.0), 1_002.0)
    assert not one.fits(1, 1_030.0)
    assert one.fits(1, 1_053.0)


def test_what_is_told_counts_requests_under_way() -> None:
    """The provider's count holds the requests that it has seen, so their claims settle without effect."""
    one = meter(limit=None, origin="published")
    entry = charge(one, 1, 0.0)
    one.told(told(7, 10), 0.0)
    settle([entry], (1, 5, 5, 0, 0, 1, 0))
    assert one.left(0.0) == 7


def test_a_remainder_without_a_limit_holds_for_one_window() -> None:
    """With only the rest told, the limit is unknown again after the reset."""
    one = meter(limit=None, origin="published")
    one.told(told(2, None, 50.0), 10.0)
    assert one.fits(2, 10.0)
    assert not one.fits(3, 10.0)
    assert one.fits(99, 50.0)
    assert one.limit is None


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
    assert one.whole_at(0.0) == 99.0


def test_a_told_level_sets_the_limit_only() -> None:
    """A told concurrency limit does not overwrite what is in flight."""
    one = meter(Unit.CONCURRENCY, Window.NONE, limit=None, origin="published")
    charge(one, 1, 0.0)
    one.told(QuotaSeen("provider", Unit.CONCURRENCY, Window.NONE, 1, 1), 0.0)
    assert not one.fits(1, 0.0)


CLOCKS = st.sampled_from(["rolling", "utc"])


@given(CLOCKS, st.lists(st.tuples(st.integers(1, 9), st.integers(0, 40), st.sampled_from(["used", "unsent", "late"]))))
def test_settled_claims_leave_exactly_what_was_used(clock: str, requests: list[tuple[int, int, str]]) -> None:
    """Over any sequence of claims the window holds neither more nor less than their outcomes; never below 0.

    Never less than what was used in the last minute, and nothing that is older than a slice and the grace.
    """
    one = meter(Unit.TOKENS, limit=None, origin="published")
    one.rule(None, "published", clock)
    now, done = 0.0, []
    under_way: list[tuple[tuple[Meter, int, int], float]] = []
    for amount, later, outcome in requests:
        now += later
        entry = charge(one, amount, now)
        if outcome == "late":
            under_way.append((entry, now))
        else:
            settle([entry], None if outcome == "unsent" else (1, 2, 0, 0, 0, 1, 0))
            done.append((now, 2 if outcome == "used" else 0))
    now += 20.0
    for entry, at in under_way:
        settle([entry], (1, 3, 0, 0, 0, 1, 0))
        done.append((at, 3))
    used = one.count(now)
    if clock == "utc":
        assert used == sum(n for at, n in done if at // 60 == now // 60)
    else:
        slack = GRACE_S + 60.0 / SLICES
        assert sum(n for at, n in done if at > now - 60) <= used <= sum(n for at, n in done if at > now - 60 - slack)


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
        return [one.why for one in w.plan(want(max_output_tokens=10)).explain()]

    assert why(10) == ["fits"]
    assert why(9_300) == ["scarce"]


# --- rolling windows -----------------------------------------------------------------------------------


def test_a_rolling_window_never_holds_more_than_its_limit_in_any_span() -> None:
    """A burst at the end of one minute is not followed by another at the begin of the next."""
    one = meter(limit=10)
    for _ in range(2):
        charge(one, 1, 0.0)
    for _ in range(8):
        charge(one, 1, 59.0)
    assert not one.fits(1, 60.0)
    assert one.fits(2, 60.0 + GRACE_S)
    assert not one.fits(3, 60.0 + GRACE_S)
    assert one.room_at(3, 61.0) == 119.0 + GRACE_S
    assert one.whole_at(61.0) == 119.0 + GRACE_S


def test_the_log_of_a_window_is_bounded() -> None:
    """However often it is used and told of, its memory does not grow."""
    one = Meter(SCOPE, Unit.TOKENS, Window.MONTH)
    one.rule(10**9, "published")
    for number in range(10_000):
        now = number * 200.0
        charge(one, 3, now)
        if number % 3 == 0:
            one.told(QuotaSeen("provider", Unit.TOKENS, Window.MONTH, 10**9, 10**9 - one.used - 1, None), now)
    assert len(one.log) <= MOST_SLICES + 1
    assert one.used >= 3 * 10_000


def test_a_telling_covers_what_was_sent_before_its_request_only() -> None:
    """Ten are sent at once; the first answer counts itself, not the nine behind it, which are not forgotten."""
    one = meter(limit=None, origin="published")
    claims = [charge(one, 1, 0.0) for _ in range(10)]
    one.told(told(29, 30, 60.0), 0.5, (1, claims[0][2]))
    assert one.left(0.5) == 20
    settle([claims[9]], None)
    assert one.left(0.5) == 21
    settle([claims[0]], None)  # the provider has counted it
    assert one.left(0.5) == 21


def test_a_telling_keeps_the_shape_of_what_we_know() -> None:
    """What others used leaves at the reset that was told; what we used leaves as it is used."""
    one = Meter(SCOPE, Unit.REQUESTS, Window.DAY)
    one.rule(100, "published")
    charge(one, 40, 0.0)
    charge(one, 50, 40_000.0)
    one.told(QuotaSeen("provider", Unit.REQUESTS, Window.DAY, 100, 4, 126_400.0), 40_001.0)
    assert one.count(40_002.0) == 96
    assert one.count(86_401.0) == 56
    assert one.count(126_400.0) == 0


def test_a_limit_for_one_window_only_holds_no_longer_than_that() -> None:
    """Two are left for a quarter of an hour, of a day that rolls: then nothing is known of it, and nobody waits."""
    one = Meter(SCOPE, Unit.REQUESTS, Window.DAY)
    one.told(QuotaSeen("provider", Unit.REQUESTS, Window.DAY, None, 2, 1_900.0), 1_000.0)
    for _ in range(2):
        charge(one, 1, 1_000.0)
    assert not one.fits(1, 1_001.0)
    assert (one.full_until(1_001.0), one.room_at(1, 1_001.0)) == (1_900.0, 1_900.0)
    assert one.full_until(1_900.0) == 0.0


def test_the_clock_set_back_prolongs_no_doubt() -> None:
    """What binds for 45 s does so by the clock that runs, also when that was an hour ahead."""
    one = Meter(SCOPE, Unit.TOKENS, Window.DAY)
    one.rule(10_000, "told")
    one.doubt(9_000, one.charge(9_000, 3_600.0), 3_600.0)
    one.shift(-3_600.0, 0.0)
    assert one.room_at(5_000, 1.0) == 45.0
    assert one.fits(5_000, 45.0)
    assert not one.fits(10_001, 45.0)


def test_what_was_told_long_ago_may_be_doubted() -> None:
    """A limit told the day before yesterday, and never since, binds as a learned one does: one request may ask."""
    one = Meter(SCOPE, Unit.REQUESTS, Window.DAY)
    one.rule(None, "published", "utc")
    one.told(QuotaSeen("provider", Unit.REQUESTS, Window.DAY, 3, 0, at(2026, 1, 2)), at(2026, 1, 1, 9))
    now = at(2026, 1, 4, 9)
    for _ in range(3):
        charge(one, 1, now)
    assert one.origin == "learned"
    assert not one.fits(1, now)
    assert one.may_try(now)


# --- what is learned -------------------------------------------------------------------------------------


def test_a_learned_limit_binds_until_a_larger_count_succeeds() -> None:
    """It stands in later windows, is doubted once a day, and is believed no more once it was wrong."""
    one = meter(origin="published")
    one.published = 10
    one.learn(9, 0.0)
    assert (one.binds, one.limit, one.origin) == (True, 9, "learned")
    now = 1_000.0
    for _ in range(9):
        charge(one, 1, now)
    assert not one.fits(1, now)
    assert not one.may_try(now)
    now = TRIAL_FIRST_S + 1.0
    claims = [charge(one, 1, now) for _ in range(9)]
    assert one.may_try(now)
    claims.append(charge(one, 1, now))
    one.tried(now)
    assert not one.may_try(now + TRIAL_FIRST_S - 1.0)
    assert settle(claims[-1:], (1, 1, 1, 1, 0, 1), admitted=True) == [one]
    assert (one.binds, one.limit, one.origin) == (False, 12, "published")


def test_a_doubt_that_was_refused_waits_twice_as_long() -> None:
    """A day, two, four, and never more than eight."""
    one = meter(origin="published")
    one.learn(9, 0.0)
    spans, now = [], 0.0
    for _ in range(6):
        now = one.trial_at
        one.tried(now)
        one.learn(9, now)
        spans.append((one.trial_at - now) / TRIAL_FIRST_S)
    assert spans == [2, 4, 8, 8, 8, 8]


def test_a_prior_that_is_too_low_moves_up_with_what_succeeds() -> None:
    """A quarter is added to what succeeded, so that it does not pace for ever; a reload does not take it back."""
    one = meter(origin="published")
    one.prior(10, "rolling")
    claims = [charge(one, 1, 0.0) for _ in range(12)]
    settle(claims[:11], (1, 1, 1, 1, 0, 1), admitted=True)
    assert one.limit == 11 + 2
    settle(claims[11:], (1, 1, 1, 1, 0, 1), admitted=False)
    assert one.limit == 13
    one.prior(10, "rolling")
    assert one.limit == 13
    one.prior(20, "rolling")
    assert one.limit == 20


def test_a_published_level_stays_what_it_is() -> None:
    """Sane is not allowed: more at a time than the row advises is no reason for more."""
    one = meter(Unit.CONCURRENCY, Window.NONE, limit=1, origin="published")
    claims = [charge(one, 1, 0.0), charge(one, 1, 0.0)]
    settle(claims, (1, 1, 1, 1, 0, 1), admitted=True)
    assert one.limit == 1


def test_a_single_request_is_never_too_much_for_what_was_only_learned() -> None:
    """Alone in its window, a request larger than a learned number of tokens is sent; told ones stand."""
    one = meter(Unit.TOKENS, limit=100, origin="published")
    one.learn(100, 0.0)
    assert one.fits(500, 0.0)
    charge(one, 1, 0.0)
    assert not one.fits(500, 0.0)


# --- clocks ----------------------------------------------------------------------------------------------


def test_a_clock_set_back_leaves_no_window_standing() -> None:
    """What was to last half a minute still does; a day on a clock ends at its own midnight."""
    one, day = meter(limit=1), Meter(SCOPE, Unit.REQUESTS, Window.DAY)
    day.rule(1, "owner", "utc")
    ahead, now = at(2026, 1, 9, 12), at(2026, 1, 1, 12)
    charge(one, 1, ahead - 30.0)
    charge(day, 1, ahead)
    for each in (one, day):
        each.shift(now - ahead, now)
    assert one.room_at(1, now) == now + 30.0 + GRACE_S
    assert day.room_at(1, now) == at(2026, 1, 2)


# --- what answers show of a provider's counting ------------------------------------------------------------


def test_a_bucket_is_seen_to_refill_and_is_not_waited_for_whole() -> None:
    """Its reset is when all of it is back, in proportion: there is room as soon as enough of it is."""
    one = Meter(SCOPE, Unit.TOKENS, Window.MINUTE)
    one.told(QuotaSeen("provider", Unit.TOKENS, Window.MINUTE, 6_000, 3_000, 1_030.0), 1_000.0)
    assert not one.fits(4_000, 1_000.0)
    assert one.room_at(4_000, 1_000.0) == 1_010.0
    assert one.fits(4_000, 1_010.5)


def test_what_a_provider_only_claims_is_free_again_with_the_answers_end() -> None:
    """It counts the whole output cap at once, as we do; what was not written comes back although it was told of."""
    one = Meter(SCOPE, Unit.TOKENS, Window.MINUTE)
    entry = charge(one, 5_000, 1_000.0)
    one.told(QuotaSeen("provider", Unit.TOKENS, Window.MINUTE, 8_000, 3_000, 1_059.0), 1_000.4, (5_000, entry[2]))
    assert not one.fits(4_000, 1_001.0)
    settle([entry], (1, 700, 650, 50, 0, 1, 0), admitted=True)
    assert one.count(1_001.0) <= 700
    assert one.fits(4_000, 1_001.0)


def test_a_refusals_instant_makes_room_and_empties_nothing() -> None:
    """It says when that one request fits, not when a rolling day is over: the rest of the day still counts."""
    one = Meter(SCOPE, Unit.TOKENS, Window.DAY)
    for hour in range(20):
        charge(one, 10_000, hour * 3_600.0)
    claim = (5_000, one.charge(5_000, 72_000.0))
    seen = QuotaSeen("provider", Unit.TOKENS, Window.DAY, 200_000, 0, 80_000.0)
    one.told(seen, 72_001.0, claim, refused=True)
    settle([(one, *claim)], None)
    assert one.count(72_002.0) == 200_000
    assert one.fits(5_000, 80_000.0)
    assert not one.fits(50_000, 80_000.0)


def test_an_older_answer_says_nothing_new() -> None:
    """Heads overtake each other: the count of a request that was sent before is older news."""
    one = meter(limit=None, origin="published")
    first, second = charge(one, 1, 0.0), charge(one, 1, 0.1)
    one.told(told(10, 20, 60.0), 1.0, (1, second[2]))
    one.told(told(19, 20, 60.0), 1.5, (1, first[2]))
    assert one.left(1.5) == 10


def test_a_share_of_a_plan_is_only_ever_told() -> None:
    """No request knows its share: claims change nothing, what is told counts, and a reset empties the window."""
    one = Meter(SCOPE, Unit.PERCENT, Window.WEEK)
    one.told(QuotaSeen("account", Unit.PERCENT, Window.WEEK, 100, 40, 5_000.0), 0.0)
    assert one.left(0.0) == 40
    mark = one.charge(0, 1.0)
    one.told(QuotaSeen("account", Unit.PERCENT, Window.WEEK, 100, 55, 5_000.0), 2.0, (0, mark))
    assert one.left(2.0) == 55  # it may fall, too: credit was given back
    one.told(QuotaSeen("account", Unit.PERCENT, Window.WEEK, 100, 0, 5_000.0), 3.0)
    assert (one.full_until(3.0), one.fits(1, 4_999.0)) == (5_000.0, False)
    assert one.left(5_000.0) == 100
    half = WINDOW_SECONDS[Window.WEEK] / 2
    for now in (6_000.0, 6_001.0):  # by chance just what a bucket would say that refills evenly
        one.told(QuotaSeen("account", Unit.PERCENT, Window.WEEK, 100, 50, now + half), now)
    assert one.left(6_001.0 + half / 2) == 50
