"""Our service as it stands: the files that were installed for it, and what its manager says.

Owns the looking, for every command that asks. It changes nothing; each question to a manager has a few seconds.
"""

import os
import plistlib
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from hermes_router.cli.service import init_system, unit_file
from hermes_router.cli.service.files import LABEL, SERVICE, SOCKET, Wanted, compose, program, unit_paths
from hermes_router.cli.service.init_system import Scope

__all__ = ["Standing", "Unit", "installed", "last_lines", "look", "looks", "standing_of"]

Standing = Literal["absent", "ours", "stale", "edited", "foreign"]

_LINGER: Final = Path("/var/lib/systemd/linger")
_PROPERTIES: Final = (
    "FragmentPath", "DropInPaths", "UnitFileState", "ActiveState", "SubState", "Result", "NRestarts", "MainPID",
    "StatusText", "NeedDaemonReload",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Unit:
    """One service of ours. `manager_error` is empty where its manager answered, else says in a clause why not.

    `standing`: `stale` = as it was written, but not what this version would write; `edited` = changed by hand;
    `foreign` = not written by us. `why` says more. `ports`: where the .socket unit listens. `lingering` None = not
    known, or of no meaning here.
    """

    scope: Scope
    path: Path
    standing: Standing
    why: str = ""
    written_by: str = ""
    program: str = ""
    socket: bool = False
    ports: tuple[int, ...] = ()
    drop_ins: tuple[str, ...] = ()
    manager_error: str = ""
    enabled: bool = False
    active: str = ""
    sub: str = ""
    result: str = ""
    restarts: int = 0
    pid: int = 0
    status: str = ""
    needs_reload: bool = False
    socket_active: bool = False
    lingering: bool | None = None

    @property
    def there(self) -> bool:
        """Whether a unit of our name is installed, whoever wrote it."""
        return self.standing != "absent"

    @property
    def answers(self) -> bool:
        """Whether its manager can be asked to start and stop it."""
        return self.there and not self.manager_error


def looks() -> list[Unit]:
    """The services that are installed, the user's own first."""
    scopes: tuple[Scope, ...] = ("user",) if sys.platform == "darwin" else ("user", "system")
    return [unit for unit in map(look, scopes) if unit.there]


def installed(scope: Scope) -> bool:
    """Whether there is a file, without a word to the manager."""
    return next(iter(unit_paths(scope).values())).is_file()


def look(scope: Scope) -> Unit:
    """The service of this scope."""
    if sys.platform == "darwin":
        return _look_launchd(scope)
    paths = unit_paths(scope)
    text = _read(paths[SERVICE])
    socket_text = _read(paths[SOCKET])
    error = init_system.absence(scope)
    shown = _show(scope, SERVICE) if not error else {}
    if not error and "error" in shown:
        error = shown["error"]
    path = paths[SERVICE]
    if text is None and shown.get("FragmentPath"):
        path = Path(shown["FragmentPath"])
        standing, why = _packaged(path)
    else:
        standing, why = standing_of(scope, text, socket_text)
    header = unit_file.header_of(text or "")
    waits = bool(socket_text) and not error
    return Unit(
        scope=scope,
        path=path,
        standing=standing,
        why=why,
        written_by=header.version if header else "",
        program=unit_file.program_of(text or _read(path) or ""),
        socket=socket_text is not None,
        ports=tuple(int(port) for port in re.findall(r"^ListenStream=.*:(\d+)$", socket_text or "", re.MULTILINE)),
        drop_ins=tuple(shown.get("DropInPaths", "").split()),
        manager_error=error,
        enabled=shown.get("UnitFileState", "") in {"enabled", "enabled-runtime", "linked", "static"},
        active=shown.get("ActiveState", ""),
        sub=shown.get("SubState", ""),
        result=shown.get("Result", ""),
        restarts=int(shown.get("NRestarts") or 0),
        pid=int(shown.get("MainPID") or 0),
        status=shown.get("StatusText", ""),
        needs_reload=shown.get("NeedDaemonReload") == "yes",
        socket_active=waits and _show(scope, SOCKET).get("ActiveState") == "active",
        lingering=_lingers() if scope == "user" else None,
    )


def standing_of(scope: Scope, text: str | None, socket_text: str | None) -> tuple[Standing, str]:
    """How the files stand to what this version would write, and why."""
    if text is None:
        return "absent", ""
    for name, one in ((SERVICE, text), (SOCKET, socket_text)):
        if one is None:
            continue
        header = unit_file.header_of(one)
        if header is None:
            return "foreign", f"{name} was not written by `hr install-service`"
        if not header.intact:
            return "edited", f"{name} was changed since `hr install-service` wrote it"
    runs = unit_file.program_of(text)
    if runs and not Path(runs).exists():
        return "stale", f"it runs {runs}, which is gone"
    if runs != program(scope)[0]:
        return "stale", f"it runs {runs}, and this hr belongs to {program(scope)[0]}"
    try:
        made = compose(_as_installed(scope, text, socket_text))
    except (unit_file.Unquotable, OSError):
        return "ours", ""
    header = unit_file.header_of(text)
    if [unit_file.body_of(made[SERVICE]), unit_file.body_of(made.get(SOCKET, ""))] != [
        unit_file.body_of(text),
        unit_file.body_of(socket_text or ""),
    ]:
        return "stale", f"version {header.version if header else '?'} wrote it, and this one would write another"
    return "ours", ""


def _as_installed(scope: Scope, text: str, socket_text: str | None) -> Wanted:
    """The wish that the files were written for, as far as it can be read from them."""
    return Wanted(
        scope=scope,
        program=program(scope),
        listen=unit_file.listening_of(socket_text or ""),
        environment=unit_file.environment_of(text),
        credentials=unit_file.credentials_of(text),
        backs_off=unit_file.backs_off(text),
    )


def _packaged(path: Path) -> tuple[Standing, str]:
    return "foreign", f"{path} comes from a package or from somebody else"


def _show(scope: Scope, name: str) -> dict[str, str]:
    done = init_system.systemctl(scope, "show", name, "-p", ",".join(_PROPERTIES))
    if done.code:
        return {"error": f"systemd does not answer: {done.said}"}
    return dict(line.partition("=")[::2] for line in done.out.splitlines() if "=" in line)


def _lingers() -> bool | None:
    name = init_system.user_name()
    try:
        return (_LINGER / name).exists()
    except OSError:
        return None


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None


def last_lines(unit: Unit, n: int = 5) -> list[str]:
    """What the service said last; nothing where its journal may not be read."""
    if sys.platform == "darwin":
        text = _read(Path(str(_plist_of(unit.path).get("StandardErrorPath", ""))))
        return (text or "").splitlines()[-n:]
    which = ["--user-unit", SERVICE] if unit.scope == "user" else ["-u", SERVICE]
    argv = ["journalctl", *which, "-q", "--no-pager", "-n", str(n), "-o", "cat"]
    if unit.scope == "user":
        argv.append(f"_UID={os.geteuid()}")
    return [line for line in init_system.run(argv).out.splitlines() if line.strip()]


# --- launchd ------------------------------------------------------------------------------------------------


def domain() -> str:
    """Where our agent lives: the login on screen, else the user's background session."""
    gui = f"gui/{os.geteuid()}"
    return f"user/{os.geteuid()}" if init_system.launchctl("print", gui).code else gui


def _look_launchd(scope: Scope) -> Unit:
    path = unit_paths(scope)[LABEL]
    text = _read(path)
    header = unit_file.header_of(text or "")
    found = _plist_of(path)
    arguments = found.get("ProgramArguments")
    runs = str(arguments[0]) if isinstance(arguments, list) and arguments else ""
    standing: Standing = "absent"
    why = ""
    if text is not None:
        if header is None:
            standing, why = "foreign", "it was not written by `hr install-service`"
        elif not header.intact:
            standing, why = "edited", "it was changed since `hr install-service` wrote it"
        else:
            standing = "ours"
            ours = Wanted(scope, program(scope), environment=_extra(found))
            if unit_file.body_of(compose(ours)[LABEL]) != unit_file.body_of(text):
                standing, why = "stale", f"version {header.version} wrote it, and this one would write another"
    error = init_system.absence()
    printed = init_system.launchctl("print", f"{domain()}/{LABEL}") if not error and text is not None else None
    state = re.search(r"^\s*state = (.+)$", printed.out, re.MULTILINE) if printed and not printed.code else None
    pid = re.search(r"^\s*pid = (\d+)$", printed.out, re.MULTILINE) if printed and not printed.code else None
    return Unit(
        scope=scope,
        path=path,
        standing=standing,
        why=why,
        written_by=header.version if header else "",
        program=runs,
        manager_error=error,
        enabled=printed is not None and not printed.code,
        active="active" if state and state[1] == "running" else "inactive",
        pid=int(pid[1]) if pid else 0,
    )


def _plist_of(path: Path) -> dict[str, object]:
    try:
        found = plistlib.loads(path.read_bytes())
    except (OSError, ValueError, plistlib.InvalidFileException):
        return {}
    return found if isinstance(found, dict) else {}


def _extra(found: dict[str, object]) -> dict[str, str]:
    """The variables that were written for this user, beside the template's own."""
    variables = found.get("EnvironmentVariables")
    return {k: str(v) for k, v in variables.items() if k != "PATH"} if isinstance(variables, dict) else {}
