"""`hr man`: the manual, wherever the program was installed.

Owns the ways to show a page that travels with the program, from the best that is here to plain text. It must never
know what a page says.
"""

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import click

from hermes_router.cli.shipped import shipped

PAGES: Final = {"hr": "hr.1", "hermes-router": "hermes-router.8", "hermes-router-config": "hermes-router-config.5"}
_OVERSTRUCK: Final = re.compile(".\x08")
_SHORT: Final = {"config": "hermes-router-config", "daemon": "hermes-router"}


@click.command()
@click.argument("page", type=click.Choice([*PAGES, *_SHORT]), default="hr", metavar="[PAGE]")
@click.option("--path", "only_path", is_flag=True, help="Print where the page lies, and nothing else.")
def man(page: str, only_path: bool) -> None:
    """Show a page of the manual: hr (if left out), hermes-router (the daemon) or hermes-router-config.

    The two have short names: daemon and config.
    """
    path = shipped("man", PAGES[_SHORT.get(page, page)])
    if only_path:
        click.echo(str(path))
        return
    if sys.stdout.isatty() and any(_shown(command) for command in _viewers(path)):
        return
    text = _formatted(path)
    if sys.stdout.isatty():
        click.echo_via_pager(text)
    else:
        click.echo(text, nl=False)


def _viewers(path: Path) -> list[list[str]]:
    """What shows a page on a terminal, the best first: by its file, so that no MANPATH is needed."""
    found = []
    if (program := shutil.which("man")) is not None:
        found.append([program, str(path)] if sys.platform == "darwin" else [program, "-l", str(path)])
    if (program := shutil.which("mandoc")) is not None:
        found.append([program, "-a", str(path)])
    return found


def _shown(command: list[str]) -> bool:
    """Whether a viewer could; one that cannot has its say on standard error, which nobody needs."""
    done = _ran(command, stderr=subprocess.DEVNULL)
    return done is not None and done.returncode == 0


def _formatted(path: Path) -> str:
    """The page as plain text, at best as mandoc has it."""
    if (program := shutil.which("mandoc")) is not None:
        done = _ran([program, "-T", "utf8", str(path)], capture_output=True, encoding="utf-8")
        if done is not None and done.returncode == 0:
            return _OVERSTRUCK.sub("", done.stdout)
    from hermes_router.cli.mdoc import plain  # noqa: PLC0415 - where nothing else can format it

    return plain(path.read_text(encoding="utf-8"))


def _ran(command: list[str], **how: Any) -> "subprocess.CompletedProcess[str] | None":
    """A program run to its end; None where it cannot be."""
    try:
        return subprocess.run(command, check=False, **how)  # noqa: S603 - found on the PATH, given a path of ours
    except OSError:
        return None
