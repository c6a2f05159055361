"""What is measured in the simulated week: refusals, waits on the bench, losses, money. It sees the truth, no policy does.

Owns the counting only. A target is *recovered* when the truth would take the very request that it refused; it is
*benched* from then (or from the instant that it was told, if that is later) until its router would use it again.
"""

import math
from collections import Counter, defaultdict, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median

from hermes_router.core.catalog import PriceClass, TargetFacts
from hermes_router.core.errors import Blames, QuotaExhausted, UpstreamError
from hermes_router.wire import ratelimit

from .load import DAY, HOUR, Job
from .ours import read_error
from .pool import REASONING_RESERVE, sent_cap
from .truth import PRICES, Answer, Kind
from .world import Exchange, World

FINE_S, COARSE_S = 0.5, 15.0
SAMPLE_S = 300.0

DEAREST = max(PRICES.values())

CAUSES = ("inferred", "told", "clock", "paused")
"""Why a target rests.

`inferred`: nobody said until when. `told`: an instant was named. `clock`: a day or a month is spent, whether that was
said or not, and nobody said when it ends; to know it within a minute one would have to be refused a thousand times a
day. `paused`: a rejected key, an account without credit.
"""


@dataclass
class Bench:
    """One target that failed and has not been seen to be offered since."""

    facts: TargetFacts
    job: Job
    cause: str
    told_at: float
    since: float
    free_since: float | None = None


@dataclass
class Loss:
    """A request that was refused though somebody could have served it."""

    at: float
    caller: str
    outcome: str
    could: str


