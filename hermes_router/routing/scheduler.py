"""Which target serves this request now: constraint, affinity, fit, price, health, spread, in that order.

Owns the walk over the lanes of a kind of request, target by target, and the words for why nobody can. Planning and
reserving are one synchronous step. It must never wait, send, or change the ledger but by its reservation.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from hermes_router.core.catalog import PriceClass, TargetFacts
from hermes_router.core.errors import CallerError, ContextTooLarge, NoCapableTarget
from hermes_router.core.ids import Target
from hermes_router.core.ports import Rng
from hermes_router.routing.bindings import IDLE_S
from hermes_router.routing.demand import Constraint, Demand
from hermes_router.routing.lanes import Lane, Lanes, Member
from hermes_router.routing.policies import Policy, policy_named
from hermes_router.routing.quota import Reservation
from hermes_router.routing.roster import Roster
from hermes_router.routing.slots import Group, Slot
from hermes_router.routing.standing import PROBING, Hold, holds, readiness, too_small
from hermes_router.routing.state import RoutingState
from hermes_router.routing.window import pool_window

SPENT_PRIOR = 3
RETRY_S = 1.0  # a target that failed without being blocked may be asked again after this


@dataclass(slots=True)
class Candidate:
    """A target chosen and reserved; `why` is a word for the log."""

    facts: TargetFacts
    reservation: Reservation
    why: str


@dataclass(frozen=True, slots=True)
class Choice:
    """A target that may serve, in the place where the plan has it."""

    facts: TargetFacts
    why: str


@dataclass(frozen=True, slots=True)
class Rejection:
    """A target that may not; `until` is epoch seconds where it will be able to, None where waiting does not help."""

    facts: TargetFacts
    reason: str
    until: float | None = None


@dataclass(frozen=True, slots=True)
class _Outlook:
    """What is to be expected where no target can take the request now."""

    retry_at: float | None
    limited: bool


def plan(  # noqa: PLR0917 - the design's own signature, one argument a thing that decides
    demand: Demand,
    constraint: Constraint,
    roster: Roster,
    state: RoutingState,
    policy: str,
    now: float,
    rng: Rng,
) -> "Plan":
    """Plan one attempt. Raises ConfigError for a policy that does not exist."""
    del rng  # no policy of today draws lots: turns are stamps, so equal seeds and equal histories are one
    return Plan(demand, constraint, roster, state, policy=policy_named(policy), now=now)


class _Aside:
    """What a walk puts aside: targets given already, those that failed once, those only a breaker holds back."""

    __slots__ = ("again", "given", "opened")

    def __init__(self) -> None:
        self.given: set[Slot] = set()
        self.again: list[Slot] = []
        self.opened: list[tuple[float, int, Slot]] = []

    def rest(self) -> Iterator[tuple[Slot, str]]:
        """Those that failed once, then, as a last resort, the broken ones, the nearest to its return first."""
        for slot in self.again:
            if slot not in self.given:
                self.given.add(slot)
                yield slot, "again"
        for _, _, slot in sorted(self.opened):
            if slot not in self.given:
                self.given.add(slot)
                yield slot, "last resort"


class Plan:
    """One attempt's candidates, worked out as far as they are asked for."""

    __slots__ = ("_constraint", "_demand", "_lanes", "_now", "_outlook", "_policy", "_roster", "_state")

    def __init__(
        self,
        demand: Demand,
        constraint: Constraint,
        roster: Roster,
        state: RoutingState,
        *,
        policy: Policy,
        now: float,
    ) -> None:
        self._demand = demand
        self._constraint = constraint
        self._roster = roster
        self._state = state
        self._policy = policy
        self._now = now
        self._lanes: Lanes = state.lanes(roster, demand, constraint, now)
        self._outlook: _Outlook | None = None

    def take(self) -> Candidate | None:
        """The best candidate, reserved; None when none is ready."""
        for slot, why in self._walk():
            if self._demand.affinity_key is not None:
                self._state.bindings.planned(self._demand.affinity_key, self._constraint.pin)
            return Candidate(slot.facts, self._state.reserve(slot, self._demand, self._now), why)
        return None

    @property
    def candidates(self) -> Iterator[TargetFacts]:
        """The candidates in order, lazily, none reserved."""
        return (slot.facts for slot, _ in self._walk())

    # --- the walk ----------------------------------------------------------------------------------

    def _walk(self) -> Iterator[tuple[Slot, str]]:
        """Every target that may serve, best first. Whoever stops at the first has paid for the first."""
        aside = _Aside()
        given = aside.given
        bound = self._bound()
        if self._constraint.again is not None:
            same = self._state.slot(self._constraint.again)
            if same is not None and same.group in self._lanes.standing and self._serves(same, same.group):
                given.add(same)
                yield same, "same again"
        if self._constraint.prefer is not None:
            yield from self._preferred(aside)
        for lane in self._lanes.lanes:
            if bound is not None and lane.standing >= bound[1]:
                slot, bound = bound[0], None
                if slot not in given:
                    given.add(slot)
                    yield slot, "affinity"
            for slot, rank in self._lane(lane.members, aside):
                if not given or slot not in given:
                    yield slot, _why(lane, rank)
        yield from aside.rest()

    def _lane(self, members: Sequence[Member], aside: "_Aside") -> Iterator[tuple[Slot, int]]:
        """The targets of one lane: those in best health as they are met, the others after them by health."""
        tokens, now, policy = self._demand.input_tokens, self._now, self._policy
        constraint = self._constraint
        min_input = constraint.min_input
        picky = bool(constraint.tried or constraint.last)
        later: list[tuple[int, int, Slot]] = []
        for member in policy.members(members):
            for group in member.groups:
                least = 0 if tokens <= group.soft_max else self._oversize(group)
                if least < 0 or (min_input and group.capacity <= min_input):
                    continue
                for slot in policy.slots(group.slots):
                    rank = least
                    if slot.blocked_until > now or slot.flagged or picky:
                        closer = self._closer(slot, aside)
                        if closer < 0:
                            continue
                        rank = max(rank, closer)
                    if rank == 0:
                        yield slot, 0
                    else:
                        later.append((rank, len(later), slot))
        if later:
            later.sort()
            yield from ((slot, rank) for rank, _, slot in later)

    def _closer(self, slot: Slot, aside: "_Aside") -> int:
        """The rank of a slot that needs a closer look; below 0 where it cannot serve now, or only after others."""
        constraint, now = self._constraint, self._now
        if constraint.tried and slot.target in constraint.tried:
            return -1
        failed = bool(constraint.last) and slot.target in constraint.last
        if slot.blocked_until > now:
            if slot.cool_until <= now and not failed:
                self._hold_open(slot, slot.blocked_until, aside)
            return -1
        ready = readiness(slot, self._demand, now) if slot.flagged else 0
        if ready == PROBING and not failed:
            self._hold_open(slot, now, aside)
        if ready < 0:
            return -1
        if failed:
            aside.again.append(slot)
            return -1
        return 0 if ready == 1 and self._policy.drains else ready

    def _hold_open(self, slot: Slot, until: float, aside: "_Aside") -> None:
        """Note a target that nothing but a breaker holds back: the last resort."""
        if not slot.strict or not any(hold.limited for hold in holds(slot, self._demand, self._now)):
            aside.opened.append((until, len(aside.opened), slot))

    def _oversize(self, group: Group) -> int:
        """The rank of a model for a request above its soft size; -1 where it cannot take it at all."""
        if group.memory.cuts and group.memory.cut_until <= self._now:
            group.memory.cuts = 0
            group.resize(self._now)
            if self._demand.input_tokens <= group.soft_max:
                return 0
        return -1 if self._demand.input_tokens > group.hard_max else SPENT_PRIOR

    def _preferred(self, aside: "_Aside") -> Iterator[tuple[Slot, str]]:
        """After a failure that blames a model: its provider's other fitting models of the same class."""
        assert self._constraint.prefer is not None
        provider, avoid = self._constraint.prefer
        classes = {g.price_class for g in self._lanes.standing if g.provider == provider and g.model in avoid}
        for lane in self._lanes.lanes:
            if not lane.fits or lane.price_class not in classes:
                continue
            for member in lane.members:
                if member.rotor.provider != provider:
                    continue
                others = Member(member.rotor)
                others.groups = [group for group in member.groups if group.model not in avoid]
                for slot, rank in self._lane((others,), aside):
                    if rank < SPENT_PRIOR and slot not in aside.given:
                        aside.given.add(slot)
                        yield slot, "same provider"

    def _bound(self) -> tuple[Slot, tuple[int, int]] | None:
        """The target that this conversation is bound to, with its standing, where the binding still holds."""
        demand, now = self._demand, self._now
        if not demand.binds or demand.affinity_key is None:
            return None
        binding = self._state.bindings.get(demand.affinity_key)
        if binding is None or binding.target is None or binding.pin != self._constraint.pin:
            return None
        slot = self._state.slot(binding.target)
        if slot is None or slot.group is None:
            return None
        group = slot.group
        standing = self._lanes.standing.get(group)
        if standing is None or group.tier <= demand.difficulty - 2:
            return None
        if group.price_class is PriceClass.PAID and now - binding.used_at >= IDLE_S and self._free_fits():
            return None
        return (slot, standing) if self._serves(slot, group) else None

    def _serves(self, slot: Slot, group: Group) -> bool:
        """Whether one slot could take the request now, whatever its rank."""
        constraint, now = self._constraint, self._now
        if slot.blocked_until > now:
            return False
        if slot.target in constraint.tried or slot.target in constraint.last:
            return False
        if self._demand.input_tokens > group.soft_max and self._oversize(group) < 0:
            return False
        if constraint.min_input and group.capacity <= constraint.min_input:
            return False
        return not slot.flagged or readiness(slot, self._demand, now) >= 0

    def _free_fits(self) -> bool:
        """Whether a free model fits and has a target that could serve now."""
        return any(
            self._serves(slot, group)
            for lane in self._lanes.lanes
            if lane.fits and lane.price_class < PriceClass.SUBSCRIPTION
            for member in lane.members
            for group in member.groups
            for slot in group.slots
        )

    # --- why not -----------------------------------------------------------------------------------

    @property
    def hopeless(self) -> CallerError | None:
        """What no wait and no other key would cure: nobody has what it needs, or it is too long for everybody."""
        lanes = self._lanes
        if not lanes.lanes:
            local = self._demand.profile == "local" or self._constraint.local_only
            return NoCapableTarget(self._lack()) if lanes.lacking or local else None
        long = self.too_long
        return ContextTooLarge(advertised=long[0], needed=long[1]) if long is not None else None

    @property
    def too_long(self) -> tuple[int, int] | None:
        """The pool's window and the tokens needed, where no configured target could ever take the request."""
        if not self._lanes.lanes or any(self._fitting()):
            return None
        local = self._constraint.local_only or self._demand.profile == "local"
        window = pool_window(self._roster, self._state.learned, profile="local" if local else "main")
        if self._constraint.pin is not None:
            window = max(group.capacity for group in self._lanes.standing)
        return window, max(self._demand.input_tokens, self._constraint.min_input + 1, window + 1)

    @property
    def retry_at(self) -> float | None:
        """The earliest true return of a fitting target, epoch seconds; None where none is configured."""
        return self._look_ahead().retry_at

    @property
    def limited(self) -> bool:
        """Whether every fitting target is limited by quota: the 429 rather than the 503."""
        return self._look_ahead().limited

    @property
    def reasons(self) -> tuple[str, ...]:
        """What holds the fitting targets back, one short string for each, for the log."""
        return tuple(f"{r.facts.target}: {r.reason}" for r in self.explain() if isinstance(r, Rejection))[:20]

    def explain(self) -> list[Choice | Rejection]:
        """Every target of the pool: first those that may serve, in order, then the others with the reason."""
        found: list[Choice | Rejection] = []
        chosen: set[Target] = set()
        for slot, why in self._walk():
            chosen.add(slot.target)
            found.append(Choice(slot.facts, why))
        seen: set[Target] = set()
        for group in (*self._lanes.standing, *self._lanes.rejected):
            for slot in group.slots:
                if slot.target not in chosen and slot.target not in seen:
                    seen.add(slot.target)
                    found.append(self._rejection(slot, group))
        return found

    def _rejection(self, slot: Slot, group: Group) -> Rejection:
        """The reason that one target may not serve."""
        if slot.facts.disabled is not None:
            return Rejection(slot.facts, f"disabled: {slot.facts.disabled}")
        reason = self._lanes.rejected.get(group)
        if reason is not None:
            return Rejection(slot.facts, reason)
        if not self._large_enough(slot, group):
            return Rejection(slot.facts, f"too small: takes {group.capacity} tokens")
        standing = list(holds(slot, self._demand, self._now))
        if standing:
            worst = max(standing, key=lambda hold: hold.until)
            return Rejection(slot.facts, worst.reason, worst.until)
        return Rejection(slot.facts, "tried")

    def _large_enough(self, slot: Slot, group: Group) -> bool:
        if self._demand.input_tokens > group.soft_max and self._oversize(group) < 0:
            return False
        if self._constraint.min_input and group.capacity <= self._constraint.min_input:
            return False
        return not too_small(slot, self._demand)

    def _fitting(self) -> Iterator[Slot]:
        """Every configured target that could take the request if nothing stood against it."""
        for group in self._lanes.standing:
            for slot in group.slots:
                if slot.facts.disabled is None and self._large_enough(slot, group):
                    yield slot

    def _look_ahead(self) -> _Outlook:
        if self._outlook is None:
            earliest: float | None = None
            limited = True
            any_fit = False
            for slot in self._fitting():
                any_fit = True
                returns, by_quota = self._return_of(list(holds(slot, self._demand, self._now)))
                earliest = returns if earliest is None else min(earliest, returns)
                limited = limited and by_quota
            self._outlook = _Outlook(earliest, any_fit and limited)
        return self._outlook

    def _return_of(self, standing: list[Hold]) -> tuple[float, bool]:
        """When a target returns, and whether it is quota alone that holds it."""
        if not standing:
            return self._now + RETRY_S, False
        return max(hold.until for hold in standing), all(hold.limited for hold in standing)

    def _lack(self) -> str:
        lacking = sorted(set(self._lanes.lacking)) or ["no local model"]
        return f"No configured target can serve this request: {', '.join(lacking)}."


def _why(lane: Lane, rank: int) -> str:
    if not lane.fits:
        return "strongest left"
    return ("fits", "scarce", "degraded", "beyond a prior")[rank]
