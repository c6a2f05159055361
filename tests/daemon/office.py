"""A daemon with its desks over a sandbox of providers: real files, a real public port, no process of its own."""

import asyncio
import json
from pathlib import Path
from typing import Any, Self

from hermes_router.control import types as t
from hermes_router.control.events import EventRing
from hermes_router.control.places import Places
from hermes_router.core.errors import ControlError
from hermes_router.daemon.backend import DaemonBackend
from hermes_router.daemon.config import load
from hermes_router.daemon.furnish import furnish
from hermes_router.daemon.wiring import build
from hermes_router.sandbox.providers import FakeProvider
from hermes_router.sandbox.server import Sandbox
from hermes_router.store.router_keys import RouterKeyStore
from hermes_router.store.tokens import TokenFile
from hermes_router.store.usage import UsageStore
from hermes_router.store.vault import CredentialStore

from ..fakes import Clock, SilentLog
from ..opened import KEY, Opened


class Alive:
    """A process that only says who it is."""

    def ping(self) -> t.Ping:
        return t.Ping(version="0", pid=1, instance="run_x")

    async def shutdown(self, drain_s: float | None) -> t.Done:
        return t.Done(said=[f"stopping {drain_s}"])

    async def restart(self, drain_s: float | None) -> t.Done:
        raise ControlError("not here", exit_code=3)


class Office(Opened):
    """A running daemon and its backend. `env` is the daemon's environment, beside the providers' addresses."""

    def __init__(self, home: Path, providers: list[FakeProvider], env: dict[str, str]) -> None:
        self.places = Places(home / "config", home / "data", home / "state", home / "config" / ".env", home / "s")
        for each in (self.places.config_dir, self.places.data_dir, self.places.state_dir):
            each.mkdir(exist_ok=True)
        self.clock = Clock()
        self.sandbox = Sandbox(providers, clock=self.clock.now)
        self.env = env

    async def __aenter__(self) -> Self:
        await self.sandbox.start()
        self.env = {"HOME": "/nonexistent", "PROXY_API_KEYS": KEY, "RUNAWAY_GUARD": "off"} | self.env
        for name in self.sandbox.providers:
            self.env.setdefault(f"{name.upper()}_BASE_URL", self.sandbox.base_url(name))
        self.log = SilentLog()
        now = self.clock.now
        self.store = CredentialStore(
            self.places.data_dir, choice="file", keyring=None, headless=True, log=self.log, now=now
        )
        self.store.load()
        self.router_keys = RouterKeyStore(self.places.router_keys, now=now)
        self.router_keys.load()
        self.usage = UsageStore(self.places.database, log=self.log, now=now)
        self.usage.start()
        loaded = load(self.places, self.env, stored=self.store)
        self.daemon = build(
            loaded,
            asyncio.get_running_loop(),
            self.log,
            clock=self.clock,
            usage=self.usage,
            router_keys=self.router_keys,
            tokens=TokenFile(self.places.codex_accounts, now=now),
        )
        self.backend: DaemonBackend = furnish(
            self.daemon,
            Alive(),
            ring=EventRing(now),
            store=self.store,
            router_keys=self.router_keys,
            usage=self.usage,
            places=self.places,
            environ=self.env,
        )
        await self.open()
        return self

    async def __aexit__(self, *_exc: object) -> None:
        await self.shut()
        await asyncio.to_thread(self.usage.close, 5.0)
        await self.sandbox.stop()

    async def ask(self, text: str = "say 5 words", *, key: str = KEY, **fields: Any) -> tuple[int, Any]:
        """A chat over the public port: status and body."""
        body = {"model": "hermes-router", "messages": [{"role": "user", "content": text}], **fields}
        headers = {"authorization": f"Bearer {key}"}
        async with self.http.post(f"{self.url}/v1/chat/completions", json=body, headers=headers) as answer:
            self.headers = answer.headers
            return answer.status, json.loads(await answer.read())

    async def stream(self, text: str) -> bytes:
        """A streamed chat, as it came."""
        body = {"model": "hermes-router", "stream": True, "messages": [{"role": "user", "content": text}]}
        async with self.http.post(f"{self.url}/v1/chat/completions", json=body) as answer:
            return await answer.read()

    def targets(self, state: str | None = None) -> list[str]:
        """The targets of the generation in force."""
        return [row.target for row in self.backend.reports.targets() if state in {None, row.state}]

    def everything_written(self) -> bytes:
        """All that stands in any file."""
        files = [each for each in self.places.config_dir.parent.rglob("*") if each.is_file()]
        return b"".join(each.read_bytes() for each in files)
