"""`python -m hermes_router.daemon.desks.health_look`: the report of `hr doctor` where no daemon runs.

Owns a reading of the installation's files that changes none of them: no key is made, no mode mended, nothing set aside,
and nobody is asked but the keyring, for what it is said to hold. The report goes to standard output as JSON.
"""

import argparse
import asyncio
import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec
from msgspec.structs import replace

from hermes_router.control import health_types as h
from hermes_router.control.places import Places, system_places, user_places
from hermes_router.core.accounts import CodexAccount
from hermes_router.core.errors import ConfigError
from hermes_router.daemon.config import load
from hermes_router.daemon.credentials import credentials_of_accounts
from hermes_router.daemon.desks.health_report import health_report, shadowed_in
from hermes_router.engine.snapshot import build_facts
from hermes_router.store.file_store import parse_secrets
from hermes_router.store.index import Entry, Index, NewerFormat, parse, username
from hermes_router.store.keyring_store import KeyringFault, KeyringThread
from hermes_router.store.router_keys import key_of_row
from hermes_router.store.token_rows import account_of_row
from hermes_router.store.vault import INDEX_FILE, SECRETS_FILE, credential_of

__all__ = ["look", "main"]

_NOWHERE: Final = Path(os.devnull) / "hermes-router"
_NOBODY: Final = "provider/none/none"


class _Quiet:
    """A log that says nothing."""

    def info(self, event: str, **fields: object) -> None:
        """Nothing."""

    def warning(self, event: str, **fields: object) -> None:
        """Nothing."""


def main(argv: Sequence[str] | None = None) -> int:
    """Print the report; returns the exit code."""
    parser = argparse.ArgumentParser(prog="hermes-router-health")
    parser.add_argument("--system", action="store_true")
    options = parser.parse_args(argv)
    places = (system_places if options.system else user_places)(os.environ)
    report = asyncio.run(look(places, os.environ, at=time.time()))
    sys.stdout.buffer.write(msgspec.json.encode(report))
    return 0


async def look(
    places: Places, environ: Mapping[str, str], *, at: float, keyring: KeyringThread | None = None
) -> h.HealthReport:
    """Read the files at `places`; `keyring` is the one of this process, unless a test brings its own."""
    index, said = _index(places.data_dir / INDEX_FILE)
    accounts, more = _accounts(places.codex_accounts)
    # With a data directory that cannot be: else a key of identities would be made where there is none yet.
    loaded = load(places._replace(data_dir=_NOWHERE), environ)
    said += [problem for problem in loaded.problems if str(_NOWHERE) not in str(problem)]
    filed, why = _filed(places.secrets_file)
    places_of_keys = {loaded.settings.secret_store, index.decision.store if index.decision is not None else ""}
    ring, fault = await _in_keyring(index, "keyring" in places_of_keys, keyring)
    stored = [_stored(entry, filed, why, ring, fault) for entry in index.entries]
    readable = [entry for entry, row in zip(index.entries, stored, strict=True) if not row.reason]
    known = [credential_of(entry) for entry in readable if entry.provider in loaded.catalog]
    credentials = (*loaded.credentials, *known, *credentials_of_accounts(accounts, loaded.catalog))
    loaded = replace(loaded, credentials=credentials, problems=(*said, *more))
    decision = index.decision
    return health_report(
        loaded,
        build_facts(loaded.settings, loaded.catalog, credentials),
        places,
        at=at,
        shadowed=shadowed_in(loaded, places),
        stored=stored,
        router_keys=_router_keys(places.router_keys),
        store=decision.store if decision is not None else "",
        keyring=(fault.message, fault.next_step) if fault is not None else ("", ""),
        log_file=loaded.settings.log_file or str(places.log_file),
    )


# --- what rests -----------------------------------------------------------------------------------------


def _read(path: Path) -> tuple[bytes | None, list[ConfigError]]:
    """The bytes of a private file, None where there are none to be had; its mode is not touched."""
    try:
        return path.read_bytes(), []
    except FileNotFoundError:
        return None, []
    except OSError as error:
        return None, [ConfigError(f"cannot be read ({error.strerror})", where=str(path))]


def _index(path: Path) -> tuple[Index, list[ConfigError]]:
    data, said = _read(path)
    if data is None:
        return Index(), said
    try:
        index, whole = parse(data)
    except NewerFormat:
        return Index(), [ConfigError("was written by a later version", where=str(path))]
    return index, said if whole else [ConfigError("is damaged: keys in it may be unknown", where=str(path))]


def _filed(path: Path) -> tuple[frozenset[str], str]:
    """The names whose secrets the file holds, and why it holds no others; empty where all of it was read."""
    data, said = _read(path)
    if data is None:
        return frozenset(), said[0].message if said else f"{path.name} is missing"
    try:
        kept, whole = parse_secrets(data)
    except NewerFormat:
        return frozenset(), f"{path.name} was written by a later version"
    return frozenset(kept), "" if whole else f"{path.name} is damaged"


def _accounts(path: Path) -> tuple[tuple[CodexAccount, ...], list[ConfigError]]:
    data, said = _read(path)
    if data is None:
        return (), said
    rows: object = None
    with suppress(ValueError, RecursionError, AttributeError):
        rows = json.loads(data).get("accounts", [])
    if not isinstance(rows, list):
        return (), [ConfigError("is damaged: its logins are unknown", where=str(path))]
    found = [account_of_row(row) for row in rows]
    lost = found.count(None)
    said = [ConfigError(f"{lost} of its logins cannot be read", where=str(path))] if lost else []
    return tuple(one for one in found if one is not None), said


def _router_keys(path: Path) -> int:
    """How many router keys are stored and can be read."""
    data, _ = _read(path)
    rows: object = None
    with suppress(ValueError, RecursionError, AttributeError):
        rows = json.loads(data or b"{}").get("keys")
    return sum(key_of_row(row) is not None for row in rows) if isinstance(rows, list) else 0


async def _in_keyring(
    index: Index, chosen: bool, keyring: KeyringThread | None
) -> tuple[Mapping[str, bool], KeyringFault | None]:
    """Which names the keyring holds, as far as it said, and what is wrong with it; nobody asks where it is not used."""
    names = [username(entry) for entry in index.entries if entry.store == "keyring"]
    if not names and not chosen:
        return {}, None
    ring = keyring or KeyringThread(log=_Quiet())
    found, fault = await ring.read(names or [_NOBODY])
    return {name: text is not None for name, text in found.items()}, fault


def _stored(
    entry: Entry, filed: frozenset[str], why: str, ring: Mapping[str, bool], fault: KeyringFault | None
) -> h.StoredRow:
    name, reason = username(entry), ""
    if entry.store == "file" and name not in filed:
        reason = why or f"{SECRETS_FILE} does not hold it"
    elif entry.store == "keyring" and name not in ring:
        reason = fault.message if fault is not None else "it was not read"
    elif entry.store == "keyring" and not ring[name]:
        reason = "the keyring does not hold it any longer"
    return h.StoredRow(provider=entry.provider, tail=entry.tail, store=entry.store or "command", reason=reason)


if __name__ == "__main__":
    sys.exit(main())
