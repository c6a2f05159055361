"""Which slots, scopes and windows exist, and how they hang together.

Owns the lasting records by target, scope and window, ties each new snapshot to them, and keeps the plans' lanes by
kind of request. It must never judge an outcome: the ledger (`state.py`) does, and writes into these records.
"""

from collections.abc import Iterable

from hermes_router.core.catalog import PriceClass, TargetFacts
from hermes_router.core.clocks import next_reset
from hermes_router.core.ids import CredentialId, Target
from hermes_router.core.observations import WINDOW_SECONDS, QuotaSeen, Scope, ScopeKind, Unit, Window
from hermes_router.routing.bindings import Rotor
from hermes_router.routing.changes import Changes
from hermes_router.routing.claims import Reservation
from hermes_router.routing.demand import Constraint, Demand
from hermes_router.routing.lanes import Lanes, build
from hermes_router.routing.learned import Learned
from hermes_router.routing.pacing import spread
from hermes_router.routing.quota import Meter
from hermes_router.routing.roster import Roster
from hermes_router.routing.slots import KINDS, POOL_SCOPE, Cell, Group, Slot, scope_of
from hermes_router.routing.units import TAUGHT

LANES_KEPT = 512
LANES_FOR_S = 3600.0
PINS_KEPT = 256
CLOCKED = frozenset({Window.DAY, Window.MONTH})

Key = tuple[str, str]
"""Provider and model."""
MeterKey = tuple[Scope, Unit, Window]


class View:
    """One snapshot's roster tied to the slots; `pins` are models outside the pool that callers pinned."""

    __slots__ = ("groups", "lanes", "pins", "roster")

    def __init__(self, roster: Roster) -> None:
        self.roster = roster
        self.groups: dict[Key, Group] = {}
        self.pins: dict[Key, Group] = {}
        self.lanes: dict[object, Lanes] = {}


