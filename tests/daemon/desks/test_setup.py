"""hermes_router/daemon/desks/setup.py: the rows for somebody who chooses, and the original's logins taken in once."""

import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiohttp.test_utils import TestServer

from hermes_router.control import setup_types as s
from hermes_router.control import types as t
from hermes_router.core.errors import ControlError
from hermes_router.core.router_keys import digest_of

from ...codex.auth_server import DAY_S, AuthServer, Issuer, auth_json
from ..office import Office

Open = Callable[..., Any]
KEY = "gsk_one_0123456789abcd1111"


# --- rows -----------------------------------------------------------------------------------------------


async def test_every_row_says_what_a_choice_needs(office: Open) -> None:
    """What is free, the best window, tools, a day's allowance, names of its key; where its servers usually listen."""
    here = await office("groq", LOCAL_BASE_URL="http://127.0.0.1:1/v1")
    rows = {row.name: row for row in (await here.backend.catalog()).rows}
    groq, local, codex = rows["groq"], rows["local"], rows["codex"]
    assert (groq.auth, groq.price_class, groq.tools, groq.requests_day) == ("key", "free", True, 1000)
    assert groq.context is not None
    assert groq.context >= 64_000
    assert groq.variables == ["GROQ_API_KEY"]
    assert groq.signup.startswith("https://")
    assert (local.auth, local.state, local.base_url) == ("none", "on", "http://127.0.0.1:1/v1")
    assert local.usual["Ollama"] == "http://localhost:11434/v1"
    assert codex.auth == "login"
    assert rows["openai"].price_class == "paid"


# --- keys -----------------------------------------------------------------------------------------------


async def test_a_key_of_the_environment_is_kept(office: Open) -> None:
    """It is in use already, and stored all the same: the next start may lack the environment. Twice is once."""
    here: Office = await office("groq", GROQ_API_KEY=KEY)
    here.sandbox.providers["groq"].keys.add(KEY)
    plain = await here.backend.add_credentials(t.AddCredentials(provider="groq", lines=[KEY]))
    assert [row.outcome for row in plain.rows] == ["known"]
    kept = await here.backend.keep_credentials(s.KeepCredentials(provider="groq", lines=[KEY]))
    assert [row.outcome for row in kept.rows] == ["stored"]
    again = await here.backend.keep_credentials(s.KeepCredentials(provider="groq", lines=[KEY]))
    assert [row.outcome for row in again.rows] == ["known"]
    del here.env["GROQ_API_KEY"]
    await here.backend.reload()
    (row,) = (await here.backend.credentials()).rows
    assert (row.source, row.tail) == ("file", "1111")
    assert (await here.ask())[0] == 200


async def test_a_key_that_stands_in_a_file_is_not_stored_twice(office: Open) -> None:
    """The next start finds it there."""
    here: Office = await office("groq")
    here.places.env_file.write_text(f"GROQ_API_KEY={KEY}\n")
    here.sandbox.providers["groq"].keys.add(KEY)
    await here.backend.reload()
    kept = await here.backend.keep_credentials(s.KeepCredentials(provider="groq", lines=[KEY]))
    assert [row.outcome for row in kept.rows] == ["known"]
    assert here.store.entries == ()


async def test_a_router_key_is_adopted_by_its_digest(office: Open) -> None:
    """Its callers go on at once, within its scope and limits; the key itself is nowhere. Twice is once."""
    here: Office = await office("groq", GROQ_API_KEY=KEY)
    here.sandbox.providers["groq"].keys.add(KEY)
    key = "sk-team-key-of-the-original"
    asked = s.AdoptKey(name="team", digest=digest_of(key), tail="inal", providers=["groq"], rpm=2, budget_microusd=5)
    done = await here.backend.adopt_key(asked)
    assert (done.outcome, done.row.name, done.row.rpm, done.row.providers) == ("stored", "team", 2, ["groq"])
    assert [(await here.ask(key=key))[0] for _ in range(3)] == [200, 200, 429]
    assert key.encode() not in here.everything_written()
    again = await here.backend.adopt_key(s.AdoptKey(name="other", digest=digest_of(key), tail="inal"))
    assert (again.outcome, again.row.name, again.row.rpm) == ("known", "team", 2)
    with pytest.raises(ControlError, match="no provider is called"):
        await here.backend.adopt_key(s.AdoptKey(name="x", digest="0" * 64, tail="", providers=["nobody"]))


# --- logins ---------------------------------------------------------------------------------------------


