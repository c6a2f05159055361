"""`hr quota`: the whole ledger of limits, what is left of each, when it returns, and who says so.

Owns the table. A limit that only paces is told from one that refuses, and a count without a limit is shown as such.
"""

from collections.abc import Sequence
from typing import Final

import click

from hermes_router.cli import render, words
from hermes_router.cli.link import connect
from hermes_router.cli.render import Cell, Column
from hermes_router.control import types as t

__all__ = ["quota", "screen"]

_BAR: Final = 10
_SCARCE, _LOW = 0.1, 0.3
_UNITS: Final = {
    "requests": "requests", "tokens": "tokens", "input_tokens": "input tokens", "output_tokens": "output tokens",
    "concurrency": "at a time", "percent": "%", "microusd": "",
}  # fmt: skip
_SOURCES: Final = {"published": "published, a guess", "counted": "no limit known"}


@click.command()
@click.argument("provider", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def quota(provider: str | None, as_json: bool) -> None:
    """Show every limit: what is left, and when it returns.

    Limits are told by the provider, learned from its refusals, set by you (P_LIMITS, BUDGET_USD_DAY), or published:
    guesses, which pace requests and refuse none.
    """
    query = {"provider": provider} if provider else {}
    report = connect(needs_daemon=False).get("/v1/quota", t.QuotaReport, query=query)
    if as_json:
        render.say_json(report)
        return
    render.say(screen(report, render.width()))


def screen(report: t.QuotaReport, width: int | None) -> list[str]:
    """The table, one line a window."""
    if not report.rows:
        return ["No limit is known, and nothing has been counted yet."]
    columns = (
        Column("PROVIDER", least=8),
        Column("WHOSE", least=8, drop=2),
        Column("MODEL", least=10),
        Column("LIMIT", right=True),
        Column("LEFT", right=True),
        Column("", drop=3),
        Column("BACK", least=8),
        Column("WHO SAYS SO", least=8, drop=1),
    )
    return render.table(columns, _rows(report.rows, report.at), width)


def _rows(rows: Sequence[t.QuotaRow], now: float) -> list[tuple[Cell | str, ...]]:
    found: list[tuple[Cell | str, ...]] = []
    last = ("", "")
    for row in rows:
        share = row.remaining / row.limit if row.limit and row.remaining is not None else None
        style = "" if share is None else "bad" if share < _SCARCE else "warn" if share < _LOW else ""
        if not row.binds:
            style = "dim" if style else ""
        here = (row.provider, row.whose)
        found.append(
            (
                row.provider if row.provider != last[0] else "",
                row.whose if here != last else "",
                row.model or "all",
                _limit(row),
                Cell(_left(row), style),
                Cell(render.bar(share, _BAR), style) if share is not None else "",
                words.when(row.reset_at, now) if row.used else "",
                _source(row, now),
            )
        )
        last = here
    return found


def _amount(row: t.QuotaRow, number: int) -> str:
    return words.money(number) if row.unit == "microusd" else words.count(number)


def _limit(row: t.QuotaRow) -> str:
    unit = _UNITS.get(row.unit, row.unit)
    span = "" if row.window == "none" else f"/{row.window}"
    if row.limit is None:
        return f"{unit or 'money'}{span}"
    return f"{_amount(row, row.limit)}{' ' if unit else ''}{unit}{span}"


def _left(row: t.QuotaRow) -> str:
    return f"{_amount(row, row.used)} used" if row.remaining is None else _amount(row, row.remaining)


def _source(row: t.QuotaRow, now: float) -> str:
    if row.source == "learned" and row.learned_at is not None:
        return f"learned {words.span(now - row.learned_at)} ago"
    return _SOURCES.get(row.source, row.source)
