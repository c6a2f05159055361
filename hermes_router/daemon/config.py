"""Reads everything that configures a daemon, once for each generation: rows, settings, keys.

Owns the reading of files and of the environment it is handed. It must never stop at a fault: whatever cannot be read
or used is a problem with its place, the rest is in force, and the caller decides whether a fatal one ends it.
"""

import time
import tomllib
from collections.abc import Collection, Iterable, Mapping
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Final

import msgspec
from msgspec.structs import replace

from hermes_router.control.places import ENV_FILE, Places
from hermes_router.core.accounts import CodexAccount
from hermes_router.core.catalog import ProviderSpec
from hermes_router.core.catalog_rows import Catalog, overlay
from hermes_router.core.errors import ConfigError, VaultError
from hermes_router.core.ids import Credential, CredentialId, ProviderName
from hermes_router.core.settings import Settings
from hermes_router.core.settings_parse import SHARED_LAYER, KeyFound, Layer, is_ours, parse_settings
from hermes_router.daemon import dotenv
from hermes_router.daemon.credentials import MemoryVault, credentials_of, credentials_of_accounts, digest_key
from hermes_router.store.tokens import TokenFile
from hermes_router.store.vault import CredentialStore

__all__ = ["SYSTEMD_CREDENTIAL", "Loaded", "load", "shipped_tables"]

SYSTEMD_CREDENTIAL: Final = "systemd credential"
"""The source of what the service manager hands over (`LoadCredentialEncrypted=`, facts/os.md 1.6)."""

_SHIPPED: Final = "hermes_router/data/providers.toml"
# What every other program reads in lower case, too.
_ALSO_LOWER: Final = ("HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY")
_MAX_FILE: Final = 4 * 1024 * 1024


class Loaded(msgspec.Struct, frozen=True):
    """One reading of the configuration. `problems` are in the order of the files; `fatal` ones forbid a start.

    `keys` are those that stand in files and in the environment; `accounts` are logins, with the tokens that they had.
    `unread` are the providers with a stored key that cannot be read now: a keyring is locked, a command fails.
    """

    settings: Settings
    catalog: Mapping[ProviderName, ProviderSpec]
    credentials: tuple[Credential, ...]
    vault: MemoryVault
    problems: tuple[ConfigError, ...]
    digest_key: bytes = b""
    keys: tuple[KeyFound, ...] = ()
    accounts: tuple[CodexAccount, ...] = ()
    unread: frozenset[str] = frozenset()

    def __repr__(self) -> str:
        return f"Loaded({len(self.credentials)} credentials, {len(self.problems)} problems)"

    def without(self, hidden: Collection[CredentialId]) -> "Loaded":
        """The same without these credentials; their secrets stay readable to what is under way."""
        return replace(self, credentials=tuple(c for c in self.credentials if c.id not in hidden))

    def with_stored(self, stored: CredentialStore) -> "Loaded":
        """The same with what is in the store now."""
        credentials, vault = credentials_of(self.keys, self.catalog, self.digest_key, stored)
        found = replace(self, credentials=credentials, vault=vault, unread=_unread(stored))
        return found.with_accounts(self.accounts)

    def with_accounts(self, accounts: Iterable[CodexAccount]) -> "Loaded":
        """The same with these logins, and no others."""
        accounts = tuple(accounts)
        keys = tuple(c for c in self.credentials if c.kind != "oauth")
        return replace(self, accounts=accounts, credentials=keys + credentials_of_accounts(accounts, self.catalog))

    def faults_since(self, before: "Loaded") -> list[ConfigError]:
        """What was left out here, and was not then: a file that was cut, a value that cannot be read, a bad row."""
        known = {_place(problem) for problem in before.problems}
        return [problem for problem in self.problems if not problem.hint and _place(problem) not in known]

    @property
    def fatal(self) -> tuple[ConfigError, ...]:
        """What the daemon must not start with."""
        return tuple(problem for problem in self.problems if problem.fatal)


def _place(problem: ConfigError) -> tuple[str, str]:
    """A problem's file and text: its line may have moved."""
    file, _, line = problem.where.rpartition(":")
    return (file if line.isdecimal() else problem.where, problem.message)


