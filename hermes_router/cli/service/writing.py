"""The writing of unit files: shown first, never over somebody else's, whole or not at all.

Owns what is said of a file before it is written, and the refusals. It must never ask a service manager.
"""

import difflib
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import click

from hermes_router.cli import render
from hermes_router.cli.service.unit import Unit
from hermes_router.cli.trouble import FAILED, REFUSED, Trouble

__all__ = ["put", "refuse_foreign", "remove", "show", "write"]

_OLD: Final = ".old"
_MODE: Final = 0o644  # units hold no secrets, and launchd insists that others cannot write


def refuse_foreign(found: Unit, *, force: bool) -> None:
    """Raises Trouble where the unit is not ours as we wrote it."""
    if found.standing not in {"foreign", "edited"} or force:
        return
    keep = "`--force` writes it anew, and keeps the old one beside it"
    if found.standing == "edited":
        keep = f"move your changes into a drop-in (`systemctl edit`), or {keep}"
    raise Trouble(f"{found.path} is left alone: {found.why}", keep, code=REFUSED)


def show(path: Path, text: str) -> bool:
    """Say what will stand there: the whole file, or how it changes. Returns whether it changes at all."""
    where = render.tilde(str(path))
    try:
        before = path.read_text(errors="replace")
    except OSError:
        before = ""
    if before == text:
        click.echo(f"{where} stays as it is.")
        return False
    if not before:
        click.echo(render.paint(f"{where} (new)", "bold"))
        for line in text.splitlines():
            click.echo(f"    {line}")
        return True
    click.echo(render.paint(f"{where} (changes)", "bold"))
    for line in difflib.unified_diff(
        before.splitlines(), text.splitlines(), "as it is", "as it will be", "", "", 2, ""
    ):
        style = {"+": "good", "-": "bad", "@": "dim"}.get(line[:1], "")
        click.echo(f"    {render.paint(line, style)}")
    return True


def put(files: Mapping[Path, str], *, keep_old: bool) -> None:
    """Write them, each whole or not at all; `keep_old`: what stood there stays beside it. Raises Trouble.

    What stood there is never away: it gets its second name only once the new file is on the disk.
    """
    for path, text in files.items():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write(path, text.encode(), keep_old=keep_old)
        except OSError as error:
            raise Trouble(
                f"{path} cannot be written: {error.strerror}", "mend that, then try again", code=FAILED
            ) from None


def write(path: Path, data: bytes, *, keep_old: bool = False, mode: int = _MODE) -> None:
    """Write one, whole or not at all. Raises OSError."""
    fd, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(data)
            file.flush()
            os.fchmod(fd, mode)
            os.fsync(fd)
        if keep_old and (path.exists() or path.is_symlink()):
            click.echo(f"The old one is kept as {render.tilde(str(_kept(path)))}.")
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _kept(path: Path) -> Path:
    """Give what stands there a second name that is free, and return that."""
    number = 0
    while True:
        old = path.with_name(f"{path.name}{_OLD}{f'.{number}' if number else ''}")
        number += 1
        try:
            os.link(path, old, follow_symlinks=False)
        except FileExistsError:
            continue
        except PermissionError:  # another user's file, or a file system without hard links
            if old.exists() or old.is_symlink():
                continue
            write(old, path.read_bytes(), mode=path.stat().st_mode & _MODE)
        return old


def remove(path: Path) -> bool:
    """Take a file away; False where there was none."""
    try:
        path.unlink()
    except FileNotFoundError:
        return False
    return True
