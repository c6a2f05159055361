"""What `hr auth` asks for: keys added, tested, removed and moved, with nothing dropped meanwhile.

Owns the order of things: judge each line, ask the provider, rest the good ones in the store, swap the generation. It
must never log or return a key, and never store one that the provider rejects unless it was told to.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Final, Literal, NamedTuple

from hermes_router.control import types as t
from hermes_router.core.catalog import ProviderSpec
from hermes_router.core.errors import ControlError, VaultError
from hermes_router.core.ids import AccountId, Credential, CredentialId, Secret
from hermes_router.core.setting_values import key_fault
from hermes_router.core.settings_parse import SHARED_LAYER
from hermes_router.daemon.desks.config import ConfigDesk, find_provider
from hermes_router.daemon.desks.key_check import KeyCheck, foreign_prefix
from hermes_router.daemon.generations import Generations
from hermes_router.store.command import run_command
from hermes_router.store.vault import Entry, account_of

__all__ = ["CredentialDesk", "drained", "label_of"]

_MAX_LINES: Final = 100
_DRAIN_S: Final = 10.0
_LOOK_S: Final = 0.05
_OURS: Final = ("keyring", "file", "command")
_MAX_LABEL: Final = 64


class _Line(NamedTuple):
    """One key as it was typed, judged; `argv` where a command gave it."""

    number: int
    secret: Secret
    id: CredentialId
    argv: tuple[str, ...] = ()


class CredentialDesk:
    """The credentials of one daemon, as `hr` sees and changes them.

    `forgive` ends what stands against a credential that proved good, `forget` all that is known of one that is gone;
    `in_flight` counts the attempts that use one.
    """

    def __init__(
        self,
        generations: Generations,
        config: ConfigDesk,
        check: KeyCheck,
        *,
        forgive: Callable[[CredentialId], None],
        forget: Callable[[CredentialId], None],
        in_flight: Callable[[CredentialId], Callable[[], int]],
        now: Callable[[], float],
    ) -> None:
        self._generations = generations
        self._config = config
        self._check = check
        self._forgive = forgive
        self._forget = forget
        self._in_flight = in_flight
        self._now = now
        self._store = generations.store

    # -- adding ----------------------------------------------------------------------------------------

    async def add(self, asked: t.AddCredentials, *, keep: bool = False) -> t.Added:
        """Add keys. Raises ControlError for an unknown provider (2), and where nothing could be stored (1).

        `keep`: also what is in use from the daemon's environment, which its next start may lack.
        """
        spec = find_provider(self._generations.loaded.catalog, asked.provider)
        if spec.auth == "oauth":
            step = f"`hr auth login {spec.name}`, or `hr auth import-codex` for the official CLI's login"
            raise ControlError(f"{spec.title} takes a login, not a key", next_step=step, exit_code=2)
        account = label_of(asked.account)
        lines, rows = await self._lines(spec, asked)
        checked = await self._check.all(spec, [line.secret for line in lines]) if asked.test else [None] * len(lines)
        async with self._generations.lock:
            before = {c.id: c for c in self._generations.loaded.credentials if c.provider == spec.name}
            notes = self._foreign(spec, lines)
            for line, found in zip(lines, checked, strict=True):
                verdict, said, models = (
                    (found.verdict, found.said, [one.removeprefix(spec.model_prefix) for one in found.models])
                    if found is not None
                    else ("skipped", "", [])
                )
                if verdict == "rejected" and not asked.force:
                    outcome, why = "refused", f"{spec.title} rejects this key ({said}); it was not stored"
                else:
                    elsewhere = before.get(line.id)
                    if keep and elsewhere is not None and elsewhere.source == SHARED_LAYER:
                        elsewhere = None
                    outcome, why = await self._rest(spec, line, elsewhere, account)
                    why = why or said
                rows.append(
                    t.AddedRow(
                        line=line.number,
                        outcome=outcome,
                        tail=line.secret.tail,
                        id=line.id,
                        test=verdict,
                        said=why,
                        models=models,
                    )
                )
            kept = {row.id for row in rows if row.outcome in {"stored", "replaced"}}
            if kept:
                notes += _pooling(spec, [line for line in lines if line.id in kept], before, account)
                await self._generations.renew()
        for row in rows:
            if row.test == "ok":
                self._forgive(CredentialId(row.id))
        return t.Added(
            provider=spec.name,
            rows=sorted(rows, key=lambda row: row.line),
            store=self._store.store,
            notes=notes,
            generation=self._generations.number,
        )

    async def _lines(self, spec: ProviderSpec, asked: t.AddCredentials) -> tuple[list[_Line], list[t.AddedRow]]:
        """The keys that were given, each once, and a row for each line that is none."""
        key = self._generations.loaded.digest_key
        if asked.command is not None:
            argv = tuple(asked.command)
            if not argv:
                raise ControlError("no command was given", next_step="name it after --command", exit_code=2)
            try:
                secret = await run_command(argv)
            except VaultError as error:
                raise ControlError(error.message, next_step=error.next_step, exit_code=3) from None
            # Its key may change with every run; what stays is the command.
            return [_Line(1, secret, CredentialId(Secret("\0".join(argv)).digest(key, spec.name)), argv)], []
        if len(asked.lines) > _MAX_LINES:
            raise ControlError(f"more than {_MAX_LINES} lines were given", next_step="add them in parts", exit_code=2)
        lines: list[_Line] = []
        rows: list[t.AddedRow] = []
        for number, text in enumerate(asked.lines, 1):
            value = text.strip()
            if not value:
                continue
            fault = key_fault(value)
            if fault is not None:
                rows.append(t.AddedRow(line=number, outcome="faulty", said=f"it {fault}"))
                continue
            secret = Secret(value)
            ident = CredentialId(secret.digest(key, spec.name))
            if all(line.id != ident for line in lines):
                lines.append(_Line(number, secret, ident))
        if not lines and not rows:
            raise ControlError("no key was given", code="usage", next_step="type or pipe one key a line", exit_code=2)
        return lines, rows

    async def _rest(
        self, spec: ProviderSpec, line: _Line, before: Credential | None, account: str | None
    ) -> tuple[str, str]:
        """Put one key to rest. What is known elsewhere (a file, the environment) is not stored twice."""
        stored = next((entry for entry in self._store.entries if entry.id == line.id), None)
        if stored is None and before is not None:
            return "known", f"it is in use already, from {before.source}"
        lost = line.id in self._store.unavailable  # then it is given anew
        if stored is not None and not lost and (account is None or stored.account == account):
            return "known", "it is in use already"
        entry = Entry(
            id=line.id,
            provider=spec.name,
            kind="command" if line.argv else "api_key",
            tail=line.secret.tail,
            account=account or (stored.account if stored is not None else None),
            store=stored.store if stored is not None else "",
            argv=line.argv,
            added_at=stored.added_at if stored is not None else self._now(),
        )
        try:
            await self._store.put(entry, line.secret)
        except VaultError as error:
            raise ControlError(error.message, code="vault", next_step=error.next_step) from None
        if stored is None:
            return "stored", ""
        return "replaced", "it can be read again" if lost else f"its account is now {account}"

    def _foreign(self, spec: ProviderSpec, lines: Sequence[_Line]) -> list[str]:
        """A word for each key that looks like another provider's."""
        catalog = self._generations.loaded.catalog
        found = [(line, foreign_prefix(line.secret, spec, catalog.values())) for line in lines if not line.argv]
        return [f"line {line.number}: {said}" if len(lines) > 1 else said for line, said in found if said is not None]

    # -- removing --------------------------------------------------------------------------------------

    async def remove(self, provider: str, which: str | None) -> t.Removed:
        """Forget keys: no further attempt uses them, those under way end, nothing of them stays.

        Raises ControlError where none is meant (2), or where a key stands in a place that is not ours to edit (3).
        """
        spec = find_provider(self._generations.loaded.catalog, provider)
        async with self._generations.lock:
            chosen = self._chosen(spec, which)
            fixed = [c for c in chosen if c.source == "environment" or c.source.startswith("systemd")]
            if fixed and len(fixed) == len(chosen):
                named = ", ".join(sorted({c.secret_ref or c.source for c in fixed}))
                raise ControlError(
                    f"the key stands in the daemon's environment ({named})",
                    code="shadowed",
                    next_step=f"take {named} out of the environment or the unit, then restart",
                    exit_code=3,
                )
            ours = [c for c in chosen if c.source in _OURS]
            written = [c for c in chosen if c not in fixed and c not in ours]
            uses = [self._in_flight(c.id) for c in chosen]
            hidden = frozenset(c.id for c in (*ours, *written))
            self._generations.put(self._generations.loaded.without(hidden))  # from here on no attempt uses them
            try:
                await self._store.remove([c.id for c in chosen])  # also what stands elsewhere, too
            except VaultError as error:
                await self._generations.renew()
                raise ControlError(error.message, code="vault", next_step=error.next_step) from None
            for credential in written:
                await self._config.take_out(credential)
            await self._generations.renew(gone=hidden)
        left = await drained(uses)
        for credential in (*ours, *written):
            self._forget(credential.id)
        rows = [self._removed(c, "kept" if c in fixed else "removed", left) for c in chosen]
        return t.Removed(rows=rows)

    def _chosen(self, spec: ProviderSpec, which: str | None) -> list[Credential]:
        mine = [c for c in self._generations.loaded.credentials if c.provider == spec.name and c.kind != "none"]
        stored = {c.id for c in mine}
        unread = [e for e in self._store.entries if e.provider == spec.name and e.id not in stored]
        mine += [_unread(entry) for entry in unread]  # their secret cannot be read now; they can go all the same
        if which is not None:
            mine = [c for c in mine if which in {c.tail, c.id} or (len(which) >= 6 and c.id.startswith(which))]
        if not mine:
            what = f"no key of {spec.title} ends in {which!r}" if which else f"{spec.title} has no key"
            raise ControlError(what, code="unknown_key", next_step="`hr auth list` shows all", exit_code=2)
        if which is not None and len(mine) > 1:
            ids = ", ".join(c.id for c in mine)
            raise ControlError(f"several keys end in {which!r}", next_step=f"name one by its id: {ids}", exit_code=2)
        return mine

    def _removed(self, credential: Credential, outcome: str, left: int) -> t.RemovedRow:
        said = ""
        if outcome == "kept":
            said = f"it stands in the daemon's environment: take out {credential.secret_ref or credential.source}"
        elif left:
            said = f"{left} answers still under way use it and run to their end"
        return t.RemovedRow(
            provider=credential.provider,
            id=credential.id,
            tail=credential.tail,
            source=credential.source,
            outcome=outcome,
            said=said,
        )

    # -- testing and moving ----------------------------------------------------------------------------

    async def test(self, asked: t.TestCredentials) -> t.Tested:
        """Ask the providers about keys; one that proves good is in use again at once."""
        loaded = self._generations.loaded
        if asked.provider is not None:
            chosen = self._chosen(find_provider(loaded.catalog, asked.provider), asked.which)
        else:
            chosen = [c for c in loaded.credentials if c.kind == "api_key"]
        rows = await asyncio.gather(*(self._check.one(credential) for credential in chosen))
        for row in rows:
            if row.test == "ok":
                self._forgive(CredentialId(row.id))
        return t.Tested(rows=list(rows))

    async def migrate(self, asked: t.Migrate) -> t.Done:
        """Move all stored keys to the keyring, or to the file."""
        to: Literal["keyring", "file"]
        match asked.to:
            case "keyring":
                to = "keyring"
            case "file":
                to = "file"
            case _:
                raise ControlError("keys rest in the keyring or in a file", next_step="--to keyring|file", exit_code=2)
        async with self._generations.lock:
            try:
                moved = await self._store.migrate(to)
            except VaultError as error:
                raise ControlError(error.message, code="vault", next_step=error.next_step) from None
            await self._generations.renew()
        place = "a private file" if to == "file" else "the keyring"
        if not moved:
            return t.Done(said=[f"No key had to be moved; keys rest in {place}."])
        return t.Done(said=[f"{moved} key{'s' if moved != 1 else ''} moved; they rest in {place}."])


