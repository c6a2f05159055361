"""What `hr setup` and `hr auth import` ask beside what other commands ask: the rows, and logins of the original router.

Owns what of a row helps to choose among providers, and which of two homes of one login is the true one. It must never
log or return a token, and never write a file that is not ours.
"""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from hermes_router.control import setup_types as of_setup
from hermes_router.control import types as t
from hermes_router.core.accounts import CODEX, CodexAccount, fingerprint
from hermes_router.core.catalog import Capability, Known, ModelSpec, PriceClass, ProviderSpec
from hermes_router.core.errors import ControlError, VaultError
from hermes_router.core.observations import Unit, Window
from hermes_router.core.settings import ProviderSettings
from hermes_router.core.token_life import newer
from hermes_router.daemon.desks.account import AccountDesk
from hermes_router.daemon.generations import Generations
from hermes_router.store.cli_login import read_login
from hermes_router.store.original_logins import OriginalLogin, read_original

__all__ = ["SetupDesk"]

_AUTH: Final = {"oauth": "login", "none": "none"}
_REFUSED: Final = 3


class SetupDesk:
    """The rows and the logins, for setting a router up. `now` gives epoch seconds."""

    def __init__(self, generations: Generations, accounts: AccountDesk, *, now: Callable[[], float]) -> None:
        self._generations = generations
        self._accounts = accounts
        self._now = now

    def catalog(self, rows: Sequence[t.ProviderRow]) -> of_setup.Catalog:
        """All rows; `rows` are the same providers as they stand here."""
        loaded = self._generations.loaded
        by_name = {row.name: row for row in rows}
        return of_setup.Catalog(
            rows=[_row(spec, loaded.settings.provider(spec.name), by_name[spec.name]) for spec in
                  loaded.catalog.values()]
        )  # fmt: skip

    async def logins(self, asked: of_setup.AdoptLogins) -> of_setup.AdoptedLogins:
        """Take in the accounts of the original's file. Raises ControlError (3) where it cannot be read."""
        spec = self._accounts.spec(CODEX)
        path, cli = Path(asked.path), Path(asked.cli_path) if asked.cli_path else None
        if not path.is_absolute() or (cli is not None and not cli.is_absolute()):
            raise ControlError(f"{path} is no absolute path", next_step="name the whole path", exit_code=2)
        try:
            found = await asyncio.to_thread(read_original, path, now=self._now())
        except VaultError as error:
            raise ControlError(error.message, next_step=error.next_step, exit_code=_REFUSED) from None
        theirs = await asyncio.to_thread(_official, cli, self._now()) if cli is not None else None
        notes = self._accounts.terms(spec) if found else []
        rows = [await self._adopt(one, theirs, spec) for one in found]
        return of_setup.AdoptedLogins(rows=rows, notes=notes)

    async def _adopt(
        self, one: OriginalLogin, official: CodexAccount | None, spec: ProviderSpec
    ) -> of_setup.AdoptedLogin:
        if one.account is None:
            return of_setup.AdoptedLogin(outcome="refused", tail=one.tail, said=one.fault)
        account = _truer(one.account, official)
        ours = next((each for each in self._accounts.held() if each.id == account.id), None)
        if ours is not None and ours.dead is None and not newer(account, ours):
            return of_setup.AdoptedLogin(outcome="known", tail=one.tail, row=self._accounts.row(ours))
        if account.expired(self._now()) and not account.refreshable:
            return of_setup.AdoptedLogin(outcome="refused", tail=one.tail, said="it has expired, and cannot be renewed")
        try:
            done = await self._accounts.receive(account, spec)
        except ControlError as error:
            return of_setup.AdoptedLogin(outcome="refused", tail=one.tail, said=error.message)
        return of_setup.AdoptedLogin(outcome=done.outcome, tail=one.tail, said=done.said, row=done.row)


def _official(path: Path, now: float) -> CodexAccount | None:
    """Whose login the official CLI holds; None where there is none that is of use."""
    try:
        return read_login(path).account(now=now)
    except (VaultError, ValueError):
        return None


def _truer(original: CodexAccount, official: CodexAccount | None) -> CodexAccount:
    """The home whose refresh token is alive. Where both hold the same one, it is shared with the CLI from then on."""
    if official is None or not official.same_login(original.account_id, original.user_id):
        return original
    same = fingerprint(official.refresh_token) == fingerprint(original.refresh_token)
    return official if same or not newer(original, official) else original


def _row(spec: ProviderSpec, said: ProviderSettings, here: t.ProviderRow) -> of_setup.CatalogRow:
    chat = [model for model in spec.models if model.picked and model.embeds is None]
    price = min((model.price_class for model in chat), default=spec.price_class)
    best = [model for model in chat if model.price_class is price]
    return of_setup.CatalogRow(
        name=spec.name,
        title=spec.title,
        auth="none" if spec.keyless else _AUTH.get(spec.auth, "key"),
        state=here.state,
        price_class=PriceClass(price).name.lower(),
        context=max((model.context for model in best if model.context is not None), default=None),
        tier=max((model.tier for model in best), default=3),
        tools=any(_takes_tools(spec, model) for model in best),
        requests_day=_requests_day(spec, best),
        trains=spec.trains,
        signup=spec.signup,
        free=spec.free,
        variables=here.variables,
        base_url=said.base_url or "",
        usual=dict(spec.usual),
    )


def _takes_tools(spec: ProviderSpec, model: ModelSpec) -> bool:
    claim = model.capabilities.get(Capability.TOOLS) or spec.capabilities.get(Capability.TOOLS)
    return claim is not None and claim.value is Known.YES


def _requests_day(spec: ProviderSpec, models: Sequence[ModelSpec]) -> int | None:
    rules = [*spec.quotas, *(rule for model in models for rule in model.quotas)]
    days = [rule.amount for rule in rules if rule.unit is Unit.REQUESTS and rule.window is Window.DAY]
    return max(days, default=None)
