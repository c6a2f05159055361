"""What a person means by start, stop and restart, where a service manager looks after the router.

Owns the words that systemd and launchd are given, and the wait for what they promise. It must never write a unit.
"""

import sys
import time
from contextlib import suppress
from typing import Final

import click

from hermes_router.cli import words
from hermes_router.cli.link import Link, find
from hermes_router.cli.service import init_system, unit
from hermes_router.cli.service.files import LABEL, SERVICE, SOCKET
from hermes_router.cli.service.init_system import Ran, Scope
from hermes_router.cli.service.unit import Unit
from hermes_router.cli.trouble import FAILED, REFUSED, Trouble, warn
from hermes_router.control import types as t
from hermes_router.control.places import SYSTEM_SOCKET, service_log

__all__ = [
    "again",
    "astray",
    "bring_down",
    "bring_up",
    "command",
    "daemon_of",
    "restart",
    "say_stale",
    "startable",
    "unwell",
    "wait_ready",
]

UP_S: Final = 75.0  # TimeoutStartSec, and some for systemd itself
DOWN_S: Final = 100.0
_ANSWER_S: Final = 10.0
_LOOK_S: Final = 0.05
_SAY_S: Final = 2.0
_LINES: Final = 8
_RUNS: Final = frozenset({"systemd", "launchd"})
_DENIED: Final = ("access denied", "authentication", "permission", "not permitted", "polkit")


def startable() -> Unit | None:
    """The service that `hr start` is to start: the user's own, else the system's; none where no manager answers."""
    scopes: tuple[Scope, ...] = ("user",) if sys.platform == "darwin" else ("user", "system")
    for scope in scopes:
        if unit.installed(scope):
            found = unit.look(scope)
            if found.answers:
                return found
    return None


def daemon_of(scope: Scope) -> Link | None:
    """The daemon in the places of this scope: root may have one of its own beside the system's. Raises Trouble."""
    if scope == "system":
        return find(only=SYSTEM_SOCKET)
    link = find()
    return None if link is not None and link.path == SYSTEM_SOCKET else link


def bring_up(found: Unit) -> t.Ping:
    """Start it, and return once it serves. Raises Trouble with the last lines of its journal."""
    if sys.platform == "darwin":
        _bootstrap(found)
    else:
        names = [SOCKET, SERVICE] if found.socket else [SERVICE]
        done = init_system.systemctl(found.scope, "start", *names, wait_s=UP_S)
        _mind(done, found.scope, "start")
    return wait_ready(found.scope)


def wait_ready(scope: Scope, *, before: t.Ping | None = None, wait_s: float = UP_S) -> t.Ping:
    """Until the service's daemon answers, another one than `before`. Raises Trouble."""
    deadline = time.monotonic() + wait_s
    answers_by = float("inf")  # a service that its manager calls up has a control socket, or never will
    while time.monotonic() < min(deadline, answers_by):
        with suppress(Trouble):  # asked in the moment of a change
            link = daemon_of(scope)
            if link is not None and link.ping.run in _RUNS and (not before or link.ping.instance != before.instance):
                return link.ping
        state = unit.look(scope).active if sys.platform != "darwin" else ""
        if state == "failed":
            break
        if state == "active":
            answers_by = min(answers_by, time.monotonic() + _ANSWER_S)
        time.sleep(_LOOK_S)
    raise unwell(unit.look(scope))


def unwell(found: Unit) -> Trouble:
    """Why the service does not serve: its state, and what it said last."""
    state = found.active or "not known to its manager"
    if found.result not in {"", "success"}:
        state += f" ({found.result})"
    if found.active == "active":
        state = "up, and its control socket does not answer"
    lines = unit.last_lines(found, _LINES)
    said = "".join(f"\n    {words.clean(line)}" for line in lines)
    if said:
        click.echo(f"What it said last:{said}", err=True)
    return Trouble(
        f"the service does not serve: it is {state}",
        f"`{init_system.journal(found.scope)}` shows more; `hr doctor` looks for causes",
    )


def command(scope: Scope, what: str) -> str:
    """The same by hand, for who may."""
    if sys.platform == "darwin":
        return f"launchctl {what} {unit.domain()}/{LABEL}"
    return f"systemctl --user {what} hermes-router" if scope == "user" else f"sudo systemctl {what} hermes-router"


def _mind(done: Ran, scope: Scope, what: str) -> None:
    """Raises Trouble where a manager did not do what it was told."""
    if not done.code:
        return
    if any(word in done.err.lower() for word in _DENIED):
        raise Trouble(
            f"you may not {what} the {scope} service: {done.said}", f"run `{command(scope, what)}`", code=REFUSED
        )
    if what in {"start", "restart"}:
        raise unwell(unit.look(scope))
    raise Trouble(f"the service could not be {what}ped: {done.said}", f"`{command(scope, 'status')}` shows more")


