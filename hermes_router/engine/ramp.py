"""Who goes first to a target that is coming back: one request, then twice as many with each that is let in.

Owns the ramps, by scope, of ended cooldowns and of breakers, while anybody waits. Windows of the ledger release exactly
what fits in them; a cooldown that is over says nothing of how much fits, and fifty who waited for it must not find out
together. It must never wait.
"""

from hermes_router.core.ids import Target
from hermes_router.core.observations import Scope
from hermes_router.routing.slots import Cell, Slot

_LIMITS = frozenset({"limited", "limited_day", "overloaded"})
_FULL = 8  # so many at once: it has come back


class _Ramp:
    __slots__ = ("allow", "out")

    def __init__(self) -> None:
        self.allow = 1
        self.out = 0


class Passage:
    """One request that went ahead: `proved` where a good head came, and `over` in any case."""

    __slots__ = ("_ramps",)

    def __init__(self, ramps: list[_Ramp]) -> None:
        self._ramps = ramps

    def proved(self) -> None:
        """It was let in: twice as many may follow."""
        for ramp in self._end():
            ramp.allow = min(_FULL, ramp.allow * 2)

    def over(self, *, refused: bool = False) -> None:
        """It has ended; after one that was refused the next is the first again."""
        for ramp in self._end():
            if refused:
                ramp.allow = 1

    def _end(self) -> list[_Ramp]:
        ramps, self._ramps = self._ramps, []
        for ramp in ramps:
            ramp.out -= 1
        return ramps


class Ramps:
    """The scopes that are coming back. Every method is one synchronous step; `now` is epoch seconds."""

    def __init__(self) -> None:
        self._ramps: dict[Scope, _Ramp] = {}

    def behind(self, slot: Slot) -> frozenset[Target]:
        """The targets, `slot`'s among them, that must not be asked before those who went ahead have heard."""
        full = [cell for cell in slot.cells.values() if self._is_full(cell)] if self._ramps else ()
        return frozenset(one.target for cell in full for one in cell.slots)

    def _is_full(self, cell: Cell) -> bool:
        ramp = self._ramps.get(cell.scope)
        return ramp is not None and ramp.out >= ramp.allow < _FULL

    def go(self, slot: Slot, now: float) -> Passage | None:
        """A request goes to this target; None where nothing is to be found out there."""
        ramps = []
        for cell in slot.cells.values():
            ramp = self._ramps.get(cell.scope)
            if ramp is None and _unproved(cell, now):
                ramp = self._ramps[cell.scope] = _Ramp()
            if ramp is not None:
                ramp.out += 1
                ramps.append(ramp)
        return Passage(ramps) if ramps else None

    def clear(self) -> None:
        """Nobody waits any more."""
        self._ramps.clear()


def _unproved(cell: Cell, now: float) -> bool:
    """Whether a cooldown has ended here or a breaker has opened, and no success has said that it is over."""
    block = cell.cooldown
    if cell.breaker.open_until > 0.0:
        return True
    return block is not None and block.cause in _LIMITS and block.free_at <= now
