"""When a long window truly ends: what refusals and successes prove about its clock."""

from datetime import UTC, datetime

import pytest

from hermes_router.core import errors as err
from hermes_router.core.catalog import QuotaRule
from hermes_router.core.clocks import next_reset
from hermes_router.core.ids import ProviderName
from hermes_router.core.observations import QuotaSeen, Scope, Unit, Window
from hermes_router.routing import mooring
from hermes_router.routing.quota import GRACE_S, Meter

from .conftest import World, ask, target
from .test_persist_rows import again

SCOPE = Scope(ProviderName("p"))
DAY, HOUR = 86_400.0, 3_600.0


def at(*parts: int) -> float:
    """Epoch seconds of a UTC date."""
    return datetime(*parts, tzinfo=UTC).timestamp()


def day(w: World) -> Meter:
    """The one window of a day."""
    (found,) = (meter for meter in w.state._book.meters.values() if meter.window is Window.DAY and meter.limit)
    return found


def refused(w: World, error: err.UpstreamError | None = None) -> None:
    """One request more is refused, without a word, and costs nothing."""
    demand = ask()
    candidate = w.take(demand)
    assert candidate is not None
    cause = error or err.RateLimited(status=429)
    w.state.failed(candidate.facts.target, cause, w.now, demand=demand, reservation=candidate.reservation)
    w.settle(candidate, sent=False)


def spent_and_let_in() -> World:
    """Ten a day, from ten in the evening to eleven; refused after midnight; the window begins anew at ten.

    Nine of the ten have left by half past ten, and there is one whom such a window would not hold.
    """
    w = World(target("a/m", quotas=(QuotaRule(Unit.REQUESTS, 10, Window.DAY, "account", resets="utc"),)))
    midnight = next_reset("utc", Window.DAY, w.now)
    w.later(midnight - w.now - 2 * HOUR)
    for _ in range(10):
        assert w.who()
        w.later(400.0)
    w.later(midnight + HOUR - w.now)
    refused(w)
    assert day(w).resets == "rolling"
    assert w.later(HOUR).who() is None
    w.later(midnight + 22.5 * HOUR + 1.0 - w.now)
    return w


def filled() -> World:
    """The same, full by our count: five have been let in, and five are left of the evening before."""
    w = spent_and_let_in()
    assert [w.who() for _ in range(5)].count(None) == 0
    assert day(w).count(w.now) == 10
    return w


def test_a_clock_that_is_not_the_providers_is_given_up() -> None:
    """Spent before midnight, refused after it: what was used counts until it is a day old."""
    one = Meter(SCOPE, Unit.REQUESTS, Window.DAY)
    one.rule(5, "published", "utc")
    for _ in range(5):
        one.charge(1, at(2026, 1, 1, 20))
    night = at(2026, 1, 2, 0, 1)
    assert one.count(night) == 0
    assert mooring.unmoor(one, night)
    assert one.count(night) == 5
    assert one.count(at(2026, 1, 2, 20, 1)) == 0
    assert not mooring.unmoor(one, night)


def test_a_window_that_begins_with_its_first_use_is_found_out_by_one_request() -> None:
    """Full by our count, but with what was used before the refusal: one goes beyond it, and that was the clock."""
    w = filled()
    began = w.now
    assert w.who()
    assert (day(w).resets, day(w).limit, day(w).origin) == ("first use", 10, "learned")
    assert day(w).count(w.now) == 6
    assert [w.who() is not None for _ in range(6)].count(True) == 4
    assert w.later(began + DAY - 1.0 - w.now).who() is None
    assert w.later(2.0).who()


def test_only_one_at_a_time_goes_beyond_it() -> None:
    """Nobody follows before the one that asks is answered."""
    w = filled()
    one = w.take()
    assert one is not None
    assert w.take() is None


def test_one_that_came_to_nothing_may_be_followed() -> None:
    """Our own network was down: that says nothing of the window, and the next one may ask."""
    w = filled()
    refused(w, err.NetworkDown())
    assert day(w).resets == "rolling"
    assert w.who()
    assert day(w).resets == "first use"


