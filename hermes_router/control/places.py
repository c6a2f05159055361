"""Where everything lies, for both ends: the daemon that owns the files and the commands that look for them.

Owns paths (contract.md, "Names and places"). It must never read or write a file's content, and takes what it needs of
the environment as an argument.
"""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple

import platformdirs

from hermes_router.core.errors import ConfigError

__all__ = [
    "ENV_FILE",
    "SOCKET_VARIABLE",
    "Places",
    "check_socket",
    "make_directories",
    "readers_group",
    "service_log",
    "socket_candidates",
    "system_places",
    "user_places",
]

APP: Final = "hermes-router"
ENV_FILE: Final = ".env"
SOCKET_VARIABLE: Final = "HERMES_ROUTER_SOCKET"
SYSTEM_SOCKET: Final = Path("/run/hermes-router/control.sock")

# Bytes that bind() takes, the closing NUL left out (facts/os.md 4.1).
_SOCKET_LIMITS: Final = {"linux": 107, "darwin": 103}
_PRIVATE: Final = 0o700


class Places(NamedTuple):
    """All paths of one installation. `env_file` is the `.env` in force, wherever it lies; `system`: the service's."""

    config_dir: Path
    data_dir: Path
    state_dir: Path
    env_file: Path
    socket: Path
    system: bool = False

    @property
    def config_file(self) -> Path:
        """Settings that are no secrets."""
        return self.config_dir / "config.toml"

    @property
    def providers_file(self) -> Path:
        """The owner's own rows."""
        return self.config_dir / "providers.toml"

    @property
    def secrets_file(self) -> Path:
        """Secrets, where no keyring holds them."""
        return self.data_dir / "secrets.json"

    @property
    def router_keys(self) -> Path:
        """Router keys, as digests."""
        return self.data_dir / "router-keys.json"

    @property
    def codex_accounts(self) -> Path:
        """OAuth accounts."""
        return self.data_dir / "codex-accounts.json"

    @property
    def credential_key(self) -> Path:
        """The key that credentials' identities are digested with."""
        return self.data_dir / "credential.key"

    @property
    def database(self) -> Path:
        """Usage and what must survive a restart."""
        return self.state_dir / "state.db"

    @property
    def responses_file(self) -> Path:
        """Answers that later requests may refer to."""
        return self.state_dir / "responses.db"

    @property
    def models_file(self) -> Path:
        """What providers listed last."""
        return self.state_dir / "models.json"

    @property
    def lock(self) -> Path:
        """Held by the one daemon of this installation; never deleted."""
        return self.state_dir / "daemon.lock"

    @property
    def log_file(self) -> Path:
        """Log of a detached daemon."""
        return self.state_dir / "daemon.log"


def user_places(environ: Mapping[str, str], *, env_file: Path | None = None) -> Places:
    """The places of the person who runs us; `env_file` is the owner's `--env-file`.

    Directories follow platformdirs (which honours `XDG_*` itself); `HERMES_ROUTER_SOCKET` moves the socket; a
    relative one lies in the state directory, since `hr` and a daemon have no current directory in common.
    """
    dirs = platformdirs.PlatformDirs(APP, appauthor=False)
    config, state = Path(dirs.user_config_dir), Path(dirs.user_state_dir)
    chosen = environ.get(SOCKET_VARIABLE, "")
    return Places(
        config_dir=config,
        data_dir=Path(dirs.user_data_dir),
        state_dir=state,
        env_file=(env_file or config / ENV_FILE).expanduser().absolute(),
        socket=state / (Path(chosen).expanduser() if chosen else "control.sock"),
    )


def system_places(environ: Mapping[str, str], *, env_file: Path | None = None, root: Path = Path("/")) -> Places:
    """The places of the system service, all below `root`."""
    config, state = root / "etc/hermes-router", root / "var/lib/hermes-router"
    chosen = environ.get(SOCKET_VARIABLE, "")
    socket = root / SYSTEM_SOCKET.relative_to("/")
    return Places(
        config_dir=config,
        data_dir=state,
        state_dir=state,
        env_file=(env_file or config / ENV_FILE).absolute(),
        socket=socket.parent / chosen if chosen else socket,
        system=True,
    )


def service_log() -> Path:
    """Where launchd sends what the service on macOS says; the daemon turns it over as a detached one does its own."""
    return Path.home() / "Library" / "Logs" / APP / "service.log"


def socket_candidates(places: Places, environ: Mapping[str, str]) -> tuple[Path, ...]:
    """Where a command looks for the daemon, in order: the system service last, and not at all where one was named."""
    if environ.get(SOCKET_VARIABLE) or places.socket == SYSTEM_SOCKET:
        return (places.socket,)
    return (places.socket, SYSTEM_SOCKET)


def readers_group(places: Places) -> str | None:
    """The group whose members may look at the daemon: that of the system service; a person's own daemon has none."""
    return APP if places.system or places.socket == SYSTEM_SOCKET else None


def check_socket(path: Path, platform: str = sys.platform) -> None:
    """Raise ConfigError where a Unix socket cannot have this path: it is too long for the system."""
    limit = _SOCKET_LIMITS.get(platform, 103)
    length = len(bytes(path))
    if length > limit:
        raise ConfigError(
            f"the control socket's path has {length} bytes, and at most {limit} are possible here; "
            f"set {SOCKET_VARIABLE} to a shorter one",
            where=str(path),
        )


def make_directories(places: Places) -> None:
    """Create what is missing, for the owner alone (0700); what exists keeps its mode.

    The system service's socket has readers: its directory is made by whoever binds it. Raises OSError where one cannot
    be; the others are made all the same.
    """
    failed: OSError | None = None
    wanted = [places.state_dir, places.data_dir, places.config_dir]
    if not places.system:
        wanted.append(places.socket.parent)
    for directory in dict.fromkeys(wanted):
        try:
            directory.mkdir(mode=_PRIVATE, parents=True, exist_ok=True)
        except OSError as error:
            failed = failed or error
    if failed is not None:
        raise failed
