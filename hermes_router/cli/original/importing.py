"""The taking-over of what the original hermes-router holds, for `hr auth import` and `hr setup`.

Owns the reading of its files, which stay as they are, and how the outcomes are shown.
"""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import click

from hermes_router.cli import render, words
from hermes_router.cli.link import connect
from hermes_router.cli.login import official_file
from hermes_router.cli.original.files import Holdings, Left, Unreadable, holdings
from hermes_router.cli.original.install import MOST_BYTES, Original, at, beside, find, runs
from hermes_router.cli.original.takeover import Outcome, Takeover
from hermes_router.cli.screen import resting_place
from hermes_router.cli.trouble import FAILED, REFUSED, USAGE, Trouble, warn
from hermes_router.control import setup_types as s
from hermes_router.control import types as t
from hermes_router.control.places import user_places

__all__ = ["ImportReport", "originals", "passed_over", "read_holdings", "say_left", "say_outcome", "take_over"]

_STYLES: Final = {
    "stored": "good", "replaced": "good", "set": "good", "known": "good", "same": "dim", "found": "",
    "kept": "warn", "left": "warn", "refused": "bad", "faulty": "bad",
}  # fmt: skip
_TITLES: Final = {"key": "Keys", "router_key": "Router keys", "setting": "Settings", "login": "Accounts"}


class ImportReport(t.Type, frozen=True):
    """What `--json` prints. `left` are things that were not taken over, each with its reason."""

    files: list[str]
    outcomes: list[Outcome]
    left: list[dict[str, str]]
    logins_left: int = 0
    changed: bool = False
    notes: list[str] = []  # noqa: RUF012 - msgspec copies it


def take_over(paths: Sequence[Path], *, codex: bool, dry_run: bool, force: bool, as_json: bool) -> bool:
    """All of it, shown as it is done; whether nobody said no. Raises Trouble."""
    found = originals(paths)
    if not paths:
        for said in passed_over(found):
            warn(said)
    if codex:
        _refuse_while_running(found)
    link = connect(needs_daemon=False)
    rows = link.get("/v1/catalog", s.Catalog).rows
    shown = _Shown(quiet=as_json)
    takeover = Takeover(
        link,
        {row.name: row.title for row in rows},
        shown.begun,
        shown.outcome,
        lambda question: not as_json and _can_ask() and click.confirm(words.clean(question), default=False, err=True),
        force=force,
        dry=dry_run,
    )
    left: list[Left] = []
    logins, files = 0, []
    for original in found:
        files += [str(one) for one in (original.env, original.auth) if one is not None]
        shown.source(original)
        held = read_holdings(original, rows)
        left += held.left
        takeover.everything(held)
        if codex and not dry_run and held.logins and original.auth is not None:
            takeover.logins(original.auth, official_file())
        else:
            logins += held.logins
    if as_json:
        render.say_json(
            ImportReport(
                files=files,
                outcomes=takeover.outcomes,
                left=[{"name": one.name, "why": one.why} for one in left],
                logins_left=logins,
                changed=takeover.changed,
                notes=takeover.notes,
            )
        )
    else:
        say_left(left)
        _say_end(takeover, logins, used=not link.works_on_files)
    return not takeover.refused


def originals(paths: Sequence[Path]) -> list[Original]:
    """Those that were named, else all that are found. Raises Trouble."""
    if not paths:
        found = find(os.environ, home=Path.home(), ours=user_places(os.environ).env_file)
        if not found:
            here = "".join(f"; {said}" for said in passed_over(found))
            raise Trouble(
                f"no original hermes-router was found: not in ~/hermes-router, no unit and no process of it{here}",
                "name its directory: `hr auth import DIRECTORY`",
            )
        return found
    named = []
    for path in paths:
        try:
            one = at(path)
        except OSError as error:
            raise Trouble(f"{path}: {error.strerror}", "name its directory, its .env or its auth.json") from None
        if one.env is None and one.auth is None:
            raise Trouble(f"{path} holds no .env and no auth.json", "name the directory where they lie", code=USAGE)
        named.append(one)
    return named


def passed_over(found: Sequence[Original]) -> list[str]:
    """A sentence on the original's files in the current directory, where they are not among those that were found."""
    try:
        place = beside(Path.cwd(), found, user_places(os.environ).env_file)
    except OSError:  # the directory was removed under us
        return []
    return [] if place is None else ["the original's files in this directory were not read: `hr auth import .` does"]


def _can_ask() -> bool:
    return sys.stdin.isatty()


def read_holdings(original: Original, rows: Sequence[s.CatalogRow]) -> Holdings:
    """What an installation holds. Raises Trouble where a file cannot be read: nothing of it was taken over then."""
    try:
        return holdings(
            _read(original.env),
            _read(original.auth),
            rows,
            env_name=render.tilde(str(original.env)),
            auth_name=render.tilde(str(original.auth)),
        )
    except Unreadable as error:
        raise Trouble(
            f"{error}; nothing was taken over from there",
            f"mend it, or take over the other file alone: `hr auth import {render.tilde(str(original.env or 'FILE'))}`",
        ) from None


