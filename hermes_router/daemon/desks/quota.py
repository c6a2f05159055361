"""What `hr quota` shows: the ledger's windows, with the names that their owner knows them by.

Owns the words for whose a window is. It only reads; of a key it shows the last four characters.
"""

from hermes_router.control import types as t
from hermes_router.core.observations import Scope
from hermes_router.daemon.desks.config import find_provider
from hermes_router.daemon.generations import Generations
from hermes_router.engine.context import Engine
from hermes_router.routing.slots import POOL_SCOPE
from hermes_router.routing.standing import QuotaStatus
from hermes_router.routing.units import BINDING

__all__ = ["QuotaDesk"]


class QuotaDesk:
    """The limits of one daemon."""

    def __init__(self, engine: Engine, generations: Generations) -> None:
        self._engine = engine
        self._generations = generations

    def quota(self, provider: str | None) -> t.QuotaReport:
        """Every window that counts or limits, by provider. Raises ControlError (2) for an unknown provider."""
        now = self._engine.clock.now()
        wanted = None if provider is None else find_provider(self._generations.loaded.catalog, provider).name
        rows = [
            self._row(scope, window)
            for scope, window in self._engine.state.windows(now)
            if wanted is None or scope.provider == wanted
        ]
        return t.QuotaReport(at=now, rows=rows)

    def _row(self, scope: Scope, window: QuotaStatus) -> t.QuotaRow:
        return t.QuotaRow(
            provider=scope.provider if scope != POOL_SCOPE else "all",
            whose=self._whose(scope),
            model=scope.model or "",
            unit=window.unit,
            window=window.window,
            limit=window.limit,
            used=window.used,
            remaining=window.remaining,
            reset_at=window.reset_at,
            source=window.origin if window.limit is not None else "counted",
            learned_at=window.learned_at,
            binds=window.limit is not None and window.origin in BINDING,
        )

    def _whose(self, scope: Scope) -> str:
        """`this address`, `account work`, `key …wxyz`, or `all keys`."""
        if scope == POOL_SCOPE:
            return "paid models"
        if scope.ip:
            return "this address"
        for credential in self._generations.loaded.credentials:
            if scope.credential == credential.id or (scope.account == credential.account == str(credential.id)):
                return f"key …{credential.tail}" if credential.tail else "no key"
        if scope.account is not None:
            return f"account {scope.account.removeprefix(f'{scope.provider}:')}"
        return "a key that is gone" if scope.credential is not None else "all keys"
