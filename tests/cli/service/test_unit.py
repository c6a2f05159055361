"""hermes_router/cli/service/unit.py: how an installed unit stands to what this version would write."""

import sys
from pathlib import Path

import pytest

from hermes_router.cli.service import files as service_files
from hermes_router.cli.service import unit
from hermes_router.cli.service.files import SERVICE, SOCKET, Wanted, compose


@pytest.fixture
def texts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, str]:
    """The units of a user whose files lie somewhere else, and who has keys in the environment's place."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    wanted = Wanted("user", service_files.program("user"), ("127.0.0.1:9000",), {"XDG_CONFIG_HOME": "/srv/a b"})
    return compose(wanted)


def test_as_it_was_written(texts: dict[str, str]) -> None:
    """Whoever looks later, from another shell, with other variables: it is ours and up to date."""
    assert unit.standing_of("user", texts[SERVICE], texts[SOCKET]) == ("ours", "")
    assert unit.standing_of("user", None, None) == ("absent", "")


def test_an_edit_and_a_stranger(texts: dict[str, str]) -> None:
    """Either file tells on itself, by name."""
    standing, why = unit.standing_of("user", texts[SERVICE], texts[SOCKET] + "# mine\n")
    assert standing == "edited"
    assert SOCKET in why
    assert unit.standing_of("user", "[Service]\nExecStart=/bin/true\n", None)[0] == "foreign"


def test_an_older_version_wrote_it(texts: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A template that has changed makes it stale; another version number alone does not."""
    older = tmp_path / "older.service"
    older.write_text(service_files.shipped("service", "hermes-router-user.service").read_text() + "# as it was\n")
    monkeypatch.setattr(service_files, "shipped", lambda _folder, _name: older)
    standing, why = unit.standing_of("user", texts[SERVICE], None)
    assert standing == "stale"
    assert "would write another" in why
    monkeypatch.undo()
    monkeypatch.setattr("hermes_router.cli.service.unit_file.__version__", "99.0")
    assert unit.standing_of("user", texts[SERVICE], texts[SOCKET])[0] == "ours"


def test_an_interpreter_that_moved(texts: dict[str, str]) -> None:
    """Gone, or of another installation: it says which."""
    gone = compose(Wanted("user", ("/nowhere/bin/python", "-m", "hermes_router.daemon")))[SERVICE]
    assert unit.standing_of("user", gone, None) == ("stale", "it runs /nowhere/bin/python, which is gone")
    other = compose(Wanted("user", ("/bin/sh", "-m", "hermes_router.daemon")))[SERVICE]
    standing, why = unit.standing_of("user", other, None)
    assert standing == "stale"
    assert sys.executable in why


def test_pauses_grow_where_systemd_knows_how(texts: dict[str, str]) -> None:
    """Such a unit is as good as one without: what an older systemd would warn of stands in neither by itself."""
    assert "RestartSteps=" not in texts[SERVICE]
    for scope in ("user", "system"):
        made = compose(Wanted(scope, service_files.program(scope), backs_off=True))[SERVICE]
        assert "\nRestartSec=1s\nRestartSteps=5\nRestartMaxDelaySec=10s\n" in made
        assert unit.standing_of(scope, made, None) == ("ours", "")