def _read(path: Path | None) -> bytes | None:
    if path is None:
        return None
    try:
        if not path.is_file():  # a pipe in its place must not hold us up
            raise Trouble(f"{path} is no file", "name the original's .env or auth.json", code=FAILED)
        with path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise Trouble(
            f"{path} cannot be read: {error.strerror}", "run this as the user it belongs to; nothing was changed"
        ) from None
    if len(data) > MOST_BYTES:
        raise Trouble(f"{path} is larger than 4 MB: that is no file of the original's", "name another; nothing changed")
    return data


def _refuse_while_running(found: Sequence[Original]) -> None:
    why = runs(found)
    if why:
        raise Trouble(
            f"the original hermes-router runs ({why}): two programs that renew one login log each other out",
            "stop it for good, then try again; without --codex everything else can be taken over now",
            code=REFUSED,
        )


# --- showing it -----------------------------------------------------------------------------------------


class _Shown:
    """Prints what is done as it is done, under a title for each kind; nothing where JSON is wanted."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet
        self._kind = ""

    def source(self, original: Original) -> None:
        """Where the next things come from."""
        if not self._quiet:
            names = [one.name for one in (original.env, original.auth) if one is not None]
            place = words.clean(render.tilde(str(original.directory)))
            click.echo(render.paint(f"From {place}: {words.listing(names)}", "bold"))
            self._kind = ""

    def begun(self, said: str) -> None:
        """Something takes its time."""
        if not self._quiet:
            click.echo(f"{words.clean(said)} {render.glyphs().more}", err=True)

    def outcome(self, one: Outcome) -> None:
        """Something is done."""
        if self._quiet:
            return
        if one.kind != self._kind:
            self._kind = one.kind
            click.echo(_TITLES[one.kind])
        say_outcome(one)


def say_outcome(one: Outcome, *, indent: int = 2) -> None:
    """One line: what it is, what became of it, and why."""
    outcome = {"faulty": "left out", "left": "left out", "refused": "not stored"}.get(one.outcome, one.outcome)
    if one.kind == "setting" and one.outcome == "set":
        text = f"set to {words.clean(one.said)}"
    else:
        tested = {"ok": ", ok", "inconclusive": ", not tested", "rejected": ", rejected"}.get(one.test, "")
        models = f", {words.some(one.models, 'model')}" if one.models else ""
        text = f"{outcome}{tested if one.outcome != 'refused' else ''}{models}"
        said = "" if one.outcome == "known" and one.test == "ok" else one.said.removesuffix("; it was not stored")
        text += f": {words.clean(said)}" if said else ""
    name = words.clean(one.name) + (f" …{words.clean(one.tail)}" if one.tail else "")
    style = "warn" if one.test == "inconclusive" and one.outcome == "stored" else _STYLES.get(one.outcome, "")
    head = f"{' ' * indent}{name}  "
    lines = render.paragraph(text, render.width(), indent=min(len(head), 36), first=head)
    if lines:
        word = text.partition(":")[0].partition(",")[0]
        click.echo("\n".join([lines[0].replace(word, render.paint(word, style), 1), *lines[1:]]))


def say_left(left: Sequence[Left], *, indent: int = 0) -> None:
    """What is not taken over, with its reason; several for one reason in one paragraph."""
    if not left:
        return
    click.echo(" " * indent + "Left out")
    for why in dict.fromkeys(one.why for one in left):
        names = dict.fromkeys(one.name for one in left if one.why == why)
        text = f"{', '.join(names)}: {why}."
        render.say(render.paragraph(words.clean(text), render.width(), indent=indent + 2))


def _say_end(takeover: Takeover, logins: int, *, used: bool) -> None:
    for note in takeover.notes:
        render.say(render.paragraph(words.clean(note), render.width(), indent=6, first="Note"))
    if logins:
        many = words.some(logins, "ChatGPT account")
        step = "`hr auth import --codex` takes them over, once the original is stopped for good"
        render.say(render.paragraph(f"{many} left where they are: {step}.", render.width()))
    if any(one.kind == "login" and one.outcome in {"stored", "replaced"} for one in takeover.outcomes):
        warn("do not start the original again: two programs that renew one login log each other out")
    if takeover.dry:
        click.echo("Nothing was asked, and nothing changed.")
        return
    where = f", kept in {resting_place(takeover.store)}" if takeover.store else ""
    if any(one.kind == "key" and one.outcome in {"stored", "replaced"} for one in takeover.outcomes):
        click.echo(f"The keys are {'in use now' if used else 'in use from the next start on'}{where}.")
    elif not takeover.changed:
        click.echo("Nothing is new: all that can be taken over is here already, and nothing was changed.")
    click.echo("The original's files were read, and are as they were.")
