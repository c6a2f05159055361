"""The event loop of the simulated week: one true clock, the router's clock beside it, and the providers at the far end.

Owns time and delivery. A router is a generator per exchange: it yields what to send or that it waits, and is sent the
answer. The world must never decide anything for it, and it tells the collector all that happens.
"""

import heapq
import itertools
import math
import random
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from hermes_router.core.catalog import TargetFacts

from .load import Job
from .truth import Answer, Truth

UPLINK_S = (0.03, 0.12)
AFTER_S = 3_600.0  # all requests are over by then; what is looked at later is nobody's
ALONE_S = 5.0  # how often a silent target without a rival is looked at again


@dataclass(frozen=True, slots=True)
class Send:
    """Make an attempt.

    `limit_s` is the silence after which the router gives up, unless `alone` says that nobody else could serve.
    `cap` is the output limit that goes out.
    """

    facts: TargetFacts
    limit_s: float
    cap: int | None
    alone: Callable[[], bool] | None = None


@dataclass(frozen=True, slots=True)
class Park:
    """Wait until somebody resumes the exchange."""


Course = Generator["Send | Park", Answer | None, str]
"""An exchange under way; it returns `answered` or why not."""


class Exchange:
    """One request under way at one router."""

    __slots__ = ("attempts", "course", "job", "own")

    def __init__(self, job: Job) -> None:
        self.job = job
        self.attempts = 0
        self.own: Any = None  # whatever its router keeps of it
        self.course: Course | None = None


class Router(Protocol):
    """A policy under test."""

    name: str

    def serve(self, exchange: Exchange) -> Course:
        """Serve one request."""
        ...

    def head(self, exchange: Exchange, facts: TargetFacts, answer: Answer) -> None:
        """The head of an answer came in."""
        ...

    def offers(self, facts: TargetFacts, job: Job) -> bool:
        """Whether it would use this target for this request now, if asked."""
        ...

    def until(self, facts: TargetFacts, job: Job) -> float:
        """When it means to use it again, epoch seconds by its clock; the past where it would now."""
        ...


class Collector(Protocol):
    """Takes the measures."""

    def sent(self, exchange: Exchange, facts: TargetFacts) -> None:
        """An attempt begins."""
        ...

    def answered(self, exchange: Exchange, facts: TargetFacts, answer: Answer) -> None:
        """An attempt is over."""
        ...

    def ended(self, exchange: Exchange, outcome: str) -> None:
        """An exchange is over."""
        ...


