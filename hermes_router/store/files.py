"""Private files that survive anything: whole or not at all, for the owner alone, on the disk before it is said so.

Owns the writing, reading and setting aside of one small file, and what tells that it changed. It must never know what
stands in one.
"""

import errno
import fcntl
import os
import stat
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

__all__ = ["file_stamp", "read_private", "set_aside", "write_private"]

_PRIVATE_FILE: Final = 0o600
_PRIVATE_DIRECTORY: Final = 0o700
_MAX_BYTES: Final = 64 * 1024 * 1024
_STALE_S: Final = 3600.0  # a temporary file this old belongs to nobody: a write takes milliseconds
_FULL_SYNC: Final[int | None] = getattr(fcntl, "F_FULLFSYNC", None)  # macOS: fsync alone stops at the drive's cache


def write_private(path: Path, data: bytes, *, still: Callable[[], bool] | None = None) -> bool:
    """Replace the file's content, 0600, in a directory made 0700 where it is missing; durable on return.

    At any kill there is the old file or the new one, whole. A symbolic link stays: its target is replaced. Raises
    OSError, and PermissionError where the file is another user's; the old file is untouched then. `still` is asked at
    the last moment whether that should be: False = it should not any longer, and the old file stays.
    """
    target = Path(os.path.realpath(path))
    _refuse_foreign(target)
    target.parent.mkdir(mode=_PRIVATE_DIRECTORY, parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".tmp", dir=target.parent)  # 0600 from the start
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            _to_disk(file.fileno())
            written_at = os.fstat(file.fileno()).st_mtime
        if still is not None and not still():
            temporary.unlink(missing_ok=True)
            return False
        temporary.replace(target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync_directory(target.parent)
    _sweep(target, written_at)
    return True


def read_private(path: Path, *, said: list[str] | None = None) -> bytes | None:
    """The file's content, None where there is no file; one that others could read is closed to them (0600) first.

    What was repaired is a sentence in `said`. Raises OSError, and PermissionError where the file is another user's.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # a pipe in its place must not hold us up
    except FileNotFoundError:
        return None
    try:
        found = os.fstat(handle)
        if not stat.S_ISREG(found.st_mode):
            raise OSError(errno.EINVAL, "it is not a regular file", str(path))
        _refuse_owner(path, found)
        if stat.S_IMODE(found.st_mode) & 0o077:
            _close_to_others(handle, path, stat.S_IMODE(found.st_mode), said)
        with os.fdopen(os.dup(handle), "rb") as file:
            data = file.read(_MAX_BYTES + 1)
    finally:
        os.close(handle)
    if len(data) > _MAX_BYTES:
        raise OSError(errno.EFBIG, "it is larger than 64 MB", str(path))
    return data


def set_aside(path: Path, stamp: str, *, keep: bool = False) -> Path:
    """Give a damaged file another name beside it, which holds `stamp`, and return that; nothing is overwritten.

    `keep` leaves the old name in place as well, for a caller who replaces it at once: so there is no instant without
    the file. Raises OSError.
    """
    target = Path(os.path.realpath(path))
    number = 1
    while True:
        aside = target.with_name(f"{target.name}.damaged-{stamp}" + (f"-{number}" if number > 1 else ""))
        try:
            os.link(target, aside)
            break
        except FileExistsError:
            if aside.samefile(target):
                break  # set aside before, and the caller was killed on its way
            number += 1
        except OSError:  # a filesystem without hard links
            if not aside.exists():
                write_private(aside, target.read_bytes())
                break
            number += 1
    if not keep:
        target.unlink()
    _sync_directory(target.parent)
    return aside


def file_stamp(path: Path) -> tuple[int, int, int] | None:
    """Inode, time and size: what changes whenever a file does; None where it cannot be seen."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


def _refuse_foreign(target: Path) -> None:
    with suppress(FileNotFoundError):
        _refuse_owner(target, target.stat())


def _refuse_owner(path: Path, found: os.stat_result) -> None:
    if found.st_uid != os.geteuid():
        raise PermissionError(errno.EPERM, f"it belongs to another user (uid {found.st_uid})", str(path))


def _close_to_others(handle: int, path: Path, mode: int, said: list[str] | None) -> None:
    try:
        os.fchmod(handle, _PRIVATE_FILE)
        what = f"{path} could be read by others (mode {mode:04o}); it is now yours alone (0600)"
    except OSError as error:  # a filesystem without modes
        what = f"{path} can be read by others (mode {mode:04o}), which cannot be changed here: {error.strerror}"
    if said is not None:
        said.append(what)


def _to_disk(handle: int) -> None:
    if _FULL_SYNC is not None:
        with suppress(OSError):
            fcntl.fcntl(handle, _FULL_SYNC)
            return
    os.fsync(handle)


def _sync_directory(directory: Path) -> None:
    handle = os.open(directory, os.O_RDONLY | os.O_CLOEXEC | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # some filesystems know no such thing
            raise
    finally:
        os.close(handle)


def _sweep(target: Path, now: float) -> None:
    """Remove what killed writers of this file left behind; `now` is the filesystem's own clock."""
    with suppress(OSError):
        for entry in os.scandir(target.parent):
            if entry.name.startswith(f".{target.name}.") and entry.name.endswith(".tmp"):
                with suppress(OSError):
                    if now - entry.stat(follow_symlinks=False).st_mtime > _STALE_S:
                        Path(entry.path).unlink(missing_ok=True)
