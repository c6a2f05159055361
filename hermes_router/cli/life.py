"""`hr start`, `hr stop`, `hr restart`: the daemon's life, from outside.

Owns the waiting: a command returns when what it announces is true. It must never end a process by a number it read
somewhere: the daemon is asked, over its socket.
"""

import contextlib
import json
import os
import select
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final

import click

from hermes_router import __version__
from hermes_router.cli import render, words
from hermes_router.cli.link import Link, find
from hermes_router.cli.lock import is_held
from hermes_router.cli.stray import point_out
from hermes_router.cli.trouble import FAILED, REFUSED, Trouble, unstartable, warn
from hermes_router.control import types as t
from hermes_router.control.places import SYSTEM_SOCKET, user_places

if TYPE_CHECKING:
    from hermes_router.cli.service.init_system import Scope
    from hermes_router.cli.service.unit import Unit

START_S: Final = 30.0
RESTART_S: Final = 60.0  # the daemon gives its successor 45
_NOW_S: Final = 15.0
_LOOK_S: Final = 0.05
_SAY_S: Final = 2.0
_MANAGED: Final = frozenset({"systemd", "launchd"})


@click.command()
@click.option("--env-file", type=click.Path(dir_okay=False, path_type=Path), help="Read this .env instead.")
def start(env_file: Path | None) -> None:
    """Start the router: its service, where one is installed, else a process in the background."""
    link = find()
    if link is not None and not link.works_on_files:
        raise Trouble(
            f"the router runs already, pid {link.ping.pid}, version {link.ping.version}",
            "`hr status` shows it, `hr restart` renews it",
            code=REFUSED,
        )
    service = _service()
    if service is None:
        _start(env_file)
        return
    point_out(system=service.scope == "system")
    if env_file is not None:
        raise Trouble(
            "a service is installed, and it reads its own .env", "leave --env-file out, or use `hr serve`", code=REFUSED
        )
    _start_service(service)


@click.command()
@click.option("--now", is_flag=True, help="Cut what is under way.")
def stop(now: bool) -> None:
    """Stop the router, once its answers have ended."""
    try:
        link = find()
    except Trouble as trouble:
        if trouble.kind != "hung" or not _stop_service(None, now=now):
            raise
        return
    if link is None or link.works_on_files:
        if not _stop_service(None, now=now):
            click.echo("No daemon is running.")
        return
    if link.ping.run in _MANAGED:
        if not _stop_service(link, now=now):
            raise Trouble(
                f"{link.ping.run} looks after the router, and cannot be asked", "`hr doctor` says more", code=REFUSED
            )
        return
    link.call("POST", "/v1/shutdown", t.Shutdown(drain_s=0.0 if now else None), t.Done)
    await_end(link, now=now)
    click.echo(f"Stopped (pid {link.ping.pid}).")


@click.command()
def restart() -> None:
    """Restart the router without losing a request: a successor takes over, the old process ends its answers."""
    try:
        link = find()
    except Trouble as trouble:
        if trouble.kind != "hung" or not _revive(trouble):
            raise
        return
    if link is None or link.works_on_files:
        click.echo("No daemon was running.")
        service = _service()
        if service is None:
            _start(None)
        else:
            point_out(system=service.scope == "system")
            _start_service(service)
        return
    point_out(link=link, system=link.path == SYSTEM_SOCKET)
    before = link.ping
    if before.run == "launchd":
        _restart_by_manager(link)
        return
    if before.run not in {"detached", "systemd"}:
        raise Trouble(
            f"the router runs in a terminal, pid {before.pid}",
            "end it with Ctrl-C there, and run `hr serve` again",
            code=REFUSED,
        )
    needless = _is_needless(link)
    began = time.monotonic()
    try:
        link.call("POST", "/v1/restart", t.Shutdown(), t.Done, wait_s=RESTART_S)
    except Trouble as trouble:
        if trouble.kind != "unmanaged":  # a unit that cannot be told of a successor
            raise
        _restart_by_manager(link)
        return
    after = _await_other(link, before)
    took = words.lapse(time.monotonic() - began)
    version = f"version {after.version}" if after.version == before.version else f"{before.version} to {after.version}"
    click.echo(f"Restarted in {took}: pid {before.pid} to {after.pid}, {version}. No request was refused or cut.")
    if needless:
        click.echo("It was not needed for a change: keys, models and settings are in use at once.")
    if before.run == "systemd":
        from hermes_router.cli.service import managed  # noqa: PLC0415 - only where there is a service

        managed.say_stale("system" if link.path == SYSTEM_SOCKET else "user", after)


