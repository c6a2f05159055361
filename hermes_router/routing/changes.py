"""What of the ledger has changed since it was last written down.

Owns the marks that requests leave, a set entry each, and in which order they are worked off. It must never know what a
record looks like on a disk (`persist.py` makes the rows), or where they go.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from hermes_router.core.ids import Target
    from hermes_router.routing.quota import Meter
    from hermes_router.routing.slots import Cell, Slot

T = TypeVar("T")
Model = tuple[str, str]
"""Provider and model."""


def _nobody() -> None:
    pass


class Changes:
    """Marks, all on the loop. `on_first` is called with the first one since all was worked off."""

    __slots__ = (
        "_judged", "_quiet", "_used", "cells", "meters", "models", "on_first", "rotors", "talks", "targets",
    )  # fmt: skip

    def __init__(self) -> None:
        self.on_first: Callable[[], None] = _nobody
        self._quiet = True
        self._used: set[Slot] = set()
        self._judged: set[Slot] = set()
        self.meters: set[Meter] = set()
        self.cells: set[Cell] = set()
        self.models: set[Model] = set()
        self.targets: set[Target] = set()
        self.rotors: set[str] = set()
        self.talks: set[str] = set()

    def __bool__(self) -> bool:
        return not self._quiet

    def used(self, slot: "Slot") -> None:
        """A request took its turn there, or settled: its windows, and whose turn it is, are others now."""
        self._used.add(slot)
        if self._quiet:
            self.stir()

    def judged(self, slot: "Slot") -> None:
        """Something was proved of it: blocks and breakers of all its scopes may be others now."""
        self._used.add(slot)
        self._judged.add(slot)
        if self._quiet:
            self.stir()

    def metered(self, meter: "Meter") -> None:
        """One window is another now, whoever used it."""
        self.meters.add(meter)
        if self._quiet:
            self.stir()

    def learned(self, provider: str, model: str) -> None:
        """A fact about a model is known, or is not any more."""
        self.models.add((provider, model))
        if self._quiet:
            self.stir()

    def talked(self, key: str) -> None:
        """A conversation was bound, or forgotten."""
        self.talks.add(key)
        if self._quiet:
            self.stir()

    def stir(self) -> None:
        """There is something to write down."""
        self._quiet = False
        self.on_first()

    def spread(self) -> set["Slot"]:
        """From slots to their records; the slots."""
        used, self._used = self._used, set()
        judged, self._judged = self._judged, set()
        for slot in used:
            self.meters.update(slot.meters)
            self.targets.add(slot.target)
            self.rotors.add(slot.target.provider)
            self.models.add((slot.target.provider, slot.target.model))
            if slot in judged:
                self.cells.update(slot.cells.values())
        return used

    def settle(self) -> None:
        """All that was marked may have been worked off: if so, the next mark is a first one again."""
        left = (
            self._used, self._judged, self.meters, self.cells, self.models, self.targets, self.rotors, self.talks
        )  # fmt: skip
        self._quiet = not any(left)


def taken(marks: set[T], most: int) -> list[T]:
    """Up to `most` of them, which are then marked no more."""
    return [marks.pop() for _ in range(min(most, len(marks)))]
