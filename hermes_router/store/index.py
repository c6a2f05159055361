"""The index of stored credentials: what there is and where each secret rests, without any secret.

Owns the entry, the file's format and its validation. It must never touch a disk or a keyring.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any, Final, Literal, cast

import msgspec

from hermes_router.core.ids import CredentialId, ProviderName

__all__ = ["Decision", "Entry", "Index", "NewerFormat", "Place", "parse", "render", "username"]

FORMAT: Final = 1

Place = Literal["keyring", "file"]
_PLACES: Final = ("keyring", "file", "")
_KINDS: Final = ("api_key", "command")


class Entry(msgspec.Struct, frozen=True):
    """One stored credential. `id` is the keyed digest of its secret, or of the command that prints it.

    `store` says where the secret rests, "" for a command; `argv` is the command, empty for a key. `account` is the
    owner's label, None = none. `added_at` is epoch seconds.
    """

    id: CredentialId
    provider: ProviderName
    kind: Literal["api_key", "command"]
    tail: str
    account: str | None = None
    store: Literal["keyring", "file", ""] = ""
    argv: tuple[str, ...] = ()
    added_at: float = 0.0


class Decision(msgspec.Struct, frozen=True):
    """Where new secrets go, why, and since when (ISO date and time, UTC): made once, changed by a migration only."""

    store: Place
    reason: str
    date: str


class Index(msgspec.Struct, frozen=True):
    """All that is known. `sweep` names secrets that may be in the keyring and belong to no entry (any longer)."""

    entries: tuple[Entry, ...] = ()
    decision: Decision | None = None
    sweep: frozenset[str] = frozenset()


class NewerFormat(ValueError):
    """The file was written by a later version: not damaged, and not to be touched."""


def username(entry: Entry) -> str:
    """The name under which the entry's secret rests, in a keyring as in a file."""
    return f"provider/{entry.provider}/{entry.id}"


def render(index: Index) -> bytes:
    """The index as a file, for people, too."""
    document: dict[str, Any] = {"version": FORMAT}
    if index.decision is not None:
        one = index.decision
        document["secret_store"] = {"store": one.store, "reason": one.reason, "date": one.date}
    document["credentials"] = [
        {
            "id": e.id,
            "provider": e.provider,
            "kind": e.kind,
            "tail": e.tail,
            "account": e.account,
            "store": e.store,
            "argv": list(e.argv),
            "added_at": e.added_at,
        }
        for e in index.entries
    ]
    if index.sweep:
        document["sweep"] = sorted(index.sweep)
    return json.dumps(document, indent=1).encode() + b"\n"


def parse(data: bytes) -> tuple[Index, bool]:
    """What can be read of the file, and whether that is all of it. Raises NewerFormat, nothing else."""
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        return Index(), False
    if not isinstance(document, dict):
        return Index(), False
    version = document.get("version")
    if isinstance(version, int) and version > FORMAT:
        raise NewerFormat
    whole = version == FORMAT
    rows, decision, sweep = document.get("credentials"), document.get("secret_store"), document.get("sweep", [])
    entries = [_entry(row) for row in rows] if isinstance(rows, list) else [None]
    decided = _decision(decision)
    swept = {name for name in sweep if isinstance(name, str)} if isinstance(sweep, list) else None
    whole = whole and None not in entries and (decision is None or decided is not None) and swept is not None
    return Index(_unique(entries), decided, frozenset(swept or ())), whole


def _unique(entries: Iterable[Entry | None]) -> tuple[Entry, ...]:
    found: dict[str, Entry] = {}
    for entry in entries:
        if entry is not None:
            found.setdefault(entry.id, entry)
    return tuple(found.values())


def _entry(row: object) -> Entry | None:
    if not isinstance(row, dict):
        return None
    texts = [row.get(name) for name in ("id", "provider", "kind", "tail", "store")]
    account, argv, added_at = row.get("account"), row.get("argv"), row.get("added_at")
    if not all(isinstance(text, str) for text in texts) or not all(texts[:4]):
        return None
    ident, provider, kind, tail, store = cast("list[str]", texts)
    if kind not in _KINDS or store not in _PLACES or not (account is None or isinstance(account, str)):
        return None
    if not isinstance(argv, list) or not all(isinstance(one, str) for one in argv):
        return None
    if isinstance(added_at, bool) or not isinstance(added_at, (int, float)):
        return None
    if bool(argv) != (kind == "command") or bool(store) == (kind == "command"):
        return None
    return Entry(
        CredentialId(ident),
        ProviderName(provider),
        cast("Literal['api_key', 'command']", kind),
        tail,
        account,
        cast("Literal['keyring', 'file', '']", store),
        tuple(argv),
        float(added_at),
    )


def _decision(found: object) -> Decision | None:
    if not isinstance(found, Mapping):
        return None
    store, reason, date = found.get("store"), found.get("reason"), found.get("date")
    if store not in ("keyring", "file") or not isinstance(reason, str) or not isinstance(date, str):
        return None
    return Decision(cast("Place", store), reason, date)
