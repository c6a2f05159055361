"""The wheel of this tree under another version number, to upgrade to."""

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from ..wheel import ROOT

PARTS = ("hermes_router", "service", "completions", "man", "pyproject.toml", "README.md", "LICENSE")


def built_as(version: str) -> Path:
    """Build it from a copy, without a network."""
    folder = Path(tempfile.mkdtemp(prefix="hr-second-"))
    for name in PARTS:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        elif source.exists():
            shutil.copy(source, folder / name)
    for name, pattern in (
        ("pyproject.toml", r'^version = ".*"'),
        ("hermes_router/__init__.py", r'^__version__ = ".*"'),
    ):
        path = folder / name
        path.write_text(re.sub(pattern, lambda found: f'{found[0].split("=")[0]}= "{version}"', path.read_text(), flags=re.MULTILINE))  # fmt: skip
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--disable-pip-version-check", "--no-deps", "--no-index"]
    subprocess.run([*command, "--no-build-isolation", "-w", str(folder / "out"), str(folder)], check=True, timeout=120)
    (wheel,) = (folder / "out").glob("*.whl")
    return wheel
