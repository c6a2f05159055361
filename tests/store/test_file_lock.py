"""hermes_router/store/file_lock.py: a lock that a killed process lets go of."""

import os
import signal
from pathlib import Path

import pytest

from hermes_router.store.file_lock import Unobtainable, take


def test_a_lock_is_one_persons_at_a_time(tmp_path: Path) -> None:
    """Held, refused after the wait, free again; the wait sleeps and ends by the clock that it is given."""
    path = tmp_path / "x.lock"
    times = iter([0.0, 0.5, 1.0])
    slept: list[float] = []
    with take(path, 0.0), pytest.raises(Unobtainable):
        take(path, 1.0, sleep=slept.append, mono=lambda: next(times))
    assert len(slept) == 1
    take(path, 0.0).release()
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_killed_holder_lets_go(tmp_path: Path) -> None:
    """The kernel does, whatever the process was doing."""
    path = tmp_path / "x.lock"
    reads, writes = os.pipe()
    pid = os.fork()
    if not pid:
        take(path, 0.0)
        os.write(writes, b"x")
        signal.pause()
    assert os.read(reads, 1) == b"x"
    with pytest.raises(Unobtainable):
        take(path, 0.0)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    os.close(reads)
    os.close(writes)
    take(path, 0.0).release()


def test_a_link_in_its_place_is_refused(tmp_path: Path) -> None:
    """Nobody leads us to open a file of another's."""
    (tmp_path / "x.lock").symlink_to(tmp_path / "other")
    with pytest.raises(OSError):
        take(tmp_path / "x.lock", 0.0)
