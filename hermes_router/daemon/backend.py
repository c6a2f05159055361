"""The daemon as the control socket sees it: each question to the desk that answers it.

Owns nothing but that; what is more than a line stands in a desk. `Life` is the process itself, which stops, restarts
and says who it is.
"""

from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Protocol

import msgspec

from hermes_router.control import carry_types as c
from hermes_router.control import health_types as h
from hermes_router.control import notify_types as n
from hermes_router.control import setup_types as of_setup
from hermes_router.control import types as t
from hermes_router.control.events import EventRing
from hermes_router.control.log_types import LogTail, LogWish
from hermes_router.daemon.desks.account import AccountDesk
from hermes_router.daemon.desks.ask import AskDesk
from hermes_router.daemon.desks.carry_in import CarryIn
from hermes_router.daemon.desks.carry_out import CarryOut
from hermes_router.daemon.desks.config import ConfigDesk, find_provider
from hermes_router.daemon.desks.credential import CredentialDesk
from hermes_router.daemon.desks.embed import EmbedDesk
from hermes_router.daemon.desks.health import HealthDesk
from hermes_router.daemon.desks.key import KeyDesk
from hermes_router.daemon.desks.log import LogDesk
from hermes_router.daemon.desks.notify import NotifyDesk
from hermes_router.daemon.desks.quota import QuotaDesk
from hermes_router.daemon.desks.report import ReportDesk
from hermes_router.daemon.desks.setup import SetupDesk
from hermes_router.daemon.generations import Generations
from hermes_router.daemon.probing import Probing

if TYPE_CHECKING:
    from hermes_router.daemon.desks.login import LoginDesk

__all__ = ["DaemonBackend", "Life"]


class Life(Protocol):
    """The process."""

    def ping(self) -> t.Ping:
        """Who it is."""
        ...

    async def shutdown(self, drain_s: float | None) -> t.Done:
        """End, once what runs has ended; None = DRAIN_SECONDS."""
        ...

    async def restart(self, drain_s: float | None) -> t.Done:
        """Hand over to a successor. Raises ControlError where that cannot be; then nothing has changed."""
        ...


