"""`python -m tests.sim.week`: the simulated week under three policies, as a table of what the issue's bars are about.

Owns the scenarios, their seeds and the bars. Everything in it is drawn from fixed seeds, but for the plan's time, which
is measured on this machine.
"""

import argparse
import gc
import json
import random
import statistics
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from time import perf_counter, process_time

from hermes_router.core.catalog import (
    Capability,
    Claim,
    Known,
    ModelSpec,
    PriceClass,
    ProviderSpec,
    QuotaRule,
    TargetFacts,
)
from hermes_router.core.errors import RateLimited
from hermes_router.core.ids import AccountId, Credential, CredentialId, ModelId, ProviderName, Target
from hermes_router.core.observations import Unit, Window
from hermes_router.routing.demand import Constraint, Demand
from hermes_router.routing.roster import Roster
from hermes_router.routing.scheduler import plan
from hermes_router.routing.state import RoutingState

from .load import DAY, HOUR, Job, flood, week
from .measures import Measures
from .omniscient import Omniscient
from .original import Original
from .ours import Ours
from .pool import KEYS, targets
from .round_robin import RoundRobin
from .truth import READINGS, Reading, Truth
from .world import UPLINK_S, Router, World

START = 1_795_392_000.0  # Monday, 23 November 2026, 00:00 UTC
SEED = 20_261_123
BUDGET_MICROUSD = 100_000  # BUDGET_USD_DAY=0.10
FREE = {name: keys for name, keys in KEYS.items() if name not in {"openai", "github_models"}}
FEW = {name: KEYS[name] for name in ("mistral", "cohere", "naga", "nvidia")}  # for a short flood
PER_MINUTE = 900.0  # about three times what the pool has for a minute
POLICIES = ("hermes-router", "original", "round-robin + 60 s")

Say = Callable[[str], None]
Keys = Mapping[str, tuple[str | None, ...]]


@dataclass(slots=True)
class Score:
    """What one policy scored, with one seed, in one reading of the minutes."""

    policy: str
    seed: int = SEED
    reading: Reading = "clock"
    requests: int = 0
    answered: int = 0
    first_day: float = 0.0
    later_days: float = 0.0
    later_capacity: float = 0.0
    attempts: float = 0.0
    lost: int = 0
    refused: int = 0
    inferred: tuple[float, float, int] = (0.0, 0.0, 0)
    told: tuple[float, float, int] = (0.0, 0.0, 0)
    clock: tuple[float, float, int] = (0.0, 0.0, 0)
    paused: tuple[float, float, int] = (0.0, 0.0, 0)
    idle: float = 0.0
    over_budget: float = 0.0
    paid_late: int = 0
    spread: int = 0
    early: int = 0
    spent: float = 0.0
    spent_owners: float = 0.0
    spent_429: float = 0.0
    waited_s: float = 0.0
    seconds: float = 0.0
    by_provider: dict[str, int] = field(default_factory=dict)


def router(
    name: str, world: World, facts: tuple[TargetFacts, ...], *, mode: str = "round-robin", budget: int | None = None
) -> Router:
    """A fresh router of that policy."""
    if name == "original":
        return Original(world, facts, mode=mode, usd_day=budget)
    if name == "round-robin + 60 s":
        return RoundRobin(world, facts, mode=mode, usd_day=budget)
    return Ours(world, facts, mode=mode, budget_microusd=budget)


# --- the week -------------------------------------------------------------------------------------------


def _nights(days: float) -> tuple[tuple[float, float] | None, list[tuple[float, float, float]]]:
    """When the machine sleeps, and when its clock is wrong: by two minutes ahead, then it is set back."""
    asleep = (START + 2 * DAY + HOUR, START + 2 * DAY + 3 * HOUR) if days > 2 else None
    skews = [(START + 1.5 * DAY, START + 1.5 * DAY + 600, 120.0), (START + 3.6 * DAY, START + 3.6 * DAY + 900, -45.0)]
    return asleep, skews


