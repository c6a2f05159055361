"""The log file of a daemon in the background: ten megabytes, then a fresh one, and the last three are kept.

Owns the turn from one file to the next. Two daemons write here while one hands over to the other, so whoever turns
holds the file's lock, and whoever finds it turned only follows. It must never know what a line says.
"""

import fcntl
import os
from collections.abc import Sequence
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Final

from hermes_router.daemon.logs.outlet import Outlet

LIMIT_BYTES: Final = 10_000_000
KEPT: Final = 3  # the one in use included


class RotatingOutlet(Outlet):
    """An Outlet into `path`, which is made 0600. Raises OSError where it cannot be opened.

    `followers` are other descriptors of that file, which turn with it: what others write there is then with the rest.
    """

    def __init__(
        self, path: Path, *, followers: Sequence[int] = (), limit_bytes: int = LIMIT_BYTES, kept: int = KEPT
    ) -> None:
        self.path = path
        self._followers = followers
        self._limit = limit_bytes
        self._kept = kept
        super().__init__(_open(path))
        self._size = os.fstat(self._fd).st_size
        self._torn = _ends_within_a_line(path, self._size)  # another daemon's disk was full, or it was killed

    def _out(self, text: str, lines: int) -> None:
        """Turn to the next file after the line that fills this one."""
        super()._out(text, lines)
        self._size += len(text)
        if self._size >= self._limit:
            self._turn()

    def _turn(self) -> None:
        """Costs 0.1 ms, once in ten megabytes. What cannot be turned is written on: no line is lost for it."""
        self._size = 0  # whatever happens, the next try is a whole file away
        with suppress(OSError):
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if self._is_current():
                self._shift()
            fresh = _open(self.path)
            try:
                self._size = os.fstat(fresh).st_size
                for follower in self._followers:
                    os.dup2(fresh, follower)
                os.dup2(fresh, self._fd, inheritable=False)  # the lock goes with the old file
            finally:
                os.close(fresh)

    def _is_current(self) -> bool:
        """Whether the path still names the file that we write, and not one that another daemon has turned to."""
        ours = os.fstat(self._fd)
        try:
            named = self.path.stat()
        except FileNotFoundError:
            return False
        return (ours.st_dev, ours.st_ino) == (named.st_dev, named.st_ino)

    def _shift(self) -> None:
        names = [self.path, *(self.path.with_name(f"{self.path.name}.{n}") for n in range(1, self._kept))]
        for newer, older in reversed(list(pairwise(names))):
            with suppress(FileNotFoundError):
                newer.replace(older)


def _open(path: Path) -> int:
    fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    with suppress(OSError):  # not ours, or a filesystem without modes
        os.fchmod(fd, 0o600)
    return fd


def _ends_within_a_line(path: Path, size: int) -> bool:
    if not size:
        return False
    try:
        with path.open("rb") as file:
            file.seek(-1, os.SEEK_END)
            return file.read(1) != b"\n"
    except OSError:
        return False
