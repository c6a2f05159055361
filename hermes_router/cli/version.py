"""`hr version`.

Owns one line.
"""

import click

from hermes_router import __version__


@click.command()
def version() -> None:
    """Print the version."""
    click.echo(f"hermes-router {__version__}")
