"""`hr export` and `hr import`: a set-up carried to another machine.

Owns the file that carries it, and the talk. A file with secrets is the owner's alone from its first byte, and never
goes to a terminal.
"""

import os
import stat
import sys
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final

import click
import msgspec

from hermes_router.cli import render, words
from hermes_router.cli.link import Link, connect
from hermes_router.cli.render import Cell, Column
from hermes_router.cli.trouble import FAILED, REFUSED, USAGE, Trouble, warn
from hermes_router.control import carry_types as c

__all__ = ["export", "import_"]

_MOST: Final = 1024 * 1024 - 4096  # what the control socket takes in one piece
_ASKING_S: Final = 120.0  # a keyring that somebody unlocks, providers that are asked about many keys
_STYLES: Final = {"new": "good", "replaced": "warn", "conflict": "bad", "failed": "bad", "left out": "warn",
                  "kept": "dim", "same": "dim"}  # fmt: skip
_ONE_HOME: Final = (
    "A login must not live on two machines: each renewal ends the other's. Once it is imported elsewhere, remove it "
    "here: `hr auth remove codex`."
)


@click.command()
@click.argument(
    "file", default="-", metavar="[FILE|-]", type=click.Path(dir_okay=False, path_type=Path, allow_dash=True)
)
@click.option("--with-secrets", is_flag=True, help="With provider keys, router keys of PROXY_API_KEYS and logins.")
@click.option("--force", is_flag=True, help="Replace FILE where there is one.")
def export(file: Path, with_secrets: bool, force: bool) -> None:
    """Write this set-up to FILE (or standard output), for `hr import` on another machine.

    Settings, models, budgets, providers of your own, router keys (as digests: callers keep their keys) and what
    embeddings are bound to. What was learned or spent stays. With --with-secrets the file holds keys in clear: it is
    readable by you only (0600), is never shown on a terminal, and wants to be carried over an encrypted way.
    """
    to_terminal = str(file) == "-" and sys.stdout.isatty()
    if with_secrets and to_terminal:
        raise Trouble("secrets are not shown on a terminal", "name a file: `hr export --with-secrets FILE`", code=USAGE)
    if str(file) != "-" and os.path.lexists(file) and not force:
        raise Trouble(f"{file} is there already", "name another file, or --force", code=REFUSED)
    if with_secrets and str(file) == "-":
        _close_output()
    bundle = connect(needs_daemon=False).call("POST", "/v1/export", c.CarryOut(with_secrets=with_secrets), c.Bundle)
    data = msgspec.json.format(msgspec.json.encode(bundle), indent=1) + b"\n"
    if str(file) == "-":
        click.echo(data.decode(), nl=False)
    else:
        _write(file, data)
        click.echo(f"Written to {words.clean(render.tilde(str(file)))}: {_content(bundle)}.", err=True)
    for said in bundle.left_out:
        click.echo(f"Left out: {words.clean(said)}.", err=True)
    if with_secrets:
        where = "It holds" if str(file) == "-" else "The file holds"
        warn(f"{where} secrets in clear: carry it over an encrypted way (scp), and delete it after the import.")
        if bundle.accounts:
            warn(_ONE_HOME)


def _content(bundle: c.Bundle) -> str:
    counted = (
        (len(bundle.settings) + len(bundle.secret_settings), "setting", "settings"),
        (len(bundle.router_keys), "router key", "router keys"),
        (len(bundle.embed_bindings), "binding of embeddings", "bindings of embeddings"),
        (len(bundle.keys), "provider key", "provider keys"),
        (len(bundle.accounts), "login", "logins"),
    )
    parts = [words.some(number, one, more) for number, one, more in counted if number]
    return words.listing([*parts, *(["providers.toml"] if bundle.providers else [])], 10) or "nothing was set here"


def _close_output() -> None:
    """A file that a shell opened for our output is the owner's alone before secrets go there. Raises Trouble."""
    try:
        handle = sys.stdout.fileno()
    except (OSError, ValueError):  # no file at all
        return
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        return
    with suppress(OSError):  # another's file, or a file system without modes
        os.fchmod(handle, 0o600)
    if os.fstat(handle).st_mode & 0o077:
        raise Trouble(
            "standard output is a file that others can read", "name a file: `hr export --with-secrets FILE`",
            code=REFUSED,
        )  # fmt: skip


