"""Checks of the daemon itself: whether it runs, who holds its socket, its lock and its port, who may call it.

Owns those looks and their judgement.
"""

import stat
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from hermes_router import __version__
from hermes_router.cli.doctor.finding import Finding, advice, fault, ok, skipped, warning
from hermes_router.cli.doctor.processes import Holder, daemons, is_original, listeners, originals
from hermes_router.cli.doctor.scene import Scene
from hermes_router.cli.lock import is_held
from hermes_router.cli.service import unit
from hermes_router.control.places import SYSTEM_SOCKET, check_socket
from hermes_router.core.errors import ConfigError

__all__ = ["daemon", "default_key", "lock", "notify", "open_host", "other_routers", "port", "socket", "version"]

_START: Final = "`hr start` starts it in the background, `hr install-service` for good"


def daemon(scene: Scene) -> Finding:
    """Does it run, and answer?"""
    said = scene.refused
    match scene.daemon:
        case "runs" if scene.ping is not None:
            where = scene.ping.url or "no public port"
            return ok(f"it runs, pid {scene.ping.pid}, {scene.ping.run}, at {where}")
        case "silent" if said is not None:
            return fault(said.message, said.next_step or "end that process, then `hr start`")
        case "closed" | "foreign" if said is not None:
            return fault(said.message, said.next_step or "see who listens there")
        case _ if _cannot_start(scene):
            return fault(
                "no daemon is running, and as the settings are none can start",
                "what stands in its way is said below, with its cure",
            )
        case _:
            return fault("no daemon is running", _START)


def _cannot_start(scene: Scene) -> bool:
    """Whether another check names what forbids a start."""
    report = scene.report
    if report is None:
        return False
    return report.admits_nobody or (report.is_open and report.default_key) or any(one.fatal for one in report.faults)


def version(scene: Scene) -> Finding:
    """Is it of this `hr`'s version?"""
    if scene.ping is None:
        return skipped("no daemon runs")
    if scene.ping.version == __version__:
        return ok(f"daemon and hr are both {__version__}")
    return warning(
        f"the daemon is {scene.ping.version}, this hr is {__version__}",
        "`hr restart` renews the daemon; if it is the newer one, see `hr doctor` on `hr` being there twice",
    )


def socket(scene: Scene) -> Finding:
    """Is the control socket one that can be, where it should be, and closed to others?"""
    path = scene.socket
    if scene.is_closed:
        return skipped(scene.unread)
    try:
        check_socket(path)
    except ConfigError as error:
        said, _, step = error.message.partition("; ")
        return fault(f"{said}: {path}", step)
    try:
        found = path.lstat()
        around = path.parent.stat()
    except FileNotFoundError:
        if scene.daemon == "runs":
            return warning(f"{path} is gone, though its daemon answered", "`hr restart` makes it anew")
        return skipped("there is none while no daemon runs")
    except OSError as error:
        return fault(f"{path} cannot be seen: {error.strerror}", "run `hr` as the daemon's user, or with sudo")
    if not stat.S_ISSOCK(found.st_mode):
        return fault(f"{path} is no socket", "move that file away: the daemon needs its place")
    if path != SYSTEM_SOCKET and stat.S_IMODE(found.st_mode) & 0o077 and stat.S_IMODE(around.st_mode) & 0o077:
        return warning(
            f"{path} is open to other users (mode {stat.S_IMODE(found.st_mode):04o})", f"`chmod 700 {path.parent}`"
        )
    if scene.daemon == "absent":
        return ok(f"{path} was left behind by a daemon that is gone; the next one replaces it")
    return ok(f"{path}")


def lock(scene: Scene) -> Finding:
    """Is the installation's lock held by the daemon that answers, and by no other?"""
    path = scene.places.lock
    held = is_held(path)
    if held is None:
        return skipped("there is none yet, or it cannot be seen")
    pid = _signed(path)
    if held and scene.daemon == "absent" and not scene.is_system:
        return fault(
            f"pid {pid} holds {path}, and no control socket answers",
            f"see what it is (`ps -p {pid}`); end it, or wait until it is gone, then `hr start`",
        )
    if held:
        return ok(f"held by pid {pid}")
    if scene.daemon == "runs" and not scene.is_system:
        return warning(f"nobody holds {path}, though a daemon runs", "it lies on a disk without locks? `hr restart`")
    return ok("free")


def _signed(path: Path) -> str:
    with suppress(OSError):
        return path.read_bytes()[:20].decode("ascii", "replace").strip() or "unknown"
    return "unknown"


# --- the port -----------------------------------------------------------------------------------------


