"""The whole ledger as plain values, and back: for a successor process, and for the disk.

Owns what of the ledger outlives a process and in which order it is put back. A dump is JSON-able and bounded; loading
takes what is sound, drops what has expired, and never raises. It must never know where a dump goes.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from hermes_router.core.ids import Target
from hermes_router.core.observations import Scope
from hermes_router.routing import plain, rows
from hermes_router.routing.bindings import Bindings
from hermes_router.routing.book import Book
from hermes_router.routing.learned import Learned
from hermes_router.routing.plain import Instants
from hermes_router.routing.quota import Amounts, Meter, Reservation
from hermes_router.routing.rows import Row
from hermes_router.routing.slots import Cell

VERSION: Final = 1
MOST_ROWS: Final = 20_000  # of any kind; far above what a pool of hundreds of targets has
MOST_BINDINGS: Final = 10_000  # the conversations used last


def dump(book: Book, learned: Learned, bindings: Bindings, turn: int, now: float) -> dict[str, Any]:
    """The ledger at `now`, as values that JSON carries. Equal ledgers give equal dumps."""
    stamps = {target: slot.stamp for target, slot in book.slots.items() if slot.stamp} | book.turns
    latest = bindings.latest(MOST_BINDINGS)
    named = {*stamps, *(binding.target for _, binding in latest if binding.target is not None)}
    targets = sorted(named, key=plain.of_target)
    places = {target: place for place, target in enumerate(targets)}
    meters = [row for meter in book.meters.values() if (row := rows.of_meter(meter, now)) is not None]
    cells = [row for cell in book.cells.values() if (row := _of_cell(cell, now)) is not None]
    models = [row for key, memory in learned.models.items() if (row := rows.of_memory(*key, memory, now)) is not None]
    return {
        "version": VERSION,
        "at": now,
        "turn": turn,
        "targets": [plain.of_target(target) for target in targets],
        "turns": [[places[target], stamps[target]] for target in targets if target in stamps][:MOST_ROWS],
        "rotors": {name: rotor.stamp for name, rotor in sorted(book.rotors.items()) if rotor.stamp},
        "meters": sorted(meters, key=lambda row: (*_order(row), row["unit"], row["window"]))[:MOST_ROWS],
        "cells": sorted(cells, key=_order)[:MOST_ROWS],
        "models": sorted(models, key=lambda row: (row["provider"], row["model"]))[:MOST_ROWS],
        "bindings": [rows.of_binding(key, binding, places) for key, binding in latest],
    }


def load(
    book: Book, learned: Learned, bindings: Bindings, dumped: object, instants: Instants, *, beside: bool
) -> tuple[int, dict[Meter, int]]:
    """Put a dump into a ledger whose roster is adopted. Returns the turn, and what of each level is a predecessor's."""
    given = plain.fields(dumped)
    if given.get("version") != VERSION:
        return 0, {}
    targets = [plain.to_target(row) for row in plain.listed(given.get("targets"))[: MOST_ROWS + MOST_BINDINGS]]
    _load_models(learned, given, instants)
    levels = _load_meters(book, given, instants, beside=beside)
    for row in plain.listed(given.get("cells"))[:MOST_ROWS]:
        _into_cell(book, row, instants)
    turn = _load_turns(book, given, targets)
    for row in plain.listed(given.get("bindings"))[-MOST_BINDINGS:]:
        found = rows.to_binding(row, targets, instants)
        if found is not None:
            bindings.restore(*found)
    # Sizes follow the factor that they were worked out with, as they did before.
    factors = {memory: memory.factor for memory in learned.models.values()}
    for memory in factors:
        memory.factor = memory.sized
    book.settle_down(instants.now)
    for memory, factor in factors.items():
        memory.factor = factor
    learned.version += 1
    return turn, levels


def _load_models(learned: Learned, given: Mapping[str, Any], instants: Instants) -> None:
    for row in plain.listed(given.get("models"))[:MOST_ROWS]:
        provider, model = plain.text(plain.fields(row).get("provider")), plain.text(plain.fields(row).get("model"))
        if provider and model:
            rows.into_memory(learned.of(provider, model), row, instants)


