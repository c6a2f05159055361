"""How a target stands at one moment: how ready it is for a request, what holds it, and what status says of it.

Owns questions about slots; every function here only reads. It must never change the ledger, apart from letting
windows and slots notice that time has passed.
"""

from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

from hermes_router.core.catalog import MODEST_TOKENS, Capability, Quirk
from hermes_router.core.observations import Unit, Window
from hermes_router.routing.demand import Demand
from hermes_router.routing.pacing import ahead, on_schedule_at
from hermes_router.routing.quota import BEYOND, Meter
from hermes_router.routing.slots import POOL_SCOPE, Group, Slot
from hermes_router.routing.units import BY_SIZE, INPUT, MONEY, OUTPUT, REQUESTS, SHARE, TOKENS, Amounts

CLAIMED_S = 0.5  # some request under way has ended after this, and nobody knows which
SOON_S = 0.05  # what is due now is looked at again after this
MISSIZED = 0.02  # of a request: it may be so much smaller than we take it for, or
MISREAD = 0.1  # by so much of its input, which is estimated from its bytes
SHORT_S = 3_600.0
ASKED_AGAIN_S = 60.0  # after a refusal nobody of the same size asks sooner because it may have been misjudged
EXPECTED_OUTPUT = 1_024  # reserved where the caller set no cap
LONG_WINDOWS = frozenset({Window.DAY, Window.WEEK, Window.MONTH, Window.PLAN})

POOL = "all paid models"
BUDGET = "budget"
BROKEN = "broken"

SPENT, PROBING = -1, -2
SIZES = frozenset({TOKENS, INPUT, OUTPUT})

StateName = Literal["ready", "cooling", "open", "paused", "revoked", "disabled"]


class QuotaStatus(NamedTuple):
    """One window as `hr status` and `hr quota` show it; instants in epoch seconds.

    `limit`, `used` and `remaining` in units of `unit`. `reset_at`: where it is spent, when there is room again; else
    when it is whole; None where it has not begun. `origin` says who says so; `learned_at` when a refusal taught it.
    """

    scope: str
    unit: str
    window: str
    limit: int | None
    remaining: int | None
    reset_at: float | None
    origin: str
    used: int = 0
    learned_at: float | None = None


class TargetStatus(NamedTuple):
    """A target's state for `GET /v1/status`; `until` in epoch seconds, None where nothing is waited for.

    `capabilities` maps each one that anything is known of to `yes`, `no` or `unknown`.
    """

    state: StateName
    reason: str | None
    until: float | None
    capabilities: dict[str, str]
    quota: tuple[QuotaStatus, ...]


class Hold(NamedTuple):
    """Why a target cannot take a request now: the class for the caller, and the true time of its return."""

    reason: str
    until: float
    limited: bool


def cost(group: Group, inputs: int, outputs: int) -> int:
    """What a request costs at this model, in micro-US-dollars."""
    price = group.facts.model.price
    return (inputs * price.input_microusd + outputs * price.output_microusd) // 1_000_000


def amounts(group: Group, demand: Demand) -> Amounts:
    """What a request is expected to take of every unit; worked out once for all keys of a model."""
    known = group.asked
    if known is not None and known[0] is demand and known[1] == group.memory.factor:
        return known[2]
    inputs = int(demand.input_tokens * group.memory.factor)
    outputs = demand.max_output or EXPECTED_OUTPUT
    cap = group.facts.output_cap
    if cap is not None and outputs > cap:
        outputs = cap
    money = cost(group, inputs, outputs) if group.priced else 0
    if group.facts.provider.charges_cap:
        outputs = _charged(group, demand, outputs)
    found = (1, inputs + outputs, inputs, outputs, money, 1, 0)
    group.asked = (demand, group.memory.factor, found)
    return found


def _charged(group: Group, demand: Demand, expected: int) -> int:
    """The output tokens that admission counts where it counts the cap: what goes out (`wire/chat/outgoing.py`)."""
    facts, asked = group.facts, demand.max_output
    sent = asked + facts.cap_reserve if asked else expected
    if Quirk.MODEST_OUTPUT in facts.quirks:
        sent = min(sent if asked else MODEST_TOKENS[demand.tools], MODEST_TOKENS[1])
    return sent if facts.output_cap is None else min(sent, facts.output_cap)


def spends(group: Group, demand: Demand) -> int:
    """What a request is expected to cost the owner at this model, in micro-US-dollars; 0 where it is not his money."""
    return amounts(group, demand)[MONEY] if group.spends else 0


