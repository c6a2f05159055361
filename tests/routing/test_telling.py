"""What a provider's word about a window does to our count of it."""

import pytest

from hermes_router.core.ids import ProviderName
from hermes_router.core.observations import QuotaSeen, Scope, Unit, Window
from hermes_router.routing.claims import settle
from hermes_router.routing.quota import Meter

SCOPE = Scope(ProviderName("p"))
DAY = 86_400.0


def bucket(limit: int = 8_000) -> Meter:
    """A minute of tokens, told."""
    one = Meter(SCOPE, Unit.TOKENS, Window.MINUTE)
    one.rule(limit, "told")
    return one


def said(used: int, *, limit: int = 8_000, reset_at: float | None = None, window: Window = Window.MINUTE) -> QuotaSeen:
    """A telling of that many used."""
    return QuotaSeen("provider", Unit.TOKENS, window, limit, limit - used, reset_at)


def asked(one: Meter, amount: int, now: float) -> tuple[int, int]:
    """A request's claim: amount and mark."""
    return amount, one.charge(amount, now)


def test_the_answer_to_a_request_says_what_it_has_taken() -> None:
    """It was claimed with 5,000, the provider counts 4,600 with it: that is what the window holds."""
    one = bucket()
    claim = asked(one, 5_000, 1_000.0)
    one.told(said(4_600), 1_000.4, claim)
    assert one.count(1_000.4) == 4_600


def test_what_the_providers_count_holds_of_a_claim_comes_back_with_its_end() -> None:
    """Requests without a cap were counted by their prompt alone; the one with a cap is held whole, and given back so."""
    one = bucket()
    small = asked(one, 2_000, 1_000.0)
    held = one.told(said(1_100), 1_000.4, small)
    assert held == 1_100
    settle([(one, *small)], (1, 1_150, 1_100, 50, 0, 1, 0), admitted=True, held={one: held})
    capped = asked(one, 4_700, 1_002.0)
    held = one.told(said(5_800), 1_002.4, capped)
    assert held == 4_700
    settle([(one, *capped)], (1, 600, 580, 20, 0, 1, 0), admitted=True, held={one: held})
    assert one.count(1_002.5) <= 1_100 + 600


def test_a_refused_claim_is_not_taken_out_of_a_count_that_never_held_it() -> None:
    """The head of the refusal told 3,000 used, without the request: after it is settled there are still 3,000."""
    one = bucket()
    one.charge(2_600, 1_000.0)
    claim = asked(one, 5_100, 1_001.0)
    held = one.told(said(3_000), 1_001.3, claim)
    one.told(said(3_000), 1_001.3, claim, refused=True)
    settle([(one, *claim)], None, held={one: held or 0})
    assert one.count(1_001.3) == 3_000


def test_a_surcharge_is_believed_when_it_is_said_twice() -> None:
    """The rest of an earlier request looks like one, once; what is added to every request is added from then on."""
    one = bucket(30_000)
    for now, extra in ((1_000.0, 40), (1_200.0, 3_000), (1_400.0, 3_000)):
        claim = asked(one, 4_000 + one.extra, now)
        one.told(said(4_000 + 3_000, limit=30_000), now + 0.4, claim)
        assert one.extra == pytest.approx(extra, abs=60)


def test_a_refusals_instant_lets_go_what_it_names_and_no_more() -> None:
    """195,000 of 200,000 and 6,000 asked: when 1,000 have left it fits, and the rest of the day stands."""
    one = Meter(SCOPE, Unit.TOKENS, Window.DAY)
    one.rule(200_000, "told")
    for n in range(195):
        one.charge(1_000, n * 100.0)
    claim = asked(one, 6_000, 50_000.0)
    seen = said(195_000, limit=200_000, reset_at=60_000.0, window=Window.DAY)
    one.told(seen, 50_000.3, claim, refused=True)
    settle([(one, *claim)], None)
    assert not one.fits(6_000, 59_999.0)
    assert one.fits(6_000, 60_000.0)
    assert one.count(60_000.0) >= 193_000


def test_a_long_window_lets_go_within_seconds_of_what_left_it() -> None:
    """Eight requests in half a minute leave one by one, a day later."""
    one = Meter(SCOPE, Unit.TOKENS, Window.DAY)
    one.rule(200_000, "told")
    for n in range(8):
        one.charge(1_000, 1_000.0 + n * 5.0)
    assert one.count(1_000.0 + DAY + 6.0) <= 7_000
    assert one.count(1_000.0 + DAY + 21.0) <= 4_000


def test_what_is_held_back_is_free_at_its_instant() -> None:
    """Units that are not ours to use count as used till then."""
    one = bucket()
    one.withhold(3_000, 1_030.0, 1_000.0)
    assert one.left(1_000.0) == 5_000
    assert one.left(1_030.0) == 8_000


def test_what_nobody_answered_is_taken_out_where_the_count_that_is_told_lacks_it() -> None:
    """A silent request of 1,500 was not counted: its own slice goes, not the oldest, which is still the provider's."""
    one = Meter(SCOPE, Unit.TOKENS, Window.DAY)
    one.rule(200_000, "told")
    for n in range(19):
        one.charge(10_000, 1_000.0 + n * 100.0)
    _, mark = asked(one, 1_500, 10_000.0)
    one.doubt(1_500, mark, 10_000.0)
    assert one.doubts == 1_500
    claim = asked(one, 11_000, 50_000.0)
    one.told(said(190_000, limit=200_000, reset_at=90_000.0, window=Window.DAY), 50_000.3, claim, refused=True)
    settle([(one, *claim)], None)
    assert one.doubts == 0
    assert one.count(50_001.0) == 190_000
    assert one.count(1_000.0 + DAY + 30.0) == 180_000
    assert one.count(10_000.0 + DAY - 30.0) == 0


def test_a_refusals_count_is_taken_over_where_ours_was_too_high() -> None:
    """A silent request of yesterday was never counted: 190,000 are told where we had 191,500, and that is what stands."""
    one = Meter(SCOPE, Unit.TOKENS, Window.DAY)
    one.rule(200_000, "told")
    for n in range(19):
        one.charge(10_000, n * 100.0)
    one.charge(1_500, 10_000.0)
    claim = asked(one, 11_000, 50_000.0)
    one.told(said(190_000, limit=200_000, reset_at=60_000.0, window=Window.DAY), 50_000.3, claim, refused=True)
    settle([(one, *claim)], None)
    assert one.count(50_001.0) == 190_000
