"""Checks of the machine: room on the disks, limits, the clock, the programs and the shell.

Owns those looks and their judgement. The files that it opens it opens to read.
"""

import os
import re
import sqlite3
import sys
import tempfile
from collections.abc import Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Final

from hermes_router.cli import completions, render, words
from hermes_router.cli.doctor.finding import Finding, advice, fault, ok, skipped, warning
from hermes_router.cli.doctor.scene import Scene

__all__ = [
    "completion", "databases", "descriptors", "disk", "judge_python", "judge_room", "log_file", "memory", "python",
    "two_hr", "writable",
]  # fmt: skip

_MB: Final = 1024 * 1024
_FULL_BYTES: Final = 20 * _MB
_LOW_BYTES: Final = 200 * _MB
_FULL_FILES: Final = 100
_LOW_FILES: Final = 2_000
_FEW_DESCRIPTORS: Final = 1_024
_MUCH_MEMORY: Final = 1024 * _MB
_LOW_MEMORY: Final = 64 * _MB
_OLDEST: Final = (3, 11)
_TRIED: Final = (3, 14)


def disk(scene: Scene) -> Finding | Sequence[Finding]:
    """Is there room where state, keys and the log lie, in bytes and in files?"""
    found: list[Finding] = []
    seen: set[int] = set()
    log = [Path(scene.report.log_file).parent] if scene.report is not None and scene.report.log_file else []
    for place in (scene.places.state_dir, scene.places.data_dir, scene.places.config_dir, *log):
        there = next((one for one in (place, *place.parents) if one.exists()), Path("/"))
        device = there.stat().st_dev
        if device in seen:
            continue
        seen.add(device)
        room = os.statvfs(there)
        files = room.f_favail if room.f_files else None
        found.append(judge_room(str(there), room.f_bavail * room.f_frsize, files))
    return [one for one in found if one.state != "ok"] or found[0]


def judge_room(place: str, left: int, files: int | None) -> Finding:
    """A place with `left` bytes, and room for `files` more files, None = it does not count them."""
    shown = render.tilde(place)
    cure = f"make room on the disk that holds {shown}"
    amount = f"{left / _MB:,.0f} MB"
    if left < _FULL_BYTES:
        return fault(
            f"the disk is full: {amount} left at {shown}", f"{cure}: keys and usage cannot be kept", subject=shown
        )
    if files is not None and files < _FULL_FILES:
        return fault(f"the disk has no room for files: {files} left at {shown}", f"{cure}: remove files", subject=shown)
    if left < _LOW_BYTES:
        return warning(f"the disk is nearly full: {amount} left at {shown}", cure, subject=shown)
    if files is not None and files < _LOW_FILES:
        return warning(f"there is room for {files} files only at {shown}", f"{cure}: remove files", subject=shown)
    return ok(f"{left / _MB / 1024:,.1f} GB left at {shown}", subject=shown)


def writable(scene: Scene) -> Finding | Sequence[Finding]:
    """Can the daemon's user write where state, keys and settings lie?"""
    if scene.is_system and os.geteuid() != 0:
        return skipped("the places are the system service's")
    found: list[Finding] = []
    for place, what in (
        (scene.places.state_dir, "usage and limits are forgotten at the next restart"),
        (scene.places.data_dir, "no key can be added"),
        (scene.places.config_dir, "no setting can be changed"),
    ):
        if not place.exists():
            continue
        why = _unwritable(place)
        if why:
            shown = render.tilde(str(place))
            found.append(fault(f"{shown} cannot be written ({why}): {what}", f"make {shown} writable", subject=shown))
    return found or ok("state, keys and settings can be kept")


def _unwritable(place: Path) -> str:
    """Why nothing can be written there. What tells is a file that is made and gone again: it never has a name."""
    try:
        with tempfile.TemporaryFile(dir=place) as probe:
            probe.write(b"hr doctor")
            probe.flush()
    except OSError as error:
        return error.strerror or type(error).__name__
    return ""


