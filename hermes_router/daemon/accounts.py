"""The accounts of a daemon: their renewal, joined to the token file, the authorisation server and the pool.

Owns the construction of what keeps tokens alive, and what the pool and the log learn when tokens change. It must never
decide when a token is renewed.
"""

import asyncio
import random
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from hermes_router.core.accounts import CODEX, CodexAccount, Tokens
from hermes_router.core.catalog import ProviderSpec
from hermes_router.core.ids import ProviderName
from hermes_router.core.ports import Clock
from hermes_router.core.settings import Settings
from hermes_router.core.token_endpoint import token_url
from hermes_router.engine.refresh_flight import TokenHome
from hermes_router.engine.refreshing import Refresher
from hermes_router.engine.tasks import Supervisor
from hermes_router.routing.state import RoutingState
from hermes_router.store.cli_login import CliHome
from hermes_router.upstream.http import HttpTransport
from hermes_router.upstream.oauth import refresh

__all__ = ["REST_S", "Accounts"]

REST_S: Final = 60.0  # a renewal under way is waited for: its 45 s, and the writing


class Accounts:
    """What a daemon holds beside its engine for accounts. `rest` before a successor begins, `close` at the end."""

    def __init__(
        self,
        home: TokenHome,
        loop: asyncio.AbstractEventLoop,
        log: Any,
        *,
        clock: Clock,
        rng: random.Random,
        settings: Callable[[], tuple[Settings, Mapping[ProviderName, ProviderSpec]]],
        proxies: Settings,
    ) -> None:
        # It keeps no connection: one that died might have the request sent twice, and a refresh token works once.
        self._transport = HttpTransport(
            loop,
            https_proxy=proxies.https_proxy,
            http_proxy=proxies.http_proxy,
            no_proxy=proxies.no_proxy,
            max_idle_per_host=0,
        )
        self._settings = settings
        self._flights = Supervisor(log)  # lives through a handover, as the daemon's own tasks do not
        self.refresher = Refresher(home, CliHome(), self._send, clock=clock, rng=rng, log=log, flights=self._flights)

    async def _send(self, account: CodexAccount) -> Tokens:
        settings, catalog = self._settings()
        spec = catalog.get(CODEX)
        root = settings.provider(CODEX).auth_url or (spec.auth_url if spec is not None else "")
        return await refresh(self._transport, token_url(root, account.route), account)

    def judge(self, state: RoutingState, idents: Iterable[str], now: float) -> None:
        """New tokens end what stood against the old ones; an account that needs a login is revoked at once."""
        ended = self.refresher.ended
        known = {account.id: account for account in self.refresher.accounts()}
        for ident, account in known.items():
            if ident in ended and ident in idents:
                state.revoke(ident, now)
            elif ident in idents and account.dead is None:
                state.proved(ident, now)

    async def rest(self) -> None:
        """Renew nothing any more; what is under way comes to its end."""
        await self.refresher.rest(REST_S)

    async def close(self) -> None:
        """The end, after `rest`."""
        await self.rest()
        await self._flights.stop()
        await self._transport.close()
