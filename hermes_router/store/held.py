"""Secrets in memory: which are there, why others are not, and their reading from the keyring and from commands.

Owns what is served now. What is here serves on whatever happens to the place where it rests; a place that answers is
right, though. It must never write to one.
"""

import asyncio
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Final

from hermes_router.core.errors import VaultError
from hermes_router.core.ids import CredentialId, Secret
from hermes_router.core.ports import Log
from hermes_router.store.command import run_command
from hermes_router.store.index import Entry, username
from hermes_router.store.keyring_store import KeyringFault, KeyringThread

__all__ = ["HANDED_BYTES", "UNREAD", "Held"]

UNREAD: Final = "its secret has not been read yet"
HANDED_BYTES: Final = 1024 * 1024  # of secrets that a successor is given: thousands of keys


class Held:
    """Secrets by credential. `entries` gives those in force: one that was removed while it was read is not kept."""

    def __init__(self, entries: Callable[[], Collection[Entry]], keyring: KeyringThread | None, log: Log) -> None:
        self.secrets: dict[CredentialId, Secret] = {}
        self.unavailable: dict[CredentialId, str] = {}
        self._entries = entries
        self._keyring = keyring
        self._log = log
        self._handed: set[CredentialId] = set()  # a predecessor's word, until the place itself has answered
        self._said_of_keyring = ""

    @property
    def keyring_is_well(self) -> bool:
        """Whether its last reading went to the end."""
        return not self._said_of_keyring

    @property
    def unread(self) -> bool:
        """Whether a secret is missing, or is here by a predecessor's word alone."""
        return bool(self.unavailable or self._handed)

    def remember(self, ident: CredentialId, secret: Secret) -> None:
        """It was read, or is new."""
        self.secrets[ident] = secret
        self.unavailable.pop(ident, None)
        self._handed.discard(ident)

    def forget(self, ident: CredentialId) -> None:
        """It was removed."""
        self.secrets.pop(ident, None)
        self.unavailable.pop(ident, None)
        self._handed.discard(ident)

    def renew(self, filed: Mapping[CredentialId, Secret], why_not_filed: str) -> None:
        """The entries were read anew: forget what belongs to none, take what the file holds, say what is missing."""
        entries = self._entries()
        known = {entry.id for entry in entries}
        self.secrets = {ident: secret for ident, secret in self.secrets.items() if ident in known} | dict(filed)
        self._handed &= known - set(filed)
        self.unavailable = {
            entry.id: why_not_filed if entry.store == "file" else UNREAD
            for entry in entries
            if entry.id not in self.secrets
        }

    # -- from a daemon to its successor ----------------------------------------------------------------

    def export(self) -> dict[str, str]:
        """Revealed, what a successor may be unable to read: of the keyring and of commands, at most HANDED_BYTES."""
        found: dict[str, str] = {}
        room = HANDED_BYTES
        for entry in self._entries():
            secret = self.secrets.get(entry.id)
            if entry.store == "file" or secret is None:
                continue
            text = secret.reveal()
            room -= len(text.encode("utf-8", "surrogatepass")) + len(entry.id)
            if room < 0:
                break
            found[entry.id] = text
        return found

    def adopt(self, handed: Mapping[str, str]) -> None:
        """Serve with these until they can be read: what reading brings then wins, also that one is gone."""
        for entry in self._entries():
            text = handed.get(entry.id, "")
            if text and entry.store != "file" and entry.id not in self.secrets:
                self.remember(entry.id, Secret(text))
                self._handed.add(entry.id)

    # -- reading ---------------------------------------------------------------------------------------

    async def read(self, *, anew: bool) -> None:
        """Read what the keyring and commands hold and is not here; `anew` also what is. Never raises."""
        elsewhere = [e for e in self._entries() if e.store != "file"]
        wanted = [e for e in elsewhere if anew or e.id not in self.secrets or e.id in self._handed]
        await asyncio.gather(
            self._read_from_keyring([e for e in wanted if e.store == "keyring"], insist=anew),
            *(self._run(e) for e in wanted if e.kind == "command"),
        )

    async def read_some(self, entries: Iterable[Entry]) -> None:
        """Read those of the keyring that are missing. Raises KeyringFault; one that is not there stays missing."""
        unread = [e for e in entries if e.store == "keyring" and e.id not in self.secrets]
        if not unread:
            return
        if self._keyring is None:
            raise KeyringFault("absent", "there is no keyring here")
        found, fault = await self._keyring.read([username(entry) for entry in unread])
        if fault is not None:
            raise fault
        for entry in unread:
            if (text := found[username(entry)]) is not None:
                self.remember(entry.id, Secret(text))

    async def _read_from_keyring(self, entries: Sequence[Entry], *, insist: bool) -> None:
        if not entries:
            self._said_of_keyring = ""
            return
        if self._keyring is None:
            found: dict[str, str | None] = {}
            fault: KeyringFault | None = KeyringFault("absent", "there is no keyring here")
        else:
            found, fault = await self._keyring.read([username(entry) for entry in entries], insist=insist)
        for entry in entries:
            if entry not in self._entries():
                continue  # removed or moved meanwhile
            if username(entry) not in found:
                if entry.id not in self.secrets and fault is not None:
                    self.unavailable[entry.id] = fault.message
            elif (text := found[username(entry)]) is None:
                self.forget(entry.id)
                self.unavailable[entry.id] = "the keyring does not hold it any longer"
            else:
                self.remember(entry.id, Secret(text))
        self._say(fault, entries)

    def _say(self, fault: KeyringFault | None, entries: Sequence[Entry]) -> None:
        said = "" if fault is None else fault.message
        if fault is not None and said != self._said_of_keyring:
            missing = sum(1 for entry in entries if entry.id not in self.secrets)
            handed = sum(1 for entry in entries if entry.id in self._handed)
            more = {"from_predecessor": handed} if handed else {}
            self._log.warning("keyring.unread", reason=said, keys=missing, next=fault.next_step, **more)
        self._said_of_keyring = said

    async def _run(self, entry: Entry) -> None:
        try:
            secret = await run_command(entry.argv)
        except VaultError as error:
            if entry.id not in self.secrets and entry in self._entries():
                if self.unavailable.get(entry.id) != error.message:
                    self._log.warning("command.failed", provider=entry.provider, reason=error.message)
                self.unavailable[entry.id] = error.message
            return
        if entry in self._entries():
            self.remember(entry.id, secret)
