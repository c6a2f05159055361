"""The mutable records behind a plan: one slot a target, one cell a scope, one group a model.

Owns the link from a scope to the targets that it blocks, kept so that a plan reads one number a target: a slot's
`blocked_until`. It must never decide what an error means (`cooldown.py`) or who comes first (`scheduler.py`).
"""

from typing import NamedTuple

from hermes_router.core.catalog import PriceClass, TargetFacts
from hermes_router.core.ids import ProviderName
from hermes_router.core.observations import Scope, ScopeKind
from hermes_router.routing.bindings import Rotor
from hermes_router.routing.cooldown import NEVER, Block
from hermes_router.routing.demand import Demand
from hermes_router.routing.health import Breaker
from hermes_router.routing.learned import ModelMemory
from hermes_router.routing.quota import Meter
from hermes_router.routing.units import REQUESTS, Amounts
from hermes_router.routing.window import capacity, is_local

KINDS: tuple[ScopeKind, ...] = (
    "ip", "provider", "account", "account_model", "credential", "credential_model", "model",
)  # fmt: skip

POOL_SCOPE = Scope(ProviderName("*"))
"""Of the one window that all paid targets share: the owner's budget."""


def scope_of(kind: ScopeKind, facts: TargetFacts) -> Scope:
    """The scope that a piece of evidence names, of the target that it was seen at."""
    provider = facts.target.provider
    match kind:
        case "ip":
            return Scope(provider, ip=True)
        case "provider":
            return Scope(provider)
        case "account":
            return Scope(provider, account=facts.credential.account)
        case "account_model":
            return Scope(provider, account=facts.credential.account, model=facts.target.model)
        case "credential":
            return Scope(provider, credential=facts.credential.id)
        case "credential_model":
            return Scope(provider, credential=facts.credential.id, model=facts.target.model)
        case "model":
            return Scope(provider, model=facts.target.model)


class Cell:
    """The blocks of one scope, and the slots that they concern."""

    __slots__ = ("breaker", "cooldown", "pause", "scope", "slots")

    def __init__(self, scope: Scope) -> None:
        self.scope = scope
        self.slots: list[Slot] = []
        self.cooldown: Block | None = None
        self.pause: Block | None = None
        self.breaker = Breaker()


class Slot:
    """One target as it is scheduled; it outlives the snapshot that brought it.

    `blocked_until` is the latest instant that any block, breaker or spent window names that binds; `cool_until` the
    same without breakers; `beyond_until` when a spent prior returns. `flagged` = a plan has to look closer: something
    is remembered, a window binds, or the size of a request decides. `marked` = a success or a failure has something
    to clear. `strict` = a window binds. `sized` = whether a prior is spent depends on the request. `spread` = its
    long windows are spread over their time.
    """

    __slots__ = (
        "beyond_until", "blocked_until", "cells", "cool_until", "facts", "flagged", "group", "inflight", "limits",
        "marked", "meters", "model_breaker", "provider_breaker", "sized", "spread", "stamp", "strict", "taken_at",
        "target",
    )  # fmt: skip

    def __init__(self, facts: TargetFacts, cells: dict[ScopeKind, Cell]) -> None:
        self.target = facts.target
        self.facts = facts
        self.cells = cells
        self.provider_breaker = cells["provider"].breaker
        self.model_breaker = cells["model"].breaker
        self.limits = tuple(cells[kind] for kind in ("account", "account_model", "credential", "credential_model"))
        self.meters: list[Meter] = []
        self.strict = False
        self.spread = False
        self.sized = False
        self.blocked_until = 0.0
        self.cool_until = 0.0
        self.beyond_until = 0.0
        self.flagged = False
        self.marked = False
        self.stamp = 0
        self.taken_at = 0.0
        self.inflight = 0
        self.group: Group | None = None

    def refresh(self, now: float) -> None:
        """Fold all blocks of its scopes into the few fields that a plan reads."""
        cool = opened = 0.0
        marked = False
        for cell in self.cells.values():
            for block in (cell.cooldown, cell.pause):
                if block is not None:
                    marked = True
                    cool = max(cool, block.free_at)
        for breaker in (self.provider_breaker, self.model_breaker):
            if not breaker.quiet(now):
                marked = True
                opened = max(opened, breaker.open_until)
        beyond, sized, scarce, strict = 0.0, self.spread, False, False
        for meter in self.meters:
            until = meter.full_until(now)
            strict = strict or meter.binds
            if meter.limit is None or meter.level:
                continue
            if meter.binds:
                cool = max(cool, until)
            else:
                beyond = max(beyond, until)
                # Of tokens and money it is the request's size that decides whether a prior is spent.
                sized = sized or meter.code != REQUESTS
                scarce = scarce or meter.rank(now) > 0
        if self.facts.disabled is not None:
            cool = NEVER
        self.cool_until = cool
        self.blocked_until = max(cool, opened)
        self.beyond_until = beyond
        self.marked = marked
        self.strict = strict
        group = self.group
        tempo = group.memory.tempo if group is not None else None
        self.sized = sized
        self.flagged = sized or scarce or marked or strict or (tempo is not None and tempo.slow_until > now)
        if not self.flagged:
            self.flagged = any(meter.level and meter.rank(now) for meter in self.meters)
        if group is not None:
            group.freed(self)

    def blocks(self, now: float) -> list[Block]:
        """All that stands against it now, breakers aside."""
        return [
            block
            for cell in self.cells.values()
            for block in (cell.pause, cell.cooldown)
            if block is not None and block.active(now)
        ]


