"""The allocator's thresholds."""

import ctypes
import platform
import subprocess
import sys

import pytest

from hermes_router.daemon import allocator

# mallinfo2().hblks counts the blocks that are mapped one by one.
PROBE = """
import ctypes
from hermes_router.daemon import allocator
class Info(ctypes.Structure):
    _fields_ = [(n, ctypes.c_size_t) for n in "arena ordblks smblks hblks hblkhd usm fsm uord ford keep".split()]
mallinfo2 = ctypes.CDLL(None).mallinfo2
mallinfo2.restype = Info
{settle}
before = mallinfo2().hblks
held = [bytes(4_000_000) for _ in range(4)]
print(mallinfo2().hblks - before)
"""


def mapped(settle: str) -> int:
    """How many of four large buffers get a mapping of their own, in a fresh process."""
    done = subprocess.run(
        [sys.executable, "-c", PROBE.format(settle=settle)], capture_output=True, text=True, check=True, timeout=60
    )
    return int(done.stdout)


@pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc" or not hasattr(ctypes.CDLL(None), "mallinfo2"), reason="needs glibc 2.33"
)
def test_large_buffers_are_not_mapped_one_by_one() -> None:
    """Untouched, glibc maps each large buffer anew; with the thresholds fixed it reuses its heap."""
    assert mapped("") > 0
    assert mapped("assert allocator.settle()") == 0


def test_elsewhere_it_does_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without glibc's call there is nothing to set, and nothing fails."""
    monkeypatch.setattr(sys, "platform", "darwin")
    assert allocator.settle() is False


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs glibc")
def test_what_a_start_leaves_behind_is_given_back() -> None:
    """Free memory below what is in use goes back to the system, where the thresholds would keep it."""
    held = "import allocator; allocator.settle(); kept = [bytes(2_000) for _ in range(20_000)]; del kept[::2]"
    probe = f"from hermes_router.daemon {held}; print(allocator.trim(), allocator.trim())"
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.split()[0] == "True"


def test_without_glibc_nothing_is_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """Elsewhere it does nothing, and says so."""
    monkeypatch.setattr(sys, "platform", "darwin")
    assert allocator.trim() is False
