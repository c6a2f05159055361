"""A day's free quota spread over the day."""

import pytest

from hermes_router.core.catalog import QuotaRule
from hermes_router.core.ids import ProviderName
from hermes_router.core.observations import Scope, Unit, Window
from hermes_router.routing.pacing import RESERVE, ahead, on_schedule_at, spread
from hermes_router.routing.quota import Meter

from .conftest import World, target

DAY = 86_400.0
MIDNIGHT = 1_790_035_200.0 - 1_790_035_200.0 % DAY


def day(limit: int = 100) -> Meter:
    """A day's window on the UTC clock."""
    made = Meter(Scope(ProviderName("p")), Unit.REQUESTS, Window.DAY)
    made.rule(limit, "published", "utc")
    made.count(MIDNIGHT)
    return made


@pytest.mark.parametrize(("hours", "used", "over"), [(0, 20, False), (0, 21, True), (12, 60, False), (12, 61, True)])
def test_the_schedule_allows_a_reserve_and_the_share_of_the_day(hours: int, used: int, over: bool) -> None:
    """A fifth at any time, and of the rest as much as the day has passed."""
    one, now = day(), MIDNIGHT + hours * 3600.0
    one.charge(used, now)
    assert ahead(one, now) is over


def test_it_is_on_schedule_again_when_the_day_has_caught_up() -> None:
    """Half of what is scheduled was used at midnight: at noon it is its turn again; at the end all may be used."""
    one = day()
    one.charge(int(100 * (RESERVE + (1 - RESERVE) / 2)), MIDNIGHT)
    at = on_schedule_at(one, MIDNIGHT)
    assert at == pytest.approx(MIDNIGHT + DAY / 2, abs=1.0)
    assert not ahead(one, at + 1.0)
    one.charge(39, MIDNIGHT + DAY - 60.0)
    assert not ahead(one, MIDNIGHT + DAY - 60.0)


def test_only_long_windows_with_a_limit_are_spread() -> None:
    """A minute is spread by nobody, and nothing can be spread that has no number."""
    minute = Meter(Scope(ProviderName("p")), Unit.REQUESTS, Window.MINUTE)
    minute.rule(10, "published")
    assert not spread(minute)
    minute.charge(10, MIDNIGHT)
    assert not ahead(minute, MIDNIGHT)
    assert not spread(Meter(Scope(ProviderName("p")), Unit.REQUESTS, Window.DAY))
    assert spread(day())


def test_a_target_ahead_of_its_schedule_comes_last_and_refuses_nobody() -> None:
    """QUOTA_PACING=even: the other one serves; alone, the one that is ahead serves all the same. Off: turns are even."""
    rules = (QuotaRule(Unit.REQUESTS, 10, Window.DAY, "account_model", resets="utc"),)
    first, second = target("a/m", quotas=rules), target("b/m")

    def served(*facts: object, even: bool) -> list[str | None]:
        w = World(*facts)  # type: ignore[arg-type]
        w.now = MIDNIGHT
        w.state.adopt(w.roster)
        w.state.configure(budget_microusd_day=None, pacing_even=even, now=w.now)
        return [w.who() for _ in range(8)]

    assert served(first, second, even=False).count("a/m#k1") == 4
    assert served(first, second, even=True).count("a/m#k1") <= 3
    assert served(first, even=True) == ["a/m#k1"] * 8