def test_a_window_that_rolls_is_found_out_by_one_refusal() -> None:
    """From then on it is never again supposed to be anything else: nobody goes beyond it, whoever is let in."""
    w = filled()
    refused(w)
    assert day(w).resets == "rolling"
    for other in (w, again(w)):
        for _ in range(4):
            other.later(400.0)  # one more has left
            while other.who():
                pass
            assert day(other).count(other.now) <= 10
        assert day(other).count(other.now) == 10


def test_nobody_goes_beyond_what_both_kinds_of_window_would_hold() -> None:
    """All that is counted was used since the refusal: it is spent, whatever its clock."""
    w = spent_and_let_in()
    w.later(HOUR)
    assert [w.who() is not None for _ in range(12)].count(True) == 10


def test_days_later_it_is_still_known_when_such_a_window_would_have_begun() -> None:
    """It was not full for two days: by then it would be the third since, which holds nothing of the second."""
    w = spent_and_let_in()
    assert w.who()
    w.later(DAY + 60.0)  # the second begins here
    assert [w.who() for _ in range(3)].count(None) == 0
    w.later(23 * HOUR)
    assert [w.who() for _ in range(4)].count(None) == 0
    w.later(HOUR + 60.0)  # and the third
    day(w).trial_at = w.now + DAY
    assert [w.who() for _ in range(7)].count(None) == 0
    assert (day(w).resets, day(w).limit, day(w).count(w.now)) == ("first use", 10, 7)


def test_a_window_found_out_too_rashly_rolls_for_good() -> None:
    """One that was let in, the next is refused: what was let go counts again."""
    w = filled()
    assert w.who()
    refused(w)
    assert day(w).resets == "rolling"
    assert day(w).anew_mark == mooring.ROLLS
    assert day(w).count(w.now) == 11
    assert w.who() is None
    assert w.later(DAY).who()


@pytest.mark.parametrize("found_out", [False, True])
def test_what_was_found_out_of_a_clock_outlives_a_restart(*, found_out: bool) -> None:
    """Before and after the one request: the next process knows when it began, although the row names another clock."""
    w = filled()
    if found_out:
        assert w.who()
    other = again(w)
    assert [getattr(day(other), name) for name in ("resets", "anew_mark", "anew_until")] == [
        getattr(day(w), name) for name in ("resets", "anew_mark", "anew_until")
    ]
    assert [other.who() is not None for _ in range(6)].count(True) == 5 - found_out
    assert day(other).resets == "first use"


def supposed() -> tuple[Meter, int]:
    """Three a day: used at 0, 100 and 200 s, refused at 300; the first has left and one was let in. The second's mark."""
    one = Meter(SCOPE, Unit.REQUESTS, Window.DAY)
    one.rule(3, "published", "rolling")
    marks = [one.charge(1, at) for at in (0.0, 100.0, 200.0)]
    one.learn(3, 300.0)
    assert mooring.let_in(one, one.charge(1, DAY + 1.0))
    return one, marks[1]


def test_what_was_let_go_is_not_given_back() -> None:
    """A request of the evening before ends as if it had never been sent: the window that holds it is over."""
    one, old = supposed()
    assert one.may_try(DAY + 2.0)
    assert one.outdone(one.charge(1, DAY + 2.0))
    assert one.count(DAY + 3.0) == 2
    one.give_back(old, -1)
    assert one.count(DAY + 3.0) == 2


def test_a_larger_number_ends_the_doubt_of_the_clock() -> None:
    """All that it holds was used since, and one more succeeds: the number was wrong, and nothing is supposed of it."""
    one, _ = supposed()
    for _ in range(2):
        one.charge(1, DAY + 60.0)
    assert one.count(2 * DAY) == 3
    assert not mooring.astray(one)
    assert one.outdone(one.charge(1, 2 * DAY))
    assert (one.origin, one.resets, one.anew_mark, one.anew_until) == ("published", "rolling", 0, 0.0)


