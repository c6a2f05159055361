"""Where everything lies (contract.md, "Names and places")."""

import stat
from pathlib import Path

import pytest

from hermes_router.control.places import (
    check_socket,
    make_directories,
    readers_group,
    socket_candidates,
    system_places,
    user_places,
)
from hermes_router.core.errors import ConfigError


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home, with none of the variables that move directories."""
    for name in ("XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME", "HERMES_ROUTER_SOCKET"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def test_paths_of_a_person(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Platformdirs with our name and no author: configuration, secrets and state in their own directories."""
    monkeypatch.setattr("sys.platform", "linux")
    places = user_places({})
    assert places.config_dir == home / ".config" / "hermes-router"
    assert places.config_file == places.config_dir / "config.toml"
    assert places.env_file == places.config_dir / ".env"
    assert places.providers_file == places.config_dir / "providers.toml"
    data = home / ".local" / "share" / "hermes-router"
    assert (places.secrets_file, places.codex_accounts) == (data / "secrets.json", data / "codex-accounts.json")
    assert places.credential_key == data / "credential.key"
    state = home / ".local" / "state" / "hermes-router"
    assert (places.socket, places.lock) == (state / "control.sock", state / "daemon.lock")
    assert (places.database, places.log_file.parent) == (state / "state.db", state)


def test_the_socket_can_be_moved_and_the_env_file_named(home: Path) -> None:
    """HERMES_ROUTER_SOCKET and --env-file win; an empty variable says nothing."""
    places = user_places({"HERMES_ROUTER_SOCKET": "~/s.sock"}, env_file=Path("other.env"))
    assert places.socket == home / "s.sock"
    assert places.env_file == Path.cwd() / "other.env"
    assert user_places({"HERMES_ROUTER_SOCKET": ""}).socket.name == "control.sock"
    assert user_places({"HERMES_ROUTER_SOCKET": "x/s.sock"}).socket == places.state_dir / "x" / "s.sock"
    assert system_places({"HERMES_ROUTER_SOCKET": "s.sock"}).socket == Path("/run/hermes-router/s.sock")


def test_paths_of_the_system_service(home: Path) -> None:
    """The system service lives in /etc, /var/lib and /run."""
    places = system_places({})
    assert places.config_file == Path("/etc/hermes-router/config.toml")
    assert places.database == Path("/var/lib/hermes-router/state.db")
    assert places.socket == Path("/run/hermes-router/control.sock")
    assert home not in places.socket.parents
    assert (places.system, user_places({}).system) == (True, False)
    moved = system_places({}, root=home)
    assert (moved.config_dir, moved.socket) == (home / "etc/hermes-router", home / "run/hermes-router/control.sock")
    assert [readers_group(one) for one in (moved, user_places({}))] == ["hermes-router", None]


def test_commands_try_the_system_service_last(home: Path) -> None:
    """Our own daemon first, then the system's; a socket that was named is the only one."""
    places = user_places({})
    assert socket_candidates(places, {}) == (places.socket, Path("/run/hermes-router/control.sock"))
    named = {"HERMES_ROUTER_SOCKET": "/tmp/x.sock"}
    assert socket_candidates(user_places(named), named) == (Path("/tmp/x.sock"),)


def test_directories_are_made_for_the_owner_alone(home: Path) -> None:
    """What is created is 0700; what exists keeps its mode."""
    places = user_places({"HERMES_ROUTER_SOCKET": str(home / "run" / "x.sock")})
    places.config_dir.mkdir(parents=True, mode=0o755)
    places.config_dir.chmod(0o755)
    make_directories(places)
    make_directories(places)
    assert [stat.S_IMODE(d.stat().st_mode) for d in (places.data_dir, places.state_dir, home / "run")] == [0o700] * 3
    assert stat.S_IMODE(places.config_dir.stat().st_mode) == 0o755
    service = system_places({}, root=home / "service")
    make_directories(service)
    assert (service.state_dir.is_dir(), service.socket.parent.exists()) == (True, False)


def test_one_directory_that_cannot_be_is_no_reason_to_lack_the_others(home: Path) -> None:
    """A service's /etc belongs to root: its state is kept all the same, and the one that is missing is named."""
    places = system_places({}, root=home)
    (home / "etc").write_text("")
    with pytest.raises(OSError) as caught:
        make_directories(places)
    assert caught.value.filename == str(places.config_dir)
    assert places.state_dir.is_dir()


def test_a_socket_path_that_is_too_long_is_said_before_the_bind() -> None:
    """107 bytes on Linux and 103 on macOS are possible, counted in bytes; one more is an error with advice."""
    for platform, limit in (("linux", 107), ("darwin", 103)):
        check_socket(Path("/" + "x" * (limit - 1)), platform)
        with pytest.raises(ConfigError, match="HERMES_ROUTER_SOCKET"):
            check_socket(Path("/" + "x" * limit), platform)
    with pytest.raises(ConfigError, match="bytes"):
        check_socket(Path("/" + "é" * 60), "linux")
