"""hermes_router/daemon/shield.py: no copy of our memory."""

import subprocess
import sys

import pytest

PROGRAM = """
import ctypes, resource
from hermes_router.daemon.shield import raise_shield
print(raise_shield(), resource.getrlimit(resource.RLIMIT_CORE), ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="prctl is Linux's")
def test_no_core_and_not_dumpable() -> None:
    """RLIMIT_CORE is 0 for good, and PR_GET_DUMPABLE says 0."""
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[0] == "True (0, 0) 0"
