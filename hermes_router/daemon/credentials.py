"""Keys that were found to credentials that are scheduled, and the place where their secrets rest meanwhile.

Owns the identity of a credential: a digest under a key of this installation, so that the same key is the same
credential after every start, and its identity tells nothing of it. It must never log or show a secret.
"""

import os
import secrets
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from hermes_router.core.accounts import CODEX, CodexAccount
from hermes_router.core.catalog import ProviderSpec
from hermes_router.core.errors import ConfigError
from hermes_router.core.ids import AccountId, Credential, CredentialId, ProviderName, Secret
from hermes_router.core.settings_parse import KeyFound
from hermes_router.store.vault import CredentialStore, Entry, account_of, credential_of

__all__ = ["MemoryVault", "credentials_of", "credentials_of_accounts", "digest_key", "secrets_of_accounts"]

KEY_BYTES: Final = 32
# Where the disk cannot keep a key of our own. Identities are then the same in every such installation.
_FIXED_KEY: Final = b"hermes-router without a data directory"
_NOTHING: Final = Secret("")


class MemoryVault:
    """Secrets in memory, by credential; implements `core.ports.Vault`."""

    def __init__(self, held: Mapping[CredentialId, Secret]) -> None:
        self._held = dict(held)

    def reveal(self, credential: Credential) -> Secret:
        """The secret of a credential, empty for one of kind `none`; raises KeyError where it is gone."""
        return _NOTHING if credential.kind == "none" else self._held[credential.id]

    def secrets(self) -> tuple[Secret, ...]:
        """All of them, unrevealed: for scrubbing logs."""
        return tuple(self._held.values())

    def __len__(self) -> int:
        return len(self._held)

    def __repr__(self) -> str:
        return f"MemoryVault({len(self._held)} secrets)"


def digest_key(path: Path) -> tuple[bytes, ConfigError | None]:
    """The installation's key, made at the first start (32 random bytes, 0600); a fixed one, and why, where none can be.

    Two starts at the same time agree on one key: the file appears whole or not at all, and the first one stays.
    """
    try:
        return _read_key(path), None
    except FileNotFoundError:
        pass
    except (OSError, ValueError) as error:
        return _FIXED_KEY, _unkept(path, error)
    try:
        _write_key(path, secrets.token_bytes(KEY_BYTES))
        return _read_key(path), None
    except (OSError, ValueError) as error:
        return _FIXED_KEY, _unkept(path, error)


def _read_key(path: Path) -> bytes:
    key = path.read_bytes()
    if len(key) < KEY_BYTES:
        raise ValueError("the file is damaged")
    return key


def _write_key(path: Path, key: bytes) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=".credential-", dir=path.parent)  # 0600 from the start
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(key)
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(temporary, path)
        except FileExistsError:
            return  # another start was quicker
        except OSError:  # a filesystem without hard links
            temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _unkept(path: Path, error: Exception) -> ConfigError:
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return ConfigError(
        f"cannot keep the key of credential identities ({reason}); a fixed one is used instead",
        where=str(path),
    )


def credentials_of(
    keys: Iterable[KeyFound],
    catalog: Mapping[ProviderName, ProviderSpec],
    key: bytes,
    stored: CredentialStore | None = None,
) -> tuple[tuple[Credential, ...], MemoryVault]:
    """One credential for each different key, in the order found, and one of kind `none` for a keyless row without.

    What is written down comes first, then what commands print, then what the store holds; a key that stands in
    several places is in the first, with the account of whichever names one. A key without an account label is an
    account of its own. Whether a keyless row is turned on at all is judged where targets are made
    (`engine/snapshot.py`).
    """
    made: dict[CredentialId, Credential] = {}
    held: dict[CredentialId, Secret] = {}
    known: dict[CredentialId, CredentialId] = {}  # by the digest of the secret; that of a command is another
    for found in keys:
        ident = CredentialId(found.secret.digest(key, found.provider))
        if ident not in made:
            made[ident] = Credential(
                id=ident,
                provider=found.provider,
                account=AccountId(ident),
                kind="api_key",
                secret_ref=found.variable,
                tail=found.secret.tail,
                source=found.source,
            )
            held[ident], known[ident] = found.secret, ident
    for entry, secret in _in_memory(stored):
        digest = CredentialId(secret.digest(key, entry.provider))
        if entry.provider not in catalog:
            continue
        if digest not in known:
            made[entry.id] = credential_of(entry, secret.tail)
            held[entry.id], known[digest] = secret, entry.id
            continue
        first = made[known[digest]]
        if entry.account and first.account == AccountId(first.id):
            made[first.id] = first._replace(account=account_of(entry.provider, entry.account, first.id))
    with_key = {credential.provider for credential in made.values()}
    for spec in catalog.values():
        if spec.keyless and spec.name not in with_key:
            ident = CredentialId(_NOTHING.digest(key, spec.name))
            made[ident] = Credential(ident, spec.name, AccountId(ident), "none", "", "none", "catalogue")
    return tuple(made.values()), MemoryVault(held)


def credentials_of_accounts(
    accounts: Iterable[CodexAccount], catalog: Mapping[ProviderName, ProviderSpec]
) -> tuple[Credential, ...]:
    """One credential for each account, where a row takes logins."""
    spec = catalog.get(CODEX)
    if spec is None or spec.auth != "oauth":
        return ()
    return tuple(
        Credential(
            id=account.id,
            provider=spec.name,
            account=account.pool,
            kind="oauth",
            secret_ref=account.id,
            tail=account.account_id[-4:],
            source="login",
            route="plan" if account.route == "plan" else "",
        )
        for account in accounts
    )


def secrets_of_accounts(accounts: Iterable[CodexAccount]) -> tuple[Secret, ...]:
    """All that no log may show of them."""
    found = (one for a in accounts for one in (a.access_token, a.refresh_token, a.id_token))
    return tuple(one for one in found if one is not None)


def _in_memory(stored: CredentialStore | None) -> list[tuple[Entry, Secret]]:
    """What the store can serve now, commands first."""
    if stored is None:
        return []
    readable = [(entry, secret) for entry in stored.entries if (secret := stored.secret(entry.id)) is not None]
    return sorted(readable, key=lambda one: one[0].kind != "command")