def descriptors(scene: Scene) -> Finding:
    """May the daemon have as many connections as it needs?"""
    report = scene.report
    if report is None or not report.descriptors:
        return skipped("no daemon runs")
    said = f"{report.descriptors_open} of {report.descriptors} in use"
    if report.descriptors_open > report.descriptors * 0.8:
        return warning(
            f"open files and connections: {said}", "raise it: LimitNOFILE= in the unit, `ulimit -n` in a shell"
        )
    if report.descriptors < _FEW_DESCRIPTORS:
        return advice(
            f"the daemon may have {report.descriptors} files and connections, two for each answer under way",
            "raise it: LimitNOFILE=65536 in the unit, `ulimit -n 4096` before `hr start`",
        )
    return ok(said)


def memory(scene: Scene) -> Finding:
    """Is there memory left, and does the daemon take a sane part?"""
    report = scene.report
    free = _available(scene.proc / "meminfo")
    if free is not None and free < _LOW_MEMORY:
        return warning(f"{free / _MB:.0f} MB of memory are left on this machine", "end what takes it, or add swap")
    if report is None or not report.memory_bytes:
        return skipped("no daemon runs") if free is None else ok(f"{free / _MB / 1024:.1f} GB are free")
    used = f"the daemon takes {report.memory_bytes / _MB:.0f} MB"
    if report.memory_bytes > _MUCH_MEMORY:
        return warning(used, "`hr restart` gives it back without losing a request; please report it")
    return ok(used + (f", {free / _MB / 1024:.1f} GB are free" if free is not None else ""))


def _available(meminfo: Path) -> int | None:
    with suppress(OSError):
        found = re.search(r"^MemAvailable:\s+(\d+) kB", meminfo.read_text(), re.MULTILINE)
        if found:
            return int(found[1]) * 1024
    return None


def log_file(scene: Scene) -> Finding:
    """Can the log be written?"""
    report = scene.report
    if report is None or not report.log_file:
        return skipped("the log goes to the service manager or to a terminal")
    path = Path(report.log_file)
    shown = render.tilde(str(path))
    if scene.is_system and os.geteuid() != 0:
        return skipped("it is the system service's")
    if path.exists():
        if os.access(path, os.W_OK):
            return ok(shown)
        return warning(
            f"the log {shown} cannot be written", f"make it writable for user {os.geteuid()}, then `hr restart`"
        )
    if path.parent.exists() and os.access(path.parent, os.W_OK):
        return ok(f"{shown} will be made")
    if scene.daemon == "absent" and path == scene.places.log_file:
        return ok(f"{shown} will be made")  # with its directory
    return warning(f"there is no place for the log {shown}", "make its directory, or set LOG_FILE to another")


def databases(scene: Scene) -> Finding | Sequence[Finding]:
    """Are the databases of usage and answers sound?"""
    if scene.is_system and os.geteuid() != 0:
        return skipped("they are the system service's")
    found: list[Finding] = []
    seen = 0
    for path in (scene.places.database, scene.places.responses_file):
        if not path.exists():
            continue
        seen += 1
        why = _damage(path, at_rest=scene.daemon == "absent")
        if why:
            shown = render.tilde(str(path))
            found.append(
                fault(
                    f"{shown} is damaged: {why}",
                    f"`hr stop`, move {shown} away with its -wal and -shm, `hr start`: keys lie elsewhere",
                    subject=shown,
                )
            )
    return found or (ok(f"{words.some(seen, 'database')}, sound") if seen else skipped("there is none yet"))


def _damage(path: Path, *, at_rest: bool) -> str:
    """What a quick check says against it; empty where that is nothing. It is opened to be read only.

    `at_rest` = nobody writes it: then not even the two files beside it are made.
    """
    how = "immutable=1" if at_rest else "mode=ro"
    try:
        with closing(sqlite3.connect(f"{path.as_uri()}?{how}", uri=True, timeout=2.0)) as database:
            said = database.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.DatabaseError as error:
        is_busy = "locked" in str(error) or "unable to open" in str(error) or "readonly" in str(error)
        return "" if is_busy else str(error)[:120]
    return "" if said is None or said[0] == "ok" else str(said[0]).replace("\n", " ")[:120]


