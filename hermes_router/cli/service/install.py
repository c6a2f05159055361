"""`hr install-service`: the router as a service that comes up with the machine.

Owns the order: what speaks against it is found first, then it is shown what will be written, and the command returns
when the service answers. It must never touch keys and settings, nor a unit that somebody else wrote.
"""

import socket as sockets
import sys
import time
from collections.abc import Collection
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Final, NamedTuple

import click

from hermes_router.cli import render, words
from hermes_router.cli.life import await_end
from hermes_router.cli.link import Link, connect
from hermes_router.cli.service import init_system, managed, unit, unit_file
from hermes_router.cli.service import system as install_system
from hermes_router.cli.service import writing as install_files
from hermes_router.cli.service.checks import check_program, check_rights, settle_manager, would_lose
from hermes_router.cli.service.files import (
    SERVICE,
    SOCKET,
    Wanted,
    compose,
    installed_text,
    moved_places,
    program,
    stored_credentials,
    unit_paths,
)
from hermes_router.cli.service.init_system import Scope
from hermes_router.cli.service.unit import Unit
from hermes_router.cli.service.unit_file import Unquotable
from hermes_router.cli.trouble import REFUSED, Trouble, warn
from hermes_router.control import types as t

PORT: Final = 8319
KEY_NAME: Final = "agents"
BACKS_OFF_SINCE: Final = 254  # of systemd; an older one warns of words that it does not know
_FREE_S: Final = 5.0
_LOOK_S: Final = 0.002
_LINGER_S: Final = 10.0


class Listening(NamedTuple):
    """Where the service will listen, and which of it is known from this shell's environment only."""

    addresses: tuple[str, ...]
    environment: dict[str, str]


@click.command("install-service")
@click.option("--system", is_flag=True, help="For the whole machine, under a user of its own; needs root.")
@click.option("--socket/--no-socket", default=True, help="Let systemd hold the port, so that callers wait out a crash.")
@click.option("--credential", "credentials", metavar="NAME", multiple=True, help="Encrypt this key for --system.")
@click.option("--dry-run", is_flag=True, help="Only show what would be written.")
@click.option("--force", is_flag=True, help="Also where a unit was edited or written by somebody else.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--kept", multiple=True, hidden=True, help="Not lost to the service: who calls us has cared for it.")
def install_service(
    *, system: bool, socket: bool, credentials: tuple[str, ...], dry_run: bool, force: bool, yes: bool,
    kept: tuple[str, ...],
) -> None:  # fmt: skip
    """Install the router as a service: up after a reboot, a crash and with nobody logged in."""
    scope: Scope = "system" if system else "user"
    check_rights(scope, "install-service", dry_run=dry_run, force=force)
    names = install_system.checked(credentials, scope)
    settle_manager(scope, dry_run=dry_run)
    found = unit.look(scope)
    install_files.refuse_foreign(found, force=force)
    check_program(scope, force=force)
    link = _running(scope, force=force)
    where = _guessed(scope) if dry_run and link is None else _listening(scope, link, found)
    wanted = Wanted(
        scope,
        program(scope),
        where.addresses if socket and sys.platform != "darwin" else (),
        {**moved_places(), **where.environment} if scope == "user" else {},
        tuple(sorted({*stored_credentials(), *names})) if system else (),
        backs_off=sys.platform != "darwin" and init_system.version() >= BACKS_OFF_SINCE,
    )
    changed = _show(wanted, found)
    if dry_run:
        if system:
            install_system.take_over_variables(dry_run=True)
        click.echo("Nothing was written.")
        return
    _agree(scope, link, changed=bool(changed), yes=yes, kept=kept)
    if system:
        install_system.make_user()
        install_system.make_places()
        install_system.take_over_variables(dry_run=False)
        install_system.encrypt(names)
    ping = _install(found, wanted, changed, link, fresh=bool(names))
    if wanted.listen and scope == "system" and link is None:
        ping = _listen_where_told(wanted) or ping
    lingers = _linger(scope)
    _say_done(scope, ping, lingers=lingers)
    _mint(scope)
    if not lingers:
        raise Trouble(
            "the service runs, but it would end when you log out: lingering could not be switched on",
            f"run `sudo loginctl enable-linger {init_system.user_name()}`",
            code=REFUSED,
        )


# --- what is there --------------------------------------------------------------------------------------


def _running(scope: Scope, *, force: bool) -> Link | None:
    """The daemon that runs in this scope's places, if one does. Raises Trouble where another service has the router."""
    if scope == "user" and sys.platform != "darwin" and not force:
        other = unit.look("system")
        if other.active == "active":
            raise Trouble(
                "the router runs as the system service already, and both would want one port",
                "`sudo hr uninstall-service --system` ends that one first",
                code=REFUSED,
            )
    link = managed.daemon_of(scope)
    if link is None or link.works_on_files:
        return None
    if link.ping.run in {"systemd", "launchd"} and link.ping.unit not in {"", SERVICE} and not force:
        raise Trouble(
            f"the router runs already, as the unit {link.ping.unit}",
            "disable that unit first; --force goes on beside it",
            code=REFUSED,
        )
    return link


