"""hermes_router/daemon/desks/account.py: the official CLI's login brought in, accounts shown, renewed and removed."""

import json
import os
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from hermes_router.control import types as t
from hermes_router.core.errors import ControlError
from hermes_router.core.observations import QuotaSeen, Unit, Window

from ...codex.auth_server import DAY_S, AuthServer, Issuer, auth_json
from ..office import Office

Open = Callable[..., Any]


@dataclass
class World:
    """A daemon, the authorisation server, and the directory of the official CLI."""

    here: Office
    issuer: Issuer
    server: AuthServer
    cli: Path

    @property
    def file(self) -> Path:
        return self.cli / "auth.json"

    def login(self, account_id: str = "acc-1", *, ago_s: float = 60.0, **fields: Any) -> dict[str, Any]:
        """The official CLI logs in, so long ago."""
        self.here.clock.advance(-ago_s)
        tokens = self.issuer.login(account_id, **fields)
        self.here.clock.advance(ago_s)
        self.file.write_text(auth_json({**tokens, "account_id": account_id}))
        return tokens

    async def bring_in(self, **fields: Any) -> t.Imported:
        asked = t.ImportLogin(**{"provider": "codex", "path": str(self.file), **fields})
        return await self.here.backend.import_login(asked)

    async def refused(self, **fields: Any) -> ControlError:
        """The refusal; nothing was changed."""
        before = await self.accounts()
        with pytest.raises(ControlError) as caught:
            await self.bring_in(**fields)
        assert await self.accounts() == before
        return caught.value

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
    cli = tmp_path / "dot-codex"
    cli.mkdir()
    yield World(here, issuer, server, cli)
    server.released.set()
    await served.close()


async def test_a_login_is_brought_in_and_shared(world: World) -> None:
    """Copied, its file remembered and left as it is; the terms are shown with the first account and not again."""
    world.login()
    before = world.file.read_bytes()
    found = await world.bring_in(account="work")
    assert found.outcome == "stored"
    assert "own risk" in found.notes[0]
    assert (found.row.account, found.row.email, found.row.plan) == ("work", "owner@example.com", "plus")
    assert (found.row.origin, found.row.route, found.row.read_only) == (str(world.file), "backend", False)
    assert world.file.read_bytes() == before
    world.login("acc-2", user_id="user-2")
    again = await world.bring_in()
    assert (again.outcome, again.notes) == ("stored", [])
    assert [row.tail for row in await world.accounts()] == ["cc-1"[-4:], "cc-2"[-4:]]
    status = await world.here.backend.status()
    assert [row.id for row in status.accounts] == [row.id for row in await world.accounts()]


async def test_bringing_in_twice_is_harmless(world: World) -> None:
    """The same tokens are known, a label may change, newer ones are taken."""
    world.login(ago_s=500)
    await world.bring_in()
    assert (await world.bring_in()).outcome == "known"
    relabelled = await world.bring_in(account="home")
    assert (relabelled.outcome, relabelled.row.account) == ("known", "home")
    world.login(ago_s=5)
    newer = await world.bring_in()
    assert (newer.outcome, newer.row.account) == ("replaced", "home")
    assert len(await world.accounts()) == 1


async def test_a_borrowed_login_is_never_renewed(world: World) -> None:
    """--read-only keeps no refresh token; asked to renew, nothing is sent."""
    tokens = world.login()
    row = (await world.bring_in(read_only=True)).row
    assert row.read_only
    assert tokens["refresh_token"].encode() not in world.here.places.codex_accounts.read_bytes()
    (refreshed,) = (await world.here.backend.refresh_accounts(t.RefreshAccounts(provider="codex"))).rows
    assert (refreshed.outcome, world.server.requests) == ("kept", [])
    assert "borrowed" in refreshed.said


async def test_an_expired_login_is_renewed_at_once(world: World) -> None:
    """Its refresh token is good: the router's file and the CLI's hold the new tokens."""
    world.login(ago_s=11 * DAY_S)
    found = await world.bring_in()
    assert found.said == "it had expired, and was renewed"
    assert found.row.expires_at == world.here.clock.now() + 10 * DAY_S
    held = json.loads(world.file.read_text())["tokens"]["refresh_token"]
    assert world.issuer.works(held)
    assert json.loads(world.file.read_text())["a_later_key"] == [1, 2]


