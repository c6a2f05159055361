"""Stored credentials: which there are, where each secret rests, and where a new one goes.

Owns the policy of facts/os.md 1.8: keyring or file is decided once, by proof, and remembered; a secret never goes to a
second place in silence; what is in memory serves on whatever happens to its store. One instance writes, the daemon's.

The order of writes makes a kill at any point harmless: a secret before its entry when adding, the entry before its
secret when removing. What belongs to no entry is swept.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Literal

from msgspec.structs import replace

from hermes_router.core.errors import VaultError
from hermes_router.core.ids import AccountId, Credential, CredentialId, ProviderName, Secret
from hermes_router.core.ports import Log
from hermes_router.store.command import run_command
from hermes_router.store.file_store import Kept, kept_of
from hermes_router.store.held import Held
from hermes_router.store.index import Decision, Entry, Index, Place, username
from hermes_router.store.keyring_store import KeyringFault, KeyringThread
from hermes_router.store.shelf import Shelf

__all__ = ["INDEX_FILE", "SECRETS_FILE", "CredentialStore", "Entry", "account_of", "credential_of"]

INDEX_FILE: Final = "credentials.json"
SECRETS_FILE: Final = "secrets.json"
_NOBODY: Final = "provider/none/none"  # nothing is ever kept under this name


def account_of(provider: ProviderName, label: str | None, ident: CredentialId) -> AccountId:
    """Whose quota a key spends: the same label is the same account, of that provider; without one it is its own."""
    return AccountId(f"{provider}:{label}") if label else AccountId(ident)


def credential_of(entry: Entry, tail: str = "") -> Credential:
    """The entry as it is scheduled and shown; `tail` is that of a secret just read, where it may have changed."""
    return Credential(
        id=entry.id,
        provider=entry.provider,
        account=account_of(entry.provider, entry.account, entry.id),
        kind="api_key",
        secret_ref=username(entry),
        tail=tail or entry.tail,
        source=entry.store or "command",
    )


class CredentialStore:
    """The credentials of one data directory. `choice` is SECRET_STORE, and may be set anew at any time.

    `headless` = root, a system service, or no session bus: then a keyring is not tried unless it was chosen by name.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        choice: Literal["auto", "keyring", "file"],
        keyring: KeyringThread | None,
        headless: bool,
        log: Log,
        now: Callable[[], float],
    ) -> None:
        self.choice: Literal["auto", "keyring", "file"] = choice
        self._secrets_path = data_dir / SECRETS_FILE
        self._shelf = Shelf(data_dir / INDEX_FILE, self._secrets_path, now)
        self._keyring = keyring
        self._headless = headless
        self._log = log
        self._now = now
        self._held = Held(lambda: self.entries, keyring, log)
        self._left_in_file = ""
        self._lock = asyncio.Lock()

    # -- what there is ---------------------------------------------------------------------------------

    @property
    def entries(self) -> tuple[Entry, ...]:
        """All of them, in the order in which they were added."""
        return self._shelf.index.entries

    @property
    def unavailable(self) -> Mapping[CredentialId, str]:
        """The entries whose secret cannot be read, each with the reason."""
        return self._held.unavailable

    def secret(self, ident: str) -> Secret | None:
        """The secret of an entry, None where it is not in memory."""
        return self._held.secrets.get(CredentialId(ident))

    def credential(self, entry: Entry) -> Credential:
        """The entry as it is shown."""
        secret = self._held.secrets.get(entry.id)
        return credential_of(entry, secret.tail if secret is not None else "")

    @property
    def store(self) -> Literal["keyring", "file", ""]:
        """Where a new secret goes, "" while that is undecided."""
        if self.choice != "auto":
            return self.choice
        decision = self._shelf.index.decision
        return decision.store if decision is not None else ""

    @property
    def note(self) -> str:
        """One sentence for the owner on where secrets rest."""
        match self.store:
            case "":
                return "where keys are stored is decided when the first one is added"
            case "file":
                said = f"keys are stored in {self._secrets_path}, readable by your user only"
            case "keyring":
                said = "keys are stored in the keyring"
        decision = self._shelf.index.decision
        if decision is not None and self.choice == "auto":
            said += f" ({decision.reason}; since {decision.date[:10]})"
        elsewhere = sum(1 for entry in self.entries if entry.store not in ("", self.store))
        if elsewhere:
            said += f"; {elsewhere} are still elsewhere: `hr auth migrate --to {self.store}` moves them"
        return said

    @property
    def problems(self) -> list[str]:
        """What the owner should know, each with what to do."""
        found = list(self._shelf.said)
        if self._left_in_file:
            found.append(self._left_in_file)
        orphans = self._orphans()
        if orphans:
            found.append(f"the keyring may still hold {len(orphans)} removed keys; they are deleted once it answers")
        return found

    @property
    def unsettled(self) -> bool:
        """Whether `read_keyring` is worth another call: a secret is unread, or one is still to be deleted."""
        return bool(self._held.unread or self._orphans())

    # -- reading ---------------------------------------------------------------------------------------

    def load(self) -> None:
        """Read the index and the file of secrets; the keyring and commands come with `read_keyring`. Never raises.

        For the start, and for the loop's own thread: while a change is under way the memory is the newer, and nothing
        is read.
        """
        if not self._lock.locked():
            self._load()

    async def reload(self) -> bool:
        """Read everything anew, in a thread and between two changes; whether anything changed. Never raises."""
        before = (self.entries, dict(self._held.secrets))
        async with self._lock:
            await _to_the_end(self._load)
        await self.read_keyring(anew=True)
        return (self.entries, self._held.secrets) != before

    def _load(self) -> None:
        self._shelf.load()
        kept = self._shelf.kept
        filed = [entry for entry in self.entries if entry.store == "file" and username(entry) in kept]
        self._held.renew({entry.id: kept[username(entry)].secret for entry in filed}, self._shelf.why_no_secrets)

    async def read_keyring(self, *, anew: bool = False) -> bool:
        """Read the secrets that the keyring and key commands hold and memory does not; whether anything changed.

        Never raises: what cannot be read is unavailable with the reason, and is asked for again by the next call;
        the daemon makes it, at growing intervals. `anew` (a reload) also reads what memory holds, and a fault then
        changes nothing.
        """
        before = (dict(self._held.secrets), dict(self._held.unavailable))
        await self._held.read(anew=anew)
        if self._shelf.index.sweep and self._held.keyring_is_well and not self._lock.locked():
            async with self._lock:
                await self._sweep()
        return (self._held.secrets, self._held.unavailable) != before

    async def ask_keyring(self, limit_s: float) -> KeyringFault | None:
        """What is wrong with the keyring, asked for something that it does not hold; None where it answers."""
        if self._keyring is None:
            return KeyringFault("absent", "there is no keyring here")
        try:
            async with asyncio.timeout(limit_s):
                return (await self._keyring.read([_NOBODY]))[1]
        except TimeoutError:
            return KeyringFault("hung", f"the keyring did not answer within {limit_s:g} s")

    # -- from a daemon to its successor ----------------------------------------------------------------

    def export(self) -> dict[str, str]:
        """The revealed secrets of the keyring and of commands, by credential: a successor may find either shut.

        For the private pair between the two alone; bounded, and without those that the file holds.
        """
        return self._held.export()

    def adopt(self, handed: Mapping[str, str]) -> None:
        """After `load`: serve with what a predecessor exported until it has been read; what is read then wins."""
        self._held.adopt(handed)

    # -- changing --------------------------------------------------------------------------------------

    async def put(self, entry: Entry, secret: Secret | None) -> str:
        """Keep a credential, and say where its secret rests now, "" for a command. Twice is once.

        An entry that is there takes the new account and command, and keeps its date. Of a command the secret stays in
        memory; without one it is run. Raises VaultError: nothing was stored, and nothing that was is lost.
        """
        if entry.kind == "command" and secret is None:
            secret = await run_command(entry.argv)
        if secret is None:
            raise VaultError("a key without a secret cannot be stored")
        async with self._lock:
            old = next((one for one in self.entries if one.id == entry.id), None)
            new = entry if old is None else replace(entry, added_at=old.added_at)
            decision: Decision | None = None
            if entry.kind == "command":
                new = replace(new, store="")
            elif old is not None and old.store and self._held.secrets.get(entry.id) == secret:
                new = replace(new, store=old.store)
                if new == old:
                    return old.store
            else:
                decision = await self._decide()
                new = replace(new, store=decision.store)
                await self._rest(new, secret, old)
            await self._enter(new, secret, decision)
            if new.store == "file" or (old is not None and old.store == "file"):
                kept = self._shelf.belonging()
                if new.store == "file":
                    kept[username(new)] = kept_of(new, secret)
                await self._tidy_file(kept)
            if old is not None and old.store == "keyring" != new.store:
                await self._sweep()
            return new.store

    async def remove(self, ids: Sequence[str]) -> None:
        """Forget credentials; unknown ones are none. Raises VaultError where the index cannot be written.

        A secret that its store will not let go of now is in use no more, and is deleted as soon as that is possible.
        """
        async with self._lock:
            gone = [entry for entry in self.entries if entry.id in ids]
            if not gone:
                return
            index = self._shelf.index
            sweep = index.sweep | {username(entry) for entry in gone if entry.store == "keyring"}
            left = tuple(entry for entry in index.entries if entry not in gone)
            try:
                await self._write_index(replace(index, entries=left, sweep=sweep))
            finally:
                if self._shelf.index.entries == left:
                    for entry in gone:
                        self._held.forget(entry.id)
            if any(entry.store == "file" for entry in gone):
                await self._tidy_file(self._shelf.belonging())
            await self._sweep()

    async def migrate(self, to: Place) -> int:
        """Move all secrets to the keyring or to the file, from now on the place for new ones; how many were moved.

        Copied, read back, then deleted at the source: at a kill every secret is in one place at least. Raises
        VaultError: all stay where they were.
        """
        if self.choice not in ("auto", to):
            raise VaultError(
                f"SECRET_STORE={self.choice} says where keys rest", next_step=f"set SECRET_STORE to auto or {to} first"
            )
        async with self._lock:
            moving = [e for e in self.entries if e.kind == "api_key" and e.store != to]
            secrets = await self._secrets_of(moving)
            moving = [entry for entry in moving if entry.id in secrets]
            moved = {entry.id: replace(entry, store=to) for entry in moving}
            names = frozenset(map(username, moving))
            if to == "keyring":
                await self._copy_to_keyring(moving, secrets)
            else:
                await self._copy_to_file(list(moved.values()), secrets)
            index = self._shelf.index
            entries = tuple(moved.get(entry.id, entry) for entry in index.entries)
            sweep = index.sweep - names if to == "keyring" else index.sweep | names
            decision = Decision(to, "by `hr auth migrate`", self._date())
            try:
                await self._write_index(Index(entries, decision, sweep))
            finally:
                if self._shelf.index.entries == entries:
                    for entry in moving:
                        self._held.remember(entry.id, secrets[entry.id])
            await self._tidy_file(self._shelf.belonging())
            await self._sweep()
            return len(moving)

    # -- parts of a change, under the lock -----------------------------------------------------------------

    async def _decide(self) -> Decision:
        """Where a new secret goes. Raises VaultError where a person is being asked for a password and does not type."""
        if self.choice != "auto":
            return Decision(self.choice, f"SECRET_STORE={self.choice}", self._date())
        if self._shelf.index.decision is not None:
            return self._shelf.index.decision
        reason = await self._why_no_keyring()
        decision = Decision("file" if reason else "keyring", reason or "a test of it succeeded", self._date())
        self._log.info("store.decided", store=decision.store, reason=decision.reason)
        return decision

    async def _why_no_keyring(self) -> str:
        if self._headless or self._keyring is None:
            return "no keyring is used by root, in a system service or without a session"
        try:
            await self._keyring.probe()
        except KeyringFault as fault:
            if fault.kind == "hung" and self._keyring.waits_for_a_person:
                raise  # someone may be looking for the password: no reason to decide against it for good
            return fault.message
        return ""

    async def _rest(self, entry: Entry, secret: Secret, old: Entry | None) -> None:
        """Put a secret where its entry will say it is."""
        name = username(entry)
        if entry.store == "file":
            if not self._shelf.indexed:  # the very first: without an index this secret would be more than an orphan
                await self._write_index(self._shelf.index)
            await self._write_secrets({**self._shelf.belonging(), name: kept_of(entry, secret)})
            return
        index = self._shelf.index
        if (old is None or old.store != "keyring") and name not in index.sweep:
            # Said first, since a keyring does not tell what it holds: a kill must not leave a secret that nobody knows.
            await self._write_index(replace(index, sweep=index.sweep | {name}))
        try:
            await self._reach().write(name, secret.reveal())
        except KeyringFault as fault:
            if fault.kind in ("absent", "locked"):  # then it took nothing, now or later
                await self._write_index(index)
            raise

    async def _enter(self, entry: Entry, secret: Secret, decision: Decision | None) -> None:
        """Put an entry in force, in its old place where it had one."""
        index = self._shelf.index
        name, old = username(entry), next((one for one in index.entries if one.id == entry.id), None)
        sweep = index.sweep
        if entry.store == "keyring":
            sweep -= {name}
        elif old is not None and old.store == "keyring":
            sweep |= {name}
        if old is None:
            entries = (*index.entries, entry)
        else:
            entries = tuple(entry if one is old else one for one in index.entries)
        try:
            await self._write_index(Index(entries, index.decision or decision, sweep))
        finally:
            if entry in self.entries:
                self._held.remember(entry.id, secret)

    async def _secrets_of(self, entries: Sequence[Entry]) -> dict[CredentialId, Secret]:
        """Their secrets, from memory or else from the keyring; those that no place holds are left out."""
        await self._held.read_some(entries)
        held = self._held.secrets
        return {entry.id: held[entry.id] for entry in entries if entry.id in held}

    async def _copy_to_keyring(self, entries: Sequence[Entry], secrets: Mapping[CredentialId, Secret]) -> None:
        keyring = self._reach()
        await keyring.probe(strict=False)
        index = self._shelf.index
        await self._write_index(replace(index, sweep=index.sweep | set(map(username, entries))))
        for entry in entries:
            await keyring.write(username(entry), secrets[entry.id].reveal())

    async def _copy_to_file(self, entries: Sequence[Entry], secrets: Mapping[CredentialId, Secret]) -> None:
        kept = {username(entry): kept_of(entry, secrets[entry.id]) for entry in entries}
        wanted = {**self._shelf.belonging(), **kept}
        await self._write_secrets(wanted)
        if await asyncio.to_thread(self._shelf.secrets_on_disk) != wanted:
            raise VaultError(f"{self._secrets_path} does not hold what was written", next_step="look at the disk")

    async def _sweep(self) -> None:
        """Delete from the keyring what belongs to no entry; what it does not let go of waits for the next time."""
        index = self._shelf.index
        inside = self._names_in_keyring()
        left = set(index.sweep)
        if self._keyring is None or not left:
            return
        try:
            for name in sorted(left):
                if name not in inside:
                    await self._keyring.delete(name)
                left.discard(name)
        except KeyringFault as fault:
            self._log.warning("keyring.unswept", reason=fault.message, keys=len(left))
        if left != index.sweep:
            try:
                await self._write_index(replace(index, sweep=frozenset(left)))
            except VaultError as error:  # the names stay in the index, and are looked for once more
                self._log.warning("store.unwritten", reason=error.message)

    async def _tidy_file(self, kept: Mapping[str, Kept]) -> None:
        """Take out of the file what belongs to no entry any longer; the change itself is done by now."""
        try:
            await self._write_secrets(kept)
        except VaultError as error:
            self._left_in_file = f"{error.message}: it still holds keys that were removed or moved; {error.next_step}"
            self._log.warning("store.unwritten", reason=error.message)

    def _reach(self) -> KeyringThread:
        if self._keyring is None:
            raise KeyringFault("absent", "there is no keyring here")
        return self._keyring

    def _orphans(self) -> frozenset[str]:
        return self._shelf.index.sweep - self._names_in_keyring()

    def _names_in_keyring(self) -> frozenset[str]:
        return frozenset(username(entry) for entry in self.entries if entry.store == "keyring")

    def _date(self) -> str:
        return datetime.fromtimestamp(self._now(), UTC).isoformat(timespec="seconds")

    async def _write_index(self, index: Index) -> None:
        await _to_the_end(lambda: self._shelf.write_index(index))

    async def _write_secrets(self, kept: Mapping[str, Kept]) -> None:
        await _to_the_end(lambda: self._shelf.write_secrets(kept))
        self._left_in_file = ""


async def _to_the_end(work: Callable[[], None]) -> None:
    """Run a write in a thread, since a disk may be slow, and await its end even when cancelled: none may overtake."""
    future = asyncio.get_running_loop().run_in_executor(None, work)
    cancelled: asyncio.CancelledError | None = None
    while not future.done():
        try:
            await asyncio.wait({future})
        except asyncio.CancelledError as error:
            cancelled = error
    failed = future.exception()
    if cancelled is not None:
        raise cancelled
    if failed is not None:
        raise failed