def _listening(scope: Scope, link: Link | None, found: Unit) -> Listening:
    """What HOST and PORT say. The system service is asked once it runs; before its first start they are the usual."""
    if scope == "system" and link is None:
        return Listening(addresses(None, found.ports[0] if found.ports else PORT), {})
    asked = link or connect(needs_daemon=False)
    rows = {row.name: row for row in asked.get("/v1/config", t.Config).rows}
    host, port = rows.get("HOST"), rows.get("PORT")
    own = {row.name: row.value for row in (host, port) if row is not None and row.source == "environment"}
    number = int(port.value) if port is not None and port.value.isdigit() else PORT
    return Listening(addresses(host.value if host is not None and host.source != "default" else None, number), own)


def _guessed(scope: Scope) -> Listening:
    """The same without a word from a daemon: one that is started to be asked would make directories and a key."""
    if sys.platform == "darwin":
        return Listening((), {})
    found = unit_file.listening_of(installed_text(scope, SOCKET))
    told = unit_file.environment_of(installed_text(scope, SERVICE))
    source = "as in the installed unit" if found else f"the default, {PORT}"
    click.echo(f"No router runs that could be asked for HOST and PORT: the ports shown are {source}.")
    return Listening(found or addresses(None, PORT), {name: told[name] for name in ("HOST", "PORT") if name in told})


def addresses(host: str | None, port: int) -> tuple[str, ...]:
    """The addresses of a .socket unit; none where HOST is a name, which systemd does not resolve, or PORT is 0."""
    if not port:
        return ()
    if not host or host == "localhost":
        return (f"127.0.0.1:{port}", f"[::1]:{port}") if _has_ipv6() else (f"127.0.0.1:{port}",)
    for family, shown in ((sockets.AF_INET, f"{host}:{port}"), (sockets.AF_INET6, f"[{host}]:{port}")):
        with suppress(OSError):
            sockets.inet_pton(family, host)
            return (shown,)
    warn(f"HOST={host} is a name, which systemd does not resolve: there is no .socket unit")
    return ()


def _has_ipv6() -> bool:
    try:
        with sockets.socket(sockets.AF_INET6, sockets.SOCK_STREAM) as sock:
            sock.bind(("::1", 0))
    except OSError:
        return False
    return True


def _show(wanted: Wanted, found: Unit) -> dict[Path, str]:
    """Say what changes; returns what is to be written."""
    try:
        texts = compose(wanted)
    except Unquotable as error:
        raise Trouble(str(error), "install hermes-router at a path without such signs", code=REFUSED) from None
    paths = unit_paths(wanted.scope)
    changed = {paths[name]: text for name, text in texts.items() if install_files.show(paths[name], text)}
    if found.socket and SOCKET not in texts:
        click.echo(f"{render.tilde(str(paths[SOCKET]))} is removed.")
    for drop_in in found.drop_ins:
        click.echo(f"{render.tilde(drop_in)} stays: it is yours.")
    return changed


def _agree(scope: Scope, link: Link | None, *, changed: bool, yes: bool, kept: Collection[str]) -> None:
    """The owner's consent, where there is somebody to ask. Raises Trouble where going on would cost something."""
    lost = would_lose(link, kept) if scope == "user" else []
    said = []
    if link is not None and link.ping.run == "foreground":
        said.append(
            f"The router runs in a terminal, pid {link.ping.pid}: it ends there, and the service takes its place."
        )
    if lost:
        said.append(
            f"The service does not see what only this environment says: {words.listing(lost, 8)}. Once it runs, "
            "`hr config set NAME VALUE` and `hr auth add PROVIDER` keep it in a file."
        )
    for one in said:
        click.echo(one)
    if yes or not (said or changed):
        return
    if sys.stdin.isatty():
        if not click.confirm("Go on?", default=not lost, err=True):
            raise Trouble("nothing was written", "", code=REFUSED)
    elif said:
        step = "`--yes` goes on without it" if lost else "`--yes` goes on"
        raise Trouble("nothing was written, since nobody can be asked here", step, code=REFUSED)


# --- doing it -------------------------------------------------------------------------------------------