# --- programs and shell ---------------------------------------------------------------------------------


def python(scene: Scene) -> Finding:  # noqa: ARG001 - a check takes the scene
    """Is this Python one that the router was made for?"""
    return judge_python(sys.version_info[:2], sys.executable)


def judge_python(version: tuple[int, int], program: str) -> Finding:
    """A version of Python, and where it lies."""
    said = f"Python {version[0]}.{version[1]} at {render.tilde(program)}"
    if version < _OLDEST:
        return fault(said, "install hermes-router with Python 3.11 or later: `pipx install --python python3.12`")
    if version > _TRIED:
        return advice(f"{said} is newer than what was tried", "should anything be odd, install with an older one")
    return ok(said)


def two_hr(scene: Scene) -> Finding:
    """Is `hr` found once on PATH, and is it this one?"""
    found: dict[Path, Path] = {}
    for folder in scene.environ.get("PATH", "").split(os.pathsep):
        path = Path(folder or ".") / "hr"
        with suppress(OSError):
            if path.is_file() and os.access(path, os.X_OK):
                found.setdefault(path.resolve(), path)
    places = [render.tilde(str(one)) for one in found.values()]
    if len(places) > 1:
        return warning(
            f"hr is found {len(places)} times on PATH: {', '.join(places)}",
            "the first one runs; remove the others, or set PATH (`type -a hr` shows all)",
        )
    if not places:
        return advice("hr is not on PATH", "`pipx ensurepath`, or add its directory to PATH")
    return ok(places[0])


_COMPLETIONS: Final = {
    "bash": ("share/bash-completion/completions/hr", ".bash_completion.d/hr", ".bash_completion"),
    "zsh": (".zfunc/_hr", "share/zsh/site-functions/_hr", ".zsh/completions/_hr"),
    "fish": ("fish/completions/hr.fish", "share/fish/vendor_completions.d/hr.fish"),
}


def completion(scene: Scene) -> Finding:
    """Does the shell complete `hr`?"""
    shell = scene.environ.get("SHELL", "").rpartition("/")[2]
    wanted = _COMPLETIONS.get(shell)
    if wanted is None:
        return skipped("the shell is none of bash, zsh and fish")
    home = Path(scene.environ.get("HOME") or Path.home())
    if shell == "zsh":
        home = Path(scene.environ.get("ZDOTDIR") or home)  # as `hr completions install` has it
    data = Path(scene.environ.get("XDG_DATA_HOME") or home / ".local" / "share")
    config = Path(scene.environ.get("XDG_CONFIG_HOME") or home / ".config")
    tops = (home, data.parent, data, config, Path("/usr"), Path("/usr/local"))
    places = [*(top / name for top in tops for name in wanted), data / wanted[0].removeprefix("share/")]
    found = next((place for place in places if place.is_file()), None)
    if shell == "bash":
        return _in_bash(home, found)
    if found is not None:
        return ok(f"{shell} completes hr")
    return _does_not(shell)


def _in_bash(home: Path, found: Path | None) -> Finding:
    """Bash itself reads none of these places: the package bash-completion does, or a line of the person's own."""
    said = ""
    with suppress(OSError, ValueError):
        said = (home / ".bashrc").read_text(encoding="utf-8")
    if "hr completions show" in said or (found is not None and f"{found.parent.name}/{found.name}" in said):
        return ok("bash completes hr")
    if found is None:
        return _does_not("bash")
    if any(map(os.path.exists, completions.BASH_COMPLETION)):
        return ok("bash completes hr")
    shown = render.tilde(str(found))
    return advice(
        f"bash does not complete hr: the package bash-completion, which would read {shown}, is not installed",
        f"install it, or add `source {shown}` to ~/.bashrc",
    )


def _does_not(shell: str) -> Finding:
    return advice(f"{shell} does not complete hr", "`hr completions install`")
