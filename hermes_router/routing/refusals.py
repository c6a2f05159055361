"""Which window a refusal speaks of, and what it teaches about its limit (contract.md, What binds).

Owns the reading of a refusal against what the ledger had counted. It must never decide how long anybody rests
(`cooldown.py`), or change a window but by what the refusal proves.
"""

from collections.abc import Iterator

from hermes_router.core.errors import UpstreamError
from hermes_router.core.observations import WINDOW_SECONDS, ScopeKind, Unit, Window
from hermes_router.routing import mooring
from hermes_router.routing.book import Book
from hermes_router.routing.claims import Reservation
from hermes_router.routing.quota import Meter
from hermes_router.routing.slots import Cell, Slot
from hermes_router.routing.units import BY_SIZE, LEVEL, MONEY, REQUESTS

NEAR = 0.1
FEW = 4  # from so many on, one more or less is near, too
MEANS_SOMETHING = 2  # a count below says nothing about a limit
TOGETHER_S = 60.0
SHORT_S = WINDOW_SECONDS[Window.MINUTE]
_OURS: frozenset[ScopeKind] = frozenset({"account", "account_model", "credential", "credential_model"})
_WIDER: dict[ScopeKind, ScopeKind] = {"account_model": "account", "credential_model": "credential"}


def learn(book: Book, slot: Slot, error: UpstreamError, reservation: Reservation | None, now: float) -> bool:
    """Read a refusal at `slot`; whether a window of the ledger is full that says the same.

    `reservation` is the claim of the request that was refused, None where it is not known: then it is taken for the
    last one. A refusal of the model's, the provider's or our address says nothing about an account's windows.
    """
    if error.scope not in _OURS:
        return False
    told = {(one.unit, one.window) for one in error.quotas if one.remaining == 0}
    for meter in tuple(slot.meters):
        if (meter.unit, meter.window) in told and meter.origin != "owner" and _shared(book, meter, now):
            book.turned((meter,), now)
    spoken = list(_spoken(slot, error, now))
    found = _explained(spoken, reservation, now)
    if found is None and not told and _unmoored(spoken, error, reservation, now):
        found = _explained(spoken, reservation, now)
    if found is not None:
        meter, limit = found
        if meter.published is not None and mooring.still_refuses(meter):
            limit = min(limit, meter.published)  # our count holds what the provider's does not
        if not (meter.origin == "told" and meter.limit is not None and limit >= meter.limit * (1.0 - NEAR)):
            meter.learn(limit, now)
            meter.kept = True
            book.claim(meter)
            book.turned((meter,), now)
    elif not told:
        if error.window is not None or error.retry_at is None:
            for meter in spoken:
                _suspect(meter, _counts(meter, reservation, now)[0], now, named=error.window is not None)
        _count_from_now(book, slot, error, spoken, now)
    return any(m.binds and m.limit is not None and not m.level and m.count(now) >= m.limit for m in spoken)


def by_size(slot: Slot, error: UpstreamError, reservation: Reservation | None, now: float) -> bool:
    """Whether only this request was too large for what is left, as the provider has told.

    Then the window holds back what does not fit into it, and nobody else has to rest. Where we had taken it for
    somewhat less than what is left, the window holds back the like of it, too, until the instant that was told.
    """
    if reservation is None:
        return False
    left = {(one.unit, one.window): one.remaining for one in error.quotas if one.remaining}
    for meter in slot.meters:
        claim = reservation.claim(meter)
        remaining = left.get((meter.unit, meter.window), 0) if meter.window is error.window else 0
        if claim is None or meter.code not in BY_SIZE or not meter.binds or remaining <= 0:
            continue
        if remaining < claim[0]:
            return True
        if remaining <= claim[0] * (1.0 + NEAR) and error.retry_at is not None and meter.sliding:
            meter.withhold(remaining - claim[0] + 1, error.retry_at, now)
            return True
    return False


def whose(slot: Slot, error: UpstreamError, now: float) -> Cell:
    """The scope that rests: the one that the evidence names.

    Two models of an account that refuse within a minute, neither saying why, are one limit of the account's.
    """
    cell = slot.cells[error.scope]
    if error.scope != "account_model" or error.window is not None or error.retry_at is not None:
        return cell
    account = slot.cells["account"]
    for sibling in account.slots:
        block = sibling.cells["account_model"].cooldown
        if sibling.group is slot.group or block is None or block.source != "inferred":
            continue
        if block.cause == error.wire_class and now - block.started_at <= TOGETHER_S:
            return account
    return cell


def _spoken(slot: Slot, error: UpstreamError, now: float) -> Iterator[Meter]:
    """The windows that it may speak of: those that it names; without a name those as long as the wait.

    Not one of which it says itself that there is some left.
    """
    wait_s = error.retry_at - now if error.retry_at is not None else 0.0
    open_ = {(one.unit, one.window) for one in error.quotas if one.remaining and one.unit is Unit.REQUESTS}
    named = _named(error)
    for meter in slot.meters:
        if meter.code == MONEY or meter.origin == "owner" or (meter.unit, meter.window) in open_:
            continue
        if named and meter.unit not in named:
            continue
        if error.window is not None:
            if meter.window is error.window:
                yield meter
        elif not meter.level and (meter.span_s >= wait_s - 1.0 or not wait_s):
            yield meter


def _named(error: UpstreamError) -> frozenset[Unit]:
    """The units of the windows that it names; none where it says no more than their length."""
    return frozenset(one.unit for one in error.quotas if one.window is error.window)