def port(scene: Scene) -> Finding:
    """Who listens on PORT?"""
    number = scene.ping.port if scene.ping is not None and scene.ping.port else None
    if number is None:
        number = scene.report.port if scene.report is not None else 8319
    holders = listeners(number, scene.proc)
    if scene.daemon == "runs" and scene.ping is not None:
        strangers = [one for one in holders if not _is_ours(one, scene)]
        if scene.ping.port and not holders:
            return skipped(f"the system does not say who listens on {number}")
        if strangers:
            return warning(
                f"beside the daemon, port {number} is held by {_who(strangers[0])}",
                "callers may reach that one instead: end it, or set PORT and `hr restart`",
            )
        return ok(f"{number} is the daemon's")
    if not holders:
        return ok(f"{number} is free")
    if scene.is_closed:
        return skipped(scene.unread)
    if _is_a_managers(holders, number):
        return ok(f"{number} is held open by the service's socket, for the daemon")
    said = f"port {number} is taken by {_who(holders[0])}"
    if holders[0].process is not None and is_original(holders[0].process):
        return fault(
            f"{said}: the original hermes-router",
            "stop it there (its own `hr stop`, or `kill` with that pid), or `hr config set PORT 8320`; "
            "`hr auth import` takes its keys over",
        )
    return fault(said, "end that program, or choose another with `hr config set PORT 8320`")


def _is_a_managers(holders: Sequence[Holder], number: int) -> bool:
    """Whether all of it is the `.socket` unit of our service: callers wait there for a daemon to come up."""
    own = all(one.process is None or one.process.pid == 1 or one.process.program == "systemd" for one in holders)
    return own and any(number in one.ports for one in unit.looks())


def _is_ours(one: Holder, scene: Scene) -> bool:
    """The daemon, the manager that opened its socket, or a predecessor that ends its answers."""
    if one.process is None:
        return True  # another user's: the system does not say; who answered has its own socket
    ping = scene.ping
    return (
        (ping is not None and one.process.pid == ping.pid)
        or one.process.pid == 1
        or ("hermes_router.daemon" in one.process.program or one.process.program == "systemd")
    )


def _who(one: Holder) -> str:
    if one.process is None:
        return f"a process of user {one.uid}" if one.uid is not None else "another user's process"
    return f"pid {one.process.pid} ({one.process.program or 'unknown'})"


def other_routers(scene: Scene) -> Finding:
    """Does another router run on this machine?"""
    if scene.is_closed:
        return skipped(scene.unread)
    own = scene.ping.pid if scene.ping is not None else 0
    running = daemons(scene.proc)
    homes = {scene.environ.get("HOME", ""), *(where for one, where in running if one.pid == own)} - {""}
    others = [(one, where) for one, where in running if one.pid != own and where not in homes]
    old = originals(scene.proc)
    if old:
        return advice(
            f"the original hermes-router runs, too (pid {old[0].pid}, {old[0].cwd or 'its directory is not seen'})",
            "two routers on the same keys cannot know what the other spends: stop it once this one serves",
        )
    if others:
        one, where = others[0]
        whose = f"of {where}" if where else f"of user {one.uid}"
        return advice(
            f"another hermes-router runs here, pid {one.pid}, {whose}",
            "that is well as long as it has keys and a port of its own; else end one of them",
        )
    return ok("no other router runs here")


# --- who may call --------------------------------------------------------------------------------------


def default_key(scene: Scene) -> Finding:
    """Is the key that everybody knows still good?"""
    report = scene.report
    if report is None:
        return skipped(scene.unread)
    if any(one.fatal and one.said.startswith("PROXY_API_KEYS") for one in report.faults):
        return skipped("PROXY_API_KEYS cannot be read: see the settings")
    if report.admits_nobody:
        return fault(
            "PROXY_API_KEYS is empty, and no router key is stored: it cannot start", "`hr key add NAME` makes one"
        )
    if not report.default_key:
        return ok("callers need a key of yours")
    cure = "`hr config set PROXY_API_KEYS ''` ends it, once your programs show a key of their own"
    if not report.router_keys:
        cure = "`hr key add NAME` makes one of your own; then `hr config set PROXY_API_KEYS ''` ends the default"
    if report.is_open:
        return fault(
            f"HOST is {', '.join(report.addresses)}, and the default router key is good: it cannot start", cure
        )
    return advice("the default router key, which everybody knows, is good: on this machine only", cure)


def open_host(scene: Scene) -> Finding:
    """Can other machines reach it?"""
    report = scene.report
    if report is None:
        return skipped(scene.unread)
    if not report.is_open:
        return ok("it listens on this machine only")
    return advice(
        f"it listens at {', '.join(report.addresses)}: other machines reach it, without encryption",
        "if that is not meant: `hr config unset HOST`; else put TLS in front, and give each caller a key of its own",
    )


# --- who is told ---------------------------------------------------------------------------------------


def notify(scene: Scene) -> Finding | Sequence[Finding]:
    """Did the last try by each way to the owner arrive?"""
    if scene.notify is None:
        return skipped("only a daemon that runs knows")
    if not scene.notify.ways:
        return skipped("neither NOTIFY_URL nor NOTIFY_COMMAND is set: `hr notify` says how")
    failing = [way for way in scene.notify.ways if way.failing]
    if not failing:
        return ok("what was to be told was told")
    return [
        warning(
            f"you are not told by NOTIFY_{way.way.upper()} ({way.shown}): {way.failing}",
            "`hr notify test` tries it again, once that is mended",
            subject=way.way,
        )
        for way in failing
    ]
