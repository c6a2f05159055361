"""One renewal of one account, from the locks to the new tokens on the disk.

Owns the order that makes a rotating token safe (design.md 2.7, facts/codex.md 4): lock, read both homes, mark, send,
write ours, write the other home, and only then let anyone use what came. It must never decide when a renewal is due,
and knows neither files nor HTTP but by their ports.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final, NamedTuple, Protocol

from msgspec.structs import replace

from hermes_router.core.accounts import CodexAccount, RefreshFailed, Tokens, fingerprint
from hermes_router.core.errors import VaultError
from hermes_router.core.ids import CredentialId, Secret
from hermes_router.core.ports import Clock
from hermes_router.core.token_life import adopted, newer

__all__ = ["Flight", "Held", "OtherHome", "Outcome", "TokenHome"]

_LOCK_LOOK_S: Final = 0.05
_LOCK_WAIT_S: Final = 90.0  # another process that renews this account has 45 s for it
_OTHER_WAIT_S: Final = 35.0  # a CLI that holds its file for longer than its own renewal takes is not waited for
_REUSED_LOOKS: Final = 20  # whoever spent it may be about to write what it got
_REUSED_LOOK_S: Final = 0.15
_DISK_LOOK_S: Final = 0.5
_DISK_LONGEST_S: Final = 30.0


class Held(Protocol):
    """A lock that is held."""

    def release(self) -> None:
        """Let go."""
        ...


class TokenHome(Protocol):
    """Our token file, as `store.tokens.TokenFile`. Every method blocks on the disk and may raise VaultError."""

    said: list[str]

    def read(self) -> tuple[CodexAccount, ...]:
        """All accounts."""
        ...

    def find(self, ident: CredentialId) -> CodexAccount | None:
        """One of them."""
        ...

    def put(self, account: CodexAccount) -> None:
        """Add or replace."""
        ...

    def replace(self, account: CodexAccount, expected: Secret | None) -> bool:
        """Replace where the refresh token is still the expected one."""
        ...

    def update(self, ident: CredentialId, change: Callable[[CodexAccount], CodexAccount]) -> CodexAccount | None:
        """Change one as it is now."""
        ...

    def remove(self, ident: CredentialId) -> bool:
        """Forget one."""
        ...

    def stamp(self) -> object:
        """What changes whenever the file does."""
        ...

    def spending(self, ident: CredentialId) -> Held | None:
        """Lock an account between processes; None while somebody else does."""
        ...


class OtherHome(Protocol):
    """The official CLI's files, as `store.cli_login.CliHome`. Every method blocks on the disk."""

    def account(self, origin: str, now: float) -> CodexAccount | None:
        """Whose login is there now."""
        ...

    def stamp(self, origin: str) -> object:
        """What changes whenever the file does."""
        ...

    def hold(self, origin: str) -> Held | None:
        """Lock it; None while somebody else does. Raises VaultError where no lock can be had."""
        ...

    def write_back(self, origin: str, spent: str, account: CodexAccount) -> bool:
        """Replace tokens whose refresh token is the spent one. Raises VaultError."""
        ...


class Outcome(NamedTuple):
    """How a renewal ended: the account as it is on the disk now (None = it is gone), and why nothing new came.

    `how`: `renewed` by us, `adopted` from the other home or another process, `kept` as it was.
    """

    account: CodexAccount | None
    how: str
    failure: RefreshFailed | None = None
    wrote_back: bool | None = None


