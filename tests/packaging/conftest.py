"""The wheel, installed once into an environment of its own, without a network."""

import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from ..wheel import built


@pytest.fixture(scope="session")
def installed() -> Iterator[Path]:
    """The environment's `bin`. What we depend on is lent by a path of this one's; the package itself is the wheel's."""
    place = Path(tempfile.mkdtemp(prefix="hr-installed-"))
    place.chmod(0o755)  # a container's user may look at it, which pytest's own directories do not allow
    venv = place / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", venv], check=True, timeout=120)
    python = venv / "bin" / "python"
    command = [sys.executable, "-m", "pip", "--python", python, "install", "-q", "--disable-pip-version-check"]
    subprocess.run([*command, "--no-deps", "--no-index", "--compile", built()], check=True, timeout=120)
    (packages,) = (venv / "lib").glob("python*/site-packages")
    (packages / "lent.pth").write_text(f"{sysconfig.get_paths()['purelib']}\n")
    yield venv / "bin"
    shutil.rmtree(place)


@pytest.fixture
def environ(tmp_path: Path, installed: Path) -> dict[str, str]:
    """Of a person who has nothing but that environment on the path."""
    return {"HOME": str(tmp_path), "PATH": f"{installed}:{os.defpath}", "LANG": "C.UTF-8"}