# --- stop ---------------------------------------------------------------------------------------------------


def bring_down(found: Unit, link: Link | None, *, now: bool) -> None:
    """Stop it and what would start it again, once its answers have ended; `now` cuts them. Raises Trouble."""
    if sys.platform == "darwin":
        domain = unit.domain()
        _mind_launchd(init_system.launchctl("bootout", f"{domain}/{LABEL}", wait_s=DOWN_S))
        _until_gone(domain)
        return
    names = _names(found, link)
    began, said = time.monotonic(), False
    _mind(init_system.systemctl(found.scope, "stop", "--no-block", *names), found.scope, "stop")
    if now and link is not None:
        with suppress(Trouble):  # it is being stopped all the same
            link.call("POST", "/v1/shutdown", t.Shutdown(drain_s=0.0), t.Done)
    while True:
        state = init_system.systemctl(found.scope, "is-active", names[-1]).out.strip()
        if state in {"inactive", "failed", "unknown"}:
            return
        waited = time.monotonic() - began
        if waited > DOWN_S:
            raise Trouble("the service has not ended", f"`{command(found.scope, 'status')}` shows what it does")
        if not now and waited > _SAY_S and not said:
            said = True
            click.echo("Waiting for answers under way; `hr stop --now` cuts them.", err=True)
        time.sleep(_LOOK_S)


def _names(found: Unit, link: Link | None) -> list[str]:
    """What is to be stopped, the socket first: it would start the service again."""
    ours = link.ping.unit if link is not None and link.ping.unit else SERVICE
    socket = ours.removesuffix(".service") + ".socket"
    waits = init_system.systemctl(found.scope, "is-active", socket).out.strip() == "active"
    return [socket, ours] if waits else [ours]


# --- restart ------------------------------------------------------------------------------------------------


def restart(scope: Scope, name: str = SERVICE, *, hung: bool = False) -> None:
    """Have the manager do it: the daemon cannot, or does not answer. Raises Trouble."""
    if sys.platform == "darwin":
        _mind_launchd(init_system.launchctl("kickstart", "-k", f"{unit.domain()}/{LABEL}", wait_s=DOWN_S))
        return
    if hung:  # it would not heed SIGTERM either, and be waited for
        _mind(init_system.systemctl(scope, "restart", "--no-block", name), scope, "restart")
        init_system.systemctl(scope, "kill", "--kill-who=main", "--signal=SIGKILL", name)
    else:
        _mind(init_system.systemctl(scope, "restart", name, wait_s=DOWN_S + UP_S), scope, "restart")


def say_stale(scope: Scope, ping: t.Ping) -> None:
    """A word where the installed unit is not what this version would write, or its socket listens elsewhere."""
    if not unit.installed(scope):
        return
    found = unit.look(scope)
    if found.standing == "stale":
        warn(f"the service's unit is stale: {found.why}; `{again(scope)}` renews it")
    elif ping.port and (elsewhere := astray(found, ping.port)):
        warn(f"{elsewhere}; `{again(scope)}` mends it")


def again(scope: Scope) -> str:
    """The command that writes the unit anew."""
    return "sudo hr install-service --system" if scope == "system" else "hr install-service"


def astray(found: Unit, port: int) -> str:
    """What is wrong where the .socket unit does not hold `port`, the one that callers know; empty = nothing."""
    if not found.ports or port in found.ports:
        return ""
    held = words.listing([str(one) for one in dict.fromkeys(found.ports)])
    return f"the .socket unit holds {held}, and PORT is {port}: nobody waits there for a router that starts"


# --- launchd ------------------------------------------------------------------------------------------------


def _bootstrap(found: Unit) -> None:
    domain = unit.domain()
    if not init_system.launchctl("print", f"{domain}/{LABEL}").code:
        init_system.launchctl("bootout", f"{domain}/{LABEL}", wait_s=DOWN_S)
        _until_gone(domain)
    init_system.launchctl("enable", f"{domain}/{LABEL}")  # an earlier `disable` is kept over restarts
    _mind_launchd(init_system.launchctl("bootstrap", domain, str(found.path)))


def make_log_directory() -> None:
    """Launchd opens the log itself, and does not make its directory."""
    service_log().parent.mkdir(parents=True, exist_ok=True)


def _until_gone(domain: str) -> None:
    """A bootout returns before it is done."""
    deadline = time.monotonic() + DOWN_S
    while not init_system.launchctl("print", f"{domain}/{LABEL}").code and time.monotonic() < deadline:
        time.sleep(_LOOK_S)


def _mind_launchd(done: Ran) -> None:
    if done.code:
        raise Trouble(
            f"launchd refused: {done.said}", f"`launchctl print {unit.domain()}/{LABEL}` shows more", code=FAILED
        )
