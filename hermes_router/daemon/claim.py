"""The one daemon of an installation: a lock that is held for its life, taken before anything is bound.

Owns the lock file, which is never deleted (another's lock would be on a file without a name), and what to say where
somebody else holds it. The kernel lets go of the lock when the last process that holds it is gone, however it went
(facts/os.md 4.3). A control-only daemon, there for the length of a command, is asked to leave.
"""

import fcntl
import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from hermes_router.control import types as t
from hermes_router.core.errors import ControlError

__all__ = ["Claim", "Holder", "claim"]

WAIT_S: Final = 10.0  # for a holder that is about to leave, or has not bound its socket yet
_LOOK_S: Final = 0.05


class Holder:
    """Whoever listens on the control socket, as the claim asks it."""

    def __init__(self, socket: Path) -> None:
        self._socket = socket

    def ping(self) -> t.Ping | None:
        """What it says of itself; None where nobody listens. Raises ControlError where it does not answer."""
        from hermes_router.control.client import Client  # noqa: PLC0415 - only where the lock is taken

        return Client(self._socket).ping()

    def ask_to_leave(self) -> None:
        """Ask it to end, what it does finished. Raises ControlError."""
        from hermes_router.control.client import Client  # noqa: PLC0415

        Client(self._socket).call("POST", "/v1/shutdown", t.Shutdown(), t.Done)


class Claim:
    """The lock, held. A successor gets the descriptor: a lock belongs to the open file, so it is never free between."""

    def __init__(self, fd: int, path: Path) -> None:
        os.set_inheritable(fd, False)
        self.fd = fd
        self.path = path

    def sign(self) -> None:
        """Leave our pid in the file, for people: nothing reads it but a message. A full disk takes it or not."""
        with suppress(OSError):
            os.ftruncate(self.fd, 0)
            os.pwrite(self.fd, f"{os.getpid()}\n".encode(), 0)

    def close(self) -> None:
        """Let go. Never by unlocking, which would take it from a successor, too. Idempotent."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


def claim(
    path: Path,
    holder: Holder,
    *,
    wait_s: float = WAIT_S,
    sleep: Callable[[float], None] = time.sleep,
    mono: Callable[[], float] = time.monotonic,
) -> Claim:
    """Take the lock. Raises ControlError (exit 3) where another daemon holds it, OSError where none can be had here."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        deadline = mono() + wait_s
        while not _lock(fd):
            _yield_to(holder, path, last=mono() >= deadline)
            sleep(_LOOK_S)
        made = Claim(fd, path)
        made.sign()
    except BaseException:
        os.close(fd)
        raise
    return made


def _lock(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _yield_to(holder: Holder, path: Path, *, last: bool) -> None:
    """Return where it is worth trying again. Raises ControlError."""
    try:
        ping = holder.ping()
        if ping is not None and ping.run == "control-only" and not last:
            holder.ask_to_leave()
            return
    except ControlError as error:
        if not last:
            return  # it may be about to go
        raise ControlError(
            f"a daemon runs already (pid {_signed(path)}) and does not answer: {error.message}",
            code="hung",
            next_step="end that process, then start again",
            exit_code=3,
        ) from None
    if ping is not None:
        raise ControlError(
            f"already running, pid {ping.pid}, version {ping.version}",
            code="running",
            next_step="`hr restart` renews it, `hr stop` ends it",
            exit_code=3,
        )
    if last:
        raise ControlError(
            f"the lock {path} is held by a process that has no control socket (pid {_signed(path)})",
            code="held",
            next_step="end that process, or wait until it is gone",
            exit_code=3,
        )


def _signed(path: Path) -> str:
    try:
        return path.read_bytes()[:20].decode("ascii", "replace").strip() or "unknown"
    except OSError:
        return "unknown"
