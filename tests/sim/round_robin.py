"""Plain round-robin with a fixed minute of rest after a 429 or 5xx: what most people would write first, written well.

Owns that policy. Free targets come before paid ones, requests go only where they fit by the published windows, and a
budget is looked at before each paid request. It has no queue: with nobody left the caller gets an error at once.
"""

from collections.abc import Sequence

from hermes_router.core.catalog import Capability, Known, PriceClass, TargetFacts
from hermes_router.core.observations import Unit

from .load import Job
from .pool import sent_cap
from .truth import Answer
from .world import Course, Exchange, Send, World

REST_S = 60.0
TIMEOUT_S = 120.0
TOKENS = frozenset({Unit.TOKENS, Unit.INPUT_TOKENS})
GONE_S = 3_600.0  # a key or account that is refused (401, 402, 403)


class RoundRobin:
    """The policy."""

    name = "round-robin + 60 s"

    def __init__(
        self, world: World, facts: Sequence[TargetFacts], *, mode: str = "round-robin", usd_day: int | None = None
    ) -> None:
        self._world = world
        self._facts = [one for one in facts if one.disabled is None]
        self._sequential = mode == "sequential"
        self._next = 0
        self._rests_until: dict[object, float] = {}
        self._usd_day = usd_day
        self._spent: dict[int, int] = {}

    def serve(self, exchange: Exchange) -> Course:
        """Each target at most once, beginning after the one that had the last turn."""
        job, world = exchange.job, self._world
        count = len(self._facts)
        turn = 0 if self._sequential else self._next
        self._next = (self._next + 1) % count
        ring = [self._facts[(turn + step) % count] for step in range(count)]
        for facts in sorted(ring, key=lambda one: one.model.price_class is PriceClass.PAID):
            if not self._fits(facts, job) or self._rests(facts):
                continue
            if facts.model.price_class is PriceClass.PAID and self._over_budget(world.wall):
                continue
            answer = yield Send(facts, TIMEOUT_S, sent_cap(facts, job, modest=False))
            assert answer is not None
            if answer.kind is None:
                price = facts.model.price
                cost = answer.input_tokens * price.input_microusd + answer.output_tokens * price.output_microusd
                day = int(world.wall // 86_400)
                if facts.model.price_class is PriceClass.PAID:
                    self._spent[day] = self._spent.get(day, 0) + cost // 1_000_000
                return "answered"
            if answer.status is None or answer.status in {200, 429} or answer.status >= 500:
                self._rests_until[facts.target] = world.wall + REST_S
            elif answer.status in {401, 402, 403}:
                self._rests_until[facts.credential.id] = world.wall + GONE_S
        return "exhausted"

    def _fits(self, facts: TargetFacts, job: Job) -> bool:
        pin = job.pin
        if pin is not None and (pin.model != facts.target.model or pin.provider not in {None, facts.provider.name}):
            return False
        if job.request.tools and facts.model.capability(Capability.TOOLS).value is Known.NO:
            return False
        largest = [facts.model.context or 64_000]
        largest += [rule.amount for rule in facts.quotas if rule.unit in TOKENS]
        return job.tokens + (job.request.max_output_tokens or 1_024) < min(largest)

    def _rests(self, facts: TargetFacts) -> bool:
        now, until = self._world.wall, self._rests_until
        return now < until.get(facts.target, 0.0) or now < until.get(facts.credential.id, 0.0)

    def _over_budget(self, now: float) -> bool:
        return self._usd_day is not None and self._spent.get(int(now // 86_400), 0) >= self._usd_day

    def head(self, exchange: Exchange, facts: TargetFacts, answer: Answer) -> None:
        """It reads no headers."""

    def offers(self, facts: TargetFacts, job: Job) -> bool:
        """Not resting."""
        return not self._rests(facts)

    def until(self, facts: TargetFacts, job: Job) -> float:
        """The end of its rest."""
        return max(self._rests_until.get(facts.target, 0.0), self._rests_until.get(facts.credential.id, 0.0))
