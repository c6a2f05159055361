"""The official CLI's own login, `auth.json`: read in every mode that it has, and written back without harm.

Owns that file's format (facts/codex.md 1), the sentence for each login that is no use to us, and the compare-and-swap
that gives the CLI what we have rotated (facts 4). It must never refresh anything, and never write a file that has moved
on meanwhile or that it cannot read whole.
"""

import errno
import json
import os
import stat
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from hermes_router.core.accounts import (
    BACKEND_CLIENT_ID,
    CodexAccount,
    Tokens,
    account_of_tokens,
    fingerprint,
    read_claims,
)
from hermes_router.core.errors import VaultError
from hermes_router.core.ids import Secret
from hermes_router.store.file_lock import FileLock, Unobtainable, take
from hermes_router.store.files import file_stamp, write_private

__all__ = ["MOST_BYTES", "CliHome", "Login", "instant", "login_bytes", "read_login", "write_back"]

_OURS: Final = "log in with `hr auth login codex`: that login is the router's own"
MOST_BYTES: Final = 1024 * 1024
_UNUSABLE: Final = {
    "apikey": ("it is an API-key login, which spends no plan", "add the key itself: `hr auth add openai`"),
    "agentidentity": ("it is an agent's identity, a signed assertion that only that CLI can make", _OURS),
    "headers": ("its headers are made by another program", _OURS),
    "bedrockapikey": ("it is a login of Amazon Bedrock", _OURS),
    "personalaccesstoken": ("it is a personal access token, which names no account", _OURS),
}


class Login(msgspec.Struct, frozen=True):
    """What stands in the file. `last_refresh_at`: epoch seconds, 0.0 where it does not say.

    Without a refresh token nothing is ever refreshed.
    """

    path: Path
    tokens: Tokens
    account_id: str
    last_refresh_at: float

    def account(self, *, now: float, label: str = "", read_only: bool = False) -> CodexAccount:
        """The account that this login brings. Raises ValueError where it names none."""
        tokens = replace(self.tokens, refresh_token=None) if read_only else self.tokens
        return account_of_tokens(
            tokens,
            now=now,
            route="backend",
            client_id=BACKEND_CLIENT_ID,
            label=label,
            account_id=self.account_id,
            origin=str(self.path),
            read_only=read_only,
            last_refresh_at=self.last_refresh_at,
        )


def read_login(path: Path) -> Login:
    """The login in the file. Raises VaultError with a plain sentence for whatever is of no use; nothing is changed."""
    return _login(path, _document(path))


class CliHome:
    """The files of the CLI as the refreshing of accounts sees them; every method blocks on the disk."""

    def account(self, origin: str, now: float) -> CodexAccount | None:
        """Whose login the file holds now; None where there is none that is of use, whatever the reason."""
        try:
            return read_login(Path(origin)).account(now=now)
        except (VaultError, ValueError):
            return None

    def stamp(self, origin: str) -> object:
        """What changes whenever the file does."""
        return file_stamp(Path(origin))

    def hold(self, origin: str) -> FileLock | None:
        """Hold the file against other routers, and against a CLI that locks it; None where somebody holds it now.

        Raises VaultError where no lock can be had there.
        """
        path = Path(origin)
        try:
            return take(path.with_name(f"{path.name}.lock"), 0.0)
        except Unobtainable:
            return None
        except OSError as error:
            raise VaultError(f"{path} cannot be locked: {_why(error)}") from None

    def write_back(self, origin: str, spent: str, account: CodexAccount) -> bool:
        """As the function, with the fingerprint of what was spent."""
        return write_back(Path(origin), spent, account)


def write_back(path: Path, spent: str, account: CodexAccount) -> bool:
    """Give the CLI the tokens of this account, if its file still holds the refresh token that was spent for them.

    `spent` is that token's fingerprint. Everything else in it stays as it is. False, and nothing is changed, where it
    holds anything else by now, or is gone. Raises VaultError where it cannot be read or written now.
    """

    def document() -> dict[str, Any] | None:
        if not path.exists():
            return None
        found = _document(path)
        held = _text(_table(found.get("tokens")).get("refresh_token"))
        return found if held and fingerprint(Secret(held)) == spent else None

    found = document()
    if found is None or account.refresh_token is None:
        return False
    tokens = dict(found["tokens"])
    tokens["access_token"] = account.access_token.reveal()
    tokens["refresh_token"] = account.refresh_token.reveal()
    if account.id_token is not None:
        tokens["id_token"] = account.id_token.reveal()
    at = datetime.fromtimestamp(account.last_refresh_at, UTC).isoformat(timespec="microseconds")
    data = json.dumps(found | {"tokens": tokens, "last_refresh": at.replace("+00:00", "Z")}, indent=2).encode()
    try:
        return write_private(path, data, still=lambda: document() == found)
    except OSError as error:
        raise VaultError(
            f"{path} cannot be written: {_why(error)}", next_step="make it writable for this user"
        ) from None