class Flight:
    """Renewals over the two homes. `publish` lets an account's tokens be used: it is called when they are on the disk.

    `io` is held from a reading or writing of our file to what is published of it. `trouble` is told, at once, why what
    came could not be written somewhere.
    """

    def __init__(
        self,
        home: TokenHome,
        other: OtherHome,
        send: Callable[[CodexAccount], Awaitable[Tokens]],
        publish: Callable[[CodexAccount], None],
        *,
        trouble: Callable[[CodexAccount, str], None],
        clock: Clock,
        io: asyncio.Lock,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._home = home
        self._other = other
        self._send = send
        self._publish = publish
        self._trouble = trouble
        self._clock = clock
        self._io = io
        self._sleep = sleep

    async def run(self, known: CodexAccount) -> Outcome:
        """Renew the account, of which `known` is what is in use. Raises VaultError where nothing could be begun."""
        held = await self._wait_for(lambda: self._home.spending(known.id), _LOCK_WAIT_S)
        if held is None:
            said = "another process has been renewing this login for long"
            return Outcome(known, "kept", RefreshFailed("transient", "busy", said))
        try:
            return await self._locked(known)
        finally:
            held.release()

    async def _locked(self, known: CodexAccount) -> Outcome:
        account = await self._find(known.id)
        if account is None:
            return Outcome(None, "kept")
        if account.access_token != known.access_token:
            return Outcome(account, "adopted")  # another process of ours has done it
        if account.origin is None:
            return await self._renew(account, shared=False)
        other = None
        if not account.read_only:
            with suppress(VaultError):  # no lock can be had there: what is read again before each write must do
                other = await self._wait_for(lambda: self._other.hold(account.origin or ""), _OTHER_WAIT_S)
        try:
            return await self._shared(account)
        finally:
            if other is not None:
                other.release()

    async def _shared(self, account: CodexAccount) -> Outcome:
        theirs = await self._theirs(account)
        if theirs is not None and newer(theirs, account):
            taken = await self._adopt(theirs, account)
            return Outcome(taken, "adopted" if taken is not None and taken != account else "kept")
        if theirs is not None and account.owed is not None and fingerprint(theirs.refresh_token) == account.owed:
            account, _ = await self._write_back(account)
        # A file that was just being written told nothing: what is swapped there is compared first, so it does no harm.
        shared = theirs is None or theirs.refresh_token == account.refresh_token
        return await self._renew(account, shared=shared)

    async def _renew(self, account: CodexAccount, *, shared: bool) -> Outcome:
        """Spend the refresh token. Both homes are locked, and have been read."""
        spent = account.refresh_token
        if spent is None or not account.refreshable:
            code = account.dead or "not_ours"
            return Outcome(account, "kept", RefreshFailed("permanent", code, "this login is not renewed here"))
        marked = await self._change(account.id, lambda one: replace(one, spending_since=self._clock.now()), spent)
        if marked is None:
            return Outcome(await self._find(account.id), "adopted")
        try:
            tokens = await self._send(marked)
        except RefreshFailed as failure:
            return await self._failed(marked, spent, failure)
        owed = fingerprint(spent) if shared else None
        fresh = replace(marked.renewed(tokens, self._clock.now()), owed=owed)
        return await self._keep(fresh, spent, marked)

    async def _keep(self, fresh: CodexAccount, spent: Secret, before: CodexAccount) -> Outcome:
        """Ours first, then the other home, then whoever serves. A disk that takes nothing is asked until it does."""
        pause_s = 0.0
        while True:
            try:
                async with self._io:
                    kept = await asyncio.to_thread(self._home.replace, fresh, spent)
                    if kept and fresh.owed is None:
                        self._publish(fresh)
                break
            except VaultError as error:
                if not pause_s:
                    self._trouble(fresh, error.message)
                if fresh.owed is not None:
                    # The other home may be on a disk that has room: better there than nowhere.
                    fresh, _ = await self._write_there(fresh)
                if before.expired(self._clock.now()):
                    self._publish(fresh)  # nothing else serves any more
                pause_s = min(pause_s * 2 or _DISK_LOOK_S, _DISK_LONGEST_S)
                await self._sleep(pause_s)
        if not kept:  # removed, or logged in anew, while we waited
            return Outcome(await self._find(fresh.id), "adopted")
        if fresh.owed is None:
            return Outcome(fresh, "renewed")
        fresh, wrote = await self._write_back(fresh)
        self._publish(fresh)
        return Outcome(fresh, "renewed", wrote_back=wrote)

    async def _failed(self, account: CodexAccount, spent: Secret, failure: RefreshFailed) -> Outcome:
        """No tokens came. Somebody else may have them: both homes are looked at before anything is concluded."""
        looks = _REUSED_LOOKS if failure.permanent and account.origin is not None else 1
        for look in range(looks):
            if look:
                await self._sleep(_REUSED_LOOK_S)
            found = await self._find(account.id)
            if found is None or found.refresh_token != spent:
                return Outcome(found, "adopted")
            theirs = await self._theirs(found)
            if theirs is None:
                continue  # whoever writes it may be in the middle of that
            if theirs.refresh_token != spent and fingerprint(theirs.refresh_token) != found.owed:
                if failure.permanent or newer(theirs, found):
                    return Outcome(await self._adopt(theirs, found), "adopted")
                break
        if failure.permanent:
            after = await self._change(
                account.id, lambda one: replace(one, dead=failure.code, spending_since=None), spent
            )
        elif failure.spent:
            after = account  # the mark stays: nobody knows
        else:
            after = await self._change(account.id, lambda one: replace(one, spending_since=None), spent)
        return Outcome(after or account, "kept", failure)

    # -- the homes ---------------------------------------------------------------------------------

    async def _find(self, ident: CredentialId) -> CodexAccount | None:
        async with self._io:
            found = await asyncio.to_thread(self._home.find, ident)
            if found is not None:
                self._publish(found)
            return found

    async def _change(
        self, ident: CredentialId, change: Callable[[CodexAccount], CodexAccount], expected: Secret
    ) -> CodexAccount | None:
        """Change what is not a token, where the refresh token is still this one; durable on return."""
        met = False

        def guarded(one: CodexAccount) -> CodexAccount:
            nonlocal met
            met = one.refresh_token == expected
            return change(one) if met else one

        async with self._io:
            changed = await asyncio.to_thread(self._home.update, ident, guarded)
            if changed is None or not met:
                return None
            self._publish(changed)
            return changed

    async def _theirs(self, account: CodexAccount) -> CodexAccount | None:
        """The other home's tokens, where it still holds this login."""
        if account.origin is None:
            return None
        found = await asyncio.to_thread(self._other.account, account.origin, self._clock.now())
        same = found is not None and account.same_login(found.account_id, found.user_id)
        return found if same else None

    async def _adopt(self, theirs: CodexAccount, ours: CodexAccount) -> CodexAccount | None:
        taken = adopted(theirs, ours)
        async with self._io:
            if not await asyncio.to_thread(self._home.replace, taken, ours.refresh_token):
                return await asyncio.to_thread(self._home.find, ours.id)
            self._publish(taken)
            return taken

    async def _write_back(self, account: CodexAccount) -> tuple[CodexAccount, bool]:
        """Give the other home what is owed; what stays owed is tried again with the next look at it."""
        paid, wrote = await self._write_there(account)
        if paid.owed is None and account.refresh_token is not None:
            await self._change(account.id, lambda one: replace(one, owed=None), account.refresh_token)
        return paid, wrote

    async def _write_there(self, account: CodexAccount) -> tuple[CodexAccount, bool]:
        if account.origin is None or account.owed is None:
            return account, False
        try:
            wrote = await asyncio.to_thread(self._other.write_back, account.origin, account.owed, account)
        except VaultError as error:
            self._trouble(account, error.message)
            return account, False
        return replace(account, owed=None), wrote

    async def settle(self, account: CodexAccount) -> Outcome:
        """Take what is newer in the other home, or give it what is owed: under the account's lock, or not now."""
        held = await asyncio.to_thread(self._home.spending, account.id)
        if held is None:
            return Outcome(account, "kept")
        try:
            found = await self._find(account.id)
            theirs = await self._theirs(found) if found is not None else None
            if found is None or theirs is None:
                return Outcome(found, "kept")
            if newer(theirs, found):
                return Outcome(await self._adopt(theirs, found), "adopted")
            if found.owed is not None and fingerprint(theirs.refresh_token) == found.owed:
                found, wrote = await self._write_back(found)
                return Outcome(found, "kept", wrote_back=wrote)
            return Outcome(found, "kept")
        finally:
            held.release()

    async def _wait_for(self, take: Callable[[], Held | None], wait_s: float) -> Held | None:
        """A lock, asked for now and again: a thread that waited for it would be missing elsewhere."""
        deadline = self._clock.mono() + wait_s
        while True:
            held = await asyncio.to_thread(take)
            if held is not None or self._clock.mono() >= deadline:
                return held
            await self._sleep(_LOCK_LOOK_S)
