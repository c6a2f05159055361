"""Claims of requests under way: what each took of every window, and how it is settled.

Owns the claim from its reservation to its settlement, exactly once. It must never know which number of a window is
believed (`quota.py`), or what an outcome proves.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from hermes_router.routing import mooring
from hermes_router.routing.quota import Meter
from hermes_router.routing.units import BY_SIZE, MONEY, Amounts

if TYPE_CHECKING:
    from hermes_router.routing.health import Breaker
    from hermes_router.routing.slots import Slot

Entry = tuple[Meter, int, int]
"""One claim: the window, the amount, and what had ever been charged to the window with it, which is its mark."""


class Reservation:
    """An in-flight claim on quota, and on a half-open breaker. It settles exactly once.

    `money` is what it may cost the owner, in micro-US-dollars: 0 where it costs nothing. `late` = made after the
    ledger was handed over, so the successor does not know of it. `held` = how much of a claim the provider's own count
    was seen to hold while the request was under way, where it has told that.
    """

    __slots__ = ("entries", "held", "late", "money", "probes", "settled", "slot")

    def __init__(self, slot: "Slot", entries: Sequence[Entry], money: int = 0) -> None:
        self.slot = slot
        self.entries = entries
        self.money = money
        self.probes: tuple[tuple[Breaker, float], ...] = ()  # each with the opening that it belongs to
        self.settled = False
        self.late = False
        self.held: dict[Meter, int] | None = None

    def hold(self, meter: Meter, amount: int) -> None:
        """The provider's count of a window holds so much of its claim."""
        if self.held is None:
            self.held = {}
        self.held[meter] = amount

    def claim(self, meter: Meter) -> tuple[int, int] | None:
        """Amount and mark of its claim on a window, None where it has none."""
        return next(((amount, mark) for one, amount, mark in self.entries if one is meter), None)


def doubt(entries: Sequence[Entry], actual: Amounts, now: float) -> None:
    """Nobody has answered a request: what it is taken to have used of windows by size may never have been counted."""
    for meter, reserved, mark in entries:
        if meter.code in BY_SIZE and meter.code != MONEY and meter.sliding:
            meter.doubt(reserved if actual[meter.code] < 0 else actual[meter.code], mark, now)


def settle(
    entries: Sequence[Entry],
    actual: Amounts | None,
    *,
    admitted: bool = False,
    held: Mapping[Meter, int] | None = None,
) -> list[Meter]:
    """Replace what was reserved by what was used; the windows of which plans have to look again.

    None = nothing was sent, so all of it comes back. An amount below zero in `actual` means "not reported": the
    reservation stands as it is. `admitted` = the provider let the request in. `held` = how much of a claim its own
    count has, by window: of that, what was not used is free again.
    """
    turned: list[Meter] = []
    for meter, reserved, mark in entries:
        known = held.get(meter) if held is not None and mark <= meter.void else None
        if known is not None:
            _free(meter, mark, known, actual)
        else:
            _replace(meter, mark, reserved, actual)
        if admitted and meter.anew_mark > 0 and mooring.let_in(meter, mark):
            turned.append(meter)
        if meter.calm_at >= 0 or meter.total - meter.base >= meter.alarm_at:
            used = meter.total - meter.base
            if admitted and meter.outdone(mark):
                turned.append(meter)
            elif used < meter.calm_at or used >= meter.alarm_at:
                meter.arm()
                turned.append(meter)
    return turned


def _free(meter: Meter, mark: int, held: int, actual: Amounts | None) -> None:
    """Give back what the provider's count holds of a claim and was not used.

    Nothing of one that was refused by the very answer that told the count: it is not in it.
    """
    used = -1 if actual is None else actual[meter.code]
    if 0 <= used < held and mark > meter.gone:
        meter.hand_back(held - used)


def _replace(meter: Meter, mark: int, reserved: int, actual: Amounts | None) -> None:
    """Put what was used in the place of what was claimed."""
    if meter.level or actual is None:
        change = -reserved
    else:
        change = actual[meter.code]
        change = 0 if change < 0 else change - reserved
    if meter.drains and change < 0:
        if mark > meter.gone and (mark > meter.void or meter.reserves):
            meter.hand_back(-change)
    elif change and (mark > meter.void or meter.level):
        meter.base -= change
        if mark <= meter.closed_mark and not meter.level:
            meter.amend(mark, change)
    elif change < 0 and meter.reserves and mark > meter.gone:
        meter.hand_back(-change)
