"""The router and an official CLI refresh one login, and either is killed: nobody is logged out for it."""

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_kills_log_nobody_out() -> None:
    """CP-12: logouts 0 for kills outside the window between the server's answer and the fsync; 1,000 by hand."""
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("rotate_kills.py")), "15", "11"],
        capture_output=True,
        timeout=120,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    found = json.loads(done.stdout)
    assert found["rounds"] == 15
    assert "LOGOUT outside the window" not in found, found
    assert "failed router" not in found, done.stderr.decode()
    assert found["both logged in"] + found.get("lost by a kill inside the window", 0) == 15
