"""`hr upgrade`: the newest version, the way this one was installed, and then a restart that nobody notices.

Owns the order: the running daemon is only asked to hand over once the new version has proved that it starts. What is
used after a file is replaced is imported before. It must never replace one itself.
"""

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import click

from hermes_router import __version__
from hermes_router.cli import render, words
from hermes_router.cli.installation import Installation, recognise
from hermes_router.cli.link import find
from hermes_router.cli.trouble import FAILED, REFUSED, USAGE, Trouble

_PROBE = "import hermes_router.daemon.__main__, hermes_router.cli.main, hermes_router as h; print(h.__version__)"
_HR = "import sys; from hermes_router.cli.main import main; sys.exit(main())"
_PROBE_S = 60


@click.command()
@click.option(
    "--wheel",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Take this wheel instead of asking the index.",
)
@click.option("--dry-run", is_flag=True, help="Only show what would be run.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def upgrade(*, wheel: Path | None, dry_run: bool, yes: bool) -> None:
    """Upgrade the way it was installed, then restart without losing a request."""
    found = recognise()
    click.echo(f"hermes-router {__version__}: {found.how}, {render.tilde(str(found.place))}.")
    argv = _command(found, wheel)
    click.echo(f"To upgrade: `{shlex.join(argv)}`, then `hr restart`.")
    if dry_run:
        return
    if found.hands_off:
        raise Trouble(f"that is left to you: {found.hands_off}", "run it by hand, then `hr restart`", code=REFUSED)
    _check(found, argv)
    if not yes:
        if not sys.stdin.isatty():
            raise Trouble("nothing was changed, since nobody can be asked here", "`--yes` goes on", code=USAGE)
        if not click.confirm("Do it now?", default=True, err=True):
            raise Trouble("nothing was changed", "", code=REFUSED)
    running = find()
    serves_on = "; the running daemon serves on as before" if running is not None else ""
    if subprocess.run(argv, check=False).returncode:  # noqa: S603 - the installer's own command, shown above
        raise Trouble(f"the upgrade failed{serves_on}", f"see above; `{shlex.join(argv)}` tries again", code=FAILED)
    version = _proved(argv, serves_on)
    if version == __version__:
        click.echo(f"{__version__} is what there was already.")
    else:
        click.echo(f"Upgraded: {__version__} {render.glyphs().arrow} {words.clean(version)}.")
    if running is None or running.works_on_files or running.ping.version == version:
        return
    sys.stdout.flush()
    raise SystemExit(subprocess.run([sys.executable, "-P", "-c", _HR, "restart"], check=False).returncode)  # noqa: S603


def _command(found: Installation, wheel: Path | None) -> tuple[str, ...]:
    if wheel is None:
        if not found.upgrade:
            raise Trouble(f"nothing can upgrade it: {found.hands_off}", "install it with pipx or uv", code=REFUSED)
        return found.upgrade
    if not found.from_file:
        raise Trouble(f"a wheel cannot be put there: {found.hands_off}", "", code=REFUSED)
    return (*found.from_file, str(wheel.absolute()))


def _check(found: Installation, argv: tuple[str, ...]) -> None:
    """Raises Trouble where the command could only fail, half way."""
    if shutil.which(argv[0]) is None:
        raise Trouble(f"{argv[0]} is not on PATH", f"install {argv[0]}, or put it on PATH", code=REFUSED)
    if not os.access(found.place, os.W_OK):
        raise Trouble(
            f"{found.place} is not yours to change", f"run `sudo {shlex.quote(sys.argv[0])} upgrade`", code=REFUSED
        )


def _proved(argv: tuple[str, ...], serves_on: str) -> str:
    """The version that is there now, asked of it in a process of its own. Raises Trouble where it does not start."""
    try:
        done = subprocess.run(  # noqa: S603
            [sys.executable, "-P", "-c", _PROBE], capture_output=True, text=True, timeout=_PROBE_S, check=False
        )
        said = (done.stderr.strip().splitlines() or [f"it ended with {done.returncode}"])[-1]
        if not done.returncode:
            return done.stdout.strip()
    except (OSError, subprocess.TimeoutExpired) as error:
        said = str(error)
    raise Trouble(
        f"what is installed now does not start: {said}{serves_on}",
        f"`{shlex.join(argv)}` again may repair it",
        code=FAILED,
    )
