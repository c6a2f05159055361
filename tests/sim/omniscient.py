"""Whoever knows the truth: what could be spent of the pool's quota at all, to measure the policies against.

Owns no cleverness: a queue in order of arrival, and whenever a target has true room, the first request that fits it.
It is no bound from theory, but what a greedy spender gets who is never refused.
"""

import itertools
import math
from collections import OrderedDict
from collections.abc import Sequence

from hermes_router.core.catalog import TargetFacts

from .load import Job
from .pool import sent_cap
from .truth import Answer
from .world import Course, Exchange, Park, Send, World

STEP_S = 0.1
MOST = 24  # of those who wait, for a target that takes small ones only


class Omniscient:
    """It looks at all targets ten times a second."""

    name = "omniscient"

    def __init__(self, world: World, facts: Sequence[TargetFacts]) -> None:
        self._world = world
        self._facts = [one for one in facts if one.disabled is None]
        self._waiting: OrderedDict[int, Exchange] = OrderedDict()
        self._chosen: dict[int, TargetFacts] = {}
        self._running = False
        self._full_until: dict[object, float] = {}

    def serve(self, exchange: Exchange) -> Course:
        """Wait for room; the loop below finds it."""
        job = exchange.job
        self._waiting[job.number] = exchange
        if not self._running:
            self._running = True
            self._world.at(self._world.now, self._look)
        yield Park()
        facts = self._chosen.pop(job.number, None)
        if facts is None:
            return "late"
        answer = yield Send(facts, 600.0, sent_cap(facts, job, modest=True))
        assert answer is not None
        return "answered" if answer.kind is None else "refused"

    def _look(self) -> None:
        world = self._world
        for number, exchange in list(self._waiting.items()):
            if world.now <= exchange.job.at + exchange.job.patience_s:
                break
            del self._waiting[number]
            world.resume(exchange, None)
        for facts in self._facts:
            if self._full_until.get(facts.target, 0.0) <= world.now and self._waiting:
                self._offer(facts)
        self._running = bool(self._waiting)
        if self._running:
            world.at(world.now + STEP_S, self._look)

    def _offer(self, facts: TargetFacts) -> None:
        """Give a target the first request that it has room for, or note until when it has none."""
        world, truth = self._world, self._world.truth
        full_until, sized = math.inf, truth.sized(facts)
        for number, exchange in itertools.islice(self._waiting.items(), MOST):
            job = exchange.job
            free_at = truth.free_at(facts, job, world.now, cap=sent_cap(facts, job, modest=True))
            if free_at <= world.now and truth.fits(facts, job):
                del self._waiting[number]
                self._chosen[number] = facts
                world.resume(exchange, None)
                return
            full_until = min(full_until, free_at)
            if not sized:
                break  # no other would fit, either
        self._full_until[facts.target] = full_until if not sized else min(full_until, world.now + 1.0)

    def head(self, exchange: Exchange, facts: TargetFacts, answer: Answer) -> None:
        """It knows already."""

    def offers(self, facts: TargetFacts, job: Job) -> bool:
        """Always in time."""
        return True

    def until(self, facts: TargetFacts, job: Job) -> float:
        """The truth."""
        return self._world.truth.free_at(facts, job, self._world.now)