class World:
    """Runs one router through one list of arrivals. `now` is the truth; `wall` is what the router's clock says.

    `skews` are (from, to, seconds) by which the machine's clock is wrong; the router's clock never goes back.
    `asleep` is an interval in which the machine is suspended: what was due happens at its end.
    """

    def __init__(
        self,
        truth: Truth,
        *,
        start: float,
        seed: int,
        skews: Sequence[tuple[float, float, float]] = (),
        asleep: tuple[float, float] | None = None,
        uplink_s: tuple[float, float] = UPLINK_S,
    ) -> None:
        self._uplink_s = uplink_s
        self.truth = truth
        self.now = start
        self.rng = random.Random(seed)
        self._skews = tuple(skews)
        self._asleep = asleep
        self._latest = 0.0
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self.router: Router | None = None
        self.collector: Collector | None = None

    @property
    def wall(self) -> float:
        """Epoch seconds by the router's clock."""
        skew = next((by for begins, ends, by in self._skews if begins <= self.now < ends), 0.0)
        self._latest = max(self._latest, self.now + skew)
        return self._latest

    def at(self, when: float, what: Callable[[], None]) -> None:
        """Let something happen; not before the machine is awake."""
        if self._asleep is not None and self._asleep[0] <= when < self._asleep[1]:
            when = self._asleep[1]
        heapq.heappush(self._events, (when, next(self._order), what))

    def run(
        self,
        router: Router,
        jobs: Sequence[Job],
        collector: Collector,
        *,
        progress: Callable[[float], None] | None = None,
    ) -> None:
        """Run it to the end of all that is under way, and an hour beyond the last arrival at the longest."""
        self.router, self.collector = router, collector
        arrivals = iter(jobs)

        def arrive(job: Job) -> None:
            self._begin(job)
            later = next(arrivals, None)
            if later is not None:
                self.at(later.at, lambda: arrive(later))

        first = next(arrivals, None)
        if first is not None:
            self.at(first.at, lambda: arrive(first))
        said, until = self.now, jobs[-1].at + AFTER_S
        while self._events and self._events[0][0] <= until:
            when, _, what = heapq.heappop(self._events)
            self.now = max(self.now, when)
            what()
            if progress is not None and self.now - said >= 43_200:
                said = self.now
                progress(self.now)

    # --- an exchange -----------------------------------------------------------------------------------

    def _begin(self, job: Job) -> None:
        assert self.router is not None
        exchange = Exchange(job)
        exchange.course = self.router.serve(exchange)
        self.resume(exchange, None)

    def resume(self, exchange: Exchange, answer: Answer | None) -> None:
        """Let an exchange go on to its next step."""
        assert self.collector is not None
        assert exchange.course is not None
        try:
            step = exchange.course.send(answer)
        except StopIteration as ended:
            self.collector.ended(exchange, ended.value)
            return
        if isinstance(step, Send):
            self._dispatch(exchange, step)

    def _dispatch(self, exchange: Exchange, send: Send) -> None:
        assert self.collector is not None
        exchange.attempts += 1
        self.collector.sent(exchange, send.facts)
        sent_at = self.now
        up, down = self.rng.uniform(*self._uplink_s), self.rng.uniform(*self._uplink_s)
        if not up:
            self._reach(exchange, send, sent_at, down)
            return
        self.at(self.now + up, lambda: self._reach(exchange, send, sent_at, down))

    def _reach(self, exchange: Exchange, send: Send, sent_at: float, down: float) -> None:
        """The request is at the provider: it says yes or no, and counts."""
        job, facts, now = exchange.job, send.facts, self.now
        answer = self.truth.ask(facts, job, now, cap=send.cap)
        late = sent_at + send.limit_s
        head_at = now + answer.ttft_s + down
        ends_at = now + answer.took_s + down
        if self._asleep is not None and sent_at < self._asleep[0] <= min(ends_at, late):
            # The machine went to sleep under it: the connection is dead when it wakes.
            done, answer = answer.done, Answer(None, "cut")
            head_at, ends_at, late = self._asleep[1], self._asleep[1] + 0.1, self._asleep[1] + 1.0
            answer.done = done
        if answer.kind == "silence":
            head_at = ends_at = math.inf
        self._await(exchange, send, answer, (head_at, ends_at), late)

    def _await(
        self, exchange: Exchange, send: Send, answer: Answer, comes_at: tuple[float, float], late: float
    ) -> None:
        """Head and end come in time, or the router gives up: but not while it has nobody else."""
        head_at, ends_at = comes_at
        if head_at <= late:
            if answer.status is not None:
                self.at(head_at, lambda: self._head(exchange, send.facts, answer))
            self.at(ends_at, lambda: self._end(exchange, send.facts, answer))
            return

        def too_late() -> None:
            if head_at < math.inf and send.alone is not None and send.alone():
                self._await(exchange, send, answer, comes_at, late + ALONE_S)
            else:
                silent = Answer(None, "silence", took_s=late)
                silent.done = answer.done
                self._end(exchange, send.facts, silent)

        self.at(late, too_late)

    def _head(self, exchange: Exchange, facts: TargetFacts, answer: Answer) -> None:
        assert self.router is not None
        self.router.head(exchange, facts, answer)

    def _end(self, exchange: Exchange, facts: TargetFacts, answer: Answer) -> None:
        assert self.collector is not None
        if answer.done is not None:
            answer.done(self.now)
        self.collector.answered(exchange, facts, answer)
        self.resume(exchange, answer)
