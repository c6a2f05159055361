"""How a target stands at one moment: how ready it is for a request, what holds it, and what status says of it.

Owns questions about slots; every function here only reads. It must never change the ledger, apart from letting a
slot notice that its trouble is over.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from hermes_router.core.catalog import Capability
from hermes_router.core.observations import Window
from hermes_router.routing.demand import Demand
from hermes_router.routing.quota import Amounts, Meter
from hermes_router.routing.slots import Group, Slot

EXPECTED_OUTPUT = 1_024  # reserved where the caller set no cap
LONG_WINDOWS = frozenset({Window.DAY, Window.MONTH, Window.PLAN})

SPENT, PROBING = -1, -2

StateName = Literal["ready", "cooling", "open", "paused", "revoked", "disabled"]


@dataclass(frozen=True, slots=True)
class QuotaStatus:
    """One window as `hr status` shows it; `reset_at` in epoch seconds, None where it has not begun."""

    scope: str
    unit: str
    window: str
    limit: int | None
    remaining: int | None
    reset_at: float | None
    origin: str


@dataclass(frozen=True, slots=True)
class TargetStatus:
    """A target's state for `GET /v1/status`; `until` in epoch seconds, None where nothing is waited for.

    `capabilities` maps each one that anything is known of to `yes`, `no` or `unknown`.
    """

    state: StateName
    reason: str | None
    until: float | None
    capabilities: dict[str, str]
    quota: tuple[QuotaStatus, ...]


@dataclass(frozen=True, slots=True)
class Hold:
    """Why a target cannot take a request now: the class for the caller, and the true time of its return."""

    reason: str
    until: float
    limited: bool


def cost(group: Group, inputs: int, outputs: int) -> int:
    """What a request costs at this model, in micro-US-dollars."""
    price = group.facts.model.price
    return (inputs * price.input_microusd + outputs * price.output_microusd) // 1_000_000


def amounts(group: Group, demand: Demand) -> Amounts:
    """What a request is expected to take of every unit."""
    inputs = int(demand.input_tokens * group.memory.factor)
    outputs = demand.max_output or EXPECTED_OUTPUT
    cap = group.facts.output_cap
    if cap is not None and outputs > cap:
        outputs = cap
    return (1, inputs + outputs, inputs, outputs, cost(group, inputs, outputs) if group.priced else 0, 1)


def readiness(slot: Slot, demand: Demand, now: float) -> int:
    """How ready a flagged slot is: 0 well, 1 scarce, 2 degraded or slow, 3 a prior is spent.

    Below 0 it cannot take the request: SPENT, a window that binds has no room; PROBING, its half-open probe is
    under way.
    """
    group = slot.group
    assert group is not None
    provider, model = slot.provider_breaker, slot.model_breaker
    if provider.busy(now) or model.busy(now):
        return PROBING
    rank = 2 if group.memory.tempo.slow_until > now or provider.degraded(now) or model.degraded(now) else 0
    wanted = amounts(group, demand) if slot.strict else None
    for meter in slot.meters:
        if not meter.binds:
            rank = max(rank, meter.rank(now))
        elif wanted is not None and not meter.fits(wanted[meter.code], now):
            return SPENT
    if rank == 0 and not slot.strict:
        slot.refresh(now)  # nothing left to look at: the next plan passes by
    return rank


def too_small(slot: Slot, demand: Demand) -> bool:
    """Whether a window that binds could never take this request, however long it waits."""
    group = slot.group
    if not slot.strict or group is None:
        return False
    # The output can be made smaller, the input cannot.
    wanted = amounts(group, demand)
    least = (1, wanted[2], wanted[2], 0, 0, 1)
    return any(m.binds and m.limit is not None and not m.once and least[m.code] > m.limit > 0 for m in slot.meters)


def holds(slot: Slot, demand: Demand, now: float) -> Iterator[Hold]:
    """All that stands against a target now, each with the true time of its end."""
    for block in slot.blocks(now):
        if block.free_at <= now:
            continue  # a canary is due: it may be asked
        yield Hold(block.cause, block.ends_at, block.cause in ("limited", "limited_day"))
    for breaker in (slot.provider_breaker, slot.model_breaker):
        if breaker.open_until > now or breaker.busy(now):
            yield Hold("broken", max(breaker.open_until, now + 1.0), limited=False)
    if slot.strict and slot.group is not None:
        wanted = amounts(slot.group, demand)
        for meter in slot.meters:
            if meter.binds and not meter.fits(wanted[meter.code], now):
                until = now + 1.0 if meter.level else max(meter.reset_at, now + 1.0)
                yield Hold("limited_day" if meter.window in LONG_WINDOWS else "limited", until, limited=True)


def status(slot: Slot, now: float) -> TargetStatus:
    """What `GET /v1/status` says of a target."""
    name, reason, until = _state(slot, now)
    spec = slot.facts.model
    memory = slot.group.memory if slot.group is not None else None
    capabilities = {
        what.value: (memory.capability(what, spec, now) if memory is not None else spec.capability(what).value).value
        for what in Capability
        if what in spec.capabilities or (memory is not None and what in memory.capabilities)
    }
    # A window of which nobody knows the limit any more says nothing.
    quota = tuple(_quota(meter, now) for meter in slot.meters if meter.limit is not None)
    return TargetStatus(name, reason, until, capabilities, quota)


def _quota(meter: Meter, now: float) -> QuotaStatus:
    running = now < meter.reset_at < float("inf")
    return QuotaStatus(
        scope=str(meter.scope),
        unit=meter.unit.value,
        window=meter.window.value,
        limit=meter.limit,
        remaining=meter.left(now),
        reset_at=meter.reset_at if running else None,
        origin=meter.origin,
    )


def _state(slot: Slot, now: float) -> tuple[StateName, str | None, float | None]:
    if slot.facts.disabled is not None:
        return "disabled", slot.facts.disabled, None
    for cell in slot.cells.values():
        if cell.pause is not None and cell.pause.active(now):
            return "revoked" if cell.pause.revoked(now) else "paused", cell.pause.cause, cell.pause.next_try_at
    blocks = slot.blocks(now)
    if blocks:
        last = max(blocks, key=lambda b: b.until)
        return "cooling", f"{last.cause} ({last.source})", last.until
    for meter in slot.meters:
        if meter.binds and not meter.level and meter.limit is not None and not meter.fits(1, now):
            reason = "limited_day" if meter.window in LONG_WINDOWS else "limited"
            return "cooling", f"{reason} ({meter.origin})", meter.reset_at
    opened = max(slot.provider_breaker.open_until, slot.model_breaker.open_until)
    if opened > now:
        return "open", "broken", opened
    if opened > 0:
        return "open", "broken (half-open)", now
    return "ready", None, None
