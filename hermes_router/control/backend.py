"""What the control API can ask for: one method a route, implemented by the daemon.

Owns the Protocol only. Every method may raise `ControlError`, which the API renders as a `Problem`.
"""

from collections.abc import AsyncIterator
from typing import Protocol

from hermes_router.control import carry_types as c
from hermes_router.control import health_types as h
from hermes_router.control import notify_types as n
from hermes_router.control import setup_types as of_setup
from hermes_router.control import types as t
from hermes_router.control.log_types import LogTail, LogWish

__all__ = ["Backend"]


class Backend(Protocol):
    """The daemon as the control socket sees it."""

    # the daemon itself
    async def ping(self) -> t.Ping: ...  # noqa: D102
    async def shutdown(self, asked: t.Shutdown) -> t.Done: ...  # noqa: D102
    async def restart(self, asked: t.Shutdown) -> t.Done: ...  # noqa: D102
    async def reload(self) -> t.Reloaded: ...  # noqa: D102

    # what is
    async def status(self) -> t.Status: ...  # noqa: D102
    async def health_report(self) -> h.HealthReport: ...  # noqa: D102
    async def quota(self, provider: str | None) -> t.QuotaReport: ...  # noqa: D102
    async def usage(self, by: str, days: int) -> t.UsageReport: ...  # noqa: D102
    async def request(self, request_id: str) -> t.Trail: ...  # noqa: D102
    async def plan(self, asked: t.PlanQuery) -> t.PlanReport: ...  # noqa: D102
    async def ask(self, asked: t.Ask) -> t.Answer: ...  # noqa: D102
    def events(self, last_id: int | None) -> AsyncIterator[t.Event]:
        """Events after `last_id` as far as they are kept, then new ones as they come; None = new ones only."""
        ...

    async def logs(self, wish: LogWish) -> LogTail: ...  # noqa: D102

    # credentials
    async def credentials(self) -> t.Credentials: ...  # noqa: D102
    async def add_credentials(self, asked: t.AddCredentials) -> t.Added: ...  # noqa: D102
    async def remove_credentials(self, provider: str, which: str | None) -> t.Removed: ...  # noqa: D102
    async def test_credentials(self, asked: t.TestCredentials) -> t.Tested: ...  # noqa: D102
    async def migrate(self, asked: t.Migrate) -> t.Done: ...  # noqa: D102

    # accounts
    async def import_login(self, asked: t.ImportLogin) -> t.Imported: ...  # noqa: D102
    async def begin_login(self, asked: t.BeginLogin) -> t.Login: ...  # noqa: D102
    async def login(self, ident: str) -> t.Login: ...  # noqa: D102
    async def paste_login(self, ident: str, asked: t.PasteLogin) -> t.Login: ...  # noqa: D102
    async def end_login(self, ident: str) -> t.Done: ...  # noqa: D102
    async def refresh_accounts(self, asked: t.RefreshAccounts) -> t.Refreshed: ...  # noqa: D102

    # configuration
    async def config(self) -> t.Config: ...  # noqa: D102
    async def change_config(self, asked: t.ChangeConfig) -> t.Changed: ...  # noqa: D102
    async def models(self, provider: str | None, refresh: bool) -> t.Models: ...  # noqa: D102
    async def set_models(self, asked: t.SetModels) -> t.Changed: ...  # noqa: D102
    async def enable_provider(self, asked: t.EnableProvider) -> t.Changed: ...  # noqa: D102

    # router keys
    async def keys(self) -> t.Keys: ...  # noqa: D102
    async def add_key(self, asked: t.AddKey) -> t.AddedKey: ...  # noqa: D102
    async def remove_key(self, which: str) -> t.Done: ...  # noqa: D102
    async def embed_bindings(self) -> t.EmbedBindings: ...  # noqa: D102
    async def unbind(self, key_id: str, profile: str | None) -> t.Done: ...  # noqa: D102

    # setting up
    async def catalog(self) -> of_setup.Catalog: ...  # noqa: D102
    async def keep_credentials(self, asked: of_setup.KeepCredentials) -> t.Added: ...  # noqa: D102
    async def adopt_key(self, asked: of_setup.AdoptKey) -> of_setup.AdoptedKey: ...  # noqa: D102
    async def adopt_logins(self, asked: of_setup.AdoptLogins) -> of_setup.AdoptedLogins: ...  # noqa: D102

    # being told
    async def notify(self) -> n.Notify: ...  # noqa: D102
    async def test_notify(self) -> n.NotifyTested: ...  # noqa: D102

    # a set-up that is carried to another machine
    async def export_setup(self, asked: c.CarryOut) -> c.Bundle: ...  # noqa: D102
    async def import_setup(self, asked: c.CarryIn) -> c.Carried: ...  # noqa: D102