async def test_an_expired_login_that_cannot_be_renewed_is_said_to_be(world: World) -> None:
    """Ended for good: it is not kept. A server in trouble: it is kept, and tried again. Borrowed: refused."""
    world.login(ago_s=11 * DAY_S)
    assert "expired" in (await world.refused(read_only=True)).message
    world.issuer.families[0].ended = "refresh_token_expired"
    error = await world.refused()
    assert (error.code, error.exit_code) == ("expired", 3)
    assert "refresh_token_expired" in error.message
    assert "codex login" in error.next_step
    world.issuer.families[0].ended = ""
    world.server.fails = "500"
    found = await world.bring_in()
    assert found.outcome == "stored"
    assert "tried again" in found.said
    (row,) = await world.accounts()
    assert row.state == "paused"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "auth.json"), ('{"OPENAI_API_KEY": "sk-x", "auth_mode": "apikey"}', "API-key"), ("", ""), ("{", ""),
        ('{"auth_mode": "agentIdentity", "agent_identity": "x.y.z"}', "agent"), ("[]", ""),
        ('{"auth_mode": "something-new"}', ""),
    ],
)  # fmt: skip
async def test_a_login_of_no_use_is_refused_with_a_sentence(world: World, content: str | None, said: str) -> None:
    """Absent, cut, of another mode, of the future: exit 3, what it is, and what to do; nothing is written."""
    if content is not None:
        world.file.write_text(content)
    error = await world.refused()
    assert error.exit_code == 3
    assert said in error.message
    assert error.next_step
    assert content is None or world.file.read_text() == content


async def test_a_directory_or_a_word_is_no_file(world: World) -> None:
    """Said as such; a path must be whole, since `hr` and the daemon have no directory in common."""
    world.file.mkdir()
    assert (await world.refused()).exit_code == 3
    assert (await world.refused(path="auth.json")).exit_code == 2


async def test_a_login_of_the_routers_own_stays(world: World) -> None:
    """An import of the same account must not trade it for one that two programs share."""
    world.login()
    row = (await world.bring_in()).row
    keeper = world.here.backend.account_desk._accounts
    (ours,) = keeper.accounts()
    await keeper.adopt(type(ours)(**{name: getattr(ours, name) for name in ours.__slots__} | {"origin": None}))
    world.login(ago_s=1)
    found = await world.bring_in()
    assert (found.outcome, found.row.id, found.row.origin) == ("known", row.id, "")
    assert "router's own" in found.said


async def test_accounts_are_renewed_on_demand(world: World) -> None:
    """All, or one by label, address or id; an ended login says so, a server in trouble is a failure for now."""
    world.login()
    await world.bring_in(account="work")
    asked = t.RefreshAccounts(provider="codex", which="work")
    (row,) = (await world.here.backend.refresh_accounts(asked)).rows
    assert (row.outcome, row.said) == ("refreshed", "")
    assert row.row.refreshed_at == world.here.clock.now()
    world.server.fails = "html"
    (row,) = (await world.here.backend.refresh_accounts(asked)).rows
    assert row.outcome == "failed"
    world.server.fails = ""
    world.issuer.families[0].ended = "refresh_token_invalidated"
    asked = t.RefreshAccounts(provider="codex", which="OWNER@example.com")
    (row,) = (await world.here.backend.refresh_accounts(asked)).rows
    assert row.outcome == "ended"
    sent = len(world.server.requests)
    (row,) = (await world.here.backend.refresh_accounts(t.RefreshAccounts(provider="codex"))).rows
    assert (row.outcome, len(world.server.requests)) == ("ended", sent)
    (shown,) = await world.accounts()
    assert "log in again" in shown.reason
    assert shown.state == "ready"  # its access token lives