# --- the service --------------------------------------------------------------------------------------


def _service() -> "Unit | None":
    """The service that start and restart mean; none where none is installed, or none can be asked."""
    from hermes_router.cli.service import managed  # noqa: PLC0415

    return managed.startable()


def _start_service(service: "Unit") -> None:
    from hermes_router.cli.service import init_system, managed  # noqa: PLC0415

    ping = managed.bring_up(service)
    click.echo(f"The router's service is running: {words.clean(ping.url)} (pid {ping.pid})")
    click.echo(f"Its log: `{init_system.journal(service.scope)}`")
    managed.say_stale(service.scope, ping)


def _stop_service(link: Link | None, *, now: bool) -> bool:
    """Stop what a manager runs, or tries to; False where it runs nothing."""
    from hermes_router.cli.service import managed, unit  # noqa: PLC0415 - most stops know of no manager

    found = managed.startable() if link is None else unit.look("system" if link.path == SYSTEM_SOCKET else "user")
    if found is None or found.manager_error:
        return False
    if link is None and not found.socket_active and found.active in {"inactive", "failed", ""}:
        return False
    managed.bring_down(found, link, now=now)
    pid = link.ping.pid if link is not None else found.pid
    click.echo(
        f"Stopped the service{f' (pid {pid})' if pid else ''}. It starts again with `hr start`, or with the machine."
    )
    return True


def _revive(trouble: Trouble) -> bool:
    """Have the manager replace a daemon that does not answer; False where it is none of a manager's."""
    from hermes_router.cli.service import managed  # noqa: PLC0415

    found = managed.startable()
    if found is None or found.active not in {"active", "activating", "reloading"}:
        return False
    warn(trouble.message)
    managed.restart(found.scope, hung=True)
    ping = managed.wait_ready(found.scope)
    click.echo(f"Its manager started it anew: pid {ping.pid}. What it was busy with is lost.")
    return True


def _restart_by_manager(link: Link) -> None:
    from hermes_router.cli.service import managed  # noqa: PLC0415

    scope: Scope = "system" if link.path == SYSTEM_SOCKET else "user"
    managed.restart(scope, link.ping.unit or "hermes-router.service")
    after = _await_other(link, link.ping)
    click.echo(f"{link.ping.run} restarted it: pid {link.ping.pid} to {after.pid}. Its answers had their time to end.")
    managed.say_stale(scope, after)


# --- starting -----------------------------------------------------------------------------------------


