"""Policies order equals."""

from collections import Counter

import pytest

from hermes_router.core.errors import ConfigError
from hermes_router.routing.policies import POLICIES, policy_named
from hermes_router.routing.roster import Roster


def test_round_robin_spreads_over_keys_by_one(world, make) -> None:
    """After any number of requests no key is more than one ahead of another."""
    w = world(*(make("p/m", key=f"k{i}") for i in range(4)))
    counts: Counter[str] = Counter()
    for _ in range(30):
        counts[w.who()] += 1
        assert max(counts.values()) - min(counts.get(f"p/m#k{i}", 0) for i in range(4)) <= 1


def test_sequential_drains_the_first_key_of_the_first_provider(world, make) -> None:
    """Nothing else is asked while the first one serves."""
    w = world(make("p/m", key="k1"), make("p/m", key="k2"), make("q/m"), policy="sequential")
    assert {w.who() for _ in range(20)} == {"p/m#k1"}


def test_a_reload_keeps_everybodys_turn(world, make) -> None:
    """Turns are kept with the targets, so a new snapshot does not begin at the front again."""
    facts = [make(f"p{i}/m") for i in range(3)]
    w = world(*facts)
    assert [w.who() for _ in range(2)] == ["p0/m#k1", "p1/m#k1"]
    w.roster = Roster(facts)
    assert w.who() == "p2/m#k1"


def test_names_are_read_with_dash_or_underscore() -> None:
    """`round_robin` is `round-robin`; an unknown mode is refused by name."""
    assert policy_named("round_robin") is POLICIES["round-robin"]
    with pytest.raises(ConfigError, match="sideways"):
        policy_named("sideways")
