"""A router over the fake backends, its accounts set by the test: the daemon's own wiring, real HTTP, a hand-turned clock."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from aiohttp import web

from hermes_router.control.places import user_places
from hermes_router.core.accounts import BACKEND_CLIENT_ID, CodexAccount
from hermes_router.core.ids import CredentialId, Secret
from hermes_router.daemon.config import load
from hermes_router.daemon.probing import Probing
from hermes_router.daemon.wiring import build
from hermes_router.upstream.auth import HeaderAuthorizer

from ..fakes import Clock, SilentLog
from ..opened import KEY, Opened
from .backend import BACKEND, PLAN, Account, FakeBackend

WAIT_S = 20.0
TOOL = {
    "type": "function",
    "function": {"name": "bash", "description": "run", "parameters": {"type": "object", "properties": {}}},
}


@dataclass
class Held:
    """The accounts in use, as the engine asks for them; nothing is ever renewed."""

    accounts: dict[CredentialId, CodexAccount] = field(default_factory=dict)

    def in_use(self, ident: CredentialId) -> CodexAccount | None:
        return self.accounts.get(ident)

    def renew(self, ident: CredentialId, used: CodexAccount | None, done: Callable[[bool], None]) -> None:
        done(False)


@dataclass
class Answer:
    """One answer, read to its end."""

    status: int
    headers: dict[str, str]
    raw: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.raw)

    @property
    def events(self) -> list[Any]:
        """The payloads of a stream."""
        lines = [line[6:] for line in self.raw.split(b"\n") if line.startswith(b"data: {")]
        return [json.loads(line) for line in lines]

    @property
    def text(self) -> str:
        """What a Chat answer says, streamed or not."""
        if self.headers["content-type"].startswith("text/event-stream"):
            choices = [choice for event in self.events for choice in event.get("choices", ())]
            return "".join(choice["delta"].get("content") or "" for choice in choices)
        return self.json["choices"][0]["message"]["content"]


class CodexHouse(Opened):
    """Accounts `a`, `b` … with the tokens `token-a`, `token-b`; `routes` says which of them go by the plan route."""

    def __init__(self, home: Path, *accounts: Account, routes: tuple[str, ...] = (), **env: str) -> None:
        self.home = home
        self.clock = Clock()
        self.accounts = {one.id: one for one in accounts or (Account("a"),)}
        self.backend = FakeBackend(lambda token: self.accounts.get(token.removeprefix("token-")), self.clock.now)
        self._routes = routes
        self._env = env
        self.held = Held()

    def _account(self, ident: str) -> CodexAccount:
        digest = CredentialId(f"{ident:0>8}" * 2)
        route = "plan" if ident in self._routes else "backend"
        return CodexAccount(
            digest, "", ident, "", "plus", route, BACKEND_CLIENT_ID, Secret(f"token-{ident}"),
            expires_at=self.clock.now() + 864_000.0,
        )  # fmt: skip

    async def __aenter__(self) -> Self:
        self.runner = web.AppRunner(self.backend.app())
        await self.runner.setup()
        site = web.TCPSite(self.runner, "127.0.0.1", 0)
        await site.start()
        root = f"http://127.0.0.1:{self.runner.addresses[0][1]}"
        env = {
            "HOME": str(self.home), "PROXY_API_KEYS": KEY, "PATIENCE_SECONDS": "0", "RUNAWAY_GUARD": "off",
            "CODEX_BASE_URL": root + BACKEND, "CODEX_USAGE_URL": f"{root}/backend-api/wham/usage",
            "OPENAI_BASE_URL": root + PLAN, **self._env,
        }  # fmt: skip
        loaded = load(user_places(env), env)
        assert not loaded.problems, loaded.problems
        accounts = [self._account(ident) for ident in self.accounts]
        self.held.accounts = {one.id: one for one in accounts}
        self.log = SilentLog()
        self.daemon = build(loaded.with_accounts(accounts), asyncio.get_running_loop(), self.log, clock=self.clock)
        self.engine = self.daemon.engine
        self.engine.renewals = self.held
        self.engine.authorizer = HeaderAuthorizer(loaded.vault, self.held)
        self.probing = Probing(self.daemon, None)
        await self.open()
        return self

    async def __aexit__(self, *_exc: object) -> None:
        await self.shut()
        await self.runner.cleanup()

    # --- asking --------------------------------------------------------------------------------------

    async def ask(self, path: str, body: dict[str, Any]) -> Answer:
        """A request to its end."""
        async with asyncio.timeout(WAIT_S), self.http.post(self.url + path, json=body) as response:
            headers = {name.lower(): value for name, value in response.headers.items()}
            return Answer(response.status, headers, await response.read())

    async def chat(self, text: str = "hi", *, model: str = "codex/gpt-5.5", **fields: Any) -> Answer:
        """A Chat request."""
        messages = fields.pop("messages", [{"role": "user", "content": text}])
        return await self.ask("/v1/chat/completions", {"model": model, "messages": messages, **fields})

    @property
    def last(self) -> tuple[dict[str, Any], dict[str, str]]:
        """Body and headers of the request that was let in last."""
        return self.backend.heard[-1]
