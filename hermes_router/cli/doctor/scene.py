"""What all checks look at: where things lie, and what the daemon says of itself.

Owns the asking: the daemon over its socket where one answers, else a reading of the files by a process that changes
none of them. It must never judge.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, TypeVar

import msgspec

from hermes_router import __version__
from hermes_router.control import health_types as h
from hermes_router.control import notify_types as n
from hermes_router.control import types as t
from hermes_router.control.client import Client
from hermes_router.control.places import SYSTEM_SOCKET, Places, socket_candidates, system_places, user_places
from hermes_router.core.errors import ControlError

__all__ = ["Scene", "gather", "read_files"]

T = TypeVar("T")
Daemon = Literal["runs", "absent", "silent", "foreign", "closed"]

_PING_S: Final = 4.0
_ASK_S: Final = 10.0
_LOOK_S: Final = 20.0
_NO_DAEMON: Final = 4


@dataclass(frozen=True)
class Scene:
    """What is known before the first check. `now` in epoch seconds.

    `daemon`: it runs; it is absent; it is silent (it hangs); what listens is foreign; or its socket is closed to us.
    `refused` is what was said where it does not run. `status`, `quota`, `router_keys` and `notify` are None where no
    daemon said them, `report` where neither it nor its files could be asked, which `unread` explains.
    """

    places: Places
    environ: Mapping[str, str]
    now: float
    cwd: Path = field(default_factory=Path.cwd)
    proc: Path = Path("/proc")
    daemon: Daemon = "absent"
    refused: ControlError | None = None
    socket: Path = Path()
    ping: t.Ping | None = None
    status: t.Status | None = None
    report: h.HealthReport | None = None
    quota: t.QuotaReport | None = None
    router_keys: t.Keys | None = None
    notify: n.Notify | None = None
    unread: str = ""
    offline: bool = False
    shared: dict[str, Any] = field(default_factory=dict)
    """What one check found and another needs, too."""

    @property
    def is_closed(self) -> bool:
        """Whether it is about the system's service, and this user may not look into it."""
        return self.daemon == "closed" and self.report is None

    @property
    def is_system(self) -> bool:
        """Whether this is about the system's service."""
        return self.socket == SYSTEM_SOCKET


def gather(environ: Mapping[str, str], *, now: float, cwd: Path, offline: bool) -> Scene:
    """Find the daemon and ask it, or read its files."""
    places = user_places(environ)
    daemon, refused, socket, client, ping = _find(places, environ)
    if socket == SYSTEM_SOCKET:
        places = system_places(environ)
    known: dict[str, Any] = {}
    unread = ""
    if client is not None and ping is not None and ping.api == t.API:
        known = {
            "status": _asked(client, "/v1/status", t.Status),
            "report": _asked(client, "/v1/health-report", h.HealthReport),
            "quota": _asked(client, "/v1/quota", t.QuotaReport),
            "router_keys": _asked(client, "/v1/keys", t.Keys),
            "notify": _asked(client, "/v1/notify", n.Notify),
        }
    if daemon == "closed" and socket == SYSTEM_SOCKET and os.geteuid() != 0:
        unread = "the system's service is closed to this user"
    elif known.get("report") is None:
        known["report"], unread = read_files(environ, system=socket == SYSTEM_SOCKET)
    report = known.get("report")
    if report is not None:
        places = Places(
            Path(report.config_dir), Path(report.data_dir), Path(report.state_dir), Path(report.env_file), socket
        )
    return Scene(
        places=places._replace(socket=socket),
        environ=environ,
        now=now,
        cwd=cwd,
        daemon=daemon,
        refused=refused,
        socket=socket,
        ping=ping,
        unread=unread,
        offline=offline,
        **known,
    )


def _find(
    places: Places, environ: Mapping[str, str]
) -> tuple[Daemon, ControlError | None, Path, Client | None, t.Ping | None]:
    """The daemon that answers first; else what is wrong at the first place where something is."""
    worst: tuple[Daemon, ControlError | None, Path] = ("absent", None, places.socket)
    for path in socket_candidates(places, environ):
        client = Client(path, timeout_s=_PING_S)
        try:
            ping = client.ping()
        except ControlError as error:
            kind: Daemon = "silent" if error.code == "hung" else "closed" if "another user" in str(error) else "foreign"
            if worst[0] == "absent":
                worst = (kind, error, path)
            continue
        except OSError as error:  # a path that no socket can have
            if worst[0] == "absent":
                worst = ("foreign", ControlError(f"{path}: {error}"), path)
            continue
        if ping is not None and ping.run != "control-only":  # that one is there for the length of another `hr`
            return "runs", None, path, client, ping
    return *worst, None, None


def _asked(client: Client, path: str, answer: type[T]) -> T | None:
    """What it says; None where it does not, as an older one that knows no such question."""
    try:
        return client.call("GET", path, None, answer, timeout_s=_ASK_S)
    except ControlError:
        return None


def read_files(
    environ: Mapping[str, str],
    *,
    system: bool = False,
    run: Callable[..., "subprocess.CompletedProcess[bytes]"] = subprocess.run,
) -> tuple[h.HealthReport | None, str]:
    """The report on the files alone, or why there is none. No daemon is started, and nothing is changed."""
    command = [sys.executable, "-P", "-m", "hermes_router.daemon.desks.health_look", *(["--system"] if system else [])]
    try:
        done = run(command, capture_output=True, timeout=_LOOK_S, check=False, stdin=subprocess.DEVNULL, env=environ)
    except subprocess.TimeoutExpired:
        return None, f"the files could not be read within {_LOOK_S:g} s"
    except OSError as error:
        return None, f"this installation's program cannot be run: {error.strerror}"
    if done.returncode:
        lines = done.stderr.decode(errors="replace").strip().splitlines() or [f"it ended with {done.returncode}"]
        return None, f"hr {__version__} could not read the files: {lines[-1][:200]}"
    try:
        return msgspec.json.decode(done.stdout, type=h.HealthReport), ""
    except (msgspec.DecodeError, json.JSONDecodeError):
        return None, f"hr {__version__} could not read its own report on the files"
