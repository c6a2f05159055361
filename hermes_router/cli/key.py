"""`hr key`: router keys, which callers of the router show.

Owns the talk about them. A new key goes to standard output, once; nothing keeps it.
"""

import sys
import time
from decimal import Decimal, InvalidOperation
from typing import Any

import click

from hermes_router.cli import render, words
from hermes_router.cli.link import Link, connect
from hermes_router.cli.provider_names import EXPOSED, is_key
from hermes_router.cli.render import Column
from hermes_router.cli.trouble import USAGE, Trouble, warn
from hermes_router.control import types as t
from hermes_router.control.client import quote


class Dollars(click.ParamType[int]):
    """An amount of US dollars; its value is micro-US-dollars, whole ones."""

    name = "dollars"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """`2`, `0.50` or `$0.50`; click's own complaint for anything else."""
        try:
            amount = Decimal(str(value).strip().removeprefix("$")) * 1_000_000
        except InvalidOperation:
            amount = Decimal(-1)
        if not (amount.is_finite() and 0 <= amount <= 10**15 and amount == amount.to_integral_value()):
            self.fail(f"{value!r} is not an amount of dollars such as 2 or 0.50.", param, ctx)
        return int(amount)


@click.group()
def key() -> None:
    """Router keys, which callers show: add, list, remove."""


@key.command()
@click.argument("name")
@click.option("--providers", metavar="A,B", help="Only these providers serve it.")
@click.option("--rpm", type=click.IntRange(1), metavar="N", help="At most N requests in any 60 seconds.")
@click.option("--concurrency", type=click.IntRange(1), metavar="N", help="At most N at once, streams to their end.")
@click.option(
    "--patience", type=click.FloatRange(0), metavar="S", help="How long its requests wait for quota; 0 = never."
)
@click.option("--min-tier", type=click.IntRange(1, 5), metavar="N", help="No model below this tier, 1 (weakest) to 5.")
@click.option("--usd-day", type=Dollars(), metavar="N", help="At most N US dollars a day (UTC); 0 = free models only.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def add(
    *,
    name: str,
    providers: str | None,
    rpm: int | None,
    concurrency: int | None,
    patience: float | None,
    min_tier: int | None,
    usd_day: int | None,
    as_json: bool,
) -> None:
    """Make a router key called NAME and print it: this once, only its digest is kept."""
    asked = t.AddKey(
        name=name,
        providers=None if providers is None else [one.strip() for one in providers.split(",") if one.strip()],
        rpm=rpm,
        concurrency=concurrency,
        patience_s=patience,
        min_tier=min_tier,
        budget_microusd=usd_day,
    )
    if asked.providers == []:
        raise click.BadParameter("names no provider", param_hint="'--providers'")
    added = connect(needs_daemon=False).call("POST", "/v1/keys", asked, t.AddedKey)
    if as_json:
        render.say_json(added)
        return
    click.echo(f"The router key {words.clean(added.row.name)}; it is not shown again:", err=True)
    click.echo(added.key)
    for said in added.said:
        click.echo(words.clean(said), err=True)


@key.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_keys(as_json: bool) -> None:
    """List router keys with their limits."""
    found = connect(needs_daemon=False).get("/v1/keys", t.Keys)
    if as_json:
        render.say_json(found)
        return
    now = time.time()
    render.say_table(
        (
            Column("NAME", least=8),
            Column("KEY"),
            Column("PROVIDERS", least=10, drop=2),
            Column("RPM", right=True),
            Column("AT ONCE", right=True),
            Column("PATIENCE", right=True, drop=3),
            Column("MIN TIER", right=True, drop=4),
            Column("TODAY", right=True),
            Column("NOW", right=True, drop=5),
            Column("MADE", drop=6),
            Column("SOURCE", least=8, drop=1),
        ),
        [
            (
                row.name,
                f"…{row.tail}",
                "all" if row.providers is None else ", ".join(row.providers),
                _limit(row.rpm),
                _limit(row.concurrency),
                "" if row.patience_s is None else words.span(row.patience_s),
                _limit(row.min_tier),
                _spent(row),
                str(row.in_flight or ""),
                words.clock(row.created_at, now) if row.created_at else "",
                render.tilde(row.source),
            )
            for row in found.rows
        ],
    )


def _spent(row: t.KeyRow) -> str:
    """Today's money, and of what, where the key has a budget."""
    if row.budget_microusd is None:
        return words.money(row.spent_microusd) if row.spent_microusd else ""
    return f"{words.money(row.spent_microusd)} of {words.money(row.budget_microusd)}"


def router_key_names(link: Link) -> dict[str, str]:
    """The names of the router keys that there are, by their ids: usage and trails keep ids."""
    return {row.id: row.name for row in link.get("/v1/keys", t.Keys).rows}


def _limit(value: int | None) -> str:
    return "" if value is None else str(value)


@key.command()
@click.argument("which", metavar="NAME|ID")
@click.option("--yes", is_flag=True, help="Do not ask.")
def remove(which: str, yes: bool) -> None:
    """Remove a router key: callers that show it get 401 from now on."""
    if is_key(which):
        raise Trouble(f"a key does not belong on the command line: {EXPOSED}", "name it by its name or id", code=USAGE)
    link = connect(needs_daemon=False)
    asks = not yes and sys.stdin.isatty()
    if asks and not click.confirm(f"Remove the router key {words.clean(which)}?", err=True):
        warn("nothing was removed")
        return
    done = link.call("DELETE", f"/v1/keys/{quote(which)}", None, t.Done)
    render.say(words.clean(one) for one in done.said)
