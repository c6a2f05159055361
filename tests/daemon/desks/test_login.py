"""hermes_router/daemon/desks/login.py: logins of the router's own, from the address to the account in use."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from aiohttp.test_utils import TestServer

from hermes_router.control import types as t
from hermes_router.core.errors import ControlError
from hermes_router.daemon.desks import login as login_desk

from ...codex.sign_in_server import Person, SignInServer, browse
from ..office import Office

Open = Callable[..., Any]


class World:
    """A daemon and the server that its accounts log in at."""

    def __init__(self, here: Office, fake: SignInServer) -> None:
        self.here, self.fake, self.backend = here, fake, here.backend

    async def begin(self, **fields: Any) -> t.Login:
        return await self.backend.begin_login(t.BeginLogin(provider="codex", **fields))

    async def ended(self, login: t.Login) -> t.Login:
        """How it ended; a second at most."""
        for _ in range(400):
            now = await self.backend.login(login.id)
            if now.state != "waiting":
                return now
            await asyncio.sleep(0.005)
        raise AssertionError("it still waits")

    async def accounts(self) -> list[t.AccountRow]:
        return (await self.backend.credentials()).accounts

    @property
    def refresh_tokens(self) -> list[str]:
        """Those that the server gave out, and that still work."""
        return [family.current for family in self.fake.issuer.families]


@pytest.fixture
async def world(office: Open, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    """On free ports: the usual ones may be in use here."""
    monkeypatch.setattr(login_desk, "PORTS", (0,))
    clock: list[Callable[[], float]] = []
    fake = SignInServer(lambda: clock[0]() + 0.0, any_port=True)
    server = TestServer(fake.app())
    await server.start_server()
    fake.root = str(server.make_url("")).rstrip("/")
    here = await office("groq", CODEX_AUTH_URL=fake.root, GROQ_API_KEY="gsk_x")
    clock.append(here.clock.now)
    yield World(here, fake)
    await server.close()


@pytest.mark.parametrize("route", ["backend", "plan"])
async def test_a_login_by_browser(world: World, route: str) -> None:
    """The address is shown, the browser comes back by itself, the account is kept and shown; no token leaves."""
    login = await world.begin(route=route, account="work")
    assert (login.state, login.listening, login.user_code) == ("waiting", True, "")
    status, page, back = await browse(login.url)
    assert (status, "Signed in" in page, "ada@example.test" in page) == (200, True, True)
    done = await world.ended(login)
    assert done.state == "done"
    assert done.row is not None
    assert (done.row.account, done.row.email, done.row.plan, done.row.route) == (
        "work",
        "ada@example.test",
        "plus",
        route,
    )
    (row,) = await world.accounts()
    assert row.expires_at == world.here.clock.now() + (3600 if route == "plan" else 864_000)
    (token,) = world.refresh_tokens
    assert token.encode() in world.here.everything_written()
    code = parse_qs(urlsplit(back).query)["code"][0]
    for secret in (token, code):
        assert secret not in repr(done)
        assert secret not in repr(world.here.log.__dict__)
    file = world.here.places.codex_accounts
    assert file.stat().st_mode & 0o777 == 0o600


async def test_the_terms_are_shown_with_the_first_account_of_the_backend_route(world: World) -> None:
    """Once; the plan route is the official one, of which nothing has to be said."""
    assert (await world.begin(route="plan")).notes == []
    first = await world.begin(route="backend")
    assert "own risk" in first.notes[0]
    await browse(first.url)
    assert (await world.ended(first)).notes == first.notes
    assert (await world.begin(route="backend")).notes == []


async def test_a_login_by_device_code(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A code to type anywhere; the daemon asks in the interval, and the account is there."""
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        world.here.clock.advance(seconds)

    monkeypatch.setattr(world.backend.login_desk(), "_sleep", sleep)
    login = await world.begin(way="device")
    assert (login.user_code, login.url) == ("ABCD-EFGH", f"{world.fake.root}/codex/device")
    done = await world.ended(login)
    assert (done.state, slept) == ("done", [1.0, 1.0, 1.0])
    with pytest.raises(ControlError, match="nothing to paste"):
        await world.backend.paste_login(login.id, t.PasteLogin(text="x"))


async def test_an_address_may_be_pasted(world: World) -> None:
    """The browser ran on another machine; what is no address is refused, and the login goes on."""
    login = await world.begin()
    for text in ("hello", "http://localhost/auth/callback?code=c&state=foreign"):
        with pytest.raises(ControlError) as caught:
            await world.backend.paste_login(login.id, t.PasteLogin(text=text))
        assert caught.value.exit_code == 2
    assert (await world.backend.login(login.id)).state == "waiting"
    _, _, back = await browse(login.url, follow=False)
    done = await world.backend.paste_login(login.id, t.PasteLogin(text=f"  {back[:40]}\n{back[40:]} "))
    assert done.state == "done"


