"""`hr mode`: the order in which a provider's keys take their turns.

Owns the command; the words are those of `core/variables.py`.
"""

import click

from hermes_router.cli import words
from hermes_router.cli.changes import say_changed
from hermes_router.cli.link import connect
from hermes_router.control import types as t
from hermes_router.core.variables import GLOBALS

_NAME = "ROTATION_MODE"


@click.command()
@click.argument("name", metavar="[round-robin|sequential]", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def mode(name: str | None, as_json: bool) -> None:
    """Show or set the order of a provider's keys: round-robin (rr) in turn, sequential (seq, drain) one by one."""
    value = None if name is None else _canonical(name)
    link = connect(needs_daemon=False)
    if value is not None:
        changed = link.call("PATCH", "/v1/config", t.ChangeConfig(changes={_NAME: value}), t.Changed)
        say_changed(link, changed, as_json=as_json)
        return
    row = next((one for one in link.get("/v1/config", t.Config).rows if one.name == _NAME), None)
    if row is None:
        raise click.ClickException("the daemon knows no mode")
    if as_json:
        from hermes_router.cli.render import say_json  # noqa: PLC0415 - for this option only

        say_json(row)
        return
    click.echo(words.clean(row.value))
    click.echo(click.style(f"from {words.clean(row.source)}", dim=True), err=True)


def _canonical(name: str) -> str:
    read = next(one.read for one in GLOBALS if one.name == _NAME)
    try:
        return str(read(name))
    except ValueError as error:
        raise click.UsageError(f"MODE {error}") from None
