"""`hr status`: will my agent survive the night?

Owns the command; what stands on the screen is `screen.py`'s, the redrawing `watch.py`'s.
"""

import time

import click

from hermes_router import __version__
from hermes_router.cli import render, words
from hermes_router.cli.link import connect
from hermes_router.cli.screen import screen
from hermes_router.cli.targets import targets
from hermes_router.control import types as t


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON; with --watch one line a change.")
@click.option("--watch", is_flag=True, help="Stay, and redraw when something happens; Ctrl-C ends it.")
@click.option("--targets", "by_target", is_flag=True, help="Every target on a line: what is left, when it returns.")
def status(as_json: bool, watch: bool, by_target: bool) -> None:
    """Show on one screen whether the router will last: providers, keys, limits, errors, cost."""
    link = connect(needs_daemon=True, any_version=True)
    if link.ping.api != t.API:
        _foreign(link.ping, as_json=as_json)
        return
    if watch:
        from hermes_router.cli.watch import Watch  # noqa: PLC0415 - its event loop takes 0.3 s to import

        Watch(link, as_json=as_json).run()
        return
    found = link.get("/v1/status", t.Status)
    if as_json:
        render.say_json(found)
    elif by_target:
        render.say(targets(found, time.time(), render.width()))
    else:
        render.say(screen(found, time.time(), render.width()))


def _foreign(ping: t.Ping, *, as_json: bool) -> None:
    """A daemon whose status we cannot read still says that it runs."""
    if as_json:
        render.say_json(ping)
        return
    up = words.span(time.time() - ping.started_at) if ping.started_at else "?"
    render.say([words.clean(f"The daemon runs: version {ping.version}, pid {ping.pid}, up {up}, {ping.url}")])
    render.say([f"It does not speak the language of this hr ({__version__}): `hr restart` makes them one."])
