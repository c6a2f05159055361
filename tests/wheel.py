"""The wheel of this tree, built once for whoever installs it, without a network."""

import functools
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


@functools.cache
def built() -> Path:
    """The path of the wheel; it lies in a folder of its own for as long as the machine keeps it."""
    folder = Path(tempfile.mkdtemp(prefix="hr-wheel-"))
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--disable-pip-version-check", "--no-deps", "--no-index"]
    subprocess.run([*command, "--no-build-isolation", "-w", str(folder), str(ROOT)], check=True, timeout=120)
    (wheel,) = folder.glob("*.whl")
    return wheel