# -- reading -----------------------------------------------------------------------------------------


def _document(path: Path) -> dict[str, Any]:
    try:
        data = login_bytes(path)
    except FileNotFoundError:
        raise VaultError(
            f"{path} does not exist: the Codex CLI is not logged in, or keeps its login in the system's keyring",
            next_step=f"run `codex login`, or {_OURS}",
        ) from None
    except IsADirectoryError:
        raise VaultError(f"{path} is a directory", next_step=_OURS) from None
    except OSError as error:
        raise VaultError(
            f"{path} cannot be read: {_why(error)}", next_step="run this as the user it belongs to"
        ) from None
    if len(data) > MOST_BYTES:
        raise VaultError(f"{path} is larger than any login", next_step=_OURS)
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise VaultError(f"{path} is damaged or half written", next_step="try again, or run `codex login` anew")
    return found


def login_bytes(path: Path) -> bytes:
    """The file's content, at most `MOST_BYTES` and one. Raises OSError, also for what is no regular file."""
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # a pipe in its place must not hold us up
    with os.fdopen(handle, "rb") as file:
        found = os.fstat(handle)
        if stat.S_ISDIR(found.st_mode):
            raise IsADirectoryError
        if not stat.S_ISREG(found.st_mode):
            raise OSError(errno.EINVAL, "it is not a regular file")
        return file.read(MOST_BYTES + 1)


def _login(path: Path, found: Mapping[str, Any]) -> Login:
    mode = _mode(found)
    low = mode.lower()
    if low in _UNUSABLE:
        why, step = _UNUSABLE[low]
        raise VaultError(f"{path} cannot be used: {why}", next_step=step)
    if low not in {"chatgpt", "chatgptauthtokens"}:
        raise VaultError(f"{path} is a kind of login that is not known here ({mode[:40]})", next_step=_OURS)
    held = _table(found.get("tokens"))
    access, refresh, ident = (_text(held.get(name)) for name in ("access_token", "refresh_token", "id_token"))
    if not access:
        raise VaultError(f"{path} holds no access token: it was logged out", next_step=f"run `codex login`, or {_OURS}")
    tokens = Tokens(
        access_token=Secret(access),
        refresh_token=Secret(refresh) if refresh and low == "chatgpt" else None,
        id_token=Secret(ident) if ident else None,
    )
    claims, person = read_claims(tokens.access_token), read_claims(tokens.id_token)
    account_id = _text(held.get("account_id")) or person.account_id or claims.account_id
    if not account_id:
        raise VaultError(f"{path} names no account", next_step=f"run `codex login` anew, or {_OURS}")
    return Login(path, tokens, account_id, instant(found.get("last_refresh")))


def _mode(found: Mapping[str, Any]) -> str:
    """As the CLI resolves it where the file does not say (facts/codex.md 1)."""
    said = found.get("auth_mode")
    if isinstance(said, str) and said:
        return said
    if _text(found.get("personal_access_token")):
        return "personalAccessToken"
    if found.get("bedrock_api_key"):
        return "bedrockApiKey"
    if _text(found.get("OPENAI_API_KEY")):
        return "apikey"
    if not found.get("tokens") and found.get("agent_identity"):
        return "agentIdentity"
    return "chatgpt"


def instant(value: object) -> float:
    """RFC 3339 text as epoch seconds, 0.0 where it is none."""
    if not isinstance(value, str):
        return 0.0
    text = value.strip()
    head, dot, rest = text.partition(".")
    if dot:  # nanoseconds, which our oldest Python cannot read
        digits = len(rest) - len(rest.lstrip("0123456789"))
        text = f"{head}.{rest[:digits][:6].ljust(6, '0')}{rest[digits:]}"
    try:
        found = datetime.fromisoformat(text)
        return (found if found.tzinfo is not None else found.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError, OSError):
        return 0.0


def _table(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _why(error: OSError) -> str:
    return error.strerror or type(error).__name__
