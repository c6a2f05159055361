"""`hr usage`: what was spent, by whom and when.

Owns the table. What providers reported and what we estimated stand apart, and are never added up.
"""

from collections.abc import Mapping

import click

from hermes_router.cli import render, words
from hermes_router.cli.key import router_key_names
from hermes_router.cli.link import connect
from hermes_router.cli.render import Cell, Column
from hermes_router.cli.screen import budget_said
from hermes_router.cli.trouble import warn
from hermes_router.control import types as t

_TITLES = {"provider": "PROVIDER", "model": "MODEL", "key": "KEY", "day": "DAY (UTC)", "router-key": "ROUTER KEY"}
_NOBODY = "(none asked)"
_BAR = 12


@click.command()
@click.option(
    "--by", type=click.Choice(list(_TITLES)), default="provider", show_default=True, help="What a line stands for."
)
@click.option(
    "--days",
    type=click.IntRange(1, 3660),
    default=7,
    show_default=True,
    metavar="N",
    help="How many days, today included.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def usage(by: str, days: int, as_json: bool) -> None:
    """Show what was spent: requests, tokens and money, reported and estimated apart."""
    query = {"by": by.replace("-", "_"), "days": str(days)}
    link = connect(needs_daemon=False)
    report = link.get("/v1/usage", t.UsageReport, query=query)
    if as_json:
        render.say_json(report)
        return
    render.say(screen(report, render.width(), router_key_names(link) if by == "router-key" else {}))
    if not report.complete:
        warn("some records are missing, so the true numbers are higher; `hr status` says why, under Problems")


def screen(report: t.UsageReport, width: int | None, names: Mapping[str, str]) -> list[str]:
    """The table, its total, and what has no price. `names` stand in place of what the report calls a row."""
    since = f"Since {words.day(report.since)}"
    if not report.rows:
        return [f"{since}: nothing was spent."]
    by_tokens = any(map(_tokens, (row.spent for row in report.rows)))
    most = max((_weight(row.spent, by_tokens=by_tokens) for row in report.rows), default=0) or 1
    columns = (
        Column(_TITLES.get(report.by.replace("_", "-"), report.by.upper()), least=12),
        Column("", drop=6),
        Column("REQUESTS", right=True),
        Column("FAILED", right=True, drop=4),
        Column("FAILOVERS", right=True, drop=7),
        Column("IN", right=True),
        Column("CACHED", right=True, drop=5),
        Column("OUT", right=True),
        Column("COST", right=True),
        Column("EST. IN", right=True, drop=3),
        Column("EST. OUT", right=True, drop=2),
        Column("EST. COST", right=True, drop=1),
    )
    rows = [
        _row(names.get(row.key, row.key), row.spent, render.bar(_weight(row.spent, by_tokens=by_tokens) / most, _BAR))
        for row in report.rows
    ]
    if len(report.rows) > 1:
        rows.append(_row("total", report.total, "", style="bold"))
    lines = [since, "", *render.table(columns, rows, width)]
    if report.total.unpriced:
        said = f"{words.some(report.total.unpriced, 'attempt')} at paid models without a known price: not in the cost."
        lines += ["", *render.paragraph(said, width)]
    budget = budget_said(report.budget, report.until)
    if budget:
        lines += ["", *render.paragraph(f"Today's {budget}.", width)]
    return lines


def _tokens(spent: t.Spent) -> int:
    return spent.input_tokens + spent.output_tokens + spent.estimated_input_tokens + spent.estimated_output_tokens


def _weight(spent: t.Spent, *, by_tokens: bool) -> int:
    return _tokens(spent) if by_tokens else spent.requests


def _row(name: str, spent: t.Spent, bar: str, *, style: str = "") -> tuple[Cell, ...]:
    texts = (
        f"{spent.requests:,}",
        f"{spent.failed:,}" if spent.failed else "",
        f"{spent.failovers:,}" if spent.failovers else "",
        words.count(spent.input_tokens),
        words.count(spent.cached_tokens) if spent.cached_tokens else "",
        words.count(spent.output_tokens),
        words.money(spent.cost_microusd),
        words.count(spent.estimated_input_tokens) if spent.estimated_input_tokens else "",
        words.count(spent.estimated_output_tokens) if spent.estimated_output_tokens else "",
        words.money(spent.estimated_cost_microusd) if spent.estimated_cost_microusd else "",
    )
    return (Cell(name or _NOBODY, style), Cell(bar), *(Cell(text, style) for text in texts))
