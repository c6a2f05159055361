"""One exchange's search for a target: what it may still ask, whom it finds, and what is said where it finds nobody.

Owns the constraint from one attempt to the next. Planning and reserving are one synchronous step, on the snapshot of
that moment. It must never wait or send.
"""

from hermes_router.core.catalog import TargetFacts
from hermes_router.core.errors import (
    AttemptReport,
    Blames,
    ContextTooLarge,
    HermesError,
    Inexpressible,
    NextStep,
    NoTarget,
    RequestRejected,
    Unjoined,
    UpstreamError,
)
from hermes_router.core.ids import Target
from hermes_router.engine.accounting import owners_money
from hermes_router.engine.caller_limits import Lease
from hermes_router.engine.context import Engine
from hermes_router.engine.former import no_key
from hermes_router.engine.ramp import Passage
from hermes_router.engine.refusal import claims_hold, refusal
from hermes_router.routing.demand import Constraint, Demand
from hermes_router.routing.scheduler import RETRY_S, Candidate, Choice, Plan, Rejection, plan
from hermes_router.routing.standing import BROKEN
from hermes_router.routing.window import advertised_context, overflow, pin_window

_RESTS = frozenset({Blames.QUOTA, Blames.CREDENTIAL, Blames.MODEL})
_NOBODY: frozenset[Target] = frozenset()
MOST_ATTEMPTS = 50  # in an error's body: agents show it to their models; the header has the whole number
_OF_THE_REQUEST = ("refused", "too_small", "gone")
_LIMITS = ("limited", "limited_day", "budget")


