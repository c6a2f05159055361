"""What a service manager hands to this process: where it reports, how soon it must show that it lives, sockets.

Owns the variables of that protocol (sd_notify(3), sd_watchdog_enabled(3), sd_listen_fds(3)). They are taken out of the
environment, so that no command that we run can speak in our name; a successor is given them again. It must never know
what is reported, or who listens.
"""

import os
import socket
from collections.abc import Mapping, MutableMapping
from pathlib import Path
from typing import Final, NamedTuple

__all__ = ["FIRST_SOCKET", "Managed", "take", "unit_of"]

FIRST_SOCKET: Final = 3
_NOTIFY: Final = "NOTIFY_SOCKET"
_WATCHDOG: Final = "WATCHDOG_USEC"
_WATCHDOG_PID: Final = "WATCHDOG_PID"
_LISTEN_PID: Final = "LISTEN_PID"
_LISTEN: Final = "LISTEN_FDS"
_TAKEN: Final = (_NOTIFY, _WATCHDOG, _WATCHDOG_PID, _LISTEN_PID, _LISTEN, "LISTEN_FDNAMES", "LISTEN_PIDFDID")
_EXEC_PID: Final = "SYSTEMD_EXEC_PID"


class Managed(NamedTuple):
    """What was handed over; nothing, where nobody manages this process.

    `address` is that of the socket for reports, `watchdog_s` how long we may be silent there, None = for ever.
    `sockets` listen already, and stay open in the manager. `is_main`: a variable names this very process.
    """

    address: str = ""
    watchdog_s: float | None = None
    sockets: tuple[socket.socket, ...] = ()
    is_main: bool = False

    def environ(self, environ: Mapping[str, str]) -> dict[str, str]:
        """The environment of a successor, which is as much the manager's as this process is."""
        found = dict(environ)
        if self.address:
            found[_NOTIFY] = self.address
        if self.watchdog_s is not None:
            found[_WATCHDOG] = str(round(self.watchdog_s * 1e6))
        return found


def take(environ: MutableMapping[str, str], *, heir: bool, on_its_own: bool) -> Managed:
    """Take the variables out of `environ`, and adopt the sockets.

    `heir`: a predecessor handed over, and its manager is ours whatever pid the variables name. `on_its_own`: a daemon
    that nobody manages; what it inherited is meant for the service in which somebody typed `hr start`.
    """
    found = {name: value for name in _TAKEN if (value := environ.pop(name, None)) is not None}
    if on_its_own:
        return Managed()
    us = str(os.getpid())
    parents = {us, str(os.getppid())}  # a wrapper such as `uv run` stands between, and does not report itself
    speaks = heir or environ.get(_EXEC_PID, us) in parents
    watched = heir or found.get(_WATCHDOG_PID, us) in parents
    return Managed(
        address=found.get(_NOTIFY, "") if speaks else "",
        watchdog_s=_seconds(found.get(_WATCHDOG, "")) if speaks and watched else None,
        sockets=() if heir or found.get(_LISTEN_PID) != us else _sockets(found.get(_LISTEN, "")),
        is_main=us in {environ.get(_EXEC_PID), found.get(_WATCHDOG_PID), found.get(_LISTEN_PID)},
    )


def _seconds(microseconds: str) -> float | None:
    return int(microseconds) / 1e6 if microseconds.isdecimal() and int(microseconds) else None


def _sockets(count: str) -> tuple[socket.socket, ...]:
    """Those that callers can connect to over TCP; what else is handed over stays open, and is left alone."""
    found = []
    for number in range(FIRST_SOCKET, FIRST_SOCKET + (int(count) if count.isdecimal() else 0)):
        try:
            os.set_inheritable(number, False)
            sock = socket.socket(fileno=number)
        except OSError:
            continue  # not a socket, or nothing
        if sock.family in {socket.AF_INET, socket.AF_INET6} and sock.getsockopt(
            socket.SOL_SOCKET, socket.SO_ACCEPTCONN
        ):
            sock.setblocking(False)
            found.append(sock)
        else:
            sock.detach()
    return tuple(found)


def unit_of(cgroup: Path = Path("/proc/self/cgroup")) -> tuple[str, str]:
    """The service that this process is of, and whose manager that is: `user` or `system`; two empty texts for none."""
    try:
        lines = cgroup.read_text("utf-8", "replace").splitlines()
    except OSError:
        return "", ""
    for line in lines:
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        services = [part for part in path.split("/") if part.endswith(".service")]
        if controllers in {"", "name=systemd"} and services:
            return services[-1], "user" if any(one.startswith("user@") for one in services[:-1]) else "system"
    return "", ""
