"""`hr auth`: keys and accounts of providers, added, listed, tested, removed and moved.

Owns the talk with the person about keys. A key comes from a hidden prompt or a pipe, never from the command line, and
is handed to the daemon over its socket; it must never be printed or written down here.
"""

import sys
import time

import click

from hermes_router.cli import render, words
from hermes_router.cli.accounts import account_lines, without_accounts
from hermes_router.cli.link import Link, connect
from hermes_router.cli.login import import_codex, login, refresh
from hermes_router.cli.original.command import import_
from hermes_router.cli.provider_names import EXPOSED, find_provider, is_key
from hermes_router.cli.render import Cell, Column
from hermes_router.cli.screen import account, resting_place, state_cell
from hermes_router.cli.stray import point_out
from hermes_router.cli.trouble import REFUSED, USAGE, Trouble, warn
from hermes_router.control import types as t
from hermes_router.control.client import quote
from hermes_router.control.places import SYSTEM_SOCKET

_MOST_BYTES = 1 << 20
_PLACES = ("keyring", "file")
_ASKING_S = 180.0  # providers are asked, answers under way end, or a person unlocks a keyring
_TESTS = {"ok": "good", "rejected": "bad", "inconclusive": "warn", "skipped": "dim"}


@click.group()
def auth() -> None:
    """Keys and accounts of providers: add, login, list, test, remove, move."""


for _command in (import_, import_codex, login, refresh):
    auth.add_command(_command)


# --- add ----------------------------------------------------------------------------------------------


