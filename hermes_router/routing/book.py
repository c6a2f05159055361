"""Which slots, scopes and windows exist, and how they hang together.

Owns the lasting records by target, scope and window, ties each new snapshot to them, and keeps the plans' lanes by
kind of request. It must never judge an outcome: the ledger (`state.py`) does, and writes into these records.
"""

from hermes_router.core.catalog import TargetFacts
from hermes_router.core.ids import Target
from hermes_router.core.observations import WINDOW_SECONDS, QuotaSeen, Scope, ScopeKind, Unit, Window
from hermes_router.routing.bindings import Rotor
from hermes_router.routing.demand import Constraint, Demand
from hermes_router.routing.lanes import Lanes, build
from hermes_router.routing.learned import Learned
from hermes_router.routing.quota import Meter
from hermes_router.routing.roster import Roster
from hermes_router.routing.slots import KINDS, Cell, Group, Slot, scope_of

LANES_KEPT = 512
LANES_FOR_S = 3600.0
PINS_KEPT = 256

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
        self._unclaimed: dict[Scope, list[Meter]] = {}  # its told windows, likewise
        self._learned = learned
        self._view: View | None = None

    def view(self, roster: Roster) -> View:
        """The view of this snapshot, made when the snapshot is new."""
        view = self._view
        if view is None or view.roster is not roster:
            view = View(roster)
            for facts in roster.facts:
                self._join(facts, view.groups)
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

    def told(self, slot: Slot, seen: QuotaSeen, now: float) -> None:
        """A window told at one target counts for all targets of its scope."""
        meter = self._meter(slot, seen.scope, seen.unit, seen.window)
        if not meter.binds:
            self._share(meter, slot.cells[seen.scope])
        meter.told(seen, now)
        for sibling in meter.slots:
            sibling.strict = sibling.flagged = True

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
            slot.strict = any(meter.binds for meter in slot.meters)
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
                    self._forget(slot)
            self._learned.models.pop((group.provider, group.model), None)
        view.pins.clear()
        view.lanes.clear()

    def _forget(self, slot: Slot) -> None:
        self.slots.pop(slot.target, None)
        for cell in slot.cells.values():
            cell.slots.remove(slot)
            if not cell.slots:
                self.cells.pop(cell.scope, None)
        for meter in slot.meters:
            meter.slots.remove(slot)
            if not meter.slots:
                self.meters.pop((meter.scope, meter.unit, meter.window), None)

    def _join(self, facts: TargetFacts, groups: dict[Key, Group]) -> None:
        slot = self.slot(facts)
        key: Key = (facts.target.provider, facts.target.model)
        group = groups.get(key)
        if group is None:
            group = groups[key] = Group(facts, self._learned.of(*key), self.rotor(key[0]))
        slot.group = group
        group.slots.append(slot)

    def _inherit(self, slot: Slot, cell: Cell) -> None:
        """A key that joins an account shares the windows that its siblings, or a predecessor, were told."""
        told = [m for m in cell.slots[0].meters if m.origin == "told"] if cell.slots else []
        for meter in (*told, *self._unclaimed.pop(cell.scope, ())):
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
        for meter in slot.meters:
            if meter.origin != "told":
                meter.slots.remove(slot)
        slot.meters = [m for m in slot.meters if m.origin == "told"]
        for rule in facts.quotas:
            meter = self._meter(slot, rule.scope, rule.unit, rule.window)
            if meter.origin != "told" or rule.origin == "owner":
                meter.rule(rule.amount, rule.origin, rule.resets)
        slot.strict = any(m.binds for m in slot.meters)

    def _meter(self, slot: Slot, kind: ScopeKind, unit: Unit, window: Window) -> Meter:
        scope = slot.cells[kind].scope
        meter, _ = self.meter((scope, unit, window))
        if meter not in slot.meters:
            _tie(slot, meter)
        return meter


def _tie(slot: Slot, meter: Meter) -> None:
    """Tie them; the longest window comes first, for status names the first that is spent."""
    slot.meters.append(meter)
    slot.meters.sort(key=_place)
    meter.slots.append(slot)


def _place(meter: Meter) -> tuple[float, int, str]:
    return -WINDOW_SECONDS[meter.window], meter.code, str(meter.scope)
