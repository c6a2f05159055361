"""`hr upgrade` of a service under a real systemd, from one wheel to another, while callers ask."""

from pathlib import Path

import pytest

from .box import Box
from .home import Person, answers, load
from .second import built_as

VENV = "/home/owner/venv"
OFFLINE = {"PIP_NO_INDEX": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_CACHE_DIR": "1", "PIP_QUIET": "1"}


@pytest.fixture(scope="module")
def second() -> Path:
    return built_as("0.1.1")


@pytest.fixture(scope="module")
def owner(box: Box) -> Person:
    """Somebody with a venv of their own, and the service from it."""
    box.add_user("owner")
    box.install(VENV, user="owner")
    person = Person(box, "owner", VENV)
    person.configure()
    done = person.hr("install-service")
    assert done.code == 0, done
    return person


def test_an_upgrade_that_fails_leaves_the_daemon_alone(owner: Person, box: Box) -> None:
    """A wheel that is none: exit 1, the same process serves, and the command says so."""
    pid = owner.pid()
    box.put("/opt/broken-0.2.0-py3-none-any.whl", "no wheel")
    done = owner.hr("upgrade", "--yes", "--wheel", "/opt/broken-0.2.0-py3-none-any.whl", env=OFFLINE)
    assert done.code == 1
    assert "the running daemon serves on as before" in done.err
    assert owner.pid() == pid
    assert answers(box)


def test_an_upgrade_goes_unnoticed(owner: Person, box: Box, second: Path) -> None:
    """The files are replaced under the daemon, another version takes over, and no caller sees a thing."""
    assert "pip" in owner.hr("upgrade", "--dry-run").out
    pid = owner.pid()
    with load(box, 1, 1, 3) as tally:
        done = owner.hr("upgrade", "--yes", "--wheel", box.wheel(second), env=OFFLINE)
        assert done.code == 0, done
    print(f"\nan upgrade under load: {tally.told}")
    assert "0.1.0 to 0.1.1" in done.out
    assert owner.pid() != pid
    assert (tally.refused, tally.failed, tally.cut) == (0, 0, 0), tally.told
    assert owner.hr("version").out == "hermes-router 0.1.1\n"
    again = owner.hr("upgrade", "--yes", "--wheel", box.wheel(second), env=OFFLINE)
    assert "is what there was already" in again.out
    assert owner.hr("uninstall-service").code == 0
