"""A daemon as the control socket's tests need it: a Backend that notes what it is asked, served on a real Unix socket."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from hermes_router.control import carry_types as c
from hermes_router.control import health_types as h
from hermes_router.control import notify_types as n
from hermes_router.control import setup_types as of_setup
from hermes_router.control import types as t
from hermes_router.control.api import make_control_app
from hermes_router.control.events import EventRing
from hermes_router.control.listener import bind_control
from hermes_router.control.log_types import LogTail, LogWish
from hermes_router.core.errors import ControlError
from hermes_router.daemon.doors_control import ControlDoor

VERSION = "9.9.9"
START = 1_790_000_000.0

STRANGER = 1500
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to act as somebody else")

ACCOUNT = t.AccountRow(provider="codex", id="a1", tail="abcd")

HEADERS = {"hermes-version": VERSION, "hermes-api": str(t.API)}


class NotingLog:
    """Keeps what was logged."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, dict[str, object]]] = []

    def info(self, event: str, **fields: object) -> None:
        self.lines.append((event, fields))

    def warning(self, event: str, **fields: object) -> None:
        self.lines.append((event, fields))


class Desk:
    """The Backend: answers with something of the right type, notes the call, raises `failure` where one is set."""

    def __init__(self, ring: EventRing | None = None) -> None:
        self.asked: list[tuple[Any, ...]] = []
        self.failure: Exception | None = None
        self.hold: asyncio.Event | None = None
        self.ring = ring or EventRing(lambda: START)
        self.version = VERSION

    async def _note(self, *call: Any) -> None:
        self.asked.append(call)
        if self.hold is not None:
            await self.hold.wait()
        if self.failure is not None:
            raise self.failure

    async def ping(self) -> t.Ping:
        await self._note("ping")
        return t.Ping(version=self.version, pid=os.getpid(), instance="i1")

    async def shutdown(self, asked: t.Shutdown) -> t.Done:
        await self._note("shutdown", asked)
        return t.Done(said=["Stopping."])

    async def restart(self, asked: t.Shutdown) -> t.Done:
        await self._note("restart", asked)
        return t.Done(said=["Restarting."])

    async def reload(self) -> t.Reloaded:
        await self._note("reload")
        return t.Reloaded(generation=2)

    async def status(self) -> t.Status:
        await self._note("status")
        row = t.TargetRow(
            target="groq/m#abcd", provider="groq", model="m", credential="abcd", account="", state="ready"
        )
        return t.Status(ping=t.Ping(version=VERSION), uptime_s=1.0, ready=True, mode="round-robin", targets=[row])

    async def quota(self, provider: str | None) -> t.QuotaReport:
        await self._note("quota", provider)
        return t.QuotaReport(at=0.0)

    async def usage(self, by: str, days: int) -> t.UsageReport:
        await self._note("usage", by, days)
        return t.UsageReport(by=by, since=0.0, until=1.0)

    async def request(self, request_id: str) -> t.Trail:
        await self._note("request", request_id)
        return t.Trail(
            request_id=request_id, at=0.0, router_key="k", dialect="chat", model="m", profile="", stream=False,
            outcome="done", duration_s=0.1, difficulty=1, estimated_tokens=1,
        )  # fmt: skip

    async def plan(self, asked: t.PlanQuery) -> t.PlanReport:
        await self._note("plan", asked)
        return t.PlanReport(difficulty=1, input_tokens=2, profile="hermes-router")

    async def ask(self, asked: t.Ask) -> t.Answer:
        await self._note("ask", asked)
        return t.Answer(text="hi", target="groq/m", attempts=1, request_id="req_1")

    def events(self, last_id: int | None) -> AsyncIterator[t.Event]:
        self.asked.append(("events", last_id))
        if self.failure is not None:
            raise self.failure
        return self.ring.subscribe(last_id)

    async def logs(self, wish: LogWish) -> LogTail:
        await self._note("logs", wish)
        return LogTail(last_id=7)

    async def credentials(self) -> t.Credentials:
        await self._note("credentials")
        return t.Credentials(rows=[], providers=[])

    async def add_credentials(self, asked: t.AddCredentials) -> t.Added:
        await self._note("add_credentials", asked)
        return t.Added(provider=asked.provider, rows=[])

    async def remove_credentials(self, provider: str, which: str | None) -> t.Removed:
        await self._note("remove_credentials", provider, which)
        return t.Removed(rows=[])

    async def test_credentials(self, asked: t.TestCredentials) -> t.Tested:
        await self._note("test_credentials", asked)
        return t.Tested(rows=[])

    async def migrate(self, asked: t.Migrate) -> t.Done:
        await self._note("migrate", asked)
        return t.Done()

    async def import_login(self, asked: t.ImportLogin) -> t.Imported:
        await self._note("import_login", asked)
        return t.Imported(row=ACCOUNT, outcome="stored")

    async def begin_login(self, asked: t.BeginLogin) -> t.Login:
        await self._note("begin_login", asked)
        return t.Login(id="l1", state="waiting", route=asked.route, way=asked.way)

    async def login(self, ident: str) -> t.Login:
        await self._note("login", ident)
        return t.Login(id=ident, state="done", route="plan", way="browser", row=ACCOUNT)

    async def paste_login(self, ident: str, asked: t.PasteLogin) -> t.Login:
        await self._note("paste_login", ident, asked)
        return t.Login(id=ident, state="waiting", route="plan", way="browser")

    async def end_login(self, ident: str) -> t.Done:
        await self._note("end_login", ident)
        return t.Done()

    async def refresh_accounts(self, asked: t.RefreshAccounts) -> t.Refreshed:
        await self._note("refresh_accounts", asked)
        return t.Refreshed(rows=[])

    async def config(self) -> t.Config:
        await self._note("config")
        return t.Config(rows=[])

    async def change_config(self, asked: t.ChangeConfig) -> t.Changed:
        await self._note("change_config", asked)
        return t.Changed(rows=[])

    async def models(self, provider: str | None, refresh: bool) -> t.Models:
        await self._note("models", provider, refresh)
        return t.Models(rows=[])

    async def set_models(self, asked: t.SetModels) -> t.Changed:
        await self._note("set_models", asked)
        return t.Changed(rows=[])

    async def enable_provider(self, asked: t.EnableProvider) -> t.Changed:
        await self._note("enable_provider", asked)
        return t.Changed(rows=[])

    async def keys(self) -> t.Keys:
        await self._note("keys")
        return t.Keys(rows=[])

    async def add_key(self, asked: t.AddKey) -> t.AddedKey:
        await self._note("add_key", asked)
        row = t.KeyRow(id="k1", name=asked.name, tail="abcd", source="file")
        return t.AddedKey(row=row, key="sk-router-shown-once")

    async def remove_key(self, which: str) -> t.Done:
        await self._note("remove_key", which)
        return t.Done()

    async def embed_bindings(self) -> t.EmbedBindings:
        await self._note("embed_bindings")
        return t.EmbedBindings(rows=[])

    async def unbind(self, key_id: str, profile: str | None) -> t.Done:
        await self._note("unbind", key_id, profile)
        return t.Done()

    async def catalog(self) -> of_setup.Catalog:
        await self._note("catalog")
        return of_setup.Catalog(rows=[])

    async def keep_credentials(self, asked: of_setup.KeepCredentials) -> t.Added:
        await self._note("keep_credentials", asked)
        return t.Added(provider=asked.provider, rows=[])

    async def adopt_key(self, asked: of_setup.AdoptKey) -> of_setup.AdoptedKey:
        await self._note("adopt_key", asked)
        return of_setup.AdoptedKey(row=t.KeyRow(id="k1", name=asked.name, tail="abcd", source="s"), outcome="stored")

    async def adopt_logins(self, asked: of_setup.AdoptLogins) -> of_setup.AdoptedLogins:
        await self._note("adopt_logins", asked)
        return of_setup.AdoptedLogins()

    async def notify(self) -> n.Notify:
        await self._note("notify")
        return n.Notify(ways=[], kinds=[])

    async def test_notify(self) -> n.NotifyTested:
        await self._note("test_notify")
        return n.NotifyTested(rows=[])

    async def health_report(self) -> h.HealthReport:
        await self._note("health_report")
        return h.HealthReport(at=0.0, config_dir="", data_dir="", state_dir="", env_file="")

    async def export_setup(self, asked: c.CarryOut) -> c.Bundle:
        await self._note("export_setup", asked)
        return c.Bundle()

    async def import_setup(self, asked: c.CarryIn) -> c.Carried:
        await self._note("import_setup", asked)
        return c.Carried(rows=[])


