"""kill -9 of a daemon that serves and changes: no key, no setting, no router key, no login that it confirmed is lost."""

import asyncio
import json
import os
import random
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from hermes_router.control import account_types as a
from hermes_router.control import types as t
from hermes_router.control.client import Client
from hermes_router.core.accounts import BACKEND_CLIENT_ID, account_of_tokens
from hermes_router.core.errors import ControlError
from hermes_router.sandbox.providers import FakeProvider
from hermes_router.store.tokens import TokenFile
from hermes_router.upstream.oauth import read_answer

from ..codex.auth_server import AuthServer, Issuer
from .home import Home
from .test_kills import key, whole

KILLS = int(os.environ.get("HR_KILLS", "4"))  # `make show` makes 50
SEED = int(os.environ.get("HR_SEED", "7"))
CALLERS = 4


class Login:
    """A login whose refresh tokens are spent one after the other."""

    def __init__(self, issuer: Issuer, path: Path) -> None:
        self.issuer = issuer
        self.file = TokenFile(path, now=time.time)
        self.number = 0

    def begin(self) -> None:
        """A new one, in place of one that the provider has ended."""
        self.number += 1
        answer = self.issuer.login("acc-1", user_id="user of acc-1")
        tokens = read_answer(200, json.dumps(answer).encode())
        made = account_of_tokens(tokens, now=time.time(), route="backend", client_id=BACKEND_CLIENT_ID, label="")
        self.file.put(made)

    def works(self) -> bool:
        """Whether what stands in the file can still be spent."""
        [account] = self.file.read()
        assert account.refresh_token is not None
        return self.issuer.works(account.refresh_token.reveal())


@pytest.fixture
async def login() -> AsyncIterator[Callable[[Home], Any]]:
    """Put a login into an installation's file."""
    issuer = Issuer(time.time)
    server = AuthServer(issuer)
    runner = web.AppRunner(server.make_app(), shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()

    def made(here: Home) -> Login:
        here.environ["CODEX_AUTH_URL"] = f"http://127.0.0.1:{runner.addresses[0][1]}"
        here.environ["CODEX_BASE_URL"] = here.environ["OPENAI_BASE_URL"] = "http://127.0.0.1:1"
        found = Login(issuer, here.path / ".local/share/hermes-router/codex-accounts.json")
        found.begin()
        return found

    yield made
    await runner.cleanup()


class Confirmed:
    """What the daemon has said yes to."""

    def __init__(self, here: Home) -> None:
        self.client = Client(here.path / ".local/state/hermes-router/control.sock", timeout_s=10)
        self.keys: set[str] = set()
        self.router_keys: set[str] = set()
        self.stall: str | None = None
        self.unsure: set[str] = set()
        self.counts: Counter[str] = Counter()

    async def change(self, number: int) -> None:
        """One of each, at once; what the kill cuts is not confirmed."""
        await asyncio.gather(self._key(number), self._setting(number), self._router_key(number), self._refresh())

    async def _ask(self, what: str, *asked: Any) -> Any:
        self.unsure.add(what)
        with suppress(ControlError):
            answer = await asyncio.to_thread(self.client.call, *asked)
            self.unsure.discard(what)
            self.counts[what] += 1
            return answer
        return None

    async def _key(self, number: int) -> None:
        asked = t.AddCredentials(provider="groq", lines=[key(number)], test=False)
        if await self._ask("key", "POST", "/v1/credentials", asked, t.Added):
            self.keys.add(f"{number:04d}")

    async def _setting(self, number: int) -> None:
        value = str(20 + number)
        if await self._ask(
            "setting", "PATCH", "/v1/config", t.ChangeConfig(changes={"STALL_SECONDS": value}), t.Changed
        ):
            self.stall = value

    async def _router_key(self, number: int) -> None:
        if await self._ask("router key", "POST", "/v1/keys", t.AddKey(name=f"agent{number}"), t.AddedKey):
            self.router_keys.add(f"agent{number}")

    async def _refresh(self) -> None:
        await self._ask("token", "POST", "/v1/accounts/refresh", a.RefreshAccounts(provider="codex"), a.Refreshed)


async def _call(here: Home, counts: Counter[str]) -> None:
    while True:
        try:
            status, _ = await here.ask(stream=True)
            counts[f"answer {status}"] += 1
        except OSError:
            counts["cut or refused"] += 1
            await asyncio.sleep(0.02)


async def test_what_was_confirmed_outlives_every_kill(home: Callable[..., Any], login: Callable[[Home], Any]) -> None:
    """Under load, keys, settings, router keys and a rotating login are changed, and the daemon killed in the middle."""
    rng = random.Random(SEED)
    here: Home = await home(FakeProvider("groq", keys={key(n) for n in range(KILLS + 1)}))
    here.environ["GROQ_API_KEY"] = key(KILLS)
    account, said = login(here), Confirmed(here)
    callers = [asyncio.ensure_future(_call(here, said.counts)) for _ in range(CALLERS)]
    try:
        for number in range(KILLS):
            await here.hr("start", code=0)
            changing = asyncio.ensure_future(said.change(number))
            await asyncio.wait({changing}, timeout=rng.uniform(0.0, 0.6))
            for pid in here.daemons():
                os.kill(pid, signal.SIGKILL)
            await changing
            whole(here)
            if not account.works():  # only between the provider's answer and our disk, and then nobody was told of it
                assert "token" in said.unsure
                said.counts["login lost unconfirmed"] += 1
                account.begin()
            said.unsure.clear()
    finally:
        for one in callers:
            one.cancel()
        await asyncio.gather(*callers, return_exceptions=True)
    await here.hr("start", code=0)
    rows = (await here.hr("auth", "list", "--json", code=0)).json["rows"]
    assert said.keys <= {row["tail"] for row in rows if row["provider"] == "groq"}
    names = {row["name"] for row in (await here.hr("key", "list", "--json", code=0)).json["rows"]}
    assert said.router_keys <= names
    value = (await here.hr("config", "get", "STALL_SECONDS", code=0)).out.split()[0]
    assert said.stall is None or int(value) >= int(said.stall)  # a later one may have been written, unconfirmed
    assert account.works()
    whole(here)
    print(f"{KILLS} kills; confirmed and found again, and what callers saw: {dict(said.counts)}")
