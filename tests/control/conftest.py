"""Where the control socket of a test lies."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def path() -> Iterator[Path]:
    """A socket's path in a directory of our own, short enough everywhere (pytest's own may not be)."""
    with tempfile.TemporaryDirectory(prefix="hr-") as home:
        yield Path(home) / "control.sock"
