"""hermes_router/cli/service/reach.py: what keeps a service's user from an installation is found, and named."""

import os
from pathlib import Path

import pytest

from hermes_router.cli.service import reach

STRANGER = 65_534


def _python(folder: Path) -> Path:
    place = folder / "venv/bin"
    place.mkdir(parents=True)
    for step in (folder, folder / "venv", place):
        step.chmod(0o755)
    found = place / "python"
    found.touch(0o755)
    return found


@pytest.fixture
def opened(tmp_path: Path) -> Path:
    """A folder that everybody can reach, as /opt."""
    for step in (tmp_path, *tmp_path.parents):
        if step.stat().st_uid == os.geteuid() and not step.stat().st_mode & 1:
            step.chmod(step.stat().st_mode | 0o011)
    return tmp_path / "opt"


def test_nothing_in_the_way(opened: Path) -> None:
    """Every part may be passed by anybody."""
    assert reach.obstacle([_python(opened)], STRANGER, [STRANGER], hides=False) == ""


def test_a_closed_directory_is_named(opened: Path) -> None:
    """The first part that is shut, with its mode; its owner passes, and a member of its group where that may."""
    python = _python(opened)
    (opened / "venv").chmod(0o710)
    said = reach.obstacle([python], STRANGER, [STRANGER], hides=False)
    assert said == f"{opened / 'venv'} is closed to others (mode 0710)"
    assert reach.obstacle([python], STRANGER, [os.getegid()], hides=False) == ""
    assert reach.obstacle([python], 0, [], hides=False) == ""


def test_links_are_followed(opened: Path) -> None:
    """A venv's python is a link into another place, which may be shut: /root/.pyenv."""
    python, venv = _python(opened / "base"), opened / "link"
    venv.mkdir(mode=0o755)
    opened.chmod(0o755)
    (venv / "python").symlink_to(python)
    (opened / "base").chmod(0o700)
    assert str(opened / "base") in reach.obstacle([venv / "python"], STRANGER, [STRANGER], hides=False)


def test_homes_are_hidden_from_the_system_service() -> None:
    """However open a home is: ProtectHome= hides it."""
    said = reach.obstacle([Path("/home/me/venv/bin/python")], STRANGER, [STRANGER], hides=True)
    assert said == "/home/me/venv/bin/python lies below /home, which the service does not see (ProtectHome=)"


def test_what_is_cleared_away_is_no_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """Temporary directories and caches, where `uvx` puts what it runs once."""
    monkeypatch.setenv("XDG_CACHE_HOME", "/srv/cache")
    assert reach.fleeting(Path("/tmp/x/python"))
    assert reach.fleeting(Path("/srv/cache/uv/archive-v0/x/bin/python"))
    assert not reach.fleeting(Path("/opt/hr/bin/python"))