class DaemonBackend(msgspec.Struct, frozen=True):
    """Implements `control.backend.Backend`."""

    life: Life
    ring: EventRing
    log_desk: LogDesk
    generations: Generations
    configuration: ConfigDesk
    credential_desk: CredentialDesk
    account_desk: AccountDesk
    login_desk: Callable[[], "LoginDesk"]
    key_desk: KeyDesk
    embed_desk: EmbedDesk
    reports: ReportDesk
    quota_desk: QuotaDesk
    questions: AskDesk
    probing: Probing
    setup_desk: SetupDesk
    notify_desk: NotifyDesk
    health: HealthDesk
    carry_out: CarryOut
    carry_in: CarryIn

    # -- the daemon itself

    async def ping(self) -> t.Ping:  # noqa: D102 - as in the Protocol, here and below
        return self.life.ping()

    async def shutdown(self, asked: t.Shutdown) -> t.Done:  # noqa: D102
        return await self.life.shutdown(asked.drain_s)

    async def restart(self, asked: t.Shutdown) -> t.Done:  # noqa: D102
        return await self.life.restart(asked.drain_s)

    async def reload(self) -> t.Reloaded:  # noqa: D102
        return await self.configuration.reload()

    # -- what is

    async def status(self) -> t.Status:  # noqa: D102
        status = await self.reports.status()
        return msgspec.structs.replace(status, accounts=self.account_desk.rows(status.credentials))

    async def health_report(self) -> h.HealthReport:  # noqa: D102
        return await self.health.report()

    async def quota(self, provider: str | None) -> t.QuotaReport:  # noqa: D102
        return self.quota_desk.quota(provider)

    async def usage(self, by: str, days: int) -> t.UsageReport:  # noqa: D102
        return await self.reports.usage(by, days)

    async def request(self, request_id: str) -> t.Trail:  # noqa: D102
        return await self.reports.request(request_id)

    async def plan(self, asked: t.PlanQuery) -> t.PlanReport:  # noqa: D102
        return await self.questions.plan(asked)

    async def ask(self, asked: t.Ask) -> t.Answer:  # noqa: D102
        return await self.questions.ask(asked)

    def events(self, last_id: int | None) -> AsyncIterator[t.Event]:  # noqa: D102
        return self.ring.subscribe(last_id)

    async def logs(self, wish: LogWish) -> LogTail:  # noqa: D102
        return await self.log_desk.tail(wish)

    # -- credentials

    async def credentials(self) -> t.Credentials:  # noqa: D102
        store = self.generations.store
        rows = self.reports.credentials()
        return t.Credentials(
            rows=rows,
            accounts=self.account_desk.rows(rows),
            providers=self.reports.providers(),
            store=store.store,
            store_note=store.note,
        )

    async def add_credentials(self, asked: t.AddCredentials) -> t.Added:  # noqa: D102
        return await self.credential_desk.add(asked)

    async def remove_credentials(self, provider: str, which: str | None) -> t.Removed:  # noqa: D102
        desk = self.account_desk if self.account_desk.has(provider) else self.credential_desk
        return await desk.remove(provider, which)

    async def test_credentials(self, asked: t.TestCredentials) -> t.Tested:  # noqa: D102
        if asked.provider is not None and self.account_desk.has(asked.provider):
            return t.Tested(rows=await self.account_desk.test(asked))
        tested = await self.credential_desk.test(asked)
        accounts = await self.account_desk.test(asked) if asked.provider is None else []
        return t.Tested(rows=[*tested.rows, *accounts])

    async def migrate(self, asked: t.Migrate) -> t.Done:  # noqa: D102
        return await self.credential_desk.migrate(asked)

    # -- accounts

    async def import_login(self, asked: t.ImportLogin) -> t.Imported:  # noqa: D102
        return await self.account_desk.bring_in(asked)

    async def begin_login(self, asked: t.BeginLogin) -> t.Login:  # noqa: D102
        return await self.login_desk().begin(asked)

    async def login(self, ident: str) -> t.Login:  # noqa: D102
        return await self.login_desk().look(ident)

    async def paste_login(self, ident: str, asked: t.PasteLogin) -> t.Login:  # noqa: D102
        return await self.login_desk().paste(ident, asked)

    async def end_login(self, ident: str) -> t.Done:  # noqa: D102
        return await self.login_desk().end(ident)

    async def refresh_accounts(self, asked: t.RefreshAccounts) -> t.Refreshed:  # noqa: D102
        return await self.account_desk.refresh(asked)

    # -- configuration

    async def config(self) -> t.Config:  # noqa: D102
        return await self.configuration.config()

    async def change_config(self, asked: t.ChangeConfig) -> t.Changed:  # noqa: D102
        return await self.configuration.change(asked.changes)

    async def models(self, provider: str | None, refresh: bool) -> t.Models:  # noqa: D102
        if provider is not None:
            provider = find_provider(self.generations.loaded.catalog, provider).name
        return await self.reports.models(self.probing, provider, refresh=refresh)

    async def set_models(self, asked: t.SetModels) -> t.Changed:  # noqa: D102
        return await self.configuration.set_models(asked)

    async def enable_provider(self, asked: t.EnableProvider) -> t.Changed:  # noqa: D102
        return await self.configuration.enable(asked)

    # -- router keys

    async def keys(self) -> t.Keys:  # noqa: D102
        return await self.key_desk.keys()

    async def add_key(self, asked: t.AddKey) -> t.AddedKey:  # noqa: D102
        return await self.key_desk.add(asked)

    async def remove_key(self, which: str) -> t.Done:  # noqa: D102
        return await self.key_desk.remove(which)

    async def embed_bindings(self) -> t.EmbedBindings:  # noqa: D102
        return self.embed_desk.show()

    async def unbind(self, key_id: str, profile: str | None) -> t.Done:  # noqa: D102
        return await self.embed_desk.unbind(key_id, profile)

    # -- setting up

    async def catalog(self) -> of_setup.Catalog:  # noqa: D102
        return self.setup_desk.catalog(self.reports.providers())

    async def keep_credentials(self, asked: of_setup.KeepCredentials) -> t.Added:  # noqa: D102
        return await self.credential_desk.add(asked, keep=True)

    async def adopt_key(self, asked: of_setup.AdoptKey) -> of_setup.AdoptedKey:  # noqa: D102
        return await self.key_desk.adopt(asked)

    async def adopt_logins(self, asked: of_setup.AdoptLogins) -> of_setup.AdoptedLogins:  # noqa: D102
        return await self.setup_desk.logins(asked)

    # -- being told

    async def notify(self) -> n.Notify:  # noqa: D102
        return self.notify_desk.show()

    async def test_notify(self) -> n.NotifyTested:  # noqa: D102
        return await self.notify_desk.test()

    # -- a set-up that is carried

    async def export_setup(self, asked: c.CarryOut) -> c.Bundle:  # noqa: D102
        return await self.carry_out.bundle(asked)

    async def import_setup(self, asked: c.CarryIn) -> c.Carried:  # noqa: D102
        return await self.carry_in.carry(asked)
