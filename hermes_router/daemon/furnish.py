"""Joins a daemon to what `hr` asks of it: the desks, the events, and the tasks that keep credentials readable.

Owns the construction of the control side, as `wiring.py` that of the public side. Nothing is built at import.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from hermes_router.control.events import EventRing
from hermes_router.control.places import Places
from hermes_router.core.ids import CredentialId
from hermes_router.daemon.alerting import Alerting
from hermes_router.daemon.backend import DaemonBackend, Life
from hermes_router.daemon.config import Loaded
from hermes_router.daemon.desks.account import AccountDesk
from hermes_router.daemon.desks.ask import AskDesk
from hermes_router.daemon.desks.carry_in import CarryIn
from hermes_router.daemon.desks.carry_out import CarryOut
from hermes_router.daemon.desks.config import ConfigDesk
from hermes_router.daemon.desks.credential import CredentialDesk
from hermes_router.daemon.desks.embed import EmbedDesk
from hermes_router.daemon.desks.health import HealthDesk
from hermes_router.daemon.desks.key import KeyDesk
from hermes_router.daemon.desks.key_check import KeyCheck
from hermes_router.daemon.desks.log import LogDesk
from hermes_router.daemon.desks.notify import NotifyDesk
from hermes_router.daemon.desks.quota import QuotaDesk
from hermes_router.daemon.desks.report import ReportDesk
from hermes_router.daemon.desks.setup import SetupDesk
from hermes_router.daemon.generations import Generations
from hermes_router.daemon.probing import Probing
from hermes_router.daemon.wiring import Daemon, check_binding
from hermes_router.engine.admission import keys_in_force
from hermes_router.store.router_keys import RouterKeyStore
from hermes_router.store.tokens import TokenFile
from hermes_router.store.usage import UsageStore
from hermes_router.store.vault import CredentialStore

if TYPE_CHECKING:
    from hermes_router.daemon.desks.login import LoginDesk

__all__ = ["Reading", "furnish"]

_FIRST_S: Final = 2.0
_LONGEST_S: Final = 300.0


def furnish(
    daemon: Daemon,
    life: Life,
    *,
    ring: EventRing,
    store: CredentialStore,
    router_keys: RouterKeyStore,
    usage: UsageStore,
    places: Places,
    environ: Mapping[str, str],
    cwd: Path | None = None,
    probing: Probing | None = None,
    alerting: Alerting | None = None,
    clean: Callable[[str], str] = str,
) -> DaemonBackend:
    """The backend of the control socket. `clean` takes secrets out of what is read from the log's file."""
    engine = daemon.engine
    prober = probing or Probing(daemon, places.models_file)

    def forgive(ident: CredentialId) -> None:
        engine.state.proved(ident, engine.clock.now())
        engine.waiters.wake()

    async def listed(ident: CredentialId) -> int:
        credential = next((one for one in daemon.loaded.credentials if one.id == ident), None)
        if credential is None:
            raise KeyError(ident)
        return len((await prober.list_of(daemon.loaded.catalog[credential.provider], credential)).models)

    def check(loaded: Loaded) -> None:
        check_binding(loaded.settings, router_keys.keys)

    generations = Generations(daemon, places, environ, store, check, cwd=cwd)
    configuration = ConfigDesk(generations)
    key_check = KeyCheck(lambda: daemon.loaded, engine.transport, engine.clock)
    credentials = CredentialDesk(
        generations,
        configuration,
        key_check,
        forgive=forgive,
        forget=engine.state.forget,
        in_flight=engine.state.uses,
        now=engine.clock.now,
    )
    reports = ReportDesk(
        engine,
        generations,
        usage=usage,
        recent=daemon.recent,
        supervisor=daemon.supervisor,
        ping=life.ping,
        problems=lambda: (
            *router_keys.problems,
            *prober.problems(),
            *(daemon.responses.problems if daemon.responses is not None else ()),
        ),
        lists=prober.listed,
    )
    if daemon.accounts is None:
        raise ValueError("a daemon with a control side keeps accounts: build it with its token file")
    keeper = daemon.accounts.refresher
    accounts = AccountDesk(
        generations,
        keeper,
        credentials=reports.credentials,
        windows=lambda: engine.state.windows(engine.clock.now()),
        in_flight=engine.state.uses,
        forget=engine.state.forget,
        forgive=forgive,
        listed=listed,
        now=engine.clock.now,
        log=engine.log,
    )
    embeddings = EmbedDesk(engine.embed_bindings, lambda: keys_in_force(daemon.loaded.settings, router_keys.keys))

    @cache
    def login_desk() -> "LoginDesk":
        from hermes_router.daemon.desks.login import LoginDesk  # noqa: PLC0415 - 10 ms of a start, and few log in

        return LoginDesk(
            generations,
            keeper,
            accounts,
            engine.transport,
            clock=engine.clock,
            tasks=daemon.supervisor,
            host_id=TokenFile(places.codex_accounts, now=engine.clock.now).installation_id,
        )

    return DaemonBackend(
        life=life,
        ring=ring,
        log_desk=LogDesk(
            ring, path=lambda: life.ping().log, clean=clean, level=lambda: daemon.loaded.settings.log_level
        ),
        generations=generations,
        configuration=configuration,
        credential_desk=credentials,
        account_desk=accounts,
        login_desk=login_desk,
        key_desk=KeyDesk(
            generations,
            router_keys,
            engine.limits.in_flight,
            lambda key: engine.limits.spent(key, engine.clock.now()),
            embeddings.forget,
        ),
        embed_desk=embeddings,
        reports=reports,
        quota_desk=QuotaDesk(engine, generations),
        questions=AskDesk(engine),
        probing=prober,
        setup_desk=SetupDesk(generations, accounts, now=engine.clock.now),
        notify_desk=NotifyDesk(alerting or Alerting(daemon, environ), engine.alerts, generations),
        health=HealthDesk(
            engine,
            generations,
            ping=life.ping,
            router_keys=lambda: len(router_keys.keys),
            gone=lambda: daemon.live_models.view().gone,
        ),
        carry_out=CarryOut(
            generations,
            router_keys=lambda: router_keys.keys,
            bindings=engine.embed_bindings.bindings,
            accounts=keeper.accounts,
            now=engine.clock.now,
        ),
        carry_in=CarryIn(
            generations,
            configuration,
            credentials,
            router_keys,
            engine.embed_bindings,
            accounts=keeper.accounts,
            take_in=accounts.take_in,
        ),
    )


class Reading:
    """Reads what rests in the keyring or comes from commands, and puts it in force."""

    def __init__(self, generations: Generations, *, sleep: Callable[[float], Awaitable[Any]] = asyncio.sleep) -> None:
        self._generations = generations
        self._sleep = sleep

    async def first(self) -> None:
        """Before the first request: read where a key is missing; what a predecessor handed over is read later."""
        if self._generations.store.unavailable:
            await self.once()

    async def once(self) -> bool:
        """Read what is missing; whether anything came or went."""
        changed = await self._generations.store.read_keyring()
        if changed:
            async with self._generations.lock:
                await self._generations.renew()
        return changed

    async def keep_on(self) -> None:
        """Read until all of it is there, then look again at long intervals.

        A keyring may be locked until somebody logs in, or hang: the daemon serves with what it has meanwhile.
        """
        pause_s = _FIRST_S
        while True:
            if await self.once():
                pause_s = _FIRST_S
            await self._sleep(pause_s if self._generations.store.unsettled else _LONGEST_S)
            pause_s = min(pause_s * 2, _LONGEST_S)
