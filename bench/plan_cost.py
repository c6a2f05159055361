"""What one planning step costs over 1,000 and 10,000 targets: plan, take and settle, as one attempt does them.

The pool is not a friendly one: 20 providers of 10 models and 5 keys each (or 50), windows on all of them, and three
targets in ten cooling (or nine). Requests differ in need, size and difficulty; the clock moves, so what is cached has to be built anew now
and then, and that is in the mean. Prints one JSON object.
"""

import gc
import json
import random
import statistics
from time import perf_counter

from hermes_router.core.catalog import (
    Capability,
    Claim,
    Known,
    ModelSpec,
    Price,
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

PROVIDERS, MODELS, KEYS, MANY_KEYS = 20, 10, 5, 50
STEPS, ROUNDS = 2_000, 3
START = 1_790_000_000.0
_QUOTAS = (
    QuotaRule(Unit.REQUESTS, 60, Window.MINUTE),
    QuotaRule(Unit.TOKENS, 500_000, Window.MINUTE),
    QuotaRule(Unit.REQUESTS, 5_000, Window.DAY, resets="utc"),
)


def _models(provider: int, rng: random.Random) -> tuple[ModelSpec, ...]:
    yes, no = Claim(Known.YES), Claim(Known.NO)
    return tuple(
        ModelSpec(
            id=ModelId(f"model-{provider}-{i}"),
            context=rng.choice((32_000, 131_072, 262_144)),
            max_output=8_192,
            tier=1 + (i + provider) % 5,
            price_class=PriceClass((i + provider) % 4),
            price=Price(100_000 * i, 400_000 * i),
            capabilities={Capability.TOOLS: yes, Capability.IMAGES: rng.choice((yes, no))},
            quotas=_QUOTAS,
        )
        for i in range(MODELS)
    )


def _pool(rng: random.Random, keys: int) -> list[TargetFacts]:
    found = []
    for p in range(PROVIDERS):
        url = f"https://p{p}.invalid/v1"
        name = ProviderName(f"p{p}")
        row = ProviderSpec(name, name, {"openai_chat": url}, "bearer", _models(p, rng))
        for k in range(keys):
            key = CredentialId(f"{p:02}{k}-key")
            credential = Credential(key, name, AccountId(key), "api_key", f"env:{key}", "abcd", "bench")
            for position, model in enumerate(row.models):
                target = Target(name, model.id, key)
                facts = TargetFacts(target, row, model, credential, url, quotas=model.quotas, position=position)
                found.append(facts)
    return found


def _demands(rng: random.Random, count: int) -> list[Demand]:
    found = []
    for i in range(count):
        needs = frozenset(c for c, odds in ((Capability.TOOLS, 0.6), (Capability.IMAGES, 0.1)) if rng.random() < odds)
        found.append(
            Demand(
                operation="chat",
                needs=needs,
                input_tokens=rng.choice((300, 4_000, 20_000, 60_000)),
                max_output=rng.choice((0, 1_024)),
                difficulty=rng.randint(1, 5),
                tools=Capability.TOOLS in needs,
                affinity_key=f"conversation-{i % 97}",
                binds=i % 3 > 0,
            )
        )
    return found


def measure(seed: int, *, keys: int = KEYS, cooling: float = 0.3) -> float:
    """Mean milliseconds of a planning step."""
    rng = random.Random(seed)
    facts = _pool(rng, keys)
    roster, state, constraint = Roster(facts), RoutingState(), Constraint()
    state.adopt(roster)
    demands = _demands(rng, STEPS)
    for one in rng.sample(facts, int(len(facts) * cooling)):
        state.failed(one.target, RateLimited(status=429, retry_at=START + rng.uniform(20, 90), told=True), START)
    spent, taken, now = 0.0, 0, START
    for demand in demands:
        now += 0.05
        began = perf_counter()
        candidate = plan(demand, constraint, roster, state, "round-robin", now, rng).take()
        if candidate is not None:
            state.settle(candidate.reservation, now, input_tokens=None, output_tokens=200, sent=True)
        spent += perf_counter() - began
        if candidate is not None:
            taken += 1
            state.succeeded(candidate.facts.target, now, ttft_s=0.4, demand=demand)
    assert taken > STEPS * 0.9, f"only {taken} of {STEPS} plans found a target: this pool measures refusals"
    return spent / STEPS * 1e3


if __name__ == "__main__":
    gc.freeze()
    print(
        json.dumps(
            {
                "plan_ms": statistics.median(measure(seed) for seed in range(ROUNDS)),
                "plan_10k_ms": statistics.median(measure(seed, keys=MANY_KEYS) for seed in range(ROUNDS)),
                "plan_10k_blocked_ms": statistics.median(
                    measure(seed, keys=MANY_KEYS, cooling=0.9) for seed in range(ROUNDS)
                ),
            }
        )
    )