def _install(found: Unit, wanted: Wanted, changed: dict[Path, str], link: Link | None, *, fresh: bool) -> t.Ping:
    """Write, enable, and have it run. `fresh`: what the service reads at its start has changed."""
    scope, paths = wanted.scope, unit_paths(wanted.scope)
    install_files.put(changed, keep_old=found.standing in {"foreign", "edited"})
    if sys.platform == "darwin":
        managed.make_log_directory()
        return _start_agent(found, changed, link)
    units = [SERVICE, SOCKET] if wanted.listen else [SERVICE]
    drops = found.socket and not wanted.listen
    if drops:
        init_system.systemctl(scope, "disable", "--now", SOCKET)
        install_files.remove(paths[SOCKET])
    init_system.systemctl(scope, "daemon-reload", wait_s=30)
    enabled = init_system.systemctl(scope, "enable", *units, wait_s=30)
    if enabled.code:
        raise Trouble(f"systemd refused the unit: {enabled.said}", f"`{managed.command(scope, 'status')}` shows more")
    listens = unit.look(scope).socket_active
    moved = drops or paths[SOCKET] in changed or listens != bool(wanted.listen)
    now = unit.look(scope)
    if link is not None and link.ping.run not in {"systemd", "launchd"}:
        _take_over(scope, link, listens=bool(wanted.listen))
    elif now.active in {"active", "reloading", "activating"} and moved:
        init_system.systemctl(scope, "stop", SOCKET, SERVICE, wait_s=managed.DOWN_S)
    elif now.active == "active" and (changed or fresh):
        managed.restart(scope)
        return managed.wait_ready(scope, before=link.ping if link else None)
    elif now.active == "active" and link is not None:
        return link.ping
    return managed.bring_up(unit.look(scope))


def _listen_where_told(wanted: Wanted) -> t.Ping | None:
    """Before its first start nobody could say where the system service listens; None where the guess was right."""
    link, found = _running("system", force=True), unit.look("system")
    if link is None:
        return None
    told = replace(wanted, listen=_listening("system", link, found).addresses)
    if told.listen == wanted.listen:
        return None
    return _install(found, told, _show(told, found), link, fresh=False)


def _take_over(scope: Scope, link: Link, *, listens: bool) -> None:
    """A daemon that runs without a manager ends; whoever calls meanwhile waits at systemd's socket, if there is one."""
    click.echo(
        f"The router that runs already (pid {link.ping.pid}) ends once its answers have; the service takes over."
    )
    link.call("POST", "/v1/shutdown", t.Shutdown(), t.Done)
    if listens:
        _await_shut(link.ping.port)
        init_system.systemctl(scope, "start", SOCKET)
    await_end(link, now=False)


def _await_shut(port: int) -> None:
    """Until nobody accepts at this port: the door is shut first of all, long before the last answer has ended."""
    deadline = time.monotonic() + _FREE_S
    while port and time.monotonic() < deadline:
        with sockets.socket() as knock:
            if knock.connect_ex(("127.0.0.1", port)):
                return
        time.sleep(_LOOK_S)


def _start_agent(found: Unit, changed: dict[Path, str], link: Link | None) -> t.Ping:
    if link is not None and link.ping.run != "launchd":
        _take_over("user", link, listens=False)
    elif link is not None and not changed:
        return link.ping
    return managed.bring_up(found)


def _linger(scope: Scope) -> bool:
    """Let our user's services run without a login. False where we may not say so."""
    if scope == "system" or sys.platform == "darwin" or unit.look("user").lingering:
        return True
    init_system.run(["loginctl", "--no-ask-password", "enable-linger", init_system.user_name()], wait_s=_LINGER_S)
    return bool(unit.look("user").lingering)


def _say_done(scope: Scope, ping: t.Ping, *, lingers: bool) -> None:
    click.echo(f"The service runs: {words.clean(ping.url)} (pid {ping.pid}, version {words.clean(ping.version)}).")
    after = "when the machine boots" if lingers and sys.platform != "darwin" else "at each login"
    click.echo(f"It comes up {after}, and after a crash. Its log: `{init_system.journal(scope)}`")
    link = managed.daemon_of(scope)
    if link is None:
        return
    with suppress(Trouble):
        status = link.get("/v1/status", t.Status)
        if not status.targets:
            click.echo("It has no key of a provider yet: `hr auth add groq` adds one.")


def _mint(scope: Scope) -> None:
    """A router key of the owner's own, where there is but the default one, which everybody knows."""
    link = managed.daemon_of(scope)
    if link is None:
        return
    rows = link.get("/v1/keys", t.Keys).rows
    if not rows or any(row.source != "default" for row in rows):
        return
    added = link.call("POST", "/v1/keys", t.AddKey(name=KEY_NAME), t.AddedKey)
    click.echo("A router key of your own, for your agents; it is shown this once:")
    click.echo(f"    OPENAI_BASE_URL={words.clean(link.ping.url)}")
    click.echo(f"    OPENAI_API_KEY={added.key}")
    click.echo(
        f"Anthropic clients: ANTHROPIC_BASE_URL={words.clean(link.ping.url.removesuffix('/v1'))}, and the same key."
    )
    for said in added.said:
        click.echo(words.clean(said))
