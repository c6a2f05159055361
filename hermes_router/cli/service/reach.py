"""Whether a service's user can run this installation at all.

Owns the walk along a path, and the word for the first thing in the way. systemd says 203/EXEC for all of it, after the
fact. It must never change a mode.
"""

import os
import stat
import sys
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Final

import hermes_router

__all__ = ["HIDDEN", "fleeting", "needed", "obstacle"]

HIDDEN: Final = {
    "ProtectHome=": ("/home", "/root", "/run/user"),
    "PrivateTmp=": ("/tmp", "/var/tmp"),  # noqa: S108 - nothing is written there
}
"""What the system unit does not see, by the setting that hides it."""

_FLEETING: Final = ("/tmp", "/var/tmp", "/dev/shm", "/run")  # noqa: S108


def needed() -> list[Path]:
    """What must be reached: the interpreter, its library, and our package."""
    return [Path(sys.executable), Path(os.__file__), Path(hermes_router.__file__)]


def obstacle(paths: Sequence[Path], uid: int, gids: Collection[int], *, hides: bool) -> str:
    """The first thing that keeps this user from these files, as a clause; empty where nothing does.

    `hides`: whether it runs under the system unit, which closes home directories and temporary ones.
    """
    for path in paths:
        for hop in _hops(path):
            for setting, tops in HIDDEN.items() if hides else ():
                top = next((top for top in tops if hop.is_relative_to(top)), None)
                if top is not None:
                    return f"{hop} lies below {top}, which the service does not see ({setting})"
            for step in (*reversed(hop.parents), hop):
                said = _closed(step, uid, gids)
                if said:
                    return said
    return ""


def fleeting(path: Path) -> bool:
    """Whether a path is somewhere that is emptied: a temporary directory, or a cache such as `uvx` runs from."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return any(path.is_relative_to(top) for top in (*_FLEETING, cache))


def _hops(path: Path) -> Iterator[Path]:
    """The path, whatever its last part links to one after the other, and the place where it ends up."""
    seen = set()
    while path not in seen:
        seen.add(path)
        yield path
        if path.is_symlink():
            path = path.parent / path.readlink()
    real = path.resolve()
    if real not in seen:
        yield real


def _closed(step: Path, uid: int, gids: Collection[int]) -> str:
    """Why this user cannot pass this part, as a clause; empty where it can."""
    try:
        found = step.stat()
    except OSError as error:
        return f"{step} cannot be looked at ({error.strerror})"
    want = 1 if stat.S_ISDIR(found.st_mode) else 4
    shift = 6 if found.st_uid == uid else 3 if found.st_gid in gids else 0
    if uid == 0 or found.st_mode >> shift & want:
        return ""
    return f"{step} is closed to others (mode {stat.S_IMODE(found.st_mode):04o})"
