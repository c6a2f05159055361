"""The control socket's place on disk: bound for us alone, and never at the cost of what is somebody else's.

Owns the checks before the bind (facts/os.md 4.1 to 4.3). The caller holds the daemon's lock, so that a socket which
nobody answers is a leftover; what is no socket, or not ours, is never removed.
"""

import errno
import os
import socket
import stat
from contextlib import suppress
from pathlib import Path
from typing import Final

from hermes_router.control.places import SOCKET_VARIABLE, check_socket
from hermes_router.core.errors import ConfigError, ControlError

__all__ = ["bind_control"]

_REFUSED: Final = 3
_KNOCK_S: Final = 1.0


def bind_control(path: Path, *, readers_gid: int | None = None, system: bool = False) -> socket.socket:
    """A bound, non-blocking, not yet listening socket, mode 0600 in a directory of ours that is 0700.

    For the system service `readers_gid` opens it to a group: 0660 in 0750; `system`: its directory is made by the
    service manager, and may be 0750 also where no such group is known. Raises ControlError, exit code 3 where something
    is in the way.
    """
    try:
        check_socket(path)
    except ConfigError as error:
        raise ControlError(
            str(error), code="socket", next_step=f"Set {SOCKET_VARIABLE} to a shorter path.", exit_code=_REFUSED
        ) from error
    try:
        _check_directory(path.parent, readers_gid, 0o750 if system or readers_gid is not None else 0o700)
        _clear(path)
        return _bound(path, readers_gid)
    except OSError as error:
        raise ControlError(
            f"The control socket {path} cannot be made: {error.strerror or error}.",
            code="socket",
            next_step=f"Make its directory writable, or set {SOCKET_VARIABLE} to another path.",
        ) from error


def _check_directory(directory: Path, readers_gid: int | None, widest: int) -> None:
    if not directory.is_dir():
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if readers_gid is not None:
            _let_in(directory, readers_gid)
    found = directory.stat()
    if found.st_uid != os.geteuid():
        raise ControlError(
            f"The control socket's directory {directory} belongs to user {found.st_uid}, not to us ({os.geteuid()}).",
            code="foreign",
            next_step=f"Set {SOCKET_VARIABLE} to a path in a directory of your own.",
            exit_code=_REFUSED,
        )
    mode = stat.S_IMODE(found.st_mode)
    if mode & 0o777 & ~widest:
        raise ControlError(
            f"The control socket's directory {directory} is open to others (mode {mode:04o}).",
            code="socket",
            next_step=f"Run `chmod {widest:04o} {directory}`, or set {SOCKET_VARIABLE} to a path elsewhere.",
            exit_code=_REFUSED,
        )


def _let_in(directory: Path, readers_gid: int) -> None:
    """Open a directory that we made to the readers, where we may; else they stay out."""
    with suppress(PermissionError):
        os.chown(directory, -1, readers_gid)
        directory.chmod(0o750)


def _clear(path: Path) -> None:
    """Remove a leftover socket of ours; refuse whatever else is there."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(found.st_mode):
        raise ControlError(
            f"{path} is in the way of the control socket, and is not a socket.",
            code="foreign",
            next_step=f"Move it away, or set {SOCKET_VARIABLE} to another path.",
            exit_code=_REFUSED,
        )
    if found.st_uid != os.geteuid():
        raise ControlError(
            f"{path} is a socket of user {found.st_uid}, not ours ({os.geteuid()}).",
            code="foreign",
            next_step=f"Have its owner remove it, or set {SOCKET_VARIABLE} to another path.",
            exit_code=_REFUSED,
        )
    if _alive(path):
        raise ControlError(
            f"A daemon answers there already: {path}.",
            code="running",
            next_step="Use it, or stop it first with `hr stop`.",
            exit_code=_REFUSED,
        )
    path.unlink(missing_ok=True)


def _alive(path: Path) -> bool:
    """Whether anyone listens; where that stays unclear, someone does."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as knock:
        knock.settimeout(_KNOCK_S)
        try:
            knock.connect(str(path))
        except OSError as error:
            return error.errno not in {errno.ECONNREFUSED, errno.ENOENT}
    return True


def _bound(path: Path, readers_gid: int | None) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o077)  # closes the moment between bind and chmod
    try:
        sock.bind(str(path))
    except OSError:
        sock.close()
        raise
    finally:
        os.umask(before)
    try:
        if readers_gid is not None and path.stat().st_gid != readers_gid:
            os.chown(path, -1, readers_gid)  # which a hardened unit forbids, and makes needless
        path.chmod(0o600 if readers_gid is None else 0o660)
        sock.setblocking(False)
    except OSError:
        sock.close()
        path.unlink(missing_ok=True)
        raise
    return sock
