"""`hr reload`: the files read again, by a daemon that goes on serving.

Owns the command and what it says.
"""

import click

from hermes_router.cli import render, words
from hermes_router.cli.link import connect
from hermes_router.cli.trouble import warn
from hermes_router.control import types as t


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def reload(as_json: bool) -> None:
    """Read all files again, without a restart; a configuration that is wrong is refused whole."""
    link = connect(needs_daemon=False)
    done = link.call("POST", "/v1/reload", None, t.Reloaded)
    if as_json:
        render.say_json(done)
        return
    for problem in done.problems:
        warn(render.tilde(problem))
    targets = words.some(done.targets, "target")
    if link.works_on_files:
        click.echo(f"No daemon is running, so nothing was reloaded; the files give {targets}.")
        return
    changed = f"changed: {', '.join(done.changed)}" if done.changed else "nothing changed"
    text = f"Generation {done.generation}: {words.clean(changed)}; {targets}."
    render.say(render.paragraph(text, render.width()))
    if done.needs_restart:
        click.echo(
            f"The running daemon cannot take up {words.clean(words.listing(done.needs_restart))}: run `hr restart`."
        )
