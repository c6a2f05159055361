"""What `hr auth` asks of accounts that were logged in: brought in from the official CLI, shown, renewed, removed.

Owns what becomes of a login that is here already, the words for one that is of no use, and the one time that the terms
are shown. It must never log or return a token, and never revokes a login: the CLI may share it.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Final, Protocol

from msgspec.structs import replace

from hermes_router.control import types as t
from hermes_router.core.accounts import CODEX, CodexAccount, RefreshFailed
from hermes_router.core.catalog import ProviderSpec
from hermes_router.core.errors import ControlError, UpstreamError, VaultError
from hermes_router.core.ids import CredentialId
from hermes_router.core.observations import Scope, Unit
from hermes_router.core.ports import Log
from hermes_router.core.token_life import Standing, newer
from hermes_router.daemon.desks.config import find_provider
from hermes_router.daemon.desks.credential import drained, label_of
from hermes_router.daemon.generations import Generations
from hermes_router.routing.standing import QuotaStatus
from hermes_router.store.cli_login import read_login

__all__ = ["AccountDesk", "Keeper"]

_WINDOWS: Final = {"plan": "5 h", "week": "week"}
_REFUSED: Final = 3
_UNAUTHORIZED: Final = 401


class Keeper(Protocol):
    """Who keeps the accounts and their tokens: `engine.refreshing.Refresher`."""

    def accounts(self) -> tuple[CodexAccount, ...]:
        """All of them."""
        ...

    def standing(self, account: CodexAccount) -> tuple[Standing, str]:
        """How one stands, and what is to be said of it."""
        ...

    async def adopt(self, account: CodexAccount) -> None:
        """Take one in, or another login of one. Raises VaultError."""
        ...

    async def drop(self, ident: CredentialId) -> bool:
        """Forget one. Raises VaultError."""
        ...

    async def refresh(self, ident: CredentialId) -> CodexAccount:
        """Renew one now. Raises RefreshFailed."""
        ...


class AccountDesk:
    """The accounts of one daemon, as `hr` sees and changes them.

    `credentials` are the rows of all credentials as they stand, `windows` the ledger's. `listed` asks the provider how
    many models an account has, and raises KeyError or UpstreamError.
    """

    def __init__(
        self,
        generations: Generations,
        accounts: Keeper,
        *,
        credentials: Callable[[], Sequence[t.CredentialRow]],
        windows: Callable[[], Sequence[tuple[Scope, QuotaStatus]]],
        in_flight: Callable[[CredentialId], Callable[[], int]],
        forget: Callable[[CredentialId], None],
        forgive: Callable[[CredentialId], None],
        listed: Callable[[CredentialId], Awaitable[int]],
        now: Callable[[], float],
        log: Log,
    ) -> None:
        self._generations = generations
        self._accounts = accounts
        self._credentials = credentials
        self._windows = windows
        self._in_flight = in_flight
        self._forget = forget
        self._forgive = forgive
        self._listed = listed
        self._now = now
        self._log = log

    def has(self, provider: str) -> bool:
        """Whether this provider takes accounts and no keys. Raises ControlError (2) for an unknown one."""
        return find_provider(self._generations.loaded.catalog, provider).auth == "oauth"

    def held(self) -> tuple[CodexAccount, ...]:
        """All accounts, in the order in which they came."""
        return self._accounts.accounts()

    def spec(self, provider: str) -> ProviderSpec:
        """The row. Raises ControlError (2) where it takes keys, or there is none."""
        spec = find_provider(self._generations.loaded.catalog, provider)
        if spec.auth != "oauth":
            step = f"`hr auth add {spec.name}` adds one"
            raise ControlError(f"{spec.title} takes a key, not a login", next_step=step, exit_code=2)
        return spec

    # -- what is ---------------------------------------------------------------------------------------

    def rows(self, credentials: Sequence[t.CredentialRow] | None = None) -> list[t.AccountRow]:
        """All accounts, in the order in which they came."""
        found = {row.id: row for row in (self._credentials() if credentials is None else credentials)}
        windows = self._windows()
        return [self._row(account, found.get(account.id), windows) for account in self._accounts.accounts()]

    def row(self, account: CodexAccount) -> t.AccountRow:
        """One of them, as it stands now."""
        found = next((row for row in self._credentials() if row.id == account.id), None)
        return self._row(account, found, self._windows())

    def _row(
        self,
        account: CodexAccount,
        found: t.CredentialRow | None,
        windows: Sequence[tuple[Scope, QuotaStatus]],
    ) -> t.AccountRow:
        standing, said = self._accounts.standing(account)
        state, reason, until = "ready", said, None
        if standing in {"revoked", "expired"}:
            state = "revoked" if standing == "revoked" else "paused"
        elif found is not None and found.state != "ready":
            state, reason, until = found.state, found.reason or said, found.until
        return t.AccountRow(
            provider=CODEX,
            id=account.id,
            tail=account.account_id[-4:],
            account=account.label,
            email=account.email,
            plan=account.plan,
            route=account.route,
            state=state,
            reason=reason,
            until=until,
            expires_at=account.expires_at or None,
            refreshed_at=account.last_refresh_at or None,
            origin=account.origin or "",
            read_only=account.read_only,
            models=found.models if found is not None else 0,
            windows=[
                t.WindowRow(name=_WINDOWS.get(window.window, window.window), used_percent=_percent(window),
                            reset_at=window.reset_at)
                for scope, window in reversed(windows)
                if scope.account == account.pool and window.unit == Unit.PERCENT
            ],
        )  # fmt: skip

    # -- bringing in -----------------------------------------------------------------------------------

    async def bring_in(self, asked: t.ImportLogin) -> t.Imported:
        """Take the official CLI's login in. Raises ControlError (3) where it is of no use; nothing is changed then."""
        spec = self.spec(asked.provider)
        label = label_of(asked.account) or ""
        return await self.receive(await self._read(Path(asked.path), label, read_only=asked.read_only), spec)

    async def receive(self, theirs: CodexAccount, spec: ProviderSpec) -> t.Imported:
        """Take in a login that was made elsewhere. Raises ControlError: of no use (3), it cannot be kept (1)."""
        label = theirs.label
        ours = next((one for one in self._accounts.accounts() if one.id == theirs.id), None)
        notes = self.terms(spec)
        outcome, taken, said = _taken(theirs, ours, label)
        if taken != ours:
            try:
                await self.take_in(taken, "import")
            except VaultError as error:
                raise ControlError(error.message, code="vault", next_step=error.next_step) from None
        if taken.expired(self._now()) and taken.refreshable:
            said = await self._renewed(taken, is_new=ours is None)
        now_is = next((one for one in self._accounts.accounts() if one.id == taken.id), taken)
        return t.Imported(row=self.row(now_is), outcome=outcome, said=said, notes=notes)

    async def take_in(self, account: CodexAccount, how: str) -> None:
        """Keep an account, and say so in the log. Raises VaultError."""
        await self._accounts.adopt(account)
        self._log.info(
            "account.taken_in", provider=CODEX, account=account.shown, route=account.route, how=how, plan=account.plan
        )

    def terms(self, spec: ProviderSpec) -> list[str]:
        """The provider's word on what this is, with the first account."""
        return [spec.pooling] if spec.pooling and not self._accounts.accounts() else []

    async def _read(self, path: Path, label: str, *, read_only: bool) -> CodexAccount:
        if not path.is_absolute():
            raise ControlError(f"{path} is no absolute path", next_step="name the whole path", exit_code=2)
        try:
            login = await asyncio.to_thread(read_login, path)
            account = login.account(now=self._now(), label=label, read_only=read_only)
        except VaultError as error:
            step = error.next_step
            raise ControlError(error.message, code="no_login", next_step=step, exit_code=_REFUSED) from None
        except ValueError as error:
            raise ControlError(
                f"the login in {path} is of no use: {error}",
                code="no_login",
                next_step="log in with `hr auth login codex`: that login is the router's own",
                exit_code=_REFUSED,
            ) from None
        if account.expired(self._now()) and not account.refreshable:
            raise ControlError(
                f"the login in {path} has expired" + (", and a borrowed one is not renewed here" if read_only else ""),
                code="expired",
                next_step="use `codex` once, so that it renews it, then import again",
                exit_code=_REFUSED,
            )
        return account

    async def _renewed(self, account: CodexAccount, *, is_new: bool) -> str:
        """It had expired: only a renewal shows whether it is of use."""
        try:
            await self._accounts.refresh(account.id)
        except RefreshFailed as error:
            if not error.permanent:
                return f"it has expired, and could not be renewed now ({error.said}); that is tried again"
            if is_new:
                await self._accounts.drop(account.id)
            raise ControlError(
                f"the login in {account.origin or 'that file'} has expired, and cannot be renewed ({error.code})",
                code="expired",
                next_step="run `codex login`, then import again, or log in with `hr auth login codex`",
                exit_code=_REFUSED,
            ) from None
        return "it had expired, and was renewed"

    # -- renewing --------------------------------------------------------------------------------------

    async def refresh(self, asked: t.RefreshAccounts) -> t.Refreshed:
        """Renew accounts now. Raises ControlError (2) where none is meant."""
        chosen = self._chosen(self.spec(asked.provider), asked.which)
        return t.Refreshed(rows=list(await asyncio.gather(*(self._refresh(one) for one in chosen))))

    async def _refresh(self, account: CodexAccount) -> t.RefreshedRow:
        if account.refresh_token is None or account.read_only:
            return t.RefreshedRow(row=self.row(account), outcome="kept", said=self._accounts.standing(account)[1])
        outcome, said = "refreshed", ""
        try:
            account = await self._accounts.refresh(account.id)
        except RefreshFailed as error:
            outcome, said = ("ended" if error.permanent else "failed"), error.said
        except KeyError:
            outcome, said = "failed", "it was removed meanwhile"
        now_is = next((one for one in self._accounts.accounts() if one.id == account.id), account)
        return t.RefreshedRow(row=self.row(now_is), outcome=outcome, said=said)

    # -- testing ---------------------------------------------------------------------------------------

    async def test(self, asked: t.TestCredentials) -> list[t.TestedRow]:
        """Ask the provider about accounts, at no cost; one that proves good is in use again at once.

        Raises ControlError (2) where one is named that is not there.
        """
        if asked.provider is None:
            chosen = list(self._accounts.accounts())
        else:
            chosen = self._chosen(self.spec(asked.provider), asked.which)
        return list(await asyncio.gather(*(self._test(account) for account in chosen)))

    async def _test(self, account: CodexAccount) -> t.TestedRow:
        began, models = self._now(), 0
        verdict, said = "ok", ""
        try:
            models = await self._listed(account.id)
            self._forgive(account.id)
        except KeyError:
            verdict, said = "inconclusive", "no model uses it"
        except UpstreamError as error:
            verdict, said = "rejected" if error.status == _UNAUTHORIZED else "inconclusive", error.excerpt
            if account.dead is not None:
                said = self._accounts.standing(account)[1]
        return t.TestedRow(
            provider=CODEX,
            id=account.id,
            tail=account.account_id[-4:],
            test=verdict,
            said=f"{account.shown}: {said}" if said else account.shown,
            models=models,
            duration_s=round(max(self._now() - began, 0.0), 3),
        )

    # -- removing --------------------------------------------------------------------------------------

    async def remove(self, provider: str, which: str | None) -> t.Removed:
        """Forget accounts: no further attempt uses them, those under way end, their tokens go. The login itself stays.

        Raises ControlError where none is meant (2), or the file cannot be written (1).
        """
        chosen = self._chosen(self.spec(provider), which)
        hidden = frozenset(account.id for account in chosen)
        async with self._generations.lock:
            uses = [self._in_flight(ident) for ident in hidden]
            try:
                for account in chosen:
                    await self._accounts.drop(account.id)  # from here on no attempt uses it
                    self._log.info("account.removed", provider=CODEX, account=account.shown, route=account.route)
            except VaultError as error:
                raise ControlError(error.message, code="vault", next_step=error.next_step) from None
        left = await drained(uses)
        for ident in hidden:
            self._forget(ident)
        return t.Removed(rows=[_removed(account, left) for account in chosen])

    def _chosen(self, spec: ProviderSpec, which: str | None) -> list[CodexAccount]:
        mine = list(self._accounts.accounts())
        if which is not None:
            mine = [one for one in mine if _is(one, which)]
        if not mine:
            what = f"no account of {spec.title} is called {which[:60]!r}" if which else f"{spec.title} has no account"
            raise ControlError(what, code="unknown_key", next_step="`hr auth list` shows all", exit_code=2)
        if which is not None and len(mine) > 1:
            ids = ", ".join(one.id for one in mine)
            step = f"name one by its id: {ids}"
            raise ControlError(f"several accounts are called {which[:60]!r}", next_step=step, exit_code=2)
        return mine