def _load_meters(book: Book, given: Mapping[str, Any], instants: Instants, *, beside: bool) -> dict[Meter, int]:
    levels: dict[Meter, int] = {}
    for row in plain.listed(given.get("meters"))[:MOST_ROWS]:
        key = rows.meter_key(row)
        if key is None:
            continue
        meter, new = book.meter(key)
        if rows.into_meter(meter, row, instants, new=new, beside=beside):
            book.claim(meter)
        if meter.level and meter.used:
            levels[meter] = meter.used
    return levels


def _load_turns(book: Book, given: Mapping[str, Any], targets: Sequence[Target | None]) -> int:
    stamps = [0]
    for row in plain.listed(given.get("turns"))[:MOST_ROWS]:
        match row:
            case [int(place), stamp] if 0 <= place < len(targets):
                target, count = targets[place], plain.whole(stamp, 1)
                if target is not None and count is not None:
                    stamps.append(count)
                    slot = book.slots.get(target)
                    if slot is not None:
                        slot.stamp = count
                    else:
                        book.turns[target] = count
    for provider, stamp in list(plain.fields(given.get("rotors")).items())[:MOST_ROWS]:
        count = plain.whole(stamp, 1)
        if plain.text(provider) and count is not None:
            stamps.append(count)
            book.rotor(provider).stamp = count
    return max(*stamps, plain.whole(given.get("turn")) or 0)


def _order(row: Row) -> tuple[str, ...]:
    return tuple(str(part or "") for part in row["scope"])


def _of_cell(cell: Cell, now: float) -> Row | None:
    parts = {
        "cooldown": rows.of_block(cell.cooldown, now),
        "pause": rows.of_block(cell.pause, now),
        "breaker": rows.of_breaker(cell.breaker, now),
    }
    row: Row = {name: part for name, part in parts.items() if part is not None}
    return {"scope": plain.of_scope(cell.scope), **row} if row else None


def _into_cell(book: Book, row: object, instants: Instants) -> None:
    given = plain.fields(row)
    scope: Scope | None = plain.to_scope(given.get("scope"))
    if scope is None:
        return
    cell = book.cell(scope)
    cell.cooldown = rows.to_block(given.get("cooldown"), instants, pause=False)
    cell.pause = rows.to_block(given.get("pause"), instants, pause=True)
    rows.into_breaker(cell.breaker, given.get("breaker"), instants)


# --- two processes ---------------------------------------------------------------------------------


def correction(reservation: Reservation, actual: Amounts | None, *, late: bool) -> list[list[Any]]:
    """What a settlement changes in another process that loaded the dump: scope, unit, window, epoch and difference.

    `late` = the claim was made after the dump, so the other one has never seen it: its epoch is None, and the whole
    of it is the difference.
    """
    found: list[list[Any]] = []
    for meter, reserved, epoch in reservation.entries:
        used = 0 if actual is None or meter.level else actual[meter.code]
        if used < 0:
            used = reserved  # not reported: the claim stands
        difference = used if late else used - reserved
        if difference:
            found.append(
                [plain.of_scope(meter.scope), meter.unit.value, meter.window.value, None if late else epoch, difference]
            )
    return found


def correct(book: Book, levels: dict[Meter, int], told: object, now: float) -> None:
    """Take over a correction. What belongs to a window that has ended since, or was told anew, changes nothing."""
    for row in plain.listed(told):
        match row:
            case [scope, unit, window, epoch, difference]:
                key = rows.meter_key({"scope": scope, "unit": unit, "window": window})
                change = plain.whole(difference, -plain.MOST_NUMBER)
                meter = book.meters.get(key) if key is not None else None
                if meter is not None and change is not None:
                    _correct(meter, levels, epoch, change, now)


def _correct(meter: Meter, levels: dict[Meter, int], epoch: object, change: int, now: float) -> None:
    if meter.level:
        freed = min(levels.get(meter, 0), max(0, -change))  # never more than was taken over
        if freed:
            levels[meter] -= freed
            meter.used = max(0, meter.used - freed)
        return
    if epoch is None:
        if now >= meter.reset_at:
            meter.roll(now)
    elif meter.epoch != epoch or now >= meter.reset_at:
        return
    meter.used = max(0, meter.used + change)
    for slot in meter.slots:
        slot.refresh(now)
