"""Which target serves this request now: constraint, affinity, fit, price, health, spread, in that order.

Owns the walk over the lanes of a kind of request, target by target, and the words for why nobody can. Planning and
reserving are one synchronous step. It must never wait, send, or change the ledger but by its reservation.
"""

from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from itertools import islice
from typing import NamedTuple

import msgspec

from hermes_router.core.catalog import PriceClass, TargetFacts
from hermes_router.core.clocks import next_reset
from hermes_router.core.errors import NoCapableTarget
from hermes_router.core.ids import Target
from hermes_router.core.observations import Window
from hermes_router.core.ports import Rng
from hermes_router.routing.bindings import IDLE_S
from hermes_router.routing.claims import Reservation
from hermes_router.routing.cooldown import NEVER
from hermes_router.routing.demand import Constraint, Demand
from hermes_router.routing.lanes import TOOLS_UNSAID, Lane, Lanes, Member
from hermes_router.routing.policies import Policy, policy_named
from hermes_router.routing.quota import BEYOND
from hermes_router.routing.roster import Roster
from hermes_router.routing.slots import Group, Outlook, Slot
from hermes_router.routing.standing import (
    BUDGET,
    PROBING,
    SOON_S,
    Hold,
    but_for_breakers,
    dares_at,
    holds,
    paced_until,
    readiness,
    returns_by,
    spends,
    too_small,
)
from hermes_router.routing.state import RoutingState
from hermes_router.routing.units import BY_SIZE
from hermes_router.routing.window import pool_window

LOOKED_AT = 64  # of those that are not at their best, so many are compared; a pool may have thousands of them
_RANKS = ("fits", "scarce", "degraded", "beyond a prior")
RETRY_S = 1.0  # a target that failed without being blocked may be asked again after this


class Candidate(msgspec.Struct):
    """A target chosen and reserved; `why` is a word for the log."""

    facts: TargetFacts
    reservation: Reservation
    why: str


class Choice(NamedTuple):
    """A target that may serve, in the place where the plan has it."""

    facts: TargetFacts
    why: str


class Rejection(NamedTuple):
    """A target that may not; `until` is epoch seconds where it will be able to, None where waiting does not help."""

    facts: TargetFacts
    reason: str
    until: float | None = None


class _Outlook(NamedTuple):
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
    """What a walk puts aside: targets given already, those that failed once, those held back by a doubt or a breaker.

    `over` are those beyond a prior that a patient walk passes by: single ones, and groups of which all are. `reach_at`
    is how long a patient one can wait, in epoch seconds.
    """

    __slots__ = ("again", "doubted", "given", "opened", "over", "patient", "reach_at", "whole")

    def __init__(self, *, patient: bool, whole: bool, reach_at: float = 0.0) -> None:
        self.patient = patient
        self.reach_at = reach_at
        self.whole = whole
        self.given: set[Slot] = set()
        self.again: list[Slot] = []
        self.doubted: list[tuple[float, int, Slot]] = []
        self.opened: list[tuple[float, int, Group]] = []
        self.over: list[Slot | Group] = []

    def doubt(self, slot: Slot, until: float) -> None:
        """One that has to be asked last."""
        self.doubted.append((until, len(self.doubted), slot))