def load(
    places: Places,
    environ: Mapping[str, str],
    *,
    cwd: Path | None = None,
    stored: CredentialStore | None = None,
    replaced: Mapping[Path, bytes] | None = None,
) -> Loaded:
    """Read config.toml, `.env`, the owner's rows, the unit's credentials, `environ`; never raises for what they hold.

    `cwd` is the caller's current directory, where a `.env` of ours is pointed out and not read. `stored` are the
    credentials that were added, as far as they are in memory. `replaced` are contents to try: they count instead of
    what the files hold. The only thing written is `credential.key`, at the first start.
    """
    files = _Files(replaced or {})
    problems = files.problems
    catalog = _catalog(places, files)
    _named_but_missing(places, problems)
    layers = [
        _toml_layer(places.config_file, files),
        _env_layer(places.env_file, files),
        _systemd_layer(environ, catalog, problems),
        _shared(environ),
    ]
    settings, keys, faults = parse_settings(layers, catalog)
    problems += faults
    _point_out(cwd, places, catalog, problems)
    key, problem = digest_key(places.credential_key)
    if problem is not None:
        problems.append(problem)
    if stored is not None:
        problems += _unusable(stored, catalog)
    credentials, vault = credentials_of(keys, catalog, key, stored)
    if settings.log_file is not None:
        settings = replace(settings, log_file=str(Path(settings.log_file).expanduser()))
    accounts = _accounts(places, problems)
    found = Loaded(settings, catalog, credentials, vault, tuple(problems), key, keys, unread=_unread(stored))
    return found.with_accounts(accounts)


def _accounts(places: Places, problems: list[ConfigError]) -> tuple[CodexAccount, ...]:
    file = TokenFile(places.codex_accounts, now=time.time)
    try:
        accounts = file.peek()
    except VaultError as error:
        problems.append(ConfigError(f"{error.message}; {error.next_step}", hint=True))
        return ()
    problems += [ConfigError(said, hint=True) for said in file.said]
    return accounts


@cache
def shipped_tables() -> Mapping[str, object]:
    """The tables of our own rows, as parsed; once, since an upgrade may put rows under a daemon that it cannot read."""
    return tomllib.loads(resources.files("hermes_router.data").joinpath("providers.toml").read_text("utf-8"))


def _catalog(places: Places, files: "_Files") -> Catalog:
    own = files.toml(places.providers_file)
    rows, faults = overlay(shipped_tables(), own, shipped_where=_SHIPPED, own_where=str(places.providers_file))
    files.problems += faults
    return rows


class _Files:
    """The owner's files, or what is to be tried in their places; collects what is wrong."""

    def __init__(self, replaced: Mapping[Path, bytes]) -> None:
        self._replaced = replaced
        self.problems: list[ConfigError] = []

    def read(self, path: Path) -> bytes:
        """The file's bytes; empty where there is none, or where it cannot be read, which is then a problem."""
        if path in self._replaced:
            return self._replaced[path]
        return _read(path, self.problems)

    def toml(self, path: Path) -> dict[str, object]:
        """The file's tables; empty where it is no TOML, which is then a problem."""
        data = self.read(path).removeprefix(b"\xef\xbb\xbf")
        try:
            return tomllib.loads(data.decode("utf-8").replace("\r\n", "\n"))
        except UnicodeDecodeError:
            self.problems.append(ConfigError("is not UTF-8; the file is left out", where=str(path)))
        except (ValueError, RecursionError) as error:
            # The parser's text quotes at most one character and says line and column.
            self.problems.append(ConfigError(f"is not TOML: {error}; the file is left out", where=str(path)))
        return {}


def _read(path: Path, problems: list[ConfigError]) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_FILE + 1)
    except FileNotFoundError:
        return b""
    except OSError as error:
        problems.append(ConfigError(f"cannot be read ({error.strerror}); it is left out", where=str(path)))
        return b""
    if len(data) > _MAX_FILE:
        problems.append(ConfigError("is larger than 4 MB; it is left out", where=str(path)))
        return b""
    return data


