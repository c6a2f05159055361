"""`hr auth import-codex`, `login` and `refresh`: accounts that are logged in instead of keys.

Owns the talk with the person about a login; the daemon does the rest, and keeps the tokens. It must never see a token,
and an address with a code in it goes to the daemon and nowhere else.
"""

import os
import select
import sys
import time
from pathlib import Path
from typing import Final

import click

from hermes_router.cli import render, words
from hermes_router.cli.accounts import name
from hermes_router.cli.link import Link, connect
from hermes_router.cli.provider_names import find_provider
from hermes_router.cli.trouble import FAILED, REFUSED, USAGE, Trouble, warn
from hermes_router.control import types as t
from hermes_router.control.client import quote

__all__ = ["import_codex", "login", "official_file", "refresh"]

_WAIT_S: Final = 120.0  # the authorisation server is asked meanwhile, which may take its time
_LOOK_S: Final = 1.0
_REFUSALS: Final = frozenset({"refused", "not_eligible", "disabled", "unproved", "clock"})


# --- import -------------------------------------------------------------------------------------------


@click.command("import-codex")
@click.option("--account", metavar="LABEL", help="What to call it here; else it is known by its address.")
@click.option("--read-only", is_flag=True, help="Borrow it: use its token while that lives, never renew it.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def import_codex(*, account: str | None, read_only: bool, as_json: bool) -> None:
    """Bring in the login of the official Codex CLI, from $CODEX_HOME or ~/.codex.

    The login is shared from then on: what one of the two renews, the other gets.
    """
    link = connect(needs_daemon=False)
    asked = t.ImportLogin(provider="codex", path=str(official_file()), account=account, read_only=read_only)
    found = link.call("POST", "/v1/accounts/import", asked, t.Imported, wait_s=_WAIT_S)
    if as_json:
        render.say_json(found)
        return
    row = found.row
    plan = f" ({words.clean(row.plan)})" if row.plan else ""
    click.echo(render.paint(f"{name(row)}{plan}  {found.outcome}", "good"))
    if found.said:
        click.echo(words.sentence(found.said))
    if row.origin:
        place = words.clean(render.tilde(row.origin))
        if row.read_only:
            said = f"Borrowed from {place}: the Codex CLI renews it, this router never does."
        else:
            said = f"Shared with the Codex CLI: {place} is read before each renewal and written after it."
        render.say(render.paragraph(said, render.width()))
    _say_end(link, row, found.notes)


def official_file() -> Path:
    """Where the official CLI keeps its login; the daemon, which may run elsewhere, is told the whole path."""
    home = os.environ.get("CODEX_HOME", "")
    return ((Path(home).expanduser() if home else Path.home() / ".codex") / "auth.json").absolute()


def _say_end(link: Link, row: t.AccountRow, notes: list[str]) -> None:
    for note in notes:
        render.say(render.paragraph(words.clean(note), render.width(), indent=6, first="Note"))
    use = "the daemon uses it from its next start" if link.works_on_files else "in use now"
    click.echo(f"{words.clean(row.provider)}: {use}; `hr auth list` shows its windows.")


# --- login --------------------------------------------------------------------------------------------


@click.command()
@click.argument("provider")
@click.option("--browser", "way", flag_value="browser", help="Sign in with a browser, here or on another machine.")
@click.option("--device", "way", flag_value="device", help="Type a short code in a browser anywhere (backend route).")
@click.option(
    "--route",
    type=click.Choice(("plan", "backend")),
    help="plan: the official way to use a ChatGPT plan in apps (Plus and Pro). backend: that of the Codex CLI.",
)
@click.option("--account", metavar="LABEL", help="What to call it here; else it is known by its address.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def login(*, provider: str, way: str | None, route: str | None, account: str | None, as_json: bool) -> None:
    """Log in to PROVIDER with an account, by a login of the router's own.

    Without --route, the plan route is tried first; an account that cannot take it goes on over the backend route.
    """
    if way == "device" and route == "plan":
        raise Trouble(
            "the plan route knows no device codes",
            "leave --device out: the address that the browser ends at can be pasted",
            code=USAGE,
        )
    link = connect(needs_daemon=False)
    row = find_provider(provider, link.get("/v1/credentials", t.Credentials).providers)
    if row.variables:
        raise Trouble(f"{row.title} takes a key, not a login", f"run `hr auth add {row.name}`", code=USAGE)
    if way is None:
        way = "browser" if route == "plan" or _has_browser() else "device"
    first = route or ("plan" if way == "browser" else "backend")
    if way == "device" and route is None:
        warn(f"the official way needs a browser, on any machine: `hr auth login {row.name} --route plan`")
    found = _log_in(link, t.BeginLogin(provider=row.name, route=first, way=way, account=account))
    if found.state == "failed" and found.code == "not_eligible" and route is None:
        warn(f"{words.clean(found.said)}: going on over the backend route")
        found = _log_in(link, t.BeginLogin(provider=row.name, route="backend", way=way, account=account))
    if found.state != "done" or found.row is None:
        code = REFUSED if found.code in _REFUSALS else FAILED
        raise Trouble(found.said or "the login came to nothing", found.next_step, code=code)
    if as_json:
        render.say_json(found.row)
        return
    who = found.row
    plan = f" ({words.clean(who.plan)})" if who.plan else ""
    click.echo(render.paint(f"Logged in as {name(who)}{plan}, {who.route} route", "good"))
    _say_end(link, who, found.notes)


def _has_browser() -> bool:
    """Whether a browser of this machine can be seen by who sits at this terminal."""
    if os.environ.get("SSH_CONNECTION") or os.environ.get("SSH_TTY"):
        return False
    return sys.platform == "darwin" or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def _log_in(link: Link, asked: t.BeginLogin) -> t.Login:
    """One login, from its beginning to its end."""
    found = link.call("POST", "/v1/accounts/login", asked, t.Login, wait_s=_WAIT_S)
    path = f"/v1/accounts/login/{quote(found.id)}"
    _say_begin(found)
    try:
        while found.state == "waiting":
            pasted = _pasted() if found.way == "browser" else _pause()
            answer = _paste(link, path, pasted) if pasted else link.get(path, t.Login)
            found = answer or found
    except (KeyboardInterrupt, click.Abort):
        link.call("DELETE", path, None, t.Done)
        raise
    return found


def _paste(link: Link, path: str, text: str) -> t.Login | None:
    """Hand on what was pasted; None where it was nothing, which is said, and the login goes on."""
    try:
        return link.call("POST", path, t.PasteLogin(text=text), t.Login, wait_s=_WAIT_S)
    except Trouble as trouble:
        if trouble.exit_code != USAGE:
            raise
        warn(trouble.format_message().replace("\n    ", " "))
        return None


def _say_begin(found: t.Login) -> None:
    room = render.width() or 100
    said = []
    if found.way == "device":
        said += ["Open this address in any browser, and type the code:", "", f"    {words.clean(found.url)}"]
        said += [f"    {render.paint(words.clean(found.user_code), 'bold')}", ""]
        said += render.paragraph("Never type a code that a web page or another person gave you.", room)
    else:
        said += ["Continue with ChatGPT: open this address.", "", f"    {words.clean(found.url)}", ""]
        if not found.listening:
            text = (
                "The port that the browser comes back to is in use by another program. When you have signed in, the "
                "browser shows an error, or that program: copy the address from its address bar all the same."
            )
            said += render.paragraph(text, room)
        if sys.stdin.isatty():
            text = "If the browser runs elsewhere, paste the address that it ends at here, and press Enter."
            said += render.paragraph(text, room)
    click.echo("\n".join(said), err=True)
    if found.way == "browser" and _has_browser():
        import webbrowser  # noqa: PLC0415 - only here

        webbrowser.open(found.url)
    click.echo(f"Waiting {render.glyphs().more}", err=True)


def _pasted() -> str:
    """A line that the person has typed by now; else wait a moment."""
    if not sys.stdin.isatty():
        return _pause()
    ready, _, _ = select.select([sys.stdin], [], [], _LOOK_S)
    return sys.stdin.readline().strip() if ready else ""


def _pause() -> str:
    time.sleep(_LOOK_S)
    return ""


# --- refresh ------------------------------------------------------------------------------------------


@click.command()
@click.argument("provider")
@click.argument("account", metavar="[ACCOUNT]", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def refresh(ctx: click.Context, *, provider: str, account: str | None, as_json: bool) -> None:
    """Renew the tokens of PROVIDER's accounts now, or of one, named by label, address or id.

    The daemon renews them by itself, long before they end; this is for when you do not want to wait.
    """
    link = connect(needs_daemon=False)
    row = find_provider(provider, link.get("/v1/credentials", t.Credentials).providers)
    asked = t.RefreshAccounts(provider=row.name, which=account)
    found = link.call("POST", "/v1/accounts/refresh", asked, t.Refreshed, wait_s=_WAIT_S)
    if as_json:
        render.say_json(found)
    now = time.time()
    for one in () if as_json else found.rows:
        good = one.outcome == "refreshed"
        said = f": {words.clean(one.said)}" if one.said else ""
        if good and one.row.expires_at is not None:
            said = f", its token lasts until {words.clock(one.row.expires_at, now)}"
        outcome = render.paint(one.outcome, "good" if good else "dim" if one.outcome == "kept" else "bad")
        click.echo(f"{name(one.row)}  {outcome}{said}")
    outcomes = {one.outcome for one in found.rows}
    if "ended" in outcomes:
        ctx.exit(REFUSED)
    if "failed" in outcomes:
        ctx.exit(FAILED)
