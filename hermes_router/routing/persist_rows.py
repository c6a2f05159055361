"""The ledger as single rows for the disk: those that have changed, and back.

Owns which records have a row, under which key, and how long a row means anything. It must never know where rows go.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Final

from hermes_router.core.ids import Target
from hermes_router.core.observations import Scope
from hermes_router.core.records import LedgerRow
from hermes_router.routing import persist, plain, rows
from hermes_router.routing.bindings import Bindings
from hermes_router.routing.book import Book
from hermes_router.routing.changes import Model, taken
from hermes_router.routing.cooldown import DAY_S, FORGET_S
from hermes_router.routing.health import WINDOW_S
from hermes_router.routing.learned import Learned
from hermes_router.routing.plain import Instants
from hermes_router.routing.quota import Meter
from hermes_router.routing.slots import Cell

__all__ = ["changed", "mark_all", "restore"]

KEPT_S: Final = 90 * DAY_S  # what has no end of its own, and nobody asked for in all that time
TALK_KEPT_S: Final = 7 * DAY_S

METER, CELL, MODEL, TURN, ROTOR, TALK = "meter", "cell", "model", "turn", "rotor", "talk"
_ORDER: Final = {MODEL: 0, METER: 1, CELL: 2, TURN: 3, ROTOR: 4, TALK: 5}
_TOLD: Final = frozenset({"told", "learned"})


def changed(book: Book, learned: Learned, bindings: Bindings, now: float, most: int) -> list[LedgerRow]:
    """Up to `most` rows that are others than when they were last told, or of which nothing is left."""
    changes = book.changes
    while book.let_go(changes.spread()):
        pass  # what was let go of has changed, too
    meters = taken(changes.meters, most)
    # A level is that of requests which end with this process: only what a provider told of it is worth a row.
    found = [_meter(book, meter, now) for meter in meters if not meter.level or meter.origin in _TOLD]
    found += [_cell(book, cell, now) for cell in taken(changes.cells, most - len(found))]
    found += [_model(learned, key, now) for key in taken(changes.models, most - len(found))]
    found += [_turn(book, target, now) for target in taken(changes.targets, most - len(found))]
    found += [_rotor(book, provider, now) for provider in taken(changes.rotors, most - len(found))]
    found += [_talk(bindings, key, now) for key in taken(changes.talks, most - len(found))]
    changes.settle()
    return found


def mark_all(book: Book, learned: Learned, bindings: Bindings) -> None:
    """All that there is has changed."""
    changes = book.changes
    changes.meters.update(book.meters.values())
    changes.cells.update(book.cells.values())
    changes.models.update(learned.models)
    changes.targets.update(book.slots)
    changes.targets.update(book.turns)
    changes.rotors.update(book.rotors)
    changes.talks.update(bindings.all())
    changes.stir()


def _meter(book: Book, meter: Meter, now: float) -> LedgerRow:
    key = (meter.scope, meter.unit, meter.window)
    row = rows.of_meter(meter, now) if book.meters.get(key) is meter else None
    until = now + KEPT_S
    if row is not None and row["reset_at"]:
        until = row["reset_at"] + (rows.TOLD_KEPT_S if meter.origin in _TOLD or rows.lasts(meter) else 0.0)
    return LedgerRow(METER, f"{_scope(meter.scope)}\t{meter.unit.value}\t{meter.window.value}", row, now, until)


def _cell(book: Book, cell: Cell, now: float) -> LedgerRow:
    row = persist.of_cell(cell, now) if book.cells.get(cell.scope) is cell else None
    return LedgerRow(CELL, _scope(cell.scope), row, now, _end_of(row, now))


def _model(learned: Learned, key: Model, now: float) -> LedgerRow:
    memory = learned.models.get(key)
    row = rows.of_memory(*key, memory, now) if memory is not None else None
    return LedgerRow(MODEL, "\t".join(key), row, now, now + KEPT_S)


def _rotor(book: Book, provider: str, now: float) -> LedgerRow:
    stamp = book.rotors[provider].stamp if provider in book.rotors else 0
    return LedgerRow(ROTOR, provider, [provider, stamp] if stamp else None, now, now + KEPT_S)


def _turn(book: Book, target: Target, now: float) -> LedgerRow:
    slot = book.slots.get(target)
    stamp = slot.stamp if slot is not None else book.turns.get(target, 0)
    named = plain.of_target(target)
    return LedgerRow(TURN, "\t".join(named), [named, stamp] if stamp else None, now, now + KEPT_S)


def _talk(bindings: Bindings, key: str, now: float) -> LedgerRow:
    binding = bindings.get(key)
    if binding is None:
        return LedgerRow(TALK, key, None, now, now)
    named = plain.of_target(binding.target) if binding.target is not None else None
    return LedgerRow(TALK, key, rows.of_binding(key, binding, named), now, (binding.used_at or now) + TALK_KEPT_S)


def _scope(scope: Scope) -> str:
    return "\t".join(str(part or "") for part in plain.of_scope(scope))


def _end_of(row: rows.Row | None, now: float) -> float:
    """When nothing that a cell remembers is of any use."""
    if row is None:
        return now
    if "pause" in row or row.get("breaker", {}).get("open_until"):
        return now + KEPT_S
    until = row["cooldown"]["until"] if "cooldown" in row else now
    return now + KEPT_S if until is None else max(now + WINDOW_S, until + FORGET_S)


def restore(book: Book, learned: Learned, bindings: Bindings, stored: Sequence[LedgerRow], now: float) -> int:
    """Put rows into a ledger whose roster is adopted; the turn. Each is read on the clock that it was written by."""
    clocks: dict[float, Instants] = {}
    turn = 0
    for kind, key, value, at, until in _in_order(stored):
        if until <= now:
            continue
        instants = clocks.setdefault(at, Instants(at, now))
        match kind, value:
            case "model", _:
                persist.into_model(learned, value, instants)
            case "meter", _:
                persist.into_window(book, value, instants, beside=False)
            case "cell", _:
                persist.into_cell(book, value, instants)
            case "turn", [named, stamp]:
                turn = max(turn, persist.into_turn(book, plain.to_target(named), stamp))
            case "rotor", [provider, stamp]:
                turn = max(turn, persist.into_rotor(book, provider, stamp))
            case "talk", [name, *_] if name == key:
                found = rows.to_binding(value, plain.to_target, instants)
                if found is not None:
                    bindings.restore(*found)
    persist.loaded(book, learned, now)
    return turn


def _in_order(stored: Iterable[LedgerRow]) -> list[LedgerRow]:
    """What others are worked out from comes first; of conversations, the one used last comes last."""

    def place(row: LedgerRow) -> tuple[int, float]:
        return _ORDER.get(row.kind, 9), _used_at(row.value) if row.kind == TALK else 0.0

    return sorted(stored, key=place)


def _used_at(value: Any) -> float:
    match value:
        case [_, _, _, used_at, *_]:
            return plain.number(used_at) or 0.0
    return 0.0