def readiness(slot: Slot, demand: Demand, now: float) -> int:  # noqa: PLR0912 - asked of every flagged target
    """How ready a flagged slot is: 0 well, 1 scarce, 2 degraded or slow, 3 beyond a prior or ahead of its schedule.

    Below 0 it cannot take the request: SPENT, a window that binds has no room; PROBING, only where nobody else can:
    its half-open probe is under way, or it has refused time and again without a reason.
    """
    group = slot.group
    assert group is not None
    provider, model = slot.provider_breaker, slot.model_breaker
    if provider.busy(now) or model.busy(now):
        return PROBING
    rank = 2 if group.memory.tempo.slow_until > now or provider.degraded(now) or model.degraded(now) else 0
    wanted: Amounts | None = None
    for meter in slot.meters:
        if meter.limit is None:
            continue
        if meter.binds or meter.code != REQUESTS:
            if wanted is None:
                wanted = amounts(group, demand)
            if not meter.fits(_needed(meter, wanted), now):
                if not meter.binds:
                    # More than the window holds at all is a matter of size, which is ranked elsewhere.
                    rank = BEYOND if meter.used else rank
                elif meter.may_try(now):
                    rank = BEYOND
                else:
                    if meter.used >= meter.limit:
                        slot.refresh(now)  # it is full again: until when, every plan can read
                    return SPENT
            else:
                rank = max(rank, _rank(meter, wanted, now))
        else:
            rank = max(rank, meter.rank(now))
        if slot.spread and rank < BEYOND and ahead(meter, now):
            rank = BEYOND
    if slot.marked and any(cell.cooldown is not None and cell.cooldown.doubted_until > now for cell in slot.limits):
        return PROBING
    if rank == 0 and not slot.strict and (slot.marked or not slot.sized):
        slot.refresh(now)  # nothing left to look at: the next plan passes by
    return rank


def _rank(meter: Meter, wanted: Amounts, now: float) -> int:
    """How a window in which there is room ranks its targets."""
    if not meter.binds:
        return meter.rank(now)
    # What nobody has answered binds no more here, but may have been counted after all.
    return 2 if meter.doubted and meter.short(wanted[meter.code], now) else 0


def paced_until(slot: Slot, demand: Demand, now: float) -> float:
    """When a target that is beyond a prior, or ahead of its schedule, is so no more; always ahead of now."""
    assert slot.group is not None
    wanted = amounts(slot.group, demand)
    until = now + SOON_S
    for meter in slot.meters:
        until = max(until, meter.room_at(_needed(meter, wanted), now))
        if slot.spread:
            until = max(until, on_schedule_at(meter, now))
    return until


def too_small(slot: Slot, demand: Demand) -> bool:
    """Whether a window that binds could never take this request, however long it waits."""
    group = slot.group
    if not slot.strict or group is None:
        return False
    # The output can be made smaller, the input cannot.
    wanted = amounts(group, demand)
    least = (1, wanted[2], wanted[2], 0, 0, 1, 0)
    return any(
        m.binds and m.limit is not None and not m.once and m.origin != "learned" and least[m.code] > m.limit > 0
        for m in slot.meters
    )


def holds(slot: Slot, demand: Demand, now: float) -> Iterator[Hold]:
    """All that stands against a target now, each with the true time of its end."""
    for block in slot.blocks(now):
        if block.free_at <= now:
            continue  # a canary is due: it may be asked
        yield Hold(block.cause, block.ends_at, block.cause in ("limited", "limited_day"))
    for breaker in (slot.provider_breaker, slot.model_breaker):
        if breaker.open_until > now or breaker.busy(now):
            yield Hold(BROKEN, max(breaker.open_until, now + 1.0), limited=False)
    if slot.strict and slot.group is not None:
        wanted = amounts(slot.group, demand)
        for meter in slot.meters:
            amount = _needed(meter, wanted)
            if meter.binds and not meter.fits(amount, now) and not meter.may_try(now):
                yield Hold(_word(meter), max(_returns(meter, amount, now), now + SOON_S), limited=True)


def but_for_breakers(standing: Sequence[Hold]) -> list[Hold]:
    """All but breakers: where they alone are left, a request goes there all the same, as a last resort."""
    return [hold for hold in standing if hold.reason != BROKEN]


def returns_by(slot: Slot, demand: Demand, now: float, reach_at: float) -> bool:
    """Whether nothing but limits and an overload hold the target back, and not for longer than that."""
    standing = list(holds(slot, demand, now))
    passing = all(hold.limited or hold.reason == "overloaded" for hold in standing)
    return bool(standing) and passing and max(hold.until for hold in standing) <= reach_at


def _needed(meter: Meter, wanted: Amounts) -> int:
    """What has to be free in a window for a request: somewhat more than it is taken for, where its size is a guess.

    Of a long window that would cost too much, and no more than the window has is needed in any case.
    """
    if meter.code == SHARE:
        return 1  # nobody knows how much it takes, but of a full window there is none
    amount = wanted[meter.code] + meter.extra
    if meter.code not in SIZES or meter.span_s > SHORT_S or meter.limit is None:
        return amount
    return max(amount, min(meter.limit, amount + (amount >> 5)))


