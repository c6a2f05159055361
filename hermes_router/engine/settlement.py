"""What the attempts of one exchange proved, and what they are charged: told to the ledger and to the exchange's record.

Owns the order of these steps: a failure or a success is learnt from, then accounted, then settled, each exactly once,
whoever ends it. It must never decide what is tried next, or touch the caller's connection.
"""

from typing import NamedTuple

from hermes_router.core.catalog import Capability, Known, TargetFacts
from hermes_router.core.errors import (
    AttemptReport,
    Blames,
    ContextTooLong,
    Inexpressible,
    Invalid,
    NetworkDown,
    RequestRejected,
    TimedOut,
    Unreachable,
    Unsupported,
    UpstreamError,
)
from hermes_router.core.events import Usage
from hermes_router.core.records import By
from hermes_router.engine.accounting import Trail, owners_money
from hermes_router.engine.attempt import Attempt
from hermes_router.engine.caller_limits import Lease
from hermes_router.engine.context import Engine
from hermes_router.engine.ramp import Passage
from hermes_router.routing.demand import Demand
from hermes_router.routing.scheduler import Candidate

_ABILITIES = frozenset({Capability.TOOLS, Capability.IMAGES, Capability.AUDIO})
_NOTHING = Usage()


class Spoken(NamedTuple):
    """What an attempt has said: `reported` of it, `said_chars` decoded, `shown_chars` seen by the caller.

    `by` is how it took up what was shown before it, for which `resent_tokens` of that went out again.
    """

    reported: Usage | None = None
    said_chars: int = 0
    shown_chars: int = 0
    by: By = ""
    resent_tokens: int = 0