@dataclass
class Measures:
    """All counts of one policy."""

    world: World
    facts: Sequence[TargetFacts]
    start: float
    budget_microusd: int | None = None
    requests: Counter[int] = field(default_factory=Counter)
    attempts: int = 0
    refusals: Counter[tuple[int, str, Kind]] = field(default_factory=Counter)  # 429s by day, provider, kind
    failures: Counter[str] = field(default_factory=Counter)
    outcomes: Counter[str] = field(default_factory=Counter)
    lost: list[Loss] = field(default_factory=list)
    lags: dict[str, list[tuple[float, str]]] = field(default_factory=lambda: defaultdict(list))
    served: Counter[object] = field(default_factory=Counter)
    sends: Counter[object] = field(default_factory=Counter)
    waits: list[float] = field(default_factory=list)
    paid_in_flight: int = 0
    paid_after_budget: int = 0
    over: dict[int, tuple[float, int]] = field(default_factory=dict)  # by day: overspent in requests, in flight then
    sampled: int = 0
    idle: int = 0
    _benches: dict[object, Bench] = field(default_factory=dict)
    _first_paid: dict[int, int] = field(default_factory=dict)
    trail: list[tuple[float, str, str, str]] = field(default_factory=list)
    _said: dict[object, deque[float]] = field(default_factory=lambda: defaultdict(lambda: deque(maxlen=64)))
    _of_provider: dict[str, list[TargetFacts]] = field(default_factory=lambda: defaultdict(list))

    def __post_init__(self) -> None:
        for facts in self.facts:
            self._of_provider[facts.provider.name].append(facts)

    # --- told by the world -------------------------------------------------------------------------------

    def sent(self, exchange: Exchange, facts: TargetFacts) -> None:
        """An attempt begins."""
        self.attempts += 1
        self.sends[facts.target] += 1
        if facts.model.price_class is PriceClass.PAID:
            day = int((self.world.now - self.start) // DAY)
            spent = self.world.truth.spent_microusd.get(day, 0)
            if self.budget_microusd is not None and spent >= self.budget_microusd:
                self.paid_after_budget += 1
            self.paid_in_flight += 1

    def answered(self, exchange: Exchange, facts: TargetFacts, answer: Answer) -> None:
        """An attempt is over."""
        day = int((self.world.now - self.start) // DAY)
        if facts.model.price_class is PriceClass.PAID:
            spent = self.world.truth.spent_microusd.get(day, 0)
            if self.budget_microusd is not None and spent >= self.budget_microusd:
                self._first_paid.setdefault(day, self.paid_in_flight)
                each = max(1, answer.microusd)
                self.over[day] = (max((spent - self.budget_microusd) / each, 0.0), self._first_paid[day])
            self.paid_in_flight -= 1
        if answer.headers:
            self._note(facts, answer)
        if answer.kind is None:
            self.served[facts.target] += 1
            return
        self.failures[answer.kind] += 1
        if answer.status == 429:
            self.refusals[day, facts.provider.name, answer.kind] += 1
            self.trail.append(
                (self.world.now, str(facts.target), answer.kind, answer.body[:90].decode(errors="replace"))
            )
        self._bench(exchange.job, facts, answer)

    def _note(self, facts: TargetFacts, answer: Answer) -> None:
        """Instants that headers name: a router that waits for one of them obeys, for all targets of that window."""
        world = self.world
        for seen in ratelimit.seen(facts.provider.ratelimit, answer.headers, world.wall):
            if seen.reset_at is None or seen.reset_at - world.wall < 60.0:
                continue
            shared = {id(count) for count in world.truth.counts(facts, world.now)}
            for one in self._of_provider[facts.provider.name]:
                if shared & {id(count) for count in world.truth.counts(one, world.now)}:
                    self._said[one.target].append(seen.reset_at)

    def _obeys(self, facts: TargetFacts, until: float) -> bool:
        """Whether that instant was told."""
        said = self._said[facts.target]
        while said and said[0] < self.world.wall - DAY:
            said.popleft()
        return any(abs(at - until) < 2.0 for at in said)

    def ended(self, exchange: Exchange, outcome: str) -> None:
        """An exchange is over."""
        world, job = self.world, exchange.job
        self.requests[int((job.at - self.start) // DAY)] += 1
        self.outcomes[outcome] += 1
        if outcome == "answered":
            return
        until = max(world.now, job.at + job.patience_s)
        broke = self._broke(job)
        for facts in self.facts:
            if not world.truth.fits(facts, job) or (broke and facts.model.price_class is PriceClass.PAID):
                continue
            if self._free_at(facts, job) <= until:
                self.lost.append(Loss(world.now, job.caller, outcome, str(facts.target)))
                return

    def _broke(self, job: Job) -> bool:
        """Whether the budget could not bear this request beside those in flight, at what they may cost at most."""
        if self.budget_microusd is None:
            return False
        price = PRICES[str(job.pin.model)] if job.pin is not None and job.pin.model in PRICES else DEAREST
        most = (job.request.max_output_tokens or 4_096) + REASONING_RESERVE
        each = (job.tokens * 1.05 * price[0] + most * price[1]) / 1_000_000
        spent = self.world.truth.spent_microusd.get(int((self.world.now - self.start) // DAY), 0)
        return spent + (self.paid_in_flight + 1) * each > self.budget_microusd

    def _free_at(self, facts: TargetFacts, job: Job) -> float:
        """When it would be accepted here with the output limit that goes out."""
        return self.world.truth.free_at(facts, job, self.world.now, cap=sent_cap(facts, job, modest=True))

    # --- the bench ---------------------------------------------------------------------------------------

    def _bench(self, job: Job, facts: TargetFacts, answer: Answer) -> None:
        world = self.world
        error = read_error(facts, answer, world.wall)
        if error.blames in {Blames.REQUEST, Blames.NETWORK}:
            return
        told_at = 0.0
        if error.told and error.retry_at is not None:
            # What was told as a wait runs by the true clock, what was told as an instant is true already.
            told_at = max(world.now + error.retry_at - world.wall, error.retry_at if world.wall < world.now else 0.0)
        bench = Bench(facts, job, _cause(error, answer), told_at, world.now)
        self._benches[facts.target] = bench
        world.at(world.now + 0.01, lambda: self._look(bench))

    def _look(self, bench: Bench) -> None:
        """At the recovery, and from then on until the router would use it."""
        world = self.world
        if self._benches.get(bench.facts.target) is not bench:
            return  # it failed again since
        free_at = max(self._free_at(bench.facts, bench.job), bench.told_at)
        if free_at > world.now + 0.001:
            bench.free_since = None
            if free_at == math.inf or free_at - bench.since > 9 * DAY:
                del self._benches[bench.facts.target]
            else:
                world.at(free_at + 0.002, lambda: self._look(bench))
            return
        if bench.free_since is None:
            bench.free_since = world.now
        assert world.router is not None
        lag = world.now - bench.free_since
        if world.router.offers(bench.facts, bench.job):
            self.lags[bench.cause].append((lag, str(bench.facts.target)))
            del self._benches[bench.facts.target]
            return
        until = world.router.until(bench.facts, bench.job)
        if until > max(bench.told_at, world.wall) and self._obeys(bench.facts, until):
            bench.told_at, bench.cause, bench.free_since = until, "told", None
        world.at(world.now + (FINE_S if lag < 120 else COARSE_S), lambda: self._look(bench))

    # --- all targets, every few minutes --------------------------------------------------------------------

    def sample(self, job: Job, until: float) -> None:
        """How often a target stands idle that could serve a small request."""
        world = self.world
        for facts in self.facts:
            if facts.disabled is None and self._free_at(facts, job) <= world.now:
                self.sampled += 1
                assert world.router is not None
                self.idle += not world.router.offers(facts, job)
        if world.now + SAMPLE_S < until:
            world.at(world.now + SAMPLE_S, lambda: self.sample(job, until))

    # --- asked at the end ----------------------------------------------------------------------------------

    def per_1000(self, days: range, *, kinds: frozenset[str] | None = None) -> float:
        """429s drawn in these days for each 1,000 requests."""
        drawn = sum(
            n for (day, _, kind), n in self.refusals.items() if day in days and (kinds is None or kind in kinds)
        )
        asked = sum(self.requests[day] for day in days)
        return 1_000.0 * drawn / asked if asked else 0.0

    def lag(self, *causes: str) -> tuple[float, float, int]:
        """Median and worst seconds on the bench after recovery, and how many there were."""
        found = [lag for cause in causes for lag, _ in self.lags.get(cause, ())]
        return (median(found), max(found), len(found)) if found else (0.0, 0.0, 0)


def _cause(error: UpstreamError, answer: Answer) -> str:
    if error.blames is Blames.CREDENTIAL:
        return "paused"
    if error.told and error.retry_at is not None:
        return "told"
    return "clock" if isinstance(error, QuotaExhausted) or answer.span_s > HOUR else "inferred"
