"""Our own policy in the simulated week: the engine's own search, waits and settlement, the scheduler and the ledger.

Owns the thin mirror of `engine/exchange.py`, without its asyncio and its callers' connections: whatever decides, waits,
learns or settles is the real thing, and what the wire reads of an answer is read by the wire itself.
"""

from collections.abc import Iterator
from typing import Any

from hermes_router.core import errors as err
from hermes_router.core.catalog import TargetFacts
from hermes_router.core.events import Usage
from hermes_router.core.settings import Settings
from hermes_router.engine.context import Engine, Generation
from hermes_router.engine.search import Search
from hermes_router.engine.settlement import Settlement, Spoken
from hermes_router.engine.standby import Standby
from hermes_router.engine.waiting import Waiters
from hermes_router.routing import failover
from hermes_router.routing.demand import Constraint, assess
from hermes_router.routing.roster import Roster
from hermes_router.routing.standing import PROBING, holds, readiness
from hermes_router.routing.state import RoutingState
from hermes_router.wire import ratelimit
from hermes_router.wire.rejection.judge import classify

from .load import Job
from .pool import sent_cap
from .truth import Answer
from .world import Course, Exchange, Park, Send, World

SWEEP_S = 0.25


def read_error(facts: TargetFacts, answer: Answer, wall: float) -> err.UpstreamError:
    """The error that a failed attempt is, as transport and wire would name it."""
    if answer.kind == "unreachable":
        return err.Unreachable()
    if answer.kind == "offline":
        return err.NetworkDown()
    if answer.kind == "silence":
        return err.TimedOut("first_token")
    if answer.kind == "cut":
        return err.Truncated(status=answer.status)
    return classify(facts.provider.rejection, answer.status or 0, answer.headers, answer.body, wall)


class _Clock:
    def __init__(self, world: World) -> None:
        self._world = world

    def now(self) -> float:
        return self._world.wall

    def mono(self) -> float:
        return self._world.now