class Book:
    """All records, keyed so that they outlive the configuration that brought them."""

    def __init__(self, learned: Learned) -> None:
        self.slots: dict[Target, Slot] = {}
        self.cells: dict[Scope, Cell] = {}
        self.meters: dict[MeterKey, Meter] = {}
        self.rotors: dict[str, Rotor] = {}
        self.turns: dict[Target, int] = {}  # of a predecessor's targets that no snapshot has brought yet
        self.removed: set[CredentialId] = set()  # and there are attempts under way with them
        self.changes = Changes()
        self._unclaimed: dict[Scope, list[Meter]] = {}  # its told windows, likewise
        self._learned = learned
        self._view: View | None = None
        self._spread = False
        self._budget, _ = self.meter((POOL_SCOPE, Unit.MICROUSD, Window.DAY))
        self._budget.rule(None, "owner", "utc")

    def configure(self, budget_microusd_day: int | None, now: float, *, spread: bool) -> None:
        """Set the owner's budget for all paid targets, and whether the long windows of free ones are spread."""
        if self._budget.limit != budget_microusd_day:
            self._budget.rule(budget_microusd_day, "owner", "utc")
            self.changes.metered(self._budget)
            self.turned((self._budget,), now)
        if self._spread is not spread:
            self._spread = spread
            for slot in self.slots.values():
                self._set_spread(slot)
                slot.refresh(now)

    def budget(self, now: float) -> tuple[int | None, int, float]:
        """The owner's budget, what is spent and claimed of it, and when its day ends."""
        return self._budget.limit, self._budget.count(now), next_reset("utc", Window.DAY, now)

    def budgets(self, now: float) -> list[tuple[Scope, int, int, float]]:
        """The scope of each budget, its limit, what is spent and claimed of it (micro-US-dollars), its day's end."""
        ends_at = next_reset("utc", Window.DAY, now)
        return [
            (meter.scope, meter.limit, meter.count(now), ends_at)
            for meter in self.meters.values()
            if meter.unit is Unit.MICROUSD and meter.origin == "owner" and meter.limit is not None and meter.slots
        ]

    def view(self, roster: Roster) -> View:
        """The view of this snapshot, made when the snapshot is new."""
        view = self._view
        if view is None or view.roster is not roster:
            view = View(roster)
            for facts in roster.facts:
                self._join(facts, view.groups)
            self.removed.difference_update(facts.credential.id for facts in roster.facts)
            self._view = view
        return view

    def lanes(self, roster: Roster, demand: Demand, constraint: Constraint, now: float) -> Lanes:
        """The lanes for this kind of request, cached."""
        view = self._view
        if view is None or view.roster is not roster:
            view = self.view(roster)
        c = constraint
        key = (
            demand.operation, demand.needs, demand.difficulty, demand.profile, demand.light, demand.image_urls > 0,
            c.pin, c.providers, c.local_only, c.exclude_providers, c.min_tier, c.no_training,
            c.fetches,
        )  # fmt: skip
        found = view.lanes.get(key)
        version = self._learned.version
        if found is not None and found.version == version and now < found.expires_at:
            return found
        groups = self._admissible(view, constraint)
        found = build(groups, demand, constraint, now, version=version, expires_at=now + LANES_FOR_S)
        if len(view.lanes) >= LANES_KEPT:
            view.lanes.clear()
        view.lanes[key] = found
        return found

    def resize(self, provider: str, model: str) -> None:
        """Work out a model's sizes anew, after something was learned of them."""
        if self._view is not None:
            for groups in (self._view.groups, self._view.pins):
                group = groups.get((provider, model))
                if group is not None:
                    group.resize(0.0)

    def slot(self, facts: TargetFacts) -> Slot:
        """The slot of a target, made where there is none, its limits brought up to date."""
        slot = self.slots.get(facts.target)
        if slot is None:
            cells: dict[ScopeKind, Cell] = {kind: self.cell(scope_of(kind, facts)) for kind in KINDS}
            slot = self.slots[facts.target] = Slot(facts, cells)
            slot.stamp = self.turns.pop(facts.target, 0)
            for cell in cells.values():
                self._inherit(slot, cell)
                cell.slots.append(slot)
        elif slot.facts is facts:
            return slot
        slot.facts = facts
        self._apply_rules(slot)
        slot.refresh(0.0)
        return slot

    def told(
        self, slot: Slot, seen: QuotaSeen, now: float, reservation: Reservation | None = None, *, refused: bool = False
    ) -> None:
        """A window told at one target counts for all targets of its scope (see `Meter.told`)."""
        meter = self._meter(slot, seen.scope, seen.unit, seen.window)
        if meter.limit is None and seen.window in CLOCKED:
            meter.rule(None, meter.origin, _clock(slot, seen.window))
        bound, alarm = meter.binds, (meter.alarm_at, meter.calm_at)
        if not bound:
            self._share(meter, slot.cells[seen.scope])
        claim = reservation.claim(meter) if reservation is not None else None
        held = meter.told(seen, now, claim, refused=refused)
        if held is not None and reservation is not None:
            reservation.hold(meter, held)
        if not bound or (meter.alarm_at, meter.calm_at) != alarm or meter.calm_at >= 0:
            self.turned((meter,), now)

    def turned(self, meters: Iterable[Meter], now: float) -> None:
        """Windows have become full or free, or bind: every target of theirs is looked at again."""
        for meter in meters:
            for slot in meter.slots:
                slot.refresh(now)

    def alarm(self, meter: Meter, now: float) -> None:
        """A claim has reached a count at which plans have to look."""
        if meter.origin == "learned" and meter.limit is not None and meter.used > meter.limit:
            meter.tried(now)
        meter.arm()
        if meter.level:  # it falls again: whoever looks will see
            for slot in meter.slots:
                slot.flagged = True
        else:
            self.turned((meter,), now)

    def count(  # noqa: PLR0917 - whose, of what, over which span, when
        self, slot: Slot, kind: ScopeKind, unit: Unit, window: Window, guess: int | None, now: float, *, resets: str
    ) -> None:
        """Count a window of which no number is believed, from now on, for all targets of its scope."""
        meter, new = self.meter((slot.cells[kind].scope, unit, window))
        if new:
            meter.rule(None, "published", resets)
        meter.kept = True
        meter.guess = meter.guess or guess
        self._share(meter, slot.cells[kind])
        self.turned((meter,), now)

    def unite(self, meter: Meter, other: Meter) -> None:
        """Two windows have turned out to be one: whoever spends one spends both from now on."""
        for one, slots in ((meter, list(other.slots)), (other, list(meter.slots))):
            one.kept = True
            for slot in slots:
                if one not in slot.meters:
                    _tie(slot, one)

    def shift(self, by: float, now: float) -> None:
        """The clock was set back: what was to last an hour still does (see `Meter.shift`)."""
        for meter in self.meters.values():
            meter.shift(by, now)
        for cell in self.cells.values():
            for block in (cell.cooldown, cell.pause):
                if block is not None:
                    block.shift(by)
            cell.breaker.shift(by)
        for memory in self._learned.models.values():
            memory.tempo.slow_until = max(0.0, memory.tempo.slow_until + by)
            memory.cut_until = max(0.0, memory.cut_until + by)
        if self._view is not None:
            self._view.lanes.clear()
        self.settle_down(now)

    def meter(self, key: MeterKey) -> tuple[Meter, bool]:
        """The meter of a window, and whether it was made just now."""
        meter = self.meters.get(key)
        if meter is not None:
            return meter, False
        meter = self.meters[key] = Meter(*key)
        return meter, True

    def claim(self, meter: Meter) -> None:
        """A restored window that binds whatever the rows say counts for all targets of its scope, now or later."""
        cell = self.cells.get(meter.scope)
        if cell is not None and cell.slots:
            self._share(meter, cell)
        elif meter not in self._unclaimed.setdefault(meter.scope, []):
            self._unclaimed[meter.scope].append(meter)

    def cell(self, scope: Scope) -> Cell:
        """The cell of a scope, made where there is none."""
        cell = self.cells.get(scope)
        if cell is None:
            cell = self.cells[scope] = Cell(scope)
        return cell

    def rotor(self, provider: str) -> Rotor:
        """The turn of a provider, made where there is none."""
        return self.rotors.setdefault(provider, Rotor(provider))

    def settle_down(self, now: float) -> None:
        """Work out anew what plans read of every slot, after a predecessor's records were taken over."""
        for slot in self.slots.values():
            if slot.group is not None:
                slot.group.resize(now)
        for slot in self.slots.values():
            slot.refresh(now)

    def _admissible(self, view: View, constraint: Constraint) -> list[Group]:
        """The pool's models, or all that a pin can mean: it may name a model outside the pool."""
        pin = constraint.pin
        groups = list(view.groups.values())
        if pin is None or pin.provider is None or (pin.provider, pin.model) in view.groups:
            return groups
        key = (pin.provider, pin.model)
        if key not in view.pins:
            if len(view.pins) >= PINS_KEPT:
                self._drop_pins(view)
            for facts in view.roster.pinned(*key):
                self._join(facts, view.pins)
        return [*groups, view.pins[key]] if key in view.pins else groups

    def _drop_pins(self, view: View) -> None:
        """Forget pinned models outside the pool: callers choose their names, so their number is bounded here."""
        for group in view.pins.values():
            for slot in group.slots:
                if slot.inflight == 0:
                    self.drop(slot)
            self._learned.models.pop((group.provider, group.model), None)
            self.changes.learned(group.provider, group.model)
        view.pins.clear()
        view.lanes.clear()

    def forget(self, credential: CredentialId) -> None:
        """A credential was removed: nothing of it stays, once its attempts under way have ended."""
        if self._view is not None and any(facts.credential.id == credential for facts in self._view.roster.facts):
            return  # it stands elsewhere, too
        slots = [slot for target, slot in self.slots.items() if target.credential == credential]
        if any(slot.inflight for slot in slots):
            self.removed.add(credential)
        for slot in slots:
            if not slot.inflight:
                self.drop(slot)
        for target in [target for target in self.turns if target.credential == credential]:
            del self.turns[target]
            self.changes.targets.add(target)
        for scope in [scope for scope, cell in self.cells.items() if _is_of(scope, credential) and not cell.slots]:
            self.changes.cells.add(self.cells.pop(scope))
        for key in [key for key, meter in self.meters.items() if _is_of(key[0], credential) and not meter.slots]:
            self.changes.meters.add(self.meters.pop(key))
        for scope in [scope for scope in self._unclaimed if _is_of(scope, credential)]:
            del self._unclaimed[scope]
        self.changes.stir()

    def let_go(self, slots: Iterable[Slot]) -> bool:
        """Drop those whose credential was removed while they had attempts under way; whether there were any."""
        over = [slot for slot in slots if slot.target.credential in self.removed and not slot.inflight]
        over = [slot for slot in over if self.slots.get(slot.target) is slot]
        for slot in over:
            self.drop(slot)
        return bool(over)

    def drop(self, slot: Slot) -> None:
        """Let go of a target, and of what no other one shares with it."""
        self.changes.judged(slot)
        self.slots.pop(slot.target, None)
        for cell in slot.cells.values():
            cell.slots.remove(slot)
            if not cell.slots:
                self.cells.pop(cell.scope, None)
        for meter in slot.meters:
            meter.slots.remove(slot)
            if not meter.slots and meter is not self._budget:
                self.meters.pop((meter.scope, meter.unit, meter.window), None)

    def _join(self, facts: TargetFacts, groups: dict[Key, Group]) -> None:
        slot = self.slot(facts)
        key: Key = (facts.target.provider, facts.target.model)
        group = groups.get(key)
        if group is None:
            group = groups[key] = Group(facts, self._learned.of(*key), self.rotor(key[0]))
        group.add(slot)

    def _inherit(self, slot: Slot, cell: Cell) -> None:
        """A key that joins an account shares the windows that its siblings, or a predecessor, were told or learned."""
        stay = [m for m in cell.slots[0].meters if _stays(m)] if cell.slots else []
        for meter in (*stay, *self._unclaimed.pop(cell.scope, ())):
            if meter.scope == cell.scope:
                _tie(slot, meter)

    @staticmethod
    def _share(meter: Meter, cell: Cell) -> None:
        for sibling in cell.slots:
            if meter not in sibling.meters:
                _tie(sibling, meter)

    def _apply_rules(self, slot: Slot) -> None:
        """Renew the windows of a slot: what was told stays, priors and the owner's word follow the snapshot."""
        facts = slot.facts
        own = {(rule.unit, rule.window) for rule in facts.quotas if rule.origin == "owner"}
        gone = [
            m
            for m in slot.meters
            if not (_stays(m) or m is self._budget) or (m.origin == "learned" and (m.unit, m.window) in own)
        ]
        for meter in gone:
            meter.slots.remove(slot)
        slot.meters = [m for m in slot.meters if m not in gone]
        for rule in facts.quotas:
            meter = self._meter(slot, rule.scope, rule.unit, rule.window)
            if rule.origin == "owner":
                meter.rule(rule.amount, "owner", rule.resets)
            elif meter.origin in TAUGHT:
                meter.published = rule.amount
            else:
                meter.prior(rule.amount, rule.resets)
        for meter in slot.meters:  # one that is only counted is believed no longer where no row names it
            if meter.origin == "published" and not any(_names(sibling, meter) for sibling in meter.slots):
                meter.published = None
                meter.rule(None, "published")
        if facts.model.price_class is PriceClass.PAID and self._budget not in slot.meters:
            _tie(slot, self._budget)
        self._set_spread(slot)

    def _set_spread(self, slot: Slot) -> None:
        free = slot.facts.model.price_class in (PriceClass.FREE, PriceClass.FREE_CREDIT)
        slot.spread = self._spread and free and any(spread(meter) for meter in slot.meters)

    def _meter(self, slot: Slot, kind: ScopeKind, unit: Unit, window: Window) -> Meter:
        scope = slot.cells[kind].scope
        meter, _ = self.meter((scope, unit, window))
        if meter not in slot.meters:
            _tie(slot, meter)
        return meter