def _percent(window: QuotaStatus) -> int:
    if window.limit and window.remaining is not None:
        return round(100 * (window.limit - window.remaining) / window.limit)
    return window.used


def _is(account: CodexAccount, which: str) -> bool:
    if len(which) >= 6 and account.id.startswith(which):
        return True
    names = {account.id, account.account_id, account.account_id[-4:], account.label}
    return which in names or which.lower() == account.email.lower()


def _taken(theirs: CodexAccount, ours: CodexAccount | None, label: str) -> tuple[str, CodexAccount, str]:
    """What an import makes of an account that may be here already: the outcome, the account, and a word on it."""
    if ours is None:
        return "stored", theirs, ""
    known = replace(ours, label=label or ours.label)
    alive = ours.dead is None and ours.refresh_token is not None
    if ours.origin is None and alive:
        return "known", known, "it has a login of the router's own, which stays in use"
    changed = ours.read_only != theirs.read_only or ours.origin != theirs.origin or ours.dead is not None
    if ours.owed is not None or (not changed and not newer(theirs, ours)):
        return "known", known, "" if known == ours else f"its label is now {known.label}"
    return "replaced", replace(theirs, label=known.label, added_at=ours.added_at), "its tokens were taken anew"


def _removed(account: CodexAccount, left: int) -> t.RemovedRow:
    said = ["the login itself was not revoked"]
    if account.origin is not None:
        said = [f"the login in {account.origin} stays as it is"]
    if left:
        said.append(f"{left} answers still under way use it and run to their end")
    return t.RemovedRow(
        provider=CODEX,
        id=account.id,
        tail=account.account_id[-4:],
        source=account.shown,
        outcome="removed",
        said="; ".join(said),
    )