def _start(env_file: Path | None) -> None:
    point_out(env_file=env_file)
    reader, writer = os.pipe()
    command = [sys.executable, "-P", "-m", "hermes_router.daemon", "--detached", "--tell", str(writer)]
    if env_file is not None:
        command += ["--env-file", str(env_file.expanduser().absolute())]
    with tempfile.TemporaryFile() as said:
        try:
            process = subprocess.Popen(  # noqa: S603 - our own interpreter
                command,
                pass_fds=(writer,),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=said,  # until it has a log of its own
                start_new_session=True,
            )
        except OSError as error:
            os.close(reader)
            raise unstartable(error) from None
        finally:
            os.close(writer)
        with os.fdopen(reader, "rb") as pipe:
            told = _told(pipe)
        if told is None:
            raise Trouble(*_silence(process, said), code=FAILED)
    if not told.get("ready"):
        sentences = [str(each) for each in told.get("said", ())] or ["the router did not start"]
        code = told.get("code")
        step = str(told.get("next") or "")
        raise Trouble("; ".join(sentences), step, code=code if isinstance(code, int) else FAILED)
    click.echo(f"The router is running: {words.clean(told.get('url'))} (pid {told.get('pid')})")
    click.echo(f"Its log: {words.clean(told.get('log'))}")
    for problem in told.get("problems", ()):
        warn(render.tilde(str(problem)))
    click.echo('`hr status` shows it, `hr auth add groq` adds a key, `hr ask "hi"` proves that it works.')


def _told(pipe: IO[bytes]) -> dict[str, Any] | None:
    """The daemon's one line; None where it ended without, or says nothing."""
    deadline = time.monotonic() + START_S
    line = b""
    while not line.endswith(b"\n"):
        ready, _, _ = select.select([pipe], [], [], max(0.0, deadline - time.monotonic()))
        data = os.read(pipe.fileno(), 65_536) if ready else b""
        if not data:
            return None
        line += data
    with contextlib.suppress(ValueError):
        found = json.loads(line)
        if isinstance(found, dict):
            return found
    return None


def _silence(process: "subprocess.Popen[bytes]", said: IO[bytes]) -> tuple[str, str]:
    try:
        code = process.wait(1)
    except subprocess.TimeoutExpired:
        return f"the router is not ready after {START_S:g} s, pid {process.pid}", "see its log, and `hr status`"
    said.seek(0)
    lines = [line for line in said.read()[-4000:].decode(errors="replace").splitlines() if line.strip()]
    last = lines[-1] if lines else f"it ended with {code}"
    return f"the router did not start: {last}", "`hr serve` shows more"


# --- waiting ------------------------------------------------------------------------------------------


def _is_needless(link: Link) -> bool:
    """Whether all that the files say is in use already; what cannot be asked is no reason not to restart.

    Raises Trouble where the files have a fault: a new daemon would start without what they no longer say.
    """
    if link.ping.api != t.API or link.ping.version != __version__:
        return False
    try:
        return not link.call("POST", "/v1/reload", None, t.Reloaded).needs_restart
    except Trouble as error:
        if error.exit_code == REFUSED:
            raise
        return False


def await_end(link: Link, *, now: bool) -> None:
    """Until nobody holds the daemon's lock."""
    lock = None if link.path == SYSTEM_SOCKET else user_places(os.environ).lock
    began = time.monotonic()
    said = False
    while (lock is not None and is_held(lock)) or _is_there(link):
        waited = time.monotonic() - began
        if now and waited > _NOW_S:
            raise Trouble(
                f"the router has not ended, pid {link.ping.pid}", f"see what it does, or `kill -9 {link.ping.pid}`"
            )
        if not now and waited > _SAY_S and not said:
            said = True
            click.echo("Waiting for answers under way; `hr stop --now` cuts them.", err=True)
        time.sleep(_LOOK_S)


def _is_there(link: Link) -> bool:
    """Whether that very daemon still answers; one that ends in the middle of it does not."""
    try:
        other = find()
    except Trouble:
        return False
    return other is not None and other.ping.instance == link.ping.instance


def _await_other(link: Link, before: t.Ping) -> t.Ping:
    """Who serves instead of `before`."""
    deadline = time.monotonic() + _NOW_S
    while time.monotonic() < deadline:
        with contextlib.suppress(Trouble):  # it was asked in the moment of the change
            other = find()
            if other is not None and other.ping.instance != before.instance:
                return other.ping
        time.sleep(_LOOK_S)
    raise Trouble(f"the router has not restarted, pid {link.ping.pid}", "`hr status` and its log say more")