def _unread(entry: Entry) -> Credential:
    source = "command" if entry.kind == "command" else entry.store
    return Credential(entry.id, entry.provider, AccountId(entry.account or entry.id), "api_key", "", entry.tail, source)


def _pooling(
    spec: ProviderSpec, lines: Sequence[_Line], before: Mapping[CredentialId, Credential], account: str | None
) -> list[str]:
    """The provider's terms on pooling, where a second account came in with these lines."""
    had = {c.account for c in before.values() if c.kind != "none"}
    new = {account_of(spec.name, account, line.id) for line in lines if line.id not in before}
    if not (spec.pooling and len(had) < 2 <= len(had | new)):
        return []
    return [f"{spec.title}, on keys of several accounts: {spec.pooling}"]


async def drained(uses: Sequence[Callable[[], int]]) -> int:
    """Wait for the attempts that still use what was removed; how many are left when that takes too long."""
    for _ in range(round(_DRAIN_S / _LOOK_S)):
        if not any(use() for use in uses):
            return 0
        await asyncio.sleep(_LOOK_S)
    return sum(use() for use in uses)


def label_of(account: str | None) -> str | None:
    """An account's label as given. Raises ControlError where it is none."""
    if account is None:
        return None
    label = account.strip()
    if not label or len(label) > _MAX_LABEL or not label.isprintable():
        raise ControlError(
            "an account's label is a short word or name", next_step=f"at most {_MAX_LABEL} characters", exit_code=2
        )
    return label
