"""tests/box: a box leaves nothing behind, however its owner ends."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from . import keeper
from .box import absent

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = "import time; from tests.box.box import Box; b = Box(); b.start(); print(b.leader, b._keeper.pid, flush=True); time.sleep(60)"


def _within(seconds: float, true: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + seconds
    while not true() and time.monotonic() < deadline:
        time.sleep(0.02)
    return true()


@pytest.mark.parametrize("victim", ["owner", "keeper"])
def test_whoever_is_killed_nothing_is_left(victim: str, tmp_path: Path) -> None:
    """kill -9 of the test run, or of the keeper: no process, no mount and, in the end, no cgroup."""
    if absent():
        pytest.skip(absent())
    with subprocess.Popen(
        [sys.executable, "-c", SCRIPT],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        text=True,
    ) as owner:
        assert owner.stdout is not None
        leader, warden = map(int, owner.stdout.readline().split())
        os.kill(owner.pid if victim == "owner" else warden, signal.SIGKILL)
        owner.kill()
    assert _within(10, lambda: not Path(f"/proc/{leader}").exists())
    assert _within(10, lambda: not Path(f"/proc/{warden}").exists())
    assert "hr-box" not in Path("/proc/self/mounts").read_text()
    top = keeper.hierarchy()
    assert top is not None
    group = top / f"{keeper.NAME}{warden}"
    if victim == "keeper":
        keeper.sweep(top)  # as the next box does
    else:
        assert _within(10, lambda: not list(tmp_path.iterdir()))
    assert _within(10, lambda: not group.exists())