def _explained(spoken: list[Meter], reservation: Reservation | None, now: float) -> tuple[Meter, int] | None:
    """The window whose count comes nearest to a number that would explain the refusal, and that number."""
    best: tuple[float, float, Meter, int] | None = None
    for meter in spoken:
        low, high = _counts(meter, reservation, now)
        for number in _numbers(meter, now):
            off = _off(low, high, number)
            if off is not None and (best is None or (off, meter.span_s) < best[:2]):
                best = (off, meter.span_s, meter, max(low, min(number, high)))
    return None if best is None else best[2:]


def _counts(meter: Meter, reservation: Reservation | None, now: float) -> tuple[int, int]:
    """What had succeeded in the window when the request came, and the largest count that its refusal leaves open."""
    used = meter.count(now)
    claim = reservation.claim(meter) if reservation is not None else None
    if claim is None:
        amount = 1 if meter.code in (REQUESTS, LEVEL) else 0
        return max(0, used - amount), max(0, used - 1)
    amount, mark = claim
    if meter.level:
        return max(0, used - amount), max(0, used - 1)
    before = max(0, mark - amount - meter.base) if mark > meter.void else used
    return before, max(before, before + amount - 1)


def _numbers(meter: Meter, now: float) -> Iterator[int]:
    """Numbers that would explain a refusal: what is believed, published, was seen to succeed, or was refused before."""
    for number in (meter.limit, meter.published, meter.guess, meter.proved):
        if number:
            yield number
    if meter.suspect and now - meter.suspect_at >= meter.span_s:
        yield meter.suspect


def _off(low: int, high: int, number: int) -> float | None:
    """How far the counts are from a number, as a share of it; None where that is not near."""
    if high < 1:
        return None
    apart = max(0, low - number, number - high)
    near = apart <= number * NEAR or (number >= FEW and apart <= 1)
    return apart / number if near else None


def _suspect(meter: Meter, count: int, now: float, *, named: bool) -> None:
    """Remember at which count it was refused: a second time, in another window, makes that the limit.

    Of a long window that the refusal does not name, a count proves nothing.
    """
    if meter.level or count < MEANS_SOMETHING or meter.code != REQUESTS or (meter.span_s > SHORT_S and not named):
        return
    if now - meter.suspect_at < meter.span_s:
        meter.suspect = min(meter.suspect or count, count)
    else:
        meter.suspect, meter.suspect_at = count, now


def _shared(book: Book, meter: Meter, now: float) -> bool:
    """It is spent, as was told, but not by us alone: whether another key's window is the same one.

    Two keys of one account that nobody labelled spend one window (contract.md, Keys without an account label): each
    was told that it is spent, and what both have used makes the limit. From then on each counts for both.
    """
    limit = meter.limit
    if meter.code != REQUESTS or limit is None or not meter.scope.account:
        return False
    ours = meter.own(now)
    if not MEANS_SOMETHING <= ours <= limit * (1.0 - NEAR):
        return False
    for other in book.meters.values():
        same = (other.unit, other.window, other.limit, other.scope.provider, other.scope.model) == (
            meter.unit, meter.window, limit, meter.scope.provider, meter.scope.model,
        )  # fmt: skip
        if not same or other is meter or other.origin != "told" or other.count(now) < limit:
            continue
        theirs = other.own(now)
        if theirs >= MEANS_SOMETHING and abs(ours + theirs - limit) <= max(1.0, limit * NEAR):
            book.unite(meter, other)
            return True
    return False


def _unmoored(spoken: list[Meter], error: UpstreamError, reservation: Reservation | None, now: float) -> bool:
    """Windows that had been spent, have just begun anew by the row's clock, and refuse: that clock is not theirs."""
    if error.told and error.retry_at is not None:
        return False
    found = False
    for meter in spoken:
        number = meter.limit or meter.published
        if meter.window not in mooring.LONG or meter.sliding or not number or now - meter.rolled_at > meter.span_s:
            continue
        spent = sum(entry[1] for entry in meter.former if entry[0] > now)
        low, high = _counts(meter, reservation, now)
        doubtful = low <= number / 2 or meter.resets == mooring.FIRST_USE  # which was found out by one success
        if spent + high >= number * (1.0 - NEAR) and doubtful:
            found = mooring.unmoor(meter, now) or found
    return found


def _count_from_now(book: Book, slot: Slot, error: UpstreamError, spoken: list[Meter], now: float) -> None:
    """Nothing explains it: count what might, so that the next refusal finds a number to hold against it.

    A limit belongs to an account more often than to a model of it (facts/providers.md 1.2), so what is published for
    each model is counted for the account, too. What has no number at all is counted by the minute, or as it is named.
    """
    window, unit = error.window, _named(error)
    for rule in slot.facts.quotas:
        wider = _WIDER.get(rule.scope)
        short = WINDOW_SECONDS[rule.window] <= SHORT_S
        if wider is None or rule.origin == "owner" or rule.unit is Unit.MICROUSD:
            continue
        if unit and rule.unit not in unit:
            continue
        if rule.window is window or (window is None and short and rule.unit is not Unit.CONCURRENCY):
            book.count(slot, wider, rule.unit, rule.window, rule.amount, now, resets=rule.resets)
    named = window or (Window.MINUTE if error.retry_at is None else None)
    counted = any(m.code == REQUESTS and m.window is named for m in spoken)
    if named is not None and named is not Window.NONE and not counted and (not unit or Unit.REQUESTS in unit):
        clock = next((rule.resets for rule in slot.facts.quotas if rule.window is named), "rolling")
        book.count(slot, error.scope, Unit.REQUESTS, named, None, now, resets=clock)
