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
from hermes_router.routing.claims import Reservation
from hermes_router.routing.learned import Learned
from hermes_router.routing.plain import Instants
from hermes_router.routing.quota import Meter
from hermes_router.routing.rows import Row
from hermes_router.routing.slots import Cell
from hermes_router.routing.units import Amounts

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
    cells = [row for cell in book.cells.values() if (row := of_cell(cell, now)) is not None]
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
        "bindings": [rows.of_binding(key, b, places[b.target] if b.target is not None else None) for key, b in latest],
    }


def load(
    book: Book, learned: Learned, bindings: Bindings, dumped: object, instants: Instants, *, beside: bool
) -> tuple[int, dict[Meter, int]]:
    """Put a dump into a ledger whose roster is adopted. Returns the turn, and what of each level is a predecessor's."""
    given = plain.fields(dumped)
    if given.get("version") != VERSION:
        return 0, {}
    targets = [plain.to_target(row) for row in plain.listed(given.get("targets"))[: MOST_ROWS + MOST_BINDINGS]]
    for row in plain.listed(given.get("models"))[:MOST_ROWS]:
        into_model(learned, row, instants)
    levels = _load_meters(book, given, instants, beside=beside)
    for row in plain.listed(given.get("cells"))[:MOST_ROWS]:
        into_cell(book, row, instants)
    turn = _load_turns(book, given, targets)

    def target_at(place: object) -> Target | None:
        index = plain.whole(place, 0, len(targets) - 1)
        return targets[index] if index is not None else None

    for row in plain.listed(given.get("bindings"))[-MOST_BINDINGS:]:
        found = rows.to_binding(row, target_at, instants)
        if found is not None:
            bindings.restore(*found)
    loaded(book, learned, instants.now)
    return turn, levels


def loaded(book: Book, learned: Learned, now: float) -> None:
    """All is in its place: work out what plans read of it."""
    # Sizes follow the factor that they were worked out with, as they did before.
    factors = {memory: memory.factor for memory in learned.models.values()}
    for memory in factors:
        memory.factor = memory.sized
    book.settle_down(now)
    for memory, factor in factors.items():
        memory.factor = factor
    learned.version += 1


def into_model(learned: Learned, row: object, instants: Instants) -> None:
    """Put what was learned of a model into its place."""
    provider, model = plain.text(plain.fields(row).get("provider")), plain.text(plain.fields(row).get("model"))
    if provider and model:
        rows.into_memory(learned.of(provider, model), row, instants)


def into_window(book: Book, row: object, instants: Instants, *, beside: bool) -> Meter | None:
    """Put what was remembered of a window into its place; the window."""
    key = rows.meter_key(row)
    if key is None:
        return None
    meter, new = book.meter(key)
    if rows.into_meter(meter, row, instants, new=new, beside=beside):
        book.claim(meter)
    return meter


def _load_meters(book: Book, given: Mapping[str, Any], instants: Instants, *, beside: bool) -> dict[Meter, int]:
    levels: dict[Meter, int] = {}
    for row in plain.listed(given.get("meters"))[:MOST_ROWS]:
        meter = into_window(book, row, instants, beside=beside)
        if meter is not None and meter.level and meter.used:
            levels[meter] = meter.used
    return levels


def _load_turns(book: Book, given: Mapping[str, Any], targets: Sequence[Target | None]) -> int:
    stamps = [0]
    for row in plain.listed(given.get("turns"))[:MOST_ROWS]:
        match row:
            case [int(place), stamp] if 0 <= place < len(targets):
                stamps.append(into_turn(book, targets[place], stamp))
    for provider, stamp in list(plain.fields(given.get("rotors")).items())[:MOST_ROWS]:
        stamps.append(into_rotor(book, provider, stamp))
    return max(*stamps, plain.whole(given.get("turn")) or 0)


def into_turn(book: Book, target: Target | None, stamp: object) -> int:
    """Put the turn of a target into its place, also where no snapshot has brought it yet; 0 where it is none."""
    count = plain.whole(stamp, 1)
    if target is None or count is None:
        return 0
    slot = book.slots.get(target)
    if slot is not None:
        slot.stamp = count
    else:
        book.turns[target] = count
    return count


def into_rotor(book: Book, provider: object, stamp: object) -> int:
    """The same of a provider."""
    name, count = plain.text(provider), plain.whole(stamp, 1)
    if not name or count is None:
        return 0
    book.rotor(name).stamp = count
    return count


def _order(row: Row) -> tuple[str, ...]:
    return tuple(str(part or "") for part in row["scope"])


def of_cell(cell: Cell, now: float) -> Row | None:
    """A scope against which something stands, or is counted."""
    parts = {
        "cooldown": rows.of_block(cell.cooldown, now),
        "pause": rows.of_block(cell.pause, now),
        "breaker": rows.of_breaker(cell.breaker, now),
    }
    row: Row = {name: part for name, part in parts.items() if part is not None}
    return {"scope": plain.of_scope(cell.scope), **row} if row else None


def into_cell(book: Book, row: object, instants: Instants) -> None:
    """Put what stands against a scope into its place."""
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
    """What a settlement changes in another process that loaded the dump: scope, unit, window, mark and difference.

    `late` = the claim was made after the dump, so the other one has never seen it: its mark is None, and the whole
    of it is the difference.
    """
    found: list[list[Any]] = []
    for meter, reserved, mark in reservation.entries:
        used = 0 if actual is None or meter.level else actual[meter.code]
        if used < 0:
            used = reserved  # not reported: the claim stands
        difference = used if late else used - reserved
        if difference:
            found.append(
                [plain.of_scope(meter.scope), meter.unit.value, meter.window.value, None if late else mark, difference]
            )
    return found


def correct(book: Book, levels: dict[Meter, int], told: object, now: float) -> None:
    """Take over a correction. What belongs to a window that has ended since, or was told anew, changes nothing."""
    for row in plain.listed(told):
        match row:
            case [scope, unit, window, mark, difference]:
                key = rows.meter_key({"scope": scope, "unit": unit, "window": window})
                change = plain.whole(difference, -plain.MOST_NUMBER)
                meter = book.meters.get(key) if key is not None else None
                if meter is not None and change is not None:
                    _correct(meter, levels, mark, change, now)
                    book.changes.metered(meter)
                    book.changes.metered(meter)


def _correct(meter: Meter, levels: dict[Meter, int], mark: object, change: int, now: float) -> None:
    if meter.level:
        freed = min(levels.get(meter, 0), max(0, -change))  # never more than was taken over
        if freed:
            levels[meter] -= freed
            meter.give_back(0, -freed)
        return
    if mark is None:
        meter.charge(max(0, change), now)
    elif type(mark) is int:
        meter.give_back(mark, max(change, -meter.count(now)))
    meter.arm()
    for slot in meter.slots:
        slot.refresh(now)
