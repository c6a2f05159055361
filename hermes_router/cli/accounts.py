"""Accounts on a terminal: who they are, how far their plan's windows are used, and how long their tokens last.

Owns the words and tables for accounts, for `hr auth list` and `hr status`. Pure but for the output's width; the time is
an argument.
"""

from collections.abc import Iterable, Sequence

from hermes_router.cli import render, words
from hermes_router.cli.render import Cell, Column
from hermes_router.cli.states import STATES, state_cell
from hermes_router.control import types as t

__all__ = ["account_lines", "columns", "name", "without_accounts"]

_FULL, _NEARLY = 100, 80


def name(row: t.AccountRow) -> str:
    """How its owner knows it: the label, else the address, else the end of its id."""
    return words.clean(row.account or row.email or f"…{row.tail}")


def without_accounts(rows: Iterable[t.CredentialRow], accounts: Iterable[t.AccountRow]) -> list[t.CredentialRow]:
    """The credentials that are keys."""
    known = {row.id for row in accounts}
    return [row for row in rows if row.id not in known]


def columns(*, whole: bool) -> tuple[Column, ...]:
    """Of the table of accounts; `whole` = with where each comes from."""
    found = (
        Column("ACCOUNT", least=10),
        Column("PLAN", drop=3),
        Column("ROUTE", drop=4),
        Column("5 H", right=True),
        Column("WEEK", right=True),
        Column("NEXT RESET", drop=1),
        Column("TOKEN UNTIL", drop=2),
        Column("STATE", least=14, wrap=True),
    )
    return (*found, Column("LOGIN", least=10, drop=5), Column("ID", drop=6)) if whole else found


def account_lines(
    rows: Sequence[t.AccountRow], now: float, most: int | None, *, whole: bool, titles: bool = True
) -> list[str]:
    """The table, in lines of at most `most` cells."""
    return render.table(columns(whole=whole), [_cells(row, now, whole=whole) for row in rows], most, titles=titles)


def _cells(row: t.AccountRow, now: float, *, whole: bool) -> tuple[Cell | str, ...]:
    resets = [window.reset_at for window in row.windows if window.reset_at is not None and window.reset_at > now]
    found = (
        f"{row.provider} {name(row)}",
        row.plan,
        row.route,
        _used(row, "5 h"),
        _used(row, "week"),
        words.when(min(resets), now) if resets else "",
        _until(row, now),
        _state(row, now),
    )
    return (*found, _login(row), Cell(row.id, "dim")) if whole else found


def _used(row: t.AccountRow, window: str) -> Cell:
    """How much of a window is used; empty while nobody has said."""
    found = next((one for one in row.windows if one.name == window), None)
    if found is None:
        return Cell("")
    style = "bad" if found.used_percent >= _FULL else "warn" if found.used_percent >= _NEARLY else ""
    return Cell(f"{found.used_percent} %", style)


def _until(row: t.AccountRow, now: float) -> Cell:
    if row.expires_at is None:
        return Cell("unknown", "dim")
    return Cell(words.when(row.expires_at, now), "bad" if row.expires_at <= now else "")


def _state(row: t.AccountRow, now: float) -> Cell:
    if row.state == "ready":
        return Cell(f"ready, {row.reason}" if row.reason else "ready", STATES["ready"])
    full = next((one for one in row.windows if one.used_percent >= _FULL), None)
    if row.state == "cooling" and full is not None:
        back = f", back {words.when(row.until, now)}" if row.until is not None else ""
        return Cell(f"{full.name} used up{back}", STATES["cooling"])
    return state_cell(row.state, row.reason, row.until, now)


def _login(row: t.AccountRow) -> str:
    """Whose login it is."""
    if not row.origin:
        return "the router's own"
    return f"{'borrowed from' if row.read_only else 'shared with'} {render.tilde(row.origin)}"
