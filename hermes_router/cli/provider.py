"""`hr provider`: which providers there are, and which take part.

Owns the commands; what a provider is stands in its row.
"""

import click

from hermes_router.cli import render, words
from hermes_router.cli.changes import say_changed
from hermes_router.cli.link import connect
from hermes_router.cli.provider_names import find_provider
from hermes_router.cli.render import Cell, Column
from hermes_router.control import types as t

_STATES = {"on": "good", "no key": "dim", "disabled": "warn", "retired": "bad", "unspoken": "dim"}


@click.group()
def provider() -> None:
    """Providers: list them, switch one on or off."""


@provider.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_providers(as_json: bool) -> None:
    """List all providers: keys, targets, models in use, what is free."""
    rows = connect(needs_daemon=False).get("/v1/credentials", t.Credentials).providers
    if as_json:
        render.say_json(rows)
        return
    render.say_table(
        (
            Column("PROVIDER"),
            Column("STATE", least=10, wrap=True),
            Column("KEYS", right=True),
            Column("READY", right=True, drop=1),
            Column("MODELS", least=16, drop=2),
            Column("FREE", least=20, drop=3),
        ),
        [
            (
                row.name,
                Cell(_state(row), _STATES.get(row.state, "")),
                str(row.keys or ""),
                f"{row.ready}/{row.targets}" if row.targets else "",
                ", ".join(row.models),
                row.free,
            )
            for row in rows
        ],
    )


def _state(row: t.ProviderRow) -> str:
    """The state, with its reason where that is more than the usual: most providers have no key."""
    return f"{row.state}: {row.reason}" if row.reason and row.state != "no key" else row.state


@provider.command()
@click.argument("name", metavar="PROVIDER")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def enable(name: str, as_json: bool) -> None:
    """Let PROVIDER take part again."""
    _switch(name, enabled=True, as_json=as_json)


@provider.command()
@click.argument("name", metavar="PROVIDER")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def disable(name: str, as_json: bool) -> None:
    """Leave PROVIDER out, though it has keys; they stay."""
    _switch(name, enabled=False, as_json=as_json)


def _switch(name: str, *, enabled: bool, as_json: bool) -> None:
    link = connect(needs_daemon=False)
    row = find_provider(name, link.get("/v1/credentials", t.Credentials).providers)
    asked = t.EnableProvider(provider=row.name, enabled=enabled)
    changed = link.call("POST", "/v1/providers", asked, t.Changed)
    if as_json:
        say_changed(link, changed, as_json=True)
        return
    after = find_provider(row.name, link.get("/v1/credentials", t.Credentials).providers)
    title = words.clean(row.title)
    if not enabled:
        click.echo(f"{title} is left out; its keys stay.")
    elif after.state == "on":
        click.echo(f"{title} takes part.")
    elif after.state == "no key":
        click.echo(f"{title} is enabled, and takes part once it has a key: `hr auth add {row.name}`.")
    else:
        click.echo(f"{title} is enabled, and does not take part: {words.clean(after.reason or after.state)}.")
    say_changed(link, changed, as_json=False)