def dares_at(slot: Slot, demand: Demand, now: float) -> float | None:
    """When a request may ask here that would be sent away else, epoch seconds: as soon as there could be room for it.

    The size of a request is an estimate, what nobody has answered may never have been counted, and a provider that has
    only just been overloaded may be so no more. None where something else holds the target back.
    """
    group = slot.group
    if group is None or slot.provider_breaker.busy(now) or slot.model_breaker.busy(now):
        return None
    if slot.blocked_until > now and not _only_stumbled(slot, now):
        return None
    wanted = amounts(group, demand)
    at = now
    for meter in slot.meters:
        amount = wanted[meter.code] + meter.extra
        if meter.binds and not meter.fits(amount, now) and not meter.may_try(now):
            doubts, missized = _slack(meter, amount, wanted[INPUT])
            if meter.limit is not None and amount - doubts - missized > meter.limit:
                return None
            if meter.short(amount, now) > doubts:
                at = max(
                    at,
                    min(
                        meter.room_at(max(0, amount - doubts), now), _misjudged_at(meter, amount, doubts, missized, now)
                    ),
                )
    return at


def _only_stumbled(slot: Slot, now: float) -> bool:
    """Whether nothing but windows blocks it, or that it was overloaded once."""
    if max(slot.provider_breaker.open_until, slot.model_breaker.open_until) > now:
        return False
    return all(
        block.cause == "overloaded" and block.source == "inferred" and not block.step for block in slot.blocks(now)
    )


def _slack(meter: Meter, amount: int, inputs: int) -> tuple[int, int]:
    """By how many units a window may be emptier than we believe, and by how many a request may be smaller."""
    if meter.code not in SIZES or not meter.sliding or meter.limit is None or meter.origin == "owner":
        return 0, 0
    return meter.doubts, max(int(amount * MISSIZED), 0 if meter.code == OUTPUT else int(inputs * MISREAD))


def _misjudged_at(meter: Meter, amount: int, doubts: int, missized: int, now: float) -> float:
    """When a request may ask as one that is smaller by `missized`: not soon after one of its size was refused."""
    at = meter.denied_at + ASKED_AGAIN_S if amount > meter.denied - missized else now
    if meter.short(amount, now) > doubts + missized:
        at = max(at, meter.room_at(max(0, amount - doubts - missized), now))
    return at


def _returns(meter: Meter, amount: int, now: float) -> float:
    """When there is room. What requests under way hold is free again with their ends, and most of it is not used."""
    until = meter.room_at(amount, now)
    if meter.code in BY_SIZE and until > now + CLAIMED_S and any(slot.inflight for slot in meter.slots):
        return now + CLAIMED_S
    return until


def status(slot: Slot, now: float) -> TargetStatus:
    """What `GET /v1/status` says of a target."""
    name, reason, until = stance(slot, now)
    spec = slot.facts.model
    memory = slot.group.memory if slot.group is not None else None
    capabilities = {
        what.value: (memory.capability(what, spec, now) if memory is not None else spec.capability(what).value).value
        for what in Capability
        if what in spec.capabilities or (memory is not None and what in memory.capabilities)
    }
    # A window of which nobody knows the limit any more says nothing.
    quota = tuple(one for meter in slot.meters if (one := window(meter, now)).limit is not None)
    return TargetStatus(name, reason, until, capabilities, quota)


def window(meter: Meter, now: float) -> QuotaStatus:
    """One window as it stands."""
    used = meter.count(now)
    full = meter.limit is not None and used >= meter.limit
    until = meter.room_at(1, now) if full else meter.whole_at(now)
    return QuotaStatus(
        scope=POOL if meter.scope == POOL_SCOPE else str(meter.scope),
        unit=meter.unit.value,
        window=meter.window.value,
        limit=meter.limit,
        remaining=meter.left(now),
        reset_at=until if until > now and not meter.level else None,
        origin=meter.origin,
        used=used,
        learned_at=meter.learned_at if meter.origin == "learned" else None,
    )


def _word(meter: Meter) -> str:
    if meter.unit is Unit.MICROUSD and meter.origin == "owner":
        return BUDGET
    return "limited_day" if meter.window in LONG_WINDOWS else "limited"


def stance(slot: Slot, now: float) -> tuple[StateName, str | None, float | None]:
    """State, reason and end, without what costs more to tell."""
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
            return "cooling", f"{_word(meter)} ({meter.origin})", meter.room_at(1, now)
    opened = max(slot.provider_breaker.open_until, slot.model_breaker.open_until)
    if opened > now:
        return "open", "broken", opened
    if opened > 0:
        return "open", "broken (half-open)", now
    return "ready", None, None
