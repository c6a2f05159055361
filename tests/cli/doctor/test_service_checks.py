"""hermes_router/cli/doctor/service_checks.py: the judgement of a service as `hr service status` sees it."""

from pathlib import Path
from typing import Any

import pytest

from hermes_router.cli.doctor import service_checks as checks
from hermes_router.cli.service import init_system, unit
from hermes_router.cli.service.unit import Unit

from .scenes import looked, scene, states

PATH = Path("/home/ada/.config/systemd/user/hermes-router.service")


def made(**changes: Any) -> Unit:
    values: dict[str, Any] = {
        "scope": "user", "path": PATH, "standing": "ours", "enabled": True, "active": "active", "lingering": True,
    }  # fmt: skip
    return Unit(**{**values, **changes})


@pytest.mark.parametrize(
    ("changes", "state", "word"),
    [
        ({}, "ok", ""),
        ({"active": "failed", "result": "exit-code"}, "fault", "hr start"),
        ({"standing": "foreign", "why": "it was written by hand"}, "warning", "--force"),
        ({"standing": "edited"}, "advice", "drop-in"),
        ({"standing": "stale", "why": "version 0.0.1 wrote it"}, "warning", "hr install-service"),
        ({"enabled": False}, "warning", "hr install-service"),
        ({"active": "inactive"}, "warning", "hr start"),
        ({"active": "activating"}, "advice", "again"),
        ({"needs_reload": True}, "advice", "daemon-reload"),
        ({"manager_error": "its bus does not answer"}, "warning", "hr service status"),
        ({"scope": "system", "standing": "stale"}, "warning", "--system"),
    ],
)
def test_each_state_of_a_unit(changes: dict[str, Any], state: str, word: str) -> None:
    """What is wrong comes with its own cure; one that was restarted by its manager is well, and says how often."""
    found = checks.judge_unit(made(**changes), [])
    assert found.state == state
    assert word in found.cure


def test_a_socket_that_holds_another_port(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """PORT changed since the unit was written: nobody would wait out a crash there; written anew, it does.

    Of another installation's service nothing is known here.
    """
    units = [made(socket=True, ports=(8319, 8319)), made(scope="system", ports=(8320,))]
    monkeypatch.setattr(init_system, "absence", lambda _scope="user": "")
    monkeypatch.setattr(unit, "looks", lambda: units)
    assert states(checks.service, scene(tmp_path)) == ["ok", "ok"]
    found = checks.judge_unit(units[0], [], port=9000)
    assert (found.state, "holds 8319, and PORT is 9000" in found.said) == ("warning", True)
    assert "`hr install-service`" in found.cure
    assert states(checks.service, scene(tmp_path, said={"port": 9000})) == ["warning", "ok"]


def test_a_failed_one_says_its_last_words() -> None:
    """The last line of the journal."""
    found = checks.judge_unit(made(active="failed"), ["older", "hr: the port is taken"])
    assert "the port is taken" in found.said
    assert "older" not in found.said


def test_one_whose_manager_is_not_up_wants_lingering(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody is logged in, so that its manager does not run: what keeps it running is said."""
    monkeypatch.setattr(init_system, "user_name", lambda: "ada")
    asleep = made(manager_error="systemd runs no services for ada yet", lingering=False)
    assert checks.judge_unit(asleep, []).cure == "`loginctl enable-linger ada`"


def test_lingering(monkeypatch: pytest.MonkeyPatch) -> None:
    """Off is a warning, with the command; unknown is not looked at."""
    monkeypatch.setattr(init_system, "user_name", lambda: "ada")
    assert checks.judge_linger(lingering=True).state == "ok"
    assert checks.judge_linger(lingering=None).state == "skipped"
    found = checks.judge_linger(lingering=False)
    assert (found.state, found.cure) == ("warning", "`loginctl enable-linger ada`")


def test_none_one_and_two_services(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """None is advice, two for one port are a warning; without a manager nothing is looked at."""
    units: list[Unit] = []
    monkeypatch.setattr(init_system, "absence", lambda _scope="user": "")
    monkeypatch.setattr(unit, "looks", lambda: units)
    at = scene(tmp_path)
    assert looked(checks.service, at).state == "advice"
    assert looked(checks.linger, at).state == "skipped"
    units.append(made())
    assert looked(checks.service, at).state == "ok"
    assert looked(checks.linger, at).state == "ok"
    assert looked(checks.two_services, at).state == "ok"
    units.append(made(scope="system"))
    assert states(checks.service, at) == ["ok", "ok"]
    assert looked(checks.two_services, at).state == "warning"
    monkeypatch.setattr(init_system, "absence", lambda _scope="user": "systemd does not run here")
    for look in (checks.service, checks.linger, checks.two_services):
        assert looked(look, at).state == "skipped"
