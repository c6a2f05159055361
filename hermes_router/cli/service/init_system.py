"""The service managers as we speak with them: `systemctl`, `loginctl`, `journalctl` and `launchctl`.

Owns the one place where they are run, the environment that a bare shell (su, cron, a script) lacks for them, and the
reason why there is none to ask. It must never know what a unit says.
"""

import functools
import os
import pwd
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Literal, NamedTuple

__all__ = [
    "ANSWER_S",
    "Ran",
    "Scope",
    "absence",
    "bus_environment",
    "journal",
    "launchctl",
    "run",
    "systemctl",
    "user_name",
    "version",
]

Scope = Literal["user", "system"]

ANSWER_S: Final = 5.0
_BOOTED: Final = Path("/run/systemd/system")  # what sd_booted(3) looks at
_NOT_FOUND: Final = 127
_HUNG: Final = 124


class Ran(NamedTuple):
    """A command that has ended; 124 = it was given up, 127 = it is not there."""

    code: int
    out: str
    err: str

    @property
    def said(self) -> str:
        """Its last word on what went wrong."""
        lines = [line.strip() for line in (self.err or self.out).splitlines() if line.strip()]
        return lines[-1] if lines else f"it ended with {self.code}"


def run(
    argv: list[str], *, wait_s: float = ANSWER_S, given: str | None = None, env: Mapping[str, str] | None = None
) -> Ran:
    """Run a program of the system's to its end; `given` goes to its standard input. Never raises."""
    try:
        done = subprocess.run(  # noqa: S603 - words of ours, no shell
            argv,
            input=given,
            stdin=subprocess.DEVNULL if given is None else None,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=wait_s,
            check=False,
            env={**os.environ, **(env or {}), "LC_ALL": "C.UTF-8", "SYSTEMD_PAGER": "", "SYSTEMD_COLORS": "0"},
        )
    except subprocess.TimeoutExpired:
        return Ran(_HUNG, "", f"{argv[0]} did not answer within {wait_s:g} s")
    except OSError as error:
        return Ran(_NOT_FOUND, "", f"{argv[0]}: {error.strerror}")
    return Ran(done.returncode, done.stdout, done.stderr)


def user_name() -> str:
    """Who we are; the number where the system has no name for it."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())


def bus_environment() -> dict[str, str]:
    """What `systemctl --user` needs and a shell without a login of its own lacks."""
    runtime = os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.geteuid()}"
    if not _is_ours(Path(runtime)):  # a `su` keeps the other user's
        runtime = f"/run/user/{os.geteuid()}"
    found = {"XDG_RUNTIME_DIR": runtime}
    bus = Path(runtime, "bus")
    if runtime != os.environ.get("XDG_RUNTIME_DIR") or "DBUS_SESSION_BUS_ADDRESS" not in os.environ:
        found["DBUS_SESSION_BUS_ADDRESS"] = f"unix:path={bus}"
    return found


def _is_ours(path: Path) -> bool:
    try:
        return path.stat().st_uid == os.geteuid()
    except OSError:
        return False


def systemctl(scope: Scope, *words: str, wait_s: float = ANSWER_S) -> Ran:
    """Ask systemd, our own user's or the system's."""
    if scope == "user":
        return run(["systemctl", "--user", "--no-ask-password", *words], wait_s=wait_s, env=bus_environment())
    return run(["systemctl", "--no-ask-password", *words], wait_s=wait_s)


def version() -> int:
    """The version of systemd; 0 = there is none, or it does not say."""
    said = run(["systemctl", "--version"]).out.split(maxsplit=2)
    return int(said[1]) if len(said) > 1 and said[1].isdecimal() else 0


def launchctl(*words: str, wait_s: float = ANSWER_S) -> Ran:
    """Ask launchd."""
    return run(["launchctl", *words], wait_s=wait_s)


def journal(scope: Scope, options: str = "-e") -> str:
    """The command that shows what the service says; `options` are journalctl's."""
    if sys.platform == "darwin":
        return "tail -f ~/Library/Logs/hermes-router/service.log"
    who = "journalctl --user-unit" if scope == "user" else "sudo journalctl -u"
    return f"{who} hermes-router {options}"


def absence(scope: Scope = "user") -> str:
    """Why there is no service manager to ask, as one clause; empty where there is one."""
    if sys.platform == "darwin":
        return "" if shutil.which("launchctl") else "launchctl is not on PATH"
    if shutil.which("systemctl") is None:
        return "there is no systemd on this machine"
    if not _BOOTED.is_dir():
        return f"systemd does not run {_where()}"
    if scope == "user":
        runtime = Path(bus_environment()["XDG_RUNTIME_DIR"])
        if not (runtime / "bus").exists() and not (runtime / "systemd" / "private").exists():
            return f"systemd runs no services for {user_name()} yet"
    return ""


@functools.cache
def _where() -> str:
    """What kind of machine this is, as far as it explains a missing systemd."""
    if "microsoft" in _read(Path("/proc/sys/kernel/osrelease")).lower():
        return "in this WSL (`systemd=true` under [boot] in /etc/wsl.conf, then `wsl --shutdown`, starts it)"
    inside = os.environ.get("container") or Path("/.dockerenv").exists() or Path("/run/.containerenv").exists()  # noqa: SIM112 - so it is spelt
    return "in this container" if inside else "on this machine"


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