class Plan:
    """One attempt's candidates, worked out as far as they are asked for.

    `paced_until`: after a patient `take` that gave none, when to plan anew, in epoch seconds, where somebody would
    take the request who is only beyond a published number; else None. `held_back`: it passed by those that are not
    known to take tools, since one that is could serve in time.
    """

    __slots__ = (
        "_constraint", "_demand", "_lanes", "_now", "_outlook", "_policy", "_roster", "_state", "held_back",
        "paced_until",
    )  # fmt: skip

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
        self.paced_until: float | None = None
        self.held_back = False

    def take(self, *, patient: bool = False, reach_at: float = 0.0) -> Candidate | None:
        """The best candidate, reserved; None when none is ready.

        `patient` = the request can wait, until `reach_at` (epoch seconds): a target that is beyond a published number
        is left alone until its window returns (`paced_until`). Once in a long while it is taken all the same, to find
        out whether the number is true. So is one that is not known to take tools, where one that is returns in time.
        """
        aside = _Aside(patient=patient, whole=False, reach_at=reach_at)
        for slot, why in self._walk(aside):
            return self._reserved(slot, why)
        self.paced_until = None
        if aside.over:
            first = next(self._over(aside), None)
            if first is not None and self._state.explores():
                return self._reserved(first, "beyond a prior")
            if first is not None:
                self.paced_until = self._paced_until(aside)
        return None

    def dare(self) -> Candidate | None:
        """For a request that would be sent away: a target that may have more left than we believe (`dares_at`)."""
        for slot, group in self._daring():
            at = dares_at(slot, self._demand, self._now)
            if at is not None and at <= self._now and self._least(group) >= 0:
                return self._reserved(slot, "last resort")
        return None

    @property
    def dares_at(self) -> float | None:
        """When `dare` may find somebody, epoch seconds; None where no wait helps."""
        found = (dares_at(slot, self._demand, self._now) for slot, _ in self._daring())
        return min((at for at in found if at is not None), default=None)

    def _daring(self) -> Iterator[tuple[Slot, Group]]:
        for slot, group in self._fitting():
            if (slot.strict or slot.marked) and slot.target not in self._constraint.tried:
                yield slot, group

    def _reserved(self, slot: Slot, why: str) -> Candidate:
        if self._demand.affinity_key is not None:
            self._state.bindings.planned(self._demand.affinity_key, self._constraint.pin)
        return Candidate(slot.facts, self._state.reserve(slot, self._demand, self._now), why)

    @property
    def candidates(self) -> Iterator[TargetFacts]:
        """The candidates in order, lazily, none reserved."""
        return (slot.facts for slot, _ in self._walk(_Aside(patient=False, whole=True)))

    # --- the walk ----------------------------------------------------------------------------------

    def _walk(self, aside: _Aside) -> Iterator[tuple[Slot, str]]:
        """Every target that may serve, best first. Whoever stops at the first has paid for the first."""
        given = aside.given
        bound = self._bound(aside)
        if self._constraint.again is not None:
            same = self._state.slot(self._constraint.again)
            if same is not None and same.group in self._lanes.standing and self._serves(same, same.group) >= 0:
                given.add(same)
                yield same, "same again"
        if self._constraint.prefer is not None:
            yield from self._preferred(aside)
        for lane in self._lanes.lanes:
            if aside.patient and lane.standing[1] == TOOLS_UNSAID and self._known_returns(aside):
                self.held_back = True
                break
            if bound is not None and lane.standing >= bound[1]:
                slot, bound = bound[0], None
                if slot not in given:
                    given.add(slot)
                    yield slot, "affinity"
            for slot, rank in self._lane(lane.members, aside):
                if not given or slot not in given:
                    yield slot, _why(lane, rank)
        if not aside.over:  # whoever only has to wait a little is better than these
            yield from self._rest(aside)

    def _known_returns(self, aside: _Aside) -> bool:
        """Whether one that is known to take tools could serve within the patience."""
        out = self._constraint.tried | self._constraint.last
        return bool(aside.over) or any(
            slot.target not in out and returns_by(slot, self._demand, self._now, aside.reach_at)
            for slot, group in self._fitting()
            if self._lanes.standing[group][1] != TOOLS_UNSAID
        )

    def _rest(self, aside: _Aside) -> Iterator[tuple[Slot, str]]:
        """Those that failed once; then, as a last resort, the doubted and the broken, the nearest return first."""
        for slot in aside.again:
            if slot not in aside.given:
                aside.given.add(slot)
                yield slot, "again"
        for _, _, slot in sorted(aside.doubted):
            if slot not in aside.given:
                aside.given.add(slot)
                yield slot, "last resort"
        for _, _, group in sorted(aside.opened):
            for slot in self._policy.slots(group.slots):
                if slot not in aside.given and self._only_broken(slot):
                    aside.given.add(slot)
                    yield slot, "last resort"

    def _only_broken(self, slot: Slot) -> bool:
        """Whether nothing but a breaker holds it back."""
        constraint = self._constraint
        if slot.cool_until > self._now or slot.target in constraint.tried or slot.target in constraint.last:
            return False
        return not slot.strict or not any(hold.limited for hold in holds(slot, self._demand, self._now))

    def _lane(  # noqa: C901, PLR0912 - the hot walk: what it looks at it looks at once, without a call
        self, members: Sequence[Member], aside: _Aside
    ) -> Iterator[tuple[Slot, int]]:
        """The targets of one lane: those in best health as they are met, the others after them by health."""
        now, policy, constraint = self._now, self._policy, self._constraint
        picky = bool(constraint.tried or constraint.last)
        later: list[tuple[int, int, Slot]] = []
        over: list[Slot | Group] = []
        for member in policy.members(members):
            for group in member.groups:
                least = self._least(group)
                if least < 0:
                    continue
                until = group.open_until(now)
                if until:
                    aside.opened.append((until, len(aside.opened), group))
                    continue
                if group.free_at > now:
                    continue  # nobody there can be asked before
                if group.fresh_at > now and not picky:
                    over.append(group)
                    continue
                for slot in policy.slots(self._free(group)):
                    rank = least
                    if slot.flagged or picky:
                        closer = self._closer(slot, aside)
                        if closer < 0:
                            continue
                        if closer == BEYOND:
                            over.append(slot)
                            continue
                        rank = max(rank, closer)
                    if rank == 0:
                        yield slot, 0
                    else:
                        later.append((rank, len(later), slot))
                if len(later) >= LOOKED_AT and not aside.whole:
                    break
            if len(later) >= LOOKED_AT and not aside.whole:
                break
        if later:
            later.sort()
            yield from ((slot, rank) for rank, _, slot in later)
        if aside.patient:
            aside.over += over
        else:
            yield from ((slot, BEYOND) for slot in self._each(over, aside))

    def _free(self, group: Group) -> list[Slot]:
        """Those of a group that nothing holds; where there are none, the group knows until when."""
        now = self._now
        found = [slot for slot in group.slots if slot.blocked_until <= now]
        if not found:
            group.free_at = min(slot.blocked_until for slot in group.slots)
        elif all(slot.beyond_until > now for slot in found):
            group.fresh_at = min(max(slot.blocked_until, slot.beyond_until) for slot in group.slots)
        return found

    def _least(self, group: Group) -> int:
        """The rank of a whole group; below 0 where it cannot take the request."""
        least = 0 if self._demand.input_tokens <= group.soft_max else self._oversize(group)
        if self._constraint.min_input and group.capacity <= self._constraint.min_input:
            return -1
        return least if not group.spends or self._affordable(group) else -1

    def _affordable(self, group: Group) -> bool:
        """Whether the caller's own budget allows what a request is expected to cost there."""
        left = self._constraint.money_left
        return left is None or spends(group, self._demand) <= left

    def _each(self, over: Sequence[Slot | Group], aside: _Aside) -> Iterator[Slot]:
        """Single targets and those of whole groups, that may be asked though a prior is spent."""
        for one in over:
            if isinstance(one, Slot):
                yield one
            else:
                for slot in self._policy.slots(self._free(one)):
                    if not slot.flagged or self._closer(slot, aside) >= 0:
                        yield slot

    def _over(self, aside: _Aside) -> Iterator[Slot]:
        return (slot for slot in self._each(aside.over, aside) if slot not in aside.given)

    def _paced_until(self, aside: _Aside) -> float:
        """The first return of those beyond a prior; of whole groups the earliest that one of them can return."""
        now = self._now
        return min(
            max(now + SOON_S, one.fresh_at) if isinstance(one, Group) else paced_until(one, self._demand, now)
            for one in aside.over
        )

    def _closer(self, slot: Slot, aside: _Aside) -> int:
        """The rank of a slot that needs a closer look; below 0 where it cannot serve now, or only after others."""
        constraint, now = self._constraint, self._now
        if constraint.tried and slot.target in constraint.tried:
            return -1
        failed = bool(constraint.last) and slot.target in constraint.last
        ready = readiness(slot, self._demand, now) if slot.flagged else 0
        if ready == PROBING and not failed:
            aside.doubt(slot, now)
        if ready < 0:
            return -1
        if failed:
            aside.again.append(slot)
            return -1
        return 0 if ready == 1 and self._policy.drains else ready

    def _oversize(self, group: Group) -> int:
        """The rank of a model for a request above its soft size; -1 where it cannot take it at all."""
        if group.memory.cuts and group.memory.cut_until <= self._now:
            group.memory.cuts = 0
            group.resize(self._now)
            if self._demand.input_tokens <= group.soft_max:
                return 0
        return -1 if self._demand.input_tokens > group.hard_max else BEYOND

    def _preferred(self, aside: _Aside) -> Iterator[tuple[Slot, str]]:
        """After a failure that blames a model: its provider's other fitting models of the same class."""
        assert self._constraint.prefer is not None
        provider, avoid = self._constraint.prefer
        classes = {g.price_class for g in self._lanes.standing if g.provider == provider and g.model in avoid}
        for lane in self._lanes.lanes:
            if not lane.fits or lane.price_class not in classes or lane.standing[1] == TOOLS_UNSAID:
                continue
            for member in lane.members:
                if member.rotor.provider != provider:
                    continue
                others = Member(member.rotor)
                others.groups = [group for group in member.groups if group.model not in avoid]
                first = _Aside(patient=True, whole=aside.whole)
                for slot, rank in self._lane((others,), first):
                    if rank < BEYOND and slot not in aside.given:
                        aside.given.add(slot)
                        yield slot, "same provider"

    def _bound(self, aside: _Aside) -> tuple[Slot, tuple[int, int]] | None:
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
        ready = self._serves(slot, group)
        if ready < 0 or (aside.patient and ready == BEYOND):
            return None
        return slot, standing

    def _serves(self, slot: Slot, group: Group) -> int:
        """How ready one slot is for the request (`readiness`); below 0 where it could not take it now."""
        constraint, now = self._constraint, self._now
        if slot.blocked_until > now:
            return -1
        if slot.target in constraint.tried or slot.target in constraint.last:
            return -1
        if self._least(group) < 0:
            return -1
        return readiness(slot, self._demand, now) if slot.flagged else 0

    def _free_fits(self) -> bool:
        """Whether a free model fits and has a target that could serve now."""
        return any(
            self._serves(slot, group) >= 0
            for lane in self._lanes.lanes
            if lane.fits and lane.price_class < PriceClass.SUBSCRIPTION
            for member in lane.members
            for group in member.groups
            if group.free_at <= self._now
            for slot in group.slots
        )

    # --- why not -----------------------------------------------------------------------------------

    @property
    def hopeless(self) -> NoCapableTarget | None:
        """What no wait would cure, its size aside (`too_long`): nobody within the key's scope has what it needs."""
        lack = "" if self._lanes.lanes else self._lanes.lack(self._demand, self._constraint)
        return NoCapableTarget(lack) if lack else None

    @property
    def too_long(self) -> tuple[int, int] | None:
        """The `sizes`, where no configured target could ever take the request."""
        return self.sizes if self.none_takes_it(frozenset()) else None

    def none_takes_it(self, but: AbstractSet[Target]) -> bool:
        """Whether it is too long for every configured target, however long it waits: for all `but` these, at least."""
        return bool(self._lanes.lanes) and all(slot.target in but for slot, _ in self._fitting())

    @property
    def sizes(self) -> tuple[int, int]:
        """The pool's window, or the pinned model's, and the request's size as the models count, both in tokens."""
        local = self._constraint.local_only or self._demand.profile == "local"
        window = pool_window(self._roster, self._state.learned, profile="local" if local else "main")
        if self._constraint.pin is not None:
            window = max(group.capacity for group in self._lanes.standing)
        factor = max((group.memory.factor for group in self._lanes.standing), default=1.0)
        return window, int(self._demand.input_tokens * factor)

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
        """What holds the first twenty of the fitting targets back, one short string for each, for the log."""
        rejections = (
            self._rejection(slot, group)
            for group in (*self._lanes.standing, *self._lanes.rejected)
            for slot in group.slots
            if group in self._lanes.rejected or slot.blocked_until > self._now or self._held(slot, group)
        )
        return tuple(f"{one.facts.target}: {one.reason}" for one in islice(rejections, 20))

    def _held(self, slot: Slot, group: Group) -> bool:
        return self._closer(slot, _Aside(patient=False, whole=False)) < 0 or not self._large_enough(slot, group)

    def explain(self) -> list[Choice | Rejection]:
        """Every target of the pool: first those that may serve, in order, then the others with the reason."""
        found: list[Choice | Rejection] = []
        chosen: set[Target] = set()
        for slot, why in self._walk(_Aside(patient=False, whole=True)):
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
        standing = self._holds(slot, group)
        if standing:
            worst = max(but_for_breakers(standing) or standing, key=lambda hold: hold.until)
            return Rejection(slot.facts, worst.reason, worst.until)
        return Rejection(slot.facts, "tried")

    def _holds(self, slot: Slot, group: Group) -> list[Hold]:
        """All that stands against a target, the caller's own budget included."""
        found = list(holds(slot, self._demand, self._now))
        if group.spends and not self._affordable(group):
            found.append(Hold(BUDGET, next_reset("utc", Window.DAY, self._now), limited=True))
        return found

    def _large_enough(self, slot: Slot, group: Group) -> bool:
        return self._roomy(group) and not too_small(slot, self._demand)

    def _roomy(self, group: Group) -> bool:
        if self._demand.input_tokens > group.soft_max and self._oversize(group) < 0:
            return False
        return not (self._constraint.min_input and group.capacity <= self._constraint.min_input)

    def _fitting(self) -> Iterator[tuple[Slot, Group]]:
        """Every configured target that could take the request if nothing stood against it."""
        for group in self._lanes.standing:
            if self._roomy(group):
                yield from ((slot, group) for slot in self._fit(group))

    def _fit(self, group: Group) -> Iterator[Slot]:
        for slot in group.slots:
            if slot.facts.disabled is None and not too_small(slot, self._demand):
                yield slot

    def _look_ahead(self) -> _Outlook:
        """The earliest return, and whether it is quota that holds everybody; of each group as far as it is known."""
        if self._outlook is None:
            earliest: float | None = None
            limited = True
            any_fit = False
            for group, standing in self._lanes.standing.items():
                if not self._roomy(group) or (self.held_back and standing[1] == TOOLS_UNSAID):
                    continue
                found = self._look_at(group)
                if found is None:
                    continue
                any_fit = True
                earliest = found.returns_at if earliest is None else min(earliest, found.returns_at)
                limited = limited and found.limited
            self._outlook = _Outlook(earliest, any_fit and limited)
        return self._outlook

    def _look_at(self, group: Group) -> Outlook | None:
        """The outlook of one group; None where none of it fits. It is kept where no request's size decides it."""
        now, known = self._now, group.outlook
        if known is not None and now < min(known.until, known.returns_at) and known.changes == group.changes:
            return known
        returns_at, limited, until, any_fit = NEVER, True, NEVER, False
        by_size = group.spends
        for slot in self._fit(group):
            any_fit = True
            until = min(until, slot.blocked_until)
            by_size = by_size or (slot.strict and any(m.binds and m.code in BY_SIZE for m in slot.meters))
            if now < slot.blocked_until >= returns_at and not slot.marked:
                continue  # a spent window alone holds it, and others are back before
            back_at, by_quota = self._return_of(self._holds(slot, group))
            returns_at, limited = min(returns_at, back_at), limited and by_quota
        if not any_fit:
            return None
        found = Outlook(returns_at, limited, until, group.changes)
        if until > now and not by_size:
            group.outlook = found
        return found

    def _return_of(self, standing: list[Hold]) -> tuple[float, bool]:
        """When a target returns, and whether it is quota alone that holds it."""
        lasting = but_for_breakers(standing)  # they keep nobody from a last try
        if not lasting:
            return self._now + RETRY_S, False
        return max(hold.until for hold in lasting), all(hold.limited for hold in standing)


def _why(lane: Lane, rank: int) -> str:
    if not lane.fits:
        return "strongest left"
    return _RANKS[rank]