class Search:
    """The search of one exchange, attempt after attempt.

    `lease` is the caller's, whose money is claimed with the candidate. `passage` belongs to the candidate that was
    found last. `why` tells what holds the pool back, in a word.
    """

    __slots__ = (
        "_asked", "_dared", "_demand", "_engine", "_failed", "_fallback_any", "_held", "_missed", "_planned",
        "_resting", "_returns_seen", "_ruled_out", "_too_small", "_unsent", "constraint", "lease", "passage",
    )  # fmt: skip

    def __init__(self, engine: Engine, demand: Demand, constraint: Constraint, *, fallback_any: bool) -> None:
        self._engine = engine
        self._asked = self._demand = demand
        self._fallback_any = fallback_any
        self.constraint = constraint
        self.lease: Lease | None = None
        self.passage: Passage | None = None
        self._planned: Plan | None = None
        self._held = False  # somebody is there, but those who went ahead have not heard yet
        self._dared = False
        self._returns_seen: tuple[float, Constraint, list[float]] | None = None
        self._missed = _NOBODY  # they were to go on with an answer, and began elsewhere
        self._ruled_out = _NOBODY  # this request is not for them, however long it waits
        self._too_small = _NOBODY  # the same, since it is too long for them
        self._failed = _NOBODY  # in a way that is no limit: they are asked once more, and then no more
        self._unsent = _NOBODY  # the request never left: nobody was asked
        self._resting = _NOBODY  # the ledger holds them for as long as it takes, so no rule is needed here

    def take(self, *, left_s: float) -> Candidate | None:
        """The best candidate, its quota reserved in the same step; None where nobody can take the request now.

        `left_s` = how long the request can still wait, in seconds. While it can, one of which a published number is
        spent is left for later (contract.md, What binds), and so is whoever failed (`relent`).
        """
        patient, reach_at = left_s > 0.0, self._engine.clock.now() + left_s
        self.passage = None
        money_left = self.lease.money_left(self._engine.clock.now()) if self.lease is not None else None
        if money_left != self.constraint.money_left:
            self.constraint = self.constraint._replace(money_left=money_left)
        while True:
            constraint = self._later() if patient else self.constraint
            planned = self._plan(constraint)
            candidate = planned.take(patient=patient, reach_at=reach_at)
            if candidate is not None:
                if not self._engine.waiters.waiting:
                    return self._paid(candidate)
                return self._paid(self._in_turn(candidate, constraint, patient, reach_at))
            self._planned, self._held = planned, False
            if self.constraint.pin is None or not self._fallback_any:
                return None
            self.constraint = self.constraint._replace(pin=None)

    def _later(self) -> Constraint:
        """The constraint of a round that leaves out who failed: a pause comes before they are asked again."""
        given = self.constraint
        waits = given.last - self._resting
        return given._replace(tried=given.tried | waits, last=given.last - waits) if waits else given

    def dare(self) -> Candidate | None:
        """Whom to ask, once, though the ledger says no: it may be wrong, and the caller would be sent away else."""
        candidate = None if self._dared else self._plan(self.constraint).dare()
        self._dared = self._dared or candidate is not None
        return self._paid(candidate)

    def dares_at(self) -> float | None:
        """When there may be somebody to dare, epoch seconds; None where no wait helps."""
        assert self._planned is not None
        return None if self._dared else self._planned.dares_at

    def _plan(self, constraint: Constraint) -> Plan:
        engine = self._engine
        snapshot = engine.snapshot
        return plan(
            self._demand, constraint, snapshot.roster, engine.state, snapshot.policy, engine.clock.now(), engine.rng
        )

    def _in_turn(
        self, candidate: Candidate | None, constraint: Constraint, patient: bool, reach_at: float
    ) -> Candidate | None:
        """The same, or the next best, where others went ahead to a target that is just coming back."""
        engine = self._engine
        ramps = engine.waiters.ramps
        held = False
        while candidate is not None and (behind := ramps.behind(candidate.reservation.slot)):
            held = True
            self.give_back(candidate)
            constraint = constraint._replace(tried=constraint.tried | behind, again=None)
            self._planned = self._plan(constraint)
            candidate = self._planned.take(patient=patient, reach_at=reach_at)
        self._held = held
        if candidate is not None:
            self.passage = ramps.go(candidate.reservation.slot, engine.clock.now())
        return candidate

    def _paid(self, candidate: Candidate | None) -> Candidate | None:
        """The same, its expected cost claimed of the caller's money."""
        if candidate is not None and self.lease is not None:
            money = owners_money(candidate.facts.model, candidate.reservation.money)
            self.lease.reserve(money, self._engine.clock.now())
        return candidate

    def give_back(self, candidate: Candidate) -> None:
        """It was not asked: all that was reserved is free again."""
        engine = self._engine
        now = engine.clock.now()
        engine.state.abandoned(candidate.facts.target, now)
        engine.state.settle(candidate.reservation, now, input_tokens=None, output_tokens=None, sent=False)
        if self.lease is not None:
            self.lease.settle(0, now)
        if self.passage is not None:
            self.passage.over()
            self.passage = None

    # -- from one attempt to the next ------------------------------------------------------------------

    def failed(self, facts: TargetFacts, error: UpstreamError, constraint: Constraint) -> None:
        """An attempt failed; `constraint` is what the failover table says of the next one."""
        target = facts.target
        out = {target}
        if isinstance(error, Unjoined):
            if target in self._missed:  # it was asked to go on twice, and cannot: no wait changes that
                self._ruled_out |= out
            self._missed |= out
        if error.next_step is NextStep.BIGGER_TARGET:
            self._too_small |= out
        if error.next_step is NextStep.BIGGER_TARGET or isinstance(error, Inexpressible):
            self._ruled_out |= out
        elif error.blames in _RESTS:
            self._resting |= out
        elif error.blames is Blames.NETWORK:
            self._unsent |= out
        elif error.blames is not Blames.REQUEST:
            self._resting -= out
            self._unsent -= out
            if target in self._failed:
                constraint = constraint._replace(tried=constraint.tried | out, last=constraint.last - out)
            self._failed |= out
        self.constraint = constraint

    def refused(self, facts: TargetFacts, error: UpstreamError, *, again: bool) -> None:
        """It refused what we made of the request: ask it `again`, in another way, or not any more."""
        constraint = self.constraint._replace(again=facts.target if again else None)
        if not again:
            out = {facts.target}
            constraint = constraint._replace(tried=constraint.tried | out, last=constraint.last - out)
            self._ruled_out |= out
        self.failed(facts, error, constraint)

    def resend(self, tokens: int) -> None:
        """So much of an answer goes out beside the request from now on: whoever is asked must take both."""
        self._demand = self._asked._replace(input_tokens=self._asked.input_tokens + tokens)

    def alone(self, facts: TargetFacts) -> bool:
        """Whether nobody but this target could serve."""
        others = self.constraint._replace(tried=self.constraint.tried | {facts.target})
        if self._fallback_any:
            others = others._replace(pin=None)
        planned = self._plan(others)
        spare = (one.why for one in planned.explain() if isinstance(one, Choice))
        return all(why == "last resort" for why in spare)

    def relent(self, *, paused: bool, reach_at: float) -> None:
        """A wait begins or is over: who rests (a limit, a key) may be asked again as soon as the ledger says so.

        `paused` = the pause that is due after a failure is over, too: whoever failed in another way may be asked once
        more, no sooner than the ledger says where that is before `reach_at`, in epoch seconds. Who has failed twice,
        or cannot take this request, is never asked again.
        """
        given = self.constraint
        if not (given.tried or given.last or given.prefer):
            return
        now = self._engine.clock.now()
        back = set(self._resting)
        if paused:
            back |= self._unsent
            back |= {one for one in given.last & self._failed if self._again_at(one, now, reach_at) <= now}
        back -= self._ruled_out
        tried, last = given.tried - back, given.last - back
        self.constraint = given._replace(tried=tried, last=last, prefer=None, again=None)

    def _again_at(self, target: Target, not_before: float, reach_at: float) -> float:
        """When one that failed is asked again, epoch seconds. A breaker is a guess, and counts where there is time."""
        slot = self._engine.state.slot(target)
        if slot is None:
            return not_before
        return max(not_before, slot.blocked_until if slot.blocked_until <= reach_at else slot.cool_until)

    # -- nobody ----------------------------------------------------------------------------------------

    @property
    def kind(self) -> tuple[object, ...]:
        """What could serve it, as one value; requests of less than twice the size are one kind (`size`)."""
        demand = self._demand
        constraint = self._later()._replace(last=_NOBODY, again=None, prefer=None)
        sizes = demand.input_tokens.bit_length(), demand.max_output.bit_length()
        return constraint, demand.needs, demand.profile, demand.image_urls > 0, sizes

    @property
    def size(self) -> tuple[int, int]:
        """Tokens in, and tokens out at the most (0 = the caller has not said)."""
        return self._demand.input_tokens, self._demand.max_output

    @property
    def planned(self) -> bool:
        """Whether a plan has found nobody."""
        return self._planned is not None

    @property
    def why(self) -> str:
        """What holds the pool back, in a word for the log."""
        planned = self._planned
        assert planned is not None
        if self._held:
            return "turn"
        if planned.paced_until is not None:
            return "paced"
        return "limited" if planned.limited else "broken"

    @property
    def paced(self) -> bool:
        """Whether somebody would take it at once who was left for later (`take`): beyond a number, or an unknown."""
        planned = self._planned
        return planned is not None and (planned.paced_until is not None or planned.held_back)

    def returns_at(self, relents_at: float, reach_at: float) -> float | None:
        """The earliest instant at which to look again, epoch seconds; None where no wait helps.

        Whoever failed this exchange is asked again at `relents_at` at the soonest (`relent`).
        """
        planned, now = self._planned, self._engine.clock.now()
        assert planned is not None
        paced_until = planned.paced_until
        found = [] if paced_until is None else [paced_until]
        if self._held or claims_hold(self._engine, self._demand, planned, self.lease):
            found.append(now + RETRY_S)
        if found or self.constraint.tried or self.constraint.last:
            found += self._returns(planned, relents_at, reach_at)
        elif planned.retry_at is not None:
            found.append(planned.retry_at)
        return min(found, default=None)

    def _returns(self, planned: Plan, relents_at: float, reach_at: float) -> list[float]:
        """The same target by target: those that failed here have their own time, those that are paced need none.

        It looks at the whole pool, so what it found holds for a second; nobody comes back sooner than that anyway.
        """
        now, seen = self._engine.clock.now(), self._returns_seen
        if seen is not None and seen[1] is self.constraint and 0.0 <= now - seen[0] < RETRY_S:
            return seen[2]
        given = self.constraint
        found = []
        for one in planned.explain():
            target = one.facts.target
            if isinstance(one, Choice) or target in self._ruled_out:
                continue
            until = None if one.until is None or one.reason == BROKEN else one.until
            if target in self._unsent or target in given.last & self._failed:
                found.append(max(until or 0.0, self._again_at(target, relents_at, reach_at)))
            elif target in given.tried | given.last:
                if target in self._resting:
                    found.append(max(until or 0.0, relents_at))
            elif one.until is not None:
                found.append(one.until)
        self._returns_seen = now, self.constraint, found
        return found

    def fault(self, reports: list[AttemptReport], refusal: RequestRejected | None) -> HermesError | None:
        """What the caller gets where no wait would help: its own fault, as far as that is known."""
        planned = self._planned
        assert planned is not None
        if planned.none_takes_it(self._too_small):
            window, needed = overflow(self._advertised(), planned.sizes[1])
            return ContextTooLarge(advertised=window, needed=needed)
        if refusal is not None and not (isinstance(refusal, Inexpressible) and self._another_returns(reports)):
            return refusal
        awaited = self._engine.snapshot.awaits_local and self._demand.profile == "local"
        return None if reports or awaited else planned.hopeless

    def _another_returns(self, reports: list[AttemptReport]) -> bool:
        """Whether somebody who is away for reasons of its own may be able to be told what others cannot."""
        if any(report.wire_class not in _OF_THE_REQUEST for report in reports):
            return True
        assert self._planned is not None
        away = (one for one in self._planned.explain() if isinstance(one, Rejection) and one.until is not None)
        return any(one.facts.target not in self._ruled_out for one in away)

    def in_the_way(self, name: str) -> list[str]:
        """Why the keys of one model, `provider/model`, could not be asked when the last plan was made."""
        found = () if self._planned is None else self._planned.explain()
        return [one.reason for one in found if isinstance(one, Rejection) and one.facts.target.name == name]

    def nobody(self, reports: list[AttemptReport]) -> HermesError:
        """The truth about the pool: who was asked, what stands in the way, and the earliest return."""
        planned = self._planned
        assert planned is not None
        latest = reports[-MOST_ATTEMPTS:]
        lost = no_key(self._engine.snapshot.roster, self.constraint.pin, self._engine.clock.now(), latest)
        if lost is not None:
            return lost
        limited, retry_at = planned.limited, planned.retry_at
        if self._ruled_out and retry_at is not None:
            others = [
                (one.reason, self._engine.clock.now() + RETRY_S if one.reason == BROKEN else one.until)
                for one in planned.explain()
                if isinstance(one, Rejection) and one.until is not None and one.facts.target not in self._ruled_out
            ]
            limited = limited or (bool(others) and all(reason in _LIMITS for reason, _ in others))
            retry_at = min((until for _, until in others if until is not None), default=retry_at)
        found = NoTarget(limited=limited or self._held, retry_at=retry_at, attempts=latest, reasons=planned.reasons)
        return refusal(found, self._engine, self._demand, self.constraint, plan=self._plan, lease=self.lease)

    def _advertised(self) -> int:
        """The window to name: agents store it, so it is the one that the list of models shows under that name."""
        snapshot, pin = self._engine.snapshot, self.constraint.pin
        if pin is not None:
            return pin_window(snapshot.roster, self._engine.state.learned, pin.provider, pin.model)
        return advertised_context(
            snapshot.roster, snapshot.settings, self._engine.state.learned, profile=self._demand.profile
        )
