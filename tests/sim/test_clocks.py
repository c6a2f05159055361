"""A fortnight of one key whose day ends otherwise than its row says, and whose provider never says a word of it."""

import random
from dataclasses import dataclass

import pytest

from hermes_router.core import errors as err
from hermes_router.core.catalog import QuotaRule
from hermes_router.core.observations import Unit, Window

from ..routing.conftest import World, ask, target
from .windows import DAY, HOUR, Count, Ends, Limit

DAYS, A_DAY = 14, 100


@dataclass
class Tally:
    """What became of the requests; `benched` = sent away though the provider would have let them in."""

    served: int = 0
    refused: int = 0
    benched: int = 0


def full_days(hours: float) -> Ends:
    """Days that end so many hours after midnight UTC."""
    return lambda now: (now - hours * HOUR) // DAY * DAY + DAY + hours * HOUR


def fortnight(limit: Limit, resets: str, *, every_s: float, seed: int = 1) -> Tally:
    """Requests at random, one after the other, of which each that is let in takes a second."""
    rng = random.Random(seed)
    rule = QuotaRule(Unit.REQUESTS, A_DAY, Window.DAY, "account", resets=resets)
    w, tally = World(target("a/m", quotas=(rule,))), Tally()
    count, until = Count(limit, w.now), w.now + DAYS * DAY
    while w.now < until:
        w.later(rng.expovariate(1.0 / every_s))
        demand = ask()
        candidate = w.take(demand)
        if candidate is None:
            tally.benched += count.wait_s(w.now, 1) <= 0
            continue
        facts = candidate.facts
        if count.wait_s(w.now + 0.1, 1) > 0:
            tally.refused += 1
            error = err.RateLimited(status=429)
            w.state.failed(facts.target, error, w.now + 0.2, demand=demand, reservation=candidate.reservation)
            w.settle(candidate, sent=False)
        else:
            count.charge(w.now + 0.1, 1)
            tally.served += 1
            w.later(1.0)
            w.state.succeeded(facts.target, w.now, ttft_s=0.5, demand=demand)
            w.settle(candidate)
    return tally


@pytest.mark.parametrize("resets", ["utc", "rolling"])
def test_a_day_that_begins_with_its_first_use_is_spent_whole(resets: str) -> None:
    """Far more is asked than there is: not a day is lost, four requests at most are refused, and nobody is benched."""
    found = fortnight(Limit("rpd", "requests", A_DAY, DAY, "first"), resets, every_s=200.0)
    assert found.served == DAYS * A_DAY
    assert found.refused <= 4
    assert found.benched <= 10


def test_with_little_to_spare_it_is_found_out_as_well() -> None:
    """Somewhat more is asked than there is: what was used at its beginning is no longer held against its end."""
    found = fortnight(Limit("rpd", "requests", A_DAY, DAY, "first"), "rolling", every_s=700.0, seed=2)
    assert found.served >= DAYS * A_DAY - 10
    assert found.refused <= 4
    assert found.benched <= 10


@pytest.mark.parametrize("resets", ["utc", "rolling"])
def test_a_day_that_rolls_draws_no_refusal_more_for_the_doubt(resets: str) -> None:
    """One is refused in place of the trial that a learned number has a day later anyway."""
    found = fortnight(Limit("rpd", "requests", A_DAY, DAY), resets, every_s=200.0)
    assert found.served == DAYS * A_DAY
    assert found.refused <= 5


def test_a_day_of_another_zone_may_be_taken_for_one_that_begins_with_its_first_use() -> None:
    """What is taken for its beginning is never before the true one, so nothing is refused for it."""
    limit = Limit("rpd", "requests", A_DAY, DAY, "ends", ends=full_days(7.0))
    found = fortnight(limit, "utc", every_s=200.0)
    assert found.served >= DAYS * A_DAY
    assert found.refused <= 4