class Settlement:
    """The attempt under way, from its reservation to its last word; and the failures before it.

    `usage` is the answer's, once there is one. `refusal` is what the caller gets back where nobody else can be asked.
    `trail` tells of them once the exchange is over. `passage` is set where one went ahead of others (`ramp.py`).
    `lease` is the caller's, of whose money the claim is settled.
    """

    __slots__ = (
        "_demand", "_engine", "_request_id", "candidate", "lease", "passage", "refusal", "reports", "trail", "usage",
    )  # fmt: skip

    def __init__(self, engine: Engine, demand: Demand, request_id: str) -> None:
        self._engine = engine
        self._demand = demand
        self._request_id = request_id
        self.trail = Trail(engine)
        self.candidate: Candidate | None = None
        self.lease: Lease | None = None
        self.passage: Passage | None = None
        self.refusal: RequestRejected | None = None
        self.reports: list[AttemptReport] = []
        self.usage = _NOTHING

    def begin(self, candidate: Candidate, passage: Passage | None) -> None:
        """An attempt begins."""
        self.candidate = candidate
        self.passage = passage

    def succeeded(self, facts: TargetFacts, attempt: Attempt, spoken: Spoken) -> None:
        """The attempt gave the answer."""
        engine, usage, candidate = self._engine, self.usage, self.candidate
        now = engine.clock.now()
        target = facts.target
        cost: int | None = None
        if candidate is not None:
            lost = engine.caches.answered(self._demand.affinity_key, facts, usage, now)
            if lost and self._demand.binds:  # a first turn goes on with nothing
                candidate.why = f"{candidate.why}; {lost}"
            cost = self.trail.answered(candidate, attempt, usage, shown_chars=spoken.shown_chars, by=spoken.by)
            if engine.waiters.waiting and candidate.reservation.slot.marked:
                engine.waiters.wake()  # what stood against it is about to end
        if engine.outages and (outage := engine.outages.over(str(target))) is not None:
            engine.log.info(
                "target.back",
                request_id=self._request_id,
                target=str(target),
                after_s=round(now - outage.since, 1),
                failures=outage.failures,
            )
        engine.state.succeeded(target, now, ttft_s=attempt.ttft_s, demand=self._demand)
        if not usage.estimated and usage.input_tokens and not spoken.resent_tokens:
            engine.state.calibrate(target.provider, target.model, self._demand.input_tokens, usage.input_tokens)
        self._settle(cost, usage, sent=True)

    def failed(self, facts: TargetFacts, error: UpstreamError, attempt: Attempt | None, spoken: Spoken) -> None:
        """The attempt failed, after it had said this much."""
        self._learn(facts, error)
        self.reports.append(AttemptReport(facts.target.name, error.wire_class, error.retry_at))
        cost = self._account(error, attempt, spoken)
        self._tell(facts, error, spoken)
        if self.passage is not None and error.blames not in (Blames.REQUEST, Blames.NOBODY):
            self.passage.over(refused=True)
        used = self.trail.used
        unheard = used is not None and attempt is not None and attempt.status is None
        self._settle(cost, used or _NOTHING, sent=_counted(error), unheard=unheard)

    def _tell(self, facts: TargetFacts, error: UpstreamError, spoken: Spoken) -> None:
        """A line for every failed attempt; a warning where the owner has not heard it of this target yet."""
        engine = self._engine
        now = engine.clock.now()
        target = str(facts.target)
        state, _, until = engine.state.stance(facts, now)
        of_request = error.blames is Blames.REQUEST or error.blames is Blames.NOBODY
        news = not of_request and engine.outages.failed(target, error.wire_class, now)
        told: dict[str, object] = {"class": error.wire_class, "error": type(error).__name__, "status": error.status}
        if state != "ready":
            told["state"] = state
            if until is not None:
                told["rests_s"] = round(max(0.0, until - now), 1)
        if spoken.shown_chars:
            told["shown_chars"] = spoken.shown_chars
        say = engine.log.warning if news else engine.log.info
        say("attempt.failed", request_id=self._request_id, target=target, **told, said=error.excerpt[:200])

    def _learn(self, facts: TargetFacts, error: UpstreamError) -> None:
        state, target = self._engine.state, facts.target
        now = self._engine.clock.now()
        error.target = target
        self._engine.prober.failed(facts, error, self._demand)
        if isinstance(error, TimedOut) and error.phase == "deadline":
            state.abandoned(target, now)  # our own deadline is nobody's fault
        else:
            claim = None if self.candidate is None else self.candidate.reservation
            state.failed(target, error, now, demand=self._demand, reservation=claim)
        if isinstance(error, ContextTooLong) and error.limit_tokens:
            state.learn_context(target.provider, target.model, error.limit_tokens)
        if isinstance(error, Unsupported) and error.param:
            state.learn_refused(target.provider, target.model, error.param)
        if isinstance(error, RequestRejected) and error.wire_class == "refused":
            self.refusal = error
            # It said what the model lacks: the next such request goes elsewhere at once. A field that is wrong in this
            # request (too many tools, a name that is too long) says nothing of the model.
            if error.param in _ABILITIES and not isinstance(error, Inexpressible | Invalid):
                state.learn_capability(target.provider, target.model, Capability(error.param), Known.NO)

    def not_sent(self, facts: TargetFacts, error: UpstreamError) -> None:
        """The request could not be made: the quota comes back, and the failure is told like others (`failed`)."""
        error.target = facts.target
        self._settle(self._account(error, None, Spoken()), _NOTHING, sent=False)

    def left(self, attempt: Attempt | None, spoken: Spoken) -> None:
        """The caller left, or all is done: what is still open is closed, and nobody is blamed."""
        if self.candidate is not None:
            self._engine.state.abandoned(self.candidate.facts.target, self._engine.clock.now())
            cost = self._account(None, attempt, spoken)
            used = self.usage if self.usage.input_tokens else self.trail.used or _NOTHING
            self._settle(cost, used, sent=attempt is not None)

    def _account(self, error: UpstreamError | None, attempt: Attempt | None, spoken: Spoken) -> int | None:
        """Note the attempt that failed, before it is settled; None for an error = the caller left.

        Returns what it cost, in micro-US-dollars, None where nobody knows.
        """
        if self.candidate is None:
            return None
        return self.trail.failed(
            self.candidate,
            attempt,
            error,
            reported=spoken.reported,
            prompt_tokens=self._demand.input_tokens + spoken.resent_tokens,
            chars=spoken.said_chars,
            shown_chars=spoken.shown_chars,
            by=spoken.by,
        )

    def _settle(self, cost_microusd: int | None, usage: Usage, *, sent: bool, unheard: bool = False) -> None:
        """Settle the reservation, and the caller's money, once. Whoever waits may find room in what comes back.

        `usage` is what the attempt used, as far as that is known: an answer that was cut has used what it showed, and
        not all that was claimed for it.
        """
        candidate, self.candidate = self.candidate, None
        if candidate is None:
            return
        engine, reservation = self._engine, candidate.reservation
        now = engine.clock.now()
        engine.state.settle(
            reservation,
            now,
            input_tokens=usage.input_tokens or None,
            # Of an answer that was cut early, we know that it has shown nothing.
            output_tokens=usage.output_tokens if usage.estimated else usage.output_tokens or None,
            sent=sent,
            cost_microusd=cost_microusd,
            unheard=unheard,
        )
        if self.lease is not None:
            paid = None if cost_microusd is None else owners_money(candidate.facts.model, cost_microusd)
            self.lease.settle(paid, now)
        if engine.state.oddities:
            for odd, said in engine.state.oddities.take():
                engine.log.warning("quota.odd", target=str(odd), said=said)
        if self.passage is not None:
            self.passage.over()
            self.passage = None
            engine.waiters.wake()
        elif engine.waiters.waiting and (reservation.slot.strict or reservation.probes):
            engine.waiters.wake()


def _counted(error: UpstreamError) -> bool:
    """Whether the provider may have counted the attempt: a refusal is free, and so is what never reached it."""
    if isinstance(error, NetworkDown) or (isinstance(error, Unreachable) and not error.sent):
        return False
    return error.status is None or error.status == 200
