"""hermes_router/cli/lock.py: a look at the lock says who has it, and takes nothing."""

import errno
import fcntl
from pathlib import Path

import pytest

from hermes_router.cli.lock import is_held


def test_a_lock_is_held_free_or_not_there(tmp_path: Path) -> None:
    """Another process's lock is seen, the look leaves it, and a file that is not there is neither."""
    path = tmp_path / "daemon.lock"
    assert is_held(path) is None
    with path.open("w") as file:
        assert is_held(path) is False
        fcntl.flock(file, fcntl.LOCK_EX)
        assert is_held(path) is True
    assert is_held(path) is False


def test_a_disk_without_locks_says_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As some network file systems are."""

    def none(_fd: int, _how: int) -> None:
        raise OSError(errno.ENOLCK, "no locks")

    path = tmp_path / "daemon.lock"
    path.touch()
    monkeypatch.setattr(fcntl, "flock", none)
    assert is_held(path) is None
