"""`hr start`, `hr stop`, `hr restart`: the daemon's life, from outside.

Owns the waiting: a command returns when what it announces is true. It must never end a process by a number it read
somewhere: the daemon is asked, over its socket.
"""

import contextlib
import fcntl
import json
import os
import select
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import IO, Any, Final

import click

from hermes_router import __version__
from hermes_router.cli import render, words
from hermes_router.cli.link import Link, find
from hermes_router.cli.trouble import FAILED, REFUSED, Trouble, unstartable, warn
from hermes_router.control import types as t
from hermes_router.control.places import SYSTEM_SOCKET, user_places

START_S: Final = 30.0
RESTART_S: Final = 60.0  # the daemon gives its successor 45
_NOW_S: Final = 15.0
_LOOK_S: Final = 0.05
_SAY_S: Final = 2.0
_MANAGED: Final = {
    "systemd": "`systemctl --user {} hermes-router`, or with sudo and without --user for the system's own",
    "launchd": "`launchctl kickstart -k gui/$UID/hermes-router`",
}


@click.command()
@click.option("--env-file", type=click.Path(dir_okay=False, path_type=Path), help="Read this .env instead.")
def start(env_file: Path | None) -> None:
    """Start the router in the background."""
    link = find()
    if link is not None and not link.works_on_files:
        raise Trouble(
            f"the router runs already, pid {link.ping.pid}, version {link.ping.version}",
            "`hr status` shows it, `hr restart` renews it",
            code=REFUSED,
        )
    _start(env_file)


@click.command()
@click.option("--now", is_flag=True, help="Cut what is under way.")
def stop(now: bool) -> None:
    """Stop the router, once its answers have ended."""
    link = find()
    if link is None or link.works_on_files:
        click.echo("No daemon is running.")
        return
    _refuse_managed(link.ping, "stop")
    link.call("POST", "/v1/shutdown", t.Shutdown(drain_s=0.0 if now else None), t.Done)
    _await_end(link, now=now)
    click.echo(f"Stopped (pid {link.ping.pid}).")


@click.command()
def restart() -> None:
    """Restart the router without losing a request: a successor takes over, the old process ends its answers."""
    link = find()
    if link is None or link.works_on_files:
        click.echo("No daemon was running.")
        _start(None)
        return
    before = link.ping
    _refuse_managed(before, "restart")
    if before.run != "detached":
        raise Trouble(
            f"the router runs in a terminal, pid {before.pid}",
            "end it with Ctrl-C there, and run `hr serve` again",
            code=REFUSED,
        )
    needless = _is_needless(link)
    began = time.monotonic()
    link.call("POST", "/v1/restart", t.Shutdown(), t.Done, wait_s=RESTART_S)
    after = _await_other(link, before)
    took = words.lapse(time.monotonic() - began)
    version = f"version {after.version}" if after.version == before.version else f"{before.version} to {after.version}"
    click.echo(f"Restarted in {took}: pid {before.pid} to {after.pid}, {version}. No request was refused or cut.")
    if needless:
        click.echo("It was not needed for a change: keys, models and settings are in use at once.")


# --- starting -----------------------------------------------------------------------------------------


def _start(env_file: Path | None) -> None:
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


def _refuse_managed(ping: t.Ping, what: str) -> None:
    if ping.run in _MANAGED:
        raise Trouble(f"{ping.run} looks after the router", f"run {_MANAGED[ping.run].format(what)}", code=REFUSED)


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


def _await_end(link: Link, *, now: bool) -> None:
    """Until nobody holds the daemon's lock."""
    lock = None if link.path == SYSTEM_SOCKET else user_places(os.environ).lock
    began = time.monotonic()
    said = False
    while (lock is not None and _is_held(lock)) or _is_there(link):
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


def _is_held(lock: Path) -> bool:
    try:
        fd = os.open(lock, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(fd)
    return False


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
