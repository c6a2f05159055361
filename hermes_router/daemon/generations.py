"""The configuration in force and the next one: read, try, swap.

Owns the lock under which the owner's files are changed, and the one reference that says what is in force. Reading and
writing happen in a thread: the loop serves on meanwhile. It must never judge a setting.
"""

import asyncio
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Literal, Protocol

from hermes_router.control.places import Places
from hermes_router.core.errors import ConfigError, ControlError
from hermes_router.core.ids import CredentialId
from hermes_router.daemon.config import Loaded, load
from hermes_router.store.files import write_private
from hermes_router.store.vault import CredentialStore

__all__ = ["Changes", "Generations", "Swaps", "moved"]


def moved() -> ControlError:
    """For what reaches a daemon whose place another has taken: nothing has begun, and `hr` asks that other one."""
    return ControlError("this daemon has handed over to its successor", code="moved", next_step="ask again")


class Swaps(Protocol):
    """What takes a generation up."""

    @property
    def loaded(self) -> Loaded:
        """The configuration in force."""
        ...

    @property
    def number(self) -> int:
        """Its number."""
        ...

    @property
    def targets(self) -> int:
        """How many targets it makes."""
        ...

    def swap(self, loaded: Loaded) -> None:
        """Put another one in force."""
        ...


class Changes(asyncio.Lock):
    """Held by whoever changes a file of the owner's, from the reading to the swap."""

    def __init__(self) -> None:
        super().__init__()
        self._moved = False

    async def acquire(self) -> Literal[True]:
        """Wait for the others. Raises ControlError once the files are another daemon's; nothing has begun then."""
        await super().acquire()
        if self._moved:
            self.release()
            raise moved()
        return True

    def move(self) -> None:
        """Held for a handover that succeeded: let go, and send whoever waits here to the successor."""
        self._moved = True
        self.release()


class Generations:
    """The generations of one daemon. Whoever changes a file holds `lock` from the reading to the swap."""

    def __init__(
        self,
        daemon: Swaps,
        places: Places,
        environ: Mapping[str, str],
        store: CredentialStore,
        check: Callable[[Loaded], None],
        *,
        cwd: Path | None = None,
    ) -> None:
        self._daemon = daemon
        self._environ = environ
        self._cwd = cwd
        self.places = places
        self.store = store
        self.check = check
        self.lock = Changes()

    @property
    def loaded(self) -> Loaded:
        """The configuration in force."""
        return self._daemon.loaded

    @property
    def number(self) -> int:
        """The number of the generation in force."""
        return self._daemon.number

    @property
    def targets(self) -> int:
        """How many targets it makes."""
        return self._daemon.targets

    async def read(self, replaced: Mapping[Path, bytes] | None = None) -> Loaded:
        """The configuration as the files have it, or would have it with these contents in their places."""
        return await asyncio.to_thread(
            load, self.places, self._environ, cwd=self._cwd, stored=self.store, replaced=replaced or {}
        )

    async def read_store(self) -> None:
        """Read the stored credentials anew, also what a keyring and commands hold."""
        await self.store.reload()

    def put(self, loaded: Loaded) -> None:
        """Swap: what runs ends on what it began with, every further attempt is planned on this."""
        self._daemon.swap(loaded)

    def refusal(self, loaded: Loaded) -> ConfigError | None:
        """Why this reading must not follow the one in force: something would be lost, or strangers let in."""
        faults = loaded.faults_since(self.loaded)
        if faults:
            return next((fault for fault in faults if fault.fatal), faults[0])
        try:
            self.check(loaded)
        except ConfigError as error:
            return error
        return None

    async def renew(self, *, gone: Collection[CredentialId] = ()) -> None:
        """Take up what changed in the store of credentials; the caller holds the lock.

        Files that somebody is editing, or that were cut, are no reason not to: then the settings in force stay, and
        only the credentials are new, without those that are `gone`.
        """
        loaded = await self.read()
        if self.refusal(loaded) is not None:
            loaded = self.loaded.with_stored(self.store).without(gone)
        self.put(loaded)

    async def write(self, path: Path, data: bytes) -> None:
        """Replace a file of the owner's, whole and synced. Raises ControlError; the old one is then untouched."""
        try:
            await asyncio.to_thread(write_private, path, data)
        except OSError as error:
            raise ControlError(
                f"{path} cannot be written: {error.strerror}",
                code="disk",
                next_step="make room, or make the directory writable, then try again; nothing was changed",
            ) from None
