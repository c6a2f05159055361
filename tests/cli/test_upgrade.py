"""hermes_router/cli/upgrade.py: nothing is run that was not shown and agreed to. tests/box upgrades a real service."""

import sys
from pathlib import Path

import pytest

from hermes_router.cli import upgrade
from hermes_router.cli.installation import Installation

from .conftest import Hr


def _installed(monkeypatch: pytest.MonkeyPatch, place: Path, *argv: str, hands_off: str = "") -> None:
    found = Installation("a test", place, argv, argv, hands_off=hands_off)
    monkeypatch.setattr(upgrade, "recognise", lambda: found)


def test_what_is_not_ours_to_run_is_shown(hr: Hr, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The command is printed, with why it is left to the owner; exit 3, and 0 where only that was asked."""
    _installed(monkeypatch, tmp_path, "apt-get", "install", "hermes-router", hands_off="dpkg looks after it")
    done = hr("upgrade", "--yes")
    assert done.exit_code == 3
    assert "`apt-get install hermes-router`" in done.output
    assert "dpkg looks after it" in done.output
    assert hr("upgrade", "--dry-run").exit_code == 0


def test_nobody_to_ask_is_no_consent(hr: Hr, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """In a pipe nothing runs without --yes."""
    ran = tmp_path / "ran"
    _installed(monkeypatch, tmp_path, "touch", str(ran))
    done = hr("upgrade")
    assert done.exit_code == 2
    assert "--yes" in done.output
    assert not ran.exists()


def test_an_installer_that_is_missing_is_named(hr: Hr, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Before anything is half done."""
    _installed(monkeypatch, tmp_path, "pipx-is-not-here", "upgrade")
    done = hr("upgrade", "--yes")
    assert done.exit_code == 3
    assert "pipx-is-not-here is not on PATH" in done.output


def test_an_installer_that_fails_is_told(hr: Hr, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Exit 1, with how to try again."""
    _installed(monkeypatch, tmp_path, "false")
    done = hr("upgrade", "--yes")
    assert done.exit_code == 1
    assert "the upgrade failed" in done.output.lower()


def test_the_same_version_again_restarts_nothing(hr: Hr, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The installer ran, what is there starts, and it is what was there."""
    _installed(monkeypatch, tmp_path, sys.executable, "-c", "pass")
    done = hr("upgrade", "--yes")
    assert done.exit_code == 0, done.output
    assert "is what there was already" in done.output