async def test_an_account_is_removed_and_its_login_left_alone(world: World) -> None:
    """Its tokens are gone from our file; the CLI's file is as it was, and nothing was revoked."""
    tokens = world.login()
    await world.bring_in()
    before = world.file.read_bytes()
    removed = await world.here.backend.remove_credentials("codex", None)
    assert [row.outcome for row in removed.rows] == ["removed"]
    assert str(world.file) in removed.rows[0].said
    assert await world.accounts() == []
    assert tokens["refresh_token"].encode() not in world.here.places.codex_accounts.read_bytes()
    assert (world.file.read_bytes(), world.server.requests) == (before, [])
    assert not any(name.startswith("codex/") for name in world.here.targets())


@pytest.mark.parametrize("which", ["nobody", ""])
async def test_what_names_no_account_is_refused(world: World, which: str) -> None:
    """Exit 2; so does a name that fits several, which lists their ids."""
    with pytest.raises(ControlError) as caught:
        await world.here.backend.remove_credentials("codex", which or None)
    assert caught.value.exit_code == 2
    world.login("a-0001", user_id="u-1")
    await world.bring_in(account="same")
    world.login("b-0001", user_id="u-2")
    await world.bring_in(account="same")
    with pytest.raises(ControlError, match="several accounts") as caught:
        await world.here.backend.refresh_accounts(t.RefreshAccounts(provider="codex", which="same"))
    assert all(row.id in caught.value.next_step for row in await world.accounts())


async def test_providers_of_keys_have_no_accounts(world: World) -> None:
    """`hr auth add` is pointed out, and an account provider's own commands to who adds a key there."""
    for provider, part in (("groq", "hr auth add groq"), ("nobody", "")):
        with pytest.raises(ControlError) as caught:
            await world.here.backend.refresh_accounts(t.RefreshAccounts(provider=provider))
        assert caught.value.exit_code == 2
        assert part in caught.value.next_step
    with pytest.raises(ControlError) as caught:
        await world.here.backend.add_credentials(t.AddCredentials(provider="codex", lines=["x"]))
    assert "hr auth login codex" in caught.value.next_step


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
async def test_a_file_that_may_not_be_read_is_said_to_be(world: World) -> None:
    """The daemon may be another user's."""
    world.login()
    world.file.chmod(0)
    assert (await world.refused()).exit_code == 3


async def test_accounts_are_tested_at_no_cost(world: World) -> None:
    """Their list of models is asked for: as many as it shows, a 401 is a no, and a server in trouble is neither."""
    world.login()
    answers = {"status": 200}
    app = web.Application()

    async def models(request: web.Request) -> web.Response:
        assert request.headers["chatgpt-account-id"] == "acc-1"
        return web.json_response({"models": [{"slug": "a"}, {"slug": "b"}]}, status=answers["status"])

    app.router.add_get("/models", models)
    server = TestServer(app)
    await server.start_server()
    world.here.env["CODEX_BASE_URL"] = str(server.make_url("")).rstrip("/")
    await world.here.backend.reload()
    await world.bring_in(account="work")
    for status, verdict, count in ((200, "ok", 2), (401, "rejected", 0), (500, "inconclusive", 0)):
        answers["status"] = status
        for asked in (t.TestCredentials(provider="codex", which="work"), t.TestCredentials()):
            rows = (await world.here.backend.test_credentials(asked)).rows
            (row,) = [one for one in rows if one.provider == "codex"]
            assert (row.test, row.models) == (verdict, count)
            assert "work" in row.said
    await server.close()


async def test_windows_of_the_plan_are_shown_with_their_account(world: World) -> None:
    """What the provider told of five hours and the week, each account its own."""
    world.login()
    row = (await world.bring_in()).row
    engine, now = world.here.daemon.engine, world.here.clock.now()
    facts = next(one for one in engine.snapshot.roster.facts if one.credential.id == row.id)
    told = [
        QuotaSeen("account", Unit.PERCENT, Window.PLAN, 100, 63, now + 3600),
        QuotaSeen("account", Unit.PERCENT, Window.WEEK, 100, 88, now + 86_400),
    ]
    engine.state.seen(facts.target, told, now)
    world.login("acc-2", user_id="user-2")
    await world.bring_in()
    first, second = await world.accounts()
    assert [(one.name, one.used_percent, one.reset_at) for one in first.windows] == [
        ("5 h", 37, now + 3600), ("week", 12, now + 86_400),
    ]  # fmt: skip
    assert second.windows == []
