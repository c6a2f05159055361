"""Logins of the router's own, as `hr auth login` begins and watches them: by browser or by device code.

Owns the logins under way and what becomes of their ends. They live here and not in `hr`, since the daemon is the one
that keeps tokens. It must never show a token, nor what proves that a browser's answer is ours.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

import msgspec
from msgspec.structs import replace

from hermes_router.control import types as t
from hermes_router.core import sign_in as words
from hermes_router.core.accounts import CodexAccount, Route, account_of_tokens, read_claims
from hermes_router.core.catalog import ProviderSpec
from hermes_router.core.errors import ControlError, VaultError
from hermes_router.core.ports import Clock, Transport
from hermes_router.core.sign_in import Code, Device, SignIn, SignInFailed
from hermes_router.daemon.desks.account import AccountDesk, Keeper
from hermes_router.daemon.desks.credential import label_of
from hermes_router.daemon.generations import Generations
from hermes_router.engine.tasks import Supervisor
from hermes_router.upstream.callback import ANY_PORT, PORTS, CallbackListener, Page
from hermes_router.upstream.sign_in import AuthServer, Redeemed

__all__ = ["LoginDesk"]

_VALID_S: Final = 900.0
_FALLBACK_PORT: Final = 1455
_END_S: Final = 60.0
_MOST: Final = 32
_RANDOM: Final = 128
_HOST: Final[dict[Route, str]] = {"plan": "127.0.0.1", "backend": "localhost"}  # facts/codex.md 5.1, 10
_ANEW: Final = "begin anew: `hr auth login codex`"
_OTHER_WAY: Final = "take the other way in: `hr auth login codex --route backend`"


class _Login(msgspec.Struct):
    """One login. `brought` is what the browser brings; `ended` is set once the outcome stands in `shown`."""

    spec: ProviderSpec
    route: Route
    label: str
    server: AuthServer
    shown: t.Login
    sign_in: SignIn | None = None
    device: Device | None = None
    listener: CallbackListener | None = None
    installation_id: str = ""
    brought: asyncio.Future[Code] = msgspec.field(default_factory=lambda: asyncio.get_running_loop().create_future())
    ended: asyncio.Event = msgspec.field(default_factory=asyncio.Event)


class LoginDesk:
    """The logins of one daemon. `host_id` gives this installation's identity, and may block on the disk."""

    def __init__(
        self,
        generations: Generations,
        accounts: Keeper,
        desk: AccountDesk,
        transport: Transport,
        *,
        clock: Clock,
        tasks: Supervisor,
        host_id: Callable[[], str],
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        random: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self._generations = generations
        self._accounts = accounts
        self._desk = desk
        self._transport = transport
        self._clock = clock
        self._tasks = tasks
        self._host_id = host_id
        self._sleep = sleep
        self._random = random
        self._logins: dict[str, _Login] = {}

    # -- what `hr` asks --------------------------------------------------------------------------------

    async def begin(self, asked: t.BeginLogin) -> t.Login:
        """Begin a login; the person's part is in the answer. Raises ControlError."""
        spec = self._desk.spec(asked.provider)
        label = label_of(asked.account) or ""
        if asked.route not in _HOST or asked.way not in {"browser", "device"}:
            raise ControlError("a login goes by --browser or --device, over --route plan or backend", exit_code=2)
        route: Route = asked.route
        if asked.way == "device" and route == "plan":
            raise ControlError(
                "the plan route knows no device codes",
                next_step="leave --device out: the address that the browser ends at can be pasted",
                exit_code=2,
            )
        await self._make_room()
        said = self._generations.loaded.settings.provider(spec.name)
        server = AuthServer(self._transport, said.auth_url or spec.auth_url, now=self._clock.now)
        shown = t.Login(
            id=self._random(9).hex(),
            state="waiting",
            route=route,
            way=asked.way,
            until=self._clock.now() + _VALID_S,
            notes=self._desk.terms(spec) if route == "backend" else [],
        )
        login = _Login(spec, route, label, server, shown)
        try:
            await (self._begin_device(login) if asked.way == "device" else self._begin_browser(login))
        except SignInFailed as error:
            raise _control(error) from None
        except VaultError as error:
            raise ControlError(error.message, code="vault", next_step=error.next_step) from None
        self._logins[shown.id] = login
        self._tasks.keep(f"login {shown.id}", partial(self._follow, login))
        return login.shown

    async def look(self, ident: str) -> t.Login:
        """How a login stands. Raises ControlError where there is none."""
        return self._found(ident).shown

    async def paste(self, ident: str, asked: t.PasteLogin) -> t.Login:
        """Take what a person copied from a browser on another machine. Raises ControlError (2) where it is nothing."""
        login = self._found(ident)
        if login.sign_in is None:
            raise ControlError("this login goes by a device code: there is nothing to paste", exit_code=2)
        try:
            self._hear(login, login.sign_in, words.pasted_query(asked.text))
        except SignInFailed as error:
            raise _control(error, exit_code=2) from None
        try:
            async with asyncio.timeout(_END_S):
                await login.ended.wait()
        except TimeoutError:
            pass  # it goes on
        return login.shown

    async def end(self, ident: str) -> t.Done:
        """Give a login up."""
        await self._give_up(self._found(ident), "it was given up")
        return t.Done(said=["The login was given up; nothing was changed."])

    def _found(self, ident: str) -> _Login:
        login = self._logins.get(ident)
        if login is None:
            step = _ANEW
            raise ControlError("there is no such login under way", code="unknown_login", next_step=step)
        return login

    # -- beginning -------------------------------------------------------------------------------------

    async def _make_room(self) -> None:
        """One login at a time: a new one takes the place of one that waits, whose port it needs."""
        for login in list(self._logins.values()):
            await self._give_up(login, "a newer login took its place")
        while len(self._logins) > _MOST:
            del self._logins[next(iter(self._logins))]

    async def _give_up(self, login: _Login, why: str) -> None:
        if login.ended.is_set():
            return
        self._fail(login, SignInFailed(why, code="given_up", next_step=_ANEW))
        if login.listener is not None:
            await login.listener.close()
        if not login.brought.done():
            login.brought.cancel()

    async def _begin_device(self, login: _Login) -> None:
        login.device = await login.server.start_device()
        login.shown = _with(login, url=words.device_url(login.server.root), user_code=login.device.user_code)

    async def _begin_browser(self, login: _Login) -> None:
        listener = CallbackListener(partial(self._come_back, login))
        try:
            port = await listener.open((*PORTS, ANY_PORT) if login.route == "plan" else PORTS)
        except OSError:
            port = None  # the address can still be pasted
        login.listener = listener if port is not None else None
        known = self._known(login)
        login.installation_id = await asyncio.to_thread(self._host_id)
        if known is not None and known.installation_id:
            login.installation_id = known.installation_id
        login.sign_in = words.begin(
            login.route,
            f"http://{_HOST[login.route]}:{port or _FALLBACK_PORT}{words.CALLBACK_PATH}",
            self._random(_RANDOM),
            client_id=known.client_id if known is not None else "",
        )
        url = words.authorize_url(
            login.server.root, login.sign_in, host_id=login.installation_id, originator=words.AGENT_NAME
        )
        login.shown = _with(login, url=url, listening=port is not None)

    def _known(self, login: _Login) -> CodexAccount | None:
        """The account that is logged in anew and keeps its issued client: that of this label, or whose login ended."""
        mine = [one for one in self._accounts.accounts() if one.route == login.route]
        named = [one for one in mine if login.label and one.label == login.label]
        ended = [one for one in mine if one.dead is not None] if not login.label else []
        found = named or ended
        return found[0] if len(found) == 1 else None

    # -- following -------------------------------------------------------------------------------------

    async def _follow(self, login: _Login) -> None:
        """To its end, whatever that is."""
        if login.ended.is_set():
            return
        try:
            code = await self._code(login)
            nonce = login.sign_in.nonce if login.sign_in is not None else ""
            await self._take_in(login, await login.server.redeem(login.route, code, nonce=nonce))
        except SignInFailed as error:
            self._fail(login, error)
        except VaultError as error:
            self._fail(login, SignInFailed(error.message, code="vault", next_step=error.next_step))
        finally:
            if not login.ended.is_set():
                self._fail(login, SignInFailed("it was broken off", next_step=_ANEW))
            if login.listener is not None:
                await login.listener.close()

    async def _code(self, login: _Login) -> Code:
        if login.device is not None:
            return await login.server.wait_for_device(login.device, sleep=self._sleep, mono=self._clock.mono)
        try:
            async with asyncio.timeout(_VALID_S):
                return await login.brought
        except TimeoutError:
            raise SignInFailed("nobody signed in in time", code="expired", next_step=_ANEW) from None
        except asyncio.CancelledError:
            if login.ended.is_set():
                raise SignInFailed("it was given up", code="given_up", next_step=_ANEW) from None
            raise

    async def _take_in(self, login: _Login, found: Redeemed) -> None:
        """Keep what the login brought; another login of an account that is here takes the old one's place."""
        if login.ended.is_set():
            return  # given up meanwhile
        tokens = found.tokens
        said = read_claims(tokens.id_token).account_id or read_claims(tokens.access_token).account_id
        try:
            account = account_of_tokens(
                tokens,
                now=self._clock.now(),
                route=login.route,
                client_id=found.client_id,
                label=login.label,
                account_id=said or found.subject,
                installation_id=login.installation_id,
            )
        except ValueError as error:
            raise SignInFailed(
                f"the login is of no use: {error}", code="unreadable", next_step="log in again"
            ) from None
        ours = next((one for one in self._accounts.accounts() if one.id == account.id), None)
        if ours is not None:
            account = replace(account, label=login.label or ours.label, added_at=ours.added_at)
        await self._desk.take_in(account, login.shown.way)
        login.shown = _with(login, state="done", row=self._desk.row(account))
        login.ended.set()

    def _fail(self, login: _Login, error: SignInFailed) -> None:
        if login.ended.is_set():
            return
        step = error.next_step
        if login.route == "plan" and error.code in {"not_eligible", "refused"}:
            step = _OTHER_WAY
        login.shown = _with(login, state="failed", code=error.code, said=error.message, next_step=step)
        login.ended.set()

    # -- what a browser brings -------------------------------------------------------------------------

    def _hear(self, login: _Login, sign_in: SignIn, query: str) -> None:
        """Take a browser's answer. Raises SignInFailed where it is not one to this login, which then goes on."""
        try:
            code = words.read_callback(sign_in, query)
        except SignInFailed as error:
            if error.code == "foreign":
                raise
            if not login.brought.done():
                login.brought.set_exception(error)
        else:
            if not login.brought.done():
                login.brought.set_result(code)

    async def _come_back(self, login: _Login, query: str) -> Page:
        assert login.sign_in is not None
        try:
            self._hear(login, login.sign_in, query)
        except SignInFailed as error:
            return Page("This is another sign-in", f"{error.message}; {error.next_step}.", 400)
        await login.ended.wait()
        if login.shown.state == "done":
            row = login.shown.row
            who = f" as {row.email}" if row is not None and row.email else ""
            return Page("Signed in", f"hermes-router is signed in{who}. You may close this window.")
        return Page("Not signed in", f"{login.shown.said}. {login.shown.next_step}", 400)


def _with(login: _Login, **changes: object) -> t.Login:
    return msgspec.structs.replace(login.shown, **changes)


def _control(error: SignInFailed, *, exit_code: int = 1) -> ControlError:
    return ControlError(error.message, code=error.code, next_step=error.next_step, exit_code=exit_code)
