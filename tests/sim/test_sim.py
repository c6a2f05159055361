"""The brain in a world: invariants of design.md 2.5 over tens of thousands of attempts."""

import os
from collections import Counter

import pytest

from hermes_router.core import errors as err
from hermes_router.core.catalog import PriceClass, QuotaRule
from hermes_router.core.observations import Unit, Window

START = 1_790_000_000.0
STEPS = int(os.environ.get("SIM_STEPS", "50000"))
MINUTE = QuotaRule(Unit.REQUESTS, 20, Window.MINUTE, "account_model")
RPM = QuotaRule(Unit.REQUESTS, 30, Window.MINUTE, "account_model", origin="owner")


def rough(sim, truth, make, seed: int, *, policy: str, span: float):
    """Eight providers, each with its own trouble, all over `span` seconds."""

    def when(a: float, b: float) -> tuple[float, float]:
        return START + a * span, START + b * span

    facts = [
        *(make("headers", m, k, tier=t) for k in ("k1", "k2", "k3") for m, t in (("lite", 2), ("pro", 5))),
        *(make("retry", "m", k, quotas=(MINUTE,)) for k in ("k1", "k2")),
        make("silent", "m", tier=4),
        *(make("revoked", "m", k) for k in ("k1", "k2", "k3")),
        make("dies", "m"),
        make("slow", "m", tier=3),
        make("flaky", "x"),
        make("flaky", "y", tier=3),
        make("paid", "m", price=PriceClass.PAID),
    ]
    truths = [
        truth("headers", rpm=15, says="headers"),
        truth("retry", rpm=25, says="retry_after"),
        truth("silent", rpm=10),
        truth("revoked", revoked=[("k1", *when(0.05, 0.6)), ("k2", *when(0.2, 0.5))]),
        truth("dies", outages=[(*when(0.1, 0.3), err.ServerFailed), (*when(0.5, 0.55), err.Unreachable)]),
        truth("slow", outages=[(*when(0.2, 0.4), err.TimedOut)]),
        truth("flaky", flaky=0.3),
        truth("paid"),
    ]
    return sim(facts, truths, seed=seed, policy=policy)


@pytest.mark.parametrize(("policy", "share"), [("round-robin", 0.6), ("sequential", 0.4)])
def test_a_rough_day_is_survived(sim, truth, make, policy: str, share: float) -> None:
    """With one healthy provider no exchange fails, whatever the others do; nobody is asked before its time."""
    steps = int(STEPS * share)
    world = rough(sim, truth, make, 11, policy=policy, span=steps / 3)
    world.arrivals(3.0)
    for _ in range(4):
        world.run(steps=steps // 5)
        world.jump(7_200.0)  # suspended for two hours
    world.run(steps=steps // 5)
    world.drain()
    world.all_settled()
    assert world.outcomes["refused"] == 0
    assert world.outcomes["deadline"] <= 20  # under way when the machine was suspended
    assert world.outcomes["answered"] > steps * 0.5
    assert world.most_attempts <= 2 * len(world.roster)


def test_every_target_recovers(sim, truth, make) -> None:
    """After the last outage and some hours of traffic every target is ready again and has served since."""
    world = rough(sim, truth, make, 5, policy="round-robin", span=2_000.0)
    world.truths["flaky"].flaky = 0.0
    world.arrivals(2.0)
    world.run(until=START + 2_000.0)
    world.served.clear()
    world.run(until=START + 2_000.0 + 1_500.0)
    world.drain()
    world.all_settled()
    unserved = {str(f.target) for f in world.roster.facts if not world.served[f.target]}
    assert unserved <= {"paid/m#k1-p"}
    told = {"headers", "silent", "retry"}  # these are limited for good: cooling between their minutes is their health
    now = world.now + 120
    sick = {str(f.target): world.state.status(f, now) for f in world.roster.facts if f.provider.name not in told}
    assert {s.state for s in sick.values()} == {"ready"}, sick


def test_a_total_blackout_ends_with_the_outage(sim, truth, make) -> None:
    """9R-12: all providers down for ten minutes: within seconds of their return every request is answered."""
    facts = [make(f"p{i}", "m") for i in range(5)]
    down = [(START + 60, START + 660, err.ServerFailed)]
    world = sim(facts, [truth(f.provider.name, outages=list(down)) for f in facts], seed=3)
    world.arrivals(1.0)
    world.run(until=START + 900)
    assert world.outcomes["refused"] > 100
    assert max(world.failed_at) < START + 660 + 45
    assert min(world.failed_at) > START + 60
    assert world.most_attempts <= 10


def test_a_pool_of_one_recovers_by_itself(sim, truth, make) -> None:
    """A single key: down for five minutes, then answering at once, never refused by its own breaker."""
    world = sim([make("p", "m")], [truth("p", outages=[(START + 60, START + 360, err.Unreachable)])], seed=4)
    world.arrivals(1.0)
    world.run(until=START + 900)
    assert max(world.failed_at) < START + 360 + 10


def test_in_steady_state_no_429_is_drawn(sim, truth, make) -> None:
    """Where the limits are known, pacing keeps every request within them, and most of the quota is used."""
    facts = [make("p", "m", f"k{i}", quotas=(RPM,)) for i in range(3)]
    world = sim(facts, [truth("p", rpm=30)], seed=6)
    world.arrivals(2.0)
    world.run(until=START + 1_800)
    assert world.outcomes["RateLimited"] == 0
    assert world.outcomes["answered"] > 0.85 * 3 * 30 * 30


def test_told_headers_alone_keep_429s_rare(sim, truth, make) -> None:
    """A provider that describes its window is not asked beyond it, though nobody told us before."""
    facts = [make("p", "m", f"k{i}") for i in range(3)]
    world = sim(facts, [truth("p", rpm=30, says="headers")], seed=7)
    world.arrivals(2.0)
    world.run(until=START + 1_800)
    assert world.outcomes["RateLimited"] <= 0.01 * world.outcomes["answered"]


def test_round_robin_spreads_by_one_and_sequential_drains(sim, truth, make) -> None:
    """Among healthy equals: first turns are spread evenly over keys, or all on the first."""
    for policy, expected in (("round-robin", 5), ("sequential", 1)):
        world = sim([make("p", "m", f"k{i}") for i in range(5)], [truth("p")], seed=8, policy=policy)
        world.arrivals(5.0, chats=1_000_000)
        world.keep_trace = True
        world.run(steps=2_000)
        first_turns = Counter(target for _, target, why in world.trace if why != "affinity")
        assert len(first_turns) == expected
        assert max(first_turns.values()) - min(first_turns.values()) <= 1


def test_the_same_seed_leaves_the_same_trace(sim, truth, make) -> None:
    """Two runs of one seed make the same choices at the same instants; another seed makes others."""

    def trace(seed: int) -> list[tuple[float, str, str]]:
        world = rough(sim, truth, make, seed, policy="round-robin", span=800.0)
        world.keep_trace = True
        world.arrivals(3.0)
        world.run(steps=2_500)
        return world.trace

    assert trace(1) == trace(1)
    assert trace(1) != trace(2)
