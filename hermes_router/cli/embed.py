"""`hr embed`: which model makes the vectors of a router key.

Owns the talk about bindings. Ending one is asked for twice: vectors of two models do not compare.
"""

import sys
import time
from collections.abc import Sequence

import click

from hermes_router.cli import render, words
from hermes_router.cli.link import connect
from hermes_router.cli.provider_names import EXPOSED, is_key
from hermes_router.cli.render import Cell, Column
from hermes_router.cli.trouble import USAGE, Trouble, warn
from hermes_router.control import types as t
from hermes_router.control.client import quote

_MEANS = "Vectors made before and after do not compare: a store has to be embedded again as a whole."


@click.group()
def embed() -> None:
    """Embeddings: the model that a router key is bound to. Show, unbind."""


@embed.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def show(as_json: bool) -> None:
    """Show which model makes the vectors of each router key: the first use binds it."""
    found = connect(needs_daemon=False).get("/v1/embed", t.EmbedBindings)
    if as_json:
        render.say_json(found)
        return
    if not found.rows:
        click.echo("No router key is bound: its first request for embeddings binds it to one model.")
        return
    now = time.time()
    render.say_table(
        (
            Column("NAME", least=8),
            Column("KEY"),
            Column("PROFILE", drop=2),
            Column("MODEL", least=16),
            Column("DIMENSIONS", right=True),
            Column("SINCE", drop=3),
            Column("ID", drop=1),
        ),
        [
            (
                row.name or "(gone)",
                f"…{row.tail}" if row.tail else "",
                row.profile,
                f"{row.provider}/{row.model}",
                str(row.dimensions or "?"),
                words.clock(row.bound_at, now),
                Cell(row.key_id, "dim"),
            )
            for row in found.rows
        ],
    )


@embed.command()
@click.argument("key", metavar="[NAME|LAST4|ID]", required=False)
@click.option("--profile", type=click.Choice(["main", "local"]), help="Only what this profile is bound to.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def unbind(key: str | None, profile: str | None, yes: bool) -> None:
    """End the binding of a router key: its next use may bind it to another model.

    Vectors made before and after do not compare, so a store has to be embedded again as a whole. Without a key, the
    only one that is bound.
    """
    if key is not None and is_key(key):
        raise Trouble(f"a key does not belong on the command line: {EXPOSED}", "name it by its name or id", code=USAGE)
    link = connect(needs_daemon=False)
    bound = [row for row in link.get("/v1/embed", t.EmbedBindings).rows if profile in {None, row.profile}]
    rows = _chosen(bound, key)
    if not yes and not _sure(rows):
        warn("everything is bound as before")
        return
    path = f"/v1/embed/{quote(rows[0].key_id)}" + (f"?profile={profile}" if profile else "")
    done = link.call("DELETE", path, None, t.Done)
    render.say(words.clean(one) for one in done.said)


def _chosen(bound: Sequence[t.EmbedBindingRow], key: str | None) -> list[t.EmbedBindingRow]:
    """The bindings of the one router key that is meant."""
    if not bound:
        raise Trouble("no router key is bound", "its first request for embeddings binds it", code=USAGE)
    meant = [row for row in bound if key is None or key in {row.key_id, row.name, row.tail}]
    if len({row.key_id for row in meant}) == 1:
        return meant
    what = f"no router key {key} is bound" if not meant else "several router keys are bound"
    if meant and key is not None:
        what = f"several router keys are called {key}"
    names = dict.fromkeys(f"{_called(row)} with the id {row.key_id}" for row in meant or bound)
    raise Trouble(what, f"name one by its id: {words.listing(list(names), 8)}", code=USAGE)


def _called(row: t.EmbedBindingRow) -> str:
    tail = f" (…{row.tail})" if row.tail else ""
    return words.clean(f"{row.name}{tail}" if row.name else "a key that is gone")


def _sure(rows: Sequence[t.EmbedBindingRow]) -> bool:
    models = words.listing([words.clean(f"{row.provider}/{row.model}") for row in rows])
    if not sys.stdin.isatty():
        raise Trouble(
            f"this would end the binding of {_called(rows[0])} to {models}, and there is nobody to ask",
            "add --yes; afterwards embed the whole store again",
            code=USAGE,
        )
    click.echo(_MEANS, err=True)
    return click.confirm(f"Unbind the router key {_called(rows[0])} from {models}?", err=True)