class _AddCommand(click.Command):
    """Takes the rest of the line after `--command` as it stands: those options are the other program's."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if "--command" in args:
            at = args.index("--command")
            ctx.meta["argv"] = args[at + 1 :]
            args = args[:at]
        return super().parse_args(ctx, args)


@auth.command(cls=_AddCommand)
@click.argument("provider")
@click.argument("rest", nargs=-1, metavar="")
@click.option("--account", metavar="LABEL", help="Whose quota the keys spend: keys of one account share its limits.")
@click.option(
    "--command", "inline", metavar="ARGV...", help="Run this program for the key; takes the rest of the line. No shell."
)
@click.option("--no-test", is_flag=True, help="Do not ask the provider whether the key works.")
@click.option("--force", is_flag=True, help="Store a key that the provider rejects, too.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def add(
    ctx: click.Context,
    *,
    provider: str,
    rest: tuple[str, ...],
    account: str | None,
    inline: str | None,
    no_test: bool,
    force: bool,
    as_json: bool,
) -> None:
    """Add keys of PROVIDER: typed at a hidden prompt, or piped in, one a line.

    Each key is tried at the provider before it is stored, and is in use at once. Adding a key twice is harmless.
    """
    argv: list[str] | None = ctx.meta.get("argv")
    _check_words(rest, account, argv, inline)
    link = connect(needs_daemon=False)
    row = find_provider(provider, link.get("/v1/credentials", t.Credentials).providers)
    point_out(link=link, system=link.path == SYSTEM_SOCKET)
    lines: list[str] = []
    if not row.variables:
        raise Trouble(f"{row.title} takes a login, not a key", f"run `hr auth login {row.name}`", code=USAGE)
    if argv is None:
        lines = ask_keys(row) if sys.stdin.isatty() else _piped()
        if not any(line.strip() for line in lines):
            raise Trouble(
                "no key was given; nothing was changed",
                f"type it at the prompt of `hr auth add {row.name}`, or pipe it in",
                code=USAGE,
            )
    asked = t.AddCredentials(
        provider=row.name, lines=lines, account=account, command=argv, test=not no_test, force=force
    )
    number = sum(1 for line in lines if line.strip()) or 1
    if not no_test and not as_json:
        click.echo(f"Testing {words.some(number, 'key')} at {words.clean(row.title)} {render.glyphs().more}", err=True)
    added = link.call("POST", "/v1/credentials", asked, t.Added, wait_s=_ASKING_S)
    if as_json:
        render.say_json(added)
    else:
        _say_added(link, row, added, many=number > 1, command=argv is not None)
    if any(one.outcome in {"refused", "faulty"} for one in added.rows):
        ctx.exit(REFUSED)


def _check_words(rest: tuple[str, ...], account: str | None, argv: list[str] | None, inline: str | None) -> None:
    if rest or any(is_key(word) for word in (*(argv or ()), account or "")):
        raise Trouble(
            f"a key does not belong on the command line: {EXPOSED}",
            "nothing was stored. Leave it out: the key is asked for, or read from a pipe. If that was a real key, "
            "replace it at the provider",
            code=USAGE,
        )
    if inline is not None or argv == []:
        raise click.UsageError("--command takes the rest of the line: --command PROGRAM ARGUMENT...")


def ask_keys(row: t.ProviderRow) -> list[str]:
    """Keys typed one by one, none of them shown; an empty line ends it."""
    room = render.width() or 100
    said = [render.paint(words.clean(row.title), "bold")]
    if row.signup:
        said.append(f"  Sign up   {words.clean(row.signup)}")
    if row.free:
        said += render.paragraph(words.clean(row.free), room, indent=12, first="  Free")
    if row.variables and row.keys:
        said.append(f"  Here      {words.some(row.keys, 'key')} already")
    said.append("Paste a key and press Enter; it stays hidden. An empty line ends.")
    click.echo("\n".join(said), err=True)
    lines: list[str] = []
    while True:
        try:
            text = click.prompt(f"Key {len(lines) + 1}", default="", hide_input=True, show_default=False, err=True)
        except click.Abort:
            if _at_end_of_input():
                return lines
            raise
        if not text.strip():
            return lines
        lines.append(text)


def _at_end_of_input() -> bool:
    """Whether the prompt ended with Ctrl-D rather than Ctrl-C."""
    error = sys.exc_info()[1]
    return error is not None and isinstance(error.__context__, EOFError)


def _piped() -> list[str]:
    """The lines of standard input, as they are: the daemon judges each by its number."""
    data = sys.stdin.buffer.read(_MOST_BYTES + 1)
    if len(data) > _MOST_BYTES:
        raise Trouble("standard input holds more than keys", "pipe in one key a line", code=USAGE)
    text = data.decode("utf-8-sig", "replace")
    return [line.rstrip("\r") for line in text.rstrip().split("\n")]


def _say_added(link: Link, row: t.ProviderRow, added: t.Added, *, many: bool, command: bool) -> None:
    stored = [one for one in added.rows if one.outcome in {"stored", "replaced", "known"}]
    for one in added.rows:
        good = one in stored
        word = {"ok": "ok", "rejected": "rejected", "inconclusive": "not tested", "skipped": ""}.get(one.test, one.test)
        name = f"…{one.tail}" if one.tail else f"line {one.line}"
        outcome = "left out" if one.outcome == "faulty" else one.outcome
        head = f"{name}  {outcome}" + (f", {word}" if word and not (word == "rejected" and not good) else "")
        style = "good" if good and one.test in {"ok", "skipped"} else "warn" if good else "bad"
        said = words.clean(one.said)
        if not good:
            said = f"line {one.line}: {said}" if many and one.tail and said else said
        click.echo(render.paint(head, style) + (f": {said}" if said else ""))
    for note in added.notes:
        render.say(render.paragraph(words.clean(note), render.width(), indent=6, first="Note"))
    models = list(dict.fromkeys(model for one in stored for model in one.models))
    if models:
        text = f"{words.some(len(models), 'model')}: {words.listing(models, 12)}"
        render.say(render.paragraph(words.clean(text), render.width()))
    if stored:
        new = any(one.outcome != "known" for one in stored)
        where = f"kept in {resting_place(added.store)}" if added.store and new else ""
        if command and new:
            where = "the command is kept, what it prints is not"
        use = _use(link, row)
        click.echo(f"{words.clean(row.title)}: " + ", ".join(part for part in (where, use) if part) + ".")


def _use(link: Link, row: t.ProviderRow) -> str:
    """Whether the keys are in use, and what stands against it."""
    if row.state == "disabled":
        return f"not in use, since it is disabled: `hr provider enable {row.name}`"
    if row.state in {"retired", "unspoken"}:
        return f"not in use: {words.clean(row.reason)}"
    return "the daemon uses them from its next start" if link.works_on_files else "in use now"


# --- list ---------------------------------------------------------------------------------------------


@auth.command("list")
@click.argument("provider", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_keys(provider: str | None, as_json: bool) -> None:
    """List keys by their last four characters: account, place, state. Then accounts, and the providers without one."""
    link = connect(needs_daemon=False)
    found = link.get("/v1/credentials", t.Credentials)
    rows, providers, accounts = found.rows, found.providers, found.accounts
    if provider is not None:
        one = find_provider(provider, providers)
        rows, providers = [row for row in rows if row.provider == one.name], [one]
        accounts = [row for row in accounts if row.provider == one.name]
    if as_json:
        render.say_json(
            t.Credentials(
                rows=rows, providers=providers, store=found.store, store_note=found.store_note, accounts=accounts
            )
        )
        return
    now = time.time()
    keys = without_accounts(rows, accounts)
    render.say_table(
        (
            Column("PROVIDER", least=8),
            Column("KEY"),
            Column("ACCOUNT", least=6, drop=2),
            Column("SOURCE", least=8, drop=1),
            Column("STATE", least=14, wrap=True),
            Column("MODELS", right=True, drop=4),
            Column("ID", drop=3),
        ),
        [
            (
                row.provider,
                f"…{row.tail}",
                account(row),
                render.tilde(row.source),
                state_cell(row.state, row.reason, row.until, now),
                str(row.models) if row.models else "",
                Cell(row.id, "dim"),
            )
            for row in keys
        ],
    )
    if accounts:
        lines = account_lines(accounts, now, render.width(), whole=True)
        render.say(["", *lines] if keys else lines)
    _say_without({row.provider for row in keys} | {row.provider for row in accounts}, providers)
    if found.store:
        note = words.sentence(found.store_note) or f"New keys rest in {resting_place(found.store)}."
        render.say(["", *render.paragraph(note, render.width())])


def _say_without(have: set[str], providers: list[t.ProviderRow]) -> None:
    without = [row for row in providers if row.name not in have]
    if not without:
        return
    if have:
        click.echo()
    render.say_table(
        (
            Column("WITHOUT A KEY" if have else "PROVIDER"),
            Column("STATE", drop=3),
            Column("SIGN UP", least=20, drop=2),
            Column("FREE", least=20, drop=1),
        ),
        [(row.name, "" if row.state == "no key" else row.state, row.signup, row.free) for row in without],
    )


# --- test, remove, migrate ----------------------------------------------------------------------------


@auth.command("test")
@click.argument("provider", required=False)
@click.argument("key", metavar="[LAST4|ID]", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def test_keys(ctx: click.Context, provider: str | None, key: str | None, as_json: bool) -> None:
    """Ask the providers whether keys work; a good one that was paused is back at once."""
    link = connect(needs_daemon=False)
    if provider is not None:
        provider = find_provider(provider, link.get("/v1/credentials", t.Credentials).providers).name
    _check_which(key)
    if not as_json:
        click.echo(f"Testing {provider or 'all keys'} {render.glyphs().more}", err=True)
    tested = link.call(
        "POST", "/v1/credentials/test", t.TestCredentials(provider=provider, which=key), t.Tested, wait_s=_ASKING_S
    )
    if as_json:
        render.say_json(tested)
    elif not tested.rows:
        click.echo("There is no key to test: `hr auth add PROVIDER` adds one.")
    else:
        render.say_table(
            (
                Column("PROVIDER", least=8),
                Column("KEY"),
                Column("TEST"),
                Column("MODELS", right=True, drop=2),
                Column("TIME", right=True, drop=3),
                Column("", least=16, wrap=True),
            ),
            [
                (
                    row.provider,
                    f"…{row.tail}",
                    Cell(row.test, _TESTS.get(row.test, "")),
                    str(row.models) if row.models else "",
                    words.lapse(row.duration_s) if row.duration_s else "",
                    row.said,
                )
                for row in tested.rows
            ],
        )
    if any(row.test == "rejected" for row in tested.rows):
        ctx.exit(REFUSED)


def _check_which(key: str | None) -> None:
    if key is not None and is_key(key):
        raise Trouble(
            f"a key does not belong on the command line: {EXPOSED}", "name it by its last four characters", code=USAGE
        )


@auth.command()
@click.argument("provider")
@click.argument("key", metavar="[LAST4|ID|ACCOUNT]", required=False)
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def remove(ctx: click.Context, provider: str, key: str | None, yes: bool, as_json: bool) -> None:
    """Remove a key or an account of PROVIDER, or all of them: what uses it ends first, then it is forgotten.

    A login is not revoked: the official CLI may share it.
    """
    link = connect(needs_daemon=False)
    found = link.get("/v1/credentials", t.Credentials)
    row = find_provider(provider, found.providers)
    _check_which(key)
    if key is None and not yes:
        _confirm(row, [one for one in found.rows if one.provider == row.name])
    path = f"/v1/credentials/{row.name}" + (f"/{quote(key)}" if key else "")
    removed = link.call("DELETE", path, None, t.Removed, wait_s=_ASKING_S)
    if as_json:
        render.say_json(removed)
    for one in () if as_json else removed.rows:
        gone = one.outcome == "removed"
        said = f": {words.clean(one.said)}" if one.said else ""
        place = f" ({words.clean(render.tilde(one.source))})" if one.source else ""
        outcome = render.paint(words.clean(one.outcome), "good" if gone else "warn")
        click.echo(f"{one.provider} …{words.clean(one.tail)}{place}  {outcome}{said}")
    if any(one.outcome == "kept" for one in removed.rows):
        ctx.exit(REFUSED)


def _confirm(row: t.ProviderRow, rows: list[t.CredentialRow]) -> None:
    if not rows:
        raise Trouble(f"{row.title} has no key", "`hr auth list` shows all", code=USAGE)
    if not sys.stdin.isatty():
        raise Trouble(
            f"this would remove {words.some(len(rows), 'key')} of {row.title}, and there is nobody to ask",
            "add --yes, or name one key by its last four characters",
            code=USAGE,
        )
    names = words.listing([f"…{one.tail} ({words.clean(render.tilde(one.source))})" for one in rows], 8)
    try:
        sure = click.confirm(f"Remove {words.some(len(rows), 'key')} of {words.clean(row.title)}: {names}?", err=True)
    except click.Abort:
        if not _at_end_of_input():
            raise
        sure = False
    if not sure:
        warn("nothing was removed")
        raise click.exceptions.Exit(0)


@auth.command()
@click.option("--to", type=click.Choice(_PLACES), help="Where to; the option's name may be left out.")
@click.argument("place", type=click.Choice(_PLACES), required=False, metavar="keyring|file")
def migrate(to: str | None, place: str | None) -> None:
    """Move all stored keys to the OS keyring, or to a file (0600): copied, verified, then deleted."""
    if (to is None) == (place is None):
        raise click.UsageError("say once where to: keyring or file")
    to = to or place or ""
    done = connect(needs_daemon=False).call(
        "POST", "/v1/credentials/migrate", t.Migrate(to=to), t.Done, wait_s=_ASKING_S
    )
    render.say(words.clean(one) for one in done.said)
