"""`hr model`: which models of a provider take part. `hr models`: which there are.

Owns the two commands; what a model can do stands in its row or in what the provider lists.
"""

import click

from hermes_router.cli import render, words
from hermes_router.cli.changes import say_changed
from hermes_router.cli.link import Link, connect
from hermes_router.cli.provider_names import find_provider
from hermes_router.cli.render import Cell, Column
from hermes_router.cli.screen import STATES
from hermes_router.cli.trouble import USAGE, Trouble, near, warn
from hermes_router.control import types as t


@click.group()
def model() -> None:
    """Models that take part: list, set, reset."""


def _find(link: Link, name: str) -> t.ProviderRow:
    return find_provider(name, link.get("/v1/credentials", t.Credentials).providers)


@model.command("list")
@click.argument("provider", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_picked(provider: str | None, as_json: bool) -> None:
    """List the models that take part, in the order in which they are asked."""
    link = connect(needs_daemon=False)
    rows = link.get("/v1/credentials", t.Credentials).providers
    if provider is not None:
        rows = [find_provider(provider, rows)]
    shown = [row for row in rows if row.models and (provider is not None or row.state == "on")]
    if as_json:
        render.say_json({row.name: row.models for row in shown})
        return
    if not shown:
        click.echo("No provider with a key has a model: `hr auth add PROVIDER` adds one.")
        return
    render.say_table(
        (Column("PROVIDER"), Column("MODELS", least=20, wrap=True)),
        [(row.name, ", ".join(row.models)) for row in shown],
    )


@model.command("set")
@click.argument("provider")
@click.argument("models", nargs=-1, required=True)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def set_models(provider: str, models: tuple[str, ...], as_json: bool) -> None:
    """Set the MODELS of PROVIDER, in order, with blanks or commas between; each is a target of its own."""
    names = list(dict.fromkeys(one.strip() for word in models for one in word.split(",") if one.strip()))
    if not names:
        raise Trouble("no model was named", "`hr model reset` goes back to the row's own", code=USAGE)
    link = connect(needs_daemon=False)
    row = _find(link, provider)
    known = [one.model for one in link.get("/v1/models", t.Models, query={"provider": row.name}).rows]
    changed = link.call("POST", "/v1/models", t.SetModels(provider=row.name, models=names), t.Changed)
    say_changed(link, changed, as_json=as_json)
    for name in names:
        if name not in known:
            hint = near(name, known)
            step = hint or f"`hr models --refresh --provider {row.name}` shows what it offers"
            warn(f"no model {name!r} is known of {row.title}, and it is used all the same; {step}")


@model.command()
@click.argument("provider")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def reset(provider: str, as_json: bool) -> None:
    """Go back to the models that PROVIDER has by default."""
    link = connect(needs_daemon=False)
    row = _find(link, provider)
    changed = link.call("POST", "/v1/models", t.SetModels(provider=row.name), t.Changed)
    say_changed(link, changed, as_json=as_json)


# --- hr models ----------------------------------------------------------------------------------------

_LISTS_S = 120.0  # every provider may take its time
_CAPABILITIES = ("tools", "images", "reasoning")


@click.command()
@click.option("--refresh", is_flag=True, help="Ask the providers for their lists first.")
@click.option("--provider", metavar="P", help="Only those of this provider.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def models(refresh: bool, provider: str | None, as_json: bool) -> None:
    """List the models of all providers with a key: tier, price, window, what they can do."""
    link = connect(needs_daemon=False)
    query: dict[str, str] = {}
    if refresh:
        query["refresh"] = "1"
    if provider is not None:
        query["provider"] = _find(link, provider).name
    found = link.get("/v1/models", t.Models, query=query, wait_s=_LISTS_S)
    if as_json:
        render.say_json(found)
        return
    for problem in found.problems:
        warn(problem)
    if not found.rows:
        click.echo("No provider with a key has a model: `hr auth add PROVIDER` adds one.")
        return
    render.say_table(
        (
            Column("MODEL", least=24),
            Column("IN USE"),
            Column("STATE", drop=4),
            Column("TIER", right=True, drop=3),
            Column("PRICE", drop=5),
            Column("WINDOW", right=True, drop=1),
            Column("OUTPUT", right=True, drop=6),
            Column("CAN", least=12, drop=2),
        ),
        [_row(row) for row in found.rows],
    )


def _row(row: t.ModelRow) -> tuple[Cell | str, ...]:
    gone = row.live is False
    state = "not listed by the provider" if gone else row.state
    return (
        Cell(f"{row.provider}/{row.model}", "" if row.picked else "dim"),
        Cell("yes" if row.picked else "no", "good" if row.picked else "dim"),
        Cell(state, "bad" if gone else STATES.get(row.state, "")),
        str(row.tier),
        row.price_class.replace("_", " "),
        words.count(row.context) if row.context else "?",
        words.count(row.max_output) if row.max_output else "?",
        " ".join(
            name if known == "yes" else f"{name}?"
            for name in _CAPABILITIES
            if (known := row.capabilities.get(name, "unknown")) != "no"
        ),
    )
