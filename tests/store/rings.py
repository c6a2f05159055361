"""Keyrings that the test plays, and a log that only remembers."""

import asyncio
import threading
from pathlib import Path
from typing import Any

from hermes_router.core.ids import CredentialId, ProviderName, Secret
from hermes_router.store.keyring_store import KeyringThread
from hermes_router.store.vault import CredentialStore, Entry

ROOT = Path(__file__).resolve().parents[2]
START = 1_790_000_000.0


class Log:
    """Events as (name, fields)."""

    def __init__(self) -> None:
        self.events: list[tuple[str, dict[str, Any]]] = []

    def _put(self, event: str, **fields: Any) -> None:
        self.events.append((event, fields))

    debug = info = warning = error = critical = _put

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.events]


class KeyringLocked(Exception):
    """Named as the library's."""


class NoKeyringError(RuntimeError):
    """Named as the library's."""


class Ring:
    """A keyring in memory; `fails` is raised by every call, `gate` holds every call up while it is closed."""

    def __init__(self) -> None:
        self.held: dict[tuple[str, str], str] = {}
        self.fails: Exception | None = None
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Event()
        self.calls: list[str] = []
        self.forgets = False

    def _enter(self, call: str) -> None:
        self.calls.append(call)
        self.entered.set()
        self.gate.wait(20)
        if self.fails is not None:
            raise self.fails

    def get_password(self, service: str, username: str) -> str | None:
        self._enter(f"get {username}")
        return self.held.get((service, username))

    def set_password(self, service: str, username: str, password: str) -> None:
        self._enter(f"set {username}")
        if not self.forgets:
            self.held[service, username] = password

    def delete_password(self, service: str, username: str) -> None:
        self._enter(f"delete {username}")
        del self.held[service, username]

    @property
    def names(self) -> set[str]:
        return {name for _, name in self.held}


def thread_of(ring: Ring, log: Log | None = None, **more: Any) -> KeyringThread:
    """A keyring thread over `ring`, with little patience."""
    settings = {"limit_s": 0.05, "service": "hermes-router-test", "pick": lambda _strict: ring} | more
    return KeyringThread(log=log or Log(), **settings)


def store_in(
    directory: Path,
    ring: Ring | KeyringThread | None = None,
    *,
    choice: Any = "auto",
    headless: bool = False,
    log: Any = None,
) -> CredentialStore:
    """A loaded store, over a ring that is there or none."""
    keyring = thread_of(ring, log, limit_s=5.0) if isinstance(ring, Ring) else ring
    store = CredentialStore(
        directory, choice=choice, keyring=keyring, headless=headless, log=log or Log(), now=lambda: START
    )
    store.load()
    return store


def names_in(directory: Path) -> list[str]:
    """The files of a directory."""
    return sorted(path.name for path in directory.iterdir())


async def returned(thread: KeyringThread) -> None:
    """Wait for a thread that was held up to come back."""
    for _ in range(5_000):
        if not thread.hung:
            return
        await asyncio.sleep(0.001)
    raise AssertionError("it did not come back")


def entry(number: int = 1, provider: str = "groq", **more: Any) -> Entry:
    """An entry without its place."""
    fields = {"kind": "api_key", "tail": f"{number:04d}", "added_at": START} | more
    return Entry(id=CredentialId(f"{number:016x}"), provider=ProviderName(provider), **fields)


def secret(number: int = 1) -> Secret:
    """Its key."""
    return Secret(f"gsk_secret_of_{number:04d}")


def texts(store: CredentialStore) -> dict[str, str | None]:
    """The secrets that can be served, by id."""
    found = {one.id: store.secret(one.id) for one in store.entries}
    return {ident: one.reveal() if one else None for ident, one in found.items()}