class _Sweeper:
    """Ticks whoever waits, four times a second, while anybody does."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._watched: dict[Any, None] = {}
        self._armed = False

    def watch(self, what: Any) -> None:
        self._watched[what] = None
        if not self._armed:
            self._armed = True
            self._world.at(self._world.now + SWEEP_S, self._sweep)

    def forget(self, what: Any) -> None:
        self._watched.pop(what, None)

    def _sweep(self) -> None:
        self._armed = False
        for what in tuple(self._watched):
            if what in self._watched:
                what.tick(self._world.now)
        if self._watched and not self._armed:
            self._armed = True
            self._world.at(self._world.now + SWEEP_S, self._sweep)


class _Waiters(Waiters):
    """The engine's queue; its wake-ups go through the world's loop."""

    world: World

    def wake(self) -> None:
        if self.waiting:
            self._woken = True
            if not self._scheduled:
                self._scheduled = True
                self.world.at(self.world.now, self._soon)


class _Log:
    def info(self, event: str, **fields: object) -> None:
        """Nobody reads it."""

    warning = info


class _Attempt:
    """What the settlement wants to know of an attempt."""

    def __init__(self, sent_mono: float) -> None:
        self.sent_mono = self.last_data_mono = sent_mono
        self.ttft_s: float | None = None
        self.status: int | None = None


class _Waiting:
    """An exchange in a wait, as the sweeper sees it."""

    def __init__(self, standby: Standby, deadline_mono: float) -> None:
        self._standby = standby
        self._deadline_mono = deadline_mono

    def tick(self, mono: float) -> None:
        self._standby.tick(mono, deadline_mono=self._deadline_mono)


class Ours:
    """The router as it is."""

    name = "hermes-router"

    def __init__(
        self,
        world: World,
        facts: tuple[TargetFacts, ...],
        *,
        mode: str = "round-robin",
        budget_microusd: int | None = None,
    ) -> None:
        self._world = world
        self.settings = Settings()
        self.state = RoutingState()
        roster = Roster(facts)
        sweeper: Any = _Sweeper(world)
        nothing: Any = None
        self.engine = Engine(
            Generation(1, self.settings, roster, mode),
            self.state,
            transport=nothing,
            authorizer=nothing,
            memory=nothing,
            border=nothing,
            in_band=nothing,
            sweeper=sweeper,
            clock=_Clock(world),
            rng=world.rng,
            ids=nothing,
            log=_Log(),
            started_mono=world.now,
        )
        waiters = _Waiters(self.engine.clock, sweeper)
        waiters.world = world
        self.engine.waiters = waiters
        self.state.adopt(roster)
        self.state.configure(budget_microusd_day=budget_microusd, pacing_even=False, now=world.wall)

    def serve(self, exchange: Exchange) -> Course:
        """Plan and attempt until there is an answer."""
        job, world, engine, state = exchange.job, self._world, self.engine, self.state
        demand = assess(job.request, caller=job.caller, floor_difficulty=state.difficulty_floor(job.key))
        search = Search(engine, demand, Constraint(pin=job.pin), fallback_any=False)
        settlement = Settlement(engine, demand, "")
        exchange.own = settlement
        deadline = world.now + self.settings.request_deadline_s
        standby = Standby(
            engine,
            search,
            settlement,
            patience_s=job.patience_s,
            stretches=True,
            arrived_mono=world.now,
            request_id="",
            changed=lambda: world.at(world.now, lambda: world.resume(exchange, None)),
        )
        while True:
            if engine.waiters.waiting:
                engine.waiters.serve()
            candidate = search.take(left_s=job.patience_s - standby.waited_s)
            if candidate is None:
                standby.begin(deadline)
                yield from self._wait(standby, deadline)
                try:
                    candidate = standby.result()
                except err.NoTarget as error:
                    return "limited" if error.limited else "unavailable"
                except err.HermesError as error:
                    return type(error).__name__
            settlement.begin(candidate, search.passage)
            facts = candidate.facts
            attempt: Any = _Attempt(world.now)
            limit_s = state.first_token_limit_s(facts, demand, self.settings.first_token_s)
            cap = sent_cap(facts, job, modest=True)
            answer = yield Send(facts, limit_s, cap, lambda at=facts: search.alone(at))
            assert answer is not None
            attempt.status = answer.status
            if answer.kind is None:
                attempt.ttft_s = answer.ttft_s
                settlement.usage = Usage(answer.input_tokens, answer.output_tokens)
                settlement.succeeded(facts, attempt, Spoken())
                return "answered"
            error = read_error(facts, answer, world.wall)
            settlement.failed(facts, error, attempt, Spoken(said_chars=4 * answer.output_tokens))
            if world.now >= deadline:
                return "deadline"
            step = failover.after(
                error,
                facts,
                search.constraint,
                altered=True,
                input_tokens=demand.input_tokens,
                context=state.learned.context(facts.target.provider, facts.target.model),
            )
            if step.action == "stop":
                return type(error).__name__
            search.failed(facts, error, step.constraint)

    def _wait(self, standby: Standby, deadline: float) -> Iterator[Park]:
        if not standby.on:
            return
        waiting = _Waiting(standby, deadline)
        self.engine.sweeper.watch(waiting)
        while standby.on:
            yield Park()
        self.engine.sweeper.forget(waiting)

    def head(self, exchange: Exchange, facts: TargetFacts, answer: Answer) -> None:
        """The windows in the headers; a good head lets those behind it follow."""
        wall, candidate = self._world.wall, exchange.own.candidate
        quotas = ratelimit.seen(facts.provider.ratelimit, answer.headers, wall)
        claim = None if candidate is None else candidate.reservation
        self.state.seen(facts.target, quotas, wall, reservation=claim)
        passage = exchange.own.passage
        if answer.kind is None and passage is not None:
            passage.proved()
            self.engine.waiters.wake()

    def offers(self, facts: TargetFacts, job: Job) -> bool:
        """Whether nothing holds it back."""
        slot, wall = self.state.slot(facts.target), self._world.wall
        if slot is None or slot.blocked_until > wall:
            return False
        if not slot.flagged:
            return True
        demand = assess(job.request, caller=job.caller)
        return readiness(slot, demand, wall) in {0, 1, 2, 3, PROBING}

    def until(self, facts: TargetFacts, job: Job) -> float:
        """The last thing that holds it."""
        slot = self.state.slot(facts.target)
        if slot is None:
            return 0.0
        demand = assess(job.request, caller=job.caller)
        return max((hold.until for hold in holds(slot, demand, self._world.wall)), default=0.0)