def _write(path: Path, data: bytes) -> None:
    """Whole or not at all, 0600 from the first byte. Raises OSError."""
    target = Path(os.path.realpath(path))
    handle, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as out:
            out.write(data)
            out.flush()
            os.fsync(out.fileno())
        temporary.replace(target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


@click.command("import")
@click.argument("file", metavar="FILE|-", type=click.Path(dir_okay=False, path_type=Path, allow_dash=True))
@click.option("--dry-run", is_flag=True, help="Only show what would change.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--force", is_flag=True, help="Where something differs here, take the file's.")
@click.option("--keep", is_flag=True, help="Where something differs here, leave it as it is, and take the rest.")
@click.option("--test", is_flag=True, help="Ask the providers about the keys; one that is rejected is not stored.")
@click.option(
    "--move-logins", is_flag=True, help="Take logins over, too: the router that they come from must never run again."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def import_(
    *, file: Path, dry_run: bool, yes: bool, force: bool, keep: bool, test: bool, move_logins: bool, as_json: bool
) -> None:
    """Bring the set-up of FILE in, which `hr export` wrote on another machine.

    It shows what it will change, and asks. What differs here is not touched: the conflicts are named, nothing is
    changed, and it ends with 3, unless --force or --keep says what is to be done. Keys go where this installation
    keeps its own. An import that was cut can be run again.
    """
    if force and keep:
        raise Trouble("--force and --keep say opposite things", "choose one of them", code=USAGE)
    bundle = _read(file)
    link = connect(needs_daemon=False)
    asked = c.CarryIn(
        bundle=bundle,
        conflicts="replace" if force else "keep" if keep else "refuse",
        accounts=move_logins,
        test=test,
    )
    plan = _carry(link, asked)
    conflicts = [row for row in plan.rows if row.outcome == "conflict"]
    work = any(row.outcome in {"new", "replaced"} for row in plan.rows)
    if not as_json:
        _show(plan)
    if dry_run or conflicts or not work:
        if as_json:
            render.say_json(plan)
        if conflicts:
            names = words.listing([f"{row.kind} {row.name}" for row in conflicts], 4)
            raise Trouble(
                f"{names} {'differs' if len(conflicts) == 1 else 'differ'} here; nothing was changed",
                "--keep leaves them and takes the rest, --force takes the file's",
                code=REFUSED,
            )
        if not as_json:
            click.echo("Nothing was changed." if dry_run and work else "There is nothing to change.")
        return
    if not yes and not _sure(file):
        warn("nothing was changed")
        return
    done = _carry(link, msgspec.structs.replace(asked, apply=True))
    _say_done(done, said=plan.notes, as_json=as_json)


def _carry(link: Link, asked: c.CarryIn) -> c.Carried:
    return link.call("POST", "/v1/import", asked, c.Carried, wait_s=_ASKING_S)


def _sure(file: Path) -> bool:
    if str(file) == "-" or not sys.stdin.isatty():
        raise Trouble("nobody can be asked here", "say --yes, or look first with --dry-run", code=USAGE)
    return click.confirm("Change this?", err=True)


def _say_done(done: c.Carried, *, said: list[str], as_json: bool) -> None:
    """What became of it; `said` are notes that were shown with the plan."""
    failed = [row for row in done.rows if row.outcome == "failed"]
    if as_json:
        render.say_json(done)
    elif not done.applied:
        _show(done)
    if not done.applied:  # somebody else changed something in this very moment
        raise Trouble("something changed meanwhile; nothing was imported", "run it again", code=REFUSED)
    if not as_json:
        brought = sum(row.outcome in {"new", "replaced"} for row in done.rows)
        click.echo(f"Imported: {words.some(brought, 'thing')}. `hr doctor` looks whether all is well.")
        _say_notes(note for note in done.notes if note not in said)
    if any(row.kind == "login" and row.outcome == "new" for row in done.rows):
        warn("A login lives on one machine: remove it on the other one now, `hr auth remove codex`.")
    if failed:
        which = "; ".join(f"{row.name}: {row.said}" for row in failed)
        code = REFUSED if any("rejects" in row.said for row in failed) else FAILED
        raise Trouble(f"not imported: {which}", "mend that, then import again: the rest is in place", code=code)


def _show(carried: c.Carried) -> None:
    render.say_table(
        (Column("WHAT", least=8), Column("NAME", least=16, wrap=True), Column(""), Column("", least=20, wrap=True)),
        [(row.kind, row.name, Cell(row.outcome, _STYLES.get(row.outcome, "")), row.said) for row in carried.rows],
    )
    _say_notes(carried.notes)


def _say_notes(notes: Iterable[str]) -> None:
    for note in notes:
        click.echo(words.clean(note), err=True)


def _read(file: Path) -> c.Bundle:
    if str(file) == "-":
        data = sys.stdin.buffer.read(_MOST + 1)
    else:
        with file.open("rb") as opened:
            data = opened.read(_MOST + 1)
            mode = stat.S_IMODE(os.fstat(opened.fileno()).st_mode)
        if mode & 0o077 and b'"with_secrets": true' in data:
            warn(f"{file} holds secrets, and others can read it (mode {mode:04o}): `chmod 600` it, delete it later")
    if len(data) > _MOST:
        raise Trouble(f"{file} is larger than a set-up can be", "is it a file of `hr export`?", code=USAGE)
    version = None
    with suppress(msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        found = msgspec.json.decode(data)
        if isinstance(found, dict) and found.get("hermes_router") == "set-up":
            version = found.get("version")
    if not isinstance(version, int):
        raise Trouble(f"{file} is no set-up", "it must be a file that `hr export` wrote", code=USAGE)
    if version > c.FORMAT:
        raise Trouble(
            f"{file} was written by a later version of hermes-router (format {version}); nothing was changed",
            "upgrade hermes-router here first: `hr upgrade`",
            code=REFUSED,
        )
    try:
        return msgspec.json.decode(data, type=c.Bundle)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise Trouble(f"{file} is damaged", "export it again; nothing was changed", code=USAGE) from None
