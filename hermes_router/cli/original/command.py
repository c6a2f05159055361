"""`hr auth import`: the command. What it does is `importing.py`'s, loaded when it is used.

Owns the options.
"""

from pathlib import Path

import click

from hermes_router.cli.trouble import REFUSED

__all__ = ["import_"]


@click.command("import")
@click.argument("paths", metavar="[FILE|DIRECTORY]...", nargs=-1, type=click.Path(path_type=Path))
@click.option("--codex", is_flag=True, help="Take its ChatGPT accounts over, too; not while it runs.")
@click.option("--dry-run", is_flag=True, help="Show what is there; ask nobody, change nothing.")
@click.option("--force", is_flag=True, help="Store rejected keys, and set what is set otherwise here.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def import_(
    ctx: click.Context, *, paths: tuple[Path, ...], codex: bool, dry_run: bool, force: bool, as_json: bool
) -> None:
    """Take over what the original hermes-router holds: keys, router keys, settings and models.

    Without a FILE or DIRECTORY (its .env, its auth.json, or where they lie), the usual places are looked at. Its files
    are never changed, and doing it twice changes nothing more. Each key is tested first; what its provider rejects is
    not stored.
    """
    from hermes_router.cli.original.importing import take_over  # noqa: PLC0415 - 30 ms, and `hr auth list` needs none of it

    if not take_over(paths, codex=codex, dry_run=dry_run, force=force, as_json=as_json):
        ctx.exit(REFUSED)
