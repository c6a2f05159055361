"""`hr status --targets`: every target on a line, with what is left of its scarcest limit and when that returns.

Owns the table. Limits that only pace are marked as guesses; `hr quota` shows all windows with who says so.
"""

from collections.abc import Mapping
from typing import Any, Final

from hermes_router.cli import render, words
from hermes_router.cli.render import Cell, Column
from hermes_router.cli.screen import state_cell
from hermes_router.control import types as t

__all__ = ["targets"]

_BAR: Final = 8


def targets(status: t.Status, now: float, width: int | None) -> list[str]:
    """The lines; targets in the order of the pool."""
    columns = (
        Column("TARGET", least=16),
        Column("STATE", least=12, wrap=True),
        Column("LEFT", right=True),
        Column("", drop=2),
        Column("BACK", drop=1),
    )
    return render.table(columns, [_row(one, now) for one in status.targets], width)


def _row(target: t.TargetRow, now: float) -> tuple[Cell | str, ...]:
    state = state_cell(target.state, target.reason, target.until, now)
    window = _scarcest(target)
    if window is None:
        return target.target, state, "", "", ""
    limit, left, unit = int(window["limit"]), int(window["remaining"]), str(window.get("unit"))
    amount = words.money if unit == "microusd" else words.count
    span = "" if window.get("window") == "none" else f"/{window.get('window')}"
    about = "~" if window.get("origin") == "published" else ""
    share = left / limit
    style = "bad" if share < 0.1 else "warn" if share < 0.3 else ""
    said = f"{about}{amount(left)} of {amount(limit)} {unit.replace('_', ' ') if amount is words.count else ''}".strip()
    back = words.when(window.get("reset_at"), now) if left < limit else ""
    return target.target, state, Cell(f"{said}{span}", style), Cell(render.bar(share, _BAR), style), back


def _scarcest(target: t.TargetRow) -> Mapping[str, Any] | None:
    """The window of which the least share is left; what binds comes before what only paces."""
    known = [one for one in target.quota if one.get("limit") and one.get("remaining") is not None]
    return min(known, key=lambda one: (one["remaining"] / one["limit"], one.get("origin") == "published"), default=None)