def _clock(slot: Slot, window: Window) -> str | None:
    """By which clock windows of this length end at the provider, as far as its row says that of any model."""
    for one in (slot, *slot.cells["provider"].slots):
        for rule in one.facts.quotas:
            if rule.window is window and rule.origin != "owner":
                return rule.resets
    return None


def _is_of(scope: Scope, credential: CredentialId) -> bool:
    """Whether it is this credential's alone; one without a label is its own account."""
    return credential in (scope.credential, scope.account)


def _stays(meter: Meter) -> bool:
    """Whether it outlives the rules: what was told, learned, or is counted for a reason of ours."""
    return meter.kept or meter.origin in TAUGHT


def _names(slot: Slot, meter: Meter) -> bool:
    """Whether a rule of this target is about that window."""
    return any(
        (rule.unit, rule.window) == (meter.unit, meter.window) and slot.cells[rule.scope].scope == meter.scope
        for rule in slot.facts.quotas
    )


def _tie(slot: Slot, meter: Meter) -> None:
    """Tie them; the longest window comes first, for status names the first that is spent."""
    slot.meters.append(meter)
    slot.meters.sort(key=_place)
    meter.slots.append(slot)


def _place(meter: Meter) -> tuple[float, int, str]:
    return -WINDOW_SECONDS[meter.window], meter.code, str(meter.scope)
