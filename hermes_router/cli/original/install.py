"""Where the original hermes-router lies on this machine, and whether it runs.

Owns the looking: the usual directories, its unit, its processes, its port. It must never write there, nor signal a
process. Two programs that renew one login log each other out, so whoever takes a login over asks here first.
"""

import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

__all__ = ["MOST_BYTES", "Original", "Process", "at", "beside", "find", "home_of", "look", "processes", "runs"]

MOST_BYTES: Final = 4 * 1024 * 1024
_PORT: Final = 8319
_ASK_S: Final = 1.0
_SCRIPT: Final = "router.py"
_UNITS: Final = (Path("/etc/systemd/system"), Path("/lib/systemd/system"))
_OF_ITS_OWN: Final = re.compile(
    rb"^\s*(?:PROXY_API_KEYS|ROUTER_MODEL_ID|ROUTER_STATE_\w+|CACHE_TTL_SECONDS|FAST_ROUTE_THRESHOLD|ROTATION_MODE"
    rb"|AUTO_DISCOVER_MODELS|BREAKER_\w+|PROXY_LIMIT_\w+)\s*=",
    re.MULTILINE,
)

_KEY: Final = re.compile(rb"^\s*\w+_(?:API_KEY|TOKEN)S?(?:_\d+)?\s*=\s*\S", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Original:
    """One installation: its directory, and those of its two files that are there."""

    directory: Path
    env: Path | None = None
    auth: Path | None = None


class Process(NamedTuple):
    """A process: its number, its command line, where it runs (None = not to be seen), and whose it is."""

    pid: int
    argv: list[str]
    cwd: Path | None
    uid: int


def at(path: Path) -> Original:
    """The installation that a person named, by its directory or by one of its files. Raises OSError."""
    path = path.expanduser().absolute()
    if path.is_dir():
        return _in(path)
    path.stat()  # says why not
    if path.suffix == ".json":
        return Original(path.parent, auth=path)
    return Original(path.parent, env=path)


def _in(directory: Path) -> Original:
    env, auth = directory / ".env", directory / "auth.json"
    return Original(directory, _file(env), _file(auth))


def _file(path: Path) -> Path | None:
    try:
        return path if path.is_file() else None
    except OSError:
        return None


# --- finding it -----------------------------------------------------------------------------------------


def find(environ: Mapping[str, str], *, home: Path, ours: Path) -> list[Original]:
    """All that are on this machine, as far as we can see; `ours` is our own `.env`, which is none of its files.

    A directory counts only where it has the original's name and a key, or something in it is the original's own: a
    project's `.env` is none of our business. What is neither ours nor root's is passed over, and so is the current
    directory: whoever filled it, as with a cloned repository, must not say where keys go.
    """
    found: list[Original] = []
    for name in ("ROUTER_AUTH_FILE", "HR_ENV_FILE"):
        if environ.get(name):
            with suppress(OSError):
                found.append(at(Path(environ[name])))
    named = [home / "hermes-router", home / "Hermes-router", home / ".hermes-router"]
    if environ.get("HERMES_ROUTER_DIR"):
        named.append(Path(environ["HERMES_ROUTER_DIR"]).expanduser())
    named.append(home / ".local/share/hermes-router")
    found += [_in(place) for place in named if _KEY.search(look(place / ".env")) is not None]
    places = [*named]
    places += _of_units(environ.get("HERMES_ROUTER_SERVICE") or "hermes-router", home)
    ours_too = (process for process in processes() if process.uid == os.geteuid())  # root is not asked for others' keys
    places += [directory for process in ours_too if (directory := home_of(process)) is not None]
    found += [_in(place) for place in places if looks_original(place)]
    return [one for one in _each_once(found, ours) if _is_trusted(one)]


def beside(cwd: Path, found: Iterable[Original], ours: Path) -> Path | None:
    """The current directory where an original's files lie there that were not found: to be pointed out, not read."""
    with suppress(OSError):
        place = cwd.resolve()
        if looks_original(place) and place not in {one.directory for one in found} and _each_once([_in(place)], ours):
            return place
    return None


def _is_trusted(one: Original) -> bool:
    """Whether its directory and its files are ours or root's: another's could say where our keys go."""
    try:
        owners = {path.stat().st_uid for path in (one.directory, one.env, one.auth) if path is not None}
    except OSError:
        return False
    return owners <= {os.geteuid(), 0}


def _each_once(found: Iterable[Original], ours: Path) -> list[Original]:
    """Each installation once, its files together; ours is not one."""
    by_place: dict[Path, Original] = {}
    for one in found:
        with suppress(OSError):
            place = one.directory.resolve()
            env = None if one.env is not None and one.env.resolve() == ours.resolve() else one.env
            known = by_place.get(place, Original(place))
            by_place[place] = Original(place, known.env or env, known.auth or one.auth)
    return [one for one in by_place.values() if one.env is not None or one.auth is not None]


def looks_original(directory: Path) -> bool:
    """Whether the original's program, its `auth.json`, or a `.env` with settings of its own lies there."""
    with suppress(OSError):  # somebody else's, which is closed to us
        if (directory / _SCRIPT).is_file() and (directory / "scripts").is_dir():
            return True
    return _is_auth(look(directory / "auth.json")) or _OF_ITS_OWN.search(look(directory / ".env")) is not None


def _is_auth(data: bytes) -> bool:
    with suppress(ValueError, RecursionError):
        found = json.loads(data)
        return isinstance(found, dict) and bool(found.keys() & {"providers", "codex_accounts", "proxy_keys"})
    return b'"codex_accounts"' in data or b'"proxy_keys"' in data  # damaged, and yet its own


def look(path: Path) -> bytes:
    """The beginning of a file; empty where it cannot be read."""
    try:
        if not path.is_file():
            return b""
        with path.open("rb") as file:
            return file.read(MOST_BYTES + 1)
    except OSError:
        return b""


def _of_units(service: str, home: Path) -> list[Path]:
    """Where units of the original's start it; ours, of the same name, starts no script."""
    found = []
    for directory in (*_UNITS, home / ".config/systemd/user"):
        text = look(directory / f"{service}.service").decode(errors="replace")
        where = re.search(r"^WorkingDirectory=(.+)$", text, re.MULTILINE)
        if where is not None and re.search(rf"^ExecStart=.*/{re.escape(_SCRIPT)}\b", text, re.MULTILINE):
            found.append(Path(where.group(1).strip()))
    return found


# --- whether it runs ------------------------------------------------------------------------------------


def runs(places: Iterable[Original]) -> str:
    """What shows that the original runs, in words; empty where nothing does.

    Its processes, the pid that its own start notes, and its port are looked at: one of them is enough.
    """
    places = list(places)
    for process in processes():
        if home_of(process) is not None:
            return f"process {process.pid} runs it"
    for one in places:
        pid = _noted(one.directory / "router.pid")
        if pid is not None:
            return f"process {pid} runs it ({one.directory / 'router.pid'})"
    ports = {_port_of(look(one.env)) for one in places if one.env is not None} | {_PORT}
    answering = next((port for port in sorted(ports) if _answers(port)), None)
    return f"it answers on port {answering}" if answering is not None else ""


def processes(proc: Path = Path("/proc")) -> Iterator[Process]:
    """All processes with a script of that name on their command line; those of others as far as they can be seen."""
    entries = [entry for entry in proc.iterdir() if entry.name.isdecimal()] if proc.is_dir() else []
    if not entries:
        yield from _by_ps()
        return
    for entry in entries:
        if int(entry.name) != os.getpid():
            with suppress(OSError):
                argv = [os.fsdecode(one) for one in (entry / "cmdline").read_bytes().split(b"\0") if one]
                if any(Path(one).name == _SCRIPT for one in argv[:4]):
                    cwd = None
                    with suppress(OSError):
                        cwd = (entry / "cwd").readlink()
                    yield Process(int(entry.name), argv, cwd, entry.stat().st_uid)


def _by_ps() -> Iterator[Process]:
    import subprocess  # noqa: PLC0415 - only where there is no /proc

    with suppress(OSError, subprocess.SubprocessError):
        ask = ["ps", "-axo", "pid=,uid=,command="]
        done = subprocess.run(ask, capture_output=True, timeout=5, check=False)  # noqa: S603 - our own words
        for line in done.stdout.decode(errors="replace").splitlines():
            numbers, argv = line.split()[:2], line.split()[2:]
            if all(map(str.isdecimal, numbers)) and any(Path(one).name == _SCRIPT for one in argv[:4]):
                yield Process(int(numbers[0]), argv, None, int(numbers[1]))


def home_of(process: Process) -> Path | None:
    """The installation that a process runs; None for a script of the same name that is another program's."""
    script = next((Path(one) for one in process.argv if Path(one).name == _SCRIPT), None)
    if script is None:
        return None
    if not script.is_absolute():
        if process.cwd is None:
            return None
        script = process.cwd / script
    for directory in (script.parent, process.cwd):
        if directory is not None and looks_original(directory):
            return directory
    return script.parent if "hermes" in str(script).lower() else None


def _noted(path: Path) -> int | None:
    """The pid of a file of the original's, where such a process lives and is no other program by now."""
    text = look(path).strip()[:20]
    if not text.isdigit():
        return None
    pid = int(text)
    try:
        os.kill(pid, 0)
    except PermissionError:
        pass
    except (OSError, OverflowError):
        return None
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return pid  # it lives, and who it is cannot be seen
    return pid if _SCRIPT.encode() in command else None


def _port_of(env: bytes) -> int:
    match = re.search(rb"^\s*PORT\s*=\s*(\d{1,5})", env, re.MULTILINE)
    return int(match.group(1)) if match is not None else _PORT


def _answers(port: int) -> bool:
    """Whether the original answers there: its `/health` lists its providers, ours does not."""
    import http.client  # noqa: PLC0415 - few commands look for it

    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_ASK_S)
    try:
        connection.request("GET", "/health")
        with connection.getresponse() as answer:
            found = json.loads(answer.read(65_536))
        return isinstance(found, dict) and isinstance(found.get("providers"), list)
    except (OSError, http.client.HTTPException, ValueError):
        return False
    finally:
        connection.close()
