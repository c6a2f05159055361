"""The accounts in use, and the task that keeps their tokens alive.

Owns which tokens requests are sent with, when a renewal is due, that each account has one at a time, and how long a
failure rests. Requests only look at it: a renewal that one of them sets off is nobody's but its own. It must never read
a file or send a token itself, which is what a flight does.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from functools import partial
from typing import Final

from hermes_router.core.accounts import CodexAccount, RefreshFailed, Tokens, fingerprint
from hermes_router.core.errors import VaultError
from hermes_router.core.ids import CredentialId
from hermes_router.core.ports import Clock, Log, Rng
from hermes_router.core.token_life import Standing, due_at, standing
from hermes_router.engine.refresh_flight import Flight, OtherHome, Outcome, TokenHome
from hermes_router.engine.tasks import Supervisor

__all__ = ["Refresher"]

LOOK_S: Final = 5.0
_FIRST_PAUSE_S: Final = 15.0
_LONGEST_PAUSE_S: Final = 900.0
_JUST_RENEWED_S: Final = 60.0  # tokens this young that are refused are refused for another reason
_GOING: Final = "the router is handing over; ask again"


class Refresher:
    """Accounts by id. `changed` is called with those whose tokens or standing are new; `roster` = or come and gone.

    `flights` runs renewals, and must outlive whatever else is stopped: `rest` waits for them.
    """

    def __init__(
        self,
        home: TokenHome,
        other: OtherHome,
        send: Callable[[CodexAccount], Awaitable[Tokens]],
        *,
        clock: Clock,
        rng: Rng,
        log: Log,
        flights: Supervisor,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._home = home
        self._other = other
        self._clock = clock
        self._rng = rng
        self._log = log
        self._flights = flights
        self._io = asyncio.Lock()
        self._flight = Flight(
            home, other, send, self._publish, trouble=self._trouble, clock=clock, io=self._io, sleep=sleep
        )
        self._held: dict[CredentialId, CodexAccount] = {}
        self._under_way: dict[CredentialId, asyncio.Future[Outcome]] = {}
        self._jitter: dict[CredentialId, tuple[str, float]] = {}
        self._pause: dict[CredentialId, tuple[float, float]] = {}  # until (monotonic), and how long it was
        self._faults: dict[CredentialId, RefreshFailed] = {}
        self._renewed_mono: dict[CredentialId, float] = {}
        self._ended: set[CredentialId] = set()
        self._stamps: dict[str, object] = {}
        self._unreadable = ""
        self._said: dict[CredentialId, str] = {}  # what could not be written, said once
        self._awake = True
        self._look_now = asyncio.Event()
        self.changed: Callable[[frozenset[CredentialId], bool], None] = lambda _idents, _roster: None

    # -- what is in use ----------------------------------------------------------------------------

    def accounts(self) -> tuple[CodexAccount, ...]:
        """All of them, in the order of the file."""
        return tuple(self._held.values())

    def in_use(self, ident: CredentialId) -> CodexAccount | None:
        """The account with the tokens to use now; None where it is gone, or nothing is left to be sent. No I/O."""
        return None if ident in self._ended else self._held.get(ident)

    def load(self, accounts: Iterable[CodexAccount]) -> None:
        """Begin with what was read at the start."""
        self._held = {account.id: account for account in accounts}

    def standing(self, account: CodexAccount) -> tuple[Standing, str]:
        """How it stands, and what is to be said of it."""
        found, said = standing(account, self._clock.now())
        fault = self._faults.get(account.id)
        if fault is not None and not said:
            said = f"it cannot be renewed now: {fault.said}"
        return found, said

    # -- what requests and the owner ask -----------------------------------------------------------

    def renew(self, ident: CredentialId, used: CodexAccount | None, done: Callable[[bool], None]) -> None:
        """The provider refused the tokens of `used`: `done` hears, at once or later, whether there are others now."""
        account = self._held.get(ident)
        if account is None or used is None:
            done(False)
        elif account.access_token != used.access_token:
            done(True)
        elif self._is_hopeless(account):
            self._look_now.set()
            done(False)
        else:
            under_way = self._begin(account)
            under_way.add_done_callback(lambda _: done(self._is_other(ident, used)))

    async def refresh(self, ident: CredentialId) -> CodexAccount:
        """Renew an account now, because its owner says so. Raises RefreshFailed, and KeyError where it is gone."""
        account = self._held[ident]
        if not self._awake:
            raise RefreshFailed("transient", "moved", _GOING)
        if account.dead is not None:
            await self.look()
            account = self._held[ident]
            if account.dead is not None:
                raise RefreshFailed("permanent", account.dead, standing(account, self._clock.now())[1])
        outcome = await asyncio.shield(self._begin(account))
        if outcome.failure is not None:
            raise outcome.failure
        return self._held[ident]

    async def adopt(self, account: CodexAccount) -> None:
        """Take an account in, or another login of one that is here: on the disk, then in use. Raises VaultError."""
        await self._read_home()  # a damaged file is set aside first
        async with self._io:
            await asyncio.to_thread(self._home.put, account)
            self._put(account, roster=True)
        self._look_now.set()

    async def drop(self, ident: CredentialId) -> bool:
        """Forget an account; whether there was one. Raises VaultError; it is still in use then."""
        async with self._io:
            there = await asyncio.to_thread(self._home.remove, ident)
            there = self._held.pop(ident, None) is not None or there
            self._forget(ident)
        if there:
            self.changed(frozenset({ident}), True)
        return there

    # -- the task ----------------------------------------------------------------------------------

    async def run(self) -> None:
        """Look, renew what is due, wait; for ever. A renewal runs beside it."""
        self._awake = True
        while True:
            self._look_now.clear()
            await self.look()
            self.renew_due()
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_S):
                    await self._look_now.wait()

    async def look(self) -> None:
        """Read what has changed of both homes since the last look."""
        await self._read_home()
        for account in self.accounts():
            if account.origin is not None and account.id not in self._under_way and await self._is_moved(account):
                before = account
                try:
                    outcome = await self._flight.settle(before)
                except VaultError as error:
                    self._trouble(account, error.message)
                    continue
                self._tell(before, outcome)
        self._mind_ends()

    def renew_due(self) -> None:
        """Begin what is due, and does not rest after a failure."""
        now, mono = self._clock.now(), self._clock.mono()
        for account in self.accounts():
            if self._awake and due_at(account, self._jitter_of(account)) <= now and not self._rests(account.id, mono):
                self._begin(account)

    async def rest(self, limit_s: float) -> None:
        """Begin no renewal any more, and wait for what is under way: another process is about to take them over."""
        self._awake = False
        pending = list(self._under_way.values())
        if pending:
            await asyncio.wait(pending, timeout=limit_s)

    # -- one renewal -------------------------------------------------------------------------------

    def _begin(self, account: CodexAccount) -> asyncio.Future[Outcome]:
        """The renewal of this account that is under way, or a new one."""
        pending = self._under_way.get(account.id)
        if pending is None:
            pending = self._under_way[account.id] = asyncio.get_running_loop().create_future()
            self._flights.keep(f"codex {account.id}", partial(self._fly, account, pending))
        return pending

    async def _fly(self, account: CodexAccount, pending: asyncio.Future[Outcome]) -> None:
        began = self._clock.mono()
        outcome = Outcome(account, "kept", RefreshFailed("transient", "broken", "it was cut off"))
        try:
            outcome = await self._flight.run(account) if self._awake else await self._flight.settle(account)
        except VaultError as error:
            outcome = Outcome(account, "kept", RefreshFailed("transient", "disk", error.message))
        finally:
            self._under_way.pop(account.id, None)
            self._tell(account, outcome, took_s=self._clock.mono() - began)
            if not pending.done():
                pending.set_result(outcome)

    def _tell(self, before: CodexAccount, outcome: Outcome, *, took_s: float | None = None) -> None:
        """What follows from a renewal, or a look at the other home: transitions are logged, repetitions are not."""
        ident, after, failure = before.id, outcome.account, outcome.failure
        name = _name(before)
        if failure is None:
            self._faults.pop(ident, None)
            self._pause.pop(ident, None)
            if after is not None and after.owed is None:
                self._said.pop(ident, None)
            if outcome.how == "renewed" and after is not None:
                self._renewed_mono[ident] = self._clock.mono()
                more = {} if outcome.wrote_back is None else {"written_back": outcome.wrote_back}
                self._log.info(
                    "codex.refreshed",
                    account=name,
                    route=after.route,
                    expires_in_s=round(after.expires_at - self._clock.now()),
                    took_s=round(took_s or 0.0, 2),
                    **more,
                )
            elif outcome.how == "adopted" and after is not None:
                self._log.info("codex.adopted", account=name, route=after.route, origin=after.origin)
            elif outcome.wrote_back:
                self._log.info("codex.written_back", account=name, origin=before.origin)
            return
        known = self._faults.get(ident)
        self._faults[ident] = failure
        last_s = self._pause.get(ident, (0.0, 0.0))[1]
        pause_s = min(last_s * 2 or _FIRST_PAUSE_S, _LONGEST_PAUSE_S)
        self._pause[ident] = (self._clock.mono() + pause_s, pause_s)
        if known is None or known.code != failure.code:
            if failure.permanent and after is not None and after.dead is not None:
                self._log.warning(
                    "codex.login_ended",
                    account=name,
                    code=failure.code,
                    serves_for_s=max(0, round(after.expires_at - self._clock.now())),
                    next=standing(after, self._clock.now())[1],
                )
            elif not failure.permanent:
                self._log.warning("codex.not_refreshed", account=name, code=failure.code, reason=failure.said)

    # -- what is known -----------------------------------------------------------------------------

    async def _read_home(self) -> None:
        async with self._io:
            stamp = await asyncio.to_thread(self._home.stamp)
            if stamp == self._stamps.get("") and "" in self._stamps:
                return
            try:
                found = await asyncio.to_thread(self._home.read)
            except VaultError as error:
                if error.message != self._unreadable:
                    self._unreadable = error.message
                    self._log.warning("codex.unreadable", problem=error.message, next=error.next_step)
                return  # what is in use stays
            self._unreadable = ""
            self._stamps[""] = stamp
            self._hear()
            if not found and self._held and stamp is not None and await asyncio.to_thread(self._home.stamp) is None:
                await self._restore()
                return
        self._replace_all(found)

    async def _restore(self) -> None:
        """The file was damaged and set aside: what we know is written again."""
        for account in self.accounts():
            try:
                await asyncio.to_thread(self._home.put, account)
            except VaultError as error:
                self._trouble(account, error.message)
                return
        self._log.warning("codex.restored", accounts=len(self._held))

    def _replace_all(self, found: Iterable[CodexAccount]) -> None:
        before, self._held = self._held, {account.id: account for account in found}
        for ident in before.keys() - self._held.keys():
            self._forget(ident)
        roster = [(a.id, a.pool) for a in before.values()] != [(a.id, a.pool) for a in self._held.values()]
        touched = {i for i in before.keys() | self._held.keys() if _is_other(before.get(i), self._held.get(i))}
        if touched or roster:
            self.changed(frozenset(touched), roster)

    def _publish(self, account: CodexAccount) -> None:
        """These tokens are on the disk: requests use them from now on."""
        if account.id in self._held and self._held[account.id] != account:
            self._put(account, roster=self._held[account.id].pool != account.pool)

    def _put(self, account: CodexAccount, *, roster: bool) -> None:
        before = self._held.get(account.id)
        self._held[account.id] = account
        if roster or _is_other(before, account):
            self._ended.discard(account.id)
            self.changed(frozenset({account.id}), roster)

    def _mind_ends(self) -> None:
        """Whose access token has ended and cannot be followed by another: said once."""
        now = self._clock.now()
        ended = {a.id for a in self.accounts() if standing(a, now)[0] == "revoked"}
        fresh = ended - self._ended
        self._ended = ended
        for ident in fresh:
            account = self._held[ident]
            self._log.warning("codex.revoked", account=_name(account), next=standing(account, now)[1])
        if fresh:
            self.changed(frozenset(fresh), False)

    @property
    def ended(self) -> frozenset[CredentialId]:
        """Whose access token has ended, and who needs a login before there is another."""
        return frozenset(self._ended)

    def _forget(self, ident: CredentialId) -> None:
        for known in (self._jitter, self._pause, self._faults, self._renewed_mono, self._said):
            known.pop(ident, None)
        self._ended.discard(ident)

    async def _is_moved(self, account: CodexAccount) -> bool:
        """Whether the other home is another than at the last look, or is owed something."""
        origin = account.origin or ""
        stamp = await asyncio.to_thread(self._other.stamp, origin)
        known = f"{account.id} {origin}"
        moved = known not in self._stamps or self._stamps[known] != stamp
        self._stamps[known] = stamp
        return moved or account.owed is not None

    def _is_other(self, ident: CredentialId, used: CodexAccount) -> bool:
        account = self._held.get(ident)
        return account is not None and account.access_token != used.access_token

    def _is_hopeless(self, account: CodexAccount) -> bool:
        """Whether a renewal would bring nothing now."""
        renewed = self._renewed_mono.get(account.id)
        young = renewed is not None and self._clock.mono() - renewed < _JUST_RENEWED_S
        resting = self._rests(account.id, self._clock.mono()) and account.id not in self._under_way
        borrowed = account.origin is None and not account.refreshable
        return young or resting or borrowed

    def _rests(self, ident: CredentialId, mono: float) -> bool:
        return mono < self._pause.get(ident, (0.0, 0.0))[0]

    def _jitter_of(self, account: CodexAccount) -> float:
        """Drawn once for each refresh token."""
        token = fingerprint(account.refresh_token)
        known = self._jitter.get(account.id)
        if known is None or known[0] != token:
            known = self._jitter[account.id] = (token, self._rng.random())
        return known[1]

    def _trouble(self, account: CodexAccount, message: str) -> None:
        if self._said.get(account.id) != message:
            self._said[account.id] = message
            self._log.warning("codex.not_written", account=_name(account), problem=message)

    def _hear(self) -> None:
        for sentence in self._home.said:
            self._log.warning("codex.file", said=sentence)
        self._home.said.clear()


def _is_other(before: CodexAccount | None, after: CodexAccount | None) -> bool:
    """Whether there are other tokens, or another verdict on them."""
    if before is None or after is None:
        return before is not after
    return before.access_token != after.access_token or before.dead != after.dead


def _name(account: CodexAccount) -> str:
    """How the log calls it: the owner's word, else the credential's first characters, as targets are shown."""
    return account.label or account.id[:4]
