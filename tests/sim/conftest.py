"""A discrete-event world for the brain: providers with hidden quotas, outages and revoked keys, and a clock that jumps.

Nothing here is told to the ledger but through errors, told windows and successes, as the wire would tell it. The
world keeps its own record of what it has said, and checks every choice against that.
"""

import heapq
import itertools
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from hermes_router.core import errors as err
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
from hermes_router.core.chat import ChatRequest
from hermes_router.core.ids import AccountId, Credential, CredentialId, ModelId, ProviderName, Target
from hermes_router.core.observations import QuotaSeen, Unit, Window
from hermes_router.routing.demand import Constraint, Demand, affinity_key, assess
from hermes_router.routing.failover import after
from hermes_router.routing.roster import Roster
from hermes_router.routing.scheduler import Candidate, plan
from hermes_router.routing.state import RoutingState

START = 1_790_000_000.0
HOUR = 3_600.0


@dataclass
class Truth:
    """What one provider really is; the ledger sees only what comes of it."""

    name: str
    rpm: int | None = None  # requests per account, model and minute
    says: str = "nothing"  # about its limit: nothing | retry_after | headers
    outages: list[tuple[float, float, type[err.UpstreamError]]] = field(default_factory=list)
    revoked: list[tuple[str, float, float]] = field(default_factory=list)  # key, from, to
    flaky: float = 0.0  # share of attempts that fail for no reason


@dataclass
class Said:
    """What a target was told to wait for."""

    until: float
    asked_at: float


@dataclass
class Exchange:
    """One request under way."""

    demand: Demand
    constraint: Constraint
    attempts: int = 0
    deadline: float = 0.0