def _toml_layer(path: Path, files: _Files) -> Layer:
    """`port = 8319`, `groq_model = ["a", "b"]` or `[groq] model = "a"`: names of variables in any case."""
    found: dict[str, tuple[str, str]] = {}

    def put(name: str, value: object) -> None:
        text = _as_text(value)
        if text is None:
            files.problems.append(ConfigError(f"{name} must be text, a number, true, false or a list", where=str(path)))
        else:
            found[name.upper()] = (text, str(path))

    for name, value in files.toml(path).items():
        if isinstance(value, dict):
            for inner, inner_value in value.items():
                put(f"{name}_{inner}", inner_value)
        else:
            put(name, value)
    return "config.toml", found


def _as_text(value: object) -> str | None:
    if isinstance(value, bool):
        return "1" if value else "0"
    if isinstance(value, (str, int, float)):
        return str(value)
    if isinstance(value, list) and all(isinstance(one, (str, int)) and not isinstance(one, bool) for one in value):
        return ",".join(map(str, value))
    return None


def _env_layer(path: Path, files: _Files) -> Layer:
    found, faults = dotenv.parse(files.read(path), where=str(path))
    files.problems += faults
    return ENV_FILE, found


def _systemd_layer(environ: Mapping[str, str], catalog: Catalog, problems: list[ConfigError]) -> Layer:
    """The unit's credentials whose names are variables of ours in any case; several keys are one a line."""
    found: dict[str, tuple[str, str]] = {}
    directory = environ.get("CREDENTIALS_DIRECTORY", "")
    try:
        paths = sorted(Path(directory).iterdir()) if directory else []
    except OSError as error:
        problems.append(ConfigError(f"cannot be read ({error.strerror}); it is left out", where=directory))
        return SYSTEMD_CREDENTIAL, found
    ours = is_ours(catalog)
    for path in paths:
        name = path.name.upper()
        if not ours(name):
            found.setdefault(name, ("", str(path)))  # not read; it counts only where it looks like a slip of the pen
            continue
        try:
            lines = _read(path, problems).decode("utf-8").splitlines()
        except UnicodeDecodeError:
            problems.append(ConfigError("is not UTF-8; it is left out", where=str(path)))
            continue
        values = [line.strip() for line in lines if line.strip()]
        before = found.get(name)
        found[name] = (",".join([before[0], *values] if before else values), SYSTEMD_CREDENTIAL)
    return SYSTEMD_CREDENTIAL, found


def _unread(stored: CredentialStore | None) -> frozenset[str]:
    entries = stored.entries if stored is not None else ()
    return frozenset(entry.provider for entry in entries if stored is not None and stored.secret(entry.id) is None)


def _unusable(stored: CredentialStore, catalog: Catalog) -> list[ConfigError]:
    """What the store has to say, and keys of providers that no row describes (any longer)."""
    strangers = sorted({entry.provider for entry in stored.entries} - catalog.keys())
    said = [f"a stored key is of {n}, which no row describes; `hr auth remove {n}` forgets it" for n in strangers]
    return [ConfigError(each, hint=True) for each in (*stored.problems, *said)]


def _named_but_missing(places: Places, problems: list[ConfigError]) -> None:
    if places.env_file != (places.config_dir / ENV_FILE).absolute() and not places.env_file.exists():
        problems.append(
            ConfigError("was named as the environment file, and does not exist", where=str(places.env_file))
        )


def _shared(environ: Mapping[str, str]) -> Layer:
    found = {name: (value, SHARED_LAYER) for name, value in environ.items()}
    for name in _ALSO_LOWER:
        if name not in environ and environ.get(name.lower()):
            found[name] = (environ[name.lower()], SHARED_LAYER)
    return SHARED_LAYER, found


def _point_out(cwd: Path | None, places: Places, catalog: Catalog, problems: list[ConfigError]) -> None:
    """Say that a `.env` in the current directory is not ours, where it holds names of ours."""
    if cwd is None:
        return
    stray = (cwd / ENV_FILE).absolute()
    try:
        same = stray == places.env_file or (places.env_file.exists() and stray.samefile(places.env_file))
        data = b"" if same or not stray.is_file() else stray.read_bytes()[:_MAX_FILE]
    except OSError:
        return
    ours = is_ours(catalog)
    names = [name for name in dotenv.parse(data, where="")[0] if ours(name)]
    if names:
        problems.append(
            ConfigError(
                f"holds {', '.join(names[:3])}{' and more' if len(names) > 3 else ''}, but is not read: "
                f"settings lie in {places.env_file}; --env-file names another",
                where=str(stray),
                hint=True,
            )
        )
