"""hermes_router/daemon/claim.py: one daemon an installation, whatever came before."""

import fcntl
import os
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from hermes_router.control import types as t
from hermes_router.core.errors import ControlError
from hermes_router.daemon.claim import Claim, claim


class Somebody:
    """Whoever has the lock. Each `ping` is answered by the next of `words`; the last one stays."""

    def __init__(self, *words: t.Ping | ControlError | None) -> None:
        self.words = list(words)
        self.asked_to_leave = 0
        self.leaves: Callable[[], None] = lambda: None

    def ping(self) -> t.Ping | None:
        word = self.words.pop(0) if len(self.words) > 1 else self.words[0]
        if isinstance(word, ControlError):
            raise word
        return word

    def ask_to_leave(self) -> None:
        self.asked_to_leave += 1
        self.leaves()


class Time:
    def __init__(self) -> None:
        self.now = 0.0

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def mono(self) -> float:
        return self.now


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "daemon.lock"


@pytest.fixture
def held(path: Path) -> Iterator[int]:
    """The lock as another process's open file has it; closed by the test or here."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(fd, fcntl.LOCK_EX)
    os.write(fd, b"4711\n")
    yield fd
    with suppress(OSError):
        os.close(fd)


def _claim(path: Path, holder: Somebody) -> Claim:
    time = Time()
    return claim(path, holder, wait_s=1.0, sleep=time.sleep, mono=time.mono)  # type: ignore[arg-type]


def test_the_lock_is_ours_alone_and_signed(path: Path) -> None:
    """A free lock is taken: 0600, our pid inside for people, not inherited by what we start, kept when let go."""
    claimed = _claim(path, Somebody(None))
    assert path.read_text() == f"{os.getpid()}\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert not os.get_inheritable(claimed.fd)
    claimed.close()
    claimed.close()
    assert path.exists()
    _claim(path, Somebody(None)).close()


def test_a_running_daemon_is_named(path: Path, held: int) -> None:
    """Exit code 3, its pid and version, and what to do instead; its lock file is untouched."""
    with pytest.raises(ControlError) as caught:
        _claim(path, Somebody(t.Ping(version="9.9", pid=77, run="detached")))
    assert caught.value.exit_code == 3
    assert "pid 77, version 9.9" in caught.value.message
    assert "hr restart" in caught.value.next_step
    assert path.read_text() == "4711\n"


def test_a_control_only_daemon_is_asked_to_leave(path: Path, held: int) -> None:
    """It is there for the length of a command: once it has gone, the lock is ours."""
    holder = Somebody(t.Ping(version="1", pid=77, run="control-only"))
    holder.leaves = lambda: os.close(held)
    _claim(path, holder).close()
    assert holder.asked_to_leave == 1


def test_a_control_only_daemon_that_stays_is_named_in_the_end(path: Path, held: int) -> None:
    """The waiting is bounded."""
    holder = Somebody(t.Ping(version="1", pid=77, run="control-only"))
    with pytest.raises(ControlError, match="pid 77"):
        _claim(path, holder)
    assert 10 < holder.asked_to_leave < 30


def test_a_daemon_that_hangs_is_said_to(path: Path, held: int) -> None:
    """It holds the lock, and does not answer: its pid as far as it is known, and exit code 3."""
    with pytest.raises(ControlError) as caught:
        _claim(path, Somebody(ControlError("no answer within 10 s")))
    assert caught.value.exit_code == 3
    assert "4711" in caught.value.message
    assert "no answer within 10 s" in caught.value.message


def test_a_daemon_that_is_about_to_bind_or_to_end_is_waited_for(path: Path, held: int) -> None:
    """Two starts at once: the other has the lock and no socket yet. It is waited for, then named."""
    holder = Somebody(None, None, t.Ping(version="1", pid=78, run="foreground"))
    with pytest.raises(ControlError, match="already running, pid 78"):
        _claim(path, holder)
    with pytest.raises(ControlError, match="no control socket") as caught:
        _claim(path, Somebody(None))
    assert caught.value.exit_code == 3


def test_the_kernel_lets_go_of_a_killed_ones_lock(path: Path) -> None:
    """After kill -9 the file is still there, and the lock is free."""
    program = (
        f"import fcntl,os,time; f=open({str(path)!r},'w'); fcntl.flock(f,2); print('held',flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()
        with pytest.raises(ControlError):
            _claim(path, Somebody(None))
        other.kill()
        other.wait()
    _claim(path, Somebody(None)).close()


def test_a_shared_lock_is_never_free_between_two(path: Path) -> None:
    """A successor's copy of the descriptor keeps the lock when the predecessor closes its own."""
    first = _claim(path, Somebody(None))
    second = Claim(os.dup(first.fd), path)
    first.close()
    with pytest.raises(ControlError):
        _claim(path, Somebody(None))
    second.close()
    _claim(path, Somebody(None)).close()


def test_a_link_in_its_place_is_not_followed(path: Path) -> None:
    """Nobody makes us write a pid into another file."""
    victim = path.with_name("victim")
    victim.write_text("precious")
    path.symlink_to(victim)
    with pytest.raises(OSError):
        _claim(path, Somebody(None))
    assert victim.read_text() == "precious"