@dataclass
class World:
    """A daemon, the authorisation server, the original's file and the official CLI's."""

    here: Office
    issuer: Issuer
    server: AuthServer
    file: Path
    cli: Path
    rows: list[dict[str, Any]] = field(default_factory=list)

    def login(self, account_id: str = "acc-1", *, ago_s: float = 60.0, **fields: Any) -> dict[str, Any]:
        """Somebody logs in, so long ago."""
        self.here.clock.advance(-ago_s)
        tokens: dict[str, Any] = self.issuer.login(account_id, **fields)
        self.here.clock.advance(ago_s)
        return tokens | {"account_id": account_id}

    def original(self, *tokens: dict[str, Any]) -> None:
        """What the original holds: no id token."""
        rows = [{k: v for k, v in one.items() if k != "id_token"} for one in tokens]
        self.file.write_text(json.dumps({"codex_accounts": rows}))

    async def adopt(self) -> s.AdoptedLogins:
        return await self.here.backend.adopt_logins(s.AdoptLogins(path=str(self.file), cli_path=str(self.cli)))

    async def accounts(self) -> list[t.AccountRow]:
        return (await self.here.backend.credentials()).accounts


@pytest.fixture
async def world(office: Open, tmp_path: Path) -> AsyncIterator[World]:
    """All of it on loopback and in a directory."""
    clock: list[Callable[[], float]] = []
    issuer = Issuer(lambda: clock[0]() + 0.0)
    server = AuthServer(issuer)
    served = TestServer(server.make_app())
    await served.start_server()
    here = await office("groq", CODEX_AUTH_URL=str(served.make_url("")), GROQ_API_KEY="gsk_x")
    clock.append(here.clock.now)
    yield World(here, issuer, server, tmp_path / "auth.json", tmp_path / "cli.json")
    server.released.set()
    await served.close()


async def test_the_originals_logins_become_ours(world: World) -> None:
    """Each with its tokens, its file untouched, the terms once; nothing is renewed that need not be. Twice is once."""
    world.original(world.login(), world.login("acc-2", user_id="user-2"))
    before = world.file.read_bytes()
    found = await world.adopt()
    assert [row.outcome for row in found.rows] == ["stored", "stored"]
    assert "own risk" in found.notes[0]
    assert [row.origin for row in await world.accounts()] == ["", ""]
    again = await world.adopt()
    assert ([row.outcome for row in again.rows], again.notes) == (["known", "known"], [])
    assert world.file.read_bytes() == before
    assert world.server.requests == []


async def test_an_expired_login_is_renewed_and_a_dead_one_is_refused(world: World) -> None:
    """Only a renewal shows whether it is of use; a refusal costs the others nothing, and leaves nothing behind."""
    old, dead, cut = world.login(ago_s=20 * DAY_S), world.login("acc-2", ago_s=20 * DAY_S), {"account_id": "acc-3"}
    world.original(old, dead | {"refresh_token": "rt-nobody-knows"}, cut)
    rows = (await world.adopt()).rows
    assert [row.outcome for row in rows] == ["stored", "refused", "refused"]
    assert "was renewed" in rows[0].said
    assert "cannot be renewed" in rows[1].said
    assert "no access token" in rows[2].said
    assert [row.tail for row in await world.accounts()] == ["cc-1"]


async def test_one_login_in_two_homes_is_shared_with_the_cli(world: World) -> None:
    """The original had copied the CLI's login: where both hold the same one, the CLI's file is the other home."""
    tokens = world.login()
    world.original(tokens)
    world.cli.write_text(auth_json(tokens))
    await world.adopt()
    (row,) = await world.accounts()
    assert row.origin == str(world.cli)


async def test_the_newer_of_two_homes_is_taken(world: World) -> None:
    """The original renewed it since: the CLI's copy is spent, and ours is alone. The other way round, the CLI's is."""
    old, new = world.login(ago_s=5000), world.login(ago_s=50)
    world.original(new)
    world.cli.write_text(auth_json(old))
    await world.adopt()
    (row,) = await world.accounts()
    assert row.origin == ""
    await world.here.backend.remove_credentials("codex", None)
    world.original(old)
    world.cli.write_text(auth_json(new))
    await world.adopt()
    (row,) = await world.accounts()
    assert row.origin == str(world.cli)


async def test_a_stale_copy_never_replaces_what_is_here(world: World) -> None:
    """The CLI's login was imported and is alive: the original's older one changes nothing."""
    old, new = world.login(ago_s=5000), world.login(ago_s=50)
    world.cli.write_text(auth_json(new))
    await world.here.backend.import_login(t.ImportLogin(provider="codex", path=str(world.cli)))
    written = world.here.places.codex_accounts.read_bytes()
    world.original(old)
    world.cli.write_text(auth_json(world.login("acc-9", user_id="user-9")))  # logged in as somebody else by now
    assert [row.outcome for row in (await world.adopt()).rows] == ["known"]
    assert world.here.places.codex_accounts.read_bytes() == written


async def test_a_file_that_cannot_be_read_is_refused(world: World) -> None:
    """Exit 3 and a sentence; a relative path is wrong usage."""
    with pytest.raises(ControlError, match="cannot be read") as caught:
        await world.adopt()
    assert caught.value.exit_code == 3
    with pytest.raises(ControlError, match="absolute") as caught:
        await world.here.backend.adopt_logins(s.AdoptLogins(path="auth.json"))
    assert caught.value.exit_code == 2
