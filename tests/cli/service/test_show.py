"""hermes_router/cli/service/show.py: `hr service` shows what the manager says, and what does not fit together."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from hermes_router.cli.service import unit
from hermes_router.cli.service.unit import Unit
from hermes_router.control import types as t

from ..conftest import Hr, Script
from ..samples import ping

UNIT = Unit(
    scope="user", path=Path("/u/hermes-router.service"), standing="ours", socket=True, ports=(8319, 8319),
    enabled=True, active="active", socket_active=True, lingering=True,
)  # fmt: skip


def rows(port: int) -> t.Config:
    return t.Config(rows=[t.ConfigRow(name="PORT", value=str(port), source="/c/.env:1")])


@pytest.mark.parametrize(("port", "fits"), [(8319, True), (9000, False)])
def test_the_port_that_callers_know_is_held_by_the_socket(
    hr: Hr, serve: Callable[..., Script], monkeypatch: pytest.MonkeyPatch, port: int, fits: bool
) -> None:
    """Another PORT in force than the one in the unit is said with its cure, and stands in the JSON."""
    serve({"GET /v1/ping": ping(run="systemd"), "GET /v1/config": rows(port)})
    monkeypatch.setattr(unit, "looks", lambda: [UNIT])
    done = hr("service", "status", columns=200)
    assert done.exit_code == 0, done.output
    assert "systemd holds 8319" in done.stdout
    assert (f"PORT is {port}" in done.stdout, "`hr install-service` mends it" in done.stdout) == (not fits, not fits)
    (said,) = json.loads(hr("service", "status", "--json").stdout)
    assert (said["port"], said["ports"], said["well"]) == (port, [8319, 8319], True)


def test_without_a_daemon_nothing_is_held_against_the_socket(hr: Hr, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody can say what is in force."""
    monkeypatch.setattr(unit, "looks", lambda: [UNIT])
    assert "mends it" not in hr("service", "status", columns=200).stdout


@pytest.mark.parametrize("more", [(), ("--json",)])
def test_the_bare_command_shows_it_too(hr: Hr, monkeypatch: pytest.MonkeyPatch, more: tuple[str, ...]) -> None:
    """As the commands do that have one thing to show; its exit code is the same."""
    for found, code in ([UNIT], 0), ([], 1):
        monkeypatch.setattr(unit, "looks", lambda found=found: found)
        bare, named = hr("service", *more), hr("service", "status", *more)
        assert (bare.exit_code, bare.output) == (code, named.output)
    assert hr("service", "--json", "status").exit_code == 2
