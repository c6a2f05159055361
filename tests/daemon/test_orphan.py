"""hermes_router/daemon/orphan.py: a process that is not our child, and can be signalled and waited for all the same."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from hermes_router.daemon.orphan import bear

SLEEPS = "import os, sys; os.write(int(sys.argv[1]), b'x'); print('said', flush=True); sys.stdin.read(); os.read(int(sys.argv[2]), 1)"


def _parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def test_it_inherits_what_is_passed_and_is_nobodys_child_of_ours() -> None:
    """Descriptors by their numbers, the environment given, no input; killed by its handle, which is let go of then."""
    mine, theirs = os.pipe()
    lives, live = os.pipe()
    born = bear(
        [sys.executable, "-c", SLEEPS, str(theirs), str(lives)], pass_fds=[theirs, lives], environ={"PATH": "/bin"}
    )
    os.close(theirs)
    assert os.read(mine, 1) == b"x"
    assert _parent(born.pid) != os.getpid()
    with pytest.raises(subprocess.TimeoutExpired):
        born.wait(0.0)
    assert born.poll() is None
    born.send_signal(signal.SIGCONT)
    born.kill()
    assert born.wait(20) is None
    assert os.read(mine, 1) == b""
    born.kill()
    for number in (mine, lives, live):
        os.close(number)


def test_one_that_cannot_be_started_is_said(tmp_path: Path) -> None:
    """A program that is not there ends at once; an interpreter that is not there is an OSError."""
    born = bear([str(tmp_path / "absent")], pass_fds=[], environ={})
    assert born.wait(20) is None


def test_a_fork_that_fails_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """No process, no number."""
    monkeypatch.setattr("hermes_router.daemon.orphan._BETWEEN", "raise SystemExit(1)")
    with pytest.raises(OSError, match="no process could be made"):
        bear(["/bin/true"], pass_fds=[], environ={})


def test_a_start_that_hangs_ends_after_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a disk that does not answer: whoever waits for it goes on, and the fork between is gone."""
    monkeypatch.setattr("hermes_router.daemon.orphan._BETWEEN", "import signal; signal.pause()")
    monkeypatch.setattr("hermes_router.daemon.orphan._LIMIT_S", 0.2)
    with pytest.raises(OSError, match="no process could be made"):
        bear(["/bin/true"], pass_fds=[], environ={})
