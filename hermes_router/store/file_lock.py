"""A lock between processes that rests on a file: whoever is killed lets go of it.

Owns the lock file, which is never deleted (another's lock would be on a file without a name). It must never know what
it guards. A lock belongs to the open file, so it also holds between threads, and any thread may let go of it.
"""

import fcntl
import os
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Final, Self

__all__ = ["FileLock", "Unobtainable", "take"]

_LOOK_S: Final = 0.02


class Unobtainable(OSError):
    """Somebody else held it to the end of the wait."""


class FileLock:
    """A lock, held until `release`; a context manager as well."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def release(self) -> None:
        """Let go. Idempotent."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def take(
    path: Path,
    wait_s: float,
    *,
    sleep: Callable[[float], None] = time.sleep,
    mono: Callable[[], float] = time.monotonic,  # noqa: TID251 - between processes there is no other clock
) -> FileLock:
    """Take the lock, waiting up to `wait_s`. Raises Unobtainable, OSError where none can be had here. Blocks."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        deadline = mono() + wait_s
        while True:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if mono() >= deadline:
                    raise Unobtainable(f"{path} is held by another process") from None
            else:
                return FileLock(fd)
            sleep(_LOOK_S)
    except BaseException:
        os.close(fd)
        raise