async def test_without_a_free_port_the_address_can_still_be_pasted(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every other client wants 1455, too (facts/codex.md 5.1)."""
    monkeypatch.setattr(login_desk, "PORTS", ())
    monkeypatch.setattr(login_desk, "_FALLBACK_PORT", 1455)
    login = await world.begin(route="backend")
    assert not login.listening
    _, _, back = await browse(login.url, follow=False)
    assert back.startswith("http://localhost:1455/auth/callback?")
    assert (await world.backend.paste_login(login.id, t.PasteLogin(text=back))).state == "done"


async def test_a_foreign_page_cannot_end_a_login(world: World) -> None:
    """An answer with another state is shown the door, and the login goes on."""
    login = await world.begin()
    back = parse_qs(urlsplit(login.url).query)["redirect_uri"][0].replace("localhost", "127.0.0.1")
    for query in ("error=access_denied", "code=evil&state=guess"):
        status, page, _ = await browse(f"{back}?{query}")
        assert (status, "another sign-in" in page) == (400, True)
    assert (await world.backend.login(login.id)).state == "waiting"
    await browse(login.url)
    assert (await world.ended(login)).state == "done"


@pytest.mark.parametrize(
    ("route", "person", "code", "step"),
    [
        ("backend", Person(error="access_denied"), "refused", ""),
        ("plan", Person(error="access_denied"), "refused", "--route backend"),
        ("plan", Person(lends=False), "not_eligible", "--route backend"),
        ("plan", Person(error="subscription_sharing_user_not_eligible"), "not_eligible", "--route backend"),
    ],
)
async def test_a_login_that_fails_says_why_and_changes_nothing(
    world: World, route: str, person: Person, code: str, step: str
) -> None:
    """In the browser and in the terminal; the other route is pointed out where it helps."""
    world.fake.person = person
    login = await world.begin(route=route)
    status, page, _ = await browse(login.url)
    assert (status, "Not signed in" in page) == (400, True)
    failed = await world.ended(login)
    assert (failed.state, failed.code) == ("failed", code)
    assert step in failed.next_step
    assert await world.accounts() == []


async def test_a_new_login_of_an_account_takes_the_place_of_the_old(world: World) -> None:
    """Its label and place stay; its tokens are the new ones, and the issued client of the plan route is used again."""
    first = await world.begin(route="plan", account="work")
    await browse(first.url)
    await world.ended(first)
    again = await world.begin(route="plan", account="work")
    issued = parse_qs(urlsplit(again.url).query)["client_id"][0]
    assert issued.startswith("oaiapp_")
    await browse(again.url)
    assert (await world.ended(again)).state == "done"
    (row,) = await world.accounts()
    assert row.account == "work"
    (one,) = world.backend.account_desk._accounts.accounts()
    assert one.refresh_token is not None
    assert one.refresh_token.reveal() == world.refresh_tokens[1]


async def test_one_login_at_a_time(world: World) -> None:
    """A newer one takes the place of one that waits; one can be given up; an unknown one is said to be."""
    first = await world.begin()
    second = await world.begin()
    assert (await world.ended(first)).code == "given_up"
    assert (await world.backend.end_login(second.id)).said
    assert (await world.ended(second)).state == "failed"
    for ask in (world.backend.login("x"), world.backend.end_login("x")):
        with pytest.raises(ControlError, match="no such login"):
            await ask


@pytest.mark.parametrize(
    ("fields", "code"),
    [({"provider": "groq"}, 2), ({"provider": "nobody"}, 2), ({"route": "side"}, 2), ({"way": "pigeon"}, 2),
     ({"way": "device", "route": "plan"}, 2), ({"account": " "}, 2)],
)  # fmt: skip
async def test_what_is_no_login_is_refused(world: World, fields: dict[str, str], code: int) -> None:
    """Providers of keys, unknown words, a device code where there is none."""
    with pytest.raises(ControlError) as caught:
        await world.backend.begin_login(t.BeginLogin(**{"provider": "codex", **fields}))
    assert caught.value.exit_code == code


async def test_a_server_in_trouble_is_said_plainly(world: World) -> None:
    """Device codes switched off, HTML, a 500 behind the browser's return: nothing is changed."""
    world.fake.device_codes = False
    with pytest.raises(ControlError, match="switched off"):
        await world.begin(way="device")
    world.fake.trouble["/oauth/token"] = (500, b"<html>oops")
    login = await world.begin()
    status, page, _ = await browse(login.url)
    assert (status, "in trouble" in page) == (400, True)
    assert (await world.ended(login)).state == "failed"
    assert await world.accounts() == []
