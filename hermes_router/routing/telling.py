"""What a provider's word about a window does to our count of it.

Owns the reading of a telling against what was charged, sent and is under way. It must never decide which number is
believed beyond that (`quota.py`), or who rests (`cooldown.py`).
"""

from typing import TYPE_CHECKING

from hermes_router.core.observations import QuotaSeen
from hermes_router.routing.units import INPUT, TAUGHT, TOKENS

if TYPE_CHECKING:
    from hermes_router.routing.quota import Meter

RESERVED = 0.8  # of what we expect of a request: a provider that charges as much at once takes it as a claim, as we do
MISJUDGED = 0.02  # by so much of its size a request is taken for less than it is, now and then
BLIND_RESET_S = 60.0  # nothing left and no reset told: look again after this, or after the window if that is less


def take(meter: "Meter", seen: QuotaSeen, now: float, claim: tuple[int, int] | None, *, refused: bool) -> int | None:
    """Take over what was said (see `Meter.told`); how much of the claim that count holds, None where unknown."""
    if now >= meter.due_at:
        meter.advance(now)
    if meter.origin == "owner":
        _tightened(meter, seen, now)
        return None
    limit = seen.limit if seen.limit is not None else meter.limit if meter.origin in TAUGHT else None
    if refused:
        meter.denied_at, meter.denied = now, claim[0] if claim is not None else 0
    if seen.remaining is None:
        if seen.limit is not None:
            _believe(meter, seen.limit, now)
        return None
    meter.once = seen.limit is None and (meter.once or (limit is None and meter.published is None))
    if limit is None:
        limit = max(meter.published or 0, seen.remaining)
    _believe(meter, max(limit, seen.remaining), now)
    if meter.level:
        return None
    mark = claim[1] if claim is not None else meter.total
    if claim is not None and refused:
        mark -= claim[0]  # it was not let in, so it is not in that count
    if mark < meter.told_mark:
        return None  # the answers overtook each other: what came before says more
    meter.told_mark = mark
    used = max(limit, seen.remaining) - seen.remaining
    held = None
    if claim is not None and not refused and meter.code in (TOKENS, INPUT):
        held = _held(meter, used, claim)
        _surcharged(meter, used, claim)
    if not refused:
        _refills(meter, used, seen.reset_at, now)
    own = claim[0] if claim is not None and not refused else 0
    room = refused and meter.sliding and claim is not None
    _recount(meter, used, seen.reset_at, now, mark, room=room, own=own)
    return held


def _held(meter: "Meter", used: int, claim: tuple[int, int]) -> int:
    """How much of a claim is in the provider's count of `used`: what that has more than ours had without it."""
    amount, mark = claim
    before = mark - amount - meter.base
    return max(0, min(amount, used - max(0, before)))


def _refills(meter: "Meter", used: int, reset_at: float | None, now: float) -> None:
    """Whether the reset that was told is when a bucket would be full again; a spent one can only deny it."""
    limit = meter.limit or 0
    if reset_at is None or not meter.sliding or used < limit * 0.1:
        return
    even_s = used * meter.span_s / limit
    even = abs(reset_at - now - even_s) <= max(1.0, 0.03 * even_s)
    meter.drains = even and (meter.drains or used <= limit * 0.9)
    meter.drained_at = now


def _surcharged(meter: "Meter", used: int, claim: tuple[int, int]) -> None:
    """A request that came alone shows what is charged for one under way."""
    amount, mark = claim
    limit = meter.limit or 0
    if mark <= meter.void or mark - amount > meter.base or meter.total > mark:
        return
    expected = amount - meter.extra
    meter.reserves = used >= expected * RESERVED
    extra = min(max(0, used - expected), max(0, limit - expected))
    # Much more, said but once, may be a rest of what came before, which our count had let go a moment too early.
    sure = min(extra, max(meter.extra_seen, int(expected * MISJUDGED)))
    meter.extra = sure if sure > meter.extra else (meter.extra + sure) // 2
    meter.extra_seen = extra


def _believe(meter: "Meter", limit: int, now: float) -> None:
    meter.learned_at = now
    meter.suspect = 0 if limit != meter.limit else meter.suspect
    meter.rule(limit, "told")


def _recount(
    meter: "Meter", used: int, reset_at: float | None, now: float, mark: int, *, room: bool = False, own: int = 0
) -> None:
    # What was sent at about the same time may have changed places on its way: it is not taken as counted yet. The
    # request that was answered (`own`) is. `room` = the reset is when there is room for the claim, no more.
    loose = meter.total - meter.base - meter.closed - own
    # Of tokens there are seldom two on their way at once, so that a slice which had ended before counts as told.
    edge = mark + 1 if meter.code in (TOKENS, INPUT) else mark
    for entry in reversed(meter.log):
        if 0 < entry[2] < edge:
            break
        loose += entry[1] if entry[2] else 0
    meter.close()
    after = min(meter.total - mark, meter.total - meter.base)
    if reset_at is not None:
        if meter.once or not meter.sliding:
            meter.reset_at = reset_at
        for entry in reversed(meter.log) if not room else ():
            if entry[0] <= reset_at:
                break
            entry[0] = reset_at
    else:
        reset_at = now + min(meter.span_s, BLIND_RESET_S)
        if meter.once or (not meter.sliding and now >= meter.reset_at):
            meter.reset_at = reset_at
    loose = max(0, loose)
    more = max(used + after, min(used + loose, meter.total - meter.base)) - (meter.total - meter.base)
    if room:
        more += meter.take_doubted(max(0, -more))  # what was never heard of is the first that was never counted
    if more > 0:
        meter.enter(reset_at, more, 0)
    else:
        meter.take_oldest(-more)
    meter.closed += more
    meter.base -= more
    if room and meter.limit is not None:
        _make_room(meter, meter.total - meter.base - meter.limit, reset_at)  # the claim stands in it
    meter.void = max(meter.void, mark)
    meter.set_due()
    meter.arm()


def _make_room(meter: "Meter", amount: int, at: float) -> None:
    """The provider has said when so much will have left: our slices are too coarse to contradict it."""
    for entry in meter.log:
        if amount <= 0:
            break
        entry[0] = min(entry[0], at)
        amount -= entry[1]


def _tightened(meter: "Meter", seen: QuotaSeen, now: float) -> None:
    """The owner's limit stands; what the provider has left can only make it less."""
    if seen.remaining is None or meter.limit is None or meter.level:
        return
    if seen.remaining < meter.limit - meter.count(now):
        _recount(meter, meter.limit - seen.remaining, seen.reset_at, now, meter.total)