def run_week(
    name: str, *, days: float, scale: float, seed: int, reading: Reading = "clock", say: Say
) -> tuple[Score, Measures]:
    """The week of one policy."""
    began = perf_counter()
    asleep, skews = _nights(days)
    jobs = week(seed=seed, start=START, days=days, scale=scale, asleep=asleep)
    facts = targets()
    world = World(
        Truth(START, days, seed=seed + 1, reading=reading), start=START, seed=seed + 2, skews=skews, asleep=asleep
    )
    measures = Measures(world, facts, START, BUDGET_MICROUSD)
    small = min(jobs, key=lambda job: job.tokens + 1e9 * (job.pin is not None))
    world.at(START + HOUR, lambda: measures.sample(small, START + days * DAY))
    policy = router(name, world, facts, budget=BUDGET_MICROUSD)
    world.run(policy, jobs, measures, progress=lambda now: say(f"  {name}: day {(now - START) / DAY:.1f} of {days:g}"))
    last = max(1, int(-(-days // 1)))
    late = range(1, last)
    score = Score(
        name,
        seed,
        reading,
        requests=len(jobs),
        answered=measures.outcomes["answered"],
        first_day=measures.per_1000(range(1)),
        later_days=measures.per_1000(late),
        later_capacity=measures.per_1000(late, kinds=frozenset({"capacity"})),
        attempts=measures.attempts / len(jobs),
        lost=len(measures.lost),
        refused=len(jobs) - measures.outcomes["answered"],
        inferred=measures.lag("inferred"),
        told=measures.lag("told"),
        clock=measures.lag("clock"),
        paused=measures.lag("paused"),
        idle=measures.idle / max(1, measures.sampled),
        over_budget=max((over - flying for over, flying in measures.over.values()), default=0.0),
        paid_late=measures.paid_after_budget,
        seconds=perf_counter() - began,
    )
    drawn: Counter[str] = Counter()
    for (_, provider, kind), count in measures.refusals.items():
        drawn[f"{provider} {kind}"] += count
    score.by_provider = dict(drawn.most_common())
    return score, measures


# --- saturation -----------------------------------------------------------------------------------------


def _flooded(
    name: str, jobs: Sequence[Job], start: float, seed: int, reading: Reading, *, keys: Keys = FREE
) -> tuple[Counter[tuple[str, str]], int]:
    facts = targets(keys)
    knows = name == Omniscient.name
    slack_s = UPLINK_S[1] - UPLINK_S[0] if knows else 0.0
    truth = Truth(start, 1, seed=seed, reading=reading, calm=True, slack_s=slack_s)
    world = World(truth, start=start, seed=seed, **({"uplink_s": (0.0, 0.0)} if knows else {}))
    measures = Measures(world, facts, start)
    world.run(Omniscient(world, facts) if knows else router(name, world, facts), jobs, measures)
    owners: Counter[tuple[str, str]] = Counter()
    for one in facts:
        owners[one.provider.name, truth.account(one)] += measures.served[one.target]
    return owners, sum(measures.refusals.values())


def saturate(
    names: Sequence[str],
    *,
    minutes: float,
    per_minute: float,
    seed: int,
    reading: Reading = "clock",
    say: Say,
    keys: Keys = FREE,
) -> dict[str, tuple[float, float, float]]:
    """By policy: the share of the usable quota that was spent, the same owner by owner, and 429s for each 1,000.

    Usable is what somebody who knows the truth spends of it without being refused (`omniscient.py`), with the same
    arrivals, and as unsure as anybody of how long a request is on its way.
    """
    start = START + 10 * HOUR
    jobs = flood(seed=seed, start=start, minutes=minutes, per_minute=per_minute)
    say(f"  saturation: {len(jobs)} requests in {minutes:g} minutes")
    usable, _ = _flooded(Omniscient.name, jobs, start, seed, reading, keys=keys)
    found = {}
    for name in names:
        began = perf_counter()
        spent, drawn = _flooded(name, jobs, start, seed, reading, keys=keys)
        shares = [min(1.0, spent[owner] / most) for owner, most in usable.items() if most]
        total = sum(spent.values()) / sum(usable.values())
        found[name] = (total, statistics.mean(shares), 1_000.0 * drawn / len(jobs))
        say(f"  saturation: {name} {total:.3f} in {perf_counter() - began:.0f} s")
    return found


# --- order ----------------------------------------------------------------------------------------------


class _Order(Measures):
    """Notes who was asked, and whether that was before its turn."""

    first: Sequence[TargetFacts] = ()
    early = 0

    def sent(self, exchange, facts) -> None:
        super().sent(exchange, facts)
        if self.first and facts.credential.account != self.first[0].credential.account:
            truth, now = self.world.truth, self.world.now
            spare = any(
                truth.free_at(one, exchange.job, now) <= now
                for one in self.first
                if one.target.model == facts.target.model
            )
            self.early += spare and exchange.attempts == 1


def spread(name: str, *, seed: int) -> int:
    """Five equal keys of accounts of their own, requests one after the other: most turns less fewest."""
    facts = targets({"mistral": (None,) * 5})
    facts = tuple(one for one in facts if one.target.model == "mistral-small-latest")
    world = World(Truth(START, 1, seed=seed, calm=True), start=START, seed=seed)
    measures = Measures(world, facts, START)
    jobs = [job for job in flood(seed=seed, start=START, minutes=30, per_minute=20) if job.tokens < 20_000]
    world.run(router(name, world, facts), jobs, measures)
    turns = [measures.sends[one.target] for one in facts]
    return max(turns) - min(turns)


def sequence(name: str, *, seed: int) -> int:
    """Two accounts with a day's quota each, in mode sequential: how often the second was asked while the first had some."""
    facts = targets({"openrouter": ("first", "second")})
    facts = tuple(one for one in facts if one.target.model == "nvidia/nemotron-3-ultra-550b-a55b:free")
    truth = Truth(START, 1, seed=seed, calm=True)
    truth.alone()
    world = World(truth, start=START, seed=seed)
    measures = _Order(world, facts, START)
    measures.first = [one for one in facts if one.credential.account == "first"]
    jobs = [job for job in flood(seed=seed, start=START, minutes=240, per_minute=0.6) if job.tokens < 20_000]
    world.run(router(name, world, facts, mode="sequential"), jobs, measures)
    return measures.early


# --- the plan's time ------------------------------------------------------------------------------------


def _large_pool(rng: random.Random) -> list[TargetFacts]:
    """10,000 targets: 50 providers of 20 models and 10 keys each, windows on all of them."""
    quotas = (
        QuotaRule(Unit.REQUESTS, 60, Window.MINUTE),
        QuotaRule(Unit.TOKENS, 500_000, Window.MINUTE),
        QuotaRule(Unit.REQUESTS, 5_000, Window.DAY, resets="utc"),
    )
    yes, no = Claim(Known.YES), Claim(Known.NO)
    found = []
    for p in range(50):
        name = ProviderName(f"p{p:02}")
        models = tuple(
            ModelSpec(
                id=ModelId(f"model-{p}-{i}"),
                context=rng.choice((32_000, 131_072, 262_144)),
                max_output=8_192,
                tier=1 + (i + p) % 5,
                price_class=PriceClass((i + p) % 4),
                capabilities={Capability.TOOLS: yes, Capability.IMAGES: rng.choice((yes, no))},
                quotas=quotas,
            )
            for i in range(20)
        )
        row = ProviderSpec(name, name, {"openai_chat": f"https://{name}.invalid/v1"}, "bearer", models)
        for k in range(10):
            key = CredentialId(f"{p:02}{k:02}-key")
            credential = Credential(key, name, AccountId(key), "api_key", key, "abcd", "sim")
            for position, model in enumerate(models):
                target = Target(name, model.id, key)
                found.append(
                    TargetFacts(target, row, model, credential, "https://x.invalid", quotas=quotas, position=position)
                )
    return found


@dataclass(frozen=True, slots=True)
class PlanTime:
    """Milliseconds of processor time of one planning step over 10,000 targets.

    `median` and `p99` of plan, take and settle, three targets in ten cooling; `first` is the dearest kind of request at
    its first time, when its lanes are built; `nobody` where all rest, with the instant of the earliest return.
    """

    median: float
    p99: float
    first: float
    nobody: float


def plan_time(*, steps: int = 3_000, seed: int = 1) -> PlanTime:
    """Measure it on this machine."""
    rng = random.Random(seed)
    facts = _large_pool(rng)
    roster, state = Roster(facts), RoutingState()
    state.adopt(roster)
    cooling = RateLimited(status=429, retry_at=START + 1e6, told=True)
    for one in rng.sample(facts, len(facts) * 3 // 10):
        state.failed(one.target, cooling, START)
    demands = [
        Demand(
            operation="chat",
            needs=frozenset({Capability.TOOLS} if rng.random() < 0.6 else ()),
            input_tokens=rng.choice((300, 4_000, 20_000, 60_000)),
            max_output=rng.choice((0, 1_024)),
            difficulty=rng.randint(1, 5),
            affinity_key=f"conversation-{i % 97}",
            binds=i % 3 > 0,
        )
        for i in range(steps)
    ]
    gc.collect()
    took: list[float] = []
    first: list[float] = []
    now, kinds = START, set()
    for demand in demands:
        now += 0.05
        began = process_time()
        candidate = plan(demand, Constraint(), roster, state, "round-robin", now, rng).take()
        assert candidate is not None
        state.settle(candidate.reservation, now, input_tokens=None, output_tokens=200, sent=True)
        kind = demand.needs, demand.difficulty
        (took if kind in kinds else first).append((process_time() - began) * 1e3)
        kinds.add(kind)
        state.succeeded(candidate.facts.target, now, ttft_s=0.4, demand=demand)
    for one in facts:
        state.failed(one.target, cooling, now)
    nobody = []
    for demand in demands[:20]:
        began = process_time()
        planned = plan(demand, Constraint(), roster, state, "round-robin", now, rng)
        assert planned.take() is None
        assert planned.retry_at is not None
        nobody.append((process_time() - began) * 1e3)
    took.sort()
    return PlanTime(statistics.median(took), took[int(len(took) * 0.99)], max(first), statistics.median(nobody))


# --- table and bars -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Bar:
    """One promise: what it says, and what decides; the larger `measured`, the worse."""

    name: str
    holds: bool
    value: str
    measured: float = 0.0


def bars(score: Score) -> list[Bar]:
    """The bars of the issue, held against one policy's score; the plan's time is not among them."""
    inferred, told = score.inferred, score.told
    both = max(inferred[0], told[0]), max(inferred[1], told[1])
    return [
        Bar("429s per 1,000 requests, day 1, at most 5", score.first_day <= 5.0, f"{score.first_day:.2f}", score.first_day),
        Bar("429s per 1,000 requests, later days, at most 1", score.later_days <= 1.0, f"{score.later_days:.2f}", score.later_days),
        Bar("usable quota spent, at least 97 %", score.spent >= 0.97, f"{score.spent:.1%}", -score.spent),
        Bar("benched after recovery, median below 5 s", both[0] < 5.0, f"{both[0]:.1f} s", both[0]),
        Bar("benched after recovery, worst below 60 s", both[1] < 60.0, f"{both[1]:.1f} s", both[1]),
        Bar("requests lost though somebody could serve, 0", score.lost == 0, str(score.lost), score.lost),
        Bar("money past the budget, at most the requests in flight", score.over_budget <= 0.0 and score.paid_late == 0, f"{score.paid_late} begun late, {score.over_budget:+.1f}", score.paid_late + score.over_budget),
        Bar("spread over equal keys, at most 1", score.spread <= 1, str(score.spread), score.spread),
        Bar("sequential: second account before the first is out, 0", score.early == 0, str(score.early), score.early),
    ]  # fmt: skip


def _lag(lag: tuple[float, float, int]) -> str:
    return f"{lag[0]:.1f} / {lag[1]:.1f} s ({lag[2]})" if lag[2] else "none"


ROWS: tuple[tuple[str, Callable[[Score], str]], ...] = (
    ("requests, of which answered", lambda s: f"{s.requests}, {s.answered}"),
    ("429s per 1,000 requests, day 1", lambda s: f"{s.first_day:.2f}"),
    ("429s per 1,000 requests, later days", lambda s: f"{s.later_days:.2f}"),
    ("  of which a provider's own shortage", lambda s: f"{s.later_capacity:.2f}"),
    ("attempts per request", lambda s: f"{s.attempts:.3f}"),
    ("requests refused", lambda s: str(s.refused)),
    ("  though somebody could have served", lambda s: str(s.lost)),
    ("benched after recovery, inferred: median / worst", lambda s: _lag(s.inferred)),
    ("benched after recovery, told and run out", lambda s: _lag(s.told)),
    ("benched, a day's end that nobody told", lambda s: _lag(s.clock)),
    ("benched, rejected key or no credit", lambda s: _lag(s.paused)),
    ("able targets found benched, share of time", lambda s: f"{s.idle:.1%}"),
    ("saturation: usable quota spent", lambda s: f"{s.spent:.1%}"),
    ("  mean over the owners of quotas", lambda s: f"{s.spent_owners:.1%}"),
    ("  429s per 1,000 requests", lambda s: f"{s.spent_429:.1f}"),
    ("paid requests begun after the budget was spent", lambda s: str(s.paid_late)),
    ("budget overspent, in requests beyond those in flight", lambda s: f"{max(0.0, s.over_budget):.1f}"),
    ("spread over five equal keys", lambda s: str(s.spread)),
    ("sequential: second account asked too early", lambda s: str(s.early)),
)


def table(scores: Sequence[Score], plan: PlanTime | None) -> str:
    """The table, one column a policy."""
    lines = [["", *(score.policy for score in scores)]]
    lines += [[name, *(of(score) for score in scores)] for name, of in ROWS]
    if plan is not None:
        lines += [
            ["a plan over 10,000 targets: median / 99 of 100", f"{plan.median:.3f} / {plan.p99:.3f} ms"],
            ["  first of its kind / nobody can serve", f"{plan.first:.1f} / {plan.nobody:.1f} ms"],
        ]
    widths = [max(len(line[n]) for line in lines if n < len(line)) for n in range(len(lines[0]))]
    return "\n".join(
        "  ".join(text.ljust(width) for text, width in zip(line, widths, strict=False)).rstrip() for line in lines
    )


def measure(
    names: Sequence[str],
    *,
    days: float = 7,
    scale: float = 1.0,
    minutes: float = 5,
    per_minute: float = PER_MINUTE,
    seed: int = SEED,
    reading: Reading = "clock",
    say: Say,
) -> list[Score]:
    """All scenarios under these policies."""
    scores = []
    for name in names:
        score, _ = run_week(name, days=days, scale=scale, seed=seed, reading=reading, say=say)
        score.spread = spread(name, seed=seed)
        score.early = sequence(name, seed=seed)
        scores.append(score)
        say(f"  {name}: week done in {score.seconds:.0f} s; 429s: {score.by_provider}")
    spent = saturate(names, minutes=minutes, per_minute=per_minute, seed=seed, reading=reading, say=say)
    for name, found in spent.items():
        score = next(one for one in scores if one.policy == name)
        score.spent, score.spent_owners, score.spent_429 = found
    return scores


def main(argv: Sequence[str] | None = None) -> int:
    """Print the table, or JSON; 1 where a bar is missed by our own policy."""
    parser = argparse.ArgumentParser(prog="python -m tests.sim.week", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--days", type=float, default=7.0)
    parser.add_argument("--scale", type=float, default=1.0, help="how much of the load")
    parser.add_argument("--minutes", type=float, default=5.0, help="of saturation")
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument(
        "--reading", choices=READINGS, default=READINGS[0], help="of minutes of which the facts are silent"
    )
    parser.add_argument("--only", choices=POLICIES, help="one policy")
    asked = parser.parse_args(argv)

    def say(text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    names = (asked.only,) if asked.only else POLICIES
    scores = measure(
        names,
        days=asked.days,
        scale=asked.scale,
        minutes=asked.minutes,
        seed=asked.seed,
        reading=asked.reading,
        say=say,
    )
    took = plan_time()
    held = bars(scores[0]) if scores[0].policy == POLICIES[0] else []
    if asked.json:
        bare: Mapping[str, object] = {
            "policies": [asdict(score) for score in scores],
            "plan_ms": asdict(took),
            "bars": [asdict(bar) for bar in held],
        }
        print(json.dumps(bare, indent=1))
    else:
        print(table(scores, took))
        print()
        for bar in held:
            print(f"{'holds ' if bar.holds else 'MISSED'}  {bar.name}: {bar.value}")
        late = "holds " if took.median <= 2.0 else "MISSED"
        print(f"{late}  a plan over 10,000 targets, at most 2 ms: {took.median:.3f} ms")
    return 0 if all(bar.holds for bar in held) else 1


if __name__ == "__main__":
    sys.exit(main())
