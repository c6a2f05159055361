"""What a refusal teaches: which window it speaks of, and which number."""

import pytest

from hermes_router.core import errors as err
from hermes_router.core.catalog import QuotaRule
from hermes_router.core.observations import Unit, Window

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
