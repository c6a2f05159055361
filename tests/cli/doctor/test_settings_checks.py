"""hermes_router/cli/doctor/settings_checks.py: files with faults, hidden settings, stray files, open modes."""

import os
from pathlib import Path

import pytest

from hermes_router.cli.doctor import settings_checks as checks
from hermes_router.control import health_types as h
from hermes_router.control.places import SYSTEM_SOCKET

from ..samples import ping
from .scenes import absent, looked, scene, states


def test_each_fault_is_told_with_its_place(tmp_path: Path) -> None:
    """What stops a start is a fault, what is skipped a warning, what is merely pointed out advice."""
    faults = [
        h.FaultRow(said="PORT is no number", where="/x/.env:3", fatal=True),
        h.FaultRow(said="LOG_LEVEL is none of these; it is skipped", where="/x/config.toml"),
        h.FaultRow(said="PROT is not a setting; is it PORT?", where="/x/.env:4", hint=True),
    ]
    found = checks.settings(scene(tmp_path, said={"faults": faults}))
    assert not hasattr(found, "state")
    assert states(checks.settings, scene(tmp_path, said={"faults": faults})) == ["fault", "warning", "advice"]
    assert [one.subject for one in found] == ["/x/.env:3", "/x/config.toml", "/x/.env:4"]  # type: ignore[union-attr]
    assert looked(checks.settings, scene(tmp_path)).state == "ok"
    assert looked(checks.settings, scene(tmp_path, report=None, unread="it cannot be")).state == "warning"


def test_what_the_daemon_does_not_do_yet_is_told(tmp_path: Path) -> None:
    """Files that changed since it read them, and a port that only a restart takes up."""
    found = looked(checks.settings, scene(tmp_path, said={"changed": ["MIN_TIER"]}))
    assert (found.state, "MIN_TIER" in found.said, "hr reload" in found.cure) == ("advice", True, True)
    moved = scene(tmp_path, ping=ping(port=8319), said={"port": 8320})
    found = looked(checks.settings, moved)
    assert (found.state, "8320" in found.said, "hr restart" in found.cure) == ("advice", True, True)
    assert looked(checks.settings, scene(tmp_path, ping=ping(port=8319))).state == "ok"


def test_hidden_settings_are_named_with_what_hides_them(tmp_path: Path) -> None:
    """And no value is."""
    row = h.ShadowedRow(name="MIN_TIER", stronger="environment", weaker="/x/.env:2")
    found = looked(checks.shadowed, scene(tmp_path, said={"shadowed": [row]}))
    assert (found.state, "MIN_TIER" in found.said, "environment" in found.said) == ("advice", True, True)
    assert "hr config get MIN_TIER" in found.cure
    assert looked(checks.shadowed, scene(tmp_path)).state == "ok"


@pytest.mark.parametrize(
    ("name", "rest"),
    [("GROQ_API_KEY", "=gsk-canary"), ("CEREBRAS_API_KEYS", "=canary,b"), ("PORT", " = 9"), ("GROQ_MODEL", "=canary")],
)
def test_a_stray_env_is_pointed_out(tmp_path: Path, name: str, rest: str) -> None:
    """By the names in it that are ours, never by a value; it is not read by the router."""
    here = tmp_path / "project"
    here.mkdir()
    (here / ".env").write_text(f"# a comment\nTHEIRS=1\nexport {name}{rest}\n")
    found = looked(checks.stray_env, scene(tmp_path, cwd=here))
    assert found.state == "advice"
    assert name in found.said
    assert "canary" not in found.said + found.cure
    assert "THEIRS" not in found.said


def test_a_env_of_others_or_our_own_is_none(tmp_path: Path) -> None:
    """Names of another program, the `.env` in force itself, and no file at all."""
    assert looked(checks.stray_env, scene(tmp_path)).state == "ok"
    (tmp_path / ".env").write_text("DATABASE_URL=x\nSTRIPE_API_KEY=y\n")
    assert looked(checks.stray_env, scene(tmp_path)).state == "ok"
    at = scene(tmp_path)
    at.places.env_file.write_text("GROQ_API_KEY=x\n")
    assert looked(checks.stray_env, scene(tmp_path, cwd=at.places.config_dir)).state == "ok"


def test_files_that_others_can_read_are_named(tmp_path: Path) -> None:
    """Each with the chmod that closes it; a directory of settings that others may list is none."""
    at = absent(tmp_path)
    secrets = at.places.secrets_file
    secrets.write_text("{}")
    secrets.chmod(0o600)
    assert looked(checks.permissions, at).state == "ok"
    secrets.chmod(0o644)
    found = looked(checks.permissions, at)
    assert (found.state, found.cure) == ("warning", f"`chmod 600 {secrets}`")
    secrets.chmod(0o600)
    at.places.config_dir.chmod(0o755)
    assert looked(checks.permissions, at).state == "ok"
    at.places.config_dir.chmod(0o777)
    assert "changed" in looked(checks.permissions, at).said
    at.places.config_dir.chmod(0o700)
    at.places.env_file.write_text("")
    at.places.env_file.chmod(0o660)
    assert looked(checks.permissions, at).subject.endswith(".env")


@pytest.mark.skipif(os.geteuid() != 0, reason="anybody else is not shown the system's")
def test_the_system_services_files_are_closed_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its settings may hold keys, and its variables, which lie elsewhere, a proxy's password."""
    variables = tmp_path / "default"
    monkeypatch.setattr(checks, "environment_file", lambda _scope: variables)
    at = absent(tmp_path, socket=SYSTEM_SOCKET)
    at.places.env_file.write_text("")
    at.places.env_file.chmod(0o640)
    assert looked(checks.permissions, at).subject.endswith(".env")
    at.places.env_file.chmod(0o600)
    assert looked(checks.permissions, at).state == "ok"
    variables.write_text("")
    variables.chmod(0o644)
    assert looked(checks.permissions, at).subject == str(variables)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to give a file away")
def test_a_file_of_another_user_is_a_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The daemon does not use it; root may look at anybody's."""
    at = absent(tmp_path)
    at.places.secrets_file.write_text("{}")
    at.places.secrets_file.chmod(0o600)
    os.chown(at.places.secrets_file, 1500, 1500)
    assert looked(checks.permissions, at).state == "ok"
    monkeypatch.setattr(os, "geteuid", lambda: 1600)
    assert "fault" in states(checks.permissions, at)