class Outlook(NamedTuple):
    """When the first slot of a group returns, and whether it is quota alone that holds them all.

    Good until `until` (epoch seconds), and while the group has not changed since `changes`.
    """

    returns_at: float
    limited: bool
    until: float
    changes: int


class Group:
    """One model of one provider, with a slot for each of its credentials, in the owner's order.

    `hard_max` and `soft_max` are the largest input in *estimated* tokens, the model's factor applied; above the
    first it is refused, above the second it ranks last. No slot is free before `free_at`, and none is within its
    priors before `fresh_at`; a slot that frees earlier moves them (`freed`), and whoever finds nobody says until when,
    so that no plan walks over those that wait. `changes` counts what has changed in any of them. `spends` = it costs
    the owner's money.
    """

    __slots__ = (
        "asked", "capacity", "changes", "facts", "free_at", "fresh_at", "hard_max", "local", "memory", "model",
        "outlook",
        "position", "price", "price_class", "priced", "private", "provider", "rotor", "slots", "soft_max", "spends",
        "tier",
    )  # fmt: skip

    def __init__(self, facts: TargetFacts, memory: ModelMemory, rotor: Rotor) -> None:
        self.facts = facts
        self.provider: str = facts.provider.name
        self.model: str = facts.model.id
        self.memory = memory
        self.rotor = rotor
        self.slots: list[Slot] = []
        self.tier = facts.model.tier
        self.position = facts.position
        self.price_class = facts.model.price_class
        price = facts.model.price
        # Agents send about three times as much as they get, cached prefixes aside.
        self.price = 3 * price.input_microusd + price.output_microusd
        self.priced = self.price > 0
        self.spends = self.price_class is PriceClass.PAID
        self.free_at = self.fresh_at = 0.0
        self.changes = 0
        self.asked: tuple[Demand, float, Amounts] | None = None  # the request sized last, by which factor, and its size
        self.outlook: Outlook | None = None
        self.private = facts.private
        self.local = is_local(facts)
        self.hard_max = self.soft_max = self.capacity = 0
        self.resize(0.0)

    def add(self, slot: Slot) -> None:
        """One more credential of it."""
        self.slots.append(slot)
        slot.group = self
        self.freed(slot)

    def freed(self, slot: Slot) -> None:
        """Something has changed about a slot: it may be free earlier than it was."""
        self.changes += 1
        at = slot.blocked_until
        self.free_at = min(self.free_at, at)
        at = max(at, slot.beyond_until)
        self.fresh_at = min(self.fresh_at, at)

    def open_until(self, now: float) -> float:
        """Until when a breaker holds all of it, `now` where its probes are under way; 0 where none does."""
        first = self.slots[0]
        provider, model = first.provider_breaker, first.model_breaker
        until = max(provider.open_until, model.open_until)
        if until > now:
            return until
        return now if until and (provider.busy(now) or model.busy(now)) else 0.0

    def resize(self, now: float) -> None:
        """Fold windows, what was learned of them, and the token factor into the sizes that a plan compares."""
        room = capacity(self.facts, self.memory.context)
        factor = self.memory.sized = self.memory.factor
        self.capacity = room.soft
        self.hard_max = int(room.hard / factor)
        self.soft_max = int(room.soft / factor)
        if self.memory.cut_until > now and self.memory.cuts > 1:
            self.soft_max = min(self.soft_max, self.memory.cut_tokens - 1)
