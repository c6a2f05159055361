"""What a change of settings did, in words.

Owns the rendering of `Changed`, for every command that changes a setting.
"""

import click

from hermes_router.cli import render, words
from hermes_router.cli.link import Link
from hermes_router.control import types as t


def say_changed(link: Link, changed: t.Changed, *, as_json: bool, nothing: str = "unset") -> None:
    """One line a setting: before, after and the file; then what a restart is needed for.

    `nothing` is the word for no value after the change: a setting that was set is empty then, which may mean something.
    """
    if as_json:
        render.say_json(changed)
        return
    arrow = render.glyphs().arrow
    for row in changed.rows:
        name, before, after = (words.clean(one) for one in (row.name, row.before, row.after))
        if before == after:
            click.echo(f"{name} is {after or nothing} already ({words.clean(render.tilde(row.file))}).")
        else:
            click.echo(
                f"{name}: {before or 'unset'} {arrow} {after or nothing} ({words.clean(render.tilde(row.file))})"
            )
    if changed.needs_restart and not link.works_on_files:
        names = words.listing([words.clean(one) for one in changed.needs_restart])
        click.echo(f"The running daemon cannot take up {names}: run `hr restart`.")
