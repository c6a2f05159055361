"""A router that owns its accounts, between a fake authorisation server and a fake backend: all of it over real HTTP."""

import asyncio
import json
import os
from pathlib import Path
from typing import Any, Self

import aiohttp
from aiohttp import web

from hermes_router.control.places import user_places
from hermes_router.core.accounts import BACKEND_CLIENT_ID, CodexAccount, account_of_tokens
from hermes_router.daemon.config import load
from hermes_router.daemon.wiring import build
from hermes_router.server.app import listen
from hermes_router.store.cli_login import read_login
from hermes_router.store.tokens import TokenFile
from hermes_router.upstream.oauth import read_answer

from ..fakes import Clock, SilentLog
from .auth_server import AuthServer, Issuer, auth_json
from .backend import BACKEND, PLAN, Account, FakeBackend

KEY = "sk-test-key-1"
WAIT_S = 60.0


class Estate:
    """`clock` drives the router and both servers. Log accounts in with `own` or `imported` before it is entered."""

    def __init__(self, home: Path, **env: str) -> None:
        self.home = home
        self.clock = Clock()
        self.issuer = Issuer(self.clock.now)
        self.auth = AuthServer(self.issuer)
        self.people: dict[str, Account] = {}
        self.backend = FakeBackend(self._accept, self.clock.now)
        self._env = env
        self.places = user_places({})
        self.file = TokenFile(self.places.codex_accounts, now=self.clock.now)
        self.cli = home / ".codex" / "auth.json"

    def _accept(self, token: str) -> Account | None:
        family = self.issuer.accepts(token)
        return self.people.setdefault(family.account_id, Account(family.account_id)) if family is not None else None

    def own(self, account_id: str = "acc-1", *, label: str = "", **more: Any) -> CodexAccount:
        """A login of the router's own."""
        found = self.issuer.login(account_id, user_id=f"user of {account_id}", **more)
        tokens = read_answer(200, json.dumps(found).encode())
        account = account_of_tokens(
            tokens, now=self.clock.now(), route="backend", client_id=BACKEND_CLIENT_ID, label=label
        )
        self.file.put(account)
        return account

    def imported(self, account_id: str = "acc-1") -> CodexAccount:
        """The CLI's login, brought in."""
        self.cli.parent.mkdir(exist_ok=True)
        self.cli.write_text(auth_json(self.issuer.login(account_id) | {"account_id": account_id}))
        account = read_login(self.cli).account(now=self.clock.now())
        self.file.put(account)
        return account

    async def __aenter__(self) -> Self:
        self._runners = [web.AppRunner(self.auth.make_app(), shutdown_timeout=0.1), web.AppRunner(self.backend.app())]
        roots = []
        for runner in self._runners:
            await runner.setup()
            await web.TCPSite(runner, "127.0.0.1", 0, backlog=2048).start()
            roots.append(f"http://127.0.0.1:{runner.addresses[0][1]}")
        auth, backend = roots
        env = {
            "HOME": str(self.home), "PROXY_API_KEYS": KEY, "RUNAWAY_GUARD": "off", "CODEX_AUTH_URL": auth,
            "CODEX_BASE_URL": backend + BACKEND, "OPENAI_BASE_URL": backend + PLAN, **self._env,
        }  # fmt: skip
        loaded = load(user_places(env), env)
        assert not loaded.problems, loaded.problems
        self.log = SilentLog()
        self.daemon = build(loaded, asyncio.get_running_loop(), self.log, clock=self.clock, tokens=self.file)
        assert self.daemon.accounts is not None
        self.accounts = self.daemon.accounts
        await self.daemon.runner.setup()
        self.sockets = listen(None, 0)
        self.url = f"http://127.0.0.1:{self.sockets[0].getsockname()[1]}"
        for sock in self.sockets:
            await web.SockSite(self.daemon.runner, sock, backlog=2048).start()
        connector = aiohttp.TCPConnector(limit=0)
        self.http = aiohttp.ClientSession(headers={"authorization": f"Bearer {KEY}"}, connector=connector)
        return self

    async def __aexit__(self, *_exc: object) -> None:
        await self.http.close()
        await self.daemon.runner.shutdown_within(1.0)
        await self.daemon.supervisor.stop()
        self.auth.released.set()
        await self.accounts.close()
        await self.daemon.transport.close()
        for runner in self._runners:
            await runner.cleanup()

    async def chat(
        self, text: str = "hi", *, stream: bool = False, model: str = "codex/gpt-5.5"
    ) -> tuple[int, str, Any]:
        """Status, body and headers of a Chat request."""
        body = {"model": model, "messages": [{"role": "user", "content": text}], "stream": stream}
        async with (
            asyncio.timeout(WAIT_S),
            self.http.post(f"{self.url}/v1/chat/completions", json=body) as response,
        ):
            return response.status, await response.text(), response.headers

    async def targets(self) -> list[dict[str, Any]]:
        """The targets of `GET /v1/status`."""
        async with self.http.get(f"{self.url}/v1/status") as response:
            return [row for row in (await response.json())["targets"] if row["provider"] == "codex"]


def requests_wanted(default: int) -> int:
    """How many requests a load test makes: `CODEX_REQUESTS=1000` for the numbers."""
    return int(os.environ.get("CODEX_REQUESTS", default))