def test_a_new_number_of_the_owners_puts_it_on_its_own_clock_again() -> None:
    """P_LIMITS=rpd=20 while the window has not begun: nothing is stuck."""
    w = filled()
    assert w.who()
    w.later(DAY + HOUR)
    assert day(w).count(w.now) == 0
    day(w).rule(20, "owner", "utc")
    assert [w.who() is not None for _ in range(22)].count(True) == 20
    assert w.later(DAY).who()


# --- a window that begins with its first use ---------------------------------------------------------------


def first(limit: int = 3) -> Meter:
    """A day that does."""
    one = Meter(SCOPE, Unit.REQUESTS, Window.DAY)
    one.rule(limit, "learned", mooring.FIRST_USE)
    one.trial_at = 100 * DAY
    return one


def test_it_ends_a_day_after_its_first_use_and_not_before_there_is_one() -> None:
    """Nothing is used for three days, then all of it at once and a little later: it is back a day after the first."""
    one = first()
    assert one.count(1_000.0) == 0
    began = 3 * DAY
    one.charge(1, began)
    one.charge(2, began + 100.0)
    assert not one.fits(1, began + 101.0)
    assert one.room_at(1, began + 101.0) == began + DAY + GRACE_S
    assert one.count(began + DAY) == 3
    assert one.count(began + DAY + 1.0) == 0


def test_what_is_spent_in_one_breath_has_an_end() -> None:
    """The first use fills it: when it returns is known at once."""
    one = first(limit=1)
    one.charge(1, 1_000.0)
    assert one.full_until(1_000.0) > 1_000.0
    assert one.full_until(1_000.0) <= 1_000.0 + DAY + GRACE_S


def test_what_never_reached_the_provider_begins_nothing() -> None:
    """The only claim came back: the window begins with the next one."""
    one = first()
    mark = one.charge(1, 1_000.0)
    one.give_back(mark, -1)
    assert one.count(2_000.0) == 0
    one.charge(3, 50_000.0)
    assert one.room_at(1, 50_001.0) == 50_000.0 + DAY + GRACE_S


def test_a_told_reset_moves_its_end() -> None:
    """What the provider says of the end is believed, and the next one begins with its first use again."""
    one = first(limit=10)
    one.charge(2, 1_000.0)
    one.told(QuotaSeen("provider", Unit.REQUESTS, Window.DAY, 10, 8, 5_000.0), 1_001.0, (2, one.total))
    assert one.count(4_999.0) == 2
    assert one.count(5_001.0) == 0
    one.charge(1, 9_000.0)
    assert one.whole_at(9_001.0) == 9_000.0 + DAY + GRACE_S


def test_a_clock_set_back_takes_its_end_along() -> None:
    """What was to last a day still does; one that has not begun stays so."""
    begun, idle = first(), first()
    begun.charge(3, 9 * DAY)
    assert begun.room_at(1, 9 * DAY) == 10 * DAY + GRACE_S
    assert idle.count(9 * DAY) == 0
    asked, _ = supposed()
    until = asked.anew_until
    asked.shift(-500.0, DAY)
    assert asked.anew_until == until - 500.0
    for one in (begun, idle):
        one.shift(-8 * DAY, DAY)
    assert begun.room_at(1, DAY) == 2 * DAY + GRACE_S
    idle.charge(3, DAY)
    assert idle.room_at(1, DAY + 1.0) == 2 * DAY + GRACE_S


# --- what our count holds that the provider's does not -----------------------------------------------------


def test_a_second_refusal_with_nobody_let_in_between_ends_the_search_for_the_number() -> None:
    """Twenty went by the row's clock, and 16 are published: it is not learned downwards, one refusal a step."""
    w = World(target("a/m", quotas=(QuotaRule(Unit.REQUESTS, 16, Window.DAY, "account", resets="utc"),)))
    midnight = next_reset("utc", Window.DAY, w.now)
    w.later(midnight - w.now - 2 * HOUR)
    for _ in range(20):
        assert w.who()
        w.later(300.0)
    w.later(midnight + HOUR - w.now)
    refused(w)
    assert (day(w).resets, day(w).limit) == ("rolling", 20)
    w.later(midnight + 22 * HOUR + 360.0 - w.now)  # two of them have left
    refused(w)
    assert day(w).limit == 16
