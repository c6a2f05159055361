"""Which store of credentials fits this process."""

from pathlib import Path

import pytest

from hermes_router.control.places import Places, system_places
from hermes_router.daemon.secret_store import is_headless, open_store, person_may_unlock
from hermes_router.store.vault import CredentialStore

from ..fakes import SilentLog


@pytest.mark.parametrize(
    ("environ", "uid", "platform", "headless"),
    [
        ({}, 1000, "linux", False),  # a shell, with or without a bus: the probe tells
        ({"DBUS_SESSION_BUS_ADDRESS": "unix:path=/x"}, 0, "linux", True),  # root, even with a user's bus
        ({}, 0, "darwin", True),
        ({"INVOCATION_ID": "1"}, 1000, "linux", True),  # a system service with User=
        ({"INVOCATION_ID": "1", "DBUS_SESSION_BUS_ADDRESS": "unix:path=/x"}, 1000, "linux", False),  # a user service
        ({"INVOCATION_ID": "1"}, 501, "darwin", False),
    ],
)
def test_where_no_keyring_can_be(
    tmp_path: Path, environ: dict[str, str], uid: int, platform: str, headless: bool
) -> None:
    """Root's process, and a service without a session bus (facts/os.md 1.8)."""
    assert is_headless(environ, uid=uid, platform=platform, run=tmp_path) is headless


def test_the_bus_of_a_lingering_user_counts(tmp_path: Path) -> None:
    """Its socket is where systemd puts it, whether or not the variable is set."""
    (tmp_path / "1000").mkdir()
    (tmp_path / "1000" / "bus").touch()
    assert not is_headless({"INVOCATION_ID": "1"}, uid=1000, platform="linux", run=tmp_path)


@pytest.mark.parametrize(
    ("environ", "platform", "may"),
    [
        ({}, "linux", False),
        ({"DISPLAY": ":0"}, "linux", True),
        ({"WAYLAND_DISPLAY": "w"}, "linux", True),
        ({}, "darwin", True),
    ],
)
def test_who_could_be_typing_a_password(environ: dict[str, str], platform: str, may: bool) -> None:
    """A person at a display, or on a Mac."""
    assert person_may_unlock(environ, platform) is may


def _open(places: Places, environ: dict[str, str], uid: int = 1000) -> CredentialStore:
    return open_store(places, environ, uid=uid, log=SilentLog(), now=lambda: 0.0, platform="linux")


def test_a_store_is_opened_without_reading_anything(tmp_path: Path) -> None:
    """No file is touched and no keyring asked; at a display there is time to unlock it, elsewhere not."""
    places = Places(tmp_path / "c", tmp_path / "d", tmp_path / "s", tmp_path / ".env", tmp_path / "sock")
    for environ, waits in (({"DISPLAY": ":0"}, True), ({}, False)):
        store = _open(places, environ)
        assert store._keyring is not None
        assert store._keyring.waits_for_a_person is waits
        assert not store._headless
        assert (store.choice, store.entries) == ("auto", ())
    assert list(tmp_path.iterdir()) == []
    assert _open(places, {"DISPLAY": ":0"}, uid=0)._headless


def test_the_system_service_is_headless_whoever_runs_it() -> None:
    """Its data directory tells, whatever the environment holds."""
    assert _open(system_places({}), {"DBUS_SESSION_BUS_ADDRESS": "unix:path=/x"})._headless
