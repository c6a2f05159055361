"""The files that make the router a service: which there are, where each lies, and what stands in it.

Owns the composition from the templates in `service/`. It must never write a file, nor ask a service manager.
"""

import os
import plistlib
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from hermes_router import __version__
from hermes_router.cli.service import unit_file
from hermes_router.cli.service.init_system import Scope
from hermes_router.cli.shipped import shipped
from hermes_router.control.places import APP, SOCKET_VARIABLE, service_log, user_places

__all__ = ["LABEL", "SERVICE", "SOCKET", "Wanted", "compose", "environment_file", "program", "unit_paths"]

SERVICE: Final = "hermes-router.service"
SOCKET: Final = "hermes-router.socket"
LABEL: Final = "dev.hermes-router"
CREDENTIALS: Final = Path("/etc/credstore.encrypted")
CREDENTIAL_PREFIX: Final = "hermes-router."
_SYSTEM_VARIABLES: Final = Path("/etc/default/hermes-router")

# What decides where our own files lie: the service must look where `hr` does.
_OF_PLACES: Final = ("XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME", SOCKET_VARIABLE)
_USUAL: Final = {
    "XDG_CONFIG_HOME": ".config", "XDG_DATA_HOME": ".local/share", "XDG_STATE_HOME": ".local/state",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a service is to be. `listen`: addresses of the .socket unit, empty = none.

    `backs_off`: the pauses before it is started again grow, which older systemds do not know.
    """

    scope: Scope
    program: tuple[str, ...]
    listen: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    credentials: tuple[str, ...] = ()
    backs_off: bool = False


def unit_paths(scope: Scope) -> dict[str, Path]:
    """Where each of our units lies or would lie, by its name; the service comes first."""
    if sys.platform == "darwin":
        return {LABEL: Path.home() / "Library/LaunchAgents" / f"{LABEL}.plist"}
    folder = Path("/etc/systemd/system") if scope == "system" else Path.home() / ".config/systemd/user"
    return {SERVICE: folder / SERVICE, SOCKET: folder / SOCKET}


def installed_text(scope: Scope, name: str) -> str:
    """What stands in a unit of ours; empty where there is none that can be read."""
    try:
        return unit_paths(scope)[name].read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def program(scope: Scope) -> tuple[str, ...]:
    """What the service runs: the interpreter of this installation, which no upgrade moves, and the daemon."""
    argv = (sys.executable, "-P", "-m", "hermes_router.daemon")
    return (*argv, "--system") if scope == "system" else argv


def environment_file(scope: Scope, environment: Mapping[str, str] | None = None) -> Path:
    """Variables for the service alone, such as a proxy's address: no shell's reach it.

    systemd reads the system's as root, so it lies where nobody else can put a link to a file that only root may read.
    `environment`: what the service is told of its places; None = what this shell is told.
    """
    if scope == "system":
        return _SYSTEM_VARIABLES
    if environment is None:
        return user_places(os.environ).config_dir / "service.env"
    told = environment.get("XDG_CONFIG_HOME")
    return Path(told or Path.home() / _USUAL["XDG_CONFIG_HOME"]) / APP / "service.env"


def moved_places() -> dict[str, str]:
    """The variables of this shell that put our files elsewhere than where a service would look."""
    found = {}
    for name in _OF_PLACES:
        value = os.environ.get(name, "")
        if value and value != str(Path.home() / _USUAL.get(name, "\0")):
            found[name] = value
    return found


def stored_credentials() -> tuple[str, ...]:
    """The names of the encrypted credentials that there are for the system service.

    To whom that directory is closed: those that the installed unit names.
    """
    try:
        names = [path.name for path in CREDENTIALS.iterdir()]
    except PermissionError:
        return unit_file.credentials_of(installed_text("system", SERVICE))
    except OSError:
        return ()
    return tuple(sorted(n.removeprefix(CREDENTIAL_PREFIX) for n in names if n.startswith(CREDENTIAL_PREFIX)))


def compose(wanted: Wanted) -> dict[str, str]:
    """The text of each file, by its name. Raises Unquotable, and FileNotFoundError for a torn installation."""
    if sys.platform == "darwin":
        return {LABEL: _plist(wanted)}
    scope = wanted.scope
    flag = "--user " if scope == "user" else ""
    template = "hermes-router-user.service" if scope == "user" else "hermes-router.service"
    credentials = [
        f"LoadCredentialEncrypted={name}:{CREDENTIALS / (CREDENTIAL_PREFIX + name)}" for name in wanted.credentials
    ]
    made = {
        SERVICE: unit_file.fill(
            shipped("service", template).read_text(),
            {
                "EXEC": unit_file.exec_line(wanted.program),
                "ENVIRONMENT_FILE": unit_file.plain_path(str(environment_file(scope, wanted.environment))),
                "ENVIRONMENT": unit_file.environment_lines(wanted.environment),
                "CREDENTIALS": credentials,
                "SOCKETS": [f"Sockets={SOCKET}"] if wanted.listen else [],
                "RESTARTS": list(unit_file.RESTARTS) if wanted.backs_off else [],
            },
            edit=f"systemctl {flag}edit hermes-router",
        )
    }
    if wanted.listen:
        made[SOCKET] = unit_file.fill(
            shipped("service", SOCKET).read_text(),
            {"LISTEN": [f"ListenStream={address}" for address in wanted.listen]},
            edit=f"systemctl {flag}edit {SOCKET}",
        )
    return made


def _plist(wanted: Wanted) -> str:
    made: dict[str, Any] = plistlib.loads(shipped("service", f"{LABEL}.plist").read_bytes())
    made["ProgramArguments"] = list(wanted.program)
    made["EnvironmentVariables"] |= dict(wanted.environment)
    made["StandardOutPath"] = made["StandardErrorPath"] = str(service_log())
    return unit_file.sign_plist(plistlib.dumps(made, sort_keys=False).decode(), __version__)
