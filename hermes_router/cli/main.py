"""`hr`: the command line. One module a command group; imports what a command needs when it runs.

Owns the group and its global options. It must never import the engine, an upstream or the server: it starts the daemon,
and (from the control socket's issue on) talks to it.
"""

import importlib
import os

import click

from hermes_router import __version__

COMMANDS = {
    "demo": ("hermes_router.cli.demo", "demo"),
    "serve": ("hermes_router.cli.serve", "serve"),
    "version": ("hermes_router.cli.version", "version"),
}


class LazyGroup(click.Group):
    """Loads a command's module when the command is used, so that `hr --help` and completion stay quick."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """All commands, sorted."""
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Import one."""
        if cmd_name not in COMMANDS:
            return None
        module, name = COMMANDS[cmd_name]
        command: click.Command = getattr(importlib.import_module(module), name)
        return command


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="hr")
@click.pass_context
def main(ctx: click.Context) -> None:
    """hermes-router: one local endpoint backed by every model key you hold."""
    if os.environ.get("NO_COLOR"):
        ctx.color = False