class World:
    """Targets, their truth, the ledger, and a heap of what happens next."""

    def __init__(
        self, facts: list[TargetFacts], truths: list[Truth], *, seed: int, policy: str = "round-robin"
    ) -> None:
        self.rng = random.Random(seed)
        self.now = START
        self.roster = Roster(facts)
        self.state = RoutingState()
        self.policy = policy
        self.truths = {t.name: t for t in truths}
        self.outcomes: Counter[str] = Counter()
        self.served: Counter[Target] = Counter()
        self.failed_at: list[float] = []
        self.most_attempts = 0
        self.trace: list[tuple[float, str, str]] = []
        self.keep_trace = False
        self.steps = 0
        self._windows: dict[tuple[str, str, str], tuple[float, int]] = {}
        self._said: dict[Target, Said] = {}
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()

    # --- running -----------------------------------------------------------------------------------

    def at(self, when: float, what: Callable[[], None]) -> None:
        heapq.heappush(self._events, (when, next(self._order), what))

    def run(self, *, steps: int | None = None, until: float | None = None) -> None:
        """Take events in order until so many attempts were made, or until an instant."""
        goal = None if steps is None else self.steps + steps
        while self._events and (goal is None or self.steps < goal):
            if until is not None and self._events[0][0] > until:
                self.now = max(self.now, until)
                return
            when, _, what = heapq.heappop(self._events)
            self.now = max(self.now, when)  # the clock jumps ahead, never back
            what()

    def drain(self) -> None:
        """Let all that is under way end, without new arrivals."""
        self.arriving = False
        while self._events:
            when, _, what = heapq.heappop(self._events)
            self.now = max(self.now, when)
            what()

    def arrivals(self, per_s: float, *, tools: float = 0.3, chats: int = 40) -> None:
        """Requests at random instants, some in conversations."""
        self.arriving = True

        def arrive() -> None:
            if not self.arriving:
                return
            self._begin(tools, chats)
            self.at(self.now + self.rng.expovariate(per_s), arrive)

        self.at(self.now, arrive)

    def jump(self, seconds: float) -> None:
        """The machine slept: everything due in between happens at once, late."""
        self.now += seconds

    # --- an exchange -------------------------------------------------------------------------------

    def _begin(self, tools: float, chats: int) -> None:
        turns = self.rng.randint(0, 3)
        request = ChatRequest(
            model="hermes-router",
            tools=int(self.rng.random() < tools),
            assistant_turns=turns,
            messages=2 * turns + 1,
            text_bytes=self.rng.choice((300, 3_000, 30_000)),
            last_user="hi",
            last_user_chars=self.rng.choice((10, 400, 4_000)),
            effort=self.rng.choice((None, None, None, "high")),
            conversation=f"c{self.rng.randrange(chats)}",
        )
        floor = self.state.difficulty_floor(affinity_key(request, "rk"))
        demand = assess(request, caller="rk", floor_difficulty=floor)
        self._attempt(Exchange(demand, Constraint(), deadline=self.now + 600))

    def _attempt(self, exchange: Exchange) -> None:
        self.steps += 1
        planned = plan(exchange.demand, exchange.constraint, self.roster, self.state, self.policy, self.now, self.rng)
        candidate = planned.take()
        if candidate is None:
            self._refused(planned.retry_at)
            return
        exchange.attempts += 1
        self.most_attempts = max(self.most_attempts, exchange.attempts)
        target = candidate.facts.target
        self._check(target, exchange, candidate.why)
        self._note(str(target), candidate.why)
        takes = self.rng.uniform(0.1, 4.0)
        error = self._answer(candidate.facts)
        if self.rng.random() < 0.02:
            self.at(self.now + takes, lambda: self._abandon(candidate))
            return
        self.at(self.now + takes, lambda: self._end(exchange, candidate, error))

    def _end(self, exchange: Exchange, candidate: Candidate, error: err.UpstreamError | None) -> None:
        target = candidate.facts.target
        if error is None:
            self._said.pop(target, None)
            self.state.succeeded(target, self.now, ttft_s=self.rng.uniform(0.1, 2.0), demand=exchange.demand)
            self.state.settle(candidate.reservation, self.now, input_tokens=900, output_tokens=80, sent=True)
            self.outcomes["answered"] += 1
            self.served[target] += 1
            return
        self.outcomes[type(error).__name__] += 1
        self.state.failed(target, error, self.now, demand=exchange.demand)
        self.state.settle(candidate.reservation, self.now, input_tokens=None, output_tokens=None, sent=False)
        if error.told and error.retry_at is not None and error.retry_at > self.now:
            before = self._said.get(target)
            self._said[target] = Said(max(error.retry_at, before.until if before else 0.0), self.now)
        found = after(error, candidate.facts, exchange.constraint, input_tokens=exchange.demand.input_tokens)
        assert found.action == "plan"
        if self.now > exchange.deadline:
            self.outcomes["deadline"] += 1
            return
        exchange.constraint = found.constraint
        self._attempt(exchange)

    def _abandon(self, candidate: Candidate) -> None:
        self.state.abandoned(candidate.facts.target, self.now)
        self.state.settle(candidate.reservation, self.now, input_tokens=None, output_tokens=None, sent=True)
        self.outcomes["abandoned"] += 1

    def _refused(self, retry_at: float | None) -> None:
        assert retry_at is None or retry_at > self.now
        self.outcomes["refused"] += 1
        self.failed_at.append(self.now)

    # --- the truth ---------------------------------------------------------------------------------

    def _answer(self, facts: TargetFacts) -> err.UpstreamError | None:
        truth = self.truths[facts.provider.name]
        key = facts.credential.id.partition("-")[0]
        for name, begins, ends in truth.revoked:
            if name == key and begins <= self.now < ends:
                return err.CredentialRejected(status=401)
        for begins, ends, cls in truth.outages:
            if begins <= self.now < ends:
                return err.TimedOut("first_token") if cls is err.TimedOut else cls()
        if truth.flaky and self.rng.random() < truth.flaky:
            return self.rng.choice((err.ServerFailed(), err.EmptyReply(), err.Truncated(), err.Overloaded()))
        return self._count(facts, truth)

    def _count(self, facts: TargetFacts, truth: Truth) -> err.UpstreamError | None:
        """The hidden window: a fixed minute from its first request."""
        if truth.rpm is None:
            return None
        scope = (truth.name, facts.credential.account, facts.model.id)
        ends, used = self._windows.get(scope, (0.0, 0))
        if self.now >= ends:
            ends, used = self.now + 60.0, 0
        if used >= truth.rpm:
            if truth.says == "nothing":
                return err.RateLimited(status=429)
            return err.RateLimited(status=429, retry_at=ends, told=True)
        used += 1
        self._windows[scope] = (ends, used)
        if truth.says == "headers":
            seen = QuotaSeen("account_model", Unit.REQUESTS, Window.MINUTE, truth.rpm, truth.rpm - used, ends)
            self.state.seen(facts.target, [seen], self.now)
            if used == truth.rpm:
                self._said[facts.target] = Said(ends, self.now)
        return None

    # --- what must never happen --------------------------------------------------------------------

    def _check(self, target: Target, exchange: Exchange, why: str) -> None:
        assert target not in exchange.constraint.tried, "a target that is out was asked again"
        assert exchange.attempts <= 2 * len(self.roster), "attempts are not bounded"
        said = self._said.get(target)
        if said is not None and self.now < said.until:
            hourly = said.until - said.asked_at > 900 and self.now - said.asked_at >= HOUR
            assert hourly, f"{target} was asked {said.until - self.now:.0f} s before what it had told ({why})"
            said.asked_at = self.now

    def _note(self, target: str, why: str) -> None:
        if self.keep_trace:
            self.trace.append((self.now, target, why))

    def all_settled(self) -> None:
        """After all has ended nothing is held."""
        for facts in self.roster.facts:
            slot = self.state.slot(facts.target)
            if slot is None:
                continue
            assert slot.inflight == 0
            assert slot.provider_breaker.inflight == slot.model_breaker.inflight == 0
            for meter in slot.meters:
                assert meter.used >= 0
                assert not meter.level or meter.used == 0


def target(
    provider: str,
    model: str,
    key: str = "k1",
    *,
    tier: int = 5,
    price: PriceClass = PriceClass.FREE,
    quotas: tuple[QuotaRule, ...] = (),
) -> TargetFacts:
    """A target of one provider, model and key, each key its own account."""
    spec = ModelSpec(
        ModelId(model),
        context=131_072,
        tier=tier,
        price_class=price,
        capabilities={Capability.TOOLS: Claim(Known.YES)},
    )
    row = ProviderSpec(ProviderName(provider), provider, {"openai_chat": "http://x.invalid"}, "bearer", (spec,))
    own = f"{key}-{provider}"
    credential = Credential(CredentialId(own), row.name, AccountId(own), "api_key", "env", "abcd", "env")
    made = Target(row.name, spec.id, credential.id)
    return TargetFacts(made, row, spec, credential, "http://x.invalid", quotas=quotas)


@pytest.fixture(scope="session")
def sim() -> type[World]:
    """The world's class."""
    return World


@pytest.fixture(scope="session")
def truth() -> type[Truth]:
    """What a provider really is."""
    return Truth


@pytest.fixture(scope="session")
def make() -> Callable[..., TargetFacts]:
    """`make("provider", "model", "key", ...)`: a target."""
    return target
