"""Secrets in a file of the owner's alone, for where no keyring is: `secrets.json`.

Owns the file's format. A secret stands beside what is needed to make its entry anew should the index be lost. It must
never decide whether a secret belongs into a file.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple

from hermes_router.core.ids import CredentialId, ProviderName, Secret
from hermes_router.store.files import write_private
from hermes_router.store.index import Entry, NewerFormat

__all__ = ["Kept", "entry_of", "kept_of", "parse_secrets", "write_secrets"]

FORMAT: Final = 1


class Kept(NamedTuple):
    """One secret as it rests in the file."""

    secret: Secret
    account: str | None = None
    added_at: float = 0.0


def kept_of(entry: Entry, secret: Secret) -> Kept:
    """What the file keeps of a credential."""
    return Kept(secret, entry.account, entry.added_at)


def entry_of(name: str, kept: Kept) -> Entry | None:
    """The entry that a secret had, None where its name is none of ours."""
    parts = name.split("/")
    if len(parts) != 3 or parts[0] != "provider" or not all(parts):
        return None
    provider, ident = ProviderName(parts[1]), CredentialId(parts[2])
    return Entry(ident, provider, "api_key", kept.secret.tail, kept.account, "file", (), kept.added_at)


def write_secrets(path: Path, kept: Mapping[str, Kept]) -> None:
    """Write all of them, by name; without any, the file is removed. Raises OSError."""
    if not kept and not path.is_symlink():  # a link was laid by someone: it stays
        path.unlink(missing_ok=True)
        return
    rows = {
        name: {"secret": one.secret.reveal(), "account": one.account, "added_at": one.added_at}
        for name, one in sorted(kept.items())
    }
    write_private(path, json.dumps({"version": FORMAT, "secrets": rows}, indent=1).encode() + b"\n")


def parse_secrets(data: bytes) -> tuple[dict[str, Kept], bool]:
    """The secrets that can be read, and whether these are all. Raises NewerFormat, nothing else."""
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        return {}, False
    if not isinstance(document, dict):
        return {}, False
    version, rows = document.get("version"), document.get("secrets")
    if isinstance(version, int) and version > FORMAT:
        raise NewerFormat
    if not isinstance(rows, dict):
        return {}, False
    found = {name: kept for name, row in rows.items() if (kept := _kept(row)) is not None}
    return found, version == FORMAT and len(found) == len(rows)


def _kept(row: object) -> Kept | None:
    if not isinstance(row, dict):
        return None
    secret, account, added_at = row.get("secret"), row.get("account"), row.get("added_at", 0.0)
    if not isinstance(secret, str) or not secret or not (account is None or isinstance(account, str)):
        return None
    if isinstance(added_at, bool) or not isinstance(added_at, (int, float)):
        return None
    return Kept(Secret(secret), account, float(added_at))
