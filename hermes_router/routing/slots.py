"""The mutable records behind a plan: one slot a target, one cell a scope, one group a model.

Owns the link from a scope to the targets that it blocks, kept so that a plan reads one number a target: a slot's
`blocked_until`. It must never decide what an error means (`cooldown.py`) or who comes first (`scheduler.py`).
"""

from hermes_router.core.catalog import TargetFacts
from hermes_router.core.observations import Scope, ScopeKind
from hermes_router.routing.bindings import Rotor
from hermes_router.routing.cooldown import NEVER, Block
from hermes_router.routing.health import Breaker
from hermes_router.routing.learned import ModelMemory
from hermes_router.routing.quota import Meter
from hermes_router.routing.window import capacity, is_local

KINDS: tuple[ScopeKind, ...] = (
    "ip", "provider", "account", "account_model", "credential", "credential_model", "model",
)  # fmt: skip


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

    `blocked_until` is the latest instant that any block or breaker of its scopes names, `cool_until` the same
    without breakers. `flagged` = a plan has to look closer: something is remembered, or a window binds. `marked` =
    a success or a failure has something to clear.
    """

    __slots__ = (
        "blocked_until", "cells", "cool_until", "facts", "flagged", "group", "inflight", "marked", "meters",
        "model_breaker", "provider_breaker", "stamp", "strict", "taken_at", "target",
    )  # fmt: skip

    def __init__(self, facts: TargetFacts, cells: dict[ScopeKind, Cell]) -> None:
        self.target = facts.target
        self.facts = facts
        self.cells = cells
        self.provider_breaker = cells["provider"].breaker
        self.model_breaker = cells["model"].breaker
        self.meters: list[Meter] = []
        self.strict = False
        self.blocked_until = 0.0
        self.cool_until = 0.0
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
        if self.facts.disabled is not None:
            cool = NEVER
        self.cool_until = cool
        self.blocked_until = max(cool, opened)
        self.marked = marked
        tempo = self.group.memory.tempo if self.group is not None else None
        self.flagged = (
            marked
            or self.strict
            or (tempo is not None and tempo.slow_until > now)
            or any(meter.rank(now) for meter in self.meters)
        )

    def blocks(self, now: float) -> list[Block]:
        """All that stands against it now, breakers aside."""
        return [
            block
            for cell in self.cells.values()
            for block in (cell.pause, cell.cooldown)
            if block is not None and block.active(now)
        ]


class Group:
    """One model of one provider, with a slot for each of its credentials, in the owner's order.

    `hard_max` and `soft_max` are the largest input in *estimated* tokens, the model's factor applied; above the
    first it is refused, above the second it ranks last.
    """

    __slots__ = (
        "capacity", "facts", "hard_max", "local", "memory", "model", "position", "price", "price_class", "priced",
        "private", "provider", "rotor", "slots", "soft_max", "tier",
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
        self.private = facts.private
        self.local = is_local(facts)
        self.hard_max = self.soft_max = self.capacity = 0
        self.resize(0.0)

    def resize(self, now: float) -> None:
        """Fold windows, what was learned of them, and the token factor into the sizes that a plan compares."""
        room = capacity(self.facts, self.memory.context)
        factor = self.memory.sized = self.memory.factor
        self.capacity = room.soft
        self.hard_max = int(room.hard / factor)
        self.soft_max = int(room.soft / factor)
        if self.memory.cut_until > now and self.memory.cuts > 1:
            self.soft_max = min(self.soft_max, self.memory.cut_tokens - 1)