def make(desk: Desk, **options: Any) -> tuple[Any, NotingLog]:
    """The application over a desk, and its log."""
    log = NotingLog()
    options = {"version": desk.version, "uid": os.geteuid(), "log": log, **options}
    return make_control_app(desk, **options), log


class Served:
    """A desk behind the daemon's own control door."""

    def __init__(self, path: Path, app: Any, readers_gid: int | None = None) -> None:
        self.door = ControlDoor(bind_control(path, readers_gid=readers_gid), app)

    async def close(self) -> None:
        await self.door.close(0.2, remove=True)


async def serve(path: Path, desk: Desk, **options: Any) -> Served:
    """Serve a desk at `path`; who calls closes it."""
    path.parent.chmod(0o700)
    served = Served(path, make(desk, **options)[0])
    await served.door.serve()
    return served


@asynccontextmanager
async def served(path: Path, desk: Desk, **options: Any) -> AsyncIterator[NotingLog]:
    """Serve a desk at `path` for as long as it is needed."""
    path.parent.chmod(0o700)
    app, log = make(desk, **options)
    server = Served(path, app)
    await server.door.serve()
    try:
        yield log
    finally:
        await server.close()


def session(path: Path, headers: dict[str, str] | None = None) -> aiohttp.ClientSession:
    """A caller with nothing of ours in it, as `curl --unix-socket` would be."""
    return aiohttp.ClientSession(
        "http://hermes-router", connector=aiohttp.UnixConnector(path=str(path)), headers=headers or {}
    )


def refused(message: str = "That cannot be done.", exit_code: int = 3) -> ControlError:
    """A refusal of the daemon's."""
    return ControlError(message, code="no", next_step="Do something else.", exit_code=exit_code)


async def until(fact: Callable[[], object]) -> None:
    """Let the loop turn until something is so."""
    async with asyncio.timeout(5):
        while not fact():  # noqa: ASYNC110 - what is waited for belongs to others
            await asyncio.sleep(0)


def open_to_all(path: Path) -> None:
    """What the directory and the mode of the socket keep out is let through, so that the next lock is seen."""
    path.parent.chmod(0o755)
    path.chmod(0o666)


@contextmanager
def acting_as(uid: int, gids: list[int]) -> Iterator[None]:
    """This process, for a moment, as another user: the kernel notes who connects at that moment."""
    groups = os.getgroups()
    os.setgroups(gids)
    os.setegid(uid)
    os.seteuid(uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)
        os.setgroups(groups)
